//! The text of a reason that an agent sends, bounded before it is stored or shown.

use crate::model::line::one_line;

/// How much of a reason is kept.
const LONGEST_REASON: usize = 300;

/// A reason that an agent gave, on one line and of bounded length.
pub(crate) fn reason_line(reason: &str) -> String {
    one_line(reason, LONGEST_REASON)
}
