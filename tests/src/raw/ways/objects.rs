//! Objects of a forbidden bucket: in the bodies of Cloud Storage's methods, as sources of copies, in the XML API, at the
//! hosts of buckets, by sessions of uploads and by signed URLs that are for others.

mod lines;

use self::lines::{BODIES, COPIES, JSON, Line, OTHERS, UPLOADS, XML, XML_AT_THE_BUCKET};
use super::{
    super::{Attempt, How, case::resources::ResourceCase},
    Speaker,
};

const HOST: &str = "storage.googleapis.com";
const OPEN_HOST: &str = "open-1.storage.googleapis.com";
const VAULT_HOST: &str = "vault-1.storage.googleapis.com";

pub(super) fn ways(given: &ResourceCase, speaker: Speaker<'_>) -> Vec<Attempt> {
    if given.case.id != "storage.objects.get" {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut add = |host: &str, (way, verb, target, headers, body): Line<'_>| {
        found.push(Attempt {
            way,
            how: How::Request {
                bytes: speaker.request(verb, target, host, headers, body),
                host: host.to_owned(),
            },
        });
    };
    for line in COPIES.iter().chain(BODIES).chain(OTHERS) {
        add(HOST, *line);
    }
    for (way, metadata) in UPLOADS {
        for part in ["", "multipart"] {
            let related = format!(
                "--b\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n"
            );
            let target = format!("/upload/storage/v1/b/open-1/o?uploadType={part}");
            let target = target.trim_end_matches("?uploadType=");
            add(
                HOST,
                (
                    *way,
                    "POST",
                    target,
                    "Content-Type: multipart/related; boundary=b\r\n",
                    &related,
                ),
            );
        }
        let target = "/upload/storage/v1/b/open-1/o?uploadType=resumable";
        add(HOST, (*way, "POST", target, JSON, metadata));
        let target = "/resumable/upload/storage/v1/b/open-1/o?name=item-1";
        add(HOST, (*way, "POST", target, JSON, metadata));
        add(HOST, (*way, "POST", "/storage/v1/b/open-1/o", JSON, metadata));
        add(
            HOST,
            (*way, "PATCH", "/storage/v1/b/open-1/o/item-1", JSON, metadata),
        );
        add(
            HOST,
            (
                *way,
                "POST",
                "/storage/v1/b/open-1/o/item-2/copyTo/b/open-1/o/item-1",
                JSON,
                metadata,
            ),
        );
        let compose = format!(r#"{{"destination":{metadata},"sourceObjects":[{{"name":"item-2"}}]}}"#);
        add(
            HOST,
            (
                *way,
                "POST",
                "/storage/v1/b/open-1/o/item-1/compose",
                JSON,
                &compose,
            ),
        );
        let part = format!(
            "--b\r\nContent-Type: application/http\r\n\r\nPATCH /storage/v1/b/open-1/o/item-1 HTTP/1.1\r\n{JSON}\r\n{metadata}\r\n--b--\r\n"
        );
        add(
            HOST,
            (
                *way,
                "POST",
                "/batch/storage/v1",
                "Content-Type: multipart/mixed; boundary=b\r\n",
                &part,
            ),
        );
    }
    for host in [HOST, "www.googleapis.com"] {
        add(
            host,
            (
                "a forbidden bucket below download",
                "GET",
                "/download/storage/v1/b/vault-1/o/item-1?alt=media",
                "",
                "",
            ),
        );
    }
    for line in XML {
        add(HOST, *line);
    }
    for line in XML_AT_THE_BUCKET {
        add(OPEN_HOST, *line);
    }
    for (way, host) in [
        ("the host of a forbidden bucket", VAULT_HOST),
        (
            "the host of a forbidden bucket in upper case",
            "VAULT-1.storage.googleapis.com",
        ),
        (
            "the host of a forbidden bucket for client certificates",
            "vault-1.storage.mtls.googleapis.com",
        ),
        (
            "the host of a forbidden bucket in a region",
            "vault-1.storage.us-central1.rep.googleapis.com",
        ),
        (
            "a mirror of the host of a forbidden bucket",
            "vault-1.content-storage.googleapis.com",
        ),
        (
            "the host of a forbidden bucket below a name",
            "x.vault-1.storage.googleapis.com",
        ),
    ] {
        add(host, (way, "GET", "/item-1", "", ""));
        add(host, (way, "PUT", "/item-1", "", "x"));
        add(host, (way, "GET", "/storage/v1/b/vault-1/o/item-1", "", ""));
    }
    for (way, line) in [
        ("Host of a forbidden bucket", format!("Host: {VAULT_HOST}\r\n")),
        (
            "a forwarded host of a forbidden bucket",
            format!("X-Forwarded-Host: {VAULT_HOST}\r\n"),
        ),
    ] {
        add(OPEN_HOST, (way, "GET", "/item-1", &line, ""));
    }
    handed_out(speaker, &mut add);
    found
}

/// Sessions and signed URLs, used for something else.
fn handed_out(speaker: Speaker<'_>, add: &mut impl FnMut(&str, Line<'_>)) {
    let session = speaker.handed.session.as_str();
    let signed = speaker.handed.signed.as_str();
    let (path, query) = session.split_once('?').unwrap_or((session, ""));
    let elsewhere = path.replace("open-1", "vault-1");
    let id = query
        .split('&')
        .find(|pair| pair.starts_with("upload_id="))
        .unwrap_or_default();
    for (way, target) in [
        ("a session in a forbidden bucket", format!("{elsewhere}?{query}")),
        (
            "a session in a forbidden bucket by its id",
            format!("{elsewhere}?{id}"),
        ),
        (
            "a session with another name",
            format!("{path}?{query}&bucket=vault-1"),
        ),
        (
            "a session with two ids",
            format!("{elsewhere}?{query}&upload_id=real"),
        ),
        ("a session by XML", format!("/vault-1/item-1?{id}")),
        ("a session and steps", format!("{path}/../../vault-1/o?{query}")),
        (
            "a session below another upload",
            format!("/resumable{elsewhere}?{query}"),
        ),
        (
            "a session that nobody handed out",
            format!("{elsewhere}?upload_id=invented"),
        ),
        (
            "a session of an encoded bucket",
            format!("{}?{query}", elsewhere.replace("vault", "%76ault")),
        ),
    ] {
        add(HOST, (way, "PUT", &target, "", "x"));
        add(
            HOST,
            (
                way,
                "POST",
                &target,
                "X-Goog-Upload-Command: upload, finalize\r\nX-Goog-Upload-Offset: 0\r\n",
                "x",
            ),
        );
        add(HOST, (way, "GET", &target, "", ""));
        add(HOST, (way, "DELETE", &target, "", ""));
    }
    add(
        VAULT_HOST,
        (
            "a session at the host of a forbidden bucket",
            "PUT",
            &format!("/item-1?{query}"),
            "",
            "x",
        ),
    );
    let (path, query) = signed.split_once('?').unwrap_or((signed, ""));
    let elsewhere = path.replace("open-1", "vault-1");
    for (way, target) in [
        (
            "a signed URL for a forbidden bucket",
            format!("{elsewhere}?{query}"),
        ),
        ("a signed URL with more", format!("{elsewhere}?{query}&x=y")),
        (
            "a signed URL and steps",
            format!("{path}/../..{elsewhere}?{query}"),
        ),
        (
            "a signed URL by JSON",
            format!("/storage/v1/b/vault-1/o/source.zip?{query}"),
        ),
        (
            "a signed URL of Google's",
            format!("{elsewhere}?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature=00"),
        ),
        (
            "a signed URL of the second version",
            format!("{elsewhere}?GoogleAccessId=x&Expires=9999999999&Signature=00"),
        ),
        (
            "a signed URL in Amazon's form",
            format!("{elsewhere}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"),
        ),
    ] {
        add(HOST, (way, "PUT", &target, "", "x"));
        add(HOST, (way, "GET", &target, "", ""));
    }
    add(
        VAULT_HOST,
        (
            "a signed URL at the host of a forbidden bucket",
            "PUT",
            &format!("/source.zip?{query}"),
            "",
            "x",
        ),
    );
}
