//! The whole life cycle of a fleet that is installed from packages: enrolment, use, an upgrade, a reboot, a move to
//! another machine, and removal.

use sentrazone_tests::counts::figure;
use sentrazone_tests::machine::Machine;

use crate::site::{OLDER, Site, THESE, disk, manual, only, turn};

/// The ends of the cable.
const PLANE: u8 = 1;
const HOST: u8 = 2;

/// The plane's address in the manual, and the one used here. Plain HTTP over the cable replaces TLS between the agents
/// and a proxy.
const NAMES: (&str, &str) = ("https://plane.example.com", "http://10.77.0.1:8080 --allow-plaintext");

/// The manual's configuration for a proxy on another machine.
const LISTEN: &str = "printf 'listen = [\"127.0.0.1:8080\", \"10.77.0.1:8080\"]\\n[tls]\\nbehind_proxy = true\\n' \
                      >/etc/sentrazone/plane.toml; systemctl restart sentrazone-plane";

/// Connects a device in a namespace on its host. The tunnel's UDP socket stays in the host's namespace; the
/// tunnel is the device's only interface.
const CONNECT: &str = "
    ip netns del device 2>/dev/null || true
    ip link del tun0 2>/dev/null || true
    ip netns add device
    ip link add tun0 type wireguard
    wg setconf tun0 <(grep -vE '^(Address|DNS|MTU)' /root/device.conf)
    ip link set tun0 netns device
    for address in $(sed -n 's/^Address *= *//p' /root/device.conf | tr , ' '); do
        ip -n device addr add $address dev tun0
    done
    ip -n device link set tun0 up
    ip -n device route add default dev tun0
    ip netns exec device ping -n -q -c 3 -i 0.2 -w 30 10.8.0.1";

const VERSIONS: &str = "dpkg-query -W -f '${Version} ' 'sentrazone-*' wgctl 2>/dev/null || true";

/// Returns the first word in a command's output that looks like a token.
fn token(answer: &str) -> String {
    let words = answer.split_whitespace();
    let mut long = words.filter(|word| word.len() >= 40 && !word.contains(['/', ':']));
    long.next().unwrap_or_else(|| panic!("no token in {answer}")).to_owned()
}

/// Waits until the plane shows the host online and up to date.
fn online(plane: &mut Machine) {
    let status = "wgctl status --json | tr -d ' \\n'";
    plane.until("the host is online", status, |status| {
        status.contains("\"online\":true")
    });
}

fn ping_begins(host: &mut Machine) {
    host.run(
        "systemd-run -q --collect --unit=pinging -p KillSignal=SIGINT -p StandardOutput=file:/root/pings \
             ip netns exec device ping -n -q -i 0.1 10.8.0.1",
    );
}

/// Ends the pings. Returns the number of pings sent and lost.
fn ping_ends(host: &mut Machine) -> (usize, usize) {
    host.run("systemctl stop pinging");
    let words = host.until("ping's summary", "cat /root/pings", |words| {
        words.contains("transmitted")
    });
    let summary = words.lines().find(|line| line.contains("packets transmitted")).unwrap();
    let number = |part: &str| part.split_whitespace().next().unwrap().parse::<usize>().unwrap();
    let mut parts = summary.split(", ");
    let sent = number(parts.next().unwrap());
    (sent, sent - number(parts.next().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manuals_commands_work_for_the_whole_life_cycle_of_a_fleet() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path());
    let cable = folder.path().join("cable");
    std::fs::create_dir(&cable).unwrap();
    let mut plane = Site::on(&cable, PLANE, HOST, &disk);
    let mut host = Site::on(&cable, HOST, PLANE, &disk);

    // Installs, enrolls, and connects a device.
    plane.types(OLDER, &only("The plane", "plane"), "");
    plane.machine.run(LISTEN);
    let [register, first_device] = &manual("A VPN host", "plane")[..] else {
        panic!("expected two blocks for the plane's machine")
    };
    let token = token(&plane.types(OLDER, register, ""));
    let mut enroll = only("A VPN host", "host");
    enroll.commands = enroll.commands.replace(NAMES.0, NAMES.1);
    host.types(OLDER, &enroll, &token);
    assert_eq!(
        host.machine.run("stat -c '%U %a' /etc/sentrazone/agent.token"),
        "root 600"
    );
    assert_eq!(host.machine.run("cat /proc/sys/net/ipv4/ip_forward"), "1");
    online(&mut plane.machine);
    // The agent fills the plane's stock of keys only after it is online.
    plane.types_until_done(OLDER, first_device, "agent_offline");
    let configuration = plane.machine.run("wgctl peer config los-angeles alice-iphone");
    host.machine
        .run(&format!("cat >/root/device.conf <<'END'\n{configuration}\nEND"));
    host.machine.run(CONNECT);

    // Upgrades both machines under traffic.
    ping_begins(&mut host.machine);
    plane.types(THESE, &only("Upgrade", "plane"), "");
    host.types(THESE, &only("Upgrade", "host"), "");
    online(&mut plane.machine);
    let (sent, lost) = ping_ends(&mut host.machine);
    figure("upgrade of plane and agent packages", 2, lost, &format!("{sent} pings"));
    assert!(sent > 20 && lost == 0, "{lost} of {sent} pings lost");
    for machine in [&mut plane.machine, &mut host.machine] {
        let versions = machine.run(VERSIONS);
        assert!(!versions.is_empty() && !versions.contains("before"), "{versions}");
    }
    assert!(
        plane
            .machine
            .run("cat /etc/sentrazone/plane.toml")
            .contains("10.77.0.1")
    );

    // Reboots both machines.
    plane.machine.reboot();
    host.machine.reboot();
    host.machine
        .until("the agent is active", "systemctl is-active sentrazone-agent", |state| {
            state == "active"
        });
    host.machine.run(CONNECT);
    online(&mut plane.machine);

    // Replaces the plane's machine with another one.
    plane.types("/root", &only("Backup", "plane"), "");
    let backup = plane.machine.run("base64 -w 0 /root/plane.backup");
    plane.machine.cut();
    let mut plane = Site::on(&cable, PLANE, HOST, &disk);
    plane
        .machine
        .run(&format!("base64 -d >{THESE}/plane.backup <<<'{backup}'"));
    ping_begins(&mut host.machine);
    plane.types(THESE, &only("Backup", "replacement"), "");
    plane.machine.run(LISTEN);
    online(&mut plane.machine);
    let (sent, lost) = ping_ends(&mut host.machine);
    figure("restore on another machine", 1, lost, &format!("{sent} pings"));
    assert_eq!(lost, 0, "pings were lost, out of {sent}");
    plane.machine.run("wgctl peer list los-angeles | grep alice-iphone");

    // Uninstalls the packages from both machines.
    let [remove, purge] = &manual("Uninstall", "host")[..] else {
        panic!("expected a block for remove and one for purge")
    };
    ping_begins(&mut host.machine);
    host.types(THESE, remove, "");
    let (sent, lost) = ping_ends(&mut host.machine);
    figure("removal of the agent's package", 1, lost, &format!("{sent} pings"));
    assert_eq!(lost, 0, "pings were lost, out of {sent}");
    host.machine
        .run("test -f /var/lib/sentrazone-agent/wireguard.key; test -f /etc/sentrazone/agent.token");
    host.types(THESE, purge, "");
    host.machine
        .run("ip netns exec device ping -n -q -c 3 -i 0.2 -w 20 10.8.0.1");
    host.machine.run("ip netns del device; rm -rf /etc/netns");
    assert_eq!(host.left(), Vec::<String>::new(), "left on the host");

    let [remove, purge] = &manual("Uninstall", "plane")[..] else {
        panic!("expected a block for remove and one for purge")
    };
    plane.types(THESE, remove, "");
    plane
        .machine
        .run("test -f /var/lib/sentrazone-plane/plane.redb; test -f /etc/sentrazone/plane.toml");
    plane.types(THESE, purge, "");
    assert_eq!(plane.left(), Vec::<String>::new(), "left on the plane's machine");
}
