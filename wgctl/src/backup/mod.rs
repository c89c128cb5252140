//! The backup of a plane as a file: its format, its writer, and a reader that verifies every byte.
//!
//! Owns the format, which the plane and `wgctl` share. It must not know what the rows mean, and it must not do
//! anything but read and write streams.
//!
//! All numbers are big-endian:
//!
//! | part | bytes |
//! | --- | --- |
//! | magic | `89 53 5A 42 4B 0D 0A 1A` (`SZBK` between bytes that a text-mode transfer would corrupt) |
//! | format | u16, 1 |
//! | schema version of the rows | u64 |
//! | incarnation of the database | 16 bytes |
//! | time of the backup | i64, Unix seconds |
//! | `T`: the start of a table | name length (u8), name; in ascending order of names |
//! | `R`: a row of that table | key length (u32), value length (u32), key, value; in ascending order of keys |
//! | `E`: the end | number of rows (u64), SHA-256 hash of everything before the hash |
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
