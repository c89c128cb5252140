//! The pin of a plane's public key, which authenticates the plane if no certificate authority does.
//!
//! Owns the text form (`sha256:` followed by 64 hexadecimal digits) and the definition of the hashed bytes: the
//! public key as it is encoded in the certificate (SubjectPublicKeyInfo, DER; RFC 7469). A renewed
//! certificate for the same key therefore has the same pin. It must not know about connections.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

const ALGORITHM: &str = "sha256:";
const LENGTH: usize = 32;

/// The SHA-256 hash of a public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; LENGTH]);

/// An error while parsing a pin.
#[derive(Debug, thiserror::Error)]
#[error("a pin is \"sha256:\" followed by 64 hexadecimal digits, as `sentrazone-plane fingerprint` prints it")]
pub struct PinError;

impl Pin {
    /// Computes the pin of a key from its DER-encoded SubjectPublicKeyInfo.
    #[must_use]
    pub fn of_public_key(info: &[u8]) -> Self {
        Self(Sha256::digest(info).into())
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let digits = text.strip_prefix(ALGORITHM).ok_or(PinError)?.as_bytes();
        if digits.len() != 2 * LENGTH {
            return Err(PinError);
        }
        let mut bytes = [0; LENGTH];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| PinError)?;
            // `from_str_radix` would also accept a sign.
            if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(PinError);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| PinError)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALGORITHM)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_survives_a_round_trip_through_text() {
        let pin = Pin::of_public_key(b"a key");
        assert_eq!(pin.to_string().parse::<Pin>().unwrap(), pin);
        let upper = pin.to_string().to_uppercase().replace("SHA", "sha");
        assert_eq!(upper.parse::<Pin>().unwrap(), pin);
        assert_eq!(
            Pin::of_public_key(b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn text_that_is_not_a_pin_is_refused() {
        let digits = "0".repeat(64);
        for bad in [
            "",
            "sha256:",
            &digits,
            &format!("sha1:{digits}"),
            &format!("sha256:{digits}0"),
            &format!("sha256:{}", &digits[1..]),
            &format!("sha256:+{}", &digits[1..]),
            &format!("sha256:{}é", &digits[2..]),
        ] {
            assert!(bad.parse::<Pin>().is_err(), "{bad}");
        }
    }
}
