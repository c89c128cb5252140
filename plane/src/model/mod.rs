//! The plain values of the domain: records, callers and their authority, and what is computed from them.
//!
//! Owns the shape of the records, callers and authorities, the allocation of addresses, the audit log's chain, and
//! which fields of a record the audit log shows. It does no I/O, and imports nothing from the rest of the plane.

pub(crate) mod audit_chain;
pub(crate) mod audit_fields;
pub(crate) mod authority;
pub(crate) mod caller;
pub(crate) mod customer;
pub(crate) mod effect;
pub(crate) mod line;
pub(crate) mod pool;
pub(crate) mod records;
