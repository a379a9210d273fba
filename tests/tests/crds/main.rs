//! The custom resource definitions as people meet them: real kubectl against a real API server.

mod agreement;
mod bench;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use turnpike_tests::process::eventually;

use bench::{Bench, digest, policy, request};

/// Discovery and schema documents follow a new definition within seconds.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn defaults_are_written_into_the_policy() -> Result<()> {
    let bench = Bench::new("defaults").await?;
    let mut object = policy("defaults");
    object["spec"]["recording"] = json!({});
    object["spec"]["credential"] = json!({"serviceAccountKey": {"secretRef": {"name": "acme-key"}}});
    bench.kubectl(&["create", "-f", "-"], Some(&object)).await?;
    let mut wanted = object["spec"].clone();
    wanted["mode"] = json!("Enforce");
    wanted["recording"]["bodies"] = json!("None");
    wanted["credential"]["serviceAccountKey"]["secretRef"]["key"] = json!("key.json");
    assert_eq!(bench.get("agp", "defaults").await?["spec"], wanted);
    Ok(())
}

#[tokio::test]
async fn a_policy_has_a_status_of_its_own_and_columns_that_show_it() -> Result<()> {
    let bench = Bench::new("status").await?;
    bench
        .kubectl(&["create", "-f", "-"], Some(&policy("coder")))
        .await?;
    let condition = |kind: &str, status: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": "Tested", "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
    };
    let status = json!({
        "observedGeneration": 1,
        "conditions": [condition("Accepted", "True", "compiles"), condition("Programmed", "False", "nobody")],
    });
    // A writer of policies writes no status, and a writer of status no policy.
    let patch = json!({"spec": {"mode": "DryRun"}, "status": status}).to_string();
    let merge = ["patch", "agp", "coder", "--type=merge", "-p", &patch];
    bench.kubectl(&merge, None).await?;
    let found = bench.get("agp", "coder").await?;
    assert_eq!(
        (&found["spec"]["mode"], &found["status"]),
        (&json!("DryRun"), &Value::Null)
    );
    assert_eq!(found["metadata"]["generation"], 2);
    let patch = json!({"spec": {"mode": "Enforce"}, "status": status}).to_string();
    let merge = [
        "patch",
        "agp",
        "coder",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    bench.kubectl(&merge, None).await?;
    let found = bench.get("agp", "coder").await?;
    assert_eq!(
        (&found["spec"]["mode"], &found["status"]),
        (&json!("DryRun"), &status)
    );
    assert_eq!(found["metadata"]["generation"], 2);

    let table = columns(&bench.kubectl(&["get", "agp", "-o", "wide"], None).await?);
    assert_eq!(
        table[0],
        ["NAME", "MODE", "ACCEPTED", "PROGRAMMED", "REASON", "AGE"]
    );
    assert_eq!(table[1][..5], ["coder", "DryRun", "True", "False", "compiles"]);
    Ok(())
}

/// The words of a table that kubectl prints; none of its cells has a space.
fn columns(table: &str) -> Vec<Vec<String>> {
    table
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[tokio::test]
async fn the_category_names_everything() -> Result<()> {
    let bench = Bench::new("category").await?;
    bench
        .kubectl(&["create", "-f", "-"], Some(&policy("coder")))
        .await?;
    bench
        .kubectl(&["create", "-f", "-"], Some(&request("held")))
        .await?;
    let names = bench.kubectl(&["get", "turnpike", "-o", "name"], None).await?;
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "agentpolicy.turnpike.dev/coder",
            "approvalrequest.turnpike.dev/held"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn an_approval_request_never_changes_and_is_decided_in_its_status() -> Result<()> {
    let bench = Bench::new("request").await?;
    bench
        .kubectl(&["create", "-f", "-"], Some(&request("held")))
        .await?;
    let patch = |subresource: &'static str, patch: Value| {
        let (bench, patch) = (&bench, patch.to_string());
        async move {
            let mut args = vec!["patch", "apr", "held", "--type=merge", "-p", &patch];
            args.extend(Some(subresource).filter(|s| !s.is_empty()));
            bench.run(&args, None).await
        }
    };
    let refused = patch(
        "",
        json!({"spec": {"call": {"method": "run.namespaces.services.delete"}}}),
    )
    .await?;
    let message = "the spec of an approval request is immutable: it says which call was asked for";
    ensure!(
        !refused.status.success() && refused.stderr.contains(message),
        "{refused:?}"
    );
    let review = json!({"decision": "Approve", "digest": digest('a'), "reason": "fine"});
    let status = json!({"reviews": {"alice@acme.example": review}});
    // Without the subresource a status is not looked at.
    patch("", json!({"status": status})).await?.success()?;
    assert_eq!(bench.get("apr", "held").await?["status"], Value::Null);
    let status_of = "--subresource=status";
    patch(status_of, json!({"status": status})).await?.success()?;
    let bob = json!({"bob@acme.example": {"decision": "Deny"}});
    patch(status_of, json!({"status": {"reviews": bob, "phase": "Pending"}}))
        .await?
        .success()?;
    // Merge patches of two approvers keep each other's review.
    let wanted = json!({
        "phase": "Pending",
        "reviews": {"alice@acme.example": review, "bob@acme.example": {"decision": "Deny"}},
    });
    let found = bench.get("apr", "held").await?;
    assert_eq!(
        (&found["status"], &found["spec"]),
        (&wanted, &request("held")["spec"])
    );

    for (status, message) in [
        (
            json!({"phase": "Allowed"}),
            "status.phase: Unsupported value: \"Allowed\"",
        ),
        (
            json!({"reviews": {"eve": {"decision": "Yes"}}}),
            "status.reviews.eve.decision: Unsupported value: \"Yes\"",
        ),
        (
            json!({"reviews": {"eve": {"decision": "Approve", "digest": "sha256:1"}}}),
            "reviews.eve.digest in body should match",
        ),
        (
            json!({"consumption": {"by": "me"}}),
            "status.consumption.at: Required value",
        ),
    ] {
        let refused = patch(status_of, json!({"status": status})).await?;
        ensure!(
            !refused.status.success() && refused.stderr.contains(message),
            "{status}: {refused:?}"
        );
    }
    let table = columns(&bench.kubectl(&["get", "apr", "-o", "wide"], None).await?);
    assert_eq!(
        table[0],
        [
            "NAME",
            "AGENT",
            "METHOD",
            "RESOURCE",
            "RISK",
            "STATE",
            "APPROVALS",
            "EXPIRES",
            "AGE",
            "RULE"
        ]
    );
    let (method, resource) = (
        "run.namespaces.services.create",
        "namespaces/acme-dev/services/web",
    );
    let expires = "2099-01-01T00:00:00Z";
    assert_eq!(
        table[1][..6],
        ["held", "agents/coder", method, resource, "Pending", expires]
    );
    assert_eq!(table[1][7], "deploy");
    Ok(())
}

#[tokio::test]
async fn kubectl_explains_fields() -> Result<()> {
    let bench = Bench::new("explain").await?;
    let explain = |field: &'static str| {
        let bench = &bench;
        eventually(SOON, move || async move {
            bench.kubectl(&["explain", field], None).await
        })
    };
    let wanted = "\
GROUP:      turnpike.dev
KIND:       AgentPolicy
VERSION:    v1alpha1

FIELD: effect <string>
ENUM:
    Allow
    Deny
    RequireApproval

DESCRIPTION:
    Allow, Deny or RequireApproval.
    

";
    assert_eq!(explain("agp.spec.rules.effect").await?, wanted);
    let phase = explain("apr.status.phase").await?;
    ensure!(
        phase.contains("Pending, then one of Approved, Denied, Expired and Superseded"),
        "{phase}"
    );
    let policy = explain("agentpolicy").await?;
    ensure!(
        policy.contains("says which Google API calls the agents it selects may make"),
        "{policy}"
    );
    Ok(())
}

#[tokio::test]
async fn every_field_is_described_and_bounded() -> Result<()> {
    let bench = Bench::new("schema").await?;
    let mut wrong = Vec::new();
    for name in ["agentpolicies.turnpike.dev", "approvalrequests.turnpike.dev"] {
        let definition = bench.get("crd", name).await?;
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let fields = schema["properties"].as_object().context("a schema")?;
        ensure!(
            fields.contains_key("spec") && fields.contains_key("status"),
            "{fields:?}"
        );
        look("", schema, &mut wrong);
    }
    // Conditions are the API machinery's own type, and their writer is the operator.
    wrong.retain(|line| !line.starts_with("status.conditions[]"));
    assert_eq!(wrong, Vec::<String>::new());
    Ok(())
}

/// Looks for fields without description, and for text and lists without a bound.
fn look(path: &str, schema: &Value, wrong: &mut Vec<String>) {
    let has = |key: &str| !schema[key].is_null();
    let bounded = match schema["type"].as_str() {
        Some("string") => has("maxLength") || has("enum") || has("format") || anchored(schema),
        Some("array") => has("maxItems") || !schema["x-kubernetes-list-map-keys"].is_null(),
        Some("object") => !has("additionalProperties") || has("maxProperties"),
        _ => true,
    };
    if !bounded {
        wrong.push(format!("{path}: has no bound"));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        if field["description"].as_str().is_none_or(|text| text.len() <= 8) {
            wrong.push(format!("{path}: has no description"));
        }
        look(&path, field, wrong);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if has(key) {
            look(&format!("{path}{mark}"), &schema[key], wrong);
        }
    }
}

/// A pattern that is anchored and repeats nothing without end is a bound too.
fn anchored(schema: &Value) -> bool {
    schema["pattern"]
        .as_str()
        .is_some_and(|p| p.starts_with('^') && p.ends_with('$') && !p.contains(['*', '+']))
}
