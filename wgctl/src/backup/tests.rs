//! Tests of backups: a written backup can be read, and anything else is refused.

use super::format::*;
use super::*;
use crate::name::Incarnation;
use crate::time::Timestamp;

type Rows = Vec<(String, Vec<u8>, Vec<u8>)>;

fn header() -> Header {
    Header {
        schema: 1,
        incarnation: Incarnation::from_bytes([7; 16]),
        created_at: Timestamp::from_unix(1_800_000_000),
    }
}

fn rows() -> Rows {
    let row = |table: &str, key: &[u8], value: &[u8]| (table.to_owned(), key.to_vec(), value.to_vec());
    vec![
        row("peers", b"los-angeles\0\x01", b"{}"),
        row("peers", b"los-angeles\0\x02", &[0; 300]),
        row("servers", b"", b""),
        row("servers", b"los-angeles", b"{\"id\":\"los-angeles\"}"),
        row("users", &[0xff; 16], b"x"),
    ]
}

fn written(rows: &Rows) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), &header()).unwrap();
    let mut open = None;
    for (table, key, value) in rows {
        if open != Some(table) {
            writer.table(table).unwrap();
            open = Some(table);
        }
        writer.row(key, value).unwrap();
    }
    writer.end().unwrap()
}

fn read(bytes: &[u8]) -> Result<(Header, Rows), Error> {
    let mut reader = Reader::begin(bytes)?;
    let (mut table, mut rows) = (String::new(), Vec::new());
    while let Some(item) = reader.item()? {
        match item {
            Item::Table(name) => name.clone_into(&mut table),
            Item::Row { key, value } => rows.push((table.clone(), key.to_vec(), value.to_vec())),
        }
    }
    assert_eq!(reader.item()?, None, "the reader stays at the end");
    Ok((*reader.header(), rows))
}

#[test]
fn a_written_backup_reads_back_unchanged() {
    let bytes = written(&rows());
    assert_eq!(read(&bytes).unwrap(), (header(), rows()));
    let summary = summary(bytes.as_slice()).unwrap();
    assert_eq!(
        (summary.servers, summary.peers, summary.users, summary.rows),
        (2, 2, 1, 5)
    );
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(read(&written(&Rows::new())).unwrap().1, Rows::new());
}

#[test]
fn a_backup_that_is_truncated_anywhere_is_refused() {
    let bytes = written(&rows());
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn a_backup_with_any_bit_flipped_is_refused() {
    let bytes = written(&rows());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(read(&flipped).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_backup_followed_by_other_data_is_refused() {
    let mut bytes = written(&rows());
    bytes.push(0);
    assert!(matches!(read(&bytes), Err(Error::Damaged("extra data after the end"))));
}

#[test]
fn a_time_outside_the_valid_range_is_refused() {
    let mut bytes = written(&[].into());
    for seconds in [i64::MIN, i64::MAX] {
        bytes[34..42].copy_from_slice(&seconds.to_be_bytes());
        assert!(matches!(read(&bytes), Err(Error::Damaged("invalid time"))));
    }
}

#[test]
fn duplicate_rows_and_tables_are_refused_even_if_the_checksum_is_right() {
    let mut twice = rows();
    twice.insert(1, twice[0].clone());
    assert!(matches!(
        read(&written(&twice)),
        Err(Error::Damaged("rows out of order"))
    ));
    let mut again = rows();
    again.push(again[0].clone());
    assert!(matches!(
        read(&written(&again)),
        Err(Error::Damaged("tables out of order"))
    ));
}

#[test]
fn a_file_of_another_kind_is_reported_as_not_a_backup() {
    for text in [
        b"".as_slice(),
        b"PK\x03\x04",
        b"id,actor,action,target,ip,created_at\r\n",
    ] {
        assert!(matches!(read(text), Err(Error::NotABackup)));
    }
    let mut newer = written(&rows());
    newer[9] = 2;
    assert!(matches!(read(&newer), Err(Error::Format(2))));
}
