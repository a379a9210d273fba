//! `cargo xtask prove NAME`: a claim of the README as a command. It runs the tests behind the claim and ends
//! with the line of figures that they print; it fails when they fail, or when they print none.

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
        tests: &["-p", "turnpike-policy", "--test", "properties"],
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
    let mut figures = None;
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        println!("{line}");
        // The test harness prints a test's name on the same line when tests run one by one.
        if let Some(at) = line.find(&marker) {
            figures = Some(line[at..].to_owned());
        }
    }
    if !child.wait()?.success() {
        bail!("{} is not proved: its tests fail", claim.name);
    }
    match figures {
        Some(line) => println!("\n{line}"),
        None => bail!("{} is not proved: its tests printed no figures", claim.name),
    }
    Ok(())
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
