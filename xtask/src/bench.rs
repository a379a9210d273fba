//! `cargo xtask bench`: the figures that Turnpike is held to, measured on this machine: a look-up in the
//! catalogue, a decision over 1,000 policies, conditions, a risk, the whole gate end to end on loopback, and what idle
//! connections cost.

mod idle;
mod stage;

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use self::stage::{HOST, PATH, Stage};
use crate::{paths, shell};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these: classify, decide, condition, risk, gate, idle.
    names: Vec<String>,
    /// Calls through the gate, in each of the rounds.
    #[arg(long, default_value_t = 40_000)]
    calls: u32,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Idle connections.
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// Measure idle connections on the development build, which is there sooner.
    #[arg(long)]
    dev: bool,
}

/// Those of the crate `policy`.
const POLICY: [&str; 4] = ["classify", "decide", "condition", "risk"];
const CONNECTIONS: usize = 32;

/// # Errors
/// A program cannot be built, started or measured.
pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|n| n == name);
    for name in &args.names {
        ensure!(
            POLICY.contains(&name.as_str()) || ["gate", "idle"].contains(&name.as_str()),
            "no benchmark {name:?}: {}, gate, idle",
            POLICY.join(", ")
        );
    }
    for name in POLICY {
        if wanted(name) {
            shell::step(&format!("{name} (times of one call)"));
            shell::run(cargo()?.args(["bench", "--quiet", "-p", "turnpike-policy", "--bench", name]))?;
        }
    }
    if wanted("gate") {
        shell::step("the whole gate: identity, decision, durable record, masking plan, TLS on both sides");
        gate(args)?;
    }
    if wanted("idle") {
        shell::step("idle connections of agents: what each costs the proxy in memory");
        idle::run(args)?;
    }
    Ok(())
}

fn cargo() -> Result<Command> {
    let mut command = shell::cargo();
    command
        .current_dir(paths::root())
        .env("CARGO_TARGET_DIR", paths::target()?);
    Ok(command)
}

fn gate(args: &Args) -> Result<()> {
    let stage = Stage::start(true, "")?;
    let mut through = Vec::new();
    let mut straight = Vec::new();
    for round in 1..=args.rounds {
        // Alternating, so that what else the machine does falls on both.
        let direct = load(
            &stage.programs,
            stage.google.to_string(),
            true,
            &stage.google_ca(),
            &stage.token_file,
            None,
            args.calls,
        )?;
        let gate = load(
            &stage.programs,
            stage.proxy.to_string(),
            false,
            &stage.proxy_ca(),
            &stage.token_file,
            Some(stage.process.id()),
            args.calls,
        )?;
        println!(
            "round {round}: gate {:.0} calls/s, p50 {:.2} ms, p99 {:.2} ms, {:.2} CPU s per 10,000 calls; straight {:.0} calls/s, p99 {:.2} ms",
            number(&gate, "calls_per_second")?,
            number(&gate, "p50_ms")?,
            number(&gate, "p99_ms")?,
            number(&gate, "cpu_seconds_per_10k")?,
            number(&direct, "calls_per_second")?,
            number(&direct, "p99_ms")?,
        );
        through.push(gate);
        straight.push(direct);
    }
    println!(
        "gate: {:.0} calls/s ({CONNECTIONS} connections, 1 KiB JSON, everything on), {:.2} CPU s per 10,000 calls, p99 {:.2} ms; straight to the stand-in: {:.0} calls/s, p99 {:.2} ms; medians of {}",
        median(&through, "calls_per_second")?,
        median(&through, "cpu_seconds_per_10k")?,
        median(&through, "p99_ms")?,
        median(&straight, "calls_per_second")?,
        median(&straight, "p99_ms")?,
        args.rounds
    );
    Ok(())
}

fn load(
    programs: &Path,
    address: String,
    direct: bool,
    ca: &Path,
    token: &Path,
    pid: Option<u32>,
    calls: u32,
) -> Result<Value> {
    let mut command = Command::new(programs.join("turnpike-load"));
    command
        .args(["--connect", &address, "--host", HOST, "--path", PATH])
        .args([
            "--connections",
            &CONNECTIONS.to_string(),
            "--calls",
            &calls.to_string(),
        ])
        .arg("--ca")
        .arg(ca)
        .arg("--token-file")
        .arg(token);
    if direct {
        command.arg("--direct");
    }
    if let Some(pid) = pid {
        command.args(["--pid", &pid.to_string()]);
    }
    serde_json::from_str(&shell::read(&mut command)?).context("the figures of the load")
}

fn number(figures: &Value, name: &str) -> Result<f64> {
    figures[name]
        .as_f64()
        .with_context(|| format!("no figure {name}"))
}

fn median(rounds: &[Value], name: &str) -> Result<f64> {
    let mut values = rounds
        .iter()
        .map(|r| number(r, name))
        .collect::<Result<Vec<_>>>()?;
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("no round")
}
