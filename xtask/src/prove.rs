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
        tests: &["-p", "turnpike-tests", "--test", "approvals"],
        filter: &[],
        environment: &[],
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
    println!("\n{}", sum(&figures)?);
    Ok(())
}

/// Lines of figures that say the same of different tests, as one: each number is the sum of theirs.
fn sum(lines: &[String]) -> Result<String> {
    let (first, rest) = lines.split_first().context("no figures")?;
    let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    let mut total = words(first);
    for line in rest {
        let more = words(line);
        if more.len() != total.len() {
            bail!("{line:?} does not say what {first:?} says");
        }
        for (word, more) in total.iter_mut().zip(more) {
            match (word.parse::<u64>(), more.parse::<u64>()) {
                (Ok(a), Ok(b)) => *word = (a + b).to_string(),
                _ if *word == more => {}
                _ => bail!("{line:?} does not say what {first:?} says"),
            }
        }
    }
    Ok(total.join(" "))
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
        let lines = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
        let one = "policy: 12 cases, 0 counterexamples";
        assert_eq!(sum(&lines(&[one])).unwrap(), one);
        assert_eq!(
            sum(&lines(&[one, "policy: 30 cases, 1 counterexamples"])).unwrap(),
            "policy: 42 cases, 1 counterexamples"
        );
        sum(&lines(&[one, "policy: 30 rounds, 0 counterexamples"])).unwrap_err();
        sum(&lines(&[one, "policy: 30 cases"])).unwrap_err();
        sum(&[]).unwrap_err();
    }
}
