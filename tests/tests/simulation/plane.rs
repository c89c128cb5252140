//! The plane in a simulation: the real fleet with the real store, on a separate thread.
//!
//! Owns starting, stopping and killing the plane. A request blocks the simulation until it has been answered, so
//! that no time passes and nothing else happens in the meantime. Therefore the same seed gives the same run. The
//! plane's own timers follow the simulation's time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use sentrazone_plane::fleet::{Fleet, Settings};
use sentrazone_plane::store::Store;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wgctl::Clock;

use crate::host::Jumping;

/// The number of prekeys to keep in stock for each server. It is small, so that the stock runs out.
const STOCK: u32 = 4;

type Job = Box<dyn FnOnce(&Runtime, &mut Life) + Send>;

/// The plane, which may or may not be running.
pub(crate) struct Plane {
    jobs: Option<Sender<(Duration, Job)>>,
    thread: Option<std::thread::JoinHandle<()>>,
    begun: Instant,
    passed: Arc<AtomicU64>,
    ends: AtomicU64,
}

/// The plane's files, which are kept across restarts, and its fleet.
struct Life {
    folder: tempfile::TempDir,
    clock: Clock,
    fleet: Option<Fleet>,
    lives: u32,
}

impl Life {
    fn file(&self) -> PathBuf {
        self.folder.path().join(format!("plane-{}.redb", self.lives))
    }

    fn open(&mut self) {
        let store = Store::open(&self.file(), 4 << 20).unwrap();
        let settings = Settings {
            // No agent can confirm anything during a request, because the simulation's time stands still.
            apply_timeout: Duration::ZERO,
            prekey_stock: STOCK,
            clock: self.clock.clone(),
            ..Settings::default()
        };
        self.fleet = Some(Fleet::new(store, settings));
    }
}

impl Plane {
    /// Starts a plane with an empty database and this clock.
    pub(crate) fn new(clock: &Jumping) -> Self {
        let (jobs, queue) = channel::<(Duration, Job)>();
        let passed = Arc::new(AtomicU64::new(0));
        let clock = clock.clock({
            let passed = Arc::clone(&passed);
            move || Duration::from_millis(passed.load(Ordering::Relaxed))
        });
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let begun = runtime.block_on(async { Instant::now() });
            let mut life = Life {
                folder: memory_folder(),
                clock,
                fleet: None,
                lives: 0,
            };
            life.open();
            while let Ok((passed, job)) = queue.recv() {
                runtime.block_on(async {
                    tokio::time::advance(passed.saturating_sub(begun.elapsed())).await;
                });
                job(&runtime, &mut life);
            }
        });
        Self {
            jobs: Some(jobs),
            thread: Some(thread),
            begun: Instant::now(),
            passed,
            ends: AtomicU64::new(0),
        }
    }

    /// Returns the number of times that the plane has been stopped or killed, which also ends all connections.
    pub(crate) fn ends(&self) -> u64 {
        self.ends.load(Ordering::Relaxed)
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce(&Runtime, &mut Life) -> T + Send + 'static) -> T {
        let (sender, answer) = channel();
        let job: Job = Box::new(move |runtime, life| sender.send(job(runtime, life)).unwrap());
        let jobs = self.jobs.as_ref().unwrap();
        let passed = self.begun.elapsed();
        self.passed
            .store(u64::try_from(passed.as_millis()).unwrap(), Ordering::Relaxed);
        jobs.send((passed, job)).unwrap();
        answer.recv().unwrap()
    }

    /// Runs `question` on the fleet. Returns its result, or `None` if the plane is not running.
    pub(crate) fn ask<T, F>(&self, question: impl FnOnce(Fleet) -> F + Send + 'static) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        self.run(move |runtime, life| life.fleet.clone().map(|fleet| runtime.block_on(question(fleet))))
    }

    /// Stops the plane cleanly, with all data on disk.
    pub(crate) fn stop(&self) {
        self.ends.fetch_add(1, Ordering::Relaxed);
        self.run(|_, life| life.fleet = None);
    }

    /// Kills the plane. Data that has not yet been written to the file is lost.
    pub(crate) fn kill(&self) {
        self.ends.fetch_add(1, Ordering::Relaxed);
        self.run(|_, life| {
            let before = life.file();
            life.lives += 1;
            std::fs::copy(&before, life.file()).unwrap();
            // The fleet is dropped cleanly, but its file is never opened again.
            life.fleet = None;
            std::fs::remove_file(before).unwrap();
        });
    }

    /// Starts the plane from its files.
    pub(crate) fn start(&self) {
        self.run(|_, life| {
            if life.fleet.is_none() {
                life.open();
            }
        });
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Creates a temporary directory, in memory if possible. It is removed when dropped.
pub(crate) fn memory_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}
