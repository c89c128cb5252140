//! The real plane, killed while many write, and on a disk that is full.
//!
//! Needs no kernel with WireGuard: nothing here reaches a host. `SENTRAZONE_FAULT_ROUNDS` says how
//! often the plane is killed.

mod full_disk;
mod kill;
mod ledger;
mod plane;
mod refusal;

/// A line of the table of faults: a loss fails the test before it comes here.
fn say(name: &str, runs: usize, figure: &str) {
    println!("fault: {name} | runs {runs} | lost 0 | {figure}");
}
