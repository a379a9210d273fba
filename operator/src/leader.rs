//! Leader election on a Lease: of all replicas of the operator one works, the others stand by.
//!
//! The rules, as client-go has them:
//! 1. A Lease is free when it names no holder, or when it has stood *unchanged* for its duration as measured
//!    by the clock of the one who wants it. Clocks of different machines are never compared.
//! 2. Every write carries the `resourceVersion` that it was decided on, so of two that want it one wins.
//! 3. The leader stops by itself when it could not renew for `renew_deadline`, which is shorter than the
//!    duration: it is idle before another can start. Time counts from before the request was sent.
//! 4. A leader that goes in good order gives the Lease back, so that the next need not wait.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{config::LeaseTimings, worker::chain};

/// Takes part in an election.
#[derive(Debug, Clone)]
pub struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    timings: LeaseTimings,
}

/// The Lease is held and renewed, until this is released or lost.
#[derive(Debug)]
pub struct Leadership {
    elector: Elector,
    /// Asks the renewing task to stop.
    stop: CancellationToken,
    /// Set by the renewing task when the Lease is lost.
    lost: CancellationToken,
    /// Yields the Lease as it was written last.
    renewing: JoinHandle<Lease>,
}

/// Why a Lease could not be taken or renewed.
#[derive(Debug, Error)]
enum ElectionError {
    #[error("the API server refused or did not answer")]
    Api(#[source] kube::Error),
    #[error("the API server did not answer in {0:?}")]
    Timeout(Duration),
}

/// What one try came to.
enum Try {
    Held(Box<Lease>),
    HeldBy(Option<String>),
}

impl Elector {
    /// An elector for the Lease `name` in `namespace`, known as `identity`.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, timings: LeaseTimings) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            timings,
        }
    }

    /// Waits until this replica leads.
    pub async fn acquire(self) -> Leadership {
        let mut seen: Option<(Option<LeaseSpec>, Instant)> = None;
        let mut holder_logged = None;
        loop {
            let started = Instant::now();
            match self
                .bounded(self.timings.renew_deadline, self.try_acquire(&mut seen))
                .await
            {
                Ok(Try::Held(lease)) => {
                    tracing::info!(lease = self.name, identity = self.identity, "leading");
                    return self.lead(*lease, started);
                }
                Ok(Try::HeldBy(holder)) => {
                    if holder_logged != holder {
                        tracing::info!(lease = self.name, holder, "standing by");
                        holder_logged = holder;
                    }
                }
                Err(error) => {
                    tracing::warn!(lease = self.name, error = chain(&error), "cannot take the lease")
                }
            }
            tokio::time::sleep(self.timings.retry).await;
        }
    }

    /// Takes the Lease if it is free. `seen` remembers the last content and since when it stands.
    async fn try_acquire(
        &self,
        seen: &mut Option<(Option<LeaseSpec>, Instant)>,
    ) -> Result<Try, ElectionError> {
        let Some(mut lease) = self
            .leases
            .get_opt(&self.name)
            .await
            .map_err(ElectionError::Api)?
        else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.claim(None)),
            };
            return settle(self.leases.create(&PostParams::default(), &lease).await);
        };
        let now = Instant::now();
        let since = match seen {
            Some((spec, since)) if *spec == lease.spec => *since,
            _ => {
                *seen = Some((lease.spec.clone(), now));
                now
            }
        };
        let spec = lease.spec.as_ref();
        let holder = spec
            .and_then(|s| s.holder_identity.clone())
            .filter(|h| !h.is_empty());
        if let Some(holder) = holder
            && holder != self.identity
            && now.duration_since(since) < duration_of(spec, self.timings.duration)
        {
            return Ok(Try::HeldBy(Some(holder)));
        }
        lease.spec = Some(self.claim(lease.spec.as_ref()));
        settle(
            self.leases
                .replace(&self.name, &PostParams::default(), &lease)
                .await,
        )
    }

    /// The Lease's content when this replica takes or renews it.
    fn claim(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(jiff::Timestamp::now());
        let mine = before.filter(|s| s.holder_identity.as_deref() == Some(self.identity.as_str()));
        let transitions = before.and_then(|s| s.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(whole_seconds(self.timings.duration)),
            acquire_time: mine
                .and_then(|s| s.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(match (before, mine) {
                (Some(_), None) => transitions.saturating_add(1),
                _ => transitions,
            }),
            ..LeaseSpec::default()
        }
    }

    fn lead(self, lease: Lease, renewed: Instant) -> Leadership {
        let (stop, lost) = (CancellationToken::new(), CancellationToken::new());
        let renewing = tokio::spawn(renew(self.clone(), lease, renewed, stop.clone(), lost.clone()));
        Leadership {
            elector: self,
            stop,
            lost,
            renewing,
        }
    }

    async fn bounded<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, ElectionError>>,
    ) -> Result<T, ElectionError> {
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(ElectionError::Timeout(limit)),
        }
    }

    /// Renews `lease`, or finds out who has it.
    async fn try_renew(&self, lease: &mut Lease) -> Result<Try, ElectionError> {
        lease.spec = Some(self.claim(lease.spec.as_ref()));
        match settle(
            self.leases
                .replace(&self.name, &PostParams::default(), lease)
                .await,
        )? {
            held @ Try::Held(_) => Ok(held),
            // Somebody wrote it: another holder, or only a label. Look, and renew what is ours.
            Try::HeldBy(_) => {
                let Some(current) = self
                    .leases
                    .get_opt(&self.name)
                    .await
                    .map_err(ElectionError::Api)?
                else {
                    // Deleted: another may create it at any moment, so it is not ours any more.
                    return Ok(Try::HeldBy(None));
                };
                let holder = current.spec.as_ref().and_then(|s| s.holder_identity.clone());
                if holder.as_deref() != Some(self.identity.as_str()) {
                    return Ok(Try::HeldBy(holder));
                }
                *lease = current;
                lease.spec = Some(self.claim(lease.spec.as_ref()));
                settle(
                    self.leases
                        .replace(&self.name, &PostParams::default(), lease)
                        .await,
                )
            }
        }
    }
}

/// Renews until asked to stop or until the Lease is lost.
async fn renew(
    elector: Elector,
    mut lease: Lease,
    mut renewed: Instant,
    stop: CancellationToken,
    lost: CancellationToken,
) -> Lease {
    // However this task ends, be it by a panic, whoever leads hears of it.
    let _lost_on_exit = lost.clone().drop_guard();
    let LeaseTimings {
        renew_deadline,
        retry,
        ..
    } = elector.timings;
    loop {
        tokio::select! {
            () = stop.cancelled() => return lease,
            () = tokio::time::sleep(retry) => {}
        }
        let started = Instant::now();
        let left = (renewed + renew_deadline).saturating_duration_since(started);
        if left.is_zero() {
            tracing::error!(lease = elector.name, "not renewed in time: leadership lost");
            return lease;
        }
        match elector.bounded(left, elector.try_renew(&mut lease)).await {
            Ok(Try::Held(written)) => {
                lease = *written;
                renewed = started;
            }
            Ok(Try::HeldBy(holder)) => {
                tracing::error!(lease = elector.name, holder, "taken by another: leadership lost");
                return lease;
            }
            Err(error) => tracing::warn!(
                lease = elector.name,
                error = chain(&error),
                "cannot renew the lease"
            ),
        }
    }
}

impl Leadership {
    /// Waits until the Lease is lost. From then on nothing may be written.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Gives the Lease back, once all work has stopped. Best effort: if it fails, the Lease runs out.
    pub async fn release(self) {
        let Self {
            elector,
            stop,
            lost,
            renewing,
        } = self;
        if lost.is_cancelled() {
            return;
        }
        stop.cancel();
        let mut lease = match renewing.await {
            Ok(lease) => lease,
            Err(error) => {
                tracing::error!(%error, "the task that renews the lease failed");
                return;
            }
        };
        if let Some(spec) = lease.spec.as_mut() {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(jiff::Timestamp::now()));
        }
        let give_back = async {
            settle(
                elector
                    .leases
                    .replace(&elector.name, &PostParams::default(), &lease)
                    .await,
            )
        };
        match elector.bounded(elector.timings.retry, give_back).await {
            Ok(_) => tracing::info!(lease = elector.name, "lease released"),
            Err(error) => tracing::warn!(lease = elector.name, error = chain(&error), "lease not released"),
        }
    }
}

/// A write that lost against another is no error: somebody else has the Lease.
fn settle(written: kube::Result<Lease>) -> Result<Try, ElectionError> {
    match written {
        Ok(lease) => Ok(Try::Held(Box::new(lease))),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Try::HeldBy(None)),
        Err(error) => Err(ElectionError::Api(error)),
    }
}

/// How long the holder asked for; ours where it does not say.
fn duration_of(spec: Option<&LeaseSpec>, default: Duration) -> Duration {
    spec.and_then(|s| s.lease_duration_seconds)
        .and_then(|s| u64::try_from(s).ok())
        .map_or(default, Duration::from_secs)
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
