//! `check`: what it says of right and wrong policies, to the letter.

mod common;

use anyhow::Result;
use common::{Output, command, finish, run};
use serde_json::{Value, json};

const RIGHT: &str = "\
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents:
    - serviceAccount: {name: coder}
  rules:
    - name: read
      effect: Allow
      methods: [\"storage.*.get\", \"run.**.get\"]
    - name: deploy
      effect: RequireApproval
      methods: [\"run.**.create\"]
      approval: {holdFor: 4m, expiresAfter: 24h}
";

/// A policy whose spec is this, which begins in line 5.
fn policy(spec: &str) -> String {
    format!(
        "apiVersion: turnpike.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: coder, namespace: agents}}\nspec:\n{spec}"
    )
}

/// A policy whose only rule has these further lines, from line 9 on.
fn rule(lines: &str) -> String {
    policy(&format!(
        "  agents:\n    - serviceAccount: {{name: coder}}\n  rules:\n    - name: one\n{lines}"
    ))
}

fn check(text: &str) -> Result<Output> {
    finish(command(&["check", "-"]), text.as_bytes())
}

#[test]
fn what_is_wrong_is_told_with_its_place() -> Result<()> {
    let two = format!(
        "{RIGHT}---\n{}",
        RIGHT
            .replace("name: coder,", "name: other,")
            .replace("Allow", "Alow")
    );
    let twice = format!("{RIGHT}---\n{RIGHT}");
    let cases: [(&str, String, i32, &[&str]); 16] = [
        ("right", RIGHT.into(), 0, &["1 policy with 2 rules is fine."]),
        (
            "not YAML",
            "apiVersion: [".into(),
            1,
            &["<stdin>:1:13: ", "1 problem; 0 policies with 0 rules are fine."],
        ),
        (
            "another kind",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n".into(),
            1,
            &[
                "<stdin>:1:13: apiVersion: is \"v1\", and should be \"turnpike.dev/v1alpha1\"",
                "<stdin>:2:7: kind: is \"ConfigMap\", and should be \"AgentPolicy\"",
                "<stdin>:1:1: spec: is required",
                "3 problems; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "unknown field",
            rule("      efect: Allow\n      methods: [\"run.**\"]\n"),
            1,
            &[
                "<stdin>:8:7: spec.rules[0].effect: is required",
                "<stdin>:9:14: spec.rules[0].efect: no such field; did you mean effect?",
                "2 problems; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "enum",
            rule("      effect: Alow\n      methods: [\"run.**\"]\n"),
            1,
            &[
                "<stdin>:9:15: spec.rules[0].effect: Alow is not one of Allow, Deny, RequireApproval",
                "1 problem; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "type",
            rule("      effect: Allow\n      methods: run.**\n"),
            1,
            &[
                "<stdin>:10:16: spec.rules[0].methods: should be a list, and is the string \"run.**\"",
                "1 problem; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "method glob",
            rule("      effect: Allow\n      methods:\n        - run.**\n        - storage..get\n"),
            1,
            &[
                "<stdin>:12:11: spec.rules[0].methods[1]: segment 2 is empty",
                "1 problem; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "resource glob",
            rule(
                "      effect: Allow\n      methods: [\"run.**\"]\n      resources: [\"projects/a\", \"/projects/b\"]\n",
            ),
            1,
            &[
                "<stdin>:11:33: spec.rules[0].resources[1]: ",
                "1 problem; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "durations",
            rule(
                "      effect: RequireApproval\n      methods: [\"run.**\"]\n      approval:\n        holdFor: 2h\n        expiresAfter: 0s\n",
            ),
            1,
            &[
                "<stdin>:12:18: spec.rules[0].approval.holdFor: at most 1 h",
                "<stdin>:13:23: spec.rules[0].approval.expiresAfter: ",
                "2 problems; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "approval without need",
            rule("      effect: Deny\n      methods: [\"run.**\"]\n      approval: {holdFor: 1m}\n"),
            1,
            &[
                "<stdin>:11:7: spec.rules[0].approval: approval settings need effect RequireApproval",
                "1 problem; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "two rules of one name",
            rule(
                "      effect: Allow\n      methods: [\"run.**\"]\n    - name: one\n      effect: Deny\n      methods: [\"iam.**\"]\n",
            ),
            1,
            &[
                "<stdin>:11:13: spec.rules[1].name: \"one\" is the name of spec.rules[0] too: records and approvals name rules",
                "1 problem; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "agents of another namespace",
            policy("  agents:\n    - serviceAccount: {name: coder, namespace: other}\n"),
            1,
            &[
                "<stdin>:6:48: spec.agents[0].serviceAccount.namespace: a policy selects agents of its own namespace \
                 (agents); only policies in turnpike-system may select others",
                "1 problem; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "no selector",
            policy("  agents: [{}]\n"),
            1,
            &[
                "<stdin>:5:12: spec.agents[0]: set exactly one of serviceAccount and oidc",
                "1 problem; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "the other document is fine",
            two,
            1,
            &[
                "<stdin>:24:15: spec.rules[0].effect: Alow is not one of Allow, Deny, RequireApproval",
                "1 problem; 1 policy with 2 rules is fine.",
            ],
        ),
        (
            "one policy twice",
            twice,
            1,
            &[
                "<stdin>:18:18: metadata.name: policy agents/coder stands at <stdin>:3:18 too",
                "1 problem; 1 policy with 2 rules is fine.",
            ],
        ),
        (
            "nothing",
            "# only a comment\n".into(),
            0,
            &[
                "<stdin>: warning: holds no policy",
                "0 policies with 0 rules are fine.",
            ],
        ),
    ];
    for (what, text, code, lines) in cases {
        let output = check(&text)?;
        let found: Vec<&str> = output.stdout.lines().collect();
        // A line that ends in ": " leaves the words to the crate that they come from.
        let same = found.len() == lines.len()
            && std::iter::zip(&found, lines).all(|(found, wanted)| {
                found == wanted || wanted.ends_with(": ") && found.starts_with(wanted)
            });
        assert!(same, "{what}: {found:#?}, not {lines:#?}");
        assert_eq!((output.code, output.stderr.as_str()), (code, ""), "{what}");
    }
    Ok(())
}

#[test]
fn a_method_that_nobody_has_is_a_warning() -> Result<()> {
    let text = rule(
        "      effect: Deny\n      methods: [\"run.**\", \"storage.object.get\", \"nosuchapi.**\"]\n  \
         secrets:\n    fields:\n      - methods: [storage.objects]\n        paths: [\"**.token\"]\n",
    );
    assert_eq!(
        check(&text)?,
        Output::new(
            0,
            "<stdin>:10:27: warning: spec.rules[0].methods[1]: storage.object.get matches no method that is known; did \
             you mean storage.objects.get?\n\
             <stdin>:10:49: warning: spec.rules[0].methods[2]: nosuchapi.** matches no method that is known; `kubectl \
             turnpike explain VERB URL` says what a request's method is called\n\
             <stdin>:13:19: warning: spec.secrets.fields[0].methods[0]: storage.objects matches no method that is \
             known; did you mean storage.objects.*?\n\
             1 policy with 1 rule is fine.\n",
            ""
        )
    );
    Ok(())
}

#[test]
fn the_gateways_namespace_may_select_all() -> Result<()> {
    let text = RIGHT
        .replace("namespace: agents", "namespace: gate")
        .replace("{name: coder}", "{name: \"*\", namespace: \"*\"}");
    let args = ["check", "-", "--gateway-namespace", "gate"];
    let fine = finish(command(&args), text.as_bytes())?;
    assert_eq!(fine, Output::new(0, "1 policy with 2 rules is fine.\n", ""));
    assert_eq!(check(&text)?.code, 1);
    Ok(())
}

#[test]
fn selectors_of_namespaces_are_matched_with_the_labels_that_are_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let text = RIGHT
        .replace("namespace: agents", "namespace: turnpike-system")
        .replace(
            "{name: coder}\n",
            "\n        name: \"*\"\n        namespaceSelector: {matchLabels: {env: prod}}\n",
        );
    let with = |labels: &str| -> Result<Output> {
        let file = dir.path().join("namespaces.yaml");
        std::fs::write(&file, labels)?;
        let file = file.display().to_string();
        let mut output = finish(command(&["check", "-", "--namespaces", &file]), text.as_bytes())?;
        output.stderr = output.stderr.replace(&file, "FILE");
        Ok(output)
    };
    let fine = "1 policy with 2 rules is fine.\n";
    let warning = |message: &str| {
        let place = "<stdin>:8:9: warning: spec.agents[0].serviceAccount.namespaceSelector";
        format!("{place}: {message}\n{fine}")
    };
    assert_eq!(
        check(&text)?,
        Output::new(
            0,
            &warning("is matched with no namespace here: tell their labels by --namespaces FILE"),
            ""
        )
    );
    assert_eq!(with("namespaces: {a: {env: prod}}\n")?, Output::new(0, fine, ""));
    let listed = "kind: List\nitems:\n- {kind: Namespace, metadata: {name: a, labels: {env: dev}}}\n";
    assert_eq!(
        with(listed)?,
        Output::new(
            0,
            &warning("matches no namespace of those that --namespaces names"),
            ""
        )
    );
    let broken = with("namespaces: {a: prod}\n")?;
    assert_eq!(
        (broken.code, broken.stderr.as_str()),
        (1, "error: FILE:1:17: labels are a map from names to texts\n")
    );
    Ok(())
}

#[test]
fn files_and_folders() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir(dir.path().join("policies"))?;
    std::fs::create_dir(dir.path().join("empty"))?;
    std::fs::write(path("policies/a.yaml"), RIGHT)?;
    std::fs::write(
        path("policies/b.yml"),
        RIGHT.replace("name: coder,", "name: other,"),
    )?;
    std::fs::write(path("policies/notes.txt"), "not read")?;
    std::fs::write(path("binary"), b"a: b\nc: \xff\n")?;
    let two = "2 policies with 4 rules are fine.\n";

    assert_eq!(run(&["check", &path("policies")])?, Output::new(0, two, ""));
    assert_eq!(run(&["check", "--config", &path("")])?, Output::new(0, two, ""));
    assert_eq!(
        run(&["check", &path("policies"), &path("policies/a.yaml")])?,
        Output::new(
            1,
            &format!(
                "{0}:3:18: metadata.name: policy agents/coder stands at {0}:3:18 too\n1 problem; {two}",
                path("policies/a.yaml")
            ),
            ""
        )
    );
    let unreadable = [
        (
            "missing.yaml",
            "cannot be read: No such file or directory (os error 2)",
        ),
        ("empty", "the folder holds no *.yaml or *.yml file"),
        ("binary", "line 2 is not UTF-8; save the file as UTF-8"),
    ];
    for (name, message) in unreadable {
        let name = path(name);
        assert_eq!(
            run(&["check", &name, &path("policies")])?,
            Output::new(2, &format!("{name}: {message}\n1 problem; {two}"), "")
        );
    }
    let no_files = run(&["check"])?;
    assert_eq!((no_files.code, no_files.stdout.as_str()), (2, ""));
    Ok(())
}

#[test]
fn json_for_machines() -> Result<()> {
    let text = rule("      effect: Alow\n      methods: [\"run.**\"]\n");
    let output = finish(command(&["check", "-o", "json", "-"]), text.as_bytes())?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    let wanted = json!({
        "files": 1,
        "policies": 0,
        "rules": 0,
        "problems": [{
            "file": "<stdin>",
            "line": 9,
            "column": 15,
            "path": "spec.rules[0].effect",
            "message": "Alow is not one of Allow, Deny, RequireApproval",
        }],
        "warnings": [],
    });
    assert_eq!((output.code, report), (1, wanted));
    Ok(())
}

#[test]
fn names_cannot_write_on_the_terminal() -> Result<()> {
    let output = check("apiVersion: v1\nkind: \"\\e[2J\"\n\"\\e]0;x\\a\": 1\nspec: {}\n")?;
    assert!(!output.stdout.contains('\u{1b}'), "{:?}", output.stdout);
    assert_eq!(output.code, 1);
    Ok(())
}
