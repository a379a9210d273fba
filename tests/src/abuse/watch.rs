//! What abuse costs the proxy: memory at its peak, and time of the processor.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    process::eventually,
    turnpike::standalone::{
        PATIENCE, Standalone,
        client::{Agent, Protocol},
    },
};

/// Looks at a process while an abuse goes on, and makes calls of another agent meanwhile.
#[derive(Debug)]
pub struct Watch {
    process: PathBuf,
    memory: u64,
    seconds: f64,
    peak: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    looking: tokio::task::JoinHandle<Result<()>>,
}

/// What it came to.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Bytes of resident memory at the peak, above what there was before.
    pub grown: u64,
    /// Seconds of processor time, the other agent's calls included.
    pub seconds: f64,
    /// Calls of the other agent that were answered with 200.
    pub answered: u64,
}

impl Watch {
    /// Begins with a proxy, another agent and a call of that agent's, on one connection of its own.
    ///
    /// # Errors
    /// The process cannot be looked at, or the first call is not answered.
    pub async fn begin(gate: &mut Standalone, other: &Agent, host: &str, path: &str) -> Result<Self> {
        let process = Path::new("/proc").join(gate.process().id().to_string());
        let mut connection = other.open(host, Protocol::Http2).await?;
        let first = connection.call("GET", path, "").await?;
        ensure!(first.status == 200, "{first:?}");
        let (memory, seconds) = (resident(&process)?, processor(&process)?);
        let peak = Arc::new(AtomicU64::new(memory));
        let answered = Arc::new(AtomicU64::new(0));
        let looking = tokio::spawn({
            let (process, peak, answered, path) =
                (process.clone(), peak.clone(), answered.clone(), path.to_owned());
            async move {
                loop {
                    peak.fetch_max(resident(&process)?, Ordering::Relaxed);
                    let call = connection.call("GET", &path, "");
                    let answer = tokio::time::timeout(Duration::from_secs(10), call).await;
                    let answer = answer.context("another agent waits for its answer")??;
                    ensure!(answer.status == 200, "another agent's call: {answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
        Ok(Self {
            process,
            memory,
            seconds,
            peak,
            answered,
            looking,
        })
    }

    /// Ends it, once the other agent had an answer.
    ///
    /// # Errors
    /// The process is gone, or a call of the other agent was not answered.
    pub async fn end(self) -> Result<Cost> {
        eventually(PATIENCE, || async {
            let done = self.looking.is_finished() || self.answered.load(Ordering::Relaxed) > 0;
            done.then_some(()).context("no answer for the other agent")
        })
        .await?;
        self.peak.fetch_max(resident(&self.process)?, Ordering::Relaxed);
        if self.looking.is_finished() {
            self.looking.await??;
        } else {
            self.looking.abort();
        }
        Ok(Cost {
            grown: self.peak.load(Ordering::Relaxed).saturating_sub(self.memory),
            seconds: processor(&self.process)? - self.seconds,
            answered: self.answered.load(Ordering::Relaxed),
        })
    }
}

/// Resident memory in bytes (proc(5), statm).
fn resident(process: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(process.join("statm"))?;
    let pages: u64 = text.split(' ').nth(1).context("statm")?.parse()?;
    Ok(pages * 4096)
}

/// User and system time in seconds (proc(5), fields 14 and 15 of stat).
fn processor(process: &Path) -> Result<f64> {
    let stat = std::fs::read_to_string(process.join("stat"))?;
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .context("stat")?
        .1
        .split_whitespace()
        .collect();
    let ticks = |at: usize| -> Result<u64> { Ok(fields.get(at).context("stat")?.parse()?) };
    // USER_HZ is 100 on every Linux architecture that Turnpike runs on.
    Ok((ticks(11)? + ticks(12)?) as f64 / 100.0)
}
