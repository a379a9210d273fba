//! How many replicas live: the limits of agents are divided between them.
//!
//! Each replica renews a Lease. A replica counts those of the others that have not lapsed, and itself. Where it
//! does not see its own renewals arrive, what it sees is old, and the others that seem gone may just as well be
//! there: then the number only grows, for a lower one would let agents do more.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    core::ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use turnpike_crds::marks;

use crate::{gate::cluster::reopening, limits::Ledger, metrics::Metrics};

/// Leases by name, with their ends.
#[derive(Debug, Default)]
struct Seen {
    own: String,
    ends: BTreeMap<String, Timestamp>,
}

impl Seen {
    /// How many live at this time, where there were so many a moment ago.
    fn count(&self, now: Timestamp, before: u32) -> u32 {
        let lives = |name: &str| self.ends.get(name).is_some_and(|end| *end > now);
        let others = self
            .ends
            .keys()
            .filter(|name| **name != self.own && lives(name))
            .count();
        let count = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        if lives(&self.own) {
            count
        } else {
            count.max(before)
        }
    }

    /// When the next of them lapses.
    fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.ends.values().copied().filter(|end| *end > now).min()
    }

    fn put(&mut self, lease: &Lease) {
        match end_of(lease) {
            Some(end) => self.ends.insert(lease.name_any(), end),
            None => self.ends.remove(&lease.name_any()),
        };
    }
}

/// When a Lease lapses; `None` for one that was never renewed or is malformed.
fn end_of(lease: &Lease) -> Option<Timestamp> {
    let spec = lease.spec.as_ref()?;
    let seconds = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds?));
    spec.renew_time.as_ref()?.0.checked_add(seconds).ok()
}

/// Divides the ledger's limits between as many replicas as there are. Never returns.
pub(super) async fn follow(api: Api<Lease>, own: String, ledger: Arc<Ledger>, metrics: Arc<Metrics>) {
    let config = watcher::Config::default().labels(marks::PROXY_REPLICA);
    let mut events = std::pin::pin!(watcher(api, config).backoff(reopening()));
    let mut seen = Seen {
        own,
        ..Seen::default()
    };
    let mut listed = BTreeMap::new();
    loop {
        let now = Timestamp::now();
        let before = ledger.replicas();
        let count = seen.count(now, before);
        if let Some(replicas) = NonZeroU32::new(count) {
            ledger.divide_between(replicas);
        }
        metrics.replicas(count);
        if count != before {
            tracing::info!(
                replicas = count,
                before,
                "limits of agents are divided between other replicas"
            );
        }
        // A little later, so that the Lease has lapsed when it is looked at.
        let lapse = seen.next_end(now).map(|end| {
            Duration::try_from(end.duration_since(now)).unwrap_or_default() + Duration::from_millis(5)
        });
        let event = tokio::select! {
            event = events.next() => match event {
                Some(event) => event,
                // It is opened again for ever.
                None => std::future::pending().await,
            },
            () = tokio::time::sleep(lapse.unwrap_or_default()), if lapse.is_some() => continue,
        };
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(lease)) => {
                if let Some(end) = end_of(&lease) {
                    listed.insert(lease.name_any(), end);
                }
            }
            Ok(watcher::Event::InitDone) => seen.ends = std::mem::take(&mut listed),
            Ok(watcher::Event::Apply(lease)) => seen.put(&lease),
            Ok(watcher::Event::Delete(lease)) => drop(seen.ends.remove(&lease.name_any())),
            Err(error) => {
                tracing::warn!(%error, "the watch on the Leases of replicas broke off; it is opened again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn lease(name: &str, renewed: i64) -> Lease {
        let renewed = at(renewed).to_string();
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"renewTime": renewed, "leaseDurationSeconds": 15},
        }))
        .expect("a Lease")
    }

    #[test]
    fn the_others_that_live_and_oneself_are_counted() {
        let mut seen = Seen {
            own: "a".into(),
            ..Seen::default()
        };
        assert_eq!(seen.count(at(100), 1), 1, "before anything was seen");
        for (name, renewed) in [("a", 100), ("b", 98), ("c", 95)] {
            seen.put(&lease(name, renewed));
        }
        // a lapses at 115, b at 113, c at 110.
        let rows = [(100, 1, 3), (109, 3, 3), (110, 3, 2), (113, 2, 1)];
        for (now, before, expected) in rows {
            assert_eq!(seen.count(at(now), before), expected, "at {now}");
        }
        let ends = [100, 110, 113, 115].map(|now| seen.next_end(at(now)).map(Timestamp::as_second));
        assert_eq!(ends, [Some(110), Some(113), Some(115), None]);
        // Nothing was heard for a while, not even of oneself: nobody is known to be gone.
        assert_eq!(seen.count(at(200), 3), 3);
        // A new one is believed all the same.
        for name in ["d", "e", "f"] {
            seen.put(&lease(name, 199));
        }
        assert_eq!(seen.count(at(200), 3), 4);
        seen.put(&lease("a", 200));
        assert_eq!(seen.count(at(214), 4), 1);
    }

    #[test]
    fn a_lease_that_says_nothing_is_none() {
        let mut seen = Seen {
            own: "a".into(),
            ..Seen::default()
        };
        seen.put(&lease("b", 100));
        let empty: Lease = serde_json::from_value(json!({"metadata": {"name": "b"}})).expect("a Lease");
        seen.put(&empty);
        assert_eq!(seen.ends, BTreeMap::new());
    }
}
