//! Progress bars for long operations.
//!
//! Owns the bars on stderr, which disappear when the operation ends. They must appear only on a terminal, and
//! never with `--json` or `--quiet`.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::output::Output;

/// The interval at which an idle bar is redrawn.
const TICK: Duration = Duration::from_millis(200);

/// A bar that disappears when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Creates a bar that counts bytes; `total` is their number, if it is known.
    pub(crate) fn of_bytes(out: &Output, total: Option<u64>) -> Self {
        let known = "{bar:30}  {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
        Self::new(out, total, known, "{spinner}  {binary_bytes}, {binary_bytes_per_sec}")
    }

    /// Creates a bar that counts items.
    pub(crate) fn of(out: &Output, total: usize) -> Self {
        let known = "{bar:30}  {pos} of {len}, {per_sec}, {eta} left";
        Self::new(out, u64::try_from(total).ok(), known, "{spinner}  {pos}")
    }

    fn new(out: &Output, total: Option<u64>, known: &str, unknown: &str) -> Self {
        if !out.progress() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let template = if total.is_some() { known } else { unknown };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Advances the bar by `count`.
    pub(crate) fn more(&self, count: usize) {
        self.0.inc(count as u64);
    }

    /// Moves the bar to `count`.
    pub(crate) fn so_far(&self, count: u64) {
        self.0.set_position(count);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_templates_are_valid() {
        for template in [
            "{bar:30}  {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            "{spinner}  {binary_bytes}, {binary_bytes_per_sec}",
            "{bar:30}  {pos} of {len}, {per_sec}, {eta} left",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
