//! Recordings: masked JSON answers, kept where a policy wants them, content-addressed.
//!
//! `DIR/sha256/ab/abcdef...json` holds a body once, however often it was answered; `DIR/calls/ID` names the
//! digest for a call and the time until which it is kept. What is over is removed hourly.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The folder of recordings.
#[derive(Debug)]
pub struct Recordings {
    dir: PathBuf,
}

const SWEEP: Duration = Duration::from_secs(3600);

impl Recordings {
    /// Recordings in this folder, made when first needed.
    pub fn new(dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { dir })
    }

    /// A copy of an answer that passes; what is longer than the cap is not kept.
    pub fn copy(self: Arc<Self>, call: Uuid, keep: Duration, cap: usize) -> Copy {
        Copy {
            recordings: self,
            call,
            keep,
            cap,
            bytes: Some(Vec::new()),
        }
    }

    /// Keeps a body. A recording that fails is named in the log; the record of the call is elsewhere.
    pub async fn keep(self: &Arc<Self>, call: Uuid, body: Bytes, keep: Duration) {
        let recordings = self.clone();
        let written = tokio::task::spawn_blocking(move || recordings.write(call, &body, keep)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%call, %error, "a body cannot be recorded"),
            Err(error) => tracing::error!(%call, %error, "a body cannot be recorded"),
        }
    }

    fn write(&self, call: Uuid, body: &[u8], keep: Duration) -> io::Result<()> {
        let digest: String = Sha256::digest(body).iter().map(|b| format!("{b:02x}")).collect();
        let folder = self.dir.join("sha256").join(&digest[..2]);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{digest}.json"));
        if !path.exists() {
            replace(&path, body)?;
        }
        let calls = self.dir.join("calls");
        fs::create_dir_all(&calls)?;
        let until = SystemTime::now()
            .checked_add(keep)
            .and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map_or(u64::MAX, |d| d.as_secs());
        replace(
            &calls.join(call.to_string()),
            format!("{digest} {until}\n").as_bytes(),
        )
    }

    /// Removes what is over, again and again. Never returns.
    pub async fn sweep(self: Arc<Self>) {
        loop {
            let recordings = self.clone();
            match tokio::task::spawn_blocking(move || recordings.remove_old()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "old recordings cannot be removed"),
                Err(error) => tracing::error!(%error, "old recordings cannot be removed"),
            }
            tokio::time::sleep(SWEEP).await;
        }
    }

    fn remove_old(&self) -> io::Result<()> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        let calls = self.dir.join("calls");
        if !calls.exists() {
            return Ok(());
        }
        let mut kept = std::collections::HashSet::new();
        for entry in fs::read_dir(&calls)? {
            let path = entry?.path();
            let text = fs::read_to_string(&path)?;
            match text.trim().split_once(' ') {
                Some((_, until)) if until.parse::<u64>().is_ok_and(|until| until <= now) => {
                    fs::remove_file(&path)?
                }
                Some((digest, _)) => drop(kept.insert(digest.to_owned())),
                None => {}
            }
        }
        // A body without a call that is a day old is no longer waiting for its call to be written.
        let day_ago = SystemTime::now().checked_sub(Duration::from_secs(24 * 3600));
        for folder in fs::read_dir(self.dir.join("sha256"))? {
            for entry in fs::read_dir(folder?.path())? {
                let entry = entry?;
                let path = entry.path();
                let digest = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
                let old =
                    day_ago.is_some_and(|d| entry.metadata().and_then(|m| m.modified()).is_ok_and(|m| m < d));
                if old && !kept.contains(digest) {
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// A copy of an answer, made as it passes.
#[derive(Debug)]
pub struct Copy {
    recordings: Arc<Recordings>,
    call: Uuid,
    keep: Duration,
    cap: usize,
    /// `None` once the answer was longer than the cap.
    bytes: Option<Vec<u8>>,
}

impl Copy {
    /// More of the answer has passed.
    pub fn add(&mut self, data: &[u8]) {
        if let Some(bytes) = &mut self.bytes {
            if bytes.len() + data.len() > self.cap {
                tracing::warn!(call = %self.call, cap = self.cap, "an answer is too long to be recorded");
                self.bytes = None;
            } else {
                bytes.extend_from_slice(data);
            }
        }
    }

    /// The answer has passed to its end.
    pub fn keep(self) {
        let Self {
            recordings,
            call,
            keep,
            bytes,
            ..
        } = self;
        if let Some(bytes) = bytes {
            tokio::spawn(async move { recordings.keep(call, Bytes::from(bytes), keep).await });
        }
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension(format!("new-{}", Uuid::now_v7()));
    fs::write(&fresh, bytes)?;
    fs::rename(fresh, path)
}
