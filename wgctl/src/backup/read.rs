//! Reading of a backup. An incomplete or damaged backup is refused.
//!
//! Owns all checks of the format. Data that is read before the end of the backup has not been verified yet. Callers
//! must not act on such data before they have reached the end, unless they can undo everything.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};

use sha2::{Digest as _, Sha256};

use super::format::{
    END, Error, FORMAT, HASH, HEADER_LEN, Header, LONGEST_KEY, LONGEST_VALUE, MAGIC, ROW, Summary, TABLE,
};
use crate::Timestamp;
use crate::name::Incarnation;

/// A part of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// The start of a table.
    Table(&'a str),
    /// A row of the current table.
    Row {
        /// Its key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
}

/// A backup that is being read.
pub struct Reader<R> {
    input: R,
    sum: Sha256,
    header: Header,
    table: String,
    key: Vec<u8>,
    value: Vec<u8>,
    /// The number of rows in each table so far.
    rows: BTreeMap<String, u64>,
    bytes: u64,
    ended: bool,
}

/// Converts the time of the backup. A value outside the range of a timestamp cannot have been written.
fn moment(seconds: i64) -> Result<Timestamp, Error> {
    let moment = Timestamp::from_unix(seconds);
    if moment.unix() != seconds {
        return Err(Error::Damaged("invalid time"));
    }
    Ok(moment)
}

impl<R: Read> Reader<R> {
    /// Reads the header of a backup.
    pub fn begin(mut input: R) -> Result<Self, Error> {
        let mut sum = Sha256::new();
        let magic: [u8; 8] = first(&mut input, &mut sum).map_err(|error| match error {
            Error::Cut => Error::NotABackup,
            other => other,
        })?;
        if magic != MAGIC {
            return Err(Error::NotABackup);
        }
        let format = u16::from_be_bytes(first(&mut input, &mut sum)?);
        if format != FORMAT {
            return Err(Error::Format(format));
        }
        let header = Header {
            schema: u64::from_be_bytes(first(&mut input, &mut sum)?),
            incarnation: Incarnation::from_bytes(first(&mut input, &mut sum)?),
            created_at: moment(i64::from_be_bytes(first(&mut input, &mut sum)?))?,
        };
        Ok(Self {
            input,
            sum,
            header,
            table: String::new(),
            key: Vec::new(),
            value: Vec::new(),
            rows: BTreeMap::new(),
            bytes: HEADER_LEN,
            ended: false,
        })
    }

    /// Returns the header of the backup.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Reads the next part. Returns `None` at the end, after everything has been verified.
    pub fn item(&mut self) -> Result<Option<Item<'_>>, Error> {
        if self.ended {
            return Ok(None);
        }
        match self.array::<1>()? {
            [TABLE] => self.begin_table().map(Some),
            [ROW] => self.read_row().map(Some),
            [END] => self.end().map(|()| None),
            _ => Err(Error::Damaged("a part of unknown type")),
        }
    }

    fn begin_table(&mut self) -> Result<Item<'_>, Error> {
        let [length] = self.array::<1>()?;
        let mut name = Vec::new();
        self.fill(&mut name, length.into())?;
        let name = String::from_utf8(name).map_err(|_| Error::Damaged("invalid table name"))?;
        if name <= self.table {
            return Err(Error::Damaged("tables out of order"));
        }
        self.rows.insert(name.clone(), 0);
        self.table = name;
        Ok(Item::Table(&self.table))
    }

    fn read_row(&mut self) -> Result<Item<'_>, Error> {
        let of_key = u32::from_be_bytes(self.array()?);
        let of_value = u32::from_be_bytes(self.array()?);
        if of_key > LONGEST_KEY || of_value > LONGEST_VALUE {
            return Err(Error::Damaged("invalid row length"));
        }
        let (mut key, mut value) = (Vec::new(), std::mem::take(&mut self.value));
        self.fill(&mut key, of_key)?;
        self.fill(&mut value, of_value)?;
        let rows = self
            .rows
            .get_mut(&self.table)
            .ok_or(Error::Damaged("a row without a table"))?;
        if *rows > 0 && key <= self.key {
            return Err(Error::Damaged("rows out of order"));
        }
        *rows += 1;
        (self.key, self.value) = (key, value);
        Ok(Item::Row {
            key: &self.key,
            value: &self.value,
        })
    }

    fn end(&mut self) -> Result<(), Error> {
        let rows = u64::from_be_bytes(self.array()?);
        if rows != self.rows.values().sum::<u64>() {
            return Err(Error::Damaged("wrong number of rows"));
        }
        let sum = self.sum.clone().finalize();
        if self.array::<HASH>()?.as_slice() != sum.as_slice() {
            return Err(Error::Damaged("wrong checksum"));
        }
        if self.input.read(&mut [0])? != 0 {
            return Err(Error::Damaged("extra data after the end"));
        }
        self.ended = true;
        Ok(())
    }

    /// Reads the rest of the backup and returns its summary. By then, all of it has been verified.
    pub fn finish(mut self) -> Result<Summary, Error> {
        while self.item()?.is_some() {}
        Ok(Summary::new(&self.header, &self.rows, self.bytes))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.bytes += N as u64;
        first(&mut self.input, &mut self.sum)
    }

    /// Reads `length` bytes. Memory use grows with the data that arrives, not with the declared length.
    fn fill(&mut self, buffer: &mut Vec<u8>, length: u32) -> Result<(), Error> {
        buffer.clear();
        let read = (&mut self.input).take(length.into()).read_to_end(buffer)?;
        if read as u64 != u64::from(length) {
            return Err(Error::Cut);
        }
        self.sum.update(&buffer);
        self.bytes += u64::from(length);
        Ok(())
    }
}

fn first<const N: usize>(input: &mut impl Read, sum: &mut Sha256) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Error::Cut,
        _ => Error::Io(error),
    })?;
    sum.update(bytes);
    Ok(bytes)
}

/// Reads and verifies the whole backup in `input`, and returns its summary.
pub fn summary(input: impl Read) -> Result<Summary, Error> {
    Reader::begin(input)?.finish()
}
