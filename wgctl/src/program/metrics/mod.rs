//! The metrics of Sentrazone programs, in the Prometheus format.
//!
//! Owns the page (text format 0.0.4), the metrics of a program's build and process, and a separate address
//! for the page. It must not know what else is measured.

mod address;
mod number;
mod page;
mod process;

pub use address::{Listening, check_listen};
pub use number::{Kind, number};
pub use page::{CONTENT_TYPE, PATH, Page, seconds, write_once};
