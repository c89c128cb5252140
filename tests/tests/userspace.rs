//! Userspace WireGuard: a real wireguard-go, checked with `wg`. Also a kernel without WireGuard.
//!
//! The tests need root, `/dev/net/tun` and the program wireguard-go (Debian package `wireguard-go`).

use std::path::PathBuf;
use std::process::Command;

use sentrazone_agent::host::{Host as _, Netlink};
use sentrazone_tests::process::binary;
use sentrazone_tests::wait::until_blocking;
use sentrazone_tests::wireguard_go::WireguardGo;
use wgctl::device::kernel::Kernel;
use wgctl::device::plan::plan;
use wgctl::device::userspace::Userspace;
use wgctl::device::{Backend as _, DesiredDevice, DesiredPeer, Device, Scope};
use wgctl::name::InterfaceName;
use wgctl::{PresharedKey, PrivateKey, PublicKey};

/// A running wireguard-go with its own interface.
struct Held {
    _process: WireguardGo,
    name: InterfaceName,
}

impl Held {
    fn start(role: &str) -> Self {
        let name: InterfaceName = format!("{role}{}", std::process::id()).parse().unwrap();
        Self {
            _process: WireguardGo::start(Command::new("wireguard-go"), name.as_str()),
            name,
        }
    }

    fn shown(&self) -> Vec<Vec<String>> {
        let output = Command::new("wg")
            .args(["show", self.name.as_str(), "dump"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect()
    }
}

fn converge(name: &InterfaceName, desired: &DesiredDevice) -> Device {
    let mut backend = Userspace::new();
    let before = backend.read(name).unwrap().unwrap();
    backend.apply(name, &plan(desired, &before, &Scope::All)).unwrap();
    let after = backend.read(name).unwrap().unwrap();
    assert!(
        plan(desired, &after, &Scope::All).is_empty(),
        "the second plan is not empty"
    );
    after
}

fn key(n: u8) -> PublicKey {
    PublicKey::from_bytes([n; 32]).unwrap()
}

#[test]
fn peers_are_created_changed_and_removed() {
    let running = Held::start("szu");
    let preshared = PresharedKey::generate().unwrap();
    let full = DesiredPeer {
        preshared_key: Some(preshared.clone()),
        persistent_keepalive: 25,
        allowed_ips: ["10.0.0.2/32", "fd00::2/128"].map(|net| net.parse().unwrap()).into(),
        endpoint: Some("192.0.2.1:51820".parse().unwrap()),
    };
    let mut desired = DesiredDevice {
        private_key: PrivateKey::generate().unwrap(),
        listen_port: None,
        fwmark: Some(0x51),
        peers: [(key(1), full), (key(2), DesiredPeer::default())].into(),
    };
    converge(&running.name, &desired);
    let shown = running.shown();
    assert_eq!(shown[0][0], *desired.private_key.to_base64());
    assert_eq!(shown[0][3], "0x51");
    assert_eq!(shown.len(), 3);
    let row = shown.iter().find(|row| row[0] == key(1).to_string()).unwrap();
    assert_eq!(row[1], *preshared.to_base64());
    assert_eq!(row[2], "192.0.2.1:51820");
    assert_eq!(row[3].split(',').count(), 2);
    assert_eq!(row[7], "25");

    let less = DesiredPeer {
        allowed_ips: ["10.0.0.9/32"].map(|net| net.parse().unwrap()).into(),
        ..DesiredPeer::default()
    };
    desired.peers = [(key(1), less)].into();
    converge(&running.name, &desired);
    let shown = running.shown();
    assert_eq!(shown.len(), 2);
    assert_eq!((shown[1][1].as_str(), shown[1][7].as_str()), ("(none)", "off"));
    assert_eq!(shown[1][3], "10.0.0.9/32");
}

#[test]
fn wgctl_shows_the_interface_as_wg_does_and_skips_a_socket_without_a_listener() {
    let running = Held::start("szs");
    let desired = DesiredDevice {
        private_key: PrivateKey::generate().unwrap(),
        listen_port: None,
        fwmark: None,
        peers: [(key(1), DesiredPeer::default())].into(),
    };
    converge(&running.name, &desired);
    let dead = format!("szx{}", std::process::id());
    let left_behind = format!("/var/run/wireguard/{dead}.sock");
    std::fs::write(&left_behind, "").unwrap();
    let show = |more: &[&str]| {
        let output = Command::new(binary("wgctl"))
            .args([&["show"], more].concat())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let port = &running.shown()[0][2];
    let expected = format!(
        "interface: {}\n  public key: {}\n  private key: (hidden)\n  listening port: {port}\n\npeer: {}\n  allowed ips: \
         (none)\n",
        running.name,
        desired.private_key.public_key(),
        key(1)
    );
    assert_eq!(show(&[running.name.as_str()]), (true, expected.clone()));
    let (well, all) = show(&[]);
    assert!(well && all.contains(&expected) && !all.contains(&dead), "{all}");
    assert_eq!(show(&[&dead]), (false, String::new()));
    std::fs::remove_file(left_behind).unwrap();
}

#[test]
fn an_interface_without_a_process_reads_as_none_and_nothing_is_started() {
    let name: InterfaceName = format!("szn{}", std::process::id()).parse().unwrap();
    let mut backend = Userspace::new();
    assert_eq!(backend.read(&name).unwrap(), None);
    let desired = DesiredDevice {
        private_key: PrivateKey::generate().unwrap(),
        listen_port: None,
        fwmark: None,
        peers: std::collections::BTreeMap::new(),
    };
    let plan = plan(&desired, &Device::default(), &Scope::All);
    backend.apply(&name, &plan).unwrap_err();
    assert!(!PathBuf::from(format!("/sys/class/net/{name}")).exists());
}

#[test]
fn the_error_for_a_socket_without_a_listener_says_what_to_start() {
    let name: InterfaceName = format!("szd{}", std::process::id()).parse().unwrap();
    std::fs::create_dir_all("/var/run/wireguard").unwrap();
    let path = PathBuf::from(format!("/var/run/wireguard/{name}.sock"));
    // The listener is closed but its file remains, as after a process has been killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    // Another test may have forked in the meantime. The child keeps the listener open until it calls exec.
    let connect = || std::os::unix::net::UnixStream::connect(&path).is_ok();
    until_blocking("no process listens", connect, |answered| !answered);
    let error = Userspace::new().read(&name).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(error.contains(&format!("wireguard-go {name}")), "{error}");
    assert!(!PathBuf::from(format!("/sys/class/net/{name}")).exists());
}

#[test]
fn the_error_on_a_kernel_without_wireguard_says_what_to_do() {
    if std::env::var("SENTRAZONE_GUEST_KIND").as_deref() == Ok("straight") {
        eprintln!("not run: this machine's own kernel has WireGuard, which the test must not disable");
        return;
    }
    // From here on, the module cannot be loaded until the guest ends.
    std::fs::write("/proc/sys/kernel/modprobe", "/bin/false").unwrap();
    let _ = Command::new("rmmod").arg("wireguard").output().unwrap();
    assert!(!PathBuf::from("/sys/module/wireguard").exists(), "the module is in use");
    let name: InterfaceName = "wg0".parse().unwrap();
    let refused = Netlink::open().unwrap().create_link(&name).unwrap_err().to_string();
    let read = Kernel::open().unwrap().read(&name).unwrap_err().to_string();
    for message in [refused, read] {
        assert!(message.contains("this kernel has no WireGuard"), "{message}");
        assert!(
            message.contains("modprobe wireguard") && message.contains("backend = \"userspace\""),
            "{message}"
        );
    }
}
