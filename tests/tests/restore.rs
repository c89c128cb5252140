//! Backup and restore with a real plane and the real command: the state after a kill, and the duration
//! for a large fleet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use sentrazone_tests::process::{Process, binary};
use sentrazone_tests::wait;
use tempfile::TempDir;
use tokio::task::JoinSet;
use wgctl::PrivateKey;
use wgctl::api::{NewPeer, NewServer};
use wgctl::client::{PlaneClient, Target};

/// The number of times that the plane is killed during a restore.
const KILLS: u32 = 24;

/// A plane in its own directory.
struct Plane {
    process: Option<Process>,
    folder: TempDir,
}

impl Plane {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "listen = \"127.0.0.1:0\"\nstate_dir = \"{0}/state\"\nsocket = \"{0}/plane.sock\"\n\
             [limits]\nwrites_per_second = 1_000_000\nwrite_burst = 1_000_000\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("plane.toml"), text).unwrap();
        let mut plane = Self { process: None, folder };
        plane.run().await;
        plane
    }

    /// Starts the plane (again) and waits until it is ready.
    async fn run(&mut self) {
        let mut command = Command::new(binary("sentrazone-plane"));
        command.arg("--config").arg(self.path("plane.toml"));
        self.process = Some(Process::start("plane", command, self.folder.path()));
        let admin = self.admin();
        wait::until("the plane is ready", || admin.ready(), Result::is_ok)
            .await
            .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn admin(&self) -> PlaneClient {
        PlaneClient::new(Target::Socket(self.path("plane.sock")), None).unwrap()
    }

    fn wgctl(&self) -> Command {
        let mut command = Command::new(binary("wgctl"));
        command.arg("--socket").arg(self.path("plane.sock"));
        command
    }

    fn save(&self, name: &str) -> PathBuf {
        let file = self.path(name);
        succeeded(&self.wgctl().arg("backup").arg(&file).output().unwrap());
        file
    }

    /// Creates a server with this many peers, each with its own key.
    async fn fill(&self, server: &str, pool: &str, peers: usize) {
        let admin = self.admin();
        admin.create_server(&new_server(server, pool), None).await.unwrap();
        let mut writers = JoinSet::new();
        for writer in 0..32 {
            let (admin, server) = (self.admin(), server.parse().unwrap());
            writers.spawn(async move {
                for n in (writer..peers).step_by(32) {
                    admin.create_peer(&server, &new_peer(n), None).await.unwrap();
                }
            });
        }
        writers.join_all().await;
    }

    /// Returns the plane's current content: every peer of every server, as `server/name`.
    async fn content(&self) -> BTreeSet<String> {
        let admin = self.admin();
        let mut content = BTreeSet::new();
        for server in admin.servers().await.unwrap() {
            let peers = admin.peers(&server.id).await.unwrap();
            content.extend(peers.iter().map(|peer| format!("{}/{}", server.id, peer.name)));
        }
        content
    }
}

fn new_server(id: &str, pool: &str) -> NewServer {
    serde_json::from_value(serde_json::json!({
        "id": id, "endpoint": "vpn.example.com:51820", "address_pool": [pool],
    }))
    .unwrap()
}

fn new_peer(n: usize) -> NewPeer {
    let key = PrivateKey::generate().unwrap().public_key().to_string();
    let name = format!("peer-{n}");
    serde_json::from_value(serde_json::json!({"name": name, "publicKey": key, "presharedKey": false})).unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_killed_during_a_restore_has_the_old_state_or_the_new_one() {
    let mut plane = Plane::start().await;
    plane.fill("old", "10.8.0.0/16", 300).await;
    let old = (plane.save("old.backup"), plane.content().await);
    plane.admin().remove_server(&"old".parse().unwrap()).await.unwrap();
    plane.fill("new", "10.9.0.0/16", 3000).await;
    let new = (plane.save("new.backup"), plane.content().await);
    assert_eq!((old.1.len(), new.1.len()), (300, 3000));

    let restore = |plane: &Plane, file: &Path| {
        let mut command = plane.wgctl();
        command.arg("restore").arg("--yes").arg(file);
        Process::start("restore", command, plane.folder.path())
    };
    let finished = |mut process: Process| {
        let ended = wait::until_blocking("the restore ends", || process.ended(), Option::is_some);
        assert!(ended.unwrap().success(), "{}", process.log());
    };
    finished(restore(&plane, &old.0));
    let began = Instant::now();
    finished(restore(&plane, &new.0));
    let whole = began.elapsed();
    finished(restore(&plane, &old.0));

    let mut kept = 0;
    for kill in 0..KILLS {
        assert_eq!(plane.content().await, old.1);
        let mut running = restore(&plane, &new.0);
        // The kills are spread over a period twice as long as a restore takes.
        std::thread::sleep(whole.mul_f64(2.0 * f64::from(kill) / f64::from(KILLS)));
        let acknowledged = running.ended().is_some_and(|status| status.success());
        plane.process.take().unwrap().kill();
        drop(running);
        plane.run().await;
        let content = plane.content().await;
        assert!(
            content == old.1 || content == new.1,
            "kill {kill}: a mix of {} peers",
            content.len()
        );
        assert!(
            !acknowledged || content == new.1,
            "kill {kill}: an acknowledged restore was lost"
        );
        if content == old.1 {
            kept += 1;
        } else {
            finished(restore(&plane, &old.0));
        }
    }
    assert!(plane.process.take().unwrap().stop().success());
    println!(
        "fault: kill -9 during a restore | runs {KILLS} | lost 0 | old state {kept}, new state {}, a mix 0",
        KILLS - kept
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_replaced_by_a_backup_with_10_000_peers() {
    let mut plane = Plane::start().await;
    plane.fill("large", "10.0.0.0/16", 10_000).await;
    let began = Instant::now();
    let backup = plane.save("large.backup");
    let saved = began.elapsed();
    let content = plane.content().await;
    assert_eq!(content.len(), 10_000);
    let bytes = backup.metadata().unwrap().len();
    let database = plane.path("state/plane.redb");
    let on_disk = database.metadata().unwrap().len();

    // These are the steps for a damaged database from docs/backup.md.
    assert!(plane.process.take().unwrap().stop().success());
    std::fs::rename(&database, plane.path("state/plane.redb.damaged")).unwrap();
    plane.run().await;
    let checked = succeeded(
        &plane
            .wgctl()
            .arg("restore")
            .arg("--check")
            .arg(&backup)
            .output()
            .unwrap(),
    );
    assert!(checked.contains("servers: 1, peers: 10000, users: 0"), "{checked}");
    assert_eq!(plane.content().await.len(), 0, "the check changed something");
    let began = Instant::now();
    succeeded(&plane.wgctl().args(["restore", "--yes"]).arg(&backup).output().unwrap());
    let restored = began.elapsed();
    assert_eq!(plane.content().await, content, "the restored content differs");
    println!(
        "fault: damaged database, 10,000 peers restored | runs 1 | lost 0 | backup {} ms, restore {} ms, \
         {} KiB (the database file: {} KiB)",
        saved.as_millis(),
        restored.as_millis(),
        bytes / 1024,
        on_disk / 1024
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_asks_first_and_leaves_the_existing_data_alone_if_it_fails() {
    let plane = Plane::start().await;
    plane.fill("los-angeles", "10.8.0.0/24", 3).await;
    let backup = plane.save("all.backup");
    let mode = std::os::unix::fs::PermissionsExt::mode(&backup.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let unasked = plane.wgctl().arg("restore").arg(&backup).output().unwrap();
    assert_eq!(unasked.status.code(), Some(2), "not refused without a terminal");
    assert!(String::from_utf8_lossy(&unasked.stderr).contains("servers: 1, peers: 3, users: 0"));

    let whole = std::fs::read(&backup).unwrap();
    let damaged = plane.path("damaged.backup");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&damaged, flipped).unwrap();
    let refused = plane.wgctl().args(["restore", "--yes"]).arg(&damaged).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    // A changed length makes the rest look truncated, or a row too large.
    let reason = String::from_utf8_lossy(&refused.stderr);
    let faults = [
        "the backup is damaged",
        "the backup is truncated",
        "is too large for a backup",
    ];
    let named = faults.iter().any(|fault| reason.contains(fault));
    assert!(named && reason.contains("damaged.backup: "), "{reason}");

    let piped = plane.wgctl().args(["backup", "-"]).output().unwrap();
    assert!(piped.status.success() && wgctl::backup::summary(piped.stdout.as_slice()).is_ok());
    let unreachable = Command::new(binary("wgctl"))
        .args(["--socket", "/nonexistent/plane.sock", "backup"])
        .arg(&backup)
        .output()
        .unwrap();
    assert_eq!(unreachable.status.code(), Some(1));
    assert_eq!(
        std::fs::read(&backup).unwrap(),
        whole,
        "the existing backup was replaced"
    );
    let names = std::fs::read_dir(plane.folder.path()).unwrap();
    let left = names.filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().starts_with(".all"));
    assert_eq!(left.count(), 0, "a temporary file was left behind");
    let asked: serde_json::Value = {
        let output = plane
            .wgctl()
            .args(["--json", "restore", "--check"])
            .arg(&backup)
            .output()
            .unwrap();
        serde_json::from_str(&succeeded(&output)).unwrap()
    };
    assert_eq!((&asked["peers"], &asked["servers"]), (&3.into(), &1.into()));
}
