//! x
pub mod fleet;
pub mod history;
pub mod relay;
pub mod store;
