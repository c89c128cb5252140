//! Secrets appear only in the responses that are meant to return them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wgctl::config::PeerConfig;

use crate::support::agent::{FakeAgent, NONCE};
use crate::support::client::request;
use crate::support::document::operations;
use crate::support::plane::{EMAIL, PASSWORD, TestPlane, until};

/// Returns a secret in every encoding in which it could leak.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = serde_json::to_string(secret).unwrap();
    vec![
        secret.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        STANDARD.encode(secret).into_bytes(),
        URL_SAFE_NO_PAD.encode(secret).into_bytes(),
        numbers.trim_matches(['[', ']']).as_bytes().to_vec(),
    ]
}

/// Netmaker's lists returned every private key, and only its web page hid them (CVE-2026-29196).
#[test]
fn cve_2026_29196_only_the_intended_responses_contain_secrets() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let old = plane.add_server(&admin, "los-angeles");
    let rotated = plane
        .post("/api/servers/los-angeles/token", &admin, &json!({}))
        .expect(200);
    let agent = rotated["agent_token"].as_str().unwrap().to_owned();
    let host = FakeAgent::start(plane.address, &agent);
    let made = request("POST", "/api/wg-clients/los-angeles")
        .token(&admin)
        .header("Idempotency-Key", "canary-idempotency-key")
        .json(&json!({"name": "alice"}))
        .send(plane.address)
        .expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    until("the agent to have the peer", || host.peer(&id));
    plane
        .try_login(EMAIL, "canary wrong password")
        .problem(401, "invalid_credentials");
    let text = plane.get(&format!("/api/wg-clients/los-angeles/{id}/configuration"), &admin);
    let written: PeerConfig = text.text().parse().unwrap();
    let config = written.private_key.unwrap().to_base64().to_string();

    let mut canaries: Vec<(&str, Vec<u8>)> = Vec::new();
    let key = std::fs::read(plane.state_dir().join("jwt.key")).unwrap();
    for (name, secret) in [
        ("the agent's token", agent.as_bytes()),
        ("the old agent token", old.as_bytes()),
        ("the agent token's hash", &Sha256::digest(agent.as_bytes())[..]),
        ("the admin's session", admin.as_bytes()),
        ("the password", PASSWORD.as_bytes()),
        ("the wrong password", b"canary wrong password"),
        ("the password's hash", b"$argon2"),
        ("the signing key", key.as_slice()),
        ("a sealed key", &NONCE),
        ("a configuration", config.as_bytes()),
        ("the idempotency key", b"canary-idempotency-key"),
    ] {
        canaries.extend(spellings(secret).into_iter().map(|spelling| (name, spelling)));
    }
    let (mut answers, mut bytes) = (0, 0);
    for operation in operations().iter().filter(|operation| operation.method == "get") {
        let is_for_it = [
            "showClientConfiguration",
            "showClientQrcode",
            "backUp",
            "agentDesired",
            "agentTerms",
        ];
        if is_for_it.contains(&operation.text("operationId")) {
            continue;
        }
        let token = if operation.permission() == "agent" {
            &agent
        } else {
            &admin
        };
        let answer = plane.get(&operation.filled("los-angeles", &id), token);
        let found = answer.status == 200 || operation.path.contains("{user}");
        assert!(found, "{}: {}", operation.path, answer.status);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{}", operation.path);
        for (name, spelling) in &canaries {
            let shows = answer.body.windows(spelling.len()).any(|window| window == spelling);
            assert!(!shows, "{} shows {name}", operation.path);
        }
        answers += 1;
        bytes += answer.body.len();
    }
    assert!(answers > 10 && bytes > 5000, "{answers} responses, {bytes} bytes");
}

#[test]
fn a_refusal_does_not_repeat_the_secret_it_was_sent() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let canary = "canary horse battery";
    let posts: [(&str, Value); 4] = [
        ("/api/login", json!({"email": EMAIL, "password": canary})),
        ("/api/login", json!({"email": EMAIL, "password": [canary]})),
        (
            "/api/password",
            json!({"current_password": canary, "new_password": canary}),
        ),
        (
            "/api/users",
            json!({"email": "no email", "password": canary, "role": "viewer"}),
        ),
    ];
    for (path, body) in posts {
        let answer = plane.post(path, &admin, &body);
        assert!(
            answer.status >= 400 && !answer.text().contains(canary),
            "{path}: {}",
            answer.text()
        );
    }
    for token in [format!("szagent_{canary}").replace(' ', "_"), "eyJ.canary.x".to_owned()] {
        let answer = plane.get("/api/users", &token);
        assert!(
            answer.status == 401 && !answer.text().contains("canary"),
            "{}",
            answer.text()
        );
    }
}
