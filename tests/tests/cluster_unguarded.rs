//! The admission policy on approval requests goes away and comes back: nothing is approved in between, neither by
//! those who may nor by those who make the most of it.

use anyhow::{Context as _, Result, ensure};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use turnpike_compiler::unproved::{APPROVAL_GUARD_READY, FORGERY_ACCEPTED};
use turnpike_crds::{ApprovalRequest, Phase};
use turnpike_tests::process::eventually;
use turnpike_tests::turnpike::cluster::{Cluster, SOON, policy};
use turnpike_tests::turnpike::guard;
use turnpike_tests::turnpike::replica::{ProxyOptions, lasting_standin};

const SERVICES: &str =
    "https://run.googleapis.com/v2/projects/acme-dev/locations/us-central1/services?serviceId=";

#[tokio::test]
async fn without_the_guard_no_call_is_released() -> Result<()> {
    let cluster = Cluster::start().await?;
    let standin = lasting_standin().await?;
    let proxy = cluster
        .proxy("turnpike-proxy-0", &ProxyOptions::new(&standin))
        .await?;
    let agents = cluster.agents().await?;
    let rules = json!([{
        "name": "deploy", "effect": "RequireApproval", "methods": ["run.**.create"], "approval": {"holdFor": "2m"},
    }]);
    cluster.program(&agents, &policy("coder", &rules)).await?;
    let token = cluster.token(&agents, "coder").await?;
    let posts = || {
        let requests = standin.requests();
        let posts = requests.into_iter().filter(|r| r.method == "POST");
        posts.map(|r| r.path).collect::<Vec<_>>()
    };
    let call = |service: &'static str| {
        let agent = proxy.agent(&token);
        tokio::spawn(async move { agent?.post(&format!("{SERVICES}{service}"), &json!({})).await })
    };
    let verdict = async |call: tokio::task::JoinHandle<Result<_>>| {
        let answer: turnpike_tests::turnpike::client::Answer =
            tokio::time::timeout(SOON, call).await.context("no answer")???;
        anyhow::Ok(answer.verdict())
    };

    // Somebody who may edit any status writes what the operator would, and the proxy spends nothing of it.
    let forged = call("forged");
    let name = cluster.wait_pending(&agents).await?;
    guard::remove(&cluster.plane).await?;
    let mallory = cluster.plane.user("mallory", &["system:masters"])?;
    let mallory: Api<ApprovalRequest> = Api::namespaced(mallory.client().await?, &agents);
    let approved = Patch::Merge(json!({"status": {"phase": "Approved"}}));
    mallory
        .patch_status(&name, &PatchParams::default(), &approved)
        .await?;
    assert_eq!(verdict(forged).await?, "403 APPROVAL_UNPROVED");
    assert_eq!(verdict(call("forged")).await?, "403 APPROVAL_UNPROVED");

    // The operator has noticed, too.
    eventually(SOON, || async {
        let request = mallory.get(&name).await?;
        let conditions = request.status.map(|status| status.conditions).unwrap_or_default();
        let found = conditions.iter().find(|c| c.type_ == APPROVAL_GUARD_READY);
        let found = found.map(|c| (c.status.as_str(), c.reason.as_str()));
        ensure!(found == Some(("False", FORGERY_ACCEPTED)), "{found:?}");
        Ok(())
    })
    .await?;

    // Nor is a call released that an approver approves meanwhile.
    let honest = call("honest");
    let name = cluster.wait_pending(&agents).await?;
    cluster.decide(&agents, &name, "Approve", "looks fine").await?;

    // With the guard back, both have ended, and what is approved from now on counts.
    guard::install(&cluster.plane, &cluster.own).await?;
    assert_eq!(verdict(honest).await?, "403 APPROVAL_EXPIRED");
    cluster.wait_requests(&agents, Phase::Expired, 2).await?;
    assert_eq!(posts(), Vec::<String>::new());
    let proved = call("proved");
    let request = cluster.wait_requests(&agents, Phase::Pending, 1).await?;
    let request = request.first().context("one request")?.name_any();
    cluster.decide(&agents, &request, "Approve", "looks fine").await?;
    assert_eq!(verdict(proved).await?, "200");
    assert_eq!(
        posts(),
        ["/v2/projects/acme-dev/locations/us-central1/services?serviceId=proved"]
    );
    Ok(())
}
