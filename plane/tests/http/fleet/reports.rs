//! Reports from agents, and the statuses and history that users see.

use serde_json::{Value, json};

use crate::support::plane::{TestPlane, until};

fn report(server: &str) -> Value {
    json!({"server_id": server, "ping_ms": 12.4, "peers": 5, "transfer_rx": 1_048_576, "transfer_tx": 524_288})
}

#[test]
fn a_report_with_only_the_five_original_fields_appears_in_the_statuses() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    plane.add_user("viewer@example.com", "viewer");
    let viewer = plane.login("viewer@example.com");
    let before = plane.get("/api/statuses", &viewer).expect(200);
    assert_eq!(
        (&before[0]["online"], &before[0]["ping_ms"], &before[0]["reported_at"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    plane.post("/api/report", &token, &report("los-angeles")).expect(204);
    let after = plane.get("/api/statuses", &viewer).expect(200);
    let status = &after[0];
    assert_eq!(
        (&status["server_id"], &status["online"], &status["ping_ms"]),
        (&json!("los-angeles"), &json!(true), &json!(12.4))
    );
    assert_eq!(
        (&status["peers"], &status["transfer_rx"], &status["transfer_tx"]),
        (&json!(5), &json!(1_048_576), &json!(524_288))
    );
    assert!(status["reported_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_newer_agents_fields_are_accepted_and_invalid_values_are_not() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    let mut newer = report("los-angeles");
    newer["load"] = json!(0.5);
    plane.post("/api/report", &token, &newer).expect(204);
    let mut wrong = report("los-angeles");
    wrong["peers"] = json!(-1);
    assert_eq!(
        plane.post("/api/report", &token, &wrong).problem(422, "invalid_field")["field"],
        "peers"
    );
}

#[test]
fn an_agent_that_reports_for_another_server_is_refused_and_recorded() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    plane.add_server(&admin, "tokyo");
    for other in ["tokyo", "nowhere"] {
        plane
            .post("/api/report", &token, &report(other))
            .problem(403, "forbidden");
    }
    let log = plane.get("/api/audit?action=agent_refused", &admin).expect(200);
    assert_eq!(log.as_array().unwrap().len(), 2);
    assert_eq!(
        (&log[1]["actor"], &log[1]["target"]),
        (&json!("agent:los-angeles"), &json!("tokyo"))
    );
}

#[test]
fn history_is_one_json_array_oldest_first() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    assert_eq!(plane.get("/api/history", &admin).expect(200), json!([]));
    for server in ["los-angeles", "tokyo"] {
        let token = plane.add_server(&admin, server);
        plane.post("/api/report", &token, &report(server)).expect(204);
    }
    let points = until("the history points to appear", || {
        let answer = plane.get("/api/history?step=60", &admin);
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        answer
            .expect(200)
            .as_array()
            .filter(|points| points.len() >= 2)
            .cloned()
    });
    assert_eq!(
        (&points[0]["ping_ms"], &points[0]["transfer_rx"]),
        (&json!(12.4), &json!(1_048_576))
    );
    assert!(points[0]["recorded_at"].as_str().unwrap().ends_with('Z'));
    let one = plane.get("/api/history?step=60&server_id=tokyo", &admin).expect(200);
    assert!(
        one.as_array()
            .unwrap()
            .iter()
            .all(|point| point["server_id"] == "tokyo")
    );
    for (query, field) in [("step=1", "step"), ("since=x", "since"), ("server_id=A", "server_id")] {
        let problem = plane
            .get(&format!("/api/history?{query}"), &admin)
            .problem(422, "invalid_field");
        assert_eq!(problem["field"], field);
    }
    plane
        .get("/api/history?server_id=nowhere", &admin)
        .problem(404, "not_found");
}

#[test]
fn drift_is_stored_shown_and_audited() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    let event =
        |kind: &str| json!({"kind": kind, "detail": "MTU 1280 instead of 1420", "seen_at": "2026-05-06T12:00:00Z"});
    let mut message = json!({
        "incarnation": "7d444840-9dc0-41d1-b245-5ffdce74fad2", "sequence": 1,
        "repaired": [event("link_down")], "seen": [event("mtu_changed")], "standing": [event("mtu_changed")],
    });
    for _ in 0..2 {
        plane.post("/api/agent/drift", &token, &message).expect(204);
    }
    for path in ["/api/statuses", "/api/servers"] {
        let shown = plane.get(path, &admin).expect(200)[0].clone();
        assert_eq!(shown["drift_repaired"], 1, "{path}");
        assert_eq!(shown["drift"][0]["kind"], "mtu_changed", "{path}");
    }
    let log = plane.get("/api/audit?actor=agent:los-angeles", &admin).expect(200);
    let told: Vec<_> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (&r["action"], &r["detail"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("drift_seen"), &json!("mtu_changed: MTU 1280 instead of 1420")),
            (&json!("drift_repaired"), &json!("link_down: MTU 1280 instead of 1420")),
        ]
    );
    let answer = plane.get("/api/audit/export", &admin);
    let export = answer.text();
    assert!(export.contains(",mtu_changed: MTU 1280 instead of 1420,"), "{export}");
    message["standing"] = json!(vec![event("mtu_changed"); 65]);
    assert_eq!(
        plane
            .post("/api/agent/drift", &token, &message)
            .problem(422, "invalid_field")["field"],
        "standing"
    );
    plane
        .post("/api/agent/drift", &admin, &message)
        .problem(401, "unauthorized");
}

#[test]
fn samples_from_while_the_plane_was_down_fill_its_history() {
    let mut plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    let now = wgctl::Timestamp::now();
    let before = |seconds| now.before(std::time::Duration::from_secs(seconds)).to_string();
    let mut message = report("los-angeles");
    let samples: Vec<Value> = (1..=12)
        .rev()
        .map(|n| json!({"at": before(n * 45), "rx": 1_000 - n * 10, "tx": 0}))
        .collect();
    message["counters"] = json!({
        "incarnation": "7d444840-9dc0-41d1-b245-5ffdce74fad2", "sequence": 1,
        "peers": {"6f9619ff-8b86-4011-b42d-00c04fc964ff": {"rx": 1_000, "tx": 0}},
        "total": {"rx": 1_000, "tx": 0}, "samples": samples,
    });
    message["sent_at"] = json!(now);
    plane.post("/api/report", &token, &message).expect(204);
    plane.restart();
    // The agent sends the report again, as if the response had been lost when the plane stopped.
    plane.post("/api/report", &token, &message).expect(204);
    let points = plane.get("/api/history?step=60", &admin).expect(200);
    let points = points.as_array().unwrap();
    let minute = |point: &Value| {
        point["recorded_at"]
            .as_str()
            .unwrap()
            .parse::<wgctl::Timestamp>()
            .unwrap()
            .unix()
            / 60
    };
    assert!(points.len() >= 9, "{points:?}");
    assert!(
        points.windows(2).all(|pair| minute(&pair[1]) == minute(&pair[0]) + 1),
        "{points:?}"
    );
    assert_eq!(
        points[0]["transfer_rx"].as_u64().map(|rx| (880..=890).contains(&rx)),
        Some(true),
        "{points:?}"
    );
    assert_eq!(points[points.len() - 1]["transfer_rx"], 1_000);
    assert_eq!(plane.get("/api/statuses", &admin).expect(200)[0]["transfer_rx"], 1_000);
}
