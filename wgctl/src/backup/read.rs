//! Reading a backup, and refusing one that is not whole.
//!
//! Owns every check of the form. What is read before the end is not yet proven: whoever acts on it
//! reads to the end first, or can take everything back.

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
    /// A table begins.
    Table(&'a str),
    /// A row of it.
    Row {
        /// Its key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
}

/// A backup being read.
pub struct Reader<R> {
    input: R,
    sum: Sha256,
    header: Header,
    table: String,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Rows of each table so far.
    rows: BTreeMap<String, u64>,
    bytes: u64,
    ended: bool,
}

/// Nobody wrote a moment that a timestamp cannot be.
fn moment(seconds: i64) -> Result<Timestamp, Error> {
    let moment = Timestamp::from_unix(seconds);
    if moment.unix() != seconds {
        return Err(Error::Damaged("the moment it is of"));
    }
    Ok(moment)
}

impl<R: Read> Reader<R> {
    /// Reads a backup's beginning.
    pub fn begin(mut input: R) -> Result<Self, Error> {
        let mut sum = Sha256::new();
        let magic: [u8; 8] = first(&mut input, &mut sum).map_err(|error| match error {
            Error::Cut => Error::NotOne,
            other => other,
        })?;
        if magic != MAGIC {
            return Err(Error::NotOne);
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

    /// The backup's header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The next part; none at the end, when everything was found to be as it was written.
    pub fn item(&mut self) -> Result<Option<Item<'_>>, Error> {
        if self.ended {
            return Ok(None);
        }
        match self.array::<1>()? {
            [TABLE] => self.begin_table().map(Some),
            [ROW] => self.read_row().map(Some),
            [END] => self.end().map(|()| None),
            _ => Err(Error::Damaged("neither a table nor a row")),
        }
    }

    fn begin_table(&mut self) -> Result<Item<'_>, Error> {
        let [length] = self.array::<1>()?;
        let mut name = Vec::new();
        self.fill(&mut name, length.into())?;
        let name = String::from_utf8(name).map_err(|_| Error::Damaged("a table's name"))?;
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
            return Err(Error::Damaged("a row's length"));
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
            return Err(Error::Damaged("the number of rows"));
        }
        let sum = self.sum.clone().finalize();
        if self.array::<HASH>()?.as_slice() != sum.as_slice() {
            return Err(Error::Damaged("its checksum"));
        }
        if self.input.read(&mut [0])? != 0 {
            return Err(Error::Damaged("something follows its end"));
        }
        self.ended = true;
        Ok(())
    }

    /// Reads the rest. What is in the backup, all of it proven.
    pub fn finish(mut self) -> Result<Summary, Error> {
        while self.item()?.is_some() {}
        Ok(Summary::new(&self.header, &self.rows, self.bytes))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.bytes += N as u64;
        first(&mut self.input, &mut self.sum)
    }

    /// Reads `length` bytes. Memory grows with what comes, not with what was announced.
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

/// The summary of the backup that `input` gives, after all of it was checked.
pub fn summary(input: impl Read) -> Result<Summary, Error> {
    Reader::begin(input)?.finish()
}
