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
    let cases: [(&str, String, i32, &[&str]); 19] = [
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
            "who has to approve",
            rule(
                "      effect: RequireApproval\n      methods: [\"run.**\"]\n      approval:\n        approvals: 2\n        approvers: {users: [alice]}\n    - name: two\n      effect: RequireApproval\n      methods: [\"iam.**\"]\n      approval:\n        approvals: 3\n        approvers: {groups: [sec, sre]}\n        requireDistinctGroups: true\n    - name: three\n      effect: RequireApproval\n      methods: [\"kms.**\"]\n      approval: {approvals: 2, requireDistinctGroups: true, approvers: {users: [a], groups: [b, c]}}\n",
            ),
            1,
            &[
                "<stdin>:13:21: spec.rules[0].approval.approvers.users: 1 user cannot give the 2 approvals that it takes",
                "<stdin>:20:32: spec.rules[1].approval.requireDistinctGroups: it takes 3 approvals of different groups, and approvers.groups names 2",
                "<stdin>:24:55: spec.rules[2].approval.requireDistinctGroups: it counts groups, and approvers.users are in none: name groups alone, or leave it away",
                "3 problems; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "no number of approvals",
            rule(
                "      effect: RequireApproval\n      methods: [\"run.**\"]\n      approval: {approvals: 11}\n",
            ),
            1,
            &[
                "<stdin>:11:29: spec.rules[0].approval.approvals: is 11; at most 10",
                "1 problem; 0 policies with 0 rules are fine.",
            ],
        ),
        (
            "nobody who could approve",
            rule(
                "      effect: RequireApproval\n      methods: [\"run.**\"]\n      approval: {approvers: {}}\n",
            ),
            1,
            &[
                "<stdin>:11:18: spec.rules[0].approval.approvers: name users or groups: an empty list would let nobody approve",
                "1 problem; 0 policies with 0 rules are fine.",
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

/// A policy with a rule that denies under a condition, which stands in line 11 and what follows.
fn when(condition: &str) -> String {
    rule(&format!(
        "      effect: Deny\n      methods: [\"run.**\"]\n      when: {condition}\n"
    ))
}

/// A policy with one agent and these further lines of its spec, from line 7 on.
fn spec(lines: &str) -> String {
    policy(&format!(
        "  agents:\n    - serviceAccount: {{name: coder}}\n{lines}"
    ))
}

/// Wrong policies of every kind: each problem with its place, and what stands there in the file.
#[test]
fn every_kind_of_problem_points_at_its_place() -> Result<()> {
    let rows: Vec<(String, &str, &str)> = vec![
        (
            rule("      effect: Allow\n      methods: [run.jobs.get, group:storage.reed]\n"),
            "10:37: spec.rules[0].methods[1]: no group is called \"storage.reed\"; did you mean group:storage.read?",
            "storage.reed]",
        ),
        (
            rule("      effect: Allow\n      methods: [\"group:pubsub.everything\"]\n"),
            "10:24: spec.rules[0].methods[0]: no group is called \"pubsub.everything\"; there are pubsub.read, \
             pubsub.publish, pubsub.subscribe, pubsub.admin",
            "pubsub.everything\"]",
        ),
        (
            rule("      effect: Allow\n      methods:\n        - 'run.projects get'\n"),
            "11:11: spec.rules[0].methods[0]: \"run.projects get\" does not have the form ",
            "'run.projects get'",
        ),
        (
            rule(
                "      effect: Allow\n      methods: [\"run.**\"]\n      resources: [\"projects/\\u0061cme\\tx\"]\n",
            ),
            "11:38: spec.rules[0].resources[0]: character '\\t' at column 14 cannot occur here",
            "\\tx\"]",
        ),
        (
            rule("      effect: Allow\n      methods: [\"run.**\"]\n      resources: [\"projects//x\"]\n"),
            "11:19: spec.rules[0].resources[0]: segment 2 is empty",
            "\"projects//x\"]",
        ),
        (
            rule("      effect: Deny\n      methods: [\"run.**\"]\n      wen: 'true'\n"),
            "11:12: spec.rules[0].wen: no such field; did you mean when?",
            "'true'",
        ),
        // Conditions, in every way to write a string.
        (
            when("resource.nam == \"x\""),
            "11:22: spec.rules[0].when: resource has no field `nam`: did you mean `name`?",
            "nam == ",
        ),
        (
            when(
                "method == \"x\" &&\n        resource.name ==\n        resource.project && reques.verb == \"GET\"",
            ),
            "13:29: spec.rules[0].when: unknown name `reques`: did you mean `request`?",
            "reques.verb",
        ),
        (
            when("'method == ''x'' && api = \"y\"'"),
            "11:37: spec.rules[0].when: unexpected `=`: write == to compare",
            "= \"y\"'",
        ),
        (
            when("\"method == \\\"x\\\" && agent.nam == \\\"y\\\"\""),
            "11:39: spec.rules[0].when: agent has no field `nam`: ",
            "nam == ",
        ),
        (
            when("|\n        method == \"x\"\n          && request.size > \"5\""),
            "13:27: spec.rules[0].when: `>` does not order an int and a string",
            "> \"5\"",
        ),
        (
            when(">-\n        method == \"x\"\n        && request.headers.exists(h, h ==\n        5)"),
            "13:40: spec.rules[0].when: a string is never equal to an int",
            "==",
        ),
        (
            when("method =="),
            "11:22: spec.rules[0].when: the expression ends too early",
            "",
        ),
        (
            when("'method + \"x\"'"),
            "11:14: spec.rules[0].when: a condition is true or false, and this is a string",
            "method + ",
        ),
        (
            when("method.beginsWith(\"run\")"),
            "11:20: spec.rules[0].when: unknown method `beginsWith`: ",
            "beginsWith",
        ),
        (
            when("'method.matches(\"run.(\")'"),
            "11:29: spec.rules[0].when: not a pattern: ",
            "\"run.(\"",
        ),
        (
            when(&format!("'{}'", ["method == \"x\""; 80].join(" || "))),
            "11:13: spec.rules[0].when: has 1356 characters; at most 1024",
            "'method",
        ),
        (
            // The place of an alias is where its text stands.
            when("&c 'api == \"run\"'") + "    - {name: two, effect: Deny, methods: [\"**\"], when: *d}\n",
            "12:56: alias references unknown anchor",
            "*d}",
        ),
        // Risk.
        (
            spec(
                "  risk:\n    denyAbove: 50\n    factors:\n      - {name: prod, when: 'resource.projekt == \"p\"', points: 5}\n",
            ),
            "10:38: spec.risk.factors[0].when: resource has no field `projekt`: did you mean `project`?",
            "projekt == ",
        ),
        (
            spec("  risk:\n    denyAbove: 50\n    weights: {destructiv: 5}\n"),
            "9:27: spec.risk.weights.destructiv: there is no built-in factor of this name; did you mean destructive?",
            "5}",
        ),
        (
            spec("  risk:\n    denyAbove: 50\n    approveAbove: 70\n"),
            "9:19: spec.risk.approveAbove: 70 is above denyAbove (50): nothing would be left to approve",
            "70",
        ),
        (
            spec("  risk:\n    weights: {change: 5}\n"),
            "7:3: spec.risk: set approveAbove or denyAbove: a score alone does nothing",
            "risk:",
        ),
        (
            spec("  risk:\n    approveAbove: 500\n"),
            "8:19: spec.risk.approveAbove: is 500; at most 100",
            "500",
        ),
        // Limits.
        (
            spec("  limits:\n    callsPerMinute: -1\n"),
            "8:21: spec.limits.callsPerMinute: is -1; at least 0",
            "-1",
        ),
        (
            spec("  limits: {changesPerHour: \"30\"}\n"),
            "7:28: spec.limits.changesPerHour: should be an integer, and is the string \"30\"",
            "\"30\"}",
        ),
        (
            spec("  limits: {callPerMinute: 30}\n"),
            "7:27: spec.limits.callPerMinute: no such field; did you mean callsPerMinute?",
            "30}",
        ),
        (
            spec("  limits: {changesPerHour: 5.5}\n"),
            "7:28: spec.limits.changesPerHour: should be an integer, and is the number 5.5 (write the digits alone: no point, \
             no exponent, no zero in front)",
            "5.5}",
        ),
        (
            spec("  limits: {changesPerHour: 1, changesPerHour: 2}\n"),
            "7:31: the key changesPerHour is there twice",
            "changesPerHour: 2",
        ),
        // Names that are taken.
        (
            spec("  secrets:\n    detectors:\n      - {name: private-key, pattern: acme_x}\n"),
            "9:16: spec.secrets.detectors[0].name: a built-in detector has this name",
            "private-key, ",
        ),
        (
            spec(
                "  risk:\n    denyAbove: 5\n    factors:\n      - {name: destructive, when: 'true', points: 1}\n",
            ),
            "10:16: spec.risk.factors[0].name: \"destructive\" is a built-in factor; give this one another name, or that \
             one other points in spec.risk.weights",
            "destructive, ",
        ),
        // Secrets.
        (
            spec("  secrets: {requests: Hold}\n"),
            "7:23: spec.secrets.requests: Hold is not one of Allow, Deny, RequireApproval",
            "Hold}",
        ),
        (
            spec("  secrets:\n    detectors:\n      - name: ours\n        pattern: 'acme_[a-z'\n"),
            "10:24: spec.secrets.detectors[0].pattern: ",
            "[a-z'",
        ),
        (
            spec(
                "  secrets:\n    detectors:\n      - {name: ours, pattern: acme_x}\n      - {name: ours, pattern: acme_y}\n",
            ),
            "10:16: spec.secrets.detectors[1].name: \"ours\" is the name of spec.secrets.detectors[0] too",
            "ours, ",
        ),
        (
            spec("  secrets: {requests: Deny, approval: {holdFor: 1m}}\n"),
            "7:29: spec.secrets.approval: approval settings need requests or unscannable RequireApproval",
            "approval: ",
        ),
        (
            spec("  secrets:\n    fields:\n      - methods: [\"run.**\"]\n        paths: [\"env..value\"]\n"),
            "10:17: spec.secrets.fields[0].paths[0]: step 2 is empty",
            "\"env..value\"]",
        ),
        // Agents and what they get.
        (
            policy(
                "  agents:\n    - serviceAccount:\n        name: \"*\"\n        namespaceSelector: {matchLabels: {env: dev}}\n",
            ),
            "8:9: spec.agents[0].serviceAccount.namespaceSelector: only policies in turnpike-system may select namespaces; \
             one in agents selects agents of its own",
            "namespaceSelector: ",
        ),
        (
            policy("  agents:\n    - oidc: {issuer: 'https://ci.example'}\n"),
            "6:7: spec.agents[0].oidc: set subject or claims: an issuer alone would select everybody it knows",
            "oidc: ",
        ),
        (
            spec("  credential:\n    ambient: {}\n    serviceAccountKey: {secretRef: {name: k}}\n"),
            "7:3: spec.credential: set at most one of ambient and serviceAccountKey",
            "credential:",
        ),
        (
            spec("  recording: {bodies: Masked, retention: 400 days}\n"),
            "7:42: spec.recording.retention: \"400 days\" does not have the form ",
            "400 days}",
        ),
        (policy("  rules: []\n"), "4:1: spec.agents: is required", "spec:"),
        (
            spec("").replace("name: coder, ", ""),
            "3:1: metadata.name: a policy needs a name",
            "metadata:",
        ),
        (
            policy("  agents:\n\t- serviceAccount: {name: coder}\n"),
            "6:2: ",
            "- serviceAccount",
        ),
    ];
    assert!(rows.len() >= 20);
    for (text, wanted, there) in &rows {
        let output = check(text)?;
        let lines: Vec<&str> = output.stdout.lines().collect();
        let wanted = format!("<stdin>:{wanted}");
        // A line that ends in a blank leaves the words to the crate that they come from.
        let same = |found: &str| found == wanted || wanted.ends_with(' ') && found.starts_with(&wanted);
        assert!(lines.len() == 2 && same(lines[0]), "{text}\n{}", output.stdout);
        assert_eq!((output.code, output.stderr.as_str()), (1, ""), "{text}");
        let mut place = wanted
            .split(':')
            .skip(1)
            .map_while(|number| number.parse::<usize>().ok());
        let (line, column) = (place.next().unwrap_or(0), place.next().unwrap_or(0));
        let rest: String = text
            .lines()
            .nth(line - 1)
            .unwrap_or("")
            .chars()
            .skip(column - 1)
            .collect();
        assert!(
            rest.starts_with(there) && (!there.is_empty() || rest.is_empty()),
            "{text}\n{wanted} is at {rest:?}"
        );
    }
    Ok(())
}

#[test]
fn a_group_that_is_too_wide_to_allow_is_a_warning() -> Result<()> {
    let text = rule("      effect: Allow\n      methods: [\"group:storage.read\", \"group:credentials\"]\n");
    assert_eq!(
        check(&text)?,
        Output::new(
            0,
            "<stdin>:10:39: warning: spec.rules[0].methods[1]: group:credentials holds everything that could be meant, \
             for rules that deny or want an approval; an Allow rule should name its methods\n\
             1 policy with 1 rule is fine.\n",
            ""
        )
    );
    assert_eq!(
        check(&text.replace("Allow", "Deny"))?,
        Output::new(0, "1 policy with 1 rule is fine.\n", "")
    );
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
