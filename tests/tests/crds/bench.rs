//! kubectl on a namespace of a test, and objects to start from.

use anyhow::Result;
use serde_json::{Value, json};
use turnpike_tests::control_plane::{ControlPlane, Output};

/// The shared control plane with our definitions, and a namespace of the test's own.
pub struct Bench {
    plane: &'static ControlPlane,
    namespace: String,
}

impl Bench {
    pub async fn new(name: &str) -> Result<Self> {
        let plane = ControlPlane::shared().await?;
        plane.apply_crds().await?;
        let namespace = plane.namespace(name).await?;
        Ok(Self { plane, namespace })
    }

    pub async fn run(&self, args: &[&str], object: Option<&Value>) -> Result<Output> {
        let text = object.map(Value::to_string);
        let args = [&["-n", self.namespace.as_str()], args].concat();
        self.plane.admin().kubectl(&args, text.as_deref()).await
    }

    /// Runs kubectl, which must succeed.
    pub async fn kubectl(&self, args: &[&str], object: Option<&Value>) -> Result<String> {
        self.run(args, object).await?.success()
    }

    pub async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let text = self.kubectl(&["get", kind, name, "-o", "json"], None).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What the API server says against an object; nothing where it would take it.
    pub async fn refusal(&self, object: &Value) -> Result<Option<String>> {
        let output = self
            .run(&["create", "--dry-run=server", "-f", "-"], Some(object))
            .await?;
        Ok((!output.status.success()).then_some(output.stderr))
    }
}

/// A policy that everybody takes.
pub fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": name},
        "spec": {
            "agents": [{"serviceAccount": {"name": "coder"}}],
            "rules": [{"name": "read", "effect": "Allow", "methods": ["storage.*.get"]}],
        },
    })
}

/// An approval request that everybody takes.
pub fn request(name: &str) -> Value {
    json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": name},
        "spec": {
            "agent": {"name": "agents/coder"},
            "call": {
                "method": "run.namespaces.services.create",
                "resources": ["namespaces/acme-dev/services/web"],
                "verb": "POST",
                "url": "us-central1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/acme-dev/services",
                "bodyBytes": 2,
            },
            "policies": [
                {"namespace": "agents", "name": "coder", "uid": "1", "generation": 1, "rule": "deploy"},
            ],
            "digest": digest('a'),
            "expiresAt": "2099-01-01T00:00:00Z",
        },
    })
}

/// A digest of one digit.
pub fn digest(fill: char) -> String {
    format!("sha256:{}", fill.to_string().repeat(64))
}
