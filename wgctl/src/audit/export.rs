//! An exported log as a file: JSON Lines or CSV, recognized by its first byte.
//!
//! Owns the verification of such a file, line by line. It must not open files.

use std::io::{self, BufRead, Read as _};

use super::csv;
use super::verify::{Expected, Verifier};
use crate::api::{AuditLine, Fault, Verification};

/// The maximum length of a line of an export, in bytes.
pub(super) const LONGEST_LINE: u64 = 1 << 20;

/// Encodes lines of the export as JSON Lines.
pub fn lines<'a>(lines: impl IntoIterator<Item = &'a AuditLine>) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Verifies an exported log. Content that cannot be parsed is reported as a fault in the record that should be there.
pub fn verify_file(mut input: impl BufRead, expected: Expected) -> io::Result<Verification> {
    let is_jsonl = input.fill_buf()?.first() == Some(&b'{');
    match is_jsonl {
        true => verify_lines(input, expected),
        false => Ok(verify_rows(input, expected)),
    }
}

/// Adds a fault to the outcome if no signature covers any part of an otherwise correct log, because anyone
/// who has the file could then have written all of it. Returns true if it added one.
pub fn require_signature(outcome: &mut Verification) -> bool {
    let unsigned = outcome.fault.is_none() && outcome.public_key.is_none();
    if unsigned {
        outcome.ok = false;
        outcome.fault = Some(Fault {
            id: outcome.first.unwrap_or(1),
            reason:
                "no signature covers it or any later one, so anyone who has the file could have written it (a CSV export \
                 has no signatures; a JSON Lines export has)"
                    .to_owned(),
        });
    }
    unsigned
}

/// Verifies a CSV export. It has no checkpoints, but its chain and its head can be verified.
fn verify_rows(input: impl BufRead, expected: Expected) -> Verification {
    let mut verifier = Verifier::new(Expected {
        checkpoints: false,
        ..expected
    });
    for (at, record) in csv::read(input).enumerate() {
        match record {
            Ok(record) => {
                if !verifier.record(&record) {
                    break;
                }
            }
            Err(reason) => {
                verifier.unreadable(&format!("row {} is not a record ({reason})", at + 1));
                break;
            }
        }
    }
    verifier.finish()
}

fn verify_lines(mut input: impl BufRead, expected: Expected) -> io::Result<Verification> {
    let mut verifier = Verifier::new(expected);
    let mut text = Vec::new();
    for number in 1u64.. {
        text.clear();
        if (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut text)? == 0 {
            break;
        }
        match serde_json::from_slice::<AuditLine>(&text) {
            Ok(line) => {
                if !verifier.line(&line) {
                    break;
                }
            }
            Err(error) => {
                verifier.unreadable(&format!("line {number} is not part of an export ({error})"));
                break;
            }
        }
    }
    Ok(verifier.finish())
}
