//! What standalone and cluster mode have in common: from a configuration to a running proxy.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use prometheus::Registry;
use rustls::crypto::CryptoProvider;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use turnpike_policy::{catalog::Catalog, grpc::GrpcCatalog};

use crate::{
    admin::{self, Readiness},
    budget::Budget,
    config::{Config, SinkConfig},
    credential::{Credentials, KeyStore},
    egress::{Dialer, Egress, Pool},
    gate::{ApprovalStore, Gate, hub::Hub},
    grpc::Descriptors,
    history::History,
    identity::{Identifier, Issuers, TokenReviewer},
    journey::{ApproveHint, Gateway, Limits},
    kept::{Keeper, KeeperConfig},
    limits::Ledger,
    listener::{ConnectionLimits, Listener},
    metrics::Metrics,
    policies::Policies,
    publish::{LocalTopic, PubSub, PubSubConfig, Publisher, PublisherConfig, Sink},
    record::Recorder,
    recording::Recordings,
    search::Search,
    session::Sealer,
    spool::{Spool, SpoolConfig},
    tls::{Authority, Interceptor},
};

/// What differs between the modes.
pub struct Parts {
    /// Name of this replica.
    pub replica: String,
    /// The issuing authority.
    pub authority: Authority,
    /// Policies, kept up to date by the mode.
    pub policies: Arc<Policies>,
    /// Set once the first policies have arrived.
    pub ready: watch::Receiver<bool>,
    /// Approval requests.
    pub approvals: Arc<dyn ApprovalStore>,
    /// What the approval store reports to.
    pub hub: Arc<Hub>,
    /// Verifies tokens of the cluster.
    pub reviewer: Option<Arc<TokenReviewer>>,
    /// Service account keys.
    pub keys: Arc<dyn KeyStore>,
    /// What approvers are told to run.
    pub approve_hint: ApproveHint,
    /// What agents have used up of their limits; the mode says between how many replicas these are divided.
    pub ledger: Arc<Ledger>,
    /// Metrics, shared with the mode.
    pub metrics: Arc<Metrics>,
    /// Where they are registered.
    pub registry: Registry,
}

/// How long bodies that have passed may still be searched at the end.
const SEARCHED_WITHIN: std::time::Duration = std::time::Duration::from_secs(20);

/// The provider of all cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Runs until it is told to stop, drains, and publishes what is left.
///
/// # Errors
/// When a port, a file or a credential that the start needs is not to be had.
pub async fn run(config: Config, parts: Parts, stop: CancellationToken) -> anyhow::Result<()> {
    let catalog = Catalog::embedded().context("the method catalogue")?;
    let grpc = GrpcCatalog::embedded().context("the catalogue of gRPC methods")?;
    let descriptors = Descriptors::load(config.descriptors.as_deref())?;
    let spool = open_spool(&config).await?;
    spool.metrics().register(&parts.registry)?;
    let publisher = Arc::new(Publisher::new(PublisherConfig::default())?);
    publisher.metrics().register(&parts.registry)?;
    let dialer = Dialer::new(config.upstreams.clone(), &provider()).context("TLS to upstreams")?;
    let egress = Arc::new(Egress::new(Pool::new(dialer), config.answer_within));
    let read = Budget::new(config.read_total_bytes, config.read_bytes);
    let keeper = open_keeper(&config, read.clone())?;
    let recordings = Recordings::new(config.audit.dir.join("recordings"));
    tokio::spawn(recordings.clone().sweep());
    let gateway = Arc::new(Gateway {
        search: Search::new(parts.authority.sealing_secret()),
        history: History::new(Timestamp::now()),
        catalog,
        grpc,
        descriptors,
        sealer: Sealer::new(parts.authority.sealing_secret(), catalog)
            .context("the key for upload sessions")?,
        policies: parts.policies,
        identifier: Identifier::new(Issuers::new(config.issuers.clone()), parts.reviewer),
        keeper,
        gate: Gate::new(
            parts.approvals,
            parts.hub,
            parts.replica.clone(),
            config.open_requests_per_agent,
            stop.clone(),
        ),
        recorder: Arc::new(Recorder::new(spool.clone(), &parts.replica)),
        credentials: Credentials::new(config.ambient.clone(), parts.keys, egress.clone()),
        egress,
        recordings,
        metrics: parts.metrics,
        ledger: parts.ledger,
        limits: Limits {
            answer_bytes: config.answer_bytes,
            read_bytes: config.read_bytes,
            masked: Budget::new(config.masked_total_bytes, config.answer_bytes),
            read,
            body_within: config.idle,
        },
        approve_hint: parts.approve_hint,
    });
    let interceptor = Arc::new(Interceptor::new(parts.authority, provider())?);
    let socket = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listening on {}", config.listen))?;
    let readiness = Readiness {
        spool: spool.clone(),
        publisher: publisher.watch(),
        policies: parts.ready,
        stop: stop.clone(),
    };
    admin::serve(config.admin, readiness, Arc::new(parts.registry))
        .await
        .with_context(|| format!("listening on {}", config.admin))?;

    let publishing = CancellationToken::new();
    let published = tokio::spawn({
        let (publisher, spool, shutdown) = (publisher.clone(), spool.clone(), publishing.clone());
        let mut sink = sink(&config);
        async move { publisher.run(&spool, sink.as_mut(), shutdown).await }
    });
    let fresh = gateway.clone();
    tokio::spawn(async move { fresh.identifier.keep_fresh().await });

    tracing::info!(listen = %config.listen, admin = %config.admin, methods = catalog.method_count(), "ready for agents");
    let searching = gateway.clone();
    let listener = Arc::new(Listener {
        gateway,
        interceptor,
        domains: config.domains.clone(),
        limits: ConnectionLimits {
            head_within: config.idle,
            taken_within: config.idle * 5,
            ..ConnectionLimits::default()
        },
    });
    listener.run(socket, stop).await;
    // What was found is told with the end of its call.
    if tokio::time::timeout(SEARCHED_WITHIN, searching.search.finished())
        .await
        .is_err()
    {
        tracing::error!("bodies of requests were still searched when it was time to stop");
    }
    tracing::info!("no more calls; publishing what is left");
    if let Err(error) = spool.flush().await {
        tracing::error!(%error, "the spool cannot be written to the end");
    }
    publishing.cancel();
    published.await.context("the publisher")??;
    Ok(())
}

async fn open_spool(config: &Config) -> anyhow::Result<Arc<Spool>> {
    let dir = config.audit.dir.join("spool");
    let settings = SpoolConfig {
        dir: dir.clone(),
        max_bytes: config.audit.spool_bytes,
        segment_bytes: 16 << 20,
    };
    tokio::task::spawn_blocking(move || Spool::open(settings))
        .await?
        .with_context(|| format!("opening the spool {}", dir.display()))
}

fn open_keeper(config: &Config, memory: Arc<Budget>) -> anyhow::Result<Keeper> {
    let held = &config.held;
    let settings = KeeperConfig {
        dir: held.dir.clone(),
        largest: held.body_bytes,
        total: held.total_bytes,
        within: config.idle,
    };
    Keeper::open(settings, memory)
        .with_context(|| format!("the folder of bodies that are held, {}", held.dir.display()))
}

fn sink(config: &Config) -> Box<dyn Sink> {
    match &config.audit.sink {
        SinkConfig::Local => Box::new(LocalTopic::new(config.audit.dir.join("topic.jsonl"))),
        SinkConfig::PubSub(topic) => Box::new(PubSub::new(PubSubConfig::from_env(topic.clone()))),
    }
}

/// Cancelled by SIGTERM or SIGINT.
///
/// # Errors
/// When signals cannot be listened for.
pub fn stop_on_signals() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}

/// Where the pieces of standalone mode lie.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The folder.
    pub dir: PathBuf,
}

impl Layout {
    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("turnpike.yaml")
    }
    /// Policies.
    pub fn policies(&self) -> PathBuf {
        self.dir.join("policies")
    }
    /// Approval requests.
    pub fn approvals(&self) -> PathBuf {
        self.dir.join("approvals")
    }
    /// Service account keys.
    pub fn secrets(&self) -> PathBuf {
        self.dir.join("secrets")
    }
}

/// Changes that come together are taken together.
pub const SETTLE: Duration = Duration::from_millis(20);
