//! `make demo`: the product at work on real WireGuard, explained step by step.
//!
//! Owns the order of the steps and their text. The real programs perform every step, and real traffic
//! checks the result. The first step that fails ends the demo with a non-zero status.

use std::path::Path;
use std::time::Instant;

use sentrazone_tests::lab::{Host, Lab, PLANE_PORT};
use sentrazone_tests::wait;
use wgctl::api::{Login, NewPeer, NewUser, Peer, Role, base_url};
use wgctl::client::{PlaneClient, Target};

const EMAIL: &str = "ops@example.com";

#[tokio::main]
async fn main() {
    let keep = std::env::args().any(|argument| argument == "--keep");
    let begin = Instant::now();

    step("A control plane starts. It has no users and no default password.");
    let lab = Lab::here().await;
    let password = first_user(&lab).await;

    step("Two VPN hosts are registered. On each, an agent enrolls and creates a WireGuard interface.");
    let west = lab.host("los-angeles", &["10.8.0.0/24", "fd00:8::/64"]).await;
    let east = lab.host("new-york", &["10.9.0.0/24"]).await;
    for host in [&west, &east] {
        online(&lab, host).await;
        let port = host.namespace.exec(&["wg", "show", "wg0", "listen-port"]);
        say(&format!(
            "{}: wg0 is up and listens on UDP port {}",
            host.id,
            port.trim()
        ));
    }

    step("An admin logs in over REST and creates a peer on los-angeles.");
    let admin = login(&password).await;
    let peer = create(&admin, &west).await;

    step("A remote device connects with that peer's configuration, and pings through the tunnel.");
    let text = admin
        .peer_configuration(&west.id, peer.id)
        .await
        .expect("the configuration");
    let device = lab.device("alice");
    device.connect(&text);
    for address in ["10.8.0.1", "fd00:8::1"] {
        assert!(device.reaches(address), "no reply from {address} through the tunnel");
        say(&format!("{address} replies"));
    }
    handshake(&admin, &west, &peer).await;

    step("The same configuration as a QR code, for a phone:");
    println!("{}", lab.wgctl(&["peer", "qr", "los-angeles", "alice-iphone"]));

    step("Disabling the peer cuts the device off. After the peer is enabled again, the device reconnects.");
    let disabled = admin.set_peer_enabled(&west.id, peer.id, false).await.expect("disable");
    assert!(
        disabled.applied && device.misses("10.8.0.1"),
        "a disabled peer still got through"
    );
    say("disabled: the kernel no longer has the key, and pings are lost");
    let enabled = admin.set_peer_enabled(&west.id, peer.id, true).await.expect("enable");
    assert!(enabled.applied);
    device.connect(&text);
    assert!(device.reaches("10.8.0.1"), "an enabled peer did not get through");
    say("enabled: pings are answered again");

    step("The plane's view:");
    println!("{}", lab.wgctl(&["status"]));
    println!("{}", lab.wgctl(&["audit", "--limit", "8"]));

    println!(
        "Everything worked, in {:.0} s: real programs, real WireGuard, nothing simulated.",
        begin.elapsed().as_secs_f64()
    );
    if keep {
        stay(&password).await;
    }
}

/// Creates the first user over the local socket, as `wgctl user add` does. Returns the password.
async fn first_user(lab: &Lab) -> String {
    let password: String = wgctl::PresharedKey::generate().expect("randomness").to_base64()[..24].to_owned();
    let email = EMAIL.parse().expect("an email");
    let new = NewUser {
        email,
        password: password.clone(),
        role: Role::Admin,
    };
    lab.admin().create_user(&new, None).await.expect("the first user");
    say(&format!("root on the plane's machine created the first admin, {EMAIL}"));
    password
}

async fn login(password: &str) -> PlaneClient {
    let url = base_url(&format!("http://127.0.0.1:{PLANE_PORT}")).expect("a URL");
    let anonymous = PlaneClient::new(Target::Url(url), None).expect("a client");
    let login = Login {
        email: EMAIL.to_owned(),
        password: password.to_owned(),
    };
    let session = anonymous.login(&login).await.expect("the login");
    say(&format!("POST /api/login: a token valid until {}", session.expires_at));
    anonymous.with_token(session.token.into())
}

async fn create(admin: &PlaneClient, host: &Host) -> Peer {
    let new = NewPeer {
        name: Some("alice-iphone".parse().expect("a name")),
        ..NewPeer::default()
    };
    let begin = Instant::now();
    let peer = admin.create_peer(&host.id, &new, None).await.expect("the peer");
    let took = begin.elapsed().as_millis();
    assert!(peer.applied, "the agent did not confirm");
    assert!(host.has_peer(&peer.public_key), "wg does not show the peer");
    say(&format!(
        "POST /api/wg-clients/{}: {} has {}; the kernel has it after {took} ms",
        host.id, peer.name, peer.address
    ));
    peer
}

async fn online(lab: &Lab, host: &Host) {
    let admin = lab.admin();
    let up = |answer: &Result<Vec<wgctl::api::Status>, _>| {
        let status = answer
            .as_ref()
            .ok()
            .and_then(|all| all.iter().find(|status| status.server_id == host.id));
        status.is_some_and(|status| status.online && status.applied_revision == Some(status.desired_revision))
    };
    wait::until("the server is online", || admin.statuses(), up)
        .await
        .expect("statuses");
}

async fn handshake(admin: &PlaneClient, host: &Host, peer: &Peer) {
    let reported = |answer: &Result<Peer, _>| answer.as_ref().is_ok_and(|peer| peer.latest_handshake_at.is_some());
    let seen = wait::until("the handshake is reported", || admin.peer(&host.id, peer.id), reported)
        .await
        .expect("a peer");
    let at = seen.latest_handshake_at.expect("a handshake");
    say(&format!(
        "the API shows the handshake of {at}, {} bytes received, {} sent",
        seen.transfer_rx, seen.transfer_tx
    ));
}

/// Leaves everything running until the process is terminated.
async fn stay(password: &str) {
    println!("\nEverything keeps running. The plane is at http://127.0.0.1:{PLANE_PORT}. To log in:\n");
    println!(
        "  curl -s http://127.0.0.1:{PLANE_PORT}/api/login -H 'Content-Type: application/json' \\\n    \
         -d '{{\"email\": \"{EMAIL}\", \"password\": \"{password}\"}}'\n"
    );
    println!(
        "or: echo '{password}' | {} login http://127.0.0.1:{PLANE_PORT} --email {EMAIL} --password-stdin",
        wgctl_path()
    );
    println!("\nPress Ctrl-C to stop it.");
    let () = std::future::pending().await;
}

fn wgctl_path() -> String {
    let path = sentrazone_tests::process::binary("wgctl");
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .map_or_else(|_| path.display().to_string(), |path: &Path| path.display().to_string())
}

fn step(what: &str) {
    println!("\n── {what}");
}

fn say(what: &str) {
    println!("   {what}");
}
