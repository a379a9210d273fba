//! The whole of Turnpike in one go, as its users meet it.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use turnpike_tests::pubsub::Message;
use turnpike_tests::turnpike::cluster::{APPROVER, SOON, fixture, review};
use turnpike_tests::turnpike::events::session;

use crate::gate;

/// The stand-in's secrets contain this, plain and in base64.
const RAW_SECRET: [&str; 2] = ["not-a-real-secret", "bm90LWEtcmVhbC1zZWNyZXQ"];

#[tokio::test]
async fn an_agent_is_let_through_masked_held_and_refused_and_all_of_it_is_on_record() -> Result<()> {
    let gate = gate().await?;
    let cluster = &gate.cluster;
    let agents = cluster.agents().await?;
    let subscription = gate.subscribe("story").await?;
    cluster.program(&agents, &fixture("coder.yaml")?).await?;
    let gcloud = gate.proxy.gcloud(&cluster.token(&agents, "coder").await?)?;

    // Allowed.
    let listed = gcloud.run(&["storage", "ls"]).await?.success()?;
    assert_eq!(listed, "gs://acme-dev-artifacts/\ngs://acme-dev-data/\n");

    // Masked.
    let access = ["secrets", "versions", "access", "latest", "--secret=db-password"];
    let secret = gcloud.run(&access).await?;
    assert_eq!(
        (secret.stdout.as_str(), secret.status.code()),
        ("[MASKED:secret]", Some(0))
    );

    // Held, and released by a plain kubectl.
    let image = "--image=us-docker.pkg.dev/acme-dev/app/web:1";
    let deploy = [
        "run",
        "deploy",
        "story",
        image,
        "--region=us-central1",
        "--no-allow-unauthenticated",
    ];
    let alice = cluster.approver()?;
    let approve = async {
        let request = cluster.wait_pending(&agents).await?;
        let table = alice
            .kubectl(&["get", "apr", "-n", &agents], None)
            .await?
            .success()?;
        let agent = format!("{agents}/coder");
        let score = [
            "get",
            "apr",
            "-n",
            &agents,
            &request,
            "-o",
            "jsonpath={.spec.risk.score}",
        ];
        let score = alice.kubectl(&score, None).await?.success()?;
        assert!(
            score.parse().is_ok_and(|score: u8| (1..=100).contains(&score)),
            "a deploy has a risk: {score:?}"
        );
        let wanted = [
            "NAME",
            "AGENT",
            "METHOD",
            "RESOURCE",
            "RISK",
            "STATE",
            "APPROVALS",
            "EXPIRES",
            "AGE",
            &request,
            &agent,
            "run.namespaces.services.create",
            "projects/acme-dev/locations/us-central1",
            &score,
            "Pending",
            "0/1",
        ];
        let shown: Vec<&str> = table.split_whitespace().take(wanted.len()).collect();
        assert_eq!(shown, wanted);
        assert_eq!(gate.posts("story"), [], "nothing is sent before the approval");

        let patch = review("Approve", "looks right").to_string();
        let patch = [
            "patch",
            "apr",
            &request,
            "-n",
            &agents,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        let mallory = cluster.plane.user("mallory@acme.example", &[])?;
        let refused = mallory.kubectl(&patch, None).await?;
        assert!(refused.stderr.contains("Forbidden"), "{}", refused.stderr);
        alice.kubectl(&patch, None).await?.success()?;
        Ok((request, Timestamp::now()))
    };
    let (deployed, (request, approved)) = tokio::try_join!(gcloud.run(&deploy), approve)?;
    deployed.success()?;
    let sent = gate.posts("story");
    assert_eq!(sent.len(), 1);
    assert_eq!(
        sent[0].header("authorization"),
        Some("Bearer standin-access-token-of-the-proxy")
    );
    // kubectl takes some of the time after the edit to end.
    let late = sent[0].time.parse::<Timestamp>()?.as_millisecond() - approved.as_millisecond();
    assert!(late < 5000);

    // Refused.
    let key = gcloud.dir().join("key.json");
    let key_path = key.to_str().context("UTF-8")?;
    let account = "--iam-account=coder@acme-dev.iam.gserviceaccount.com";
    let create = ["iam", "service-accounts", "keys", "create", key_path, account];
    let refused = gcloud.run(&create).await?.failure()?;
    let words = "Agents create no keys; ask the platform team for workload identity.";
    assert!(refused.contains(words), "{refused}");
    // gcloud opens the file before it asks.
    assert_eq!(std::fs::read_to_string(&key).unwrap_or_default(), "");

    // All of it is read back from the topic.
    let name = format!("{agents}/coder");
    let complete = |messages: &[Message]| {
        session(messages, &name).is_ok_and(|events| events.iter().any(|e| e.method.ends_with("keys.create")))
    };
    let messages = gate.emulator.pull_until(&subscription, SOON, complete).await?;
    let events = session(&messages, &name)?;
    // gcloud asks for the next thing the moment it has its answer, when the outcome may not be written yet.
    let (outcomes, others): (Vec<_>, Vec<_>) = events.iter().partition(|e| e.phase == "outcome");
    let lines: Vec<String> = others.iter().map(|e| e.line()).collect();
    assert_eq!(
        lines,
        [
            "intent storage.buckets.list",
            "intent secretmanager.projects.secrets.versions.access",
            "intent serviceusage.services.get",
            "intent run.namespaces.services.get",
            "held run.namespaces.services.create",
            "intent run.namespaces.services.create",
            "refused iam.projects.serviceAccounts.keys.create",
        ]
    );
    let calls = |phase: &str| -> Vec<&str> {
        let of = others.iter().filter(|e| e.phase == phase);
        of.map(|e| e.call.as_str()).collect()
    };
    let ended: Vec<&str> = outcomes.iter().map(|e| e.call.as_str()).collect();
    assert_eq!(ended, calls("intent"), "each call that was sent has one outcome");
    assert_eq!(
        calls("held"),
        calls("intent")[4..],
        "the held call and the one that was sent are the same"
    );
    let released = others.iter().find(|e| e.line() == lines[5]).context("released")?;
    assert_eq!(
        released.payload["unmapped"]["turnpike"]["approval"],
        serde_json::json!({
            "namespace": agents, "name": request, "decided_by": [APPROVER], "reason": "looks right",
        })
    );

    // The secret is nowhere.
    let log = gate.proxy.process.output()?;
    let operator = cluster.operator.output()?;
    let texts = events
        .iter()
        .map(|e| e.payload.to_string())
        .chain([log, operator]);
    for text in texts {
        assert!(!RAW_SECRET.iter().any(|raw| text.contains(raw)), "{text}");
    }
    assert_eq!(
        files_with(&gate.proxy.dir, RAW_SECRET[0])?,
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(
        files_with(&gate.proxy.dir, RAW_SECRET[1])?,
        Vec::<std::path::PathBuf>::new()
    );
    println!(
        "story: 1 call allowed, 1 masked, 1 held and sent {late} ms after kubectl approved it, 1 refused; {} events read \
         back from Pub/Sub, 0 of them with the secret",
        events.len()
    );
    Ok(())
}

/// The files below a folder that contain a text.
fn files_with(folder: &std::path::Path, text: &str) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, text)?);
        } else if String::from_utf8_lossy(&std::fs::read(&path)?).contains(text) {
            found.push(path);
        }
    }
    Ok(found)
}
