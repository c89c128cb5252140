//! A plane without a certificate from a certificate authority, and programs that identify it by its pin or connect to
//! it with wrong settings. Programs and sockets are real.

// clippy.toml permits these in tests, but clippy treats only functions marked `#[test]` as tests.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sentrazone_tests::process::{Process, binary};
use sentrazone_tests::wait;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use wgctl::Pin;
use wgctl::client::{Error, PlaneClient, Target, Trust};

/// A plane, usually with a self-signed certificate, and a home directory for the programs that connect to it.
struct Plane {
    process: Option<Process>,
    folder: TempDir,
    url: String,
}

impl Plane {
    async fn start() -> Self {
        Self::with_tls("self-signed").await
    }

    async fn with_tls(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "listen = \"127.0.0.1:0\"\nstate_dir = \"{0}/state\"\nsocket = \"{0}/plane.sock\"\n\
             [tls]\nmode = \"{mode}\"\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("plane.toml"), text).unwrap();
        let mut plane = Self {
            process: None,
            folder,
            url: String::new(),
        };
        plane.run().await;
        plane
    }

    async fn run(&mut self) {
        self.process = None;
        std::fs::remove_file(self.path("plane.log")).ok();
        let mut command = Command::new(binary("sentrazone-plane"));
        // The address is the same every time, because agents remember it.
        if let Some(address) = self.url.strip_prefix("https://") {
            command.env("SENTRAZONE_PLANE_LISTEN", address);
        }
        command.arg("--config").arg(self.path("plane.toml"));
        let process = Process::start("plane", command, self.folder.path());
        let address = async || {
            let log = process.log();
            let line = log.lines().find(|line| line.contains("listening on http"))?.to_owned();
            line.rsplit("listening on ").next().map(|url| url.trim().to_owned())
        };
        let url = wait::until("the plane listens", address, Option::is_some).await;
        self.url = url.unwrap();
        self.process = Some(process);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pin(&self) -> Pin {
        let output = Command::new(binary("sentrazone-plane"))
            .arg("--config")
            .arg(self.path("plane.toml"))
            .arg("fingerprint")
            .output()
            .unwrap();
        succeeded(&output).trim().parse().unwrap()
    }

    fn typed(&self, program: &str, words: &[&str], input: &str) -> Output {
        let mut child = Command::new(binary(program))
            .args(words)
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path())
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its arguments may end without reading its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn local(&self, words: &[&str], input: &str) -> String {
        let socket = self.path("plane.sock").display().to_string();
        succeeded(&self.typed("wgctl", &[&["--socket", &socket], words].concat(), input))
    }

    /// Registers a server. Returns its agent's token.
    fn add_server(&self) -> String {
        let words = "--json server add los-angeles --endpoint l:51820 --pool 10.8.0.0/24";
        let words: Vec<&str> = words.split(' ').collect();
        let made: Value = serde_json::from_str(&self.local(&words, "")).unwrap();
        made["agent_token"].as_str().unwrap().to_owned()
    }

    fn enroll(&self, token: &str, more: &[&str]) -> Output {
        let (config, state) = (self.path("agent.toml"), self.path("agent"));
        let (config, state) = (config.display().to_string(), state.display().to_string());
        let words = ["enroll", "--plane", &self.url, "--token-file", "-"];
        let words = [&words[..], &["--config", &config, "--state-dir", &state], more].concat();
        self.typed("sentrazone-agent", &words, token)
    }
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

const ANOTHER: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_enrolled_with_the_pin_that_server_add_prints() {
    let plane = Plane::start().await;
    let pin = plane.pin().to_string();
    let add = [
        "server",
        "add",
        "paris",
        "--endpoint",
        "p:51820",
        "--pool",
        "10.9.0.0/24",
    ];
    assert!(plane.local(&add, "").contains(&format!("--pin {pin} --token-file")));
    let add = [
        "--json",
        "server",
        "add",
        "los-angeles",
        "--endpoint",
        "l:51820",
        "--pool",
        "10.8.0.0/24",
    ];
    let made: Value = serde_json::from_str(&plane.local(&add, "")).unwrap();
    assert_eq!(made["pin"], pin.as_str());
    let token = made["agent_token"].as_str().unwrap();
    // Without a pin, nothing is trusted. The error shows the pin to compare, and the command that prints the right one.
    let said = refused(&plane.enroll(token, &[]));
    assert!(
        said.contains(&pin) && said.contains("sentrazone-plane fingerprint"),
        "{said}"
    );
    let said = refused(&plane.enroll(token, &["--pin", ANOTHER]));
    assert!(
        said.contains(&pin) && said.contains("somebody may be intercepting"),
        "{said}"
    );
    assert!(
        !plane.path("agent.toml").exists(),
        "a configuration was written although enrolling was refused"
    );
    succeeded(&plane.enroll(token, &["--pin", &pin]));
    let written = std::fs::read_to_string(plane.path("agent.toml")).unwrap();
    assert!(written.contains(&format!("pin = \"{pin}\"")), "{written}");
    // Enrolling again keeps the previous pin. A certificate file may replace it.
    succeeded(&plane.enroll(token, &[]));
    let cert = plane.path("state/tls.pem").display().to_string();
    succeeded(&plane.enroll(token, &["--ca-file", &cert]));
    let written = std::fs::read_to_string(plane.path("agent.toml")).unwrap();
    assert!(written.contains("ca_file") && !written.contains("pin"), "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_for_the_wrong_url_scheme_names_the_right_one() {
    for (mode, wrong, missing) in [("self-signed", "http", "plain http"), ("off", "https", "TLS")] {
        let plane = Plane::with_tls(mode).await;
        let (_, place) = plane.url.split_once("://").unwrap();
        let dialled = format!("{wrong}://{place}");
        let expected = format!(
            "the server at {dialled} does not speak {missing}: if it is the plane, use {}\n",
            plane.url
        );
        let said = refused(&plane.typed("wgctl", &["--plane", &dialled, "status"], ""));
        assert_eq!(said, format!("wgctl: {expected}"));
        let said = refused(&plane.typed("wgctl", &["--plane", &dialled, "--json", "status"], ""));
        let error: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(error["code"], "wrong_scheme");
        let words = [
            "enroll",
            "--plane",
            &dialled,
            "--token-file",
            "-",
            "--config",
            "agent.toml",
        ];
        let said = refused(&plane.typed("sentrazone-agent", &words, "szagent_x"));
        assert_eq!(said, format!("sentrazone-agent: not enrolled: {expected}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_for_an_invalid_token_names_the_command_that_creates_a_new_one() {
    let plane = Plane::with_tls("off").await;
    plane.add_server();
    let said = refused(&plane.enroll("szagent_x", &[]));
    assert!(
        said.contains("no longer valid") && said.contains("`wgctl server token ID`"),
        "{said}"
    );
    assert!(!said.contains("/api/"), "{said}");
    for token in ["nonsense", "eyJ.a.b"] {
        let said = refused(&plane.enroll(token, &[]));
        assert!(said.contains("--token-file") && said.contains("szagent_"), "{said}");
        assert!(!said.contains("/api/") && !said.contains(token), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_shown_to_command_line_users_never_suggest_api_calls() {
    let plane = Plane::with_tls("off").await;
    let agents = plane.add_server();
    for (name, token) in [("agents", agents.as_str()), ("ended", "eyJ.a.b")] {
        std::fs::write(plane.path(name), token).unwrap();
    }
    let (socket, url) = (plane.path("plane.sock"), plane.url.as_str());
    let socket = socket.to_str().unwrap();
    for (words, expected) in [
        (
            &["--socket", socket, "peer", "add", "los-angeles", "alice"][..],
            "--public-key and --no-psk",
        ),
        (&["--plane", url, "status"], "wgctl login URL"),
        (&["--plane", url, "--token-file", "ended", "status"], "wgctl login URL"),
        (&["--plane", url, "--token-file", "agents", "status"], "wgctl login URL"),
        (
            &["--socket", socket, "user", "passwd", "--password-stdin"],
            "wgctl login URL",
        ),
    ] {
        let said = refused(&plane.typed("wgctl", words, "the present one\na new one of the tests\n"));
        assert!(said.contains(expected), "{words:?}: {said}");
        for theirs in ["/api/", "publicKey", "presharedKey", "Bearer"] {
            assert!(!said.contains(theirs), "{words:?}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relative_paths_given_to_enroll_work_wherever_the_agent_is_started() {
    let plane = Plane::with_tls("off").await;
    let token = plane.add_server();
    // Settings that were made by hand are kept.
    std::fs::write(plane.path("agent.toml"), "backend = \"userspace\"\n").unwrap();
    let words = ["enroll", "--plane", &plane.url, "--token-file", "-"];
    let more = ["--config", "agent.toml", "--state-dir", "kept"];
    succeeded(&plane.typed("sentrazone-agent", &[&words[..], &more].concat(), &token));
    let written = std::fs::read_to_string(plane.path("agent.toml")).unwrap();
    for (key, file) in [("token_file", "agent.token"), ("state_dir", "kept")] {
        let line = format!("{key} = \"{}\"", plane.path(file).display());
        assert!(written.contains(&line), "{line}: {written}");
    }
    assert!(written.contains("backend = \"userspace\""), "{written}");

    let check = || plane.typed("sentrazone-agent", &["--config", "agent.toml", "check"], "");
    let checked = check();
    assert_eq!(succeeded(&checked), "agent.toml is fine\n");
    assert!(!String::from_utf8_lossy(&checked.stderr).contains("token_file"));
    std::fs::set_permissions(plane.path("agent.token"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let warned = |checked: Output| {
        assert_eq!(succeeded(&checked), "agent.toml can be used, with a warning\n");
        let said = String::from_utf8(checked.stderr).unwrap();
        assert!(said.contains("chmod 600") && said.contains("(mode 0644)"), "{said}");
    };
    warned(check());
    // `check` prints the warning at any log level.
    std::fs::write(plane.path("agent.toml"), format!("{written}\nlog = \"error\"\n")).unwrap();
    warned(check());
    std::fs::write(plane.path("agent.toml"), &written).unwrap();
    std::fs::write(plane.path("agent.token"), "\n").unwrap();
    assert!(refused(&check()).contains("agent.token is empty"));
    std::fs::remove_file(plane.path("agent.token")).unwrap();
    let said = refused(&check());
    assert!(said.contains("token_file: ") && said.contains("No such file"), "{said}");
    assert_eq!(check().status.code(), Some(78));
}

#[tokio::test(flavor = "multi_thread")]
async fn server_add_over_the_socket_explains_the_placeholder_for_the_planes_address() {
    let plane = Plane::start().await;
    let words = "server add berlin --endpoint l:51820 --pool 10.9.0.0/24";
    let said = plane.local(&words.split(' ').collect::<Vec<_>>(), "");
    assert!(
        said.contains("enroll --plane https://THE-PLANE --pin sha256:") && said.contains("Replace THE-PLANE with"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_stored_with_the_pin_and_a_new_key_is_not_trusted() {
    let mut plane = Plane::start().await;
    let (url, pin) = (plane.url.clone(), plane.pin().to_string());
    let (email, password) = ("ops@example.com", "correct horse battery\n");
    plane.local(&["user", "add", email, "--role", "admin", "--password-stdin"], password);
    let login = ["login", &url, "--email", email, "--password-stdin"];
    let said = refused(&plane.typed("wgctl", &login, password));
    assert!(
        said.contains(&pin) && said.contains("sentrazone-plane fingerprint"),
        "{said}"
    );
    let said = refused(&plane.typed("wgctl", &[&login[..], &["--pin", ANOTHER]].concat(), password));
    assert!(said.contains("somebody may be intercepting"), "{said}");
    succeeded(&plane.typed("wgctl", &[&login[..], &["--pin", &pin]].concat(), password));
    // A second login does not need the pin again.
    succeeded(&plane.typed("wgctl", &login, password));
    succeeded(&plane.typed("wgctl", &["server", "list"], ""));
    // A restart keeps the key, so the session remains valid.
    plane.run().await;
    succeeded(&plane.typed("wgctl", &["server", "list"], ""));
    // An impostor with another key is not trusted.
    plane.process = None;
    std::fs::remove_file(plane.path("state/tls.key")).unwrap();
    plane.run().await;
    let said = refused(&plane.typed("wgctl", &["--json", "server", "list"], ""));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["code"], "untrusted", "{said}");
    assert!(
        said["detail"].as_str().unwrap().contains(&plane.pin().to_string()),
        "{said}"
    );
}

/// Checks that a certificate without its private key proves nothing, because a certificate is public.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_certificate_without_its_key_is_not_trusted() {
    let key = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let (owner, thief) = (key(), key());
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&owner)
        .unwrap();
    let provider = aws_lc_rs::default_provider();
    let signing = |key: &rcgen::KeyPair| {
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        provider.key_provider.load_private_key(der).unwrap()
    };
    let pin = Pin::of_public_key(&rcgen::PublicKeyData::subject_public_key_info(&owner));
    for (key, taken) in [(&owner, true), (&thief, false)] {
        let certified = CertifiedKey::new(vec![certificate.der().clone()], signing(key));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider.clone()))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Shown(Arc::new(certified.clone()))));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
                    // A client that does not trust this server has closed the connection.
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            });
            let client = PlaneClient::trusting(Target::Url(url), &Trust::Pins(vec![pin])).unwrap();
            let outcome = client.health().await;
            match taken {
                true => assert!(outcome.is_ok(), "{:?}", outcome.err()),
                false => assert!(matches!(outcome, Err(Error::Unreachable { .. }))),
            }
            server.await.unwrap();
        }
    }
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
