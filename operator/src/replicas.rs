//! The proxy replicas that live, and the bundles that each says it runs.
//!
//! A replica renews a Lease of its own that carries a JSON object from namespace to digest. Time decides
//! who lives, not only changes: [`follow`] looks again when the next Lease lapses. A renewal that changes
//! nothing wakes nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use tokio::sync::{Notify, watch};
use turnpike_crds::marks;

/// All replicas at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Replicas {
    /// Digests by namespace, by the name of the replica's Lease.
    live: BTreeMap<String, BTreeMap<String, String>>,
    /// When the next one lapses, unless it is renewed.
    lapses: Option<Timestamp>,
}

/// How many of the live replicas run a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Replicas that run it.
    pub(crate) running: usize,
    /// All that live.
    pub(crate) live: usize,
}

/// Namespaces whose tally may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Affected {
    All,
    These(BTreeSet<String>),
}

impl Replicas {
    /// Those of `leases` that have not lapsed at `now`.
    pub(crate) fn at<'a>(leases: impl IntoIterator<Item = &'a Lease>, now: Timestamp) -> Self {
        let mut replicas = Self::default();
        for lease in leases {
            let Some(end) = end_of(lease).filter(|end| *end > now) else {
                continue;
            };
            replicas.lapses = Some(replicas.lapses.map_or(end, |at| at.min(end)));
            replicas.live.insert(lease.name_any(), running(lease));
        }
        replicas
    }

    /// How many run `digest` for `namespace`.
    pub(crate) fn tally(&self, namespace: &str, digest: &str) -> Tally {
        let running = self
            .live
            .values()
            .filter(|r| r.get(namespace).is_some_and(|d| d == digest))
            .count();
        Tally {
            running,
            live: self.live.len(),
        }
    }

    /// How many live.
    pub(crate) fn live(&self) -> usize {
        self.live.len()
    }

    /// What differs between this moment and a later one.
    fn affected(&self, later: &Self) -> Affected {
        if !self.live.keys().eq(later.live.keys()) {
            return Affected::All;
        }
        let mut namespaces = BTreeSet::new();
        for (before, after) in self.live.values().zip(later.live.values()) {
            for namespace in before.keys().chain(after.keys()) {
                if before.get(namespace) != after.get(namespace) {
                    namespaces.insert(namespace.clone());
                }
            }
        }
        Affected::These(namespaces)
    }
}

/// Keeps the newest [`Replicas`] in `current` and tells `on_change` whom a change affects. Never returns.
pub(crate) async fn follow(
    leases: impl Fn() -> Vec<Arc<Lease>>,
    touched: Arc<Notify>,
    current: watch::Sender<Replicas>,
    on_change: impl Fn(Affected),
) {
    loop {
        let now = Timestamp::now();
        let next = Replicas::at(leases().iter().map(Arc::as_ref), now);
        let lapses = next.lapses;
        let affected = current.send_replace(next.clone()).affected(&next);
        if affected != Affected::These(BTreeSet::new()) {
            on_change(affected);
        }
        match lapses {
            Some(at) => {
                // A little later, so that the Lease has lapsed when we look.
                let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
                    + Duration::from_millis(5);
                tokio::select! {
                    () = touched.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
            None => touched.notified().await,
        }
    }
}

/// When a Lease lapses; `None` for one that was never renewed or is malformed, which counts as lapsed.
fn end_of(lease: &Lease) -> Option<Timestamp> {
    let spec = lease.spec.as_ref()?;
    let renewed = spec.renew_time.as_ref()?.0;
    renewed
        .checked_add(SignedDuration::from_secs(i64::from(spec.lease_duration_seconds?)))
        .ok()
}

/// The digests that a Lease reports. One that cannot be read runs nothing that we know of.
fn running(lease: &Lease) -> BTreeMap<String, String> {
    let Some(text) = lease.annotations().get(marks::RUNNING_DIGESTS) else {
        return BTreeMap::new();
    };
    match serde_json::from_str(text) {
        Ok(digests) => digests,
        Err(error) => {
            tracing::warn!(lease = lease.name_any(), %error, "annotation {} is malformed", marks::RUNNING_DIGESTS);
            BTreeMap::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(name: &str, renewed: &str, digests: &str) -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {marks::RUNNING_DIGESTS: digests}},
            "spec": {"renewTime": renewed, "leaseDurationSeconds": 10},
        }))
        .unwrap()
    }

    fn at(leases: &[Lease], now: &str) -> Replicas {
        Replicas::at(leases, now.parse().unwrap())
    }

    const T0: &str = "2030-01-01T00:00:00.000000Z";
    const T5: &str = "2030-01-01T00:00:05.000000Z";

    #[test]
    fn only_replicas_that_live_count() {
        let leases = [
            lease("a", T0, r#"{"agents":"sha256:1"}"#),
            lease("b", T5, r#"{"agents":"sha256:2","other":"sha256:3"}"#),
            lease("c", T5, "not json"),
            serde_json::from_value(json!({"metadata": {"name": "never-renewed"}})).unwrap(),
        ];
        let tally = |now, digest| at(&leases, now).tally("agents", digest);
        assert_eq!(tally(T5, "sha256:1"), Tally { running: 1, live: 3 });
        assert_eq!(tally(T5, "sha256:9"), Tally { running: 0, live: 3 });
        assert_eq!(
            at(&leases, T5).lapses,
            Some("2030-01-01T00:00:10Z".parse().unwrap())
        );
        assert_eq!(
            tally("2030-01-01T00:00:10Z", "sha256:2"),
            Tally { running: 1, live: 2 }
        );
        assert_eq!(at(&leases, "2030-01-01T00:00:15Z"), Replicas::default());
    }

    #[test]
    fn a_renewal_without_news_affects_nobody() {
        let one = |digests: &str| at(&[lease("a", T0, digests)], T5);
        let these = |names: &[&str]| Affected::These(names.iter().map(|n| (*n).to_owned()).collect());
        let before = one(r#"{"x":"1","y":"1"}"#);
        let renewed = at(&[lease("a", T5, r#"{"x":"1","y":"1"}"#)], T5);
        assert_eq!(before.affected(&renewed), these(&[]));
        assert_eq!(
            before.affected(&one(r#"{"x":"2","z":"1"}"#)),
            these(&["x", "y", "z"])
        );
        assert_eq!(before.affected(&Replicas::default()), Affected::All);
    }
}
