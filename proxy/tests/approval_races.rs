//! An approval is spent once. Three gates, as three replicas have them, race for the same approvals on a real API
//! server, with the rights and under the admission policy of the chart.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{TryStreamExt as _, future::try_join_all, stream};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use turnpike_crds::{
    AgentIdentity, ApprovalRequest, ApprovalRequestSpec, CallSummary, Phase, PolicyReference,
};
use turnpike_proxy::gate::{
    Gate, Held, StoreError, Waited,
    cluster::{KubeStore, watch},
    hub::Hub,
};
use turnpike_tests::{
    control_plane::ControlPlane,
    turnpike::{
        cluster::{account, render},
        guard,
    },
};
use uuid::Uuid;

/// Approvals that are raced for; `APPROVAL_RACES` says another number.
const RACES: usize = 200;
/// Replicas that race for each.
const REPLICAS: usize = 3;
/// Races that are under way at a time.
const AT_ONCE: usize = 8;
/// Far more than a race takes, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// A call that needs an approval; every number is another call.
fn held(namespace: &str, number: usize) -> Result<Held> {
    let hash = Sha256::digest(number.to_be_bytes());
    let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    let spec = ApprovalRequestSpec {
        agent: AgentIdentity {
            name: "agents/coder".to_owned(),
            ..AgentIdentity::default()
        },
        call: CallSummary {
            method: "run.namespaces.services.create".to_owned(),
            verb: "POST".to_owned(),
            url: "https://run.googleapis.com/v1/namespaces/acme/services".to_owned(),
            ..CallSummary::default()
        },
        policies: vec![PolicyReference {
            namespace: namespace.to_owned(),
            name: "coder".to_owned(),
            uid: "u".to_owned(),
            generation: 1,
            rule: "deploy".to_owned(),
        }],
        requires: Vec::new(),
        risk: None,
        findings: Vec::new(),
        digest: format!("sha256:{hex}"),
        expires_at: Time(Timestamp::UNIX_EPOCH),
    };
    Ok(Held {
        namespace: namespace.to_owned(),
        prefix: "coder".to_owned(),
        digest: spec.digest.parse()?,
        spec,
        hold_for: PATIENCE,
        expires_after: Duration::from_secs(3600),
    })
}

/// Approves a request, as the operator settles it.
async fn approve(api: &Api<ApprovalRequest>, mut request: ApprovalRequest) -> Result<()> {
    let name = request.name_any();
    request.status = Some(serde_json::from_value(
        json!({"phase": "Approved", "approvals": "1/1"}),
    )?);
    api.replace_status(&name, &PostParams::default(), &request)
        .await?;
    Ok(())
}

/// One replica's way to the approval of a call: whether it won it. The approval is given only once all have the
/// request, so that they race for it.
async fn replica(gate: &Gate, held: &Held, have: &AtomicUsize, api: &Api<ApprovalRequest>) -> Result<bool> {
    let request = gate.open(held).await?;
    let name = request.name_any();
    if have.fetch_add(1, Ordering::SeqCst) + 1 == REPLICAS {
        approve(api, request.clone()).await?;
    }
    let approved = match gate.wait(request, held.hold_for).await {
        Waited::Approved(approved) => approved,
        // Another one was so fast that this one saw nothing but the end.
        Waited::Spent(_) => return Ok(false),
        // The operator, who would say Consumed, is not there.
        other => bail!("{name}: {other:?}"),
    };
    match gate.spend(*approved, Uuid::now_v7()).await {
        Ok(_) => Ok(true),
        Err(StoreError::Changed) => Ok(false),
        Err(error) => bail!("{name}: {error}"),
    }
}

async fn race(gates: &[Arc<Gate>], api: &Api<ApprovalRequest>, namespace: &str, number: usize) -> Result<()> {
    let held = held(namespace, number)?;
    let have = AtomicUsize::new(0);
    let all = gates.iter().map(|gate| replica(gate, &held, &have, api));
    let won = tokio::time::timeout(PATIENCE, try_join_all(all)).await??;
    let winners = won.into_iter().filter(|won| *won).count();
    ensure!(winners == 1, "{winners} spent the approval of race {number}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_replicas_one_spends_an_approval() -> Result<()> {
    let races = match std::env::var("APPROVAL_RACES") {
        Ok(number) => number.parse().context("APPROVAL_RACES is no number")?,
        Err(_) => RACES,
    };
    let plane = ControlPlane::start().await?;
    plane.apply_crds().await?;
    let own = plane.namespace("turnpike-system").await?;
    for file in ["operator-rbac.yaml", "proxy-rbac.yaml"] {
        let apply = ["apply", "--server-side", "-f", "-"];
        let output = plane.admin().kubectl(&apply, Some(&render(file, &own)?)).await?;
        output.success()?;
    }
    guard::install(&plane, &own).await?;
    let agents = plane.namespace("agents").await?;
    let proxies = account(&plane, &own, "turnpike-proxy").await?;
    let mut gates = Vec::new();
    for number in 0..REPLICAS {
        let client: Client = proxies.client().await?;
        let hub = Arc::new(Hub::default());
        tokio::spawn(watch(client.clone(), hub.clone()));
        gates.push(Arc::new(Gate::new(
            Arc::new(KubeStore::new(client)),
            hub,
            format!("turnpike-proxy-{number}"),
            races * REPLICAS,
            CancellationToken::new(),
        )));
    }
    let operator = account(&plane, &own, "turnpike-operator").await?.client().await?;
    let api: Api<ApprovalRequest> = Api::namespaced(operator, &agents);
    stream::iter((0..races).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |number| race(&gates, &api, &agents, number))
        .await?;

    // What the API server kept says the same: each call has one request, and each was spent by one replica.
    let all: Api<ApprovalRequest> = Api::namespaced(plane.client().await?, &agents);
    let kept = all.list(&ListParams::default()).await?.items;
    let mut by = vec![0; REPLICAS];
    for request in &kept {
        let status = request.status.clone().context("no status")?;
        ensure!(status.phase == Some(Phase::Approved), "{status:?}");
        let spent = status.consumption.context("not spent")?;
        let number: usize = spent.by.trim_start_matches("turnpike-proxy-").parse()?;
        *by.get_mut(number).context("no such replica")? += 1;
    }
    assert_eq!((kept.len(), by.iter().sum::<usize>()), (races, races));
    println!("spent by each replica: {by:?}");
    println!("approvals: {races} races, 0 double spends");
    Ok(())
}
