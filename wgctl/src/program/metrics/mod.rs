//! The metrics of our programs, as Prometheus reads them.
//!
//! Owns the page (text format 0.0.4), what every program tells of its build and its process, and an
//! address of its own for it. It must not know what else is measured.

mod address;
mod number;
mod page;
mod process;

pub use address::{Listening, check_listen};
pub use number::{Kind, number};
pub use page::{CONTENT_TYPE, PATH, Page, seconds, write_once};
