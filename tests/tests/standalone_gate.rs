//! Policies that change, calls that are held, and a proxy that is told to stop, standalone: everything that is
//! about time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use turnpike_tests::{
    process::eventually,
    standin::{Fault, Options, Standin},
    turnpike::standalone::{
        Folder, PATIENCE, Standalone,
        client::{Agent, Answer, Protocol},
    },
};

const STORAGE: &str = "storage.googleapis.com";
const BUCKET: &str = "/storage/v1/b/acme-dev-data";
const FUNCTIONS: &str = "cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/us-central1/functions";

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - name: read
      effect: Allow
      methods: ["storage.**.get", "cloudfunctions.**.get", "cloudfunctions.**.list"]
    - name: deploy
      effect: RequireApproval
      methods: ["cloudfunctions.**.create", "cloudfunctions.**.delete"]
      approval: {holdFor: 20s, expiresAfter: 1h}
"#;

async fn standin() -> Result<Standin> {
    Standin::start(Options::default()).await
}

/// Deploys a function: the call that is held.
async fn deploy(agent: &Agent, name: &str) -> Result<Answer> {
    let body = json!({"name": name, "environment": "GEN_2"}).to_string();
    agent
        .call("POST", &format!("{FUNCTIONS}?functionId={name}"), &body)
        .await
}

fn deployments(standin: &Standin) -> usize {
    standin.requests().iter().filter(|r| r.method == "POST").count()
}

#[tokio::test]
async fn a_policy_that_is_edited_counts_for_the_next_call_of_an_open_connection() -> Result<()> {
    let standin = standin().await?;
    let gate = Standalone::start(&standin, POLICY).await?;
    let agent = gate.agent("agents/coder")?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = agent.open(STORAGE, protocol).await?;
        assert_eq!(connection.call("GET", BUCKET, "").await?.status, 200);

        let mut changes = Vec::new();
        for (policy, status) in [
            (POLICY.replace("\"storage.**.get\", ", ""), 403),
            (POLICY.to_owned(), 200),
        ] {
            let written = Instant::now();
            gate.write_policy("test", &policy)?;
            loop {
                if connection.call("GET", BUCKET, "").await?.status == status {
                    break;
                }
                ensure!(written.elapsed() < PATIENCE, "the policy never counts");
            }
            changes.push(written.elapsed());
        }
        println!("{protocol:?}: a policy counts after {changes:?}");
        assert!(changes.iter().all(|c| *c < Duration::from_secs(1)), "{changes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_that_does_not_parse_is_named_and_the_last_good_set_stays() -> Result<()> {
    let standin = standin().await?;
    let gate = Standalone::start(&standin, POLICY).await?;
    let agent = gate.agent("agents/coder")?;
    let url = format!("{STORAGE}{BUCKET}");

    // Broken where the rules begin, so that leaving it out would look like a smaller policy.
    let broken = POLICY.replace("effect: Allow", "effect: Alow");
    gate.write_policy("test", &broken)?;
    let line = gate.logged("the last good set stays").await?;
    let record: serde_json::Value = serde_json::from_str(&line)?;
    let problem = record["problem"].as_str().context("a problem")?;
    let file = gate.policy("test").display().to_string();
    assert!(
        problem.starts_with(&format!("{file}: line 9, column ")),
        "{problem}"
    );
    assert!(problem.contains("spec.rules[0].effect"), "{problem}");
    assert_eq!(agent.get(&url).await?.status, 200);

    gate.write_policy("test", "apiVersion: [turnpike.dev/v1alpha1\nkind: AgentPolicy\n")?;
    gate.logged(&format!("{file}: line 2, column ")).await?;
    assert_eq!(agent.get(&url).await?.status, 200);
    let metrics = gate.metrics().await?;
    let refused = "turnpike_policy_reloads_total{result=\"refused\"} 2";
    assert!(metrics.lines().any(|line| line == refused), "{metrics}");

    // Two files with one policy: neither may win by chance.
    gate.write_policy("test", POLICY)?;
    gate.write_policy("copy", POLICY)?;
    gate.logged("policy agents/coder stands in").await?;
    std::fs::remove_file(gate.policy("copy"))?;

    gate.write_policy("test", &POLICY.replace("\"storage.**.get\", ", ""))?;
    let answer = eventually(PATIENCE, || async {
        let answer = agent.get(&url).await?;
        ensure!(answer.status == 403, "still allowed");
        Ok(answer)
    })
    .await?;
    assert_eq!(answer.refusal(), (403, "NO_RULE_ALLOWS".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_broken_start_ends_with_the_reason() -> Result<()> {
    let standin = standin().await?;
    // What is broken, and what the last words say.
    let broken_policy = |folder: &Folder| folder.write_policy("test", &POLICY.replace("Allow", "Alow"));
    let broken_config = |folder: &Folder| folder.configure(&json!({"limits": {"heldBodyMb": 1}}));
    let no_config = |folder: &Folder| Ok(std::fs::remove_file(folder.path().join("turnpike.yaml"))?);
    type Break<'a> = &'a dyn Fn(&Folder) -> Result<()>;
    let cases: [(Break<'_>, &[&str]); 3] = [
        (
            &broken_policy,
            &[
                "policies cannot be used:",
                "test.yaml: line 9, column ",
                "spec.rules[0].effect",
            ],
        ),
        (
            &broken_config,
            &["turnpike.yaml: ", "unknown field `heldBodyMb`", " line "],
        ),
        (&no_config, &["turnpike.yaml", "standalone --init"]),
    ];
    for (damage, words) in cases {
        let folder = Folder::new(&standin)?;
        folder.write_policy("test", POLICY)?;
        damage(&folder)?;
        let mut process = folder.spawn()?;
        let status = tokio::task::spawn_blocking(move || {
            let status = process.wait(PATIENCE)?;
            anyhow::Ok((status.code(), process.output()?))
        });
        let (code, said) = status.await??;
        assert_eq!(code, Some(1), "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_approved_call_goes_on_at_once_and_exactly_once() -> Result<()> {
    let standin = standin().await?;
    let gate = Standalone::start(&standin, POLICY).await?;
    let agent = gate.agent("agents/coder")?;
    let mut latencies = Vec::new();
    for name in ["one", "two", "three"] {
        let approve = async {
            let request = gate.approval("Pending").await?;
            request.review("alice", "Approve", "fine")?;
            anyhow::Ok(Instant::now())
        };
        let call = async {
            let answer = deploy(&agent, name).await?;
            anyhow::Ok((answer, Instant::now()))
        };
        let (call, approved) = tokio::join!(call, approve);
        let ((answer, answered), approved) = (call?, approved?);
        assert_eq!(answer.status, 200, "{}", answer.text());
        latencies.push(answered.saturating_duration_since(approved));
        gate_is_settled(&gate).await?;
    }
    println!("from the edit of the file to the answer: {latencies:?}");
    assert!(
        latencies.iter().all(|l| *l < Duration::from_secs(1)),
        "{latencies:?}"
    );
    assert_eq!(deployments(&standin), 3);

    // The approval was for one call: the same again asks anew, by another name.
    let spent: Vec<String> = gate.approvals()?.iter().map(|a| a.name().to_owned()).collect();
    let again = tokio::spawn({
        let agent = agent.clone();
        async move { deploy(&agent, "one").await }
    });
    let request = gate.approval("Pending").await?;
    assert!(!spent.contains(&request.name().to_owned()));
    request.review("bob", "Deny", "once is enough")?;
    let answer = again.await??;
    assert_eq!(answer.refusal(), (403, "APPROVAL_DENIED".to_owned()));
    let words = format!("bob denied agents/{}", request.name());
    assert!(
        answer.message().contains(&words) && answer.message().contains("\"once is enough\""),
        "{}",
        answer.message()
    );
    assert_eq!(deployments(&standin), 3);
    Ok(())
}

/// Nothing is pending or approved any more.
async fn gate_is_settled(gate: &Standalone) -> Result<()> {
    eventually(PATIENCE, || async {
        let open = gate
            .approvals()?
            .iter()
            .filter(|a| a.phase() != "Consumed")
            .count();
        ensure!(open == 0, "{open} requests are open");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_copies_of_a_call_share_a_request_and_one_of_them_passes() -> Result<()> {
    let standin = standin().await?;
    let gate = Standalone::start(&standin, POLICY).await?;
    let agent = gate.agent("agents/coder")?;
    let copies = async { tokio::join!(deploy(&agent, "twin"), deploy(&agent, "twin")) };
    let approve = async {
        eventually(PATIENCE, || async {
            ensure!(held(&gate).await? == 2, "two calls are not held");
            Ok(())
        })
        .await?;
        gate.approval("Pending").await?.review("alice", "Approve", "fine")
    };
    let ((one, other), approved) = tokio::join!(copies, approve);
    approved?;
    let mut ends: Vec<_> = [one?, other?].iter().map(Answer::refusal).collect();
    ends.sort();
    let passed = (200, "not Turnpike's".to_owned());
    assert_eq!(ends, [passed, (403, "APPROVAL_SPENT".to_owned())]);
    assert_eq!(deployments(&standin), 1);
    assert_eq!(gate.approvals()?.len(), 1);
    Ok(())
}

/// Calls that are held now.
async fn held(gate: &Standalone) -> Result<u64> {
    let metrics = gate.metrics().await?;
    let line = metrics.lines().find(|l| l.starts_with("turnpike_held_calls "));
    let value = line.and_then(|l| l.split(' ').nth(1)).context(metrics.clone())?;
    Ok(value.parse()?)
}

#[tokio::test]
async fn a_hold_that_ends_is_attached_to_by_the_same_call() -> Result<()> {
    let standin = standin().await?;
    let short = POLICY.replace("holdFor: 20s", "holdFor: 300ms");
    let gate = Standalone::start(&standin, &short).await?;
    let agent = gate.agent("agents/coder")?;

    let answer = deploy(&agent, "later").await?;
    assert_eq!(answer.refusal(), (403, "APPROVAL_PENDING".to_owned()));
    let request = gate.approval("Pending").await?;
    let command = format!(
        "kubectl-turnpike --config {} approve {}",
        gate.path().display(),
        request.name()
    );
    assert_eq!(
        answer.message(),
        format!(
            "Turnpike holds this call for approval: agents/{}, rule \"deploy\" of policy agents/coder. Ask an \
             approver to run: {command}. Then make the same call again.",
            request.name()
        )
    );
    let metadata = &answer.json()["error"]["details"][0]["metadata"];
    assert_eq!(metadata["approvalRequest"], format!("agents/{}", request.name()));
    assert_eq!(metadata["approve"], command);

    // A client that went away leaves the request open as well.
    let gone = tokio::time::timeout(Duration::from_millis(100), deploy(&agent, "later")).await;
    assert!(gone.is_err());
    request.review("alice", "Approve", "fine")?;
    gate.approval("Approved").await?;
    // Another body is another call.
    let other = deploy(&agent, "other").await?;
    assert_eq!(other.refusal(), (403, "APPROVAL_PENDING".to_owned()));
    assert_eq!(deployments(&standin), 0);
    let answer = deploy(&agent, "later").await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(deployments(&standin), 1);
    Ok(())
}

#[tokio::test]
async fn a_request_nobody_decides_expires() -> Result<()> {
    let standin = standin().await?;
    let short = POLICY.replace("expiresAfter: 1h", "expiresAfter: 1s");
    let gate = Standalone::start(&standin, &short).await?;
    let answer = deploy(&gate.agent("agents/coder")?, "slow").await?;
    assert_eq!(answer.refusal(), (403, "APPROVAL_EXPIRED".to_owned()));
    gate.approval("Expired").await?;
    assert_eq!(deployments(&standin), 0);
    Ok(())
}

#[tokio::test]
async fn a_policy_that_changes_while_a_call_is_held_decides_again() -> Result<()> {
    let standin = standin().await?;
    let rewritten = POLICY.replace("holdFor: 20s", "holdFor: 21s");
    let denied = POLICY.replace("effect: RequireApproval", "effect: Deny");
    let denied = denied.replace("      approval: {holdFor: 20s, expiresAfter: 1h}\n", "");
    for (policy, reason) in [(rewritten, "APPROVAL_SUPERSEDED"), (denied, "RULE_DENIED")] {
        let gate = Standalone::start(&standin, POLICY).await?;
        let agent = gate.agent("agents/coder")?;
        let change = async {
            let request = gate.approval("Pending").await?;
            let before = policies_taken(&gate)?;
            gate.write_policy("test", &policy)?;
            eventually(PATIENCE, || async {
                ensure!(policies_taken(&gate)? > before, "the policy does not count yet");
                Ok(())
            })
            .await?;
            request.review("alice", "Approve", "fine")
        };
        let (answer, changed) = tokio::join!(deploy(&agent, "held"), change);
        changed?;
        assert_eq!(answer?.refusal(), (403, reason.to_owned()));
    }
    assert_eq!(deployments(&standin), 0);
    Ok(())
}

/// How often policies were taken into force.
fn policies_taken(gate: &Standalone) -> Result<usize> {
    Ok(gate.log()?.matches("policies are in force").count())
}

#[tokio::test]
async fn a_body_over_the_cap_is_not_held() -> Result<()> {
    let standin = standin().await?;
    let folder = Folder::new(&standin)?;
    folder.write_policy("test", POLICY)?;
    folder.configure(&json!({"limits": {"heldBodyMib": 1}}))?;
    let gate = folder.start().await?;
    let body = json!({"description": "x".repeat(1 << 20)}).to_string();
    let answer = gate
        .agent("agents/coder")?
        .call("POST", &format!("{FUNCTIONS}?functionId=big"), &body)
        .await?;
    assert_eq!(answer.refusal(), (403, "BODY_TOO_LARGE_TO_HOLD".to_owned()));
    assert_eq!((gate.approvals()?.len(), standin.requests().len()), (0, 0));
    Ok(())
}

#[tokio::test]
async fn held_calls_have_limits_and_say_so() -> Result<()> {
    let standin = standin().await?;
    let folder = Folder::new(&standin)?;
    folder.write_policy("test", &POLICY.replace("holdFor: 20s", "holdFor: 1s"))?;
    folder.configure(&json!({"limits": {"openRequestsPerAgent": 2, "heldBodyMib": 1, "heldTotalMib": 1}}))?;
    let gate = folder.start().await?;
    let agent = gate.agent("agents/coder")?;
    let pending = (403, "APPROVAL_PENDING".to_owned());
    let big = json!({"description": "x".repeat(900 << 10)}).to_string();
    let path = format!("{FUNCTIONS}?functionId=one");
    // Two copies of one call have one request, and one of them finds no room for its body.
    let copy = async {
        eventually(PATIENCE, || async {
            ensure!(held(&gate).await? == 1, "the first is not held");
            Ok(())
        })
        .await?;
        agent.call("POST", &path, &big).await
    };
    let (one, other) = tokio::join!(agent.call("POST", &path, &big), copy);
    assert_eq!(one?.refusal(), pending);
    assert_eq!(other?.refusal(), (429, "HELD_BODIES_EXHAUSTED".to_owned()));
    // What was held is given back with its connection.
    assert_eq!(agent.call("POST", &path, &big).await?.refusal(), pending);

    assert_eq!(deploy(&agent, "two").await?.refusal(), pending);
    let third = deploy(&agent, "three").await?.refusal();
    assert_eq!(third, (429, "TOO_MANY_HELD_CALLS".to_owned()));
    gate.approvals()?[0].review("alice", "Deny", "no")?;
    eventually(PATIENCE, || async {
        let now = deploy(&agent, "three").await?.refusal();
        ensure!(now == (403, "APPROVAL_PENDING".to_owned()), "{now:?}");
        Ok(())
    })
    .await?;
    assert_eq!(deployments(&standin), 0);
    Ok(())
}

#[tokio::test]
async fn sigterm_lets_a_call_end_and_takes_no_other() -> Result<()> {
    let standin = standin().await?;
    let mut gate = Standalone::start(&standin, POLICY).await?;
    let agent = gate.agent("agents/coder")?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        // Both kinds of connection that have nothing to do any more.
        let mut idle = agent.open(STORAGE, protocol).await?;
        assert_eq!(idle.call("GET", BUCKET, "").await?.status, 200);
        tokio::spawn(async move {
            // Kept until the proxy closes it.
            while idle.call("GET", BUCKET, "").await.is_ok() {
                tokio::time::sleep(PATIENCE).await;
            }
        });
    }
    let mut silent = agent.tcp().await?;
    standin.inject(Fault {
        path_prefix: Some(format!("{BUCKET}/o/slow")),
        delay_ms: Some(2500),
        status: Some(200),
        body: Some(json!({"name": "slow"})),
        ..Fault::default()
    });
    let slow = tokio::spawn({
        let agent = agent.clone();
        async move { agent.get(&format!("{STORAGE}{BUCKET}/o/slow")).await }
    });
    eventually(PATIENCE, || async {
        let there = standin.requests().iter().any(|r| r.path.ends_with("/o/slow"));
        ensure!(there, "the slow call is not under way");
        Ok(())
    })
    .await?;

    let held = tokio::spawn({
        let agent = agent.clone();
        async move { deploy(&agent, "held").await }
    });
    gate.approval("Pending").await?;

    gate.process().signal(libc::SIGTERM)?;
    eventually(PATIENCE, || async {
        ensure!(agent.tcp().await.is_err(), "it still takes connections");
        Ok(())
    })
    .await?;
    assert!(!slow.is_finished());
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    // A call that is held is not kept for a person who may never come; it can be made again elsewhere.
    let answer = held.await??;
    assert_eq!(answer.refusal(), (403, "APPROVAL_PENDING".to_owned()));
    let answer = slow.await??;
    assert_eq!((answer.status, answer.json()), (200, json!({"name": "slow"})));
    let answered = Instant::now();
    let status = gate.ended(PATIENCE).await?;
    println!("ended {:?} after the last answer", answered.elapsed());
    assert_eq!(status.code(), Some(0), "{}", gate.log()?);
    assert!(answered.elapsed() < Duration::from_secs(3), "{}", gate.log()?);
    let trail: Vec<String> = gate
        .events()?
        .iter()
        .map(turnpike_tests::turnpike::standalone::summary)
        .collect();
    let outcome = "outcome allow RULE_ALLOWED storage.objects.get 200";
    assert_eq!(trail.last().map(String::as_str), Some(outcome), "{trail:#?}");
    Ok(())
}
