//! Two replicas of the gate: limits are divided between them, a suspension reaches both within a moment, and
//! guardrails follow the labels of namespaces.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use turnpike_tests::process::eventually;
use turnpike_tests::standin::Standin;
use turnpike_tests::turnpike::client::Agent;
use turnpike_tests::turnpike::cluster::{Cluster, SOON};
use turnpike_tests::turnpike::replica::{Proxy, ProxyOptions, lasting_standin};

const BUCKET: &str = "https://storage.googleapis.com/storage/v1/b/acme-dev-data";
const SERVICES: &str =
    "https://run.googleapis.com/v2/projects/acme-dev/locations/us-central1/services?serviceId=";

/// What the tests share.
struct Gates {
    cluster: Cluster,
    one: Proxy,
    two: Proxy,
    options: ProxyOptions,
    _standin: Standin,
}

async fn gates() -> Result<&'static Gates> {
    static GATES: OnceCell<Gates> = OnceCell::const_new();
    GATES
        .get_or_try_init(|| async {
            let cluster = Cluster::start().await?;
            let standin = lasting_standin().await?;
            let options = ProxyOptions::new(&standin);
            let (one, two) = tokio::try_join!(
                cluster.proxy("turnpike-proxy-0", &options),
                cluster.proxy("turnpike-proxy-1", &options)
            )?;
            Ok(Gates {
                cluster,
                one,
                two,
                options,
                _standin: standin,
            })
        })
        .await
}

impl Gates {
    /// An agent at both replicas.
    async fn agents(&self, namespace: &str) -> Result<[Agent; 2]> {
        let token = self.cluster.token(namespace, "coder").await?;
        Ok([self.one.agent(&token)?, self.two.agent(&token)?])
    }

    /// Waits until both replicas know how many there are.
    async fn replicas(&self, count: f64) -> Result<()> {
        for proxy in [&self.one, &self.two] {
            eventually(SOON, || async {
                let found = proxy.metric("turnpike_replicas").await?;
                ensure!(found == count, "{found} replicas");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

/// A policy that lets `coder` use Cloud Storage and deploy with an approval.
fn policy(more: &Value) -> String {
    let mut spec = json!({
        "agents": [{"serviceAccount": {"name": "coder"}}],
        "rules": [
            {"name": "storage", "effect": "Allow", "methods": ["storage.**"]},
            {"name": "deploy", "effect": "RequireApproval", "methods": ["run.**.create"]},
        ],
    });
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    resource("coder", &spec)
}

fn resource(name: &str, spec: &Value) -> String {
    let kind = json!({"apiVersion": "turnpike.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": name}, "spec": spec});
    kind.to_string()
}

#[tokio::test]
async fn limits_are_divided_between_the_replicas_that_live() -> Result<()> {
    let gates = gates().await?;
    let namespace = gates.cluster.agents().await?;
    let limited = policy(&json!({"limits": {"callsPerMinute": 5}}));
    gates.cluster.program(&namespace, &limited).await?;
    gates.replicas(2.0).await?;
    // The half of five, rounded up, at each: one more than the limit in all.
    let mut verdicts = Vec::new();
    for agent in &gates.agents(&namespace).await? {
        for _ in 0..4 {
            let answer = agent.get(BUCKET).await?;
            if answer.status == 429 {
                let message = answer.message();
                ensure!(
                    message.contains("5 calls in any 60 seconds (3 of them at each of 2 replicas)"),
                    "{message}"
                );
            }
            verdicts.push(answer.verdict());
        }
    }
    let each = ["200", "200", "200", "429 LIMIT_CALLS"];
    assert_eq!(verdicts, [each, each].concat());

    // A third makes the parts smaller, and larger again once it is gone.
    let mut third = gates.cluster.proxy("turnpike-proxy-2", &gates.options).await?;
    gates.replicas(3.0).await?;
    third.process.kill()?;
    let started = Instant::now();
    gates.replicas(2.0).await?;
    println!("a replica that died was counted for {:?} more", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_suspension_reaches_every_replica_and_what_is_held_there() -> Result<()> {
    let gates = gates().await?;
    let namespace = gates.cluster.agents().await?;
    gates.cluster.program(&namespace, &policy(&json!({}))).await?;
    let agents = gates.agents(&namespace).await?;
    let held: Vec<_> = agents
        .iter()
        .enumerate()
        .map(|(n, agent)| {
            let (agent, url) = (agent.clone(), format!("{SERVICES}held-{n}"));
            tokio::spawn(async move {
                let answer = agent.post(&url, &json!({})).await;
                (answer, Instant::now())
            })
        })
        .collect();
    gates
        .cluster
        .wait_requests(&namespace, turnpike_crds::Phase::Pending, 2)
        .await?;
    for proxy in [&gates.one, &gates.two] {
        eventually(SOON, || async {
            ensure!(
                proxy.metric("turnpike_held_calls").await? >= 1.0,
                "nothing is held"
            );
            Ok(())
        })
        .await?;
    }

    let started = Instant::now();
    let patch = r#"{"spec":{"suspend":true}}"#;
    let arguments = [
        "patch",
        "agp",
        "coder",
        "-n",
        &namespace,
        "--type=merge",
        "-p",
        patch,
    ];
    gates.cluster.kubectl(&arguments, None).await?;
    let patched = Instant::now();
    for call in held {
        let (answer, at) = tokio::time::timeout(SOON, call).await??;
        assert_eq!(answer?.verdict(), "403 AGENT_SUSPENDED");
        println!(
            "a held call ended {:?} after kubectl patch began, {:?} after it had ended",
            at.duration_since(started),
            at.saturating_duration_since(patched)
        );
    }
    for agent in &agents {
        let answer = agent.get(BUCKET).await?;
        assert_eq!(answer.verdict(), "403 AGENT_SUSPENDED");
        assert_eq!(answer.fact("policy"), format!("{namespace}/coder"));
    }
    // They were asked for under a policy that is another one now.
    gates
        .cluster
        .wait_requests(&namespace, turnpike_crds::Phase::Superseded, 2)
        .await?;

    gates
        .cluster
        .program(&namespace, &policy(&json!({"suspend": false})))
        .await?;
    for agent in &agents {
        assert_eq!(agent.get(BUCKET).await?.verdict(), "200");
    }
    Ok(())
}

#[tokio::test]
async fn guardrails_follow_labels_and_no_tenant_loosens_them() -> Result<()> {
    let gates = gates().await?;
    let cluster = &gates.cluster;
    let guardrail = json!({
        "agents": [{"serviceAccount": {"name": "*", "namespaceSelector": {"matchLabels": {"guarded": "yes"}}}}],
        "rules": [{"name": "no-storage", "effect": "Deny", "methods": ["storage.**"]}],
    });
    cluster
        .program(&cluster.own, &resource("guardrail", &guardrail))
        .await?;
    let message = cluster
        .wait_condition(&cluster.own, "guardrail", "Accepted=True")
        .await?;
    let none =
        "the policy compiles; spec.agents[0].serviceAccount.namespaceSelector matches no namespace now";
    assert_eq!(message, none);

    let namespace = cluster.agents().await?;
    cluster.program(&namespace, &policy(&json!({}))).await?;
    let agents = gates.agents(&namespace).await?;
    let until = async |verdict: &str| -> Result<Duration> {
        let started = Instant::now();
        for agent in &agents {
            eventually(SOON, || async {
                let found = agent.get(BUCKET).await?.verdict();
                ensure!(found == verdict, "still {found}");
                Ok(())
            })
            .await?;
        }
        Ok(started.elapsed())
    };
    let label = async |label: &str| {
        let arguments = ["label", "--overwrite", "namespace", &namespace, label];
        cluster.kubectl(&arguments, None).await
    };
    until("200").await?;
    label("guarded=yes").await?;
    println!(
        "the guardrail bound {:?} after the label",
        until("403 RULE_DENIED").await?
    );
    eventually(SOON, || async {
        let message = cluster
            .wait_condition(&cluster.own, "guardrail", "Accepted=True")
            .await?;
        ensure!(message == "the policy compiles", "{message}");
        Ok(())
    })
    .await?;

    // Neither another Allow, nor a policy that would select namespaces, nor one that would limit helps.
    let everything = json!({
        "agents": [{"serviceAccount": {"name": "*"}}],
        "rules": [{"name": "all", "effect": "Allow", "methods": ["**"]}],
    });
    cluster
        .program(&namespace, &resource("everything", &everything))
        .await?;
    let mut selecting = everything.clone();
    selecting["agents"] = guardrail["agents"].clone();
    cluster
        .apply(&namespace, &resource("selecting", &selecting))
        .await?;
    let message = cluster
        .wait_condition(&namespace, "selecting", "Accepted=False")
        .await?;
    let start = "spec.agents[0].serviceAccount.namespaceSelector: only policies in ";
    ensure!(message.starts_with(start), "{message}");
    until("403 RULE_DENIED").await?;

    // A namespace that comes with its label and its policy in one file is guarded from its first moment.
    let fresh = format!("{namespace}-fresh");
    let file = json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": fresh, "labels": {"guarded": "yes"}}},
            {"apiVersion": "turnpike.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": "all", "namespace": fresh},
             "spec": everything},
        ],
    });
    cluster
        .kubectl(&["apply", "-f", "-"], Some(&file.to_string()))
        .await?;
    let token = cluster.token(&fresh, "coder").await?;
    let agent = gates.one.agent(&token)?;
    let seen = eventually(SOON, || async {
        let verdict = agent.get(BUCKET).await?.verdict();
        ensure!(verdict != "403 NO_RULE_ALLOWS", "nothing is in force yet");
        Ok(verdict)
    });
    assert_eq!(seen.await.context("a verdict")?, "403 RULE_DENIED");
    cluster.wait_condition(&fresh, "all", "Programmed=True").await?;
    assert_eq!(agent.get(BUCKET).await?.verdict(), "403 RULE_DENIED");

    label("guarded-").await?;
    println!("it let go {:?} after the label was gone", until("200").await?);
    Ok(())
}
