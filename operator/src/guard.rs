//! Whether the API server proves who approves. A review is worth what the admission policy on approval requests
//! is worth: without it, whoever may edit a status could approve under any name. So the operator tries to forge a
//! review, by a dry run, and again and again; an approval counts only while that is refused, and by that policy.
//!
//! It tries on a request of its own, in Turnpike's own namespace. A dry run of a creation cannot be reviewed, and
//! a request of an agent need not be there, or be decided already and refuse reviews for that reason. The probe's
//! request stays as it was made: nobody settles it, its time is over, so lists of what waits do not show it, and
//! where somebody deletes it, it is made anew.
//!
//! What it cannot tell: whether all other rules of the policy stand, and what happened between two tries. Changes
//! of the policy and of its binding are watched and make it try at once.

use std::{
    fmt::Debug,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, PostParams},
    runtime::{WatchStreamExt as _, events::EventType, watcher, watcher::watch_object},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use turnpike_compiler::{
    forgery,
    unproved::{self, Proof},
};
use turnpike_crds::ApprovalRequest;

use crate::{
    FIELD_MANAGER,
    events::{Events, News},
    metrics::Metrics,
    watch::RequestKey,
    worker::chain,
};

/// Label on the request that forgeries are tried on.
const PROBE_LABEL: &str = "turnpike.dev/guard-probe";
/// What is wrong where a forgery is taken.
const OPEN: &str = "the API server takes reviews under any name: install the chart's ValidatingAdmissionPolicy on \
                    approval requests and its binding";
/// Time between two tries while all is well.
const INTERVAL: Duration = Duration::from_secs(30);
/// Time between two tries while it is not, and after a change.
const EAGER: Duration = Duration::from_secs(1);
/// An API server heeds a changed policy within this time.
const SETTLING: Duration = Duration::from_secs(5);
/// A try that takes longer has told nothing.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What the last try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing could be learned, for this reason.
    Unknown(String),
    /// A forged review was refused: approvals count.
    Ready,
    /// A forged review was taken: anybody could approve under any name.
    Open,
}

impl Guard {
    /// What is known before the first try.
    pub(crate) fn untried() -> Self {
        Self::Unknown("whether the API server proves who approves was not tried yet".to_owned())
    }

    /// What people are told, where approvals do not count.
    pub(crate) fn problem(&self) -> Option<&str> {
        match self.proof() {
            Proof::Given => None,
            Proof::Missing { why } | Proof::Unknown { why } => Some(why),
        }
    }

    /// What this means for approvals.
    pub(crate) fn proof(&self) -> Proof<'_> {
        match self {
            Self::Ready => Proof::Given,
            Self::Open => Proof::Missing { why: OPEN },
            Self::Unknown(why) => Proof::Unknown { why },
        }
    }

    /// The reason of an Event.
    fn reason(&self) -> &'static str {
        match self {
            Self::Ready => unproved::FORGERY_REFUSED,
            Self::Open => unproved::FORGERY_ACCEPTED,
            Self::Unknown(_) => unproved::NOT_PROBED,
        }
    }
}

/// Tries forgeries.
pub(crate) struct Prober {
    client: Client,
    requests: Api<DynamicObject>,
    /// The request that forgeries are tried on.
    probe: RequestKey,
    guard_name: String,
    events: Events,
    metrics: Arc<Metrics>,
    state: watch::Sender<Guard>,
}

impl Prober {
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        guard_name: &str,
        events: Events,
        metrics: Arc<Metrics>,
        state: watch::Sender<Guard>,
    ) -> Self {
        Self {
            requests: Api::namespaced_with(client.clone(), namespace, &kind()),
            client,
            probe: probe_key(namespace, guard_name),
            guard_name: guard_name.to_owned(),
            events,
            metrics,
            state,
        }
    }

    /// Starts to try, as tasks of `tasks` that never end. `changed` is called when approvals begin or cease to
    /// count.
    pub(crate) fn start(self, tasks: &mut JoinSet<()>, changed: impl Fn() + Send + 'static) {
        let touched = Arc::new(Notify::new());
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        tasks.spawn(follow(policies, self.guard_name.clone(), touched.clone()));
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client.clone());
        tasks.spawn(follow(bindings, self.guard_name.clone(), touched.clone()));
        tasks.spawn(self.run(touched, changed));
    }

    async fn run(self, touched: Arc<Notify>, changed: impl Fn() + Send) {
        let mut changed_at = Instant::now();
        let mut open_at: Option<Instant> = None;
        loop {
            let mut found = match tokio::time::timeout(TIME_LIMIT, self.forge()).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => Guard::Unknown(unknown(&chain(&error))),
                Err(_) => Guard::Unknown(unknown("the API server does not answer")),
            };
            match found {
                Guard::Open => open_at = Some(Instant::now()),
                // Whatever was written while forgeries were taken has to have been seen before one counts again.
                Guard::Ready if open_at.is_some_and(|at| at.elapsed() < SETTLING) => found = Guard::Open,
                Guard::Ready | Guard::Unknown(_) => {}
            }
            let ready = found == Guard::Ready;
            if self.tell(found) {
                changed();
            }
            let wait = match ready && changed_at.elapsed() > SETTLING {
                true => INTERVAL,
                false => EAGER,
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = touched.notified() => changed_at = Instant::now(),
            }
        }
    }

    /// Tries to approve in another's name.
    async fn forge(&self) -> kube::Result<Guard> {
        let (namespace, name) = &self.probe;
        let params = |dry_run| PostParams {
            dry_run,
            field_manager: Some(FIELD_MANAGER.to_owned()),
        };
        let mut request = match self.requests.get_opt(name).await? {
            Some(request) => request,
            None => {
                self.requests
                    .create(&params(false), &probe(namespace, name))
                    .await?
            }
        };
        request.data["status"] = json!({"reviews": {forgery::NOBODY: {"decision": "Approve"}}});
        match self.requests.replace_status(name, &params(true), &request).await {
            Ok(_) => Ok(Guard::Open),
            Err(kube::Error::Api(status)) if forgery::is_refusal(&status.message) => Ok(Guard::Ready),
            Err(error) => Err(error),
        }
    }

    /// Tells what was found, where it is new. Whether it is of another kind than before.
    fn tell(&self, found: Guard) -> bool {
        let other = {
            let before = self.state.borrow();
            if *before == found {
                return false;
            }
            std::mem::discriminant(&*before) != std::mem::discriminant(&found)
        };
        let ready = found == Guard::Ready;
        self.metrics.approval_guard_ready.set(i64::from(ready));
        if other {
            let (type_, note) = match found.problem() {
                None => (
                    EventType::Normal,
                    "a forged review is refused: approvals count".to_owned(),
                ),
                Some(problem) => (EventType::Warning, format!("approvals do not count: {problem}")),
            };
            match ready {
                true => tracing::info!("{note}"),
                false => tracing::error!("{note}"),
            }
            let news = News {
                type_,
                reason: found.reason().to_owned(),
                action: "Probe",
                note,
            };
            let (namespace, name) = &self.probe;
            self.events
                .publish_about(probe(namespace, name).object_ref(&kind()), news);
        }
        self.state.send_replace(found);
        other
    }
}

fn unknown(why: &str) -> String {
    format!("whether the API server refuses reviews under another's name could not be tried: {why}")
}

/// Notifies of each change of an object.
async fn follow<K>(api: Api<K>, name: String, touched: Arc<Notify>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut changes = pin!(watch_object(api, &name).backoff(watcher::DefaultBackoff::default()));
    while let Some(change) = changes.next().await {
        match change {
            Ok(_) => touched.notify_one(),
            Err(error) => {
                let kind = K::kind(&());
                tracing::warn!(%kind, name, error = chain(&error), "watch interrupted; trying again");
            }
        }
    }
    // Such a watch does not end. Should it, there are still the tries in between.
    std::future::pending().await
}

/// Namespace and name of the request that forgeries are tried on.
pub(crate) fn probe_key(namespace: &str, guard_name: &str) -> RequestKey {
    (namespace.to_owned(), format!("{guard_name}-probe"))
}

/// The request that forgeries are tried on: of no agent, for no call, and its time is over.
fn probe(namespace: &str, name: &str) -> DynamicObject {
    let nothing = "nothing: the operator tries to forge reviews of this request";
    let mut request = DynamicObject::new(name, &kind()).within(namespace).data(json!({"spec": {
        "agent": {"name": "nobody"},
        "call": {"method": "none", "resources": [nothing], "verb": "NONE", "url": "none", "bodyBytes": 0},
        "policies": [{"namespace": namespace, "name": "none", "uid": "none", "generation": 0, "rule": "none"}],
        "digest": format!("sha256:{}", "0".repeat(64)),
        "expiresAt": "2000-01-01T00:00:00Z",
    }}));
    request.metadata.labels = Some([(PROBE_LABEL.to_owned(), "true".to_owned())].into());
    request
}

fn kind() -> ApiResource {
    ApiResource::erase::<ApprovalRequest>(&())
}
