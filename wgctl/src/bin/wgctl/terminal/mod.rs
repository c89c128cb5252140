//! Everything that is shown or typed on the terminal.
//!
//! Owns output, tables, redrawn screens, progress bars, prompts and QR codes. It must not talk to a plane.

pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod prompt;
pub(crate) mod qr_code;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod watch;
