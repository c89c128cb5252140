//! Secrets from the person at the terminal.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use zeroize::Zeroizing;

/// Asks for one line and does not show what is typed.
///
/// Ctrl-C ends the program, as it does everywhere, but only when the terminal is as it was before:
/// rpassword reads that key itself, and raises its signal while the terminal neither shows what is
/// typed nor knows any key that interrupts.
///
/// # Errors
///
/// There is no terminal, or it failed.
pub fn ask_hidden(question: &str) -> io::Result<Zeroizing<String>> {
    let before = SigSet::thread_get_mask()?;
    SigSet::from(Signal::SIGINT).thread_block()?;
    let typed = rpassword::prompt_password(question).map(Zeroizing::new);
    // It comes here.
    before.thread_set_mask()?;
    typed
}
