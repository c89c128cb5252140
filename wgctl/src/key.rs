//! The three kinds of WireGuard key, each with its own type.
//!
//! Owns generation, clamping, base64 (RFC 4648, with padding, 44 characters, as `wg` prints it) and wiping.
//! It must not do I/O: storing a key is the job of the key's owner. Secret keys have no `Serialize`, no
//! `Display`, and a redacted `Debug`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq as _;
use x25519_dalek::{PublicKey as DalekPublic, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The length of every WireGuard key in bytes (`WG_KEY_LEN`, `linux/wireguard.h`).
pub const KEY_LEN: usize = 32;

/// An error while parsing or generating a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not 44 characters of base64 that decode to 32 bytes.
    #[error("not a WireGuard key: expected 44 characters of base64 (32 bytes), as `wg genkey` prints")]
    Format,
    /// The key is all zeros, which means "no key" to the kernel.
    #[error("the all-zero key is not a usable key")]
    Zero,
    /// The operating system returned no random bytes.
    #[error("cannot get random bytes from the operating system: {0}")]
    Random(String),
}

fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    let bytes = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| KeyError::Format)?);
    let key: [u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_| KeyError::Format)?;
    Ok(Zeroizing::new(key))
}

fn random() -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    let mut bytes = Zeroizing::new([0u8; KEY_LEN]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| KeyError::Random(error.to_string()))?;
    Ok(bytes)
}

/// An X25519 public key, the identity of a peer. It is not secret. Ordered by its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_LEN]);

impl PublicKey {
    /// Creates a key from its 32 bytes. The all-zero key is refused with `KeyError::Zero`.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Result<Self, KeyError> {
        if bytes == [0; KEY_LEN] {
            return Err(KeyError::Zero);
        }
        Ok(Self(bytes))
    }

    /// Returns the 32 bytes in the form that the kernel uses.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Returns true if the key is a point of low order: every key agreement with it gives the all-zero secret
    /// (RFC 7748, section 6.1). WireGuard never completes a handshake with such a peer, but the kernel
    /// accepts one, so it is a valid value of this type.
    #[must_use]
    pub fn is_low_order(&self) -> bool {
        let anybody = StaticSecret::from([1; KEY_LEN]);
        !anybody.diffie_hellman(&DalekPublic::from(self.0)).was_contributory()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(*decode(text)?)
    }
}

impl serde::Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        // A key file may end with a line break; a key in JSON must not.
        if text.trim() != text {
            return Err(serde::de::Error::custom(KeyError::Format));
        }
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An X25519 private key, always clamped. The kernel returns clamped keys, so an unclamped desired key would
/// always differ from the actual one. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; KEY_LEN]);

impl PrivateKey {
    /// Generates a key from the operating system's random source.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self::from_bytes(*random()?))
    }

    /// Creates a key from 32 bytes and clamps it (RFC 7748, section 5).
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; KEY_LEN]) -> Self {
        let [first, .., last] = &mut bytes;
        *first &= 0b1111_1000;
        *last &= 0b0111_1111;
        *last |= 0b0100_0000;
        let key = Self(bytes);
        bytes.zeroize();
        key
    }

    /// Computes the public key of this private key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(DalekPublic::from(&StaticSecret::from(self.0)).to_bytes())
    }

    /// Returns the 32 clamped bytes, which are secret.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Returns the key as `wg genkey` prints it. The text is secret and is wiped when dropped.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(self.0))
    }
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = decode(text)?;
        if *bytes == [0; KEY_LEN] {
            return Err(KeyError::Zero);
        }
        Ok(Self::from_bytes(*bytes))
    }
}

/// A preshared key that is mixed into the handshake. The all-zero key means "none" to the kernel and is not a
/// value of this type. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; KEY_LEN]);

impl PresharedKey {
    /// Generates a key from the operating system's random source.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_bytes(*random()?)
    }

    /// Creates a key from its 32 bytes. The all-zero key is refused with `KeyError::Zero`.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Result<Self, KeyError> {
        if bytes == [0; KEY_LEN] {
            return Err(KeyError::Zero);
        }
        Ok(Self(bytes))
    }

    /// Returns the 32 bytes, which are secret.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Returns the key as `wg genpsk` prints it. The text is secret and is wiped when dropped.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(self.0))
    }
}

impl PartialEq for PresharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PresharedKey {}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(redacted)")
    }
}

impl FromStr for PresharedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(*decode(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_private_key_is_clamped_and_survives_base64() {
        let key = PrivateKey::generate().unwrap();
        assert_eq!(key.as_bytes()[0] & 0b0000_0111, 0);
        assert_eq!(key.as_bytes()[31] & 0b1100_0000, 0b0100_0000);
        assert_eq!(key.to_base64().parse::<PrivateKey>().unwrap(), key);
    }

    #[test]
    fn the_public_key_matches_rfc_7748() {
        // RFC 7748, section 6.1, Alice's key pair.
        let private = [
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf, 0x4c,
            0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
        ];
        let public = PrivateKey::from_bytes(private).public_key();
        assert_eq!(public.to_string(), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
    }

    #[test]
    fn debug_never_shows_a_secret() {
        let private = PrivateKey::generate().unwrap();
        let preshared = PresharedKey::generate().unwrap();
        let shown = format!("{private:?} {preshared:?}");
        assert_eq!(shown, "PrivateKey(redacted) PresharedKey(redacted)");
    }

    #[test]
    fn text_that_is_not_a_key_is_refused() {
        for text in [
            "",
            "abc",
            "not base64 at all, really not base64!!!!!!!!",
            "AAAA",
            &"A".repeat(44),
        ] {
            assert!(text.parse::<PublicKey>().is_err(), "{text:?}");
        }
        let zero = BASE64.encode([0u8; KEY_LEN]);
        assert_eq!(zero.parse::<PublicKey>(), Err(KeyError::Zero));
        assert_eq!(zero.parse::<PresharedKey>(), Err(KeyError::Zero));
        assert_eq!(zero.parse::<PrivateKey>(), Err(KeyError::Zero));
    }

    #[test]
    fn public_keys_of_low_order_are_recognized() {
        // The points of order 1, 2, 4 and 8 on the curve and on its twist, including their unreduced
        // encodings: https://cr.yp.to/ecdh.html#validate. The first point in that list is the all-zero key,
        // which is not a value of the type.
        let low = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        for text in low {
            let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
            let mut bytes: [u8; KEY_LEN] = std::array::from_fn(byte);
            for high_bit in [0, 0x80] {
                bytes[31] = bytes[31] & 0x7f | high_bit;
                assert!(
                    PublicKey::from_bytes(bytes).unwrap().is_low_order(),
                    "{text} | {high_bit:x}"
                );
            }
        }
        for _ in 0..64 {
            assert!(!PrivateKey::generate().unwrap().public_key().is_low_order());
        }
    }
}
