//! `audit verify`: whether the log is as it was written, asked of the plane or found in a file.
//!
//! Owns the words. What is checked is the library's (`wgctl::audit`).

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;
use wgctl::api::{AuditKey, Head, Verification};
use wgctl::audit::{Expected, verify_file};

use crate::connection::Options;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Args)]
pub(super) struct Verify {
    /// Verify this exported file instead; no plane is needed
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The key that the file's checkpoints must be signed with (`wgctl audit verify` shows a plane's)
    #[arg(long, value_name = "KEY", requires = "file")]
    public_key: Vec<AuditKey>,
    /// A record known from before (NUMBER:HASH, as a verification ends with): the log must have it
    #[arg(long, value_name = "HEAD")]
    expect_head: Option<Head>,
}

/// What stands behind an outcome that is well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The plane, which knows its own key.
    Plane,
    /// A file, with the key that must have signed it.
    Signed,
    /// A file, signed by whomever.
    Unknown,
}

impl Verify {
    pub(super) async fn run(self, options: &Options, out: &Output) -> Result<(), Failure> {
        let Some(path) = self.file else {
            let outcome = options.connect()?.audit_verify(self.expect_head).await?;
            return conclude(outcome, Source::Plane, "the audit log is not as it was written", out);
        };
        let failed = |error| Failure::file("read", &path, &error);
        let source = match self.public_key.is_empty() {
            true => Source::Unknown,
            false => Source::Signed,
        };
        let expected = Expected {
            keys: self.public_key,
            checkpoints: true,
            head: self.expect_head,
        };
        let file = BufReader::new(File::open(&path).map_err(failed)?);
        let outcome = verify_file(file, expected).map_err(failed)?;
        let shown = path.display();
        let wrong = match outcome.records == 0 && outcome.pruned.is_none() {
            true => format!("{shown} is no export of the audit log, or its beginning was changed"),
            false => format!("the audit log in {shown} is not as it was written"),
        };
        conclude(outcome, source, &wrong, out)
    }
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
    let (last, signed) = (outcome.head.id, outcome.signed_until);
    let mut text = match outcome.first {
        None => "The audit log has no record.\n".to_owned(),
        // A chain that holds can be computed anew by whoever has the file.
        Some(first) if source != Source::Plane && outcome.public_key.is_none() => format!(
            "The chain of {} records, {first} to {last}, has no gap. No signature covers it: whoever has the file could \
             have written it anew.\n",
            outcome.records
        ),
        Some(first) => format!(
            "The audit log is as it was written: {} records, {first} to {last}.\n",
            outcome.records
        ),
    };
    if let Some(pruned) = outcome.pruned {
        text.push_str(&format!(
            "Removed for their age: {} records, up to {}.\n",
            pruned.count, pruned.id
        ));
    }
    if let Some(key) = outcome.public_key {
        text.push_str(&format!("Signed up to record {signed} by {key}.\n"));
        if source == Source::Unknown {
            text.push_str("Whose key that is was not checked: give the plane's with --public-key.\n");
        }
        if source != Source::Plane && signed < last {
            text.push_str("Whoever has the file could have written what comes after it.\n");
        }
    } else if source == Source::Plane {
        text.push_str("No signature covers it.\n");
    }
    text.push_str(&format!(
        "Head: {}\nKeep it elsewhere: with --expect-head it shows later whether the log was cut.\n",
        outcome.head
    ));
    text
}
