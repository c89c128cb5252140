//! API tokens and their permissions; agent tokens and their grace period.

use serde_json::{Value, json};

use crate::support::client::{Answer, request};
use crate::support::plane::{EMAIL, PASSWORD, TestPlane, until};

const NOBODYS: &str = "00000000-0000-4000-8000-000000000000";

fn ids(answer: &Answer, field: &str) -> Vec<String> {
    let list = answer.expect(200);
    list.as_array()
        .unwrap()
        .iter()
        .map(|item| item[field].as_str().unwrap().to_owned())
        .collect()
}

fn with_key(name: &str) -> Value {
    let key = wgctl::PrivateKey::generate().unwrap().public_key().to_string();
    json!({"name": name, "publicKey": key, "presharedKey": false})
}

#[test]
fn a_token_works_until_it_is_removed() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_server(&admin, "los-angeles");
    let new = json!({"name": "ci", "role": "admin"});
    let made = plane.post("/api/tokens", &admin, &new);
    let body = made.expect(201);
    let (token, id) = (body["token"].as_str().unwrap().to_owned(), body["id"].as_str().unwrap());
    assert_eq!(made.header("location"), Some(format!("/api/tokens/{id}").as_str()));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert_eq!((&body["created_by"], &body["servers"]), (&json!(EMAIL), &Value::Null));
    plane.post("/api/tokens", &admin, &new).problem(409, "token_exists");
    plane
        .post("/api/wg-clients/los-angeles", &token, &with_key("alice"))
        .expect(201);
    let log = plane.get("/api/audit?actor=token:ci", &token).expect(200);
    assert_eq!(
        (log[0]["action"].as_str(), log.as_array().unwrap().len()),
        (Some("wg_client_created"), 1)
    );
    let used = until("the last use to be recorded", || {
        let listed = plane.get("/api/tokens", &admin);
        assert!(!listed.text().contains(&token));
        let used = listed.json()[0]["last_used_at"].clone();
        (!used.is_null()).then_some(used)
    });
    assert!(used.as_str().unwrap().ends_with('Z'));
    assert_eq!(plane.delete(&format!("/api/tokens/{id}"), &admin).status, 204);
    plane.get("/api/servers", &token).problem(401, "unauthorized");
    plane
        .delete(&format!("/api/tokens/{id}"), &admin)
        .problem(404, "not_found");
}

/// A token remains valid after its creator is removed and after a restart of the plane.
#[test]
fn a_token_outlives_its_creator_and_a_restart() {
    let mut plane = TestPlane::start();
    let admin = plane.admin();
    let eve = plane.add_user("eve@example.com", "admin");
    let token = plane.login("eve@example.com");
    let made = plane
        .post("/api/tokens", &token, &json!({"name": "ci", "role": "viewer"}))
        .expect(201);
    let api = made["token"].as_str().unwrap();
    let path = format!("/api/users/{}", eve["id"].as_str().unwrap());
    assert_eq!(plane.delete(&path, &admin).status, 204);
    plane.restart();
    plane.get("/api/statuses", api).expect(200);
}

#[test]
fn a_repeated_creation_gets_the_same_token_and_the_view_is_recorded() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let create = |body: &Value| {
        let new = request("POST", "/api/tokens")
            .token(&admin)
            .header("Idempotency-Key", "k");
        new.json(body).send(plane.address)
    };
    let new = json!({"name": "ci", "role": "viewer"});
    let (first, again) = (create(&new).expect(201), create(&new).expect(201));
    assert_eq!(first["token"], again["token"]);
    create(&json!({"name": "cd", "role": "viewer"})).problem(409, "idempotency_conflict");
    let log = plane.get("/api/audit?target=ci", &admin).expect(200);
    assert_eq!(
        (&log[0]["action"], &log[1]["action"]),
        (&json!("token_viewed"), &json!("token_created"))
    );
    let secret = first["token"].as_str().unwrap();
    for file in std::fs::read_dir(plane.state_dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
    // A stored response that contains a removed token is not returned again. A new token of the same name does not
    // get the responses that are stored for the old one.
    let by_token = |token: &str| {
        let new = request("POST", "/api/servers")
            .token(token)
            .header("Idempotency-Key", "k");
        let body = json!({"id": "los-angeles", "endpoint": "h:1", "address_pool": ["10.8.0.0/24"]});
        new.json(&body).send(plane.address)
    };
    let old = plane.add_token(&json!({"name": "robot", "role": "admin"}));
    by_token(&old).expect(201);
    for token in plane.get("/api/tokens", &admin).expect(200).as_array().unwrap() {
        let path = format!("/api/tokens/{}", token["id"].as_str().unwrap());
        assert_eq!(plane.delete(&path, &admin).status, 204);
    }
    create(&new).problem(409, "idempotency_conflict");
    let namesake = plane.add_token(&json!({"name": "robot", "role": "admin"}));
    by_token(&namesake).problem(409, "server_exists");
}

#[test]
fn a_token_with_an_invalid_field_is_not_created_and_the_field_is_named() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_server(&admin, "los-angeles");
    let refused = |change: &[(&str, Value)]| {
        let mut body = json!({"name": "ci", "role": "viewer"});
        for (field, value) in change {
            body[*field] = value.clone();
        }
        let answer = plane.post("/api/tokens", &admin, &body);
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        answer.json()["field"].as_str().unwrap().to_owned()
    };
    for name in ["", " ci", "a b", "<script>", "a/b", "-x", &"x".repeat(65)] {
        assert_eq!(refused(&[("name", json!(name))]), "name");
    }
    assert_eq!(refused(&[("role", json!("root"))]), "role");
    assert_eq!(refused(&[("servers", json!([]))]), "servers");
    assert_eq!(refused(&[("servers", json!(["nowhere"]))]), "servers");
    assert_eq!(refused(&[("servers", json!(["../x"]))]), "servers[0]");
    assert_eq!(refused(&[("servers", Value::Null)]), "servers");
    assert_eq!(refused(&[("expires_at", json!("2020-01-01T00:00:00Z"))]), "expires_at");
    for field in ["id", "token", "hash", "created_by", "last_used_at"] {
        assert_eq!(refused(&[(field, json!("x"))]), field);
    }
}

/// To a limited token, servers that it does not cover appear not to exist.
#[test]
fn a_token_for_one_server_cannot_see_any_other() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let agents: Vec<_> = ["los-angeles", "tokyo"]
        .iter()
        .map(|id| (*id, plane.add_server(&admin, id)))
        .collect();
    for (server, agent) in &agents {
        let report = json!({"server_id": server, "peers": 0, "transfer_rx": 1, "transfer_tx": 2});
        plane.post("/api/report", agent, &report).expect(204);
    }
    let peer = plane
        .post("/api/wg-clients/tokyo", &admin, &with_key("bob"))
        .expect(201);
    let peer = peer["id"].as_str().unwrap();
    let one = plane.add_token(&json!({"name": "one", "role": "admin", "servers": ["los-angeles"]}));
    let reader = plane.add_token(&json!({"name": "reader", "role": "viewer", "servers": ["los-angeles"]}));
    for token in [&one, &reader] {
        assert_eq!(ids(&plane.get("/api/servers", token), "id"), ["los-angeles"]);
        assert_eq!(ids(&plane.get("/api/statuses", token), "server_id"), ["los-angeles"]);
        let history = ids(&plane.get("/api/history", token), "server_id");
        assert!(!history.is_empty() && history.iter().all(|server| server == "los-angeles"));
        plane.get("/api/servers/los-angeles", token).expect(200);
        plane.get("/api/history?server_id=los-angeles", token).expect(200);
        let (theirs, nobodys) = (
            plane.get("/api/history?server_id=tokyo", token),
            plane.get("/api/history?server_id=nowhere", token),
        );
        assert_eq!(
            theirs.problem(404, "not_found").to_string().replace("tokyo", "nowhere"),
            nobodys.json().to_string()
        );
    }
    assert_eq!(ids(&plane.get("/api/servers", &admin), "id").len(), 2);

    for (method, path) in [
        ("GET", "/api/servers/{server}"),
        ("PATCH", "/api/servers/{server}"),
        ("DELETE", "/api/servers/{server}"),
        ("POST", "/api/servers/{server}/token"),
        ("GET", "/api/wg-clients/{server}"),
        ("POST", "/api/wg-clients/{server}"),
        ("GET", "/api/wg-clients/{server}/{peer}"),
        ("PATCH", "/api/wg-clients/{server}/{peer}"),
        ("DELETE", "/api/wg-clients/{server}/{peer}"),
        ("POST", "/api/wg-clients/{server}/{peer}/disable"),
        ("POST", "/api/wg-clients/{server}/{peer}/explode"),
        ("GET", "/api/wg-clients/{server}/{peer}/configuration"),
        ("GET", "/api/wg-clients/{server}/{peer}/qrcode"),
    ] {
        for body in ["{}", "{", r#"{"name": "x", "mtu": 1}"#] {
            let ask = |server: &str, peer: &str| {
                let path = path.replace("{server}", server).replace("{peer}", peer);
                let ask = request(method, &path)
                    .token(&one)
                    .header("Content-Type", "application/json");
                ask.body(body).send(plane.address)
            };
            let (theirs, nobodys) = (ask("tokyo", peer), ask("nowhere", NOBODYS));
            theirs.problem(404, "not_found");
            assert_eq!(
                theirs.text().replace("tokyo", "nowhere"),
                nobodys.text(),
                "{method} {path}"
            );
        }
    }
    let bob = plane.get(&format!("/api/wg-clients/tokyo/{peer}"), &admin).expect(200);
    assert_eq!(bob["enabled"], true);

    // The token may change its own servers as its role allows, but nothing that concerns all servers.
    let made = plane
        .post("/api/wg-clients/los-angeles", &one, &with_key("alice"))
        .expect(201);
    let path = format!("/api/wg-clients/los-angeles/{}", made["id"].as_str().unwrap());
    plane.post(&format!("{path}/disable"), &one, &json!({})).expect(200);
    plane.get(&path, &reader).problem(403, "forbidden");
    plane
        .patch("/api/servers/los-angeles", &one, &json!({"mtu": 1400}))
        .expect(200);
    plane
        .patch("/api/servers/los-angeles", &reader, &json!({"mtu": 1400}))
        .problem(403, "forbidden");
    for path in [
        "/api/audit",
        "/api/audit/export",
        "/api/backup",
        "/api/users",
        "/api/tokens",
    ] {
        plane.get(path, &one).problem(403, "forbidden");
    }
    let server = json!({"id": "berlin", "endpoint": "b:1", "address_pool": ["10.9.0.0/24"]});
    plane.post("/api/servers", &one, &server).problem(403, "forbidden");
}

/// CVE-2026-29195 and similar: escalation from an admin's API token to an admin account.
#[test]
fn cve_2026_29195_a_token_cannot_extend_its_own_permissions() {
    let plane = TestPlane::start();
    let user = plane.add_user(EMAIL, "admin");
    let path = format!("/api/users/{}", user["id"].as_str().unwrap());
    let token = plane.add_token(&json!({"name": "ci", "role": "admin"}));
    plane.get("/api/backup", &token);
    for (method, path, body) in [
        ("GET", "/api/users", json!({})),
        (
            "POST",
            "/api/users",
            json!({"email": "x@example.com", "password": PASSWORD, "role": "admin"}),
        ),
        ("PATCH", &path, json!({"password": "a new long password"})),
        ("DELETE", &path, json!({})),
        ("GET", "/api/tokens", json!({})),
        ("POST", "/api/tokens", json!({"name": "more", "role": "admin"})),
        ("POST", "/api/keys/rotate", json!({})),
        ("POST", "/api/restore", json!({})),
        ("POST", "/api/logout", json!({})),
        (
            "POST",
            "/api/password",
            json!({"current_password": PASSWORD, "new_password": "a new long password"}),
        ),
    ] {
        let answer = request(method, path).token(&token).json(&body).send(plane.address);
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        answer.problem(403, "forbidden");
    }
    plane.login(EMAIL);
}

#[test]
fn an_agent_switches_to_its_new_token_without_a_gap() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let old = plane.add_server(&admin, "los-angeles");
    let path = "/api/servers/los-angeles/token";
    let rotated = plane.post(path, &admin, &json!({"grace_seconds": 3600})).expect(200);
    let new = rotated["agent_token"].as_str().unwrap();
    assert!(rotated["previous_valid_until"].is_string());
    plane.get("/api/agent/desired", &old).expect(200);
    plane.get("/api/agent/desired", new).expect(200);
    plane.get("/api/agent/desired", &old).problem(401, "unauthorized");
    let log = plane.get("/api/audit?target=los-angeles", &admin).expect(200);
    assert_eq!(
        (&log[0]["action"], &log[0]["actor"]),
        (&json!("server_token_retired"), &json!("agent:los-angeles"))
    );
    // Without a grace period or without a body, the old token is invalid at once.
    let third = plane.post(path, &admin, &json!({})).expect(200);
    plane.get("/api/agent/desired", new).problem(401, "unauthorized");
    let fourth = request("POST", path).token(&admin).send(plane.address).expect(200);
    assert_eq!(fourth["previous_valid_until"], Value::Null);
    plane
        .get("/api/agent/desired", third["agent_token"].as_str().unwrap())
        .problem(401, "unauthorized");
    for (body, field) in [
        (json!({"grace_seconds": 604_801}), "grace_seconds"),
        (json!({"grace_seconds": -1}), "grace_seconds"),
        (json!({"grace": 1}), "grace"),
    ] {
        let answer = plane.post(path, &admin, &body);
        assert_eq!((answer.status, &answer.json()["field"]), (422, &json!(field)));
    }
}

/// CVE-2026-29194: a valid host token was accepted for any host.
#[test]
fn cve_2026_29194_an_agent_can_report_only_for_its_own_server() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let servers: Vec<_> = (0..3).map(|n| format!("s{n}")).collect();
    let tokens: Vec<_> = servers.iter().map(|id| plane.add_server(&admin, id)).collect();
    for (own, token) in servers.iter().zip(&tokens) {
        for server in &servers {
            let report = json!({"server_id": server, "peers": 0, "transfer_rx": 1, "transfer_tx": 2});
            let answer = plane.post("/api/report", token, &report);
            match own == server {
                true => drop(answer.expect(204)),
                false => drop(answer.problem(403, "forbidden")),
            }
        }
    }
    let log = plane.get("/api/audit?action=agent_refused", &admin).expect(200);
    assert_eq!(log.as_array().unwrap().len(), 6);
}

#[test]
fn a_token_for_a_server_ends_with_it_and_is_not_valid_for_a_namesake() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_server(&admin, "los-angeles");
    plane.add_server(&admin, "tokyo");
    let one = plane.add_token(&json!({"name": "one", "role": "admin", "servers": ["los-angeles"]}));
    let both = plane.add_token(&json!({"name": "both", "role": "admin", "servers": ["los-angeles", "tokyo"]}));
    assert_eq!(plane.delete("/api/servers/los-angeles", &admin).status, 204);
    plane.add_server(&admin, "los-angeles");
    plane.get("/api/servers/los-angeles", &one).problem(401, "unauthorized");
    plane.get("/api/servers/los-angeles", &both).problem(404, "not_found");
    plane.get("/api/servers/tokyo", &both).expect(200);
    let log = plane.get("/api/audit?target=both&limit=1", &admin).expect(200);
    assert_eq!(log[0]["action"], "token_updated");
}
