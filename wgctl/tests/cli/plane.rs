//! The command against a plane of canned answers: what it asks, what it prints, what it keeps.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Home, Plane, problem, stderr, stdout};
use serde_json::Value;

pub(crate) const ID: &str = "5f0c2f0e-5b0e-4c43-8a53-1b7d0f6f6a11";

pub(crate) fn peer(name: &str) -> String {
    format!(
        r#"{{"id":"{ID}","name":"{name}","enabled":true,"address":"10.8.0.2","addresses":["10.8.0.2","fd00:8::2"],
        "publicKey":"pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk=","privateKeyHeld":true,"presharedKey":true,
        "latestHandshakeAt":null,"transferRx":2048,"transferTx":0,"allowedIPs":["0.0.0.0/0"],"serverAllowedIPs":[],
        "dns":[],"persistentKeepalive":25,"mtu":null,"expiresAt":null,"createdAt":"2026-05-06T12:00:00Z",
        "updatedAt":"2026-05-06T12:00:00Z","applied":true,"pendingSince":null,"failed":null}}"#
    )
}

pub(crate) fn server(extra: &str) -> String {
    format!(
        r#"{{"id":"la","endpoint":"vpn.example.com:51820","address_pool":["10.8.0.0/24"],"addresses":["10.8.0.1"],"dns":[],
        "allowed_ips":["0.0.0.0/0"],"mtu":null,"persistent_keepalive":25,"interface":"wg0","listen_port":51820,
        "masquerade":false,"ping_target":null,"public_key":null,"peers":0,"created_at":"2026-05-06T12:00:00Z",
        "updated_at":"2026-05-06T12:00:00Z","desired_revision":1,"applied_revision":null,"failed":null{extra}}}"#
    )
}

#[test]
fn a_login_is_kept_privately_used_and_forgotten() {
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
fn a_pin_is_not_ignored_where_there_is_no_key() {
    let home = Home::new();
    let pin = format!("sha256:{}", "0".repeat(64));
    let output = home.run(&format!("--plane http://127.0.0.1:1 --pin {pin} server list"), "");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("shows no key"), "{}", stderr(&output));
    let output = home.run("--plane https://127.0.0.1:1 --pin sha256:1 server list", "");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("64 hexadecimal digits"), "{}", stderr(&output));
}

#[test]
fn a_login_that_others_can_read_is_not_used() {
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
fn a_refusal_is_the_planes_own_words_and_code() {
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
fn a_refused_field_is_named_once_and_in_json_the_problem_is_whole() {
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
fn what_the_plane_says_to_callers_of_the_api_is_told_as_commands_and_options() {
    let home = Home::new();
    let offline = problem(
        503,
        "agent_offline",
        r#"start it, or give a publicKey and \"presharedKey\": false"#,
    );
    let ended = problem(
        401,
        "unauthorized",
        "not valid (any more): log in again at POST /api/login",
    );
    let plane = Plane::new(&[
        ("POST /api/wg-clients/la", 503, &offline),
        ("GET /api/statuses", 401, &ended),
    ]);
    for (words, expected) in [
        (
            "peer add la alice",
            "wgctl: start it, or give --public-key and --no-psk (agent_offline)\n",
        ),
        (
            "status",
            "wgctl: not valid (any more): log in again with `wgctl login URL` (unauthorized)\n",
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
fn what_is_not_there_has_one_code_whoever_looked() {
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

#[test]
fn nothing_is_removed_unasked() {
    let home = Home::new();
    let plane = Plane::new(&[("DELETE /api/servers/la", 200, "{}")]);
    let output = home.run(&format!("server remove la --plane {}", plane.url), "y\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(plane.seen().is_empty());
    let output = home.run(&format!("server remove la --yes --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_server_that_reports_a_failure_is_failing_and_says_why() {
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
fn a_device_with_its_own_key_gets_a_configuration_to_complete_and_no_code() {
    let home = Home::new();
    let one = peer("alice").replace(r#""privateKeyHeld":true"#, r#""privateKeyHeld":false"#);
    let list = format!("[{one}]");
    let refused = one.replace(
        r#""applied":true,"pendingSince":null,"failed":null"#,
        r#""applied":false,"pendingSince":null,"failed":"no such device""#,
    );
    let text = format!("GET /api/wg-clients/la/{ID}/configuration");
    let plane = Plane::new(&[
        ("GET /api/wg-clients/la", 200, &list),
        ("POST /api/wg-clients/la", 201, &refused),
        (&text, 200, "[Interface]\n"),
    ]);
    for words in ["peer qr la alice", "peer qr la alice --svg"] {
        let output = home.run(&format!("{words} --plane {}", plane.url), "");
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
        assert!(
            stderr(&output).contains("use `wgctl peer config la alice` and put the device's own PrivateKey in"),
            "{}",
            stderr(&output)
        );
    }
    let output = home.run(&format!("peer config la alice --plane {}", plane.url), "");
    assert_eq!(stdout(&output), "[Interface]\n");
    let key = "pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk=";
    let words = format!("peer add la alice --public-key {key} --plane {}", plane.url);
    let text = stdout(&home.run(&words, ""));
    assert!(
        text.contains("(recorded, but the host refuses it: no such device)"),
        "{text}"
    );
    assert!(
        text.contains("\nNext: wgctl peer config la alice -o FILE (the device needs the preshared key"),
        "{text}"
    );
}

#[test]
fn the_environment_names_plane_and_token() {
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
fn a_new_server_comes_with_its_token_and_the_next_command() {
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
fn a_pool_that_is_written_as_an_address_is_told_as_the_network_it_became() {
    let home = Home::new();
    let plane = Plane::new(&[("POST /api/servers", 201, &server(r#","agent_token":"szagent_x""#))]);
    let words = "server add la --endpoint vpn:1 --pool";
    for (pool, said) in [
        (
            "10.7.0.5/24",
            "wgctl: 10.7.0.5/24 is an address in a network: the pool is 10.7.0.0/24\n",
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
fn an_adoption_is_asked_for_with_a_word_and_taken_back_with_another() {
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
        assert!(text.contains("awaited: enroll the host"), "{text}");
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
fn a_peer_is_found_by_its_name_or_its_id() {
    let home = Home::new();
    let (list, one) = (format!("[{}]", peer("alice")), peer("alice"));
    let path = format!("/api/wg-clients/la/{ID}");
    let (get, enable) = (format!("GET {path}"), format!("POST {path}/enable"));
    let plane = Plane::new(&[
        ("GET /api/wg-clients/la", 200, &list),
        (&get, 200, &one),
        (&enable, 200, &one),
    ]);
    for word in ["alice", ID] {
        let output = home.run(&format!("peer enable la {word} --plane {}", plane.url), "");
        assert_eq!(
            stdout(&output),
            "alice is enabled (the host has applied it).\n",
            "{}",
            stderr(&output)
        );
    }
    let output = home.run(&format!("peer enable la bob --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("wgctl peer list la"), "{}", stderr(&output));
    let table = stdout(&home.run(&format!("peer list la --plane {}", plane.url), ""));
    assert!(
        table.starts_with("NAME ") && table.contains("alice  10.8.0.2, fd00:8::2  enabled"),
        "{table}"
    );
}

#[test]
fn a_configuration_goes_into_a_private_file_and_a_code_into_the_terminal() {
    let home = Home::new();
    let (list, path) = (format!("[{}]", peer("alice")), format!("/api/wg-clients/la/{ID}"));
    let (text, svg) = (format!("GET {path}/configuration"), format!("GET {path}/qrcode"));
    let plane = Plane::new(&[
        ("GET /api/wg-clients/la", 200, &list),
        (&text, 200, "[Interface]\n"),
        (&svg, 200, "<svg/>"),
    ]);
    let output = home.run(&format!("peer config la alice -o wg.conf --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = home.0.join("wg.conf");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "[Interface]\n");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        stdout(&home.run(&format!("peer config la alice --plane {}", plane.url), "")),
        "[Interface]\n"
    );
    let code = stdout(&home.run(&format!("peer qr la alice --plane {}", plane.url), ""));
    assert!(
        code.lines().count() > 10 && code.contains('▀') && !code.contains('\u{1b}'),
        "{code}"
    );
    assert_eq!(
        stdout(&home.run(&format!("peer qr la alice --svg --plane {}", plane.url), "")),
        "<svg/>"
    );
}

#[test]
fn expiry_and_switches_reach_the_plane() {
    let home = Home::new();
    let one = peer("alice");
    let (list, patch) = (format!("[{one}]"), format!("PATCH /api/wg-clients/la/{ID}"));
    let plane = Plane::new(&[
        ("POST /api/wg-clients/la", 201, &one),
        ("GET /api/wg-clients/la", 200, &list),
        (&patch, 200, &one),
    ]);
    for words in [
        "peer add la alice --expires 2999-01-01T00:00:00Z --no-psk --allowed-ips 10.0.0.0/8,10.9.0.1 --keepalive 0",
        "peer set la alice --expires never --mtu default --dns none",
        "peer rename la alice bob",
    ] {
        let output = home.run(&format!("{words} --plane {}", plane.url), "");
        assert_eq!(output.status.code(), Some(0), "{words}: {}", stderr(&output));
    }
    let bodies: Vec<Value> = plane
        .seen()
        .iter()
        .filter_map(|request| serde_json::from_str(&request.body).ok())
        .collect();
    assert_eq!(
        bodies,
        [
            serde_json::json!({"name": "alice", "expiresAt": "2999-01-01T00:00:00Z", "presharedKey": false,
                "allowedIPs": ["10.0.0.0/8", "10.9.0.1/32"], "persistentKeepalive": 0}),
            serde_json::json!({"expiresAt": null, "mtu": null, "dns": []}),
            serde_json::json!({"name": "bob"}),
        ]
    );
}

#[test]
fn the_audit_log_is_a_table_or_the_planes_own_file() {
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
fn the_audit_log_is_verified_online_or_in_a_file_and_the_exit_code_says_it() {
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
    // No plane is asked for a file.
    let output = home.run("audit verify --file log.jsonl --json --plane http://127.0.0.1:1", "");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let outcome: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&outcome["ok"], &outcome["fault"]["id"]),
        (&Value::from(false), &Value::from(1))
    );
    let output = home.run("audit verify --file log.jsonl", "");
    assert!(
        stderr(&output).contains("log.jsonl is no export of the audit log"),
        "{}",
        stderr(&output)
    );
    let output = home.run("audit verify --file nowhere.jsonl", "");
    assert!(stderr(&output).contains("nowhere.jsonl"), "{}", stderr(&output));
}

#[test]
fn new_records_are_followed_one_object_a_line_each_once_and_in_their_order() {
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

#[test]
fn what_waits_failed_or_expired_is_seen_in_the_list() {
    let home = Home::new();
    let with = |name: &str, from: &str, to: &str| {
        let text = peer(name);
        assert!(text.contains(from));
        text.replace(from, to)
    };
    let applied = r#""applied":true,"pendingSince":null,"failed":null"#;
    let waiting = r#""applied":false,"pendingSince":"2026-05-06T12:00:00Z","failed":null"#;
    let peers = [
        with("waits", applied, waiting).replace(r#""enabled":true"#, r#""enabled":false"#),
        with(
            "refused",
            applied,
            &waiting.replace("\"failed\":null", "\"failed\":\"no\\nspace\""),
        ),
        with(
            "over",
            r#""expiresAt":null"#,
            r#""expiresAt":"2026-05-06T12:00:00Z","expired":true"#,
        ),
    ];
    let list = format!("[{}]", peers.join(","));
    let plane = Plane::new(&[("GET /api/wg-clients/la", 200, &list)]);
    let text = stdout(&home.run(&format!("peer list la --plane {}", plane.url), ""));
    let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(row("waits").contains("disabled, pending for "), "{text}");
    assert!(row("refused").contains("failed"), "{text}");
    assert!(text.ends_with("\nrefused: no\\u{a}space\n"), "{text}");
    assert!(row("over").contains("  expired  "), "{text}");
    let shown = stdout(&home.run(&format!("peer show la waits --plane {}", plane.url), ""));
    assert!(
        shown.contains("pending since") && shown.contains("2026-05-06T12:00:00Z"),
        "{shown}"
    );
}

#[test]
fn what_drifted_is_seen_in_the_status_and_on_the_server() {
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
fn keys_rotate_and_an_agents_token_with_a_grace() {
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
                .contains("as soon as the agent runs with the new one, at the latest at 2026-05-06T13:00:00Z"),
        "{}",
        stderr(&output)
    );
    assert_eq!(plane.seen()[1].body, r#"{"grace_seconds":3600}"#);
    assert_eq!(run("server token la --grace soon").status.code(), Some(2));
    let output = run("user set nobody@example.com --role viewer");
    assert!(stderr(&output).contains("wgctl user list"), "{}", stderr(&output));
}
