//! Writing the catalogue's text; the format is described in `policy/src/catalog/mod.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Context as _, ensure};
use turnpike_policy::call::Traits;

use super::{
    document::{Document, Method},
    recipe::recipe,
    source,
    template::{Template, Text},
    traits::traits,
};

/// The text, and a line for the person who made it.
pub(super) struct Table {
    pub(super) text: String,
    pub(super) summary: String,
}

/// Renders all documents.
pub(super) fn render(documents: &[Document]) -> anyhow::Result<Table> {
    let mut documents: Vec<_> = documents.iter().collect();
    documents.sort_by_key(|d| (&d.name, &d.version));
    let mut text = format!("turnpike-catalog 2 {}\n", source::VERSION);
    for (first, service) in legacy(&documents)? {
        writeln!(text, "legacy {first} {service}")?;
    }
    let mut services = BTreeSet::new();
    for document in &documents {
        let service = document.service()?;
        services.insert(service);
        writeln!(text, "api {} {} {service}", document.name, document.version)?;
    }
    // An API of www.googleapis.com also has a host of its own name (drive.googleapis.com/drive/v3).
    let of_www: BTreeSet<_> = documents
        .iter()
        .filter(|d| d.service().is_ok_and(|s| s == "www") && !services.contains(d.name.as_str()))
        .map(|d| d.name.to_ascii_lowercase())
        .collect();
    for name in of_www.iter().filter(|name| !services.contains(name.as_str())) {
        writeln!(text, "alias {name} www")?;
    }
    let parameters = Parameters::of(&documents);
    text.push_str(&parameters.text);
    let rows = rows(&documents)?;
    let mut last = "";
    for row in &rows {
        if row.method.id != last {
            last = &row.method.id;
            let set = parameters
                .sets
                .get(last)
                .with_context(|| format!("no set of {last}"))?;
            writeln!(text, "= {last} {set}")?;
        }
        writeln!(text, "{}", row.text)?;
    }
    ensure!(text.is_ascii(), "the table must be ASCII");
    Ok(Table {
        text,
        summary: summary(&documents, &rows),
    })
}

/// The tables of query parameters, and which set a method id has: what any of its versions has.
struct Parameters<'d> {
    text: String,
    sets: BTreeMap<&'d str, usize>,
}

impl<'d> Parameters<'d> {
    fn of(documents: &[&'d Document]) -> Self {
        let mut of_ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for method in documents.iter().flat_map(|d| d.methods()) {
            of_ids
                .entry(&method.id)
                .or_default()
                .extend(method.query_parameters());
        }
        let names: BTreeSet<&str> = of_ids.values().flatten().copied().collect();
        let distinct: BTreeSet<&BTreeSet<&str>> = of_ids.values().collect();
        let mut text = String::from("parameters");
        for name in &names {
            text.push(' ');
            text.push_str(name);
        }
        text.push('\n');
        let numbers: BTreeMap<&str, usize> = names.iter().copied().zip(0..).collect();
        for set in &distinct {
            text.push_str("set");
            for number in set.iter().filter_map(|name| numbers.get(name)) {
                text.push(' ');
                text.push_str(&number.to_string());
            }
            text.push('\n');
        }
        let places: BTreeMap<&BTreeSet<&str>, usize> = distinct.into_iter().zip(0..).collect();
        let place = |(id, set): (&&'d str, &BTreeSet<&str>)| places.get(set).map(|place| (*id, *place));
        let sets = of_ids.iter().filter_map(place).collect();
        Self { text, sets }
    }
}

struct Row<'d> {
    method: &'d Method,
    traits: Traits,
    text: String,
}

/// A method with its template, of the document that its path belongs to.
struct Candidate<'d> {
    rank: Rank,
    /// The document's place among all.
    number: usize,
    method: &'d Method,
    template: Template,
}

/// Service, verb and template.
type Key<'d> = (&'d str, &'d str, String);

/// One candidate for each path: the same path can be in several versions' documents.
fn candidates<'d>(documents: &[&'d Document]) -> anyhow::Result<BTreeMap<Key<'d>, Candidate<'d>>> {
    let mut best: BTreeMap<Key<'d>, Candidate<'d>> = BTreeMap::new();
    for (number, document) in documents.iter().enumerate() {
        for method in document.methods() {
            let template = Template::of(document, method)?;
            let rank = Rank::of(document, &template);
            let key = (document.service()?, method.http_method.as_str(), template.text());
            let kept = best.get(&key);
            if let Some(other) = kept {
                let same = other.method.id == method.id;
                ensure!(
                    same,
                    "{} and {} are one path: {}",
                    other.method.id,
                    method.id,
                    key.2
                );
            }
            if kept.is_none_or(|other| rank < other.rank) {
                best.insert(
                    key,
                    Candidate {
                        rank,
                        number,
                        method,
                        template,
                    },
                );
            }
        }
    }
    Ok(best)
}

fn rows<'d>(documents: &[&'d Document]) -> anyhow::Result<Vec<Row<'d>>> {
    let best = candidates(documents)?;
    let mut rows = Vec::with_capacity(best.len());
    for (
        (_, verb, path),
        Candidate {
            number,
            method,
            template,
            ..
        },
    ) in best
    {
        let document = documents[number];
        let letter = match verb {
            "GET" => 'G',
            "POST" => 'P',
            "PUT" => 'U',
            "PATCH" => 'A',
            "DELETE" => 'D',
            other => anyhow::bail!("{}: verb {other}", method.id),
        };
        let traits = traits(document, method);
        let recipe = recipe(document, method, &template, traits);
        let uploads = method.supports_media_upload || method.media_upload.is_some();
        let flags = [(uploads, "U"), (method.supports_media_download, "D")];
        let flags: String = flags.into_iter().filter(|(on, _)| *on).map(|(_, f)| f).collect();
        let text = format!("{number} {letter} {path} {recipe} {:02x}{flags}", traits.bits());
        ensure!(text.split(' ').count() == 5, "{}: {text:?}", method.id);
        rows.push((method.id.as_str(), number, path, Row { method, traits, text }));
    }
    rows.sort_by(|a, b| (a.0, a.1, &a.2, &a.3.text).cmp(&(b.0, b.1, &b.2, &b.3.text)));
    Ok(rows.into_iter().map(|(.., row)| row).collect())
}

/// Which of several documents a path belongs to: the lowest.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// The path does not name the document's version.
    foreign: bool,
    /// Not a generally available version.
    preliminary: bool,
    version: String,
}

impl Rank {
    fn of(document: &Document, template: &Template) -> Self {
        let version = document.version.rsplit('_').next().unwrap_or(&document.version);
        let named = template.segments.iter().any(|s| s.literal() == Some(version));
        let digits = version
            .strip_prefix('v')
            .is_some_and(|v| v.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        Self {
            foreign: !named,
            preliminary: !digits,
            version: document.version.clone(),
        }
    }
}

/// First path segments by which `www.googleapis.com` tells services apart: those of APIs whose paths begin
/// with a `servicePath` or the service's own name, and `sql`.
fn legacy<'d>(documents: &[&'d Document]) -> anyhow::Result<BTreeMap<String, &'d str>> {
    let mut firsts: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for document in documents {
        for method in document.methods() {
            let template = Template::of(document, method)?;
            let first = template.segments.first().context("a path without segments")?;
            if let Text::Literal(text) = &first.text
                && first.verb.is_none()
                && first.variable.is_none()
                && (!document.service_path.is_empty() || text == document.service()? || text == "sql")
            {
                firsts
                    .entry(text.clone())
                    .or_default()
                    .insert(document.service()?);
            }
        }
    }
    let version = |t: &str| t.starts_with('v') && t[1..].starts_with(|c: char| c.is_ascii_digit());
    let reserved = ["batch", "upload", "download", "resumable"];
    let mut legacy = BTreeMap::new();
    for (first, mut services) in firsts {
        services.remove("www");
        if services.len() == 1 && !version(&first) && !reserved.contains(&first.as_str()) {
            legacy.extend(services.pop_first().map(|service| (first, service)));
        }
    }
    Ok(legacy)
}

fn summary(documents: &[&Document], rows: &[Row<'_>]) -> String {
    let declared: usize = documents.iter().map(|d| d.methods().len()).sum();
    let ids: BTreeSet<_> = rows.iter().map(|r| &r.method.id).collect();
    let count = |t: Traits| rows.iter().filter(|r| r.traits.contains(t)).count();
    format!(
        "{} documents declare {declared} methods: {} distinct, {} ids; {} read, {} change, {} destructive, {} iam, \
         {} return credentials",
        documents.len(),
        rows.len(),
        ids.len(),
        count(Traits::READ),
        count(Traits::CHANGE),
        count(Traits::DESTRUCTIVE),
        count(Traits::IAM),
        count(Traits::RETURNS_CREDENTIALS)
    )
}
