//! Approvals that take more than one person, or a certain one, and what an agent is told in the meantime, standalone.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use turnpike_tests::{
    process::eventually,
    standin::{Options, Standin},
    turnpike::{
        binary,
        standalone::{
            PATIENCE, Standalone,
            client::{Agent, Answer},
        },
    },
};

const FUNCTIONS: &str = "cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/us-central1/functions";

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - name: deploy
      effect: RequireApproval
      methods: ["cloudfunctions.**.create"]
      approval:
        holdFor: 300ms
        expiresAfter: 1h
        onHoldEnd: Retry
        approvals: 2
        approvers: {groups: [sec, sre]}
        requireDistinctGroups: true
    - name: not-without-dave
      effect: RequireApproval
      methods: ["cloudfunctions.**.create"]
      resources: ["projects/acme-dev/**"]
      approval: {holdFor: 1m, onHoldEnd: Retry, approvers: {users: [dave]}}
"#;

async fn deploy(agent: &Agent) -> Result<Answer> {
    let body = json!({"name": "billing", "environment": "GEN_2"}).to_string();
    agent
        .call("POST", &format!("{FUNCTIONS}?functionId=billing"), &body)
        .await
}

/// Approves as the CLI does it.
fn approve(gate: &Standalone, name: &str, who: &str, groups: &[&str]) -> Result<()> {
    let groups = groups.iter().flat_map(|group| ["--as-group", *group]);
    let output = Command::new(binary("kubectl-turnpike")?)
        .arg("--config")
        .arg(gate.path())
        .args(["--as", who])
        .args(groups)
        .args(["approve", name, "--wait=false"])
        .output()?;
    ensure!(
        output.status.success(),
        "{who}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[tokio::test]
async fn a_call_goes_on_when_all_that_its_rules_require_is_met() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let gate = Standalone::start(&standin, POLICY).await?;
    let agent = gate.agent("agents/coder")?;

    let answer = deploy(&agent).await?;
    assert_eq!(answer.refusal(), (503, "APPROVAL_PENDING".to_owned()));
    assert_eq!(answer.headers["retry-after"], "5");
    let request = gate.approval("Pending").await?;
    let name = request.name().to_owned();
    assert_eq!(
        request.value["spec"]["requires"],
        json!([
            {"approvals": 2, "approvers": {"groups": ["sec", "sre"]}, "distinctGroups": true},
            {"approvals": 1, "approvers": {"users": ["dave"]}},
        ])
    );

    // Approvals that count after each person's.
    let reviews: [(&str, &[&str], &str); 5] = [
        ("alice", &["sre"], "1"),
        ("bob", &["sre", "dev"], "1"),
        ("mallory", &["dev"], "1"),
        ("dave", &[], "2"),
        ("carol", &["sec", "sre"], "3"),
    ];
    for (who, groups, counted) in reviews {
        let answer = deploy(&agent).await?;
        assert_eq!(
            answer.refusal(),
            (503, "APPROVAL_PENDING".to_owned()),
            "before {who}"
        );
        approve(&gate, &name, who, groups)?;
        eventually(PATIENCE, || async {
            let approvals = gate.approvals()?;
            let status = &approvals.first().context("no request")?.value["status"];
            let written = !status["reviews"][who].is_null();
            let right = status["approvals"] == format!("{counted}/3");
            ensure!(written && right, "after {who}: {status:#}");
            Ok(())
        })
        .await?;
    }
    let approved = gate.approval("Approved").await?;
    let status = &approved.value["status"];
    assert_eq!(status["decidedBy"], json!(["alice", "bob", "carol", "dave"]));
    assert_eq!(status["reviews"]["bob"]["groups"], json!(["sre"]));
    assert_eq!(status["reviews"]["mallory"]["groups"], Value::Null);

    assert_eq!(deploy(&agent).await?.status, 200);
    assert_eq!(gate.approvals()?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_policy_that_changes_ends_what_it_asked_for_before() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let plain = "      approval: {holdFor: 20s}\n";
    let policy = format!(
        "{}{plain}",
        &POLICY[..POLICY.find("      approval:").context("no approval")?]
    );
    let gate = Standalone::start(&standin, &policy).await?;
    let agent = gate.agent("agents/coder")?;
    let change = async {
        gate.approval("Pending").await?;
        gate.write_policy("test", &policy.replace("holdFor: 20s", "holdFor: 100ms"))?;
        gate.approval("Superseded").await
    };
    // The call that is held is told at once, and asks anew when it is made again.
    let (answer, superseded) = tokio::join!(deploy(&agent), change);
    let superseded = superseded?;
    assert_eq!(answer?.refusal(), (403, "APPROVAL_SUPERSEDED".to_owned()));
    assert_eq!(
        superseded.value["status"]["conditions"][1]["message"],
        "policy agents/coder changed since it asked for the approval"
    );
    assert_eq!(
        deploy(&agent).await?.refusal(),
        (403, "APPROVAL_PENDING".to_owned())
    );
    let phases: Vec<String> = gate.approvals()?.iter().map(|a| a.phase().to_owned()).collect();
    assert_eq!(phases.len(), 2, "{phases:?}");
    assert!(phases.iter().any(|p| p == "Pending"), "{phases:?}");
    Ok(())
}
