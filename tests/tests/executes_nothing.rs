//! CVE-2026-15733 and similar: according to strace, no request makes the plane execute a program. The agent is tested
//! in `end_to_end`, because it needs WireGuard.

use std::process::Command;

use sentrazone_tests::herd::{Herd, What};
use sentrazone_tests::loopback::LoopbackPlane;
use sentrazone_tests::netns::run;
use sentrazone_tests::process::{Process, binary};
use sentrazone_tests::trace::{Trace, is_allowed};
use sentrazone_tests::{reference_client, wait};
use serde_json::json;
use wgctl::api::{NewPeer, TokenRotation};

/// Returns true if strace works. If it does not, prints a line, or panics in CI (if `$CI` is set).
fn allowed() -> bool {
    let allowed = is_allowed();
    if !allowed {
        assert!(std::env::var_os("CI").is_none(), "ptrace(2) must be allowed in CI");
        eprintln!("not run: ptrace(2) is forbidden here");
    }
    allowed
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_15733_the_plane_executes_nothing_while_the_whole_api_is_used() {
    if !allowed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let trace = Trace::of(&binary("sentrazone-plane"), "traced-plane", folder.path());
    let mut plane = LoopbackPlane::start_from(trace.program()).await;
    let admin = plane.admin();
    let server = plane.server("los-angeles", "192.0.2.1:51820", &["10.8.0.0/24"]).await;
    let url = format!("http://127.0.0.1:{}", plane.port());
    let mut herd = Herd::default();
    herd.join(
        std::slice::from_ref(&url),
        &server.agent_token,
        &folder.path().join("agent"),
    );
    let begin = herd.log.first();
    let confirmed = || std::future::ready(herd.log.agents(What::Confirmed, 1, begin));
    wait::until("the agent has confirmed", confirmed, |count| *count == 1).await;

    let words = reference_client::command(&admin, &url, "los-angeles", &server.agent_token, folder.path()).await;
    let printed = tokio::task::spawn_blocking(move || run(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    let printed = printed.await.unwrap();
    assert!(
        printed.lines().filter(|line| line.starts_with("ok ")).count() >= 11,
        "{printed}"
    );
    everything_else(&plane).await;

    let id = plane.process().id();
    assert!(plane.process().stop().success());
    let executed = trace.executed(id);
    assert_eq!(
        executed.len(),
        1,
        "something other than the plane itself was executed: {executed:#?}"
    );
    assert!(executed[0].contains("sentrazone-plane"), "{executed:?}");
}

/// Sends requests that the reference client does not send: names with shell syntax, users, servers, backup and restore.
async fn everything_else(plane: &LoopbackPlane) {
    let admin = plane.admin();
    let server = "los-angeles".parse().unwrap();
    for name in [
        "$(touch /tmp/owned)",
        "`id`",
        "; reboot #",
        "| sh",
        "-exec",
        "PostUp = id",
    ] {
        let new = NewPeer {
            name: Some(name.parse().unwrap()),
            ..NewPeer::default()
        };
        let peer = admin.create_peer(&server, &new, None).await.unwrap();
        admin.peer_configuration(&server, peer.id).await.unwrap();
        admin.peer_qrcode(&server, peer.id).await.unwrap();
        admin.remove_peer(&server, peer.id).await.unwrap();
    }
    let user = json!({"email": "viewer@example.com", "password": "another horse battery", "role": "viewer"});
    let user = admin
        .create_user(&serde_json::from_value(user).unwrap(), None)
        .await
        .unwrap();
    admin.remove_user(user.id).await.unwrap();
    plane.server("tokyo", "vpn.example.com:1", &["10.9.0.0/24"]).await;
    admin.remove_server(&"tokyo".parse().unwrap()).await.unwrap();
    let backup = plane.folder().join("backup");
    let socket = plane.folder().join("plane.sock").display().to_string();
    let wgctl = binary("wgctl").display().to_string();
    let file = backup.display().to_string();
    run(&[&wgctl, "--socket", &socket, "backup", &file]);
    run(&[&wgctl, "--socket", &socket, "restore", &file, "--yes"]);
    admin
        .rotate_agent_token(&server, TokenRotation::default())
        .await
        .unwrap();
}

/// Checks that strace detects executed programs. If it did not, the test above could not fail.
#[test]
fn strace_detects_a_program_that_is_executed() {
    if !allowed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let trace = Trace::of("/bin/sh".as_ref(), "shell", folder.path());
    let mut command = Command::new(trace.program());
    command.args(["-c", "/bin/true; /bin/true"]);
    let mut shell = Process::start("shell", command, folder.path());
    let id = shell.id();
    wait::until_blocking("the shell ends", || shell.ended(), Option::is_some);
    assert_eq!(trace.executed(id).len(), 3);
}
