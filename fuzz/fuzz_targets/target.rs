//! Request targets: a canonical form that is its own canonical form, and means the same call.
//!
//! Input: a byte for the verb, the host up to a line feed, then path and query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnpike_policy::{canonical::Target, catalog::Catalog};

const VERBS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

fuzz_target!(|data: &[u8]| {
    let Some((verb, rest)) = data.split_first() else {
        return;
    };
    let verb = VERBS[usize::from(*verb) % VERBS.len()];
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let (host, path) = text.split_once('\n').unwrap_or(("storage.googleapis.com", text));
    let Ok(target) = Target::new(verb, host, path) else {
        return;
    };
    let again =
        Target::new(verb, target.host(), &target.path_and_query()).expect("a canonical target is one");
    assert_eq!(again.path_and_query(), target.path_and_query());
    assert_eq!(again.alt(), target.alt());
    assert_eq!(
        again.query_pairs().collect::<Vec<_>>(),
        target.query_pairs().collect::<Vec<_>>()
    );
    let url = format!("https://{}{}", target.host(), target.path_and_query());
    let by_url = Target::from_url(verb, &url).expect("a canonical target makes a URL");
    assert_eq!(by_url.path_and_query(), target.path_and_query());
    // What hyper sends must be what was decided.
    let uri: http::Uri = url.parse().expect("hyper takes every canonical target");
    assert_eq!(
        uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        Some(target.path_and_query().as_str())
    );
    assert_eq!(uri.host(), Some(target.host()));
    let segments: Vec<&str> = (0..target.segment_count()).map(|i| target.segment(i)).collect();
    assert_eq!(format!("/{}", segments.join("/")), target.path());
    let catalog = Catalog::embedded().expect("the catalogue is well formed");
    assert_eq!(catalog.classify(&again), catalog.classify(&target));
});
