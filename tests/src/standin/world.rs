//! What exists in the stand-in's Google: one project, `acme-dev`, with a little of everything.
//!
//! All names and values are invented and say so; nothing in it looks like a credential.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::services::{bigquery, functions, iam, run, secrets, storage};

/// The project that exists.
pub(super) const PROJECT: &str = "acme-dev";
/// Its number.
pub(super) const PROJECT_NUMBER: &str = "100000000001";
/// The region of what has one.
pub(super) const REGION: &str = "us-central1";
/// When all of it was made.
pub(super) const CREATED: &str = "2026-01-01T00:00:00Z";

/// All resources, each family behind its own lock.
#[derive(Debug)]
pub(super) struct World {
    counter: AtomicU64,
    storage: Mutex<storage::Store>,
    secrets: Mutex<BTreeMap<String, secrets::Secret>>,
    documents: Mutex<BTreeMap<String, Value>>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut documents = BTreeMap::new();
        bigquery::seed(&mut documents);
        functions::seed(&mut documents);
        run::seed(&mut documents);
        iam::seed(&mut documents);
        Self {
            counter: AtomicU64::new(1),
            storage: Mutex::new(storage::Store::seeded()),
            secrets: Mutex::new(secrets::seed()),
            documents: Mutex::new(documents),
        }
    }

    /// A number that no one had before, from 1.
    pub(super) fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn storage(&self) -> MutexGuard<'_, storage::Store> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn secrets(&self) -> MutexGuard<'_, BTreeMap<String, secrets::Secret>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resources that are plain JSON documents, by an unambiguous key such as
    /// `cloudfunctions/projects/P/locations/L/functions/F`.
    pub(super) fn documents(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Now, as Google writes it.
pub(super) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
