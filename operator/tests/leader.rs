//! Leader election: one works, others stand by, and take over whether the leader dies, is stopped or is cut
//! off.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use common::{Bench, Operator, SOON, policy, spec};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use turnpike_tests::process::eventually;

const FAST: &[&str] = &[
    "--lease-duration=3s",
    "--renew-deadline=2s",
    "--retry-period=200ms",
];
/// SIGTERM, as the kubelet sends it.
const TERMINATE: i32 = 15;

async fn holder(bench: &Bench) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(bench.client.clone(), &bench.own);
    let spec = leases.get("turnpike-operator").await?.spec.context("no spec")?;
    spec.holder_identity.context("nobody")
}

async fn wait_leader(bench: &Bench, operator: &Operator) -> Result<()> {
    eventually(SOON, || async {
        let (holder, leads) = (
            holder(bench).await?,
            operator.metric("turnpike_operator_leader").await?,
        );
        if holder == operator.name && leads == 1.0 {
            Ok(())
        } else {
            bail!("{holder} holds the lease")
        }
    })
    .await
}

#[tokio::test]
async fn the_next_takes_over_from_a_leader_that_dies_and_from_one_that_goes() -> Result<()> {
    let bench = Bench::start().await?;
    let agents = bench.control.namespace("agents").await?;
    let mut first = bench.operator("operator-0", FAST).await?;
    wait_leader(&bench, &first).await?;
    let mut second = bench.operator("operator-1", FAST).await?;
    assert_eq!(
        second.metric("turnpike_operator_leader").await?,
        0.0,
        "ready, and standing by"
    );

    // Killed: its Lease runs out first.
    first.process.kill()?;
    let killed = Instant::now();
    bench
        .apply(&policy(&agents, "coder", &spec("storage.**")))
        .await?;
    wait_leader(&bench, &second).await?;
    let took = killed.elapsed();
    println!("taken over {took:?} after kill -9, lease duration 3 s");
    assert!(
        took > Duration::from_secs(2),
        "taken while the dead leader might have lived: {took:?}"
    );
    bench.wait_bundle(&agents, &["coder@1"]).await?;

    // Stopped: it gives its Lease back, and ends well.
    let third = bench.operator("operator-2", FAST).await?;
    second.process.signal(TERMINATE)?;
    let stopped = Instant::now();
    let status = second.process.wait(SOON)?;
    assert!(status.success(), "{status}");
    wait_leader(&bench, &third).await?;
    println!("taken over {:?} after SIGTERM", stopped.elapsed());
    bench.apply(&policy(&agents, "coder", &spec("run.**"))).await?;
    bench.wait_bundle(&agents, &["coder@2"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_and_fails() -> Result<()> {
    let bench = Bench::start().await?;
    let mut operator = bench.operator("operator-0", FAST).await?;
    wait_leader(&bench, &operator).await?;
    bench.control.stop_apiserver()?;
    let status = operator.process.wait(SOON)?;
    assert_eq!(status.code(), Some(1), "{status}");
    let log = operator.process.output()?;
    assert!(log.contains("leadership lost"), "{log}");

    // Started while the API server is away, it waits and then works.
    let next = bench.spawn_operator("operator-1", FAST)?;
    eventually(SOON, || async { next.get("/healthz").await.map(drop) }).await?;
    assert!(next.get("/readyz").await.is_err(), "ready without caches");
    bench.control.start_apiserver().await?;
    wait_leader(&bench, &next).await
}

#[tokio::test]
async fn a_leader_whose_lease_was_taken_stops_and_fails() -> Result<()> {
    let bench = Bench::start().await?;
    let mut operator = bench.operator("operator-0", FAST).await?;
    wait_leader(&bench, &operator).await?;
    let taken = r#"{"spec":{"holderIdentity":"somebody-else"}}"#;
    bench
        .kubectl(
            &[
                "patch",
                "lease",
                "-n",
                &bench.own,
                "turnpike-operator",
                "--type=merge",
                "-p",
                taken,
            ],
            None,
        )
        .await?;
    let status = operator.process.wait(SOON)?;
    assert_eq!(status.code(), Some(1), "{status}");
    assert_eq!(holder(&bench).await?, "somebody-else");
    Ok(())
}
