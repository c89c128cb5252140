//! A time in UTC with a resolution of one second, as used by the API.
//!
//! Owns the RFC 3339 text form (`2026-05-06T12:00:00Z`). Pure code must not ask this module for the current
//! time: it takes the time as a parameter, and only the outermost code calls [`Timestamp::now`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A number of seconds since 1970-01-01T00:00:00Z, written as RFC 3339 in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The error for text that is not an RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time: write it like 2026-05-06T12:00:00Z")]
pub struct TimestampError;

impl Timestamp {
    /// Creates the time that is `seconds` after the Unix epoch, clamped to the years that RFC 3339 can
    /// express (0 to 9999).
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds.clamp(-62_167_219_200, 253_402_207_200))
    }

    /// Returns the number of seconds since the Unix epoch.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// Returns the time of the system clock, truncated to seconds.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this reads the system clock")]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Returns the time that is `duration` after this one, in whole seconds.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self::from_unix(
            self.0
                .saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the time that is `duration` before this one, in whole seconds.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self::from_unix(
            self.0
                .saturating_sub(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the time that has passed since `earlier`, or zero if `earlier` is later than this time.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A clock: the system's, or one that is set by a test. Clones share the same clock.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Creates a clock that reads its time from `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the clock's current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

/// The system clock.
impl Default for Clock {
    #[expect(clippy::disallowed_methods, reason = "this creates the system clock")]
    fn default() -> Self {
        Self::new(Timestamp::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
        };
        Self::from_unix(seconds)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        // The library accepts more than RFC 3339: a space instead of the `T`, zones in brackets, and offsets
        // of whole hours.
        if !is_rfc_3339(text.as_bytes()) {
            return Err(TimestampError);
        }
        text.parse::<jiff::Timestamp>()
            .map(|time| Self::from_unix(time.as_second()))
            .map_err(|_| TimestampError)
    }
}

/// Returns true if the text has the form of RFC 3339, in upper case. The numbers are not checked.
fn is_rfc_3339(text: &[u8]) -> bool {
    let is_shaped = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                wanted => byte == wanted,
            })
    };
    let Some((moment, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let zone = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            match fraction.split_at_checked(digits) {
                Some((_, zone)) if (1..=9).contains(&digits) => zone,
                _ => return false,
            }
        }
    };
    let is_zone = zone == b"Z" || is_shaped(zone, b"+00:00") || is_shaped(zone, b"-00:00");
    is_shaped(moment, b"0000-00-00T00:00:00") && is_zone
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_formatted_as_in_the_api() {
        let time: Timestamp = "2026-05-06T12:00:00Z".parse().unwrap();
        assert_eq!(time.to_string(), "2026-05-06T12:00:00Z");
        assert_eq!("2026-05-06T14:00:00.75+02:00".parse::<Timestamp>().unwrap(), time);
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-05-06T12:00:00Z\"");
    }

    #[test]
    fn only_rfc_3339_is_accepted() {
        for bad in [
            "",
            "2026-05-06",
            "2026-05-06 12:00:00Z",
            "2026-05-06T12:00Z",
            "2026-05-06T12:00:00",
            "2026-05-06T12:00:00+02",
            "2026-05-06T12:00:00.Z",
            "2026-05-06T12:00:00Z[UTC]",
            "2026-05-06T24:00:00Z",
            "2026-02-30T12:00:00Z",
            " 2026-05-06T12:00:00Z",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn extreme_times_neither_panic_nor_overflow() {
        for seconds in [i64::MIN, -1, 0, i64::MAX] {
            let time = Timestamp::from_unix(seconds);
            assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
            let _ = time.after(Duration::MAX).since(time.before(Duration::MAX));
        }
    }
}
