//! What the store last said of each approval request, and who waits for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::core::ResourceExt;
use tokio::sync::watch;
use turnpike_crds::ApprovalRequest;

type Key = (String, String);

/// State of all approval requests.
#[derive(Debug, Default)]
pub struct Hub {
    requests: Mutex<HashMap<Key, watch::Sender<State>>>,
}

#[derive(Debug, Clone)]
enum State {
    /// Somebody waits; the store has said nothing yet.
    Unknown,
    There(Arc<ApprovalRequest>),
    Deleted,
}

/// The changes of one request.
#[derive(Debug)]
pub struct Changes(watch::Receiver<State>);

impl Changes {
    /// The next state of the request; `None` when it was deleted.
    pub async fn next(&mut self) -> Option<Arc<ApprovalRequest>> {
        loop {
            if self.0.changed().await.is_err() {
                return None;
            }
            match &*self.0.borrow_and_update() {
                State::There(request) => return Some(request.clone()),
                State::Deleted => return None,
                State::Unknown => {}
            }
        }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<State>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was created or changed.
    pub fn put(&self, request: ApprovalRequest) {
        let key = (request.namespace().unwrap_or_default(), request.name_any());
        let state = State::There(Arc::new(request));
        match self.lock().entry(key) {
            std::collections::hash_map::Entry::Occupied(there) => drop(there.get().send_replace(state)),
            std::collections::hash_map::Entry::Vacant(place) => drop(place.insert(watch::Sender::new(state))),
        }
    }

    /// A request was deleted.
    pub fn remove(&self, namespace: &str, name: &str) {
        if let Some(sender) = self.lock().remove(&(namespace.to_owned(), name.to_owned())) {
            sender.send_replace(State::Deleted);
        }
    }

    /// These are all requests there are: others were deleted.
    pub fn replace_all(&self, requests: Vec<ApprovalRequest>) {
        let keys: std::collections::HashSet<Key> = requests
            .iter()
            .map(|r| (r.namespace().unwrap_or_default(), r.name_any()))
            .collect();
        self.lock().retain(|key, sender| {
            let known = matches!(&*sender.borrow(), State::There(_));
            if known && !keys.contains(key) {
                sender.send_replace(State::Deleted);
                return false;
            }
            true
        });
        requests.into_iter().for_each(|r| self.put(r));
    }

    /// What the store last said of a request.
    pub fn latest(&self, namespace: &str, name: &str) -> Option<Arc<ApprovalRequest>> {
        match &*self
            .lock()
            .get(&(namespace.to_owned(), name.to_owned()))?
            .borrow()
        {
            State::There(request) => Some(request.clone()),
            State::Unknown | State::Deleted => None,
        }
    }

    /// How many requests of an agent nobody has decided yet.
    pub fn open_of(&self, agent: &str) -> usize {
        self.lock()
            .values()
            .filter(|sender| match &*sender.borrow() {
                State::There(request) => request.spec.agent.name == agent && super::is_open(request),
                State::Unknown | State::Deleted => false,
            })
            .count()
    }

    /// The changes of a request from now on. What the store has said already counts as the first change, so
    /// that a decision between creation and subscription is not missed.
    pub fn subscribe(&self, namespace: &str, name: &str) -> Changes {
        let mut requests = self.lock();
        let sender = requests
            .entry((namespace.to_owned(), name.to_owned()))
            .or_insert_with(|| watch::Sender::new(State::Unknown));
        let mut receiver = sender.subscribe();
        if matches!(&*receiver.borrow(), State::There(_)) {
            receiver.mark_changed();
        }
        Changes(receiver)
    }
}
