//! Turnpike in standalone mode: the real binary on a folder of its own, in front of an upstream of the test.
//!
//! The folder is made by `--init`, as a person would; only addresses, the upstream and the gateway's own
//! token are the test's. Policies and approvals are decided by editing files, as a person would too. It
//! builds no binary: [`super::binary`] says how.

pub mod client;
pub mod upstream;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use turnpike_audit::StoredEvent;

use self::client::Agent;
use super::binary;
use crate::{
    process::{Process, clean_command, eventually, free_port, temp_dir},
    standin::Standin,
};

/// The gateway's own token for Google: what upstreams must see and agents must not.
pub const GATEWAY_TOKEN: &str = "standin-token-of-the-gateway";
/// How long anything may take that should take moments.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Where calls go instead of to Google.
#[derive(Clone, Debug)]
pub enum Route {
    /// Plain HTTP on loopback.
    Plain(SocketAddr),
    /// TLS, with the certificate to trust in PEM.
    Tls(SocketAddr, String),
}

impl From<&Standin> for Route {
    fn from(standin: &Standin) -> Self {
        match standin.ca_pem() {
            Some(pem) => Self::Tls(standin.addr(), pem.to_owned()),
            None => Self::Plain(standin.addr()),
        }
    }
}

/// A configuration folder that is ready to run.
#[derive(Debug)]
pub struct Folder {
    dir: TempDir,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Folder {
    /// Makes the folder by `turnpike-proxy standalone --init` and adapts its configuration: free ports, the
    /// gateway's token from a file, every host to `route`. The example's policies are removed.
    ///
    /// # Errors
    /// The binary is missing or fails, or a file cannot be written.
    pub fn new(route: impl Into<Route>) -> Result<Self> {
        let folder = Self::example()?;
        fs::remove_file(folder.policy("coder"))?;
        let (address, secure) = match route.into() {
            Route::Plain(address) => (address, json!({"plaintext": true})),
            Route::Tls(address, pem) => {
                fs::write(folder.path().join("upstream-ca.pem"), pem)?;
                (address, json!({"caFile": "upstream-ca.pem"}))
            }
        };
        let mut upstream = json!({"host": "*", "address": address.to_string()});
        merge(&mut upstream, &secure);
        fs::write(folder.path().join("token"), GATEWAY_TOKEN)?;
        folder.configure(&json!({
            "credential": {"source": "AccessTokenFile", "accessTokenFile": "token"},
            "upstreams": [upstream],
        }))?;
        Ok(folder)
    }

    /// The example as `--init` writes it, but for its ports.
    ///
    /// # Errors
    /// As [`Folder::new`].
    pub fn example() -> Result<Self> {
        let dir = temp_dir("standalone")?;
        let config = dir.path().join("config");
        let output = Command::new(binary("turnpike-proxy")?)
            .args(["standalone", "--init"])
            .arg(&config)
            .output()
            .context("run turnpike-proxy")?;
        ensure!(
            output.status.success(),
            "--init: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let folder = Self {
            dir,
            listen: loopback(free_port()?),
            admin: loopback(free_port()?),
        };
        let path = folder.path().join("turnpike.yaml");
        let text = fs::read_to_string(&path)?
            .replace(
                "\nlisten: 127.0.0.1:8443\n",
                &format!("\nlisten: {}\n", folder.listen),
            )
            .replace(
                "\nadmin: 127.0.0.1:9443\n",
                &format!("\nadmin: {}\n", folder.admin),
            );
        fs::write(&path, text)?;
        Ok(folder)
    }

    /// The configuration folder.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// Changes `turnpike.yaml`: objects are merged, everything else is replaced.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn configure(&self, changes: &Value) -> Result<()> {
        let path = self.path().join("turnpike.yaml");
        let mut config: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
        merge(&mut config, changes);
        fs::write(path, serde_json::to_string_pretty(&config)?)?;
        Ok(())
    }

    /// The file of a policy.
    #[must_use]
    pub fn policy(&self, name: &str) -> PathBuf {
        self.path().join("policies").join(format!("{name}.yaml"))
    }

    /// Writes a policy file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_policy(&self, name: &str, yaml: &str) -> Result<()> {
        let path = self.policy(name);
        fs::write(&path, yaml).with_context(|| format!("write {}", path.display()))
    }

    /// The proxy, not yet waited for: it may end at once, which is what some tests want.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&self) -> Result<Process> {
        let mut command = clean_command(binary("turnpike-proxy")?, self.dir.path());
        command.args(["standalone", "--config"]).arg(self.path());
        Process::start("turnpike-proxy", self.dir.path(), command)
    }

    /// The running proxy, ready for agents.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn start(self) -> Result<Standalone> {
        let process = self.spawn()?;
        let mut standalone = Standalone {
            folder: self,
            process,
        };
        standalone.ready().await?;
        Ok(standalone)
    }

    /// A token for an agent, as `NAMESPACE/NAME`.
    ///
    /// # Errors
    /// The binary fails.
    pub fn token(&self, agent: &str) -> Result<String> {
        let output = Command::new(binary("turnpike-proxy")?)
            .args(["token", "--agent", agent, "--config"])
            .arg(self.path())
            .output()
            .context("run turnpike-proxy token")?;
        ensure!(
            output.status.success(),
            "token: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// A running proxy. Dropping it stops it and removes its folder.
#[derive(Debug)]
pub struct Standalone {
    folder: Folder,
    process: Process,
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // At once: with the test's own runtime busy here, nobody would answer a polite goodbye.
        if let Err(error) = self.process.kill() {
            eprintln!("turnpike-proxy: {error:#}");
        }
    }
}

impl std::ops::Deref for Standalone {
    type Target = Folder;
    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Standalone {
    /// A proxy in front of `route` with one policy.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn start(route: impl Into<Route>, policy: &str) -> Result<Self> {
        let folder = Folder::new(route)?;
        folder.write_policy("test", policy)?;
        folder.start().await
    }

    async fn ready(&mut self) -> Result<()> {
        let url = format!("http://{}/readyz", self.folder.admin);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            self.process.alive()?;
            match http.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                _ if std::time::Instant::now() > deadline => bail!("not ready:\n{}", self.process.output()?),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Where agents connect.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.folder.listen
    }

    /// Metrics as text.
    ///
    /// # Errors
    /// The admin port does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let url = format!("http://{}/metrics", self.folder.admin);
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(http.get(url).send().await?.error_for_status()?.text().await?)
    }

    /// What agents trust, in PEM.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn ca_pem(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path().join("ca/ca.pem"))?)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has logged.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn log(&self) -> Result<String> {
        self.process.output()
    }

    /// Waits for a text in the log, and gives the line.
    ///
    /// # Errors
    /// It does not come.
    pub async fn logged(&self, text: &str) -> Result<String> {
        eventually(PATIENCE, || async {
            let log = self.log()?;
            let line = log.lines().find(|line| line.contains(text));
            line.map(str::to_owned)
                .with_context(|| format!("no {text:?} in the log:\n{log}"))
        })
        .await
    }

    /// An agent with a fresh token, which it sends as its bearer.
    ///
    /// # Errors
    /// There is no token.
    pub fn agent(&self, name: &str) -> Result<Agent> {
        Agent::new(self.listen(), &self.ca_pem()?, Some(self.token(name)?))
    }

    /// An agent without a token.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn stranger(&self) -> Result<Agent> {
        Agent::new(self.listen(), &self.ca_pem()?, None)
    }

    /// All events of the local topic.
    ///
    /// # Errors
    /// A line is no event.
    pub fn events(&self) -> Result<Vec<StoredEvent>> {
        read_topic(&self.path())
    }

    /// Events as `phase verdict reason method status`, what tests compare, once one of them holds `text`.
    ///
    /// # Errors
    /// It does not come.
    pub async fn trail(&self, text: &str) -> Result<Vec<String>> {
        eventually(PATIENCE, || async {
            let lines: Vec<String> = self.events()?.iter().map(summary).collect();
            ensure!(
                lines.iter().any(|line| line.contains(text)),
                "no {text:?}: {lines:#?}"
            );
            Ok(lines)
        })
        .await
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.signal(libc::SIGTERM)?;
        self.ended(within).await
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// It does not end.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = std::time::Instant::now() + within;
        while self.process.alive().is_ok() {
            ensure!(
                std::time::Instant::now() < deadline,
                "it still runs:\n{}",
                self.log()?
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.process.wait(Duration::ZERO)
    }

    /// The approval requests that stand in the folder.
    ///
    /// # Errors
    /// A file is no YAML.
    pub fn approvals(&self) -> Result<Vec<Approval>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path().join("approvals"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "yaml") {
                let value = serde_saphyr::from_str(&fs::read_to_string(&path)?)
                    .with_context(|| format!("read {}", path.display()))?;
                found.push(Approval { path, value });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Waits for the one approval request that is in this phase.
    ///
    /// # Errors
    /// There is none, or several.
    pub async fn approval(&self, phase: &str) -> Result<Approval> {
        eventually(PATIENCE, || async {
            let mut found = self.approvals()?;
            found.retain(|a| a.phase() == phase);
            match <[Approval; 1]>::try_from(found) {
                Ok([one]) => Ok(one),
                Err(found) => bail!("{} requests are {phase}", found.len()),
            }
        })
        .await
    }
}

/// An approval request as a file.
#[derive(Clone, Debug)]
pub struct Approval {
    path: PathBuf,
    /// The whole document.
    pub value: Value,
}

impl Approval {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or("")
    }

    /// `status.phase`.
    #[must_use]
    pub fn phase(&self) -> &str {
        self.value["status"]["phase"].as_str().unwrap_or("Pending")
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Decides as a person would: by writing a review into the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn review(&self, by: &str, decision: &str, reason: &str) -> Result<()> {
        let mut value = self.value.clone();
        merge(
            &mut value,
            &json!({"status": {"reviews": {by: {"decision": decision, "reason": reason}}}}),
        );
        fs::write(&self.path, serde_json::to_string_pretty(&value)?)
            .with_context(|| format!("write {}", self.path.display()))
    }
}

/// All events of a folder's local topic.
///
/// # Errors
/// A line is no event.
pub fn read_topic(config: &Path) -> Result<Vec<StoredEvent>> {
    let path = config.join("audit/topic.jsonl");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    text.split_inclusive(|byte| *byte == b'\n')
        // The last line may be under way.
        .filter(|line| line.ends_with(b"\n"))
        .map(|line| turnpike_audit::parse_line(line).context("an event of the topic"))
        .collect()
}

/// `phase verdict reason method[ status]`.
#[must_use]
pub fn summary(stored: &StoredEvent) -> String {
    let event = &stored.event;
    let facts = &event.unmapped.turnpike;
    let mut line = format!(
        "{} {} {} {}",
        facts.phase.as_str(),
        facts.verdict.as_str(),
        facts.reason,
        event.api.operation
    );
    if let Some(answer) = &event.http_response {
        line.push_str(&format!(" {}", answer.code));
    }
    line
}

/// Every file below a folder that holds one of these texts.
///
/// # Errors
/// A file cannot be read.
pub fn files_with(dir: &Path, texts: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, texts)?);
            continue;
        }
        let bytes = fs::read(&path)?;
        let holds = |text: &&str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
        if texts.iter().any(|text| holds(&text)) {
            found.push(path);
        }
    }
    Ok(found)
}

fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(into.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
        (into, change) => *into = change.clone(),
    }
}
