//! Prompts for secrets on the terminal.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use zeroize::Zeroizing;

/// Prompts for one line and does not show what is typed.
///
/// Ctrl-C ends the program as usual, but only after the terminal's settings have been restored: rpassword
/// reads that key itself, and raises the signal while echo and the interrupt keys are still turned off.
///
/// # Errors
///
/// Fails if there is no terminal, or if it cannot be used.
pub fn ask_hidden(question: &str) -> io::Result<Zeroizing<String>> {
    let before = SigSet::thread_get_mask()?;
    SigSet::from(Signal::SIGINT).thread_block()?;
    let typed = rpassword::prompt_password(question).map(Zeroizing::new);
    // A pending SIGINT is delivered here.
    before.thread_set_mask()?;
    typed
}
