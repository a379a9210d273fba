//! A user of the control plane: a kubeconfig file, and kubectl and clients that use it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig as Parsed};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::pki::{Identity, Pki};
use crate::process::clean_command;
use crate::tools;

/// A kubeconfig file of one user.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    path: PathBuf,
}

/// How a program ended, and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The program and its arguments.
    pub command: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Output {
    /// Its standard output, where it succeeded.
    ///
    /// # Errors
    /// It failed; the error carries what it wrote.
    pub fn success(self) -> Result<String> {
        if !self.status.success() {
            bail!(
                "{} ended with {}:\n{}{}",
                self.command,
                self.status,
                self.stdout,
                self.stderr
            );
        }
        Ok(self.stdout)
    }
}

impl Kubeconfig {
    pub(super) fn write(dir: &Path, name: &str, url: &str, pki: &Pki, identity: &Identity) -> Result<Self> {
        let user = json!({
            "client-certificate-data": STANDARD.encode(&identity.cert),
            "client-key-data": STANDARD.encode(&identity.key),
        });
        Self::write_user(dir, name, url, pki, &user)
    }

    pub(super) fn write_token(dir: &Path, name: &str, url: &str, pki: &Pki, token: &str) -> Result<Self> {
        Self::write_user(dir, name, url, pki, &json!({"token": token}))
    }

    fn write_user(dir: &Path, name: &str, url: &str, pki: &Pki, user: &Value) -> Result<Self> {
        // JSON is YAML.
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {
                "server": url, "certificate-authority-data": STANDARD.encode(&pki.ca_pem),
            }}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": "tests", "user": name}}],
            "current-context": name,
        });
        let file: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let path = dir.join(format!("{file}.kubeconfig"));
        fs::write(&path, config.to_string()).with_context(|| format!("write {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A client of this user, bound to the runtime that calls.
    ///
    /// # Errors
    /// The file is refused.
    pub async fn client(&self) -> Result<kube::Client> {
        let parsed = Parsed::read_from(&self.path)?;
        let mut config = kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
        // The environment's proxy is not for loopback.
        config.proxy_url = None;
        Ok(kube::Client::try_from(config)?)
    }

    /// Runs the real kubectl as this user, with `stdin` where it is given.
    ///
    /// # Errors
    /// It cannot be started. That it failed is in the output.
    pub async fn kubectl(&self, args: &[&str], stdin: Option<&str>) -> Result<Output> {
        let home = self.path.parent().context("the kubeconfig has no directory")?;
        let mut command = clean_command(tools::kubectl()?, home);
        command.arg("--kubeconfig").arg(&self.path).args(args);
        let mut command = tokio::process::Command::from(command);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("start kubectl")?;
        let mut pipe = child.stdin.take().context("kubectl has no standard input")?;
        let text = stdin.unwrap_or_default().to_owned();
        let write = tokio::spawn(async move {
            // kubectl may end before it has read all; its own message tells why.
            pipe.write_all(text.as_bytes()).await.ok();
        });
        let output = child.wait_with_output().await.context("run kubectl")?;
        write.await?;
        Ok(Output {
            command: format!("kubectl {}", args.join(" ")),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
