//! The real plane, killed under many writers, and on a disk that is full.
//!
//! Needs no kernel with WireGuard: nothing here reaches a host. `SENTRAZONE_FAULT_ROUNDS` is the
//! number of kills.

mod full_disk;
mod kill;
mod ledger;
mod plane;
mod refusal;

/// Prints a line of the table of faults. A loss has failed the test before.
fn say(name: &str, runs: usize, figure: &str) {
    println!("fault: {name} | runs {runs} | lost 0 | {figure}");
}
