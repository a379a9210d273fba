//! The custom resource definitions as people meet them: real kubectl against a real API server.
//!
//! What the API server refuses, files in standalone mode must be refused for too, and the other way round:
//! each wrong policy here is given to both.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use turnpike_compiler::{Context, load};
use turnpike_tests::control_plane::{ControlPlane, Output};
use turnpike_tests::process::eventually;

/// Discovery and schema documents follow a new definition within seconds.
const SOON: Duration = Duration::from_secs(30);
/// kubectl processes at a time.
const AT_ONCE: usize = 6;

/// The shared control plane with our definitions, and a namespace of the test's own.
struct Bench {
    plane: &'static ControlPlane,
    namespace: String,
}

impl Bench {
    async fn new(name: &str) -> Result<Self> {
        let plane = ControlPlane::shared().await?;
        plane.apply_crds().await?;
        let namespace = plane.namespace(name).await?;
        Ok(Self { plane, namespace })
    }

    async fn run(&self, args: &[&str], object: Option<&Value>) -> Result<Output> {
        let text = object.map(Value::to_string);
        let args = [&["-n", self.namespace.as_str()], args].concat();
        self.plane.admin().kubectl(&args, text.as_deref()).await
    }

    /// Runs kubectl, which must succeed.
    async fn kubectl(&self, args: &[&str], object: Option<&Value>) -> Result<String> {
        self.run(args, object).await?.success()
    }

    async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let text = self.kubectl(&["get", kind, name, "-o", "json"], None).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What the API server says against an object; nothing where it would take it.
    async fn refusal(&self, object: &Value) -> Result<Option<String>> {
        let output = self
            .run(&["create", "--dry-run=server", "-f", "-"], Some(object))
            .await?;
        Ok((!output.status.success()).then_some(output.stderr))
    }
}

fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": name},
        "spec": {
            "agents": [{"serviceAccount": {"name": "coder"}}],
            "rules": [{"name": "read", "effect": "Allow", "methods": ["storage.*.get"]}],
        },
    })
}

fn request(name: &str) -> Value {
    json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": name},
        "spec": {
            "agent": {"name": "agents/coder"},
            "call": {
                "method": "run.namespaces.services.create",
                "resources": ["namespaces/acme-dev/services/web"],
                "verb": "POST",
                "url": "us-central1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/acme-dev/services",
                "bodyBytes": 2,
            },
            "policies": [
                {"namespace": "agents", "name": "coder", "uid": "1", "generation": 1, "rule": "deploy"},
            ],
            "digest": digest('a'),
            "expiresAt": "2099-01-01T00:00:00Z",
        },
    })
}

fn digest(fill: char) -> String {
    format!("sha256:{}", fill.to_string().repeat(64))
}

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
    let context = Context {
        gateway_namespace: "turnpike-system",
    };
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
    let cases: Vec<Wrong> = vec![
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
            "spec.agents[0]: set exactly one of serviceAccount and oidc",
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

#[tokio::test]
async fn right_policies_are_taken_in_the_cluster_and_from_files() -> Result<()> {
    let bench = Bench::new("right").await?;
    let cases: [Change; 6] = [
        ("/metadata/labels", Some(json!({"team": "dev"}))),
        ("/spec/rules", Some(json!([]))),
        ("/spec/rules", None),
        ("/spec/agents/0/oidc", Some(Value::Null)),
        ("/spec/credential", Some(Value::Null)),
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
            "NAME", "AGENT", "METHOD", "RESOURCE", "STATE", "EXPIRES", "AGE", "RULE"
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
        phase.contains("Pending, then one of Approved, Denied and Expired"),
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
        if !field["description"].as_str().is_some_and(|text| text.len() > 8) {
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
