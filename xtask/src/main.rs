//! `cargo xtask`: the commands of people who work on Turnpike. One module a command.

mod catalog;
mod paths;
mod setup;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Developer commands of Turnpike.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and fetch what the tests run: kube-apiserver, etcd, kubectl, emulators. Cached.
    Setup,
    /// Set up, check format and lints, and run every test.
    Test(test::Args),
    /// Check what the compiler does not: dependency walls, module docs, file sizes, tests that wait.
    Tidy,
    /// Make the method catalogue from Google's discovery documents.
    Catalog {
        /// Compare with the committed catalogue instead, and fail on a difference.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match Cli::parse().command {
        Command::Setup => setup::run(),
        Command::Test(args) => test::run(&args),
        Command::Tidy => tidy::run(),
        Command::Catalog { check } => catalog::run(check),
    }
}
