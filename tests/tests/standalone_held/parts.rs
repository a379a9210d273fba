//! Uploads that come in several requests, where policies say that no secret leaves: what is searched is the content, not
//! its parts.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::Response;
use serde_json::json;
use turnpike_tests::{
    process::eventually,
    turnpike::standalone::{
        PATIENCE, Standalone,
        client::{Answer, Body, Protocol, whole},
        upstream::{Seen, Upstream},
    },
};

use crate::{CODER, STORAGE, call, zipped};

/// What an upload in parts has to be cut at.
const STEP: usize = 256 << 10;

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  secrets: {requests: Deny, unscannable: Deny}
  rules:
    - {name: write, effect: Allow, methods: ["storage.objects.insert"]}
"#;

/// Google, as far as it takes parts: whatever comes, it waits for more until the last one.
fn answer(seen: &Seen) -> Response<Body> {
    let mut answer = Response::new(whole(json!({"kind": "storage#object"}).to_string()));
    if !seen.line.contains("upload_id=") {
        let target = seen.line.splitn(3, ' ').nth(2).unwrap_or_default();
        let location = format!("https://{STORAGE}{target}&upload_id=stand-in-session");
        let location = location.parse().expect("a header");
        answer.headers_mut().insert("location", location);
        return answer;
    }
    let range = seen
        .headers
        .get("content-range")
        .map(|v| v.to_str().unwrap_or("?"));
    if range.is_some_and(|range| range.ends_with("/*")) {
        *answer.status_mut() = http::StatusCode::PERMANENT_REDIRECT;
    }
    answer
}

struct Gate {
    upstream: Upstream,
    standalone: Standalone,
}

impl Gate {
    async fn start(policy: &str) -> Result<Self> {
        let upstream = Upstream::plain(answer).await?;
        let standalone = Standalone::start(&upstream, policy).await?;
        Ok(Self { upstream, standalone })
    }

    async fn begin(&self) -> Result<String> {
        let start = "/resumable/upload/storage/v1/b/free/o?uploadType=resumable&name=o";
        let begun = self.send(("POST", start), &[], Bytes::new()).await?;
        ensure!(begun.status == 200, "{}", begun.text());
        let location = begun.headers["location"].to_str()?;
        let path = location.strip_prefix(&format!("https://{STORAGE}"));
        Ok(path.context("the same host")?.to_owned())
    }

    async fn send(
        &self,
        (verb, path): (&str, &str),
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer> {
        let target = (verb, STORAGE, path);
        call(
            &self.standalone,
            CODER,
            Protocol::Http1,
            target,
            headers,
            whole(body),
        )
        .await
    }

    /// Sends what stands between two places of a content.
    async fn part(&self, session: &str, content: &Bytes, from: usize, to: usize) -> Result<(u16, String)> {
        let total = match to == content.len() {
            true => to.to_string(),
            false => "*".to_owned(),
        };
        let range = match from == to {
            true => format!("bytes */{total}"),
            false => format!("bytes {from}-{}/{total}", to - 1),
        };
        let body = content.slice(from..to);
        let answer = self
            .send(("PUT", session), &[("content-range", &range)], body)
            .await?;
        Ok(match answer.status {
            200 | 308 => (answer.status, String::new()),
            _ => answer.refusal(),
        })
    }

    /// Waits until the ends of calls tell of tokens in these places, and nothing else does.
    async fn recorded(&self, places: &[&str]) -> Result<()> {
        let log = self.standalone.path().join("audit/topic.jsonl");
        eventually(PATIENCE, || async {
            let text = std::fs::read_to_string(&log)?;
            let told: Vec<&str> = text
                .lines()
                .filter(|line| line.contains("github-token"))
                .collect();
            let wanted = places.iter().map(|place| format!(r#""place":"{place}""#));
            let fits = told.len() == places.len()
                && wanted
                    .zip(&told)
                    .all(|(place, line)| line.contains(&place) && line.contains(r#""phase":"outcome""#));
            ensure!(fits, "{told:#?}");
            Ok(())
        })
        .await
    }

    /// What came after the session had begun.
    fn arrived(&self) -> Vec<String> {
        let puts = self
            .upstream
            .seen()
            .into_iter()
            .filter(|seen| seen.line.starts_with("PUT"));
        let range = |seen: Seen| {
            let value = seen.headers.get("content-range").cloned();
            value.map_or(String::new(), |v| v.to_str().unwrap_or("?").to_owned())
        };
        puts.map(range).collect()
    }
}

fn denied(reason: &str) -> (u16, String) {
    (403, reason.to_owned())
}

/// Made up at run time: something that a detector takes for a token.
fn token() -> String {
    let letters: String = content_letters().take(36).collect();
    ["gh", "p_", &letters].concat()
}

fn content_letters() -> impl Iterator<Item = char> {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[1]
    })
    .filter(u8::is_ascii_alphanumeric)
    .map(char::from)
}

/// Text with a token around a place.
fn text_with_token_at(place: usize, length: usize) -> Bytes {
    let mut text = "words of a text\n".repeat(length / 16 + 1).into_bytes();
    text.truncate(length);
    let token = format!(" {} ", token());
    text[place - 20..place - 20 + token.len()].copy_from_slice(token.as_bytes());
    text.into()
}

#[tokio::test]
async fn a_secret_on_the_border_of_two_parts_does_not_leave() -> Result<()> {
    let gate = Gate::start(POLICY).await?;
    let text = text_with_token_at(STEP, 2 * STEP + 100);
    let session = gate.begin().await?;
    assert_eq!(gate.part(&session, &text, 0, STEP).await?, (308, String::new()));
    assert_eq!(
        gate.part(&session, &text, STEP, 2 * STEP).await?,
        denied("SECRET_IN_REQUEST")
    );
    // A question changes nothing, and the same part is as wrong as before.
    let asked = gate
        .send(("PUT", &session), &[("content-range", "bytes */*")], Bytes::new())
        .await?;
    assert_eq!(asked.status, 308, "{}", asked.text());
    assert_eq!(
        gate.part(&session, &text, STEP, 2 * STEP).await?,
        denied("SECRET_IN_REQUEST")
    );
    // The upload goes on without the other half.
    let clean = Bytes::from([&text[..STEP], &b"words of a text\n".repeat(8)].concat());
    assert_eq!(
        gate.part(&session, &clean, STEP, clean.len()).await?,
        (200, String::new())
    );
    let first = format!("bytes 0-{}/*", STEP - 1);
    let last = format!("bytes {STEP}-{}/{}", clean.len() - 1, clean.len());
    assert_eq!(gate.arrived(), [first, "bytes */*".to_owned(), last]);
    Ok(())
}

#[tokio::test]
async fn an_archive_is_refused_with_the_part_that_completes_it() -> Result<()> {
    let gate = Gate::start(POLICY).await?;
    let filler: String = content_letters().take(3 * STEP).collect();
    let archive = zipped(&[
        ("filler.txt", &filler),
        ("settings.py", &format!("K = '{}'\n", token())),
    ])?;
    let length = archive.len();
    ensure!(length > STEP, "{length}");
    let session = gate.begin().await?;
    assert_eq!(
        gate.part(&session, &archive, 0, STEP).await?,
        (308, String::new())
    );
    let refused = gate.part(&session, &archive, STEP, length).await?;
    assert_eq!(refused, denied("SECRET_IN_REQUEST"));
    // Neither does it leave where its end is told without a byte.
    let mut padded = archive.to_vec();
    // A comment of the archive, up to where a part may end.
    let comment = length.next_multiple_of(STEP) - length;
    let at = length - 2;
    padded[at..].copy_from_slice(&u16::try_from(comment % 65_536)?.to_le_bytes());
    padded.resize(length + comment % 65_536, b'.');
    let padded = Bytes::from(padded);
    let session = gate.begin().await?;
    for from in (0..padded.len()).step_by(STEP) {
        let to = (from + STEP).min(padded.len());
        let range = format!("bytes {from}-{}/*", to - 1);
        let sent = gate
            .send(
                ("PUT", &session),
                &[("content-range", &range)],
                padded.slice(from..to),
            )
            .await?;
        assert_eq!(sent.status, 308, "{}", sent.text());
    }
    let ended = gate.part(&session, &padded, padded.len(), padded.len()).await?;
    assert_eq!(ended, denied("SECRET_IN_REQUEST"));
    Ok(())
}

#[tokio::test]
async fn what_follows_on_nothing_known_is_unscannable() -> Result<()> {
    let gate = Gate::start(POLICY).await?;
    let text = text_with_token_at(STEP, 2 * STEP);
    let session = gate.begin().await?;
    assert_eq!(
        gate.part(&session, &text, STEP, text.len()).await?,
        denied("BODY_NOT_SCANNABLE")
    );
    // Google keeps the bytes that it has: other ones in their place say nothing of what the object will be.
    assert_eq!(gate.part(&session, &text, 0, STEP).await?, (308, String::new()));
    let other = Bytes::from([&b"others".repeat(STEP)[..STEP], &text[STEP..]].concat());
    assert_eq!(
        gate.part(&session, &other, 0, other.len()).await?,
        denied("BODY_NOT_SCANNABLE")
    );
    let unclear = [("content-range", "bytes 0-9/10")];
    let unclear = gate
        .send(("PUT", &session), &unclear, Bytes::from_static(b"too many bytes"))
        .await?;
    assert_eq!(unclear.refusal(), denied("BODY_NOT_SCANNABLE"));
    assert_eq!(gate.arrived().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_part_that_would_wait_for_a_person_is_refused_and_one_that_is_recorded_passes() -> Result<()> {
    let gate = Gate::start(&POLICY.replace("Deny", "RequireApproval")).await?;
    let text = text_with_token_at(STEP, STEP + 100);
    let session = gate.begin().await?;
    assert_eq!(gate.part(&session, &text, 0, STEP).await?, (308, String::new()));
    assert_eq!(
        gate.part(&session, &text, STEP, text.len()).await?,
        denied("UPLOAD_SESSION_NOT_HELD")
    );
    assert_eq!(gate.arrived().len(), 1);

    let gate = Gate::start(&POLICY.replace("Deny", "Allow")).await?;
    let session = gate.begin().await?;
    assert_eq!(gate.part(&session, &text, 0, STEP).await?, (308, String::new()));
    assert_eq!(
        gate.part(&session, &text, STEP, text.len()).await?,
        (200, String::new())
    );
    // The record of the second part tells of the token, before it is sent and behind.
    let log = gate.standalone.path().join("audit/topic.jsonl");
    eventually(PATIENCE, || async {
        let text = std::fs::read_to_string(&log)?;
        let found = text.lines().filter(|line| line.contains("github-token")).count();
        ensure!(found == 2, "{found} events tell of it: {text}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_secret_in_an_archive_does_not_leave_in_any_kind_of_upload() -> Result<()> {
    let gate = Gate::start(POLICY).await?;
    let upload = "/upload/storage/v1/b/free/o?name=o";
    let member = format!("K = '{}'\n", token());
    for (text, expected) in [("nothing\n", 200), (member.as_str(), 403)] {
        let zip = zipped(&[("settings.py", text)])?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text.as_bytes())?;
        for (kind, archive) in [("zip", zip), ("gzip", gzip.finish()?.into())] {
            let media = format!("{upload}&uploadType=media");
            let sent = gate.send(("POST", &media), &[], archive.clone()).await?;
            assert_eq!(sent.status, expected, "{kind} as media: {}", sent.text());

            let multipart = format!("{upload}&uploadType=multipart");
            let head =
                "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\n\r\n";
            let body = [head.as_bytes(), &archive, b"\r\n--b--\r\n"].concat();
            let related = [("content-type", "multipart/related; boundary=b")];
            let sent = gate.send(("POST", &multipart), &related, body.into()).await?;
            assert_eq!(sent.status, expected, "{kind} with metadata: {}", sent.text());

            let session = gate.begin().await?;
            let sent = gate.part(&session, &archive, 0, archive.len()).await?;
            assert_eq!(sent.0, expected, "{kind} by a session: {}", sent.1);
            if expected == 403 {
                assert_eq!(sent.1, "SECRET_IN_REQUEST", "{kind} by a session");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_only_recorded_is_searched_while_it_passes() -> Result<()> {
    const LONG: usize = 20 * STEP;
    let gate = Gate::start(&POLICY.replace("Deny", "Allow")).await?;
    let upload = "/upload/storage/v1/b/free/o?name=o";
    let filler: String = content_letters().take(7 << 20).collect();
    let archive = zipped(&[
        ("filler.txt", &filler),
        ("settings.py", &format!("K = '{}'\n", token())),
    ])?;
    ensure!(archive.len() > LONG, "{}", archive.len());
    let media = format!("{upload}&uploadType=media");
    let sent = gate.send(("POST", &media), &[], archive.clone()).await?;
    assert_eq!(sent.status, 200, "{}", sent.text());
    let found = ["o!settings.py line 1"];
    gate.recorded(&found).await?;

    let text = text_with_token_at(LONG, 2 * LONG);
    let head = "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\n\r\n";
    let body = [head.as_bytes(), &text, b"\r\n--b--\r\n"].concat();
    let related = [("content-type", "multipart/related; boundary=b")];
    let multipart = format!("{upload}&uploadType=multipart");
    let sent = gate.send(("POST", &multipart), &related, body.into()).await?;
    assert_eq!(sent.status, 200, "{}", sent.text());
    let line = 1 + text[..LONG].iter().filter(|byte| **byte == b'\n').count();
    let line = format!("o line {line}");
    let found = [found[0], &line];
    gate.recorded(&found).await?;

    let session = gate.begin().await?;
    assert_eq!(gate.part(&session, &text, 0, LONG).await?, (308, String::new()));
    assert_eq!(
        gate.part(&session, &text, LONG, text.len()).await?,
        (200, String::new())
    );
    gate.recorded(&[found[0], &line, &line]).await?;
    // The same bytes arrive.
    let seen = gate.upstream.seen();
    ensure!(seen.iter().any(|s| s.body == archive), "another archive arrived");
    let parts: Vec<u8> = seen
        .iter()
        .filter(|s| s.line.starts_with("PUT"))
        .flat_map(|s| s.body.to_vec())
        .collect();
    ensure!(parts == text, "other parts arrived");
    Ok(())
}
