//! Policies as they change: under open connections, into something that does not compile, and away.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use turnpike_tests::process::eventually;
use turnpike_tests::turnpike::client::Tunnel;
use turnpike_tests::turnpike::cluster::{SOON, policy};

use crate::{BUCKET, gate};

const PATH: &str = "/storage/v1/b/acme-dev-data";

fn reads(effect: &str) -> String {
    let read = json!({"name": "read", "effect": effect, "methods": ["storage.**"]});
    policy("coder", &json!([read]))
}

/// Calls again and again on one connection until the verdict is this one; how long it took.
async fn until(tunnel: &mut Tunnel, verdict: &str) -> Result<Duration> {
    let started = Instant::now();
    loop {
        let answer = tunnel.get(PATH).await?;
        if answer.verdict() == verdict {
            return Ok(started.elapsed());
        }
        ensure!(started.elapsed() < SOON, "still {}", answer.verdict());
    }
}

#[tokio::test]
async fn an_edit_counts_from_the_next_call_of_an_open_connection() -> Result<()> {
    let gate = gate().await?;
    let agents = gate.cluster.agents().await?;
    gate.cluster.program(&agents, &reads("Allow")).await?;
    let token = gate.cluster.token(&agents, "coder").await?;
    let mut tunnel = gate.proxy.tunnel("storage.googleapis.com", &token).await?;
    assert_eq!(tunnel.get(PATH).await?.verdict(), "200");

    let mut took = Vec::new();
    for (effect, verdict) in [
        ("Deny", "403 RULE_DENIED"),
        ("Allow", "200"),
        ("Deny", "403 RULE_DENIED"),
    ] {
        gate.cluster.apply(&agents, &reads(effect)).await?;
        took.push(until(&mut tunnel, verdict).await?);
    }
    println!("edits counted {took:?} after kubectl had ended");
    assert!(took.iter().all(|t| *t < Duration::from_secs(1)), "{took:?}");
    Ok(())
}

#[tokio::test]
async fn a_policy_that_does_not_compile_leaves_the_last_good_one_in_force() -> Result<()> {
    let gate = gate().await?;
    let agents = gate.cluster.agents().await?;
    gate.cluster.program(&agents, &reads("Allow")).await?;
    let agent = gate.proxy.agent(&gate.cluster.token(&agents, "coder").await?)?;
    assert_eq!(agent.get(BUCKET).await?.verdict(), "200");

    let broken = json!([
        {"name": "read", "effect": "Allow", "methods": ["storage.**"]},
        {"name": "deploy", "effect": "RequireApproval", "methods": ["run.**"], "approval": {"holdFor": "9h"}},
    ]);
    gate.cluster.apply(&agents, &policy("coder", &broken)).await?;
    let message = gate
        .cluster
        .wait_condition(&agents, "coder", "Accepted=False")
        .await?;
    assert!(message.contains("spec.rules[1].approval.holdFor"), "{message}");
    assert_eq!(agent.get(BUCKET).await?.verdict(), "200");

    gate.cluster.program(&agents, &reads("Deny")).await?;
    assert_eq!(
        gate.cluster.conditions(&agents, "coder").await?,
        [
            "Accepted=True Accepted",
            "ResolvedRefs=True ResolvedRefs",
            "Programmed=True Programmed"
        ]
    );
    assert_eq!(agent.get(BUCKET).await?.verdict(), "403 RULE_DENIED");

    // Without the policy nothing selects the agent.
    gate.cluster
        .kubectl(&["delete", "agp", "coder", "-n", &agents], None)
        .await?;
    eventually(SOON, || async {
        let answer = agent.get(BUCKET).await?;
        ensure!(answer.verdict() == "403 NO_RULE_ALLOWS", "{}", answer.verdict());
        Ok(())
    })
    .await
}
