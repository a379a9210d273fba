//! A key in an archive, on its way out with the real gcloud: the upload waits for a person who is told of the key.

use anyhow::{Context as _, Result, ensure};
use turnpike_tests::{
    gcloud::{Gcloud, Settings},
    process::{eventually, temp_dir},
    standin::{Options, Standin},
    turnpike::standalone::{Approval, GATEWAY_TOKEN, PATIENCE, Standalone},
};

use crate::{CODER, content, zipped};

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  secrets: {requests: RequireApproval, approval: {holdFor: 60s, expiresAfter: 1h}}
  rules:
    - {name: all, effect: Allow, methods: ["**"]}
"#;

/// Something that looks like a key and is none.
fn key() -> String {
    let [begin, end] = ["BEGIN", "END"].map(|word| ["-----", word, " PRIVATE", " KEY-----"].concat());
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    format!("{begin}\n{}\n{end}\n", [line; 8].join("\n"))
}

struct Gate {
    standin: Standin,
    standalone: Standalone,
    gcloud: Gcloud,
    _tls: tempfile::TempDir,
}

impl Gate {
    async fn start() -> Result<Self> {
        let tls = temp_dir("standin")?;
        let standin = Standin::start(Options {
            tls_dir: Some(tls.path().to_owned()),
            require_token: Some(GATEWAY_TOKEN.to_owned()),
            ..Options::default()
        })
        .await?;
        let standalone = Standalone::start(&standin, POLICY).await?;
        let gcloud = Gcloud::new(&Settings {
            proxy: &format!("http://{}", standalone.listen()),
            ca_pem: &standalone.ca_pem()?,
            token: &standalone.token(CODER)?,
            project: "acme-dev",
        })?;
        Ok(Self {
            standin,
            standalone,
            gcloud,
            _tls: tls,
        })
    }

    /// Requests that change something, as they arrived.
    fn changes(&self) -> Vec<String> {
        let requests = self.standin.requests().into_iter().filter(|r| r.method != "GET");
        requests.map(|r| r.line()).collect()
    }

    /// Runs gcloud until it is done, and approves the one call that waits meanwhile.
    async fn approved(&self, command: &[&str], place: &str) -> Result<Vec<String>> {
        let before = self.changes().len();
        let look = async {
            // gcloud takes its time to start.
            eventually(4 * PATIENCE, || async {
                let waiting = self
                    .standalone
                    .approvals()?
                    .iter()
                    .any(|a| a.phase() == "Pending");
                ensure!(waiting, "nothing waits for a person");
                Ok(())
            })
            .await?;
            let request = self.standalone.approval("Pending").await?;
            let arrived = self.changes().split_off(before);
            told(&request, place)?;
            request.review("alice", "Approve", "it is a key for tests")?;
            Ok::<_, anyhow::Error>(arrived)
        };
        let (done, arrived) = tokio::join!(self.gcloud.run(command), look);
        let arrived = arrived?;
        done?.success()?;
        Ok(arrived)
    }
}

/// The approval request tells what was found, and where, and nothing of it.
fn told(request: &Approval, place: &str) -> Result<()> {
    let text = request.value.to_string();
    ensure!(text.contains("private-key") && text.contains(place), "{text}");
    ensure!(!text.contains("MIIEvQ"), "the key itself is told");
    Ok(())
}

#[tokio::test]
async fn gcloud_storage_cp_of_an_archive_with_a_key_waits_for_a_person() -> Result<()> {
    let gate = Gate::start().await?;
    let filler: String = content(20 << 20)
        .iter()
        .map(|byte| char::from(33 + byte % 90))
        .collect();
    // In one request with its metadata, and by a session.
    for (name, filler) in [("small.zip", "words\n"), ("large.zip", filler.as_str())] {
        let file = gate.gcloud.dir().join(name);
        std::fs::write(
            &file,
            zipped(&[("filler.txt", filler), ("app/settings.py", &key())])?,
        )?;
        let file = file.to_str().context("UTF-8")?;
        let to = format!("gs://acme-dev-data/{name}");
        let arrived = gate
            .approved(&["storage", "cp", file, &to], &format!("{name}!app/settings.py"))
            .await?;
        ensure!(
            arrived.iter().all(|line| line.contains("/resumable/upload/")),
            "something of {name} is at Google's: {arrived:?}"
        );
        let uploads = gate.changes();
        let last = uploads.last().context("an upload")?;
        ensure!(
            last.starts_with("POST storage.googleapis.com/upload/storage/v1/b/acme-dev-data/o"),
            "{uploads:?}"
        );
    }
    assert_eq!(gate.standalone.approvals()?.len(), 2);
    Ok(())
}
