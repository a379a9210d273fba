//! Google Cloud Pub/Sub, on `google-cloud-pubsub`.
//!
//! What that client leaves to its user:
//!
//! - It ignores `PUBSUB_EMULATOR_HOST`; [`PubSubConfig::from_env`] reads it.
//! - Its queue is unbounded; here only one batch is ever in it.
//! - After a failure an ordering key stays paused until it is resumed, which is
//!   done when all messages of the attempt are answered.
//! - It keeps an actor for each ordering key for ever; here the publisher is
//!   replaced once it has seen [`MAX_KEYS`] sessions. The connection stays.
//! - Its retries run for ten minutes; here each attempt is one request, since
//!   the publisher's own loop retries and tells that it is behind.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use google_cloud_auth::credentials::anonymous;
use google_cloud_gax::retry_policy::{NeverRetry, RetryPolicyExt as _};
use google_cloud_pubsub::client::{BasePublisher, Publisher};
use google_cloud_pubsub::error::PublishError;

use super::message::Message;
use super::sink::{Sink, SinkError};

/// Sessions after which the publisher, not the connection, is replaced.
const MAX_KEYS: usize = 1024;

/// Limit of one request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Where to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PubSubConfig {
    /// `projects/PROJECT/topics/TOPIC`.
    pub topic: String,
    /// Endpoint other than Google's: a regional or a private one.
    pub endpoint: Option<String>,
    /// `HOST:PORT` of an emulator: plain text, no credentials.
    pub emulator: Option<String>,
}

impl PubSubConfig {
    /// A topic at Google's endpoint, or at the emulator that
    /// `PUBSUB_EMULATOR_HOST` names.
    #[must_use]
    pub fn from_env(topic: String) -> Self {
        Self {
            topic,
            endpoint: None,
            emulator: std::env::var("PUBSUB_EMULATOR_HOST")
                .ok()
                .filter(|host| !host.is_empty()),
        }
    }
}

/// Publishes to a Pub/Sub topic, which must exist. It connects at the first
/// event, and again after an attempt was dropped.
#[derive(Debug)]
pub struct PubSub {
    config: PubSubConfig,
    client: Option<Client>,
}

#[derive(Debug)]
struct Client {
    base: BasePublisher,
    publisher: Publisher,
    keys: HashSet<String>,
}

impl PubSub {
    /// A sink for this topic; nothing is connected yet.
    #[must_use]
    pub const fn new(config: PubSubConfig) -> Self {
        Self { config, client: None }
    }

    /// Takes the client out for an attempt. One that is dropped midway takes
    /// the client with it. What is left in that client's queue may still go
    /// out; the same events follow through a new one, so order by key holds for
    /// the first sight of each.
    async fn take_client(&mut self) -> Result<Client, SinkError> {
        Ok(match self.client.take() {
            Some(client) if client.keys.len() < MAX_KEYS => client,
            Some(client) => Client::new(client.base, &self.config.topic),
            None => Client::new(self.connect().await?, &self.config.topic),
        })
    }

    async fn connect(&self) -> Result<BasePublisher, SinkError> {
        let mut builder =
            BasePublisher::builder().with_retry_policy(NeverRetry.with_time_limit(REQUEST_LIMIT));
        if let Some(emulator) = &self.config.emulator {
            builder = builder
                .with_endpoint(format!("http://{emulator}"))
                .with_credentials(anonymous::Builder::new().build());
        } else if let Some(endpoint) = &self.config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder
            .build()
            .await
            .map_err(|error| SinkError::Connect(error.to_string()))
    }
}

impl Sink for PubSub {
    fn publish<'a>(&'a mut self, messages: &'a [Message]) -> BoxFuture<'a, Vec<Result<(), SinkError>>> {
        Box::pin(async move {
            let mut client = match self.take_client().await {
                Ok(client) => client,
                Err(error) => return vec![Err(error); messages.len()],
            };
            let results = publish(&mut client, messages).await;
            self.client = Some(client);
            results
        })
    }
}

impl Client {
    fn new(base: BasePublisher, topic: &str) -> Self {
        Self {
            publisher: base.publisher(topic).build(),
            base,
            keys: HashSet::new(),
        }
    }
}

async fn publish(client: &mut Client, messages: &[Message]) -> Vec<Result<(), SinkError>> {
    let answers: Vec<_> = messages
        .iter()
        .map(|message| {
            if !client.keys.contains(message.key()) {
                client.keys.insert(message.key().to_owned());
            }
            client.publisher.publish(
                google_cloud_pubsub::model::Message::new()
                    .set_data(message.data().clone())
                    .set_attributes(message.attributes())
                    .set_ordering_key(message.key()),
            )
        })
        .collect();
    // The batch is whole: without this the client would wait for more.
    client.publisher.flush().await;
    let answers = join_all(answers).await;

    let mut paused = HashSet::new();
    let results: Vec<_> = messages
        .iter()
        .zip(answers)
        .map(|(message, answer)| match answer {
            Ok(_) => Ok(()),
            Err(error) => {
                paused.insert(message.key());
                Err(sink_error(error))
            }
        })
        .collect();
    for key in paused {
        client.publisher.resume_publish(key);
    }
    results
}

fn sink_error(error: PublishError) -> SinkError {
    match error {
        PublishError::OrderingKeyPaused => SinkError::Paused,
        error => SinkError::Rpc(error.to_string()),
    }
}
