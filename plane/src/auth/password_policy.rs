//! Passwords as people type them, and the policy for new ones.
//!
//! Owns their normal form (NFC: the same characters, however a keyboard composes them), and the policy from OWASP ASVS
//! 5.0, section 6.2: a password has a minimum length, is not a common one, and is not the email. It must not impose
//! composition rules.

use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

const LEAST_CHARACTERS: usize = 12;
pub(super) const MOST_BYTES: usize = 1024;

/// The maximum length of a password that is converted to NFC, in bytes. NFC shortens a text to no less than a third
/// (Hangul), so a longer password is too long in any case.
const WORTH_COMPOSING: usize = 4 * MOST_BYTES;

/// The common passwords. The first lines of the file name its source.
static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    include_str!("common_passwords.txt")
        .lines()
        .filter(|line| !line.starts_with("# "))
        .collect()
});

/// A password in NFC. It is wiped on drop and never printed.
#[derive(Clone)]
pub(crate) struct Password(Zeroizing<String>);

impl Password {
    /// Makes a password from the text that was typed.
    pub(crate) fn new(typed: String) -> Self {
        let typed = Zeroizing::new(typed);
        if typed.len() > WORTH_COMPOSING {
            return Self(typed);
        }
        // The capacity suffices from the start: growing would leave copies behind in memory.
        let mut composed = Zeroizing::new(String::with_capacity(3 * typed.len()));
        composed.extend(typed.nfc());
        Self(composed)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Checks a new password. The error is meant for the person who chose it.
pub(crate) fn check_policy(password: &Password, email: &str) -> Result<(), String> {
    let text = password.0.as_str();
    if text.chars().count() < LEAST_CHARACTERS {
        return Err(format!(
            "a password must have at least {LEAST_CHARACTERS} characters; several words make a good one"
        ));
    }
    if text.len() > MOST_BYTES {
        return Err(format!("a password must have at most {MOST_BYTES} bytes"));
    }
    let folded = Zeroizing::new(text.trim().to_lowercase());
    let email: String = email.nfc().collect::<String>().to_lowercase();
    let (local, domain) = email.rsplit_once('@').unwrap_or((&email, ""));
    if [email.as_str(), local, domain].contains(&folded.as_str()) {
        return Err("a password must not be the email address or a part of it".to_owned());
    }
    if COMMON.contains(folded.as_str()) {
        return Err("this password is among the most common ones, which are tried first: choose another".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str, email: &str) -> Result<(), String> {
        check_policy(&Password::new(password.to_owned()), email)
    }

    #[test]
    fn weak_passwords_are_refused_with_the_reason() {
        let email = "the.operator@mail.example.com";
        for (password, word) in [
            ("short", "12 characters"),
            ("eleven char", "12 characters"),
            // 11 characters in NFC, typed as 22.
            (&*"e\u{301}".repeat(11), "12 characters"),
            (&*"x".repeat(1025), "1024 bytes"),
            (&*"x".repeat(5000), "1024 bytes"),
            ("The.Operator@Mail.Example.com ", "email"),
            ("the.operator", "email"),
            ("MAIL.example.com", "email"),
            ("qwerty123456", "common"),
            ("QWERTY123456", "common"),
            (" Qwerty123456789 ", "common"),
        ] {
            let reason = check(password, email).unwrap_err();
            assert!(reason.contains(word), "{password}: {reason}");
        }
        for good in [
            "längere Sätze",
            "correct horse battery",
            &"x".repeat(1024),
            &"é".repeat(12),
            // 1,000 bytes in NFC, typed as 1,500.
            &"e\u{301}".repeat(500),
        ] {
            assert!(check(good, email).is_ok(), "{good}");
        }
    }

    #[test]
    fn every_listed_common_password_is_long_enough_to_be_chosen() {
        assert!(COMMON.len() >= 3000, "{}", COMMON.len());
        for password in COMMON.iter() {
            assert!(password.chars().count() >= LEAST_CHARACTERS && *password == password.to_lowercase());
        }
    }
}
