//! Times and durations as CEL writes them.
//!
//! Time zones are names of the IANA database that is compiled in, so that a condition means the same on every
//! machine, or offsets such as `+02:00`.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, Timelike};
use jiff::{SignedDuration, Timestamp};

/// Ten thousand years, which is as far as durations go.
const MAX_DURATION: SignedDuration = SignedDuration::from_secs(315_576_000_000);
/// `0001-01-01T00:00:00Z`, the first time there is, in seconds of the Unix clock.
const FIRST_SECOND: i64 = -62_135_596_800;

/// A part of a time, in the numbering of CEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimePart {
    /// Such as 2026.
    FullYear,
    /// From 0.
    Month,
    /// Day of the month from 1.
    Date,
    /// Day of the month from 0.
    DayOfMonth,
    /// From 0, which is Sunday.
    DayOfWeek,
    /// From 0.
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// The parts by the names of their functions.
pub(super) const TIME_PARTS: &[(&str, TimePart)] = &[
    ("getFullYear", TimePart::FullYear),
    ("getMonth", TimePart::Month),
    ("getDate", TimePart::Date),
    ("getDayOfMonth", TimePart::DayOfMonth),
    ("getDayOfWeek", TimePart::DayOfWeek),
    ("getDayOfYear", TimePart::DayOfYear),
    ("getHours", TimePart::Hours),
    ("getMinutes", TimePart::Minutes),
    ("getSeconds", TimePart::Seconds),
    ("getMilliseconds", TimePart::Milliseconds),
];

/// Where a clock hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    Utc,
    Named(chrono_tz::Tz),
    Offset(FixedOffset),
}

impl Zone {
    /// `UTC`, a name such as `Europe/Berlin`, or an offset such as `+02:00`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "UTC" {
            return Some(Self::Utc);
        }
        let first = text.bytes().next()?;
        if first == b'+' || first == b'-' || first.is_ascii_digit() {
            let (sign, digits) = match text.strip_prefix('-') {
                Some(rest) => (-1, rest),
                None => (1, text.strip_prefix('+').unwrap_or(text)),
            };
            let (hours, minutes) = digits.split_once(':')?;
            let number = |part: &str| (part.len() == 2).then(|| part.parse::<u8>().ok()).flatten();
            let (hours, minutes) = (number(hours)?, number(minutes)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            return FixedOffset::east_opt(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
                .map(Self::Offset);
        }
        text.parse().ok().map(Self::Named)
    }
}

impl TimePart {
    /// The part of `time` on the clocks of `zone`; `None` where no calendar goes that far.
    pub(super) fn of(self, time: Timestamp, zone: Zone) -> Option<i64> {
        let nanos = u32::try_from(time.subsec_nanosecond().rem_euclid(1_000_000_000)).ok()?;
        // jiff counts nanoseconds back from the second for times before 1970; chrono always forward.
        let seconds = time.as_second() - i64::from(time.subsec_nanosecond() < 0);
        let utc = DateTime::from_timestamp(seconds, nanos)?;
        let local = match zone {
            Zone::Utc => utc.naive_utc(),
            Zone::Named(tz) => utc.with_timezone(&tz).naive_local(),
            Zone::Offset(offset) => utc.with_timezone(&offset).naive_local(),
        };
        Some(self.read(&local))
    }

    fn read(self, local: &NaiveDateTime) -> i64 {
        match self {
            Self::FullYear => i64::from(local.year()),
            Self::Month => i64::from(local.month0()),
            Self::Date => i64::from(local.day()),
            Self::DayOfMonth => i64::from(local.day0()),
            Self::DayOfWeek => i64::from(local.weekday().num_days_from_sunday()),
            Self::DayOfYear => i64::from(local.ordinal0()),
            Self::Hours => i64::from(local.hour()),
            Self::Minutes => i64::from(local.minute()),
            Self::Seconds => i64::from(local.second()),
            Self::Milliseconds => i64::from(local.nanosecond() / 1_000_000),
        }
    }

    /// The same of a duration: the whole of it in hours, minutes, seconds or milliseconds, as CEL counts.
    pub(super) fn of_duration(self, duration: SignedDuration) -> Option<i64> {
        match self {
            Self::Hours => Some(duration.as_hours()),
            Self::Minutes => Some(duration.as_mins()),
            Self::Seconds => Some(duration.as_secs()),
            Self::Milliseconds => i64::try_from(duration.as_millis()).ok(),
            _ => None,
        }
    }
}

/// A time of RFC 3339, from the year 1 to the end of 9999, less a day.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    in_range(
        Timestamp::new(
            time.timestamp(),
            i32::try_from(time.timestamp_subsec_nanos()).ok()?,
        )
        .ok()?,
    )
}

/// A time of the Unix clock.
pub(super) fn time_of_seconds(seconds: i64) -> Option<Timestamp> {
    in_range(Timestamp::from_second(seconds).ok()?)
}

/// `time`, unless it is before the year 1. The other end is that of [`Timestamp`].
pub(super) fn in_range(time: Timestamp) -> Option<Timestamp> {
    (time.as_second() >= FIRST_SECOND).then_some(time)
}

/// `duration`, unless it is longer than ten thousand years.
pub(super) fn duration_in_range(duration: SignedDuration) -> Option<SignedDuration> {
    (duration.abs() <= MAX_DURATION).then_some(duration)
}

/// A duration such as `90s`, `1h30m`, `-1.5h` or `250ms`.
pub(super) fn parse_duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut nanos: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (whole, after) = rest.split_at(digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.find(|c: char| !c.is_ascii_digit())?),
            None => ("", after),
        };
        let (unit, after) = unit(after)?;
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        nanos = nanos.checked_add(scaled(whole, fraction, unit)?)?;
        rest = after;
    }
    let nanos = if negative { -nanos } else { nanos };
    duration_in_range(SignedDuration::new(
        i64::try_from(nanos / 1_000_000_000).ok()?,
        i32::try_from(nanos % 1_000_000_000).ok()?,
    ))
}

/// The unit that `text` starts with in nanoseconds, and what comes after it.
fn unit(text: &str) -> Option<(i128, &str)> {
    const UNITS: [(&str, i128); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    UNITS
        .into_iter()
        .find_map(|(name, nanos)| text.strip_prefix(name).map(|rest| (nanos, rest)))
}

/// `WHOLE.FRACTION` units, cut to a nanosecond.
fn scaled(whole: &str, fraction: &str, unit: i128) -> Option<i128> {
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        total += place * i128::from(digit - b'0');
    }
    Some(total)
}

/// A duration as CEL writes it: seconds, with as many decimals as it needs.
pub(super) fn format_duration(duration: SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let seconds = duration.as_secs().unsigned_abs();
    match duration.subsec_nanos().unsigned_abs() {
        0 => format!("{sign}{seconds}s"),
        nanos => {
            let decimals = format!("{nanos:09}");
            format!("{sign}{seconds}.{}s", decimals.trim_end_matches('0'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let rows = [
            ("0", Some("0s")),
            ("90s", Some("90s")),
            ("1h30m", Some("5400s")),
            ("-1.5h", Some("-5400s")),
            ("250ms", Some("0.25s")),
            ("1.5us", Some("0.0000015s")),
            (".5s", Some("0.5s")),
            ("+1m", Some("60s")),
            ("1h-1m", None),
            ("", None),
            ("-", None),
            ("1", None),
            ("s", None),
            (".s", None),
            ("1d", None),
            ("1h ", None),
            ("99999999999999999999999999999999999999999h", None),
            ("87660001h", None),
        ];
        for (text, expected) in rows {
            assert_eq!(
                parse_duration(text).map(format_duration).as_deref(),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn zones() {
        let rows = [
            ("UTC", true),
            ("Europe/Berlin", true),
            ("+02:00", true),
            ("-08:30", true),
            ("02:00", true),
            ("", false),
            ("CET2", false),
            ("+2:00", false),
            ("+24:00", false),
            ("+00:60", false),
            ("+é1:00", false),
        ];
        for (text, known) in rows {
            assert_eq!(Zone::parse(text).is_some(), known, "{text:?}");
        }
    }

    #[test]
    fn parts_of_a_time() {
        let time = parse_time("2026-03-01T23:30:15.250+01:00").unwrap();
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let rows = [
            (TimePart::FullYear, 2026, 2026),
            (TimePart::Month, 2, 2),
            (TimePart::Date, 1, 1),
            (TimePart::DayOfMonth, 0, 0),
            (TimePart::DayOfWeek, 0, 0),
            (TimePart::DayOfYear, 59, 59),
            (TimePart::Hours, 22, 23),
            (TimePart::Minutes, 30, 30),
            (TimePart::Seconds, 15, 15),
            (TimePart::Milliseconds, 250, 250),
        ];
        for (part, utc, there) in rows {
            assert_eq!(
                (part.of(time, Zone::Utc), part.of(time, berlin)),
                (Some(utc), Some(there)),
                "{part:?}"
            );
        }
    }

    #[test]
    fn times_before_1970_count_forward_within_their_second() {
        let time = parse_time("1969-12-31T23:59:58.250Z").unwrap();
        assert_eq!(TimePart::Seconds.of(time, Zone::Utc), Some(58));
        assert_eq!(TimePart::Milliseconds.of(time, Zone::Utc), Some(250));
    }

    #[test]
    fn times_have_a_range() {
        for (text, known) in [
            ("0001-01-01T00:00:00Z", true),
            ("9999-12-30T21:59:59.999999999Z", true),
            ("0000-12-31T23:59:59Z", false),
            ("9999-12-31T23:59:59Z", false),
            ("2026-02-30T00:00:00Z", false),
            ("yesterday", false),
        ] {
            assert_eq!(parse_time(text).is_some(), known, "{text}");
        }
    }
}
