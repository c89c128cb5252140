//! `audit verify`: verification of the log, by the plane or in a file.
//!
//! Owns the messages. It must not define the checks: they belong to the library (`wgctl::audit`).

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use wgctl::api::{AuditKey, Head, Verification};
use wgctl::audit::{Expected, ExportReader, require_signature, verify_file};

use crate::connection::Options;
use crate::failure::Failure;
use crate::terminal::output::Output;

#[derive(Args)]
pub(super) struct Verify {
    /// Verify this exported file instead; no plane is needed
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The key that must have signed the file's checkpoints (`wgctl audit verify` shows the plane's key)
    #[arg(long, value_name = "KEY", requires = "file")]
    public_key: Vec<AuditKey>,
    /// A record that the log must contain: the head (NUMBER:HASH) that an earlier verification printed
    #[arg(long, value_name = "HEAD")]
    expect_head: Option<Head>,
}

/// The basis of a successful verification.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The plane, which knows its own key.
    Plane,
    /// A file, and the facts that were known about it in advance.
    File {
        /// True if the key that must have signed the file was given.
        pinned: bool,
        /// The record that was known in advance.
        head: Option<Head>,
    },
}

impl Verify {
    pub(super) async fn run(self, options: &Options, out: &Output) -> Result<(), Failure> {
        let Some(path) = self.file else {
            let outcome = options.connect(out.now())?.audit_verify(self.expect_head).await?;
            return conclude(outcome, Source::Plane, "the audit log has been altered", out);
        };
        let pinned = !self.public_key.is_empty();
        let source = Source::File {
            pinned,
            head: self.expect_head,
        };
        let expected = Expected {
            keys: self.public_key,
            checkpoints: true,
            head: self.expect_head,
        };
        let mut outcome = verify(&path, expected)?;
        let is_none = outcome.records == 0 && outcome.pruned.is_none() && outcome.fault.is_some();
        let shown = path.display();
        let wrong = if pinned && require_signature(&mut outcome) {
            format!("the audit log in {shown} cannot be shown to be intact")
        } else if is_none {
            format!("{shown} is not an export of the audit log, or its beginning was changed")
        } else {
            format!("the audit log in {shown} has been altered")
        };
        conclude(outcome, source, &wrong, out)
    }
}

/// Verifies a file. A file of another kind is refused.
fn verify(path: &Path, expected: Expected) -> Result<Verification, Failure> {
    let failed = |error| Failure::file("read", path, &error);
    let file = File::open(path).map_err(failed)?;
    let mut file = ExportReader::new(BufReader::new(file));
    let outcome = verify_file(&mut file, expected).map_err(failed)?;
    let has_any = outcome.records > 0 || outcome.pruned.is_some();
    if has_any || file.is_export().map_err(failed)? {
        return Ok(outcome);
    }
    Err(Failure::WrongFile(format!(
        "{} is not an export of the audit log: it is empty or of another kind; make one with `wgctl audit export \
         --format jsonl -o FILE`",
        path.display()
    )))
}

fn conclude(outcome: Verification, source: Source, wrong: &str, out: &Output) -> Result<(), Failure> {
    if outcome.ok || out.json() {
        out.answer(&outcome, || told(&outcome, source))?;
    }
    match outcome.fault {
        None => Ok(()),
        Some(fault) => Err(Failure::Local(format!("{wrong}: {fault}"))),
    }
}

fn told(outcome: &Verification, source: Source) -> String {
    let last = outcome.head.id;
    let signed = outcome.public_key.map_or(0, |_| outcome.signed_until);
    // The last record that the holder of the file cannot have rewritten.
    let vouched = match source {
        Source::Plane => last,
        Source::File { pinned, head } => head.map_or(0, |head| head.id).max(if pinned { signed } else { 0 }),
    };
    let mut text = match outcome.first {
        None => "The audit log has no records.\n".to_owned(),
        Some(first) if vouched < first => format!(
            "The {} records, {first} to {last}, form an unbroken chain. {}: anyone who has the file could have written them.\n",
            outcome.records,
            match outcome.public_key {
                None => "No signature covers them",
                Some(_) => "Their signer is not known",
            }
        ),
        Some(first) => format!(
            "The audit log is intact: {} records, {first} to {last}.\n",
            outcome.records
        ),
    };
    if let Some(pruned) = outcome.pruned {
        text.push_str(&format!(
            "Removed because of their age: {} records, up to {}.\n",
            pruned.count, pruned.id
        ));
    }
    match (outcome.public_key, source) {
        (Some(key), _) => text.push_str(&format!("Signed up to record {signed} by {key}.\n")),
        (None, Source::Plane) => text.push_str("No signature covers it.\n"),
        (None, Source::File { .. }) => {}
    }
    if let (Some(_), Source::File { pinned: false, .. }) = (outcome.public_key, source) {
        text.push_str("The owner of that key was not checked: give the plane's key with --public-key.\n");
    }
    if outcome.first.is_some_and(|first| (first..last).contains(&vouched)) {
        text.push_str(&format!(
            "Anyone who has the file could have written the records after record {vouched}.\n"
        ));
    }
    text.push_str(&format!(
        "Head: {}\nStore it elsewhere: with --expect-head, it can later show whether the log has been truncated.\n",
        outcome.head
    ));
    text
}

#[cfg(test)]
mod tests {
    use wgctl::api::Hash;

    use super::*;

    fn file(pinned: bool, head: Option<u64>) -> Source {
        let head = head.map(|id| Head {
            id,
            hash: Hash([0; 32]),
        });
        Source::File { pinned, head }
    }

    #[test]
    fn the_text_claims_no_more_than_was_verified() {
        let outcome = |signed: Option<u64>| Verification {
            ok: true,
            records: 10,
            first: Some(1),
            last: Some(10),
            head: Head {
                id: 10,
                hash: Hash([0; 32]),
            },
            checkpoints: 0,
            signed_until: signed.unwrap_or(0),
            public_key: signed.map(|_| format!("ed25519:{}=", "A".repeat(43)).parse().unwrap()),
            pruned: None,
            fault: None,
        };
        let (as_written, anybody) = ("is intact", "could have written");
        for (signed, source, genuine, doubted) in [
            (Some(10), file(true, None), true, None),
            (Some(8), file(true, None), true, Some("after record 8")),
            (Some(8), file(true, Some(10)), true, None),
            (None, file(false, Some(10)), true, None),
            (None, file(false, Some(4)), true, Some("after record 4")),
            (None, file(false, None), false, Some("have written them")),
            (Some(8), Source::Plane, true, None),
        ] {
            let text = told(&outcome(signed), source);
            assert_eq!(text.contains(as_written), genuine, "{text}");
            assert_eq!(text.contains(anybody), doubted.is_some(), "{text}");
            assert!(doubted.is_none_or(|words| text.contains(words)), "{text}");
        }
        let unknown = told(&outcome(Some(10)), file(false, None));
        assert!(unknown.contains("give the plane's key with --public-key"), "{unknown}");
        assert!(!unknown.contains(as_written) && unknown.contains(anybody), "{unknown}");
    }
}
