//! Parts of the documents that programs read or write.

pub mod manual;
pub mod reference;
pub mod settings;
