//! The real gcloud, pointed at a gate by its environment alone.
//!
//! Each value has a configuration directory of its own and inherits nothing: neither the
//! user's login nor a `REQUESTS_CA_BUNDLE`, which would win over gcloud's own setting.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::process::{clean_command, temp_dir};
use crate::tools;

/// gcloud itself waits 300 seconds for an answer.
const TIMEOUT: Duration = Duration::from_secs(330);

/// How gcloud reaches Google.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// The CONNECT proxy, as `http://127.0.0.1:PORT`.
    pub proxy: &'a str,
    /// The certificate to trust, in PEM.
    pub ca_pem: &'a str,
    /// The token that it sends as its bearer.
    pub token: &'a str,
    /// The project of its commands.
    pub project: &'a str,
}

/// A gcloud of one agent.
#[derive(Debug)]
pub struct Gcloud {
    program: PathBuf,
    environment: Vec<(String, String)>,
    dir: TempDir,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// The arguments.
    pub command: String,
    /// The exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Run {
    /// Its standard output, where it succeeded.
    ///
    /// # Errors
    /// It failed; the error carries what it wrote.
    pub fn success(self) -> Result<String> {
        if !self.status.success() {
            bail!(
                "gcloud {} ended with {}:\n{}{}",
                self.command,
                self.status,
                self.stdout,
                self.stderr
            );
        }
        Ok(self.stdout)
    }

    /// Its standard error, where it failed.
    ///
    /// # Errors
    /// It succeeded.
    pub fn failure(self) -> Result<String> {
        if self.status.success() {
            bail!(
                "gcloud {} succeeded:\n{}{}",
                self.command,
                self.stdout,
                self.stderr
            );
        }
        Ok(self.stderr)
    }
}

impl Gcloud {
    /// Prepares the environment. Nothing runs yet.
    ///
    /// # Errors
    /// gcloud is not installed, or a file cannot be written.
    pub fn new(settings: &Settings<'_>) -> Result<Self> {
        let dir = temp_dir("gcloud")?;
        let write = |name: &str, text: &str| -> Result<String> {
            let path = dir.path().join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            Ok(path.to_str().context("the path is not UTF-8")?.to_owned())
        };
        let ca = write("ca.pem", settings.ca_pem)?;
        let token = write("token", settings.token)?;
        let config = dir
            .path()
            .join("config")
            .to_str()
            .context("the path is not UTF-8")?
            .to_owned();
        let environment = [
            ("CLOUDSDK_CONFIG", config.as_str()),
            ("HTTPS_PROXY", settings.proxy),
            ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", &ca),
            ("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", &token),
            ("CLOUDSDK_CORE_PROJECT", settings.project),
            ("CLOUDSDK_CORE_CHECK_GCE_METADATA", "False"),
            ("CLOUDSDK_CORE_DISABLE_PROMPTS", "1"),
            ("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "true"),
            ("CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK", "true"),
            ("CLOUDSDK_SURVEY_DISABLE_PROMPTS", "true"),
        ];
        let environment = environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        Ok(Self {
            program: tools::gcloud()?,
            environment,
            dir,
        })
    }

    /// Adds a variable, or replaces one.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What it runs with, beyond PATH and HOME.
    #[must_use]
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// A directory for files of the test, removed with the value.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// From the next run on, this token is sent.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_token(&self, token: &str) -> Result<()> {
        fs::write(self.dir.path().join("token"), token).context("write the token")
    }

    /// Runs one command to its end.
    ///
    /// # Errors
    /// It cannot be started, or does not end. That it failed is in the result.
    pub async fn run(&self, args: &[&str]) -> Result<Run> {
        let started = Instant::now();
        let mut command = clean_command(&self.program, self.dir.path());
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(args);
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(TIMEOUT, command.output());
        let output = output
            .await
            .context("gcloud does not end")?
            .context("start gcloud")?;
        Ok(Run {
            command: args.join(" "),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: started.elapsed(),
        })
    }
}
