//! Login and logout, and the choice of the plane and the token for a command.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{Home, Plane, stderr, stdout};

#[test]
fn a_login_is_stored_privately_then_used_and_removed() {
    let home = Home::new();
    let plane = Plane::new(&[
        (
            "POST /api/login",
            200,
            r#"{"token":"eyJ.a.b","expires_at":"2999-01-01T00:00:00Z"}"#,
        ),
        ("GET /api/statuses", 200, "[]"),
        ("POST /api/logout", 200, "{}"),
    ]);
    let output = home.run(
        &format!("login {} --email ops@example.com --password-stdin", plane.url),
        "pass word\nnext\n",
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!stdout(&output).contains("eyJ"));
    let kept = home.0.join(".config/wgctl/login.json");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        kept.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!(stdout(&home.run("status --json", "")).trim(), "[]");
    assert_eq!(home.run("logout", "").status.code(), Some(0));
    assert!(!kept.exists());
    let seen = plane.seen();
    assert_eq!(
        serde_json::from_str::<Value>(&seen[0].body).unwrap()["password"],
        "pass word"
    );
    assert_eq!(seen[1].authorization.as_deref(), Some("Bearer eyJ.a.b"));
    assert_eq!(
        (seen[2].line.as_str(), seen[2].authorization.as_deref()),
        ("POST /api/logout", Some("Bearer eyJ.a.b"))
    );
}

#[test]
fn a_pin_is_refused_for_plain_http_and_if_it_is_invalid() {
    let home = Home::new();
    let pin = format!("sha256:{}", "0".repeat(64));
    let output = home.run(&format!("--plane http://127.0.0.1:1 --pin {pin} server list"), "");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("has no key for --pin"), "{}", stderr(&output));
    let output = home.run("--plane https://127.0.0.1:1 --pin sha256:1 server list", "");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("64 hexadecimal digits"), "{}", stderr(&output));
}

#[test]
fn a_login_that_other_users_can_read_is_not_used() {
    let home = Home::new();
    let folder = home.0.join(".config/wgctl");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("login.json"), "{}").unwrap();
    std::fs::set_permissions(folder.join("login.json"), PermissionsExt::from_mode(0o644)).unwrap();
    let output = home.run("status", "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("chmod 600"), "{}", stderr(&output));
}

#[test]
fn the_plane_and_the_token_can_come_from_the_environment() {
    let home = Home::new();
    let plane = Plane::new(&[("GET /api/statuses", 200, "[]")]);
    let output = home.run_with(
        "status",
        "",
        &[("SENTRAZONE_URL", &plane.url), ("SENTRAZONE_TOKEN", "secret")],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    std::fs::write(home.0.join("token"), "from-file\n").unwrap();
    assert_eq!(
        home.run(&format!("status --plane {} --token-file token", plane.url), "")
            .status
            .code(),
        Some(0)
    );
    let tokens: Vec<_> = plane
        .seen()
        .into_iter()
        .map(|request| request.authorization.unwrap())
        .collect();
    assert_eq!(tokens, ["Bearer secret", "Bearer from-file"]);
}

#[test]
fn unencrypted_requests_are_not_sent_through_a_proxy() {
    let home = Home::new();
    let plane = Plane::new(&[(
        "POST /api/login",
        200,
        r#"{"token":"eyJ.a.b","expires_at":"2999-01-01T00:00:00Z"}"#,
    )]);
    let proxy = Plane::new(&[]);
    let names = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    let environment = names.map(|name| (name, proxy.url.as_str()));
    let words = format!("login {} --email ops@example.com --password-stdin", plane.url);
    let output = home.run_with(&words, "pass word\n", &environment);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(proxy.seen().is_empty());
    assert_eq!(plane.seen().len(), 1);
}
