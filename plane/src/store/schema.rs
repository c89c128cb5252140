//! All tables of the database, and its schema version.
//!
//! Owns the names and the keys of the tables, the check at opening and the way forward from an
//! older schema. It must not know what the rows mean. Rows are JSON unless said otherwise; keys
//! are bytes whose order is the order of reading. A server's rows begin with its id and a zero
//! byte, which no id holds.

use std::fs;
use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError, TableHandle as _};
use wgctl::name::Incarnation;

use super::error::StoreError;
use super::rows::storage;
use super::writer::create_private;

pub(super) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The schema this release writes.
pub(super) const VERSION: u64 = 1;

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(super) const $name: Table = Table::new($text);)*
        pub(super) const ALL: &[Table] = &[$($name),*];
    };
}

tables! {
    /// `schema` and `incarnation`.
    META = "meta";
    /// id → `ServerRecord`.
    SERVERS = "servers";
    /// id → `Ledger`.
    LEDGERS = "ledgers";
    /// id → the last revision (8 bytes) of a server that was removed: should one of that id come again,
    /// its revisions go on from there.
    RETIRED = "retired_servers";
    /// SHA-256 of an agent's token → server id, as text.
    AGENT_TOKENS = "agent_tokens";
    /// id → `AgentState`.
    AGENT_STATES = "agent_states";
    /// server, place in the order of creation (8 bytes) → `PeerRecord`.
    PEERS = "peers";
    /// server, peer id (16 bytes) → place (8 bytes).
    PEER_PLACES = "peer_places";
    /// server, name → peer id.
    PEER_NAMES = "peer_names";
    /// server, public key (32 bytes) → peer id.
    PEER_KEYS = "peer_keys";
    /// server, family (1 byte), first address (16 bytes) → last address (16 bytes), owner (16 bytes).
    SPANS = "spans";
    /// server, family, first address → last address: what is free of the pool.
    FREE_RUNS = "free_runs";
    /// server, revision (8 bytes) → peer id, or nothing for the interface.
    CHANGES = "changes";
    /// server, peer id → `PeerCounters`.
    COUNTERS = "counters";
    /// server, peer id → why the kernel refused the peer, as text.
    FAILURES = "failures";
    /// server, prekey id → `Prekey`.
    PREKEYS = "prekeys";
    /// id (16 bytes) → `UserRecord`.
    USERS = "users";
    /// email → user id.
    USER_EMAILS = "user_emails";
    /// number (8 bytes) → `AuditRecord`.
    AUDIT = "audit";
    /// scope (32 bytes) → `Answer`.
    ANSWERS = "answers";
    /// time (8 bytes), scope → nothing.
    ANSWER_TIMES = "answer_times";
    /// SHA-256 of an account's email → `Penalty`.
    PENALTIES = "penalties";
    /// hour (8 bytes), server → an hour packed by `history`.
    HISTORY = "history";
}

pub(super) const SCHEMA: &[u8] = b"schema";
pub(super) const INCARNATION: &[u8] = b"incarnation";

/// Makes a fresh database's tables, checks an existing one's schema and takes an older one forward.
/// Gives the database's incarnation.
pub(super) fn prepare(database: &Database, path: &Path) -> Result<Incarnation, StoreError> {
    match version(database)? {
        None => {}
        Some(found) if found > VERSION => {
            return Err(StoreError::TooNew {
                path: path.to_owned(),
                found,
                known: VERSION,
            });
        }
        Some(found) if found < VERSION => migrate(database, path, found)?,
        Some(_) => {}
    }
    let tx = database.begin_write().map_err(storage)?;
    for table in ALL {
        tx.open_table(*table).map_err(storage)?;
    }
    let incarnation = {
        let mut meta = tx.open_table(META).map_err(storage)?;
        meta.insert(SCHEMA, VERSION.to_be_bytes().as_slice()).map_err(storage)?;
        let known = meta.get(INCARNATION).map_err(storage)?.map(|row| row.value().to_vec());
        match known {
            Some(bytes) => Incarnation::from_bytes(fixed(&bytes)?),
            None => {
                let fresh = Incarnation::random();
                meta.insert(INCARNATION, fresh.as_bytes().as_slice()).map_err(storage)?;
                fresh
            }
        }
    };
    tx.commit().map_err(storage)?;
    Ok(incarnation)
}

fn version(database: &Database) -> Result<Option<u64>, StoreError> {
    let tx = database.begin_read().map_err(storage)?;
    let meta = match tx.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(storage(error)),
    };
    let row = meta.get(SCHEMA).map_err(storage)?;
    row.map(|row| Ok(u64::from_be_bytes(fixed(row.value())?))).transpose()
}

/// Copies the database beside itself, row by row (a copy of the live file would be broken), then
/// runs every step between `found` and [`VERSION`], each in a transaction of its own.
fn migrate(database: &Database, path: &Path, found: u64) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".schema-{found}"));
    copy(database, &path.with_file_name(name))?;
    // Schema 1 is the first: there is no step yet that leads to it.
    Err(StoreError::Open {
        path: path.to_owned(),
        reason: format!("no release wrote schema {found}: restore a backup"),
    })
}

fn copy(database: &Database, to: &Path) -> Result<(), StoreError> {
    let partial = to.with_extension("partial");
    let unusable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", to.display()));
    create_private(&partial).map_err(unusable)?;
    let target = Database::create(&partial).map_err(storage)?;
    let from = database.begin_read().map_err(storage)?;
    let tx = target.begin_write().map_err(storage)?;
    for table in ALL {
        let rows = match from.open_table(*table) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(storage(error)),
        };
        let mut into = tx.open_table(*table).map_err(storage)?;
        for row in rows.range::<&[u8]>(..).map_err(storage)? {
            let (key, value) = row.map_err(storage)?;
            into.insert(key.value(), value.value()).map_err(storage)?;
        }
    }
    tx.commit().map_err(storage)?;
    drop(target);
    fs::rename(&partial, to).map_err(unusable)
}

/// The bytes of a row that has a fixed length.
pub(super) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt(format!("{} bytes where {N} belong", bytes.len())))
}

/// The table's name, for messages.
pub(super) fn name(table: &Table) -> &str {
    table.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_a_newer_schema_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plane.redb");
        let database = Database::create(&path).unwrap();
        prepare(&database, &path).unwrap();
        let tx = database.begin_write().unwrap();
        tx.open_table(META)
            .unwrap()
            .insert(SCHEMA, (VERSION + 1).to_be_bytes().as_slice())
            .unwrap();
        tx.commit().unwrap();
        let error = prepare(&database, &path).unwrap_err();
        assert!(
            matches!(error, StoreError::TooNew { found: 2, known: 1, .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains("install the release that wrote it"),
            "{error}"
        );
        assert_eq!(version(&database).unwrap(), Some(VERSION + 1));
    }

    #[test]
    fn an_older_schema_is_copied_before_anything_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plane.redb");
        let database = Database::create(&path).unwrap();
        let incarnation = prepare(&database, &path).unwrap();
        assert!(migrate(&database, &path, 0).is_err());
        let copied = Database::open(folder.path().join("plane.redb.schema-0")).unwrap();
        assert_eq!(prepare(&copied, &path).unwrap(), incarnation);
    }
}
