//! Real clients of Google Cloud, each doing the same few things: a read, a write, a call that is refused and
//! one that is held.
//!
//! Nothing in a client knows of Turnpike: proxy, certificate and credential come from the variables that its
//! maker documents, which [`Client::environment`] holds. A client that goes past the proxy finds no Google that
//! takes its token, and leaves no trace in the stand-in's record, so that its run fails either way.

mod cloud_sdk;
mod curl;
mod go;
mod installed;
mod java;
mod matrix;
mod node;
mod pins;
mod python;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::process::{clean_command, temp_dir};

use tokens::TokenEndpoint;

pub use matrix::{POLICY, REFUSAL, run};

/// How long one run of a client may take. gcloud itself waits 300 seconds for an answer.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The project of all calls.
const PROJECT: &str = "acme-dev";

/// What a client shows to Google: its own way to speak, its own way to be set up.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its name, which is the agent's too.
    pub name: &'static str,
    /// What it does, in order.
    pub steps: fn(&'static str) -> Vec<Step>,
    /// The variables that it is set up by, and all of them.
    pub environment: fn(&Site) -> Result<Variables>,
    /// The program that does a step.
    pub program: fn(&Site, &Step) -> Result<Command>,
}

/// The clients that speak REST, the slow ones first.
pub const REST: &[Client] = &[
    cloud_sdk::GSUTIL,
    cloud_sdk::GCLOUD,
    cloud_sdk::BQ,
    curl::CURL,
    python::REST,
    node::REST,
    go::REST,
    java::REST,
];
/// The clients that speak gRPC.
pub const GRPC: &[Client] = &[python::GRPC, node::GRPC, go::GRPC];

/// Variables of the environment, by name.
pub type Variables = Vec<(&'static str, String)>;

/// One call, or what a client makes of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is to become of it.
    pub kind: Kind,
    /// What it is called in the table, and the argument of programs of ours.
    pub name: &'static str,
    /// What the client says when it succeeds.
    pub says: Says,
    /// A text that the call brings to Google, once.
    pub brings: Option<String>,
}

/// What is to become of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes through.
    Allowed,
    /// It is refused, and the client says so in Turnpike's words.
    Refused,
    /// It waits until somebody approves it, and goes through.
    Held,
}

/// What a client writes to its standard output.
#[derive(Clone, Debug)]
pub enum Says {
    /// This, and nothing else.
    Exactly(String),
    /// All of these, among other things.
    Among(Vec<String>),
}

impl Says {
    fn nothing() -> Self {
        Self::Exactly(String::new())
    }

    fn exactly(text: impl Into<String>) -> Self {
        Self::Exactly(text.into())
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Exactly(whole) => text == whole,
            Self::Among(parts) => parts.iter().all(|part| text.contains(part)),
        }
    }
}

impl Step {
    fn allowed(name: &'static str, says: Says) -> Self {
        let (kind, brings) = (Kind::Allowed, None);
        Self {
            kind,
            name,
            says,
            brings,
        }
    }

    fn refused() -> Self {
        Self {
            kind: Kind::Refused,
            ..Self::allowed("refused", Says::nothing())
        }
    }

    fn held(says: Says) -> Self {
        Self {
            kind: Kind::Held,
            ..Self::allowed("held", says)
        }
    }

    fn bringing(self, text: String) -> Self {
        Self {
            brings: Some(text),
            ..self
        }
    }
}

/// The steps of a client of Cloud Storage that says what our programs say.
fn storage_steps(name: &'static str, masked: bool) -> Vec<Step> {
    let stored = |text: &str| Says::exactly(format!("clients/{name}.txt {}\n", text.len()));
    let (written, held) = (format!("written by {name}\n"), format!("held for {name}\n"));
    let mut steps = vec![Step::allowed("read", Says::exactly("Hello from the stand-in.\n"))];
    if masked {
        steps.push(Step::allowed("masked", Says::exactly("[MASKED:secret]\n")));
    }
    steps.extend([
        Step::allowed("write", stored(&written)).bringing(written),
        Step::refused(),
        Step::held(stored(&held)).bringing(held),
    ]);
    steps
}

/// The steps of a client of Secret Manager by gRPC that says what our programs say.
fn secret_steps(name: &'static str) -> Vec<Step> {
    let secret = |id: &str| format!("projects/100000000001/secrets/{id}");
    vec![
        Step::allowed("read", Says::exactly("[MASKED:secret]\n")),
        // The number of the version depends on who else writes.
        Step::allowed("write", Says::Among(vec![secret("api-token/versions/")]))
            .bringing(format!("written by {name}")),
        Step::refused(),
        Step::held(Says::exactly(format!(
            "{}\n",
            secret(&format!("held-for-{name}"))
        )))
        .bringing(format!("held-for-{name}")),
    ]
}

/// Where a client finds what it needs to reach Google.
#[derive(Debug)]
pub struct Site {
    /// The CONNECT proxy, as `http://127.0.0.1:PORT`.
    pub proxy: String,
    name: &'static str,
    dir: TempDir,
    endpoint: TokenEndpoint,
}

impl Site {
    /// Writes the files that the environment names: the certificate to trust, the agent's token, and a
    /// credential configuration that takes the token as it is.
    ///
    /// # Errors
    /// A file cannot be written.
    pub async fn new(name: &'static str, proxy: String, ca_pem: &str, token: &str) -> Result<Self> {
        let site = Self {
            proxy,
            name,
            dir: temp_dir(name)?,
            endpoint: TokenEndpoint::start(token.to_owned()).await?,
        };
        let write = |file: &str, text: &str| {
            let path = site.path(file);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };
        write("ca.pem", ca_pem)?;
        write("token", token)?;
        let credential = json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/100000000001/locations/global/workloadIdentityPools/agents/providers/turnpike",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("http://{}/v1/token", site.endpoint.addr()),
            "credential_source": {"file": site.file("token")},
        });
        write("credential.json", &credential.to_string())?;
        Ok(site)
    }

    /// The client's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A directory of the client's own, its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.dir.path()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// A file of the home directory, for a variable.
    fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The certificate to trust.
    fn ca(&self) -> String {
        self.file("ca.pem")
    }

    /// The same for a library that exchanges tokens over TLS alone: it asks the metadata server.
    fn metadata_credential(&self) -> [(&'static str, String); 2] {
        [
            ("GCE_METADATA_HOST", self.endpoint.addr()),
            ("GOOGLE_CLOUD_PROJECT", PROJECT.to_owned()),
        ]
    }

    /// What a Google library needs to find its credential and project.
    fn default_credential(&self) -> [(&'static str, String); 2] {
        [
            ("GOOGLE_APPLICATION_CREDENTIALS", self.file("credential.json")),
            ("GOOGLE_CLOUD_PROJECT", PROJECT.to_owned()),
        ]
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// The exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// All it wrote, as a person would read it.
    pub shown: String,
}

impl Client {
    /// Does one step to its end.
    ///
    /// # Errors
    /// It cannot be started, or does not end. That it failed is in the result.
    pub async fn step(&self, site: &Site, step: &Step) -> Result<Run> {
        let mut command = (self.program)(site, step)?;
        command.envs((self.environment)(site)?);
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(TIMEOUT, command.output());
        let output = output
            .await
            .with_context(|| format!("{} does not end", self.name))?
            .with_context(|| format!("start {}", self.name))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        Ok(Run {
            status: output.status,
            shown: format!("{stdout}{stderr}"),
            stdout,
        })
    }
}

/// A program of `tests/clients`, to be run by `interpreter` with the step and the client's name.
fn script(site: &Site, step: &Step, interpreter: &Path, file: &str) -> Command {
    let mut command = clean_command(interpreter, site.home());
    command.arg(source(file)).args([step.name, site.name()]);
    command
}

/// A file of `tests/clients`.
fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(file)
}
