//! Drift on a real kernel, caused and checked with `wg`, `ip` and `nft`.

mod rig;

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};
use sentrazone_agent::drift::DriftReceipt;
use sentrazone_agent::kernel_events::Watch;
use sentrazone_agent::reconcile;
use sentrazone_tests::{interface_state, wait};
use wgctl::Clock;
use wgctl::drift::DriftKind::{self, *};
use wgctl::drift::DriftPolicy;

use rig::Rig;

/// An external change: the kind of drift that must be reported, whether other sessions survive the change in
/// the kernel, and the commands that cause it.
struct ExternalChange {
    kind: DriftKind,
    spares_sessions: bool,
    act: fn(&Rig),
}

const MEDDLINGS: &[ExternalChange] = &[
    ExternalChange {
        kind: PeerRemoved,
        spares_sessions: true,
        act: |rig| rig.wg(&["peer", &rig.key(0), "remove"]),
    },
    ExternalChange {
        kind: PeerAdded,
        spares_sessions: true,
        act: |rig| rig.wg(&["peer", &rig::stranger(), "allowed-ips", "10.77.0.0/16"]),
    },
    ExternalChange {
        kind: PeerChanged,
        spares_sessions: true,
        act: |rig| {
            let file = rig.secret_file("psk");
            rig.wg(&["peer", &rig.key(0), "preshared-key", &file]);
        },
    },
    ExternalChange {
        kind: PeerChanged,
        spares_sessions: true,
        act: |rig| rig.wg(&["peer", &rig.key(0), "persistent-keepalive", "25"]),
    },
    ExternalChange {
        // Stolen by a recorded peer.
        kind: AllowedIpsChanged,
        spares_sessions: true,
        act: |rig| rig.wg(&["peer", &rig.key(1), "allowed-ips", "10.8.0.2/32,10.8.0.3/32"]),
    },
    ExternalChange {
        // Stolen by a peer that is not recorded.
        kind: AllowedIpsChanged,
        spares_sessions: true,
        act: |rig| rig.wg(&["peer", &rig::stranger(), "allowed-ips", "10.8.0.2/32"]),
    },
    ExternalChange {
        kind: LinkDeleted,
        spares_sessions: false,
        act: |rig| rig.ip(&["link", "del", "wg0"]),
    },
    ExternalChange {
        kind: LinkDown,
        spares_sessions: false,
        act: |rig| rig.ip(&["link", "set", "wg0", "down"]),
    },
    ExternalChange {
        kind: MtuChanged,
        spares_sessions: true,
        act: |rig| rig.ip(&["link", "set", "wg0", "mtu", "1300"]),
    },
    ExternalChange {
        kind: AddressRemoved,
        spares_sessions: true,
        act: |rig| rig.ip(&["address", "del", "10.8.0.1/24", "dev", "wg0"]),
    },
    ExternalChange {
        kind: AddressRemoved,
        spares_sessions: true,
        act: |rig| rig.ip(&["address", "del", "fd00:8::1/64", "dev", "wg0"]),
    },
    ExternalChange {
        kind: AddressAdded,
        spares_sessions: true,
        act: |rig| rig.ip(&["address", "add", "10.9.0.1/24", "dev", "wg0"]),
    },
    ExternalChange {
        kind: RouteRemoved,
        spares_sessions: true,
        act: |rig| rig.ip(&["route", "del", "10.50.0.0/16", "dev", "wg0"]),
    },
    ExternalChange {
        kind: ListenPortChanged,
        spares_sessions: true,
        act: |rig| rig.wg(&["listen-port", "6000"]),
    },
    ExternalChange {
        kind: PrivateKeyChanged,
        spares_sessions: false,
        act: |rig| {
            let file = rig.secret_file("key");
            rig.wg(&["private-key", &file]);
        },
    },
    ExternalChange {
        kind: MasqueradeChanged,
        spares_sessions: true,
        act: |rig| rig.nft(&["delete", "table", "inet", "sentrazone-wg0"]),
    },
    ExternalChange {
        kind: MasqueradeChanged,
        spares_sessions: true,
        act: |rig| rig.nft(&["flush", "chain", "inet", "sentrazone-wg0", "postrouting"]),
    },
];

#[test]
fn external_changes_are_repaired_and_unrelated_sessions_continue() {
    let mut rig = Rig::new(DriftPolicy::Enforce);
    let device = rig.connected_device();
    assert!(device.reaches("10.8.0.1"));
    for ExternalChange {
        kind,
        spares_sessions,
        act,
    } in MEDDLINGS
    {
        let (before, session) = (rig.state(), rig.session());
        act(&rig);
        assert_ne!(rig.state(), before, "{kind}: the change had no effect");
        rig.round();
        assert_eq!(rig.state(), before, "{kind}");
        let report = rig.report().unwrap();
        assert!(report.repaired.iter().any(|drift| drift.kind == *kind), "{report:?}");
        assert!(report.seen.is_empty() && report.standing.is_empty(), "{report:?}");
        rig.reconciler
            .take_drift_receipt(DriftReceipt::Acknowledged(report.sequence));
        if *spares_sessions {
            assert_eq!(rig.session(), session, "{kind}");
        }
        let writes = rig.writes();
        rig.round();
        assert_eq!(
            (rig.writes(), rig.report()),
            (writes, None),
            "{kind}: the second round found something to repair"
        );
    }
    device.connect(&rig.device_configuration());
    assert!(device.reaches("10.8.0.1"));
}

#[test]
fn under_the_report_policy_external_changes_are_kept_until_enforce_is_set() {
    let mut rig = Rig::new(DriftPolicy::Enforce);
    let before = rig.state();
    for ExternalChange { kind, act, .. } in MEDDLINGS {
        rig.set_policy(DriftPolicy::Report);
        act(&rig);
        let meddled = rig.state();
        for _ in 0..2 {
            rig.round();
        }
        assert_eq!(rig.state(), meddled, "{kind}");
        let report = rig.report().unwrap();
        assert!(report.standing.iter().any(|drift| drift.kind == *kind), "{report:?}");
        assert_eq!((&report.seen, report.repaired.len()), (&report.standing, 0));
        rig.reconciler
            .take_drift_receipt(DriftReceipt::Acknowledged(report.sequence));
        rig.set_policy(DriftPolicy::Enforce);
        assert_eq!(rig.state(), before, "{kind}");
        let report = rig.report().unwrap();
        assert!(report.repaired.iter().any(|drift| drift.kind == *kind) && report.standing.is_empty());
        rig.reconciler
            .take_drift_receipt(DriftReceipt::Acknowledged(report.sequence));
    }
}

#[test]
fn strace_and_ip_monitor_see_no_write_in_a_round_with_nothing_to_do() {
    let mut rig = Rig::new(DriftPolicy::Enforce);
    let (writes, folder) = (rig.writes(), rig.folder().to_owned());
    let mut monitor = rig
        .namespace
        .command("ip")
        .args(["monitor", "link", "address", "route"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let traced = traced(&folder, || {
        for _ in 0..3 {
            rig.round();
        }
    });
    assert!(!traced.reads.is_empty(), "strace does not show the reads");
    assert_eq!((traced.writes, rig.writes()), (Vec::<String>::new(), writes));
    kill(Pid::from_raw(i32::try_from(monitor.id()).unwrap()), Signal::SIGTERM).unwrap();
    let mut told = String::new();
    monitor.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    monitor.wait().unwrap();
    assert_eq!(told, "");

    rig.wg(&["peer", &rig.key(0), "remove"]);
    rig.ip(&["address", "del", "fd00:8::1/64", "dev", "wg0"]);
    rig.nft(&["delete", "table", "inet", "sentrazone-wg0"]);
    let traced = self::traced(&folder, || rig.round());
    assert!(
        traced.writes.len() >= 3,
        "strace does not show all writes: {:?}",
        traced.writes
    );
}

/// The netlink messages sent by a thread.
struct Traced {
    reads: Vec<String>,
    writes: Vec<String>,
}

/// Runs `act` and returns the messages that this thread sends while `act` runs, according to strace.
fn traced(folder: &Path, act: impl FnOnce()) -> Traced {
    let (log, ready) = (folder.join("strace"), folder.join("strace.ready"));
    let mut strace = Command::new("strace")
        .args(["-e", "trace=sendto,sendmsg,write", "-o"])
        .arg(&log)
        .args(["-p", &gettid().to_string()])
        .stderr(std::fs::File::create(&ready).unwrap())
        .spawn()
        .expect("strace");
    let attached = || std::fs::read_to_string(&ready).unwrap();
    wait::until_blocking("strace is attached", attached, |text| text.contains("attached"));
    act();
    kill(Pid::from_raw(i32::try_from(strace.id()).unwrap()), Signal::SIGTERM).unwrap();
    strace.wait().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    let sent = text.lines().filter(|line| line.contains("nlmsg_type="));
    // If strace does not know a netlink family, it prints the flags of a dump as a number.
    let (reads, writes) = sent
        .map(str::to_owned)
        .partition(|line| ["NLM_F_DUMP", "|0x300", "GET"].iter().any(|mark| line.contains(mark)));
    Traced { reads, writes }
}

#[test]
fn changes_that_the_kernel_announces_are_repaired_without_waiting_for_a_round() {
    let rig = Rig::new(DriftPolicy::Enforce);
    let before = rig.state();
    let Rig {
        reconciler, namespace, ..
    } = rig;
    let watch = Watch::open().unwrap();
    let (ready, carried_out) = tokio::sync::oneshot::channel();
    let (handle, thread) = reconcile::spawn(reconciler, Clock::default(), ready).unwrap();
    carried_out.blocking_recv().unwrap();
    watch.spawn(handle.target.clone(), handle.inbox.clone()).unwrap();
    for act in [
        &["ip", "link", "del", "wg0"][..],
        &["ip", "link", "set", "wg0", "down"],
        &["ip", "address", "del", "10.8.0.1/24", "dev", "wg0"],
        &["ip", "address", "del", "fd00:8::1/64", "dev", "wg0"],
        &["ip", "address", "add", "10.9.0.1/24", "dev", "wg0"],
        &["ip", "link", "set", "wg0", "mtu", "1300"],
        &["ip", "route", "del", "10.50.0.0/16", "dev", "wg0"],
        &["nft", "delete", "table", "inet", "sentrazone-wg0"],
    ] {
        let begin = Instant::now();
        namespace.exec(act);
        wait::until_blocking(
            "the state is as before the change",
            || interface_state::interface(&namespace, "wg0"),
            |state| *state == before,
        );
        // The next regular round would take place only half a minute later.
        let took = begin.elapsed();
        println!("{act:?}: repaired within {took:?}");
        assert!(took < Duration::from_secs(15), "{act:?} took {took:?}");
    }
    handle.inbox.send(reconcile::Input::Stop).ok().unwrap();
    thread.join().unwrap();
}
