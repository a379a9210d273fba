//! Policies from files and folders, compiled: what commands that compare and decide offline work on.

use std::{collections::HashMap, fmt, path::PathBuf};

use turnpike_compiler::{Context, PolicyDef, load};

use crate::{input, text::visible};

/// Everything that is wrong with some files, one line each.
#[derive(Debug)]
pub(crate) struct Unusable(Vec<String>);

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
