//! `check --calls`: tables of calls that must be allowed, denied or held, tried on the policies that were checked.
//!
//! Every call is decided as the gateway would, by the same function.

pub(super) mod junit;
mod table;

use std::{fs, path::PathBuf};

use anyhow::Result;
use serde::Serialize;
use turnpike_compiler::{PolicyDef, load::Problem};
use turnpike_policy::{PolicySet, definition::Effect};

use crate::offline::{self, Tables, Told, happens};
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
    let set = PolicySet::new(policies);
    let known = Tables::embedded()?;
    let mut calls = Calls::default();
    for (file, rows) in tables {
        for row in rows {
            let tried = tried(&file, row, known, &set);
            match tried.failure {
                None => calls.passed += 1,
                Some(_) => calls.failed += 1,
            }
            calls.rows.push(tried);
        }
    }
    Ok(Ok(calls))
}

fn tried(file: &str, row: Row, tables: Tables, set: &PolicySet) -> Tried {
    let (methods, told) = match offline::decide(tables, set, &row.request, &row.circumstances) {
        Ok((understood, told)) => (understood.calls.iter().map(|call| call.method).collect(), told),
        Err(refused) => (Vec::new(), Told::refused(&refused)),
    };
    let failure = failure(&row, &methods, &told);
    Tried {
        file: file.to_owned(),
        line: row.line,
        column: row.column,
        name: row.name,
        must: row.must,
        methods,
        told,
        failure,
    }
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
