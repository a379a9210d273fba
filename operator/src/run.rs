//! The operator's life: caches, admin server, election, work, and the end.
//!
//! It ends in good order when asked to, giving its Lease back; it ends with an error when it loses the
//! Lease or a part of it fails. Started again, it takes part in the next election: no state is carried over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube::Client;
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Admin},
    approvals::ApprovalReconciler,
    config::Config,
    events::Events,
    guard::{Guard, Prober, probe_key},
    leader::Elector,
    metrics::Metrics,
    policies::{InForce, PolicyReconciler},
    queue::WorkQueue,
    watch::{Caches, Queues},
    worker,
};

/// A namespace is looked at this often at most: a directory of policies that is applied changes one after
/// the other, and each change touches the status of all. A single change does not wait.
const NAMESPACE_SPACING: Duration = Duration::from_millis(100);

/// Why the operator stopped without being asked to.
#[derive(Debug, Error)]
pub enum RunError {
    /// Metrics could not be set up.
    #[error("cannot set up metrics")]
    Metrics(#[from] prometheus::Error),
    /// The admin server could not listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The admin server failed.
    #[error("the admin server failed")]
    Admin(#[source] std::io::Error),
    /// Another leads, or the API server cannot be reached.
    #[error("leadership lost")]
    LeadershipLost,
    /// A task that never ends ended.
    #[error("a part of the operator failed: {0}")]
    TaskFailed(String),
}

/// Runs until `stop` is cancelled.
///
/// # Errors
/// [`RunError`]: the process should end, and be started again.
pub async fn run(config: Config, client: Client, stop: CancellationToken) -> Result<(), RunError> {
    let metrics = Arc::new(Metrics::new()?);
    let queues = Queues {
        namespaces: Arc::new(WorkQueue::new(NAMESPACE_SPACING)),
        // A call is held until its request is settled: no rest.
        requests: Arc::new(WorkQueue::new(Duration::ZERO)),
    };
    // Dropping a set ends its tasks.
    let mut watches = JoinSet::new();
    let caches = Caches::start(&client, &config.namespace, &queues, &metrics, &mut watches);
    let events = Events::start(client.clone(), &config.identity, &metrics, &mut watches);

    let (guard_sender, guard) = watch::channel(Guard::untried());

    let synced = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind(config.admin_listen)
        .await
        .map_err(|source| RunError::Listen {
            address: config.admin_listen,
            source,
        })?;
    let admin = Admin {
        metrics: metrics.clone(),
        caches: caches.clone(),
        queues: queues.clone(),
        synced: synced.clone(),
        guard: guard.clone(),
    };
    let admin_failed = async {
        match admin::serve(listener, admin, stop.clone()).await {
            // It stops when asked to, as the rest does; the rest says when all is done.
            Ok(()) => std::future::pending().await,
            Err(error) => RunError::Admin(error),
        }
    };

    let work = async {
        tokio::select! {
            () = caches.synced() => {}
            () = stop.cancelled() => return Ok(()),
        }
        synced.store(true, Ordering::Release);
        tracing::info!("caches filled");
        let elector = Elector::new(
            client.clone(),
            &config.namespace,
            &config.lease_name,
            &config.identity,
            config.timings,
        );
        // What the watches queued while standing by is what a new leader has to look at: everything.
        let leadership = tokio::select! {
            leadership = elector.acquire() => leadership,
            () = stop.cancelled() => return Ok(()),
        };
        metrics.leader.set(1);
        let in_force = InForce::default();
        let policies = Arc::new(PolicyReconciler::new(
            client.clone(),
            &config.namespace,
            caches.clone(),
            events.clone(),
            in_force.clone(),
            queues.requests.clone(),
        ));
        let probe = probe_key(&config.namespace, &config.guard_name);
        let approvals = Arc::new(ApprovalReconciler::new(
            client.clone(),
            caches.clone(),
            events.clone(),
            in_force,
            guard,
            probe,
            config.request_retention,
        ));
        let mut workers = JoinSet::new();
        let prober = Prober::new(
            client.clone(),
            &config.namespace,
            &config.guard_name,
            events,
            metrics.clone(),
            guard_sender,
        );
        // What could not be approved may be now, and the other way round.
        let (requests, all) = (queues.requests.clone(), caches.clone());
        prober.start(&mut workers, move || {
            all.request_keys().into_iter().for_each(|key| requests.add(key))
        });
        worker::spawn(
            &mut workers,
            config.workers,
            &policies,
            &queues.namespaces,
            &metrics,
        );
        worker::spawn(
            &mut workers,
            config.workers,
            &approvals,
            &queues.requests,
            &metrics,
        );

        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = leadership.lost() => Err(RunError::LeadershipLost),
            ended = workers.join_next() => Err(task_failed(ended)),
        };
        workers.shutdown().await;
        metrics.leader.set(0);
        if outcome.is_ok() {
            leadership.release().await;
        }
        outcome
    };

    tokio::select! {
        outcome = work => outcome,
        error = admin_failed => Err(error),
        ended = watches.join_next() => Err(task_failed(ended)),
    }
}

fn task_failed(ended: Option<Result<(), tokio::task::JoinError>>) -> RunError {
    RunError::TaskFailed(match ended {
        Some(Err(error)) => error.to_string(),
        Some(Ok(())) => "a task ended".to_owned(),
        None => "no tasks".to_owned(),
    })
}
