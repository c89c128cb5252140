//! The wgctl command.
fn main() {}
