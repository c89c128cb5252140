//! Signs of life for the service manager (`WatchdogSec=`, sd_watchdog_enabled(3)).
//!
//! Owns when one is sent: while the runtime runs and the store's writer answers, with whatever
//! answer, or is at something that takes as long as there is data (a restore, opening the database
//! again). It must not judge the disk: one that is full or gone is no hang, and no restart mends it.

use std::pin::pin;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::store::{LossyWrite, Store, StoreError};

/// Sends signs of life until it is dropped; ends at once where nobody waits for them.
pub(crate) async fn watch(store: Store) {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return;
    };
    tell(store, patience / 4, || {
        // The next one may get through.
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    })
    .await;
}

async fn tell(store: Store, every: Duration, alive: impl Fn()) {
    loop {
        let mut asked = pin!(store.record(|_: &dyn LossyWrite| Ok::<(), StoreError>(())));
        // An error is an answer too.
        while tokio::time::timeout(every, &mut asked).await.is_err() {
            if store.is_busy() {
                alive();
            }
        }
        alive();
        tokio::time::sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn a_writer_that_hangs_ends_the_signs_of_life() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("plane.redb"), 1 << 20).unwrap();
        let (told, mut alive) = unbounded_channel();
        let watched = tokio::spawn(tell(store.clone(), Duration::from_millis(1), move || {
            told.send(()).unwrap();
        }));
        alive.recv().await.unwrap();

        let (began, begun) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let hung = store.clone();
        let hanging = tokio::spawn(async move {
            let hang = move |_: &dyn LossyWrite| {
                began.send(()).unwrap();
                released.recv().unwrap();
                Ok::<(), StoreError>(())
            };
            hung.record(hang).await
        });
        tokio::task::spawn_blocking(move || begun.recv().unwrap())
            .await
            .unwrap();
        // One more may be under way.
        while tokio::time::timeout(Duration::from_millis(100), alive.recv())
            .await
            .is_ok()
        {}

        // Unless the writer is marked busy.
        let busy = store.mark_busy();
        alive.recv().await.unwrap();
        drop(busy);

        release.send(()).unwrap();
        hanging.await.unwrap().unwrap();
        alive.recv().await.unwrap();
        watched.abort();
    }
}
