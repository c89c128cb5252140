//! Log lines reach journald with their fields, in journald's native protocol.
//!
//! The plane runs in a mount namespace in which the journal's socket belongs to this test. The test thus
//! receives everything that journald would store.

use std::collections::BTreeMap;
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sentrazone_tests::process::{Process, binary};

use crate::http::ask_locally;
use crate::rig::write_config;

#[test]
fn under_systemd_every_log_line_is_a_journal_record_with_the_request_id() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("journal")).unwrap();
    let journal = UnixDatagram::bind(folder.join("journal/socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write_config(folder, "info", "");
    let mut plane = started(folder);
    let socket = folder.join("plane.sock");
    let ready = next(&journal, |record| {
        record
            .get("MESSAGE")
            .is_some_and(|said| said.starts_with("listening on unix:"))
    });
    assert_eq!(
        (ready["PRIORITY"].as_str(), ready["SYSLOG_IDENTIFIER"].as_str()),
        ("6", "sentrazone-plane")
    );

    let body = serde_json::json!({"email": "ops@example.com", "password": "correct horse battery", "role": "admin"});
    let made = ask_locally(&socket, "POST", "/api/users", Some(&body));
    made.json(201);
    let id = made.header("x-request-id").unwrap();
    let record = next(&journal, |record| record.get("REQUEST_ID").is_some_and(|is| is == id));
    assert_eq!(record["MESSAGE"], "answered with 201", "{record:?}");
    assert_eq!(
        (record["METHOD"].as_str(), record["PATH"].as_str()),
        ("POST", "/api/users")
    );
    assert_eq!(record["STATUS"], "201");

    plane.kill();
    assert_eq!(plane.log(), "", "a line was also written to standard error");
}

/// Starts the plane with its standard error marked as connected to the journal.
fn started(folder: &Path) -> Process {
    let log = std::fs::File::create(folder.join("plane.log")).unwrap();
    let identity = log.metadata().unwrap();
    let mount = "mount --bind \"$0\" /run/systemd && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--map-root-user", "sh", "-c", mount])
        .arg(folder)
        .arg(binary("sentrazone-plane"))
        .arg("--config")
        .arg(folder.join("plane.toml"))
        .env("JOURNAL_STREAM", format!("{}:{}", identity.st_dev(), identity.st_ino()));
    Process::start("plane", command, folder)
}

type Record = BTreeMap<String, String>;

/// Waits for the next record that matches.
fn next(journal: &UnixDatagram, wanted: impl Fn(&Record) -> bool) -> Record {
    let (mut bytes, began) = (vec![0; 1 << 16], Instant::now());
    loop {
        let length = journal.recv(&mut bytes).expect("a record from the plane");
        let record = parsed(&bytes[..length]);
        if wanted(&record) {
            return record;
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "no record matched; the last one was {record:?}"
        );
    }
}

/// Decodes a record. Each field is `NAME=value`, or `NAME` followed by the value's length (8 bytes, little endian) and
/// the value (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
fn parsed(mut bytes: &[u8]) -> Record {
    let mut record = Record::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let line = std::str::from_utf8(&bytes[..end]).unwrap();
        bytes = &bytes[end + 1..];
        if let Some((name, value)) = line.split_once('=') {
            record.insert(name.to_owned(), value.to_owned());
            continue;
        }
        let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        let value = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
        record.insert(line.to_owned(), value);
        bytes = &bytes[8 + length + 1..];
    }
    record
}
