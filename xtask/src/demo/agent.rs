//! The agent: real gcloud with an environment of its own, or the built-in client.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::stage::Stage;
use crate::paths;

/// As much of what an agent saw is shown.
const MOST_LINES: usize = 14;
const MOST_COLUMNS: usize = 400;

/// What an agent did, and what it saw.
pub(crate) struct Played {
    command: String,
    pub(crate) succeeded: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Played {
    /// Prints it as a terminal would show it.
    pub(crate) fn show(&self) {
        println!("\n$ {}", self.command);
        let lines = self
            .out
            .lines()
            .chain(self.err.lines())
            .filter(|l| !l.trim().is_empty());
        for line in lines.take(MOST_LINES) {
            match line.char_indices().nth(MOST_COLUMNS) {
                Some((end, _)) => println!("  {} ...", &line[..end]),
                None => println!("  {line}"),
            }
        }
    }
}

/// An agent that works through the proxy.
pub(crate) struct Agent<'a> {
    stage: &'a Stage,
    gcloud: Option<PathBuf>,
}

/// A command that is under way.
pub(crate) struct Underway {
    command: String,
    child: Child,
}

impl Underway {
    /// Waits for its end.
    ///
    /// # Errors
    /// Its output cannot be read.
    pub(crate) fn finish(self) -> Result<Played> {
        let output = self.child.wait_with_output()?;
        Ok(Played {
            command: self.command,
            succeeded: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// The environment that points gcloud and others at the proxy.
pub(crate) fn environment(stage: &Stage) -> Vec<(&'static str, String)> {
    vec![
        ("HTTPS_PROXY", format!("http://{}", stage.proxy)),
        (
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
            stage.ca().display().to_string(),
        ),
        (
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE",
            stage.token_file().display().to_string(),
        ),
        ("CLOUDSDK_CORE_CHECK_GCE_METADATA", "False".to_owned()),
        ("CLOUDSDK_CORE_PROJECT", "acme-dev".to_owned()),
        ("CLOUDSDK_CORE_DISABLE_PROMPTS", "1".to_owned()),
    ]
}

impl<'a> Agent<'a> {
    /// An agent on this stage.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub(crate) fn new(stage: &'a Stage, no_gcloud: bool) -> Result<Self> {
        fs::create_dir_all(stage.home())?;
        let gcloud = paths::which("gcloud").filter(|_| !no_gcloud);
        Ok(Self { stage, gcloud })
    }

    pub(crate) fn tool(&self) -> &'static str {
        if self.gcloud.is_some() {
            "the real gcloud"
        } else {
            "the built-in client (gcloud is not used)"
        }
    }

    pub(crate) fn list_buckets(&self) -> Result<Played> {
        self.play(
            &["storage", "ls"],
            "GET",
            "https://storage.googleapis.com/storage/v1/b?project=acme-dev",
            None,
        )
    }

    pub(crate) fn access_secret(&self) -> Result<Played> {
        self.play(
            &["secrets", "versions", "access", "latest", "--secret=db-password"],
            "GET",
            "https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db-password/versions/latest:access",
            None,
        )
    }

    /// Whether what was seen is the mask in the place of the secret.
    pub(crate) fn sees_mask(&self, played: &Played) -> bool {
        // gcloud decodes the payload; the built-in client shows the answer as it is, in base64.
        const ENCODED: &str = "W01BU0tFRDpzZWNyZXRd";
        played.out.contains("[MASKED:secret]") || played.out.contains(ENCODED)
    }

    pub(crate) fn start_deploy(&self) -> Result<Underway> {
        self.start(
            &[
                "run",
                "deploy",
                "billing",
                "--image=us-docker.pkg.dev/acme-dev/app/billing:1",
                "--region=us-central1",
                "--no-allow-unauthenticated",
            ],
            "POST",
            "https://run.googleapis.com/v2/projects/acme-dev/locations/us-central1/services?serviceId=billing",
            Some(r#"{"template":{"containers":[{"image":"us-docker.pkg.dev/acme-dev/app/billing:1"}]}}"#),
        )
    }

    pub(crate) fn create_key(&self) -> Result<Played> {
        let file = self.stage.home().join("key.json").display().to_string();
        self.play(
            &[
                "iam",
                "service-accounts",
                "keys",
                "create",
                &file,
                "--iam-account=coder@acme-dev.iam.gserviceaccount.com",
            ],
            "POST",
            "https://iam.googleapis.com/v1/projects/-/serviceAccounts/coder@acme-dev.iam.gserviceaccount.com/keys",
            Some("{}"),
        )
    }

    fn play(&self, gcloud: &[&str], verb: &str, url: &str, body: Option<&str>) -> Result<Played> {
        self.start(gcloud, verb, url, body)?.finish()
    }

    fn start(&self, gcloud: &[&str], verb: &str, url: &str, body: Option<&str>) -> Result<Underway> {
        let (mut command, text) = match &self.gcloud {
            Some(program) => {
                let mut command = Command::new(program);
                command.args(gcloud);
                (command, format!("gcloud {}", gcloud.join(" ")))
            }
            None => {
                let mut command = Command::new(&self.stage.agent);
                command
                    .arg("--ca")
                    .arg(self.stage.ca())
                    .arg("--token-file")
                    .arg(self.stage.token_file());
                command
                    .args(body.iter().flat_map(|b| ["--body", b]))
                    .args([verb, url]);
                (command, format!("{verb} {url}"))
            }
        };
        let child = command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.stage.home())
            .env("CLOUDSDK_CONFIG", self.stage.home().join("gcloud"))
            .env("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "1")
            .env("CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK", "1")
            .envs(environment(self.stage))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {text}"))?;
        Ok(Underway { command: text, child })
    }
}
