//! A host whose WireGuard was set up by hand with `wg` and `ip`, and readings of its state.
//!
//! The interface, the peers and the pings are created as an administrator would create them, without the product.

use std::io::Write as _;
use std::process::{Output, Stdio};

use nix::sys::signal::Signal;
use sentrazone_tests::device::Device;
use sentrazone_tests::lab::{Host, Lab, PLANE_ADDRESS, PLANE_PORT};
use sentrazone_tests::process::{Process, binary};
use sentrazone_tests::wait;
use wgctl::api::{AuditRecord, NewServer, Peer};
use wgctl::client::AuditQuery;
use wgctl::{PresharedKey, PrivateKey, PublicKey};

/// The port of interfaces that were set up by hand. It differs from the port in the record.
pub(super) const PORT: &str = "51999";

/// A peer that was added by hand before the adoption.
pub(super) struct Old {
    pub(super) private: PrivateKey,
    pub(super) preshared: PresharedKey,
}

impl Old {
    pub(super) fn new() -> Self {
        Self {
            private: PrivateKey::generate().unwrap(),
            preshared: PresharedKey::generate().unwrap(),
        }
    }

    pub(super) fn key(&self) -> PublicKey {
        self.private.public_key()
    }

    pub(super) fn add(&self, lab: &Lab, host: &Host, allowed_ips: &str, more: &[&str]) {
        let file = secret(lab, self.preshared.to_base64().as_str());
        let key = self.key().to_string();
        let words = [
            "wg",
            "set",
            "wg0",
            "peer",
            &key,
            "preshared-key",
            &file,
            "allowed-ips",
            allowed_ips,
        ];
        host.namespace.exec(&[&words, more].concat());
    }

    /// Returns the device's configuration, as an administrator would write it.
    pub(super) fn configuration(&self, address: &str, server: &PublicKey, endpoint: &str) -> String {
        format!(
            "[Interface]\nPrivateKey = {}\nAddress = {address}/32\n[Peer]\nPublicKey = {server}\nPresharedKey = {}\n\
             AllowedIPs = 10.8.0.0/24\nEndpoint = {endpoint}:{PORT}\n",
            self.private.to_base64().as_str(),
            self.preshared.to_base64().as_str()
        )
    }
}

/// Writes a secret to a file for `wg`. Returns its path.
pub(super) fn secret(lab: &Lab, text: &str) -> String {
    let path = lab.folder().join("secret");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A host with an interface that was set up by hand.
pub(super) struct Scene {
    pub(super) lab: Lab,
    pub(super) host: Host,
    pub(super) key: PrivateKey,
    pub(super) alice: Old,
    pub(super) router: Old,
    pub(super) carol: Old,
}

impl Scene {
    pub(super) async fn new(adopt: bool) -> Self {
        let lab = Lab::new().await;
        let host = lab
            .registered("los-angeles", &["10.8.0.0/24"], |server: &mut NewServer| {
                server.adopt = adopt
            })
            .await;
        let (alice, router, carol) = (Old::new(), Old::new(), Old::new());
        let key = PrivateKey::generate().unwrap();
        let file = secret(&lab, key.to_base64().as_str());
        host.namespace.exec(&["ip", "link", "add", "wg0", "type", "wireguard"]);
        host.namespace
            .exec(&["wg", "set", "wg0", "private-key", &file, "listen-port", PORT]);
        host.namespace.exec(&["ip", "addr", "add", "10.8.0.1/24", "dev", "wg0"]);
        host.namespace.exec(&["ip", "link", "set", "wg0", "up"]);
        alice.add(&lab, &host, "10.8.0.2/32", &[]);
        router.add(
            &lab,
            &host,
            "10.8.0.7/32,192.168.7.0/24",
            &["persistent-keepalive", "21"],
        );
        carol.add(&lab, &host, "10.8.0.9/32", &[]);
        host.namespace
            .exec(&["ip", "route", "add", "192.168.7.0/24", "dev", "wg0"]);
        Self {
            lab,
            host,
            key,
            alice,
            router,
            carol,
        }
    }

    /// Returns Alice's device, with its tunnel up.
    pub(super) async fn connected(&self) -> Device {
        let endpoint = self.lab.admin().server(&self.host.id).await.unwrap().endpoint;
        let device = self.lab.device("alice");
        let text = self
            .alice
            .configuration("10.8.0.2", &self.key.public_key(), endpoint.host());
        device.connect(&text);
        assert!(device.reaches("10.8.0.1"));
        device
    }

    pub(super) fn agent(&self, words: &[&str]) -> Output {
        agent(&self.host, words)
    }

    /// Returns the output of `wg` for the interface, without the values that traffic changes.
    pub(super) fn still(&self) -> Vec<Vec<String>> {
        still(&self.host)
    }
}

/// Runs the agent program on the host as root, with the token on standard input.
pub(super) fn agent(host: &Host, words: &[&str]) -> Output {
    let plane = format!("http://{PLANE_ADDRESS}:{PLANE_PORT}");
    let mut command = host
        .namespace
        .command(&binary("sentrazone-agent").display().to_string());
    command.args(words).arg("--config").arg(host.config());
    if words[0] == "enroll" {
        command.args([
            "--plane",
            &plane,
            "--allow-plaintext",
            "--token-file",
            "-",
            "--state-dir",
        ]);
        command.arg(host.state());
    }
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(host.token().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(super) fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", refused(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) fn refused(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the interface's own row, then the key, preshared key, endpoint, allowed IPs and keepalive of each peer.
pub(super) fn still(host: &Host) -> Vec<Vec<String>> {
    let mut rows = host.dump();
    for row in rows.iter_mut().skip(1) {
        row.drain(4..7);
    }
    rows[1..].sort();
    rows
}

/// A ping that runs until its result is read.
pub(super) struct Ping(Process);

impl Ping {
    pub(super) fn start(device: &Device, lab: &Lab) -> Self {
        let mut command = device.namespace.command("ping");
        command.args(["-n", "-i", "0.2", "10.8.0.1"]);
        let ping = Self(Process::start("ping", command, lab.folder()));
        ping.answered(5);
        ping
    }

    /// Waits for this many more replies.
    pub(super) fn answered(&self, more: usize) {
        let count = || self.0.log().matches("bytes from").count();
        let before = count();
        wait::until_blocking("the ping is answered", count, |now| *now >= before + more);
    }

    /// Ends the ping. Returns the number of pings sent and the number of replies received.
    pub(super) fn end(mut self) -> (u32, u32) {
        self.0.signal(Signal::SIGINT);
        wait::until_blocking("the ping ends", || self.0.ended(), Option::is_some);
        let log = self.0.log();
        let line = log.lines().find(|line| line.contains("packets transmitted")).unwrap();
        let numbers: Vec<u32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        (numbers[0], numbers[1])
    }
}

pub(super) async fn clients(scene: &Scene) -> Vec<Peer> {
    scene.lab.admin().peers(&scene.host.id).await.unwrap()
}

/// Returns everything that the API shows about the server.
pub(super) async fn seen(scene: &Scene) -> (wgctl::api::Server, Vec<Peer>, Vec<AuditRecord>) {
    let admin = scene.lab.admin();
    let server = admin.server(&scene.host.id).await.unwrap();
    let audit = admin.audit(&AuditQuery::default()).await.unwrap();
    (server, clients(scene).await, audit)
}

/// Returns the kernel's latest handshake with a peer (seconds since 1970) and the number of bytes received from it.
pub(super) fn counted(host: &Host, key: &PublicKey) -> (u64, u64) {
    let rows = host.dump();
    let row = rows.iter().find(|row| row[0] == key.to_string()).unwrap();
    (row[4].parse().unwrap(), row[5].parse().unwrap())
}

/// Returns true if the session is the same, or if it was replaced after its regular lifetime
/// (`REKEY_AFTER_TIME` is 120 s).
pub(super) fn goes_on(before: u64, now: u64) -> bool {
    now == before || now >= before + 115
}

/// Sets the report interval to one second, as on the lab's other hosts.
pub(super) fn quicker(host: &Host) {
    let text = std::fs::read_to_string(host.config()).unwrap();
    std::fs::write(
        host.config(),
        text.replace("report_interval = 15", "report_interval = 1"),
    )
    .unwrap();
}
