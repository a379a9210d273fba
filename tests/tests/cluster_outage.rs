//! The API server goes away and comes back: what was decided stays decided, and nothing else is.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use turnpike_crds::Phase;
use turnpike_tests::control_plane::TOKEN_ISSUER;
use turnpike_tests::turnpike::cluster::{AUDIENCE, Cluster, SOON, policy};
use turnpike_tests::turnpike::replica::{ProxyOptions, lasting_standin};

const BUCKET: &str = "https://storage.googleapis.com/storage/v1/b/acme-dev-data";
const SERVICES: &str =
    "https://run.googleapis.com/v2/projects/acme-dev/locations/us-central1/services?serviceId=";
const KEYS: &str = "https://iam.googleapis.com/v1/projects/acme-dev/serviceAccounts/coder@acme-dev.iam.gserviceaccount.com/keys";

fn rules(read: &str) -> Value {
    json!([
        {"name": "read", "effect": read, "methods": ["storage.**"]},
        {"name": "deploy", "effect": "RequireApproval", "methods": ["run.**.create"]},
        {"name": "no-keys", "effect": "Deny", "methods": ["iam.**"]},
    ])
}

#[tokio::test]
async fn without_the_api_server_the_last_good_policies_decide_and_approvals_wait() -> Result<()> {
    let cluster = Cluster::start().await?;
    let standin = lasting_standin().await?;
    let proxy = cluster
        .proxy("turnpike-proxy-0", &ProxyOptions::new(&standin))
        .await?;
    let agents = cluster.agents().await?;
    cluster
        .program(&agents, &policy("coder", &rules("Allow")))
        .await?;
    let posts = || {
        let requests = standin.requests();
        requests
            .into_iter()
            .filter(|r| r.method == "POST")
            .map(|r| r.path)
            .collect::<Vec<_>>()
    };

    // Never seen by the proxy before the API server goes.
    let fresh = cluster.token(&agents, "coder").await?;
    let hour = Duration::from_secs(3600);
    let for_others = cluster
        .plane
        .service_account_token(&agents, "coder", "another", hour)
        .await?;
    let now = jiff::Timestamp::now().as_second();
    let expired = cluster.plane.sign_token(&json!({
        "iss": TOKEN_ISSUER, "aud": [AUDIENCE], "iat": now - 7200, "exp": now - 60,
        "sub": format!("system:serviceaccount:{agents}:coder"),
    }))?;
    let (unsigned, _) = fresh.rsplit_once('.').context("a signature")?;
    let (_, signature) = expired.rsplit_once('.').context("a signature")?;
    let forged = format!("{unsigned}.{signature}");

    // Held before, to be approved after.
    let waiting = proxy.agent(&cluster.token(&agents, "coder").await?)?;
    let held = tokio::spawn(async move { waiting.post(&format!("{SERVICES}before"), &json!({})).await });
    let before = cluster.wait_pending(&agents).await?;

    cluster.plane.stop_apiserver()?;
    let agent = proxy.agent(&fresh)?;
    let started = Instant::now();
    let mut found = vec![
        ("allowed", agent.get(BUCKET).await?.verdict()),
        ("denied", agent.post(KEYS, &json!({})).await?.verdict()),
        (
            "held",
            agent
                .post(&format!("{SERVICES}during"), &json!({}))
                .await?
                .verdict(),
        ),
    ];
    for (name, token) in [
        ("another audience", &for_others),
        ("expired", &expired),
        ("forged", &forged),
    ] {
        found.push((name, agent.with_token(Some(token)).get(BUCKET).await?.verdict()));
    }
    println!("answered without the API server in {:?}", started.elapsed());
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(name, verdict)| (*name, verdict.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("allowed", "200"),
            ("denied", "403 RULE_DENIED"),
            ("held", "503 APPROVAL_UNAVAILABLE"),
            ("another audience", "401 TOKEN_AUDIENCE"),
            ("expired", "401 TOKEN_EXPIRED"),
            ("forged", "401 TOKEN_SIGNATURE"),
        ]
    );
    assert_eq!(proxy.admin("/readyz").await?.0, 200);
    assert_eq!(posts(), Vec::<String>::new());
    assert!(!held.is_finished(), "a call that waits goes on waiting");

    cluster.plane.start_apiserver().await?;
    cluster.decide(&agents, &before, "Approve", "back again").await?;
    let started = Instant::now();
    let answer = tokio::time::timeout(SOON, held)
        .await
        .context("the held call")???;
    println!("released {:?} after the approval", started.elapsed());
    assert_eq!(answer.verdict(), "200");
    cluster.wait_requests(&agents, Phase::Consumed, 1).await?;
    assert_eq!(
        posts(),
        ["/v2/projects/acme-dev/locations/us-central1/services?serviceId=before"]
    );

    // Edits count again.
    cluster.program(&agents, &policy("coder", &rules("Deny"))).await?;
    assert_eq!(agent.get(BUCKET).await?.verdict(), "403 RULE_DENIED");
    Ok(())
}
