//! The harness proves itself: what the other tests build on does what it says.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::{Value, json};
use turnpike_tests::control_plane::ControlPlane;
use turnpike_tests::gcloud::{Gcloud, Settings};
use turnpike_tests::gcs::FakeGcs;
use turnpike_tests::process::{self, Process, eventually};
use turnpike_tests::pubsub::Emulator;
use turnpike_tests::standin::{Fault, Options, Standin};

const PATIENCE: Duration = Duration::from_secs(20);

/// A stand-in with TLS, and a gcloud that reaches it by its CONNECT.
async fn standin() -> Result<(Standin, Gcloud, tempfile::TempDir)> {
    let dir = process::temp_dir("standin")?;
    let options = Options {
        tls_dir: Some(dir.path().to_owned()),
        ..Options::default()
    };
    let standin = Standin::start(options).await?;
    let gcloud = Gcloud::new(&Settings {
        proxy: &format!("http://{}", standin.addr()),
        ca_pem: standin.ca_pem().context("it serves TLS")?,
        token: "agent-token",
        project: "acme-dev",
    })?;
    Ok((standin, gcloud, dir))
}

async fn review(client: &kube::Client, token: &str) -> Result<(Option<bool>, Option<String>)> {
    let spec = TokenReviewSpec {
        token: Some(token.to_owned()),
        audiences: Some(vec!["turnpike".to_owned()]),
    };
    let review = TokenReview {
        spec,
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let status = reviews
        .create(&PostParams::default(), &review)
        .await?
        .status
        .context("a status")?;
    Ok((status.authenticated, status.user.and_then(|user| user.username)))
}

#[tokio::test]
async fn users_prove_themselves_to_the_api_server_by_certificate() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    let namespace = plane.namespace("users").await?;
    let alice = plane.user("alice@acme.example", &["approvers", "staff"])?;
    let whoami = alice
        .kubectl(&["auth", "whoami", "-o", "json"], None)
        .await?
        .success()?;
    let info: Value = serde_json::from_str(&whoami)?;
    let user = &info["status"]["userInfo"];
    assert_eq!(user["username"], "alice@acme.example");
    assert_eq!(
        user["groups"],
        json!(["approvers", "staff", "system:authenticated"])
    );

    // RBAC is in force: alice may nothing, the administrator everything.
    let manifest =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}});
    let refused = alice
        .kubectl(&["apply", "-f", "-"], Some(&manifest.to_string()))
        .await?;
    assert!(
        !refused.status.success() && refused.stderr.contains("Forbidden"),
        "{}",
        refused.stderr
    );
    plane
        .admin()
        .kubectl(&["apply", "-f", "-"], Some(&manifest.to_string()))
        .await?
        .success()?;
    Ok(())
}

#[tokio::test]
async fn service_account_tokens_are_real_and_forged_ones_are_not() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    let client = plane.client().await?;
    let namespace = plane.namespace("tokens").await?;
    let hour = Duration::from_secs(3600);
    let token = plane
        .service_account_token(&namespace, "coder", "turnpike", hour)
        .await?;
    let name = format!("system:serviceaccount:{namespace}:coder");
    assert_eq!(review(&client, &token).await?, (Some(true), Some(name)));
    let other = plane
        .service_account_token(&namespace, "coder", "another-audience", hour)
        .await?;
    assert_eq!(review(&client, &other).await?, (None, None));
    let expired = plane.sign_token(&json!({
        "iss": turnpike_tests::control_plane::TOKEN_ISSUER, "aud": ["turnpike"], "iat": 1_000_000_000,
        "exp": 1_000_003_600, "sub": format!("system:serviceaccount:{namespace}:coder"),
    }))?;
    assert_eq!(review(&client, &expired).await?, (None, None));
    Ok(())
}

#[tokio::test]
async fn the_api_server_comes_back_with_its_data() -> Result<()> {
    // Its own: the shared one would go away under the other tests.
    let plane = ControlPlane::start().await?;
    let namespace = plane.namespace("restart").await?;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client().await?, &namespace);
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some("kept".to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("key".to_owned(), "value".to_owned())])),
        ..ConfigMap::default()
    };
    maps.create(&PostParams::default(), &map).await?;
    plane.stop_apiserver()?;
    ensure!(maps.get("kept").await.is_err(), "the API server is stopped");
    plane.start_apiserver().await?;
    assert_eq!(maps.get("kept").await?.data, map.data);
    Ok(())
}

#[tokio::test]
async fn the_generated_crds_are_served() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    plane.apply_crds().await?;
    let names = ["get", "crd", "-o", "jsonpath={.items[*].metadata.name}"];
    let names = plane.admin().kubectl(&names, None).await?.success()?;
    assert_eq!(names, "agentpolicies.turnpike.dev approvalrequests.turnpike.dev");
    Ok(())
}

#[tokio::test]
async fn the_emulator_keeps_the_order_of_a_key() -> Result<()> {
    let emulator = Emulator::shared().await?;
    emulator.create_topic("acme-dev", "events").await?;
    let subscription = emulator
        .create_subscription("acme-dev", "events-sub", "events")
        .await?;
    let messages: Vec<Value> = (b'a'..=b'e')
        .map(|letter| json!({"data": data(letter), "orderingKey": "session-1", "attributes": {"kind": "test"}}))
        .collect();
    let url = format!(
        "http://{}/v1/projects/acme-dev/topics/events:publish",
        emulator.host()
    );
    let client = reqwest::Client::builder().no_proxy().build()?;
    client
        .post(url)
        .json(&json!({"messages": messages}))
        .send()
        .await?
        .error_for_status()?;
    let pulled = emulator
        .pull_until(&subscription, PATIENCE, |messages| messages.len() >= 5)
        .await?;
    let data: Vec<String> = pulled
        .iter()
        .map(|message| String::from_utf8_lossy(&message.data).into_owned())
        .collect();
    assert_eq!(data, ["a", "b", "c", "d", "e"]);
    assert!(pulled.iter().all(|message| message.ordering_key == "session-1"));
    assert_eq!(
        pulled[0].attributes,
        BTreeMap::from([("kind".to_owned(), "test".to_owned())])
    );
    Ok(())
}

fn data(letter: u8) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode([letter])
}

#[tokio::test]
async fn the_storage_emulator_answers() -> Result<()> {
    let server = FakeGcs::start().await?;
    server.create_bucket("acme-dev-data").await?;
    server
        .create_object("acme-dev-data", "a/b.txt", b"content")
        .await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!(
        "{}/storage/v1/b/acme-dev-data/o/a%2Fb.txt?alt=media",
        server.url()
    );
    assert_eq!(client.get(url).send().await?.text().await?, "content");
    Ok(())
}

#[tokio::test]
async fn gcloud_works_with_the_stand_in_and_is_recorded() -> Result<()> {
    let (standin, gcloud, _dir) = standin().await?;
    let listed = gcloud.run(&["storage", "ls"]).await?.success()?;
    assert_eq!(listed, "gs://acme-dev-artifacts/\ngs://acme-dev-data/\n");
    let secret = gcloud
        .run(&["secrets", "versions", "access", "latest", "--secret=db-password"])
        .await?
        .success()?;
    assert_eq!(secret, "not-a-real-secret: database password");
    let requests = standin.requests();
    let lines: Vec<String> = requests
        .iter()
        .map(turnpike_tests::standin::RecordedRequest::line)
        .collect();
    let access =
        "GET secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db-password/versions/latest:access";
    assert_eq!(lines, ["GET storage.googleapis.com/storage/v1/b", access]);
    let sent: Vec<_> = requests
        .iter()
        .map(|request| (request.header("authorization"), request.status))
        .collect();
    assert_eq!(sent, [(Some("Bearer agent-token"), Some(200)); 2]);
    Ok(())
}

#[tokio::test]
async fn gcloud_copies_100_mib_both_ways() -> Result<()> {
    let (standin, gcloud, _dir) = standin().await?;
    let file = gcloud.dir().join("big.bin");
    let file = file.to_str().context("UTF-8")?;
    gcloud
        .run(&["storage", "cp", "gs://acme-dev-data/big.bin", file])
        .await?
        .success()?;
    gcloud
        .run(&["storage", "cp", file, "gs://acme-dev-data/copy.bin"])
        .await?
        .success()?;
    let sent = standin.requests().iter().map(|request| request.body_length).max();
    assert_eq!(sent, Some(100 * 1024 * 1024));
    Ok(())
}

#[tokio::test]
async fn gcloud_deploys_and_creates_a_key_that_is_none() -> Result<()> {
    let (standin, gcloud, _dir) = standin().await?;
    let image = "--image=us-docker.pkg.dev/acme-dev/app/web:1";
    let run = [
        "run",
        "deploy",
        "web",
        image,
        "--region=us-central1",
        "--no-allow-unauthenticated",
    ];
    gcloud.run(&run).await?.success()?;
    let function = [
        "functions",
        "deploy",
        "billing",
        "--no-gen2",
        "--source=gs://acme-dev-artifacts/src.zip",
        "--region=us-central1",
        "--runtime=python312",
        "--trigger-http",
        "--entry-point=hello",
        "--no-allow-unauthenticated",
    ];
    gcloud.run(&function).await?.success()?;
    let key = gcloud.dir().join("key.json");
    let key = key.to_str().context("UTF-8")?;
    let account = "--iam-account=coder@acme-dev.iam.gserviceaccount.com";
    gcloud
        .run(&["iam", "service-accounts", "keys", "create", key, account])
        .await?
        .success()?;
    let changes: Vec<String> = standin
        .requests()
        .iter()
        .filter(|request| request.method != "GET" && !request.path.contains(":getIamPolicy"))
        .map(turnpike_tests::standin::RecordedRequest::line)
        .collect();
    assert_eq!(
        changes,
        [
            "POST us-central1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/acme-dev/services",
            "POST cloudfunctions.googleapis.com/v1/projects/acme-dev/locations/us-central1/functions",
            "POST iam.googleapis.com/v1/projects/-/serviceAccounts/coder@acme-dev.iam.gserviceaccount.com/keys",
        ]
    );
    let written: Value = serde_json::from_str(&std::fs::read_to_string(key)?)?;
    assert_eq!(written["private_key"], "not-a-real-secret: no key at all");
    Ok(())
}

#[tokio::test]
async fn the_stand_in_fails_on_demand_and_refuses_foreign_tokens() -> Result<()> {
    let options = Options {
        require_token: Some("standin-".to_owned()),
        ..Options::default()
    };
    let standin = Standin::start(options).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/storage/v1/b/acme-dev-data", standin.addr());
    let get = |token: &'static str| {
        client
            .get(&url)
            .bearer_auth(token)
            .header("host", "storage.googleapis.com")
    };
    let status = async |token| -> Result<u16> { Ok(get(token).send().await?.status().as_u16()) };
    assert_eq!(status("agent-token").await?, 401);
    let answer = get("standin-access-token-1").send().await?;
    assert_eq!(answer.bytes().await?.len(), 1024);

    let storage = Some("storage.googleapis.com".to_owned());
    standin.inject(Fault {
        host: storage.clone(),
        status: Some(503),
        times: Some(1),
        ..Fault::default()
    });
    assert_eq!(status("standin-1").await?, 503);
    assert_eq!(status("standin-1").await?, 200);
    standin.inject(Fault {
        host: storage,
        close: true,
        ..Fault::default()
    });
    assert!(get("standin-1").send().await.is_err());
    standin.clear_faults();
    assert_eq!(status("standin-1").await?, 200);

    // Stopped, it refuses connections; its address can be taken again at once.
    let addr = standin.addr();
    standin.stop().await;
    assert!(get("standin-1").send().await.is_err());
    let again = Standin::start(Options {
        listen: addr,
        ..Options::default()
    })
    .await?;
    assert_eq!(status("any").await?, 200);
    drop(again);
    Ok(())
}

#[tokio::test]
async fn tokens_are_granted_and_each_is_new() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c";
    let form = "application/x-www-form-urlencoded";
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let request = client
            .post(format!("http://{}/token", standin.addr()))
            .header("content-type", form);
        let answer: Value = request
            .header("host", "oauth2.googleapis.com")
            .body(grant)
            .send()
            .await?
            .json()
            .await?;
        tokens.push(answer["access_token"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(tokens, ["standin-access-token-1", "standin-access-token-2"]);
    let url = format!(
        "http://{}/v1/projects/-/serviceAccounts/coder@acme-dev.iam.gserviceaccount.com:generateAccessToken",
        standin.addr()
    );
    let request = client.post(url).header("host", "iamcredentials.googleapis.com");
    let scope = json!({"scope": ["https://www.googleapis.com/auth/cloud-platform"]});
    let answer: Value = request.json(&scope).send().await?.json().await?;
    assert_eq!(answer["accessToken"], "standin-impersonated-token-3");
    Ok(())
}

#[tokio::test]
async fn children_die_with_their_value_and_their_logs_are_read() -> Result<()> {
    let dir = process::temp_dir("children")?;
    let mut shell = Command::new("sh");
    // Ignores SIGTERM, so that only SIGKILL ends it.
    shell.args(["-c", "trap '' TERM; echo started; while :; do sleep 1; done"]);
    let child = Process::start("shell", dir.path(), shell)?;
    eventually(PATIENCE, || async {
        ensure!(child.output()? == "started\n", "not started");
        Ok(())
    })
    .await?;
    ensure!(child.resident_memory()? > 0, "it has memory");
    let path = format!("/proc/{}", child.id());
    tokio::task::spawn_blocking(move || drop(child)).await?;
    eventually(PATIENCE, || async {
        if std::path::Path::new(&path).exists() {
            bail!("{path} is there");
        }
        Ok(())
    })
    .await
}
