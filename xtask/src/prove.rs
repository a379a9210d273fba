//! `cargo xtask prove NAME`: a claim of the README as a command. It runs the tests behind the claim and ends
//! with the figures that they print, in one line; it fails when they fail, or when they print none.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};

use crate::{paths, setup, shell};

/// Which claim.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The claim.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(CLAIMS.iter().map(|c| c.name)))]
    name: String,
}

/// A claim and the tests that prove it.
struct Claim {
    name: &'static str,
    /// Arguments of `cargo test`, before and after `--`.
    tests: &'static [&'static str],
    filter: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// Whether the tests run a control plane, emulators or Turnpike's own programs.
    needs_set_up: bool,
}

const CLAIMS: &[Claim] = &[
    Claim {
        name: "catalog",
        tests: &["-p", "turnpike-policy", "--test", "catalog"],
        filter: &[],
        environment: &[],
        needs_set_up: false,
    },
    Claim {
        name: "differential",
        tests: &["-p", "turnpike-policy", "--test", "differential"],
        filter: &[],
        environment: &[],
        needs_set_up: false,
    },
    Claim {
        name: "policy",
        tests: &[
            "-p",
            "turnpike-policy",
            "--test",
            "properties",
            "--test",
            "whatif_diff",
        ],
        filter: &[],
        environment: &[("PROPTEST_CASES", "20000")],
        needs_set_up: false,
    },
    Claim {
        name: "story",
        tests: &["-p", "turnpike-tests", "--test", "cluster_gate"],
        filter: &["story"],
        environment: &[],
        needs_set_up: true,
    },
    Claim {
        name: "approvals",
        tests: &[
            "-p",
            "turnpike-tests",
            "--test",
            "approvals",
            "-p",
            "turnpike-proxy",
            "--test",
            "approval_races",
        ],
        filter: &[],
        environment: &[("APPROVAL_RACES", "1000")],
        needs_set_up: true,
    },
    Claim {
        name: "audit",
        tests: &["-p", "turnpike-tests", "--test", "cluster_audit"],
        filter: &[],
        environment: &[],
        needs_set_up: true,
    },
    Claim {
        name: "streaming",
        tests: &["-p", "turnpike-tests", "--test", "standalone_streams"],
        filter: &[],
        environment: &[],
        needs_set_up: true,
    },
    Claim {
        name: "clients",
        tests: &["-p", "turnpike-tests", "--test", "clients_matrix"],
        filter: &[],
        environment: &[],
        needs_set_up: true,
    },
    Claim {
        name: "bypass",
        tests: &["-p", "turnpike-tests", "--test", "bypass_prove"],
        filter: &[],
        environment: &[("BYPASS_METHODS", "240")],
        needs_set_up: true,
    },
];

/// # Errors
/// The claim is not proved.
pub(crate) fn run(args: &Args) -> Result<()> {
    let claim = CLAIMS
        .iter()
        .find(|c| c.name == args.name)
        .context("no such claim")?;
    if claim.needs_set_up {
        setup::run()?;
        shell::run(cargo("build")?.args(["--quiet", "--workspace", "--bins"]))?;
    }
    let mut command = cargo("test")?;
    command
        .args(claim.tests)
        .args(["--", "--nocapture"])
        .args(claim.filter)
        .envs(claim.environment.iter().copied())
        .stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let marker = format!("{}: ", claim.name);
    let mut figures: Vec<String> = Vec::new();
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        println!("{line}");
        // The test harness prints a test's name on the same line when tests run one by one.
        if let Some(at) = line.find(&marker) {
            figures.push(line[at..].to_owned());
        }
    }
    if !child.wait()?.success() {
        bail!("{} is not proved: its tests fail", claim.name);
    }
    let programs = claim.tests.iter().filter(|a| **a == "--test").count();
    if figures.len() < programs {
        bail!(
            "{} is not proved: of {programs} test programs {} printed figures",
            claim.name,
            figures.len()
        );
    }
    println!("\n{}", told(&figures, &marker)?);
    Ok(())
}

/// All figures in one line. Lines that say the same of different tests become one, in which each number is the sum
/// of theirs; others stand beside it.
fn told(figures: &[String], marker: &str) -> Result<String> {
    let mut kinds: Vec<Vec<String>> = Vec::new();
    for line in figures {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match kinds.iter_mut().find(|kind| same(kind, &words)) {
            Some(kind) => kind.iter_mut().zip(&words).for_each(|(word, more)| {
                if let (Ok(a), Ok(b)) = (word.parse::<u64>(), more.parse::<u64>()) {
                    *word = (a + b).to_string();
                }
            }),
            None => kinds.push(words),
        }
    }
    let (first, rest) = kinds.split_first().context("no figures")?;
    let mut told = first.join(" ");
    for kind in rest {
        let line = kind.join(" ");
        told.push_str("; ");
        told.push_str(line.strip_prefix(marker).unwrap_or(&line));
    }
    Ok(told)
}

/// Whether two lines differ in nothing but numbers.
fn same(one: &[String], other: &[String]) -> bool {
    let number = |word: &str| word.parse::<u64>().is_ok();
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(a, b)| a == b || (number(a) && number(b)))
}

fn cargo(subcommand: &str) -> Result<std::process::Command> {
    let mut command = shell::cargo();
    command
        .current_dir(paths::root())
        .env("CARGO_TARGET_DIR", paths::target()?)
        .env("TURNPIKE_TOOLS", paths::tools()?)
        .arg(subcommand);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_several_tests_are_added_up() {
        let told = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
            told(&lines, "policy: ").ok()
        };
        let one = "policy: 12 cases, 0 counterexamples";
        assert_eq!(told(&[one]).as_deref(), Some(one));
        assert_eq!(
            told(&[one, "policy: 30 cases, 1 counterexamples"]).as_deref(),
            Some("policy: 42 cases, 1 counterexamples")
        );
        assert_eq!(
            told(&[
                one,
                "policy: 30 rounds, 0 counterexamples",
                "policy: 1 cases, 0 counterexamples"
            ])
            .as_deref(),
            Some("policy: 13 cases, 0 counterexamples; 30 rounds, 0 counterexamples")
        );
        assert_eq!(told(&[]), None);
    }
}
