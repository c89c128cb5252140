//! The results of the fault suite, one line per fault.
//!
//! Owns the number of repetitions of each fault (`SENTRAZONE_FAULTS=full` for the full counts), the
//! printed line, and the table row in the directory `$SENTRAZONE_GUEST_OUT/faults`, from which `make faults`
//! assembles the table. It must not decide whether a figure is good.

use std::path::PathBuf;

use crate::traffic::Tally;

/// Returns true if the full counts were requested.
#[must_use]
pub fn full() -> bool {
    std::env::var("SENTRAZONE_FAULTS").is_ok_and(|what| what == "full")
}

/// Returns the number of repetitions: `many` in the full suite, `few` in its short form.
#[must_use]
pub fn runs(many: u32, few: u32) -> u32 {
    if full() { many } else { few }
}

/// Prints the result of `runs` repetitions of a fault, and stores the fault's table row.
pub fn report(fault: &str, runs: u32, tally: &Tally, figure: &str) {
    let Tally {
        tunnels,
        sent,
        lost,
        rehandshakes,
        ..
    } = tally;
    println!(
        "fault: {fault} | runs {runs} | lost {lost} of {sent} | re-handshakes {rehandshakes} | {figure} | {tally}"
    );
    let Some(folder) = std::env::var_os("SENTRAZONE_GUEST_OUT").map(PathBuf::from) else {
        return;
    };
    let folder = folder.join("faults");
    std::fs::create_dir_all(&folder).expect("a directory for the table");
    let file: String = fault
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    let row = format!("| {fault} | {runs} | {tunnels} | {sent} | {lost} | {rehandshakes} | {figure} |\n");
    std::fs::write(folder.join(format!("{file}.row")), row).expect("a row of the table");
}

/// Formats the median and the maximum of these durations.
#[must_use]
pub fn spread(durations: &[std::time::Duration]) -> String {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let (Some(middle), Some(last)) = (sorted.get(sorted.len() / 2), sorted.last()) else {
        return "none".to_owned();
    };
    format!("p50 {:.2} s, max {:.2} s", middle.as_secs_f64(), last.as_secs_f64())
}
