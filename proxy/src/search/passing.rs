//! The search of bodies that go upstream while they arrive: what policies want to know for the record only.
//!
//! What is found changes no answer, and stands in the record of the call's end. The body passes at the pace of the
//! search: no more of it is in memory than what one thread looks at and what waits for that.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};
use tokio_util::task::TaskTracker;

use crate::{
    body::BoxError,
    kept::blocking,
    scan::{Findings, carries::InHand, passing::Passing},
};

/// What is given to a thread at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// Where bodies are searched that pass.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    /// Who may take a thread now.
    turns: Arc<Semaphore>,
    /// Who may take one for a content that has ended, which can take much longer: bodies that pass don't wait for that.
    ends: Arc<Semaphore>,
    /// All searches, and what waits for them.
    tasks: TaskTracker,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            ends: Arc::new(Semaphore::new(AT_A_TIME)),
            tasks: TaskTracker::new(),
        }
    }
}

/// Threads that search at a time.
const AT_A_TIME: usize = 4;

impl Desk {
    /// Waits for all searches, once no more begin.
    pub(crate) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Who is told what was found.
#[derive(Debug)]
pub(crate) struct Tell {
    found: oneshot::Sender<Findings>,
    desk: Desk,
}

/// What will have been found, once the body has passed and was searched.
#[derive(Debug)]
pub(crate) struct Late {
    findings: oneshot::Receiver<Findings>,
    desk: Desk,
}

impl Late {
    /// Both ends.
    pub(crate) fn new(desk: &Desk) -> (Tell, Self) {
        let (found, findings) = oneshot::channel();
        let desk = desk.clone();
        let tell = Tell {
            found,
            desk: desk.clone(),
        };
        (tell, Self { findings, desk })
    }

    /// What is known before.
    pub(crate) fn known(findings: Findings, desk: &Desk) -> Self {
        let (tell, late) = Self::new(desk);
        // The other end is right here.
        drop(tell.found.send(findings));
        late
    }

    /// Does something with what was found: at once, where it is there, or when it is.
    pub(crate) fn then(mut self, work: impl FnOnce(Findings) + Send + 'static) {
        match self.findings.try_recv() {
            Ok(findings) => work(findings),
            Err(oneshot::error::TryRecvError::Closed) => work(Findings::failed()),
            Err(oneshot::error::TryRecvError::Empty) => match Handle::try_current() {
                Ok(runtime) => {
                    let Self { findings, desk } = self;
                    desk.tasks.spawn_on(
                        async move { work(findings.await.unwrap_or_else(|_| Findings::failed())) },
                        &runtime,
                    );
                }
                Err(_) => work(Findings::failed()),
            },
        }
    }
}

/// A body that is searched as it passes.
pub struct Searched<B> {
    inner: B,
    /// What has passed and nobody has looked at.
    waiting: Vec<Bytes>,
    length: usize,
    search: Option<Search>,
}

struct Search {
    stage: Stage,
    tell: Tell,
    /// The upload that the body is a part of.
    upload: Option<InHand>,
}

enum Stage {
    Idle(Box<Passing>),
    Busy(JoinHandle<io::Result<Box<Passing>>>),
    Failed,
}

impl<B> std::fmt::Debug for Searched<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Searched")
            .field("waiting", &self.length)
            .finish_non_exhaustive()
    }
}

impl<B> Searched<B> {
    /// Searches a body as it passes, which may be a part of an upload.
    pub(crate) fn new(inner: B, passing: Passing, tell: Tell, upload: Option<InHand>) -> Self {
        Self {
            inner,
            waiting: Vec::new(),
            length: 0,
            search: Some(Search {
                stage: Stage::Idle(Box::new(passing)),
                tell,
                upload,
            }),
        }
    }

    /// The body itself.
    pub(crate) fn inner(&self) -> &B {
        &self.inner
    }

    /// Gives what waits to a thread, once the one before is done.
    fn poll_search(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(search) = &mut self.search else {
            return Poll::Ready(());
        };
        if let Stage::Busy(busy) = &mut search.stage {
            let done = ready!(Pin::new(busy).poll(cx));
            search.stage = match done {
                Ok(Ok(passing)) => Stage::Idle(passing),
                Ok(Err(_)) | Err(_) => Stage::Failed,
            };
        }
        let pieces = std::mem::take(&mut self.waiting);
        self.length = 0;
        search.stage = match std::mem::replace(&mut search.stage, Stage::Failed) {
            Stage::Idle(passing) => {
                let turns = search.tell.desk.turns.clone();
                Stage::Busy(tokio::spawn(async move {
                    blocking(&turns, move || Ok(push(passing, &pieces))).await
                }))
            }
            other => other,
        };
        Poll::Ready(())
    }

    /// All has passed, or no more will.
    fn end(&mut self) {
        let Some(search) = self.search.take() else { return };
        let pieces = std::mem::take(&mut self.waiting);
        let desk = search.tell.desk.clone();
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let ending = async move {
            let Search { stage, tell, upload } = search;
            let turns = &tell.desk.ends;
            let passing = match stage {
                Stage::Idle(passing) => Some(passing),
                Stage::Busy(busy) => busy.await.ok().and_then(Result::ok),
                Stage::Failed => None,
            };
            let searched = match passing {
                Some(passing) => blocking(turns, move || Ok(push(passing, &pieces).finish())).await,
                None => Err(io::Error::other("the search was given up")),
            };
            let (findings, carry) = searched.unwrap_or_else(|_| (Findings::failed(), None));
            if let Some(mut upload) = upload {
                upload.searched(carry);
                upload.sent();
            }
            // Nobody waits where the intent was not recorded.
            drop(tell.found.send(findings));
        };
        desk.tasks.spawn_on(ending, &runtime);
    }
}

fn push(mut passing: Box<Passing>, pieces: &[Bytes]) -> Box<Passing> {
    for piece in pieces {
        passing.push(piece);
    }
    passing
}

impl<B> Drop for Searched<B> {
    fn drop(&mut self) {
        // What has passed has left, wherever the rest of it stays.
        self.end();
    }
}

impl<B> Body for Searched<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.length >= PIECE {
            ready!(self.poll_search(cx));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref()
                    && self.search.is_some()
                {
                    self.length += data.len();
                    self.waiting.push(data.clone());
                }
                // A body of known length is not polled again after its last byte.
                if self.inner.is_end_stream() {
                    self.end();
                }
            }
            Some(Err(_)) | None => self.end(),
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
