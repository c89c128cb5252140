//! The terminal during a command with `--watch`.
//!
//! Owns the alternate screen (xterm's control sequences, `ctlseqs`), its restoration however the command ends
//! (Ctrl-C, an error, suspension by Ctrl-Z), and the fitting of the content into the window. It must not know
//! what is drawn.

use std::io::{IsTerminal as _, stdin};

use console::measure_text_width;
use nix::sys::signal::{Signal as Number, raise};
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::terminal::output::Output;

/// Enters the alternate screen and hides the cursor.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[H";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";
const CLEAR_LINE: &str = "\u{1b}[K";
const CLEAR_REST: &str = "\u{1b}[J";

/// An event while the screen is open.
pub(crate) enum Event {
    /// The screen must be drawn again.
    Resized,
    /// The user has ended the command.
    Ended,
}

/// A terminal in use. Its state is restored on drop.
pub(crate) struct Screen<'o> {
    out: &'o Output,
    resized: Signal,
    stopped: Signal,
    ended: [Signal; 3],
    /// The previous settings of the terminal.
    before: Option<Termios>,
}

impl<'o> Screen<'o> {
    pub(crate) fn open(out: &'o Output) -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::Local(format!("cannot wait for signals: {error}")));
        let screen = Self {
            out,
            resized: listen(SignalKind::window_change())?,
            stopped: listen(SignalKind::from_raw(Number::SIGTSTP as i32))?,
            ended: [
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
            ],
            before: Some(stdin())
                .filter(stdin_is_terminal)
                .and_then(|stdin| tcgetattr(stdin).ok()),
        };
        screen.enter()?;
        Ok(screen)
    }

    /// Draws these lines, or as many of them as fit.
    pub(crate) fn draw(&self, lines: &str) -> Result<(), Failure> {
        let (rows, columns) = self.out.size().unwrap_or((24, 80));
        let mut drawing = HOME.to_owned();
        for (index, line) in fitting(lines, rows, columns).iter().enumerate() {
            if index > 0 {
                drawing.push('\n');
            }
            drawing.push_str(line);
            // At the margin, the cursor is still on the last character, so clearing the rest of the line
            // would erase it.
            let width = measure_text_width(line);
            if width == 0 || !width.is_multiple_of(columns) {
                drawing.push_str(CLEAR_LINE);
            }
        }
        drawing.push_str(CLEAR_REST);
        self.out.text(&drawing)
    }

    /// Waits for the next event.
    pub(crate) async fn event(&mut self) -> Result<Event, Failure> {
        let [interrupt, terminate, hangup] = &mut self.ended;
        tokio::select! {
            _ = self.resized.recv() => Ok(Event::Resized),
            _ = self.stopped.recv() => {
                self.leave();
                // The process continues here when the shell resumes it.
                raise(Number::SIGSTOP).map_err(|error| Failure::Local(format!("cannot stop: {error}")))?;
                self.enter()?;
                Ok(Event::Resized)
            }
            _ = interrupt.recv() => Ok(Event::Ended),
            _ = terminate.recv() => Ok(Event::Ended),
            _ = hangup.recv() => Ok(Event::Ended),
        }
    }

    fn enter(&self) -> Result<(), Failure> {
        if let Some(before) = &self.before {
            // Echoed characters would overwrite the table. Ctrl-C still raises its signal.
            let mut silent = before.clone();
            silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON);
            // The screen is shown even if echo cannot be turned off.
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, &silent);
        }
        self.out.text(ENTER)
    }

    /// Restores the terminal. If it cannot be written to, it is gone, so errors are ignored.
    fn leave(&self) {
        let _ = self.out.text(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcflush(stdin(), FlushArg::TCIFLUSH);
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, before);
        }
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

fn stdin_is_terminal(stdin: &std::io::Stdin) -> bool {
    stdin.is_terminal()
}

/// Returns the lines that fit into the window, allowing for wrapping. If some do not fit, the last line counts them.
fn fitting(lines: &str, rows: usize, columns: usize) -> Vec<String> {
    let height = |line: &str| measure_text_width(line).div_ceil(columns).max(1);
    let all: Vec<&str> = lines.lines().collect();
    if all.iter().map(|line| height(line)).sum::<usize>() <= rows {
        return all.into_iter().map(str::to_owned).collect();
    }
    let mut room = rows.saturating_sub(1);
    let mut fit = Vec::new();
    for line in &all {
        match room.checked_sub(height(line)) {
            Some(left) => room = left,
            None => break,
        }
        fit.push((*line).to_owned());
    }
    fit.push(format!("… {} more lines", all.len() - fit.len()));
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_do_not_fit_are_counted() {
        let lines = "head\n\na\nb\nc\n";
        assert_eq!(fitting(lines, 5, 80), ["head", "", "a", "b", "c"]);
        assert_eq!(fitting(lines, 4, 80), ["head", "", "a", "… 2 more lines"]);
        assert_eq!(
            fitting("head\nsixteen letters.\nb\n", 3, 8),
            ["head", "… 2 more lines"],
            "a long line counts as the rows that it wraps into, and colour codes do not count"
        );
        assert_eq!(
            fitting("head\n\u{1b}[31mred\u{1b}[0m\n", 2, 8),
            ["head", "\u{1b}[31mred\u{1b}[0m"]
        );
        assert_eq!(fitting(lines, 0, 80), ["… 5 more lines"]);
    }
}
