//! A simulated disk: files in memory, with a record of the content that would survive a power cut.
//!
//! Owns the faults. It must not know what is in the files. In a power cut, each write since a file's last sync is
//! independently lost, kept or torn. After a sync that fails, all data is readable, but some of it is never written (as
//! on Linux). The disk can run out of space.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend, StorageError};

use crate::store::redb::disk::Medium;

/// The number of bytes that the disk writes atomically.
const SECTOR: usize = 512;

/// A fault, and the operation at which it happens (counted from 1).
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Fault {
    /// The power fails: this operation and all later ones fail.
    Cut { at: u64 },
    /// This operation fails.
    Once { at: u64 },
    /// This operation and all later ones fail, until the disk is repaired.
    Lasting { at: u64 },
}

#[derive(Debug, Clone, Default)]
struct File {
    /// The content that is certain to survive a power cut.
    durable: Vec<u8>,
    /// The content that readers see.
    seen: Vec<u8>,
    /// The changes since the last sync.
    pending: Vec<Pending>,
    locked_by: Option<u64>,
}

#[derive(Debug, Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Pending {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length, 0),
            Self::Write(at, data) => {
                let end = at + data.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*at..end].copy_from_slice(data);
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, File>,
    operations: u64,
    syncs: u64,
    fault: Option<Fault>,
    /// The capacity of the disk, in bytes.
    size: Option<u64>,
    /// True if the disk does not report the limit on its free space, as with a quota.
    hides_room: bool,
    openings: u64,
}

impl State {
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        let fails = match self.fault {
            None => false,
            Some(Fault::Cut { at } | Fault::Lasting { at }) => self.operations >= at,
            Some(Fault::Once { at }) => self.operations == at,
        };
        // The caller applies the effect of a failed sync to the data.
        if fails {
            Err(io::Error::from_raw_os_error(5))
        } else {
            Ok(())
        }
    }

    fn used(&self) -> u64 {
        self.files.values().map(|file| file.seen.len() as u64).sum()
    }

    fn file(&mut self, path: &Path) -> io::Result<&mut File> {
        self.files
            .get_mut(path)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn change(&mut self, path: &Path, change: Pending) -> io::Result<()> {
        let grown = {
            let file = self.file(path)?;
            let mut grown = file.seen.len();
            match &change {
                Pending::Length(length) => grown = *length,
                Pending::Write(at, data) => grown = grown.max(at + data.len()),
            }
            (grown as u64).saturating_sub(file.seen.len() as u64)
        };
        if self.size.is_some_and(|size| self.used() + grown > size) {
            return Err(io::Error::from_raw_os_error(28));
        }
        let file = self.file(path)?;
        change.apply(&mut file.seen);
        file.pending.push(change);
        Ok(())
    }
}

/// A shared handle to the disk.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Sets the fault and resets the counters.
    pub(in crate::store) fn breaks(&self, fault: Fault) {
        let mut state = self.state();
        state.operations = 0;
        state.syncs = 0;
        state.fault = Some(fault);
    }

    /// Removes the fault. Returns the number of operations since it was set.
    pub(in crate::store) fn mend(&self) -> u64 {
        let mut state = self.state();
        state.fault = None;
        state.size = None;
        state.operations
    }

    /// Limits the disk to `room` more bytes.
    pub(in crate::store) fn fill_up_to(&self, room: u64) {
        let mut state = self.state();
        state.size = Some(state.used() + room);
    }

    /// Limits the disk to `room` more bytes, but does not report the limit.
    pub(in crate::store) fn limit_to(&self, room: u64) {
        self.fill_up_to(room);
        self.state().hides_room = true;
    }

    /// Returns the number of syncs since the fault was set.
    pub(in crate::store) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Returns the disk as it is after a power cut. `seed` determines which of the unsynced writes survive.
    pub(in crate::store) fn after_power_cut(&self, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut files = self.state().files.clone();
        for file in files.values_mut() {
            let mut left = file.durable.clone();
            for change in file.pending.drain(..) {
                match (dice.throw(4), change) {
                    (0 | 1, change) => change.apply(&mut left),
                    (2, Pending::Write(at, data)) => {
                        for (n, sector) in data.chunks(SECTOR).enumerate() {
                            if dice.throw(2) == 0 {
                                Pending::Write(at + n * SECTOR, sector.to_vec()).apply(&mut left);
                            }
                        }
                    }
                    _ => {}
                }
            }
            *file = File {
                seen: left.clone(),
                durable: left,
                ..File::default()
            };
        }
        Self(Arc::new(Mutex::new(State {
            files,
            ..State::default()
        })))
    }

    /// Returns the content of a file.
    pub(in crate::store) fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        self.state().files.get(path).map(|file| file.seen.clone())
    }

    /// Writes a file.
    pub(in crate::store) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let file = File {
            durable: bytes.clone(),
            seen: bytes,
            ..File::default()
        };
        self.state().files.insert(path.to_owned(), file);
    }

    /// Returns the paths of all files.
    pub(in crate::store) fn names(&self) -> Vec<PathBuf> {
        self.state().files.keys().cloned().collect()
    }

    fn opened(&self, path: &Path) -> OpenFile {
        let mut state = self.state();
        state.openings += 1;
        OpenFile {
            disk: self.clone(),
            path: path.to_owned(),
            number: state.openings,
        }
    }
}

fn failed(error: io::Error) -> DatabaseError {
    DatabaseError::Storage(StorageError::Io(error))
}

impl Medium for Disk {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state();
        state.operate()?;
        Ok(state.files.contains_key(path))
    }

    fn create(&self, builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
        {
            let mut state = self.state();
            state.operate().map_err(failed)?;
            assert!(!state.files.contains_key(path), "{} already exists", path.display());
            state.files.insert(path.to_owned(), File::default());
        }
        builder.create_with_backend(self.opened(path))
    }

    fn open(&self, builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
        {
            let mut state = self.state();
            state.operate().map_err(failed)?;
            if state.file(path).map_err(failed)?.seen.is_empty() {
                return Err(failed(io::Error::from(io::ErrorKind::InvalidData)));
            }
        }
        builder.create_with_backend(self.opened(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.files.remove(path);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        // The number of the operation determines whether a failed rename has taken effect anyway.
        let done = state.operate();
        if done.is_err() && state.operations.is_multiple_of(2) {
            return done;
        }
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), file);
        done
    }

    fn room(&self, _: &Path) -> io::Result<u64> {
        let state = self.state();
        let size = state.size.filter(|_| !state.hides_room);
        Ok(size.map_or(u64::MAX, |size| size.saturating_sub(state.used())))
    }

    fn rewrite(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let seen = state.file(path)?.seen.clone();
        let length = Pending::Length(seen.len());
        state.file(path)?.pending.extend([length, Pending::Write(0, seen)]);
        state.operate()?;
        sync(state.file(path)?);
        Ok(())
    }
}

fn sync(file: &mut File) {
    for change in file.pending.drain(..) {
        change.apply(&mut file.durable);
    }
}

/// An open file.
#[derive(Debug)]
struct OpenFile {
    disk: Disk,
    path: PathBuf,
    number: u64,
}

impl StorageBackend for OpenFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.operate()?;
        Ok(state.file(&self.path)?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate()?;
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let seen = state.file(&self.path)?.seen.get(at..at + out.len());
        out.copy_from_slice(seen.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate()?;
        let length = usize::try_from(len).map_err(io::Error::other)?;
        state.change(&self.path, Pending::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let synced = state.operate();
        state.syncs += 1;
        let cut = matches!(state.fault, Some(Fault::Cut { .. }));
        let file = state.file(&self.path)?;
        match synced {
            Ok(()) => sync(file),
            // `after_power_cut` determines which of the pending writes survive.
            Err(_) if cut => {}
            // Half of the writes reach the disk. The others remain readable as if they had, but are never written.
            Err(_) => {
                for change in file.pending.drain(..).step_by(2) {
                    change.apply(&mut file.durable);
                }
            }
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let done = state.operate();
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        // A write that fails still writes half of its data.
        let data = if done.is_err() { &data[..data.len() / 2] } else { data };
        state.change(&self.path, Pending::Write(at, data.to_vec()))?;
        done
    }

    fn close(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if let Ok(file) = state.file(&self.path)
            && file.locked_by == Some(self.number)
        {
            file.locked_by = None;
        }
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        let mut state = self.disk.state();
        let file = state.file(&self.path).map_err(BackendError::Io)?;
        let mine = *file.locked_by.get_or_insert(self.number) == self.number;
        Ok(mine)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}

/// A deterministic random number generator (SplitMix64).
pub(in crate::store) struct Dice(pub(in crate::store) u64);

impl Dice {
    pub(in crate::store) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `sides`.
    pub(in crate::store) fn throw(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }
}
