//! The form of the agent's token.
//!
//! Owns the faults of a text that is not an agent's token. It must not read any file. No error may contain a part of
//! the text, which may be another secret.

use wgctl::api::{AGENT_TOKEN_PREFIX, API_TOKEN_PREFIX};
use zeroize::Zeroizing;

/// The first characters of a session's token: `{"` in base64, with which a JSON Web Token begins (RFC 7519).
const SESSION_PREFIX: &str = "eyJ";
/// The quotation marks of configuration files, shells and word processors.
const QUOTES: [char; 7] = ['"', '\'', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}'];

/// The reason why a text is not an agent's token, as a predicate of the file that contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// There is only white space.
    #[error("is empty")]
    Empty,
    /// The content is not UTF-8, or contains control characters.
    #[error("is not plain text")]
    Binary,
    /// There are several words, on one line or on several.
    #[error("contains {0} words")]
    Words(usize),
    /// The token is in quotes.
    #[error("contains quotation marks")]
    Quoted,
    /// The token is an API token.
    #[error("contains a token of another kind: an API token ({}…)", API_TOKEN_PREFIX)]
    ApiToken,
    /// The token belongs to a login session.
    #[error("contains a token of another kind: that of a login ({}…)", SESSION_PREFIX)]
    Session,
    /// The text does not begin as agents' tokens do.
    #[error("contains a word that does not begin with {}", AGENT_TOKEN_PREFIX)]
    Prefix,
    /// The text ends after the prefix.
    #[error("contains only the beginning of a token")]
    Incomplete,
    /// The token contains a character other than those of base64url (RFC 4648, section 5).
    #[error("contains a character that does not occur in tokens")]
    Character,
}

/// Returns the token in a file's content, without the white space around it and a byte order mark before it.
pub(crate) fn parse_token(content: &[u8]) -> Result<Zeroizing<String>, TokenFault> {
    let text = std::str::from_utf8(content).map_err(|_| TokenFault::Binary)?;
    // Some editors begin a file with a byte order mark, which is not white space.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains(|c: char| c.is_control() && !c.is_whitespace()) {
        return Err(TokenFault::Binary);
    }
    let mut words = text.split_whitespace();
    let word = match (words.next(), words.count()) {
        (None, _) => return Err(TokenFault::Empty),
        (Some(word), 0) => word,
        (Some(_), others) => return Err(TokenFault::Words(others + 1)),
    };
    if word.contains(QUOTES) {
        return Err(TokenFault::Quoted);
    }
    match word.strip_prefix(AGENT_TOKEN_PREFIX) {
        Some("") => Err(TokenFault::Incomplete),
        Some(secret) if secret.bytes().all(is_base64url) => Ok(Zeroizing::new(word.to_owned())),
        Some(_) => Err(TokenFault::Character),
        None if word.starts_with(API_TOKEN_PREFIX) => Err(TokenFault::ApiToken),
        None if word.starts_with(SESSION_PREFIX) => Err(TokenFault::Session),
        None => Err(TokenFault::Prefix),
    }
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_a_byte_order_mark_do_not_belong_to_the_token() {
        for content in [
            "szagent_Az0-_",
            "szagent_Az0-_\n",
            " \t\r\nszagent_Az0-_\r\n\n",
            "\u{feff}szagent_Az0-_\r\n",
            "\u{feff} szagent_Az0-_",
        ] {
            let token = parse_token(content.as_bytes()).unwrap();
            assert_eq!(token.as_str(), "szagent_Az0-_", "{content:?}");
        }
    }

    #[test]
    fn content_that_is_not_exactly_one_agents_token_is_refused() {
        for (content, fault) in [
            ("", TokenFault::Empty),
            ("\u{feff} \r\n", TokenFault::Empty),
            ("szagent_x szagent_y", TokenFault::Words(2)),
            ("szagent_x\nszagent_y\n", TokenFault::Words(2)),
            ("the token: szagent_x", TokenFault::Words(3)),
            ("\"szagent_x\"\n", TokenFault::Quoted),
            ("'szagent_x'", TokenFault::Quoted),
            ("TOKEN=\"szagent_x\"", TokenFault::Quoted),
            ("\u{201c}szagent_x\u{201d}", TokenFault::Quoted),
            ("szapi_secret", TokenFault::ApiToken),
            ("eyJ0eXAi.e30.c2VjcmV0", TokenFault::Session),
            ("secret", TokenFault::Prefix),
            ("token=szagent_x", TokenFault::Prefix),
            ("szagent_", TokenFault::Incomplete),
            ("szagent_x\u{2026}", TokenFault::Character),
            ("szagent_x,", TokenFault::Character),
            ("szagent_x\0", TokenFault::Binary),
            ("\u{1b}[200~szagent_x", TokenFault::Binary),
        ] {
            assert_eq!(parse_token(content.as_bytes()).err(), Some(fault), "{content:?}");
        }
        let utf_16: Vec<u8> = "\u{feff}szagent_x".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(parse_token(&utf_16).err(), Some(TokenFault::Binary));
    }
}
