//! Backups of the whole database: writing them, checking them and restoring them.
//!
//! Owns the choice of the tables that a backup contains, and the check that a backup can be restored. It must not know
//! what else a restore changes (sessions, agents): that belongs to the fleet.
//!
//! A backup contains the rows of all tables except those in [`LEFT_OUT`]. It therefore contains password hashes, hashes
//! of agent tokens, and secrets that are sealed with keys that only the agents have. It never contains an unencrypted
//! private or preshared VPN key, or the key that signs sessions, which is not in the database.

use crate::store::transaction::{ReadEverything, WriteEverything};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _};
use std::ops::ControlFlow;
use std::path::Path;

use serde::de::DeserializeOwned;
use wgctl::Timestamp;
use wgctl::api::{AuditRecord, Checkpoint, Head, PeerCounters, Pruned, Verification};
use wgctl::audit::{Expected, Verifier};
use wgctl::backup::{Error, Header, Item, Reader, Summary, Writer};
use wgctl::name::Incarnation;
use wgctl::protocol::v1::Prekey;

use super::older_schemas;
use super::rows::{Order, Rows, Span, WriteRows, parse};
use super::schema::{self, fixed};
use super::tables::audit::chain;
use crate::model::audit_chain::Chain;
use crate::model::records::{
    Answer, Confirmation, Ledger, Measurement, PeerRecord, Penalty, ServerRecord, TokenRecord, UserRecord,
};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::table::Table;

/// The tables that no backup contains and that every restore empties. A restored stock of prekeys would include prekeys
/// that have been taken since the backup, so that two devices would share one key. Stored responses and login penalties
/// are short-lived.
const LEFT_OUT: [Table; 4] = [Table::Prekeys, Table::Answers, Table::AnswerTimes, Table::Penalties];

impl<R: Rows> ReadEverything for R {
    fn incarnation(&self) -> Result<Incarnation, StoreError> {
        let bytes = self.bytes(Table::Meta, schema::INCARNATION)?;
        let bytes = bytes.ok_or_else(|| StoreError::Corrupt("meta: no incarnation".to_owned()))?;
        Ok(Incarnation::from_bytes(fixed(&bytes)?))
    }

    fn back_up(&self, now: Timestamp, output: &mut dyn io::Write) -> Result<(), StoreError> {
        let header = Header {
            schema: schema::VERSION,
            incarnation: self.incarnation()?,
            created_at: now,
        };
        let mut writer = Writer::begin(output, &header).map_err(failed)?;
        for table in tables_of_backup() {
            writer.table(table.name()).map_err(failed)?;
            self.visit(table, Span::under(&[]), Order::Up, |key, value| {
                writer.row(key, value).map_err(failed)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        writer.end().map(drop).map_err(failed)
    }
}

impl<R: WriteRows> WriteEverything for R {
    fn replace_by(&self, backup: &mut dyn io::Read) -> Result<(), StoreError> {
        self.replace_everything()?;
        let mut reader = Reader::begin(backup).map_err(refused)?;
        rows(&mut reader, &mut |table, key, value| self.put(table, key, value))?;
        self.put(Table::Meta, schema::SCHEMA, &schema::VERSION.to_be_bytes())?;
        self.put(Table::Meta, schema::INCARNATION, Incarnation::random().as_bytes())
    }
}

impl Store {
    /// Creates a private, unnamed file in the database directory. The file disappears when its last descriptor
    /// is closed, even after a crash.
    pub(crate) fn scratch(&self) -> Result<File, StoreError> {
        let folder = self.engine.handle.path.parent().unwrap_or(Path::new("."));
        let unusable =
            |error| StoreError::Unavailable(format!("cannot create a file in {}: {error}", folder.display()));
        tempfile::tempfile_in(folder).map_err(unusable)
    }

    /// Writes a backup to a scratch file and returns the file, synced and rewound. A client that then reads the
    /// file slowly does not keep a transaction open.
    pub(crate) async fn back_up(&self, now: Timestamp) -> Result<File, StoreError> {
        let file = self.scratch()?;
        self.scan(move |tx| {
            let mut output = BufWriter::new(file);
            tx.back_up(now, &mut output)?;
            let mut file = output.into_inner().map_err(|error| failed(error.into_error().into()))?;
            file.sync_all()
                .and_then(|()| file.rewind())
                .map_err(|error| failed(error.into()))?;
            Ok(file)
        })
        .await
    }
}

/// Checks that this release can restore the whole backup. Returns a summary of its content and the result of verifying
/// its audit log. The verification accepts any signing key.
pub(crate) fn check(backup: &File) -> Result<(Summary, Verification), StoreError> {
    let mut log = Log::default();
    let summary = read(backup, |table, key, value| {
        check_record(table, value)?;
        log.note(table, key, value)
    })?;
    // The verification needs rows that come after the records in the file, so the file is read a second time.
    let mut proof = log.begin();
    let mut marks = log.marks.iter().peekable();
    read(backup, |table, key, value| {
        if table == Table::Audit {
            proof.record(&parse(table, value)?);
            while let Some((_, mark)) = marks.next_if(|(of, _)| of.as_slice() <= key) {
                proof.checkpoint(mark);
            }
        }
        Ok(())
    })?;
    if let Some(head) = log.head {
        proof.ends_at(head);
    }
    for (_, mark) in marks {
        // A checkpoint past the end of the log means that the log has been truncated.
        proof.checkpoint(mark);
    }
    Ok((summary, proof.finish()))
}

/// Passes all rows of a backup to `row`, converted to the current schema.
fn rows<R: io::Read>(
    reader: &mut Reader<R>,
    row: &mut impl FnMut(Table, &[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let found = reader.header().schema;
    let mut table = String::new();
    while let Some(item) = reader.item().map_err(refused)? {
        match item {
            Item::Table(name) => name.clone_into(&mut table),
            Item::Row { key, value } => match older_schemas::forward(found, &table, key, value) {
                Some(present) => {
                    let present = present.map_err(bad_record)?;
                    for (table, key, value) in present {
                        row(table, &key, &value)?;
                    }
                }
                None => row(table_named(&table)?, key, value)?,
            },
        }
    }
    Ok(())
}

/// Reads a backup from its beginning to its end, row by row.
fn read(
    mut backup: &File,
    mut row: impl FnMut(Table, &[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<Summary, StoreError> {
    backup.rewind().map_err(|error| failed(error.into()))?;
    let mut reader = Reader::begin(BufReader::new(backup)).map_err(refused)?;
    check_schema(reader.header().schema)?;
    rows(&mut reader, &mut row)?;
    reader.finish().map_err(refused)
}

/// The rows of an audit log other than its records: the head, the statement about removed records, and the checkpoints.
#[derive(Default)]
struct Log {
    pruned: Option<Pruned>,
    head: Option<Head>,
    /// The checkpoints, each with the key of its record, in ascending order.
    marks: Vec<(Vec<u8>, Checkpoint)>,
}

impl Log {
    fn note(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if table == Table::AuditCheckpoints {
            self.marks.push((key.to_owned(), parse(table, value)?));
        }
        if table == Table::AuditChain {
            match key {
                chain::PRUNED => self.pruned = Some(parse_record(table, value)?),
                chain::HEAD => self.head = Some(parse_record::<Chain>(table, value)?.head),
                _ => {}
            }
        }
        Ok(())
    }

    fn begin(&self) -> Verifier {
        let mut proof = Verifier::new(Expected {
            checkpoints: !self.marks.is_empty(),
            ..Expected::default()
        });
        if let Some(stub) = &self.pruned {
            proof.pruned(stub);
        }
        proof
    }
}

/// Refuses a backup with a schema that this release does not know.
fn check_schema(found: u64) -> Result<(), StoreError> {
    let known = schema::VERSION;
    match found {
        0 => Err(StoreError::BadBackup("backups with schema 0 do not exist".to_owned())),
        found if found > known => Err(StoreError::BadBackup(format!(
            "the backup has schema {found}, but this release only supports schemas up to {known}: \
             install the release that made it, or a later one"
        ))),
        _ => Ok(()),
    }
}

/// Checks that this release can read a row's record.
fn check_record(table: Table, value: &[u8]) -> Result<(), StoreError> {
    fn is<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<(), StoreError> {
        parse_record::<T>(table, value).map(drop)
    }
    match table {
        Table::Servers => is::<ServerRecord>(table, value),
        Table::Ledgers => is::<Ledger>(table, value),
        Table::Confirmations => is::<Confirmation>(table, value),
        Table::Measurements => is::<Measurement>(table, value),
        Table::Peers => is::<PeerRecord>(table, value),
        Table::Counters => is::<PeerCounters>(table, value),
        Table::Prekeys => is::<Prekey>(table, value),
        Table::Users => is::<UserRecord>(table, value),
        Table::ApiTokens => is::<TokenRecord>(table, value),
        Table::Audit => is::<AuditRecord>(table, value),
        Table::AuditCheckpoints => is::<Checkpoint>(table, value),
        Table::Answers => is::<Answer>(table, value),
        Table::Penalties => is::<Penalty>(table, value),
        // Raw bytes, text and indexes are not checked here: the code that reads them reports values that it cannot
        // read.
        Table::Meta
        | Table::RetiredServers
        | Table::AgentTokens
        | Table::PeerPlaces
        | Table::PeerNames
        | Table::PeerKeys
        | Table::Spans
        | Table::FreeRuns
        | Table::Changes
        | Table::Failures
        | Table::SpentPrekeys
        | Table::UserEmails
        | Table::ApiTokenHashes
        | Table::ApiTokenNames
        | Table::ApiTokenUses
        | Table::AuditChain
        | Table::AuditActors
        | Table::AuditActions
        | Table::AuditTargets
        | Table::AuditRuns
        | Table::AnswerTimes
        | Table::History => Ok(()),
    }
}

fn parse_record<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T, StoreError> {
    parse::<T>(table, value).map_err(bad_record)
}

fn bad_record(error: StoreError) -> StoreError {
    StoreError::BadBackup(format!("the backup has a record that cannot be read ({error})"))
}

/// Returns the tables in a backup, in the order in which they appear there.
fn tables_of_backup() -> Vec<Table> {
    let left_out = |table: &Table| LEFT_OUT.contains(table);
    let mut tables: Vec<Table> = Table::ALL.iter().filter(|table| !left_out(table)).copied().collect();
    tables.sort_by_key(|table| table.name());
    tables
}

fn table_named(wanted: &str) -> Result<Table, StoreError> {
    let found = tables_of_backup().into_iter().find(|table| table.name() == wanted);
    found.ok_or_else(|| {
        StoreError::BadBackup(format!(
            "the backup has a table {wanted:?} that this release does not know"
        ))
    })
}

/// Returns the error for a backup that cannot be read or restored.
fn refused(error: Error) -> StoreError {
    match error {
        Error::Io(error) => failed(error.into()),
        other => StoreError::BadBackup(other.to_string()),
    }
}

/// Returns the error for a failure to write or read a backup.
fn failed(error: Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
