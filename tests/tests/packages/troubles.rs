//! Failures at startup: one clear line, a specific exit code, and no restart.

use sentrazone_tests::machine::Machine;

use crate::site::{Site, THESE, disk, only, turn};

/// Starts a unit that must fail. Returns its exit code and its last log line.
fn fails(machine: &mut Machine, unit: &str) -> (String, String) {
    machine.run(&format!(
        "systemctl reset-failed {unit}; ! systemctl start {unit} 2>/dev/null"
    ));
    let state = format!("systemctl show {unit} --value -p ActiveState");
    machine.until("the unit has failed", &state, |state| state == "failed");
    let restarts = machine.run(&format!("systemctl show {unit} --value -p NRestarts"));
    assert_eq!(restarts, "0", "systemd restarted {unit}");
    let code = machine.run(&format!("systemctl show {unit} --value -p ExecMainStatus"));
    let last = format!(
        "journalctl -u {unit} --no-pager -o cat _PID=$(systemctl show {unit} --value -p ExecMainPID) | tail -n 1"
    );
    (code, machine.run(&last))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_that_cannot_start_says_why_and_is_not_restarted() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::alone(&disk(folder.path()));
    site.types(THESE, &only("The plane", "plane"), "");
    let machine = &mut site.machine;
    let (unit, state) = ("sentrazone-plane", "/var/lib/sentrazone-plane");
    let expect = |machine: &mut Machine, code: &str, words: &str| {
        let (ended, said) = fails(machine, unit);
        assert!(ended == code && said.contains(words), "{ended}: {said}");
    };

    machine.run("systemctl stop sentrazone-plane; cp -p /etc/sentrazone/plane.toml /root; echo 'no = 1' >/etc/sentrazone/plane.toml");
    expect(machine, "78", "plane.toml:1: no: there is no such setting");
    machine.run("cp -p /root/plane.toml /etc/sentrazone");

    machine.run(
        "systemd-run -q --unit=other sentrazone-plane; until [ -S /run/sentrazone/plane.sock ]; do sleep 0.2; done",
    );
    expect(machine, "75", "stop the other sentrazone-plane");
    machine.run("systemctl stop other; chown -R sentrazone-plane:sentrazone /var/lib/sentrazone-plane");

    machine.run(
        "systemd-run -q --unit=other -p DynamicUser=yes -p StateDirectory=other -p RuntimeDirectory=other \
             env SENTRAZONE_PLANE_STATE_DIR=/var/lib/other SENTRAZONE_PLANE_SOCKET=/run/other/plane.sock sentrazone-plane
         until [ -S /run/other/plane.sock ]; do sleep 0.2; done",
    );
    expect(machine, "69", "cannot listen on 127.0.0.1:8080");
    machine.run("systemctl stop other");

    machine.run(&format!(
        "cp -p {state}/plane.redb /root; truncate -s 4096 {state}/plane.redb"
    ));
    expect(machine, "65", "plane.redb is damaged");
    machine.run(&format!(
        "cp -p /root/plane.redb {state}/; systemctl reset-failed {unit}; systemctl start {unit}"
    ));

    // A frozen plane no longer responds to the service manager.
    machine.run(
        "mkdir -p /run/systemd/system/sentrazone-plane.service.d
         printf '[Service]\\nWatchdogSec=10\\n' >/run/systemd/system/sentrazone-plane.service.d/soon.conf
         systemctl daemon-reload; systemctl restart sentrazone-plane
         kill -STOP $(systemctl show sentrazone-plane --value -p MainPID)",
    );
    let restarts = "systemctl show sentrazone-plane --value -p NRestarts -p ActiveState | tr '\\n' ' '";
    machine.until("the frozen plane has been restarted", restarts, |state| {
        state == "1 active"
    });
}
