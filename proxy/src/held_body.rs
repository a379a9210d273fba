//! Bodies that are read into memory whole, because they name what is called: within a cap, a budget and a time.
//!
//! The memory stays taken until the body was sent or given up. Bodies that are kept for longer, for an approval, are
//! [`crate::kept`].

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;

use crate::{body::BoxError, budget::Account, coding::CodingError, fault::find, refusal::Refusal};

/// What a held call takes at least: its connection has buffers too.
const LEAST: usize = 16 * 1024;
/// When a call that found no room may be made again, in seconds.
const RETRY_AFTER: u32 = 10;

/// Why a body was not collected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCollected {
    /// Over the cap.
    #[error(
        "the call's body has to be read whole, for what it names or for the approval that covers it, and bodies \
         over {0} bytes are not held"
    )]
    TooLarge(usize),
    /// The budget is used up.
    #[error("too many bytes of calls wait for approvals; make the call again when some of them are decided")]
    NoRoom,
    /// The disk failed.
    #[error(
        "the call's body has to be kept whole, for the approval that covers it, and the gateway's disk does not take \
         it; tell who runs the gateway, and make the call again later"
    )]
    Disk(String),
    /// It did not come in time.
    #[error("the request's body did not arrive within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// It is coded, and cannot be decoded.
    #[error("the request's body cannot be read: {0}")]
    Coding(CodingError),
    /// It broke off.
    #[error("the request's body broke off: {0}")]
    BrokeOff(String),
}

impl NotCollected {
    /// The refusal to answer with.
    pub fn refusal(&self) -> Refusal {
        let message = self.to_string();
        match self {
            Self::TooLarge(_) => Refusal::denied("BODY_TOO_LARGE_TO_HOLD", message),
            Self::NoRoom => Refusal::exhausted("HELD_BODIES_EXHAUSTED", message, RETRY_AFTER),
            Self::Disk(why) => {
                tracing::error!(error = why, "a request's body cannot be kept on disk");
                Refusal::unavailable("HELD_BODIES_UNAVAILABLE", message)
            }
            Self::TooSlow(_) => Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "DEADLINE_EXCEEDED",
                "BODY_TOO_SLOW",
                message,
            ),
            Self::Coding(error) => Refusal::invalid(error.reason(), message),
            Self::BrokeOff(_) => Refusal::invalid("BODY_BROKE_OFF", message),
        }
    }

    /// Why a body was not collected that failed.
    pub(crate) fn failed(error: BoxError) -> Self {
        match find::<CodingError>(error.as_ref()) {
            Some(coding) => Self::Coding(coding.clone()),
            None => Self::BrokeOff(error.to_string()),
        }
    }
}

/// Reads a request's body whole.
///
/// # Errors
/// [`NotCollected`]; what had been read is given up then.
pub(crate) async fn collect<B>(
    body: B,
    cap: usize,
    account: &Account,
    within: Duration,
) -> Result<Bytes, NotCollected>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    match tokio::time::timeout(within, read(body, cap, account)).await {
        Ok(read) => read,
        Err(_) => Err(NotCollected::TooSlow(within)),
    }
}

async fn read<B>(mut body: B, cap: usize, account: &Account) -> Result<Bytes, NotCollected>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut room = LEAST.min(cap);
    let mut length = 0;
    let mut kept = account.try_take(room).map(|taken| (Vec::new(), taken));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| NotCollected::failed(e.into()))?;
        let Some(data) = frame.data_ref() else { continue };
        length += data.len();
        if length > cap {
            return Err(NotCollected::TooLarge(cap));
        }
        // Without room, the rest is read and thrown away: a client of HTTP/1.1 that is still sending would see a
        // broken connection in the place of the refusal.
        let Some((mut whole, mut taken)) = kept.take() else {
            continue;
        };
        if length > room {
            // By doubling, as the memory itself grows; in whole steps, because a budget rounds what it gives.
            let grown = length.max(2 * room).next_multiple_of(LEAST).min(cap);
            let Some(more) = account.try_take(grown - room) else {
                continue;
            };
            taken.join(more);
            room = grown;
        }
        whole.extend_from_slice(data);
        kept = Some((whole, taken));
    }
    let (whole, taken) = kept.ok_or(NotCollected::NoRoom)?;
    Ok(taken.keep_with(whole))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::budget::Budget;

    const KIB: usize = 1024;
    const SOON: Duration = Duration::from_secs(10);

    fn full(bytes: usize) -> Full<Bytes> {
        Full::new(Bytes::from(vec![b'x'; bytes]))
    }

    #[tokio::test]
    async fn bodies_are_read_within_their_limits() {
        let budget = Budget::new(128 * KIB, 40 * KIB);
        let account = budget.account("a");
        let read = async |bytes| collect(full(bytes), 40 * KIB, &account, SOON).await;
        assert_eq!(read(0).await, Ok(Bytes::new()));
        let first = read(40 * KIB).await.expect("as large as it may be");
        assert_eq!(first.len(), 40 * KIB);
        assert_eq!(read(40 * KIB + 1).await, Err(NotCollected::TooLarge(40 * KIB)));
        // The share of one agent is half of all: what is held counts until it is gone.
        assert_eq!(read(40 * KIB).await, Err(NotCollected::NoRoom));
        let second = read(16 * KIB).await;
        assert!(second.is_ok());
        assert_eq!(read(1).await, Err(NotCollected::NoRoom), "a small one counts too");
        let other = collect(full(40 * KIB), 40 * KIB, &budget.account("b"), SOON).await;
        assert!(other.is_ok(), "another agent has its own share");
        drop(first);
        assert!(read(40 * KIB).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_takes_its_length_however_it_is_cut() {
        let budget = Budget::new(500 * KIB, 500 * KIB);
        for length in [1, 1000, 16_383, 16_385, 99_999] {
            let frame = || Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; length])));
            let frames = stream::iter(std::iter::repeat_with(frame).take(500 * KIB / length));
            let body = StreamBody::new(frames);
            let collected = collect(body, 500 * KIB, &budget.account("a"), SOON).await;
            assert_eq!(
                collected.map(|b| b.len()),
                Ok(500 * KIB / length * length),
                "frames of {length}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_that_finds_no_room_is_read_to_its_end_and_takes_none() {
        let budget = Budget::new(64 * KIB, 64 * KIB);
        let account = budget.account("a");
        let taken = account.try_take(32 * KIB).expect("half");
        let mut unread = 4;
        let frames = stream::iter(std::iter::from_fn(|| {
            unread = usize::checked_sub(unread, 1)?;
            let data = Bytes::from(vec![b'x'; 15 * KIB]);
            Some(Ok::<_, Infallible>(Frame::data(data)))
        }));
        let collected = collect(StreamBody::new(frames), 64 * KIB, &account, SOON).await;
        assert_eq!((collected, unread), (Err(NotCollected::NoRoom), 0));
        drop(taken);
        assert!(account.try_take(64 * KIB).is_some(), "all is free again");
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let budget = Budget::new(64 * KIB, 32 * KIB);
        let account = budget.account("a");
        let start = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))]);
        let endless = StreamBody::new(start.chain(stream::pending()));
        let within = Duration::from_millis(20);
        let collected = collect(endless, 32 * KIB, &account, within).await;
        assert_eq!(collected, Err(NotCollected::TooSlow(within)));
        assert!(account.try_take(32 * KIB).is_some(), "its room is free again");
    }
}
