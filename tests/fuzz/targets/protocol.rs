//! Messages between agent and plane, in both directions, version 1: a value that has been read can be written, and
//! reads back unchanged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wgctl::api::Report;
use wgctl::protocol::v1::{
    Adopted, Adoption, Applied, Desired, DesiredQuery, DriftReport, Hello, Prekeys, Reply, Terms, Welcome,
};

fn same<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(data) else {
        return;
    };
    let written = serde_json::to_vec(&value).expect("a value that was read can be written");
    let again: T = serde_json::from_slice(&written).expect("a written value can be read");
    assert_eq!(
        written,
        serde_json::to_vec(&again).expect("a value that was read can be written")
    );
}

fuzz_target!(|data: &[u8]| {
    same::<Hello>(data);
    same::<Welcome>(data);
    same::<DesiredQuery>(data);
    same::<Desired>(data);
    same::<Applied>(data);
    same::<DriftReport>(data);
    same::<Prekeys>(data);
    same::<Reply>(data);
    same::<Terms>(data);
    same::<Adoption>(data);
    same::<Adopted>(data);
    // A report contains fractions of milliseconds, whose last digit may differ.
    let _ = serde_json::from_slice::<Report>(data);
});
