//! `explain`: for a person, for a program, and as a filter.

mod common;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, Result};
use common::{Output, command, finish, run};
use serde_json::{Value, json};
use turnpike_policy::catalog::{Catalog, Method};
use turnpike_tests::{process::clean_command, tools};

const OBJECT: &str = "https://storage.googleapis.com/storage/v1/b/acme-dev/o/reports%2F2026.csv";

fn filter(input: &[u8]) -> Result<Vec<Value>> {
    let output = finish(command(&["explain", "-"]), input)?;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let lines = output.stdout.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// Method or reason of each answer.
fn gist(answers: &[Value]) -> Vec<&str> {
    let text = |answer: &'static str| move |value: &Value| value[answer].as_str().is_some();
    let (method, reason) = (text("method"), text("reason"));
    answers
        .iter()
        .map(|a| match a {
            a if method(a) => a["method"].as_str().unwrap_or_default(),
            a if reason(a) => a["reason"].as_str().unwrap_or_default(),
            _ => "neither",
        })
        .collect()
}

#[test]
fn for_a_person() -> Result<()> {
    let cases: [(&str, &str, &str); 4] = [
        (
            "GET",
            OBJECT,
            "Method      storage.objects.get\n\
             API         storage v1\n\
             Resource    projects/_/buckets/acme-dev/objects/reports/2026.csv\n  \
               type      objects\n  \
               id        reports/2026.csv\n\
             Traits      read\n",
        ),
        (
            "POST",
            "https://cloudfunctions.googleapis.com/v2/projects/acme/locations/us-central1/functions",
            "Method      cloudfunctions.projects.locations.functions.create\n\
             API         cloudfunctions v2\n\
             Resource    projects/acme/locations/us-central1/**, something below that the URL does not name\n  \
               project   acme\n  \
               location  us-central1\n  \
               type      functions\n\
             Traits      change\n",
        ),
        (
            "GET",
            "https://example.com/x",
            "Refused     HOST_NOT_IN_CATALOG\n\
             Because     example.com is no Google API host that Turnpike knows; use the service's own host, such as \
             storage.googleapis.com\n",
        ),
        (
            "get",
            OBJECT,
            "Refused     VERB_MALFORMED\n\
             Because     the verb must be upper-case letters, such as GET\n",
        ),
    ];
    for (verb, url, wanted) in cases {
        let wanted = format!("Request     {verb} {url}\n{wanted}");
        assert_eq!(run(&["explain", verb, url])?, Output::new(0, &wanted, ""));
    }
    Ok(())
}

#[test]
fn for_a_program() -> Result<()> {
    let output = run(&["explain", "GET", OBJECT, "-o", "json"])?;
    let answer = json!({
        "verb": "GET",
        "url": OBJECT,
        "method": "storage.objects.get",
        "api": "storage",
        "version": "v1",
        "resource": {
            "name": "projects/_/buckets/acme-dev/objects/reports/2026.csv",
            "project": null,
            "location": null,
            "type": "objects",
            "id": "reports/2026.csv",
        },
        "traits": ["read"],
    });
    assert_eq!(output.stdout.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Value>(&output.stdout)?, answer);
    assert_eq!(filter(format!("GET {OBJECT}").as_bytes())?, [answer]);
    Ok(())
}

#[test]
fn each_line_has_one_answer_whatever_it_holds() -> Result<()> {
    let long = format!("GET https://storage.googleapis.com/{}", "a".repeat(700_000));
    let object = format!("GET {OBJECT}");
    let lines: [(&[u8], &str); 10] = [
        (object.as_bytes(), "storage.objects.get"),
        (
            b"GET https://storage.googleapis.com/storage/v1/b/acme-dev\r",
            "storage.buckets.get",
        ),
        (b"", "LINE_MALFORMED"),
        (b"GET", "LINE_MALFORMED"),
        (b"GET https://x y", "LINE_MALFORMED"),
        (b"GET https://storage.googleapis.com/\xff\xfe", "NON_ASCII"),
        (b"\0\x01\x1b\"\\", "LINE_MALFORMED"),
        (long.as_bytes(), "TARGET_TOO_LONG"),
        (
            b"BREW https://storage.googleapis.com/storage/v1/b/acme-dev",
            "VERB_NOT_IN_CATALOG",
        ),
        (object.as_bytes(), "storage.objects.get"),
    ];
    let wanted: Vec<&str> = lines.iter().map(|(_, gist)| *gist).collect();
    let input = lines.map(|(line, _)| line).join(&b'\n');
    assert_eq!(gist(&filter(&input)?), wanted, "without a line feed at the end");
    let with_end = [input.as_slice(), b"\n"].concat();
    assert_eq!(gist(&filter(&with_end)?), wanted, "with one");
    assert_eq!(filter(b"")?, [] as [Value; 0]);
    assert_eq!(gist(&filter(b"\n\n")?), ["LINE_MALFORMED", "LINE_MALFORMED"]);
    Ok(())
}

#[test]
fn a_line_beyond_all_bounds_does_not_take_the_next_with_it() -> Result<()> {
    let mut input = vec![b'a'; 40 << 20];
    input.extend_from_slice(format!("\nGET {OBJECT}\n").as_bytes());
    input.extend(vec![b'b'; 17 << 20]);
    let answers = filter(&input)?;
    assert_eq!(
        gist(&answers),
        ["LINE_TOO_LONG", "storage.objects.get", "LINE_TOO_LONG"]
    );
    Ok(())
}

#[test]
fn many_lines_come_out_whole_and_in_order() -> Result<()> {
    let url = |i: usize| format!("https://storage.googleapis.com/storage/v1/b/bucket-{i}");
    let input: String = (0..20_000).map(|i| format!("GET {}\n", url(i))).collect();
    let answers = filter(input.as_bytes())?;
    assert_eq!(answers.len(), 20_000);
    for (i, answer) in answers.iter().enumerate() {
        assert_eq!(answer["url"], url(i));
    }
    Ok(())
}

#[test]
fn an_answer_comes_before_the_next_line_is_written() -> Result<()> {
    let mut child = command(&["explain", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("no standard input")?;
    let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
    for _ in 0..3 {
        writeln!(input, "GET {OBJECT}")?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        assert_eq!(gist(&[serde_json::from_str(&line)?]), ["storage.objects.get"]);
    }
    drop(input);
    assert!(child.wait()?.success());
    Ok(())
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() -> Result<()> {
    let mut child = command(&["explain", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let mut input = child.stdin.take().context("no standard input")?;
    // The program ends as soon as it notices.
    while writeln!(input, "GET {OBJECT}").is_ok() {}
    let output = child.wait_with_output()?;
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    Ok(())
}

#[test]
fn kubectl_finds_it_as_a_plugin() -> Result<()> {
    let program = Path::new(env!("CARGO_BIN_EXE_kubectl-turnpike"));
    let mut kubectl = clean_command(tools::kubectl()?, Path::new("/nonexistent"));
    kubectl
        .env("PATH", program.parent().context("no directory")?)
        .args(["turnpike", "explain", "GET", OBJECT, "-o", "json"]);
    assert_eq!(
        finish(kubectl, b"")?,
        run(&["explain", "GET", OBJECT, "-o", "json"])?
    );
    Ok(())
}

#[test]
fn a_verb_alone_is_wrong_usage() -> Result<()> {
    for args in [&["explain", "GET"][..], &["explain", "-", OBJECT], &["explain"]] {
        let output = run(args)?;
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    Ok(())
}

/// A URL for a method, as its template has it.
fn url_of(method: &Method<'_>) -> String {
    let mut url = format!("https://{}", method.host());
    for segment in method.template.split('/') {
        let (body, verb) = segment.split_once(':').unwrap_or((segment, ""));
        url.push('/');
        url.push_str(match body {
            "*" => "item-1",
            // Documents stand in pairs of collection and id.
            "**" if method.template.contains("/documents/") => "alice",
            "**" => "first-1/second-2",
            literal => literal,
        });
        if !verb.is_empty() {
            url.push(':');
            url.push_str(verb);
        }
    }
    url
}

#[test]
fn every_method_of_the_catalogue_gives_itself_back() -> Result<()> {
    let catalog = Catalog::embedded()?;
    let mut input = String::new();
    let mut wanted = Vec::new();
    for method in catalog.methods() {
        input.push_str(&format!("{} {}\n", method.verb, url_of(&method)));
        wanted.push([method.id, method.api, method.version]);
    }
    let answers = filter(input.as_bytes())?;
    assert_eq!(answers.len(), wanted.len());
    let text = |answer: &Value, key| answer[key].as_str().unwrap_or_default().to_owned();
    let wrong: Vec<_> = std::iter::zip(&answers, &wanted)
        .filter(|(answer, wanted)| {
            ["method", "api", "version"].map(|key| text(answer, key)) != wanted.map(str::to_owned)
        })
        .collect();
    println!(
        "explain: {} of {} methods came back by a URL made from their template",
        answers.len() - wrong.len(),
        answers.len()
    );
    assert_eq!(wrong, [] as [(&Value, &[&str; 3]); 0]);
    Ok(())
}

mod decided {
    //! `explain --as`: what policies make of a request.

    use super::*;

    const POLICIES: &str = "\
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents:
    - serviceAccount: {name: coder}
  rules:
    - {name: read, effect: Allow, methods: ['group:storage.read'], resources: ['projects/_/buckets/acme-*/**']}
    - {name: clean, effect: Allow, methods: ['storage.objects.delete'], resources: ['projects/_/buckets/acme-dev-*/**'], when: 'now.getHours() > 6'}
    - {name: write, effect: RequireApproval, methods: ['storage.objects.insert', 'storage.objects.patch']}
    - {name: not-public, effect: Deny, methods: ['storage.objects.patch'], when: 'has(request.body.acl)', message: Nothing is public.}
---
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: others, namespace: agents}
spec:
  mode: DryRun
  agents: [{serviceAccount: {name: reader}}]
  rules:
    - {name: all, effect: Allow, methods: ['**']}
";
    const OBJECT: &str = "https://storage.googleapis.com/storage/v1/b/acme-dev-data/o/x";

    fn explain(args: &[&str], stdin: &[u8]) -> Result<Output> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("policies"))?;
        std::fs::write(folder.path().join("policies/all.yaml"), POLICIES)?;
        let folder = folder.path().display().to_string();
        let mut all = vec!["explain", "--config", &folder, "--at", "2026-01-06T03:00:00Z"];
        all.extend(args);
        finish(command(&all), stdin)
    }

    /// The lines behind the request's own.
    fn said(output: &Output) -> Vec<&str> {
        let lines = output.stdout.lines();
        lines.skip_while(|line| !line.starts_with("Agent ")).collect()
    }

    #[test]
    fn for_a_person() -> Result<()> {
        let rows: [(&[&str], &str, &[&str]); 6] = [
            (
                &["--as", "agents/coder", "GET", OBJECT],
                "",
                &[
                    "Agent       agents/coder",
                    "Decision    allowed: agents/coder/read allows it (RULE_ALLOWED)",
                    "Risk        0",
                    "Matches     agents/coder/read (Allow) by group:storage.read on projects/_/buckets/acme-*/**",
                ],
            ),
            (
                &["--as", "agents/coder", "DELETE", OBJECT],
                "",
                &[
                    "Agent       agents/coder",
                    "Decision    denied: no rule allows storage.objects.delete on \
                     projects/_/buckets/acme-dev-data/objects/x (NO_RULE_ALLOWS)",
                    "Risk        35",
                    "             25  destructive               deletes, destroys or resets",
                    "             10  change                    may change something",
                    "Matches     no rule matches",
                    "Nearly      agents/coder/read (Allow) would match with storage.objects.delete in its methods",
                    "            agents/coder/clean (Allow) would match if its condition held, which is false: \
                     now.getHours() > 6",
                    "            agents/coder/write (RequireApproval) would match with storage.objects.delete in its methods",
                    "To pass     add storage.objects.delete to the methods of rule agents/coder/read",
                    "            make the condition of rule agents/coder/clean hold",
                    "            add a rule: {name: delete-objects, effect: Allow, methods: [\"storage.objects.delete\"], \
                     resources: [\"projects/_/buckets/acme-dev-data/objects/x\"]}",
                    "            add storage.objects.delete to the methods of rule agents/coder/write: then it is held, \
                     agents/coder/write wants an approval",
                ],
            ),
            (
                &[
                    "--as",
                    "agents/coder",
                    "GET",
                    "https://storage.googleapis.com/storage/v1/b/other/o/x",
                ],
                "",
                &[
                    "Agent       agents/coder",
                    "Decision    denied: no rule allows storage.objects.get on projects/_/buckets/other/objects/x \
                     (NO_RULE_ALLOWS)",
                    "Risk        0",
                    "Matches     no rule matches",
                    "Nearly      agents/coder/read (Allow) would match with projects/_/buckets/other/objects/x in its \
                     resources",
                    "            agents/coder/write (RequireApproval) would match with storage.objects.get in its methods",
                    "To pass     add projects/_/buckets/other/objects/x to the resources of rule agents/coder/read",
                    "            add a rule: {name: get-objects, effect: Allow, methods: [\"storage.objects.get\"], \
                     resources: [\"projects/_/buckets/other/objects/x\"]}",
                    "            add storage.objects.get to the methods of rule agents/coder/write: then it is held, \
                     agents/coder/write wants an approval",
                ],
            ),
            (
                &["--as", "agents/coder", "--body", "-", "PATCH", OBJECT],
                r#"{"acl": []}"#,
                &[
                    "Agent       agents/coder",
                    "Decision    denied: agents/coder/not-public denies it: Nothing is public. (RULE_DENIED)",
                    "Risk        30",
                    "             20  iam                       changes who may do what",
                    "             10  change                    may change something",
                    "Matches     agents/coder/not-public (Deny) by storage.objects.patch, when has(request.body.acl): true",
                    "            agents/coder/write (RequireApproval) by storage.objects.patch",
                    "Nearly      agents/coder/read (Allow) would match with storage.objects.patch in its methods",
                    "            agents/coder/write (RequireApproval) would match with \
                     storage.objectAccessControls.insert in its methods",
                    "To pass     take rule agents/coder/not-public away, or narrow it; add a rule: {name: patch-objects, \
                     effect: Allow, methods: [\"storage.objects.patch\", \"storage.objectAccessControls.insert\"], \
                     resources: [\"projects/_/buckets/acme-dev-data/objects/x\"]}: then it is held, agents/coder/write \
                     wants an approval",
                ],
            ),
            (
                &["--as", "agents/reader", "GET", OBJECT],
                "",
                &[
                    "Agent       agents/reader",
                    "Decision    denied: no rule allows storage.objects.get on \
                     projects/_/buckets/acme-dev-data/objects/x (NO_RULE_ALLOWS)",
                    "DryRun      would be allowed with the policies in DryRun",
                    "Risk        0",
                    "Matches     agents/others/all (Allow in DryRun) by **",
                    "Nearly      agents/coder/read (Allow) would match if its policy selected agents/reader",
                    "To pass     add agents/reader to the agents of policy agents/coder",
                    "            add a rule: {name: get-objects, effect: Allow, methods: [\"storage.objects.get\"], \
                     resources: [\"projects/_/buckets/acme-dev-data/objects/x\"]}",
                ],
            ),
            (
                &["--as", "agents/coder", "GET", "https://example.com/x"],
                "",
                &[
                    "Agent       agents/coder",
                    "Decision    denied: example.com is no Google API host that Turnpike knows; use the service's own \
                     host, such as storage.googleapis.com (HOST_NOT_IN_CATALOG)",
                    "Matches     no rule matches",
                ],
            ),
        ];
        for (args, body, wanted) in rows {
            let output = explain(args, body.as_bytes())?;
            assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{args:?}");
            assert_eq!(said(&output), wanted, "{args:?}");
        }
        Ok(())
    }

    #[test]
    fn for_a_program() -> Result<()> {
        let args = [
            "--as",
            "agents/coder",
            "--body",
            "-",
            "-o",
            "json",
            "PATCH",
            OBJECT,
        ];
        let output = explain(&args, br#"{"acl": []}"#)?;
        let new = "add a rule: {name: patch-objects, effect: Allow, methods: [\"storage.objects.patch\", \
                   \"storage.objectAccessControls.insert\"], resources: \
                   [\"projects/_/buckets/acme-dev-data/objects/x\"]}";
        let object = "projects/_/buckets/acme-dev-data/objects/x";
        let risk = json!({
            "score": 30,
            "factors": [
                {"name": "iam", "points": 20, "words": "changes who may do what"},
                {"name": "change", "points": 10, "words": "may change something"},
            ],
        });
        let told = json!({
            "verb": "PATCH",
            "url": OBJECT,
            "agent": "agents/coder",
            "calls": [
                {"method": "storage.objects.patch", "resources": [object], "traits": ["change"]},
                {"method": "storage.objectAccessControls.insert", "resources": [object], "traits": ["change", "iam"]},
            ],
            "decision": "Deny",
            "reason": "RULE_DENIED",
            "rules": ["agents/coder/not-public"],
            "because": "agents/coder/not-public denies it: Nothing is public.",
            "risk": risk,
            "matched": [
                {
                    "rule": "agents/coder/not-public",
                    "effect": "Deny",
                    "method": "storage.objects.patch",
                    "condition": {"when": "has(request.body.acl)", "value": "true"},
                },
                {"rule": "agents/coder/write", "effect": "RequireApproval", "method": "storage.objects.patch"},
            ],
            "near": [
                {
                    "rule": "agents/coder/read",
                    "effect": "Allow",
                    "lacks": "with storage.objects.patch in its methods",
                },
                {
                    "rule": "agents/coder/write",
                    "effect": "RequireApproval",
                    "lacks": "with storage.objectAccessControls.insert in its methods",
                },
            ],
            "changes": [{
                "change": format!("take rule agents/coder/not-public away, or narrow it; {new}"),
                "then": {
                    "decision": "RequireApproval",
                    "reason": "APPROVAL_REQUESTED",
                    "rules": ["agents/coder/write"],
                    "because": "agents/coder/write wants an approval",
                    "risk": risk,
                },
            }],
        });
        assert_eq!(serde_json::from_str::<Value>(&output.stdout)?, told);
        Ok(())
    }

    #[test]
    fn every_change_that_is_named_does_what_is_said() -> Result<()> {
        let args = ["--as", "agents/coder", "-o", "json", "DELETE", OBJECT];
        let told: Value = serde_json::from_str(&explain(&args, b"")?.stdout)?;
        let change = |start: &str| {
            let all = told["changes"].as_array().cloned().unwrap_or_default();
            all.into_iter()
                .find(|c| c["change"].as_str().is_some_and(|t| t.starts_with(start)))
        };
        let rule = change("add a rule: ").context("no rule is proposed")?;
        let rule = rule["change"]
            .as_str()
            .and_then(|t| t.strip_prefix("add a rule: "))
            .context("no text")?;
        let policies = POLICIES.replace(
            "  rules:\n    - {name: read",
            &format!("  rules:\n    - {rule}\n    - {{name: read"),
        );
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("policy.yaml").display().to_string();
        std::fs::write(&file, policies)?;
        let args = [
            "explain",
            "--as",
            "agents/coder",
            "--policies",
            &file,
            "--at",
            "2026-01-06T03:00:00Z",
            "-o",
            "json",
            "DELETE",
            OBJECT,
        ];
        let then: Value = serde_json::from_str(&run(&args)?.stdout)?;
        assert_eq!(
            (&then["decision"], &then["rules"]),
            (&json!("Allow"), &json!(["agents/coder/delete-objects"]))
        );
        Ok(())
    }

    #[test]
    fn tokens_and_grpc() -> Result<()> {
        let claims = r#"{"iss": "https://ci.example", "sub": "repo"}"#;
        let args = ["--claims", claims, "-o", "json", "GET", OBJECT];
        let told: Value = serde_json::from_str(&explain(&args, b"")?.stdout)?;
        assert_eq!(
            (&told["agent"], &told["reason"]),
            (&json!("repo"), &json!("NO_RULE_ALLOWS"))
        );
        let url = "https://storage.googleapis.com/google.storage.v2.Storage/DeleteObject";
        let message = r#"{"1": "projects/_/buckets/acme-dev-data", "2": "x"}"#;
        let args = [
            "--as",
            "agents/coder",
            "--message",
            message,
            "-o",
            "json",
            "GRPC",
            url,
        ];
        let told: Value = serde_json::from_str(&explain(&args, b"")?.stdout)?;
        assert_eq!(
            told["calls"],
            json!([{
                "method": "storage.objects.delete",
                "resources": ["projects/_/buckets/acme-dev-data/objects/x"],
                "traits": ["change", "destructive"],
            }])
        );
        Ok(())
    }

    #[test]
    fn wrong_usage() -> Result<()> {
        let rows: [(&[&str], &str); 6] = [
            (
                &["--as", "coder", "GET", OBJECT],
                "error: \"coder\" is no agent; write NAMESPACE/NAME",
            ),
            (
                &["--as", "agents/coder", "GET"],
                "error: give a verb and a URL, as in: explain --as",
            ),
            (
                &["--claims", "{}", "GET", OBJECT],
                "error: --claims must be JSON such as ",
            ),
            (
                &["--as", "a/b", "--claims", "{}", "GET", OBJECT],
                "error: name the agent by --as",
            ),
            (
                &["--as", "a/b", "--header", "x", "GET", OBJECT],
                "error: \"x\" is no header; write --header 'NAME: VALUE'",
            ),
            (
                &["--as", "a/b", "--message", "x", "GET", OBJECT],
                "error: --message must be JSON with fields by number",
            ),
        ];
        for (args, wanted) in rows {
            let output = explain(args, b"")?;
            assert!(output.stderr.starts_with(wanted), "{args:?}: {}", output.stderr);
            assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{args:?}");
        }
        let output = run(&["explain", "--as", "agents/coder", "GET", OBJECT])?;
        assert_eq!(
            output,
            Output::new(
                1,
                "",
                "error: say where the policies are: --policies FILE, or --config DIR\n"
            )
        );
        Ok(())
    }
}

#[test]
fn groups_are_listed() -> Result<()> {
    assert_eq!(
        run(&["explain", "group:pubsub.publish"])?,
        Output::new(
            0,
            "pubsub.projects.topics.get\npubsub.projects.topics.publish\npubsub.topics.get\npubsub.topics.publish\n\
             pubsub.topics.publishBatch\n",
            ""
        )
    );
    let output = run(&["explain", "group:logging.write", "-o", "json"])?;
    assert_eq!(
        serde_json::from_str::<Value>(&output.stdout)?,
        json!({"group": "logging.write", "about": "Write log entries.", "methods": ["logging.entries.write"]})
    );
    let all = run(&["explain", "group:"])?;
    assert!(all.stdout.lines().count() >= 40, "{}", all.stdout);
    assert_eq!(
        run(&["explain", "group:pubsub.publsh"])?,
        Output::new(
            2,
            "",
            "error: no group is called \"pubsub.publsh\"; did you mean group:pubsub.publish?\n"
        )
    );
    Ok(())
}
