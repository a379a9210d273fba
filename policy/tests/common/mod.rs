//! URLs for all methods of the catalogue, shared by the tests that go over all of it.

use std::sync::OnceLock;

use turnpike_policy::catalog::{Catalog, Method};

/// The embedded catalogue.
pub(crate) fn catalog() -> &'static Catalog {
    static LOADED: OnceLock<&'static Catalog> = OnceLock::new();
    LOADED.get_or_init(|| Catalog::embedded().expect("the embedded catalogue loads"))
}

/// A path for a template, with values of the kind that each collection has.
pub(crate) fn path_of(method: &Method<'_>) -> String {
    let mut path = String::new();
    let mut before = "";
    for segment in method.template.split('/') {
        let (body, verb) = match segment.split_once(':') {
            Some((body, verb)) => (body, Some(verb)),
            None => (segment, None),
        };
        path.push('/');
        match body {
            "*" => path.push_str(match before {
                "projects" => "acme-dev",
                "locations" | "regions" => "us-central1",
                "zones" => "us-central1-a",
                "b" => "acme-reports",
                "o" => "2026%2Fq1%2Fsales.csv",
                "serviceAccounts" => "ci@acme-dev.iam.gserviceaccount.com",
                "users" => "alice%40example.com",
                _ => "item-1",
            }),
            // Documents stand in pairs of collection and id.
            "**" if method.template.contains("/documents/") => path.push_str("alice"),
            "**" => path.push_str("first-1/second-2"),
            literal => path.push_str(literal),
        }
        if let Some(verb) = verb {
            path.push(':');
            path.push_str(verb);
        }
        before = body;
    }
    path
}
