//! Approval requests as Kubernetes resources. The operator settles them; this side creates them, watches
//! them, and spends an approval by an update that names the `resourceVersion` it saw: of two replicas, the
//! API server lets one through. Just before, it tries to forge a review of that very request: an approval is worth
//! what the admission policy on approval requests is worth.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture};
use kube::{
    Api, Client,
    api::PostParams,
    core::ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, ExponentialBackoff, watcher},
    },
};
use turnpike_compiler::{forgery, unproved::is_tainted};
use turnpike_crds::{ApprovalRequest, ApprovalRequestStatus, Consumption, Phase, Review, ReviewDecision};

use super::{ApprovalStore, StoreError, hub::Hub};

/// Approval requests of the cluster.
pub struct KubeStore {
    client: Client,
}

impl std::fmt::Debug for KubeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KubeStore")
    }
}

const WITHIN: Duration = Duration::from_secs(10);

impl KubeStore {
    /// A store behind this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn api(&self, namespace: &str) -> Api<ApprovalRequest> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// How long to wait before a watch that broke off is opened again. kube's own backoff grows to half a minute,
/// and a relist takes two turns: after a long outage, approvals and edits would wait for a minute.
pub fn reopening() -> ExponentialBackoff {
    let backoff = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times();
    ExponentialBackoff::from(backoff)
}

/// Reports every change to the hub. Ends never; what fails is tried again.
pub async fn watch(client: Client, hub: Arc<Hub>) {
    let api: Api<ApprovalRequest> = Api::all(client);
    let mut listed = Vec::new();
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).backoff(reopening()));
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(request)) => hub.put(request),
            Ok(watcher::Event::Delete(request)) => {
                hub.remove(&request.namespace().unwrap_or_default(), &request.name_any());
            }
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(request)) => listed.push(request),
            Ok(watcher::Event::InitDone) => hub.replace_all(std::mem::take(&mut listed)),
            Err(error) => {
                tracing::warn!(%error, "the watch on approval requests broke off; it is opened again")
            }
        }
    }
}

async fn within<T>(what: impl Future<Output = Result<T, kube::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(WITHIN, what).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => Err(match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => StoreError::Exists,
            (409 | 404, _) => StoreError::Changed,
            _ => StoreError::Unavailable(format!("the API server refuses: {}", status.message)),
        }),
        Ok(Err(error)) => Err(StoreError::Unavailable(format!(
            "the API server cannot be reached: {error}"
        ))),
        Err(_) => Err(StoreError::Unavailable(
            "the API server does not answer".to_owned(),
        )),
    }
}

impl ApprovalStore for KubeStore {
    fn create(&self, request: ApprovalRequest) -> BoxFuture<'_, Result<ApprovalRequest, StoreError>> {
        Box::pin(async move {
            let api = self.api(&request.namespace().unwrap_or_default());
            within(api.create(&PostParams::default(), &request)).await
        })
    }

    fn get<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ApprovalRequest>, StoreError>> {
        Box::pin(async move {
            let api = self.api(namespace);
            within(api.get_opt(name)).await
        })
    }

    fn spend(
        &self,
        mut request: ApprovalRequest,
        by: Consumption,
    ) -> BoxFuture<'_, Result<ApprovalRequest, StoreError>> {
        Box::pin(async move {
            let unspent =
                |s: &ApprovalRequestStatus| s.phase == Some(Phase::Approved) && s.consumption.is_none();
            if !request.status.as_ref().is_some_and(unspent) {
                return Err(StoreError::Changed);
            }
            if is_tainted(&request) {
                return Err(TAINTED);
            }
            let api = self.api(&request.namespace().unwrap_or_default());
            let spent = match refuses_forgeries(&api, request.clone()).await {
                Ok(()) => {
                    let status = request.status.get_or_insert_default();
                    status.consumption = Some(by);
                    within(api.replace_status(&request.name_any(), &PostParams::default(), &request)).await
                }
                Err(error) => Err(error),
            };
            if let Err(StoreError::Changed) = spent {
                // It may be the operator who says that the approval does not count.
                let now = within(api.get_opt(&request.name_any())).await?;
                if now.as_ref().is_some_and(is_tainted) {
                    return Err(TAINTED);
                }
            }
            spent
        })
    }
}

const TAINTED: StoreError =
    StoreError::Unproved("it was approved while anybody could have done so in any name");

/// Tries to write a review of the request in another's name, by a dry run, which has to be refused.
async fn refuses_forgeries(
    api: &Api<ApprovalRequest>,
    mut request: ApprovalRequest,
) -> Result<(), StoreError> {
    let review = Review {
        decision: ReviewDecision::Approve,
        digest: None,
        reason: None,
        groups: Vec::new(),
    };
    let status = request.status.get_or_insert_default();
    status.reviews.insert(forgery::NOBODY.to_owned(), review);
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let name = request.name_any();
    let forged = async {
        match api.replace_status(&name, &params, &request).await {
            Ok(_) => Ok(false),
            Err(kube::Error::Api(status)) if forgery::is_refusal(&status.message) => Ok(true),
            Err(error) => Err(error),
        }
    };
    match within(forged).await? {
        true => Ok(()),
        false => Err(StoreError::Unproved(
            "the cluster's API server lets anybody approve in any name, because Turnpike's admission policy on \
             approval requests is not in force",
        )),
    }
}
