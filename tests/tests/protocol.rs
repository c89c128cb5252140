//! Messages from released protocol versions, which are stored as text, must keep their meaning.
//!
//! The files in `protocol/v1/` are frozen together with that version. A change that fails these tests breaks
//! hosts that have not been upgraded.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wgctl::api::Report;
use wgctl::protocol::v1::{
    Adopted, Adoption, Applied, Change, Desired, DesiredQuery, Hello, Prekeys, Reply, Terms, Welcome,
};

fn stored(name: &str) -> Value {
    let path = format!("{}/tests/protocol/v1/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// Reads a stored message, and checks that writing it gives the same text.
fn same<T: Serialize + DeserializeOwned>(name: &str) -> T {
    let text = stored(name);
    let message: T = serde_json::from_value(text.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_value(&message).unwrap(), text, "{name}");
    message
}

#[test]
fn every_version_1_message_is_read_and_written_unchanged() {
    same::<Hello>("hello");
    same::<Welcome>("welcome");
    same::<DesiredQuery>("desired-query");
    same::<Applied>("applied");
    same::<Prekeys>("prekeys");
    same::<Reply>("reply-configuration");
    same::<Reply>("reply-failed");
    same::<Report>("report");
    same::<Terms>("terms");
    same::<Adoption>("adoption");
    same::<Adopted>("adopted");
    assert_eq!(same::<Desired>("desired-unchanged").change, Change::Unchanged);
    let Change::Snapshot { interface, peers } = same::<Desired>("desired-snapshot").change else {
        panic!("not a snapshot")
    };
    assert_eq!((interface.addresses.len(), peers.len()), (2, 2));
    let Change::Delta {
        interface,
        upsert,
        remove,
    } = same::<Desired>("desired-delta").change
    else {
        panic!("not a delta")
    };
    assert_eq!((interface, upsert.len(), remove.len()), (None, 1, 1));
    assert!(same::<Desired>("desired-delta").caused_by.is_empty());
    assert_eq!(same::<Desired>("desired-caused").caused_by.len(), 1);
    assert!(same::<Desired>("desired-delta").public_key.is_none());
    assert!(same::<Desired>("desired-key").public_key.is_some());
}

#[test]
fn fields_from_a_newer_version_are_accepted() {
    for name in [
        "hello",
        "welcome",
        "desired-snapshot",
        "desired-delta",
        "applied",
        "report",
    ] {
        let mut message = stored(name);
        message["of_a_newer_version"] = Value::from(1);
        let read = match name {
            "hello" => serde_json::from_value::<Hello>(message).is_ok(),
            "welcome" => serde_json::from_value::<Welcome>(message).is_ok(),
            "applied" => serde_json::from_value::<Applied>(message).is_ok(),
            "report" => serde_json::from_value::<Report>(message).is_ok(),
            _ => serde_json::from_value::<Desired>(message).is_ok(),
        };
        assert!(read, "{name}");
    }
}

#[test]
fn a_report_with_only_the_five_original_fields_is_complete() {
    let report: Report = serde_json::from_value(stored("report-original")).unwrap();
    assert_eq!(
        (report.peers, report.transfer_rx, report.transfer_tx),
        (5, 1_048_576, 524_288)
    );
    assert!(report.counters.is_none());
}
