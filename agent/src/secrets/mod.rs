//! The host's secrets: its WireGuard key, and the key with which the devices' keys are sealed.
//!
//! Owns `wireguard.key` and `seal.key` in the state directory, the prekeys, and sealing and opening. Each secret
//! is created once. It must not replace a missing or unreadable secret: that is an error, because every device
//! would need a new configuration.

mod takeover;

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use wgctl::key::{KEY_LEN, KeyError};
use wgctl::program::private_file;
use wgctl::protocol::v1::{Prekey, Sealed};
use wgctl::{PeerId, PresharedKey, PrivateKey, PublicKey, ServerId};
use zeroize::Zeroizing;

use crate::state_dir::make_private;

pub use takeover::Takeover;

const WIREGUARD_KEY: &str = "wireguard.key";
const SEAL_KEY: &str = "seal.key";
/// The length of an XChaCha20 nonce in bytes. A sealed secret starts with its nonce (draft-irtf-cfrg-xchacha-03).
const NONCE_LEN: usize = 24;

/// Returns the paths of the secrets in a directory.
#[must_use]
pub fn files(folder: &Path) -> [PathBuf; 2] {
    [WIREGUARD_KEY, SEAL_KEY].map(|name| folder.join(name))
}

/// An error that is caused by a missing, unreadable or wrong secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// A file does not contain a key.
    #[error("{} does not contain a key (44 characters of base64): restore it from a backup", .0.display())]
    Corrupt(PathBuf),
    /// One of the two files is missing.
    #[error(
        "{} is missing although {} exists: restore it from a backup (or remove both, and give every device a new \
         configuration)",
        missing.display(), present.display()
    )]
    Missing {
        /// The missing file.
        missing: PathBuf,
        /// The file whose presence shows that the missing one existed.
        present: PathBuf,
    },
    /// The operating system provided no random numbers.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A sealed secret cannot be opened.
    #[error(
        "the sealed {purpose} of peer {peer} cannot be opened with this host's {SEAL_KEY}: if the host has been set \
         up again, create the peer again"
    )]
    Open {
        /// The kind of the secret.
        purpose: &'static str,
        /// The peer to which the secret belongs.
        peer: PeerId,
    },
    /// The private key does not belong to the peer's public key.
    #[error("the sealed private key of peer {0} does not belong to its public key: create the peer again")]
    Mismatch(PeerId),
}

/// The kind of a sealed secret. The secret is bound to its kind.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    PrivateKey,
    PresharedKey,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::PrivateKey => "private-key",
            Self::PresharedKey => "preshared-key",
        }
    }

    /// Returns the associated data that binds a sealed secret to its purpose, server and peer.
    fn bound_to(self, server: &ServerId, peer: PeerId) -> String {
        format!("sentrazone/v1/{}\0{server}\0{peer}", self.name())
    }
}

/// The host's secrets.
pub struct Secrets {
    private_key: PrivateKey,
    seal: XChaCha20Poly1305,
}

impl Secrets {
    /// Opens the secrets in `folder`, or creates them if there are none.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        make_private(folder).map_err(|source| Error::File {
            path: folder.to_owned(),
            source,
        })?;
        let (wireguard, seal) = (folder.join(WIREGUARD_KEY), folder.join(SEAL_KEY));
        let (private_key, seal_key) = match (read(&wireguard)?, read(&seal)?) {
            (Some(private), Some(seal)) => (private, seal),
            (Some(_), None) => {
                return Err(Error::Missing {
                    missing: seal,
                    present: wireguard,
                });
            }
            // The sealing key is written first. If it exists alone, the first start was interrupted.
            (None, Some(seal)) if !crate::cache::exists(folder) => (make(&wireguard)?, seal),
            (None, Some(_)) => {
                return Err(Error::Missing {
                    missing: wireguard,
                    present: seal,
                });
            }
            (None, None) => {
                let seal = make(&seal)?;
                (make(&wireguard)?, seal)
            }
        };
        let seal = XChaCha20Poly1305::new((&*seal_key).into());
        Ok(Self {
            private_key: PrivateKey::from_bytes(*private_key),
            seal,
        })
    }

    /// Seals a preshared key that a peer already has.
    pub fn seal_preshared_key(&self, server: &ServerId, peer: PeerId, key: &PresharedKey) -> Result<Sealed, Error> {
        self.seal(Purpose::PresharedKey, server, peer, key.as_bytes())
    }

    /// Returns the host's own private key.
    #[must_use]
    pub const fn private_key(&self) -> &PrivateKey {
        &self.private_key
    }

    /// Generates keys for a future peer and seals them.
    pub fn prekey(&self, server: &ServerId) -> Result<Prekey, Error> {
        let id = PeerId::random();
        let (private, preshared) = (PrivateKey::generate()?, PresharedKey::generate()?);
        Ok(Prekey {
            id,
            public_key: private.public_key(),
            private_key: self.seal(Purpose::PrivateKey, server, id, private.as_bytes())?,
            preshared_key: self.seal(Purpose::PresharedKey, server, id, preshared.as_bytes())?,
        })
    }

    /// Opens a peer's private key, which must belong to `public_key`.
    pub fn open_private_key(
        &self,
        server: &ServerId,
        peer: PeerId,
        public_key: &PublicKey,
        sealed: &Sealed,
    ) -> Result<PrivateKey, Error> {
        let key = PrivateKey::from_bytes(*self.unseal(Purpose::PrivateKey, server, peer, sealed)?);
        if key.public_key() != *public_key {
            return Err(Error::Mismatch(peer));
        }
        Ok(key)
    }

    /// Opens a peer's preshared key.
    pub fn open_preshared_key(&self, server: &ServerId, peer: PeerId, sealed: &Sealed) -> Result<PresharedKey, Error> {
        Ok(PresharedKey::from_bytes(*self.unseal(
            Purpose::PresharedKey,
            server,
            peer,
            sealed,
        )?)?)
    }

    fn seal(&self, purpose: Purpose, server: &ServerId, peer: PeerId, secret: &[u8]) -> Result<Sealed, Error> {
        let mut nonce = [0u8; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| KeyError::Random(error.to_string()))?;
        let aad = purpose.bound_to(server, peer);
        let payload = Payload {
            msg: secret,
            aad: aad.as_bytes(),
        };
        let sealed = self.seal.encrypt(&XNonce::from(nonce), payload);
        let ciphertext = sealed.map_err(|_| Error::Open {
            purpose: purpose.name(),
            peer,
        })?;
        Ok(Sealed([nonce.as_slice(), &ciphertext].concat()))
    }

    fn unseal(
        &self,
        purpose: Purpose,
        server: &ServerId,
        peer: PeerId,
        sealed: &Sealed,
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, Error> {
        let refused = || Error::Open {
            purpose: purpose.name(),
            peer,
        };
        let (nonce, ciphertext) = sealed.0.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?;
        let aad = purpose.bound_to(server, peer);
        let payload = Payload {
            msg: ciphertext,
            aad: aad.as_bytes(),
        };
        let opened = Zeroizing::new(
            self.seal
                .decrypt(&XNonce::from(*nonce), payload)
                .map_err(|_| refused())?,
        );
        let key: [u8; KEY_LEN] = opened.as_slice().try_into().map_err(|_| refused())?;
        Ok(Zeroizing::new(key))
    }
}

/// Returns the host's own public key, if it has one. Creates nothing.
pub fn own_key(folder: &Path) -> Result<Option<PublicKey>, Error> {
    let key = read(&folder.join(WIREGUARD_KEY))?;
    Ok(key.map(|key| PrivateKey::from_bytes(*key).public_key()))
}

fn read(path: &Path) -> Result<Option<Zeroizing<[u8; KEY_LEN]>>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(Error::Corrupt(path.to_owned())),
        Err(source) => {
            return Err(Error::File {
                path: path.to_owned(),
                source,
            });
        }
    };
    let corrupt = || Error::Corrupt(path.to_owned());
    let bytes = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| corrupt())?);
    let key: [u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_| corrupt())?;
    if key == [0; KEY_LEN] {
        return Err(corrupt());
    }
    Ok(Some(Zeroizing::new(key)))
}

/// Generates a key and writes it. The key is clamped, so that the file contains the same key that the kernel
/// shows; this costs a sealing key five of its 256 bits.
fn make(path: &Path) -> Result<Zeroizing<[u8; KEY_LEN]>, Error> {
    let key = PrivateKey::generate()?;
    write(path, &key)?;
    Ok(Zeroizing::new(*key.as_bytes()))
}

fn write(path: &Path, key: &PrivateKey) -> Result<(), Error> {
    let text = Zeroizing::new(format!("{}\n", key.to_base64().as_str()));
    private_file::write_private(path, text.as_bytes()).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
