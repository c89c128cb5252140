//! Tests of the writer's queue: the time for which a job keeps its place.

use std::sync::mpsc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::store::redb::engine;

#[tokio::test]
async fn a_job_keeps_its_place_when_its_caller_hangs_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plane.redb"), CACHE).unwrap();
    let (end, ended) = mpsc::channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let busy = store.clone();
    let busy = tokio::spawn(async move {
        let work = move |_: &dyn LossyWrite| {
            let _ = begin.send(());
            let _ = ended.recv();
            Ok::<_, StoreError>(())
        };
        busy.record(work).await
    });
    begun.await.unwrap();
    let free = || store.engine.places.available_permits();
    for _ in 0..10 {
        let nothing = store.record(|_: &dyn LossyWrite| Ok::<_, StoreError>(()));
        assert!(nothing.now_or_never().is_none());
    }
    assert_eq!(free(), engine::QUEUE - 11);
    drop(end);
    busy.await.unwrap().unwrap();
    let all = store.engine.places.acquire_many(u32::try_from(engine::QUEUE).unwrap());
    let given_back = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert!(given_back.unwrap().is_ok());
}
