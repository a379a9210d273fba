//! `cargo xtask`: the commands of people who work on Turnpike. One module a command.

mod bench;
mod catalog;
mod codegen;
mod demo;
mod docs;
mod fuzz;
mod grpc;
mod local;
mod paths;
mod prove;
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
    /// Measure what Turnpike is held to: look-ups, decisions, the whole gate, idle connections.
    Bench(bench::Args),
    /// Play an agent's day through Turnpike: no cluster, no account, nothing to set up.
    Demo(demo::Args),
    /// Feed what agents write to everything that reads it, and look for crashes and broken invariants.
    Fuzz(fuzz::Args),
    /// Prove a claim of the README; ends with one line of figures.
    Prove(prove::Args),
    /// Build and fetch what the tests run: kube-apiserver, etcd, kubectl, emulators. Cached.
    Setup,
    /// Set up, check format and lints, and run every test.
    Test(test::Args),
    /// Check what the compiler does not: dependency walls, module docs, file sizes, tests that wait.
    Tidy,
    /// Make the files that are generated from others: custom resource definitions and their copies.
    Codegen {
        /// Compare with the committed files instead, and name those that are stale.
        #[arg(long)]
        check: bool,
    },
    /// Make the pages of docs/ that come from tables in the code.
    Docs {
        /// Compare with the committed pages instead, and name those that are stale.
        #[arg(long)]
        check: bool,
    },
    /// Make the method catalogue from Google's discovery documents.
    Catalog {
        /// Compare with the committed catalogue instead, and fail on a difference.
        #[arg(long)]
        check: bool,
    },
    /// Make the table of gRPC methods, and the descriptors of their answers, from Google's protos.
    Grpc {
        /// Compare with the committed files instead, and fail on a difference.
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
        Command::Bench(args) => bench::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Prove(args) => prove::run(&args),
        Command::Setup => setup::run(),
        Command::Test(args) => test::run(&args),
        Command::Tidy => tidy::run(),
        Command::Codegen { check } => codegen::run(check),
        Command::Docs { check } => docs::run(check),
        Command::Catalog { check } => catalog::run(check),
        Command::Grpc { check } => grpc::run(check),
    }
}
