//! The agent's cache: a file is either read as a state or refused. If the input begins with `{`, its lines
//! become records with correct checksums; otherwise no record would ever be read.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sentrazone_agent::cache::load;
use sha2::{Digest as _, Sha256};

static FOLDER: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir_in("/dev/shm").expect("a folder in memory"));

/// Converts the lines of `bodies` into records with their checksums.
fn records(bodies: &[u8]) -> Vec<u8> {
    let mut chain = [0u8; 32];
    let mut content = b"sentrazone-desired 2 0000000000 0000000000\n".to_vec();
    for (number, body) in bodies.split(|byte| *byte == b'\n').enumerate() {
        chain = Sha256::new().chain_update(chain).chain_update(body).finalize().into();
        let sum: String = chain.iter().map(|byte| format!("{byte:02x}")).collect();
        let kind = if number == 0 { 'S' } else { 'D' };
        content.extend_from_slice(format!("{kind} {sum} ").as_bytes());
        content.extend_from_slice(body);
        content.push(b'\n');
    }
    content
}

fuzz_target!(|data: &[u8]| {
    let content = match data.split_first() {
        Some((b'{', _)) => records(data),
        _ => data.to_vec(),
    };
    std::fs::write(FOLDER.path().join("desired.cache"), content).expect("a file in memory");
    if let Ok(state) = load(FOLDER.path()) {
        assert!(state.is_some(), "an existing cache was read as a missing one");
    }
});
