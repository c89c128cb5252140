//! Backup and restore: a backup is a consistent snapshot, is restored completely or not at all, and revives no ended
//! session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wgctl::PrivateKey;
use wgctl::backup::{Item, MEDIA_TYPE, Reader, Summary, Writer, summary};
use wgctl::protocol::path;

use crate::support::agent::FakeAgent;
use crate::support::client::{Answer, request};
use crate::support::plane::{PASSWORD, TestPlane, until};

const CLIENTS: &str = "/api/wg-clients/los-angeles";
const WRITERS: usize = 16;

fn back_up(plane: &TestPlane) -> Vec<u8> {
    let answer = request("GET", "/api/backup").send_local(&plane.socket());
    assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
    answer.body
}

fn try_restore(plane: &TestPlane, backup: &[u8]) -> Answer {
    let request = request("POST", "/api/restore").header("Content-Type", MEDIA_TYPE);
    request.body(backup).send_local(&plane.socket())
}

fn restore(plane: &TestPlane, backup: &[u8]) -> Summary {
    serde_json::from_value(try_restore(plane, backup).expect(200)).unwrap()
}

fn local(plane: &TestPlane, path: &str) -> Value {
    request("GET", path).send_local(&plane.socket()).expect(200)
}

/// Returns the servers, peers, users and history as the API lists them.
fn lists(plane: &TestPlane) -> Value {
    let servers = local(plane, "/api/servers");
    let clients: BTreeMap<_, _> = servers
        .as_array()
        .unwrap()
        .iter()
        .map(|server| server["id"].as_str().unwrap().to_owned())
        .map(|id| (id.clone(), local(plane, &format!("/api/wg-clients/{id}"))))
        .collect();
    json!({
        "servers": servers,
        "clients": clients,
        "users": local(plane, "/api/users"),
        "history": local(plane, "/api/history"),
    })
}

fn audit(plane: &TestPlane) -> Vec<Value> {
    let exported = local(plane, "/api/audit?limit=1000");
    exported.as_array().unwrap().clone()
}

fn new_peer(name: &str) -> Value {
    let key = PrivateKey::generate().unwrap().public_key().to_string();
    json!({"name": name, "publicKey": key, "presharedKey": false})
}

/// Returns the backup with one record of its audit log altered, and with a correct checksum.
fn forged(backup: &[u8], number: u64) -> Vec<u8> {
    let mut reader = Reader::begin(backup).unwrap();
    let mut writer = Writer::begin(Vec::new(), reader.header()).unwrap();
    let mut table = String::new();
    while let Some(item) = reader.item().unwrap() {
        match item {
            Item::Table(name) => {
                name.clone_into(&mut table);
                writer.table(name).unwrap();
            }
            Item::Row { key, value } if table == "audit" && key == number.to_be_bytes() => {
                let mut record: Value = serde_json::from_slice(value).unwrap();
                record["actor"] = json!("local:nobody");
                writer.row(key, record.to_string().as_bytes()).unwrap();
            }
            Item::Row { key, value } => writer.row(key, value).unwrap(),
        }
    }
    writer.end().unwrap()
}

#[test]
fn a_tampered_log_is_restored_with_the_rest_and_reported_permanently() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_server(&admin, "los-angeles");
    let backup = back_up(&plane);
    assert_eq!(restore(&plane, &backup).audit_fault, None);
    let fault = restore(&plane, &forged(&backup, 2)).audit_fault.unwrap();
    assert_eq!(fault.id, 2);
    let told = local(&plane, "/api/audit?action=database_restored");
    let detail = told[0]["detail"].as_str().unwrap();
    assert!(detail.contains("its log has been altered: record 2"), "{detail}");
    let verified = local(&plane, "/api/audit/verify");
    assert_eq!((&verified["ok"], &verified["fault"]["id"]), (&json!(false), &json!(2)));
    assert_eq!(local(&plane, "/api/servers")[0]["id"], "los-angeles");
}

#[test]
fn a_backup_is_private_complete_and_contains_its_own_audit_record() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_server(&admin, "los-angeles");
    plane.post(CLIENTS, &admin, &new_peer("alice")).expect(201);
    let answer = plane.get("/api/backup", &admin);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some(MEDIA_TYPE));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let disposition = answer.header("content-disposition").unwrap();
    assert!(
        disposition.starts_with("attachment; filename=\"sentrazone-"),
        "{disposition}"
    );
    assert_eq!(
        answer.header("content-length"),
        Some(answer.body.len().to_string().as_str())
    );
    let found = summary(answer.body.as_slice()).unwrap();
    assert_eq!((found.servers, found.peers, found.users), (1, 1, 1));
    assert_eq!(audit(&plane)[0]["action"], "backup_created");
    assert_eq!(audit(&plane)[0]["actor"], "ops@example.com");
    let holds = |text: &str| answer.body.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("backup_created") && !holds(PASSWORD));
    let files = std::fs::read_dir(plane.state_dir()).unwrap();
    let names: BTreeSet<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(
        names,
        BTreeSet::from([
            "audit.key".into(),
            "jwt.key".into(),
            "plane.redb".into(),
            "session.keys".into()
        ]),
        "no copy of the backup is left behind"
    );
    for file in ["jwt.key", "audit.key"] {
        let key = std::fs::read(plane.state_dir().join(file)).unwrap();
        assert!(
            !answer.body.windows(32).any(|window| window == key),
            "the backup must not contain {file}"
        );
    }
    let keys: Value = serde_json::from_slice(&std::fs::read(plane.state_dir().join("session.keys")).unwrap()).unwrap();
    assert!(
        !holds(keys[0]["secret"].as_str().unwrap()),
        "the backup must not contain the signing key"
    );
}

#[test]
fn another_plane_restored_from_a_backup_lists_the_same() {
    let first = TestPlane::start();
    let admin = first.admin();
    first.add_user("viewer@example.com", "viewer");
    for server in ["los-angeles", "tokyo"] {
        first.add_server(&admin, server);
        for n in 0..20 {
            first
                .post(
                    &format!("/api/wg-clients/{server}"),
                    &admin,
                    &new_peer(&format!("peer-{n}")),
                )
                .expect(201);
        }
    }
    let one = first.get(CLIENTS, &admin).expect(200)[3]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    request("POST", &format!("{CLIENTS}/{one}/disable"))
        .token(&admin)
        .send(first.address)
        .expect(200);
    let backup = back_up(&first);
    let before = (lists(&first), audit(&first));

    let mut second = TestPlane::start();
    let known_there = second.admin();
    second.add_server(&known_there, "gone");
    let restored = restore(&second, &backup);
    assert_eq!((restored.servers, restored.peers, restored.users), (2, 40, 2));
    assert_eq!(lists(&second), before.0, "the lists must not differ");
    let log = audit(&second);
    assert_eq!(
        log[1..],
        before.1,
        "the log must be the one from the backup, followed by the restore"
    );
    assert_eq!(log[0]["action"], "database_restored");
    second.get("/api/servers", &known_there).problem(401, "unauthorized");
    second.get("/api/servers", &admin).problem(401, "unauthorized");
    second.login("ops@example.com");
    // Free and assigned addresses are the same as before.
    let made = request("POST", CLIENTS)
        .json(&new_peer("next"))
        .send_local(&second.socket())
        .expect(201);
    assert_eq!(made["address"], "10.8.0.22");
    second.restart();
    assert_eq!(local(&second, CLIENTS).as_array().unwrap().len(), 21);
}

#[test]
fn a_backup_taken_while_16_writers_write_is_a_consistent_snapshot() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    for server in ["los-angeles", "tokyo"] {
        let body = json!({"id": server, "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/16"]});
        plane.post("/api/servers", &admin, &body).expect(201);
    }
    let stop = AtomicBool::new(false);
    // The number of requests that each writer has started, and the number that have been acknowledged.
    let begun: Vec<_> = (0..WRITERS).map(|_| AtomicUsize::new(0)).collect();
    let acknowledged: Vec<_> = (0..WRITERS).map(|_| AtomicUsize::new(0)).collect();
    let counts = |of: &[AtomicUsize]| of.iter().map(|count| count.load(Ordering::SeqCst)).collect::<Vec<_>>();
    let (plane, admin, stop) = (&plane, &admin, &stop);
    let backups = std::thread::scope(|scope| {
        for (writer, (begun, acknowledged)) in begun.iter().zip(&acknowledged).enumerate() {
            scope.spawn(move || {
                let path = format!("/api/wg-clients/{}", ["los-angeles", "tokyo"][writer % 2]);
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    begun.store(n + 1, Ordering::SeqCst);
                    plane
                        .post(&path, admin, &new_peer(&format!("w{writer}-{n}")))
                        .expect(201);
                    acknowledged.store(n + 1, Ordering::SeqCst);
                }
            });
        }
        let mut backups = Vec::new();
        for round in 1..=4 {
            until("the writers to make progress", || {
                counts(&acknowledged)
                    .iter()
                    .all(|count| *count >= round * 5)
                    .then_some(())
            });
            let least = counts(&acknowledged);
            let backup = back_up(plane);
            backups.push((least, backup, counts(&begun)));
        }
        stop.store(true, Ordering::SeqCst);
        backups
    });

    for (least, backup, most) in backups {
        let other = TestPlane::start();
        restore(&other, &backup);
        let names: BTreeSet<String> = ["los-angeles", "tokyo"]
            .iter()
            .flat_map(|server| {
                local(&other, &format!("/api/wg-clients/{server}"))
                    .as_array()
                    .unwrap()
                    .clone()
            })
            .map(|client| client["name"].as_str().unwrap().to_owned())
            .collect();
        for writer in 0..WRITERS {
            let prefix = format!("w{writer}-");
            let has = names.iter().filter(|name| name.starts_with(&prefix)).count();
            assert!(
                (least[writer]..=most[writer]).contains(&has),
                "{} <= {has} <= {}",
                least[writer],
                most[writer]
            );
            assert!(
                (0..has).all(|n| names.contains(&format!("{prefix}{n}"))),
                "the backup must hold the first {has} peers without gaps"
            );
        }
        consistent(&other, &names);
    }
    println!("fault: backup under {WRITERS} writers | runs 4 | lost 0 | 0 differences between tables");
}

/// Checks that the audit log, peers, revisions and addresses agree.
fn consistent(plane: &TestPlane, names: &BTreeSet<String>) {
    let log = request("GET", "/api/audit/export").send_local(&plane.socket());
    let made: BTreeSet<String> = log
        .text()
        .lines()
        .filter(|line| line.contains(",wg_client_created,"))
        .map(|line| line.split(',').nth(3).unwrap().split('/').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(&made, names, "peers and audit records must match one to one");
    let statuses = local(plane, "/api/statuses");
    for status in statuses.as_array().unwrap() {
        let server = status["server_id"].as_str().unwrap();
        let clients = local(plane, &format!("/api/wg-clients/{server}"));
        let clients = clients.as_array().unwrap();
        assert_eq!(status["desired_revision"], clients.len() + 1, "{status}");
        let addresses: BTreeSet<_> = clients.iter().map(|client| client["address"].to_string()).collect();
        assert_eq!(addresses.len(), clients.len(), "no address is assigned twice");
        let path = format!("/api/wg-clients/{server}");
        let next = request("POST", &path)
            .json(&new_peer("next"))
            .send_local(&plane.socket())
            .expect(201);
        assert!(
            !addresses.contains(&next["address"].to_string()),
            "the next address must be free"
        );
    }
}

#[test]
fn a_damaged_or_incomplete_backup_changes_nothing() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_server(&admin, "los-angeles");
    let backup = back_up(&plane);
    plane.post(CLIENTS, &admin, &new_peer("alice")).expect(201);
    let before = (lists(&plane), audit(&plane).len());
    let mut refused = 0;
    for at in (0..backup.len()).step_by(backup.len() / 64) {
        let mut flipped = backup.clone();
        flipped[at] ^= 0x10;
        try_restore(&plane, &flipped).problem(422, "invalid_backup");
        try_restore(&plane, &backup[..at]).problem(422, "invalid_backup");
        refused += 2;
    }
    let mut longer = backup.clone();
    longer.push(0);
    try_restore(&plane, &longer).problem(422, "invalid_backup");
    request("POST", "/api/restore")
        .json(&json!({}))
        .send_local(&plane.socket())
        .problem(415, "unsupported_media_type");
    // An upload that is cut off.
    let announced = request("POST", "/api/restore")
        .header("Content-Type", MEDIA_TYPE)
        .header("Content-Length", &backup.len().to_string());
    let cut = announced.token(&admin).send_and_close(plane.address, &backup[..100]);
    assert!(cut.is_none_or(|answer| answer.status == 400));
    assert_eq!((lists(&plane), audit(&plane).len()), before);
    plane.get("/api/servers", &admin).expect(200);
    println!("fault: damaged backup | runs {refused} | lost 0 | all refused");
}

#[test]
fn nothing_that_has_ended_since_the_backup_is_revived() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let agent = FakeAgent::start(plane.address, &plane.add_server(&admin, "los-angeles"));
    until("a peer to be created with a key from the stock", || {
        (plane.post(CLIENTS, &admin, &json!({"name": "kept"})).status == 201).then_some(())
    });
    let backup = back_up(&plane);
    // Log out and in again: the backup does not contain these session epochs.
    assert_eq!(plane.post("/api/logout", &admin, &json!({})).status, 204);
    let later = plane.login("ops@example.com");
    let made = plane.post(CLIENTS, &later, &json!({"name": "later"})).expect(201);
    for _ in 0..2 {
        restore(&plane, &backup);
        for token in [&admin, &later] {
            plane.get("/api/servers", token).problem(401, "unauthorized");
        }
        // This logout must not produce an epoch that a session from after the backup already has.
        let fresh = plane.login("ops@example.com");
        assert_eq!(plane.post("/api/logout", &fresh, &json!({})).status, 204);
        for token in [&admin, &later, &fresh] {
            plane.get("/api/servers", token).problem(401, "unauthorized");
        }
    }
    // The key of a peer that was created after the backup is not used again.
    let fresh = plane.login("ops@example.com");
    let ids: Vec<Value> = (0..40)
        .map(|n| {
            until("the agent to fill the stock", || {
                let answer = plane.post(CLIENTS, &fresh, &json!({"name": format!("new-{n}")}));
                (answer.status == 201).then(|| answer.json())
            })
        })
        .map(|peer| peer["publicKey"].clone())
        .collect();
    assert!(!ids.contains(&made["publicKey"]));
    until("the agent to remove the lost peer", || {
        agent.peer(made["id"].as_str().unwrap()).is_none().then_some(())
    });
}

#[test]
fn agents_that_hold_a_poll_get_the_restored_state_at_once() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    let agent = FakeAgent::start(plane.address, &token);
    let kept = plane.post(CLIENTS, &admin, &new_peer("kept")).expect(201);
    let backup = back_up(&plane);
    let lost = plane.post(CLIENTS, &admin, &new_peer("lost")).expect(201);
    let poll = |revision: u64, life: &str, wait: u32| {
        let path = format!("{}?revision={revision}&incarnation={life}&wait={wait}", path::DESIRED);
        request("GET", &path).token(&token).send(plane.address).expect(200)
    };
    let there = poll(3, &life(&plane, &token), 0);
    assert_eq!(
        (&there["revision"], &there["change"]["kind"]),
        (&json!(3), &json!("unchanged")),
        "{there}"
    );
    let old_life = there["incarnation"].as_str().unwrap().to_owned();

    let held = std::thread::scope(|scope| {
        let held = scope.spawn(|| {
            let began = Instant::now();
            (poll(3, &old_life, 25), began.elapsed())
        });
        until("the poll to be held", || (plane_polls(&plane) >= 2).then_some(()));
        restore(&plane, &backup);
        held.join().unwrap()
    });
    assert!(
        held.1 < Duration::from_secs(20),
        "the restore must wake the poll: {:?}",
        held.1
    );
    let next = poll(3, &old_life, 25);
    assert_ne!(
        next["incarnation"],
        old_life.as_str(),
        "a restore starts a new incarnation"
    );
    assert_eq!(
        (&next["revision"], &next["change"]["kind"]),
        (&json!(2), &json!("snapshot")),
        "{next}"
    );
    until("the agent to have the restored state", || {
        let has = |peer: &Value| agent.peer(peer["id"].as_str().unwrap()).is_some();
        (has(&kept) && !has(&lost)).then_some(())
    });
    until("the plane to see the confirmation", || {
        let status = &local(&plane, "/api/statuses")[0];
        (status["applied_revision"] == status["desired_revision"]).then_some(())
    });
}

fn life(plane: &TestPlane, token: &str) -> String {
    let desired = request("GET", path::DESIRED)
        .token(token)
        .send(plane.address)
        .expect(200);
    desired["incarnation"].as_str().unwrap().to_owned()
}

/// Returns the number of connections to the plane in the kernel's table. Only polls are open when
/// this function is called.
fn plane_polls(plane: &TestPlane) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let local = format!("0100007F:{:04X}", plane.address.port());
    let open = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next() == Some(local.as_str()) && columns.nth(1) == Some("01")
    };
    table.lines().filter(open).count()
}
