//! Errors from the plane, reported in terms of the command line.

use serde_json::Value;

use crate::support::{Home, Plane, problem, stderr};

#[test]
fn a_refusal_shows_the_planes_own_message_and_code() {
    let home = Home::new();
    let plane = Plane::new(&[
        (
            "POST /api/wg-clients/la",
            409,
            &problem(409, "name_taken", "there is a peer alice on la: choose another name"),
        ),
        (
            "GET /api/statuses",
            401,
            &problem(401, "unauthorized", "no token\\u001b[2J"),
        ),
    ]);
    let output = home.run(&format!("peer add la alice --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "wgctl: there is a peer alice on la: choose another name (name_taken)\n"
    );
    let output = home.run(&format!("status --plane {}", plane.url), "");
    assert!(
        stderr(&output).contains("wgctl login URL") && !stderr(&output).contains('\u{1b}'),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_refused_field_is_named_once_and_json_shows_the_whole_problem() {
    let home = Home::new();
    let refusal =
        |detail: &str| problem(400, "invalid", detail).replace(r#""title""#, r#""field":"address_pool[0]","title""#);
    let words = "server add la --endpoint vpn:1 --pool 0.0.0.0/0 --plane";
    for detail in ["address_pool[0]: too large", "too large"] {
        let plane = Plane::new(&[("POST /api/servers", 400, &refusal(detail))]);
        let output = home.run(&format!("{words} {}", plane.url), "");
        assert_eq!(stderr(&output), "wgctl: --pool: too large (invalid)\n");
        let output = home.run(&format!("{words} {} --json", plane.url), "");
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error, serde_json::from_str::<Value>(&refusal(detail)).unwrap());
    }
}

#[test]
fn next_steps_for_api_callers_are_shown_as_commands_and_options() {
    let home = Home::new();
    let offline = problem(
        503,
        "agent_offline",
        r#"no keys: start it, or give a publicKey and \"presharedKey\": false"#,
    )
    .replace(
        r#""code""#,
        r#""hint":{"reason":"no keys","step":"bring_own_key"},"code""#,
    );
    let ended = problem(401, "unauthorized", "no longer valid: log in at POST /api/login").replace(
        r#""code""#,
        r#""hint":{"reason":"no longer valid","step":"log_in"},"code""#,
    );
    let plane = Plane::new(&[
        ("POST /api/wg-clients/la", 503, &offline),
        ("GET /api/statuses", 401, &ended),
    ]);
    for (words, expected) in [
        (
            "peer add la alice",
            "wgctl: no keys: start it, or give --public-key and --no-psk (agent_offline)\n",
        ),
        (
            "status",
            "wgctl: no longer valid: log in with `wgctl login URL`, or give a token with --token-file (unauthorized)\n",
        ),
    ] {
        let output = home.run(&format!("{words} --plane {}", plane.url), "");
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(1), expected));
    }
    let output = home.run(&format!("status --json --plane {}", plane.url), "");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error, serde_json::from_str::<Value>(&ended).unwrap());
}

#[test]
fn the_message_of_an_older_plane_without_hints_is_quoted() {
    let home = Home::new();
    let ended = problem(401, "unauthorized", "not valid: log in again at POST /api/login");
    let plane = Plane::new(&[("GET /api/statuses", 401, &ended)]);
    let output = home.run(&format!("status --plane {}", plane.url), "");
    let (quoted, next) = (
        "wgctl: not valid: log in again at POST /api/login (unauthorized)\n",
        "wgctl login URL",
    );
    assert!(
        stderr(&output).starts_with(quoted) && stderr(&output).contains(next),
        "{}",
        stderr(&output)
    );
}

#[test]
fn missing_objects_of_every_kind_are_reported_with_the_same_code() {
    let home = Home::new();
    let plane = Plane::new(&[
        ("GET /api/wg-clients/la", 200, "[]"),
        ("GET /api/tokens", 200, "[]"),
        ("GET /api/users", 200, "[]"),
        ("GET /api/statuses", 200, "[]"),
    ]);
    for words in [
        "server show la",
        "peer show la alice",
        "token remove ci",
        "user remove eve@example.com",
        "status la",
    ] {
        let output = home.run(&format!("{words} --plane {}", plane.url), "");
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(stderr(&output).ends_with(" (not_found)\n"), "{}", stderr(&output));
        let output = home.run(&format!("{words} --json --plane {}", plane.url), "");
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["code"], "not_found", "{words}: {error}");
        assert!(!error["detail"].as_str().unwrap().contains("not_found"), "{error}");
    }
}
