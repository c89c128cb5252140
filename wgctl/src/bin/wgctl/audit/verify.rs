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

impl Verify {
    pub(super) async fn run(self, options: &Options, out: &Output) -> Result<(), Failure> {
        let pinned = self.file.is_none() || !self.public_key.is_empty();
        let outcome = match self.file {
            None => options.connect()?.audit_verify(self.expect_head).await?,
            Some(path) => {
                let failed = |error| Failure::file("read", &path, &error);
                let file = File::open(&path).map_err(failed)?;
                let expected = Expected {
                    keys: self.public_key,
                    checkpoints: true,
                    head: self.expect_head,
                };
                verify_file(BufReader::new(file), expected).map_err(failed)?
            }
        };
        if outcome.ok || out.json() {
            out.answer(&outcome, || told(&outcome, pinned))?;
        }
        match outcome.fault {
            None => Ok(()),
            Some(fault) => Err(Failure::Local(format!(
                "the audit log is not as it was written: {fault}"
            ))),
        }
    }
}

fn told(outcome: &Verification, pinned: bool) -> String {
    let mut text = match outcome.first {
        Some(first) => format!(
            "The audit log is as it was written: {} records, {first} to {}.\n",
            outcome.records, outcome.head.id
        ),
        None => "The audit log has no record.\n".to_owned(),
    };
    if let Some(pruned) = outcome.pruned {
        text.push_str(&format!(
            "Removed for their age: {} records, up to {}.\n",
            pruned.count, pruned.id
        ));
    }
    match outcome.public_key {
        Some(key) => {
            text.push_str(&format!("Signed up to record {} by {key}.\n", outcome.signed_until));
            if !pinned {
                text.push_str("Whose key that is was not checked: give the plane's with --public-key.\n");
            }
        }
        None => text.push_str("No signature covers it.\n"),
    }
    text.push_str(&format!(
        "Head: {}\nKeep it elsewhere: with --expect-head it shows later whether the log was cut.\n",
        outcome.head
    ));
    text
}
