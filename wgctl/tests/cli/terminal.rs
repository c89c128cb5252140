//! A pseudoterminal that runs a program; tests read its output and type into it.
//!
//! Contains no assertions about the command. The program runs in a session of its own (util-linux's `setsid`), so
//! that Ctrl-C sends it a signal as on a real terminal. `env` restores the signal's default action in case
//! it is ignored. The session's leader is a shell that waits until all output has been read: when a leader exits, the
//! kernel discards unread output (`pty_flush_buffer`, `drivers/tty/pty.c`).

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo, ttyname};

use crate::support::Home;

/// The longest time that any step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Printed by the shell after the program's output (ASCII record separator).
const END_MARK: u8 = 0x1e;

/// Runs `"$@"`, prints the end mark, waits until a line can be read from `$RELEASE`, and exits as the program did. The
/// shell's own messages about signals are not shown.
const LEADER: &str = r#"exec 4>&2 2>/dev/null
trap '' INT
env --unset=RELEASE --default-signal=INT "$@" 2>&4 4>&-
code=$?
printf '\036'
read -r _ <"$RELEASE"
if [ "$code" -gt 128 ]; then
    trap - INT
    kill -s "$((code - 128))" "$$"
fi
exit "$code""#;

pub(crate) struct Terminal {
    keyboard: File,
    child: Child,
    path: PathBuf,
    screen: Arc<(Mutex<Shown>, Condvar)>,
}

#[derive(Default)]
struct Shown {
    bytes: Vec<u8>,
    ended: bool,
    /// The number of bytes that the test has already matched.
    seen: usize,
}

impl Terminal {
    /// Runs wgctl with these arguments, separated by whitespace, on a terminal of 24 rows and 120 columns.
    pub(crate) fn wgctl(home: &Home, words: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = vec![env!("CARGO_BIN_EXE_wgctl")];
        command.extend(words.split_whitespace());
        Self::run(home, &command, environment)
    }

    pub(crate) fn run(home: &Home, command: &[&str], environment: &[(&str, &str)]) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        // Processes that other tests start must not inherit the descriptors.
        for end in [pty.master.as_fd(), pty.slave.as_fd()] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let path = ttyname(pty.slave.as_fd()).unwrap();
        let stdio = || pty.slave.try_clone().unwrap();
        let release = home
            .0
            .join(format!("terminal-{}", path.file_name().unwrap().to_string_lossy()));
        mkfifo(&release, Mode::S_IRWXU).unwrap();
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", "sh", "-c", LEADER, "sh"])
            .args(command)
            .env_clear()
            .env("HOME", &home.0)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TERM", "xterm")
            .env("RELEASE", &release)
            .envs(environment.iter().copied())
            .current_dir(&home.0)
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        drop(pty.slave);
        let keyboard = File::from(pty.master);
        let mut output = keyboard.try_clone().unwrap();
        let screen: Arc<(Mutex<Shown>, Condvar)> = Arc::default();
        let written = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                // On Linux, reading fails with EIO once no process has the terminal open.
                let count = output.read(&mut buffer).unwrap_or(0);
                let mut shown = written.0.lock().unwrap();
                shown.bytes.extend_from_slice(&buffer[..count]);
                let marked = shown.bytes.pop_if(|last| *last == END_MARK).is_some();
                shown.ended = marked || count == 0;
                written.1.notify_all();
                if marked {
                    std::fs::write(&release, "\n").unwrap();
                    std::fs::remove_file(&release).unwrap();
                }
                if shown.ended {
                    break;
                }
            }
        });
        Self {
            keyboard,
            child,
            path,
            screen,
        }
    }

    /// Waits until `text` appears after the text of the previous wait.
    pub(crate) fn until(&self, text: &str) {
        assert!(
            self.is_shown_within(PATIENCE, text),
            "{text:?} does not appear after:\n{}",
            String::from_utf8_lossy(&self.screen.0.lock().unwrap().bytes).escape_debug()
        );
    }

    /// Types these keys, and repeats them until `text` appears.
    pub(crate) fn enter_until(&mut self, keys: &str, text: &str) {
        for _ in 0..5 {
            self.enter(keys);
            if self.is_shown_within(PATIENCE / 6, text) {
                return;
            }
        }
        self.until(text);
    }

    fn is_shown_within(&self, patience: Duration, text: &str) -> bool {
        let deadline = Instant::now() + patience;
        let mut shown = self.screen.0.lock().unwrap();
        loop {
            let rest = &shown.bytes[shown.seen..];
            if let Some(at) = rest.windows(text.len()).position(|part| part == text.as_bytes()) {
                shown.seen += at + text.len();
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if shown.ended || left.is_zero() {
                return false;
            }
            shown = self.screen.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    pub(crate) fn enter(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Returns the process id of the program, which is the shell's only child.
    fn program(&self) -> i32 {
        let (deadline, shell) = (Instant::now() + PATIENCE, self.child.id());
        let children = format!("/proc/{shell}/task/{shell}/children");
        loop {
            let list = std::fs::read_to_string(&children).unwrap_or_default();
            if let Some(program) = list.split_whitespace().next() {
                return program.parse().unwrap();
            }
            assert!(Instant::now() < deadline, "the program has not started");
            std::thread::yield_now();
        }
    }

    /// Waits until the program is stopped (`T` in the stat file of proc(5)). An earlier SIGCONT would be lost.
    pub(crate) fn until_stopped(&self) {
        let deadline = Instant::now() + PATIENCE;
        let path = format!("/proc/{}/stat", self.program());
        while !std::fs::read_to_string(&path).unwrap().contains(") T ") {
            assert!(Instant::now() < deadline, "the program is not stopped");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Waits until the shell and `env` have executed the program. An earlier Ctrl-C would be lost.
    pub(crate) fn until_begun(&self) {
        let deadline = Instant::now() + PATIENCE;
        let program = format!("/proc/{}/exe", self.program());
        let before = ["sh", "dash", "bash", "env"];
        while std::fs::read_link(&program).is_ok_and(|path| before.iter().any(|name| path.ends_with(name))) {
            assert!(Instant::now() < deadline, "the program has not started");
            std::thread::yield_now();
        }
    }

    /// Waits until the terminal no longer echoes input.
    pub(crate) fn until_silent(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.settings().contains("-echo ") {
            assert!(Instant::now() < deadline, "the terminal still echoes input");
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.program()), signal).unwrap();
    }

    pub(crate) fn resize(&self, rows: usize, columns: usize) {
        self.stty(&["rows", &rows.to_string(), "cols", &columns.to_string()]);
    }

    /// Returns the terminal settings as printed by `stty -a`.
    pub(crate) fn settings(&self) -> String {
        self.stty(&["-a"])
    }

    fn stty(&self, words: &[&str]) -> String {
        let output = Command::new("stty")
            .arg("-F")
            .arg(&self.path)
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until the program exits; returns its exit status and all its output.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = self.screen.0.lock().unwrap();
        while !shown.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the terminal is still open");
            shown = self.screen.1.wait_timeout(shown, left).unwrap().0;
        }
        let status = self.child.wait().unwrap();
        (status, String::from_utf8_lossy(&shown.bytes).into_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A failed test must not leave the program running: the kernel sends it SIGHUP when the session's leader exits.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
