//! `cargo xtask bench`: the figures that Turnpike is held to, measured on this machine: a look-up in the
//! catalogue, a decision over 1,000 policies, and the whole gate end to end on loopback.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    local::{Folder, Running, free_ports, get},
    paths, shell,
};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these: classify, decide, gate.
    names: Vec<String>,
    /// Calls through the gate, in each of the rounds.
    #[arg(long, default_value_t = 40_000)]
    calls: u32,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

const CREDENTIAL: &str = "standin-access-token-of-the-gateway";
const HOST: &str = "storage.googleapis.com";
const PATH: &str = "/storage/v1/b/acme-dev-data";
const CONNECTIONS: usize = 32;

/// # Errors
/// A program cannot be built, started or measured.
pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|n| n == name);
    for name in &args.names {
        ensure!(
            ["classify", "decide", "gate"].contains(&name.as_str()),
            "no benchmark {name:?}: classify, decide, gate"
        );
    }
    for name in ["classify", "decide"] {
        if wanted(name) {
            shell::step(&format!("{name} (times of one call)"));
            shell::run(cargo()?.args(["bench", "--quiet", "-p", "turnpike-policy", "--bench", name]))?;
        }
    }
    if wanted("gate") {
        shell::step("the whole gate: identity, decision, durable record, masking plan, TLS on both sides");
        gate(args)?;
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
    shell::run(cargo()?.args([
        "build",
        "--release",
        "-p",
        "turnpike-proxy",
        "-p",
        "turnpike-tests",
        "--bins",
    ]))?;
    let programs = paths::target()?.join("release");
    let folder = Folder::new("bench")?;
    let config = folder.path().join("turnpike");
    let [proxy, admin, google, google_admin] = free_ports()?;
    shell::read(
        Command::new(programs.join("turnpike-proxy"))
            .args(["standalone", "--init"])
            .arg(&config),
    )?;
    let tls = folder.path().join("google");
    let _standin = Running::start(
        Command::new(programs.join("turnpike-standin"))
            .args([
                "--listen",
                &google.to_string(),
                "--admin",
                &google_admin.to_string(),
                "--record",
                "0",
            ])
            .arg("--tls-dir")
            .arg(&tls)
            .stdout(Stdio::null()),
    )?;
    wait(
        || get(google_admin, "/healthz").is_ok_and(|a| a.starts_with("HTTP/1.1 200")),
        "the stand-in",
    )?;
    let path = config.join("turnpike.yaml");
    let text = fs::read_to_string(&path)?
        .replace("listen: 127.0.0.1:8443", &format!("listen: {proxy}"))
        .replace("admin: 127.0.0.1:9443", &format!("admin: {admin}"))
        .replace(
            "source: ApplicationDefault",
            "source: AccessTokenFile\n  accessTokenFile: google-token",
        );
    let upstream = format!(
        "  - {{host: \"*\", address: \"{google}\", caFile: \"{}\"}}\n",
        tls.join("ca.pem").display()
    );
    fs::write(&path, format!("{text}\nupstreams:\n{upstream}"))?;
    fs::write(config.join("google-token"), CREDENTIAL)?;
    let running = Running::start(
        Command::new(programs.join("turnpike-proxy"))
            .args(["standalone", "--config"])
            .arg(&config)
            .env("TURNPIKE_LOG", "warn")
            .stdout(Stdio::null()),
    )?;
    wait(
        || get(admin, "/readyz").is_ok_and(|a| a.starts_with("HTTP/1.1 200")),
        "the proxy",
    )?;
    let token = shell::read(
        Command::new(programs.join("turnpike-proxy"))
            .args(["token", "--agent", "agents/coder", "--config"])
            .arg(&config),
    )?;
    let token_file = folder.path().join("token.jwt");
    fs::write(&token_file, token)?;

    let mut through = Vec::new();
    let mut straight = Vec::new();
    for round in 1..=args.rounds {
        // Alternating, so that what else the machine does falls on both.
        let direct = load(
            &programs,
            google.to_string(),
            true,
            &tls.join("ca.pem"),
            &token_file,
            None,
            args.calls,
        )?;
        let gate = load(
            &programs,
            proxy.to_string(),
            false,
            &config.join("ca/ca.pem"),
            &token_file,
            Some(running.id()),
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

fn wait(ready: impl Fn() -> bool, what: &str) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(15);
    while !ready() {
        if Instant::now() > until {
            bail!("{what} did not come up");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}
