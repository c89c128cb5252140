//! Adoption: an existing interface is imported as it is, completely or not at all.

use serde_json::{Value, json};
use wgctl::{PeerId, PrivateKey, PublicKey};

use crate::support::plane::TestPlane;

const PATH: &str = "/api/agent/adoption";

fn key() -> PublicKey {
    PrivateKey::generate().unwrap().public_key()
}

fn peer(allowed_ips: &[&str]) -> Value {
    json!({"id": PeerId::random(), "public_key": key(), "allowed_ips": allowed_ips})
}

fn adoption(peers: &[Value]) -> Value {
    json!({"public_key": key(), "listen_port": 51999, "peers": peers})
}

/// Starts a plane with a server that awaits adoption. Also returns the admin's token and the agent's token.
fn awaiting() -> (TestPlane, String, String) {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let body = json!({
        "id": "los-angeles", "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/24"], "adopt": true
    });
    let made = plane.post("/api/servers", &admin, &body).expect(201);
    assert_eq!(made["adopt"], true);
    let token = made["agent_token"].as_str().unwrap().to_owned();
    (plane, admin, token)
}

/// Returns everything that the API shows about the server.
fn seen(plane: &TestPlane, admin: &str) -> [Value; 3] {
    [
        "/api/servers/los-angeles",
        "/api/wg-clients/los-angeles",
        "/api/audit?limit=1000",
    ]
    .map(|path| plane.get(path, admin).expect(200))
}

#[test]
fn a_dry_run_leaves_no_trace_and_a_repeated_adoption_takes_effect_once() {
    let (plane, admin, token) = awaiting();
    let before = seen(&plane, &admin);
    let terms = plane.get(PATH, &token).expect(200);
    assert_eq!(
        (&terms["server_id"], &terms["adopt"]),
        (&json!("los-angeles"), &json!(true))
    );
    let mut alice = peer(&["10.8.0.2/32", "192.168.7.0/24"]);
    alice["name"] = json!("alice");
    alice["preshared_key"] = json!("c2VhbGVk");
    let wanted = adoption(&[alice.clone(), peer(&["10.8.0.3/32"]), peer(&["10.8.0.9/32"])]);
    let planned = plane.post(&format!("{PATH}?dry_run=true"), &token, &wanted).expect(200);
    assert_eq!(seen(&plane, &admin), before, "a dry run leaves no trace");

    let made = plane.post(PATH, &token, &wanted).expect(200);
    assert_eq!(made, planned, "the adoption must match its dry run");
    assert_eq!(
        plane.post(PATH, &token, &wanted).expect(200),
        made,
        "a repeated request gets the same response"
    );
    let [server, clients, audit] = seen(&plane, &admin);
    assert_eq!(
        (
            &server["adopt"],
            &server["public_key"],
            &server["listen_port"],
            &server["peers"]
        ),
        (&json!(false), &wanted["public_key"], &json!(51999), &json!(3))
    );
    assert!(server["desired_revision"].as_u64() > before[0]["desired_revision"].as_u64());
    assert_eq!(
        (
            &clients[0]["name"],
            &clients[0]["privateKeyHeld"],
            &clients[0]["presharedKey"],
            &clients[0]["serverAllowedIPs"]
        ),
        (&json!("alice"), &json!(false), &json!(true), &json!(["192.168.7.0/24"]))
    );
    let actions: Vec<_> = audit.as_array().unwrap()[..4]
        .iter()
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "server_adopted",
            "wg_client_imported",
            "wg_client_imported",
            "wg_client_imported"
        ]
    );
    assert_eq!(
        (&audit[0]["actor"], &audit[3]["target"]),
        (&json!("agent:los-angeles"), &json!("los-angeles/alice"))
    );

    let desired = plane.get("/api/agent/desired", &token).expect(200);
    assert_eq!(desired["change"]["peers"][0]["preshared_key"], alice["preshared_key"]);
    assert_eq!(desired["change"]["interface"]["listen_port"], 51999);
    let more = json!({"public_key": wanted["public_key"], "peers": [peer(&["10.8.0.77/32"])]});
    plane.post(PATH, &token, &more).problem(409, "adoption_not_awaited");
    let free = json!({"name": "next", "publicKey": key(), "presharedKey": false});
    let next = plane.post("/api/wg-clients/los-angeles", &admin, &free).expect(201);
    assert_eq!(next["address"], "10.8.0.4", "imported addresses are not assigned again");
}

#[test]
fn one_peer_that_cannot_be_recorded_prevents_the_whole_adoption() {
    let (plane, admin, token) = awaiting();
    let before = seen(&plane, &admin);
    let wanted = adoption(&[
        peer(&["10.8.0.2/32"]),
        peer(&["192.168.7.0/24"]),
        peer(&["10.8.0.2/32"]),
    ]);
    let planned = plane.post(&format!("{PATH}?dry_run=true"), &token, &wanted).expect(200);
    let keys: Vec<_> = planned["obstacles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["public_key"])
        .collect();
    assert_eq!(
        keys,
        [&wanted["peers"][1]["public_key"], &wanted["peers"][2]["public_key"]],
        "{planned}"
    );
    let answer = plane.post(PATH, &token, &wanted);
    let detail = answer.expect(409)["detail"].as_str().unwrap().to_owned();
    for key in keys {
        assert!(detail.contains(key.as_str().unwrap()), "{detail}");
    }
    assert_eq!(seen(&plane, &admin), before);

    let mut zero = peer(&["10.8.0.2/32"]);
    zero["public_key"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let answer = plane.post(PATH, &token, &adoption(&[zero]));
    assert_eq!(answer.expect(422)["field"], "peers[0].public_key");
    assert_eq!(seen(&plane, &admin), before);
}

#[test]
fn a_server_that_does_not_await_adoption_is_left_alone_until_an_admin_allows_it() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    let wanted = adoption(&[peer(&["10.8.0.2/32"])]);
    for path in [PATH.to_owned(), format!("{PATH}?dry_run=true")] {
        plane.post(&path, &token, &wanted).problem(409, "adoption_not_awaited");
    }
    plane
        .post(&format!("{PATH}?dryrun=true"), &token, &wanted)
        .problem(422, "unknown_field");
    let patched = plane
        .patch("/api/servers/los-angeles", &admin, &json!({"adopt": true}))
        .expect(200);
    assert_eq!(patched["adopt"], true);
    plane.post(PATH, &token, &wanted).expect(200);
}

#[test]
fn ten_thousand_peers_are_adopted_at_once_and_survive_a_restart() {
    let (mut plane, admin, token) = awaiting();
    let wide = json!({"id": "wide", "endpoint": "h:1", "address_pool": ["10.0.0.0/8"], "adopt": true});
    drop(token);
    let made = plane.post("/api/servers", &admin, &wide).expect(201);
    let token = made["agent_token"].as_str().unwrap().to_owned();
    let peers: Vec<_> = (0..10_000u32)
        .map(|n| peer(&[&format!("10.1.{}.{}/32", n / 250, n % 250 + 1)]))
        .collect();
    let adopted = plane.post(PATH, &token, &adoption(&peers)).expect(200);
    assert_eq!(adopted["clients"].as_array().unwrap().len(), 10_000);
    plane.restart();
    assert_eq!(plane.get("/api/servers/wide", &admin).expect(200)["peers"], 10_000);
}
