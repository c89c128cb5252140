//! Login and logout, passwords, users and login throttling.

use serde_json::json;

use crate::support::client::request;
use crate::support::plane::{EMAIL, PASSWORD, TestPlane};

#[test]
fn a_login_returns_a_token_for_24_hours() {
    let plane = TestPlane::start();
    plane.add_user(EMAIL, "admin");
    let answer = plane.try_login("OPS@example.com", PASSWORD);
    let session = answer.expect(200);
    assert_eq!(session["token"].as_str().unwrap().split('.').count(), 3);
    assert!(session["expires_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn a_failed_login_does_not_reveal_the_reason() {
    let plane = TestPlane::start();
    let user = plane.add_user("disabled@example.com", "viewer");
    plane.add_user(EMAIL, "admin");
    let path = format!("/api/users/{}", user["id"].as_str().unwrap());
    let disable = request("PATCH", &path).json(&json!({"enabled": false}));
    disable.send_local(&plane.socket()).expect(200);
    let answers: Vec<_> = [
        (EMAIL, "wrong horse battery"),
        ("nobody@example.com", PASSWORD),
        ("not an email", PASSWORD),
        ("disabled@example.com", PASSWORD),
    ]
    .into_iter()
    .map(|(email, password)| plane.try_login(email, password).problem(401, "invalid_credentials"))
    .collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    let log = request("GET", "/api/audit?action=login_failed")
        .send_local(&plane.socket())
        .expect(200);
    assert_eq!(log.as_array().unwrap().len(), 4);
    assert_eq!(log[0]["ip"], "127.0.0.1");
}

#[test]
fn guessing_is_throttled_for_every_email_alike() {
    let plane = TestPlane::start();
    plane.add_user(EMAIL, "admin");
    for email in [EMAIL, "nobody@example.com"] {
        let refused = (0..40)
            .map(|_| plane.try_login(email, "wrong horse battery"))
            .find(|answer| answer.status != 401);
        let refused = refused.expect("a limit");
        refused.problem(429, "too_many_requests");
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
}

#[test]
fn an_address_is_throttled_whatever_proxy_header_it_sends() {
    let plane = TestPlane::start();
    let refused = (0..100).any(|attempt| {
        let body = json!({"email": format!("u{attempt}@example.com"), "password": "x"});
        let login = request("POST", "/api/login").header("X-Forwarded-For", &format!("198.51.100.{attempt}"));
        login.json(&body).send(plane.address).status == 429
    });
    assert!(refused);
}

#[test]
fn the_log_names_the_caller_behind_a_trusted_proxy() {
    let plane = TestPlane::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let body = json!({"email": "nobody@example.com", "password": "x"});
    let login = request("POST", "/api/login")
        .header("X-Forwarded-For", "1.1.1.1, 198.51.100.7")
        .json(&body);
    login.send(plane.address).problem(401, "invalid_credentials");
    let log = request("GET", "/api/audit").send_local(&plane.socket()).expect(200);
    assert_eq!(log[0]["ip"], "198.51.100.7");
}

#[test]
fn logging_out_ends_every_session_at_once() {
    let plane = TestPlane::start();
    let (first, second) = (plane.admin(), plane.login(EMAIL));
    let logout = request("POST", "/api/logout").token(&first).send(plane.address);
    assert_eq!(logout.status, 204);
    for token in [&first, &second] {
        plane.get("/api/users", token).problem(401, "unauthorized");
    }
    let again = plane.login(EMAIL);
    plane.get("/api/users", &again).expect(200);
}

#[test]
fn a_password_change_requires_the_old_password_and_ends_the_sessions() {
    let plane = TestPlane::start();
    let token = plane.admin();
    let change = |current: &str, new: &str| {
        plane.post(
            "/api/password",
            &token,
            &json!({"current_password": current, "new_password": new}),
        )
    };
    assert_eq!(
        change("not my password", "a new long password").problem(422, "invalid_field")["field"],
        "current_password"
    );
    assert_eq!(
        change(PASSWORD, "short").problem(422, "invalid_field")["field"],
        "new_password"
    );
    change(PASSWORD, "a new long password").expect(204);
    plane.get("/api/users", &token).problem(401, "unauthorized");
    plane.try_login(EMAIL, PASSWORD).problem(401, "invalid_credentials");
    plane.try_login(EMAIL, "a new long password").expect(200);
}

#[test]
fn users_are_created_changed_and_removed() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let new = json!({"email": "Eve@example.com", "password": PASSWORD, "role": "viewer"});
    let made = plane.post("/api/users", &admin, &new);
    let user = made.expect(201);
    let path = format!("/api/users/{}", user["id"].as_str().unwrap());
    assert_eq!(made.header("location"), Some(path.as_str()));
    assert_eq!(
        (&user["email"], &user["enabled"]),
        (&json!("eve@example.com"), &json!(true))
    );
    assert!(!made.text().contains("argon2"));
    plane.post("/api/users", &admin, &new).problem(409, "user_exists");
    let weak = json!({"email": "x@example.com", "password": "short", "role": "viewer"});
    assert_eq!(
        plane.post("/api/users", &admin, &weak).problem(422, "invalid_field")["field"],
        "password"
    );

    let eve = plane.login("eve@example.com");
    plane.get("/api/users", &eve).problem(403, "forbidden");
    assert_eq!(
        plane.patch(&path, &admin, &json!({"role": "admin"})).expect(200)["role"],
        "admin"
    );
    plane.get("/api/statuses", &eve).problem(401, "unauthorized");
    assert_eq!(plane.get("/api/users", &admin).expect(200).as_array().unwrap().len(), 2);
    assert_eq!(plane.delete(&path, &admin).status, 204);
    plane.delete(&path, &admin).problem(404, "not_found");
    plane
        .try_login("eve@example.com", PASSWORD)
        .problem(401, "invalid_credentials");
}

#[test]
fn the_last_admin_cannot_be_removed_demoted_or_disabled() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let users = plane.get("/api/users", &admin).expect(200);
    let path = format!("/api/users/{}", users[0]["id"].as_str().unwrap());
    plane.delete(&path, &admin).problem(409, "last_admin");
    plane
        .patch(&path, &admin, &json!({"role": "viewer"}))
        .problem(409, "last_admin");
    plane
        .patch(&path, &admin, &json!({"enabled": false}))
        .problem(409, "last_admin");
}
