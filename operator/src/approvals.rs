//! Settles approval requests: what their reviews and the time come down to is written into their status.
//!
//! The meaning is the compiler's (`approval::next_status`), so that standalone mode settles alike; approvals count
//! only while the API server proves who gave them (`guard`, and the compiler's `unproved`). A write
//! carries the version that it was decided on: a review or a spending that comes between wins, and the
//! request is looked at again.

use std::time::Duration;

use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, PostParams, Preconditions},
    core::DeserializeGuard,
    runtime::{events::EventType, reflector::ObjectRef},
};
use thiserror::Error;
use tokio::sync::watch;
use turnpike_compiler::{
    approval::{removable_at, superseded_status},
    unproved::status_by_proof,
};
use turnpike_crds::{ApprovalRequest, ApprovalRequestStatus, Phase};

use crate::{
    FIELD_MANAGER,
    events::{Events, News},
    guard::Guard,
    policies::InForce,
    watch::{Caches, RequestKey},
    worker::{Failure, Next, Reconciler},
};

/// Reconciles one approval request at a time.
pub(crate) struct ApprovalReconciler {
    client: Client,
    caches: Caches,
    events: Events,
    in_force: InForce,
    /// Whether approvals count.
    guard: watch::Receiver<Guard>,
    /// The request that forgeries are tried on, which nobody settles.
    probe: RequestKey,
    /// How long what is decided for good is kept.
    retention: Duration,
}

/// Why a request could not be settled.
#[derive(Debug, Error)]
pub(crate) enum ApprovalError {
    /// Its status could not be written.
    #[error("cannot write the status of ApprovalRequest {name}")]
    WriteStatus {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// It is over for long, and could not be removed.
    #[error("cannot remove ApprovalRequest {name}")]
    Remove {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
}

impl Failure for ApprovalError {
    fn label(&self) -> &'static str {
        match self {
            Self::WriteStatus { .. } => "write_status",
            Self::Remove { .. } => "remove",
        }
    }

    fn is_conflict(&self) -> bool {
        let (Self::WriteStatus { source, .. } | Self::Remove { source, .. }) = self;
        matches!(source, kube::Error::Api(status) if status.code == 409)
    }
}

impl ApprovalReconciler {
    pub(crate) fn new(
        client: Client,
        caches: Caches,
        events: Events,
        in_force: InForce,
        guard: watch::Receiver<Guard>,
        probe: RequestKey,
        retention: Duration,
    ) -> Self {
        Self {
            client,
            caches,
            events,
            in_force,
            guard,
            probe,
            retention,
        }
    }

    async fn write(
        &self,
        request: &ApprovalRequest,
        status: ApprovalRequestStatus,
    ) -> Result<(), ApprovalError> {
        let (namespace, name) = (request.namespace(), request.name_any());
        let requests: Api<ApprovalRequest> = match &namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::default_namespaced(self.client.clone()),
        };
        let before = request.status.as_ref().and_then(|s| s.phase);
        let news = news(before, &status);
        let next = ApprovalRequest {
            status: Some(status),
            ..request.clone()
        };
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match requests.replace_status(&name, &params, &next).await {
            Ok(_) => {}
            // Deleted meanwhile: nobody waits for it.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(source) => return Err(ApprovalError::WriteStatus { name, source }),
        }
        tracing::info!(
            namespace,
            name,
            phase = ?next.status.as_ref().and_then(|s| s.phase),
            decided_by = ?next.status.as_ref().map(|s| &s.decided_by),
            "approval request settled"
        );
        if let Some(news) = news {
            self.events.publish(request, news);
        }
        Ok(())
    }
}

impl ApprovalReconciler {
    /// Removes a request, if it is still the very one that was looked at.
    async fn remove(&self, request: &ApprovalRequest) -> Result<(), ApprovalError> {
        let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
        let requests: Api<ApprovalRequest> = Api::namespaced(self.client.clone(), &namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: request.uid(),
                resource_version: request.resource_version(),
            }),
            ..DeleteParams::default()
        };
        match requests.delete(&name, &params).await {
            Ok(_) => tracing::info!(namespace, name, "approval request removed after its retention"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => return Err(ApprovalError::Remove { name, source }),
        }
        Ok(())
    }
}

impl Reconciler for ApprovalReconciler {
    type Key = RequestKey;
    type Error = ApprovalError;
    const KIND: &'static str = "approvals";

    async fn reconcile(&self, key: &RequestKey) -> Result<Next, ApprovalError> {
        if *key == self.probe {
            return Ok(Next::Change);
        }
        let (namespace, name) = key;
        let key = ObjectRef::<DeserializeGuard<ApprovalRequest>>::new(name).within(namespace);
        let Some(found) = self.caches.requests.get(&key) else {
            return Ok(Next::Change);
        };
        // One that cannot be read was reported when it came, and stays undecided.
        let Ok(request) = &found.0 else {
            return Ok(Next::Change);
        };
        let now = Timestamp::now();
        let superseded = superseded_status(request, |asked| self.in_force.find(asked), now);
        let guard = self.guard.borrow().clone();
        let next = superseded.or_else(|| status_by_proof(request, guard.proof(), now));
        let phase = next.as_ref().or(request.status.as_ref()).and_then(|s| s.phase);
        let written = next.is_some();
        if let Some(status) = next {
            self.write(request, status).await?;
        }
        Ok(match phase {
            None | Some(Phase::Pending | Phase::Approved) => {
                Next::After(until(request.spec.expires_at.0, now))
            }
            // What was written just now comes back as a change.
            Some(Phase::Denied | Phase::Expired | Phase::Consumed | Phase::Superseded) if written => {
                Next::Change
            }
            Some(Phase::Denied | Phase::Expired | Phase::Consumed | Phase::Superseded) => {
                match removable_at(request, self.retention) {
                    Some(at) if at <= now => {
                        self.remove(request).await?;
                        Next::Change
                    }
                    Some(at) => Next::After(until(at, now)),
                    None => Next::Change,
                }
            }
        })
    }
}

/// Time until `at`, and a little more: a timer must not fire before the clock says so.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO) + Duration::from_millis(5)
}

/// The Event on a change of phase.
fn news(before: Option<Phase>, status: &ApprovalRequestStatus) -> Option<News> {
    let phase = status.phase.filter(|p| before != Some(*p))?;
    let (reason, action, type_) = match phase {
        Phase::Pending => ("ApprovalRequested", "Hold", EventType::Normal),
        Phase::Approved => ("Approved", "Settle", EventType::Normal),
        Phase::Denied => ("Denied", "Settle", EventType::Warning),
        Phase::Expired => ("Expired", "Settle", EventType::Warning),
        Phase::Consumed => ("Consumed", "Settle", EventType::Normal),
        Phase::Superseded => ("Superseded", "Settle", EventType::Warning),
    };
    let note = status
        .conditions
        .iter()
        .find(|c| c.type_ == phase.condition())
        .map(|c| c.message.clone());
    Some(News {
        type_,
        reason: reason.to_owned(),
        action,
        note: note.unwrap_or_else(|| reason.to_owned()),
    })
}
