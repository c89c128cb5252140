//! Malicious names, emails and failure reasons. They are refused, or appear in lists, file names, QR codes, the audit
//! log and its export exactly as they were entered.

use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use wgctl::PrivateKey;

use crate::support::agent::FakeAgent;
use crate::support::client::{Answer, request};
use crate::support::plane::TestPlane;

const CLIENTS: &str = "/api/wg-clients/los-angeles";

/// The number of generated names, which are tried in addition to the lists below.
const MADE_UP: usize = 80;

/// Names that are accepted although some programs could misinterpret them.
const TAKEN: &[&str] = &[
    "[Peer]",
    "PostUp = touch /tmp/owned",
    "# PostUp=id",
    "=HYPERLINK(\"https://evil.example\",\"a\")",
    "'=1+1",
    "@SUM(1)",
    "＝1＋1",
    "+1",
    "-rf",
    "\"quoted\", and 'quoted'",
    "a\\b/c/../../etc/passwd",
    "x\";filename=\"evil.exe",
    "%0d%0aSet-Cookie: a=b",
    "<script>alert(1)</script>",
    "]]><!--&amp;",
    "$(reboot)`id`;|&",
    "Zoë 日本 👩\u{200d}💻",
    ".",
    "..",
];

/// Names that are refused. They contain control, bidirectional or invisible characters, begin or end with a space, or
/// are empty.
const REFUSED: &[&str] = &[
    "a\nPostUp = touch /tmp/owned",
    "a\rb",
    "a\0b",
    "a\tb",
    "\u{1b}[2Ja",
    "a\u{85}b",
    "a\u{2028}PostUp = x",
    "a\u{2029}b",
    "a\u{202e}b",
    "a\u{2066}b",
    "a\u{61c}b",
    "a\u{200b}b",
    "\u{feff}a",
    " a",
    "a ",
    "",
];

fn made_up() -> Vec<String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        "[ -~]{0,8}",
        "\\PC{0,4}",
        "[\\x00-\\x1f]"
    ];
    let name = prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat());
    let mut runner = TestRunner::deterministic();
    let mut next = || name.new_tree(&mut runner).expect("a name").current();
    (0..MADE_UP).map(|_| next()).collect()
}

fn create(plane: &TestPlane, admin: &str, name: &str) -> Answer {
    plane.post(CLIENTS, admin, &json!({"name": name}))
}

/// Returns the two file names in a `Content-Disposition` header (RFC 6266), which must have exactly these parameters.
fn file_names(disposition: &str) -> (String, String) {
    assert!(
        disposition.bytes().all(|byte| matches!(byte, 0x20..=0x7e)),
        "{disposition:?}"
    );
    let rest = disposition.strip_prefix("attachment; filename=\"").unwrap();
    let (plain, encoded) = rest.split_once("\"; filename*=UTF-8''").unwrap();
    // Only attr-char of RFC 5987 and percent escapes are permitted.
    assert!(
        encoded
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~%".contains(&byte))
    );
    let mut bytes = Vec::new();
    let mut rest = encoded;
    while let Some(first) = rest.chars().next() {
        let escaped = first == '%';
        let (part, after) = rest.split_at(if escaped { 3 } else { 1 });
        bytes.push(if escaped {
            u8::from_str_radix(&part[1..], 16).unwrap()
        } else {
            part.as_bytes()[0]
        });
        rest = after;
    }
    (plain.to_owned(), String::from_utf8(bytes).unwrap())
}

#[test]
fn cve_2026_72603_a_name_is_returned_exactly_or_refused() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let _agent = FakeAgent::start(plane.address, &plane.add_server(&admin, "los-angeles"));
    for name in REFUSED {
        let refused = create(&plane, &admin, name);
        assert_eq!(refused.problem(422, "invalid_field")["field"], "name", "{name:?}");
    }
    let made_up = made_up();
    let mut taken = 0;
    for name in TAKEN.iter().copied().chain(made_up.iter().map(String::as_str)) {
        let answer = create(&plane, &admin, name);
        if answer.status != 201 {
            assert_eq!(answer.problem(422, "invalid_field")["field"], "name", "{name:?}");
            assert!(!TAKEN.contains(&name), "{name:?} is refused");
            continue;
        }
        taken += 1;
        let client = answer.json();
        assert_eq!(client["name"], name);
        let path = format!("{CLIENTS}/{}", client["id"].as_str().unwrap());
        assert_eq!(plane.get(&path, &admin).expect(200)["name"], name);
        let file = plane.get(&format!("{path}/configuration"), &admin);
        let lines: Vec<&str> = file.text().split('\n').collect();
        assert_eq!((lines[0], lines[1]), (format!("# {name}").as_str(), "[Interface]"));
        let (plain, whole) = file_names(file.header("content-disposition").unwrap());
        assert_eq!(whole, format!("{}.conf", name.replace(['/', '\\'], "-")), "{name:?}");
        let stem = plain.strip_suffix(".conf").unwrap();
        assert!(
            (1..=15).contains(&stem.len()) && !stem.starts_with(['-', '.']),
            "{plain:?}"
        );
        assert!(
            stem.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)),
            "{plain:?}"
        );
        let log = plane.get("/api/audit?limit=1", &admin).expect(200);
        assert_eq!(log[0]["target"], format!("los-angeles/{name}"));
    }
    assert!(taken > TAKEN.len(), "no generated name was accepted");
    exported_as_recorded(&plane, &admin);
}

/// Checks that every row of the export matches the record with its number, and that no cell is a formula.
fn exported_as_recorded(plane: &TestPlane, admin: &str) {
    let export = plane.get("/api/audit/export", admin);
    let mut reader = csv::Reader::from_reader(export.body.as_slice());
    let columns = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(
            row[0].parse::<usize>().unwrap(),
            at + 1,
            "the export must have one row per record"
        );
        for (column, cell) in columns.iter().zip(row) {
            let formula = |c: char| "=+-@\t\r\n＝＋－＠".contains(c);
            assert!(!cell.starts_with(formula), "{column} of {}: {cell:?}", at + 1);
        }
    }
    let column = |wanted: &str| columns.iter().position(|name| name == wanted).unwrap();
    let (actor, target) = (column("actor"), column("target"));
    for page in 0.. {
        let log = plane
            .get(&format!("/api/audit?limit=1000&offset={}", page * 1000), admin)
            .expect(200);
        let records = log.as_array().unwrap();
        if records.is_empty() {
            break;
        }
        for record in records {
            let row = &rows[usize::try_from(record["id"].as_u64().unwrap()).unwrap() - 1];
            for (at, field) in [(actor, "actor"), (target, "target")] {
                let cell = &row[at];
                assert_eq!(record[field], cell.strip_prefix('\'').unwrap_or(cell), "{record}");
            }
        }
    }
}

#[test]
fn text_from_an_unauthenticated_caller_becomes_one_record_of_plain_text() {
    let plane = TestPlane::start();
    let emails = [
        "ops@example.com\n2026-01-01,admin,user_created",
        "a\r\nb@example.com",
        "\u{1b}[2J\u{1b}]0;x\u{7}@example.com",
        "ops@example.com\u{2028}root",
        "ops\u{202e}moc.elpmaxe@",
        "=cmd|'/c calc'!A0",
        "\"a\",\"b\"@example.com",
        "\0@example.com",
    ];
    for email in emails {
        let body = json!({"email": email, "password": "not the right one"});
        let answer = request("POST", "/api/login").json(&body).send(plane.address);
        answer.problem(401, "invalid_credentials");
    }
    let admin = plane.admin();
    let log = plane.get("/api/audit?action=login_failed", &admin).expect(200);
    let records = log.as_array().unwrap();
    assert_eq!(records.len(), emails.len());
    for (record, typed) in records.iter().rev().zip(emails) {
        let shown = record["target"].as_str().unwrap();
        let hidden = |c: char| c.is_control() || "\u{2028}\u{2029}\u{202e}".contains(c);
        assert!(!shown.contains(hidden), "{shown:?}");
        assert_eq!(
            shown,
            typed.replace(hidden, ""),
            "only unprintable characters may be removed"
        );
    }
    exported_as_recorded(&plane, &admin);
}

/// The text that an agent sends is shown to users, and an attacker may control the agent's host.
#[test]
fn text_from_an_agent_is_shown_as_one_line_of_plain_text() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    let first = plane.get("/api/agent/desired", &token).expect(200);
    let told = "no\nsuch \u{1b}[31mdevice\u{2028}\u{202e}!\0".repeat(100);
    let applied = json!({"incarnation": first["incarnation"], "revision": first["revision"], "interface_failed": told});
    plane.post("/api/agent/applied", &token, &applied).expect(204);
    let server = plane.get("/api/servers/los-angeles", &admin).expect(200);
    let shown = server["failed"].as_str().unwrap();
    assert!(shown.starts_with("no such  [31mdevice"), "{shown:?}");
    assert!(
        shown.chars().count() <= 300 && !shown.contains(|c: char| c.is_control() || "\u{2028}\u{202e}".contains(c))
    );
}

/// CVE-2022-23650 and others: the plane draws the QR code itself, so that no third party sees it. The
/// code holds the configuration byte for byte, whatever the client's name.
#[test]
fn a_qr_code_contains_no_text_and_scans_as_the_configuration() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let _agent = FakeAgent::start(plane.address, &plane.add_server(&admin, "los-angeles"));
    for name in TAKEN {
        let client = create(&plane, &admin, name).expect(201);
        let path = format!("{CLIENTS}/{}", client["id"].as_str().unwrap());
        let code = plane.get(&format!("{path}/qrcode"), &admin);
        let svg = code.text();
        let drawn = |c: char| c.is_ascii_alphanumeric() || " \n<>=\"/.:?#-".contains(c);
        assert!(svg.chars().all(drawn), "{svg}");
        let elements: Vec<&str> = svg
            .split('<')
            .skip(1)
            .map(|rest| rest.split([' ', '>']).next().unwrap())
            .collect();
        assert_eq!(elements, ["?xml", "svg", "path", "path", "/svg"]);
        let text = plane.get(&format!("{path}/configuration"), &admin);
        assert_eq!(scanned(&plane, svg), text.text(), "{name:?}");
    }
}

/// Returns the text of the QR code. One program renders the SVG, and another scans the image as a phone would.
fn scanned(plane: &TestPlane, svg: &str) -> String {
    let (from, to) = (plane.dir.path().join("code.svg"), plane.dir.path().join("code.png"));
    std::fs::write(&from, svg).unwrap();
    let drawn = Command::new("rsvg-convert")
        .args(["--width", "800", "--output"])
        .args([&to, &from])
        .status();
    assert!(drawn.expect("rsvg-convert, which tests/tools installs").success());
    let read = Command::new("zbarimg")
        .args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"])
        .arg(&to)
        .output();
    let read = read.expect("zbarimg, which tests/tools installs");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let text = String::from_utf8(read.stdout).unwrap();
    // zbarimg appends a line feed to its output.
    text.strip_suffix('\n').unwrap().to_owned()
}

/// The kernel treats an all-zero key as "no key". A key of low order yields the same shared secret with
/// every peer. A key that is already in use belongs to another peer or host.
#[test]
fn keys_that_could_never_work_are_refused() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let agent = FakeAgent::start(plane.address, &plane.add_server(&admin, "los-angeles"));
    let with_key = |name: &str, key: &str| {
        let body = json!({"name": name, "publicKey": key, "presharedKey": false});
        plane.post(CLIENTS, &admin, &body)
    };
    let own = PrivateKey::generate().unwrap().public_key().to_string();
    with_key("alice", &own).expect(201);
    let mut cut = own.clone();
    cut.truncate(43);
    for (key, status, code) in [
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 422, "invalid_field"),
        ("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 422, "invalid_field"),
        ("7f///////////////////////////////////////38=", 422, "invalid_field"),
        ("X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=", 422, "invalid_field"),
        (&cut, 422, "invalid_field"),
        ("not a key", 422, "invalid_field"),
        (&own, 409, "public_key_taken"),
        (&agent.public_key, 409, "public_key_taken"),
    ] {
        assert_eq!(
            with_key("bob", key).problem(status, code)["field"],
            "publicKey",
            "{key}"
        );
    }
    // A host cannot use the key of one of its clients either.
    let hello = json!({"version": 1, "agent_version": "0.0.0", "public_key": own});
    let token = plane.add_server(&admin, "tokyo");
    let tokyo = json!({"name": "alice", "publicKey": own, "presharedKey": false});
    plane.post("/api/wg-clients/tokyo", &admin, &tokyo).expect(201);
    plane
        .post("/api/agent/hello", &token, &hello)
        .problem(409, "public_key_taken");
    let listed: Value = plane.get(CLIENTS, &admin).expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
}
