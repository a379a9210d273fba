//! Calls under way, and what cuts them off: a suspension of their agent, or its limit on bytes.
//!
//! Each call has a [`Line`]: who makes it, and why it was cut off, if it was. Whatever the call waits for (its
//! body, an approval, Google's answer) it waits for beside a [`Watch`], which wakes when policies that suspend
//! anybody come into force. So a suspension needs no list of calls, and a call that never waits pays for one look
//! at the policies.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use turnpike_policy::{caller::Caller, definition::PolicyDef};

use crate::{
    body::{BoxError, RequestBody},
    limits::{Exceeded, Ledger, Toll},
    policies::Policies,
    refusal::Refusal,
};

/// One call's connection with its agent's standing.
#[derive(Debug, Clone)]
pub struct Line(Arc<State>);

#[derive(Debug)]
struct State {
    caller: Arc<Caller>,
    policies: Arc<Policies>,
    ledger: Arc<Ledger>,
    alarms: watch::Receiver<()>,
    cut: OnceLock<Refusal>,
}

/// The body of a call was not passed on to its end, because the call was cut off. The line knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call was cut off")]
pub struct CutOff;

impl Line {
    /// Begins before the policies that decide the call are looked up, so that no suspension is missed.
    pub fn begin(policies: &Arc<Policies>, ledger: &Arc<Ledger>, caller: &Arc<Caller>) -> Self {
        Self(Arc::new(State {
            caller: caller.clone(),
            policies: policies.clone(),
            ledger: ledger.clone(),
            alarms: policies.alarms(),
            cut: OnceLock::new(),
        }))
    }

    /// What the agent is told, once the call is cut off.
    pub fn cut(&self) -> Option<&Refusal> {
        self.0.cut.get()
    }

    /// Looks whether the agent is suspended by the policies in force.
    ///
    /// # Errors
    /// The refusal, where it is, or the call was cut off before.
    pub fn look(&self) -> Result<(), Refusal> {
        let in_force = self.0.policies.load();
        if let Some(policy) = in_force.set.suspended_by(&self.0.caller) {
            self.0.cut.get_or_init(|| suspended(policy, &self.0.caller));
        }
        self.cut().cloned().map_or(Ok(()), Err)
    }

    /// Wakes whatever waits for the call.
    pub fn watch(&self) -> Watch {
        Watch {
            line: self.clone(),
            alarms: self.0.alarms.clone(),
            waiting: None,
        }
    }

    fn exceeded(&self, exceeded: &Exceeded) {
        let state = &self.0;
        let set = state.policies.load().set.clone();
        state
            .cut
            .get_or_init(|| exceeded.refusal(&set, &state.caller, state.ledger.replicas()));
    }
}

/// The refusal of a suspended agent.
pub(crate) fn suspended(policy: &PolicyDef, caller: &Caller) -> Refusal {
    let name = format!("{}/{}", policy.namespace, policy.name);
    Refusal::denied(
        "AGENT_SUSPENDED",
        format!(
            "Turnpike has suspended {}: policy {name} says suspend: true. All its calls are refused until the owner of \
             the policy takes that back.",
            caller.name()
        ),
    )
    .with("policy", name)
}

/// Wakes a call that waits when it is cut off.
pub struct Watch {
    line: Line,
    /// Tells at the price of a comparison whether there was an alarm since.
    alarms: watch::Receiver<()>,
    /// Made when the call waits for the first time: many never do.
    waiting: Option<BoxFuture<'static, ()>>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// The call's line.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Whether the call is cut off by now.
    pub fn is_cut(&mut self) -> bool {
        if self.line.cut().is_some() {
            return true;
        }
        if !self.alarms.has_changed().is_ok_and(|changed| changed) {
            return false;
        }
        // Before the policies are looked at: they are in force before the alarm.
        self.alarms.mark_unchanged();
        self.line.look().is_err()
    }

    /// Ready once the call is cut off.
    pub fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_cut() {
                return Poll::Ready(());
            }
            let waiting = self.waiting.get_or_insert_with(|| {
                let mut alarms = self.alarms.clone();
                Box::pin(async move {
                    if alarms.changed().await.is_err() {
                        // The policies are gone, and with them whoever could suspend.
                        std::future::pending::<()>().await;
                    }
                })
            });
            ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
    }

    /// Waits until the call is cut off.
    pub async fn cut(&mut self) -> Refusal {
        poll_fn(|cx| self.poll_cut(cx)).await;
        match self.line.cut() {
            Some(refusal) => refusal.clone(),
            None => std::future::pending().await,
        }
    }

    /// The next frame of a body, or an error once the call is cut off.
    pub fn poll_frame<B>(
        &mut self,
        body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        if self.is_cut() {
            return Poll::Ready(Some(Err(CutOff.into())));
        }
        match body.poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|f| f.map_err(Into::into))),
            Poll::Pending => {
                ready!(self.poll_cut(cx));
                Poll::Ready(Some(Err(CutOff.into())))
            }
        }
    }
}

/// A request's body on its way upstream: cut off with the call, and by the agent's limit on bytes.
#[derive(Debug)]
pub struct Upload {
    inner: RequestBody,
    watch: Watch,
    toll: Toll,
}

impl Upload {
    /// A body that is watched and counted as far as it has to be. What is at hand and not counted goes at once.
    pub fn watched(inner: RequestBody, line: &Line, toll: Toll) -> RequestBody {
        let at_hand = matches!(inner, RequestBody::Whole(_)) && !toll.counts_bytes();
        if at_hand || inner.is_end_stream() {
            return inner;
        }
        RequestBody::Watched(Box::new(Self {
            inner,
            watch: line.watch(),
            toll,
        }))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { inner, watch, toll } = &mut *self;
        let frame = ready!(watch.poll_frame(Pin::new(inner), cx));
        if toll.counts_bytes()
            && let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(exceeded) = toll.bytes(data.len() as u64, Instant::now())
        {
            inner.uncount(data.len() as u64);
            watch.line.exceeded(&exceeded);
            return Poll::Ready(Some(Err(CutOff.into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
