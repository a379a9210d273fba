//! The methods of a Google that compares paths carelessly.

use std::collections::HashMap;

use anyhow::Result;
use turnpike_policy::{catalog::Catalog, grpc::GrpcCatalog};

/// Hosts that could serve any service.
const SHARED: &[&str] = &[
    "www.googleapis.com",
    "content.googleapis.com",
    "googleapis.com",
    "p.googleapis.com",
    "private.googleapis.com",
    "restricted.googleapis.com",
    "clients6.google.com",
];

/// A method whose template a path fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// The method's id.
    pub id: &'static str,
    /// What stands where the template has variables, each behind the literal before it.
    pub names: Vec<(String, String)>,
}

/// All methods, by verb and number of segments. It is built from the catalogue's data and nothing of its matching.
#[derive(Debug)]
pub struct Table {
    rest: HashMap<(&'static str, usize), Vec<Row>>,
    /// Methods whose variable takes several segments.
    open: Vec<(&'static str, Row)>,
    /// Ids by path, in lower case.
    rpcs: HashMap<String, Vec<String>>,
}

#[derive(Clone, Debug)]
struct Row {
    service: &'static str,
    /// Segments, in lower case.
    template: Vec<String>,
    id: &'static str,
}

impl Table {
    /// The table of these builds' catalogues.
    ///
    /// # Errors
    /// The data is damaged.
    pub fn new() -> Result<Self> {
        let mut table = Self {
            rest: HashMap::new(),
            open: Vec::new(),
            rpcs: HashMap::new(),
        };
        for method in Catalog::embedded()?.methods() {
            let template = method.template.to_ascii_lowercase();
            let row = Row {
                service: method.service,
                template: template.split('/').map(str::to_owned).collect(),
                id: method.id,
            };
            if template.contains("**") {
                table.open.push((method.verb, row));
            } else {
                let key = (method.verb, row.template.len());
                table.rest.entry(key).or_default().push(row);
            }
        }
        for rpc in GrpcCatalog::embedded()?.methods() {
            let ids = table.rpcs.entry(rpc.path().to_ascii_lowercase()).or_default();
            ids.push(rpc.own_id());
        }
        Ok(table)
    }

    /// The methods whose template fits a path without its first slash, on a host. Hosts are compared by whether the
    /// service's name stands in them. Hosts of many services, addresses and no host at all have all of them.
    pub fn find(&self, verb: &str, host: &str, path: &str) -> Vec<Fit> {
        let lower = path.to_ascii_lowercase();
        let segments: Vec<Segment<'_>> = lower.split('/').zip(path.split('/')).collect();
        let shared =
            host.is_empty() || SHARED.contains(&host) || !host.contains(|c: char| c.is_ascii_alphabetic());
        let served = |row: &Row| shared || host.contains(row.service);
        let counted = self
            .rest
            .iter()
            .filter(|((v, count), _)| *count == segments.len() && v.eq_ignore_ascii_case(verb))
            .flat_map(|(_, rows)| rows);
        let open = self
            .open
            .iter()
            .filter(|(v, _)| v.eq_ignore_ascii_case(verb))
            .map(|(_, row)| row);
        let mut found = Vec::new();
        for row in counted.chain(open).filter(|row| served(row)) {
            let mut names = Vec::new();
            if fits(&row.template, &segments, "", &mut names) {
                found.push(Fit { id: row.id, names });
            }
        }
        found
    }

    /// The ids of the RPC that a path names.
    pub fn rpc(&self, path: &str) -> Vec<String> {
        let path = path.to_ascii_lowercase();
        self.rpcs.get(&path).cloned().unwrap_or_default()
    }
}

/// A segment of a path in lower case, which is as long, and as it is.
type Segment<'p> = (&'p str, &'p str);

/// Whether a template fits; what its variables take is added to the names.
fn fits(template: &[String], path: &[Segment<'_>], before: &str, names: &mut Vec<(String, String)>) -> bool {
    let Some((first, rest)) = template.split_first() else {
        return path.is_empty();
    };
    let Some(((lower, segment), others)) = path.split_first() else {
        return false;
    };
    let mut add = |before: &str, name: &str| names.push((before.to_owned(), name.to_owned()));
    match first.strip_prefix("**") {
        Some("") => (1..=path.len()).any(|n| {
            let length = names.len();
            names.extend(
                path[..n]
                    .iter()
                    .map(|(_, name)| (before.to_owned(), (*name).to_owned())),
            );
            let fit = fits(rest, &path[n..], "", names);
            if !fit {
                names.truncate(length);
            }
            fit
        }),
        // A run with a verb is the end of its template.
        Some(verb) => match path.split_last() {
            Some(((lower, last), run)) if lower.ends_with(verb) => {
                run.iter().for_each(|(_, name)| add(before, name));
                add(before, &last[..last.len() - verb.len()]);
                true
            }
            _ => false,
        },
        None => match one(first, lower) {
            Some(name) => {
                if first.starts_with('*') {
                    add(before, &segment[..name.len()]);
                }
                fits(rest, others, first, names)
            }
            None => false,
        },
    }
}

/// What a segment of a template takes of a path's, if it fits.
fn one<'p>(template: &str, segment: &'p str) -> Option<&'p str> {
    match template.strip_prefix('*') {
        Some(verb) => segment.strip_suffix(verb).filter(|name| !name.is_empty()),
        None => (template == segment).then_some(segment),
    }
}
