//! Kubeconfigs that do not work: told in a sentence, without a word of what is secret in them.

mod common;

use std::path::Path;

use anyhow::Result;
use common::{Output, command, finish};
use turnpike_tests::process::free_port;

const SECRET: &str = "not-a-real-token-6b1f";

/// A kubeconfig whose user has these fields.
fn kubeconfig(server: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\n\
         contexts: [{{name: here, context: {{cluster: c, user: u}}}}]\n\
         users: [{{name: u, user: {user}}}]\n"
    )
}

fn pending(path: &Path, args: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
    let mut command = command(&["pending"]);
    command
        .args(args)
        .env("KUBECONFIG", path)
        .envs(environment.iter().copied());
    finish(command, b"")
}

#[test]
fn what_is_wrong_is_told_and_nothing_else() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = format!("https://127.0.0.1:{}", free_port()?);
    let host = server.trim_start_matches("https://");
    let token = format!("{{token: {SECRET}}}");
    let exec = |command: &str| {
        format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: [-c, \
             \"{command}\"]}}}}"
        )
    };
    let failing = exec(&format!("echo {SECRET}; echo {SECRET} >&2; exit 3"));
    let babbling = exec(&format!("echo '{{\\\"status\\\": {SECRET}'"));
    let elsewhere = "https://api.acme.test";
    type Case<'a> = (&'a str, String, &'a [&'a str], &'a [(&'a str, &'a str)], String);
    let cases: [Case<'_>; 7] = [
        (
            "no YAML",
            format!("users: [{{name: u, user: {{token: {SECRET}"),
            &[],
            &[],
            "the kubeconfig cannot be read: it is no kubeconfig at line ".to_owned(),
        ),
        (
            "another shape",
            format!("users: {SECRET}\n"),
            &[],
            &[],
            "the kubeconfig cannot be read: it is no kubeconfig at line ".to_owned(),
        ),
        (
            "another context",
            kubeconfig(&server, &token),
            &["--context", "there"],
            &[],
            "the kubeconfig has no context \"there\"; `kubectl config get-contexts` lists them\n".to_owned(),
        ),
        (
            "nobody listens",
            kubeconfig(&server, &token),
            &[],
            &[],
            format!(
                "cannot list approval requests: the API server {host} cannot be reached: Connection refused"
            ),
        ),
        (
            "plugin that fails",
            kubeconfig(&server, &failing),
            &[],
            &[],
            "the credential plugin of the kubeconfig failed with exit status: 3; run `kubectl get ns` to see what it says\n"
                .to_owned(),
        ),
        (
            "plugin that babbles",
            kubeconfig(&server, &babbling),
            &[],
            &[],
            "your credentials for the cluster cannot be used; ".to_owned(),
        ),
        (
            "behind a proxy",
            kubeconfig(elsewhere, &token),
            &[],
            &[("HTTPS_PROXY", "http://user:not-a-real-token-6b1f@127.0.0.1:1")],
            "the API server api.acme.test is to be reached through an HTTP proxy ".to_owned(),
        ),
    ];
    for (what, text, args, environment, message) in cases {
        let path = dir.path().join("kubeconfig");
        std::fs::write(&path, text)?;
        let output = pending(&path, args, environment)?;
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (1, ""),
            "{what}: {output:?}"
        );
        assert!(
            output.stderr.starts_with(&format!("error: {message}")),
            "{what}: {output:?}"
        );
        assert!(!output.stderr.contains(SECRET), "{what}: {output:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{what}: {output:?}");
    }
    let none = finish(command(&["pending"]), b"")?;
    assert_eq!(none.code, 1);
    assert!(
        none.stderr.contains("or name a standalone folder with --config"),
        "{none:?}"
    );
    let both = finish(command(&["pending", "--config", "x", "--context", "y"]), b"")?;
    assert_eq!((both.code, both.stdout.as_str()), (2, ""));
    Ok(())
}
