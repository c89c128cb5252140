//! REST API bodies, in both directions: a value that has been read can be written, and reads back unchanged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wgctl::api::{
    AuditRecord, HistoryPoint, Login, NewPeer, NewServer, NewUser, PasswordChange, Peer, PeerPatch, Problem, Report,
    Server, ServerCreated, ServerPatch, Session, Status, User, UserPatch,
};

fn read_again<T: DeserializeOwned + Serialize>(data: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let value: T = serde_json::from_slice(data).ok()?;
    let written = serde_json::to_vec(&value).expect("a value that was read can be written");
    let again: T = serde_json::from_slice(&written).expect("a written value can be read");
    let twice = serde_json::to_vec(&again).expect("a value that was read can be written");
    Some((written, twice))
}

fn same<T: DeserializeOwned + Serialize>(data: &[u8]) {
    if let Some((written, twice)) = read_again::<T>(data) {
        assert_eq!(written, twice);
    }
}

fuzz_target!(|data: &[u8]| {
    same::<Login>(data);
    same::<Session>(data);
    same::<NewUser>(data);
    same::<UserPatch>(data);
    same::<PasswordChange>(data);
    same::<User>(data);
    same::<NewServer>(data);
    same::<ServerPatch>(data);
    same::<Server>(data);
    same::<ServerCreated>(data);
    same::<NewPeer>(data);
    same::<PeerPatch>(data);
    same::<Peer>(data);
    same::<AuditRecord>(data);
    same::<Problem>(data);
    // These contain fractions of milliseconds, whose last digit may differ.
    read_again::<Report>(data);
    read_again::<Status>(data);
    read_again::<HistoryPoint>(data);
});
