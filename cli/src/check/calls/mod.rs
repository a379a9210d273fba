//! `check --calls`: tables of calls that must be allowed, denied or held, tried on the policies that were checked.
//!
//! Every call is decided as the gateway would, by the same function.

pub(super) mod junit;
mod table;

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::Result;
use serde::Serialize;
use turnpike_compiler::{PolicyDef, load::Problem, similar::nearest};
use turnpike_policy::{PolicySet, definition::Effect, detect::Detectors};

use crate::offline::{self, Refused, Search, Tables, Told, happens};
use table::Row;

/// What came of all tables.
#[derive(Debug, Default, Serialize)]
pub(super) struct Calls {
    /// How many calls are decided as they must be.
    pub(super) passed: usize,
    /// How many are not.
    pub(super) failed: usize,
    pub(super) rows: Vec<Tried>,
}

/// A row of a table, tried.
#[derive(Debug, Serialize)]
pub(super) struct Tried {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) name: String,
    /// What must happen.
    pub(super) must: Effect,
    /// The methods that it was taken for.
    pub(super) methods: Vec<&'static str>,
    #[serde(flatten)]
    pub(super) told: Told,
    /// What is wrong with it; nothing where it is decided as it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
}

/// A table that cannot be used.
#[derive(Debug)]
pub(super) struct Unusable {
    pub(super) file: String,
    pub(super) problem: Problem,
}

/// Reads tables and tries their calls.
///
/// # Errors
/// What is wrong with tables; then nothing was tried.
pub(super) fn run(files: &[PathBuf], policies: Vec<PolicyDef>) -> Result<Result<Calls, Vec<Unusable>>> {
    let mut tables = Vec::new();
    let mut unusable = Vec::new();
    for path in files {
        let file = path.display().to_string();
        let folder = path.parent().unwrap_or(path);
        let rows = match fs::read_to_string(path) {
            Ok(text) => table::read(&text, folder),
            Err(error) => Err(vec![Problem {
                line: 0,
                column: 0,
                path: None,
                message: format!("cannot be read: {error}"),
            }]),
        };
        match rows {
            Ok(rows) => tables.push((file, rows)),
            Err(problems) => unusable.extend(problems.into_iter().map(|problem| Unusable {
                file: file.clone(),
                problem,
            })),
        }
    }
    if !unusable.is_empty() {
        return Ok(Err(unusable));
    }
    let kinds = kinds(&policies);
    let set = PolicySet::new(policies);
    let known = Tables::embedded()?;
    let mut calls = Calls::default();
    for (file, rows) in tables {
        for row in rows {
            let (line, column) = (row.line, row.column);
            match strange_kind(&row, &kinds).map_or_else(|| tried(&file, row, known, &set), Err) {
                Ok(tried) => {
                    match tried.failure {
                        None => calls.passed += 1,
                        Some(_) => calls.failed += 1,
                    }
                    calls.rows.push(tried);
                }
                Err(message) => unusable.push(Unusable {
                    file: file.clone(),
                    problem: Problem {
                        line,
                        column,
                        path: None,
                        message,
                    },
                }),
            }
        }
    }
    Ok(if unusable.is_empty() {
        Ok(calls)
    } else {
        Err(unusable)
    })
}

/// The kinds of secrets that there are: those of the built-in detectors, and those of policies' own.
fn kinds(policies: &[PolicyDef]) -> BTreeSet<String> {
    let own = policies.iter().filter_map(|policy| policy.outbound.as_ref());
    let own = own.flat_map(|outbound| outbound.detectors.iter().map(|detector| detector.name.clone()));
    let builtin = Detectors::builtin().kinds().map(str::to_owned);
    builtin.chain(own).collect()
}

/// Whether a row pretends that a kind of secrets was found that no detector looks for.
fn strange_kind(row: &Row, kinds: &BTreeSet<String>) -> Option<String> {
    let Search::Pretended { kinds: pretended, .. } = &row.request.search else {
        return None;
    };
    let strange = pretended.iter().find(|kind| !kinds.contains(*kind))?;
    let meant = nearest(strange, kinds.iter().map(String::as_str));
    let meant = meant.map_or_else(String::new, |kind| format!("; did you mean {kind:?}?"));
    Some(format!(
        "secrets: no built-in detector is called {strange:?}, and none of these policies{meant}"
    ))
}

/// Decides a row. One that no policy is asked about proves nothing of policies, so that it must be meant: its reason
/// says so.
fn tried(file: &str, row: Row, tables: Tables, set: &PolicySet) -> Result<Tried, String> {
    let (methods, told) = match offline::decide(tables, set, &row.request, &row.circumstances) {
        Ok((understood, told)) => (understood.calls.iter().map(|call| call.method).collect(), told),
        Err(refused) if row.expected.reason.as_ref() == Some(&refused.reason) => {
            (Vec::new(), Told::refused(&refused))
        }
        Err(Refused { reason, message }) => {
            return Err(format!(
                "is refused for what it is, whatever policies say: {message}; correct the call, or say reason: \
                 {reason} under must_deny if that is what you mean"
            ));
        }
    };
    let failure = failure(&row, &methods, &told);
    Ok(Tried {
        file: file.to_owned(),
        line: row.line,
        column: row.column,
        name: row.name,
        must: row.must,
        methods,
        told,
        failure,
    })
}

fn failure(row: &Row, methods: &[&str], told: &Told) -> Option<String> {
    let because = format!("{} ({})", told.because, told.reason);
    if told.effect != row.must {
        return Some(format!(
            "must be {} and is {}: {because}",
            happens(row.must),
            happens(told.effect)
        ));
    }
    let expected = &row.expected;
    if let Some(method) = expected.method.as_deref().filter(|m| !methods.contains(m)) {
        return Some(format!("is {} and no {method}", methods.join(" and ")));
    }
    if let Some(rule) = expected.rule.as_deref().filter(|rule| !told.is_by(rule)) {
        return Some(format!("is {}, not by {rule}: {because}", happens(told.effect)));
    }
    if let Some(reason) = expected.reason.as_ref().filter(|r| **r != told.reason) {
        return Some(format!(
            "is {}, not for {reason}: {because}",
            happens(told.effect)
        ));
    }
    None
}

/// The name of the list that wants an effect.
pub(super) fn list(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "must_allow",
        Effect::RequireApproval => "must_hold",
        Effect::Deny => "must_deny",
    }
}
