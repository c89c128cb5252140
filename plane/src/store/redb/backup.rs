//! Everything that is recorded, at once: written out as a backup, and replaced by one.
//!
//! Owns which tables a backup holds, and the check that a backup can be restored. It must not know
//! what else changes when everything does (sessions, agents): that is the fleet's.
//!
//! A backup has the rows of all tables but [`LEFT_OUT`]. So it holds password hashes, hashes of
//! agents' tokens and secrets sealed under keys that only the agents have; never a VPN key in clear,
//! nor the key that signs sessions, which is no row at all.

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

/// What no backup holds and every restore drops. A stock of prekeys would come back with those that
/// were given out since: two devices would have one key. Answers and penalties are of the moment.
const LEFT_OUT: [Table; 4] = [Table::Prekeys, Table::Answers, Table::AnswerTimes, Table::Penalties];

impl<R: Rows> ReadEverything for R {
    fn incarnation(&self) -> Result<Incarnation, StoreError> {
        let bytes = self.bytes(Table::Meta, schema::INCARNATION)?;
        let bytes = bytes.ok_or_else(|| StoreError::Corrupt("it has no incarnation".to_owned()))?;
        Ok(Incarnation::from_bytes(fixed(&bytes)?))
    }

    fn back_up(&self, now: Timestamp, output: &mut dyn io::Write) -> Result<(), StoreError> {
        let header = Header {
            schema: schema::VERSION,
            incarnation: self.incarnation()?,
            created_at: now,
        };
        let mut writer = Writer::begin(output, &header).map_err(failed)?;
        for table in kept() {
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
    /// A file without a name, ours alone, beside the database: it is gone with the last that has it
    /// open, however that ends.
    pub(crate) fn scratch(&self) -> Result<File, StoreError> {
        let folder = self.shared.handle.path.parent().unwrap_or(Path::new("."));
        let unusable = |error| StoreError::Unavailable(format!("no file can be made in {}: {error}", folder.display()));
        tempfile::tempfile_in(folder).map_err(unusable)
    }

    /// A backup in a file of its own, at its beginning and on disk: whoever reads it slowly holds no
    /// transaction.
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

/// What is in a backup, when all of it can be restored by this release; and whether the audit log in it
/// is as it was written, whoever signed it.
pub(crate) fn check(backup: &File) -> Result<(Summary, Verification), StoreError> {
    let mut log = Log::default();
    let summary = read(backup, |table, key, value| {
        readable(table, value)?;
        log.note(table, key, value)
    })?;
    // What the verification needs first comes last in the file, so the file is read once more.
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
        // Whoever cut the log off left it behind.
        proof.checkpoint(mark);
    }
    Ok((summary, proof.finish()))
}

/// Hands all rows of a backup to `row`, as the present schema has them.
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
                    for (table, key, value) in present? {
                        row(table, &key, &value)?;
                    }
                }
                None => row(known(&table)?, key, value)?,
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
    fits(reader.header().schema)?;
    rows(&mut reader, &mut row)?;
    reader.finish().map_err(refused)
}

/// What stands beside the records of an audit log.
#[derive(Default)]
struct Log {
    pruned: Option<Pruned>,
    head: Option<Head>,
    /// Each under its record's key, in order.
    marks: Vec<(Vec<u8>, Checkpoint)>,
}

impl Log {
    fn note(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if table == Table::AuditCheckpoints {
            self.marks.push((key.to_owned(), parse(table, value)?));
        }
        if table == Table::AuditChain {
            match key {
                chain::PRUNED => self.pruned = Some(legible(table, value)?),
                chain::HEAD => self.head = Some(legible::<Chain>(table, value)?.head),
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

/// Refuses a backup of a schema that this release does not know.
fn fits(found: u64) -> Result<(), StoreError> {
    let known = schema::VERSION;
    match found {
        0 => Err(StoreError::BadBackup("no release made backups of schema 0".to_owned())),
        found if found > known => Err(StoreError::BadBackup(format!(
            "the backup has schema {found}, this release knows up to {known}: install the release that made it, or a later one"
        ))),
        _ => Ok(()),
    }
}

/// Whether a row's record is one that this release reads.
fn readable(table: Table, value: &[u8]) -> Result<(), StoreError> {
    fn is<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<(), StoreError> {
        legible::<T>(table, value).map(drop)
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
        // Bytes, texts and indexes: their readers name what they cannot read.
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

fn legible<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T, StoreError> {
    let told = |error| StoreError::BadBackup(format!("the backup has a record that cannot be read ({error})"));
    parse::<T>(table, value).map_err(told)
}

/// The tables of a backup, in its order.
fn kept() -> Vec<Table> {
    let left_out = |table: &Table| LEFT_OUT.contains(table);
    let mut tables: Vec<Table> = Table::ALL.iter().filter(|table| !left_out(table)).copied().collect();
    tables.sort_by_key(|table| table.name());
    tables
}

fn known(wanted: &str) -> Result<Table, StoreError> {
    let found = kept().into_iter().find(|table| table.name() == wanted);
    found.ok_or_else(|| {
        StoreError::BadBackup(format!(
            "the backup has a table {wanted:?} that this release does not know"
        ))
    })
}

/// Why what was given cannot be restored, or could not be read.
fn refused(error: Error) -> StoreError {
    match error {
        Error::Io(error) => failed(error.into()),
        other => StoreError::BadBackup(other.to_string()),
    }
}

/// Why a backup could not be made or read.
fn failed(error: Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
