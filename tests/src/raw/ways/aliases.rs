//! Other hosts that serve the same method.

use super::{
    super::{Attempt, How},
    Case, Speaker,
};

pub(super) fn ways(case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    let service = case.service;
    let mut hosts = vec![
        ("a regional host", format!("us-central1-{service}.googleapis.com")),
        (
            "a regional endpoint",
            format!("{service}.us-central1.rep.googleapis.com"),
        ),
        (
            "a host for client certificates",
            format!("{service}.mtls.googleapis.com"),
        ),
        (
            "a regional endpoint for client certificates",
            format!("{service}.eu.rep.mtls.googleapis.com"),
        ),
        ("a private endpoint", format!("{service}-mine.p.googleapis.com")),
        ("a mirror", format!("content-{service}.googleapis.com")),
        (
            "a host of batches",
            format!("batch-{service}.us-central1.rep.googleapis.com"),
        ),
        (
            "a trial host",
            format!("{service}-preprod.us-central1.rep.googleapis.com"),
        ),
        ("private endpoints without a name", "p.googleapis.com".to_owned()),
        ("restricted", "restricted.googleapis.com".to_owned()),
        ("private", "private.googleapis.com".to_owned()),
        ("a sandbox", format!("{service}.sandbox.googleapis.com")),
        (
            "a staging host",
            format!("staging-{service}.sandbox.googleapis.com"),
        ),
        (
            "an autopush host",
            format!("autopush-{service}.sandbox.googleapis.com"),
        ),
        ("googleapis.com itself", "googleapis.com".to_owned()),
        ("clients6", "clients6.google.com".to_owned()),
    ];
    if case.on_www {
        hosts.push(("the legacy host", "www.googleapis.com".to_owned()));
        hosts.push(("the legacy mirror", "content.googleapis.com".to_owned()));
    }
    let attempt = |(way, host): (&'static str, String)| Attempt {
        way,
        how: How::Request {
            bytes: speaker.request(case.verb, &case.path, &host, "", ""),
            host,
        },
    };
    hosts.into_iter().map(attempt).collect()
}
