//! `cargo xtask test`: everything that must hold before a change goes in, in the order in which
//! it fails cheapest; the tests come last, so that cargo's own summary ends the output.

use std::time::Instant;

use anyhow::Result;

use crate::{catalog, codegen, docs, grpc, paths, setup, shell, tidy};

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run the tests alone, without format, lints and the other checks.
    #[arg(long)]
    only_tests: bool,
    /// Arguments of `cargo test` in place of `--workspace`, such as `-p turnpike-tests --test gate`.
    #[arg(last = true)]
    cargo: Vec<String>,
}

/// # Errors
/// The first check that fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    setup::run()?;
    if !args.only_tests {
        checks()?;
    }
    // The end-to-end tests run the programs, whichever tests are asked for.
    shell::step("cargo build of the programs");
    shell::run(cargo("build")?.args(["--workspace", "--bins"]))?;
    let mut command = cargo("test")?;
    if args.cargo.is_empty() {
        // One run tells of everything that is wrong.
        command.args(["--workspace", "--no-fail-fast"]);
    } else {
        command.args(&args.cargo);
    }
    shell::step(&format!(
        "cargo test ({:.0} s so far)",
        started.elapsed().as_secs_f64()
    ));
    shell::run(&mut command)
}

fn checks() -> Result<()> {
    shell::step("cargo fmt --check");
    shell::run(cargo("fmt")?.args(["--all", "--check"]))?;
    shell::step("cargo clippy");
    shell::run(cargo("clippy")?.args(["--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    tidy::run()?;
    codegen::run(true)?;
    docs::run(true)?;
    shell::step("catalog --check");
    catalog::run(true)?;
    shell::step("grpc --check");
    grpc::run(true)
}

/// A cargo of the same target directory, whose children find the tools.
fn cargo(subcommand: &str) -> Result<std::process::Command> {
    let mut command = shell::cargo();
    command
        .current_dir(paths::root())
        .env("CARGO_TARGET_DIR", paths::target()?)
        .env("TURNPIKE_TOOLS", paths::tools()?)
        .arg(subcommand);
    Ok(command)
}
