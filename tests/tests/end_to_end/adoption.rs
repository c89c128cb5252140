//! A host that had WireGuard before it had an agent. It is adopted, released and adopted again under traffic, and
//! checked with `wg`, `ip`, `nft` and `ping`.

mod hand_made;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hand_made::{Old, PORT, Ping, Scene, agent, clients, counted, goes_on, quicker, refused, said, seen, still};
use sentrazone_tests::lab::Lab;
use sentrazone_tests::wait;
use wgctl::PrivateKey;
use wgctl::api::{NewServer, Peer, ServerPatch};

use crate::online;
use crate::secrets::{contains, walk};

#[tokio::test(flavor = "multi_thread")]
async fn a_live_interface_is_adopted_released_and_adopted_again_without_a_lost_packet() {
    let mut scene = Scene::new(true).await;
    let admin = scene.lab.admin();
    let (dump, before) = (scene.host.dump(), seen(&scene).await);
    let plan = said(&scene.agent(&["enroll", "--dry-run"]));
    let keys = [&scene.alice, &scene.router, &scene.carol].map(|old| old.key().to_string());
    for part in keys
        .iter()
        .map(String::as_str)
        .chain([PORT, "10.8.0.7 192.168.7.0/24", "changes:\n  nothing"])
    {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert_eq!(scene.host.dump(), dump, "the dry run changed something in the kernel");
    assert_eq!(seen(&scene).await, before, "the dry run changed something on the plane");
    assert!(
        !scene.host.config().exists() && !scene.host.state().exists(),
        "the dry run changed something on the disk"
    );

    let device = scene.connected().await;
    let ping = Ping::start(&device, &scene.lab);
    let adopting = scene.still();
    let (session, transferred) = counted(&scene.host, &scene.alice.key());
    said(&scene.agent(&["enroll"]));
    quicker(&scene.host);
    scene.host.start();
    online(&scene.lab, &scene.host).await;
    assert_eq!(scene.still(), adopting, "key, port, peers or endpoints have changed");
    let log = scene.host.agent().log();
    for write in ["changing peers", "configured addresses", "created the interface"] {
        assert!(!log.contains(write), "the first run wrote something: {log}");
    }
    let imported = clients(&scene).await;
    assert_eq!(imported.len(), 3);
    assert!(
        imported
            .iter()
            .all(|peer| peer.applied && !peer.private_key_held && peer.preshared_key)
    );
    let server = admin.server(&scene.host.id).await.unwrap();
    assert_eq!((server.adopt, server.listen_port), (false, PORT.parse().unwrap()));
    assert_eq!(server.public_key, Some(scene.key.public_key()));
    ping.answered(5);
    let alice = imported
        .iter()
        .find(|peer| peer.public_key == scene.alice.key())
        .unwrap();
    let moved = |answer: &Result<Peer, _>| answer.as_ref().is_ok_and(|peer| peer.transfer_rx > 0);
    let alice = wait::until("traffic is counted", || admin.peer(&scene.host.id, alice.id), moved)
        .await
        .unwrap();
    let (now, grown) = counted(&scene.host, &scene.alice.key());
    assert!(goes_on(session, now), "{session} {now}: the session did not continue");
    assert!(grown > transferred, "the kernel's counters did not continue");
    assert!(
        alice.transfer_rx <= grown - transferred,
        "bytes from before the adoption were counted: {alice:?}"
    );
    assert!(alice.latest_handshake_at.is_some());

    let carol = imported
        .iter()
        .find(|peer| peer.public_key == scene.carol.key())
        .unwrap();
    assert!(
        admin
            .set_peer_enabled(&scene.host.id, carol.id, false)
            .await
            .unwrap()
            .applied
    );
    assert!(
        !scene.host.has_peer(&carol.public_key),
        "a disabled peer that was imported is still in the kernel"
    );

    assert!(refused(&scene.agent(&["release"])).contains("stop it first"));
    assert!(scene.host.agent().stop().success());
    let released = scene.still();
    assert!(said(&scene.agent(&["release"])).contains("wg0 keeps running without the agent, with its 2 peers"));
    assert_eq!(scene.still(), released);
    ping.answered(5);
    scene.host.start();
    let ended = wait::until_blocking("the agent refuses", || scene.host.agent().ended(), Option::is_some);
    assert_eq!(ended.unwrap().code(), Some(79));
    assert!(scene.host.agent().log().contains("this host has been released"));
    assert_eq!(scene.still(), released);

    let dave = Old::new();
    dave.add(&scene.lab, &scene.host, "10.8.0.20/32", &[]);
    let plan = said(&scene.agent(&["enroll", "--dry-run"]));
    assert!(plan.contains(&format!("removes the peer {}", dave.key())), "{plan}");
    assert!(scene.host.has_peer(&dave.key()));
    scene.lab.wgctl(&["server", "set", "los-angeles", "--adopt"]);
    let again = scene.still();
    said(&scene.agent(&["enroll"]));
    scene.host.start();
    online(&scene.lab, &scene.host).await;
    assert_eq!(scene.still(), again);
    assert!(
        clients(&scene)
            .await
            .iter()
            .any(|peer| peer.public_key == dave.key() && peer.applied)
    );
    ping.answered(5);
    let (sent, answered) = ping.end();
    assert_eq!(sent - answered, 0, "pings were lost, out of {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_must_not_or_cannot_be_adopted_is_refused_and_left_alone() {
    let scene = Scene::new(false).await;
    let (dump, before) = (scene.host.dump(), seen(&scene).await);
    let words = refused(&scene.agent(&["enroll"]));
    assert!(
        words.contains("wgctl server set los-angeles --adopt") && words.contains("3 peers"),
        "{words}"
    );
    assert_eq!((scene.host.dump(), seen(&scene).await), (dump, before));

    scene.lab.wgctl(&["server", "set", "los-angeles", "--adopt"]);
    let (office, exit) = (Old::new(), Old::new());
    office.add(&scene.lab, &scene.host, "172.16.0.0/16", &[]);
    exit.add(&scene.lab, &scene.host, "10.8.0.30/32,0.0.0.0/0", &[]);
    let (dump, before) = (scene.host.dump(), seen(&scene).await);
    let words = refused(&scene.agent(&["enroll"]));
    for (old, reason) in [(&office, "no address in 10.8.0.0/24"), (&exit, "0.0.0.0/0 is too wide")] {
        let line = words.lines().find(|line| line.contains(&old.key().to_string()));
        assert!(line.is_some_and(|line| line.contains(reason)), "{words}");
    }
    assert_eq!((scene.host.dump(), seen(&scene).await), (dump, before));
    for old in [&office, &exit] {
        scene
            .host
            .namespace
            .exec(&["wg", "set", "wg0", "peer", &old.key().to_string(), "remove"]);
    }
    scene
        .host
        .namespace
        .exec(&["ip", "addr", "add", "10.8.0.254/24", "dev", "wg0"]);
    let words = refused(&scene.agent(&["enroll"]));
    assert!(words.contains("wg0 has the address 10.8.0.254/24"), "{words}");
    assert!(
        scene
            .host
            .namespace
            .exec(&["ip", "addr", "show", "wg0"])
            .contains("10.8.0.254/24")
    );
    assert!(!scene.host.state().exists() && !scene.host.config().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wg_quick_file_is_imported_with_the_names_in_it() {
    let lab = Lab::new().await;
    let masquerading = |server: &mut NewServer| server.masquerade = true;
    let mut host = lab.registered("los-angeles", &["10.8.0.0/24"], masquerading).await;
    let (key, alice, bob) = (PrivateKey::generate().unwrap(), Old::new(), Old::new());
    let file = lab.folder().join("wg0.conf");
    let text = format!(
        "[Interface]\nAddress = 10.8.0.1/24\nListenPort = {PORT}\nPrivateKey = {}\nPostUp = iptables -t nat -A POSTROUTING -j \
         MASQUERADE\n\n### Client alice\n[Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = 10.8.0.2/32\n\n[Peer]\n\
         # Name = bob\nPublicKey = {}\nAllowedIPs = 10.8.0.3/32, 192.168.7.0/24\nPersistentKeepalive = 21\n",
        key.to_base64().as_str(),
        alice.key(),
        alice.preshared.to_base64().as_str(),
        bob.key(),
    );
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let words = refused(&agent(&host, &["enroll", "--import", &file]));
    assert!(words.contains("wgctl server set los-angeles --adopt"), "{words}");
    let admin = lab.admin();
    let patch = ServerPatch {
        adopt: Some(true),
        ..ServerPatch::default()
    };
    admin.update_server(&host.id, &patch).await.unwrap();
    let plan = said(&agent(&host, &["enroll", "--import", &file, "--dry-run"]));
    for part in [
        "alice",
        "bob",
        "creates the interface wg0",
        "--masquerade true",
        "wg-quick down wg0",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert_eq!(admin.peers(&host.id).await.unwrap().len(), 0);
    said(&agent(&host, &["enroll", "--import", &file]));
    quicker(&host);
    host.start();
    online(&lab, &host).await;
    let names: Vec<String> = admin
        .peers(&host.id)
        .await
        .unwrap()
        .iter()
        .map(|peer| peer.name.to_string())
        .collect();
    assert!(
        names.len() == 2 && names.contains(&"alice".to_owned()) && names.contains(&"bob".to_owned()),
        "{names:?}"
    );
    let rows = still(&host);
    assert_eq!(
        (rows[0][0].as_str(), rows[0][2].as_str()),
        (key.to_base64().as_str(), PORT)
    );
    let row = |old: &Old| rows.iter().find(|row| row[0] == old.key().to_string()).unwrap().clone();
    assert_eq!(
        row(&alice)[1..4],
        [alice.preshared.to_base64().as_str(), "(none)", "10.8.0.2/32"]
    );
    assert_eq!(
        (row(&bob)[3].as_str(), row(&bob)[4].as_str()),
        ("10.8.0.3/32,192.168.7.0/24", "21")
    );
    let endpoint = admin.server(&host.id).await.unwrap().endpoint;
    let device = lab.device("alice");
    device.connect(&alice.configuration("10.8.0.2", &key.public_key(), endpoint.host()));
    assert!(device.reaches("10.8.0.1"), "the earlier configuration no longer works");

    let ours = ["nft", "list", "table", "inet", "sentrazone-wg0"];
    assert!(host.namespace.succeeds(&ours));
    assert!(host.agent().stop().success());
    let words = said(&agent(&host, &["release"]));
    assert!(
        !host.namespace.succeeds(&ours),
        "the agent's masquerading was not removed"
    );
    let kept = words
        .lines()
        .find_map(|line| line.trim().strip_prefix("nft '")?.strip_suffix('\''));
    host.namespace.exec(&["nft", kept.unwrap()]);
    let rules = host.namespace.exec(&["nft", "list", "ruleset"]);
    assert!(
        rules.contains("ip saddr 10.8.0.0/24 oifname != \"wg0\" masquerade"),
        "{rules}"
    );
    assert!(device.reaches("10.8.0.1"), "the tunnel stopped working");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plane_learns_no_keys_from_an_adopted_interface() {
    let mut scene = Scene::new(true).await;
    said(&scene.agent(&["enroll"]));
    scene.host.start();
    online(&scene.lab, &scene.host).await;
    let text = scene
        .lab
        .admin()
        .peer_configuration(&scene.host.id, clients(&scene).await[0].id)
        .await
        .unwrap();
    let preshared = [&scene.alice, &scene.router, &scene.carol].map(|old| old.preshared.to_base64());
    assert!(
        preshared.iter().any(|key| text.contains(key.as_str())),
        "the agent could not open the keys that it had sealed: {text}"
    );
    assert!(scene.lab.plane().stop().success());
    let mut files = walk(&scene.lab.plane_state());
    files.push(scene.lab.folder().join("plane.log"));
    for file in files {
        let content = std::fs::read(&file).unwrap();
        for secret in preshared.iter().chain([&scene.key.to_base64()]) {
            let raw = BASE64.decode(secret.as_str()).unwrap();
            let found = contains(&content, secret.as_bytes()) || contains(&content, &raw);
            assert!(!found, "{} contains a key", file.display());
        }
    }
}
