//! The keys that sign sessions: the current key, and the previous keys until all sessions that they signed have
//! expired.
//!
//! Owns the file `session.keys` (JSON, readable only by its owner, replaced atomically), and the addition and removal
//! of keys. It must not know what the keys sign. These keys are independent of `jwt.key`, from which the keys that seal
//! stored responses are derived: `jwt.key` does not change in a rotation, so the stored responses remain readable. If
//! the file `session.keys` is missing, a new key is created and everyone must log in again. Removing the file is
//! therefore also the way to end all sessions at once if a key has leaked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use wgctl::Timestamp;
use wgctl::program::private_file::Prepared;
use zeroize::Zeroizing;

use super::root::{KeyError, io_error, random, read_private};

const LENGTH: usize = 32;
pub(super) const FILE: &str = "session.keys";

/// The lifetime of a session.
pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The maximum by which the clock may have been set back since a session was created.
pub(crate) const SKEW: Duration = Duration::from_secs(60);

/// The maximum number of keys. It is reached only if the keys are rotated very often.
const MAX_KEYS: usize = 64;

/// A key that signs sessions, or that has signed them in the past.
#[derive(Clone)]
pub(crate) struct Key {
    /// The key's id, which is in the header of each session token.
    pub(crate) kid: String,
    pub(crate) secret: Zeroizing<[u8; LENGTH]>,
    /// The time at which the key stopped signing; `None` for the current key.
    pub(crate) retired_at: Option<Timestamp>,
}

impl Key {
    fn fresh() -> Result<Self, KeyError> {
        Ok(Self {
            kid: format!("{:016x}", u64::from_be_bytes(*random()?)),
            secret: random()?,
            retired_at: None,
        })
    }

    /// Returns the time until which a session signed by this key may be valid, or `None` for the current key.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.retired_at.map(|at| at.after(LIFETIME + SKEW))
    }
}

/// All keys whose signatures are accepted: the current key and the old ones.
#[derive(Clone)]
pub(crate) struct Ring {
    path: PathBuf,
    pub(crate) current: Key,
    pub(crate) old: Vec<Key>,
}

impl Ring {
    /// Loads the ring from `state_dir`, creating it if it does not exist. The caller must be the only user of the state
    /// directory.
    pub(crate) fn load_or_create(state_dir: &Path) -> Result<Self, KeyError> {
        let path = state_dir.join(FILE);
        match read_private(&path)? {
            Some(text) => Self::parse(path, &text),
            None => {
                let ring = Self {
                    path,
                    current: Key::fresh()?,
                    old: Vec::new(),
                };
                ring.save()?;
                Ok(ring)
            }
        }
    }

    fn parse(path: PathBuf, text: &[u8]) -> Result<Self, KeyError> {
        let broken = |reason: String| KeyError::Broken {
            path: path.clone(),
            reason,
        };
        let stored: Vec<KeyEntry> = serde_json::from_slice(text).map_err(|error| broken(error.to_string()))?;
        let keys: Result<Vec<Key>, _> = stored.into_iter().map(|key| key.read().map_err(broken)).collect();
        let (mut current, old): (Vec<_>, Vec<_>) = keys?.into_iter().partition(|key| key.retired_at.is_none());
        match (current.pop(), current.is_empty()) {
            (Some(current), true) => Ok(Self { path, current, old }),
            _ => Err(broken("exactly one key must be the current one".to_owned())),
        }
    }

    /// Writes the ring to the disk, replacing the file as a whole.
    fn save(&self) -> Result<(), KeyError> {
        self.take_place(self.prepare()?)
    }

    /// Moves a prepared file to the path from which the ring is read.
    pub(crate) fn take_place(&self, prepared: Prepared) -> Result<(), KeyError> {
        prepared.take_place().map_err(io_error("write", self.path.clone()))
    }

    /// Writes the ring to a temporary file next to the existing one.
    pub(crate) fn prepare(&self) -> Result<Prepared, KeyError> {
        let keys: Vec<KeyEntry> = std::iter::once(&self.current)
            .chain(&self.old)
            .map(KeyEntry::of)
            .collect();
        // The buffer has enough capacity from the start, because growing it would leave copies of secrets in memory.
        let mut text = Zeroizing::new(Vec::with_capacity(256 * (MAX_KEYS + 1)));
        serde_json::to_writer(&mut *text, &keys).map_err(|error| KeyError::Broken {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        Prepared::new(&self.path, &text).map_err(io_error("write", self.path.clone()))
    }

    /// Returns the ring with a new current key and without the expired keys.
    pub(crate) fn rotated(&self, now: Timestamp) -> Result<Self, KeyError> {
        let retired = Key {
            retired_at: Some(now),
            ..self.current.clone()
        };
        let old: Vec<Key> = std::iter::once(retired).chain(self.living(now)).collect();
        if old.len() >= MAX_KEYS {
            let free = old.iter().filter_map(Key::until).min();
            let seconds = free.map_or(1, |free| free.since(now).as_secs().max(1));
            return Err(KeyError::TooMany { retry_after: seconds });
        }
        Ok(Self {
            path: self.path.clone(),
            current: Key::fresh()?,
            old,
        })
    }

    /// Returns the ring without the expired keys, or `None` if no key has expired.
    pub(crate) fn swept(&self, now: Timestamp) -> Option<Self> {
        let old: Vec<Key> = self.living(now).collect();
        (old.len() < self.old.len()).then(|| Self { old, ..self.clone() })
    }

    fn living(&self, now: Timestamp) -> impl Iterator<Item = Key> {
        let living = move |key: &&Key| key.until().is_none_or(|until| now < until);
        self.old.iter().filter(living).cloned()
    }
}

/// A key, in the form in which it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    kid: String,
    /// The secret, in base64url.
    secret: String,
    retired_at: Option<Timestamp>,
}

impl KeyEntry {
    fn of(key: &Key) -> Self {
        Self {
            kid: key.kid.clone(),
            secret: URL_SAFE_NO_PAD.encode(key.secret.as_slice()),
            retired_at: key.retired_at,
        }
    }

    fn read(mut self) -> Result<Key, String> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.secret).map(Zeroizing::new);
        let bytes = bytes.map_err(|error| format!("a secret is not base64url: {error}"))?;
        let secret = <[u8; LENGTH]>::try_from(bytes.as_slice()).map_err(|_| "a secret is not 32 bytes".to_owned())?;
        Ok(Key {
            kid: std::mem::take(&mut self.kid),
            secret: Zeroizing::new(secret),
            retired_at: self.retired_at,
        })
    }
}

impl Drop for KeyEntry {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn the_ring_is_accessible_only_to_its_owner_and_unchanged_when_it_is_reloaded() {
        let dir = tempfile::tempdir().unwrap();
        let made = Ring::load_or_create(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let rotated = made.rotated(at(1000)).unwrap();
        rotated.save().unwrap();
        let read = Ring::load_or_create(dir.path()).unwrap();
        assert_eq!(read.current.secret, rotated.current.secret);
        assert_ne!(read.current.kid, made.current.kid);
        assert_eq!(
            (read.old[0].kid.as_str(), read.old[0].retired_at),
            (made.current.kid.as_str(), Some(at(1000)))
        );
    }

    #[test]
    fn an_old_key_is_removed_once_every_session_that_it_signed_has_expired() {
        let dir = tempfile::tempdir().unwrap();
        let ring = Ring::load_or_create(dir.path()).unwrap().rotated(at(0)).unwrap();
        let over = 24 * 3600 + 60;
        assert!(ring.swept(at(over - 1)).is_none());
        let swept = ring.swept(at(over)).unwrap();
        assert!(swept.old.is_empty());
        assert_eq!(swept.current.kid, ring.current.kid);
        assert_eq!(ring.rotated(at(over)).unwrap().old.len(), 1);
    }

    #[test]
    fn rotating_too_often_is_refused_with_the_time_to_wait() {
        let dir = tempfile::tempdir().unwrap();
        let mut ring = Ring::load_or_create(dir.path()).unwrap();
        let refused = loop {
            match ring.rotated(at(0)) {
                Ok(next) => ring = next,
                Err(error) => break error,
            }
        };
        assert_eq!(ring.old.len(), MAX_KEYS - 1);
        assert!(matches!(refused, KeyError::TooMany { retry_after: 86_460 }));
    }

    #[test]
    fn a_ring_that_is_invalid_or_accessible_to_other_users_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        Ring::load_or_create(dir.path()).unwrap();
        for text in ["", "[]", "{}", r#"[{"kid":"a","secret":"x","retired_at":null}]"#] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(Ring::load_or_create(dir.path()), Err(KeyError::Broken { .. })),
                "{text}"
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(
            Ring::load_or_create(dir.path()),
            Err(KeyError::Open { mode: 0o604, .. })
        ));
    }
}
