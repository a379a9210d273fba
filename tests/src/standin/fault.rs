//! Failures on demand, for "upstream is down" tests.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which requests fail, and how. Every field is optional: an empty selector matches all.
///
/// A delay comes first; then `close`, else `status`, else the ordinary answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fault {
    /// Only this host, such as `storage.googleapis.com`.
    pub host: Option<String>,
    /// Only this verb.
    pub method: Option<String>,
    /// Only paths (with their query) that start so.
    pub path_prefix: Option<String>,
    /// How many requests it hits before it is spent; unlimited where absent.
    pub times: Option<u32>,
    /// Waits before anything else, in milliseconds.
    pub delay_ms: Option<u64>,
    /// Answers with this status and a Google API error.
    pub status: Option<u16>,
    /// The answer's JSON body instead of the usual error.
    pub body: Option<Value>,
    /// Cuts the connection without an answer.
    pub close: bool,
}

impl Fault {
    fn matches(&self, host: &str, method: &str, path: &str) -> bool {
        self.host.as_deref().is_none_or(|want| want == host)
            && self.method.as_deref().is_none_or(|want| want == method)
            && self
                .path_prefix
                .as_deref()
                .is_none_or(|want| path.starts_with(want))
            && self.times != Some(0)
    }

    /// The delay, where there is one.
    pub(super) fn delay(&self) -> Option<Duration> {
        self.delay_ms.map(Duration::from_millis)
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(super) fn add(&self, fault: Fault) {
        self.lock().push(fault);
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    pub(super) fn all(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// The first fault that matches; one of its times is used up.
    pub(super) fn take(&self, host: &str, method: &str, path: &str) -> Option<Fault> {
        let mut faults = self.lock();
        let fault = faults
            .iter_mut()
            .find(|fault| fault.matches(host, method, path))?;
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        Some(fault.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
