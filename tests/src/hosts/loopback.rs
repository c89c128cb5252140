//! A plane on this machine's loopback interface, as a separate process.
//!
//! Owns its directory, its process, and its port, which stays the same across restarts. Machines in
//! QEMU's user network reach it at 10.0.2.2.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use wgctl::api::ServerCreated;
use wgctl::client::{PlaneClient, Target};

use crate::process::{Process, binary};
use crate::wait;

/// A plane that can be stopped and started again.
pub struct LoopbackPlane {
    // Dropped before the directory that it uses.
    process: Option<Process>,
    folder: tempfile::TempDir,
    port: u16,
}

impl LoopbackPlane {
    /// Starts a plane, and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_from(&binary("sentrazone-plane")).await
    }

    /// Like [`LoopbackPlane::start`], but runs the file `program`.
    pub async fn start_from(program: &Path) -> Self {
        let mut plane = Self::configured();
        plane.give_back_from(program).await;
        plane
    }

    /// Creates the plane's directory and configuration.
    fn configured() -> Self {
        let plane = Self {
            process: None,
            folder: tempfile::Builder::new()
                .prefix("sentrazone-plane")
                .tempdir()
                .expect("a folder"),
            port: free_port(),
        };
        let config = format!(
            "listen = \"127.0.0.1:{1}\"\nstate_dir = \"{0}/state\"\nsocket = \"{0}/plane.sock\"\n\
             [limits]\nwrites_per_second = 1_000_000\nwrite_burst = 1_000_000\n",
            plane.folder.path().display(),
            plane.port
        );
        std::fs::write(plane.folder.path().join("plane.toml"), config).expect("plane.toml");
        plane
    }

    /// Starts the plane (again) and waits until it is ready.
    pub async fn give_back(&mut self) {
        self.give_back_from(&binary("sentrazone-plane")).await;
    }

    async fn give_back_from(&mut self, program: &Path) {
        let mut command = Command::new(program);
        command.arg("--config").arg(self.folder.path().join("plane.toml"));
        self.process = Some(Process::start("plane", command, self.folder.path()));
        let admin = self.admin();
        wait::until("the plane is ready", || admin.ready(), Result::is_ok)
            .await
            .expect("ready");
    }

    /// Kills the plane. Connections to it are then refused.
    pub fn take_away(&mut self) {
        self.process().kill();
    }

    /// Returns the plane's process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a plane")
    }

    /// Returns a client that reaches the plane over its unix socket, as the local admin.
    #[must_use]
    pub fn admin(&self) -> PlaneClient {
        PlaneClient::new(Target::Socket(self.folder.path().join("plane.sock")), None).expect("a client")
    }

    /// Returns the directory of the plane's files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the plane's TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Creates a server record with this pool and with masquerading enabled.
    pub async fn server(&self, id: &str, endpoint: &str, pool: &[&str]) -> ServerCreated {
        let new = json!({"id": id, "endpoint": endpoint, "address_pool": pool, "masquerade": true});
        let new = serde_json::from_value(new).expect("a server");
        self.admin().create_server(&new, None).await.expect("a server")
    }
}

/// Returns a free TCP port on the loopback interface.
#[must_use]
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
