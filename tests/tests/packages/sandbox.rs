//! The sandboxes of the packaged units, tested from the inside.

use std::collections::BTreeMap;

use sentrazone_tests::counts::figure;

use crate::site::{Site, THESE, disk, manual, only, turn};

/// Parses the output of the sandbox-escape program. Returns each way out, with true if it is open.
fn open(answer: &str) -> BTreeMap<String, bool> {
    let ways = answer.lines().filter_map(|line| line.split_once(": "));
    ways.map(|(way, outcome)| (way.to_owned(), outcome == "open")).collect()
}

/// Returns a script that runs the sandbox-escape program in a copy of a unit and prints the program's output.
fn imitate(unit: &str) -> String {
    format!(
        "sed -e 's,^ExecStart=.*,ExecStart=/usr/bin/escape,' -e 's,^ExecPaths=[^ ]*,ExecPaths=/usr/bin/escape,' \
             -e 's,^Type=.*,Type=oneshot,' -e '/^Restart/d' -e '/^Watchdog/d' -e '/^Condition/d' \
             /usr/lib/systemd/system/{unit}.service >/etc/systemd/system/escape.service
         echo 'StandardOutput=file:/root/told' >/root/more
         sed -i '/^\\[Service\\]/r /root/more' /etc/systemd/system/escape.service
         systemctl daemon-reload
         rm -f /root/told
         systemctl start escape || {{ journalctl -u escape --no-pager -n 20; exit 1; }}
         cat /root/told"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_escapes_from_the_daemons_sandboxes() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::alone(&disk(folder.path()));
    site.types(THESE, &only("The plane", "plane"), "");
    site.types(THESE, &manual("A VPN host", "host")[0].first_line(), "");
    site.machine.run("install -m 755 /root/escape /usr/bin/escape");
    let all = open(&site.machine.run("/usr/bin/escape; rm -f /etc/escaped /usr/escaped"));
    assert!(
        all.len() == 20 && all.values().all(|open| *open),
        "a way out is closed even without a sandbox: {all:?}"
    );
    for unit in ["sentrazone-plane", "sentrazone-agent"] {
        let told = site.machine.run(&imitate(unit));
        let ways = open(&told);
        let left: Vec<&String> = ways.iter().filter_map(|(way, open)| open.then_some(way)).collect();
        figure(&format!("ways out of {unit}'s sandbox"), all.len(), left.len(), "");
        assert!(ways.len() == all.len() && left.is_empty(), "{unit}:\n{told}");
    }
}
