//! How a field of a record says when something happened.

use std::fmt;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDateTime, TimeZone, Utc};
use highwater::Timestamp;

/// A way to write an instant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TimeFormat {
    /// Milliseconds since the epoch.
    EpochMs,
    /// Seconds since the epoch, with a fraction or without.
    EpochS,
    /// `2015-05-17T10:05:03Z`
    Rfc3339,
    /// A pattern of `strftime`; without an offset (`%z`) the time is UTC.
    Strftime {
        /// The pattern.
        pattern: String,
        /// Whether it has an offset.
        zoned: bool,
    },
}

impl TimeFormat {
    /// Reads the name of a format, or a pattern. The error says what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "epoch-ms" => Ok(TimeFormat::EpochMs),
            "epoch-s" => Ok(TimeFormat::EpochS),
            "rfc3339" => Ok(TimeFormat::Rfc3339),
            pattern if pattern.contains('%') => TimeFormat::strftime(pattern),
            _ => Err(format!("cannot be `{text}`: it is `epoch-ms`, `epoch-s`, `rfc3339` or a pattern such as `%Y-%m-%d %H:%M:%S`")),
        }
    }

    /// A pattern is good when an instant survives being written and read with it.
    fn strftime(pattern: &str) -> Result<Self, String> {
        if StrftimeItems::new(pattern).any(|item| matches!(item, Item::Error)) {
            return Err(format!("has a directive that strftime does not know: `{pattern}`"));
        }
        let sample = Utc.with_ymd_and_hms(2015, 5, 17, 10, 5, 3).single().expect("a valid instant");
        let written = sample.format(pattern).to_string();
        let format = |zoned| TimeFormat::Strftime { pattern: pattern.to_owned(), zoned };
        let reads = |format: &TimeFormat| format.read(&written).is_some_and(|at| at.as_millis() / 60_000 == sample.timestamp() / 60);
        [format(true), format(false)]
            .into_iter()
            .find(reads)
            .ok_or_else(|| format!("does not say the day and the minute: `{pattern}` (a date needs `%Y %m %d`, a time `%H:%M:%S`)"))
    }

    /// The instant, or none if the text is not of this format.
    pub(crate) fn read(&self, text: &str) -> Option<Timestamp> {
        let ms = match self {
            TimeFormat::EpochMs => text.parse().ok()?,
            TimeFormat::EpochS => seconds(text)?,
            TimeFormat::Rfc3339 => DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis(),
            TimeFormat::Strftime { pattern, zoned: true } => DateTime::parse_from_str(text, pattern).ok()?.timestamp_millis(),
            TimeFormat::Strftime { pattern, zoned: false } => {
                NaiveDateTime::parse_from_str(text, pattern).ok()?.and_utc().timestamp_millis()
            }
        };
        Some(Timestamp::from_millis(ms))
    }
}

impl fmt::Display for TimeFormat {
    /// As a job file says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeFormat::EpochMs => "epoch-ms",
            TimeFormat::EpochS => "epoch-s",
            TimeFormat::Rfc3339 => "rfc3339",
            TimeFormat::Strftime { pattern, .. } => pattern,
        })
    }
}

/// Whole and fractional seconds as milliseconds, without the rounding of a float for whole ones.
fn seconds(text: &str) -> Option<i64> {
    if let Ok(whole) = text.parse::<i64>() {
        return whole.checked_mul(1_000);
    }
    let seconds: f64 = text.parse().ok()?;
    let ms = (seconds * 1e3).round();
    // Beyond this the milliseconds of a float are not exact any more.
    (ms.abs() < 9e15).then_some(ms as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str) -> Option<i64> {
        TimeFormat::parse(format).expect("a good format").read(text).map(Timestamp::as_millis)
    }

    #[test]
    fn each_format_reads_the_same_instant() {
        let instant = Some(1_431_857_103_000);
        assert_eq!(read("epoch-ms", "1431857103000"), instant);
        assert_eq!(read("epoch-s", "1431857103"), instant);
        assert_eq!(read("epoch-s", "1431857103.25"), Some(1_431_857_103_250));
        assert_eq!(read("rfc3339", "2015-05-17T12:05:03+02:00"), instant);
        assert_eq!(read("%d/%b/%Y:%H:%M:%S %z", "17/May/2015:10:05:03 +0000"), instant);
        assert_eq!(read("%Y-%m-%d %H:%M:%S", "2015-05-17 10:05:03"), instant);
        assert_eq!(read("%Y-%m-%dT%H:%M:%S%.f%:z", "2015-05-17T10:05:03.5+00:00"), Some(1_431_857_103_500));
        assert_eq!(read("%s", "1431857103"), instant);
    }

    #[test]
    fn what_is_not_a_time_is_none() {
        for (format, text) in
            [("epoch-ms", "soon"), ("epoch-s", "NaN"), ("epoch-s", "1e300"), ("rfc3339", "2015-05-17"), ("%Y-%m-%d %H:%M", "-")]
        {
            assert_eq!(read(format, text), None, "{format} {text}");
        }
    }

    #[test]
    fn a_pattern_that_loses_the_time_is_refused_with_a_fix() {
        let error = |pattern| TimeFormat::parse(pattern).expect_err("is refused");
        assert!(error("%d/%b/%Y").contains("`%H:%M:%S`"));
        assert!(error("%H:%M:%S").contains("`%Y %m %d`"));
        assert!(error("%Y-%m-%d %!").contains("does not know"));
        assert!(error("iso").contains("`rfc3339`"));
    }
}
