//! What goes on in one connection of an agent, so that one on which nothing does can be ended: calls under way, and
//! answers that wait for the agent to take them.
//!
//! An answer that waits for Google is nobody's fault and may take its time; one that waits for the agent holds
//! memory and a connection to Google. So [`Answer`] tells whose turn it is. It also hands large pieces over in small
//! ones: whatever window an agent opens, no more than one piece of an answer has left the proxy's own accounts.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::body::{AnswerBody, BoxError};

/// The largest piece of an answer that is handed over at once: a frame of HTTP/2.
const PIECE: usize = 16 * 1024;

/// The calls of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Calls under way: held ones, and those whose answers still stream.
    calls: AtomicUsize,
    /// Calls so far.
    begun: AtomicU64,
    /// Answers of which the agent must take a piece before there is another, by the number of their call, and since
    /// when.
    waiting: Mutex<BTreeMap<u64, Instant>>,
}

impl Activity {
    /// A call begins.
    pub(super) fn call(self: &Arc<Self>) -> Underway {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Underway {
            number: self.begun.fetch_add(1, Ordering::Relaxed),
            activity: self.clone(),
        }
    }

    /// Returns after this time unless a call has begun by then: a peer that has not even said that it speaks
    /// HTTP/2 cannot be told to stop.
    pub(super) async fn never_begun(&self, limit: Duration) {
        tokio::time::sleep(limit).await;
        if self.begun.load(Ordering::Relaxed) > 0 {
            std::future::pending().await
        }
    }

    /// Returns when no call was under way at the beginning and at the end of such a time, and none began in it.
    pub(super) async fn idle_for(&self, limit: Duration) {
        loop {
            let before = self.begun.load(Ordering::Relaxed);
            let idle = self.calls.load(Ordering::Relaxed) == 0;
            tokio::time::sleep(limit).await;
            if idle && before == self.begun.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Returns when an answer has waited so long for the agent to take a piece of it.
    pub(super) async fn stalled_for(&self, limit: Duration) {
        loop {
            let oldest = self.waiting().values().min().map(Instant::elapsed);
            let left = match oldest {
                None => limit,
                Some(waited) => match limit.checked_sub(waited) {
                    None | Some(Duration::ZERO) => return,
                    Some(left) => left,
                },
            };
            tokio::time::sleep(left).await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        // Instants are whole whenever somebody panics.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Underway {
    number: u64,
    activity: Arc<Activity>,
}

impl Underway {
    fn agents_turn(&self) {
        self.activity.waiting().insert(self.number, Instant::now());
    }

    fn our_turn(&self) {
        self.activity.waiting().remove(&self.number);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.our_turn();
        self.activity.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer as the agent takes it.
#[derive(Debug)]
pub(super) struct Answer {
    inner: AnswerBody,
    /// What is still to be handed over of the last frame.
    rest: Bytes,
    call: Underway,
}

impl Answer {
    /// The answer to a call, which is under way as long as this lives.
    pub(super) fn new(inner: AnswerBody, call: Underway) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            call,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // Whoever asks for more has taken what there was.
        self.call.our_turn();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return Poll::Ready(other),
            }
        }
        let size = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(size);
        self.call.agents_turn();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, inner) = (self.rest.len() as u64, self.inner.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper().and_then(|u| u.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures::future::poll_fn;

    use super::*;

    async fn sizes(answer: &mut Answer) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *answer).poll_frame(cx)).await {
            let data = frame.expect("a frame").into_data().expect("data");
            sizes.push(data.len());
        }
        sizes
    }

    #[tokio::test]
    async fn large_frames_are_handed_over_in_pieces_of_the_same_length_in_all() {
        let activity = Arc::new(Activity::default());
        for (length, pieces) in [
            (0, vec![]),
            (1, vec![1]),
            (PIECE, vec![PIECE]),
            (2 * PIECE + 1, vec![PIECE, PIECE, 1]),
        ] {
            let mut answer = Answer::new(AnswerBody::whole(vec![0; length]), activity.call());
            assert_eq!(answer.size_hint().exact(), Some(length as u64));
            assert_eq!(answer.is_end_stream(), length == 0);
            assert_eq!(sizes(&mut answer).await, pieces);
            assert!(answer.is_end_stream());
        }
        assert_eq!(activity.calls.load(Ordering::Relaxed), 0);
        assert_eq!(activity.waiting().len(), 0);
    }

    #[tokio::test]
    async fn an_answer_waits_for_the_agent_from_one_piece_to_the_next() {
        let activity = Arc::new(Activity::default());
        let mut answer = Answer::new(AnswerBody::whole(vec![0; PIECE + 1]), activity.call());
        assert_eq!(activity.waiting().len(), 0);
        let first = poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)).await;
        assert!(first.is_some());
        assert_eq!(activity.waiting().keys().copied().collect::<Vec<_>>(), [0]);
        // The clock of answers is the real one; no time is left at once.
        activity.stalled_for(Duration::ZERO).await;
        drop(answer);
        assert_eq!(activity.waiting().len(), 0);
        activity.idle_for(Duration::ZERO).await;
    }
}
