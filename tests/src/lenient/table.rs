//! The methods of a Google that compares paths carelessly.

use std::collections::{BTreeSet, HashMap};

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
    pub fn find(&self, verb: &str, host: &str, path: &str) -> BTreeSet<&'static str> {
        let path = path.to_ascii_lowercase();
        let segments: Vec<&str> = path.split('/').collect();
        let shared =
            host.is_empty() || SHARED.contains(&host) || !host.contains(|c: char| c.is_ascii_alphabetic());
        let served = |row: &Row| shared || host.contains(row.service);
        let mut found = BTreeSet::new();
        for (key, rows) in &self.rest {
            if key.1 == segments.len() && key.0.eq_ignore_ascii_case(verb) {
                let fitting = rows.iter().filter(|r| served(r) && fits(&r.template, &segments));
                found.extend(fitting.map(|row| row.id));
            }
        }
        let open = self.open.iter().filter(|(v, _)| v.eq_ignore_ascii_case(verb));
        found.extend(
            open.filter(|(_, row)| served(row) && fits(&row.template, &segments))
                .map(|(_, row)| row.id),
        );
        found
    }

    /// The ids of the RPC that a path names.
    pub fn rpc(&self, path: &str) -> Vec<String> {
        let path = path.to_ascii_lowercase();
        self.rpcs.get(&path).cloned().unwrap_or_default()
    }
}

fn fits(template: &[String], path: &[&str]) -> bool {
    let Some((first, rest)) = template.split_first() else {
        return path.is_empty();
    };
    let Some((segment, others)) = path.split_first() else {
        return false;
    };
    match first.strip_prefix("**") {
        Some("") => (1..=path.len()).any(|n| fits(rest, &path[n..])),
        // A run with a verb is the end of its template.
        Some(verb) => path.last().is_some_and(|last| last.ends_with(verb)),
        None => one(first, segment) && fits(rest, others),
    }
}

fn one(template: &str, segment: &str) -> bool {
    match template.strip_prefix('*') {
        Some("") => !segment.is_empty(),
        Some(verb) => segment.len() > verb.len() && segment.ends_with(verb),
        None => template == segment,
    }
}
