//! Types for arguments that none of the library's types can represent.
//!
//! Owns the syntax of lists, of values that can be turned off, and of times. It must not read the clock: the
//! current time is a parameter.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use wgctl::Timestamp;

/// A list argument: `a,b`, or `none` for an empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List<T>(Vec<T>);

/// An entry in a [`List`].
pub(crate) trait Entry: Sized + Clone {
    fn read(text: &str) -> Result<Self, String>;
}

impl Entry for IpAddr {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is not an IP address: write an address, like 10.8.0.2"))
    }
}

impl Entry for IpNet {
    /// Parses a network, or an address as the network that contains only this address.
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .or_else(|_| text.parse::<IpAddr>().map(Self::from))
            .map_err(|_: std::net::AddrParseError| no_network(text))
    }
}

/// Parses a network with its prefix length.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| no_network(text))
}

fn no_network(text: &str) -> String {
    format!("{text:?} is not a network: write NETWORK/PREFIX, like 10.8.0.0/24")
}

impl<T: Entry> FromStr for List<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        text.split(',')
            .map(str::trim)
            .map(T::read)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Returns the entries of a repeatable list argument, or `None` if it was not given.
pub(crate) fn entries<T: Clone>(lists: &[List<T>]) -> Option<Vec<T>> {
    (!lists.is_empty()).then(|| lists.iter().flat_map(|list| list.0.iter().cloned()).collect())
}

/// A value, or `none`, `off`, `default` or `never` for its absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nullable<T>(pub(crate) Option<T>);

impl<T: FromStr<Err: std::fmt::Display>> FromStr for Nullable<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" | "off" | "default" | "never" => Ok(Self(None)),
            value => value
                .parse()
                .map(|value| Self(Some(value)))
                .map_err(|error: T::Err| error.to_string()),
        }
    }
}

/// A point in time (`2026-05-06T12:00:00Z`), or a duration relative to now (`90d`, `12h`, `30m`, `2w`, `45s`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Distance(Duration),
}

impl Moment {
    /// Returns the time; a duration is added to `now`.
    pub(crate) fn ahead_of(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Distance(distance) => now.after(distance),
        }
    }

    /// Returns the time; a duration is subtracted from `now`.
    pub(crate) fn back_from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Distance(distance) => now.before(distance),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(moment) = text.parse() {
            return Ok(Self::At(moment));
        }
        let error = || format!("{text:?} is not a time: write 90d, 12h, 30m or 2026-05-06T12:00:00Z");
        let unit = text.chars().next_back().ok_or_else(error)?;
        let seconds: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(error()),
        };
        let count: u64 = text
            .strip_suffix(unit)
            .and_then(|count| count.parse().ok())
            .ok_or_else(error)?;
        count
            .checked_mul(seconds)
            .map(|length| Self::Distance(Duration::from_secs(length)))
            .ok_or_else(error)
    }
}

/// Parses a duration (`1h`, `7d`).
pub(crate) fn length(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(Moment::Distance(length)) => Ok(length),
        Ok(Moment::At(_)) | Err(_) => Err(format!("{text:?} is not a duration: write 1h, 30m or 7d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_durations_or_rfc_3339() {
        let now = Timestamp::from_unix(1_000_000);
        let ahead = |text: &str| text.parse::<Moment>().unwrap().ahead_of(now).unix() - now.unix();
        assert_eq!(
            [ahead("90d"), ahead("2w"), ahead("1h"), ahead("5m"), ahead("7s")],
            [7_776_000, 1_209_600, 3600, 300, 7]
        );
        assert_eq!(
            "1970-01-01T00:00:10Z".parse::<Moment>().unwrap().ahead_of(now).unix(),
            10
        );
        assert_eq!("1h".parse::<Moment>().unwrap().back_from(now).unix(), 996_400);
        for bad in [
            "",
            "d",
            "90",
            "-1d",
            "1y",
            "99999999999999999999d",
            "18446744073709551615w",
            "ü",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_absolute_time_is_not_a_duration() {
        assert_eq!(length("1h"), Ok(Duration::from_secs(3600)));
        assert!(length("2026-05-06T12:00:00Z").is_err() && length("soon").is_err());
    }

    #[test]
    fn list_options_can_be_repeated_or_emptied() {
        let lists: Vec<List<IpNet>> = vec!["10.0.0.0/8, 1.1.1.1".parse().unwrap(), "fd00::/64".parse().unwrap()];
        assert_eq!(entries(&lists).unwrap().len(), 3);
        assert_eq!(entries(&["none".parse::<List<IpNet>>().unwrap()]), Some(Vec::new()));
        assert_eq!(entries::<IpNet>(&[]), None);
        assert!("10.0.0.0/33".parse::<List<IpNet>>().is_err());
    }

    #[test]
    fn a_value_that_can_be_turned_off_accepts_a_keyword() {
        assert_eq!("off".parse::<Nullable<u16>>().unwrap(), Nullable(None));
        assert_eq!("25".parse::<Nullable<u16>>().unwrap(), Nullable(Some(25)));
        assert!("many".parse::<Nullable<u16>>().is_err());
    }
}
