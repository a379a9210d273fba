//! Why the spool does not take, or give, events.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the spool does not take, or give, events.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolError {
    /// Another process has the spool open.
    #[error("the spool {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The spool cannot be opened.
    #[error("the spool cannot be opened: {path}: {source}", path = path.display())]
    Open {
        /// What could not be opened.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// Unacknowledged events have reached the limit.
    #[error("the spool is full: {bytes} of {max_bytes} bytes wait to be published")]
    Full {
        /// Bytes that wait or are reserved.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// A write or a sync failed; nothing is accepted until a restart.
    #[error("the spool has failed: {0}")]
    Failed(Arc<str>),
    /// The spool is closing.
    #[error("the spool is closed")]
    Closed,
    /// The event is empty, too long or spans lines.
    #[error("the event cannot be spooled: {0}")]
    Malformed(&'static str),
    /// A segment cannot be read.
    #[error("the spool cannot be read: {path}: {source}", path = path.display())]
    Read {
        /// The segment.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A metric is malformed.
    #[error("the spool's metrics: {0}")]
    Metrics(Arc<prometheus::Error>),
    /// There is a reader already.
    #[error("the spool has a reader already")]
    ReaderTaken,
}

impl SpoolError {
    pub(super) fn open(path: &Path, source: io::Error) -> Self {
        Self::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}
