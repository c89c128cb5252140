//! Text of others on one line, fit for a log.
//!
//! Owns what may not be in it: characters that end a line, turn it round or hide in it. A text keeps its words apart
//! with a space in their place; a name (of an actor, of a target) has no spaces of its own and loses them.

use wgctl::name::deceives;

fn is_bad(c: char) -> bool {
    c.is_control() || deceives(c)
}

/// At most `longest` characters of a text, on one line.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    text.chars()
        .map(|c| if is_bad(c) { ' ' } else { c })
        .take(longest)
        .collect()
}

/// The characters of a name that may stand in a log.
pub(crate) fn name_characters(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| !is_bad(*c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_the_line_or_turns_it_round() {
        assert_eq!(one_line("a\nb\u{202e}c\td", 5), "a b c");
        assert_eq!(one_line("caf\u{e9}", 300), "caf\u{e9}");
        assert_eq!(name_characters("a\nb\u{202e}c").collect::<String>(), "abc");
    }
}
