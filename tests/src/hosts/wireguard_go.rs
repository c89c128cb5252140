//! A wireguard-go interface (Debian package `wireguard-go`), which is removed when dropped.
//!
//! Needs root and `/dev/net/tun`. The sockets of all namespaces are in one directory, so an interface's name
//! must be unique on the whole machine.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::wait;

/// The wireguard-go process and its interface.
pub struct WireguardGo {
    process: Child,
    interface: String,
}

impl WireguardGo {
    /// Runs `command` (wireguard-go without arguments, possibly in a namespace) and waits until its socket accepts
    /// connections.
    pub fn start(mut command: Command, interface: &str) -> Self {
        command
            .args(["--foreground", interface])
            .env("WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("wireguard-go cannot be started ({error}): install it, e.g. `apt-get install wireguard-go`")
        });
        let started = Self {
            process,
            interface: interface.to_owned(),
        };
        let answers = || UnixStream::connect(started.socket()).is_ok();
        wait::until_blocking("wireguard-go answers", answers, |answers| *answers);
        started
    }

    /// Returns the path of the socket on which wireguard-go accepts requests.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/var/run/wireguard/{}.sock", self.interface))
    }
}

impl Drop for WireguardGo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(self.socket());
    }
}
