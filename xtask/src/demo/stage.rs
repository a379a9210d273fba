//! The stage: a folder, the stand-in for Google, and the proxy in front of it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use turnpike_audit::Phase;

use crate::{
    local::{Folder, Running, free_ports, get},
    paths, shell,
};

/// The payload of the stand-in's secret, which no agent may see.
pub(crate) const SECRET: &str = "not-a-real-secret";
/// The gateway's credential, which the stand-in takes and no agent sees.
const CREDENTIAL: &str = "standin-access-token-of-the-gateway";

/// The programs that play.
pub(crate) struct Programs {
    proxy: PathBuf,
    cli: PathBuf,
    standin: PathBuf,
    pub(crate) agent: PathBuf,
}

/// Builds the programs.
///
/// # Errors
/// Cargo fails.
pub(crate) fn build() -> Result<Programs> {
    let target = paths::target()?;
    let mut cargo = shell::cargo();
    cargo
        .current_dir(paths::root())
        .env("CARGO_TARGET_DIR", &target)
        .args([
            "build",
            "--quiet",
            "-p",
            "turnpike-proxy",
            "-p",
            "kubectl-turnpike",
            "-p",
            "turnpike-tests",
            "--bins",
        ]);
    shell::run(&mut cargo)?;
    let program = |name: &str| target.join("debug").join(name);
    Ok(Programs {
        proxy: program("turnpike-proxy"),
        cli: program("kubectl-turnpike"),
        standin: program("turnpike-standin"),
        agent: program("turnpike-agent"),
    })
}

/// Everything that runs. Dropping it ends it and removes the folder.
pub(crate) struct Stage {
    dir: Folder,
    cli: PathBuf,
    pub(crate) agent: PathBuf,
    pub(crate) proxy: SocketAddr,
    admin: SocketAddr,
    proxy_process: Running,
    _standin: Running,
    standin_admin: SocketAddr,
}

impl Stage {
    /// Starts the stand-in and the proxy.
    ///
    /// # Errors
    /// One of them does not come up.
    pub(crate) fn set(programs: &Programs) -> Result<Self> {
        let dir = Folder::new("demo")?;
        let config = dir.path().join("turnpike");
        let [proxy, admin, google, google_admin] = free_ports()?;
        shell::read(
            Command::new(&programs.proxy)
                .args(["standalone", "--init"])
                .arg(&config),
        )?;
        adapt(&config, proxy, admin, google)?;
        let log = fs::File::create(dir.path().join("standin.log"))?;
        let mut standin = Command::new(&programs.standin);
        standin
            .args([
                "--listen",
                &google.to_string(),
                "--admin",
                &google_admin.to_string(),
            ])
            .args(["--require-token", CREDENTIAL])
            .stdout(Stdio::null())
            .stderr(log);
        let standin = Running::start(&mut standin)?;
        let log = fs::File::create(dir.path().join("proxy.log"))?;
        let mut proxy_process = Command::new(&programs.proxy);
        proxy_process
            .args(["standalone", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log);
        let proxy_process = Running::start(&mut proxy_process)?;
        let mut stage = Self {
            dir,
            cli: programs.cli.clone(),
            agent: programs.agent.clone(),
            proxy,
            admin,
            proxy_process,
            _standin: standin,
            standin_admin: google_admin,
        };
        stage.wait_until_ready()?;
        let token = shell::read(
            Command::new(&programs.proxy)
                .args(["token", "--agent", "agents/coder", "--config"])
                .arg(stage.dir()),
        )?;
        fs::write(stage.token_file(), token)?;
        Ok(stage)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(15);
        loop {
            let ready = get(self.admin, "/readyz").is_ok_and(|a| a.starts_with("HTTP/1.1 200"))
                && get(self.standin_admin, "/healthz").is_ok_and(|a| a.starts_with("HTTP/1.1 200"));
            if ready {
                return Ok(());
            }
            let ended = self.proxy_process.ended()?;
            if ended.is_some() || Instant::now() > until {
                let log = fs::read_to_string(self.dir.path().join("proxy.log")).unwrap_or_default();
                bail!("the proxy did not come up:\n{log}");
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// The configuration folder.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().join("turnpike")
    }

    /// A folder for the agent's own files.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.dir.path().join("token.jwt")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir().join("ca/ca.pem")
    }

    pub(crate) fn cli_path(&self) -> &Path {
        &self.cli
    }

    /// Runs the CLI on the folder, with its output to ours.
    pub(crate) fn cli(&self, args: &[&str]) -> Result<()> {
        shell::run(Command::new(&self.cli).arg("--config").arg(self.dir()).args(args))
    }

    /// Waits for the held call's approval request and gives its name.
    pub(crate) fn wait_for_request(&self) -> Result<String> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            for entry in fs::read_dir(self.dir().join("approvals"))? {
                let path = entry?.path();
                if path.extension().is_some_and(|e| e == "yaml")
                    && let Some(name) = path.file_stem().and_then(|s| s.to_str())
                {
                    return Ok(name.to_owned());
                }
            }
            ensure!(Instant::now() < until, "the call was not held");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Whether a request still waits for a person.
    pub(crate) fn is_pending(&self, name: &str) -> Result<bool> {
        let text = fs::read_to_string(self.dir().join("approvals").join(format!("{name}.yaml")))?;
        // The file begins with a comment that shows how to decide.
        let said = |what: &str| text.lines().any(|l| !l.starts_with('#') && l.contains(what));
        Ok(said("phase: Pending") && !said("decision:"))
    }

    /// Waits until the approval is spent on the call.
    pub(crate) fn wait_until_spent(&self, name: &str) -> Result<()> {
        let from = Instant::now();
        let path = self.dir().join("approvals").join(format!("{name}.yaml"));
        while !fs::read_to_string(&path)?.contains("phase: Consumed") {
            ensure!(
                from.elapsed() < Duration::from_secs(10),
                "the approved call was not released"
            );
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Prints what reached the stand-in, and fails if any of it carried the agent's token.
    pub(crate) fn show_requests(&self) -> Result<()> {
        let answer = get(self.standin_admin, "/requests")?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, b)| b);
        let requests: Vec<serde_json::Value> =
            serde_json::from_str(body).context("the stand-in's requests")?;
        ensure!(!requests.is_empty(), "nothing reached the stand-in");
        for request in &requests {
            let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
            let path = text("path");
            println!(
                "  {} https://{}{}",
                text("method"),
                text("host"),
                path.split('?').next().unwrap_or_default()
            );
        }
        let token = fs::read_to_string(self.token_file())?;
        ensure!(
            !body.contains(token.trim()),
            "the agent's token reached the stand-in"
        );
        let keys = requests
            .iter()
            .filter(|r| r["path"].as_str().is_some_and(|p| p.contains("/keys")))
            .count();
        ensure!(keys == 0, "the refused call reached the stand-in");
        Ok(())
    }

    /// Prints the audit trail, and fails if it is not whole.
    pub(crate) fn show_trail(&self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(5);
        let events = loop {
            let text = fs::read(self.dir().join("audit/topic.jsonl")).unwrap_or_default();
            let events = text
                .split(|b| *b == b'\n')
                .filter(|l| !l.is_empty())
                .map(turnpike_audit::parse_line)
                .collect::<Result<Vec<_>, _>>()?;
            let count = |phase: Phase| {
                events
                    .iter()
                    .filter(|e| e.event.unmapped.turnpike.phase == phase)
                    .count()
            };
            // The refusal is the story's last event.
            let whole = count(Phase::Intent) == count(Phase::Outcome)
                && count(Phase::Held) == 1
                && count(Phase::Refused) == 1;
            if whole || Instant::now() > until {
                ensure!(whole, "the audit trail is not whole");
                break events;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        };
        for event in &events {
            println!("  {}", event.summary());
        }
        let text = fs::read_to_string(self.dir().join("audit/topic.jsonl"))?;
        ensure!(
            !text.contains(SECRET) && !text.contains(CREDENTIAL),
            "the audit trail holds a secret"
        );
        Ok(())
    }

    /// Waits until Ctrl-C is pressed, or the proxy ends.
    pub(crate) fn wait(&self) -> Result<()> {
        let (tell, told) = std::sync::mpsc::channel();
        // Who waits is gone only when all is over.
        ctrlc::set_handler(move || tell.send(()).unwrap_or_default())?;
        while told.recv_timeout(Duration::from_secs(1)).is_err() && get(self.admin, "/healthz").is_ok() {}
        Ok(())
    }
}

// Ports of its own, the credential for the stand-in, and the stand-in in the place of Google.
fn adapt(config: &Path, proxy: SocketAddr, admin: SocketAddr, google: SocketAddr) -> Result<()> {
    let path = config.join("turnpike.yaml");
    let text = fs::read_to_string(&path)?;
    let adapted = text
        .replace("listen: 127.0.0.1:8443", &format!("listen: {proxy}"))
        .replace("admin: 127.0.0.1:9443", &format!("admin: {admin}"))
        .replace(
            "source: ApplicationDefault",
            "source: AccessTokenFile\n  accessTokenFile: google-token",
        );
    ensure!(
        adapted.contains(&proxy.to_string()) && adapted.contains("google-token"),
        "the example configuration changed"
    );
    fs::write(
        &path,
        format!("{adapted}\nupstreams:\n  - {{host: \"*\", address: \"{google}\", plaintext: true}}\n"),
    )?;
    fs::write(config.join("google-token"), CREDENTIAL)?;
    Ok(())
}
