//! Bash completion.
//!
//! Owns the work that bash leaves to completers. Bash passes words that it has split at `:`, `=` and `@`
//! (readline's `COMP_WORDBREAKS`), and inserts candidates into the line unquoted. Therefore the line itself
//! is parsed here, and every name is returned as one literal word: a peer called `$(reboot)` is only a name.

use std::ffi::OsString;
use std::io;

use clap::Command;
use clap_complete::engine::complete;

use super::candidates::with_names;

/// Returns the script that bash loads.
pub(super) fn script(variable: &str) -> String {
    format!(
        r#"_wgctl() {{
    mapfile -t COMPREPLY < <({variable}=bash wgctl -- "${{COMP_LINE:0:COMP_POINT}}" "$2" 2>/dev/null)
    if [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *[=/] ]]; then
        compopt -o nospace
    fi
}}
complete -o bashdefault -o nosort -F _wgctl wgctl
"#
    )
}

/// Writes one candidate per line. `asked` contains the line up to the cursor, and the part of its last word
/// that bash will replace.
pub(super) fn answer(cli: fn() -> Command, asked: Vec<OsString>, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut asked = asked.into_iter().map(|text| text.to_string_lossy().into_owned());
    let (line, replaced) = (asked.next().unwrap_or_default(), asked.next().unwrap_or_default());
    let line = Line::read(&line);
    let words: Vec<OsString> = line.words.iter().map(OsString::from).collect();
    let mut command = with_names(cli, &words, true);
    let last = words.len().saturating_sub(1);
    let kept = line.typed.strip_suffix(&replaced).unwrap_or_default();
    for candidate in complete(&mut command, words, last, std::env::current_dir().ok().as_deref())? {
        let value = candidate.get_value().to_string_lossy();
        let Some(written) = line.written(&value) else { continue };
        answer.extend_from_slice(written.strip_prefix(kept).unwrap_or(&written).as_bytes());
        answer.push(b'\n');
    }
    Ok(())
}

/// A line, parsed as the shell would parse it.
#[derive(Debug, PartialEq)]
pub(super) struct Line<'l> {
    /// Its words. The last one is the word at the cursor, even if it is empty.
    pub(super) words: Vec<String>,
    /// The quote that is open at the cursor.
    quote: Option<char>,
    /// The last word as typed, beginning after its open quote if there is one.
    typed: &'l str,
}

impl<'l> Line<'l> {
    pub(super) fn read(line: &'l str) -> Self {
        let (mut words, mut word, mut quote, mut begin) = (Vec::new(), String::new(), None, 0);
        let mut inside = false;
        let mut opened = 0;
        let mut chars = line.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match (quote, c) {
                (None, ' ' | '\t') => {
                    if inside {
                        words.push(std::mem::take(&mut word));
                    }
                    (inside, begin) = (false, at + 1);
                    continue;
                }
                (None, '\'' | '"') => (quote, opened) = (Some(c), at + 1),
                (Some(open), c) if c == open => quote = None,
                (None | Some('"'), '\\') => {
                    let escaped = chars.next_if(|(_, next)| quote.is_none() || "$`\"\\".contains(*next));
                    word.push(escaped.map_or(c, |(_, escaped)| escaped));
                }
                (_, c) => word.push(c),
            }
            inside = true;
        }
        words.push(word);
        let begin = if quote.is_some() { opened } else { begin };
        Self {
            words,
            quote,
            typed: line.get(begin..).unwrap_or_default(),
        }
    }

    /// Returns the value as it must be typed at the cursor, or `None` if that is impossible.
    fn written(&self, value: &str) -> Option<String> {
        let special: fn(char) -> bool = match self.quote {
            Some('\'') => return Some(value.to_owned()).filter(|value| !value.contains('\'')),
            Some(_) => |c| "$`\"\\!".contains(c),
            None => |c| !c.is_alphanumeric() && !"-_.,/@+:=%".contains(c),
        };
        // In double quotes, `!` starts a history expansion. A backslash prevents it but is not removed.
        if self.quote.is_some() && value.contains('!') {
            return None;
        }
        let mut written = String::with_capacity(value.len());
        for c in value.chars() {
            if special(c) {
                written.push('\\');
            }
            written.push(c);
        }
        Some(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_parsed_as_the_shell_parses_it() {
        let words = |line: &str| Line::read(line).words;
        assert_eq!(words("wgctl peer show "), ["wgctl", "peer", "show", ""]);
        assert_eq!(
            words("wgctl  --plane http://[::1]:80 user disable ops@ex"),
            ["wgctl", "--plane", "http://[::1]:80", "user", "disable", "ops@ex"]
        );
        assert_eq!(words(r#"x 'a b' "c\"\d" e\ f"#), ["x", "a b", r#"c"\d"#, "e f"]);
        assert_eq!(words(""), [""]);
        let open = Line::read("wgctl peer show la 'Zoë l");
        assert_eq!(
            (open.quote, open.typed, open.words[4].as_str()),
            (Some('\''), "Zoë l", "Zoë l")
        );
    }

    #[test]
    fn a_name_is_escaped_so_that_the_shell_takes_it_literally() {
        let written = |line: &str, value: &str| Line::read(line).written(value);
        for value in [
            "$(reboot)",
            "Zoë's laptop",
            "a;b|c&d",
            "*",
            "~root",
            "`id`",
            "#x",
            "!!",
            "\\",
        ] {
            let word = written("wgctl x ", value).unwrap();
            assert_eq!(Line::read(&format!("wgctl {word}")).words[1], value, "{word}");
            assert!(
                word.chars()
                    .zip(word.chars().skip(1))
                    .all(|(before, c)| !"$`;|&*~#!'( ".contains(c) || before == '\\'),
                "{word}"
            );
        }
        assert_eq!(written("wgctl 'x", "it's"), None);
        assert_eq!(written("wgctl \"x", "$(reboot)").as_deref(), Some(r"\$(reboot)"));
        assert_eq!(written("wgctl ", "ops@example.com").as_deref(), Some("ops@example.com"));
    }
}
