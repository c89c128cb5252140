//! The reasons that agents send, shortened before they are stored or shown.

use crate::model::safe_text::one_line;

/// The maximum length of a stored reason, in characters.
const LONGEST_REASON: usize = 300;

/// Returns an agent's reason as one line of limited length.
pub(crate) fn reason_line(reason: &str) -> String {
    one_line(reason, LONGEST_REASON)
}
