//! The format of a backup: its constants, header and summary, and the reasons why a backup cannot be used.
//!
//! Owns the values that reading and writing share. The parent module describes the layout. It must not read
//! or write anything.

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
/// The maximum length of a key in bytes. A corrupt length must not be able to request gigabytes of memory.
pub(super) const LONGEST_KEY: u32 = 1 << 16;
/// The maximum length of a value in bytes.
pub(super) const LONGEST_VALUE: u32 = 1 << 28;

/// The header of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The version of the schema of its rows.
    pub schema: u64,
    /// The incarnation of the database.
    pub incarnation: Incarnation,
    /// The time of the backup.
    pub created_at: Timestamp,
}

/// The summary of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Summary {
    /// The time of the backup.
    pub created_at: Timestamp,
    /// The version of the schema of its rows.
    pub schema: u64,
    /// The incarnation of the database.
    pub incarnation: Incarnation,
    /// The number of servers.
    pub servers: u64,
    /// The number of peers.
    pub peers: u64,
    /// The number of user accounts.
    pub users: u64,
    /// The number of rows in all tables.
    pub rows: u64,
    /// The length of the backup in bytes.
    pub bytes: u64,
    /// The fault that a restore found in the backup's audit log; absent if there was none.
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
    /// The data does not begin like a backup.
    #[error("this is not a Sentrazone backup")]
    NotABackup,
    /// The backup was written by a later release.
    #[error(
        "the backup has format {0}, but this release reads format {FORMAT}: use the release that wrote it, or a later one"
    )]
    Format(u16),
    /// The backup ends too early.
    #[error("the backup is truncated")]
    Cut,
    /// The bytes differ from the ones that were written.
    #[error("the backup is damaged ({0})")]
    Damaged(&'static str),
    /// A row or a table name is larger than the format allows.
    #[error("a row in table {0} is too large for a backup")]
    TooLarge(String),
    /// The data could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}
