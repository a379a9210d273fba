//! A real Kubernetes control plane on loopback: etcd and kube-apiserver.
//!
//! There is no controller manager: nothing collects garbage, namespaces do not go away, and
//! ServiceAccounts have to be made (see [`ControlPlane::service_account_token`]). A test
//! binary shares one ([`ControlPlane::shared`]) and takes a namespace a test.

mod kubeconfig;
mod pki;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub use kubeconfig::{Kubeconfig, Output};

use crate::process::{self, Process, eventually, free_port};
use crate::tools;
use pki::Pki;

/// Both programs are ready in 2 to 4 seconds on an idle machine; builds may run beside.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// A free port may be taken by another program before ours binds it.
const START_ATTEMPTS: usize = 3;
/// The issuer of ServiceAccount tokens.
pub const TOKEN_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The API server's audit log, in the directory of the control plane.
const AUDIT_LOG: &str = "audit.log";
/// What it tells: who wrote Turnpike's resources.
const AUDIT_POLICY: &str = r#"{
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "verbs": ["create", "update", "patch", "delete"], "resources": [{"group": "turnpike.dev"}]}]
}"#;

/// A running control plane; dropping it stops it and removes its data.
#[derive(Debug)]
pub struct ControlPlane {
    port: u16,
    etcd_port: u16,
    pki: Pki,
    admin: Kubeconfig,
    apiserver: Mutex<Option<Process>>,
    _etcd: Process,
    dir: TempDir,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver and waits until the API server is ready.
    ///
    /// # Errors
    /// A program is missing (`cargo xtask setup` installs them), or does not become ready.
    pub async fn start() -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::start_once().await {
                Err(error)
                    if attempt < START_ATTEMPTS
                        && format!("{error:#}").contains("address already in use") =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// The one of this test binary, started at the first call. It ends with the process.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    async fn start_once() -> Result<Self> {
        let dir = process::temp_dir("control-plane")?;
        let pki = Pki::create(dir.path())?;
        let (port, etcd_port, peer_port) = (free_port()?, free_port()?, free_port()?);
        let url = format!("https://127.0.0.1:{port}");
        let admin = Kubeconfig::write(
            dir.path(),
            "admin",
            &url,
            &pki,
            &pki.user("admin", &["system:masters"])?,
        )?;
        let etcd = start_etcd(dir.path(), etcd_port, peer_port)?;
        let plane = Self {
            port,
            etcd_port,
            pki,
            admin,
            apiserver: Mutex::new(None),
            _etcd: etcd,
            dir,
        };
        plane.start_apiserver().await?;
        Ok(plane)
    }

    /// Starts the API server again, on the same port and data, and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_apiserver(&self) -> Result<()> {
        if self.apiserver().is_some() {
            return Ok(());
        }
        let process = self.spawn_apiserver()?;
        *self.apiserver() = Some(process);
        let client = self.client().await?;
        let ready = eventually(READY_WITHIN, || async {
            match &mut *self.apiserver() {
                Some(process) => process.alive()?,
                None => bail!("the API server was stopped"),
            }
            let request = http::Request::get("/readyz").body(Vec::new())?;
            client.request_text(request).await.context("GET /readyz")
        });
        ready.await.context("kube-apiserver is not ready")?;
        Ok(())
    }

    /// Stops the API server. Its clients get connections refused until it is started again.
    ///
    /// # Errors
    /// It cannot be stopped.
    pub fn stop_apiserver(&self) -> Result<()> {
        // Killed, not asked: a graceful stop waits for watches, and a crash is the harder case.
        match self.apiserver().take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// The API server's address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate to trust, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.pki.ca_pem
    }

    /// The kubeconfig of a user who may do everything.
    #[must_use]
    pub fn admin(&self) -> &Kubeconfig {
        &self.admin
    }

    /// A new client of the administrator. Clients belong to the runtime that made them, so each
    /// test takes its own.
    ///
    /// # Errors
    /// The kubeconfig is refused.
    pub async fn client(&self) -> Result<kube::Client> {
        self.admin.client().await
    }

    /// A kubeconfig of a user who proves name and groups (two at most) by client certificate.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn user(&self, name: &str, groups: &[&str]) -> Result<Kubeconfig> {
        let identity = self.pki.user(name, groups)?;
        Kubeconfig::write(self.dir.path(), name, &self.url(), &self.pki, &identity)
    }

    /// A kubeconfig that authenticates by a bearer token, as a pod does.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn with_token(&self, name: &str, token: &str) -> Result<Kubeconfig> {
        Kubeconfig::write_token(self.dir.path(), name, &self.url(), &self.pki, token)
    }

    /// Makes a namespace with a new name that starts with `prefix`.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("{prefix}-{}", &unique[..8]);
        let namespace = Namespace {
            metadata: named(&name),
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(self.client().await?);
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .context("create a namespace")?;
        Ok(name)
    }

    /// A real token for a ServiceAccount, which is made where it is not there.
    ///
    /// # Errors
    /// The API server refuses; it grants no lifetime under 10 minutes.
    pub async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audience: &str,
        expiry: Duration,
    ) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let account = ServiceAccount {
            metadata: named(name),
            ..ServiceAccount::default()
        };
        match accounts.create(&PostParams::default(), &account).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error).context("create a ServiceAccount"),
        }
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![audience.to_owned()],
                expiration_seconds: Some(i64::try_from(expiry.as_secs())?),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await;
        let status = answer
            .context("request a token")?
            .status
            .context("no token in the answer")?;
        Ok(status.token)
    }

    /// Signs claims with the key of ServiceAccount tokens: for tokens that the API server
    /// would not issue, such as expired ones.
    ///
    /// # Errors
    /// The key cannot be read.
    pub fn sign_token(&self, claims: &Value) -> Result<String> {
        let pem = fs::read(&self.pki.service_account_key).context("read the signing key")?;
        let key = jsonwebtoken::EncodingKey::from_ec_pem(&pem)?;
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        Ok(jsonwebtoken::encode(&header, claims, &key)?)
    }

    /// Applies the generated CRDs and waits until the API server serves them.
    ///
    /// # Errors
    /// kubectl says no.
    pub async fn apply_crds(&self) -> Result<()> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
        let directory = directory.to_str().context("the path is not UTF-8")?;
        let apply = ["apply", "--server-side", "-f", directory];
        self.admin.kubectl(&apply, None).await?.success()?;
        let wait = [
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "-f",
            directory,
        ];
        self.admin.kubectl(&wait, None).await?.success()?;
        Ok(())
    }

    /// What the API server's audit log says about Turnpike's resources, in order.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn audit_events(&self) -> Result<Vec<Value>> {
        let log = fs::read_to_string(self.dir.path().join(AUDIT_LOG)).context("read the audit log")?;
        log.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Where the logs of both programs are, while the value lives.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn spawn_apiserver(&self) -> Result<Process> {
        let audit_policy = self.dir.path().join("audit-policy.json");
        fs::write(&audit_policy, AUDIT_POLICY).context("write the audit policy")?;
        let mut command = process::clean_command(tools::kubernetes("kube-apiserver")?, self.dir.path());
        let etcd_port = self.etcd_port;
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
            .arg("--bind-address=127.0.0.1")
            .arg("--advertise-address=127.0.0.1")
            .arg(format!("--secure-port={}", self.port))
            .arg(flag("--tls-cert-file", &self.pki.server_cert))
            .arg(flag("--tls-private-key-file", &self.pki.server_key))
            .arg(flag("--client-ca-file", &self.pki.ca))
            .arg("--authorization-mode=Node,RBAC")
            .arg(format!("--service-account-issuer={TOKEN_ISSUER}"))
            .arg(flag(
                "--service-account-signing-key-file",
                &self.pki.service_account_key,
            ))
            .arg(flag(
                "--service-account-key-file",
                &self.pki.service_account_public,
            ))
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            .arg(flag("--cert-dir", self.dir.path()))
            .arg(flag("--audit-policy-file", &audit_policy))
            .arg(flag("--audit-log-path", &self.dir.path().join(AUDIT_LOG)))
            .arg("--max-requests-inflight=800");
        Process::start("kube-apiserver", self.dir.path(), command)
    }

    fn apiserver(&self) -> MutexGuard<'_, Option<Process>> {
        self.apiserver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start_etcd(dir: &Path, port: u16, peer_port: u16) -> Result<Process> {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let mut command = process::clean_command(tools::kubernetes("etcd")?, dir);
    command
        .arg(flag("--data-dir", &dir.join("etcd")))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        .arg("--unsafe-no-fsync")
        .arg("--log-level=warn");
    Process::start("etcd", dir, command)
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}
