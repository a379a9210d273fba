//! The Pub/Sub emulator, by its REST API.
//!
//! Tests make their own topics; identifiers have three characters at least. Nothing survives
//! a stop: the emulator keeps its messages in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::process::{self, Process, clean_command, eventually, free_port};
use crate::tools;

/// A Java start on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// A running emulator; dropping it stops it.
#[derive(Debug)]
pub struct Emulator {
    port: u16,
    process: Process,
    _dir: TempDir,
}

/// A message as a subscriber got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The payload.
    pub data: Vec<u8>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Empty where it was published without.
    pub ordering_key: String,
    /// The emulator's id.
    pub id: String,
    /// RFC 3339.
    pub publish_time: String,
}

impl Emulator {
    /// Starts an emulator and waits until it answers.
    ///
    /// # Errors
    /// gcloud's component is not installed, or it does not answer.
    pub async fn start() -> Result<Self> {
        Self::start_on(free_port()?).await
    }

    /// Starts one on a given port: for tests in which the topic comes back.
    ///
    /// # Errors
    /// As [`Emulator::start`].
    pub async fn start_on(port: u16) -> Result<Self> {
        let dir = process::temp_dir("pubsub")?;
        let mut command = clean_command(tools::pubsub_emulator()?, dir.path());
        command.arg("--host=127.0.0.1").arg(format!("--port={port}"));
        command.env("JAVA_OPTS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx256m");
        let mut emulator = Self {
            port,
            process: Process::start("pubsub", dir.path(), command)?,
            _dir: dir,
        };
        let client = Client::builder().no_proxy().build()?;
        let url = format!("http://127.0.0.1:{port}/");
        let started = std::time::Instant::now();
        loop {
            emulator.process.alive()?;
            let answered = eventually(Duration::from_millis(500), || async {
                Ok(client.get(&url).send().await?.error_for_status()?)
            });
            match answered.await {
                Ok(_) => return Ok(emulator),
                Err(error) if started.elapsed() > READY_WITHIN => {
                    return Err(error.context("the Pub/Sub emulator"));
                }
                Err(_) => {}
            }
        }
    }

    /// The one of this test binary, started at the first call.
    ///
    /// # Errors
    /// As [`Emulator::start`].
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Emulator> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// `127.0.0.1:PORT`, the value of `PUBSUB_EMULATOR_HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops it; what it held is lost.
    ///
    /// # Errors
    /// It cannot be stopped.
    pub fn stop(mut self) -> Result<()> {
        // The start script is the process; Java replaced it by exec and ends at once.
        self.process.kill()
    }

    /// Makes a topic; one that is there already is fine. Returns its full name.
    ///
    /// # Errors
    /// The emulator refuses.
    pub async fn create_topic(&self, project: &str, topic: &str) -> Result<String> {
        let name = format!("projects/{project}/topics/{topic}");
        self.call(Method::PUT, &name, &json!({})).await?;
        Ok(name)
    }

    /// Makes a subscription with message ordering. Returns its full name.
    ///
    /// # Errors
    /// The emulator refuses.
    pub async fn create_subscription(
        &self,
        project: &str,
        subscription: &str,
        topic: &str,
    ) -> Result<String> {
        let name = format!("projects/{project}/subscriptions/{subscription}");
        let topic = format!("projects/{project}/topics/{topic}");
        let body = json!({"topic": topic, "enableMessageOrdering": true, "ackDeadlineSeconds": 60});
        self.call(Method::PUT, &name, &body).await?;
        Ok(name)
    }

    /// Takes what waits in a subscription (its full name) and acknowledges it. Messages of one
    /// ordering key are in their order; waits for a moment where there is nothing.
    ///
    /// # Errors
    /// The emulator refuses.
    pub async fn pull(&self, subscription: &str) -> Result<Vec<Message>> {
        let body = json!({"maxMessages": 1000, "returnImmediately": true});
        let answer = self
            .call(Method::POST, &format!("{subscription}:pull"), &body)
            .await?;
        let empty = Vec::new();
        let received = answer["receivedMessages"].as_array().unwrap_or(&empty);
        if received.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&Value> = received.iter().map(|message| &message["ackId"]).collect();
        self.call(
            Method::POST,
            &format!("{subscription}:acknowledge"),
            &json!({"ackIds": ids}),
        )
        .await?;
        received.iter().map(|message| read(&message["message"])).collect()
    }

    /// Pulls until `enough` says so of all that came, or the time is over.
    ///
    /// # Errors
    /// The time is over; the error tells how many messages had come.
    pub async fn pull_until(
        &self,
        subscription: &str,
        timeout: Duration,
        enough: impl Fn(&[Message]) -> bool,
    ) -> Result<Vec<Message>> {
        let messages = tokio::sync::Mutex::new(Vec::new());
        eventually(timeout, || async {
            let mut messages = messages.lock().await;
            messages.extend(self.pull(subscription).await?);
            if !enough(&messages) {
                bail!("{} messages so far", messages.len());
            }
            Ok(())
        })
        .await?;
        Ok(messages.into_inner())
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let client = Client::builder().no_proxy().build()?;
        let url = format!("http://127.0.0.1:{}/v1/{path}", self.port);
        let answer = client
            .request(method, &url)
            .json(body)
            .send()
            .await
            .with_context(|| url.clone())?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() && status != StatusCode::CONFLICT {
            bail!("{url}: {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{url}: {text}"))
    }
}

fn read(message: &Value) -> Result<Message> {
    let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
    let attributes = message.get("attributes").cloned().unwrap_or_else(|| json!({}));
    Ok(Message {
        data: STANDARD.decode(text("data")).context("the data of a message")?,
        attributes: serde_json::from_value(attributes).context("the attributes of a message")?,
        ordering_key: text("orderingKey"),
        id: text("messageId"),
        publish_time: text("publishTime"),
    })
}
