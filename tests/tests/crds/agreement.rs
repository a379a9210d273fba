//! What the API server refuses, files in standalone mode must be refused for too, and the other way round:
//! each wrong object here is given to both.

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use turnpike_compiler::{Context, load};

use crate::bench::{Bench, policy, request};

/// kubectl processes at a time.
const AT_ONCE: usize = 6;

/// A change at a JSON pointer: a value that is put there, or `None` to take it away.
type Change = (&'static str, Option<Value>);

fn changed(mut object: Value, (pointer, value): &Change) -> Result<Value> {
    let (parent, last) = pointer.rsplit_once('/').context("a pointer has a slash")?;
    let parent = object
        .pointer_mut(parent)
        .with_context(|| format!("{parent} is not there"))?;
    match (parent, value) {
        (Value::Object(fields), Some(value)) => drop(fields.insert(last.to_owned(), value.clone())),
        (Value::Object(fields), None) => drop(fields.remove(last)),
        (Value::Array(items), Some(value)) => items[last.parse::<usize>()?] = value.clone(),
        (other, _) => anyhow::bail!("{pointer} cannot be changed in {other}"),
    }
    Ok(object)
}

/// What the offline check says against a policy, one problem a line.
fn offline(object: &Value) -> Option<String> {
    let context = Context::without_namespaces("turnpike-system");
    // JSON is YAML.
    let problems = load::policies(&object.to_string(), &context).err()?;
    let lines: Vec<String> = problems
        .iter()
        .map(|p| format!("{}: {}", p.path.as_deref().unwrap_or_default(), p.message))
        .collect();
    Some(lines.join("\n"))
}

/// A wrong object: the change that makes it so, a part of the API server's message, and a part of what the
/// offline check says.
type Wrong = (Change, &'static str, &'static str);

/// Gives every wrong object to the API server and to the offline check, and tells all differences at once.
async fn all_refused(
    bench: &Bench,
    base: Value,
    offline: fn(&Value) -> Option<String>,
    cases: Vec<Wrong>,
) -> Result<()> {
    let both = |case: Wrong| {
        let object = changed(base.clone(), &case.0);
        async move {
            let object = object?;
            let found = [bench.refusal(&object).await?, offline(&object)];
            anyhow::Ok((case, found))
        }
    };
    let found: Vec<(Wrong, [Option<String>; 2])> = stream::iter(cases.into_iter().map(both))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut different = Vec::new();
    for (((pointer, value), server, file), found) in found {
        for (who, wanted, found) in [
            ("API server", server, &found[0]),
            ("offline check", file, &found[1]),
        ] {
            if !found.as_deref().is_some_and(|text| text.contains(wanted)) {
                let mut value = value.as_ref().map_or("nothing".to_owned(), Value::to_string);
                value.truncate(120);
                different.push(format!(
                    "{pointer} = {value}\n  {who}: {found:?}\n  wanted: {wanted}"
                ));
            }
        }
    }
    ensure!(different.is_empty(), "{}", different.join("\n"));
    Ok(())
}

#[tokio::test]
async fn wrong_policies_are_refused_in_the_cluster_and_in_files() -> Result<()> {
    let bench = Bench::new("wrong").await?;
    let put = |pointer, value| (pointer, Some(value));
    let take = |pointer| (pointer, None);
    let many = |count: usize, value: Value| Value::Array(vec![value; count]);
    let key = |secret: Value| json!({"serviceAccountKey": {"secretRef": secret}});
    let field = json!({"methods": ["run.**"], "paths": ["**.value"]});
    let with = |mut object: Value, name: &str, value: Value| {
        object[name] = value;
        object
    };
    let account = json!({"serviceAccount": {"name": "coder"}});
    let oidc = json!({"issuer": "https://issuer.example", "subject": "robot"});
    let claims: serde_json::Map<String, Value> =
        (0..33).map(|i| (format!("claim{i}"), json!("value"))).collect();
    let rules: Vec<Value> = (0..257)
        .map(|i| json!({"name": format!("r{i}"), "effect": "Allow", "methods": ["**"]}))
        .collect();
    let no_value = "has no value; leave the field out";
    let cases: Vec<Wrong> = vec![
        (
            put("/spec/limits", json!({"callsPerMinute": 99_999_999_999_i64})),
            "should be less than or equal to 1000000000",
            "spec.limits.callsPerMinute: is 99999999999; at most",
        ),
        (
            put("/spec/rules/0/resources", json!([])),
            "should have at least 1 items",
            "spec.rules[0].resources: has 0 entries; at least 1",
        ),
        (
            take("/spec/agents"),
            "spec.agents: Required value",
            "spec.agents: is required",
        ),
        (
            put("/spec/agents", json!([])),
            "should have at least 1 items",
            "spec.agents: has 0 entries; at least 1",
        ),
        (
            put("/spec/agents", many(65, account.clone())),
            "must have at most 64 items",
            "has 65 entries; at most 64",
        ),
        (
            put("/spec/agents/0", json!({})),
            "set exactly one of serviceAccount and oidc",
            "spec.agents[0]: set exactly one of serviceAccount and oidc",
        ),
        (
            put("/spec/agents/0", with(account.clone(), "oidc", oidc.clone())),
            "set exactly one of serviceAccount and oidc",
            "spec.agents[0]: set exactly one of serviceAccount and oidc",
        ),
        (
            put("/spec/agents/0", json!({"serviceAccount": null, "oidc": null})),
            "set exactly one of serviceAccount and oidc",
            no_value,
        ),
        (
            put("/spec/agents/0/serviceAccount/name", json!("")),
            "should be at least 1 chars long",
            "spec.agents[0].serviceAccount.name: has 0 characters; at least 1",
        ),
        (
            put("/spec/agents/0/serviceAccount/name", json!("Coder")),
            "spec.agents[0].serviceAccount.name in body should match",
            "\"Coder\" does not have the form",
        ),
        (
            put("/spec/agents/0/serviceAccount/namespace", json!("a b")),
            "spec.agents[0].serviceAccount.namespace in body should match",
            "\"a b\" does not have the form",
        ),
        (
            put(
                "/spec/agents/0",
                json!({"oidc": {"issuer": "https://issuer.example"}}),
            ),
            "set subject or claims: an issuer alone would select everybody it knows",
            "spec.agents[0].oidc: set subject or claims: an issuer alone would select everybody it knows",
        ),
        (
            put(
                "/spec/agents/0",
                json!({"oidc": with(oidc.clone(), "issuer", json!("ftp://issuer.example"))}),
            ),
            "spec.agents[0].oidc.issuer in body should match",
            "\"ftp://issuer.example\" does not have the form",
        ),
        (
            put(
                "/spec/agents/0",
                json!({"oidc": with(oidc.clone(), "claims", Value::Object(claims))}),
            ),
            "must have at most 32 items",
            "spec.agents[0].oidc.claims: has 33 entries; at most 32",
        ),
        (
            put(
                "/spec/agents/0",
                json!({"oidc": with(oidc.clone(), "claims", json!({"level": 3}))}),
            ),
            "must be of type string",
            "spec.agents[0].oidc.claims.level: should be a string, and is the number 3",
        ),
        (
            put(
                "/spec/agents/0",
                json!({"oidc": with(oidc, "claims", json!({"team": "x".repeat(513)}))}),
            ),
            "may not be more than 512 bytes",
            "spec.agents[0].oidc.claims.team: has 513 characters; at most 512",
        ),
        (
            put(
                "/spec/credential",
                with(key(json!({"name": "acme-key"})), "ambient", json!({})),
            ),
            "set at most one of ambient and serviceAccountKey",
            "spec.credential: set at most one of ambient and serviceAccountKey",
        ),
        (
            put("/spec/credential", key(json!({}))),
            "spec.credential.serviceAccountKey.secretRef.name: Required value",
            "spec.credential.serviceAccountKey.secretRef.name: is required",
        ),
        (
            put("/spec/credential", key(json!({"name": "acme-key", "key": "a/b"}))),
            "secretRef.key in body should match",
            "\"a/b\" does not have the form",
        ),
        (
            put(
                "/spec/credential",
                json!({"impersonate": {"serviceAccount": "coder"}}),
            ),
            "impersonate.serviceAccount in body should match",
            "\"coder\" does not have the form",
        ),
        (
            put(
                "/spec/credential",
                json!({"impersonate": {"serviceAccount": "a@b", "delegates": many(9, json!("a@b"))}}),
            ),
            "must have at most 8 items",
            "spec.credential.impersonate.delegates: has 9 entries; at most 8",
        ),
        (
            put("/spec/credential", json!({"scopes": ["cloud-platform"]})),
            "spec.credential.scopes[0] in body should match",
            "\"cloud-platform\" does not have the form",
        ),
        (
            put("/spec/mode", json!("enforce")),
            "spec.mode: Unsupported value: \"enforce\": supported values: \"Enforce\", \"DryRun\"",
            "spec.mode: enforce is not one of Enforce, DryRun",
        ),
        (
            put("/spec/rules/0/effect", json!("Permit")),
            "spec.rules[0].effect: Unsupported value: \"Permit\"",
            "spec.rules[0].effect: Permit is not one of Allow, Deny, RequireApproval",
        ),
        (
            take("/spec/rules/0/effect"),
            "spec.rules[0].effect: Required value",
            "spec.rules[0].effect: is required",
        ),
        (
            put("/spec/rules/0/name", json!("Read It")),
            "spec.rules[0].name in body should match",
            "\"Read It\" does not have the form",
        ),
        (
            put("/spec/rules/0/name", json!("r".repeat(64))),
            "may not be more than 63 bytes",
            "spec.rules[0].name: has 64 characters; at most 63",
        ),
        (
            put(
                "/spec/rules",
                many(2, json!({"name": "read", "effect": "Allow", "methods": ["**"]})),
            ),
            "spec.rules[1]: Duplicate value",
            "spec.rules[1].name: \"read\" is the name of spec.rules[0] too",
        ),
        (
            put("/spec/rules", json!(rules)),
            "must have at most 256 items",
            "spec.rules: has 257 entries; at most 256",
        ),
        (
            put("/spec/rules/0/methods", json!([])),
            "spec.rules[0].methods in body should have at least 1 items",
            "spec.rules[0].methods: has 0 entries; at least 1",
        ),
        (
            put("/spec/rules/0/methods", json!("storage.*.get")),
            "spec.rules[0].methods in body must be of type array",
            "spec.rules[0].methods: should be a list, and is the string",
        ),
        (
            put("/spec/rules/0/methods", json!(["storage objects get"])),
            "spec.rules[0].methods[0] in body should match",
            "\"storage objects get\" does not have the form",
        ),
        (
            put("/spec/rules/0/methods", json!(["m".repeat(257)])),
            "may not be more than 256 bytes",
            "spec.rules[0].methods[0]: has 257 characters; at most 256",
        ),
        (
            put("/spec/rules/0/resources", json!([""])),
            "spec.rules[0].resources[0] in body should be at least 1 chars long",
            "spec.rules[0].resources[0]: has 0 characters; at least 1",
        ),
        (
            put("/spec/rules/0/resources", many(65, json!("projects/**"))),
            "must have at most 64 items",
            "spec.rules[0].resources: has 65 entries; at most 64",
        ),
        (
            put("/spec/rules/0/message", json!("m".repeat(1025))),
            "may not be more than 1024 bytes",
            "spec.rules[0].message: has 1025 characters; at most 1024",
        ),
        (
            put("/spec/rules/0/approval", json!({"holdFor": "4m"})),
            "approval settings need effect RequireApproval",
            "spec.rules[0].approval: approval settings need effect RequireApproval",
        ),
        (
            put(
                "/spec/rules/0",
                json!({"name": "r", "effect": "RequireApproval", "methods": ["**"], "approval": {"holdFor": "soon"}}),
            ),
            "spec.rules[0].approval.holdFor in body should match",
            "\"soon\" does not have the form",
        ),
        (
            put(
                "/spec/rules/0",
                json!({"name": "r", "effect": "RequireApproval", "methods": ["**"],
                    "approval": {"expiresAfter": "1".repeat(32) + "s"}}),
            ),
            "may not be more than 32 bytes",
            "spec.rules[0].approval.expiresAfter: has 33 characters; at most 32",
        ),
        (
            put("/spec/rules/0/efect", json!("Allow")),
            "unknown field \"spec.rules[0].efect\"",
            "spec.rules[0].efect: no such field; did you mean effect?",
        ),
        (
            put(
                "/spec/secrets",
                json!({"fields": [with(field.clone(), "kind", json!("Env Value"))]}),
            ),
            "spec.secrets.fields[0].kind in body should match",
            "\"Env Value\" does not have the form",
        ),
        (
            put(
                "/spec/secrets",
                json!({"fields": [with(field, "paths", json!([]))]}),
            ),
            "spec.secrets.fields[0].paths in body should have at least 1 items",
            "spec.secrets.fields[0].paths: has 0 entries; at least 1",
        ),
        (
            put("/spec/recording", json!({"bodies": "All"})),
            "spec.recording.bodies: Unsupported value: \"All\": supported values: \"None\", \"Masked\"",
            "spec.recording.bodies: All is not one of None, Masked",
        ),
        (
            put("/spec/recording", json!({"retention": "forever"})),
            "spec.recording.retention in body should match",
            "\"forever\" does not have the form",
        ),
        (take("/spec"), "spec: Required value", "spec: is required"),
    ];
    all_refused(&bench, policy("wrong"), offline, cases).await
}

/// A condition without quotes that begins with `!` is a null. An API server would drop it unseen were the field not
/// nullable; so it keeps it, and whoever reads the policy refuses it.
#[tokio::test]
async fn fields_without_a_value_are_not_taken_for_fields_left_out() -> Result<()> {
    let bench = Bench::new("null").await?;
    let cases: [Change; 4] = [
        ("/spec/rules/0/when", Some(Value::Null)),
        ("/spec/risk", Some(Value::Null)),
        ("/spec/agents/0/oidc", Some(Value::Null)),
        ("/spec/credential", Some(Value::Null)),
    ];
    for case in &cases {
        let object = changed(policy("null"), case)?;
        let file = offline(&object).unwrap_or_default();
        ensure!(
            file.contains("has no value; leave the field out"),
            "{}: {file}",
            case.0
        );
        ensure!(bench.refusal(&object).await?.is_none(), "{}", case.0);
        bench.kubectl(&["create", "-f", "-"], Some(&object)).await?;
        let kept = bench.kubectl(&["get", "agp", "null", "-o", "json"], None).await?;
        let kept: Value = serde_json::from_str(&kept)?;
        let read = serde_json::from_value::<turnpike_crds::AgentPolicy>(kept);
        let refused = read.err().map(|e| e.to_string()).unwrap_or_default();
        ensure!(refused.contains("invalid type: null"), "{}: {refused}", case.0);
        bench.kubectl(&["delete", "agp", "null"], None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn right_policies_are_taken_in_the_cluster_and_from_files() -> Result<()> {
    let bench = Bench::new("right").await?;
    let cases: [Change; 4] = [
        ("/metadata/labels", Some(json!({"team": "dev"}))),
        ("/spec/rules", Some(json!([]))),
        ("/spec/rules", None),
        (
            "/spec",
            Some(json!({
                "mode": "DryRun",
                "agents": [
                    {"serviceAccount": {"name": "*"}},
                    {"oidc": {"issuer": "https://issuer.example", "audience": "turnpike", "subject": "robot",
                        "claims": {"team": "dev"}}},
                ],
                "credential": {
                    "serviceAccountKey": {"secretRef": {"name": "acme-key", "key": "key.json"}},
                    "impersonate": {"serviceAccount": "coder@acme-dev.iam.gserviceaccount.com",
                        "delegates": ["hop@acme-dev.iam.gserviceaccount.com"]},
                    "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
                },
                "rules": [
                    {"name": "read", "effect": "Allow", "methods": ["storage.*.get", "run.**.get"],
                        "resources": ["projects/acme-dev/**", "projects/_/buckets/acme-dev-*/**"]},
                    {"name": "deploy", "effect": "RequireApproval", "methods": ["run.**.create"],
                        "approval": {"holdFor": "4m", "expiresAfter": "24h"}},
                    {"name": "no-keys", "effect": "Deny", "methods": ["iam.projects.serviceAccounts.keys.*"],
                        "message": "Agents create no keys; ask the platform team for workload identity."},
                ],
                "secrets": {"fields": [
                    {"methods": ["run.**"], "paths": ["**.env[*].value"], "kind": "env"}]},
                "recording": {"bodies": "Masked", "retention": "400d"},
            })),
        ),
    ];
    let mut refused = Vec::new();
    for case in &cases {
        let object = changed(policy("right"), case)?;
        let found = [bench.refusal(&object).await?, offline(&object)];
        if found != [None, None] {
            refused.push(format!("{}: {found:?}", case.0));
        }
    }
    ensure!(refused.is_empty(), "{}", refused.join("\n"));
    Ok(())
}

#[tokio::test]
async fn wrong_approval_requests_are_refused_in_the_cluster_and_in_files() -> Result<()> {
    let bench = Bench::new("wrong-requests").await?;
    let offline = |object: &Value| {
        let problems = load::approval_request(&object.to_string()).err()?;
        let lines: Vec<String> = problems
            .iter()
            .map(|p| format!("{}: {}", p.path.as_deref().unwrap_or_default(), p.message))
            .collect();
        Some(lines.join("\n"))
    };
    let cases: Vec<Wrong> = vec![
        (
            ("/spec/digest", Some(json!("sha256:1"))),
            "spec.digest in body should match",
            "\"sha256:1\" does not have the form",
        ),
        (
            ("/spec/expiresAt", Some(json!("tomorrow"))),
            "spec.expiresAt in body must be of type date-time",
            "spec.expiresAt: \"tomorrow\" is not a date and time",
        ),
        (
            ("/spec/policies", Some(json!([]))),
            "spec.policies in body should have at least 1 items",
            "spec.policies: has 0 entries; at least 1",
        ),
        (
            ("/spec/call/bodyBytes", Some(json!(-1))),
            "should be greater than or equal to 0",
            "spec.call.bodyBytes: is -1; at least 0",
        ),
        (
            ("/spec/call/body", Some(json!("b".repeat(16385)))),
            "may not be more than 16384 bytes",
            "spec.call.body: has 16385 characters; at most 16384",
        ),
        (
            ("/spec/agent", None),
            "spec.agent: Required value",
            "spec.agent: is required",
        ),
    ];
    all_refused(&bench, request("wrong"), offline, cases).await
}
