//! What tests of ways round the gate share: one gate in front of an upstream that takes everything, and rows that say
//! what is sent, what the agent is told and what arrives. A row is over when its connection is: every request that is
//! answered asks for that (`Connection: close`), so no test waits for silence.

use anyhow::{Context as _, Result};
use http::{HeaderValue, Response};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{
    abuse::frames::{END_HEADERS, END_STREAM, Raw, block, frame, kind},
    turnpike::standalone::{
        PATIENCE, Standalone,
        client::{Agent, Answer, Failed, Protocol, whole},
        upstream::{Seen, Upstream},
    },
};

/// What is sent, and over what.
#[derive(Clone, Debug)]
pub enum How {
    /// CONNECT alone, with this authority.
    Connect(String),
    /// Bytes on the port as it is.
    Plain(Vec<u8>),
    /// Bytes inside TLS inside a tunnel.
    Tunnel {
        /// In CONNECT, without its port; none for TLS straight to the port.
        connect: Option<String>,
        /// In SNI; an address for none.
        sni: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// One stream of HTTP/2 inside TLS.
    Stream {
        /// In CONNECT and SNI.
        host: String,
        /// Fields as they stand in the block.
        fields: Vec<(String, String)>,
        /// DATA, where there is any.
        body: Option<Vec<u8>>,
        /// A second block behind it.
        trailers: Vec<(String, String)>,
    },
}

/// One way round the gate, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is tried.
    pub name: &'static str,
    /// How.
    pub how: How,
    /// What the agent is told: `STATUS REASON` of each answer, or how the connection ends.
    pub told: String,
    /// What the upstream gets: `VERB host target`, and a body where there is one.
    pub arrived: Vec<String>,
}

/// A row of bytes in a tunnel to one host.
pub fn row(name: &'static str, host: &str, bytes: impl Into<Vec<u8>>, told: &str, arrived: &[&str]) -> Row {
    Row {
        name,
        how: How::Tunnel {
            connect: Some(host.to_owned()),
            sni: host.to_owned(),
            bytes: bytes.into(),
        },
        told: told.to_owned(),
        arrived: arrived.iter().map(|&line| line.to_owned()).collect(),
    }
}

/// A policy of one agent, `agents/coder`, with these rules in YAML's flow form.
#[must_use]
pub fn policy(rules: &[&str]) -> String {
    format!(
        "apiVersion: turnpike.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: coder, namespace: agents}}\nspec:\n  \
         agents: [{{serviceAccount: {{name: coder}}}}]\n  rules:\n    - {}\n",
        rules.join("\n    - ")
    )
}

/// A gate, its agent, and what is behind it.
#[derive(Debug)]
pub struct Bench {
    /// What is behind it.
    pub upstream: Upstream,
    /// The agent.
    pub agent: Agent,
    /// The gate.
    pub gate: Standalone,
}

impl Bench {
    /// Starts one with these rules.
    ///
    /// # Errors
    /// The gate does not get ready.
    pub async fn start(rules: &[&str]) -> Result<Self> {
        let upstream = Upstream::plain(|_| {
            let mut answer = Response::new(whole("{}"));
            let json = HeaderValue::from_static("application/json");
            answer.headers_mut().insert("content-type", json);
            answer
        })
        .await?;
        let gate = Standalone::start(&upstream, &policy(rules)).await?;
        let agent = gate.agent("agents/coder")?;
        Ok(Self {
            upstream,
            agent,
            gate,
        })
    }

    /// A request of HTTP/1 with the agent's token; `headers` are whole lines.
    #[must_use]
    pub fn request(&self, line: &str, host: &str, headers: &str, body: &str) -> String {
        let token = self.agent.token();
        format!("{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{headers}\r\n{body}")
    }

    /// The fields of a request of HTTP/2 with the agent's token.
    #[must_use]
    pub fn fields(&self, verb: &str, path: &str, host: &str) -> Vec<(String, String)> {
        let token = format!("Bearer {}", self.agent.token());
        [
            (":method", verb),
            (":scheme", "https"),
            (":authority", host),
            (":path", path),
            ("authorization", &token),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Tries every row, and compares all of them at once.
    ///
    /// # Errors
    /// A row is neither answered nor refused in time.
    pub async fn check(&self, rows: &[Row]) -> Result<()> {
        let mut found = Vec::new();
        for row in rows {
            let before = self.upstream.seen().len();
            let told = tokio::time::timeout(PATIENCE, self.attempt(&row.how)).await;
            let told = told.with_context(|| format!("{}: neither answered nor refused", row.name))??;
            let arrived: Vec<_> = self.upstream.seen().iter().skip(before).map(shown).collect();
            found.push(format!("{}: {told}; {arrived:?}", row.name));
        }
        let wanted: Vec<_> = rows
            .iter()
            .map(|row| format!("{}: {}; {:?}", row.name, row.told, row.arrived))
            .collect();
        let differ: Vec<_> = found.iter().zip(&wanted).filter(|(f, w)| f != w).collect();
        anyhow::ensure!(differ.is_empty(), "found and wanted differ: {differ:#?}");
        Ok(())
    }

    /// Tries one way; gives what the agent is told.
    ///
    /// # Errors
    /// There is no connection to the gate.
    pub async fn attempt(&self, how: &How) -> Result<String> {
        match how {
            How::Connect(authority) => Ok(match self.agent.connect(authority, &[]).await {
                Ok(_) => "200".to_owned(),
                Err(Failed::Answer(answer)) => told(&answer),
                Err(Failed::Other(_)) => "ended".to_owned(),
            }),
            How::Plain(bytes) => Ok(converse(&mut self.agent.tcp().await?, bytes).await),
            How::Tunnel { connect, sni, bytes } => {
                let stream = match connect {
                    Some(host) => match self.agent.connect(&format!("{host}:443"), &[]).await {
                        Ok(stream) => stream,
                        Err(Failed::Answer(answer)) => return Ok(format!("CONNECT {}", told(&answer))),
                        Err(Failed::Other(error)) => return Err(error),
                    },
                    None => self.agent.tcp().await?,
                };
                match self.agent.tls(stream, sni, Protocol::Http1).await {
                    Ok(mut stream) => Ok(converse(&mut stream, bytes).await),
                    Err(_) => Ok("no TLS".to_owned()),
                }
            }
            How::Stream {
                host,
                fields,
                body,
                trailers,
            } => self.stream(host, fields, body.as_deref(), trailers).await,
        }
    }

    /// What becomes of a stream: it is `answered`, or `refused` by a reset of it or the end of its connection.
    async fn stream(
        &self,
        host: &str,
        fields: &[(String, String)],
        body: Option<&[u8]>,
        trailers: &[(String, String)],
    ) -> Result<String> {
        let mut raw = Raw::open(&self.agent, host, &[]).await?;
        let last = |more: bool| if more { 0 } else { END_STREAM };
        let more = body.is_some() || !trailers.is_empty();
        let mut bytes = frame(kind::HEADERS, END_HEADERS | last(more), 1, &block_of(fields));
        if let Some(body) = body {
            bytes.extend(frame(kind::DATA, last(!trailers.is_empty()), 1, body));
        }
        if !trailers.is_empty() {
            bytes.extend(frame(
                kind::HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &block_of(trailers),
            ));
        }
        raw.send(&bytes).await;
        let said = raw
            .until(PATIENCE, |said| {
                said.heads + said.resets > 0 || said.goaway.is_some() || said.ended
            })
            .await?;
        // A stream that is reset and a connection that ends are one answer: not like this.
        Ok(match said.heads {
            0 => "refused",
            _ => "answered",
        }
        .to_owned())
    }
}

fn block_of(fields: &[(String, String)]) -> Vec<u8> {
    block(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// How a request arrived, as rows have it.
#[must_use]
pub fn shown(seen: &Seen) -> String {
    match seen.body.is_empty() {
        true => seen.line.clone(),
        false => format!("{} {}", seen.line, String::from_utf8_lossy(&seen.body)),
    }
}

/// Status and reason of an answer; the status alone where it is not a refusal of Turnpike's.
fn told(answer: &Answer) -> String {
    match answer.refusal() {
        (status, reason) if reason == "not Turnpike's" => status.to_string(),
        (status, reason) => format!("{status} {reason}"),
    }
}

/// Says bytes and takes answers until the other side ends the connection.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> String {
    let mut said = Vec::new();
    let talk = async {
        stream.write_all(bytes).await?;
        stream.flush().await?;
        stream.read_to_end(&mut said).await
    };
    // A connection that is refused ends as an error as often as not; what was said before still counts.
    talk.await.ok();
    let mut answers = Vec::new();
    let mut rest = said.as_slice();
    while !rest.is_empty() {
        let Some((answer, after)) = first_answer(rest) else {
            answers.push("no HTTP".to_owned());
            break;
        };
        answers.push(told(&answer));
        rest = after;
    }
    match answers.is_empty() {
        true => "ended".to_owned(),
        false => answers.join(", "),
    }
}

/// The first of the answers of HTTP/1, and what is behind it. Interim answers have no body.
fn first_answer(bytes: &[u8]) -> Option<(Answer, &[u8])> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let (head, rest) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |(_, value)| value.trim().parse().ok())?;
    let (body, rest) = rest.split_at_checked(length)?;
    Some((
        Answer {
            status,
            headers: http::HeaderMap::new(),
            body: body.to_vec().into(),
        },
        rest,
    ))
}
