//! Turnpike in a cluster: an operator and proxies as processes beside a real API server.
//!
//! They run as in pods: each with a token of its own ServiceAccount and the rights that the chart gives it.
//! There is no node, so nothing restarts them. One operator serves a whole API server, so a test binary
//! has one [`Cluster`] a control plane, and a namespace of agents a test.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use turnpike_crds::{AgentPolicy, ApprovalRequest, Phase};

use super::replica::{Proxy, ProxyOptions, get_ok};
use super::{binary, guard};
use crate::control_plane::{ControlPlane, Kubeconfig, TOKEN_ISSUER};
use crate::process::{self, Process, clean_command, eventually, free_port};
use crate::tools;

/// How long a condition may take. Most take milliseconds; builds may run beside.
pub const SOON: Duration = Duration::from_secs(60);
/// The user who may decide in the namespaces of [`Cluster::agents`].
pub const APPROVER: &str = "alice@acme.example";
/// The audience of agents' tokens.
pub const AUDIENCE: &str = "turnpike";
/// A control plane with Turnpike's definitions, roles and one operator.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order: the operator gives its Lease back before the API server goes.
    /// The operator.
    pub operator: Process,
    /// The API server and its users.
    pub plane: ControlPlane,
    /// Turnpike's own namespace.
    pub own: String,
    proxy_account: Kubeconfig,
    dir: TempDir,
}

impl Cluster {
    /// Starts a control plane, installs Turnpike into it, and starts an operator.
    ///
    /// # Errors
    /// A program is missing or does not become ready.
    pub async fn start() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        plane.apply_crds().await?;
        let own = plane.namespace("turnpike-system").await?;
        for file in ["operator-rbac.yaml", "proxy-rbac.yaml"] {
            let manifest = render(file, &own)?;
            let apply = ["apply", "--server-side", "-f", "-"];
            plane.admin().kubectl(&apply, Some(&manifest)).await?.success()?;
        }
        guard::install(&plane, &own).await?;
        let operator_account = account(&plane, &own, "turnpike-operator").await?;
        let proxy_account = account(&plane, &own, "turnpike-proxy").await?;
        let dir = process::temp_dir("cluster")?;
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = clean_command(binary("turnpike-operator")?, dir.path());
        command
            .env("KUBECONFIG", operator_account.path())
            .env("POD_NAMESPACE", &own)
            .env("POD_NAME", "turnpike-operator-0")
            .arg(format!("--admin-listen={admin}"));
        let operator = Process::start("operator", dir.path(), command)?;
        eventually(SOON, || get_ok(admin, "/readyz"))
            .await
            .with_context(|| format!("the operator: {}", operator.output().unwrap_or_default()))?;
        Ok(Self {
            operator,
            plane,
            own,
            proxy_account,
            dir,
        })
    }

    /// Starts a proxy replica and waits until it takes calls.
    ///
    /// # Errors
    /// It was not built, or does not become ready.
    pub async fn proxy(&self, replica: &str, options: &ProxyOptions) -> Result<Proxy> {
        let dir = self.dir.path().join(replica);
        Proxy::start(&dir, replica, &self.own, self.proxy_account.path(), options).await
    }

    /// A namespace for agents, in which [`APPROVER`] may decide.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn agents(&self) -> Result<String> {
        let namespace = self.plane.namespace("agents").await?;
        let role = fixture("approver.yaml")?;
        self.kubectl(&["apply", "-n", &namespace, "-f", "-"], Some(&role))
            .await?;
        Ok(namespace)
    }

    /// A token of an agent, as a projected volume would bring it.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn token(&self, namespace: &str, name: &str) -> Result<String> {
        let hour = Duration::from_secs(3600);
        self.plane
            .service_account_token(namespace, name, AUDIENCE, hour)
            .await
    }

    /// Runs kubectl as the administrator and gives its output.
    ///
    /// # Errors
    /// It fails.
    pub async fn kubectl(&self, args: &[&str], stdin: Option<&str>) -> Result<String> {
        self.plane.admin().kubectl(args, stdin).await?.success()
    }

    /// Applies a policy by kubectl; its namespace is not in the text.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn apply(&self, namespace: &str, policy: &str) -> Result<()> {
        self.kubectl(&["apply", "-n", namespace, "-f", "-"], Some(policy))
            .await
            .map(drop)
    }

    /// Status and reason of each condition of a policy, as `Type=Status Reason`, once they are of its
    /// present generation.
    ///
    /// # Errors
    /// There is no such policy, or its status is old.
    pub async fn conditions(&self, namespace: &str, name: &str) -> Result<Vec<String>> {
        let policies: Api<AgentPolicy> = Api::namespaced(self.plane.client().await?, namespace);
        let policy = policies.get(name).await?;
        let status = policy.status.unwrap_or_default();
        ensure!(
            status.observed_generation == policy.metadata.generation,
            "the status is of generation {:?}",
            status.observed_generation
        );
        let text = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            format!("{}={} {}", c.type_, c.status, c.reason)
        };
        Ok(status.conditions.iter().map(text).collect())
    }

    /// Waits until a condition of a policy says this, as `Type=Status`, and gives its message.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn wait_condition(&self, namespace: &str, name: &str, wanted: &str) -> Result<String> {
        let policies: Api<AgentPolicy> = Api::namespaced(self.plane.client().await?, namespace);
        eventually(SOON, || async {
            let policy = policies.get(name).await?;
            let status = policy.status.unwrap_or_default();
            let found = status
                .conditions
                .iter()
                .find(|c| format!("{}={}", c.type_, c.status) == wanted);
            match found {
                Some(c) if c.observed_generation == policy.metadata.generation => Ok(c.message.clone()),
                _ => bail!("{wanted}, not {:?}", status.conditions),
            }
        })
        .await
    }

    /// Applies a policy and waits until every proxy runs it.
    ///
    /// # Errors
    /// The API server refuses, or the proxies do not follow.
    pub async fn program(&self, namespace: &str, policy: &str) -> Result<()> {
        self.apply(namespace, policy).await?;
        let meta: Value = serde_saphyr::from_str(policy)?;
        let name = meta["metadata"]["name"].as_str().context("a name")?;
        self.wait_condition(namespace, name, "Programmed=True")
            .await
            .map(drop)
    }

    /// Waits for approval requests of a namespace in this phase until there are so many, oldest first.
    ///
    /// # Errors
    /// There are not in time.
    pub async fn wait_requests(
        &self,
        namespace: &str,
        phase: Phase,
        count: usize,
    ) -> Result<Vec<ApprovalRequest>> {
        let api: Api<ApprovalRequest> = Api::namespaced(self.plane.client().await?, namespace);
        eventually(SOON, || async {
            let mut found = api.list(&ListParams::default()).await?.items;
            found.retain(|r| r.status.as_ref().and_then(|s| s.phase) == Some(phase));
            found.sort_by_key(|r| r.metadata.creation_timestamp.as_ref().map(|t| t.0));
            ensure!(
                found.len() == count,
                "{} requests are {phase:?}, not {count}",
                found.len()
            );
            Ok(found)
        })
        .await
    }

    /// Waits for the one request of a namespace that is pending, and gives its name.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn wait_pending(&self, namespace: &str) -> Result<String> {
        let requests = self.wait_requests(namespace, Phase::Pending, 1).await?;
        Ok(requests.first().context("one request")?.name_any())
    }

    /// The approver's kubeconfig.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn approver(&self) -> Result<Kubeconfig> {
        self.plane.user(APPROVER, &["approvers"])
    }

    /// Runs a command line as the approver types it: `kubectl turnpike approve ...`, with the plugin on PATH.
    ///
    /// # Errors
    /// It fails, or a program is missing.
    pub async fn approver_types(&self, line: &str) -> Result<String> {
        let arguments = line
            .strip_prefix("kubectl ")
            .with_context(|| format!("no kubectl: {line}"))?;
        let (kubectl, plugin) = (tools::kubectl()?, binary("kubectl-turnpike")?);
        let path = [plugin.parent(), kubectl.parent()];
        let path = std::env::join_paths(path.into_iter().flatten())?;
        let mut command = clean_command(&kubectl, self.dir.path());
        command
            .env("PATH", path)
            .env("KUBECONFIG", self.approver()?.path())
            .args(arguments.split_whitespace());
        let output = tokio::process::Command::from(command).output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            output.status.success(),
            "{line}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }

    /// Decides as the approver, by a client that is connected already.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn decide(&self, namespace: &str, request: &str, decision: &str, reason: &str) -> Result<()> {
        let api: Api<ApprovalRequest> = Api::namespaced(self.approver()?.client().await?, namespace);
        let patch = Patch::Merge(review(decision, reason));
        api.patch_status(request, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

/// The merge patch by which the approver decides.
#[must_use]
pub fn review(decision: &str, reason: &str) -> Value {
    json!({"status": {"reviews": {APPROVER: {"decision": decision, "reason": reason}}}})
}

/// A file of `tests/fixtures/cluster`.
///
/// # Errors
/// It is not there.
pub fn fixture(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/cluster")
        .join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// A policy with these rules for the ServiceAccount `coder`.
#[must_use]
pub fn policy(name: &str, rules: &Value) -> String {
    json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": name},
        "spec": {"agents": [{"serviceAccount": {"name": "coder"}}], "rules": rules},
    })
    .to_string()
}

/// The kubeconfig of a ServiceAccount, as its pod would have it.
///
/// # Errors
/// The API server refuses.
pub async fn account(plane: &ControlPlane, namespace: &str, name: &str) -> Result<Kubeconfig> {
    let hour = Duration::from_secs(3600);
    let token = plane
        .service_account_token(namespace, name, TOKEN_ISSUER, hour)
        .await?;
    plane.with_token(name, &token)
}

/// A template of the chart, which has nothing but these few expressions: what Helm would make of it.
///
/// # Errors
/// It is not there, or has other expressions.
pub fn render(file: &str, namespace: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../charts/turnpike/templates")
        .join(file);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let values = [
        (r#"{{ include "turnpike.fullname" . }}"#, "turnpike"),
        (
            r#"{{- include "turnpike.labels" . | nindent 4 }}"#,
            "app.kubernetes.io/name: turnpike",
        ),
        ("{{ .Release.Namespace }}", namespace),
        ("{{ toJson .Values.operator.serviceAccountAnnotations }}", "{}"),
        ("{{ toJson .Values.proxy.serviceAccountAnnotations }}", "{}"),
        (
            "{{ toJson (concat (list .Values.proxy.issuingCaSecret) .Values.keySecrets) }}",
            "[turnpike-issuing-ca]",
        ),
    ];
    let rendered = values
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to));
    if rendered.contains("{{") {
        bail!("{file} has an expression that this renderer does not know");
    }
    Ok(rendered)
}
