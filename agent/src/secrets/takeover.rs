//! The takeover of an existing interface's key as the host's own.
//!
//! Owns the two steps of the takeover, so that it can be repeated after an interruption between them. It must not
//! replace the host's key without setting it aside.

use std::path::{Path, PathBuf};

use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use wgctl::PrivateKey;
use zeroize::Zeroizing;

use super::{Error, SEAL_KEY, Secrets, WIREGUARD_KEY, read, write};
use crate::state_dir::make_private;

/// The file for a key that is replaced by the key of an adopted interface.
const SET_ASIDE: &str = "wireguard.key.set-aside";

/// The secrets of a host that takes over the key of an interface. Nothing is written before
/// [`Takeover::keep_seal`].
pub struct Takeover {
    folder: PathBuf,
    secrets: Secrets,
    /// The sealing key, if it has not been written yet.
    fresh: Option<PrivateKey>,
}

impl Takeover {
    /// Creates the secrets from `key` and the sealing key in `folder`, or a new sealing key if there is none.
    pub fn new(folder: &Path, key: PrivateKey) -> Result<Self, Error> {
        let (wireguard, seal) = (folder.join(WIREGUARD_KEY), folder.join(SEAL_KEY));
        let (seal_key, fresh) = match (read(&seal)?, read(&wireguard)?) {
            (Some(known), _) => (known, None),
            (None, Some(_)) => {
                return Err(Error::Missing {
                    missing: seal,
                    present: wireguard,
                });
            }
            (None, None) => {
                let fresh = PrivateKey::generate()?;
                (Zeroizing::new(*fresh.as_bytes()), Some(fresh))
            }
        };
        let secrets = Secrets {
            private_key: key,
            seal: XChaCha20Poly1305::new((&*seal_key).into()),
        };
        Ok(Self {
            folder: folder.to_owned(),
            secrets,
            fresh,
        })
    }

    /// Returns the secrets as they will be after the takeover.
    #[must_use]
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Writes the sealing key. Must be called before anything sealed is sent.
    pub fn keep_seal(&mut self) -> Result<(), Error> {
        make_private(&self.folder).map_err(|source| Error::File {
            path: self.folder.clone(),
            source,
        })?;
        match self.fresh.take() {
            Some(key) => write(&self.folder.join(SEAL_KEY), &key),
            None => Ok(()),
        }
    }

    /// Writes the interface's key as the host's key. A different existing key is set aside.
    pub fn keep_key(&self) -> Result<(), Error> {
        let path = self.folder.join(WIREGUARD_KEY);
        if let Some(before) = read(&path)? {
            let before = PrivateKey::from_bytes(*before);
            if before == self.secrets.private_key {
                return Ok(());
            }
            write(&self.place_aside(&before)?, &before)?;
        }
        write(&path, &self.secrets.private_key)
    }

    /// Returns the file for a key that is set aside: one that already contains it, or the first that does not exist.
    fn place_aside(&self, key: &PrivateKey) -> Result<PathBuf, Error> {
        let mut number = 1_u32;
        loop {
            let path = self.folder.join(match number {
                1 => SET_ASIDE.to_owned(),
                _ => format!("{SET_ASIDE}-{number}"),
            });
            match read(&path)? {
                Some(aside) if PrivateKey::from_bytes(*aside) != *key => number = number.saturating_add(1),
                _ => return Ok(path),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wgctl::{PeerId, PresharedKey, ServerId};

    use super::super::own_key;
    use super::*;

    fn server() -> ServerId {
        "los-angeles".parse().unwrap()
    }

    #[test]
    fn a_key_is_taken_over_in_two_steps_and_no_key_is_discarded() {
        let folder = tempfile::tempdir().unwrap();
        let (key, peer) = (PrivateKey::generate().unwrap(), PeerId::random());
        let preshared = PresharedKey::generate().unwrap();
        let mut takeover = Takeover::new(folder.path(), key.clone()).unwrap();
        let sealed = takeover
            .secrets()
            .seal_preshared_key(&server(), peer, &preshared)
            .unwrap();
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing is written yet"
        );
        takeover.keep_seal().unwrap();
        drop(takeover);
        // The process is killed between the two steps; the next attempt seals with the same key.
        let mut again = Takeover::new(folder.path(), key.clone()).unwrap();
        again.keep_seal().unwrap();
        again.keep_key().unwrap();
        let secrets = Secrets::open(folder.path()).unwrap();
        assert_eq!(*secrets.private_key(), key);
        assert_eq!(secrets.open_preshared_key(&server(), peer, &sealed).unwrap(), preshared);
        assert_eq!(own_key(folder.path()).unwrap(), Some(key.public_key()));

        let other = PrivateKey::generate().unwrap();
        Takeover::new(folder.path(), other.clone()).unwrap().keep_key().unwrap();
        assert_eq!(own_key(folder.path()).unwrap(), Some(other.public_key()));
        let aside = read(&folder.path().join(SET_ASIDE)).unwrap().unwrap();
        assert_eq!(PrivateKey::from_bytes(*aside), key);
        // A third takeover sets another key aside without overwriting the first one.
        Takeover::new(folder.path(), key.clone()).unwrap().keep_key().unwrap();
        let aside = [SET_ASIDE.to_owned(), format!("{SET_ASIDE}-2")].map(|name| {
            let aside = read(&folder.path().join(name)).unwrap().unwrap();
            PrivateKey::from_bytes(*aside)
        });
        assert_eq!(aside, [key.clone(), other]);
        std::fs::remove_file(folder.path().join(SEAL_KEY)).unwrap();
        assert!(matches!(Takeover::new(folder.path(), key), Err(Error::Missing { .. })));
    }
}
