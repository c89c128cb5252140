//! The form of a backup: its constants, its header and summary, and why one cannot be used.
//!
//! Owns the numbers that reading and writing share. The module above describes the bytes.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use crate::api::Fault;
use crate::name::Incarnation;
use crate::time::Timestamp;

/// The media type of a backup.
pub const MEDIA_TYPE: &str = "application/vnd.sentrazone.backup";

pub(super) const MAGIC: [u8; 8] = *b"\x89SZBK\r\n\x1a";
pub(super) const FORMAT: u16 = 1;
pub(super) const TABLE: u8 = b'T';
pub(super) const ROW: u8 = b'R';
pub(super) const END: u8 = b'E';
pub(super) const HASH: usize = 32;
pub(super) const HEADER_LEN: u64 = 42;
/// No key is longer: a flipped length must not ask for gigabytes.
pub(super) const LONGEST_KEY: u32 = 1 << 16;
/// No value is longer.
pub(super) const LONGEST_VALUE: u32 = 1 << 28;

/// The header of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The schema its rows are of.
    pub schema: u64,
    /// The database's life it was made of.
    pub incarnation: Incarnation,
    /// When.
    pub created_at: Timestamp,
}

/// The summary of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Summary {
    /// When it was made.
    pub created_at: Timestamp,
    /// The schema its rows are of.
    pub schema: u64,
    /// The database's life it was made of.
    pub incarnation: Incarnation,
    /// The number of servers.
    pub servers: u64,
    /// The number of peers.
    pub peers: u64,
    /// The number of people with an account.
    pub users: u64,
    /// The number of rows of all tables.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// The fault that a restore found in its audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_fault: Option<Fault>,
}

impl Summary {
    pub(super) fn new(header: &Header, rows: &BTreeMap<String, u64>, bytes: u64) -> Self {
        let of = |table: &str| rows.get(table).copied().unwrap_or_default();
        Self {
            created_at: header.created_at,
            schema: header.schema,
            incarnation: header.incarnation,
            servers: of("servers"),
            peers: of("peers"),
            users: of("users"),
            rows: rows.values().sum(),
            bytes,
            audit_fault: None,
        }
    }
}

/// The reason why a backup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not begin like one.
    #[error("this is not a Sentrazone backup")]
    NotOne,
    /// A later release wrote it.
    #[error(
        "the backup has format {0}, this release reads format {FORMAT}: use the release that wrote it, or a later one"
    )]
    Format(u16),
    /// It ends before its end.
    #[error("the backup is cut: it ends in the middle")]
    Cut,
    /// Its bytes are not those that were written.
    #[error("the backup is damaged ({0})")]
    Damaged(&'static str),
    /// A row that the form has no room for.
    #[error("a row of table {0} is too large for a backup")]
    TooLarge(String),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
