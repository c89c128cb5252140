//! `wgctl audit`: the table, exported files, following and verification.

use serde_json::Value;

use crate::support::{Home, Plane, stderr, stdout};

#[test]
fn the_audit_log_is_shown_as_a_table_and_exported_unchanged() {
    let home = Home::new();
    let plane = Plane::new(&[
        (
            "GET /api/audit?limit=2&actor=ops%40example.com",
            200,
            r#"[{"id":7,"actor":"ops@example.com","action":"login_failed","target":"x\u001b[2J","ip":"192.0.2.1","created_at":"2026-05-06T12:00:00Z"}]"#,
        ),
        ("GET /api/audit/export", 200, "id,actor\r\n1,a\r\n"),
    ]);
    let output = home.run(
        &format!("audit --limit 2 --actor ops@example.com --plane {}", plane.url),
        "",
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("login_failed") && !stdout(&output).contains('\u{1b}'),
        "{}",
        stdout(&output)
    );
    let output = home.run(&format!("audit export -o log.csv --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        std::fs::read_to_string(home.0.join("log.csv")).unwrap(),
        "id,actor\r\n1,a\r\n"
    );
}

#[test]
fn verifying_the_audit_log_online_or_in_a_file_sets_the_exit_code() {
    let home = Home::new();
    let sound = r#"{"ok":true,"records":3,"first":1,"last":3,"head":"3:HASH","checkpoints":1,"signed_until":2,
        "public_key":"ed25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","pruned":null,"fault":null}"#
        .replace("HASH", &"ab".repeat(32));
    let fault = r#""ok":false,"fault":{"id":2,"reason":"it was changed"}"#;
    let broken = sound.replace(r#""ok":true,"#, "").replace(r#""fault":null"#, fault);
    let head = format!("3:{}", "ab".repeat(32));
    let escaped = head.replace(':', "%3A");
    let plane = Plane::new(&[
        ("GET /api/audit/verify", 200, &broken),
        (&format!("GET /api/audit/verify?head={escaped}"), 200, &sound),
        ("GET /api/audit/export?format=jsonl", 200, "{\"kind\":\"record\"}\n"),
    ]);
    let output = home.run(&format!("audit verify --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("record 2: it was changed"),
        "{}",
        stderr(&output)
    );
    let output = home.run(&format!("audit verify --expect-head {head} --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains(&format!("Head: {head}")),
        "{}",
        stdout(&output)
    );
    let output = home.run(
        &format!("audit export --format jsonl -o log.jsonl --plane {}", plane.url),
        "",
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // Verifying a file does not contact a plane.
    let output = home.run("audit verify --file log.jsonl --json --plane http://127.0.0.1:1", "");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let outcome: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&outcome["ok"], &outcome["fault"]["id"]),
        (&Value::from(false), &Value::from(1))
    );
    let output = home.run("audit verify --file log.jsonl", "");
    assert!(
        stderr(&output).contains("log.jsonl is not an export of the audit log"),
        "{}",
        stderr(&output)
    );
    let output = home.run("audit verify --file nowhere.jsonl", "");
    assert!(stderr(&output).contains("nowhere.jsonl"), "{}", stderr(&output));
}

#[test]
fn a_file_of_another_kind_is_distinguished_from_a_tampered_log() {
    let home = Home::new();
    let record = r#"{"kind":"record","id":1,"actor":"a","action":"logout","target":"a","ip":"","created_at":"2026-05-06T12:00:00Z","hash":"HASH"}"#;
    let record = record.replace("HASH", &"ab".repeat(32));
    let tampered = format!("{record}\n");
    let overwritten = format!("{}\n{record}\n", "\0".repeat(100_000));
    let files: [(&str, &[u8], i32, &str); 9] = [
        ("tampered.jsonl", tampered.as_bytes(), 1, "record 1: "),
        ("overwritten.jsonl", overwritten.as_bytes(), 1, "record 1: "),
        ("empty.jsonl", b"", 2, "is not an export"),
        ("image.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 2, "is not an export"),
        ("plane.backup", b"\x89SZBK\r\n\x1a\0\x01\0\0", 2, "is not an export"),
        ("wg0.conf", b"[Interface]\nListenPort = 51820\n", 2, "is not an export"),
        ("status.json", b"{\"server_id\": \"la\"}\n", 2, "is not an export"),
        ("answer.json", b"[\n  {\n    \"id\": 1\n  }\n]\n", 2, "is not an export"),
        ("names.csv", b"name,public_key\nalice,\n", 2, "is not an export"),
    ];
    for (name, content, code, said) in files {
        std::fs::write(home.0.join(name), content).unwrap();
        let output = home.run(&format!("audit verify --file {name}"), "");
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{name}: {text}");
        assert!(text.contains(said) && text.contains(name), "{name}: {text}");
    }
    let output = home.run("audit verify --file image.png --json", "");
    let failure: Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert_eq!(
        (failure["code"].as_str(), stdout(&output)),
        (Some("wrong_file"), String::new())
    );
}

#[test]
fn follow_prints_each_new_record_once_and_in_order_as_one_json_object_per_line() {
    use std::io::BufRead as _;
    let home = Home::new();
    let log = |ids: &[u64]| {
        let record = |id: &u64| {
            format!(
                r#"{{"id":{id},"actor":"a","action":"logout","target":"a","ip":"","created_at":"2026-05-06T12:00:00Z"}}"#
            )
        };
        format!("[{}]", ids.iter().map(record).collect::<Vec<_>>().join(","))
    };
    let plane = Plane::new(&[
        ("GET /api/audit?limit=10&action=logout", 200, &log(&[5, 2])),
        (
            "GET /api/audit?limit=1000&offset=0&action=logout",
            200,
            &log(&[9, 7, 5, 2]),
        ),
    ]);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_wgctl"))
        .args(["audit", "-f", "--action", "logout", "--json", "--plane", &plane.url])
        .env_clear()
        .env("HOME", &home.0)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let ids: Vec<u64> = lines
        .take(4)
        .map(|line| {
            serde_json::from_str::<Value>(&line.unwrap()).unwrap()["id"]
                .as_u64()
                .unwrap()
        })
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ids, [2, 5, 7, 9]);
}
