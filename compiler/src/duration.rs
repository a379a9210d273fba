//! Durations as policies write them: `4m`, `1h30m`, `400d`.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a row of numbers with units.
    #[error("write a duration as numbers with units ms, s, m, h or d, for example 4m or 1h30m")]
    Form,
    /// More than `u64` milliseconds.
    #[error("the duration is too long")]
    TooLong,
}

/// Parses a duration.
///
/// # Errors
/// [`DurationError`] says what is wrong.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Form);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or(DurationError::Form)?;
        let number: u64 = match rest[..digits].parse() {
            Ok(n) => n,
            Err(_) if digits == 0 => return Err(DurationError::Form),
            Err(_) => return Err(DurationError::TooLong),
        };
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor: u64 = match &rest[..unit] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(DurationError::Form),
        };
        rest = &rest[unit..];
        total = number
            .checked_mul(factor)
            .and_then(|n| n.checked_add(total))
            .ok_or(DurationError::TooLong)?;
    }
    Ok(Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("4m", Ok(240_000)),
            ("1h30m", Ok(5_400_000)),
            ("400d", Ok(34_560_000_000)),
            ("250ms", Ok(250)),
            ("0s", Ok(0)),
            ("", Err(DurationError::Form)),
            ("4", Err(DurationError::Form)),
            ("m", Err(DurationError::Form)),
            ("4 m", Err(DurationError::Form)),
            ("4w", Err(DurationError::Form)),
            ("-4m", Err(DurationError::Form)),
            ("99999999999999999999s", Err(DurationError::TooLong)),
            ("9999999999999999999d", Err(DurationError::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(
                parse_duration(text).map(|d| d.as_millis() as u64),
                expected,
                "{text}"
            );
        }
    }
}
