//! Values as human-readable text: quantities, times, lists, and external text.
//!
//! Owns their format, and the escaping of characters that a terminal would interpret. It must not print anything.

use std::time::Duration;

use wgctl::Timestamp;

/// Returns external text on one line. All characters that a terminal would interpret are escaped.
pub(crate) fn plain(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        if obeyed(c) {
            plain.extend(c.escape_unicode())
        } else {
            plain.push(c)
        }
        plain
    })
}

/// Joins values as `a, b`. Returns a dash for an empty list.
pub(crate) fn join<T: ToString>(values: &[T]) -> String {
    if values.is_empty() {
        return "-".to_owned();
    }
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the value as text, or a dash for `None`.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Formats a number of bytes in binary units, as wg(8) does.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut scaled = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    format!("{scaled:.2} {unit}")
}

/// Formats the age of a time in its two largest units.
pub(crate) fn ago(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(
        || "never".to_owned(),
        |then| format!("{} ago", duration(now.since(then))),
    )
}

/// Formats a duration in its two largest units.
pub(crate) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_text_cannot_control_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}");
        assert_eq!(plain("Zoë 日本"), "Zoë 日本");
    }

    #[test]
    fn quantities_are_formatted_for_humans() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1024), bytes(u64::MAX)],
            ["0 B", "1023 B", "1.00 KiB", "16.00 EiB"]
        );
        let at = Timestamp::from_unix;
        assert_eq!(
            [ago(None, at(0)), ago(Some(at(0)), at(59)), ago(Some(at(0)), at(90_000))],
            ["never", "59 s ago", "1 d 1 h ago"]
        );
    }
}
