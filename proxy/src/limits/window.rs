//! What was counted within the last minute or hour, exactly, in bounded memory.
//!
//! Each count is kept with its time. Where a limit is high, counts of one thousandth of the window are kept
//! together, at the time of the last of them. So no window of that length ever holds more than the limit; with
//! a limit over [`FINE`], room may come back up to a thousandth of the window later than it could.

use std::{collections::VecDeque, time::Duration};

/// Counts are kept one by one below limits up to this.
const FINE: u64 = 1000;

/// Counts and their times, oldest first. Times are nanoseconds since some start.
#[derive(Debug)]
pub(super) struct Window {
    length: u64,
    entries: VecDeque<Entry>,
    sum: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: u64,
    count: u64,
}

/// Why nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// There is room after this time, if nothing else is counted until then.
    For(Duration),
    /// It is more than the limit all by itself.
    Always,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length: u64::try_from(length.as_nanos()).unwrap_or(u64::MAX),
            entries: VecDeque::new(),
            sum: 0,
        }
    }

    /// What counts at this time.
    pub(super) fn sum(&mut self, now: u64) -> u64 {
        while let Some(oldest) = self.entries.front()
            && now.saturating_sub(oldest.at) >= self.length
        {
            self.sum = self.sum.saturating_sub(oldest.count);
            self.entries.pop_front();
        }
        self.sum
    }

    /// Whether `more` can be counted below `limit`, beside `promised` that will be.
    ///
    /// # Errors
    /// [`Full`], where not.
    pub(super) fn room(&mut self, now: u64, more: u64, promised: u64, limit: u64) -> Result<(), Full> {
        let wanted = self.sum(now).saturating_add(more).saturating_add(promised);
        if wanted <= limit {
            return Ok(());
        }
        if more > limit {
            return Err(Full::Always);
        }
        let mut over = wanted - limit;
        for entry in &self.entries {
            if over <= entry.count {
                let end = entry.at.saturating_add(self.length);
                return Err(Full::For(Duration::from_nanos(end.saturating_sub(now))));
            }
            over -= entry.count;
        }
        // What is in the way is promised and not counted yet: nobody knows when.
        Err(Full::For(Duration::ZERO))
    }

    /// Counts, whether there is room or not.
    pub(super) fn add(&mut self, now: u64, count: u64, limit: u64) {
        if count == 0 {
            return;
        }
        self.sum = self.sum.saturating_add(count);
        let grain = if limit <= FINE {
            1
        } else {
            (self.length / FINE).max(1)
        };
        match self.entries.back_mut() {
            // Clocks are read before the lock is taken, so times may come a little out of order.
            Some(last) if now <= last.at || now / grain == last.at / grain => {
                last.at = last.at.max(now);
                last.count = last.count.saturating_add(count);
            }
            _ => self.entries.push_back(Entry { at: now, count }),
        }
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }
}
