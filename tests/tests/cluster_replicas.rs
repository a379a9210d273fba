//! Two proxies: policies count as programmed when both run them, and an approval is spent by one.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use turnpike_crds::Phase;
use turnpike_tests::process::eventually;
use turnpike_tests::turnpike::cluster::{Cluster, SOON, policy};
use turnpike_tests::turnpike::replica::{ProxyOptions, lasting_standin};

const ROUNDS: usize = 8;

fn rules(read: &str) -> Value {
    json!([
        {"name": "read", "effect": read, "methods": ["storage.**"]},
        {"name": "deploy", "effect": "RequireApproval", "methods": ["run.**.create"]},
    ])
}

#[tokio::test]
async fn two_replicas_agree() -> Result<()> {
    let cluster = Cluster::start().await?;
    let standin = lasting_standin().await?;
    let options = ProxyOptions::new(&standin);
    let (one, mut two) = tokio::try_join!(
        cluster.proxy("turnpike-proxy-0", &options),
        cluster.proxy("turnpike-proxy-1", &options)
    )?;
    let agents = cluster.agents().await?;
    cluster
        .program(&agents, &policy("coder", &rules("Allow")))
        .await?;
    let token = cluster.token(&agents, "coder").await?;
    let (first, second) = (one.agent(&token)?, two.agent(&token)?);

    // The same call at both, and one approval.
    for round in 0..ROUNDS {
        let url = format!(
            "https://run.googleapis.com/v2/projects/acme-dev/locations/us-central1/services?serviceId=race-{round}"
        );
        let body = json!({"round": round});
        let approve = async {
            cluster.wait_pending(&agents).await?;
            // Both have to wait, or the second asks anew.
            for proxy in [&one, &two] {
                eventually(SOON, || async {
                    ensure!(proxy.metric("turnpike_held_calls").await? == 1.0, "not held");
                    Ok(())
                })
                .await?;
            }
            let request = cluster.wait_pending(&agents).await?;
            cluster.decide(&agents, &request, "Approve", "one of them").await
        };
        let (a, b, ()) = tokio::try_join!(first.post(&url, &body), second.post(&url, &body), approve)?;
        let mut verdicts = [a.verdict(), b.verdict()];
        verdicts.sort();
        assert_eq!(verdicts, ["200", "403 APPROVAL_SPENT"], "round {round}");
    }
    let posts = standin
        .requests()
        .into_iter()
        .filter(|r| r.method == "POST")
        .count();
    assert_eq!(posts, ROUNDS);
    let spent = cluster.wait_requests(&agents, Phase::Consumed, ROUNDS).await?;
    let by: Vec<String> = spent
        .iter()
        .filter_map(|r| r.status.as_ref()?.consumption.as_ref().map(|c| c.by.clone()))
        .collect();
    println!("spent by {by:?}");

    // One dies without a word. Until its Lease lapses nobody knows what it runs.
    two.process.kill()?;
    cluster.apply(&agents, &policy("coder", &rules("Deny"))).await?;
    eventually(SOON, || async {
        let message = cluster
            .wait_condition(&agents, "coder", "Programmed=False")
            .await?;
        ensure!(message.contains("1 of 2"), "{message}");
        Ok(())
    })
    .await?;
    let started = Instant::now();
    let message = cluster
        .wait_condition(&agents, "coder", "Programmed=True")
        .await?;
    println!("its Lease lapsed after {:?}: {message}", started.elapsed());

    // It comes back, and counts again with what it runs.
    two.restart().await?;
    cluster
        .program(&agents, &policy("coder", &rules("Allow")))
        .await?;
    let url = "https://storage.googleapis.com/storage/v1/b/acme-dev-data";
    assert_eq!(
        [
            first.get(url).await?.verdict(),
            two.agent(&token)?.get(url).await?.verdict()
        ],
        ["200", "200"]
    );
    Ok(())
}
