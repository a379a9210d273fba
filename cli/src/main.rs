//! `kubectl-turnpike`: what approvers and authors of policies run. `kubectl turnpike ...` finds it on PATH.
//!
//! This file parses the command line and turns the result into an exit code; each command is a module. The
//! commands read and write resources, compile, explain and compare; nothing here decides a call that is made.

mod args;
mod check;
mod describe;
mod diff;
mod explain;
mod impact;
mod input;
mod offline;
mod pending;
mod policies;
mod replayed;
mod requests;
mod review;
mod suggest;
mod text;
mod trail;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use turnpike_crds::ReviewDecision;

use args::{Cli, Command};

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        // Whoever reads the output has seen enough of it, as with `| head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let message = format!("error: {error:#}");
            // With nobody to tell, the exit code has to do.
            writeln!(io::stderr(), "{}", text::visible(&message)).ok();
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Pending(args) => wait_for(pending::run(&cli.target, args)),
        Command::Describe(args) => wait_for(describe::run(&cli.target, args)),
        Command::Approve(args) => wait_for(review::run(&cli.target, args, ReviewDecision::Approve)),
        Command::Deny(args) => wait_for(review::run(&cli.target, args, ReviewDecision::Deny)),
        Command::Check(args) => check::run(args, cli.target.config.as_deref()),
        Command::Explain(args) => {
            explain::run(args, cli.target.as_user.as_deref(), cli.target.config.as_deref())
        }
        Command::Diff(args) => diff::run(args, cli.target.config.as_deref()),
        Command::Impact(args) => wait_for(impact::run(&cli.target, args)),
        Command::Suggest(args) => suggest::run(args, cli.target.config.as_deref()),
    }
}

/// Runs a command that may talk to a cluster. The others start without a runtime, which is faster.
fn wait_for(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?
        .block_on(command)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
