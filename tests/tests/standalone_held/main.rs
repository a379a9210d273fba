//! What a held call holds, standalone: its body, on disk and byte for byte, and uploads whose content comes later.

mod archives;
mod bodies;
mod parts;
mod uploads;

use std::{
    io::{Cursor, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use turnpike_tests::{
    process::eventually,
    turnpike::standalone::{
        Approval, PATIENCE, Standalone,
        client::{Answer, Body, Protocol},
    },
};

const STORAGE: &str = "storage.googleapis.com";
const CODER: &str = "agents/coder";

/// What is written into the bucket `held` waits for a person; into `free`, for nobody.
const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}, {serviceAccount: {name: other}}]
  rules:
    - {name: read, effect: Allow, methods: ["storage.**.get", "storage.**.list"]}
    - {name: free, effect: Allow, methods: ["storage.objects.insert"], resources: ["projects/_/buckets/free/**"]}
    - name: ask
      effect: RequireApproval
      methods: ["storage.objects.insert"]
      resources: ["projects/_/buckets/held/**"]
      approval: {holdFor: 60s, expiresAfter: 1h}
    - name: deploy
      effect: RequireApproval
      methods: ["cloudfunctions.**.generateUploadUrl"]
      approval: {holdFor: 60s, expiresAfter: 1h}
"#;

/// The same with another time that calls are held for.
fn held_for(time: &str) -> String {
    POLICY.replace("holdFor: 60s", &format!("holdFor: {time}"))
}

/// Bytes that are nowhere the same.
fn content(length: usize) -> Bytes {
    let mut state: u32 = 7;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    next.take(length).collect::<Vec<u8>>().into()
}

/// An archive as a common writer makes it.
fn zipped(members: &[(&str, &str)]) -> Result<Bytes> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(*name, zip::write::SimpleFileOptions::default())?;
        writer.write_all(content.as_bytes())?;
    }
    Ok(writer.finish()?.into_inner().into())
}

/// One request of an agent, on a connection of its own.
async fn call(
    gate: &Standalone,
    agent: &str,
    protocol: Protocol,
    (verb, host, path): (&str, &str, &str),
    headers: &[(&str, &str)],
    body: Body,
) -> Result<Answer> {
    let mut connection = gate.agent(agent)?.open(host, protocol).await?;
    let mut request = connection.request(verb, path, body)?;
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name)?;
        request.headers_mut().insert(name, value.parse()?);
    }
    connection.exchange(request).await
}

/// Approves the one request that waits.
async fn approve(gate: &Standalone) -> Result<Approval> {
    let request = gate.approval("Pending").await?;
    request.review("alice", "Approve", "fine")?;
    Ok(request)
}

/// Where a proxy keeps bodies.
struct Disk {
    folder: PathBuf,
    proxy: u32,
}

impl Disk {
    fn of(gate: &mut Standalone) -> Result<Self> {
        Ok(Self {
            folder: gate.path().join("audit/held").canonicalize()?,
            proxy: gate.process().id(),
        })
    }

    /// Bodies that the proxy has open there.
    fn bodies(&self) -> Result<usize> {
        let mut count = 0;
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.proxy))? {
            // It may be closed by now.
            if let Ok(target) = std::fs::read_link(entry?.path()) {
                count += usize::from(target.starts_with(&self.folder));
            }
        }
        Ok(count)
    }

    /// Waits until so many are there.
    async fn holds(&self, wanted: usize) -> Result<()> {
        eventually(PATIENCE, || async {
            let found = self.bodies()?;
            ensure!(found == wanted, "{found} bodies are on disk, not {wanted}");
            Ok(())
        })
        .await
    }

    /// Names in the folder: there must never be one.
    fn names(&self) -> Result<usize> {
        Ok(std::fs::read_dir(&self.folder)?.count())
    }
}

/// Waits until so many calls are held.
async fn held_are(gate: &Standalone, wanted: u64) -> Result<()> {
    eventually(4 * PATIENCE, || async {
        let metrics = gate.metrics().await?;
        let line = metrics.lines().find(|l| l.starts_with("turnpike_held_calls "));
        let value = line.and_then(|l| l.split(' ').nth(1)).context("no such metric")?;
        let found: u64 = value.parse()?;
        ensure!(found == wanted, "{found} calls are held");
        Ok(())
    })
    .await
}
