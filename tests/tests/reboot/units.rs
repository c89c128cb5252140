//! The packaged units as they are installed in production: users, capabilities, restarts and a boot.

use sentrazone_tests::counts::figure;
use sentrazone_tests::installed;
use sentrazone_tests::machine::Machine;

use crate::host::{CONNECT, turn};

const REGISTER: &str = "wgctl server add los-angeles --endpoint 127.0.0.1:51820 --pool 10.8.0.0/24 --masquerade --json";

/// Starts plane and agent on one machine, and connects a device.
fn both_with_a_tunnel(machine: &mut Machine) {
    machine.run("systemctl enable --now sentrazone-plane");
    let created: serde_json::Value = serde_json::from_str(&machine.run(REGISTER)).unwrap();
    let token = created["agent_token"].as_str().unwrap();
    machine.run(&format!(
        "sentrazone-agent enroll --plane http://127.0.0.1:8080 --token-file - <<<'{token}'
         systemctl enable --now sentrazone-agent"
    ));
    machine.until(
        "a peer is created and applied",
        "wgctl peer add los-angeles device --json",
        |answer| answer.contains("\"applied\": true") || answer.contains("\"applied\":true"),
    );
    machine.run("wgctl peer config los-angeles device >/root/device.conf");
    machine.run(CONNECT);
    machine.run("ip netns exec device ping -n -q -c 2 -i 0.2 -w 20 10.8.0.1");
}

/// Returns the effective capabilities (`CapEff` in proc(5)) and the user of a unit's process.
fn privileges(machine: &mut Machine, unit: &str) -> (u64, String) {
    let pid = machine.run(&format!("systemctl show {unit} --value -p MainPID"));
    let bits = machine.run(&format!("sed -n 's/^CapEff:\\t//p' /proc/{pid}/status"));
    let user = machine.run(&format!("stat -c %U /proc/{pid}"));
    (u64::from_str_radix(&bits, 16).unwrap(), user)
}

/// Checks that the journals of plane and agent show a change under the same request id.
fn the_journal_joins_both(machine: &mut Machine) {
    let newest = "journalctl -b -u sentrazone-agent -o json --no-pager \
                  | sed -n 's/.*\"REQUEST_ID\":\"\\([^\"]*\\)\".*/\\1/p' | tail -n 1";
    let id = machine.until("the agent names a request", newest, |id| !id.is_empty());
    let units = format!(
        "journalctl -b REQUEST_ID={} -o json --no-pager | grep -o '\"_SYSTEMD_UNIT\":\"[^\"]*\"' | sort -u",
        id.trim()
    );
    let units = machine.run(&units);
    for unit in ["sentrazone-plane", "sentrazone-agent"] {
        assert!(units.contains(&format!("{unit}.service")), "{unit}: {units:?}");
    }
}

/// Checks that a reload changes the log level, and that the process continues.
fn a_reload_ends_nobody(machine: &mut Machine) {
    for unit in ["sentrazone-plane", "sentrazone-agent"] {
        let file = format!("/etc/sentrazone/{}.toml", unit.trim_start_matches("sentrazone-"));
        let pid = format!("systemctl show {unit} --value -p MainPID");
        let before = machine.run(&pid);
        machine.run(&format!(
            "sed -i '1i log = \"debug\"' {file} && systemctl reload {unit}"
        ));
        let said =
            format!("journalctl -b -u {unit} -o cat --no-pager | grep 'filter changes from info to debug' || true");
        machine.until("the journal shows the new level", &said, |line| line.contains("debug"));
        assert_eq!(machine.run(&pid), before);
        machine.run(&format!("sed -i 1d {file} && systemctl reload {unit}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_units_run_confined_restart_without_losing_a_ping_and_start_at_boot() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let mut machine = installed::machine(folder.path());
    both_with_a_tunnel(&mut machine);
    assert_eq!(privileges(&mut machine, "sentrazone-plane").0, 0);
    the_journal_joins_both(&mut machine);
    a_reload_ends_nobody(&mut machine);
    let files =
        "prlimit --pid $(systemctl show sentrazone-plane --value -p MainPID) --nofile --output SOFT --noheadings";
    let files: usize = machine.run(files).trim().parse().unwrap();
    assert!(
        files > sentrazone_plane::Config::default().limits.max_connections,
        "{files} files"
    );
    assert_eq!(
        privileges(&mut machine, "sentrazone-agent"),
        (1 << 12, "sentrazone-agent".to_owned()),
        "expected CAP_NET_ADMIN alone (linux/capability.h)"
    );

    let handshakes = "wg show wg0 latest-handshakes";
    let before = machine.run(handshakes);
    machine.run(
        "systemd-run -q --unit=pinging -p KillSignal=SIGINT -p StandardOutput=file:/root/pings \
                 ip netns exec device ping -n -q -i 0.1 10.8.0.1",
    );
    let units = ["sentrazone-plane", "sentrazone-agent"];
    for unit in units {
        machine.run(&format!("systemctl restart {unit}"));
    }
    for unit in units {
        machine.run(&format!("systemctl kill -s KILL {unit}"));
        let back = format!("systemctl show {unit} --value -p NRestarts -p ActiveState | tr '\\n' ' '");
        machine.until("systemd has started the unit again", &back, |state| {
            state.contains('1') && state.contains("active")
        });
    }
    let online = "wgctl status --json";
    machine.until("both are back", online, |status| {
        status.contains("\"online\": true") || status.contains("\"online\":true")
    });
    machine.run("systemctl stop pinging");
    let pings = machine.until("ping's summary", "cat /root/pings", |words| {
        words.contains("transmitted")
    });
    let (sent, lost) = sent_and_lost(&pings);
    figure("restart and kill -9 of both units", 4, lost, &format!("{sent} pings"));
    assert_eq!(lost, 0, "{pings}");
    assert_eq!(machine.run(handshakes), before, "the session did not continue");

    machine.reboot();
    for unit in units {
        machine.until("the unit is active", &format!("systemctl is-active {unit}"), |state| {
            state == "active"
        });
    }
    machine.run("wgctl peer list los-angeles | grep device");
    machine.run(CONNECT);
    machine.run("ip netns exec device ping -n -q -c 2 -i 0.2 -w 20 10.8.0.1");
    let failed = machine.run("systemctl --failed --no-legend --plain");
    assert_eq!(failed, "", "units have failed");
}

/// Reads ping's summary: "30 packets transmitted, 30 received, 0% packet loss".
fn sent_and_lost(words: &str) -> (usize, usize) {
    let summary = words.lines().find(|line| line.contains("packets transmitted")).unwrap();
    let number = |part: &str| part.split_whitespace().next().unwrap().parse::<usize>().unwrap();
    let mut parts = summary.split(", ");
    let sent = number(parts.next().unwrap());
    (sent, sent - number(parts.next().unwrap()))
}
