//! Less than one false hit in 10 MB: the sources of this repository, its catalogue, and logs.

use std::{
    fmt::Write as _,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use turnpike_policy::detect::Detectors;

use crate::made::Made;

/// What is found in a text, without the values.
fn places(name: &str, text: &[u8]) -> Vec<String> {
    let mut places = Vec::new();
    Detectors::builtin().scan(text, &mut |hit| {
        places.push(format!("{name}:{}: {}", hit.line, hit.kind))
    });
    places
}

/// The files of this repository; what is built or hidden is left out.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().expect("a kind");
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if kind.is_dir() {
            sources(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}

#[test]
fn the_sources_of_this_repository_hold_no_secret() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root");
    let mut files = Vec::new();
    sources(root, &mut files);
    let mut bytes = 0;
    let mut found = Vec::new();
    for file in files {
        let text = fs::read(&file).expect("a file");
        bytes += text.len();
        found.extend(places(&file.to_string_lossy(), &text));
    }
    assert!(bytes > 2_000_000, "{bytes} bytes were looked at");
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_catalogue_holds_no_secret() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    for name in ["catalog.gz", "grpc.gz"] {
        let file = fs::File::open(data.join(name)).expect("the data");
        let mut text = Vec::new();
        GzDecoder::new(file).read_to_end(&mut text).expect("it unpacks");
        assert!(text.len() > 100_000, "{name}");
        assert_eq!(places(name, &text), Vec::<String>::new());
    }
}

#[test]
fn logs_hold_no_secret() {
    let m = &mut Made::new(41);
    let mut log = String::new();
    while log.len() < 10_000_000 {
        let (trace, span, digest) = (m.hex(32), m.hex(16), m.hex(64));
        let (insert, etag, page) = (m.alnum(14), m.base64(22), m.url_safe(48));
        let uuid = format!(
            "{}-{}-4{}-a{}-{}",
            m.hex(8),
            m.hex(4),
            m.hex(3),
            m.hex(3),
            m.hex(12)
        );
        let (number, address) = (m.next() % 4_000_000_000, m.next() as u8);
        let _infallible = write!(
            log,
            "{{\"insertId\":\"{insert}\",\"trace\":\"projects/acme/traces/{trace}\",\"spanId\":\"{span}\",\"httpRequest\":\
             {{\"requestUrl\":\"https://storage.googleapis.com/storage/v1/b/a/o?pageToken={page}&upload_id={page}\",\
             \"remoteIp\":\"10.0.0.{address}\"}},\"nextPageToken\":\"{page}\",\"etag\":\"{etag}==\",\"md5Hash\":\"{etag}==\"}}\n\
             time=2026-01-01T00:00:00Z level=info msg=\"token reviewed\" uid={uuid} audience=turnpike token_id={uuid}\n\
             10.0.0.{address} - - [01/Jan/2026:00:00:00 +0000] \"GET /v1/{number}/secrets/db:access HTTP/2\" 200 {number}\n\
             pulled docker.io/library/app@sha256:{digest} in {number}ns; secret=\"{uuid}\" password_policy=on {insert}\n\
             commit {digest} refs/heads/main +{number} generation={number} requestId={insert}{insert}\n"
        );
    }
    assert_eq!(places("log", log.as_bytes()), Vec::<String>::new());
}
