//! The text of a reason that an agent sends, bounded before it is stored or shown.

use crate::model::line::one_line;

/// The most characters of a reason that are kept.
const LONGEST_REASON: usize = 300;

/// Returns an agent's reason on one line and of bounded length.
pub(crate) fn reason_line(reason: &str) -> String {
    one_line(reason, LONGEST_REASON)
}
