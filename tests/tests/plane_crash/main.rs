//! The real plane, killed while many clients write, run on a full disk, and started with damaged databases.
//!
//! Needs no kernel with WireGuard, because there are no hosts. `SENTRAZONE_FAULT_ROUNDS` is the
//! number of kills.

mod full_disk;
mod kill;
mod ledger;
mod plane;
mod refusal;

/// Prints a line for the table of faults. The line says that nothing was lost, because any loss would have failed the
/// test.
fn say(name: &str, runs: usize, figure: &str) {
    println!("fault: {name} | runs {runs} | lost 0 | {figure}");
}
