//! Text of others on one line, fit for a log.

use wgctl::name::deceives;

/// The characters of `text`, with a space for each that ends a line, turns it round or hides in it.
pub(crate) fn plain(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .map(|c| if c.is_control() || deceives(c) { ' ' } else { c })
}

/// At most `longest` characters of `text`, on one line.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    plain(text).take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_the_line_or_turns_it_round() {
        assert_eq!(one_line("a\nb\u{202e}c\td", 5), "a b c");
        assert_eq!(one_line("caf\u{e9}", 300), "caf\u{e9}");
    }
}
