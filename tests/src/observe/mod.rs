//! Observations made through independent tools and the kernel while the tests run.

pub mod figures;
pub mod interface_state;
pub mod resources;
pub mod sessions;
pub mod statistics;
pub mod trace;
pub mod traffic;
