//! Policies from files and folders, compiled: what commands that compare and decide offline work on.

use std::{collections::HashMap, fmt, path::PathBuf};

use anyhow::Result;
use turnpike_compiler::{Context, NamespaceLabels, PolicyDef, compile, load};

use crate::{args::Target, input, requests, text::visible};

/// Everything that is wrong with some files, one line each.
#[derive(Debug)]
pub(crate) struct Unusable(Vec<String>);

impl Unusable {
    /// One thing that is wrong.
    pub(crate) fn new(line: String) -> Self {
        Self(vec![line])
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(|line| visible(line)).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Unusable {}

/// Reads and compiles all policies of some files, folders and standard input.
///
/// # Errors
/// Everything that is wrong, each with its file, line and column.
pub(crate) fn load(paths: &[PathBuf], context: &Context<'_>) -> Result<Vec<PolicyDef>, Unusable> {
    let mut policies: Vec<PolicyDef> = Vec::new();
    let mut wrong = Vec::new();
    let mut seen: HashMap<(String, String), String> = HashMap::new();
    for input in input::read(paths) {
        let input = match input {
            Ok(input) => input,
            Err(unreadable) => {
                wrong.push(format!("{}: {}", unreadable.file, unreadable.message));
                continue;
            }
        };
        match load::policies(&input.text, context) {
            Ok(found) => {
                for policy in found {
                    let name = (policy.namespace.clone(), policy.name.clone());
                    if let Some(first) = seen.insert(name, input.file.clone()) {
                        let name = format!("{}/{}", policy.namespace, policy.name);
                        wrong.push(format!("{}: policy {name} stands in {first} too", input.file));
                    }
                    policies.push(policy);
                }
            }
            Err(problems) => {
                wrong.extend(problems.into_iter().map(|problem| match problem.line {
                    0 => format!("{}: {problem}", input.file),
                    line => {
                        let path = problem.path.map_or_else(String::new, |path| format!("{path}: "));
                        let message = problem.message;
                        format!("{}:{line}:{}: {path}{message}", input.file, problem.column)
                    }
                }));
            }
        }
    }
    if wrong.is_empty() {
        Ok(policies)
    } else {
        Err(Unusable(wrong))
    }
}

/// One policy of the cluster.
///
/// # Errors
/// Outside, that the cluster does not answer; inside, that it has no such policy, or that it does not compile.
pub(crate) async fn of_cluster(
    target: &Target,
    namespace: Option<&str>,
    name: &str,
    gateway_namespace: &str,
) -> Result<Result<Vec<PolicyDef>, Unusable>> {
    let (policy, place) = match requests::policy(target, namespace, name).await? {
        (Some(policy), place) => (policy, place),
        (None, place) => {
            return Ok(Err(Unusable::new(format!(
                "{name}: there is no file and, in namespace {place}, no AgentPolicy of this name"
            ))));
        }
    };
    let selects_namespaces = policy.spec.agents.iter().any(|agent| {
        let account = agent.service_account.as_ref();
        account.is_some_and(|account| account.namespace_selector.is_some())
    });
    let namespaces = match selects_namespaces {
        true => requests::namespaces(target).await?,
        false => NamespaceLabels::new(),
    };
    let context = Context {
        gateway_namespace,
        namespaces: &namespaces,
    };
    Ok(match compile(&policy, &context) {
        Ok(compiled) => Ok(vec![compiled]),
        Err(errors) => {
            let lines = errors.0.iter().map(|error| format!("{place}/{name}: {error}"));
            Err(Unusable(lines.collect()))
        }
    })
}
