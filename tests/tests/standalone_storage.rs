//! Cloud Storage as somebody else serves it: fake-gcs-server behind the proxy for its host alone, our own
//! stand-in for all others, and the real gcloud in front.

use anyhow::{Result, ensure};
use serde_json::json;
use turnpike_tests::{
    gcloud::{Gcloud, Settings},
    gcs::FakeGcs,
    process::temp_dir,
    standin::{Options, Standin},
    turnpike::standalone::Folder,
};

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: storage, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - {name: read, effect: Allow, methods: ["storage.*.get", "storage.*.list"]}
    - {name: write, effect: Allow, methods: ["storage.objects.*"], resources: ["projects/_/buckets/acme-dev-*/**"]}
    - {name: keep, effect: Deny, methods: ["storage.objects.delete"], resources: ["projects/_/buckets/acme-dev-kept/**"]}
    - {name: projects, effect: Allow, methods: ["cloudresourcemanager.projects.list"]}
"#;

#[tokio::test]
async fn gcloud_reads_writes_and_is_refused_with_another_server_behind_the_proxy() -> Result<()> {
    let storage = FakeGcs::start().await?;
    for bucket in ["acme-dev-data", "acme-dev-kept", "acme-prod"] {
        storage.create_bucket(bucket).await?;
        storage.create_object(bucket, "there.txt", b"was there").await?;
    }
    let others = Standin::start(Options::default()).await?;
    let folder = Folder::new(&others)?;
    folder.configure(&json!({"upstreams": [
        {"host": "*", "address": others.addr().to_string(), "plaintext": true},
        {"host": "storage.googleapis.com", "address": storage.addr(), "plaintext": true},
    ]}))?;
    folder.write_policy("storage", POLICY)?;
    let gate = folder.start().await?;
    let gcloud = Gcloud::new(&Settings {
        proxy: &format!("http://{}", gate.listen()),
        ca_pem: &gate.ca_pem()?,
        token: &gate.token("agents/coder")?,
        project: "acme-dev",
    })?;
    let run = async |args: &[&str]| gcloud.run(args).await?.success();

    assert_eq!(
        sorted_lines(&run(&["storage", "ls"]).await?),
        ["gs://acme-dev-data/", "gs://acme-dev-kept/", "gs://acme-prod/"]
    );
    assert_eq!(
        run(&["storage", "cat", "gs://acme-dev-data/there.txt"]).await?,
        "was there"
    );

    // Small files go in one request, large ones by a resumable session; both come back as they went.
    let files = temp_dir("files")?;
    let path = |name: &str| files.path().join(name).display().to_string();
    let large: Vec<u8> = (0..12_u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for (name, content) in [("small.txt", b"a few bytes".to_vec()), ("large.bin", large)] {
        std::fs::write(path(name), &content)?;
        let object = format!("gs://acme-dev-data/{name}");
        run(&["storage", "cp", &path(name), &object]).await?;
        let back = path(&format!("back-{name}"));
        run(&["storage", "cp", &object, &back]).await?;
        ensure!(std::fs::read(back)? == content, "{name} came back changed");
    }
    assert_eq!(
        sorted_lines(&run(&["storage", "ls", "gs://acme-dev-data"]).await?),
        ["large.bin", "small.txt", "there.txt"].map(|name| format!("gs://acme-dev-data/{name}"))
    );

    let refused = gcloud
        .run(&["storage", "rm", "gs://acme-dev-kept/there.txt"])
        .await?
        .failure()?;
    ensure!(refused.contains("rule \"keep\""), "{refused}");
    let refused = gcloud
        .run(&["storage", "cp", &path("small.txt"), "gs://acme-prod/x"])
        .await?
        .failure()?;
    ensure!(
        refused.contains("Turnpike denies storage.objects.insert"),
        "{refused}"
    );
    let kept = run(&["storage", "ls", "gs://acme-dev-kept", "gs://acme-prod"]).await?;
    ensure!(
        kept.matches("there.txt").count() == 2 && !kept.contains("gs://acme-prod/x"),
        "{kept}"
    );

    // The other hosts are the stand-in's.
    ensure!(
        run(&["projects", "list"]).await?.contains("acme-dev"),
        "no project"
    );
    assert!(
        others
            .requests()
            .iter()
            .all(|r| r.host != "storage.googleapis.com")
    );
    Ok(())
}

/// The lines of a listing, sorted: the server behind keeps its buckets in no order.
fn sorted_lines(listing: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = listing.lines().collect();
    lines.sort_unstable();
    lines
}
