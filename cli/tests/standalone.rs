//! `pending`, `approve` and `deny` on the folder of a standalone proxy, whose part the tests play.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use common::{DIGEST, Output, command, finish, request};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use turnpike_compiler::{approval::next_status, load};
use turnpike_crds::{ApprovalRequest, ApprovalRequirement, Phase, Review, ReviewDecision, RiskSummary};
use turnpike_tests::process::eventually;

/// A day, and so much less that it reads `23h` however slow the test is.
const DAY: i64 = 86_400 - 1_800;
const SOON: Duration = Duration::from_secs(20);
const HEAD: &str = "# To decide, write under status, and save.\n# Or run kubectl-turnpike.\n";

struct Folder(TempDir);

impl Folder {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("approvals"))?;
        Ok(Self(dir))
    }

    fn dir(&self) -> String {
        self.0.path().display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("approvals").join(format!("{name}.yaml"))
    }

    /// Writes a request as the proxy does.
    fn write(&self, request: &ApprovalRequest) -> Result<()> {
        let name = request.metadata.name.as_deref().context("no name")?;
        let text = format!("{HEAD}{}", serde_saphyr::to_string(request)?);
        let fresh = self.path(name).with_extension("yaml.new");
        fs::write(&fresh, text)?;
        Ok(fs::rename(fresh, self.path(name))?)
    }

    /// A request that waits.
    fn pending(&self, name: &str, seconds: i64) -> Result<ApprovalRequest> {
        let mut request = request("agents", name, seconds)?;
        let created = Timestamp::from_second(Timestamp::now().as_second() - 36_000)?;
        request.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created));
        request.status = next_status(&request, created);
        self.write(&request)?;
        Ok(request)
    }

    fn read(&self, name: &str) -> Result<ApprovalRequest> {
        let text = fs::read_to_string(self.path(name))?;
        load::approval_request(&text).map_err(|problems| anyhow::anyhow!("{problems:?}"))
    }

    /// Settles a request as soon as it was reviewed, as the proxy does.
    async fn settle(&self, name: &str) -> Result<ApprovalRequest> {
        eventually(SOON, || async {
            let mut request = self.read(name)?;
            match next_status(&request, Timestamp::now()) {
                None => bail!("{name} waits"),
                Some(status) => {
                    request.status = Some(status);
                    self.write(&request)?;
                    Ok(request)
                }
            }
        })
        .await
    }

    fn run(&self, args: &[&str]) -> Result<Output> {
        finish(self.command(args), b"")
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = command(&["--config", &self.dir()]);
        command.args(args);
        command
    }

    fn spawn(&self, args: &[&str]) -> Result<Child> {
        let mut command = self.command(args);
        Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    /// Names of all files in the folder of requests.
    fn files(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.0.path().join("approvals"))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

fn ended(child: Child) -> Result<Output> {
    let output = child.wait_with_output()?;
    Ok(Output {
        code: output.status.code().context("killed by a signal")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

fn summary(name: &str) -> String {
    format!(
        "{name}: agents/coder asks for cloudfunctions.projects.locations.functions.create on \
         projects/acme/locations/us-central1/functions/billing (POST \
         cloudfunctions.googleapis.com/v2/projects/acme/locations/us-central1/functions, body of 2.0 KiB; rule deploy \
         of policy agents/coder; expires in 23h)\n"
    )
}

#[test]
fn pending_lists_what_waits() -> Result<()> {
    let folder = Folder::new()?;
    let place = folder.0.path().join("approvals").display().to_string();
    assert_eq!(
        folder.run(&["pending"])?,
        Output::new(0, "", &format!("No calls wait for approval in {place}.\n"))
    );

    folder.pending("coder-slow", DAY)?;
    let mut urgent = folder.pending("coder-urgent", 930)?;
    urgent.spec.risk = Some(RiskSummary {
        score: 62,
        factors: Vec::new(),
    });
    folder.write(&urgent)?;
    folder.pending("coder-over", -5)?;
    let mut decided = folder.pending("coder-decided", DAY)?;
    decided.status.get_or_insert_default().phase = Some(Phase::Denied);
    folder.write(&decided)?;
    let mut other = request("other", "odd-one", 4 * 86_400 - 600)?;
    other.spec.agent.name = "other/\u{1b}[31mred".to_owned();
    other.spec.requires = vec![ApprovalRequirement {
        approvals: 2,
        ..ApprovalRequirement::default()
    }];
    other.spec.call.resources = vec!["projects/a".to_owned(), "projects/b".to_owned()];
    folder.write(&other)?;
    fs::write(folder.path("broken"), "kind: [")?;

    let method = "cloudfunctions.projects.locations.functions.create";
    let billing = "projects/acme/locations/us-central1/functions/billing";
    let output = folder.run(&["pending", "-A"])?;
    let columns = |line: &str| {
        line.split("   ")
            .map(|c| c.trim().to_owned())
            .filter(|c| !c.is_empty())
            .collect::<Vec<_>>()
    };
    let table: Vec<Vec<String>> = output.stdout.lines().map(columns).collect();
    assert_eq!(
        table,
        [
            [
                "NAMESPACE",
                "NAME",
                "AGENT",
                "METHOD",
                "RESOURCE",
                "RISK",
                "APPROVALS",
                "EXPIRES",
                "AGE"
            ],
            [
                "agents",
                "coder-urgent",
                "agents/coder",
                method,
                billing,
                "62",
                "0/1",
                "15m",
                "10h"
            ],
            [
                "agents",
                "coder-slow",
                "agents/coder",
                method,
                billing,
                "<none>",
                "0/1",
                "23h",
                "10h"
            ],
            [
                "other",
                "odd-one",
                "other/\\u{1b}[31mred",
                method,
                "projects/a (+1)",
                "<none>",
                "0/2",
                "3d23h",
                "<unknown>"
            ],
        ]
    );
    assert!(output.stdout.lines().all(|line| !line.ends_with(' ')));
    assert!(
        output
            .stderr
            .starts_with(&format!("warning: {place}/broken.yaml is no approval request: ")),
        "{}",
        output.stderr
    );

    let in_agents = folder.run(&["pending", "-n", "agents", "-o", "json"])?;
    let list: Value = serde_json::from_str(&in_agents.stdout)?;
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"][0], serde_json::to_value(&urgent)?);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    let yaml = folder.run(&["pending", "-n", "agents", "-o", "yaml"])?;
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml.stdout)?, list);
    let none = folder.run(&["pending", "-n", "nobody", "-o", "json"])?;
    assert_eq!(serde_json::from_str::<Value>(&none.stdout)?["items"], json!([]));
    Ok(())
}

#[tokio::test]
async fn approve_writes_a_review_and_tells_what_came_of_it() -> Result<()> {
    let folder = Folder::new()?;
    let before = folder.pending("coder-7f3k2", DAY)?;
    let approve = folder.spawn(&["approve", "coder-7f3k2", "--reason", "planned: \"#1\"\n- yes"])?;
    let settled = folder.settle("coder-7f3k2").await?;
    let output = ended(approve)?;
    let review = Review {
        decision: ReviewDecision::Approve,
        digest: Some(DIGEST.to_owned()),
        reason: Some("planned: \"#1\"\n- yes".to_owned()),
        groups: Vec::new(),
    };
    let status = settled.status.clone().context("no status")?;
    assert_eq!(
        status.reviews.into_iter().collect::<Vec<_>>(),
        [("alice".to_owned(), review)]
    );
    assert_eq!(
        (status.phase, status.decided_by),
        (Some(Phase::Approved), vec!["alice".to_owned()])
    );
    assert_eq!(settled.spec, before.spec);
    assert_eq!(
        output,
        Output::new(
            0,
            &format!(
                "{}coder-7f3k2 is approved by you, alice.\n\
                 Approved: the agent's call goes on if it still waits, else when it is made again.\n",
                summary("coder-7f3k2")
            ),
            ""
        )
    );
    Ok(())
}

#[tokio::test]
async fn deny_in_another_name() -> Result<()> {
    let folder = Folder::new()?;
    folder.pending("coder-7f3k2", DAY)?;
    let deny = folder.spawn(&["deny", "coder-7f3k2", "--as", "bob@acme.test", "-n", "agents"])?;
    let settled = folder.settle("coder-7f3k2").await?;
    let output = ended(deny)?;
    let status = serde_json::to_value(settled.status)?;
    assert_eq!(
        (&status["reviews"], &status["phase"]),
        (
            &json!({"bob@acme.test": {"decision": "Deny", "digest": DIGEST}}),
            &json!("Denied")
        )
    );
    assert_eq!(
        output,
        Output::new(
            0,
            &format!(
                "{}coder-7f3k2 is denied by you, bob@acme.test.\nDenied: the agent is told so.\n",
                summary("coder-7f3k2")
            ),
            ""
        )
    );
    Ok(())
}

/// In a container, nobody sets $USER.
#[test]
fn without_a_user_in_the_environment_it_is_the_login_name() -> Result<()> {
    let folder = Folder::new()?;
    folder.pending("coder-7f3k2", DAY)?;
    let mut approve = folder.command(&["approve", "coder-7f3k2", "--wait=false"]);
    approve.env_remove("USER");
    assert_eq!(finish(approve, b"")?.code, 0);
    let login = std::process::Command::new("id").arg("-un").output()?;
    let login = String::from_utf8(login.stdout)?.trim().to_owned();
    let reviews = folder.read("coder-7f3k2")?.status.unwrap_or_default().reviews;
    assert_eq!(reviews.into_keys().collect::<Vec<_>>(), [login]);
    Ok(())
}

/// A review changes nothing but the review, leaves no other file, and is not lost among others.
#[test]
fn reviews_of_many_at_once_are_all_kept() -> Result<()> {
    let folder = Folder::new()?;
    let before = folder.pending("coder-7f3k2", DAY)?;
    let names: Vec<String> = (0..12).map(|i| format!("user-{i:02}")).collect();
    let children: Vec<Child> = names
        .iter()
        .map(|name| folder.spawn(&["approve", "coder-7f3k2", "--wait=false", "--as", name]))
        .collect::<Result<_>>()?;
    for child in children {
        let output = ended(child)?;
        assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    }
    let mut after = folder.read("coder-7f3k2")?;
    let reviews = std::mem::take(&mut after.status.get_or_insert_default().reviews);
    assert_eq!(reviews.into_keys().collect::<Vec<_>>(), names);
    assert_eq!(after, before);
    assert_eq!(folder.files()?, ["coder-7f3k2.yaml"]);
    assert!(fs::read_to_string(folder.path("coder-7f3k2"))?.starts_with(HEAD));
    Ok(())
}

#[test]
fn nobody_settles() -> Result<()> {
    let folder = Folder::new()?;
    folder.pending("coder-7f3k2", DAY)?;
    assert_eq!(
        folder.run(&["approve", "coder-7f3k2", "--timeout", "100ms"])?,
        Output::new(
            0,
            &format!(
                "{}coder-7f3k2 is approved by you, alice.\nIt is not settled after 100ms. It counts as soon as the \
                 standalone proxy of that folder sees it, which must run for that; or more approvals are needed.\n",
                summary("coder-7f3k2")
            ),
            ""
        )
    );
    Ok(())
}

#[tokio::test]
async fn the_opposite_came_of_it() -> Result<()> {
    let folder = Folder::new()?;
    let mut request = folder.pending("coder-7f3k2", DAY)?;
    let deny = Review {
        decision: ReviewDecision::Deny,
        digest: None,
        reason: Some("not on Friday".to_owned()),
        groups: Vec::new(),
    };
    request
        .status
        .get_or_insert_default()
        .reviews
        .insert("bob".to_owned(), deny);
    folder.write(&request)?;
    let approve = folder.spawn(&["approve", "coder-7f3k2"])?;
    eventually(SOON, || async {
        match folder.read("coder-7f3k2")?.status.map(|s| s.reviews.len()) {
            Some(2) => Ok(()),
            other => bail!("{other:?} reviews"),
        }
    })
    .await?;
    folder.settle("coder-7f3k2").await?;
    let output = ended(approve)?;
    assert_eq!(
        (output.code, output.stderr.as_str()),
        (
            1,
            "error: your review is written, but the request was denied by bob: not on Friday\n"
        )
    );
    Ok(())
}

#[test]
fn what_cannot_be_reviewed() -> Result<()> {
    let folder = Folder::new()?;
    let place = folder.0.path().join("approvals").display().to_string();
    folder.pending("coder-7f3k2", DAY)?;
    folder.pending("coder-over", -5)?;
    let mut written = folder.pending("coder-mine", DAY)?;
    let review = |decision| Review {
        decision,
        digest: None,
        reason: None,
        groups: Vec::new(),
    };
    let status = written.status.get_or_insert_default();
    status
        .reviews
        .insert("alice".to_owned(), review(ReviewDecision::Deny));
    folder.write(&written)?;
    for (name, phase) in [
        ("coder-approved", Phase::Approved),
        ("coder-denied", Phase::Denied),
        ("coder-consumed", Phase::Consumed),
    ] {
        let mut request = folder.pending(name, DAY)?;
        let status = request.status.get_or_insert_default();
        status.phase = Some(phase);
        status.decided_by = vec!["bob".to_owned()];
        status.reason = Some("as planned".to_owned());
        folder.write(&request)?;
    }
    fs::copy(folder.path("coder-7f3k2"), folder.path("coder-copy"))?;
    let expired = folder.read("coder-over")?.spec.expires_at.0;

    let cases = [
        ("coder-7f3k1", format!("there is no approval request coder-7f3k1 in {place}; did you mean coder-7f3k2?")),
        (
            "unlike",
            format!("there is no approval request unlike in {place}; `pending` lists those that wait, with -A of all namespaces"),
        ),
        (
            "agents/coder-7f3k2",
            "give the name alone, and the namespace as a flag: -n agents coder-7f3k2".to_owned(),
        ),
        (
            "../approvals/coder-7f3k2",
            "\"../approvals/coder-7f3k2\" is no name of an approval request; `pending` lists their names".to_owned(),
        ),
        (
            "coder-over",
            format!("coder-over expired at {expired}; the agent has to make its call again, which makes a new request"),
        ),
        ("coder-approved", "coder-approved is approved already by bob: as planned".to_owned()),
        ("coder-denied", "coder-denied is denied already by bob: as planned".to_owned()),
        (
            "coder-consumed",
            "coder-consumed is decided and its call was made; it was approved by bob: as planned".to_owned(),
        ),
        (
            "coder-mine",
            "you, alice, have denied coder-mine already; a review cannot be changed, and it waits to be settled".to_owned(),
        ),
        (
            "coder-copy",
            format!(
                "{place}/coder-copy.yaml holds the approval request coder-7f3k2; rename the file to that name"
            ),
        ),
    ];
    let before = snapshot(&folder)?;
    for (name, message) in cases {
        assert_eq!(
            folder.run(&["approve", name])?,
            Output::new(1, "", &format!("error: {message}\n"))
        );
    }
    let elsewhere = folder.run(&["approve", "coder-7f3k2", "-n", "other"])?;
    assert_eq!(elsewhere.code, 1);
    assert_eq!(snapshot(&folder)?, before);

    for reason in ["", "  ", &"x".repeat(1025)] {
        assert_eq!(
            folder.run(&["approve", "coder-7f3k2", "--reason", reason])?.code,
            2
        );
    }
    assert_eq!(
        folder.run(&["approve", "coder-7f3k2", "--as", " "])?,
        Output::new(
            1,
            "",
            "error: who are you? Neither $USER nor the system's list of users says; give your name with --as NAME\n"
        )
    );
    Ok(())
}

#[test]
fn a_folder_that_is_none() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().display().to_string();
    let output = finish(command(&["pending", "--config", &path]), b"")?;
    assert_eq!(
        output,
        Output::new(
            1,
            "",
            &format!(
                "error: {path} is no folder of a standalone proxy: it has neither turnpike.yaml nor approvals/; name \
                 the folder that `turnpike-proxy standalone --init` made\n"
            )
        )
    );
    fs::write(Path::new(&path).join("turnpike.yaml"), "")?;
    assert_eq!(finish(command(&["pending", "--config", &path]), b"")?.code, 0);
    Ok(())
}

/// All files and what they hold.
fn snapshot(folder: &Folder) -> Result<Vec<(String, String)>> {
    let read = |name: String| -> Result<_> {
        let text = fs::read_to_string(folder.0.path().join("approvals").join(&name))?;
        Ok((name, text))
    };
    folder.files()?.into_iter().map(read).collect()
}
