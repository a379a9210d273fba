//! The example policies: each is fine, and decides every call of its table as the table says.

mod common;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use common::{Output, run};
use serde_json::Value;

/// Each example: its folder and its policies, and how many of policies, rules and calls there are.
const EXAMPLES: [(&str, &[&str], &str, usize); 5] = [
    (
        "read-only-analyst",
        &["policy.yaml"],
        "1 policy with 5 rules is fine.",
        22,
    ),
    (
        "function-deployer",
        &["policy.yaml"],
        "1 policy with 8 rules is fine.",
        19,
    ),
    (
        "data-pipeline",
        &["policy.yaml"],
        "1 policy with 8 rules is fine.",
        19,
    ),
    (
        "infrastructure-with-approvals",
        &["policy.yaml"],
        "1 policy with 6 rules is fine.",
        22,
    ),
    (
        "guardrails",
        &["policy.yaml", "tenant.yaml"],
        "2 policies with 7 rules are fine.",
        22,
    ),
];

fn folder(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/policies")
        .join(example)
}

/// The arguments of `check` for an example, with another table where one is given.
fn args(example: &str, policies: &[&str], table: Option<&Path>) -> Vec<String> {
    let folder = folder(example);
    let own = folder.join("calls.yaml");
    let mut args = vec!["check".to_owned()];
    args.extend(policies.iter().map(|p| folder.join(p).display().to_string()));
    let namespaces = folder.join("namespaces.yaml");
    if namespaces.exists() {
        args.extend(["--namespaces".to_owned(), namespaces.display().to_string()]);
    }
    args.extend(["--calls".to_owned(), table.unwrap_or(&own).display().to_string()]);
    args
}

fn check(args: &[String]) -> Result<Output> {
    run(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn each_decides_its_calls_as_its_table_says() -> Result<()> {
    for (example, policies, fine, calls) in EXAMPLES {
        assert!(calls >= 15, "{example}");
        let said = format!("{fine}\n{calls} calls are decided as they must be.\n");
        assert_eq!(
            check(&args(example, policies, None))?,
            Output::new(0, &said, ""),
            "{example}"
        );
    }
    Ok(())
}

/// No row passes whatever is decided: under the heading of another effect, it fails.
#[test]
fn each_row_fails_under_another_heading() -> Result<()> {
    for (example, policies, _, calls) in EXAMPLES {
        let table = std::fs::read_to_string(folder(example).join("calls.yaml"))?;
        let turned = table
            .replace("\nmust_allow:", "\nmust_x:")
            .replace("\nmust_hold:", "\nmust_allow:")
            .replace("\nmust_deny:", "\nmust_hold:")
            .replace("\nmust_x:", "\nmust_deny:");
        let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
        std::fs::write(file.path(), turned)?;
        let mut args = args(example, policies, Some(file.path()));
        args.extend(["-o".to_owned(), "json".to_owned()]);
        let output = check(&args)?;
        let report: Value = serde_json::from_str(&output.stdout)?;
        assert_eq!(
            (
                output.code,
                &report["calls"]["passed"],
                &report["calls"]["failed"]
            ),
            (1, &0.into(), &calls.into()),
            "{example}"
        );
    }
    Ok(())
}

/// What policies are for is in them: groups, conditions, risk, limits, secrets.
#[test]
fn together_they_show_what_policies_can_say() -> Result<()> {
    let mut all = String::new();
    for (example, policies, ..) in EXAMPLES {
        for policy in policies {
            let path = folder(example).join(policy);
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            assert!(
                text.starts_with("# "),
                "{example}/{policy} does not say what it is for"
            );
            all.push_str(&text);
        }
    }
    for part in [
        "group:",
        "when:",
        "approveAbove:",
        "denyAbove:",
        "factors:",
        "changesPerHour:",
        "requests: Deny",
        "unscannable:",
        "detectors:",
        "namespaceSelector:",
        "oidc:",
    ] {
        assert!(all.contains(part), "{part}");
    }
    Ok(())
}
