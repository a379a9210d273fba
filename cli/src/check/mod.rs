//! `check`: compiles policies offline, by the compiler that the operator and the proxy use, and says what is
//! wrong with them and where.
//!
//! What only a cluster knows is not looked at: whether a namespace may use a credential, and what stands in
//! policies that were not given. With tables of calls it also says whether these are decided as they must be.

mod calls;
mod methods;

use std::{
    collections::HashMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use turnpike_compiler::{
    Context, FieldError, NamespaceLabels, PolicyDef,
    load::{self, Document, Problem},
};
use turnpike_policy::catalog::Catalog;

use self::calls::{Calls, list};
use crate::{
    args::{CheckArgs, CheckFormat},
    input::{self, Input},
    text::{count, visible},
};

/// All that was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Files that were read.
    files: usize,
    /// Policies without a problem.
    policies: usize,
    /// Rules of these.
    rules: usize,
    problems: Vec<Finding>,
    warnings: Vec<Finding>,
    /// What came of the tables of calls, where there are any and the policies are fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Calls>,
    #[serde(skip)]
    unreadable: bool,
    /// The policies without a problem.
    #[serde(skip)]
    compiled: Vec<PolicyDef>,
}

/// Something that is wrong, or looks so.
#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    #[serde(flatten)]
    problem: Problem,
}

pub(crate) fn run(args: &CheckArgs, config: Option<&Path>) -> Result<ExitCode> {
    let mut paths = args.files.clone();
    if let (true, Some(dir)) = (paths.is_empty(), config) {
        paths.push(dir.join("policies"));
    }
    let catalog = Catalog::embedded().context("the method catalogue of this build cannot be read")?;
    let labels = args.namespaces.as_deref().map(namespaces).transpose()?;
    let mut report = check(&paths, &args.gateway_namespace, labels.as_ref(), catalog);
    try_calls(&args.calls, &mut report)?;
    match args.output {
        CheckFormat::Text => print_text(&report)?,
        CheckFormat::Json => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?,
        CheckFormat::Junit => writeln!(io::stdout(), "{}", calls::junit::report(&report)?.trim_end())?,
    }
    let failed = report.calls.as_ref().is_some_and(|calls| calls.failed > 0);
    Ok(if report.unreadable {
        ExitCode::from(2)
    } else if failed || !report.problems.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Calls are tried on policies that are fine: others would decide them by what is left.
fn try_calls(tables: &[PathBuf], report: &mut Report) -> Result<()> {
    if tables.is_empty() || !report.problems.is_empty() {
        return Ok(());
    }
    match calls::run(tables, std::mem::take(&mut report.compiled))? {
        Ok(calls) => report.calls = Some(calls),
        Err(unusable) => {
            report.unreadable = true;
            report.problems.extend(unusable.into_iter().map(|table| Finding {
                file: table.file,
                problem: table.problem,
            }));
        }
    }
    Ok(())
}

/// The labels of namespaces that a file tells.
pub(crate) fn namespaces(path: &Path) -> Result<NamespaceLabels> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    turnpike_compiler::namespaces(&text).map_err(|problems| {
        let lines = problems
            .iter()
            .map(|p| position(&path.display().to_string(), p) + ": " + &p.message);
        anyhow::anyhow!("{}", lines.collect::<Vec<_>>().join("\n"))
    })
}

fn check(
    paths: &[PathBuf],
    gateway_namespace: &str,
    namespaces: Option<&NamespaceLabels>,
    catalog: &Catalog,
) -> Report {
    let mut report = Report::default();
    let mut seen = HashMap::new();
    let mut context = Context::without_namespaces(gateway_namespace);
    if let Some(namespaces) = namespaces {
        context.namespaces = namespaces;
    }
    for input in input::read(paths) {
        match input {
            Ok(input) => {
                report.files += 1;
                let known = namespaces.is_some();
                check_file(&input, &context, known, catalog, &mut seen, &mut report);
            }
            Err(unreadable) => {
                report.unreadable = true;
                report.problems.push(Finding {
                    file: unreadable.file,
                    problem: without_place(unreadable.message),
                });
            }
        }
    }
    report
}

/// Where each policy was first met.
type Seen = HashMap<(String, String), String>;

fn check_file(
    input: &Input,
    context: &Context<'_>,
    known: bool,
    catalog: &Catalog,
    seen: &mut Seen,
    report: &mut Report,
) {
    let finding = |problem| Finding {
        file: input.file.clone(),
        problem,
    };
    let documents = match load::documents(&input.text) {
        Ok(documents) => documents,
        Err(problem) => return report.problems.push(finding(problem)),
    };
    if documents.is_empty() {
        report
            .warnings
            .push(finding(without_place("holds no policy".to_owned())));
    }
    for document in &documents {
        match document.policy(context) {
            Err(problems) => report.problems.extend(problems.into_iter().map(finding)),
            Ok(policy) => {
                let place = document.problem(FieldError::new("metadata.name", ""));
                let here = position(&input.file, &place);
                if let Some(first) = seen.insert((policy.namespace.clone(), policy.name.clone()), here) {
                    let message = format!(
                        "policy {}/{} stands at {first} too",
                        policy.namespace, policy.name
                    );
                    let error = FieldError::new("metadata.name", message);
                    report.problems.push(finding(document.problem(error)));
                    continue;
                }
                report.policies += 1;
                report.rules += policy.rules.len();
                let mut doubts = doubts(&policy, document, catalog);
                doubts.extend(idle_selectors(&policy, document, known));
                report.warnings.extend(doubts.into_iter().map(finding));
                report.compiled.push(policy);
            }
        }
    }
}

/// What compiles, and will surely not do what was meant.
fn doubts(policy: &PolicyDef, document: &Document, catalog: &Catalog) -> Vec<Problem> {
    let rules = policy.rules.iter().enumerate().flat_map(|(i, rule)| {
        let globs = rule.methods.iter().enumerate();
        globs.map(move |(m, glob)| (format!("spec.rules[{i}].methods[{m}]"), glob, Some(rule)))
    });
    let masks = policy.masks.iter().enumerate().flat_map(|(i, mask)| {
        let globs = mask.methods.iter().enumerate();
        globs.map(move |(m, glob)| (format!("spec.secrets.fields[{i}].methods[{m}]"), glob, None))
    });
    rules
        .chain(masks)
        .filter_map(|(path, glob, rule)| {
            let wide = || rule.and_then(|rule| methods::too_wide(rule, glob));
            let message = methods::doubt(catalog, glob).or_else(wide)?;
            Some(document.problem(FieldError::new(path, message)))
        })
        .collect()
}

/// Selectors of namespaces that match none.
fn idle_selectors(policy: &PolicyDef, document: &Document, known: bool) -> Vec<Problem> {
    let message = match known {
        true => "matches no namespace of those that --namespaces names",
        false => "is matched with no namespace here: tell their labels by --namespaces FILE",
    };
    policy
        .idle_selectors()
        .map(|i| {
            let path = format!("spec.agents[{i}].serviceAccount.namespaceSelector");
            document.problem(FieldError::new(path, message))
        })
        .collect()
}

fn without_place(message: String) -> Problem {
    Problem {
        line: 0,
        column: 0,
        path: None,
        message,
    }
}

fn position(file: &str, problem: &Problem) -> String {
    match problem.line {
        0 => file.to_owned(),
        line => format!("{file}:{line}:{}", problem.column),
    }
}

fn print_text(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let findings = [("", &report.problems), ("warning: ", &report.warnings)];
    for (kind, findings) in findings {
        for Finding { file, problem } in findings {
            let path = problem
                .path
                .as_ref()
                .map_or_else(String::new, |path| format!("{path}: "));
            let line = format!("{}: {kind}{path}{}", position(file, problem), problem.message);
            writeln!(out, "{}", visible(&line))?;
        }
    }
    for row in report.calls.iter().flat_map(|calls| &calls.rows) {
        if let Some(failure) = &row.failure {
            let (file, line, column, list) = (&row.file, row.line, row.column, list(row.must));
            let text = format!("{file}:{line}:{column}: {list}: {}: {failure}", row.name);
            writeln!(out, "{}", visible(&text))?;
        }
    }
    writeln!(out, "{}", summary(report))?;
    match &report.calls {
        Some(calls) => writeln!(out, "{}", calls_summary(calls)),
        None => Ok(()),
    }
}

/// `FILE:LINE:COLUMN: FIELD: what is wrong`
fn located(file: &str, problem: &Problem) -> String {
    let path = problem
        .path
        .as_ref()
        .map_or_else(String::new, |path| format!("{path}: "));
    format!("{}: {path}{}", position(file, problem), problem.message)
}

fn calls_summary(calls: &Calls) -> String {
    let all = count(calls.rows.len(), "call", "calls");
    match calls.failed {
        0 if calls.passed == 1 => "1 call is decided as it must be.".to_owned(),
        0 => format!("{all} are decided as they must be."),
        1 => format!("1 of {all} is decided otherwise than it must be."),
        failed => format!("{failed} of {all} are decided otherwise than they must be."),
    }
}

fn summary(report: &Report) -> String {
    let policies = count(report.policies, "policy", "policies");
    let rules = count(report.rules, "rule", "rules");
    let are = if report.policies == 1 { "is" } else { "are" };
    let fine = format!("{policies} with {rules} {are} fine");
    match report.problems.len() {
        0 => format!("{fine}."),
        problems => format!("{}; {fine}.", count(problems, "problem", "problems")),
    }
}
