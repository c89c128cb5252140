//! A backup from elsewhere: it is read to its end, or refused; nothing in it makes us ask for more
//! memory than it has bytes.

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
                assert!(summary(data).is_err(), "refused once and taken once");
                return;
            }
        }
    }
    // What was read whole is, written again, the same file.
    assert_eq!(writer.end().expect("an end"), data);
    assert!(summary(data).is_ok());
});
