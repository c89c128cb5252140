//! `make bench`: the time that a change takes from the REST request to the kernel, and the programs' memory usage.
//!
//! Owns the measurements. They are taken alongside `wg set` and `wg syncconf` in the same run, because
//! times in an emulated host can be compared only with each other. It must not assert anything about time.
//! With `--userspace`, the measurements run directly on this machine, in namespaces, with wireguard-go instead of
//! the kernel's WireGuard.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use sentrazone_tests::lab::{Host, Lab};
use sentrazone_tests::netns::{Netns, run};
use sentrazone_tests::wait;
use sentrazone_tests::wireguard_go::WireguardGo;
use wgctl::PrivateKey;
use wgctl::api::{NewPeer, NewServer};
use wgctl::client::PlaneClient;

const SAMPLES: usize = 200;

/// The WireGuard implementation that provides the interfaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Kernel,
    WireguardGo,
}

#[tokio::main]
async fn main() {
    let holder = match std::env::args().nth(1).as_deref() {
        Some("--userspace") => Holder::WireguardGo,
        _ => Holder::Kernel,
    };
    let mut lab = match holder {
        Holder::Kernel => Lab::here().await,
        Holder::WireguardGo => Lab::new().await,
    };
    lab.report_interval = 15;
    let interface = format!("bench{}", std::process::id());
    let named = |new: &mut NewServer| new.interface = Some(interface.parse().expect("an interface's name"));
    let mut host = lab.enrolled("bench", &["10.8.0.0/16"], named).await;
    let _userspace = (holder == Holder::WireguardGo).then(|| {
        let text = std::fs::read_to_string(host.config()).expect("agent.toml");
        let text = text.replace("backend = \"kernel\"", "backend = \"userspace\"");
        std::fs::write(host.config(), text).expect("agent.toml");
        WireguardGo::start(host.namespace.command("wireguard-go"), &host.interface)
    });
    host.start();
    let admin = lab.admin();
    let applied = |answer: &Result<Vec<wgctl::api::Status>, _>| {
        answer.as_ref().is_ok_and(|all| {
            all.iter()
                .all(|s| s.online && s.applied_revision == Some(s.desired_revision))
        })
    };
    wait::until("the server is online", || admin.statuses(), applied)
        .await
        .expect("statuses");
    memory(&mut lab, &mut host, "idle");

    let mut present = 0;
    for peers in [10, 1_000] {
        fill(&admin, &host, present..peers).await;
        present = peers;
        println!("\nwith {peers} peers, {SAMPLES} changes each, milliseconds");
        println!("{:44} {:>8} {:>8} {:>8}", "", "p50", "p99", "max");
        let (create, delete) = create_and_delete(&admin, &host).await;
        row("create over REST, until the interface has it", &create);
        row("delete over REST, until the interface no longer has it", &delete);
        row("list all peers", &list(&admin, &host, peers).await);
        let (set, syncconf) = wg(peers, holder);
        row("`wg set` for one peer", &set);
        row("`wg syncconf` with one more peer", &syncconf);
        println!("create / `wg set` at p50: {:.1}", ratio(&create, &set));
        println!("create / `wg syncconf` at p50: {:.1}", ratio(&create, &syncconf));
    }
    memory(&mut lab, &mut host, "with 1,000 peers");
}

/// Creates the peers with the numbers in `which`, eight at a time.
async fn fill(admin: &PlaneClient, host: &Host, which: std::ops::Range<usize>) {
    let mut calls = tokio::task::JoinSet::new();
    for number in which {
        if calls.len() >= 8 {
            calls.join_next().await.expect("a call").expect("a peer");
        }
        let (admin, id) = (admin.clone(), host.id.clone());
        let new = NewPeer {
            name: Some(format!("peer-{number}").parse().expect("a name")),
            ..NewPeer::default()
        };
        calls.spawn(async move { admin.create_peer(&id, &new, None).await.expect("a peer") });
    }
    calls.join_all().await;
}

async fn create_and_delete(admin: &PlaneClient, host: &Host) -> (Vec<Duration>, Vec<Duration>) {
    let (mut created, mut deleted) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let new = NewPeer {
            name: Some("measured".parse().expect("a name")),
            ..NewPeer::default()
        };
        let begin = Instant::now();
        let peer = admin.create_peer(&host.id, &new, None).await.expect("a peer");
        created.push(begin.elapsed());
        assert!(
            peer.applied,
            "the agent did not confirm in time, so nothing was measured"
        );
        let begin = Instant::now();
        admin.remove_peer(&host.id, peer.id).await.expect("the removal");
        deleted.push(begin.elapsed());
    }
    (created, deleted)
}

async fn list(admin: &PlaneClient, host: &Host, peers: usize) -> Vec<Duration> {
    let mut listed = Vec::new();
    for _ in 0..SAMPLES {
        let begin = Instant::now();
        let all = admin.peers(&host.id).await.expect("the list");
        listed.push(begin.elapsed());
        assert_eq!(all.len(), peers);
    }
    listed
}

/// Measures the time that `wg set` and `wg syncconf` take to add one peer to an interface with `peers` peers. This
/// includes the time to start the process.
fn wg(peers: usize, holder: Holder) -> (Vec<Duration>, Vec<Duration>) {
    let namespace = Netns::named("wg");
    let interface = format!("wg{}", std::process::id());
    let _userspace = match holder {
        Holder::WireguardGo => Some(WireguardGo::start(namespace.command("wireguard-go"), &interface)),
        Holder::Kernel => {
            namespace.exec(&["ip", "link", "add", &interface, "type", "wireguard"]);
            None
        }
    };
    let key = || PrivateKey::generate().expect("randomness").public_key().to_string();
    let mut text = format!(
        "[Interface]\nPrivateKey = {}\n",
        PrivateKey::generate().expect("randomness").to_base64().as_str()
    );
    for number in 0..peers {
        let _ = write!(
            text,
            "[Peer]\nPublicKey = {}\nAllowedIPs = 10.9.{}.{}/32\n",
            key(),
            number / 250,
            number % 250
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (without, with) = (folder.path().join("without"), folder.path().join("with"));
    let added = key();
    std::fs::write(&without, &text).expect("a file");
    std::fs::write(
        &with,
        format!("{text}[Peer]\nPublicKey = {added}\nAllowedIPs = 10.10.0.1/32\n"),
    )
    .expect("a file");
    let (without, with) = (without.display().to_string(), with.display().to_string());
    namespace.exec(&["wg", "setconf", &interface, &without]);
    namespace.exec(&["ip", "link", "set", &interface, "up"]);
    // Runs in a thread that has entered the namespace, so that only the `wg` process is timed.
    let measure = || {
        namespace.enter();
        let (mut set, mut syncconf) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            set.push(timed(|| {
                drop(run(&[
                    "wg",
                    "set",
                    &interface,
                    "peer",
                    &added,
                    "allowed-ips",
                    "10.10.0.1/32",
                ]))
            }));
            run(&["wg", "set", &interface, "peer", &added, "remove"]);
            syncconf.push(timed(|| drop(run(&["wg", "syncconf", &interface, &with]))));
            run(&["wg", "set", &interface, "peer", &added, "remove"]);
        }
        (set, syncconf)
    };
    std::thread::scope(|scope| scope.spawn(measure).join().expect("the measurements"))
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn percentile(samples: &[Duration], share: f64) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[index]
}

fn median(samples: &[Duration]) -> Duration {
    percentile(samples, 0.5)
}

fn ratio(ours: &[Duration], theirs: &[Duration]) -> f64 {
    median(ours).as_secs_f64() / median(theirs).as_secs_f64()
}

fn row(what: &str, samples: &[Duration]) {
    let milliseconds = |share| percentile(samples, share).as_secs_f64() * 1000.0;
    println!(
        "{what:44} {:8.1} {:8.1} {:8.1}",
        milliseconds(0.5),
        milliseconds(0.99),
        milliseconds(1.0)
    );
}

fn memory(lab: &mut Lab, host: &mut Host, when: &str) {
    println!(
        "resident memory, {when}: plane {:.1} MB, agent {:.1} MB",
        resident(lab.plane().id()),
        resident(host.agent().id())
    );
}

/// Returns the resident memory of a process in MB (`VmRSS` in proc(5)).
fn resident(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a running process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes / 1024.0
}
