//! The plain URL of a method: what all its aliases and mutations are compared with.

use std::{collections::BTreeSet, io::Read as _};

use turnpike_policy::{
    canonical::Target,
    catalog::{Classified, Method},
};

use crate::common::{catalog, path_of};

/// A request line, as an agent could write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) verb: String,
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}{}",
            self.verb,
            self.authority,
            self.target.escape_debug()
        )
    }
}

/// A method's plain URL, and what is known of it.
pub(crate) struct Plain<'a> {
    pub(crate) method: Method<'a>,
    pub(crate) url: Url,
    /// The path, undecoded.
    pub(crate) path: String,
    /// Query parameters that name what is acted on; the plain query gives each once.
    pub(crate) naming: Vec<(&'static str, &'static str)>,
    /// The template's literals and custom verbs: what a router that ignores case ignores it in.
    pub(crate) literals: BTreeSet<&'a str>,
    pub(crate) classified: Classified,
}

impl<'a> Plain<'a> {
    /// With a path other than that of [`path_of`]; `None` where the catalogue refuses it.
    pub(crate) fn new(method: Method<'a>, path: String, naming: &[&'static str]) -> Option<Self> {
        let naming: Vec<_> = naming.iter().map(|name| (*name, value_of(name))).collect();
        let query: Vec<_> = naming
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let url = Url {
            verb: method.verb.to_owned(),
            authority: method.host(),
            target: with_query(&path, &query.join("&")),
        };
        let literals = method
            .template
            .split(['/', ':'])
            .filter(|s| !s.contains('*'))
            .collect();
        Some(Self {
            classified: strict(&url)?,
            method,
            url,
            path,
            naming,
            literals,
        })
    }

    /// The query without its question mark.
    pub(crate) fn query(&self) -> &str {
        self.url.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The same request with another target.
    pub(crate) fn with_target(&self, target: String) -> Url {
        Url {
            target,
            ..self.url.clone()
        }
    }

    /// The same request with another path.
    pub(crate) fn with_path(&self, path: &str) -> Url {
        self.with_target(with_query(path, self.query()))
    }

    /// The same request with a parameter more.
    pub(crate) fn with_parameter(&self, parameter: &str) -> Url {
        let joint = if self.query().is_empty() { "?" } else { "&" };
        self.with_target(format!("{}{joint}{parameter}", self.url.target))
    }
}

/// All methods, each with the parameters that name something, as the catalogue's recipes have them.
pub(crate) fn methods() -> Vec<(Method<'static>, Vec<&'static str>)> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&include_bytes!("../../data/catalog.gz")[..])
        .read_to_string(&mut text)
        .expect("the catalogue is text");
    let text: &'static str = text.leak();
    let rows = text
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let methods: Vec<_> = catalog()
        .methods()
        .zip(rows)
        .map(|(method, row)| {
            assert_eq!(method.template, row[2], "rows come in the order of methods");
            let mut naming: Vec<_> = row[3].split([',', ';']).filter_map(parameter).collect();
            naming.dedup();
            (method, naming)
        })
        .collect();
    assert_eq!(methods.len(), catalog().method_count());
    methods
}

fn parameter(field: &'static str) -> Option<&'static str> {
    match field {
        "P" => Some("project"),
        _ => field.strip_prefix('q'),
    }
}

fn value_of(parameter: &str) -> &'static str {
    match parameter {
        "project" => "acme-dev",
        _ => "item-7",
    }
}

pub(crate) fn with_query(path: &str, query: &str) -> String {
    match query {
        "" => path.to_owned(),
        _ => format!("{path}?{query}"),
    }
}

/// How requests are read: what is under test, or something more lenient that the test must catch.
pub(crate) type Reader = fn(&Url) -> Option<Classified>;

/// What Turnpike reads; `None` is a refusal.
pub(crate) fn strict(url: &Url) -> Option<Classified> {
    let target = Target::new(&url.verb, &url.authority, &url.target).ok()?;
    catalog().classify(&target).ok()
}

/// The plain URL of a method.
pub(crate) fn plain_of<'a>(method: Method<'a>, naming: &[&'static str]) -> Plain<'a> {
    let path = path_of(&method);
    Plain::new(method, path, naming).unwrap_or_else(|| panic!("{} is found by its plain URL", method.id))
}
