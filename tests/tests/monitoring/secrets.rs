//! No secret may be logged, at any level.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sentrazone_tests::wait::until_blocking;
use serde_json::json;

use crate::http::ask;
use crate::rig::{Agent, EMAIL, PASSWORD, Plane};

/// Secrets that must not be in a log, each with the name that a failed check prints.
#[derive(Default)]
struct Canaries(Vec<(&'static str, String)>);

impl Canaries {
    fn add(&mut self, name: &'static str, secret: &str) {
        assert!(secret.len() >= 12, "{name}: too short to search for");
        self.0.push((name, secret.to_owned()));
    }

    /// Adds a key, in all forms in which programs print bytes.
    fn add_key(&mut self, name: &'static str, base64: &str) {
        let bytes = BASE64.decode(base64.trim()).unwrap();
        assert_eq!(bytes.len(), 32, "{name}");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [base64.trim().to_owned(), hex.to_uppercase(), hex, listed(&bytes)] {
            self.add(name, &text);
        }
    }

    #[track_caller]
    fn absent_from(&self, log: &str, whose: &str) {
        for (name, secret) in &self.0 {
            let line = log.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "the {whose}'s log contains the {name}");
        }
    }
}

/// Formats bytes as `{:?}` does, without the brackets.
fn listed(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    numbers.join(", ")
}

fn at_trace(program: std::path::PathBuf) -> Command {
    let mut command = Command::new(program);
    command.env("SENTRAZONE_LOG", "trace");
    command
}

#[test]
fn no_secret_is_logged_at_the_most_verbose_level() {
    let plane = Plane::start_as("trace", "", at_trace);
    let mut canaries = Canaries::default();
    canaries.add("password", PASSWORD);
    canaries.add("session token", &plane.admin);

    let token = plane.add_server("los-angeles");
    canaries.add("agent token", &token);
    let agent = Agent::start(&plane, &token, "trace");
    // Checks that the log level is in effect. Otherwise the test would prove nothing.
    for process in [&plane.process, &agent.process] {
        until_blocking(
            "lines at the most verbose level are logged",
            || process.log(),
            |log| log.contains("DEBUG") && log.contains("INFO"),
        );
    }
    let created = until_blocking(
        "the agent has sent keys",
        || plane.add_peer("los-angeles", "alice"),
        |answer| answer.status == 201,
    );
    let client = format!(
        "/api/wg-clients/los-angeles/{}",
        created.json(201)["id"].as_str().unwrap()
    );
    let config = plane.ask("GET", &format!("{client}/configuration"), None);
    assert_eq!(config.status, 200);
    let setting = |name: &str| {
        let mut lines = config.body.lines().filter_map(|line| line.split_once(" = "));
        lines
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
            .unwrap()
    };
    canaries.add_key("peer's private key", &setting("PrivateKey"));
    canaries.add_key("peer's preshared key", &setting("PresharedKey"));
    assert_eq!(plane.ask("GET", &format!("{client}/qrcode"), None).status, 200);
    for file in files(&agent.folder.path().join("state")) {
        if let Ok(text) = std::fs::read_to_string(&file)
            && BASE64.decode(text.trim()).is_ok_and(|key| key.len() == 32)
        {
            canaries.add_key("key in the agent's directory", &text);
        }
    }
    for file in files(&plane.folder.path().join("state")) {
        let content = std::fs::read(&file).unwrap();
        if file.extension().is_some_and(|end| end == "key") {
            canaries.add("signing key", &listed(&content));
            canaries.add("signing key in base64", &BASE64.encode(&content));
        }
    }
    all_else(&plane, &client, &mut canaries);

    let keys = canaries.0.iter().filter(|(name, _)| name.contains("key")).count();
    assert!(
        keys >= 18,
        "only {keys} keys: the agent's two and the plane's must be among them"
    );
    until_blocking(
        "the agent has reported",
        || agent.process.log(),
        |log| log.contains("/api/report") || log.len() > 1000,
    );
    canaries.absent_from(&plane.process.log(), "plane");
    canaries.absent_from(&agent.process.log(), "agent");
}

/// Sends the other requests that carry a secret, and some that fail.
fn all_else(plane: &Plane, client: &str, canaries: &mut Canaries) {
    let wrong = "canary-wrong-password-8Kd";
    canaries.add("wrong password", wrong);
    plane.login(EMAIL, wrong).json(401);
    let forged = "canary.forged.token-3Zp";
    canaries.add("forged token", forged);
    ask(plane.address, "GET", "/api/servers", forged, None).json(401);
    let unknown = "szagent_canary-unknown-agent-7Yx";
    canaries.add("unknown agent's token", unknown);
    ask(plane.address, "POST", "/api/report", unknown, Some(&json!({}))).json(401);
    let refused = "canary-refused-password-1Wq";
    canaries.add("password in a refused body", refused);
    let body = json!({"email": "x", "password": refused, "surprise": 1});
    ask(plane.address, "POST", "/api/login", "", Some(&body)).json(422);

    let next = "canary-next-password-6Tn";
    canaries.add("new password", next);
    let change = json!({"current_password": PASSWORD, "new_password": next});
    plane.ask("POST", "/api/password", Some(&change)).json(204);
    let session = plane.login(EMAIL, next).json(200)["token"].as_str().unwrap().to_owned();
    canaries.add("next session token", &session);
    let as_admin = |method: &str, path: &str, body| ask(plane.address, method, path, &session, body);
    let rotated = as_admin("POST", "/api/servers/los-angeles/token", None).json(200);
    canaries.add("next agent token", rotated["agent_token"].as_str().unwrap());
    for (method, path) in [
        ("GET", "/api/servers"),
        ("GET", "/api/wg-clients/los-angeles"),
        ("GET", client),
        ("GET", "/api/statuses"),
        ("GET", "/api/history"),
        ("GET", "/api/audit"),
        ("GET", "/api/audit/export"),
        ("GET", "/api/users"),
        ("GET", "/metrics"),
        ("GET", "/api/backup"),
        ("DELETE", client),
        ("DELETE", "/api/servers/los-angeles"),
        ("POST", "/api/logout"),
    ] {
        let status = as_admin(method, path, None).status;
        assert!((200..300).contains(&status), "{method} {path}: {status}");
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect()
}
