//! The plain values of the domain: what is recorded, and who does something with what authority.
//!
//! Owns the records' shape, callers and authority, and which fields of a record the audit log shows. It does no I/O,
//! and imports nothing from the rest of the plane.

pub(crate) mod audit_chain;
pub(crate) mod audit_fields;
pub(crate) mod authority;
pub(crate) mod caller;
pub(crate) mod customer;
pub(crate) mod effect;
pub(crate) mod line;
pub(crate) mod pool;
pub(crate) mod records;
