//! Workers: take keys from a queue, reconcile each within a bound of time, count and log how it went.

use std::{hash::Hash, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    metrics::Metrics,
    queue::{Finish, WorkQueue},
};

/// A reconcile that takes longer than this is given up and tried again.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Brings what one key stands for in line.
pub(crate) trait Reconciler: Send + Sync + 'static {
    /// What is worked on.
    type Key: Clone + Ord + Hash + std::fmt::Debug + Send + Sync + 'static;
    /// Why it can fail.
    type Error: Failure;

    /// Value of the metrics' label `kind`.
    const KIND: &'static str;

    /// Reads the newest state from the caches and acts on it; says when to look again by itself.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Next, Self::Error>> + Send;
}

/// An error whose kind can be counted.
pub(crate) trait Failure: std::error::Error + Send + 'static {
    /// Value of the metrics' label `error`, from the enum's variant and never from a message.
    fn label(&self) -> &'static str;

    /// Whether it is a write that lost against another: normal, and tried again at once.
    fn is_conflict(&self) -> bool;
}

/// What comes after a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait for a change.
    Change,
    /// Look again after this time at the latest.
    After(Duration),
}

/// Spawns `count` workers. They run until the set is dropped.
pub(crate) fn spawn<R: Reconciler>(
    workers: &mut JoinSet<()>,
    count: u8,
    reconciler: &Arc<R>,
    queue: &Arc<WorkQueue<R::Key>>,
    metrics: &Arc<Metrics>,
) {
    for _ in 0..count {
        let (reconciler, queue, metrics) = (reconciler.clone(), queue.clone(), metrics.clone());
        workers.spawn(async move {
            loop {
                let key = queue.take().await;
                let finish = once(&*reconciler, &key, &metrics).await;
                queue.finish(key, finish);
            }
        });
    }
}

async fn once<R: Reconciler>(reconciler: &R, key: &R::Key, metrics: &Metrics) -> Finish {
    let timer = metrics
        .reconcile_seconds
        .with_label_values(&[R::KIND])
        .start_timer();
    let outcome = tokio::time::timeout(TIME_LIMIT, reconciler.reconcile(key)).await;
    timer.observe_duration();
    let (result, finish) = match outcome {
        Ok(Ok(Next::Change)) => ("success", Finish::Done),
        Ok(Ok(Next::After(wait))) => ("success", Finish::After(wait)),
        Ok(Err(error)) if error.is_conflict() => {
            tracing::debug!(kind = R::KIND, ?key, %error, "written by another meanwhile; trying again");
            ("conflict", Finish::Failed)
        }
        Ok(Err(error)) => {
            metrics
                .reconcile_errors
                .with_label_values(&[R::KIND, error.label()])
                .inc();
            tracing::warn!(
                kind = R::KIND,
                ?key,
                error = chain(&error),
                "reconcile failed; trying again"
            );
            ("error", Finish::Failed)
        }
        Err(_) => {
            metrics
                .reconcile_errors
                .with_label_values(&[R::KIND, "timeout"])
                .inc();
            tracing::warn!(kind = R::KIND, ?key, "reconcile took too long; trying again");
            ("error", Finish::Failed)
        }
    };
    metrics.reconciles.with_label_values(&[R::KIND, result]).inc();
    finish
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Some errors repeat their cause in their own message.
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}
