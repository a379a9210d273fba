//! `cargo xtask bench idle`: what a connection of an agent costs the proxy in memory while nothing happens on it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Args, number,
    stage::{HOST, PATH, Stage},
};
use crate::shell;

/// Descriptors of the proxy beside those of agents: upstream, files, the admin port.
const OTHERS: u64 = 200;

/// # Errors
/// A program cannot be built, started or measured.
pub(super) fn run(args: &Args) -> Result<()> {
    let limit: u64 = shell::read(Command::new("sh").args(["-c", "ulimit -Hn"]))?
        .trim()
        .parse()
        .unwrap_or(u64::MAX);
    ensure!(
        limit >= u64::from(args.connections) + OTHERS,
        "{limit} descriptors are too few for {} connections; set --connections, or raise the hard limit",
        args.connections
    );
    for speak in ["http1", "http2"] {
        // A proxy of its own each time: memory that was given back is not always returned to the system.
        let stage = Stage::start(!args.dev, "limits: {idleSeconds: 3600}\n")?;
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$0\" \"$@\""])
            .arg(stage.programs.join("turnpike-idle"))
            .args(["--connect", &stage.proxy.to_string()])
            .args(["--pid", &stage.process.id().to_string()])
            .args(["--host", HOST, "--path", PATH, "--speak", speak])
            .args(["--connections", &args.connections.to_string()])
            .arg("--ca")
            .arg(stage.proxy_ca())
            .arg("--token-file")
            .arg(&stage.token_file);
        let figures: Value = serde_json::from_str(&shell::read(&mut command)?).context("the figures")?;
        println!(
            "idle: {} connections by {speak}: {:.1} KiB each ({:.0} MiB before, {:.0} MiB then; {} build)",
            args.connections,
            number(&figures, "kib_per_connection")?,
            number(&figures, "before_kib")? / 1024.0,
            number(&figures, "after_kib")? / 1024.0,
            if args.dev { "development" } else { "release" },
        );
    }
    Ok(())
}
