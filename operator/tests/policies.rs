//! AgentPolicies against a real API server: bundles, conditions, Events.

mod common;

use anyhow::{Context as _, Result, bail};
use common::{Bench, OFFERED_SECRET, SOON, policy, spec};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use turnpike_crds::{AgentPolicy, marks};
use turnpike_policy::definition::{AgentMatch, Effect};
use turnpike_tests::process::eventually;

const ACCEPTED: &str = "Accepted=True Accepted";
const RESOLVED: &str = "ResolvedRefs=True ResolvedRefs";
const PROGRAMMED: &str = "Programmed=True Programmed";
const PENDING: &str = "Programmed=False Pending";

#[tokio::test]
async fn a_policy_is_programmed_when_every_live_replica_runs_it() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = bench.operator("operator-0", &[]).await?;
    let agents = bench.control.namespace("agents").await?;
    bench
        .apply(&policy(&agents, "coder", &spec("storage.**")))
        .await?;
    bench
        .wait_conditions(
            &agents,
            "coder",
            [ACCEPTED, RESOLVED, "Programmed=False NoReplicas"],
        )
        .await?;

    let digest = bench.bundle(&agents).await?.digest();
    let current = json!({agents.as_str(): digest});
    bench
        .replica("proxy-a", 3600, &json!({agents.as_str(): "sha256:old"}))
        .await?;
    bench
        .wait_conditions(&agents, "coder", [ACCEPTED, RESOLVED, PENDING])
        .await?;
    assert_eq!(
        bench.message(&agents, "coder", "Programmed").await?,
        "0 of 1 live proxy replicas run it"
    );
    bench.replica("proxy-a", 3600, &current).await?;
    bench
        .wait_conditions(&agents, "coder", [ACCEPTED, RESOLVED, PROGRAMMED])
        .await?;

    // A second replica that runs nothing yet counts for as long as its Lease says, and time ends that.
    bench.replica("proxy-b", 5, &json!({})).await?;
    bench
        .wait_conditions(&agents, "coder", [ACCEPTED, RESOLVED, PENDING])
        .await?;
    assert_eq!(
        bench.message(&agents, "coder", "Programmed").await?,
        "1 of 2 live proxy replicas run it"
    );
    bench
        .wait_conditions(&agents, "coder", [ACCEPTED, RESOLVED, PROGRAMMED])
        .await?;
    let status = Api::<AgentPolicy>::namespaced(bench.client.clone(), &agents)
        .get("coder")
        .await?
        .status;
    assert_eq!(status.and_then(|s| s.bundle_digest), Some(digest));

    bench.apply(&policy(&agents, "coder", &spec("run.**"))).await?;
    bench.wait_bundle(&agents, &["coder@2"]).await?;
    bench
        .wait_conditions(&agents, "coder", [ACCEPTED, RESOLVED, PENDING])
        .await?;
    bench
        .replica(
            "proxy-a",
            3600,
            &json!({agents.as_str(): bench.bundle(&agents).await?.digest()}),
        )
        .await?;
    bench
        .wait_conditions(&agents, "coder", [ACCEPTED, RESOLVED, PROGRAMMED])
        .await?;
    bench
        .wait_events(
            &agents,
            "coder",
            &["Normal Accepted", "Normal Programmed", "Normal Programmed"],
        )
        .await?;

    assert_eq!(operator.metric("turnpike_operator_leader").await?, 1.0);
    assert_eq!(
        operator
            .metric(r#"turnpike_operator_policies{accepted="true"}"#)
            .await?,
        1.0
    );
    assert_eq!(operator.metric("turnpike_operator_proxy_replicas").await?, 1.0);
    assert_eq!(
        operator
            .metric(r#"turnpike_operator_reconciles_total{kind="policies",result="error"}"#)
            .await?,
        0.0
    );
    Ok(())
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = bench.operator("operator-0", &[]).await?;
    let (agents, other) = (
        bench.control.namespace("agents").await?,
        bench.control.namespace("other").await?,
    );
    bench
        .apply(&policy(&agents, "coder", &spec("storage.**")))
        .await?;
    let digest = bench.wait_bundle(&agents, &["coder@1"]).await?.digest();
    bench
        .replica("proxy-a", 3600, &json!({agents.as_str(): digest}))
        .await?;
    bench
        .wait_conditions(&agents, "coder", [ACCEPTED, RESOLVED, PROGRAMMED])
        .await?;

    let policies: Api<AgentPolicy> = Api::namespaced(bench.client.clone(), &agents);
    let version = policies.get("coder").await?.resource_version();
    let reconciles = r#"turnpike_operator_reconciles_total{kind="policies",result="success"}"#;
    let before = operator.metric(reconciles).await?;
    for _ in 0..20 {
        bench
            .replica("proxy-a", 3600, &json!({agents.as_str(): digest}))
            .await?;
    }
    // What comes after the renewals has been seen, so they have been seen.
    bench
        .replica(
            "proxy-a",
            3600,
            &json!({agents.as_str(): digest, other.as_str(): "sha256:x"}),
        )
        .await?;
    bench.apply(&policy(&other, "coder", &spec("storage.**"))).await?;
    bench
        .wait_conditions(&other, "coder", [ACCEPTED, RESOLVED, PENDING])
        .await?;
    let extra = operator.metric(reconciles).await? - before;
    assert!(
        extra <= 6.0,
        "{extra} reconciles for one changed digest and one new policy"
    );
    assert_eq!(policies.get("coder").await?.resource_version(), version);
    Ok(())
}

#[tokio::test]
async fn a_policy_that_does_not_compile_keeps_the_last_good_bundle() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = bench.operator("operator-0", &[]).await?;
    let agents = bench.control.namespace("agents").await?;
    let invalid = ["Accepted=False Invalid", RESOLVED, "Programmed=False NotAccepted"];
    bench
        .apply(&policy(&agents, "coder", &spec("storage.**")))
        .await?;
    let good = bench.wait_bundle(&agents, &["coder@1"]).await?;
    bench
        .apply(&policy(&agents, "coder", &spec("storage..get")))
        .await?;
    bench.wait_conditions(&agents, "coder", invalid).await?;
    assert_eq!(bench.bundle(&agents).await?, good);
    let message = bench.message(&agents, "coder", "Accepted").await?;
    assert!(message.starts_with("spec.rules[0].methods[0]: "), "{message}");
    assert!(message.ends_with("; generation 1 stays in force"), "{message}");

    // A sibling comes and goes, and another operator takes over: what was good is still kept.
    bench
        .wait_events(&agents, "coder", &["Normal Accepted", "Warning Invalid"])
        .await?;
    drop(operator);
    let _operator = bench.operator("operator-1", &[]).await?;
    bench.apply(&policy(&agents, "sibling", &spec("run.**"))).await?;
    let both = bench.wait_bundle(&agents, &["coder@1", "sibling@1"]).await?;
    assert_eq!(both.policies[0], good.policies[0]);
    bench
        .apply(&policy(&agents, "never-good", &spec("storage..get")))
        .await?;
    bench.wait_conditions(&agents, "never-good", invalid).await?;
    assert_eq!(bench.bundle(&agents).await?, both);

    bench
        .apply(&policy(&agents, "coder", &spec("storage.*.get")))
        .await?;
    bench.wait_bundle(&agents, &["coder@3", "sibling@1"]).await?;
    bench
        .wait_events(
            &agents,
            "coder",
            &["Normal Accepted", "Warning Invalid", "Normal Accepted"],
        )
        .await?;
    bench
        .kubectl(&["delete", "agp", "-n", &agents, "sibling", "never-good"], None)
        .await?;
    bench.wait_bundle(&agents, &["coder@3"]).await?;
    bench
        .kubectl(&["delete", "agp", "-n", &agents, "coder"], None)
        .await?;
    bench.wait_no_bundle(&agents).await
}

#[tokio::test]
async fn credentials_need_the_permission_of_a_cluster_administrator() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.operator("operator-0", &[]).await?;
    let agents = bench.control.namespace("agents").await?;
    let refused = |reason: &'static str| [ACCEPTED, reason, "Programmed=False RefsNotResolved"];
    let with = |credential: Value| {
        let mut spec = spec("storage.**");
        spec["credential"] = credential;
        policy(&agents, "coder", &spec)
    };
    let effects = |wanted: &'static [Effect]| {
        let (bench, agents) = (&bench, &agents);
        eventually(SOON, move || async move {
            let bundle = bench.bundle(agents).await?;
            let policy = bundle.policies.first().context("no policy")?;
            let found: Vec<_> = policy.rules.iter().map(|r| r.effect).collect();
            if found == wanted {
                Ok(policy.credential.clone())
            } else {
                bail!("{found:?}, not {wanted:?}")
            }
        })
    };
    const WHOLE: &[Effect] = &[Effect::Allow, Effect::RequireApproval, Effect::Deny];
    const REFUSALS: &[Effect] = &[Effect::Deny, Effect::Deny];
    let annotate = async |annotation: &str, value: &str| {
        let annotation = format!("{annotation}{value}");
        bench
            .kubectl(
                &["annotate", "--overwrite", "namespace", &agents, &annotation],
                None,
            )
            .await
    };

    bench
        .apply(&with(
            json!({"impersonate": {"serviceAccount": "coder@acme.test"}}),
        ))
        .await?;
    bench
        .wait_conditions(
            &agents,
            "coder",
            refused("ResolvedRefs=False ServiceAccountNotPermitted"),
        )
        .await?;
    assert_eq!(effects(REFUSALS).await?, None);
    annotate(
        marks::ALLOWED_SERVICE_ACCOUNTS,
        "=other@acme.test, coder@acme.test",
    )
    .await?;
    bench
        .wait_conditions(
            &agents,
            "coder",
            [ACCEPTED, RESOLVED, "Programmed=False NoReplicas"],
        )
        .await?;
    assert!(effects(WHOLE).await?.is_some_and(|c| c.impersonate.is_some()));
    annotate(marks::ALLOWED_SERVICE_ACCOUNTS, "-").await?;
    bench
        .wait_conditions(
            &agents,
            "coder",
            refused("ResolvedRefs=False ServiceAccountNotPermitted"),
        )
        .await?;
    assert_eq!(effects(REFUSALS).await?, None);

    let key = |name: &str| with(json!({"serviceAccountKey": {"secretRef": {"name": name}}}));
    let unready = |reason: &'static str| [ACCEPTED, reason, "Programmed=False NoReplicas"];
    bench.apply(&key(OFFERED_SECRET)).await?;
    bench
        .wait_conditions(&agents, "coder", refused("ResolvedRefs=False SecretNotPermitted"))
        .await?;
    annotate(
        marks::ALLOWED_KEY_SECRETS,
        &format!("={OFFERED_SECRET},not-offered"),
    )
    .await?;
    bench
        .wait_conditions(&agents, "coder", unready("ResolvedRefs=False SecretNotFound"))
        .await?;
    effects(WHOLE).await?;
    bench.apply(&key("not-offered")).await?;
    bench
        .wait_conditions(&agents, "coder", unready("ResolvedRefs=False SecretNotPermitted"))
        .await?;
    let message = bench.message(&agents, "coder", "ResolvedRefs").await?;
    assert!(
        message.ends_with("add it to keySecrets in the chart's values"),
        "{message}"
    );
    bench
        .kubectl(
            &["create", "secret", "generic", "-n", &bench.own, OFFERED_SECRET],
            None,
        )
        .await?;
    bench.apply(&key(OFFERED_SECRET)).await?;
    bench.wait_conditions(&agents, "coder", unready(RESOLVED)).await?;

    // Turnpike's own namespace needs no permission.
    let mut own = with(json!({"impersonate": {"serviceAccount": "gate@acme.test"}}));
    own["metadata"]["namespace"] = json!(bench.own);
    bench.apply(&own).await?;
    bench
        .wait_conditions(&bench.own, "coder", unready(RESOLVED))
        .await
}

#[tokio::test]
async fn agents_of_an_issuer_need_the_permission_of_a_cluster_administrator() -> Result<()> {
    const UNREADY: [&str; 3] = [ACCEPTED, RESOLVED, "Programmed=False NoReplicas"];
    const REFUSED: [&str; 3] = [
        ACCEPTED,
        "ResolvedRefs=False IssuerNotPermitted",
        "Programmed=False RefsNotResolved",
    ];
    let bench = Bench::start().await?;
    let _operator = bench.operator("operator-0", &[]).await?;
    let agents = bench.control.namespace("agents").await?;
    let oidc = json!({"oidc": {"issuer": "https://ci.test", "subject": "job"}});
    let selecting = |namespace: &str, agents: Value| {
        let mut spec = spec("storage.**");
        spec["agents"] = agents;
        policy(namespace, "ci", &spec)
    };
    let selected = |wanted: &'static [&'static str]| {
        let (bench, agents) = (&bench, &agents);
        eventually(SOON, move || async move {
            let bundle = bench.bundle(agents).await?;
            let found: Vec<_> = bundle.policies.iter().flat_map(|p| &p.agents).collect();
            let found: Vec<_> = found
                .iter()
                .map(|a| match a {
                    AgentMatch::Oidc { issuer, .. } => issuer.as_str(),
                    AgentMatch::ServiceAccount { .. } | AgentMatch::Namespaces { .. } => "account",
                })
                .collect();
            if found == wanted {
                Ok(())
            } else {
                bail!("{found:?}, not {wanted:?}")
            }
        })
    };
    let annotate = async |value: &str| {
        let annotation = format!("{}{value}", marks::ALLOWED_OIDC_ISSUERS);
        bench
            .kubectl(
                &["annotate", "--overwrite", "namespace", &agents, &annotation],
                None,
            )
            .await
    };

    let both = json!([oidc, {"serviceAccount": {"name": "coder"}}]);
    bench.apply(&selecting(&agents, both)).await?;
    bench.wait_conditions(&agents, "ci", REFUSED).await?;
    selected(&["account"]).await?;
    annotate("=https://other.test, https://ci.test").await?;
    bench.wait_conditions(&agents, "ci", UNREADY).await?;
    selected(&["https://ci.test", "account"]).await?;
    annotate("=https://other.test").await?;
    bench.wait_conditions(&agents, "ci", REFUSED).await?;
    selected(&["account"]).await?;

    // Without an agent nothing is left of the policy.
    bench.apply(&selecting(&agents, json!([oidc]))).await?;
    bench.wait_no_bundle(&agents).await?;
    bench.wait_conditions(&agents, "ci", REFUSED).await?;
    annotate("=https://ci.test").await?;
    bench.wait_conditions(&agents, "ci", UNREADY).await?;
    selected(&["https://ci.test"]).await?;
    annotate("-").await?;
    bench.wait_no_bundle(&agents).await?;

    // Turnpike's own namespace needs no permission.
    bench.apply(&selecting(&bench.own, json!([oidc]))).await?;
    bench.wait_conditions(&bench.own, "ci", UNREADY).await
}

#[tokio::test]
async fn a_bundle_that_somebody_changed_is_put_back() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.operator("operator-0", &[]).await?;
    let agents = bench.control.namespace("agents").await?;
    bench
        .apply(&policy(&agents, "coder", &spec("storage.**")))
        .await?;
    let good = bench.wait_bundle(&agents, &["coder@1"]).await?;
    // The policy does not compile any more, so the bundle cannot be made from it: it is known by heart.
    bench
        .apply(&policy(&agents, "coder", &spec("storage..get")))
        .await?;
    bench
        .wait_conditions(
            &agents,
            "coder",
            ["Accepted=False Invalid", RESOLVED, "Programmed=False NotAccepted"],
        )
        .await?;
    let (maps, name) = (bench.config_maps(), format!("turnpike-bundle-{agents}"));
    let version = async || anyhow::Ok(maps.get(&name).await?.resource_version());
    let put_back = |after: Option<String>| {
        let (bench, agents, good, version) = (&bench, &agents, &good, &version);
        eventually(SOON, move || {
            let after = after.clone();
            async move {
                // It was written again, and holds what it held.
                if version().await? == after {
                    bail!("not written yet");
                }
                if bench.bundle(agents).await? == *good {
                    Ok(())
                } else {
                    bail!("another bundle")
                }
            }
        })
    };
    let empty = turnpike_compiler::Bundle::new(agents.as_str(), Vec::new());
    for tampering in [
        json!({"data": {"bundle.json": "{}"}}),
        json!({"data": null}),
        json!({"data": {"bundle.json": empty.to_json()}, "metadata": {"annotations": {marks::BUNDLE_DIGEST: empty.digest()}}}),
        json!({"metadata": {"annotations": {marks::BUNDLE_DIGEST: "sha256:0"}}}),
        json!({"metadata": {"labels": {marks::BUNDLE_NAMESPACE: null}}}),
        json!({"immutable": true, "data": {"bundle.json": "{}"}}),
    ] {
        let tampered = maps
            .patch(&name, &PatchParams::default(), &Patch::Merge(&tampering))
            .await?;
        put_back(tampered.resource_version())
            .await
            .with_context(|| tampering.to_string())?;
    }
    maps.delete(&name, &DeleteParams::default()).await?;
    eventually(SOON, || async { bench.bundle(&agents).await.map(drop) }).await?;
    assert_eq!(bench.bundle(&agents).await?, good);

    // What claims to be a bundle and is not the operator's goes away.
    let stray = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "stray", "namespace": bench.own, "labels": {marks::BUNDLE_NAMESPACE: agents}},
        "data": {"bundle.json": empty.to_json()},
    });
    bench.apply(&stray).await?;
    eventually(SOON, || async {
        if maps.get_opt("stray").await?.is_some() {
            bail!("it is still there")
        } else {
            Ok(())
        }
    })
    .await?;
    assert_eq!(bench.bundle(&agents).await?, good);
    Ok(())
}

#[tokio::test]
async fn one_unreadable_policy_stops_nothing() -> Result<()> {
    let bench = Bench::start().await?;
    // A definition of another version, which takes modes that this one does not know.
    let remove = json!([{
        "op": "remove",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum",
    }]);
    let crd = [
        "patch",
        "crd",
        "agentpolicies.turnpike.dev",
        "--type=json",
        "-p",
        &remove.to_string(),
    ];
    bench.kubectl(&crd, None).await?;
    let agents = bench.control.namespace("agents").await?;
    let mut strange = spec("storage.**");
    strange["mode"] = json!("Someday");
    let strange = policy(&agents, "strange", &strange);
    // The API server takes a moment to follow a changed definition.
    eventually(SOON, || async { bench.apply(&strange).await }).await?;

    let operator = bench.operator("operator-0", &[]).await?;
    bench
        .apply(&policy(&agents, "coder", &spec("storage.**")))
        .await?;
    bench.wait_bundle(&agents, &["coder@1"]).await?;
    bench
        .wait_conditions(
            &agents,
            "coder",
            [ACCEPTED, RESOLVED, "Programmed=False NoReplicas"],
        )
        .await?;
    let get = [
        "get",
        "agp",
        "-n",
        &agents,
        "strange",
        "-o",
        "jsonpath={.status.conditions[*].reason}",
    ];
    eventually(SOON, || async {
        let reasons = bench.kubectl(&get, None).await?;
        if reasons == "Invalid Invalid NotAccepted" {
            Ok(())
        } else {
            bail!("{reasons:?}")
        }
    })
    .await?;
    assert_eq!(
        operator
            .metric(r#"turnpike_operator_policies{accepted="unknown"}"#)
            .await?,
        1.0
    );
    Ok(())
}
