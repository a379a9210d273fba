//! A control plane, Turnpike's namespace in it, and operators as they run in a cluster: with a token of
//! their ServiceAccount and the rights that the chart gives it, no more.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap, events::v1::Event};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use turnpike_compiler::Bundle;
use turnpike_crds::{AgentPolicy, marks};
use turnpike_tests::{
    control_plane::{ControlPlane, Kubeconfig, TOKEN_ISSUER},
    process::{Process, clean_command, eventually, free_port, temp_dir},
};

/// Nothing here takes a second on an idle machine; builds may run beside.
pub const SOON: Duration = Duration::from_secs(30);
/// The Secret that the chart's values offer to policies.
pub const OFFERED_SECRET: &str = "acme-key";

/// A control plane with Turnpike's definitions and roles, and no operator yet.
pub struct Bench {
    pub control: ControlPlane,
    pub client: Client,
    /// Turnpike's own namespace.
    pub own: String,
    account: Kubeconfig,
    dir: tempfile::TempDir,
}

/// A running operator.
pub struct Operator {
    pub process: Process,
    pub name: String,
    admin: String,
}

impl Bench {
    pub async fn start() -> Result<Self> {
        let control = ControlPlane::start().await?;
        control.apply_crds().await?;
        let client = control.client().await?;
        let own = control.namespace("turnpike").await?;
        for file in ["operator-rbac.yaml", "key-secrets-rbac.yaml"] {
            let manifest = render(file, &own)?;
            let apply = ["apply", "--server-side", "-f", "-"];
            control
                .admin()
                .kubectl(&apply, Some(&manifest))
                .await?
                .success()?;
        }
        let token = control
            .service_account_token(&own, "turnpike-operator", TOKEN_ISSUER, Duration::from_secs(3600))
            .await?;
        let account = control.with_token("operator", &token)?;
        Ok(Self {
            control,
            client,
            own,
            account,
            dir: temp_dir("operator")?,
        })
    }

    /// Starts an operator and waits until it is ready.
    /// A client with the operator's own account.
    pub async fn operator_client(&self) -> Result<Client> {
        self.account.client().await
    }

    pub async fn operator(&self, name: &str, flags: &[&str]) -> Result<Operator> {
        let operator = self.spawn_operator(name, flags)?;
        eventually(SOON, || async { operator.get("/readyz").await.map(drop) })
            .await
            .with_context(|| operator.process.output().unwrap_or_else(|e| e.to_string()))?;
        Ok(operator)
    }

    pub fn spawn_operator(&self, name: &str, flags: &[&str]) -> Result<Operator> {
        let admin = format!("127.0.0.1:{}", free_port()?);
        let mut command = clean_command(env!("CARGO_BIN_EXE_turnpike-operator"), self.dir.path());
        command
            .env("KUBECONFIG", self.account.path())
            .env("POD_NAMESPACE", &self.own)
            .env("POD_NAME", name)
            .args(["--admin-listen", &admin, "--log", "info,turnpike_operator=debug"])
            .args(flags);
        let process = Process::start(name, self.dir.path(), command)?;
        Ok(Operator {
            process,
            name: name.to_owned(),
            admin,
        })
    }

    /// A user who may do everything that admission policies do not refuse.
    pub fn person(&self, name: &str) -> Result<Kubeconfig> {
        self.control.user(name, &["system:masters"])
    }

    pub async fn kubectl(&self, args: &[&str], stdin: Option<&Value>) -> Result<String> {
        let text = stdin.map(Value::to_string);
        self.control
            .admin()
            .kubectl(args, text.as_deref())
            .await?
            .success()
    }

    pub async fn apply(&self, object: &Value) -> Result<()> {
        self.kubectl(&["apply", "-f", "-"], Some(object)).await.map(drop)
    }

    /// Status of a policy's conditions as `Type=Status Reason`, in their order, once they speak of the
    /// present generation.
    pub async fn conditions(&self, namespace: &str, name: &str) -> Result<Vec<String>> {
        let policies: Api<AgentPolicy> = Api::namespaced(self.client.clone(), namespace);
        let policy = policies.get(name).await?;
        let status = policy.status.unwrap_or_default();
        if status.observed_generation != policy.metadata.generation {
            bail!(
                "status is of generation {:?}, not {:?}",
                status.observed_generation,
                policy.metadata.generation
            );
        }
        Ok(status
            .conditions
            .iter()
            .map(|c| format!("{}={} {}", c.type_, c.status, c.reason))
            .collect())
    }

    /// Waits until a policy has these conditions.
    pub async fn wait_conditions(&self, namespace: &str, name: &str, wanted: [&str; 3]) -> Result<()> {
        eventually(SOON, || async {
            let found = self.conditions(namespace, name).await?;
            if found == wanted {
                Ok(())
            } else {
                bail!("{name}: {found:?}, not {wanted:?}")
            }
        })
        .await
    }

    /// The message of one condition.
    pub async fn message(&self, namespace: &str, name: &str, condition: &str) -> Result<String> {
        let policies: Api<AgentPolicy> = Api::namespaced(self.client.clone(), namespace);
        let conditions = policies.get(name).await?.status.context("no status")?.conditions;
        let found = conditions.into_iter().find(|c| c.type_ == condition);
        Ok(found
            .with_context(|| format!("no condition {condition}"))?
            .message)
    }

    pub fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.own)
    }

    /// The bundle of a namespace, whose marks must fit.
    pub async fn bundle(&self, namespace: &str) -> Result<Bundle> {
        let map = self
            .config_maps()
            .get(&format!("turnpike-bundle-{namespace}"))
            .await?;
        let text = map
            .data
            .as_ref()
            .and_then(|d| d.get("bundle.json"))
            .context("no bundle.json")?;
        let bundle = Bundle::from_json(text)?;
        let marks = (
            map.labels().get(marks::BUNDLE_NAMESPACE).map(String::as_str),
            map.annotations().get(marks::BUNDLE_DIGEST).cloned(),
        );
        if marks != (Some(namespace), Some(bundle.digest())) {
            bail!("marks do not fit the bundle: {marks:?}");
        }
        Ok(bundle)
    }

    /// Waits until the bundle of a namespace holds these policies, as `name@generation`.
    pub async fn wait_bundle(&self, namespace: &str, wanted: &[&str]) -> Result<Bundle> {
        eventually(SOON, || async {
            let bundle = self.bundle(namespace).await?;
            let found: Vec<_> = bundle
                .policies
                .iter()
                .map(|p| format!("{}@{}", p.name, p.generation))
                .collect();
            if found == wanted {
                Ok(bundle)
            } else {
                bail!("{found:?}, not {wanted:?}")
            }
        })
        .await
    }

    /// Waits until there is no bundle of a namespace.
    pub async fn wait_no_bundle(&self, namespace: &str) -> Result<()> {
        let name = format!("turnpike-bundle-{namespace}");
        eventually(SOON, || async {
            match self.config_maps().get_opt(&name).await? {
                None => Ok(()),
                Some(_) => bail!("{name} is still there"),
            }
        })
        .await
    }

    /// Writes the Lease of a proxy replica, as a proxy does.
    pub async fn replica(&self, name: &str, seconds: i32, running: &Value) -> Result<()> {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "labels": {marks::PROXY_REPLICA: name},
                "annotations": {marks::RUNNING_DIGESTS: running.to_string()},
            },
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": seconds,
                "renewTime": format!("{:.6}", jiff::Timestamp::now()),
            },
        });
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.own);
        let params = PatchParams::apply("proxy").force();
        leases.patch(name, &params, &Patch::Apply(&lease)).await?;
        Ok(())
    }

    /// `Type Reason` of all Events in a namespace about an object, in order.
    pub async fn events(&self, namespace: &str, about: &str) -> Result<Vec<String>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let mut events = events.list(&ListParams::default()).await?.items;
        events.retain(|e| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(about));
        events.sort_by_key(|e| e.event_time.as_ref().map(|t| t.0));
        Ok(events
            .into_iter()
            .map(|e| {
                [e.type_, e.reason]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect())
    }

    /// Waits until these are the Events about an object.
    pub async fn wait_events(&self, namespace: &str, about: &str, wanted: &[&str]) -> Result<()> {
        eventually(SOON, || async {
            let found = self.events(namespace, about).await?;
            if found == wanted {
                Ok(())
            } else {
                bail!("{about}: {found:?}, not {wanted:?}")
            }
        })
        .await
    }
}

impl Operator {
    pub async fn get(&self, path: &str) -> Result<String> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client.get(format!("http://{}{path}", self.admin)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Value of one sample, 0 where it was never counted.
    pub async fn metric(&self, sample: &str) -> Result<f64> {
        let text = self.get("/metrics").await?;
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(Ok(0.0), |value| value.parse().context("not a number"))
    }
}

/// An AgentPolicy.
pub fn policy(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// A spec with one Allow, one RequireApproval and one Deny rule.
pub fn spec(methods: &str) -> Value {
    json!({
        "agents": [{"serviceAccount": {"name": "coder"}}],
        "rules": [
            {"name": "read", "effect": "Allow", "methods": [methods]},
            {"name": "deploy", "effect": "RequireApproval", "methods": ["run.**"]},
            {"name": "keys", "effect": "Deny", "methods": ["iam.**"]},
        ],
    })
}

/// A template of the chart, which has nothing but these few expressions: what Helm would make of it.
fn render(file: &str, namespace: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../charts/turnpike/templates")
        .join(file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let values = [
        (r#"{{ include "turnpike.fullname" . }}"#, "turnpike"),
        (
            r#"{{- include "turnpike.labels" . | nindent 4 }}"#,
            "app.kubernetes.io/name: turnpike",
        ),
        ("{{ .Release.Namespace }}", namespace),
        ("{{ toJson .Values.operator.serviceAccountAnnotations }}", "{}"),
        ("{{ toJson .Values.keySecrets }}", &format!("[{OFFERED_SECRET}]")),
        ("{{- if .Values.keySecrets }}", ""),
        ("{{- end }}", ""),
    ];
    let rendered = values
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to));
    if rendered.contains("{{") {
        bail!("{file} has an expression that this renderer does not know");
    }
    Ok(rendered)
}
