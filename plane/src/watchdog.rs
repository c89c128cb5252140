//! Watchdog notifications for the service manager (`WatchdogSec=`, sd_watchdog_enabled(3)).
//!
//! Owns the condition for sending one: the runtime is running, and the store's writer either replies, even with an
//! error, or is busy with work whose duration depends on the amount of data (a restore, reopening the
//! database). It must not judge the disk: a full or missing disk is not a hang, and a restart does not help.

use std::pin::pin;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::store::{LossyWrite, Store, StoreError};

/// Sends notifications until the future is dropped. Returns at once if the service manager expects none.
pub(crate) async fn watch(store: Store) {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return;
    };
    tell(store, patience / 4, || {
        // If this notification fails, the next one may succeed.
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    })
    .await;
}

async fn tell(store: Store, every: Duration, alive: impl Fn()) {
    loop {
        let mut asked = pin!(store.record(|_: &dyn LossyWrite| Ok::<(), StoreError>(())));
        // An error counts as a reply too.
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
    async fn watchdog_notifications_stop_while_the_writer_hangs() {
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
        // One more notification may still be on its way.
        while tokio::time::timeout(Duration::from_millis(100), alive.recv())
            .await
            .is_ok()
        {}

        // Notifications continue while the writer is marked busy.
        let busy = store.mark_busy();
        alive.recv().await.unwrap();
        drop(busy);

        release.send(()).unwrap();
        hanging.await.unwrap().unwrap();
        alive.recv().await.unwrap();
        watched.abort();
    }
}
