//! A real API server with the chart's admission policy, people and accounts that may do everything else to
//! approval requests, and requests in every state.

use anyhow::{Context as _, Result, bail};
use http::{Method, Request};
use kube::api::DynamicObject;
use serde_json::{Value, json};
use turnpike_tests::control_plane::{ControlPlane, Kubeconfig, Output};
use turnpike_tests::turnpike::{cluster, guard};

/// Approver under both policies.
pub const ALICE: &str = "alice@acme.example";
/// Another.
pub const DAVE: &str = "dave@acme.example";
/// Approver under the policy of the agents' namespace, and not under the organisation's.
pub const BOB: &str = "bob@acme.example";
/// Owner of the agents' namespace: may do everything to requests but approve.
pub const CAROL: &str = "carol@acme.example";
/// Approver under all policies of the agents' namespace, and no other.
pub const GRACE: &str = "grace@acme.example";
/// An agent with an OIDC token that the API server knows, too, and that somebody made an approver.
pub const ROBOT: &str = "robot@acme.example";
/// The robot, where the API server puts a prefix before user names of its issuer.
pub const OIDC_ROBOT: &str = "oidc:robot@acme.example";
/// May do everything in the cluster.
pub const ADMIN: &str = "admin";
/// An agent's ServiceAccount that somebody made an approver.
pub const CODER: &str = "system:serviceaccount:agents:coder";
/// A ServiceAccount that is no agent, as a CI system has one, made an approver.
pub const CI: &str = "system:serviceaccount:agents:ci";
/// The proxies' account.
pub const PROXY: &str = "system:serviceaccount:turnpike-system:turnpike-proxy";
/// The operator's account.
pub const OPERATOR: &str = "system:serviceaccount:turnpike-system:turnpike-operator";

/// Namespace of the agents.
pub const AGENTS: &str = "agents";
/// Turnpike's own namespace.
pub const OWN: &str = "turnpike-system";
/// Path of the collection of requests in the agents' namespace.
const COLLECTION: &str = "/apis/turnpike.dev/v1alpha1/namespaces/agents/approvalrequests";

/// What was done to a request before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has reviewed it.
    Pending,
    /// Dave has approved; the operator has not settled it.
    Reviewed,
    /// Approved by Dave.
    Approved,
    /// Denied by Dave.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// Approved by Dave, and spent.
    Consumed,
    /// Denied by Dave, and deleted.
    Deleted,
}

pub struct Bench {
    pub plane: ControlPlane,
    users: Vec<(&'static str, Kubeconfig, kube::Client)>,
}

impl Bench {
    pub async fn start() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        plane.apply_crds().await?;
        apply(&plane, &rights()).await?;
        let mut users = vec![(ADMIN, plane.admin().clone(), plane.client().await?)];
        for name in [ALICE, DAVE, BOB, CAROL, GRACE, ROBOT, OIDC_ROBOT] {
            let user = plane.user(name, &["people"])?;
            let client = user.client().await?;
            users.push((name, user, client));
        }
        for name in [CODER, CI, PROXY, OPERATOR] {
            let mut parts = name.rsplit(':');
            let (account, namespace) = (
                parts.next().context("a name")?,
                parts.next().context("a namespace")?,
            );
            let user = cluster::account(&plane, namespace, account).await?;
            let client = user.client().await?;
            users.push((name, user, client));
        }
        guard::install(&plane, OWN).await?;
        Ok(Self { plane, users })
    }

    fn user(&self, name: &str) -> Result<(&Kubeconfig, &kube::Client)> {
        let found = self.users.iter().find(|(user, _, _)| *user == name);
        found
            .map(|(_, config, client)| (config, client))
            .with_context(|| format!("nobody is called {name}"))
    }

    /// Runs kubectl as somebody in the agents' namespace.
    pub async fn kubectl(&self, who: &str, args: &[&str], stdin: Option<&str>) -> Result<Output> {
        let (config, _) = self.user(who)?;
        config.kubectl(&[&["-n", AGENTS], args].concat(), stdin).await
    }

    /// Sends one request as somebody; the path is below the collection of requests.
    pub async fn send(&self, who: &str, method: &Method, path: &str, body: &Value) -> Result<Value> {
        let (_, client) = self.user(who)?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{COLLECTION}{path}"))
            .header("content-type", "application/json");
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        Ok(client.request(request.body(body)?).await?)
    }

    /// All requests of a case as they are, resource versions and all.
    pub async fn look(&self, case: &str) -> Result<Vec<DynamicObject>> {
        let path = format!("?labelSelector=case%3D{case}");
        let mut list = self.send(ADMIN, &Method::GET, &path, &Value::Null).await?;
        Ok(serde_json::from_value(list["items"].take())?)
    }

    /// Makes a request as the proxy does, and brings it into a state as those do who may.
    pub async fn prepare(&self, case: &str, agent: &str, state: State) -> Result<()> {
        self.send(PROXY, &Method::POST, "", &request(case, agent)).await?;
        let (reviewed, phase) = match state {
            State::Pending => (None, "Pending"),
            State::Reviewed => (Some("Approve"), "Pending"),
            State::Approved | State::Consumed => (Some("Approve"), "Approved"),
            State::Denied | State::Deleted => (Some("Deny"), "Denied"),
            State::Expired => (None, "Expired"),
        };
        self.settle(case, "Pending").await?;
        if let Some(decision) = reviewed {
            let patch = review(DAVE, decision);
            self.patch_status(DAVE, case, &patch).await?;
        }
        if phase != "Pending" {
            self.settle(case, phase).await?;
        }
        if state == State::Consumed {
            let spent = with_status(self.get(case).await?, "consumption", consumption("proxy-0"));
            self.put_status(PROXY, case, &spent).await?;
            self.settle(case, "Consumed").await?;
        }
        if state == State::Deleted {
            self.send(CAROL, &Method::DELETE, &format!("/{case}"), &Value::Null)
                .await?;
        }
        Ok(())
    }

    /// A request as it is.
    pub async fn get(&self, name: &str) -> Result<Value> {
        self.send(ADMIN, &Method::GET, &format!("/{name}"), &Value::Null)
            .await
    }

    /// Writes a phase, as the operator does.
    pub async fn settle(&self, name: &str, phase: &str) -> Result<()> {
        let object = with_status(self.get(name).await?, "phase", json!(phase));
        self.put_status(OPERATOR, name, &object).await.map(drop)
    }

    pub async fn put_status(&self, who: &str, name: &str, object: &Value) -> Result<Value> {
        self.send(who, &Method::PUT, &format!("/{name}/status"), object)
            .await
    }

    pub async fn patch_status(&self, who: &str, name: &str, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        let args = [
            "patch",
            "apr",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        match self.kubectl(who, &args, None).await?.success() {
            Ok(_) => Ok(()),
            Err(error) => bail!("{who}: {error:#}"),
        }
    }
}

/// The object with a field of its status set.
pub fn with_status(mut object: Value, field: &str, value: Value) -> Value {
    object["status"][field] = value;
    object
}

/// The merge patch of a review.
pub fn review(who: &str, decision: &str) -> Value {
    json!({"status": {"reviews": {who: {"decision": decision}}}})
}

pub fn consumption(by: &str) -> Value {
    json!({"by": by, "call": "01JDF000000000000000000000", "at": "2026-01-01T00:00:00Z"})
}

/// The digest of every request here.
pub fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

/// A request as the proxy makes it. Two rules of one policy ask, and the organisation's.
pub fn request(case: &str, agent: &str) -> Value {
    let policy = |namespace: &str, name: &str, rule: &str| json!({"namespace": namespace, "name": name, "uid": "1", "generation": 1, "rule": rule});
    json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": case, "namespace": AGENTS, "labels": {"case": case}},
        "spec": {
            "agent": {"name": agent},
            "call": {
                "method": "run.namespaces.services.create",
                "resources": ["namespaces/acme-dev/services/web"],
                "verb": "POST",
                "url": "us-central1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/acme-dev/services",
                "bodyBytes": 2,
            },
            "policies": [
                policy(AGENTS, "coder", "deploy"),
                policy(OWN, "floor", "change"),
                policy(AGENTS, "coder", "risky"),
            ],
            "digest": digest(),
            "expiresAt": "2099-01-01T00:00:00Z",
        },
    })
}

async fn apply(plane: &ControlPlane, objects: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    plane
        .admin()
        .kubectl(&["apply", "-f", "-"], Some(&list))
        .await?
        .success()?;
    Ok(())
}

/// Everybody may do everything to requests, so that nothing but the admission policy stands in the way; who
/// may approve under which policy is as it would be.
fn rights() -> Vec<Value> {
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let role = |name: &str, resources: Value, verbs: Value, names: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [{"apiGroups": ["turnpike.dev"], "resources": resources, "verbs": verbs, "resourceNames": names}],
        })
    };
    let bind = |role: &str, namespace: &str, users: &[&str]| {
        let subjects: Vec<Value> = users
            .iter()
            .map(|name| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}))
            .collect();
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": subjects,
        })
    };
    let requests = json!(["approvalrequests", "approvalrequests/status"]);
    let approvers = [ALICE, DAVE, ROBOT, OIDC_ROBOT, CODER, CI, PROXY, OPERATOR];
    let everybody = [approvers.as_slice(), &[BOB, CAROL, GRACE]].concat();
    vec![
        namespace(AGENTS),
        namespace(OWN),
        role("everything", requests, json!(["*"]), json!([])),
        role(
            "approve-coder",
            json!(["agentpolicies"]),
            json!(["approve"]),
            json!(["coder"]),
        ),
        role(
            "approve-floor",
            json!(["agentpolicies"]),
            json!(["approve"]),
            json!(["floor"]),
        ),
        role(
            "approve-all",
            json!(["agentpolicies"]),
            json!(["approve"]),
            json!([]),
        ),
        bind("approve-all", AGENTS, &[GRACE]),
        bind("everything", AGENTS, &everybody),
        bind("approve-coder", AGENTS, &[approvers.as_slice(), &[BOB]].concat()),
        bind("approve-floor", OWN, &approvers),
    ]
}
