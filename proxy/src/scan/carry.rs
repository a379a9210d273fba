//! Contents that arrive in several requests: the parts of a resumable upload.
//!
//! Text is searched as it comes; between two parts a few KiB of it are kept, so that a secret on the border is found.
//! Whatever has to be read whole (archives, JSON, text in UTF-16) is kept in a file without a name until the last part,
//! and searched then: an object exists only once its last part has arrived. A part that follows on nothing that is known
//! here is unscannable.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Scanning, Subject,
    findings::{Collector, Findings, Why},
    place::Place,
    sniff::{HEAD, Sniff},
    text::{Text, TextState},
};

/// Where a part stands in its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The first byte's place.
    pub start: u64,
    /// Nothing follows.
    pub last: bool,
}

/// What is kept between two parts of an upload.
pub struct ScanCarry {
    /// Where the next part begins.
    next: u64,
    state: State,
}

enum State {
    /// Text, and how it stood before the last part, which is sent again where it did not arrive.
    Text {
        now: Box<TextState>,
        before: Option<(u64, Box<TextState>)>,
    },
    /// All that came, in a file.
    Kept(File),
    /// Why it can't be searched any more.
    Gone(Why),
}

impl fmt::Debug for ScanCarry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanCarry")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl ScanCarry {
    /// Bytes that it takes of the disk.
    pub fn on_disk(&self) -> u64 {
        match self.state {
            State::Kept(_) => self.next,
            _ => 0,
        }
    }
}

impl Scanning {
    /// Searches a part of an upload, on a thread for that. What is given back goes to the next part; it is kept even
    /// where this part is refused, because it is then sent again.
    pub async fn scan_chunk<R>(
        &self,
        subject: Subject,
        mut content: R,
        chunk: Chunk,
        carry: Option<ScanCarry>,
    ) -> (Findings, Option<ScanCarry>)
    where
        R: Read + Seek + Send + 'static,
    {
        let scanning = self.clone();
        let searched =
            tokio::task::spawn_blocking(move || scanning.chunk_now(&subject, &mut content, chunk, carry));
        searched.await.unwrap_or_else(|_| (Findings::failed(), None))
    }

    /// Searches a part here and now.
    pub fn chunk_now<R>(
        &self,
        subject: &Subject,
        content: &mut R,
        chunk: Chunk,
        carry: Option<ScanCarry>,
    ) -> (Findings, Option<ScanCarry>)
    where
        R: Read + Seek,
    {
        if chunk.start == 0 && chunk.last {
            return (self.scan_now(subject, content), None);
        }
        let searched = self.part(subject, content, chunk, carry);
        searched.unwrap_or_else(|why| (Findings::only(why.clone()), Some(gone(chunk.start, why))))
    }

    fn part<R>(
        &self,
        subject: &Subject,
        content: &mut R,
        chunk: Chunk,
        carry: Option<ScanCarry>,
    ) -> Result<(Findings, Option<ScanCarry>), Why>
    where
        R: Read + Seek,
    {
        let length = content.seek(SeekFrom::End(0))?;
        content.seek(SeekFrom::Start(0))?;
        let next = chunk.start.saturating_add(length);
        let state = match (chunk.start, carry) {
            (0, _) => self.begin(subject, content)?,
            (_, None) => State::Gone(Why::Lost),
            (start, Some(carry)) => carry.at(start)?,
        };
        match state {
            State::Text { now, .. } => Ok(self.text_part(subject, content, chunk, next, now)),
            State::Kept(mut file) => {
                if next > self.limits.expanded {
                    return Err(Why::Expanded(self.limits.expanded));
                }
                io::copy(content, &mut file)?;
                file.flush()?;
                match chunk.last {
                    true => Ok((self.scan_now(subject, &mut file), None)),
                    false => {
                        let kept = ScanCarry {
                            next,
                            state: State::Kept(file),
                        };
                        Ok((Findings::default(), Some(kept)))
                    }
                }
            }
            State::Gone(why) => {
                // Alone it is searched as text, so that what it holds is recorded.
                let alone = Chunk { last: true, ..chunk };
                let (mut findings, _) = self.text_part(subject, content, alone, next, Box::default());
                findings.unscannable = Findings::only(why.clone()).unscannable;
                Ok((findings, (!chunk.last).then(|| gone(next, why))))
            }
        }
    }

    /// How a content is searched, by its first part.
    fn begin<R: Read + Seek>(&self, subject: &Subject, content: &mut R) -> Result<State, Why> {
        let mut head = Vec::new();
        content.take(HEAD as u64).read_to_end(&mut head)?;
        content.seek(SeekFrom::Start(0))?;
        let is_text =
            head.len() == HEAD && Sniff::of(&head) == Sniff::Other && subject.content_encoding.is_none();
        match is_text {
            true => Ok(State::Text {
                now: Box::default(),
                before: None,
            }),
            false => Ok(State::Kept(tempfile::tempfile()?)),
        }
    }

    fn text_part<R: Read>(
        &self,
        subject: &Subject,
        content: &mut R,
        chunk: Chunk,
        next: u64,
        state: Box<TextState>,
    ) -> (Findings, Option<ScanCarry>) {
        let place = Place::of(subject.name.as_deref());
        let mut collector = Collector::new(&self.detectors, &self.key);
        let before = (chunk.start, state.clone());
        let mut text = Text::resume(&self.detectors, *state);
        let read = text.read(&mut BufReader::new(content), &mut collector, &place);
        if let Err(why) = read {
            collector.unscannable(why.clone(), &place.text());
            return (collector.finish(), Some(gone(next, why)));
        }
        if chunk.last {
            if let Err(why) = text.finish(&mut collector, &place) {
                collector.unscannable(why, &place.text());
            }
            return (collector.finish(), None);
        }
        let now = Box::new(text.suspend(&mut collector, &place));
        let carry = ScanCarry {
            next,
            state: State::Text {
                now,
                before: Some(before),
            },
        };
        (collector.finish(), Some(carry))
    }
}

impl ScanCarry {
    /// The state at the beginning of a part: the one that follows, or one that is sent again.
    fn at(self, start: u64) -> Result<State, Why> {
        match self.state {
            State::Gone(why) => Ok(State::Gone(why)),
            State::Text { now, .. } if start == self.next => Ok(State::Text { now, before: None }),
            State::Text {
                before: Some((at, state)),
                ..
            } if at == start => Ok(State::Text {
                now: state,
                before: None,
            }),
            State::Kept(mut file) if start <= self.next => {
                file.set_len(start)?;
                file.seek(SeekFrom::Start(start))?;
                Ok(State::Kept(file))
            }
            _ => Ok(State::Gone(Why::Lost)),
        }
    }
}

fn gone(next: u64, why: Why) -> ScanCarry {
    ScanCarry {
        next,
        state: State::Gone(why),
    }
}

/// How many uploads are remembered, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarryLimits {
    /// Of all agents.
    pub uploads: usize,
    /// Of one agent.
    pub per_agent: usize,
    /// Bytes on disk, of all agents.
    pub bytes: u64,
    /// Bytes on disk, of one agent.
    pub bytes_per_agent: u64,
    /// After its last part.
    pub keep: Duration,
}

impl Default for CarryLimits {
    fn default() -> Self {
        Self {
            uploads: 4096,
            per_agent: 64,
            bytes: 4 << 30,
            bytes_per_agent: 1 << 30,
            keep: Duration::from_secs(3600),
        }
    }
}

/// What is kept of all uploads between their parts, by agent and session.
#[derive(Debug)]
pub struct Carries {
    limits: CarryLimits,
    uploads: Mutex<HashMap<(String, String), (Instant, ScanCarry)>>,
}

impl Carries {
    /// None yet.
    pub fn new(limits: CarryLimits) -> Self {
        Self {
            limits,
            uploads: Mutex::default(),
        }
    }

    /// Takes what is kept of an upload, for its next part.
    pub fn take(&self, agent: &str, session: &str, now: Instant) -> Option<ScanCarry> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        self.expire(&mut uploads, now);
        let (_, carry) = uploads.remove(&(agent.to_owned(), session.to_owned()))?;
        Some(carry)
    }

    /// Keeps an upload. Where there is no room its next part is [unscannable](Why::NoRoom), and says so.
    pub fn put(&self, agent: &str, session: &str, carry: ScanCarry, now: Instant) {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        self.expire(&mut uploads, now);
        let of_agent = || uploads.iter().filter(|((other, _), _)| other == agent);
        let bytes = |carry: &ScanCarry| carry.on_disk();
        let all: u64 = uploads.values().map(|(_, carry)| bytes(carry)).sum();
        let own: u64 = of_agent().map(|(_, (_, carry))| bytes(carry)).sum();
        let no_disk = carry.on_disk() > 0
            && (all + carry.on_disk() > self.limits.bytes
                || own + carry.on_disk() > self.limits.bytes_per_agent);
        if of_agent().count() >= self.limits.per_agent {
            // The agent's own oldest makes room; nobody else's does.
            let oldest = of_agent()
                .min_by_key(|(_, (at, _))| *at)
                .map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                uploads.remove(&oldest);
            }
        }
        if uploads.len() >= self.limits.uploads {
            return;
        }
        let carry = match no_disk {
            true => gone(carry.next, Why::NoRoom),
            false => carry,
        };
        uploads.insert((agent.to_owned(), session.to_owned()), (now, carry));
    }

    /// How many uploads are kept, and how many bytes of them on disk.
    pub fn kept(&self) -> (usize, u64) {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        (
            uploads.len(),
            uploads.values().map(|(_, carry)| carry.on_disk()).sum(),
        )
    }

    fn expire(&self, uploads: &mut HashMap<(String, String), (Instant, ScanCarry)>, now: Instant) {
        uploads.retain(|_, (at, _)| now.saturating_duration_since(*at) < self.limits.keep);
    }
}
