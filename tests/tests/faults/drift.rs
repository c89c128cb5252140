//! External changes to the interface, made with `wg` and `ip`.
//!
//! Changes to single peers are made on the witnesses' own interface. Changes that disturb every
//! tunnel on an interface until they are repaired (link, address, port, key) are made on a second host.

use std::time::{Duration, Instant};

use sentrazone_tests::device::Device;
use sentrazone_tests::figures::{report, runs, spread};
use sentrazone_tests::lab::Host;
use sentrazone_tests::traffic::Tally;
use sentrazone_tests::wait;
use wgctl::PrivateKey;
use wgctl::api::Peer;

use crate::alone;
use crate::scene::Scene;

/// A host, and the peer on its interface that is changed.
struct Ground<'a> {
    host: &'a Host,
    peer: &'a Peer,
    other: &'a Peer,
    key_file: String,
}

type Meddle = fn(&Ground<'_>);

/// Changes to peers.
const PEERS: [(&str, Meddle); 4] = [
    ("peer removed", |ground| {
        ground.wg(&["peer", &ground.peer.public_key.to_string(), "remove"])
    }),
    ("peer added", |ground| {
        let stranger = PrivateKey::generate().unwrap().public_key().to_string();
        ground.wg(&["peer", &stranger, "allowed-ips", "10.99.0.1/32"]);
    }),
    ("preshared key changed", |ground| {
        let key = ground.peer.public_key.to_string();
        ground.wg(&["peer", &key, "preshared-key", &ground.fresh_key()]);
    }),
    ("allowed IP stolen", |ground| {
        let stolen = format!("{}/32", ground.peer.address);
        let own = format!("{}/32", ground.other.address);
        let thief = ground.other.public_key.to_string();
        ground.wg(&["peer", &thief, "allowed-ips", &format!("{own},{stolen}")]);
    }),
];

/// Changes to the interface.
const INTERFACE: [(&str, Meddle); 4] = [
    ("address removed", |ground| {
        let all = ground
            .host
            .namespace
            .exec(&["ip", "-4", "-o", "addr", "show", "dev", "wg0"]);
        let address = all
            .split_whitespace()
            .skip_while(|word| *word != "inet")
            .nth(1)
            .unwrap();
        ground
            .host
            .namespace
            .exec(&["ip", "addr", "del", address, "dev", "wg0"]);
    }),
    ("port changed", |ground| ground.wg(&["listen-port", "51999"])),
    ("link down", |ground| {
        ground.host.namespace.exec(&["ip", "link", "set", "wg0", "down"]);
    }),
    ("link deleted", |ground| {
        ground.host.namespace.exec(&["ip", "link", "del", "wg0"]);
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn external_changes_to_peers_are_repaired_without_affecting_other_tunnels() {
    let _turn = alone().await;
    let mut scene = Scene::new().await;
    let peer = scene.add("subject").await.unwrap();
    let other = scene.add("other").await.unwrap();
    scene.up_to_date().await;
    let count = runs(20, 1);
    let mut repairs = vec![Vec::new(); PEERS.len()];
    for _ in 0..count {
        for ((name, meddle), repairs) in PEERS.iter().zip(&mut repairs) {
            let ground = Ground::new(&scene, &scene.host, &peer, &other);
            repairs.push(ground.repaired(name, *meddle));
        }
    }
    scene.agrees().await;
    let tally = scene.end();
    for ((name, _), repairs) in PEERS.iter().zip(&repairs) {
        report(
            &format!("drift: {name}"),
            count,
            &tally,
            &format!("time to repair {}", spread(repairs)),
        );
    }
    assert!(tally.is_clean(), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_changes_to_an_interface_are_repaired_and_its_tunnels_work_again() {
    interface_repaired(&INTERFACE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_externally_changed_private_key_is_restored_and_tunnels_work_again() {
    interface_repaired(&[("private key changed", |ground| {
        ground.wg(&["private-key", &ground.fresh_key()]);
    })])
    .await;
}

async fn interface_repaired(kinds: &[(&str, Meddle)]) {
    let _turn = alone().await;
    let mut scene = Scene::new().await;
    let second = scene.lab.host("new-york", &["10.9.0.0/24"]).await;
    wait::until_blocking(
        "the second host has a cache",
        || second.state().join("desired.cache").exists(),
        |is| *is,
    );
    let (peer, device) = scene.connected(&second, "second").await;
    let (other, _) = scene.connected(&second, "third").await;
    let count = runs(20, 1);
    let mut repairs = vec![Vec::new(); kinds.len()];
    let mut through = vec![Vec::new(); kinds.len()];
    for _ in 0..count {
        for (index, (name, meddle)) in kinds.iter().enumerate() {
            let ground = Ground::new(&scene, &second, &peer, &other);
            repairs[index].push(ground.repaired(name, *meddle));
            through[index].push(answers_again(&device));
        }
    }
    let tally: Tally = scene.end();
    for (index, (name, _)) in kinds.iter().enumerate() {
        let figure = format!(
            "time to repair {}; then, until the interface's own tunnels work again, {} (a device detects a lost \
             session by itself)",
            spread(&repairs[index]),
            spread(&through[index])
        );
        report(&format!("drift: {name}"), count, &tally, &figure);
    }
    assert!(tally.is_clean(), "{tally:?}");
}

/// Waits until the tunnel works again. Returns the time it took. A device whose session has been lost starts a new one
/// after about 15 s (`KEEPALIVE_TIMEOUT` + `REKEY_TIMEOUT`).
fn answers_again(device: &Device) -> Duration {
    let begin = Instant::now();
    let answered = || {
        device
            .namespace
            .succeeds(&["ping", "-n", "-c", "1", "-W", "1", "10.9.0.1"])
    };
    wait::until_blocking("the tunnel works again", answered, |answered| *answered);
    begin.elapsed()
}

impl<'a> Ground<'a> {
    fn new(scene: &Scene, host: &'a Host, peer: &'a Peer, other: &'a Peer) -> Self {
        Self {
            host,
            peer,
            other,
            key_file: scene.lab.folder().join("meddled.key").display().to_string(),
        }
    }

    fn wg(&self, words: &[&str]) {
        self.host.namespace.exec(&[&["wg", "set", "wg0"], words].concat());
    }

    fn fresh_key(&self) -> String {
        let key = PrivateKey::generate().unwrap();
        std::fs::write(&self.key_file, key.to_base64().as_str()).unwrap();
        self.key_file.clone()
    }

    /// Makes the change and waits for the repair. Returns the time it took.
    fn repaired(&self, name: &str, meddle: Meddle) -> Duration {
        let before = self.looks();
        let begin = Instant::now();
        meddle(self);
        wait::until_blocking(&format!("{name}: repaired"), || self.looks(), |now| *now == before);
        begin.elapsed()
    }

    /// Returns the state that can be changed externally: keys, port, peers with their allowed IPs and preshared keys,
    /// addresses, routes, and the state of the link.
    fn looks(&self) -> Vec<String> {
        let said = |words: &[&str]| {
            let mut command = self.host.namespace.command(words[0]);
            let output = command.args(&words[1..]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let mut lines = Vec::new();
        for what in ["private-key", "listen-port", "allowed-ips", "preshared-keys"] {
            let text = said(&["wg", "show", "wg0", what]);
            let mut rows: Vec<String> = text.lines().map(|row| format!("{what} {row}")).collect();
            rows.sort();
            lines.extend(rows);
        }
        lines.push(said(&["ip", "-br", "addr", "show", "dev", "wg0"]));
        let mut routes: Vec<String> = said(&["ip", "route", "show", "dev", "wg0"])
            .lines()
            .map(str::to_owned)
            .collect();
        routes.sort();
        lines.extend(routes);
        lines
    }
}
