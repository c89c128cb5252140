//! The audit log and its export.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use wgctl::api::{AuditPublicKey, Verification};
use wgctl::audit::{Expected, verify_file};

use crate::support::client::request;
use crate::support::plane::{EMAIL, TestPlane};

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
fn the_export_contains_every_record_and_no_active_formula() {
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
            .starts_with("id,actor,action,target,ip,created_at,detail,request_id,changes,hash\r\n")
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

#[test]
fn a_change_is_recorded_with_its_request_id_and_the_changed_fields() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_server(&admin, "los-angeles");
    let answer = plane.patch("/api/servers/los-angeles", &admin, &json!({"mtu": 1380}));
    let log = plane.get("/api/audit?limit=1", &admin).expect(200);
    assert_eq!(log[0]["request_id"].as_str(), answer.header("x-request-id"));
    assert_eq!(log[0]["changes"], json!({"mtu": {"before": null, "after": 1380}}));
    // The audit record of a request that fails authentication also has a request id.
    let answer = plane.try_login(EMAIL, "wrong horse battery");
    let log = plane.get("/api/audit?action=login_failed", &admin).expect(200);
    assert_eq!(log[0]["request_id"].as_str(), answer.header("x-request-id"));
}

#[test]
fn an_invalid_agent_token_is_recorded_with_the_path_of_the_request() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let old = plane.add_server(&admin, "los-angeles");
    plane
        .post("/api/servers/los-angeles/token", &admin, &json!({}))
        .expect(200);
    let refused = plane.post("/api/report", &old, &json!({}));
    refused.problem(401, "unauthorized");
    let log = plane.get("/api/audit?action=agent_refused", &admin).expect(200);
    let [record] = log.as_array().unwrap().as_slice() else {
        panic!("expected one record: {log}");
    };
    assert_eq!(
        (&record["actor"], &record["target"], &record["ip"]),
        (&json!("agent:?"), &json!("/api/report"), &json!("127.0.0.1"))
    );
    assert_eq!(record["request_id"].as_str(), refused.header("x-request-id"));
    assert!(!log.to_string().contains(&old));
}

/// Saves the export as a file in the test's directory, and returns its path.
fn exported(plane: &TestPlane, admin: &str, format: &str) -> PathBuf {
    let answer = plane.get(&format!("/api/audit/export?format={format}"), admin);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let path = plane.dir.path().join(format!("audit.{format}"));
    std::fs::write(&path, &answer.body).unwrap();
    path
}

fn python(script: &str, file: &Path) -> (bool, String) {
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(file)
        .output()
        .expect("this test needs python3: install it");
    let words = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(words).unwrap())
}

/// Starts a plane whose log has several kinds of records and text that is difficult to encode. Also returns the admin's
/// token.
fn furnished() -> (TestPlane, String) {
    let plane = TestPlane::start();
    let admin = plane.admin();
    for hard in [
        "=1+1\r\n",
        "\"quoted\", 'too'",
        "Zoë 日本 \u{1f512}\u{7f}",
        "'",
        " a\tb\\n",
        "＝x",
    ] {
        let body = json!({"email": hard, "password": "x"});
        request("POST", "/api/login")
            .json(&body)
            .send(plane.address)
            .problem(401, "invalid_credentials");
    }
    plane.add_server(&admin, "los-angeles");
    for name in ["Zoë's \"laptop\"", "日本\\", "a/b"] {
        let key = wgctl::PrivateKey::generate().unwrap().public_key();
        let body = json!({"name": name, "publicKey": key, "presharedKey": false});
        plane.post("/api/wg-clients/los-angeles", &admin, &body).expect(201);
    }
    (plane, admin)
}

#[test]
fn the_plane_the_library_and_the_documented_script_verify_the_log() {
    let (plane, admin) = furnished();
    let file = exported(&plane, &admin, "jsonl");
    let online: Verification = serde_json::from_value(plane.get("/api/audit/verify", &admin).expect(200)).unwrap();
    assert!(online.ok, "{online:?}");
    let key: AuditPublicKey = serde_json::from_value(plane.get("/api/audit/key", &admin).expect(200)).unwrap();
    assert_eq!(online.public_key, Some(key.public_key));
    assert_eq!(
        online.signed_until, online.head.id,
        "an export first adds a checkpoint to the log"
    );
    let expected = Expected {
        keys: vec![key.public_key],
        checkpoints: true,
        head: Some(online.head),
    };
    let verify = |path: &Path| {
        let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
        verify_file(file, expected.clone()).unwrap()
    };
    assert_eq!(
        verify(&file),
        Verification {
            pruned: None,
            ..online.clone()
        }
    );
    assert!(verify(&exported(&plane, &admin, "csv")).ok);
    // The script in docs/audit.md works as described.
    let document = include_str!("../../../../docs/audit.md");
    let script = document
        .split("```python\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    assert_eq!(python(script, &file), (true, format!("{}\n", online.head)));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("los-angeles/a/b", "los-angeles/a/c", 1)).unwrap();
    let (passed, words) = python(script, &file);
    let named = verify(&file).fault.unwrap().id;
    assert!(!passed && words.contains(&format!("record {named}")), "{words}");
    // A head that the caller passes is compared with the log.
    let other = format!("/api/audit/verify?head={}:{}", online.head.id, "0".repeat(64));
    assert_eq!(plane.get(&other, &admin).expect(200)["ok"], false);
}

#[test]
fn other_programs_read_exactly_what_was_recorded_from_the_csv() {
    let (plane, admin) = furnished();
    let file = exported(&plane, &admin, "csv");
    let script = "import csv, json, sys\n\
                  rows = list(csv.reader(open(sys.argv[1], encoding='utf-8', newline='')))\n\
                  print(json.dumps(rows))";
    let (passed, words) = python(script, &file);
    assert!(passed, "{words}");
    let rows: Vec<Vec<String>> = serde_json::from_str(&words).unwrap();
    let log = plane.get("/api/audit?limit=1000", &admin).expect(200);
    let log = log.as_array().unwrap();
    assert_eq!(rows.len(), log.len() + 1);
    let plain = |cell: &str| cell.strip_prefix('\'').unwrap_or(cell).to_owned();
    for (row, record) in rows[1..].iter().zip(log.iter().rev()) {
        for (at, name) in rows[0].iter().enumerate() {
            let cell = &row[at];
            assert!(
                !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']),
                "{cell}"
            );
            let shown = match &record[name.as_str()] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            match name.as_str() {
                "changes" if !cell.is_empty() => {
                    assert_eq!(serde_json::from_str::<Value>(cell).unwrap(), record["changes"]);
                }
                _ => assert_eq!(plain(cell), shown, "{name}"),
            }
        }
    }
}

#[test]
fn the_audit_key_is_private_and_persistent_and_a_shutdown_signs_the_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut plane = TestPlane::start();
    let admin = plane.admin();
    let path = plane.state_dir().join("audit.key");
    let key = std::fs::read(&path).unwrap();
    assert_eq!(
        (key.len(), path.metadata().unwrap().permissions().mode() & 0o777),
        (32, 0o600)
    );
    plane.add_server(&admin, "los-angeles");
    plane.restart();
    assert_eq!(std::fs::read(&path).unwrap(), key);
    let outcome = plane.get("/api/audit/verify", &admin).expect(200);
    assert_eq!(
        (&outcome["ok"], &outcome["signed_until"]),
        (&json!(true), &json!(3)),
        "{outcome}"
    );
}
