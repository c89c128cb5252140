//! Property tests of verification: in every case, the first record that was tampered with is named.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::csv::read;
use super::*;
use crate::api::{AuditKey, AuditLine, AuditRecord, Changes, Checkpoint, FieldChange, Hash, Head, Verification};
use crate::time::Timestamp;

fn signer() -> Signer {
    Signer::from_seed(&[1; 32]).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

fn record(id: u64) -> AuditRecord {
    let change = FieldChange {
        before: Some(json!(true)),
        after: Some(json!(false)),
    };
    AuditRecord {
        id,
        actor: "ops@example.com".to_owned(),
        action: "wg_client_disabled".to_owned(),
        target: format!("la/c{id}"),
        ip: "192.0.2.1".to_owned(),
        created_at: at(1_800_000_000 + i64::try_from(id).unwrap()),
        detail: None,
        request_id: Some(uuid::Uuid::from_u128(id.into())),
        changes: Changes::from([("enabled".to_owned(), change)]),
        hash: Hash::default(),
    }
}

/// Chains the records in the given order.
fn chained(records: impl IntoIterator<Item = AuditRecord>) -> Vec<AuditRecord> {
    let mut previous = Hash::default();
    let chained = records.into_iter().map(|record| {
        let hash = follow(&previous, &record);
        previous = hash;
        AuditRecord { hash, ..record }
    });
    chained.collect()
}

fn mark(record: &AuditRecord, signer: &Signer) -> Checkpoint {
    let head = Head {
        id: record.id,
        hash: record.hash,
    };
    signer.checkpoint(head, at(0)).unwrap()
}

/// Returns a log of 1,000 records in its exported form.
fn log() -> Vec<AuditLine> {
    let records = chained((1..=1000).map(record));
    let last = mark(records.last().unwrap(), &signer());
    let mut lines: Vec<AuditLine> = records.into_iter().map(AuditLine::Record).collect();
    lines.push(AuditLine::Checkpoint(last));
    lines
}

fn ours() -> Expected {
    Expected {
        keys: vec![signer().public_key()],
        checkpoints: true,
        head: None,
    }
}

fn verify<'a>(lines: impl IntoIterator<Item = &'a AuditLine>, expected: Expected) -> Verification {
    let mut verifier = Verifier::new(expected);
    for line in lines {
        if !verifier.line(line) {
            break;
        }
    }
    verifier.finish()
}

fn of(line: &AuditLine) -> AuditRecord {
    match line {
        AuditLine::Record(record) => record.clone(),
        other => panic!("{other:?}"),
    }
}

/// Changes the content of a record; `way` selects the field.
fn changed(record: &AuditRecord, way: u64) -> AuditRecord {
    let mut record = record.clone();
    match way % 9 {
        0 => record.actor.push('x'),
        1 => record.action = "wg_client_enabled".to_owned(),
        2 => record.target = "la/other".to_owned(),
        3 => record.ip = String::new(),
        4 => record.created_at = at(record.created_at.unix() + 1),
        5 => record.detail = Some("x".to_owned()),
        6 => record.request_id = None,
        7 => record.changes.get_mut("enabled").unwrap().after = Some(Value::Null),
        _ => record.hash.0[31] ^= 1,
    }
    record
}

#[test]
fn the_first_record_that_was_changed_removed_moved_or_inserted_is_named() {
    let log = log();
    let sound = verify(&log, ours());
    assert!(sound.ok, "{:?}", sound.fault);
    assert_eq!(
        (sound.records, sound.first, sound.checkpoints, sound.signed_until),
        (1000, Some(1), 1, 1000)
    );
    let mut found = BTreeMap::new();
    // The lines before `place` are the same every time, so they are verified only once.
    let mut before = Verifier::new(ours());
    for place in 0..1000 {
        let id = place as u64 + 1;
        let named = |tampered: &[AuditLine], rest: usize| {
            let mut verifier = before.clone();
            for line in tampered.iter().chain(&log[rest..]) {
                if !verifier.line(line) {
                    break;
                }
            }
            verifier.finish().fault.map(|fault| fault.id)
        };
        let line = |record| AuditLine::Record(record);
        let here = of(&log[place]);
        let mut expect = |what: &'static str, outcome: Option<u64>| {
            assert_eq!(outcome, Some(id), "{what} {id}");
            *found.entry(what).or_insert(0) += 1;
        };
        expect("changed", named(&[line(changed(&here, id))], place + 1));
        expect("removed", named(&[], place + 1));
        let forged = AuditRecord {
            actor: "local:root".to_owned(),
            ..here.clone()
        };
        expect("inserted", named(&[line(forged)], place));
        if place < 999 {
            let next = of(&log[place + 1]);
            expect("moved", named(&[line(next.clone()), line(here.clone())], place + 2));
            // The same with corrected numbers.
            let first = AuditRecord { id, ..next };
            let second = AuditRecord { id: id + 1, ..here };
            expect("renumbered", named(&[line(first), line(second)], place + 2));
        }
        assert!(before.line(&log[place]));
    }
    assert_eq!(found["changed"], 1000);
    assert_eq!(found["removed"], 1000);
    assert_eq!(found["inserted"], 1000);
    assert_eq!((found["moved"], found["renumbered"]), (999, 999));
    println!("audit: tampering detected, out of 1000 records each: {found:?}");
}

#[test]
fn a_change_to_the_first_record_is_reported_as_a_change() {
    let mut log = log();
    log[0] = AuditLine::Record(changed(&of(&log[0]), 0));
    let fault = verify(&log, ours()).fault.unwrap();
    assert_eq!(
        (fault.id, fault.reason.as_str()),
        (1, "it was changed: its hash does not match its content")
    );
}

#[test]
fn a_recomputed_chain_is_detected_by_its_checkpoints() {
    let records = chained((1..=1000).map(record));
    let checkpoint = AuditLine::Checkpoint(mark(&records[999], &signer()));
    let mut forged = records;
    forged[499].target = "la/other".to_owned();
    let forged = chained(forged);
    let lines: Vec<_> = forged.iter().cloned().map(AuditLine::Record).collect();
    let fault = |checkpoints: &[AuditLine], expected| verify(lines.iter().chain(checkpoints), expected).fault;
    // The cases are the old checkpoint, no checkpoint, one by the forger, and a genuine one that was altered
    // to fit.
    let old = fault(std::slice::from_ref(&checkpoint), ours()).unwrap();
    assert!(old.id == 1 && old.reason.contains("recomputed"), "{old}");
    let none = fault(&[], ours()).unwrap();
    assert!(
        none.id == 1000 && none.reason.contains("checkpoint was removed"),
        "{none}"
    );
    let thief = Signer::from_seed(&[2; 32]).unwrap();
    let own = AuditLine::Checkpoint(mark(&forged[999], &thief));
    let own_fault = fault(std::slice::from_ref(&own), ours()).unwrap();
    assert!(own_fault.reason.contains("not known"), "{own_fault}");
    assert!(
        fault(
            &[own],
            Expected {
                keys: Vec::new(),
                ..ours()
            }
        )
        .is_none(),
        "without an expected key, any key is accepted"
    );
    let AuditLine::Checkpoint(genuine) = checkpoint else {
        panic!("not a checkpoint")
    };
    let fitted = AuditLine::Checkpoint(Checkpoint {
        hash: forged[999].hash,
        ..genuine
    });
    assert!(fault(&[fitted], ours()).unwrap().reason.contains("not what was signed"));
}

#[test]
fn a_truncated_log_is_detected_by_an_earlier_head() {
    let log = log();
    let head = |id: usize| Head {
        id: id as u64,
        hash: of(&log[id - 1]).hash,
    };
    let with = |head| Expected {
        head: Some(head),
        checkpoints: false,
        ..ours()
    };
    assert!(verify(&log, with(head(1000))).ok);
    assert!(verify(&log, with(head(10))).ok, "the log may have grown");
    let fault = verify(&log[..900], with(head(1000))).fault.unwrap();
    assert!(fault.id == 901 && fault.reason.contains("cut off"), "{fault}");
    let other = Head {
        hash: Hash([1; 32]),
        ..head(10)
    };
    assert_eq!(verify(&log, with(other)).fault.unwrap().id, 1);
    assert!(
        verify(&log[..900], Expected::default()).ok,
        "without a known head, truncation cannot be detected"
    );
}

#[test]
fn a_checkpoint_by_the_restoring_plane_covers_records_signed_with_an_old_key() {
    let records = chained((1..=30).map(record));
    let old = Signer::from_seed(&[3; 32]).unwrap();
    let mut lines: Vec<_> = records.iter().cloned().map(AuditLine::Record).collect();
    lines.insert(10, AuditLine::Checkpoint(mark(&records[9], &old)));
    assert!(!verify(&lines, ours()).ok);
    lines.push(AuditLine::Checkpoint(mark(&records[29], &signer())));
    let outcome = verify(&lines, ours());
    assert!(outcome.ok, "{:?}", outcome.fault);
    assert_eq!(
        (outcome.signed_until, outcome.public_key),
        (30, Some(signer().public_key()))
    );
}

#[test]
fn both_export_formats_are_verified_and_garbage_is_reported_with_its_position() {
    let log = log();
    let records: Vec<_> = log[..1000].iter().map(of).collect();
    let jsonl = lines(&log).unwrap();
    let csv = rows(&records, true).unwrap();
    for file in [&jsonl, &csv] {
        let outcome = verify_file(file.as_slice(), ours()).unwrap();
        assert!(outcome.ok && outcome.records == 1000, "{:?}", outcome.fault);
    }
    let text = String::from_utf8(csv).unwrap();
    let altered = text.replace("la/c700,", "la/c007,");
    assert_eq!(verify_file(altered.as_bytes(), ours()).unwrap().fault.unwrap().id, 700);
    let text = String::from_utf8(jsonl).unwrap();
    let cut = &text[..text.len() / 2];
    assert!(!verify_file(cut.as_bytes(), ours()).unwrap().ok);
    for garbage in [
        "{",
        "{}\n",
        "x",
        "id,actor\r\n1,2\r\n",
        "{\"kind\":\"record\"}\n",
        "\u{0}",
    ] {
        let outcome = verify_file(garbage.as_bytes(), ours()).unwrap();
        assert_eq!(outcome.fault.as_ref().map(|fault| fault.id), Some(1), "{garbage:?}");
    }
    assert_eq!(verify_file(b"".as_slice(), ours()).unwrap().records, 0);
}

#[test]
fn a_damaged_export_is_distinguished_from_a_file_of_another_kind() {
    let log = log();
    let records: Vec<_> = log[..1000].iter().map(of).collect();
    let jsonl = String::from_utf8(lines(&log).unwrap()).unwrap();
    let csv = String::from_utf8(rows(&records, true).unwrap()).unwrap();
    let (_, headless) = csv.split_once('\n').unwrap();
    let late = format!("{}\n{jsonl}", "x".repeat(70_000));
    let garbled = jsonl.replace("\"actor\":", "\"actor:");
    for export in [
        &jsonl,
        &csv,
        &jsonl[..40],
        headless,
        &late,
        &garbled,
        &format!("junk\n{jsonl}"),
    ] {
        assert!(
            ExportReader::new(export.as_bytes()).is_export().unwrap(),
            "{:?}",
            &export[..40]
        );
    }
    let others: [&[u8]; 9] = [
        b"",
        b"\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\x89SZBK\r\n\x1a\0\x01",
        b"[Interface]\nPrivateKey = x\n",
        b"{\"records\": []}\n",
        b"[{\"id\": 1, \"actor\": \"a\"}]\n",
        b"name,public_key\nalice,x\n",
        b"7,8,9\n",
    ];
    for other in others {
        assert!(!ExportReader::new(other).is_export().unwrap(), "{other:?}");
    }
}

#[test]
fn a_file_that_none_of_the_given_keys_has_signed_is_not_accepted() {
    let log = log();
    let records: Vec<_> = log[..1000].iter().map(of).collect();
    // Files that anyone could have written: one without the checkpoint, one with rows only, and an empty one.
    for file in [lines(&log[..900]).unwrap(), rows(&records, true).unwrap(), Vec::new()] {
        let mut outcome = verify_file(file.as_slice(), ours()).unwrap();
        assert!(outcome.ok && require_signature(&mut outcome), "{:?}", outcome.fault);
        let fault = outcome.fault.unwrap();
        assert!(
            !outcome.ok && fault.id == 1 && fault.reason.contains("signature"),
            "{fault}"
        );
    }
    // Records after the last signature are distinguished by their number.
    let mut records = records;
    records.push(record(1001));
    let records = chained(records);
    let mut grown = log.clone();
    grown.push(AuditLine::Record(records[1000].clone()));
    let mut outcome = verify_file(lines(&grown).unwrap().as_slice(), ours()).unwrap();
    assert!(!require_signature(&mut outcome) && outcome.ok, "{:?}", outcome.fault);
    assert_eq!((outcome.signed_until, outcome.head.id), (1000, 1001));
    // The first fault is still the one that is reported.
    grown[6] = AuditLine::Record(changed(&records[6], 0));
    let mut outcome = verify_file(lines(&grown).unwrap().as_slice(), ours()).unwrap();
    assert!(!require_signature(&mut outcome));
    assert_eq!(outcome.fault.unwrap().id, 7);
}

#[test]
fn the_encoding_matches_the_documentation() {
    let record = record(7);
    let text = "1:7,15:ops@example.com,18:wg_client_disabled,5:la/c7,9:192.0.2.1,20:2027-01-15T08:00:07Z,0:,\
                36:00000000-0000-0000-0000-000000000007,41:{\"enabled\":{\"after\":false,\"before\":true}},";
    let mut bytes = vec![0; 32];
    bytes.extend_from_slice(text.as_bytes());
    use sha2::Digest as _;
    assert_eq!(
        follow(&Hash::default(), &record),
        Hash(sha2::Sha256::digest(&bytes).into())
    );
    let known = signer().public_key();
    assert_eq!(known.to_string().parse::<AuditKey>().unwrap(), known);
}

fn values() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    prop_oneof![
        plain.clone(),
        proptest::collection::vec(plain, 0..4).prop_map(Value::from),
    ]
}

fn records() -> impl Strategy<Value = AuditRecord> {
    let text = prop_oneof![
        any::<String>(),
        "[=+@'\t\r\n＝＋－＠-]{0,3}.{0,8}".prop_map(|text| text),
        "[\",\r\n' ]{0,8}".prop_map(|text| text),
    ];
    let texts = proptest::collection::vec(text, 5);
    let changes = proptest::collection::btree_map(
        any::<String>(),
        (proptest::option::of(values()), proptest::option::of(values())),
        0..4,
    );
    (
        any::<u64>(),
        texts,
        any::<i32>(),
        proptest::option::of(any::<u128>()),
        changes,
    )
        .prop_map(|(id, texts, seconds, request, changes)| {
            let mut texts = texts.into_iter();
            let mut text = || texts.next().unwrap();
            let changes = changes
                .into_iter()
                .map(|(name, (before, after))| (name, FieldChange { before, after }));
            AuditRecord {
                id,
                actor: text(),
                action: text(),
                target: text(),
                ip: text(),
                created_at: at(seconds.into()),
                detail: Some(text()).filter(|text| !text.is_empty()),
                request_id: request.map(uuid::Uuid::from_u128),
                changes: changes.collect(),
                hash: Hash([(id % 251) as u8; 32]),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_record_reads_back_from_csv_exactly_and_no_cell_is_a_formula(records in proptest::collection::vec(records(), 1..4)) {
        let text = rows(&records, true).unwrap();
        let back: Vec<_> = read(text.as_slice()).map(Result::unwrap).collect();
        prop_assert_eq!(&back, &records);
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_slice());
        for row in reader.records() {
            for cell in &row.unwrap() {
                prop_assert!(!cell.starts_with(['=', '+', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠', '-']), "{:?}", cell);
            }
        }
    }

    #[test]
    fn any_record_reads_back_from_json_lines_with_the_same_hash(record in records()) {
        let line = AuditLine::Record(record.clone());
        let text = lines([&line]).unwrap();
        prop_assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
        let back: AuditLine = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(&back, &line);
        prop_assert_eq!(follow(&Hash::default(), &of(&back)), follow(&Hash::default(), &record));
        // The canonical form is JSON with the same content.
        if !record.changes.is_empty() {
            let changes: Changes = serde_json::from_str(&canonical(&record.changes)).unwrap();
            prop_assert_eq!(changes, record.changes);
        }
    }

    #[test]
    fn different_records_have_different_hashes(one in records(), other in records()) {
        if one != (AuditRecord { hash: one.hash, ..other.clone() }) {
            prop_assert_ne!(follow(&Hash::default(), &one), follow(&Hash::default(), &other));
        }
    }
}
