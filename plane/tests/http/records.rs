//! The audit log and its export.

use serde_json::{Value, json};

use crate::client::request;
use crate::plane::{EMAIL, TestPlane};

#[test]
fn the_audit_log_is_newest_first_and_can_be_filtered() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_server(&admin, "los-angeles");
    plane.add_server(&admin, "tokyo");
    let log = plane.get("/api/audit", &admin).expect(200);
    let actions: Vec<&str> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["server_created", "server_created", "login_succeeded", "user_created"]
    );
    assert_eq!(log[0]["id"], 4);
    assert_eq!(
        (&log[0]["actor"], &log[0]["target"], &log[0]["ip"]),
        (&json!(EMAIL), &json!("tokyo"), &json!("127.0.0.1"))
    );
    let count = |query: &str| {
        plane
            .get(&format!("/api/audit?{query}"), &admin)
            .expect(200)
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count("limit=1"), 1);
    assert_eq!(count("offset=3"), 1);
    assert_eq!(count("action=server_created&target=tokyo"), 1);
    assert_eq!(count("actor=ops%40example.com"), 3);
    assert_eq!(count("until=2000-01-01T00:00:00Z"), 0);
    assert_eq!(count("since=2000-01-01T00:00:00Z"), 4);
}

#[test]
fn the_export_has_every_record_and_no_live_formula() {
    let plane = TestPlane::start();
    let formula = "=HYPERLINK(\"https://evil.example\",\"a,b\")";
    let body = json!({"email": formula, "password": "x"});
    request("POST", "/api/login")
        .json(&body)
        .send(plane.address)
        .problem(401, "invalid_credentials");
    let admin = plane.admin();
    let answer = plane.get("/api/audit/export", &admin);
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/csv"));
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename=\"audit.csv\"")
    );
    assert!(
        answer
            .text()
            .starts_with("id,actor,action,target,ip,created_at,detail\r\n")
    );
    let mut reader = csv::Reader::from_reader(answer.body.as_slice());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let log = plane.get("/api/audit", &admin).expect(200);
    assert_eq!(rows.len(), log.as_array().unwrap().len());
    let first = &rows[0];
    assert_eq!((&first[0], &first[2]), ("1", "login_failed"));
    assert_eq!(first[1], format!("'{formula}"));
    for (row, record) in rows.iter().rev().zip(log.as_array().unwrap()) {
        let plain = |cell: &str| cell.strip_prefix('\'').unwrap_or(cell).to_owned();
        assert_eq!(Value::from(plain(&row[3])), record["target"]);
        assert_eq!(Value::from(&row[5]), record["created_at"]);
    }
}
