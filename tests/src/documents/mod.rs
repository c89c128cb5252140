//! The documents, as programs read and write them.

pub mod manual;
pub mod reference;
pub mod settings;
