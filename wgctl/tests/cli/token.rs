//! `wgctl token`, `wgctl key` and `wgctl server token`.

use serde_json::Value;

use crate::support::{Home, ID, Plane, stderr, stdout};

fn token(extra: &str) -> String {
    format!(
        r#"{{"id":"{ID}","name":"ci","role":"admin","servers":["la"],"created_at":"2026-05-06T12:00:00Z",
        "created_by":"ops@example.com","expires_at":null,"last_used_at":null{extra}}}"#
    )
}

#[test]
fn a_token_is_printed_once_and_removed_by_its_name() {
    let home = Home::new();
    let plane = Plane::new(&[
        ("POST /api/tokens", 201, &token(r#","token":"szapi_secret""#)),
        ("GET /api/tokens", 200, &format!("[{}]", token(""))),
        (&format!("DELETE /api/tokens/{ID}"), 200, "{}"),
    ]);
    let run = |words: &str| home.run(&format!("{words} --plane {}", plane.url), "");
    let output = run("token add ci --role admin --server la --expires 90d");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("  szapi_secret\n"), "{}", stdout(&output));
    let sent: Value = serde_json::from_str(&plane.seen()[0].body).unwrap();
    assert_eq!(
        (&sent["role"], &sent["servers"][0]),
        (&Value::from("admin"), &Value::from("la"))
    );
    assert!(sent["expires_at"].is_string());
    let json = run("token add ci --role viewer --json");
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["token"], &json["api_token"]["name"]),
        (&Value::from("szapi_secret"), &Value::from("ci"))
    );
    let list = run("token list");
    assert!(
        stdout(&list).contains("never") && stdout(&list).contains("ops@example.com"),
        "{}",
        stdout(&list)
    );
    let ended = token("").replace(r#""expires_at":null"#, r#""expires_at":"2026-05-07T12:00:00Z""#);
    plane.answer("GET /api/tokens", 200, &format!("[{ended}]"));
    let list = stdout(&run("token list"));
    assert!(list.contains("expired 2026-05-07T12:00:00Z"), "{list}");
    assert_eq!(run("token remove ci").status.code(), Some(0));
    let none = run("token remove cd");
    assert_eq!(none.status.code(), Some(1));
    assert!(stderr(&none).contains("wgctl token list"), "{}", stderr(&none));
    assert_eq!(run("token add 'a b' --role admin").status.code(), Some(2));
}

#[test]
fn the_signing_key_and_agent_tokens_can_be_rotated() {
    let home = Home::new();
    let plane = Plane::new(&[
        (
            "POST /api/keys/rotate",
            200,
            r#"{"kid":"00ff","previous_valid_until":"2026-05-07T12:01:00Z"}"#,
        ),
        (
            "POST /api/servers/la/token",
            200,
            r#"{"agent_token":"szagent_x","previous_valid_until":"2026-05-06T13:00:00Z"}"#,
        ),
        ("GET /api/users", 200, "[]"),
    ]);
    let run = |words: &str| home.run(&format!("{words} --plane {}", plane.url), "");
    let output = run("key rotate");
    assert!(
        stdout(&output).contains("00ff") && stdout(&output).contains("2026-05-07"),
        "{}",
        stderr(&output)
    );
    let output = run("server token la --grace 1h");
    assert!(
        stdout(&output).contains("szagent_x")
            && stdout(&output)
                .contains("as soon as the agent uses the new one, but no later than 2026-05-06T13:00:00Z"),
        "{}",
        stderr(&output)
    );
    assert_eq!(plane.seen()[1].body, r#"{"grace_seconds":3600}"#);
    assert_eq!(run("server token la --grace soon").status.code(), Some(2));
    let output = run("user set nobody@example.com --role viewer");
    assert!(stderr(&output).contains("wgctl user list"), "{}", stderr(&output));
}
