//! Network namespaces, one for each host.
//!
//! Owns creating, entering and deleting them with `ip netns`. Entering moves only the calling thread
//! and the threads that it starts afterwards. In an emulated host, starting a program takes longer than most of them
//! run, so `ip` is called directly and with several commands at once.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A network namespace. It is deleted when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Creates a namespace with its loopback interface up. Needs root.
    #[must_use]
    pub fn new() -> Self {
        Self::named("ns")
    }

    /// Like [`Netns::new`], with a name that begins with `role`.
    #[must_use]
    pub fn named(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{role}-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        run(&["ip", "netns", "add", &name]);
        let namespace = Self { name };
        namespace.ip(&["link set lo up"]);
        namespace
    }

    /// Returns the namespace's name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves the calling thread into the namespace permanently.
    pub fn enter(&self) {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)
            .unwrap_or_else(|error| panic!("setns {path}: {error}"));
    }

    /// Returns a command that will run in the namespace.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        match program {
            "ip" => command.args(["-n", &self.name]),
            _ => command.args(["netns", "exec", &self.name, program]),
        };
        command
    }

    /// Runs `ip` commands in the namespace (`ip -batch`). Panics with the output if one of them fails.
    pub fn ip(&self, commands: &[&str]) {
        batch(&["-n", &self.name], commands);
    }

    /// Runs a program in the namespace and returns its output. Panics with the output if the program fails.
    pub fn exec(&self, words: &[&str]) -> String {
        let [program, arguments @ ..] = words else {
            panic!("no program to run")
        };
        checked(words, self.command(program).args(arguments).output())
    }

    /// Runs a program in the namespace. Returns true if it succeeded.
    #[must_use]
    pub fn succeeds(&self, words: &[&str]) -> bool {
        let [program, arguments @ ..] = words else {
            panic!("no program to run")
        };
        self.command(program)
            .args(arguments)
            .output()
            .is_ok_and(|output| output.status.success())
    }
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Runs a program in the caller's namespace and returns its output. Panics with the output if the program fails.
pub fn run(words: &[&str]) -> String {
    let [program, arguments @ ..] = words else {
        panic!("no program to run")
    };
    checked(words, Command::new(program).args(arguments).output())
}

/// Runs `ip` commands in the caller's namespace (`ip -batch`). Panics with the output if one of them fails.
pub fn ip(commands: &[&str]) {
    batch(&[], commands);
}

fn batch(options: &[&str], commands: &[&str]) {
    let mut child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ip");
    let mut input = child.stdin.take().expect("its standard input");
    input.write_all(commands.join("\n").as_bytes()).expect("the commands");
    drop(input);
    checked(commands, child.wait_with_output());
}

fn checked(words: &[&str], output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{words:?}: {}\n{printed}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}
