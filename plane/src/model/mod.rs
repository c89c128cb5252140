//! The plain value types of the domain: records, callers and their authority, and the values computed from them.
//!
//! Owns the shape of the records, callers and authorities, the allocation of addresses, the audit log's chain, and the
//! choice of the record fields that the audit log shows. It must not do any I/O, or import anything from the rest of
//! the plane.

pub(crate) mod audit_chain;
pub(crate) mod audit_fields;
pub(crate) mod authority;
pub(crate) mod caller;
pub(crate) mod client_network;
pub(crate) mod effect;
pub(crate) mod pool;
pub(crate) mod records;
pub(crate) mod safe_text;
