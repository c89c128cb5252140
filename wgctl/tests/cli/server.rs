//! `wgctl server` and `wgctl status`: their requests and their output.

use serde_json::Value;

use crate::support::{Home, Plane, server, stderr, stdout};

#[test]
fn nothing_is_removed_without_confirmation() {
    let home = Home::new();
    let plane = Plane::new(&[("DELETE /api/servers/la", 200, "{}")]);
    let output = home.run(&format!("server remove la --plane {}", plane.url), "y\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(plane.seen().is_empty());
    let output = home.run(&format!("server remove la --yes --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_server_that_reports_a_failure_is_shown_as_failing_with_the_reason() {
    let home = Home::new();
    let status = r#"[{"server_id":"los-angeles","online":true,"ping_ms":null,"peers":0,"transfer_rx":0,"transfer_tx":0,
        "reported_at":null,"desired_revision":8,"applied_revision":0,"failed":"wg0 is\u001b[2J taken"}]"#;
    let plane = Plane::new(&[("GET /api/statuses", 200, status)]);
    let text = stdout(&home.run(&format!("status --plane {}", plane.url), ""));
    assert!(text.contains("REVISION") && text.contains("0 of 8"), "{text}");
    assert!(text.contains("failing") && !text.contains("online"), "{text}");
    assert!(text.ends_with("\nlos-angeles: wg0 is\\u{1b}[2J taken\n"), "{text}");
}

#[test]
fn adding_a_server_prints_its_token_and_the_next_command() {
    let home = Home::new();
    let plane = Plane::new(&[("POST /api/servers", 201, &server(r#","agent_token":"szagent_x""#))]);
    let words = format!(
        "server add la --endpoint vpn.example.com:51820 --pool 10.8.0.0/24 --pool fd00:8::/64 --plane {}",
        plane.url
    );
    let text = stdout(&home.run(&words, ""));
    assert!(
        text.contains("szagent_x")
            && text.contains(&format!("sentrazone-agent enroll --plane {} --token-file -", plane.url)),
        "{text}"
    );
    let answer: Value = serde_json::from_slice(&home.run(&format!("{words} --json"), "").stdout).unwrap();
    assert_eq!(
        (&answer["agent_token"], &answer["server"]["id"]),
        (&"szagent_x".into(), &"la".into())
    );
    assert!(answer["server"].get("agent_token").is_none());
    let body: Value = serde_json::from_str(&plane.seen()[0].body).unwrap();
    assert_eq!(body["address_pool"], serde_json::json!(["10.8.0.0/24", "fd00:8::/64"]));
}

#[test]
fn a_pool_with_host_bits_is_reported_as_the_network_that_it_becomes() {
    let home = Home::new();
    let plane = Plane::new(&[("POST /api/servers", 201, &server(r#","agent_token":"szagent_x""#))]);
    let words = "server add la --endpoint vpn:1 --pool";
    for (pool, said) in [
        (
            "10.7.0.5/24",
            "wgctl: 10.7.0.5/24 has host bits set: the pool is 10.7.0.0/24\n",
        ),
        ("10.7.0.5/24 --json", ""),
        ("10.7.0.0/24", ""),
    ] {
        let output = home.run(&format!("{words} {pool} --plane {}", plane.url), "");
        assert_eq!(
            (output.status.code(), stderr(&output).as_str()),
            (Some(0), said),
            "{pool}"
        );
    }
}

#[test]
fn an_adoption_can_be_requested_and_cancelled() {
    let home = Home::new();
    let made = server(r#","adopt":true,"agent_token":"szagent_x""#);
    let shown = server(r#","adopt":true"#);
    let plane = Plane::new(&[
        ("POST /api/servers", 201, &made),
        ("PATCH /api/servers/la", 200, &shown),
    ]);
    let url = &plane.url;
    let words = "server add la --endpoint vpn:1 --pool 10.8.0.0/24 --adopt --plane";
    let text = stdout(&home.run(&format!("{words} {url}"), ""));
    assert!(text.contains("takes over wg0") && text.contains("--dry-run"), "{text}");
    for words in ["--adopt", "--adopt=false"] {
        let text = stdout(&home.run(&format!("server set la {words} --plane {url}"), ""));
        assert!(text.contains("pending: enroll the host"), "{text}");
    }
    let sent: Vec<Value> = plane
        .seen()
        .iter()
        .map(|request| serde_json::from_str(&request.body).unwrap())
        .collect();
    assert_eq!(sent[0]["adopt"], true);
    assert_eq!(
        sent[1..],
        [serde_json::json!({"adopt": true}), serde_json::json!({"adopt": false})]
    );
}

#[test]
fn drift_is_shown_in_the_status_and_on_the_server() {
    let home = Home::new();
    let drift = r#","drift_repaired":7,"drift_policy":"report","drift":[{"kind":"mtu_changed","count":1,
        "detail":"1280\u001b[2J instead of 1420","seen_at":"2026-05-06T12:00:00Z"}]"#;
    let status = format!(
        r#"[{{"server_id":"la","online":true,"ping_ms":null,"peers":0,"transfer_rx":0,"transfer_tx":0,
        "reported_at":null,"desired_revision":8,"applied_revision":8,"failed":null{drift}}}]"#
    );
    let one = server(drift);
    let plane = Plane::new(&[
        ("GET /api/statuses", 200, &status),
        ("GET /api/servers/la", 200, &one),
        ("PATCH /api/servers/la", 200, &one),
    ]);
    let text = stdout(&home.run(&format!("status --plane {}", plane.url), ""));
    let line = "mtu_changed: 1280\\u{1b}[2J instead of 1420 (since 2026-05-06T12:00:00Z)";
    assert!(
        text.contains("drifted") && text.contains(&format!("\nla: {line}\n")),
        "{text}"
    );
    let text = stdout(&home.run(&format!("server show la --plane {}", plane.url), ""));
    for part in ["drift policy", "report", "drift repaired", line] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let words = format!("server set la --drift-policy report --plane {}", plane.url);
    assert_eq!(home.run(&words, "").status.code(), Some(0));
    let body: Value = serde_json::from_str(&plane.seen()[2].body).unwrap();
    assert_eq!(body, serde_json::json!({"drift_policy": "report"}));
    let output = home.run(
        &format!("server set la --drift-policy repair --plane {}", plane.url),
        "",
    );
    assert!(stderr(&output).contains("enforce"), "{}", stderr(&output));
}
