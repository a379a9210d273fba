//! `check --calls`: what it says of tables of calls, to the letter.

mod common;

use anyhow::Result;
use common::{Output, run};
use serde_json::{Value, json};

const POLICY: &str = "\
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents:
    - serviceAccount: {name: coder}
    - oidc: {issuer: 'https://ci.example', claims: {ref: main}}
  rules:
    - {name: read, effect: Allow, methods: ['group:storage.read'], resources: ['projects/_/buckets/acme-*/**']}
    - {name: write, effect: RequireApproval, methods: ['group:storage.write'], resources: ['projects/_/buckets/acme-*/**']}
    - name: not-at-night
      effect: Deny
      methods: ['**']
      when: now.getHours() < 6
    - {name: publish, effect: Allow, methods: ['group:pubsub.publish'], when: 'request.headers.team == \"a\"'}
  risk: {denyAbove: 90, factors: [{name: fast, when: 'true', points: 1}], weights: {first-use: 95}}
";

const OBJECT: &str = "https://storage.googleapis.com/storage/v1/b/acme-data/o/x";

/// The files of one run, and their folder.
struct Files(tempfile::TempDir);

impl Files {
    fn new(calls: &str) -> Result<Self> {
        let files = Self(tempfile::tempdir()?);
        std::fs::write(files.path("policy.yaml"), POLICY)?;
        std::fs::write(files.path("calls.yaml"), calls)?;
        Ok(files)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Runs `check`; the folder is cut off from what it says.
    fn check(&self, more: &[&str]) -> Result<Output> {
        let (policy, calls) = (self.path("policy.yaml"), self.path("calls.yaml"));
        let mut args = vec!["check", &policy, "--calls", &calls];
        args.extend(more);
        let mut output = run(&args)?;
        output.stdout = output
            .stdout
            .replace(&format!("{}/", self.0.path().display()), "");
        Ok(output)
    }
}

const FINE: &str = "1 policy with 4 rules is fine.\n";

#[test]
fn right_tables_of_every_kind_of_row() -> Result<()> {
    let calls = format!(
        "defaults: {{as: agents/coder, at: 2026-01-06T12:00:00Z, headers: {{team: a}}}}
must_allow:
  - call: GET {OBJECT}
    rule: read
    method: storage.objects.get
    reason: RULE_ALLOWED
  - {{call: 'GET {OBJECT}', rule: agents/coder/read}}
  - as: {{iss: 'https://ci.example', sub: repo, aud: [turnpike, other], claims: {{ref: main}}}}
    call: GET {OBJECT}
  - grpc: google.pubsub.v1.Publisher/Publish
    message: {{1: projects/acme/topics/t}}
    body: {{messages: [{{data: aGVsbG8=}}]}}
    method: pubsub.projects.topics.publish
  - grpc: pubsub.googleapis.com/google.pubsub.v1.Publisher/Publish
    message: {{1: projects/acme/topics/t}}
must_hold:
  - call: POST https://storage.googleapis.com/upload/storage/v1/b/acme-data/o?uploadType=multipart
    body: {{name: from-the-metadata}}
    rule: write
  - call: POST https://storage.googleapis.com/upload/storage/v1/b/acme-data/o?uploadType=media&name=x
    body: {{name: no-metadata, acl: []}}
    rule: write
  - call: POST {OBJECT}/compose
    body_file: compose.json
must_deny:
  - {{as: agents/other, call: 'GET {OBJECT}', reason: NO_RULE_ALLOWS}}
  - {{call: 'GET {OBJECT}', at: '2026-01-06T03:00:00Z', rule: not-at-night, reason: RULE_DENIED}}
  - {{call: 'GET {OBJECT}', pace: {{first_use: true, last_hour: 3}}, rule: spec.risk, reason: RISK_DENIED}}
  - {{call: 'GET https://example.com/', reason: HOST_NOT_IN_CATALOG}}
  - {{grpc: google.pubsub.v1.Publisher/Publish, message: {{1: projects/acme/topics/t}}, headers: {{Team: b}}}}
  - as: {{iss: 'https://ci.example', sub: repo, aud: other, claims: {{ref: main}}}}
    call: GET {OBJECT}
"
    );
    let files = Files::new(&calls)?;
    std::fs::write(
        files.path("compose.json"),
        json!({"sourceObjects": [{"name": "a"}, {"name": "b"}]}).to_string(),
    )?;
    let said = format!("{FINE}14 calls are decided as they must be.\n");
    assert_eq!(files.check(&[])?, Output::new(0, &said, ""));
    Ok(())
}

#[test]
fn what_is_decided_otherwise_is_told_at_its_row() -> Result<()> {
    let calls = format!(
        "defaults: {{as: agents/coder}}
must_deny:
  - call: GET {OBJECT}
  -   name: a write
      call: PATCH {OBJECT}
must_allow:
  - {{call: 'DELETE {OBJECT}'}}
  - {{call: 'GET {OBJECT}', rule: write}}
  - {{call: 'GET {OBJECT}', reason: OTHER}}
  - {{call: 'GET {OBJECT}', method: storage.objects.list}}
  - {{call: 'GET https://storage.googleapis.com/nothing/here/x'}}
  - {{call: 'GET {OBJECT}'}}
"
    );
    let files = Files::new(&calls)?;
    let by_read = "agents/coder/read allows it (RULE_ALLOWED)";
    let said = format!(
        "calls.yaml:3:5: must_deny: agents/coder GET {OBJECT}: must be denied and is allowed: {by_read}
calls.yaml:4:7: must_deny: a write: must be denied and is held: agents/coder/write wants an approval (APPROVAL_REQUESTED)
calls.yaml:7:5: must_allow: agents/coder DELETE {OBJECT}: must be allowed and is denied: no rule allows \
         storage.objects.delete on projects/_/buckets/acme-data/objects/x (NO_RULE_ALLOWS)
calls.yaml:8:5: must_allow: agents/coder GET {OBJECT}: is allowed, not by write: {by_read}
calls.yaml:9:5: must_allow: agents/coder GET {OBJECT}: is allowed, not for OTHER: {by_read}
calls.yaml:10:5: must_allow: agents/coder GET {OBJECT}: is storage.objects.get and no storage.objects.list
calls.yaml:11:5: must_allow: agents/coder GET https://storage.googleapis.com/nothing/here/x: must be allowed and is \
         denied: no rule allows storage.objects.get on projects/_/buckets/nothing/objects/here/x (NO_RULE_ALLOWS)
{FINE}7 of 8 calls are decided otherwise than they must be.
"
    );
    assert_eq!(files.check(&[])?, Output::new(1, &said, ""));

    let output = files.check(&["-o", "json"])?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    assert_eq!(output.code, 1);
    assert_eq!(
        report["calls"]["rows"][1],
        json!({
            "file": "calls.yaml",
            "line": 4,
            "column": 7,
            "name": "a write",
            "must": "Deny",
            "methods": ["storage.objects.patch"],
            "decision": "RequireApproval",
            "reason": "APPROVAL_REQUESTED",
            "rules": ["agents/coder/write"],
            "because": "agents/coder/write wants an approval",
            "risk": {
                "score": 11,
                "factors": [
                    {"name": "change", "points": 10, "words": "may change something"},
                    {"name": "fast", "points": 1, "words": "a condition of the policy holds"},
                ],
            },
            "failure": "must be denied and is held: agents/coder/write wants an approval (APPROVAL_REQUESTED)",
        })
    );
    assert_eq!(report["calls"]["rows"].as_array().map(Vec::len), Some(8));
    Ok(())
}

#[test]
fn junit_for_ci() -> Result<()> {
    let calls = format!(
        "defaults: {{as: agents/coder}}
must_allow:
  - {{name: 'a <read>', call: 'GET {OBJECT}'}}
must_deny:
  - {{name: another, call: 'GET {OBJECT}'}}
"
    );
    let output = Files::new(&calls)?.check(&["-o", "junit"])?;
    let failure = "must be denied and is allowed: agents/coder/read allows it (RULE_ALLOWED)";
    let wanted = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="turnpike check" tests="3" skipped="0" failures="1" errors="0">
    <testsuite name="policies" tests="1" skipped="0" errors="0" failures="0">
        <testcase name="1 policy with 4 rules is fine."/>
    </testsuite>
    <testsuite name="calls.yaml must_allow" tests="1" skipped="0" errors="0" failures="0">
        <testcase name="a &lt;read&gt;" classname="calls.yaml must_allow" file="calls.yaml" line="3"/>
    </testsuite>
    <testsuite name="calls.yaml must_deny" tests="1" skipped="0" errors="0" failures="1">
        <testcase name="another" classname="calls.yaml must_deny" file="calls.yaml" line="5">
            <failure message="{failure}">calls.yaml:5:5: {failure}</failure>
        </testcase>
    </testsuite>
</testsuites>
"#
    );
    assert_eq!(output, Output::new(1, &wanted, ""));
    Ok(())
}

#[test]
fn a_table_that_cannot_be_used_is_told_with_its_place() -> Result<()> {
    let rows: [(&str, &str); 12] = [
        (
            "must_allow:\n  - {as: agents/coder, call: 'GET https://x'}\nmust_permit: []\n",
            "calls.yaml:3:1: unknown field `must_permit`",
        ),
        (
            "must_allow:\n  - as: agents/coder\n    cal: GET https://x\n",
            "calls.yaml:3:5: unknown field `cal`",
        ),
        (
            "must_allow:\n  - {call: 'GET https://x'}\n",
            "calls.yaml:2:5: say whose call it is, as: NAMESPACE/NAME",
        ),
        (
            "must_allow:\n  - {as: coder, call: 'GET https://x'}\n",
            "calls.yaml:2:10: \"coder\" is no agent; write NAMESPACE/NAME",
        ),
        (
            "must_allow:\n  - {as: agents/coder}\n",
            "calls.yaml:2:5: say the call, as call: VERB URL or grpc: package.Service/Method, one of them",
        ),
        (
            "must_allow:\n  - {as: agents/coder, call: GET}\n",
            "calls.yaml:2:5: call: \"GET\" is no VERB URL",
        ),
        (
            "must_allow:\n  - {as: agents/coder, grpc: Publish}\n",
            "calls.yaml:2:5: grpc: \"Publish\" is no [HOST/]package.Service/Method",
        ),
        (
            "must_allow:\n  - {as: agents/coder, call: 'GET https://x', at: yesterday}\n",
            "calls.yaml:2:5: at: \"yesterday\" is no time such as 2026-01-06T12:00:00Z",
        ),
        (
            "must_allow:\n  - {as: agents/coder, call: 'GET https://x', body: {}, body_file: x}\n",
            "calls.yaml:2:5: give body or body_file, not both",
        ),
        (
            "must_allow:\n  - {as: agents/coder, call: 'GET https://x', body_file: missing.json}\n",
            "calls.yaml:2:5: body_file: missing.json cannot be read",
        ),
        (
            "must_allow:\n  - {as: {iss: x}, call: 'GET https://x'}\n",
            "calls.yaml:2:",
        ),
        ("must_allow: [\n", "calls.yaml:1:13: unclosed bracket"),
    ];
    for (calls, wanted) in rows {
        let output = Files::new(calls)?.check(&[])?;
        let first = output.stdout.lines().next().unwrap_or_default();
        assert!(first.starts_with(wanted), "{calls:?}: {}", output.stdout);
        assert_eq!((output.code, output.stderr.as_str()), (2, ""), "{calls:?}");
    }
    // Of rows, everything that is wrong is told.
    let both = "must_deny:\n  - {as: agents/coder}\nmust_allow:\n  - {call: x}\n";
    let output = Files::new(both)?.check(&[])?;
    assert_eq!(output.stdout.lines().count(), 3, "{}", output.stdout);
    Ok(())
}

#[test]
fn a_row_that_proves_nothing_of_policies_makes_a_table_unusable() -> Result<()> {
    let refused = |why: &str, reason: &str| {
        format!(
            "calls.yaml:2:5: is refused for what it is, whatever policies say: {why}; correct the call, or say reason: \
             {reason} under must_deny if that is what you mean"
        )
    };
    let deny = |row: &str| format!("must_deny:\n  - {{as: agents/coder, {row}}}\n");
    let wrong_host = OBJECT.replace(".com", ".con");
    let rows = [
        (
            deny(&format!("call: 'GET {wrong_host}'")),
            refused(
                "storage.googleapis.con is no Google API host that Turnpike knows; use the service's own host, such as \
                 storage.googleapis.com",
                "HOST_NOT_IN_CATALOG",
            ),
        ),
        (
            deny(&format!("call: 'DELTE {OBJECT}'")),
            refused(
                "/storage/v1/b/acme-data/o/x on storage.googleapis.com is no method with DELTE, only with another verb; \
                 send the method's own verb",
                "VERB_NOT_IN_CATALOG",
            ),
        ),
        (
            deny(&format!("call: 'GET {}'", OBJECT.trim_start_matches("https://"))),
            refused("the URL must start with https://", "SCHEME_NOT_HTTPS"),
        ),
        (
            // A reason that is not the one it is refused for.
            deny("call: 'GET https://storage.googleapis.com/storage/v1/x/b', reason: RULE_DENIED"),
            refused(
                "GET /storage/v1/x/b is no method that storage.googleapis.com is known to have; check the path and its \
                 version",
                "METHOD_NOT_IN_CATALOG",
            ),
        ),
        (
            deny(&format!("call: 'GET {OBJECT}', secrets: [private-kye]")),
            "calls.yaml:2:5: secrets: no built-in detector is called \"private-kye\", and none of these policies; did \
             you mean \"private-key\"?"
                .to_owned(),
        ),
        (
            "defaults: {as: agents/coder}\nmust_deny: []\n".to_owned(),
            "calls.yaml:1:1: the table holds no call: list some under must_allow, must_hold or must_deny".to_owned(),
        ),
    ];
    for (calls, wanted) in rows {
        let said = format!("{wanted}\n1 problem; {FINE}");
        assert_eq!(
            Files::new(&calls)?.check(&[])?,
            Output::new(2, &said, ""),
            "{calls}"
        );
    }
    Ok(())
}

#[test]
fn bodies_are_read_as_the_gateway_reads_them() -> Result<()> {
    let policy = "\
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - {name: write, effect: Allow, methods: ['run.**']}
    - {name: no-x, effect: Deny, methods: ['run.**'], when: request.body.x == 1}
";
    let bodies = [
        (r#"{"x": 2}"#, "must_allow"),
        (r#"{"x": 1}"#, "must_deny"),
        (r#"{"x": 1, "x": 2}"#, "must_deny"),
        (r#"{"x": 2} {}"#, "must_deny"),
        (r#"{"x": 2, "y": 1e400}"#, "must_deny"),
        ("\u{feff}{\"x\": 2}", "must_deny"),
    ];
    for (body, list) in bodies {
        let files = Files::new(&format!(
            "{list}:\n  - {{as: agents/coder, call: 'PATCH https://run.googleapis.com/v2/projects/p/locations/l/services/s', \
             body_file: body.json}}\n"
        ))?;
        std::fs::write(files.path("policy.yaml"), policy)?;
        std::fs::write(files.path("body.json"), body)?;
        let said = "1 policy with 2 rules is fine.\n1 call is decided as it must be.\n";
        assert_eq!(files.check(&[])?, Output::new(0, said, ""), "{body}");
    }
    Ok(())
}

#[test]
fn calls_are_not_tried_on_broken_policies() -> Result<()> {
    let files = Files::new(&format!(
        "must_allow:\n  - {{as: agents/coder, call: 'GET {OBJECT}'}}\n"
    ))?;
    std::fs::write(
        files.path("policy.yaml"),
        POLICY.replace("effect: Allow", "effect: Alow"),
    )?;
    let output = files.check(&[])?;
    assert_eq!(output.code, 1);
    assert!(!output.stdout.contains("decided"), "{}", output.stdout);
    std::fs::write(files.path("policy.yaml"), POLICY)?;
    std::fs::remove_file(files.path("calls.yaml"))?;
    let said =
        format!("calls.yaml: cannot be read: No such file or directory (os error 2)\n1 problem; {FINE}");
    assert_eq!(files.check(&[])?, Output::new(2, &said, ""));
    Ok(())
}
