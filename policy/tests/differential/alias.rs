//! Other URLs of a method: every host and prefix that Google serves it by.

use turnpike_policy::{
    call::Call,
    catalog::{Classified, Method},
};

use crate::plain::{Plain, Url, with_query};

/// Location of a host that names one.
const LOCATION: &str = "us-central1";

/// An alias, and the location that its host adds.
pub(crate) struct Alias {
    pub(crate) url: Url,
    pub(crate) location: Option<&'static str>,
}

/// All aliases of a plain URL.
pub(crate) fn all(plain: &Plain<'_>) -> Vec<Alias> {
    let (method, path, query) = (&plain.method, &plain.path, plain.query());
    let service = method.service;
    let mut aliases = Vec::new();
    let mut add = |authority: String, path: String, query: &str, location| {
        aliases.push(Alias {
            url: Url {
                verb: method.verb.to_owned(),
                authority,
                target: with_query(&path, query),
            },
            location,
        });
    };
    let hosts = hosts(service);
    for (host, location) in &hosts {
        add(host.clone(), path.clone(), query, *location);
    }
    if method.on_www() {
        add("www.googleapis.com".to_owned(), path.clone(), query, None);
    }
    for (prefix, serves) in [
        ("/upload", method.uploads),
        ("/resumable/upload", method.uploads),
        (
            "/download",
            method.downloads && !method.template.starts_with("download/"),
        ),
    ] {
        for (host, location) in hosts.iter().filter(|_| serves) {
            let media = if prefix == "/download" {
                "alt=media"
            } else {
                "uploadType=resumable"
            };
            add(
                host.clone(),
                format!("{prefix}{path}"),
                &joined(query, media),
                *location,
            );
        }
    }
    if method.downloads {
        add(method.host(), path.clone(), &joined(query, "alt=media"), None);
        add(method.host(), path.clone(), &joined(query, "%24alt=media"), None);
    }
    add(
        method.host(),
        path.clone(),
        &joined(query, "alt=json&$alt=json&key=k&access_token=t&callback=f"),
        None,
    );
    aliases
}

fn hosts(service: &str) -> Vec<(String, Option<&'static str>)> {
    let plain = format!("{service}.googleapis.com");
    vec![
        (format!("{plain}:443"), None),
        (plain.to_uppercase(), None),
        (format!("{service}.mtls.googleapis.com"), None),
        (format!("content-{service}.googleapis.com"), None),
        (format!("{LOCATION}-{service}.googleapis.com"), Some(LOCATION)),
        (format!("{service}.{LOCATION}.rep.googleapis.com"), Some(LOCATION)),
        (
            format!("{service}.{LOCATION}.rep.mtls.googleapis.com"),
            Some(LOCATION),
        ),
        (
            format!("batch-{service}.{LOCATION}.rep.googleapis.com"),
            Some(LOCATION),
        ),
        (
            format!("{service}-preprod.{LOCATION}.rep.googleapis.com"),
            Some(LOCATION),
        ),
        (format!("{service}-endpoint1.p.googleapis.com"), None),
    ]
}

fn joined(query: &str, more: &str) -> String {
    match query {
        "" => more.to_owned(),
        _ => format!("{query}&{more}"),
    }
}

/// Whether an alias reads as the plain URL: the same calls on the same resources. The location of the host may stand
/// where the plain reading has any (Cloud Run's `namespaces`).
pub(crate) fn same(plain: &Classified, alias: &Classified, location: Option<&str>) -> bool {
    let readings =
        |c: &Classified| -> Vec<Call> { std::iter::once(&c.call).chain(&c.also).cloned().collect() };
    let (mut plain, alias) = (readings(plain), readings(alias));
    if let Some(location) = location {
        for resource in plain.iter_mut().flat_map(|call| &mut call.resources) {
            if resource.location.as_deref() == Some("-") {
                resource.location = Some(location.to_owned());
                resource.name = resource
                    .name
                    .replace("/locations/-", &format!("/locations/{location}"));
            }
        }
    }
    plain == alias
}

/// Whether the methods that a reading finds hold this one.
pub(crate) fn finds(classified: &Classified, method: &Method<'_>) -> bool {
    let call = &classified.call;
    (call.index, call.api, call.version) == (method.index, method.api, method.version)
}
