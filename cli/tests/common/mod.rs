//! Runs the built program, with an environment of its own, and makes approval requests.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use turnpike_crds::ApprovalRequest;
use turnpike_tests::process::clean_command;

pub const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

/// How the program ended, and what it wrote.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn new(code: i32, stdout: &str, stderr: &str) -> Self {
        Self {
            code,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        }
    }
}

/// The program, in a home without a kubeconfig.
pub fn command(args: &[&str]) -> Command {
    let mut command = clean_command(env!("CARGO_BIN_EXE_kubectl-turnpike"), Path::new("/nonexistent"));
    command.env("USER", "alice").args(args);
    command
}

/// Runs a command to its end.
pub fn finish(mut command: Command, stdin: &[u8]) -> Result<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("start kubectl-turnpike")?;
    let mut pipe = child.stdin.take().context("no standard input")?;
    let input = stdin.to_vec();
    // A program that ends early does not read all; what it says then is what counts.
    let writer = std::thread::spawn(move || pipe.write_all(&input).ok());
    let output = child.wait_with_output()?;
    writer.join().ok().context("the writer panicked")?;
    Ok(Output {
        code: output.status.code().context("killed by a signal")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

pub fn run(args: &[&str]) -> Result<Output> {
    finish(command(args), b"")
}

/// A request as a proxy makes it, `seconds` before it expires.
pub fn request(namespace: &str, name: &str, seconds: i64) -> Result<ApprovalRequest> {
    let expires = Timestamp::now().checked_add(SignedDuration::from_secs(seconds))?;
    Ok(serde_json::from_value(json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "agent": {"name": "agents/coder"},
            "call": {
                "method": "cloudfunctions.projects.locations.functions.create",
                "resources": ["projects/acme/locations/us-central1/functions/billing"],
                "verb": "POST",
                "url": "cloudfunctions.googleapis.com/v2/projects/acme/locations/us-central1/functions",
                "bodyBytes": 2048,
            },
            "policies": [
                {"namespace": "agents", "name": "coder", "uid": "u", "generation": 1, "rule": "deploy"},
            ],
            "digest": DIGEST,
            "expiresAt": Timestamp::from_second(expires.as_second())?.to_string(),
        },
    }))?)
}
