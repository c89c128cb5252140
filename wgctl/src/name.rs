//! The names of servers, peers, users and interfaces.
//!
//! Owns the rules for valid names and the error messages for invalid ones. Names are parsed where they enter
//! a program (JSON, command line, configuration) and are passed on as these types. Other code must not check
//! a name again.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The error for an invalid name; its message describes the valid form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(&'static str);

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<String, NameError> = $check;
                check(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_type!(
    /// A server's id: a slug of the form `[a-z0-9][a-z0-9-]{0,62}` that never changes.
    ServerId,
    |text| {
        let rest_is_slug = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if text.is_empty() || text.len() > 63 || text.starts_with('-') || !rest_is_slug {
            return Err(NameError(
                "a server id is 1 to 63 characters of a-z, 0-9 and '-', and does not begin with '-'",
            ));
        }
        Ok(text.to_owned())
    }
);

text_type!(
    /// A peer's name: 1 to 64 characters without control characters, unique on its server.
    PeerName,
    |text| {
        let length = text.chars().count();
        let unsafe_character = |c: char| c.is_control() || is_deceptive(c);
        if length == 0 || length > 64 || text.chars().any(unsafe_character) || text.trim() != text {
            return Err(NameError(
                "a peer name is 1 to 64 characters, without control characters, line separators, direction \
                 marks or invisible characters, and without leading or trailing whitespace",
            ));
        }
        Ok(text.to_owned())
    }
);

text_type!(
    /// A person's email address in lower case. It is the login name; no mail is sent to it.
    Email,
    |text| {
        let error = NameError("an email address looks like ops@example.com (at most 254 characters)");
        let lower = text.to_lowercase();
        let Some((local, domain)) = lower.rsplit_once('@') else {
            return Err(error);
        };
        let bad = |c: char| c.is_control() || c.is_whitespace() || is_deceptive(c) || c == '@';
        if local.is_empty() || domain.is_empty() || lower.len() > 254 || local.contains(bad) || domain.contains(bad) {
            return Err(error);
        }
        Ok(lower)
    }
);

text_type!(
    /// A network interface's name: 1 to 15 bytes (`IFNAMSIZ` minus the terminating NUL, `linux/if.h`) of
    /// `[A-Za-z0-9_.-]`.
    InterfaceName,
    |text| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let length_ok = (1..=15).contains(&text.len());
        if !length_ok || matches!(text, "." | "..") || text.starts_with('-') || !text.bytes().all(allowed) {
            return Err(NameError("an interface name is 1 to 15 characters of A-Z, a-z, 0-9, '_', '.' and '-'"));
        }
        Ok(text.to_owned())
    }
);

text_type!(
    /// An API token's name: 1 to 64 characters of `[A-Za-z0-9._-]`, beginning with a letter or a digit.
    TokenName,
    |text| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let begins_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if text.len() > 64 || !begins_well || !text.bytes().all(allowed) {
            return Err(NameError(
                "a token's name is 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit",
            ));
        }
        Ok(text.to_owned())
    }
);

/// Returns true for a character that is not a control character but may end a line, change the direction of
/// text, or be invisible in some viewers. Such a character could make one record look like two, or one name
/// look like another. The joiners U+200C and U+200D are parts of words and of emoji, so they are allowed.
#[must_use]
pub const fn is_deceptive(c: char) -> bool {
    let ends_a_line = matches!(c, '\u{2028}' | '\u{2029}');
    // The characters with the Unicode property Bidi_Control.
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // The characters with the property Default_Ignorable_Code_Point that no word requires, and annotation characters.
    let unseen = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}' |
        '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' |
        '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    );
    ends_a_line || turns || unseen
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Generates a random id (UUID version 4).
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// Returns the 16 bytes of the id, in the order in which they are written.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Creates the id that consists of these 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let error = NameError(concat!("a ", $what, " id is a UUID, like 11b7a4d6-4e78-4a15-b1ba-8d8ea281e0db"));
                // Only one spelling is accepted: a UUID without hyphens, in braces or as a URN is refused.
                if text.len() != uuid::fmt::Hyphenated::LENGTH {
                    return Err(error);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| error)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id_type!(
    /// A peer's id. If the peer's keys came from a prekey, this is the id of that prekey, and the keys' seal is
    /// bound to it.
    PeerId,
    "client"
);
id_type!(
    /// A person's id, which stays the same even if the email address changes.
    UserId,
    "user"
);
id_type!(
    /// An API token's id. It is not secret.
    TokenId,
    "token"
);
id_type!(
    /// The id of a request from the plane to an agent. It links the agent's reply to the request.
    RequestId,
    "request"
);
id_type!(
    /// The id of one lifetime of a series of numbers, such as the revisions in a plane's database or an agent's
    /// counters. Numbers from different incarnations cannot be compared.
    Incarnation,
    "incarnation"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_ids_are_slugs() {
        for good in ["a", "los-angeles", "0", &"x".repeat(63)] {
            assert!(good.parse::<ServerId>().is_ok(), "{good:?}");
        }
        for bad in ["", "-a", "A", "los angeles", "ü", "../etc", &"x".repeat(64)] {
            assert!(bad.parse::<ServerId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn peer_names_are_one_line_of_readable_text() {
        for good in [
            "alice-iphone",
            "Zoë's laptop",
            "日本",
            "👩\u{200d}💻",
            "می\u{200c}خواهم",
            &"x".repeat(64),
        ] {
            assert!(good.parse::<PeerName>().is_ok(), "{good:?}");
        }
        for bad in [
            "",
            " a",
            "a\nPostUp = x",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{61c}b",
            "alice\u{200b}",
            "ali\u{ad}ce",
            "alice\u{e0041}",
            "\u{7f}",
            &"x".repeat(65),
        ] {
            assert!(bad.parse::<PeerName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn emails_are_compared_in_lower_case() {
        assert_eq!("Ops@Example.COM".parse::<Email>().unwrap().as_str(), "ops@example.com");
        for bad in ["", "ops", "@example.com", "ops@", "a b@example.com", "a@b@c"] {
            assert!(bad.parse::<Email>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn token_names_are_one_plain_word() {
        for good in ["ci", "terraform-prod", "0", "a.b_c", &"x".repeat(64)] {
            assert!(good.parse::<TokenName>().is_ok(), "{good:?}");
        }
        for bad in ["", "-a", ".a", "a b", "ü", "<b>", "a/b", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<TokenName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn interface_names_are_valid_for_the_kernel() {
        for bad in ["", ".", "..", "a/b", "a b", "-a", "sixteen-letters-"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
        assert!("wg0".parse::<InterfaceName>().is_ok());
    }
}
