//! An interface's peers and settings in the kernel, as `wg` shows them.

use std::net::UdpSocket;

use wgctl::PresharedKey;
use wgctl::device::Error;

use super::*;

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn peers_are_created_changed_and_removed() {
    let mut lab = Lab::with_interface();
    let preshared = PresharedKey::generate().unwrap();
    let full = DesiredPeer {
        preshared_key: Some(preshared.clone()),
        persistent_keepalive: 25,
        allowed_ips: nets(&["10.0.0.2/32", "192.168.7.0/24", "fd00::2/128"])
            .into_iter()
            .collect(),
        endpoint: Some("192.0.2.1:51820".parse().unwrap()),
    };
    lab.converge(&desired([(1, full), (2, peer([address(3)]))]));
    let shown = lab.shown();
    let expected = Shown {
        preshared_key: preshared.to_base64().to_string(),
        endpoint: "192.0.2.1:51820".to_owned(),
        allowed_ips: ["10.0.0.2/32", "192.168.7.0/24", "fd00::2/128"]
            .map(str::to_owned)
            .into(),
        keepalive: "25".to_owned(),
    };
    assert_eq!(shown[&key(1).to_string()], expected);
    assert_eq!(shown.len(), 2);

    // The preshared key, the keepalive and one address are removed, and another address is added.
    let less = peer(nets(&["10.0.0.2/32", "10.0.0.9/32"]));
    lab.converge(&desired([(1, less), (3, peer([address(4)]))]));
    let shown = lab.shown();
    let changed = Shown {
        preshared_key: "(none)".to_owned(),
        endpoint: "192.0.2.1:51820".to_owned(),
        allowed_ips: ["10.0.0.2/32", "10.0.0.9/32"].map(str::to_owned).into(),
        keepalive: "off".to_owned(),
    };
    assert_eq!(shown[&key(1).to_string()], changed);
    assert!(!shown.contains_key(&key(2).to_string()) && shown.contains_key(&key(3).to_string()));

    lab.converge(&desired([]));
    assert!(lab.shown().is_empty());
}

#[test]
fn the_interfaces_own_settings_are_applied() {
    let mut lab = Lab::with_interface();
    let private_key = PrivateKey::generate().unwrap();
    let wanted = DesiredDevice {
        private_key: private_key.clone(),
        listen_port: Some(41_820),
        fwmark: Some(0x51),
        ..desired([(1, peer([address(2)]))])
    };
    lab.converge(&wanted);
    assert_eq!(lab.wg("private-key"), *private_key.to_base64());
    assert_eq!(lab.wg("public-key"), private_key.public_key().to_string());
    assert_eq!(lab.wg("listen-port"), "41820");
    assert_eq!(lab.wg("fwmark"), "0x51");

    // A new private key keeps the peers.
    let changed = DesiredDevice {
        private_key: PrivateKey::generate().unwrap(),
        ..wanted
    };
    lab.converge(&changed);
    assert_eq!(lab.shown().len(), 1);
}

#[test]
fn peers_with_many_allowed_ips_are_applied_completely() {
    let mut lab = Lab::with_interface();
    let wanted = desired([
        (1, peer((0..500).map(address))),
        (2, peer((1_000..4_000).map(address))),
        (3, peer([address(9_999)])),
    ]);
    lab.converge(&wanted);
    let shown = lab.shown();
    assert_eq!(shown[&key(1).to_string()].allowed_ips.len(), 500);
    assert_eq!(shown[&key(2).to_string()].allowed_ips.len(), 3_000);
    assert_eq!(lab.read().peers[&key(2)].allowed_ips, wanted.peers[&key(2)].allowed_ips);

    // Half of the addresses are removed: the list is replaced, in fragments.
    lab.converge(&desired([(2, peer((1_000..2_500).map(address)))]));
    assert_eq!(lab.shown()[&key(2).to_string()].allowed_ips.len(), 1_500);
}

#[test]
fn two_peers_swap_an_address() {
    let mut lab = Lab::with_interface();
    lab.converge(&desired([(1, peer([address(1)])), (2, peer([address(2)]))]));
    lab.converge(&desired([(1, peer([address(2)])), (2, peer([address(1)]))]));
    let shown = lab.shown();
    let allowed = |n| {
        shown[&key(n).to_string()]
            .allowed_ips
            .iter()
            .cloned()
            .collect::<String>()
    };
    assert_eq!(
        (allowed(1).as_str(), allowed(2).as_str()),
        ("10.0.0.2/32", "10.0.0.1/32")
    );
}

#[test]
fn a_thousand_peers_are_applied_and_disappear_with_the_link() {
    let mut lab = Lab::with_interface();
    let wanted = desired((0..1_000).map(|n| (n, peer([address(n)]))));
    lab.converge(&wanted);
    assert_eq!(lab.shown().len(), 1_000);

    let mut fewer = wanted.clone();
    fewer.peers.retain(|key, _| key.as_bytes()[3] % 2 == 0);
    lab.converge(&fewer);
    assert_eq!(lab.shown().len(), fewer.peers.len());

    lab.host.delete_link(&lab.name).unwrap();
    assert_eq!(lab.kernel.read(&lab.name).unwrap(), None);
    lab.host.delete_link(&lab.name).unwrap();
}

#[test]
fn nothing_is_sent_if_nothing_has_changed() {
    let mut lab = Lab::with_interface();
    let wanted = desired([(1, peer([address(2)]))]);
    lab.converge(&wanted);
    let nothing = lab.plan(&wanted);
    assert!(nothing.is_empty());
    // No message is sent, even to an interface that does not exist.
    lab.kernel.apply(&"wg9".parse().unwrap(), &nothing).unwrap();
}

#[test]
fn an_update_does_not_restore_a_removed_peer() {
    let mut lab = Lab::with_interface();
    let before = desired([(1, peer([address(2)]))]);
    lab.converge(&before);
    let mut after = before.clone();
    after.peers.get_mut(&key(1)).unwrap().persistent_keepalive = 25;
    let update = lab.plan(&after);
    lab.namespace
        .exec(&["wg", "set", "wg0", "peer", &key(1).to_string(), "remove"]);
    lab.kernel.apply(&lab.name, &update).unwrap();
    assert!(lab.shown().is_empty());
}

#[test]
fn external_drift_is_repaired_and_nothing_else_is_sent() {
    let mut lab = Lab::with_interface();
    let wanted = desired([(1, peer([address(1)])), (2, peer([address(2)]))]);
    lab.converge(&wanted);
    lab.namespace.exec(&[
        "wg",
        "set",
        "wg0",
        "peer",
        &key(1).to_string(),
        "allowed-ips",
        "10.0.0.1/32,10.0.0.77/32",
    ]);
    let repair = lab.plan(&wanted);
    assert_eq!(repair.peers.len(), 1);
    lab.converge(&wanted);
}

#[test]
fn a_port_in_use_is_reported_with_the_kernels_error() {
    let mut lab = Lab::with_interface();
    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    lab.namespace.exec(&["ip", "link", "set", "wg0", "up"]);
    let wanted = DesiredDevice {
        listen_port: Some(port),
        ..desired([])
    };
    let plan = lab.plan(&wanted);
    let error = lab.kernel.apply(&lab.name, &plan).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!("port {port}")) && text.contains("in use"),
        "{text}"
    );
    assert!(matches!(error, Error::Refused { errno: 98, .. }));
}

#[test]
fn a_missing_interface_is_reported() {
    let mut lab = Lab::with_interface();
    let plan = plan(&desired([]), &Device::default(), &Scope::All);
    let missing = "wg9".parse().unwrap();
    assert_eq!(lab.kernel.read(&missing).unwrap(), None);
    let error = lab.kernel.apply(&missing, &plan).unwrap_err();
    assert!(matches!(error, Error::NoInterface(_)), "{error}");
}

#[test]
fn a_read_during_concurrent_writes_has_every_peer() {
    let mut lab = Lab::with_interface();
    let wanted = desired((0..600).map(|n| (n, peer([address(n)]))));
    lab.converge(&wanted);
    let name = lab.namespace.name().to_owned();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let peer = key(0).to_string();
        while let Err(std::sync::mpsc::TryRecvError::Empty) = stopped.try_recv() {
            let set = ["ip", "netns", "exec", &name, "wg", "set", "wg0", "peer", &peer];
            sentrazone_tests::netns::run(&[&set[..], &["persistent-keepalive", "7"]].concat());
        }
    });
    for _ in 0..10 {
        assert!(lab.read().peers.keys().eq(wanted.peers.keys()));
    }
    drop(stop);
    writer.join().unwrap();
}

#[test]
fn wgctl_shows_the_kernels_interface_despite_a_leftover_userspace_socket() {
    let mut lab = Lab::new();
    // The sockets of all namespaces are in one directory.
    lab.name = format!("szk{}", std::process::id()).parse().unwrap();
    assert!(lab.host.create_link(&lab.name).unwrap());
    std::fs::create_dir_all("/var/run/wireguard").unwrap();
    let left_behind = format!("/var/run/wireguard/{}.sock", lab.name);
    std::fs::write(&left_behind, "").unwrap();
    let wgctl = sentrazone_tests::process::binary("wgctl");
    let shown = lab
        .namespace
        .exec(&[wgctl.to_str().unwrap(), "show", lab.name.as_str()]);
    std::fs::remove_file(left_behind).unwrap();
    assert!(shown.starts_with(&format!("interface: {}\n", lab.name)), "{shown}");
}
