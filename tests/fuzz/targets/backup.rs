//! Untrusted backups: each is either read completely or refused, and never causes an allocation that is larger than
//! the backup itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgctl::backup::{Item, Reader, Writer, summary};

fuzz_target!(|data: &[u8]| {
    let Ok(mut reader) = Reader::begin(data) else { return };
    let mut writer = Writer::begin(Vec::new(), reader.header()).expect("a header that was read");
    loop {
        match reader.item() {
            Ok(Some(Item::Table(name))) => writer.table(name).expect("a name that was read"),
            Ok(Some(Item::Row { key, value })) => writer.row(key, value).expect("a row that was read"),
            Ok(None) => break,
            Err(_) => {
                assert!(summary(data).is_err(), "both readers must refuse the backup");
                return;
            }
        }
    }
    // A backup that has been read completely gives the same bytes when it is written again.
    assert_eq!(writer.end().expect("an end"), data);
    assert!(summary(data).is_ok());
});
