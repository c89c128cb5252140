//! wg-quick files: each is either read or refused with a line number. A device's configuration reads back unchanged
//! after it is written again. The agent's import must not crash.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sentrazone_agent::setup::wg_quick_file::Import;
use wgctl::config::{PeerConfig, WgQuick};

static FILE: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let file = folder.path().join("wg0.conf");
    (folder, file)
});

fuzz_target!(|text: &str| {
    match WgQuick::parse(text) {
        Err(error) => assert!((1..=text.lines().count()).contains(&error.line), "{error}"),
        Ok(file) => {
            if let Ok(config) = PeerConfig::try_from(file) {
                let again = config.render().parse::<PeerConfig>();
                assert_eq!(again.expect("a rendered configuration can be read"), config);
            }
        }
    }
    std::fs::write(&FILE.1, text).expect("a file in memory");
    if let Ok(import) = Import::read(&FILE.1) {
        let server = "los-angeles".parse().expect("an id");
        let _ = import.notes(&server, None);
    }
});
