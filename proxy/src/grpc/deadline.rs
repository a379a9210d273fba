//! `grpc-timeout`: how long a client gives its call, and what is left of that when the call goes upstream.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};

/// The header's name.
pub(crate) const HEADER: &str = "grpc-timeout";

/// A point in time after which nobody waits for the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

/// A header that gives no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("grpc-timeout is at most eight digits and one of H, M, S, m, u, n")]
pub(crate) struct NoTime;

impl Deadline {
    /// What the headers say, counted from `start`.
    ///
    /// # Errors
    /// [`NoTime`] where they say it twice, or nothing that could be understood.
    pub(crate) fn of(headers: &HeaderMap, start: Instant) -> Result<Option<Self>, NoTime> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(NoTime);
        }
        let timeout = parse(value.to_str().map_err(|_| NoTime)?)?;
        // Centuries are as good as no deadline.
        Ok(start.checked_add(timeout).map(Self))
    }

    /// What is left; `None` when it has passed.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }
}

fn parse(text: &str) -> Result<Duration, NoTime> {
    let unit = text.chars().last().ok_or(NoTime)?;
    let digits = text.strip_suffix(unit).ok_or(NoTime)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NoTime);
    }
    let count: u64 = digits.parse().map_err(|_| NoTime)?;
    Ok(match unit {
        'H' => Duration::from_secs(count * 3600),
        'M' => Duration::from_secs(count * 60),
        'S' => Duration::from_secs(count),
        'm' => Duration::from_millis(count),
        'u' => Duration::from_micros(count),
        'n' => Duration::from_nanos(count),
        _ => return Err(NoTime),
    })
}

/// A time as the header has it: in the finest unit that eight digits hold, rounded down, so that nobody
/// upstream works longer than the agent waits.
pub(crate) fn header(left: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let fits = |n: u128| u64::try_from(n.min(MOST)).unwrap_or(u64::MAX);
    let text = match left.as_micros() {
        us if us <= MOST => format!("{}u", fits(us)),
        us if us / 1000 <= MOST => format!("{}m", fits(us / 1000)),
        us => format!("{}S", fits(us / 1_000_000)),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0u"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        let cases = [
            ("1H", Ok(Duration::from_secs(3600)), "3600000m"),
            ("2M", Ok(Duration::from_secs(120)), "120000m"),
            ("3S", Ok(Duration::from_secs(3)), "3000000u"),
            ("4m", Ok(Duration::from_millis(4)), "4000u"),
            ("5u", Ok(Duration::from_micros(5)), "5u"),
            ("6000n", Ok(Duration::from_nanos(6000)), "6u"),
            (
                "99999999H",
                Ok(Duration::from_secs(99_999_999 * 3600)),
                "99999999S",
            ),
            ("", Err(NoTime), ""),
            ("S", Err(NoTime), ""),
            ("1", Err(NoTime), ""),
            ("1s", Err(NoTime), ""),
            ("123456789S", Err(NoTime), ""),
            ("-1S", Err(NoTime), ""),
            ("+1S", Err(NoTime), ""),
        ];
        for (text, time, again) in cases {
            assert_eq!(parse(text), time, "{text}");
            if let Ok(time) = time {
                assert_eq!(header(time).to_str().expect("text"), again, "{text}");
            }
        }
    }

    #[test]
    fn a_deadline_passes() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static(HEADER),
                HeaderValue::from_static(value),
            )])
        };
        let of = |value| Deadline::of(&headers(value), Instant::now());
        assert!(matches!(
            Deadline::of(&HeaderMap::new(), Instant::now()),
            Ok(None)
        ));
        assert!(of("x").is_err());
        assert!(of("0S").expect("a time").expect("a deadline").left().is_none());
        assert!(of("1H").expect("a time").expect("a deadline").left().is_some());
    }
}
