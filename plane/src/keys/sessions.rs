//! The keys that sign sessions: the one that signs now, and those before it until all they signed is
//! over.
//!
//! Owns the file `session.keys` (JSON, readable by us alone, replaced whole) and when a key comes and
//! goes. It must not know what is signed. These keys have nothing to do with `jwt.key`, from which
//! stored answers are sealed: that one stays over a rotation, and so do the answers. Where the file
//! is missing a fresh key is made, and everyone logs in again: that is also the way to end every
//! session at once, should a key have leaked.

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
const FILE: &str = "session.keys";

/// The lifetime of a session, and the most that the clock may have been set back since it was made.
pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
pub(crate) const SKEW: Duration = Duration::from_secs(60);

/// More keys than this are not kept: somebody rotates without end.
const MOST: usize = 64;

/// A key that signs, or signed, sessions.
#[derive(Clone)]
pub(crate) struct Key {
    /// The key's id in the headers of sessions.
    pub(crate) kid: String,
    pub(crate) secret: Zeroizing<[u8; LENGTH]>,
    /// Since when it signs no more; none for the one that signs now.
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

    /// Until when something may be good that it signed; none for as long as it signs.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.retired_at.map(|at| at.after(LIFETIME + SKEW))
    }
}

/// All keys that count, the one that signs first.
#[derive(Clone)]
pub(crate) struct Ring {
    path: PathBuf,
    pub(crate) current: Key,
    pub(crate) old: Vec<Key>,
}

impl Ring {
    /// The ring in `state_dir`, made when there is none. Only for who holds the state directory.
    pub(crate) fn load_or_make(state_dir: &Path) -> Result<Self, KeyError> {
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
            _ => Err(broken("one key and no more signs".to_owned())),
        }
    }

    /// Writes it to the disk, whole.
    fn save(&self) -> Result<(), KeyError> {
        self.take_place(self.prepare()?)
    }

    /// Puts what was prepared where it is read from.
    pub(crate) fn take_place(&self, prepared: Prepared) -> Result<(), KeyError> {
        prepared.take_place().map_err(io_error("make", self.path.clone()))
    }

    /// Writes it to the disk, beside the ring that is there.
    pub(crate) fn prepare(&self) -> Result<Prepared, KeyError> {
        let keys: Vec<KeyEntry> = std::iter::once(&self.current)
            .chain(&self.old)
            .map(KeyEntry::of)
            .collect();
        // Room enough from the start: growing would leave copies of secrets behind.
        let mut text = Zeroizing::new(Vec::with_capacity(256 * (MOST + 1)));
        serde_json::to_writer(&mut *text, &keys).map_err(|error| KeyError::Broken {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        Prepared::new(&self.path, &text).map_err(io_error("make", self.path.clone()))
    }

    /// The ring with a fresh key that signs, and without those that are outlived.
    pub(crate) fn rotated(&self, now: Timestamp) -> Result<Self, KeyError> {
        let retired = Key {
            retired_at: Some(now),
            ..self.current.clone()
        };
        let old: Vec<Key> = std::iter::once(retired).chain(self.living(now)).collect();
        if old.len() >= MOST {
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

    /// The ring without the keys that are outlived; none where there are none.
    pub(crate) fn swept(&self, now: Timestamp) -> Option<Self> {
        let old: Vec<Key> = self.living(now).collect();
        (old.len() < self.old.len()).then(|| Self { old, ..self.clone() })
    }

    fn living(&self, now: Timestamp) -> impl Iterator<Item = Key> {
        let living = move |key: &&Key| key.until().is_none_or(|until| now < until);
        self.old.iter().filter(living).cloned()
    }
}

/// A key as it is on the disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    kid: String,
    /// Base64url.
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
        let secret = <[u8; LENGTH]>::try_from(bytes.as_slice()).map_err(|_| "a secret has not 32 bytes".to_owned())?;
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
    fn the_ring_is_ours_alone_and_the_same_when_it_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let made = Ring::load_or_make(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let rotated = made.rotated(at(1000)).unwrap();
        rotated.save().unwrap();
        let read = Ring::load_or_make(dir.path()).unwrap();
        assert_eq!(read.current.secret, rotated.current.secret);
        assert_ne!(read.current.kid, made.current.kid);
        assert_eq!(
            (read.old[0].kid.as_str(), read.old[0].retired_at),
            (made.current.kid.as_str(), Some(at(1000)))
        );
    }

    #[test]
    fn an_old_key_goes_when_all_that_it_signed_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let ring = Ring::load_or_make(dir.path()).unwrap().rotated(at(0)).unwrap();
        let over = 24 * 3600 + 60;
        assert!(ring.swept(at(over - 1)).is_none());
        let swept = ring.swept(at(over)).unwrap();
        assert!(swept.old.is_empty());
        assert_eq!(swept.current.kid, ring.current.kid);
        assert_eq!(ring.rotated(at(over)).unwrap().old.len(), 1);
    }

    #[test]
    fn rotating_without_end_is_refused_with_the_time_to_wait() {
        let dir = tempfile::tempdir().unwrap();
        let mut ring = Ring::load_or_make(dir.path()).unwrap();
        let refused = loop {
            match ring.rotated(at(0)) {
                Ok(next) => ring = next,
                Err(error) => break error,
            }
        };
        assert_eq!(ring.old.len(), MOST - 1);
        assert!(matches!(refused, KeyError::TooMany { retry_after: 86_460 }));
    }

    #[test]
    fn a_ring_that_is_broken_or_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        Ring::load_or_make(dir.path()).unwrap();
        for text in ["", "[]", "{}", r#"[{"kid":"a","secret":"x","retired_at":null}]"#] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(Ring::load_or_make(dir.path()), Err(KeyError::Broken { .. })),
                "{text}"
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(
            Ring::load_or_make(dir.path()),
            Err(KeyError::Open { mode: 0o604, .. })
        ));
    }
}
