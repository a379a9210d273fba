//! Approval requests of a cluster. A review is a JSON merge patch of the status subresource, the very patch
//! that plain kubectl would send.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::api::{authentication::v1::SelfSubjectReview, core::v1::Namespace};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::DeserializeGuard,
};
use serde_json::json;
use turnpike_crds::{AgentPolicy, ApprovalRequest, Review};

use super::{
    Listing, Me,
    connect::{Connection, connect, is_missing_object},
};
use crate::args::Target;

/// Who wrote a field, as `managedFields` show it.
const FIELD_MANAGER: &str = "kubectl-turnpike";
/// Requests that one answer of the API server carries.
const PAGE: u32 = 500;

pub(crate) struct Cluster {
    connection: Connection,
}

impl Cluster {
    pub(super) async fn connect(target: &Target) -> Result<Self> {
        Ok(Self {
            connection: connect(target).await?,
        })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.connection.namespace
    }

    fn client(&self) -> Client {
        self.connection.client.clone()
    }

    /// An AgentPolicy, and the namespace that was looked in.
    pub(super) async fn policy(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(Option<AgentPolicy>, String)> {
        let namespace = namespace.unwrap_or(self.namespace());
        let api: Api<AgentPolicy> = Api::namespaced(self.client(), namespace);
        let found = api.get_opt(name).await;
        let found = found.map_err(|e| self.connection.sentence(e, "read the AgentPolicy"))?;
        Ok((found, namespace.to_owned()))
    }

    /// The labels of all namespaces.
    pub(super) async fn namespaces(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        let api: Api<Namespace> = Api::all(self.client());
        let found = api.list(&ListParams::default()).await;
        let found = found.map_err(|e| self.connection.sentence(e, "list namespaces"))?;
        Ok(found
            .into_iter()
            .map(|namespace| (namespace.name_any(), namespace.labels().clone()))
            .collect())
    }

    pub(super) async fn list(&self, all_namespaces: bool) -> Result<Listing> {
        // One request that this build cannot read must not hide the others.
        let api: Api<DeserializeGuard<ApprovalRequest>> = if all_namespaces {
            Api::all(self.client())
        } else {
            Api::namespaced(self.client(), self.namespace())
        };
        let mut listing = Listing::default();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let found = api.list(&page).await;
            let found = found.map_err(|e| self.connection.sentence(e, "list approval requests"))?;
            let next = found.metadata.continue_.clone().filter(|token| !token.is_empty());
            for item in found {
                match item.0 {
                    Ok(request) => listing.requests.push(request),
                    Err(error) => listing.unreadable.push(format!(
                        "approval request {} cannot be read: {}; does this kubectl-turnpike fit the cluster's \
                         version?",
                        error.metadata.name.as_deref().unwrap_or("without a name"),
                        error.error
                    )),
                }
            }
            match next {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(listing),
            }
        }
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<ApprovalRequest>> {
        let api: Api<ApprovalRequest> = Api::namespaced(self.client(), self.namespace());
        match api.get(name).await {
            Ok(request) => Ok(Some(request)),
            Err(kube::Error::Api(status)) if is_missing_object(&status) => Ok(None),
            Err(error) => Err(self.connection.sentence(error, "read the approval request")),
        }
    }

    pub(super) async fn me(&self) -> Result<Me> {
        let api: Api<SelfSubjectReview> = Api::all(self.client());
        let review = api
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await
            .map_err(|e| self.connection.sentence(e, "ask who you are"))?;
        let user = review.status.and_then(|status| status.user_info);
        user.and_then(|user| {
            let name = user.username.filter(|name| !name.is_empty())?;
            Some(Me {
                name,
                groups: user.groups.unwrap_or_default(),
            })
        })
        .context("the API server does not say who you are, so no review can be written in your name")
    }

    pub(super) async fn review(&self, request: &ApprovalRequest, me: &str, review: &Review) -> Result<()> {
        let api: Api<ApprovalRequest> = Api::namespaced(self.client(), self.namespace());
        let patch = json!({"status": {"reviews": {me: review}}});
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch_status(&request.name_any(), &params, &Patch::Merge(&patch))
            .await
            .map_err(|e| self.connection.sentence(e, "write your review"))?;
        Ok(())
    }
}
