//! The permission matrix: every operation in the OpenAPI document with every kind of credential, valid and invalid.
//!
//! The requests are generated from the served document, so that a new route is covered as soon as it
//! is added.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use wgctl::Timestamp;

use crate::support::agent::FakeAgent;
use crate::support::client::{Answer, Request, request};
use crate::support::document::{Operation, operations};
use crate::support::plane::{PASSWORD, TestPlane, until};

/// The access that a credential grants.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Good {
    Nothing,
    Viewer,
    Admin,
    /// API tokens with the role viewer, with the role admin, and with the role admin for a server that none of the
    /// requests address.
    ApiViewer,
    ApiAdmin,
    ApiElsewhere,
    Agent,
}

impl Good {
    fn logged_in(self) -> bool {
        matches!(self, Self::Viewer | Self::Admin)
    }
}

/// A credential in the matrix: its name, the value of the header, and the access that it grants.
type Credential = (&'static str, Option<String>, Good);

pub(crate) struct Fleet {
    pub(crate) plane: TestPlane,
    admin: String,
    agent: String,
    credentials: Vec<Credential>,
}

/// Starts a plane and returns it with every kind of credential: valid, no longer valid and never valid.
pub(crate) fn fleet() -> Fleet {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let agent = plane.add_server(&admin, "los-angeles");
    let other = plane.add_server(&admin, "tokyo");
    let revoked = plane.add_server(&admin, "madrid");
    let rotated = plane.post("/api/servers/madrid/token", &admin, &json!({}));
    rotated.expect(200);
    let removed = plane.add_server(&admin, "oslo");
    assert_eq!(plane.delete("/api/servers/oslo", &admin).status, 204);
    let session = |email: &str, role: &str| {
        let id = plane.add_user(email, role)["id"].as_str().unwrap().to_owned();
        (format!("/api/users/{id}"), plane.login(email))
    };
    let (_, viewer) = session("viewer@example.com", "viewer");
    let (_, logged_out) = session("gone@example.com", "admin");
    assert_eq!(
        request("POST", "/api/logout")
            .token(&logged_out)
            .send(plane.address)
            .status,
        204
    );
    let (path, disabled) = session("disabled@example.com", "admin");
    plane.patch(&path, &admin, &json!({"enabled": false})).expect(200);
    let (path, demoted) = session("demoted@example.com", "admin");
    plane.patch(&path, &admin, &json!({"role": "viewer"})).expect(200);
    let (path, removed_user) = session("removed@example.com", "admin");
    assert_eq!(plane.delete(&path, &admin).status, 204);
    let (_, changed) = session("changed@example.com", "admin");
    let change = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    assert_eq!(plane.post("/api/password", &changed, &change).status, 204);
    let api = |name: &str, role: &str| plane.add_token(&json!({"name": name, "role": role}));
    let (api_viewer, api_admin) = (api("reader", "viewer"), api("writer", "admin"));
    let api_elsewhere = plane.add_token(&json!({"name": "tokyo", "role": "admin", "servers": ["tokyo"]}));
    let (api_expired, api_revoked) = (expired_api(&plane, &admin), revoked_api(&plane, &admin));
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let (expired, tampered) = (expired(&plane, &admin), tampered(&viewer));
    let credentials = vec![
        ("no token", None, Good::Nothing),
        ("garbage", bearer("garbage"), Good::Nothing),
        ("an empty token", bearer(""), Good::Nothing),
        ("another scheme", Some("Basic b3BzOmhvcnNl".to_owned()), Good::Nothing),
        ("a scheme without a token", Some("Bearer".to_owned()), Good::Nothing),
        ("a token without a scheme", Some(admin.clone()), Good::Nothing),
        ("two tokens", Some(format!("Bearer {admin} {agent}")), Good::Nothing),
        ("an unsigned session", bearer(&unsigned(&admin)), Good::Nothing),
        ("a session with another role", bearer(&tampered), Good::Nothing),
        ("an expired session", bearer(&expired), Good::Nothing),
        ("a logged-out session", bearer(&logged_out), Good::Nothing),
        ("a disabled user's session", bearer(&disabled), Good::Nothing),
        ("a demoted user's session", bearer(&demoted), Good::Nothing),
        ("a removed user's session", bearer(&removed_user), Good::Nothing),
        (
            "a session from before a password change",
            bearer(&changed),
            Good::Nothing,
        ),
        (
            "an agent token that never existed",
            bearer("szagent_AAAA"),
            Good::Nothing,
        ),
        ("a revoked agent token", bearer(&revoked), Good::Nothing),
        ("a removed server's agent token", bearer(&removed), Good::Nothing),
        ("an API token that never existed", bearer("szapi_AAAA"), Good::Nothing),
        ("an expired API token", bearer(&api_expired), Good::Nothing),
        ("a revoked API token", bearer(&api_revoked), Good::Nothing),
        ("a viewer", bearer(&viewer), Good::Viewer),
        ("an admin", bearer(&admin), Good::Admin),
        (
            "an API token with the role viewer",
            bearer(&api_viewer),
            Good::ApiViewer,
        ),
        ("an API token with the role admin", bearer(&api_admin), Good::ApiAdmin),
        (
            "an admin's API token for another server",
            bearer(&api_elsewhere),
            Good::ApiElsewhere,
        ),
        ("an agent", bearer(&agent), Good::Agent),
        ("another server's agent", bearer(&other), Good::Agent),
    ];
    Fleet {
        plane,
        admin,
        agent,
        credentials,
    }
}

fn payload(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Returns an API token that has expired.
fn expired_api(plane: &TestPlane, admin: &str) -> String {
    let soon = Timestamp::now().after(Duration::from_secs(8));
    let token = plane.add_token(&json!({"name": "brief", "role": "admin", "expires_at": soon}));
    plane.get("/api/servers", &token).expect(200);
    until("the API token to expire", || {
        let status = plane.get("/api/servers", &token).status;
        (status == 401).then_some(())
    });
    let known = plane.get("/api/tokens", admin).expect(200);
    assert!(known.as_array().unwrap().iter().any(|token| token["name"] == "brief"));
    token
}

/// Returns an API token that has been revoked.
fn revoked_api(plane: &TestPlane, admin: &str) -> String {
    let made = plane.post("/api/tokens", admin, &json!({"name": "revoked", "role": "admin"}));
    let made = made.expect(201);
    let token = made["token"].as_str().unwrap().to_owned();
    plane.get("/api/servers", &token).expect(200);
    let path = format!("/api/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(plane.delete(&path, admin).status, 204);
    token
}

/// Returns a copy of the admin's session token that has a valid signature but expired a day ago.
fn expired(plane: &TestPlane, admin: &str) -> String {
    let keys: Value = serde_json::from_slice(&std::fs::read(plane.state_dir().join("session.keys")).unwrap()).unwrap();
    let secret = URL_SAFE_NO_PAD.decode(keys[0]["secret"].as_str().unwrap()).unwrap();
    let header = admin.split('.').next().unwrap();
    let sign = |claims: &Value| {
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let key = EncodingKey::from_secret(&secret);
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    };
    let mut claims = payload(admin);
    // The signature is accepted while the times are unchanged, so the times are the only fault in the returned token.
    plane.get("/api/users", &sign(&claims)).expect(200);
    for name in ["iat", "exp"] {
        claims[name] = json!(claims[name].as_i64().unwrap() - 48 * 3600);
    }
    sign(&claims)
}

/// Returns the viewer's session token with its role changed to admin and the old signature.
fn tampered(viewer: &str) -> String {
    let mut claims = payload(viewer);
    claims["role"] = json!("admin");
    let parts: Vec<&str> = viewer.split('.').collect();
    format!(
        "{}.{}.{}",
        parts[0],
        URL_SAFE_NO_PAD.encode(claims.to_string()),
        parts[2]
    )
}

fn unsigned(session: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"none"}"#);
    format!("{header}.{}.", session.split('.').nth(1).unwrap())
}

pub(crate) fn asking(operation: &Operation, path: &str, credential: Option<&String>) -> Request {
    let mut asking = request(&operation.method.to_uppercase(), path);
    if let Some(value) = credential {
        asking = asking.header("Authorization", value);
    }
    if operation.takes_json() {
        asking = asking.header("Content-Type", "application/json").body("{");
    }
    asking
}

/// Operations on all servers whose response is limited to the servers that the API token covers.
const FILTERED: [&str; 3] = ["/api/history", "/api/servers", "/api/statuses"];

/// Returns the status and code that the document promises. Without the permission, this is the authorization error;
/// with the permission, it is the first error in the request, which is invalid on purpose.
fn expected(operation: &Operation, good: Good) -> (u16, Option<&'static str>) {
    use Good::{Admin, Agent, ApiAdmin, ApiElsewhere, ApiViewer, Nothing, Viewer};
    let (unauthorized, forbidden) = ((401, Some("unauthorized")), (403, Some("forbidden")));
    match (operation.permission(), good) {
        ("anyone", _) | ("agent", Agent) => {}
        ("viewer" | "admin" | "keeper" | "person" | "agent", Nothing)
        | ("viewer" | "admin" | "keeper" | "person", Agent)
        | ("agent", _) => return unauthorized,
        ("person", Viewer | Admin) | ("keeper", Admin) => {}
        ("person" | "keeper", _) | ("admin", Viewer | ApiViewer) => return forbidden,
        // A limited token gets 404 for other servers; lists of servers show only its own.
        ("viewer" | "admin", ApiElsewhere) if operation.path.contains("{server}") => return (404, Some("not_found")),
        ("viewer", ApiElsewhere) if FILTERED.contains(&operation.path) => {}
        ("viewer" | "admin", ApiElsewhere) => return forbidden,
        ("viewer" | "admin", Viewer | Admin | ApiViewer | ApiAdmin) => {}
        (other, _) => panic!("there is no permission {other:?}"),
    }
    let absent = operation.path.contains('{') && !operation.text("operationId").starts_with("agent");
    match operation.success() {
        None => (400, Some("invalid_action")),
        Some(_) if operation.takes_json() => (400, Some("malformed_json")),
        Some(_) if operation.described.get("requestBody").is_some() => (415, Some("unsupported_media_type")),
        Some(_) if absent => (404, Some("not_found")),
        Some(status) => (status, None),
    }
}

#[test]
fn every_operation_responds_to_every_credential_as_documented() {
    let fleet = fleet();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for operation in operations() {
        // Logging out ends the caller's session, so it is tried separately at the end.
        let logs_out = operation.text("operationId") == "logout";
        for (name, credential, good) in &fleet.credentials {
            let (status, code) = expected(&operation, *good);
            if logs_out && status < 300 {
                continue;
            }
            let answer = asking(&operation, &operation.absent(), credential.as_ref()).send(fleet.plane.address);
            tried += 1;
            let shown = format!("{} {} with {name}: {}", operation.method, operation.path, answer.status);
            if answer.status != status {
                wrong.push(format!("{shown}, not {status}"));
            } else if let Some(code) = code {
                answer.problem(status, code);
            }
            if answer.header("cache-control") != Some("no-store") {
                wrong.push(format!("{shown}, but the response may be cached"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(tried > 1200, "{tried}");
    for (name, credential, good) in &fleet.credentials {
        if good.logged_in() {
            let logout = || request("POST", "/api/logout").header("Authorization", credential.as_ref().unwrap());
            assert_eq!(logout().send(fleet.plane.address).status, 204, "{name}");
            logout().send(fleet.plane.address).problem(401, "unauthorized");
        }
    }
}

#[test]
fn a_refused_caller_does_not_learn_what_exists() {
    let fleet = fleet();
    let client = fleet.plane.post(
        "/api/wg-clients/los-angeles",
        &fleet.admin,
        &json!({"name": "alice", "publicKey": KEY, "presharedKey": false}),
    );
    let client = client.expect(201)["id"].as_str().unwrap().to_owned();
    for operation in operations().iter().filter(|operation| operation.path.contains('{')) {
        for (name, credential, good) in &fleet.credentials {
            let refused = matches!(expected(operation, *good).0, 401 | 403) || *good == Good::ApiElsewhere;
            if refused {
                let ask = |path: &str| asking(operation, path, credential.as_ref()).send(fleet.plane.address);
                let (there, absent) = (ask(&operation.filled("los-angeles", &client)), ask(&operation.absent()));
                assert_eq!(
                    shown(&there, "los-angeles"),
                    shown(&absent, "nowhere"),
                    "{} with {name}",
                    operation.path
                );
            }
        }
    }
}

/// A public key that a user supplies.
const KEY: &str = "TIJqd+fIjXPr81Y+AGvCt42gc5Ax/0ST96nxoClRylg=";

/// Returns a response without the headers that vary between requests, and with the requested id masked.
fn shown(answer: &Answer, id: &str) -> (u16, Vec<(String, String)>, String) {
    let chance = |name: &str| matches!(name.to_lowercase().as_str(), "x-request-id" | "date" | "content-length");
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !chance(name))
        .cloned()
        .collect();
    let text = String::from_utf8_lossy(&answer.body);
    let text = if id.is_empty() {
        text.into_owned()
    } else {
        text.replace(id, "ID")
    };
    (answer.status, headers, text)
}

#[test]
fn objects_on_other_servers_are_indistinguishable_from_absent_ones() {
    let fleet = fleet();
    let (plane, admin) = (&fleet.plane, &fleet.admin);
    let _agents = [FakeAgent::start(plane.address, &fleet.agent)];
    let made = plane.post("/api/wg-clients/los-angeles", admin, &json!({"name": "alice"}));
    let client = made.expect(201)["id"].as_str().unwrap().to_owned();
    let absent = "11111111-2222-4333-8444-555555555555";
    let mut tried = 0;
    for operation in operations()
        .iter()
        .filter(|operation| operation.path.contains("{client}"))
    {
        let ask = |server: &str, id: &str| {
            let asking = request(&operation.method.to_uppercase(), &operation.filled(server, id)).token(admin);
            let asking = if operation.takes_json() {
                asking.json(&json!({"name": "bob"}))
            } else {
                asking
            };
            asking.send(plane.address)
        };
        let elsewhere = ask("tokyo", &client);
        assert_eq!(
            shown(&elsewhere, &client),
            shown(&ask("tokyo", absent), absent),
            "{}",
            operation.path
        );
        assert_eq!(
            shown(&elsewhere, &client).0,
            if operation.success().is_some() { 404 } else { 400 }
        );
        tried += 1;
    }
    assert!(tried >= 8, "{tried}");
    plane
        .get(&format!("/api/wg-clients/los-angeles/{client}"), admin)
        .expect(200);
    // For an agent, other servers are indistinguishable from servers that do not exist.
    let report = |server: &str| {
        let body = json!({"server_id": server, "peers": 0, "transfer_rx": 0, "transfer_tx": 0});
        let answer = plane.post("/api/report", &fleet.agent, &body);
        answer.problem(403, "forbidden");
        shown(&answer, server)
    };
    assert_eq!(report("tokyo"), report("nowhere"));
}

#[test]
fn an_agent_can_change_only_its_own_server() {
    let fleet = fleet();
    let (plane, agent) = (&fleet.plane, &fleet.agent);
    let before = plane.get("/api/servers/tokyo", &fleet.admin).expect(200);
    let hello = json!({"version": 1, "agent_version": "0.1.0", "public_key": KEY});
    let welcome = plane.post("/api/agent/hello", agent, &hello).expect(200);
    assert_eq!(welcome["server_id"], "los-angeles");
    assert_eq!(
        plane.get("/api/agent/adoption", agent).expect(200)["server_id"],
        "los-angeles"
    );
    assert_eq!(plane.get("/api/servers/tokyo", &fleet.admin).expect(200), before);
    assert_eq!(
        plane.get("/api/servers/los-angeles", &fleet.admin).expect(200)["public_key"],
        KEY
    );
}

#[test]
fn head_needs_the_same_permission_as_get_and_options_is_not_allowed() {
    let fleet = fleet();
    for operation in operations().iter().filter(|operation| operation.method == "get") {
        for (name, credential, good) in &fleet.credentials {
            let (status, _) = expected(operation, *good);
            for (method, wanted) in [("HEAD", status), ("OPTIONS", 405)] {
                let mut asking = request(method, &operation.absent());
                if let Some(value) = credential {
                    asking = asking.header("Authorization", value);
                }
                let answer = asking.send(fleet.plane.address);
                assert_eq!(answer.status, wanted, "{method} {} with {name}", operation.path);
                let allows = answer
                    .headers
                    .iter()
                    .any(|(name, _)| name.to_lowercase().starts_with("access-control"));
                assert!(!allows, "no response may allow another origin");
            }
        }
    }
}
