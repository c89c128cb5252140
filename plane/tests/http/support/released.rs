//! The plane binary as a separate process, with the test's configuration.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::plane::until;

/// A running plane, which is killed on drop.
pub(crate) struct Released {
    pub(crate) address: SocketAddr,
    child: Child,
    folder: TempDir,
}

/// Returns a command that runs the plane with its state under `folder` and `more` appended to its configuration.
pub(crate) fn command(folder: &Path, more: &str) -> Command {
    wrapped(folder, more, &[])
}

/// Returns the same command, run by `wrapper`, which replaces itself with the plane.
fn wrapped(folder: &Path, more: &str, wrapper: &[&str]) -> Command {
    let config = folder.join("plane.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstate_dir = \"{0}/state\"\nsocket = \"{0}/plane.sock\"\ncache_mib = 8\n{more}",
        folder.display()
    );
    std::fs::write(&config, text).unwrap();
    let words = wrapper.iter().chain(&[env!("CARGO_BIN_EXE_sentrazone-plane")]);
    let words: Vec<_> = words.collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg("--config").arg(config);
    command
}

impl Released {
    pub(crate) fn start(more: &str) -> Self {
        Self::start_by(&[], more)
    }

    /// Starts the plane through `wrapper`, for example `prlimit --nofile=64`.
    pub(crate) fn start_by(wrapper: &[&str], more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut child = wrapped(folder.path(), more, wrapper)
            .stdin(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let address = until("the plane to listen", || {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "the plane ended: {log}");
            let line = log.lines().find(|line| line.contains("listening on http"))?;
            line.rsplit("://").next()?.trim().parse().ok()
        });
        Self { address, child, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("plane.sock")
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Returns a command that runs the binary again with the same configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sentrazone-plane"));
        command.arg("--config").arg(self.path("plane.toml")).args(arguments);
        command
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(self.log().as_bytes());
        }
    }
}
