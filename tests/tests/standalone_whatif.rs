//! What an agent did becomes a policy: `suggest`, `check`, `impact` and `diff` on the audit log of a day like the
//! demo's, by the real programs. The transcript is printed.

use std::process::Command;

use anyhow::{Result, ensure};
use turnpike_tests::{
    standin::{Options, Standin},
    turnpike::{
        binary,
        standalone::{Folder, Standalone},
    },
};

/// A policy that is tried out beside the example's.
const TIGHTEN: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: tighten, namespace: agents}
spec:
  mode: DryRun
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - name: ask-for-secrets
      effect: RequireApproval
      methods: ["secretmanager.**.access"]
      when: request.verb == "GET" && resource.project == "acme-dev"
"#;

const SERVICES: &str = "run.googleapis.com/v2/projects/acme-dev/locations/us-central1/services";

/// The agent's day: what the demo shows, and some objects that it writes and reads.
async fn a_day(gate: &Standalone) -> Result<()> {
    let coder = gate.agent("agents/coder")?;
    let expect = async |verb: &str, url: &str, body: &str, status: u16| -> Result<()> {
        let answer = coder.call(verb, url, body).await?;
        ensure!(
            answer.status == status,
            "{verb} {url}: {} {}",
            answer.status,
            answer.text()
        );
        Ok(())
    };
    let bucket = "storage.googleapis.com/storage/v1/b/acme-dev-data";
    expect(
        "GET",
        "storage.googleapis.com/storage/v1/b?project=acme-dev",
        "",
        200,
    )
    .await?;
    expect("GET", &format!("{bucket}/o"), "", 200).await?;
    for object in ["q1.csv", "q2.csv", "q3.csv", "q1.csv"] {
        expect("GET", &format!("{bucket}/o/reports%2F{object}"), "", 404).await?;
    }
    let secret =
        "secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db-password/versions/latest:access";
    expect("GET", secret, "", 200).await?;
    let deploy = format!("{SERVICES}?serviceId=billing");
    let image = r#"{"template":{"containers":[{"image":"us-docker.pkg.dev/acme-dev/app/billing:1"}]}}"#;
    let approve = async {
        gate.approval("Pending")
            .await?
            .review("alice", "Approve", "looks right")
    };
    let (deployed, approved) = tokio::join!(expect("POST", &deploy, image, 200), approve);
    approved?;
    deployed?;
    let keys = "iam.googleapis.com/v1/projects/-/serviceAccounts/coder@acme-dev.iam.gserviceaccount.com/keys";
    expect("POST", keys, "{}", 403).await?;
    expect("DELETE", &format!("{bucket}/o/reports%2Fq1.csv"), "", 403).await
}

/// Runs the CLI, prints what a terminal would show, and gives what it wrote, with one time in the place of all.
fn kubectl_turnpike(gate: &Standalone, args: &[&str]) -> Result<String> {
    let output = Command::new(binary("kubectl-turnpike")?)
        .current_dir(gate.path())
        .env_remove("KUBECONFIG")
        .args(args)
        .output()?;
    let (out, err) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    println!("$ kubectl turnpike {}\n{out}{err}", args.join(" "));
    ensure!(output.status.success(), "{args:?} exits with {}", output.status);
    ensure!(err.is_empty(), "{err}");
    Ok(timeless(&out))
}

/// `TIME` for everything like `2026-07-01T10:00:00Z`.
fn timeless(text: &str) -> String {
    const FORM: &str = "0000-00-00T00:00:00Z";
    let mut told = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let is_time = rest.get(..FORM.len()).is_some_and(|time| {
            time.chars().zip(FORM.chars()).all(|(c, form)| match form {
                '0' => c.is_ascii_digit(),
                form => c == form,
            })
        });
        let (shown, length) = if is_time {
            ("TIME", FORM.len())
        } else {
            (&rest[..c.len_utf8()], c.len_utf8())
        };
        told.push_str(shown);
        rest = &rest[length..];
    }
    told
}

const SUGGESTED: &str = "\
# Suggested from 10 calls of agents/coder, from TIME to TIME. It lets pass what was
#   let pass, and holds what was held.
# Methods that destroy, hand out credentials or are about who may do what want an approval here even where they were
#   allowed; so does what was let pass at some times and refused by policies at others, because a trail does not tell
#   which condition made the difference. A glob stands for three names or more, or for what is created below a name,
#   because creates do not tell the names of children. Take away what the agent should not do; then put it in the
#   place of the policies that select the agent now.
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata:
  name: coder
  namespace: agents
spec:
  agents:
    - serviceAccount:
        name: coder
  rules:
    # 6 calls, the last at TIME: 1 storage.buckets.list, 4 storage.objects.get, 1
    #   storage.objects.list.
    # projects/_/buckets/acme-dev-data/objects/reports/** stands for 3 names: q1.csv, q2.csv, q3.csv.
    - name: storage-read
      effect: Allow
      methods:
        - storage.buckets.list
        - storage.objects.get
        - storage.objects.list
      resources:
        - projects/_/buckets/acme-dev-data
        - \"projects/_/buckets/acme-dev-data/objects/reports/**\"
        - projects/acme-dev
    # 1 call, at TIME: 1 run.projects.locations.services.create.
    # These were held.
    - name: run-ask
      effect: RequireApproval
      methods:
        - run.projects.locations.services.create
      resources:
        - projects/acme-dev/locations/us-central1/services/billing
    # 1 call, at TIME: 1 secretmanager.projects.secrets.versions.access.
    # Their answers hold credentials.
    - name: secretmanager-credentials
      effect: RequireApproval
      methods:
        - secretmanager.projects.secrets.versions.access
      resources:
        - projects/acme-dev/secrets/db-password/versions/latest
# Refused, and not allowed here:
# - 1 call, at TIME: iam.projects.serviceAccounts.keys.create on
#   projects/acme-dev/serviceAccounts/coder@acme-dev.iam.gserviceaccount.com: RULE_DENIED.
# - 1 call, at TIME: storage.objects.delete on
#   projects/_/buckets/acme-dev-data/objects/reports/q1.csv: NO_RULE_ALLOWS.
";

#[tokio::test]
async fn a_day_on_record_becomes_a_policy_and_tells_what_changes() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let example = std::fs::read_to_string(Folder::example()?.policy("coder"))?;
    let folder = Folder::new(&standin)?;
    folder.write_policy("coder", &example)?;
    folder.write_policy("tighten", TIGHTEN)?;
    let gate = folder.start().await?;
    a_day(&gate).await?;
    gate.trail("storage.objects.delete").await?;

    let suggested = kubectl_turnpike(
        &gate,
        &[
            "suggest",
            "--audit",
            "audit/topic.jsonl",
            "--agent",
            "agents/coder",
        ],
    )?;
    assert_eq!(suggested, SUGGESTED);
    assert_eq!(
        suggested,
        kubectl_turnpike(&gate, &["--config", ".", "suggest"])?,
        "it is the same again"
    );
    std::fs::write(gate.path().join("suggested.yaml"), &suggested)?;

    let checked = kubectl_turnpike(&gate, &["check", "suggested.yaml"])?;
    assert_eq!(checked, "1 policy with 3 rules is fine.\n");

    let secret = "projects/acme-dev/secrets/db-password/versions/latest";
    let would_be_held = |policy: &str, rule: &str| {
        format!(
            "Policy {policy}, enforced, on 10 calls of its agents:\n\n\
             Would be held: 1 call\n  \
               agents/coder: secretmanager.projects.secrets.versions.access: Allow (rule use-secrets of agents/coder) -> \
               RequireApproval (rule {rule} of {policy}), 1 call\n    \
                 TIME; on {secret}\n"
        )
    };
    let impact = kubectl_turnpike(&gate, &["impact", "suggested.yaml", "--audit", "."])?;
    assert_eq!(impact, would_be_held("agents/coder", "secretmanager-credentials"));
    let impact = kubectl_turnpike(&gate, &["--config", ".", "impact", "agents/tighten"])?;
    let told = "\n1 call told by the record itself, where the policy was in force as DryRun; the others were decided again.\n";
    assert_eq!(impact, would_be_held("agents/tighten", "ask-for-secrets") + told);

    let diff = [
        "diff",
        "policies/coder.yaml",
        "suggested.yaml",
        "--audit",
        "audit",
    ];
    let diff = kubectl_turnpike(&gate, &diff)?;
    let expected = [
        "Becomes held:\n",
        "  agents/coder: secretmanager.projects.secrets.versions.access on projects/acme-dev/secrets/db-password/versions/\
         latest: Allow (rule use-secrets of agents/coder) -> RequireApproval (rule secretmanager-credentials of agents/coder)\n",
        "Becomes denied:\n",
        "  agents/coder: storage.objects.get, storage.objects.list on projects/_/buckets/acme-dev-*/** except \
         projects/_/buckets/acme-dev-data, projects/_/buckets/acme-dev-data/objects/reports/**: Allow (rule read of agents/coder) -> Deny\n",
        "Of 10 calls on record, 1 is decided otherwise.\n",
    ];
    for line in expected {
        assert!(diff.contains(line), "no {line:?} in:\n{diff}");
    }
    assert!(!diff.contains("Becomes allowed"), "{diff}");
    Ok(())
}
