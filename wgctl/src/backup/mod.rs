//! The backup of a plane as a file: its format, its writer, and a reader that verifies every byte.
//!
//! Owns the format, which plane and command share. It must not know what the rows mean, and it must not do
//! anything but read and write streams.
//!
//! All numbers are big-endian:
//!
//! | what | bytes |
//! | --- | --- |
//! | magic | `89 53 5A 42 4B 0D 0A 1A` (`SZBK` between bytes that a text transfer would spoil) |
//! | format | u16, 1 |
//! | schema of the rows | u64 |
//! | incarnation of the database | 16 |
//! | time of the backup | i64, Unix seconds |
//! | `T`: a table begins | u8 length, name; names ascend |
//! | `R`: a row of that table | u32 length of the key, u32 length of the value, key, value; keys ascend |
//! | `E`: the end | u64 number of rows, SHA-256 of everything before the hash |
//!
//! A file that is truncated or extended, or in which any bit has been flipped, is refused: the hash covers
//! everything before it, and nothing may follow it.

mod format;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use format::{Error, Header, MEDIA_TYPE, Summary};
pub use read::{Item, Reader, summary};
pub use write::Writer;
