//! `--watch`: a command that is repeated at regular intervals.
//!
//! Owns the rounds: their timing, the handling of a temporarily unreachable plane, and the output of each
//! round. On a terminal, the `screen` is redrawn in place, and changes are shown in reverse video. Elsewhere,
//! each round is printed, and with `--json` it is one line. It must not know which request is repeated.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use wgctl::Timestamp;

use crate::failure::Failure;
use crate::terminal::output::Output;
use crate::terminal::screen::{Event, Screen};
use crate::terminal::table::Table;
use crate::terminal::text::plain;

#[derive(Args, Clone, Copy)]
pub(crate) struct Watch {
    /// Repeat at this interval in seconds (default 2) until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    watch: Option<Duration>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "write 1 to 86400 seconds, or --watch at the end of the line".to_owned())
}

/// A result in human-readable form.
pub(crate) struct View {
    pub(crate) table: Table,
    /// The lines below the table.
    pub(crate) notes: String,
}

impl View {
    fn render(&self, out: &Output, before: Option<&Self>) -> String {
        self.table.render(out.surface(), before.map(|before| &before.table)) + &self.notes
    }
}

impl Watch {
    /// Prints the results of `ask`, once or repeatedly. `what` is the heading of the screen.
    pub(crate) async fn show<T: Serialize>(
        self,
        out: &Output,
        what: &str,
        ask: impl AsyncFn() -> Result<T, Failure>,
        view: impl Fn(&T) -> View,
    ) -> Result<(), Failure> {
        let Some(every) = self.watch else {
            let answer = ask().await?;
            return out.answer(&answer, || view(&answer).render(out, None));
        };
        if out.terminal() && !out.json() {
            return on_screen(out, what, every, ask, view).await;
        }
        in_lines(out, every, ask, view).await
    }
}

/// Prints each round below the previous one.
async fn in_lines<T: Serialize>(
    out: &Output,
    every: Duration,
    ask: impl AsyncFn() -> Result<T, Failure>,
    view: impl Fn(&T) -> View,
) -> Result<(), Failure> {
    let mut away: Option<String> = None;
    let mut first = true;
    loop {
        let next = Instant::now() + every;
        match ask().await {
            Ok(answer) if out.json() => out.line_of_json(&answer)?,
            Ok(answer) => {
                if away.take().is_some() {
                    out.note("wgctl: the plane is back");
                }
                let apart = if first { "" } else { "\n" };
                out.text(&format!("{apart}{}", view(&answer).render(out, None)))?;
            }
            Err(failure) if first || !failure.may_pass() => return Err(failure),
            Err(failure) => {
                let why = failure.to_string();
                if away.as_ref() != Some(&why) {
                    failure.tell(out.json(), "wgctl: continuing: ");
                }
                away = Some(why);
            }
        }
        first = false;
        sleep_until(next).await;
    }
}

/// Draws each round in place of the previous one.
async fn on_screen<T>(
    out: &Output,
    what: &str,
    every: Duration,
    ask: impl AsyncFn() -> Result<T, Failure>,
    view: impl Fn(&T) -> View,
) -> Result<(), Failure> {
    let mut shown = Round {
        view: view(&ask().await?),
        at: out.now(),
        before: None,
        away: None,
    };
    let mut screen = Screen::open(out)?;
    let head = format!("Every {} s: {what}", every.as_secs());
    screen.draw(&shown.lines(out, &head))?;
    let mut next = Instant::now() + every;
    loop {
        let round = async {
            sleep_until(next).await;
            ask().await
        };
        let answer = tokio::select! {
            answer = round => answer,
            event = screen.event() => match event? {
                Event::Resized => {
                    screen.draw(&shown.lines(out, &head))?;
                    continue;
                }
                Event::Ended => return Ok(()),
            },
        };
        next = Instant::now() + every;
        match answer {
            Ok(answer) => {
                let before = std::mem::replace(&mut shown.view, view(&answer));
                shown.before = Some(before);
                shown.at = out.now();
                shown.away = None;
            }
            Err(failure) if !failure.may_pass() => return Err(failure),
            Err(failure) => shown.away = Some(failure.to_string()),
        }
        screen.draw(&shown.lines(out, &head))?;
    }
}

/// The content of the screen.
struct Round {
    view: View,
    at: Timestamp,
    before: Option<View>,
    /// The reason why there is no newer result.
    away: Option<String>,
}

impl Round {
    fn lines(&self, out: &Output, head: &str) -> String {
        let state = match &self.away {
            None => self.at.to_string(),
            Some(why) => format!("{} is the latest: {}", self.at, plain(why)),
        };
        let body = self.view.render(out, self.before.as_ref());
        format!("{head}  {state}\n\n{body}")
    }
}
