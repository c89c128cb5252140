//! Servers and their agents' tokens.

use serde_json::{Value, json};

use crate::support::agent::FakeAgent;
use crate::support::client::request;
use crate::support::plane::{TestPlane, until};

#[test]
fn a_server_is_registered_changed_and_removed() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let new = json!({
        "id": "los-angeles", "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/24"],
        "dns": ["10.8.0.1"], "masquerade": true,
    });
    let answer = plane.post("/api/servers", &admin, &new);
    let made = answer.expect(201);
    assert_eq!(answer.header("location"), Some("/api/servers/los-angeles"));
    assert!(made["agent_token"].as_str().unwrap().starts_with("szagent_"));
    assert_eq!(
        (&made["addresses"], &made["listen_port"]),
        (&json!(["10.8.0.1"]), &json!(51820))
    );
    plane.post("/api/servers", &admin, &new).problem(409, "server_exists");

    let shown = plane.get("/api/servers/los-angeles", &admin).expect(200);
    assert_eq!(
        (&shown["agent_token"], &shown["public_key"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(plane.get("/api/servers", &admin).expect(200), json!([shown]));
    let changed = plane
        .patch("/api/servers/los-angeles", &admin, &json!({"mtu": 1380, "dns": []}))
        .expect(200);
    assert_eq!((&changed["mtu"], &changed["dns"]), (&json!(1380), &json!([])));
    assert!(changed["desired_revision"].as_u64() > shown["desired_revision"].as_u64());
    assert_eq!(plane.delete("/api/servers/los-angeles", &admin).status, 204);
    plane.get("/api/servers/los-angeles", &admin).problem(404, "not_found");
    plane
        .get("/api/agent/desired", made["agent_token"].as_str().unwrap())
        .problem(401, "unauthorized");
}

#[test]
fn an_agent_announces_the_hosts_key_and_confirms_applied_revisions() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let agent = FakeAgent::start(plane.address, &plane.add_server(&admin, "los-angeles"));
    until("the revision to be confirmed", || {
        let server = plane.get("/api/servers/los-angeles", &admin).expect(200);
        assert_eq!(server["public_key"], agent.public_key);
        (server["applied_revision"] == server["desired_revision"]).then_some(())
    });
    agent.stop();
}

#[test]
fn a_new_agent_token_invalidates_the_old_one() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let old = plane.add_server(&admin, "los-angeles");
    let rotated = request("POST", "/api/servers/los-angeles/token")
        .token(&admin)
        .send(plane.address)
        .expect(200);
    let new = rotated["agent_token"].as_str().unwrap();
    plane.get("/api/agent/desired", &old).problem(401, "unauthorized");
    plane.get("/api/agent/desired", new).expect(200);
}

#[test]
fn a_repeated_registration_gets_the_same_token_which_is_not_on_disk() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let create = || {
        let body = json!({"id": "los-angeles", "endpoint": "h:1", "address_pool": ["10.8.0.0/24"]});
        request("POST", "/api/servers")
            .token(&admin)
            .header("Idempotency-Key", "once")
            .json(&body)
            .send(plane.address)
    };
    let token = create().expect(201)["agent_token"].as_str().unwrap().to_owned();
    assert_eq!(create().expect(201)["agent_token"], token);
    let seen = plane.get("/api/audit?limit=1", &admin).expect(200);
    assert_eq!(
        (&seen[0]["action"], &seen[0]["target"]),
        (&json!("server_token_viewed"), &json!("los-angeles"))
    );
    let database = std::fs::read(plane.state_dir().join("plane.redb")).unwrap();
    let secret = token.strip_prefix("szagent_").unwrap().as_bytes();
    assert!(!database.windows(secret.len()).any(|window| window == secret));
    // A stored response with a token that is no longer valid is not returned again.
    let rotate = || request("POST", "/api/servers/los-angeles/token").token(&admin);
    rotate()
        .json(&json!({"grace_seconds": 10}))
        .send(plane.address)
        .expect(200);
    assert_eq!(create().expect(201)["agent_token"], token);
    until("the end of the grace period", || (create().status == 409).then_some(()));
    rotate().send(plane.address).expect(200);
    create().problem(409, "idempotency_conflict");
}

/// Prekeys that a thief of the token may have uploaded are not used after the token has been replaced.
#[test]
fn the_prekeys_of_a_token_that_is_replaced_at_once_are_discarded() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    FakeAgent::start(plane.address, &token).stop();
    let create = |name: &str| plane.post("/api/wg-clients/los-angeles", &admin, &json!({"name": name}));
    let made = create("before");
    assert!([201, 202].contains(&made.status), "{}", made.text());
    plane
        .post("/api/servers/los-angeles/token", &admin, &json!({}))
        .expect(200);
    create("after").problem(503, "agent_offline");
}

#[test]
fn an_agents_failure_is_shown_in_the_servers_record() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    let key =
        json!({"version": 1, "agent_version": "0", "public_key": wgctl::PrivateKey::generate().unwrap().public_key()});
    plane.post("/api/agent/hello", &token, &key).expect(200);
    let desired = plane.get("/api/agent/desired", &token).expect(200);
    let applied = json!({
        "incarnation": desired["incarnation"], "revision": desired["revision"],
        "interface_failed": "the kernel has no WireGuard",
    });
    plane.post("/api/agent/applied", &token, &applied).expect(204);
    let server = plane.get("/api/servers/los-angeles", &admin).expect(200);
    assert_eq!(server["failed"], "the kernel has no WireGuard");
    let old = json!({"version": 0, "agent_version": "0", "public_key": key["public_key"]});
    assert!((400..500).contains(&plane.post("/api/agent/hello", &token, &old).status));
    // A reply that no request is waiting for is discarded.
    let reply = json!({"kind": "failed", "reason": "x"});
    plane
        .post(
            "/api/agent/replies/00000000-0000-4000-8000-000000000000",
            &token,
            &reply,
        )
        .expect(204);
}

#[test]
fn a_poll_returns_the_hosts_recorded_key() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    let key = || wgctl::PrivateKey::generate().unwrap().public_key().to_string();
    let (first, second) = (key(), key());
    let hello = |key: &str| {
        let hello = json!({"version": 1, "agent_version": "0", "public_key": key});
        plane.post("/api/agent/hello", &token, &hello).expect(200);
    };
    let desired = |query: &str| {
        let path = format!("/api/agent/desired{query}");
        plane.get(&path, &token).expect(200)
    };
    assert!(desired("").get("public_key").is_none(), "no host has sent a hello yet");
    hello(&first);
    let told = desired("");
    assert_eq!(told["public_key"], first, "the desired state names the host's key");
    let here = format!(
        "?revision={}&incarnation={}",
        told["revision"],
        told["incarnation"].as_str().unwrap()
    );
    hello(&second);
    let told = desired(&here);
    assert_eq!(told["change"]["kind"], "unchanged", "{told}");
    assert_eq!(
        told["public_key"], second,
        "the key is updated even if nothing else changed"
    );
    hello(&first);
    assert_eq!(desired(&here)["public_key"], first, "the first host is back");
    let server = plane.get("/api/servers/los-angeles", &admin).expect(200);
    assert_eq!(server["public_key"], first);
}
