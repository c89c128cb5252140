//! Opening a database at a path, and migrating it to this release's schema.
//!
//! Owns the order of operations at startup. It must not know the steps (`schema`). A new database is renamed into place
//! only when it is complete. A newer schema is refused. A database with an older schema is copied to a file next to it,
//! the copy is verified, and then the database is migrated step by step. If any of this is interrupted, the next start
//! completes it.
//!
//! The copy makes it possible to go back to the earlier release. It has a new incarnation, because the two databases
//! count their later revisions independently: an agent that has seen revisions of one of them needs a snapshot of the
//! other.

use std::path::{Path, PathBuf};

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError,
    TableHandle as _, WriteTransaction,
};
use wgctl::name::Incarnation;

use super::definition::Definition;
use super::disk;
use super::disk::Medium;
use super::rows::storage;
use super::schema::{INCARNATION, SCHEMA, Schema, Step, fixed};
use crate::store::error::StoreError;
use crate::store::table::Table;

/// The table that exists in every schema.
const META: Definition = Table::Meta.definition();

/// The size of the page cache for databases that are open only briefly, in bytes.
const CACHE: usize = 16 << 20;

/// Opens the database at `path`, creating it if it does not exist. It has `schema` or an older one, and stays locked
/// while it is open. [`migrate`] must be called before it is used.
pub(in crate::store) fn open(
    medium: &dyn Medium,
    path: &Path,
    cache_bytes: usize,
    schema: &Schema,
) -> Result<Database, StoreError> {
    let unusable = |error: std::io::Error| StoreError::Open {
        path: path.to_owned(),
        reason: format!("{error}: check its directory and the owner of the directory"),
    };
    if !medium.exists(path).map_err(unusable)? {
        // The database is created under another name, so that an empty file at `path` can only be one that has lost its
        // content.
        let fresh = beside(path, "new");
        let database = disk::create(medium, &fresh, CACHE)?;
        create_tables(&database, schema)?;
        drop(database);
        medium.rename(&fresh, path).map_err(unusable)?;
    }
    let database = disk::open(medium, path, cache_bytes)?;
    let found = version(&database)?;
    if found > schema.version {
        return Err(StoreError::TooNew {
            path: path.to_owned(),
            found,
            known: schema.version,
            copy: newest_copy(medium, path, schema.version),
        });
    }
    Ok(database)
}

/// Migrates an open database to `schema`. Returns its incarnation.
pub(in crate::store) fn migrate(
    medium: &dyn Medium,
    database: &Database,
    path: &Path,
    schema: &Schema,
) -> Result<Incarnation, StoreError> {
    let found = version(database)?;
    if found < schema.version {
        run_steps(medium, database, path, found, schema)?;
    }
    create_tables(database, schema)
}

/// Returns the path of the copy that is made before a database with schema `version` is migrated.
fn copy_path(path: &Path, version: u64) -> PathBuf {
    beside(path, &format!("schema-{version}"))
}

/// Returns the newest existing copy whose schema is at most `known`.
fn newest_copy(medium: &dyn Medium, path: &Path, known: u64) -> Option<PathBuf> {
    let mut copies = (1..=known).rev().map(|version| copy_path(path, version));
    // An error here must not hide the reason why the database is refused.
    copies.find(|copy| medium.exists(copy).unwrap_or(false))
}

/// Returns `path` with `.` and `end` appended to the file name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{end}"));
    path.with_file_name(name)
}

/// Creates the tables that do not exist yet. Returns the database's incarnation.
fn create_tables(database: &Database, schema: &Schema) -> Result<Incarnation, StoreError> {
    let tx = database.begin_write().map_err(storage)?;
    for table in schema.tables {
        tx.open_table(table.definition()).map_err(storage)?;
    }
    put_version(&tx, schema.version)?;
    let incarnation = {
        let mut meta = tx.open_table(META).map_err(storage)?;
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

fn put_version(tx: &WriteTransaction, version: u64) -> Result<(), StoreError> {
    let mut meta = tx.open_table(META).map_err(storage)?;
    meta.insert(SCHEMA, version.to_be_bytes().as_slice()).map_err(storage)?;
    Ok(())
}

fn version(database: &Database) -> Result<u64, StoreError> {
    let tx = database.begin_read().map_err(storage)?;
    let meta = match tx.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            return Err(StoreError::Corrupt(
                "it has no schema, so it is not a plane database".to_owned(),
            ));
        }
        Err(error) => return Err(storage(error)),
    };
    let row = meta.get(SCHEMA).map_err(storage)?;
    let row = row.ok_or_else(|| StoreError::Corrupt("meta: no schema".to_owned()))?;
    Ok(u64::from_be_bytes(fixed(row.value())?))
}

fn run_steps(
    medium: &dyn Medium,
    database: &Database,
    path: &Path,
    found: u64,
    schema: &Schema,
) -> Result<(), StoreError> {
    let failed = |to: u64, reason: String| StoreError::Migration {
        path: path.to_owned(),
        from: found,
        to,
        reason,
    };
    let steps: Vec<&Step> = schema.steps.iter().filter(|step| step.to > found).collect();
    if steps.first().is_none_or(|step| step.to != found + 1) {
        return Err(failed(found + 1, "unknown schema: restore a backup".to_owned()));
    }
    let copied = copy_path(path, found);
    tracing::info!(copy = %copied.display(), "copying the database before its schema changes");
    copy(medium, database, &copied).map_err(|error| {
        let reason = format!("its copy {} could not be created: {error}", copied.display());
        failed(found + 1, reason)
    })?;
    for step in steps {
        let stepped = run_step(database, step);
        stepped.map_err(|error| failed(step.to, error.to_string()))?;
        tracing::info!(schema = step.to, "the database has a new schema");
    }
    Ok(())
}

fn run_step(database: &Database, step: &Step) -> Result<(), StoreError> {
    let mut tx = database.begin_write().map_err(storage)?;
    tx.set_two_phase_commit(true);
    (step.run)(&tx)?;
    put_version(&tx, step.to)?;
    tx.commit().map_err(storage)
}

/// Copies the rows and verifies the copy. A byte-by-byte copy of an open file could be inconsistent. The copy is
/// renamed into place only when it is complete.
fn copy(medium: &dyn Medium, database: &Database, to: &Path) -> Result<(), StoreError> {
    let partial = beside(to, "partial");
    let copied = copy_rows(medium, database, &partial).and_then(|()| {
        medium
            .rename(&partial, to)
            .map_err(|error| storage(redb::Error::Io(error)))
    });
    if copied.is_err() {
        // A partial copy must not take up space on a full disk.
        let _ = medium.remove(&partial);
    }
    copied
}

fn copy_rows(medium: &dyn Medium, database: &Database, to: &Path) -> Result<(), StoreError> {
    let from = database.begin_read().map_err(storage)?;
    let incarnation = Incarnation::random();
    let target = disk::create(medium, to, CACHE)?;
    let tx = target.begin_write().map_err(storage)?;
    for name in names(&from)? {
        let rows = from.open_table(table(&name)).map_err(storage)?;
        let mut into = tx.open_table(table(&name)).map_err(storage)?;
        for row in rows.range::<&[u8]>(..).map_err(storage)? {
            let (key, value) = row.map_err(storage)?;
            if let Some(kept) = value_in_copy(&name, key.value(), value.value(), &incarnation) {
                into.insert(key.value(), kept).map_err(storage)?;
            }
        }
    }
    tx.commit().map_err(storage)?;
    drop(target);
    // Reopening the copy verifies its pages as they are on the disk.
    let target = disk::open(medium, to, CACHE)?;
    let copied = target.begin_read().map_err(storage)?;
    for name in names(&from)? {
        compare_rows(&from, &copied, &name, &incarnation)?;
    }
    Ok(())
}

/// Returns the value that a row has in the copy, or `None` if the copy does not contain the row. The stock of prekeys
/// is left out, because peers that are created after the migration take their keys from it: if the copy had the same
/// stock, it would give these keys to other devices. Agents refill the stock when they connect.
fn value_in_copy<'a>(table: &str, key: &[u8], value: &'a [u8], incarnation: &'a Incarnation) -> Option<&'a [u8]> {
    if table == Table::Prekeys.name() {
        None
    } else if table == Table::Meta.name() && key == INCARNATION {
        Some(incarnation.as_bytes())
    } else {
        Some(value)
    }
}

fn names(tx: &ReadTransaction) -> Result<Vec<String>, StoreError> {
    let tables = tx.list_tables().map_err(storage)?;
    Ok(tables.map(|table| table.name().to_owned()).collect())
}

fn table(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

fn compare_rows(
    from: &ReadTransaction,
    copied: &ReadTransaction,
    name: &str,
    incarnation: &Incarnation,
) -> Result<(), StoreError> {
    let differs = || StoreError::Corrupt(format!("{name}: the copy differs from the original"));
    let rows = from.open_table(table(name)).map_err(storage)?;
    let copies = copied.open_table(table(name)).map_err(storage)?;
    let mut copies = copies.range::<&[u8]>(..).map_err(storage)?;
    for row in rows.range::<&[u8]>(..).map_err(storage)? {
        let (key, value) = row.map_err(storage)?;
        let Some(kept) = value_in_copy(name, key.value(), value.value(), incarnation) else {
            continue;
        };
        let copy = copies.next().ok_or_else(differs)?.map_err(storage)?;
        if (key.value(), kept) != (copy.0.value(), copy.1.value()) {
            return Err(differs());
        }
    }
    match copies.next() {
        None => Ok(()),
        Some(_) => Err(differs()),
    }
}
