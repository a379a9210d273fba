//! One client, step by step, through the real proxy: what it says, what Google saw, and who approved.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{Client, Kind, Run, Site, Step};
use crate::process::eventually;
use crate::standin::{RecordedRequest, Standin};
use crate::turnpike::standalone::{PATIENCE, Standalone};

/// What agents may do here.
pub const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: clients, namespace: agents}
spec:
  agents: [{serviceAccount: {name: "*"}}]
  rules:
    - name: read
      effect: Allow
      methods: ["storage.*.get", "storage.*.list", "secretmanager.**.get", "secretmanager.**.access",
                "bigquery.*.get", "bigquery.*.list"]
    - name: write
      effect: Allow
      methods: ["storage.objects.insert"]
      resources: ["projects/_/buckets/acme-dev-data/**"]
    - name: add
      effect: Allow
      methods: ["secretmanager.projects.secrets.addVersion", "pubsub.projects.topics.publish",
                "pubsub.projects.subscriptions.*",
                "bigquery.datasets.insert"]
    - name: keep
      effect: Deny
      methods: ["storage.objects.delete", "secretmanager.projects.secrets.delete", "bigquery.datasets.delete"]
      message: Ask the data team first.
    - name: release
      effect: RequireApproval
      methods: ["storage.objects.insert"]
      resources: ["projects/_/buckets/acme-dev-artifacts/**"]
      approval: {holdFor: 1m}
    - name: change
      effect: RequireApproval
      methods: ["secretmanager.projects.secrets.create", "bigquery.datasets.patch", "bigquery.datasets.update"]
      approval: {holdFor: 1m}
"#;

/// What every client shows of the refused call.
pub const REFUSAL: &str = "rule \"keep\" of policy agents/clients. Ask the data team first.";

/// Does all steps of a client behind a gate, and tells of each and how long it took.
///
/// # Errors
/// Steps end otherwise than they should; the error holds what the client has shown.
pub async fn run(client: &Client, gate: &Standalone, standin: &Standin) -> Result<String> {
    let agent = format!("agents/{}", client.name);
    let proxy = format!("http://{}", gate.listen());
    let (ca, token) = (gate.ca_pem()?, gate.token(&agent)?);
    let site = Site::new(client.name, proxy, &ca, &token).await?;
    let steps = (client.steps)(client.name);
    let (mut done, mut failures) = (Vec::new(), String::new());
    for step in &steps {
        let started = Instant::now();
        if let Err(error) = take(client, &site, step, gate, standin).await {
            failures.push_str(&format!("\n{}: {error:#}", step.name));
        }
        done.push(format!("{} {:.1} s", step.name, started.elapsed().as_secs_f64()));
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(done.join(", "))
}

async fn take(client: &Client, site: &Site, step: &Step, gate: &Standalone, standin: &Standin) -> Result<()> {
    let (ended, approved) = match step.kind {
        Kind::Held => {
            let agent = format!("agents/{}", client.name);
            let approved = approve(gate, standin, &agent, step);
            tokio::join!(client.step(site, step), approved)
        }
        Kind::Allowed | Kind::Refused => (client.step(site, step).await, Ok(())),
    };
    let ended = ended?;
    approved
        .and_then(|()| check(step, &ended, standin))
        .with_context(|| ended.shown)
}

/// Whether a step ended as it should, on the client's side and on Google's.
fn check(step: &Step, ended: &Run, standin: &Standin) -> Result<()> {
    if step.kind == Kind::Refused {
        ensure!(!ended.status.success(), "it was not refused");
        // Some show the answer as it came, in JSON, and bq breaks lines where it likes.
        let shown = ended.shown.replace("\\\"", "\"");
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(shown.contains(REFUSAL), "it does not show {REFUSAL:?}");
        return Ok(());
    }
    ensure!(ended.status.success(), "it ended with {}", ended.status);
    ensure!(
        step.says.holds(&ended.stdout),
        "it says {:?} and not {:?}",
        ended.stdout,
        step.says
    );
    if let Some(text) = &step.brings {
        let times = times_seen(standin, text);
        ensure!(times == 1, "{text:?} reached Google {times} times");
    }
    Ok(())
}

/// Waits for the request for approval of the one call that an agent holds, sees that Google knows nothing of
/// it, and approves it as a person would.
async fn approve(gate: &Standalone, standin: &Standin, agent: &str, step: &Step) -> Result<()> {
    let request = eventually(PATIENCE, || async {
        gate.approvals()?
            .into_iter()
            .find(|request| request.phase() == "Pending" && request.value["spec"]["agent"]["name"] == agent)
            .with_context(|| format!("no request of {agent}"))
    });
    let request = request.await?;
    let text = step.brings.as_deref().context("a held step brings something")?;
    ensure!(
        times_seen(standin, text) == 0,
        "{text:?} reached Google before it was approved"
    );
    request.review("alice", "Approve", "looks right")
}

/// How many calls brought a text to Google, in their body, their messages or their target.
fn times_seen(standin: &Standin, text: &str) -> usize {
    let requests = standin.requests();
    requests.iter().filter(|request| brings(request, text)).count()
}

fn brings(request: &RecordedRequest, text: &str) -> bool {
    request
        .body_text
        .as_deref()
        .is_some_and(|body| body.contains(text))
        || request.path.contains(text)
        || request.rpc.as_ref().is_some_and(|rpc| rpc.holds(text))
}
