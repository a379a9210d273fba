//! A proxy replica as a process, and what it is told.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::binary;
use super::client::{Agent, Tunnel};
use super::cluster::{AUDIENCE, SOON};
use crate::gcloud::{Gcloud, Settings};
use crate::process::{Process, clean_command, eventually, free_port};
use crate::standin::{Options, Standin};

/// Tokens that the stand-in takes start so; the proxies' credential is one of them.
pub const GOOGLE_TOKEN: &str = "standin-access-token";

/// How long to ask before looking whether the process still lives.
const LOOK: Duration = Duration::from_millis(200);
/// Test threads end, and what they spawned ends with their runtimes. What a test binary shares is spawned
/// here.
pub fn lasting() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    })
}

/// A stand-in for Google that outlives the test that starts it, takes only the proxies' credential, and can
/// be mapped to by [`to_standin`].
///
/// # Errors
/// No port is free.
pub async fn lasting_standin() -> Result<Standin> {
    let options = Options {
        require_token: Some(GOOGLE_TOKEN.to_owned()),
        ..Options::default()
    };
    lasting().spawn(Standin::start(options)).await?
}

/// The entry of the upstream map that sends every host to a stand-in.
#[must_use]
pub fn to_standin(standin: &Standin) -> Value {
    json!({"host": "*", "address": standin.addr().to_string(), "plaintext": true})
}

/// What a proxy is told.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Entries of the upstream map.
    pub upstreams: Vec<Value>,
    /// Topic and emulator; a file where there is none.
    pub pubsub: Option<PubSub>,
    /// Most that waits to be published.
    pub spool_mib: u64,
}

/// Where events go.
#[derive(Clone, Debug)]
pub struct PubSub {
    /// `projects/PROJECT/topics/TOPIC`.
    pub topic: String,
    /// `PUBSUB_EMULATOR_HOST`.
    pub host: String,
}

impl ProxyOptions {
    /// Every host goes to this stand-in, and events into a file.
    #[must_use]
    pub fn new(standin: &Standin) -> Self {
        Self {
            upstreams: vec![to_standin(standin)],
            pubsub: None,
            spool_mib: 64,
        }
    }

    /// Events go to Pub/Sub.
    #[must_use]
    pub fn publish(mut self, topic: &str, host: &str) -> Self {
        self.pubsub = Some(PubSub {
            topic: topic.to_owned(),
            host: host.to_owned(),
        });
        self
    }
}

/// A running proxy replica.
#[derive(Debug)]
pub struct Proxy {
    /// Its process.
    pub process: Process,
    /// Where agents connect.
    pub listen: SocketAddr,
    /// Health, readiness and metrics.
    pub admin: SocketAddr,
    /// What agents trust, in PEM.
    pub ca_pem: String,
    /// Its folder: configuration, spool, recordings.
    pub dir: PathBuf,
    replica: String,
    own: String,
    account: PathBuf,
    emulator: Option<String>,
}

impl Proxy {
    /// Starts one in a folder of its own, and waits until it takes calls.
    pub(super) async fn start(
        dir: &Path,
        replica: &str,
        own: &str,
        account: &Path,
        options: &ProxyOptions,
    ) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        fs::write(dir.join("turnpike.yaml"), config(listen, admin, options))
            .context("write turnpike.yaml")?;
        fs::write(dir.join("google-token"), format!("{GOOGLE_TOKEN}-of-the-proxy"))
            .context("write the token")?;
        let emulator = options.pubsub.as_ref().map(|p| p.host.clone());
        let process = spawn(dir, replica, own, account, emulator.as_deref())?;
        let mut proxy = Self {
            process,
            listen,
            admin,
            ca_pem: String::new(),
            dir: dir.to_owned(),
            replica: replica.to_owned(),
            own: own.to_owned(),
            account: account.to_owned(),
            emulator,
        };
        proxy.wait_ready().await?;
        proxy.ca_pem = fs::read_to_string(dir.join("ca/ca.pem")).context("read ca.pem")?;
        Ok(proxy)
    }

    /// An agent's client.
    ///
    /// # Errors
    /// The certificate is refused.
    pub fn agent(&self, token: &str) -> Result<Agent> {
        Agent::new(self.listen, &self.ca_pem, Some(token))
    }

    /// An agent's connection to one host.
    ///
    /// # Errors
    /// The proxy refuses it.
    pub async fn tunnel(&self, host: &str, token: &str) -> Result<Tunnel> {
        Tunnel::open(self.listen, &self.ca_pem, host, token).await
    }

    /// An agent's gcloud.
    ///
    /// # Errors
    /// gcloud is not installed.
    pub fn gcloud(&self, token: &str) -> Result<Gcloud> {
        Gcloud::new(&Settings {
            proxy: &format!("http://{}", self.listen),
            ca_pem: &self.ca_pem,
            token,
            project: "acme-dev",
        })
    }

    /// Status and text of a path of the admin port.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn admin(&self, path: &str) -> Result<(u16, String)> {
        get(self.admin, path).await
    }

    /// A sample of its metrics; 0 where it was never counted.
    ///
    /// # Errors
    /// The admin port does not answer.
    pub async fn metric(&self, sample: &str) -> Result<f64> {
        let (_, text) = self.admin("/metrics").await?;
        let found = text
            .lines()
            .find_map(|l| l.strip_prefix(sample)?.strip_prefix(' '));
        found.map_or(Ok(0.0), |value| value.parse().context("a number"))
    }

    /// Starts it again in its folder, after it was killed or stopped.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.stop()?;
        self.process = spawn(
            &self.dir,
            &self.replica,
            &self.own,
            &self.account,
            self.emulator.as_deref(),
        )?;
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            self.process.alive()?;
            let ready = eventually(LOOK, || get_ok(self.admin, "/readyz")).await;
            match ready {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    return Err(error.context(format!("{}: {}", self.replica, self.process.output()?)));
                }
                Err(_) => {}
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked to stop, it would wait for connections of clients whose runtime this very thread blocks.
        if let Err(error) = self.process.kill() {
            eprintln!("{}: {error:#}", self.replica);
        }
    }
}

/// The configuration file: JSON is YAML.
fn config(listen: SocketAddr, admin: SocketAddr, options: &ProxyOptions) -> String {
    let mut audit = json!({"spoolMib": options.spool_mib});
    if let Some(pubsub) = &options.pubsub {
        audit["sink"] = json!("PubSub");
        audit["topic"] = json!(pubsub.topic);
    }
    let config = json!({
        "listen": listen.to_string(),
        "admin": admin.to_string(),
        "identity": {"audience": AUDIENCE},
        "credential": {"source": "AccessTokenFile", "accessTokenFile": "google-token"},
        "upstreams": options.upstreams,
        "audit": audit,
    });
    config.to_string()
}

fn spawn(dir: &Path, replica: &str, own: &str, account: &Path, emulator: Option<&str>) -> Result<Process> {
    let mut command = clean_command(binary("turnpike-proxy")?, dir);
    command.env("KUBECONFIG", account);
    if let Some(host) = emulator {
        command.env("PUBSUB_EMULATOR_HOST", host);
    }
    command
        .args(["serve", "--config"])
        .arg(dir.join("turnpike.yaml"))
        .args(["--namespace", own, "--replica", replica]);
    Process::start("proxy", dir, command)
}

async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(format!("http://{address}{path}")).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Succeeds where the answer is 200.
pub(super) async fn get_ok(address: SocketAddr, path: &str) -> Result<()> {
    match get(address, path).await? {
        (200, _) => Ok(()),
        (status, text) => bail!("{status}: {text}"),
    }
}
