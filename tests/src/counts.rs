//! How often a fault is repeated, and how its figure is printed.
//!
//! Owns the choice between the short form, which every test run has, and the full counts
//! (`SENTRAZONE_FAULTS=full`), and the one line that tables are made from.

/// `full` with `SENTRAZONE_FAULTS=full`, else `short`.
#[must_use]
pub fn runs(short: usize, full: usize) -> usize {
    match std::env::var("SENTRAZONE_FAULTS").as_deref() {
        Ok("full") => full,
        _ => short,
    }
}

/// Prints the row of one fault.
pub fn figure(fault: &str, runs: usize, lost: usize, figure: &str) {
    println!("fault: {fault} | runs {runs} | lost {lost} | {figure}");
}
