//! The end of a call: recorded exactly once, however it ends.

use std::sync::Arc;

use http::HeaderMap;
use turnpike_audit::{MaskHit, OutcomeRecord, Stage};
use turnpike_policy::mask::Masked;

use crate::{
    grpc, inflight::Line, metrics::Metrics, record::CallRecord, refusal::Refusal, search::Late,
    spool::OutcomeRoom,
};

/// A call whose intent is being recorded, or is on record, and whose end is still to be told. Dropping it
/// records the end, so a call whose agent goes away at any moment has one.
#[derive(Debug)]
pub struct Outcome {
    record: CallRecord,
    room: Option<OutcomeRoom>,
    line: Line,
    /// Whether the agent reads the end of the answer in trailers.
    trailers: bool,
    metrics: Arc<Metrics>,
    status: u16,
    upstream_us: Option<u64>,
    bytes: u64,
    masked: Vec<Masked>,
    error: Option<String>,
    ended: bool,
    withdrawn: bool,
    late: Option<Late>,
}

impl Outcome {
    /// Begins before the intent is written.
    pub fn begin(record: CallRecord, line: Line, metrics: Arc<Metrics>) -> Self {
        Self {
            record,
            room: None,
            line,
            trailers: false,
            metrics,
            status: 0,
            upstream_us: None,
            bytes: 0,
            masked: Vec::new(),
            error: None,
            ended: false,
            withdrawn: false,
            late: None,
        }
    }

    /// Takes the room that the spool holds for the outcome.
    pub fn reserve(&mut self, room: OutcomeRoom) {
        self.room = Some(room);
    }

    /// The intent was not written, so there is no outcome: gives the record back for the refusal's own.
    pub fn withdraw(&mut self) -> &mut CallRecord {
        self.withdrawn = true;
        &mut self.record
    }

    /// The record so far.
    pub fn record(&self) -> &CallRecord {
        &self.record
    }

    /// What is in the request's body will be known once it has passed. The end is recorded then.
    pub(crate) fn searched_late(&mut self, late: Option<Late>) {
        self.late = late;
    }

    /// The status that the agent gets.
    pub fn status(&mut self, status: u16) {
        self.status = status;
    }

    /// The answer ends with trailers that tell its status.
    pub fn ends_with_trailers(&mut self, trailers: bool) {
        self.trailers = trailers;
    }

    /// Why the call was cut off, if it was.
    pub fn cut(&self) -> Option<&Refusal> {
        self.line.cut()
    }

    /// Trailers that tell why the call was cut off, where the agent reads them.
    pub fn last_words(&self) -> Option<HeaderMap> {
        let cut = self.cut().filter(|_| self.trailers)?;
        Some(grpc::trailers(cut, self.record.id))
    }

    /// How long the head of Google's answer took.
    pub fn answered_after(&mut self, us: u64) {
        self.upstream_us = Some(us);
    }

    /// Bytes of the answer's body that went to the agent.
    pub fn passed(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// What was masked, in one more message of the answer.
    pub fn masked(&mut self, masked: Vec<Masked>) {
        for new in masked {
            let known = self
                .masked
                .iter_mut()
                .find(|m| m.kind == new.kind && m.path == new.path);
            match known {
                Some(known) => known.count = known.count.saturating_add(new.count),
                None => self.masked.push(new),
            }
        }
    }

    /// The answer failed or was cut short.
    pub fn broke_off(&mut self, why: &str) {
        self.error = Some(why.to_owned());
        self.ended = true;
    }

    /// The answer was passed on to its end.
    pub fn completed(&mut self) {
        self.ended = true;
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if self.withdrawn {
            return;
        }
        let completed = self.ended && self.error.is_none();
        if let Some(cut) = self.line.cut().filter(|_| !completed) {
            self.error = Some(cut.reason.to_owned());
        }
        if !self.ended && self.error.is_none() {
            self.error = Some("the agent went away before the answer ended".to_owned());
        }
        let latency = self.record.clock.elapsed();
        self.metrics.finished(latency, self.upstream_us, self.status);
        let end = End {
            status: self.status,
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            upstream_us: self.upstream_us,
            bytes: self.bytes,
            masked: std::mem::take(&mut self.masked),
            error: self.error.take(),
            room: self.room.take(),
        };
        let Some(late) = self.late.take() else {
            return end.write(&self.record, &self.metrics);
        };
        let (mut record, metrics) = (self.record.clone(), self.metrics.clone());
        late.then(move |found| {
            record.found(&found);
            end.write(&record, &metrics);
        });
    }
}

/// What is told of the end.
struct End {
    status: u16,
    latency_us: u64,
    upstream_us: Option<u64>,
    bytes: u64,
    masked: Vec<Masked>,
    error: Option<String>,
    room: Option<OutcomeRoom>,
}

impl End {
    fn write(self, record: &CallRecord, metrics: &Metrics) {
        let masked: Vec<MaskHit<'_>> = self
            .masked
            .iter()
            .map(|m| MaskHit {
                kind: &m.kind,
                path: &m.path,
                count: u64::from(m.count),
            })
            .collect();
        let outcome = OutcomeRecord {
            status: self.status,
            latency_us: self.latency_us,
            upstream_us: self.upstream_us,
            response_bytes: Some(self.bytes),
            masked: &masked,
            error: self.error.as_deref(),
            upstream: None,
        };
        let spool = record.recorder.spool();
        let written = match (record.line(Stage::Outcome(&outcome)), self.room) {
            (Ok(line), Some(room)) => spool.append_outcome(room, &line).map_err(|e| e.to_string()),
            // The agent went away while the intent was being written; nothing has left.
            (Ok(line), None) => spool.append_later(&line).map_err(|e| e.to_string()),
            (Err(error), _) => Err(error.to_string()),
        };
        if let Err(error) = written {
            // The intent is on record; that its outcome is not must show.
            metrics.outcome_lost();
            tracing::error!(call = %record.id, error, "the outcome of a call cannot be recorded");
        }
    }
}
