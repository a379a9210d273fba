//! Kubernetes Events on what people want to hear of. They are told in the background and may be lost; no
//! decision waits for one.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{FIELD_MANAGER, metrics::Metrics, worker::chain};

/// Events that may wait to be published; more are dropped and counted.
const BACKLOG: usize = 1024;
/// The API server takes notes of up to 1 KiB.
const MAX_NOTE: usize = 1000;

/// Publishes Events.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    backlog: mpsc::Sender<(ObjectReference, News)>,
    metrics: Arc<Metrics>,
}

/// What an Event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) type_: EventType,
    pub(crate) reason: String,
    pub(crate) action: &'static str,
    pub(crate) note: String,
}

impl Events {
    /// Starts the task that publishes, as a task of `tasks`.
    pub(crate) fn start(
        client: Client,
        identity: &str,
        metrics: &Arc<Metrics>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (backlog, mut waiting) = mpsc::channel::<(ObjectReference, News)>(BACKLOG);
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        let counting = metrics.clone();
        tasks.spawn(async move {
            while let Some((object, news)) = waiting.recv().await {
                // A recorder that lives on folds what looks alike into a series and keeps the first note; a
                // second error in the same policy would show the first one's words. So each starts anew.
                let recorder = Recorder::new(client.clone(), reporter.clone());
                if let Err(error) = recorder.publish(&news.into_event(), &object).await {
                    counting.event_failures.with_label_values(&["api"]).inc();
                    tracing::warn!(error = chain(&error), object = object.name, "event not published");
                }
            }
            // The sender is part of the reconcilers, which end only with the process.
        });
        Self {
            backlog,
            metrics: metrics.clone(),
        }
    }

    /// Publishes an Event on `object`, soon.
    pub(crate) fn publish(&self, object: &impl Resource<DynamicType = ()>, news: News) {
        self.publish_about(object.object_ref(&()), news);
    }

    /// Publishes an Event on the object that this refers to, soon.
    pub(crate) fn publish_about(&self, object: ObjectReference, news: News) {
        if let Err(unsent) = self.backlog.try_send((object, news)) {
            let (object, _) = unsent.into_inner();
            self.metrics.event_failures.with_label_values(&["backlog"]).inc();
            tracing::warn!(object = object.name, "event dropped: too many wait");
        }
    }
}

impl News {
    fn into_event(self) -> Event {
        let mut note = self.note;
        note.truncate(note.floor_char_boundary(MAX_NOTE));
        Event {
            type_: self.type_,
            reason: self.reason,
            note: Some(note),
            action: self.action.to_owned(),
            secondary: None,
        }
    }
}
