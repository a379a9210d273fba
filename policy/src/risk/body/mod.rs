//! What a request does by its body, its query and its headers.
//!
//! Fields are found by their names, at any depth: a row of the [table](probes) says which methods it is asked of,
//! by which names a path ends, and what must stand there. Google's servers take names in camel case and in snake
//! case, and so does this. What is said of a finding is made of the table's own names and of indices, so no text of
//! a request gets into a record this way.
//!
//! It does not know what was there before: a policy is set whole, with grants that may be old. It parses no SQL,
//! no templates and no configuration within strings.

mod is;
mod probes;
mod range;
mod roles;
mod walk;

use std::{borrow::Cow, sync::LazyLock};

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::{
    factors::Id,
    methods::{first, fits, reads_only},
    tally::Tally,
};
use crate::{
    call::Call,
    request::{Body, RequestFacts},
};
use is::Is;
use probes::{HEADERS, PROBES, Probe, QUERY};

/// A row of the table of fields, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Name of the factor.
    pub factor: &'static str,
    /// Patterns of the methods.
    pub methods: &'static [&'static str],
    /// How the paths of the fields end, or the name of a parameter or header with its kind.
    pub names: Vec<String>,
    /// What must stand there.
    pub is: String,
    /// Methods for which it also counts if the field is not there, because of what that means.
    pub absent: &'static [&'static str],
}

/// All that is looked for in requests.
pub fn fields() -> impl Iterator<Item = Field> {
    let fields = PROBES.iter().map(|probe| Field {
        factor: probe.factor.factor().name,
        methods: probe.methods,
        names: probe.fields.iter().map(|names| names.join(".")).collect(),
        is: probe.is.describe(),
        absent: probe.absent.map_or(&[], |absent| absent.on),
    });
    let named = [(QUERY, "parameter"), (HEADERS, "header")];
    fields.chain(named.into_iter().flat_map(|(table, kind)| {
        table.iter().map(move |row| Field {
            factor: row.factor.factor().name,
            methods: row.methods,
            names: row.names.iter().map(|name| format!("{kind} {name}")).collect(),
            is: row.is.describe(),
            absent: &[],
        })
    }))
}

/// Whether some built-in factor looks at the body of this method, so that a body that is not read counts.
///
/// It is false for uploads of objects, whose bodies are content: where their metadata shares them, that is a call
/// of its own (`storage.objectAccessControls.insert`), for which it is true.
pub fn body_matters(call: &Call) -> bool {
    probes(call).iter().any(|probe| !probe.lenient)
}

type Active = SmallVec<[&'static Probe; 16]>;

/// The rows that are asked of a call.
fn probes(call: &Call) -> Active {
    static BY_SERVICE: LazyLock<FxHashMap<&str, Vec<(&str, &Probe)>>> = LazyLock::new(|| {
        let mut map = FxHashMap::<_, Vec<_>>::default();
        for probe in PROBES {
            for pattern in probe.methods {
                map.entry(first(pattern)).or_default().push((*pattern, probe));
            }
        }
        map
    });
    let mut active = Active::new();
    if reads_only(call) {
        return active;
    }
    for service in [first(call.method), "**"] {
        for (pattern, probe) in BY_SERVICE.get(service).into_iter().flatten() {
            if fits(pattern, call.method) && !active.iter().any(|known| std::ptr::eq(*known, *probe)) {
                active.push(probe);
            }
        }
    }
    active
}

/// Adds what the request does.
pub(super) fn judge(calls: &[Call], request: &RequestFacts<'_>, tally: &mut Tally<'_>) {
    // What could be wrong with a body that is not known, and whether that matters to anything.
    let mut hidden = SmallVec::<[Id; 8]>::new();
    let mut matters = false;
    let none = Value::Object(Map::new());
    for call in calls.iter().filter(|call| !reads_only(call)) {
        named(QUERY, call, request.query, tally);
        named(HEADERS, call, request.headers, tally);
        entity_in_url(call, tally);
        let active = probes(call);
        if active.is_empty() {
            continue;
        }
        let read = match request.body {
            Body::Absent => walk::walk(call, &active, &none, request.query, tally),
            Body::Json(value) => walk::walk(call, &active, value, request.query, tally),
            Body::Unread | Body::Unreadable => false,
        };
        if !read {
            let strict = || active.iter().filter(|probe| !probe.lenient);
            matters |= strict().next().is_some();
            hidden.extend(strict().map(|probe| probe.factor));
        }
    }
    if matters {
        hidden.sort_unstable();
        hidden.dedup();
        let all: u32 = hidden.iter().map(|id| u32::from(tally.points(*id))).sum();
        let all = u8::try_from(all).map_or(super::tally::MAX, |all| all.min(super::tally::MAX));
        let own = tally.points(Id::UnreadableBody);
        tally.add_points(Id::UnreadableBody, own.max(all));
    }
}

/// Parameters or headers that do something.
fn named(table: &'static [probes::Named], call: &Call, given: &[(&str, &str)], tally: &mut Tally<'_>) {
    if given.is_empty() {
        return;
    }
    let service = first(call.method);
    for row in table {
        if !row
            .methods
            .iter()
            .any(|pattern| first(pattern) == service && fits(pattern, call.method))
        {
            continue;
        }
        for (name, value) in given {
            let Some(known) = row.names.iter().find(|known| same_name(name, known)) else {
                continue;
            };
            if let Some(label) = row.is.text(value) {
                tally.add_at(row.factor, || Cow::Owned(format!("{known}: {label}")));
            }
        }
    }
}

/// An access control entry whose entity stands in the URL.
fn entity_in_url(call: &Call, tally: &mut Tally<'_>) {
    let Some((owner, verb)) = call.method.rsplit_once('.') else {
        return;
    };
    if !owner.ends_with("AccessControls") || !matches!(verb, "insert" | "patch" | "update") {
        return;
    }
    let ids = call
        .resources
        .iter()
        .filter_map(|resource| resource.id.as_deref());
    for label in ids.filter_map(|id| Is::Everybody.text(id)) {
        tally.add_at(Id::PublicAccess, || Cow::Owned(format!("entity: {label}")));
    }
}

/// Whether a name of a request is that of the table, in camel case or in snake case.
fn same_name(given: &str, name: &str) -> bool {
    given == name
        || (given.len() >= name.len()
            && given
                .bytes()
                .filter(|b| *b != b'_')
                .map(|b| b.to_ascii_lowercase())
                .eq(name.bytes().map(|b| b.to_ascii_lowercase())))
}
