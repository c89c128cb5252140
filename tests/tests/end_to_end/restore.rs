//! A restore while a tunnel is in use: the host gets the restored state, and peers that exist both before and after
//! the restore are not disturbed.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sentrazone_tests::device::Device;
use sentrazone_tests::lab::{Host, Lab};
use sentrazone_tests::wait;

use crate::{create, create_applied, online};

/// A ping that runs until its result is read.
struct Pings(Child);

impl Pings {
    fn start(device: &Device, address: &str) -> Self {
        let mut command = device.namespace.command("ping");
        command.args(["-n", "-i", "0.2", address]).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Ends the ping. Returns the number of pings sent and the number of replies received.
    fn end(self) -> (u32, u32) {
        // ping prints its statistics when interrupted (ping(8)).
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGINT).unwrap();
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.contains("packets transmitted")).unwrap();
        let number = |word: &str| {
            let before = line.split(word).next().unwrap();
            before
                .split([' ', ','])
                .rfind(|part| !part.is_empty())
                .unwrap()
                .parse()
                .unwrap()
        };
        (number(" packets transmitted"), number(" received"))
    }
}

/// Returns the peer's latest handshake, according to `wg`.
fn handshake(host: &Host, key: &str) -> String {
    let dump = host.dump();
    let peer = dump.iter().find(|row| row[0] == key).unwrap();
    peer[4].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_brings_the_host_to_the_restored_state_and_leaves_the_tunnel_alone() {
    let mut lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    let admin = lab.admin();
    let kept = create_applied(&lab, &host, "kept").await;
    let dropped = create_applied(&lab, &host, "removed-after-the-backup").await;
    let device = lab.device("kept");
    device.connect(&admin.peer_configuration(&host.id, kept.id).await.unwrap());
    assert!(device.reaches("10.8.0.1"));
    let file = lab.folder().join("plane.backup").display().to_string();
    lab.wgctl(&["backup", &file]);

    admin.remove_peer(&host.id, dropped.id).await.unwrap();
    for n in 0..5 {
        create(&lab, &host, &format!("later-{n}")).await;
    }
    online(&lab, &host).await;
    assert_eq!(host.kernel_peers().len(), 6);

    let session = handshake(&host, &kept.public_key.to_string());
    let pings = Pings::start(&device, "10.8.0.1");
    let recorded = BTreeSet::from([kept.public_key.to_string(), dropped.public_key.to_string()]);
    lab.wgctl(&["restore", "--yes", &file]);
    let began = std::time::Instant::now();
    wait::until_blocking(
        "the kernel has the restored peers and no others",
        || host.kernel_peers().into_iter().collect::<BTreeSet<_>>(),
        |there| *there == recorded,
    );
    let took = began.elapsed();
    online(&lab, &host).await;
    let (sent, answered) = pings.end();
    assert_eq!(sent, answered, "pings lost");
    assert_eq!(
        handshake(&host, &kept.public_key.to_string()),
        session,
        "a new handshake"
    );
    println!(
        "fault: restore under a live tunnel | runs 1 | lost {} of {sent} pings, 0 re-handshakes | kernel as restored after {} ms",
        sent - answered,
        took.as_millis()
    );

    // Afterwards the plane works normally: changes are delivered, even after a restart of the plane.
    lab.plane().kill();
    lab.start_plane().await;
    let next = create_applied(&lab, &host, "next").await;
    assert!(host.has_peer(&next.public_key));
    assert!(device.reaches("10.8.0.1"));
}
