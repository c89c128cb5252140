//! What agents report, and what people see of it.

use serde_json::{Value, json};

use crate::plane::{TestPlane, until};

fn report(server: &str) -> Value {
    json!({"server_id": server, "ping_ms": 12.4, "peers": 5, "transfer_rx": 1_048_576, "transfer_tx": 524_288})
}

#[test]
fn a_report_of_the_originals_five_fields_shows_in_the_statuses() {
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
fn a_newer_agents_fields_are_let_through_and_wrong_ones_are_not() {
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
fn an_agent_that_speaks_for_another_server_is_refused_and_recorded() {
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
    let points = until("the points", || {
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
