//! Recognition of an audit log export among files of other kinds.
//!
//! Owns the criteria by which a line of an export is recognized, even if the export is damaged. It must not verify
//! anything.

use std::io::{self, BufRead, Read};

use super::export::LONGEST_LINE;
use crate::api::{AuditLine, Hash};

/// A reader that determines whether its input is an export.
///
/// A file is an export, intact or damaged, if at least one of its lines can be recognized as a line of an
/// export. A tampered log is an export; an empty file, an image or a backup is not.
pub struct ExportReader<R> {
    input: R,
    /// The beginning of the current line, at most `LONGEST_LINE` bytes.
    line: Vec<u8>,
    is_export: bool,
}

impl<R: BufRead> ExportReader<R> {
    /// Creates a reader for `input`, which must be at the beginning of the file.
    pub const fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            is_export: false,
        }
    }

    /// Reads until a line is recognized, or to the end if none is. Returns true if one was recognized.
    pub fn is_export(mut self) -> io::Result<bool> {
        while !self.is_export {
            let count = self.fill_buf()?.len();
            if count == 0 {
                return Ok(is_recognizable(self.line.trim_ascii()));
            }
            self.consume(count);
        }
        Ok(true)
    }
}

impl<R: BufRead> BufRead for ExportReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if !self.is_export {
            let passing = self.input.fill_buf().ok().and_then(|bytes| bytes.get(..amount));
            for piece in passing.unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
                let room = (LONGEST_LINE as usize).saturating_sub(self.line.len());
                self.line.extend(piece.iter().take(room));
                if piece.ends_with(b"\n") {
                    self.is_export |= is_recognizable(self.line.trim_ascii());
                    self.line.clear();
                }
            }
        }
        self.input.consume(amount);
    }
}

impl<R: BufRead> Read for ExportReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// Returns true for a line of JSON Lines, for the beginning of one that cannot be parsed, for the CSV header, and
/// for a CSV row, which begins with a number and ends with a hash.
fn is_recognizable(line: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 4] = [
        br#"{"kind":"record""#,
        br#"{"kind":"checkpoint""#,
        br#"{"kind":"pruned""#,
        b"id,actor,action,",
    ];
    let is_row = || {
        let text = std::str::from_utf8(line).ok()?;
        let (id, hash) = (text.split(',').next()?, text.rsplit(',').next()?);
        Some(id.parse::<u64>().is_ok() && hash.parse::<Hash>().is_ok())
    };
    BEGINNINGS.iter().any(|beginning| line.starts_with(beginning))
        || serde_json::from_slice::<AuditLine>(line).is_ok()
        || is_row().unwrap_or(false)
}
