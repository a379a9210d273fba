//! Approval requests, wherever they are kept: in a cluster or in the folder of a standalone proxy.
//!
//! Commands see one [`Requests`]. It reads requests and writes one thing alone, the caller's own entry of
//! `status.reviews`; phases and conditions are for the operator, or the standalone proxy, to write.

mod cluster;
mod connect;
mod directory;

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use turnpike_crds::{AgentPolicy, ApprovalRequest, Phase, Review};

use crate::args::Target;

/// Where approval requests are.
pub(crate) enum Requests {
    Cluster(cluster::Cluster),
    Directory(directory::Directory),
}

/// The caller.
pub(crate) struct Me {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

/// What a list has found.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) requests: Vec<ApprovalRequest>,
    /// What could not be read, and why: a sentence each.
    pub(crate) unreadable: Vec<String>,
}

impl Requests {
    pub(crate) async fn open(target: &Target) -> Result<Self> {
        match &target.config {
            Some(dir) => Ok(Self::Directory(directory::Directory::open(dir, target)?)),
            None => Ok(Self::Cluster(cluster::Cluster::connect(target).await?)),
        }
    }

    /// All requests of the namespace, or of all.
    pub(crate) async fn list(&self, all_namespaces: bool) -> Result<Listing> {
        match self {
            Self::Cluster(cluster) => cluster.list(all_namespaces).await,
            Self::Directory(directory) => directory.list(all_namespaces),
        }
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Option<ApprovalRequest>> {
        match self {
            Self::Cluster(cluster) => cluster.get(name).await,
            Self::Directory(directory) => directory.get(name),
        }
    }

    /// Who the caller is: his user name is the key of his review.
    pub(crate) async fn me(&self) -> Result<Me> {
        match self {
            Self::Cluster(cluster) => cluster.me().await,
            Self::Directory(directory) => directory.me(),
        }
    }

    /// Writes a review of a request as it was read.
    pub(crate) async fn review(&self, request: &ApprovalRequest, me: &str, review: &Review) -> Result<()> {
        match self {
            Self::Cluster(cluster) => cluster.review(request, me, review).await,
            Self::Directory(directory) => directory.review(request, me, review),
        }
    }

    /// Where is looked, as in "no requests in ...".
    pub(crate) fn place(&self, all_namespaces: bool) -> String {
        match self {
            Self::Cluster(_) if all_namespaces => "any namespace".to_owned(),
            Self::Cluster(cluster) => format!("namespace {}", cluster.namespace()),
            Self::Directory(directory) => directory.place(all_namespaces),
        }
    }

    /// The command line that decides a request.
    pub(crate) fn command(&self, verb: &str, request: &ApprovalRequest) -> String {
        let name = request.metadata.name.as_deref().unwrap_or_default();
        match self {
            Self::Cluster(cluster) => format!("kubectl turnpike {verb} -n {} {name}", cluster.namespace()),
            Self::Directory(directory) => {
                format!("kubectl-turnpike --config {} {verb} {name}", directory.shown())
            }
        }
    }

    /// Who settles reviews, for the case that nobody does.
    pub(crate) fn settled_by(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "Turnpike's operator",
            Self::Directory(_) => "the standalone proxy of that folder",
        }
    }
}

/// An AgentPolicy of the cluster, and the namespace that was looked in.
pub(crate) async fn policy(
    target: &Target,
    namespace: Option<&str>,
    name: &str,
) -> Result<(Option<AgentPolicy>, String)> {
    cluster::Cluster::connect(target)
        .await?
        .policy(namespace, name)
        .await
}

/// The labels of all namespaces of the cluster.
pub(crate) async fn namespaces(target: &Target) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    cluster::Cluster::connect(target).await?.namespaces().await
}

/// Phase of a request; one that nobody has looked at yet is pending.
pub(crate) fn phase(request: &ApprovalRequest) -> Phase {
    let written = request.status.as_ref().and_then(|status| status.phase);
    written.unwrap_or(Phase::Pending)
}

/// Whether the request's time is over, also where nobody has written so yet.
pub(crate) fn is_over(request: &ApprovalRequest, now: Timestamp) -> bool {
    now >= request.spec.expires_at.0
}
