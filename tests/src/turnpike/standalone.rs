//! Turnpike in standalone mode: the real binary on a folder of its own, in front of an upstream of the test.
//!
//! The folder is made by `--init`, as a person would; only addresses, the upstream and the gateway's own
//! token are the test's. Policies and approvals are decided by editing files, as a person would too. It
//! builds no binary: [`super::binary`] says how.

pub mod client;
mod disk;
mod folder;
pub mod upstream;

use std::{fs, net::SocketAddr, process::ExitStatus, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use turnpike_audit::StoredEvent;

pub use disk::{Approval, files_with, read_topic, summary};
pub use folder::{Folder, Route};

use self::client::Agent;
use crate::process::{Process, eventually};

/// The gateway's own token for Google: what upstreams must see and agents must not.
pub const GATEWAY_TOKEN: &str = "standin-token-of-the-gateway";
/// How long anything may take that should take moments.
pub const PATIENCE: Duration = Duration::from_secs(15);

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
