//! The configuration folder of a proxy under test, before anything runs on it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{GATEWAY_TOKEN, Standalone};
use crate::{
    process::{Process, clean_command, free_port, temp_dir},
    standin::Standin,
    turnpike::binary,
};

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
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
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

    /// The proxy, not yet waited for: it may end at once, which is what some tests want. It is told of its
    /// folder by a relative path, as a person would.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&self) -> Result<Process> {
        self.spawn_with(&[])
    }

    /// The same with more in its environment.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_with(&self, environment: &[(&str, &str)]) -> Result<Process> {
        let mut command = clean_command(binary("turnpike-proxy")?, self.dir.path());
        let path = self.path();
        let name = path.file_name().context("the folder has a name")?;
        command
            .current_dir(self.dir.path())
            .args(["standalone", "--config"])
            .arg(name)
            .envs(environment.iter().copied());
        Process::start("turnpike-proxy", self.dir.path(), command)
    }

    /// The running proxy, ready for agents.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn start(self) -> Result<Standalone> {
        self.start_with(&[]).await
    }

    /// The same with more in its environment.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn start_with(self, environment: &[(&str, &str)]) -> Result<Standalone> {
        let process = self.spawn_with(environment)?;
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

/// Merges objects; everything else is replaced.
pub(super) fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(into.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
        (into, change) => *into = change.clone(),
    }
}
