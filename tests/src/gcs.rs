//! fake-gcs-server: someone else's idea of Cloud Storage, to hold our own against.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Client;
use serde_json::json;
use tempfile::TempDir;

use crate::process::{self, Process, clean_command, eventually, free_port};
use crate::tools;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running server; dropping it stops it and forgets its objects.
#[derive(Debug)]
pub struct FakeGcs {
    port: u16,
    _process: Process,
    _dir: TempDir,
}

impl FakeGcs {
    /// Starts it on a free port, in plain HTTP and in memory.
    ///
    /// # Errors
    /// It is not in the cache, or does not answer.
    pub async fn start() -> Result<Self> {
        let dir = process::temp_dir("gcs")?;
        let port = free_port()?;
        let mut command = clean_command(tools::fake_gcs_server()?, dir.path());
        command
            .args(["-scheme", "http", "-host", "127.0.0.1", "-backend", "memory"])
            .args(["-port", &port.to_string()])
            .args(["-public-host", "storage.googleapis.com"])
            .args(["-external-url", "https://storage.googleapis.com"]);
        let process = Process::start("fake-gcs-server", dir.path(), command)?;
        let server = Self {
            port,
            _process: process,
            _dir: dir,
        };
        let client = Client::builder().no_proxy().build()?;
        let url = format!("{}/_internal/healthcheck", server.url());
        let ready = eventually(READY_WITHIN, || async {
            Ok(client.get(&url).send().await?.error_for_status()?)
        });
        ready.await.context("fake-gcs-server")?;
        Ok(server)
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its address as a URL, in plain HTTP.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// It refuses.
    pub async fn create_bucket(&self, name: &str) -> Result<()> {
        let client = Client::builder().no_proxy().build()?;
        let request = client
            .post(format!("{}/storage/v1/b", self.url()))
            .json(&json!({"name": name}));
        check(request.send().await?).await
    }

    /// Makes an object.
    ///
    /// # Errors
    /// It refuses.
    pub async fn create_object(&self, bucket: &str, name: &str, content: &[u8]) -> Result<()> {
        let client = Client::builder().no_proxy().build()?;
        let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let url = format!(
            "{}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}",
            self.url()
        );
        check(client.post(url).body(content.to_vec()).send().await?).await
    }
}

async fn check(answer: reqwest::Response) -> Result<()> {
    let status = answer.status();
    if !status.is_success() {
        bail!("fake-gcs-server: {status}: {}", answer.text().await?);
    }
    Ok(())
}
