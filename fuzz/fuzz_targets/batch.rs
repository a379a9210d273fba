//! Batches: what comes apart and is written anew comes apart to the same calls; answers likewise.
//!
//! Input: the `Content-Type` up to a line feed, then the body.
#![no_main]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use turnpike_policy::canonical::Target;
use turnpike_proxy::{
    batch::{Caps, InnerRequest, parse, parse_answer, rebuild, rebuild_answer},
    egress::Canonical,
};

const HOST: &str = "storage.googleapis.com";

fuzz_target!(|data: &[u8]| {
    let Some(at) = data.iter().position(|b| *b == b'\n') else {
        return;
    };
    let Ok(content_type) = HeaderValue::from_bytes(&data[..at]) else {
        return;
    };
    let body = Bytes::copy_from_slice(&data[at + 1..]);
    requests(content_type.clone(), &body);
    answers(&content_type, &body);
});

fn requests(content_type: HeaderValue, body: &Bytes) {
    let batch = Target::new("POST", HOST, "/batch/storage/v1").expect("a target");
    let read = |content_type: HeaderValue, body: &Bytes| {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        parse(&batch, &headers, body, Caps::GOOGLE)
    };
    let Ok(requests) = read(content_type, body) else {
        return;
    };
    let canonical: Vec<Canonical> = requests.iter().map(canonical).collect();
    for (canonical, request) in canonical.iter().zip(&requests) {
        assert_eq!(canonical.target.host(), HOST);
        assert!(!request.parts.headers.contains_key(header::AUTHORIZATION));
    }
    let pairs: Vec<_> = canonical.iter().zip(requests.iter().map(|r| &r.body)).collect();
    let Ok((content_type, rebuilt)) = rebuild(&pairs) else {
        return;
    };
    let again = read(content_type, &rebuilt).expect("what was written can be read");
    assert_eq!(again.len(), requests.len());
    for ((again, first), canonical) in again.iter().zip(&requests).zip(&canonical) {
        assert_eq!(again.body, first.body);
        assert_eq!(again.parts.method, first.parts.method);
        assert_eq!(again.parts.uri.to_string(), canonical.target.path_and_query());
    }
}

fn canonical(request: &InnerRequest) -> Canonical {
    let uri = &request.parts.uri;
    let authority = uri.authority().map_or(HOST, |a| a.as_str());
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let target = Target::new(request.parts.method.as_str(), authority, path).expect("it was checked");
    Canonical {
        uri: target
            .path_and_query()
            .parse()
            .expect("a canonical target is a URI"),
        host: HeaderValue::from_static(HOST),
        method: request.parts.method.clone(),
        headers: request.parts.headers.clone(),
        http2: false,
        anonymous: false,
        target,
    }
}

fn answers(content_type: &HeaderValue, body: &Bytes) {
    let Ok(content_type) = content_type.to_str() else {
        return;
    };
    for calls in 1..=2 {
        let Ok(answers) = parse_answer(content_type, body, calls) else {
            continue;
        };
        assert_eq!(answers.len(), calls);
        let ids: Vec<Option<HeaderValue>> = (0..calls)
            .map(|i| HeaderValue::try_from(format!("<turnpike+{i}>")).ok())
            .collect();
        let Ok((content_type, rebuilt)) = rebuild_answer(&answers, &ids) else {
            continue;
        };
        let content_type = content_type.to_str().expect("a content type is text");
        let again = parse_answer(content_type, &rebuilt, calls).expect("what was written can be read");
        for (again, first) in again.iter().zip(&answers) {
            assert_eq!((again.status, &again.body), (first.status, &first.body));
        }
    }
}
