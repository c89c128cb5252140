//! A plane for one test, as a process that can be killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sentrazone_tests::process::{Process, binary};
use sentrazone_tests::wait;
use wgctl::ServerId;
use wgctl::api::NewServer;
use wgctl::client::{PlaneClient, Target};

pub(crate) struct Plane {
    process: Option<Process>,
    folder: PathBuf,
}

impl Plane {
    /// Configures a plane without starting it. Its state is in `state`.
    pub(crate) fn new(folder: &Path, state: &Path) -> Self {
        let config = format!(
            "listen = \"127.0.0.1:0\"\nstate_dir = \"{}\"\nsocket = \"{}\"\n\
             [limits]\nwrites_per_second = 1_000_000\nwrite_burst = 1_000_000\n",
            state.display(),
            folder.join("plane.sock").display()
        );
        std::fs::write(folder.join("plane.toml"), config).unwrap();
        Self {
            process: None,
            folder: folder.to_owned(),
        }
    }

    /// Starts the plane and waits until it is ready. Returns the time it took.
    pub(crate) async fn start(&mut self) -> Duration {
        let mut command = Command::new(binary("sentrazone-plane"));
        command.arg("--config").arg(self.folder.join("plane.toml"));
        let began = Instant::now();
        self.process = Some(Process::start("plane", command, &self.folder));
        let client = self.client();
        wait::until("the plane is ready", || client.ready(), Result::is_ok)
            .await
            .unwrap();
        began.elapsed()
    }

    /// Returns a client that acts as the local admin.
    pub(crate) fn client(&self) -> PlaneClient {
        PlaneClient::new(Target::Socket(self.folder.join("plane.sock")), None).unwrap()
    }

    pub(crate) fn database_size(&self) -> u64 {
        std::fs::metadata(self.folder.join("state/plane.redb")).unwrap().len()
    }

    pub(crate) fn kill(&mut self) {
        self.process.as_mut().expect("the plane has been started").kill();
    }

    pub(crate) fn stop(&mut self) {
        let status = self.process.as_mut().expect("the plane has been started").stop();
        assert!(status.success(), "{status}");
    }
}

pub(crate) async fn add_server(client: &PlaneClient, id: &str) -> ServerId {
    let new: NewServer = serde_json::from_value(serde_json::json!({
        "id": id, "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/16", "fd00:8::/64"]
    }))
    .unwrap();
    client.create_server(&new, None).await.unwrap().server.id
}
