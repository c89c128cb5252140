//! The number of repetitions for each fault, and the printed form of its result.
//!
//! Owns the choice between the short form, which ordinary test runs use, and the full counts
//! (`SENTRAZONE_FAULTS=full`). It also owns the printed line from which the tables are made.

/// Returns `full` if `SENTRAZONE_FAULTS` is `full`, otherwise `short`.
#[must_use]
pub fn runs(short: usize, full: usize) -> usize {
    match std::env::var("SENTRAZONE_FAULTS").as_deref() {
        Ok("full") => full,
        _ => short,
    }
}

/// Prints the result of one fault.
pub fn figure(fault: &str, runs: usize, lost: usize, figure: &str) {
    println!("fault: {fault} | runs {runs} | lost {lost} | {figure}");
}
