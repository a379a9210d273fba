//! The approval gate: held calls and the requests they wait for.
//!
//! A held call finds its request by digest: the request's name is made of the agent and the digest, so two
//! replicas, and two copies of one call, meet at one object. The gate waits on the request's state as its
//! store reports it, and spends an approval by compare-and-swap before the call may go on. It decides
//! nothing about policies: [`turnpike_policy::resume`] does, with what the gate hands back.

pub mod cluster;
pub mod file;
pub mod hub;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{api::ObjectMeta, core::ResourceExt};
use tokio_util::sync::CancellationToken;
use turnpike_crds::{ApprovalRequest, ApprovalRequestSpec, Consumption, Phase};
use turnpike_policy::{
    decide::{Approval, ApprovedRule},
    digest::CallDigest,
};
use uuid::Uuid;

use self::hub::Hub;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The name is taken.
    #[error("the approval request exists already")]
    Exists,
    /// The request changed since it was read, or is gone.
    #[error("the approval request changed meanwhile")]
    Changed,
    /// The agent has as many open requests as it may.
    #[error("{0} calls of this agent wait already; have some of them approved or denied first")]
    TooMany(usize),
    /// Nobody can say who approved it.
    #[error("{0}")]
    Unproved(&'static str),
    /// It can't be reached, or refuses.
    #[error("{0}")]
    Unavailable(String),
}

/// Keeps approval requests, and reports every change of them to a [`Hub`].
pub trait ApprovalStore: Send + Sync + std::fmt::Debug {
    /// Creates a request.
    fn create(&self, request: ApprovalRequest) -> BoxFuture<'_, Result<ApprovalRequest, StoreError>>;
    /// Reads a request.
    fn get<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ApprovalRequest>, StoreError>>;
    /// Marks an approved request as spent, if it is still as it was read.
    fn spend(
        &self,
        request: ApprovalRequest,
        by: Consumption,
    ) -> BoxFuture<'_, Result<ApprovalRequest, StoreError>>;
}

/// A call that waits.
#[derive(Debug)]
pub struct Held {
    /// Namespace in which its request stands.
    pub namespace: String,
    /// The first part of its request's name.
    pub prefix: String,
    /// What is asked for; `expires_at` is filled in when the request is created.
    pub spec: ApprovalRequestSpec,
    /// Its digest.
    pub digest: CallDigest,
    /// How long the connection is held.
    pub hold_for: Duration,
    /// How long the request lives.
    pub expires_after: Duration,
}

/// How a wait ended.
#[derive(Debug)]
pub enum Waited {
    /// Approved, and not yet spent.
    Approved(Box<ApprovalRequest>),
    /// Denied.
    Denied(Box<ApprovalRequest>),
    /// Nobody decided in time.
    Expired(Box<ApprovalRequest>),
    /// A policy that asked is no longer what it was.
    Superseded(Box<ApprovalRequest>),
    /// Approved, and spent on another copy of the call.
    Spent(Box<ApprovalRequest>),
    /// The connection was held long enough; the request stays open.
    StillPending(Box<ApprovalRequest>),
    /// The request was deleted.
    Gone {
        /// Its name.
        name: String,
    },
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    store: Arc<dyn ApprovalStore>,
    hub: Arc<Hub>,
    replica: String,
    most_open: usize,
    /// Requests that are being created, or were a moment ago: their agents, until the hub has heard of them.
    creating: Mutex<HashMap<(String, String), (String, Instant)>>,
    stop: CancellationToken,
}

/// The hub hears of a request that was created within this time; one that failed never gets there.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// One call can be asked for again this many times while its earlier requests still exist.
const MAX_ROUNDS: u32 = 1_000;

impl Gate {
    /// A gate on this store, which reports to this hub. An agent may have `most_open` requests that nobody has
    /// decided. It holds nobody once `stop` is cancelled.
    pub fn new(
        store: Arc<dyn ApprovalStore>,
        hub: Arc<Hub>,
        replica: String,
        most_open: usize,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            hub,
            replica,
            most_open,
            creating: Mutex::default(),
            stop,
        }
    }

    /// Creates the call's request, or finds the one that is open.
    ///
    /// # Errors
    /// [`StoreError`]; then the call must be refused.
    pub async fn open(&self, held: &Held) -> Result<ApprovalRequest, StoreError> {
        for round in 0..MAX_ROUNDS {
            let name = request_name(&held.prefix, &held.digest, round);
            let found = match self.hub.latest(&held.namespace, &name) {
                Some(found) => found,
                None => match self.create(held, &name).await {
                    Ok(created) => return Ok(created),
                    Err(StoreError::Exists) => match self.store.get(&held.namespace, &name).await? {
                        Some(found) => Arc::new(found),
                        None => return Err(StoreError::Changed),
                    },
                    Err(error) => return Err(error),
                },
            };
            if is_for(&found, held) {
                return Ok(ApprovalRequest::clone(&found));
            }
        }
        Err(StoreError::Unavailable(
            "the call was asked for too often; remove its old approval requests".to_owned(),
        ))
    }

    async fn create(&self, held: &Held, name: &str) -> Result<ApprovalRequest, StoreError> {
        let key = (held.namespace.clone(), name.to_owned());
        self.count(&key, &held.spec.agent.name)?;
        let created = self.store.create(self.draft(held, name)).await;
        if created.is_err() {
            self.creating().remove(&key);
        }
        created
    }

    /// Counts a request that is about to be created, unless its agent has enough. Other replicas' requests
    /// count as soon as the hub hears of them.
    fn count(&self, key: &(String, String), agent: &str) -> Result<(), StoreError> {
        let mut creating = self.creating();
        creating.retain(|(namespace, name), (_, since)| {
            since.elapsed() < HEARD_WITHIN && self.hub.latest(namespace, name).is_none()
        });
        let unheard = creating
            .iter()
            .filter(|(other, (a, _))| *other != key && a == agent)
            .count();
        if self.hub.open_of(agent) + unheard >= self.most_open {
            return Err(StoreError::TooMany(self.most_open));
        }
        creating.insert(key.clone(), (agent.to_owned(), Instant::now()));
        Ok(())
    }

    fn creating(&self) -> MutexGuard<'_, HashMap<(String, String), (String, Instant)>> {
        // Nothing that holds the lock can panic half-way through a change.
        self.creating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draft(&self, held: &Held, name: &str) -> ApprovalRequest {
        let mut spec = held.spec.clone();
        let lives = i64::try_from(held.expires_after.as_secs()).unwrap_or(i64::MAX);
        let end = Timestamp::now().as_second().saturating_add(lives);
        spec.expires_at = Time(Timestamp::from_second(end).unwrap_or(Timestamp::MAX));
        ApprovalRequest {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(held.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        }
    }

    /// Waits until the request is decided, the time is over or the proxy stops.
    pub async fn wait(&self, request: ApprovalRequest, hold_for: Duration) -> Waited {
        let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
        let mut changes = self.hub.subscribe(&namespace, &name);
        let mut latest = Arc::new(request);
        let hold_end = tokio::time::sleep(hold_for);
        tokio::pin!(hold_end);
        loop {
            match phase(&latest) {
                Phase::Approved if !is_over(&latest) => {
                    return Waited::Approved(Box::new(ApprovalRequest::clone(&latest)));
                }
                Phase::Denied => return Waited::Denied(Box::new(ApprovalRequest::clone(&latest))),
                Phase::Consumed => return Waited::Spent(Box::new(ApprovalRequest::clone(&latest))),
                Phase::Superseded => return Waited::Superseded(Box::new(ApprovalRequest::clone(&latest))),
                Phase::Expired => return Waited::Expired(Box::new(ApprovalRequest::clone(&latest))),
                _ if is_over(&latest) => return Waited::Expired(Box::new(ApprovalRequest::clone(&latest))),
                _ => {}
            }
            tokio::select! {
                () = self.stop.cancelled() => return Waited::StillPending(Box::new(ApprovalRequest::clone(&latest))),
                () = &mut hold_end => return Waited::StillPending(Box::new(ApprovalRequest::clone(&latest))),
                () = tokio::time::sleep(until(&latest.spec.expires_at.0)) => {}
                change = changes.next() => match change {
                    Some(changed) => latest = changed,
                    None => return Waited::Gone { name },
                },
            }
        }
    }

    /// Spends an approval for a call. When it returns, no other call can spend it.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when somebody else was faster or the request was withdrawn.
    pub async fn spend(&self, request: ApprovalRequest, call: Uuid) -> Result<ApprovalRequest, StoreError> {
        let by = Consumption {
            by: self.replica.clone(),
            call: call.to_string(),
            at: Time(Timestamp::now()),
        };
        let spent = self.store.spend(request, by).await?;
        // The same call made again need not wait for the store to report what is known here.
        self.hub.put(spent.clone());
        Ok(spent)
    }
}

/// What a decision needs of an approved request.
///
/// # Errors
/// When its digest is none.
pub fn approval_of(request: &ApprovalRequest) -> Result<Approval, turnpike_policy::digest::NotADigest> {
    Ok(Approval {
        digest: request.spec.digest.parse()?,
        rules: request
            .spec
            .policies
            .iter()
            .map(|p| ApprovedRule {
                uid: p.uid.clone(),
                namespace: p.namespace.clone(),
                policy: p.name.clone(),
                generation: p.generation,
                rule: p.rule.clone(),
            })
            .collect(),
        expires_at: request.spec.expires_at.0,
    })
}

/// Phase of a request; one that the operator has not seen yet is pending.
pub fn phase(request: &ApprovalRequest) -> Phase {
    request.status.as_ref().and_then(|s| s.phase).unwrap_or_default()
}

/// Whether nobody has decided a request that can still be decided.
fn is_open(request: &ApprovalRequest) -> bool {
    phase(request) == Phase::Pending && !is_over(request)
}

fn is_over(request: &ApprovalRequest) -> bool {
    Timestamp::now() >= request.spec.expires_at.0
}

fn until(end: &Timestamp) -> Duration {
    let left = end
        .as_millisecond()
        .saturating_sub(Timestamp::now().as_millisecond());
    // A little later, so that the clock has passed it for sure.
    Duration::from_millis(u64::try_from(left).unwrap_or(0).saturating_add(5))
}

/// Whether a request that exists answers a call that comes now: it is for that very call and rules, and it
/// is open, or was denied while it could still be decided.
fn is_for(request: &ApprovalRequest, held: &Held) -> bool {
    let same = request.spec.digest == held.spec.digest && request.spec.policies == held.spec.policies;
    let spent = request.status.as_ref().is_some_and(|s| s.consumption.is_some());
    let ended = matches!(
        phase(request),
        Phase::Expired | Phase::Consumed | Phase::Superseded
    );
    same && !spent && !ended && !is_over(request)
}

/// `PREFIX-xxxxxxx`: seven characters made of the digest, in an alphabet without vowels, so that no words appear.
fn request_name(prefix: &str, digest: &CallDigest, round: u32) -> String {
    use sha2::{Digest, Sha256};
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let hash = Sha256::digest(format!("{digest} {round}"));
    let tail: String = hash
        .iter()
        .take(7)
        .map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()]))
        .collect();
    format!("{prefix}-{tail}")
}

#[cfg(test)]
mod tests;
