//! The operator tries to forge reviews, on a real API server: while that is not refused, no approval counts.

mod common;

use anyhow::{Context as _, Result, bail, ensure};
use common::{Bench, Operator, SOON};
use serde_json::{Value, json};
use turnpike_tests::{process::eventually, turnpike::guard};

const METRIC: &str = "turnpike_operator_approval_guard_ready";
const PROBE: &str = "turnpike-approvals-probe";
const OPEN: &str = "ok\napprovals do not count: the API server takes reviews under any name: install the chart's \
                    ValidatingAdmissionPolicy on approval requests and its binding\n";

/// Waits until the operator says of itself whether approvals count.
async fn wait_told(operator: &Operator, ready: bool) -> Result<()> {
    let wanted = if ready { (1.0, "ok\n") } else { (0.0, OPEN) };
    eventually(SOON, || async {
        let found = (operator.metric(METRIC).await?, operator.get("/readyz").await?);
        ensure!((found.0, found.1.as_str()) == wanted, "{found:?}, not {wanted:?}");
        Ok(())
    })
    .await
}

struct Agents {
    bench: Bench,
    namespace: String,
}

impl Agents {
    async fn create(&self, name: &str) -> Result<()> {
        let request = json!({
            "apiVersion": "turnpike.dev/v1alpha1",
            "kind": "ApprovalRequest",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "agent": {"name": "agents/coder"},
                "call": {"method": "m", "resources": [], "verb": "POST", "url": "u", "bodyBytes": 0},
                "policies": [{"namespace": self.namespace, "name": "coder", "uid": "u", "generation": 1, "rule": "deploy"}],
                "digest": format!("sha256:{}", "0".repeat(64)),
                "expiresAt": "2099-01-01T00:00:00Z",
            },
        });
        let proxies = format!("system:serviceaccount:{}:turnpike-proxy", self.bench.own);
        let proxy = self.bench.person(&proxies)?;
        proxy
            .kubectl(&["create", "-f", "-"], Some(&request.to_string()))
            .await?
            .success()?;
        Ok(())
    }

    /// Patches the status as somebody.
    async fn patch(&self, who: &str, name: &str, status: Value) -> Result<()> {
        let patch = json!({"status": status}).to_string();
        let args = [
            "patch",
            "apr",
            name,
            "-n",
            &self.namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.bench
            .person(who)?
            .kubectl(&args, None)
            .await?
            .success()
            .map(drop)
    }

    async fn review(&self, who: &str, name: &str, decision: &str) -> Result<()> {
        let reviews = json!({"reviews": {who: {"decision": decision}}});
        self.patch(who, name, reviews).await
    }

    /// Waits until a request is in this phase, and its condition says this of approvals.
    async fn wait(&self, name: &str, phase: &str, approvals: &str) -> Result<()> {
        eventually(SOON, || async {
            let get = ["get", "apr", name, "-n", &self.namespace, "-o", "json"];
            let object: Value = serde_json::from_str(&self.bench.kubectl(&get, None).await?)?;
            let conditions = object["status"]["conditions"]
                .as_array()
                .context("no conditions")?;
            let found = conditions.iter().find(|c| c["type"] == "ApprovalGuardReady");
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let found = found.map_or("-".to_owned(), |c| {
                format!("{} {}", word(&c["status"]), word(&c["reason"]))
            });
            let found = (word(&object["status"]["phase"]), found);
            if (found.0.as_str(), found.1.as_str()) != (phase, approvals) {
                bail!("{name} is {found:?}, not {phase} with {approvals}");
            }
            Ok(())
        })
        .await
    }
}

#[tokio::test]
async fn approvals_count_only_while_a_forgery_is_refused() -> Result<()> {
    let bench = Bench::start().await?;
    let namespace = bench.control.namespace("agents").await?;
    guard::install(&bench.control, &bench.own).await?;
    let operator = bench.operator("operator-0", &[]).await?;
    let agents = Agents { bench, namespace };
    let own = agents.bench.own.as_str();
    wait_told(&operator, true).await?;
    for name in ["proved", "waits", "denied", "forged", "approved"] {
        agents.create(name).await?;
    }
    agents.review("alice", "proved", "Approve").await?;
    agents.wait("proved", "Approved", "-").await?;
    agents.wait("waits", "Pending", "-").await?;

    // Without the binding anybody could approve: nothing is approved any more, and what is counts no longer.
    guard::remove(&agents.bench.control).await?;
    wait_told(&operator, false).await?;
    agents.review("alice", "waits", "Approve").await?;
    agents.wait("waits", "Pending", "False ForgeryAccepted").await?;
    let forged = json!({"reviews": {"alice": {"decision": "Approve"}}});
    agents.patch("mallory", "forged", forged).await?;
    agents.wait("forged", "Pending", "False ForgeryAccepted").await?;
    agents
        .patch("mallory", "approved", json!({"phase": "Approved"}))
        .await?;
    agents
        .wait("approved", "Approved", "False ForgeryAccepted")
        .await?;
    agents.wait("proved", "Approved", "False ForgeryAccepted").await?;
    agents.review("bob", "denied", "Deny").await?;
    agents.wait("denied", "Denied", "-").await?;

    // With it, what was approved in between ends, and what is approved from now on counts.
    guard::install(&agents.bench.control, own).await?;
    wait_told(&operator, true).await?;
    for name in ["waits", "forged", "approved", "proved"] {
        agents.wait(name, "Expired", "False ForgeryAccepted").await?;
    }
    agents.create("again").await?;
    agents.review("alice", "again", "Approve").await?;
    agents.wait("again", "Approved", "-").await?;

    // The events stand where the probe is, and nobody settles that.
    let told = [
        "Normal ForgeryRefused",
        "Warning ForgeryAccepted",
        "Normal ForgeryRefused",
    ];
    agents.bench.wait_events(own, PROBE, &told).await?;
    let get = [
        "get",
        "apr",
        PROBE,
        "-n",
        own,
        "-o",
        "jsonpath={.metadata.labels}{.status}",
    ];
    let probe = agents.bench.kubectl(&get, None).await?;
    assert_eq!(probe, r#"{"turnpike.dev/guard-probe":"true"}"#);
    Ok(())
}

#[tokio::test]
async fn an_operator_that_starts_without_the_guard_approves_nothing_until_it_is_there() -> Result<()> {
    let bench = Bench::start().await?;
    let namespace = bench.control.namespace("agents").await?;
    let operator = bench.operator("operator-0", &[]).await?;
    let agents = Agents { bench, namespace };
    wait_told(&operator, false).await?;
    agents.create("early").await?;
    agents.review("alice", "early", "Approve").await?;
    agents.wait("early", "Pending", "False ForgeryAccepted").await?;

    guard::install(&agents.bench.control, &agents.bench.own).await?;
    wait_told(&operator, true).await?;
    agents.wait("early", "Expired", "False ForgeryAccepted").await?;

    // Somebody removes what forgeries are tried on: it is made anew, which the admission policy lets the operator.
    let own = agents.bench.own.as_str();
    let kubectl = async |args: &[&str]| agents.bench.kubectl(args, None).await;
    kubectl(&["delete", "apr", PROBE, "-n", own]).await?;
    // A change of the policy makes it try at once.
    kubectl(&[
        "annotate",
        "validatingadmissionpolicy",
        "turnpike-approvals",
        "acme.example/touched=true",
    ])
    .await?;
    let get = ["get", "apr", PROBE, "-n", own];
    eventually(SOON, || kubectl(&get)).await?;
    wait_told(&operator, true).await
}
