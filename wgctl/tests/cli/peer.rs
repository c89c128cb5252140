//! `wgctl peer`: its requests, its output and the files it writes.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::{Home, ID, Plane, peer, stderr, stdout};

#[test]
fn a_device_with_its_own_key_gets_an_incomplete_configuration_and_no_qr_code() {
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
            stderr(&output).contains("use `wgctl peer config la alice` and insert the device's own PrivateKey"),
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
        text.contains(
            "\nNext: run wgctl peer config la alice -o FILE, and insert the device's own PrivateKey into FILE"
        ),
        "{text}"
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
            "alice is enabled (applied by the host).\n",
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
fn a_configuration_is_saved_to_a_private_file_and_a_qr_code_is_drawn() {
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
fn expiry_and_other_options_reach_the_plane() {
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
fn pending_failed_and_expired_peers_are_marked_in_the_list() {
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
