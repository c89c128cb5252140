//! A plane and an agent, as separate processes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use sentrazone_tests::process::{Process, binary};
use sentrazone_tests::wait::until_blocking;
use serde_json::{Value, json};

use crate::http::{Answer, ask, ask_locally};

pub(crate) const EMAIL: &str = "ops@example.com";
pub(crate) const PASSWORD: &str = "canary-password-5fJq2x";

/// A plane on free ports.
pub(crate) struct Plane {
    // Dropped before the directory that it uses.
    pub(crate) process: Process,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) admin: String,
}

impl Plane {
    pub(crate) fn start(more: &str) -> Self {
        Self::start_as("info", more, Command::new)
    }

    /// Starts a plane with the log level `log`. `command` creates the command for a program.
    pub(crate) fn start_as(log: &str, more: &str, command: impl FnOnce(PathBuf) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_config(folder.path(), log, more);
        let mut command = command(binary("sentrazone-plane"));
        command.arg("--config").arg(folder.path().join("plane.toml"));
        let process = Process::start("plane", command, folder.path());
        let mut plane = Self {
            address: said(&process, "listening on http://"),
            metrics: said(&process, "metrics on http://"),
            process,
            folder,
            admin: String::new(),
        };
        let user = json!({"email": EMAIL, "password": PASSWORD, "role": "admin"});
        plane.locally("POST", "/api/users", Some(&user)).json(201);
        plane.admin = plane.login(EMAIL, PASSWORD).json(200)["token"]
            .as_str()
            .unwrap()
            .to_owned();
        plane
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("plane.sock")
    }

    pub(crate) fn locally(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        ask_locally(&self.socket(), method, path, body)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        ask(self.address, method, path, &self.admin, body)
    }

    pub(crate) fn login(&self, email: &str, password: &str) -> Answer {
        let body = json!({"email": email, "password": password});
        ask(self.address, "POST", "/api/login", "", Some(&body))
    }

    /// Registers a server. Returns its agent's token.
    pub(crate) fn add_server(&self, id: &str) -> String {
        let body = json!({"id": id, "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/24"]});
        let made = self.ask("POST", "/api/servers", Some(&body)).json(201);
        made["agent_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn add_peer(&self, server: &str, name: &str) -> Answer {
        self.ask(
            "POST",
            &format!("/api/wg-clients/{server}"),
            Some(&json!({"name": name})),
        )
    }

    /// Creates a peer with its own key. This needs no agent.
    pub(crate) fn add_own_peer(&self, server: &str, name: &str) -> Value {
        let key = wgctl::PrivateKey::generate().unwrap().public_key();
        let body = json!({"name": name, "publicKey": key, "presharedKey": false});
        self.ask("POST", &format!("/api/wg-clients/{server}"), Some(&body))
            .json(201)
    }

    /// Returns the metrics page from the plane's separate metrics address.
    pub(crate) fn page(&self) -> String {
        page(self.metrics)
    }
}

/// Writes the plane's configuration, replacing an existing one.
pub(crate) fn write_config(folder: &Path, log: &str, more: &str) {
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstate_dir = \"{0}/state\"\nsocket = \"{0}/plane.sock\"\nlog = \"{log}\"\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n{more}\n",
        folder.display()
    );
    std::fs::write(folder.join("plane.toml"), text).unwrap();
}

/// An agent that connects to a plane.
pub(crate) struct Agent {
    // Dropped before the directory that it uses.
    pub(crate) process: Process,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) metrics: SocketAddr,
    plane: SocketAddr,
}

impl Agent {
    pub(crate) fn start(plane: &Plane, token: &str, log: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), token).unwrap();
        write_agent_config(folder.path(), plane.address, log);
        let mut command = Command::new(binary("sentrazone-agent"));
        command.arg("--config").arg(folder.path().join("agent.toml"));
        let process = Process::start("agent", command, folder.path());
        Self {
            metrics: said(&process, "metrics on http://"),
            process,
            folder,
            plane: plane.address,
        }
    }

    pub(crate) fn configure(&self, log: &str) {
        write_agent_config(self.folder.path(), self.plane, log);
    }

    pub(crate) fn page(&self) -> String {
        page(self.metrics)
    }
}

fn write_agent_config(folder: &Path, plane: SocketAddr, log: &str) {
    let text = format!(
        "plane = [\"http://{plane}\"]\ntoken_file = \"{0}/token\"\nstate_dir = \"{0}/state\"\nreport_interval = 1\n\
         backend = \"userspace\"\nmetrics_listen = \"127.0.0.1:0\"\nlog = \"{log}\"\n",
        folder.display()
    );
    std::fs::write(folder.join("agent.toml"), text).unwrap();
}

fn page(address: SocketAddr) -> String {
    let answer = ask(address, "GET", "/metrics", "", None);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let media_type = answer.header("content-type");
    assert_eq!(media_type, Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.body
}

/// Waits until a program's log names the address that the program listens on. Returns that address.
fn said(process: &Process, words: &str) -> SocketAddr {
    let log = until_blocking(
        words,
        || process.log(),
        |log| log.split(words).nth(1).is_some_and(|rest| rest.contains('\n')),
    );
    let rest = log.split(words).nth(1).unwrap();
    let address = rest
        .split(|c: char| c == '/' || c.is_whitespace() || c == '\u{1b}')
        .next()
        .unwrap();
    address.parse().unwrap_or_else(|error| panic!("{address:?}: {error}"))
}
