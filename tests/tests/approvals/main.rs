//! Who may approve, against a real API server, with real users: attacks that must not get through, what has
//! to be possible, and the proof that it is the chart's admission policy that makes the difference.

mod attack;
mod bench;
mod table;

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use futures::{StreamExt as _, stream};
use http::Method;
use serde_json::{Value, json};
use turnpike_tests::turnpike::guard;

use bench::{
    ADMIN, AGENTS, ALICE, Bench, CAROL, DAVE, GRACE, OPERATOR, PROXY, State, consumption, digest, request,
    review, with_status,
};

/// Attacks at a time; each starts a kubectl.
const AT_ONCE: usize = 4;

/// Makes every attack, and tells all that went wrong at once. How many were made.
async fn attack(bench: &Bench, guarded: bool) -> Result<usize> {
    let attacks = table::attacks();
    let names: BTreeSet<&str> = attacks.iter().map(|attack| attack.name).collect();
    ensure!(names.len() == attacks.len(), "two attacks have one name");
    let wrong: Vec<String> = stream::iter(&attacks)
        .map(async |attack| {
            let outcome = attack.run(bench, guarded).await;
            outcome.err().map(|error| format!("{}: {error:#}", attack.name))
        })
        .buffered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    ensure!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        attacks.len(),
        wrong.join("\n")
    );
    Ok(attacks.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attack_gets_through_and_those_who_may_are_let() -> Result<()> {
    let bench = Bench::start().await?;
    let attacks = attack(&bench, true).await?;
    those_who_may_are_let(&bench).await?;
    what_was_decided_is_in_the_audit_log_of_the_api_server(&bench).await?;
    guard::remove(&bench.plane).await?;
    // The table can fail: without the guard, all that it stops gets through.
    attack(&bench, false).await?;
    println!("approvals: {attacks} attacks, 0 got through");
    Ok(())
}

async fn those_who_may_are_let(bench: &Bench) -> Result<()> {
    let status = async |name: &str| anyhow::Ok(bench.get(name).await?["status"].take());
    let coder = "agents/coder";

    // Two approvers, one after the other and in two ways; the operator settles, the proxy spends.
    bench.prepare("approved", coder, State::Pending).await?;
    let full =
        json!({"decision": "Approve", "digest": digest(), "reason": "release 1.4", "groups": ["people"]});
    let patch = json!({"status": {"reviews": {ALICE: full}}});
    bench.patch_status(ALICE, "approved", &patch).await?;
    let object = with_status(
        bench.get("approved").await?,
        "reviews",
        json!({ALICE: full, DAVE: {"decision": "Approve"}}),
    );
    bench.put_status(DAVE, "approved", &object).await?;
    bench.settle("approved", "Approved").await?;
    let spent = with_status(
        bench.get("approved").await?,
        "consumption",
        consumption("proxy-0"),
    );
    bench.put_status(PROXY, "approved", &spent).await?;
    bench.settle("approved", "Consumed").await?;
    let wanted = json!({
        "phase": "Consumed",
        "reviews": {ALICE: full, DAVE: {"decision": "Approve"}},
        "consumption": consumption("proxy-0"),
    });
    assert_eq!(status("approved").await?, wanted);

    // A denial; and whoever may impersonate an approver decides as that approver.
    bench.prepare("denied", coder, State::Reviewed).await?;
    let deny = review(ALICE, "Deny").to_string();
    let args = [
        "patch",
        "apr",
        "denied",
        "--subresource=status",
        "--type=merge",
        "-p",
        &deny,
        "--as",
        ALICE,
    ];
    bench.kubectl(ADMIN, &args, None).await?.success()?;
    let both = json!({ALICE: {"decision": "Deny"}, DAVE: {"decision": "Approve"}});
    assert_eq!(status("denied").await?["reviews"], both);

    // Of an approved request that is not used in time, of one whose proxy wrote a status into it: nothing.
    bench.prepare("unused", coder, State::Approved).await?;
    bench.settle("unused", "Expired").await?;
    let born = json!({"phase": "Approved", "reviews": {ALICE: full}});
    let mut object = request("born-approved", coder);
    object["status"] = born;
    bench.send(PROXY, &Method::POST, "", &object).await?;
    assert_eq!(status("born-approved").await?, Value::Null);

    // Those who may delete: people with the verb, the operator, and what ends a namespace.
    for (name, who) in [("by-owner", CAROL), ("by-operator", OPERATOR)] {
        bench.prepare(name, coder, State::Denied).await?;
        bench
            .send(who, &Method::DELETE, &format!("/{name}"), &Value::Null)
            .await?;
    }
    bench.prepare("by-namespace", coder, State::Pending).await?;
    let collector = "system:serviceaccount:kube-system:namespace-controller";
    let args = [
        "delete",
        "apr",
        "by-namespace",
        "--as",
        collector,
        "--as-group",
        "system:masters",
    ];
    bench.kubectl(ADMIN, &args, None).await?.success()?;

    // As many policies as may ask, with as many rules as fit, are within what the API server lets a policy cost.
    for (name, policies, stop) in [
        ("eight-policies", 8, None),
        (
            "nine-policies",
            9,
            Some("more than 8 policies want an approval of this call"),
        ),
    ] {
        let mut object = request(name, coder);
        let rule = |i: usize| {
            let policy = format!("policy-{}", i % policies);
            json!({"namespace": AGENTS, "name": policy, "uid": "1", "generation": 1, "rule": format!("rule-{i}")})
        };
        object["spec"]["policies"] = (0..256).map(rule).collect();
        bench.send(PROXY, &Method::POST, "", &object).await?;
        let patch = review(GRACE, "Approve");
        let said = bench
            .patch_status(GRACE, name, &patch)
            .await
            .err()
            .map(|error| format!("{error:#}"));
        match (stop, &said) {
            (None, None) => {}
            (Some(words), Some(said)) if said.contains(words) => {}
            _ => bail!("{name}: {said:?}, not {stop:?}"),
        }
    }
    Ok(())
}

async fn what_was_decided_is_in_the_audit_log_of_the_api_server(bench: &Bench) -> Result<()> {
    let annotation = |name: &str| format!("turnpike-approvals/{name}");
    let mut found = Vec::new();
    for event in bench.plane.audit_events()? {
        let marks = &event["annotations"];
        if event["objectRef"]["name"] == "approved" && marks[annotation("reviewer")].is_string() {
            let mark = |name: &str| marks[annotation(name)].clone();
            found.push(json!([
                event["user"]["username"],
                mark("reviewer"),
                mark("decision"),
                mark("digest")
            ]));
        }
    }
    let line = |who: &str| json!([who, who, "Approve", digest()]);
    assert_eq!(found, [line(ALICE), line(DAVE)]);
    Ok(())
}
