//! The dependency walls: which crate of ours may use which, and what pure crates never reach.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{paths, shell};

/// What each crate may use of ours. Crates that only developers run are not listed: they may
/// use all.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("turnpike-crds", &[]),
    ("turnpike-policy", &[]),
    ("turnpike-compiler", &["turnpike-crds", "turnpike-policy"]),
    ("turnpike-audit", &["turnpike-policy"]),
    (
        "turnpike-operator",
        &["turnpike-crds", "turnpike-policy", "turnpike-compiler"],
    ),
    (
        "turnpike-proxy",
        &[
            "turnpike-crds",
            "turnpike-policy",
            "turnpike-compiler",
            "turnpike-audit",
        ],
    ),
    (
        "kubectl-turnpike",
        &[
            "turnpike-crds",
            "turnpike-policy",
            "turnpike-compiler",
            "turnpike-audit",
        ],
    ),
];
/// Crates for developers, which no product crate ships; tests of a crate may use them.
const DEVELOPERS: [&str; 2] = ["turnpike-tests", "xtask"];
/// Crates without I/O: they can't block, and replay is the same function over recorded facts.
const PURE: [&str; 3] = ["turnpike-policy", "turnpike-compiler", "turnpike-audit"];
/// What pure crates never reach, at any depth.
const IMPURE: [&str; 7] = [
    "tokio",
    "hyper",
    "hyper-util",
    "reqwest",
    "kube-client",
    "kube-runtime",
    "tower-http",
];
/// What nothing may reach: one TLS stack, one cryptography.
const BANNED: [&str; 4] = ["ring", "openssl", "openssl-sys", "native-tls"];

/// The direct dependencies between crates of ours, by crate; `dev` tells those of tests.
type Edges = BTreeMap<String, Vec<Edge>>;

#[derive(Debug, PartialEq, Eq)]
struct Edge {
    to: String,
    dev: bool,
}

/// Asks cargo, and returns what is wrong.
pub(super) fn check() -> Result<Vec<String>> {
    let metadata = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    let metadata = shell::read(shell::cargo().current_dir(paths::root()).args(metadata))?;
    let metadata: Value = serde_json::from_str(&metadata).context("parse cargo's metadata")?;
    let mut wrong = direct(&edges(&metadata)?);
    for package in PURE {
        wrong.extend(reaches(package, &tree(&["-p", package])?, &IMPURE));
    }
    wrong.extend(reaches("the workspace", &tree(&["--workspace"])?, &BANNED));
    Ok(wrong)
}

/// All that a package reaches by normal dependencies, with just the features that it asks for:
/// `cargo metadata` knows only those of the whole workspace at once.
fn tree(which: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = shell::cargo();
    command.current_dir(paths::root()).args([
        "tree",
        "--offline",
        "--edges=normal",
        "--prefix=none",
        "--format={p}",
    ]);
    let printed = shell::read(command.args(which))?;
    Ok(printed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

fn edges(metadata: &Value) -> Result<Edges> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let name = |value: &Value| {
        value["name"]
            .as_str()
            .map(str::to_owned)
            .context("a package without a name")
    };
    let ours = packages.iter().map(name).collect::<Result<BTreeSet<_>>>()?;
    let mut edges = Edges::new();
    for package in packages {
        let dependencies = package["dependencies"].as_array().context("no dependencies")?;
        let mut found = Vec::new();
        for dependency in dependencies {
            let to = name(dependency)?;
            if ours.contains(&to) {
                found.push(Edge {
                    to,
                    dev: dependency["kind"] == "dev",
                });
            }
        }
        edges.insert(name(package)?, found);
    }
    Ok(edges)
}

fn direct(edges: &Edges) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, used) in edges {
        let allowed = MAY_USE
            .iter()
            .find(|(name, _)| name == from)
            .map(|(_, allowed)| *allowed);
        if allowed.is_none() && !DEVELOPERS.contains(&from.as_str()) {
            wrong.push(format!(
                "{from}: a crate that the walls do not know; add it to xtask/src/tidy/walls.rs"
            ));
        }
        let Some(allowed) = allowed else { continue };
        for Edge { to, dev } in used {
            let for_tests = *dev && DEVELOPERS.contains(&to.as_str());
            if !for_tests && !allowed.contains(&to.as_str()) {
                wrong.push(format!("{from}: may not depend on {to}"));
            }
        }
    }
    wrong
}

fn reaches(package: &str, reached: &BTreeSet<String>, forbidden: &[&str]) -> Vec<String> {
    let found = forbidden.iter().filter(|name| reached.contains(**name));
    found
        .map(|name| format!("{package}: reaches {name} (`cargo tree -i {name}` shows how)"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(dependencies: &Value) -> Vec<String> {
        let package = |name: &str| json!({"name": name, "dependencies": []});
        let metadata = json!({"packages": [
            {"name": "turnpike-audit", "dependencies": dependencies},
            package("turnpike-policy"), package("turnpike-proxy"), package("turnpike-tests"),
        ]});
        direct(&edges(&metadata).expect("is metadata"))
    }

    #[test]
    fn only_listed_dependencies_pass() {
        let cases = [
            (
                json!([{"name": "turnpike-policy", "kind": null}, {"name": "serde", "kind": null}]),
                None,
            ),
            (
                json!([{"name": "turnpike-proxy", "kind": null}]),
                Some("turnpike-audit: may not depend on turnpike-proxy"),
            ),
            (
                json!([{"name": "turnpike-proxy", "kind": "dev"}]),
                Some("turnpike-audit: may not depend on turnpike-proxy"),
            ),
            (
                json!([{"name": "turnpike-tests", "kind": null}]),
                Some("turnpike-audit: may not depend on turnpike-tests"),
            ),
            (json!([{"name": "turnpike-tests", "kind": "dev"}]), None),
        ];
        for (dependencies, expected) in cases {
            assert_eq!(
                problems(&dependencies),
                Vec::from_iter(expected),
                "{dependencies}"
            );
        }
    }

    #[test]
    fn an_unknown_crate_is_named() {
        let edges = Edges::from([("turnpike-new".to_owned(), Vec::new())]);
        assert_eq!(direct(&edges).len(), 1);
    }

    #[test]
    fn what_is_reached_is_named() {
        let reached = BTreeSet::from(["serde".to_owned(), "tokio".to_owned()]);
        let expected = ["turnpike-policy: reaches tokio (`cargo tree -i tokio` shows how)"];
        assert_eq!(reaches("turnpike-policy", &reached, &IMPURE), expected);
        assert_eq!(
            reaches("turnpike-policy", &BTreeSet::from(["serde".to_owned()]), &IMPURE),
            Vec::<String>::new()
        );
    }
}
