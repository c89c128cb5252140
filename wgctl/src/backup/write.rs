//! Writing of a backup.
//!
//! Owns the order of its parts. It must not sort: the database returns rows in ascending order.

use std::io::Write;

use sha2::{Digest as _, Sha256};

use super::format::{END, Error, FORMAT, Header, LONGEST_KEY, LONGEST_VALUE, MAGIC, ROW, TABLE};

/// A backup that is being written.
pub struct Writer<W> {
    output: W,
    sum: Sha256,
    table: String,
    rows: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a backup.
    pub fn begin(output: W, header: &Header) -> Result<Self, Error> {
        let mut writer = Self {
            output,
            sum: Sha256::new(),
            table: String::new(),
            rows: 0,
        };
        writer.put(&MAGIC)?;
        writer.put(&FORMAT.to_be_bytes())?;
        writer.put(&header.schema.to_be_bytes())?;
        writer.put(header.incarnation.as_bytes())?;
        writer.put(&header.created_at.unix().to_be_bytes())?;
        Ok(writer)
    }

    /// Begins a table. Tables must be written in ascending order of their names.
    pub fn table(&mut self, name: &str) -> Result<(), Error> {
        name.clone_into(&mut self.table);
        let length = u8::try_from(name.len()).map_err(|_| Error::TooLarge(name.to_owned()))?;
        self.put(&[TABLE, length])?;
        self.put(name.as_bytes())
    }

    /// Writes a row of the current table. Rows must be written in ascending order of their keys.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let fits = |bytes: &[u8], most| u32::try_from(bytes.len()).ok().filter(|length| *length <= most);
        let lengths = fits(key, LONGEST_KEY).zip(fits(value, LONGEST_VALUE));
        let (of_key, of_value) = lengths.ok_or_else(|| Error::TooLarge(self.table.clone()))?;
        self.put(&[ROW])?;
        self.put(&of_key.to_be_bytes())?;
        self.put(&of_value.to_be_bytes())?;
        self.put(key)?;
        self.put(value)?;
        self.rows += 1;
        Ok(())
    }

    /// Ends the backup and returns the output.
    pub fn end(mut self) -> Result<W, Error> {
        let rows = self.rows;
        self.put(&[END])?;
        self.put(&rows.to_be_bytes())?;
        let sum = self.sum.clone().finalize();
        self.output.write_all(sum.as_slice())?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.sum.update(bytes);
        Ok(self.output.write_all(bytes)?)
    }
}
