//! Untrusted text, converted to a single line that is safe for a log.
//!
//! Owns the choice of unsafe characters: those that end a line, reverse its direction or are invisible. In text,
//! they are replaced with spaces, so that words remain separate. In the names of actors and targets, they are removed.

use wgctl::name::is_deceptive;

fn is_unsafe(c: char) -> bool {
    c.is_control() || is_deceptive(c)
}

/// Returns at most `longest` characters of a text, on one line.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    text.chars()
        .map(|c| if is_unsafe(c) { ' ' } else { c })
        .take(longest)
        .collect()
}

/// Returns the characters of a name that are safe for a log.
pub(crate) fn name_characters(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| !is_unsafe(*c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_are_replaced_in_text_and_removed_from_names() {
        assert_eq!(one_line("a\nb\u{202e}c\td", 5), "a b c");
        assert_eq!(one_line("caf\u{e9}", 300), "caf\u{e9}");
        assert_eq!(name_characters("a\nb\u{202e}c").collect::<String>(), "abc");
    }
}
