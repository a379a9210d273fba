//! `pending`, `approve` and `deny` against a real API server, as users with client certificates and just
//! the rights that an approver needs. The operator's part, settling, is played by the tests.

mod common;

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use common::{DIGEST, Output, command, finish, request};
use jiff::Timestamp;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use turnpike_compiler::approval::next_status;
use turnpike_crds::{ApprovalRequest, Phase};
use turnpike_tests::{
    control_plane::{ControlPlane, Kubeconfig},
    process::eventually,
};

const SOON: Duration = Duration::from_secs(30);
/// Reads `23h` however slow the test is.
const DAY: i64 = 86_400 - 1_800;
const ALICE: &str = "alice@acme.test";
const METHOD: &str = "cloudfunctions.projects.locations.functions.create";
const BILLING: &str = "projects/acme/locations/us-central1/functions/billing";

/// A namespace with an approver's Role, bound to alice.
struct Bench {
    control: &'static ControlPlane,
    client: Client,
    namespace: String,
    alice: Kubeconfig,
}

/// The control plane of this test binary, with Turnpike's definitions.
async fn control() -> Result<&'static ControlPlane> {
    static READY: OnceCell<()> = OnceCell::const_new();
    let control = ControlPlane::shared().await?;
    let define = || async {
        let before = run(control.admin(), &["pending"])?;
        assert_eq!(
            before,
            Output::new(
                1,
                "",
                &format!(
                    "error: the cluster at {} does not know approval requests; install Turnpike's custom resource \
                     definitions, or choose another cluster with --context\n",
                    control.url().trim_start_matches("https://")
                )
            )
        );
        control.apply_crds().await
    };
    READY.get_or_try_init(define).await?;
    Ok(control)
}

fn run(user: &Kubeconfig, args: &[&str]) -> Result<Output> {
    finish(invocation(user, args), b"")
}

fn invocation(user: &Kubeconfig, args: &[&str]) -> std::process::Command {
    let mut command = command(args);
    command.env("KUBECONFIG", user.path());
    command
}

impl Bench {
    async fn start() -> Result<Self> {
        let control = control().await?;
        let namespace = control.namespace("agents").await?;
        let role = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": "approver", "namespace": namespace},
                "rules": [
                    {"apiGroups": ["turnpike.dev"], "resources": ["approvalrequests"], "verbs": ["get", "list"]},
                    {"apiGroups": ["turnpike.dev"], "resources": ["approvalrequests/status"], "verbs": ["patch"]},
                ],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "approver", "namespace": namespace},
                "subjects": [{"kind": "User", "name": ALICE, "apiGroup": "rbac.authorization.k8s.io"}],
                "roleRef": {"kind": "Role", "name": "approver", "apiGroup": "rbac.authorization.k8s.io"},
            },
        ]});
        control
            .admin()
            .kubectl(&["apply", "-f", "-"], Some(&role.to_string()))
            .await?
            .success()?;
        let bench = Self {
            control,
            client: control.client().await?,
            namespace,
            alice: control.user(ALICE, &["approvers"])?,
        };
        // The authorizer learns of a new Role by a watch.
        eventually(SOON, || async {
            let listed = bench.run(&["pending"])?;
            if listed.code == 0 {
                Ok(())
            } else {
                bail!(listed.stderr)
            }
        })
        .await?;
        Ok(bench)
    }

    fn api(&self) -> Api<ApprovalRequest> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create(&self, name: &str, seconds: i64) -> Result<()> {
        let request = request(&self.namespace, name, seconds)?;
        self.api().create(&PostParams::default(), &request).await?;
        Ok(())
    }

    /// Runs a command as alice.
    fn run(&self, args: &[&str]) -> Result<Output> {
        let args = [args, &["-n", &self.namespace]].concat();
        run(&self.alice, &args)
    }

    /// Settles a request once it has a review, as the operator does.
    async fn settle(&self, name: &str) -> Result<ApprovalRequest> {
        eventually(SOON, || async {
            let mut request = self.api().get(name).await?;
            let reviews = request.status.iter().map(|s| s.reviews.len()).sum::<usize>();
            let next = next_status(&request, Timestamp::now());
            match next {
                Some(status) if reviews > 0 => request.status = Some(status),
                _ => bail!("{name} waits"),
            }
            Ok(self
                .api()
                .replace_status(name, &PostParams::default(), &request)
                .await?)
        })
        .await
    }

    /// Runs a review as alice while the operator is there.
    async fn review(&self, verb: &str, name: &str, reason: &str) -> Result<(Output, ApprovalRequest)> {
        let mut command = invocation(
            &self.alice,
            &[verb, name, "-n", &self.namespace, "--reason", reason],
        );
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start kubectl-turnpike")?;
        let settled = self.settle(name).await?;
        let output = child.wait_with_output()?;
        let output = Output {
            code: output.status.code().context("killed by a signal")?,
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        };
        Ok((output, settled))
    }
}

fn summary(name: &str) -> String {
    format!(
        "{name}: agents/coder asks for {METHOD} on {BILLING} (POST \
         cloudfunctions.googleapis.com/v2/projects/acme/locations/us-central1/functions, body of 2.0 KiB; rule deploy \
         of policy agents/coder; expires in 23h)\n"
    )
}

#[tokio::test]
async fn a_review_is_written_in_ones_own_name() -> Result<()> {
    let bench = Bench::start().await?;
    bench.create("coder-1", DAY).await?;
    assert_eq!(
        bench.run(&["approve", "coder-1", "--reason", "planned", "--wait=false"])?,
        Output::new(
            0,
            &format!("{}coder-1 is approved by you, {ALICE}.\n", summary("coder-1")),
            ""
        )
    );
    let status = serde_json::to_value(bench.api().get("coder-1").await?.status)?;
    let review = json!({"decision": "Approve", "digest": DIGEST, "reason": "planned"});
    assert_eq!(status, json!({"reviews": {ALICE: review}}));
    assert_eq!(
        bench.run(&["deny", "coder-1"])?,
        Output::new(
            1,
            "",
            &format!(
                "error: you, {ALICE}, have approved coder-1 already; a review cannot be changed, and it waits to be \
                 settled\n"
            )
        )
    );
    // Another's review stands beside it. An administrator acts in the name of another.
    let other = [
        "deny",
        "coder-1",
        "-n",
        &bench.namespace,
        "--wait=false",
        "--as",
        "root@acme.test",
    ];
    let admin = Kubeconfig::clone(bench.control.admin());
    let masters = run(&admin, &other)?;
    assert_eq!(
        masters.code, 1,
        "impersonation takes the rights of the other: {masters:?}"
    );
    assert!(
        masters.stderr.contains("User \"root@acme.test\" cannot get"),
        "{masters:?}"
    );
    let own = run(
        &admin,
        &["deny", "coder-1", "-n", &bench.namespace, "--wait=false"],
    )?;
    assert_eq!((own.code, own.stderr.as_str()), (0, ""));
    let status = serde_json::to_value(bench.api().get("coder-1").await?.status)?;
    assert_eq!(
        status,
        json!({"reviews": {ALICE: review, "admin": {"decision": "Deny", "digest": DIGEST}}})
    );
    Ok(())
}

#[tokio::test]
async fn what_came_of_a_review_is_told() -> Result<()> {
    let bench = Bench::start().await?;
    for name in ["coder-1", "coder-2"] {
        bench.create(name, DAY).await?;
    }
    let (output, settled) = bench.review("approve", "coder-1", "planned").await?;
    assert_eq!(
        output,
        Output::new(
            0,
            &format!(
                "{}coder-1 is approved by you, {ALICE}.\n\
                 Approved: the agent's call goes on if it still waits, else when it is made again.\n",
                summary("coder-1")
            ),
            ""
        )
    );
    assert_eq!(settled.status.and_then(|s| s.phase), Some(Phase::Approved));
    let (output, settled) = bench.review("deny", "coder-2", "not on Friday").await?;
    assert_eq!(
        output,
        Output::new(
            0,
            &format!(
                "{}coder-2 is denied by you, {ALICE}.\nDenied: the agent is told so.\n",
                summary("coder-2")
            ),
            ""
        )
    );
    assert_eq!(
        settled.status.and_then(|s| s.reason).as_deref(),
        Some("not on Friday")
    );
    assert_eq!(
        bench.run(&["approve", "coder-2"])?,
        Output::new(
            1,
            "",
            &format!("error: coder-2 is denied already by {ALICE}: not on Friday\n")
        )
    );
    Ok(())
}

#[tokio::test]
async fn pending_and_plain_kubectl_show_the_same() -> Result<()> {
    let bench = Bench::start().await?;
    let nothing = format!("No calls wait for approval in namespace {}.\n", bench.namespace);
    assert_eq!(bench.run(&["pending"])?, Output::new(0, "", &nothing));
    bench.create("coder-slow", DAY).await?;
    bench.create("coder-urgent", 930).await?;
    bench.create("coder-over", -5).await?;

    let rows = |text: &str| -> Vec<Vec<String>> {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().map(words).collect()
    };
    let pending = bench.run(&["pending"])?;
    assert_eq!((pending.code, pending.stderr.as_str()), (0, ""));
    let mut table = rows(&pending.stdout);
    // How old a request is that was just made, nobody can say for sure.
    let ages: Vec<_> = table.iter_mut().skip(1).filter_map(Vec::pop).collect();
    assert!(ages.iter().all(|age| age.ends_with('s')), "{ages:?}");
    assert_eq!(
        table,
        [
            vec![
                "NAME",
                "AGENT",
                "METHOD",
                "RESOURCE",
                "RISK",
                "APPROVALS",
                "EXPIRES",
                "AGE"
            ],
            vec![
                "coder-urgent",
                "agents/coder",
                METHOD,
                BILLING,
                "<none>",
                "0/1",
                "15m"
            ],
            vec![
                "coder-slow",
                "agents/coder",
                METHOD,
                BILLING,
                "<none>",
                "0/1",
                "23h"
            ],
        ]
    );
    let all = run(bench.control.admin(), &["pending", "-A"])?;
    assert!(
        rows(&all.stdout)
            .iter()
            .any(|row| row.starts_with(&[bench.namespace.clone(), "coder-urgent".to_owned()])),
        "{all:?}"
    );
    let list: Value = serde_json::from_str(&bench.run(&["pending", "-o", "json"])?.stdout)?;
    let item = &list["items"][0];
    assert_eq!(item["metadata"]["name"], "coder-urgent");
    assert_eq!(item["metadata"]["managedFields"], Value::Null);
    assert_eq!(item["kind"], "ApprovalRequest");

    let get = ["get", "apr", "coder-slow", "-n", &bench.namespace];
    let plain = bench.alice.kubectl(&get, None).await?.success()?;
    let plain = rows(&plain);
    assert_eq!(
        plain[0],
        [
            "NAME",
            "AGENT",
            "METHOD",
            "RESOURCE",
            "RISK",
            "STATE",
            "APPROVALS",
            "EXPIRES",
            "AGE"
        ]
    );
    assert_eq!(plain[1][..4], ["coder-slow", "agents/coder", METHOD, BILLING]);
    Ok(())
}

#[tokio::test]
async fn refusals_say_what_to_do() -> Result<()> {
    let bench = Bench::start().await?;
    bench.create("coder-7f3k2", DAY).await?;
    bench.create("coder-over", -5).await?;
    let expires = bench.api().get("coder-over").await?.spec.expires_at.0;
    let namespace = &bench.namespace;
    let cases = [
        (
            "coder-7f3k1",
            format!(
                "there is no approval request coder-7f3k1 in namespace {namespace}; did you mean coder-7f3k2?"
            ),
        ),
        (
            "coder-over",
            format!(
                "coder-over expired at {expires}; the agent has to make its call again, which makes a new request"
            ),
        ),
    ];
    for (name, message) in cases {
        assert_eq!(
            bench.run(&["approve", name])?,
            Output::new(1, "", &format!("error: {message}\n"))
        );
    }
    let bob = bench.control.user("bob@acme.test", &[])?;
    let rights = "ask an administrator for a Role with get and list on approvalrequests and patch on \
                  approvalrequests/status, group turnpike.dev";
    assert_eq!(
        run(&bob, &["approve", "coder-7f3k2", "-n", namespace])?,
        Output::new(
            1,
            "",
            &format!(
                "error: you may not read the approval request: approvalrequests.turnpike.dev \"coder-7f3k2\" is \
                 forbidden: User \"bob@acme.test\" cannot get resource \"approvalrequests\" in API group \
                 \"turnpike.dev\" in the namespace \"{namespace}\"; {rights}\n"
            )
        )
    );
    let untouched = bench.api().get("coder-7f3k2").await?;
    assert_eq!(untouched.status, None);

    let token = "eyJhbGciOiJub25lIn0.e30.not-a-real-token";
    let stranger = bench.control.with_token("stranger", token)?;
    let output = run(&stranger, &["approve", "coder-7f3k2", "-n", namespace])?;
    let server = bench.control.url();
    assert_eq!(
        output,
        Output::new(
            1,
            "",
            &format!(
                "error: the API server {} does not accept your credentials; log in again\n",
                server.trim_start_matches("https://")
            )
        )
    );
    Ok(())
}
