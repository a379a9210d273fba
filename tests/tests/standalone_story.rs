//! The story, standalone: the real gcloud of an agent through the real proxy, from a list that is allowed to
//! a key that is refused, and what is left of it on disk.

use anyhow::{Context as _, Result, ensure};
use turnpike_tests::{
    gcloud::{Gcloud, Settings},
    process::temp_dir,
    standin::{Options, RecordedRequest, Standin},
    turnpike::standalone::{Folder, GATEWAY_TOKEN, Standalone, files_with},
};

const SECRET: &str = "not-a-real-secret: database password";
const SECRET_BASE64: &str = "bm90LWEtcmVhbC1zZWNyZXQ6IGRhdGFiYXNlIHBhc3N3b3Jk";

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  recording: {bodies: Masked}
  rules:
    - name: read
      effect: Allow
      methods: ["storage.*.get", "storage.*.list", "run.**.get", "run.**.list", "secretmanager.**.access",
                "serviceusage.services.get"]
    - name: deploy
      effect: RequireApproval
      methods: ["run.**.services.create"]
      approval: {holdFor: 1m}
    - name: no-keys
      effect: Deny
      methods: ["iam.projects.serviceAccounts.keys.*"]
      message: Agents create no keys.
"#;

/// A gcloud that has nothing but an agent's token and the proxy.
fn gcloud(gate: &Standalone, agent: &str) -> Result<Gcloud> {
    Gcloud::new(&Settings {
        proxy: &format!("http://{}", gate.listen()),
        ca_pem: &gate.ca_pem()?,
        token: &gate.token(agent)?,
        project: "acme-dev",
    })
}

#[tokio::test]
async fn an_agent_lists_reads_a_masked_secret_deploys_once_approved_and_gets_no_key() -> Result<()> {
    let tls = temp_dir("standin")?;
    let standin = Standin::start(Options {
        tls_dir: Some(tls.path().to_owned()),
        require_token: Some(GATEWAY_TOKEN.to_owned()),
        ..Options::default()
    })
    .await?;
    let gate = Standalone::start(&standin, POLICY).await?;
    let gcloud = gcloud(&gate, "agents/coder")?;

    let listed = gcloud.run(&["storage", "ls"]).await?.success()?;
    assert_eq!(listed, "gs://acme-dev-artifacts/\ngs://acme-dev-data/\n");

    let secret = ["secrets", "versions", "access", "latest", "--secret=db-password"];
    assert_eq!(gcloud.run(&secret).await?.success()?, "[MASKED:secret]");

    let deploy = [
        "run",
        "deploy",
        "web",
        "--image=us-docker.pkg.dev/acme-dev/app/web:1",
        "--region=us-central1",
        "--no-allow-unauthenticated",
    ];
    let approve = async {
        let request = gate.approval("Pending").await?;
        let sent = standin.requests().iter().any(|r| r.method == "POST");
        ensure!(!sent, "the held call was sent before it was approved");
        request.review("alice", "Approve", "looks right")?;
        Ok(request)
    };
    let (deployed, request) = tokio::join!(gcloud.run(&deploy), approve);
    let (request, deployed) = (request?, deployed?);
    deployed.success()?;
    assert_eq!(
        request.value["spec"]["call"]["method"],
        "run.namespaces.services.create"
    );
    let spent = gate.approval("Consumed").await?;
    assert_eq!(spent.name(), request.name());
    assert_eq!(spent.value["status"]["decidedBy"], serde_json::json!(["alice"]));

    let account = "--iam-account=coder@acme-dev.iam.gserviceaccount.com";
    let file = gcloud.dir().join("key.json").display().to_string();
    let key = ["iam", "service-accounts", "keys", "create", &file, account];
    let refused = gcloud.run(&key).await?.failure()?;
    let words = "rule \"no-keys\" of policy agents/coder. Agents create no keys.";
    assert!(
        refused.contains("PERMISSION_DENIED") && refused.contains(words),
        "{refused}"
    );

    // What Google saw: the gateway's token on every call, the agent's on none, and one deployment.
    let requests = standin.requests();
    let agent_token = gate.token("agents/coder")?;
    let jwt = agent_token.split('.').next().context("a JWT")?;
    for request in &requests {
        let bearer = format!("Bearer {GATEWAY_TOKEN}");
        assert_eq!(request.header("authorization"), Some(bearer.as_str()));
        let leaked = request.headers.iter().any(|(_, value)| value.contains(jwt));
        assert!(!leaked && !request.path.contains(jwt), "{request:?}");
    }
    let changes: Vec<String> = requests
        .iter()
        .filter(|r| r.method != "GET")
        .map(RecordedRequest::line)
        .collect();
    let deployment =
        "POST us-central1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/acme-dev/services";
    assert_eq!(changes, [deployment]);

    // What is on record, in order.
    let mut told = gate.trail("keys.create").await?;
    // gcloud asks more around a deployment, by version.
    told.retain(|line| {
        !line.contains("serviceusage.services.get") && !line.contains("run.namespaces.services.get")
    });
    let access = "secretmanager.projects.secrets.versions.access";
    assert_eq!(
        told,
        [
            "intent allow RULE_ALLOWED storage.buckets.list".to_owned(),
            "outcome allow RULE_ALLOWED storage.buckets.list 200".to_owned(),
            format!("intent allow RULE_ALLOWED {access}"),
            format!("outcome allow RULE_ALLOWED {access} 200"),
            "held hold APPROVAL_REQUESTED run.namespaces.services.create".to_owned(),
            "intent allow APPROVED run.namespaces.services.create".to_owned(),
            "outcome allow APPROVED run.namespaces.services.create 200".to_owned(),
            "refused deny RULE_DENIED iam.projects.serviceAccounts.keys.create".to_owned(),
        ]
    );
    for stored in gate.events()? {
        assert_eq!(stored.agent(), "agents/coder");
        // All of one token is one session, and the session is the key of the order.
        assert_eq!(
            stored.event.actor.session.map(|s| s.uid),
            Some(stored.key.clone())
        );
    }

    // What must be nowhere: the gateway's token but in its own file, the secret, the agent's token.
    let found = files_with(&gate.path(), &[GATEWAY_TOKEN])?;
    assert_eq!(found, [gate.path().join("token")]);
    let found = files_with(&gate.path(), &[SECRET, SECRET_BASE64, jwt, "service variable"])?;
    assert_eq!(found, [] as [std::path::PathBuf; 0]);
    let log = gate.log()?;
    for text in [GATEWAY_TOKEN, SECRET, SECRET_BASE64, jwt] {
        assert!(!log.contains(text), "{text} is in the log:\n{log}");
    }
    Ok(())
}

#[tokio::test]
async fn another_agent_may_nothing_and_gcloud_says_so() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let gate = Standalone::start(&standin, POLICY).await?;
    let refused = gcloud(&gate, "agents/tester")?
        .run(&["storage", "ls"])
        .await?
        .failure()?;
    let words = "no rule of a policy that selects agents/tester allows it";
    assert!(refused.contains(words), "{refused}");
    assert_eq!(standin.requests(), []);
    Ok(())
}

#[tokio::test]
async fn the_example_runs_as_it_is_and_is_not_written_twice() -> Result<()> {
    let gate = Folder::example()?.start().await?;
    let refused = gate.agent("agents/coder")?;
    let refused = refused
        .call(
            "POST",
            "iam.googleapis.com/v1/projects/-/serviceAccounts/a@b.c/keys",
            "{}",
        )
        .await?;
    assert_eq!(refused.refusal(), (403, "RULE_DENIED".to_owned()));

    let before = std::fs::read(gate.path().join("turnpike.yaml"))?;
    let again = std::process::Command::new(turnpike_tests::turnpike::binary("turnpike-proxy")?)
        .args(["standalone", "--init"])
        .arg(gate.path())
        .output()?;
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("is there already; nothing was written"), "{said}");
    assert_eq!(std::fs::read(gate.path().join("turnpike.yaml"))?, before);
    Ok(())
}
