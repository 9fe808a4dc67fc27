//! Points in time.

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
///
/// Every log is converted to this unit and zone when it is imported; what unit and zone it came in is declared in
/// its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// The unit in which a source writes its integer times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Second,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millisecond,
    /// Microseconds.
    #[serde(rename = "us")]
    Microsecond,
    /// Nanoseconds; truncated to microseconds.
    #[serde(rename = "ns")]
    Nanosecond,
}

impl TimeUnit {
    /// Converts `value` in this unit to a [`Timestamp`]; `None` if it does not fit.
    #[inline]
    pub fn to_timestamp(self, value: i64) -> Option<Timestamp> {
        let micros = match self {
            TimeUnit::Second => value.checked_mul(1_000_000)?,
            TimeUnit::Millisecond => value.checked_mul(1_000)?,
            TimeUnit::Microsecond => value,
            TimeUnit::Nanosecond => value.div_euclid(1_000),
        };
        Some(Timestamp(micros))
    }
}

/// A length of time in microseconds, written `90s`, `15m`, `1h`, `7d` in configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// Reads `90s`, `15m`, `1h` or `7d`; the error says what was expected.
    pub fn parse(text: &str) -> Result<Span, String> {
        let text = text.trim();
        let expected = || format!("expected a length of time such as \"30m\", \"1h\" or \"7d\", got \"{text}\"");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = text[..digits].parse().map_err(|_| expected())?;
        let unit: i64 = match &text[digits..] {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(expected()),
        };
        count.checked_mul(unit * 1_000_000).map(Span).ok_or_else(expected)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0 / 1_000_000;
        for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "m")] {
            if seconds != 0 && seconds % unit == 0 {
                return write!(f, "{}{name}", seconds / unit);
            }
        }
        write!(f, "{seconds}s")
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Span::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_back_what_they_print() {
        for text in ["90s", "15m", "1h", "7d", "0s"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "h", "1w", "-1h", "1.5h", "99999999999999d"] {
            assert!(Span::parse(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn units_convert_and_overflow_is_refused() {
        assert_eq!(TimeUnit::Second.to_timestamp(2), Some(Timestamp(2_000_000)));
        assert_eq!(TimeUnit::Nanosecond.to_timestamp(-1), Some(Timestamp(-1)));
        assert_eq!(TimeUnit::Second.to_timestamp(i64::MAX), None);
    }
}
