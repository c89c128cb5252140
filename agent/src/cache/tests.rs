//! Tests of the cache file: restarts, crashes, damage and full disks.

use wgctl::name::Incarnation;

use super::*;
use crate::desired::tests::{interface, peer, server};

fn state(peers: u8) -> State {
    State {
        server_id: server(),
        incarnation: Incarnation::random(),
        revision: 7,
        interface: interface(),
        peers: (2..2 + peers).map(peer).map(|peer| (peer.id, peer)).collect(),
    }
}

fn adding(state: &mut State, number: u8) -> Delta {
    let delta = Delta {
        revision: state.revision + 1,
        interface: None,
        upsert: vec![peer(number)],
        remove: Vec::new(),
    };
    state.change(delta.clone());
    delta
}

#[test]
fn the_written_state_survives_any_number_of_restarts() {
    let folder = tempfile::tempdir().unwrap();
    assert!(load(folder.path()).unwrap().is_none());
    let mut state = state(3);
    let (mut cache, nothing) = Cache::open(folder.path());
    assert!(nothing.unwrap().is_none());
    cache.write(&state, None).unwrap();
    for number in 10..30 {
        let delta = adding(&mut state, number);
        cache.write(&state, Some(&delta)).unwrap();
        assert_eq!(load(folder.path()).unwrap().as_ref(), Some(&state));
        if number % 3 == 0 {
            let (again, loaded) = Cache::open(folder.path());
            assert_eq!(loaded.unwrap().as_ref(), Some(&state));
            cache = again;
        }
    }
}

#[test]
fn a_change_writes_only_the_difference_and_the_file_does_not_grow_forever() {
    let folder = tempfile::tempdir().unwrap();
    let length = || std::fs::metadata(folder.path().join(NAME)).unwrap().len();
    let mut state = state(200);
    let (mut cache, _) = Cache::open(folder.path());
    cache.write(&state, None).unwrap();
    let snapshot = length();
    let delta = adding(&mut state, 250);
    cache.write(&state, Some(&delta)).unwrap();
    assert!(length() - snapshot < 500, "{}", length() - snapshot);
    for _ in 0..2000 {
        let delta = adding(&mut state, 251);
        state.peers.remove(&delta.upsert[0].id);
        cache.write(&state, Some(&delta)).unwrap();
        assert!(length() < 4 * snapshot.max(u64::try_from(SMALL).unwrap()));
    }
}

#[test]
fn a_line_truncated_by_a_crash_is_ignored_and_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let mut state = state(3);
    let (mut cache, _) = Cache::open(folder.path());
    cache.write(&state, None).unwrap();
    let before = state.clone();
    let delta = adding(&mut state, 10);
    cache.write(&state, Some(&delta)).unwrap();
    let mut whole = std::fs::read(&path).unwrap();
    // The crash happened before the first line was updated to include the change.
    whole[..format::first_line(0).len()].copy_from_slice(format::first_line(0).as_bytes());
    std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();

    let (mut cache, loaded) = Cache::open(folder.path());
    assert_eq!(loaded.unwrap(), Some(before));
    cache.write(&state, Some(&delta)).unwrap();
    assert_eq!(load(folder.path()).unwrap(), Some(state));
}

#[test]
fn a_cache_truncated_after_it_was_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let mut state = state(3);
    let (mut cache, _) = Cache::open(folder.path());
    cache.write(&state, None).unwrap();
    for number in 10..13 {
        let delta = adding(&mut state, number);
        cache.write(&state, Some(&delta)).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        load(folder.path()).unwrap_err();
    }
}

#[test]
fn the_first_write_after_a_failed_one_contains_the_whole_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = state(3);
    let (mut cache, _) = Cache::open(folder.path());
    cache.write(&state, None).unwrap();
    // Replace the file with a device that is always full.
    cache.end.as_mut().unwrap().file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let lost = adding(&mut state, 10);
    cache.write(&state, Some(&lost)).unwrap_err();
    assert!(cache.is_behind());
    let next = adding(&mut state, 11);
    cache.write(&state, Some(&next)).unwrap();
    assert!(!cache.is_behind());
    assert_eq!(load(folder.path()).unwrap(), Some(state));
}

#[test]
fn the_error_for_a_damaged_cache_names_the_file_and_the_consequence() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(NAME), "").unwrap();
    let message = load(folder.path()).unwrap_err().to_string();
    assert!(message.contains(NAME) && message.contains("left as it is"), "{message}");
}
