//! A plane for one test, which the test can start and stop.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sentrazone_plane::config::Limits;
use sentrazone_plane::{Config, Plane};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::support::client::{Answer, request};

pub(crate) const EMAIL: &str = "ops@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct TestPlane {
    pub(crate) address: SocketAddr,
    pub(crate) dir: TempDir,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl TestPlane {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (address, running) = launch(dir.path(), |_| {});
        Self {
            address,
            dir,
            running: Some(running),
        }
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (address, running) = launch(dir.path(), change);
        Self {
            address,
            dir,
            running: Some(running),
        }
    }

    /// Stops the plane and waits until it has ended.
    pub(crate) fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().expect("the plane ends without an error");
        }
    }

    /// Stops the plane and starts another on the same state directory.
    pub(crate) fn restart(&mut self) {
        self.restart_with(|_| {});
    }

    pub(crate) fn restart_with(&mut self, change: impl FnOnce(&mut Config)) {
        self.stop();
        let (address, running) = launch(self.dir.path(), change);
        self.address = address;
        self.running = Some(running);
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("plane.sock")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        state_dir(self.dir.path())
    }

    /// Creates an API token over the local socket.
    pub(crate) fn add_token(&self, new: &Value) -> String {
        let made = request("POST", "/api/tokens")
            .json(new)
            .send_local(&self.socket())
            .expect(201);
        made["token"].as_str().expect("a token").to_owned()
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        request("GET", path).token(token).send(self.address)
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        request("POST", path).token(token).json(body).send(self.address)
    }

    pub(crate) fn patch(&self, path: &str, token: &str, body: &Value) -> Answer {
        request("PATCH", path).token(token).json(body).send(self.address)
    }

    pub(crate) fn delete(&self, path: &str, token: &str) -> Answer {
        request("DELETE", path).token(token).send(self.address)
    }

    /// Creates a user over the local socket.
    pub(crate) fn add_user(&self, email: &str, role: &str) -> Value {
        let body = json!({"email": email, "password": PASSWORD, "role": role});
        request("POST", "/api/users")
            .json(&body)
            .send_local(&self.socket())
            .expect(201)
    }

    pub(crate) fn try_login(&self, email: &str, password: &str) -> Answer {
        let body = json!({"email": email, "password": password});
        request("POST", "/api/login").json(&body).send(self.address)
    }

    pub(crate) fn login(&self, email: &str) -> String {
        let session = self.try_login(email, PASSWORD).expect(200);
        session["token"].as_str().expect("a token").to_owned()
    }

    /// Creates an admin and returns a session token.
    pub(crate) fn admin(&self) -> String {
        self.add_user(EMAIL, "admin");
        self.login(EMAIL)
    }

    /// Registers a server and returns its agent's token.
    pub(crate) fn add_server(&self, admin: &str, id: &str) -> String {
        let body =
            json!({"id": id, "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/24", "fd00:8::/64"]});
        let made = self.post("/api/servers", admin, &body).expect(201);
        made["agent_token"].as_str().expect("a token").to_owned()
    }
}

impl Drop for TestPlane {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

fn state_dir(dir: &Path) -> PathBuf {
    dir.join("state")
}

pub(crate) fn config(dir: &Path) -> Config {
    // The tests write as fast as they can. A separate test covers the limit.
    let many = NonZeroU32::new(1_000_000).expect("it is not zero");
    let limits = Limits {
        writes_per_second: many,
        write_burst: many,
        ..Limits::default()
    };
    Config {
        limits,
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        state_dir: state_dir(dir),
        socket: Some(dir.join("plane.sock")),
        cache_size: 8 << 20,
        ..Config::default()
    }
}

fn launch(dir: &Path, change: impl FnOnce(&mut Config)) -> (SocketAddr, (oneshot::Sender<()>, JoinHandle<()>)) {
    let mut config = config(dir);
    change(&mut config);
    let (stop, stopped) = oneshot::channel();
    let (bound, addresses) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let plane = Plane::bind(&config).await.expect("the plane starts");
            bound.send(plane.addresses()[0]).expect("the test waits");
            let shutdown = async {
                let _ = stopped.await;
            };
            plane.serve(shutdown).await.expect("the plane ends without an error");
        });
    });
    let address = addresses.recv().expect("the plane starts");
    (address, (stop, thread))
}

/// Waits until `condition` returns a value.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
