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
mod mask;
mod probes;
mod range;
mod roles;
mod walk;

use std::{borrow::Cow, sync::LazyLock};

use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::{
    factors::Id,
    methods::reads_only,
    pattern::{Patterns, fits},
    tally::{MAX, Tally},
};
use crate::{
    call::Call,
    request::{Body, RequestFacts},
};
use is::Is;
use probes::{HEADERS, Named, PROBES, Probe, QUERY};

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
    asked(std::slice::from_ref(call)).iter().any(|asked| asked.strict)
}

/// A row that is asked of a request.
#[derive(Debug, Clone, Copy)]
struct Asked {
    probe: &'static Probe,
    /// Whether it counts that the body can't be read.
    strict: bool,
}

/// The rows that are asked of a request, each once.
fn asked(calls: &[Call]) -> SmallVec<[Asked; 16]> {
    static ROWS: LazyLock<Patterns<&Probe>> = LazyLock::new(|| {
        let rows = PROBES
            .iter()
            .flat_map(|probe| probe.methods.iter().map(move |pattern| (*pattern, probe)));
        Patterns::new(rows)
    });
    let mut all = SmallVec::<[Asked; 16]>::new();
    for call in calls.iter().filter(|call| !reads_only(call)) {
        for probe in ROWS.of(call.method) {
            let strict = !probe.lenient.contains(&call.method);
            match all.iter_mut().find(|known| std::ptr::eq(known.probe, *probe)) {
                Some(known) => known.strict |= strict,
                None => all.push(Asked { probe, strict }),
            }
        }
    }
    all
}

/// Adds what the request does.
pub(super) fn judge(calls: &[Call], request: &RequestFacts<'_>, tally: &mut Tally<'_>) {
    if request.parts.is_empty() {
        return judge_one(calls, request, tally);
    }
    for (c, call) in calls.iter().enumerate() {
        judge_one(std::slice::from_ref(call), request.of_call(c), tally);
    }
}

/// The same for one request, whatever calls it can be taken for.
fn judge_one(calls: &[Call], request: &RequestFacts<'_>, tally: &mut Tally<'_>) {
    if calls.iter().all(reads_only) {
        return;
    }
    named(QUERY, calls, request.query, tally);
    named(HEADERS, calls, request.headers, tally);
    for call in calls {
        entity_in_url(call, tally);
    }
    let asked = asked(calls);
    if asked.is_empty() {
        return;
    }
    let none = Value::Object(Map::new());
    let read = match request.body {
        Body::Absent => walk::walk(calls, &asked, &none, request.query, tally),
        Body::Json(value) => walk::walk(calls, &asked, value, request.query, tally),
        Body::Unread | Body::Unreadable => false,
    };
    if !read {
        hidden(&asked, tally);
    }
}

/// What can't be read counts for all that could be wrong with it.
fn hidden(asked: &[Asked], tally: &mut Tally<'_>) {
    let strict = asked.iter().filter(|asked| asked.strict);
    let mut factors: SmallVec<[Id; 8]> = strict.map(|asked| asked.probe.factor).collect();
    if factors.is_empty() {
        return;
    }
    factors.sort_unstable();
    factors.dedup();
    let all: u32 = factors.iter().map(|id| u32::from(tally.points(*id))).sum();
    let all = u8::try_from(all).map_or(MAX, |all| all.min(MAX));
    let own = tally.points(Id::UnreadableBody);
    tally.add_points(Id::UnreadableBody, own.max(all));
}

/// Parameters or headers that do something.
fn named(table: &'static [Named], calls: &[Call], given: &[(&str, &str)], tally: &mut Tally<'_>) {
    for (name, value) in given {
        for row in table {
            let Some(known) = row.names.iter().find(|known| same_name(name, known)) else {
                continue;
            };
            let Some(label) = row.is.text(value) else {
                continue;
            };
            let concerns = |call: &Call| {
                !reads_only(call) && row.methods.iter().any(|pattern| fits(pattern, call.method))
            };
            if calls.iter().any(concerns) {
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

/// Whether two names of a field are the same, in camel case or in snake case.
fn same_name(a: &str, b: &str) -> bool {
    fn folded(name: &str) -> impl Iterator<Item = u8> {
        name.bytes()
            .filter(|b| *b != b'_')
            .map(|b| b.to_ascii_lowercase())
    }
    // Most names differ in their first letter.
    if let ([x, ..], [y, ..]) = (a.as_bytes(), b.as_bytes())
        && !x.eq_ignore_ascii_case(y)
        && *x != b'_'
        && *y != b'_'
    {
        return false;
    }
    a == b || folded(a).eq(folded(b))
}
