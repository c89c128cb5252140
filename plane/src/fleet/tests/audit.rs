//! The audit log: its records, the limit on records caused by unauthenticated clients and agents, and
//! its verification.

use std::sync::atomic::{AtomicI64, Ordering as Atomic};

use serde_json::{Value, json};
use wgctl::api::{AuditLine, AuditRecord, PeerPatch, Role, ServerPatch};
use wgctl::audit::{Expected, Verifier, lines, verify_file};

use super::*;

async fn records(fleet: &Fleet) -> Vec<AuditRecord> {
    let query = AuditQuery {
        limit: Some(1000),
        ..AuditQuery::default()
    };
    fleet.audit(query).await.unwrap()
}

/// Returns the newest record of an action, with its changes as JSON.
async fn newest(fleet: &Fleet, action: &str) -> (AuditRecord, Value) {
    let record = records(fleet).await.into_iter().find(|record| record.action == action);
    let record = record.unwrap_or_else(|| panic!("no {action}"));
    let changes = json!(record.changes);
    (record, changes)
}

#[tokio::test]
async fn every_change_is_recorded_with_its_old_and_new_values_and_without_secrets() {
    let scene = scene().await;
    let (fleet, server, me) = (&scene.fleet, &scene.server, admin());
    let (_, made) = newest(fleet, "server_created").await;
    assert_eq!(made["address_pool"], json!({"after": ["10.8.0.0/24"]}));
    assert_eq!(made["mtu"], json!({"after": null}));

    let patch: ServerPatch = serde_json::from_value(json!({"mtu": 1380, "dns": ["1.1.1.1"]})).unwrap();
    fleet.update_server(&me, server, patch).await.unwrap();
    let (_, changes) = newest(fleet, "server_updated").await;
    assert_eq!(
        changes,
        json!({"mtu": {"before": null, "after": 1380}, "dns": {"before": [], "after": ["1.1.1.1"]}})
    );
    let token = fleet
        .rotate_agent_token(&me, server, TokenRotation::default())
        .await
        .unwrap()
        .agent_token;
    let (_, changes) = newest(fleet, "server_token_rotated").await;
    assert_eq!(changes, json!({"agent_token": {"after": "changed"}}));

    scene.stock(1).await;
    let client = scene.create(named("alice")).await.unwrap();
    let (_, made) = newest(fleet, "wg_client_created").await;
    assert_eq!(made["publicKey"], json!({"after": client.public_key}));
    assert_eq!(
        (&made["privateKeyHeld"], &made["presharedKey"]),
        (&json!({"after": true}), &json!({"after": true}))
    );
    // The client is renamed and disabled in one request. Each record contains its own part of the
    // change.
    let patch: PeerPatch = serde_json::from_value(json!({"name": "bob", "enabled": false})).unwrap();
    fleet.update_peer(&me, server, &client.id, patch).await.unwrap();
    let (_, changes) = newest(fleet, "wg_client_disabled").await;
    assert_eq!(changes, json!({"enabled": {"before": true, "after": false}}));
    let (_, changes) = newest(fleet, "wg_client_updated").await;
    assert_eq!(changes, json!({"name": {"before": "alice", "after": "bob"}}));
    fleet.remove_peer(&me, server, &client.id).await.unwrap();
    let (_, removed) = newest(fleet, "wg_client_deleted").await;
    assert_eq!(removed["addresses"], json!({"before": [client.address]}));

    let new = |email: &str| NewAccount {
        email: email.parse().unwrap(),
        password_hash: "$argon2id$first".to_owned(),
        role: Role::Viewer,
    };
    let user = fleet.create_user(&me, new("eve@example.com"), None).await.unwrap();
    let (_, made) = newest(fleet, "user_created").await;
    assert_eq!(made["role"], json!({"after": "viewer"}));
    let change = UserChange {
        role: Some(Role::Admin),
        password_hash: Some("$argon2id$second".to_owned()),
        ..UserChange::default()
    };
    fleet.update_user(&me, &user.id, change).await.unwrap();
    let (_, changes) = newest(fleet, "user_updated").await;
    assert_eq!(
        changes,
        json!({"role": {"before": "viewer", "after": "admin"}, "password": {"after": "changed"}})
    );
    fleet
        .create_user(
            &me,
            NewAccount {
                role: Role::Admin,
                ..new("b@example.com")
            },
            None,
        )
        .await
        .unwrap();
    fleet.remove_user(&me, &user.id).await.unwrap();
    let (_, removed) = newest(fleet, "user_deleted").await;
    assert_eq!(removed["email"], json!({"before": "eve@example.com"}));
    fleet.remove_server(&me, server).await.unwrap();
    let (_, removed) = newest(fleet, "server_deleted").await;
    assert_eq!(removed["mtu"], json!({"before": 1380}));

    let told = serde_json::to_string(&records(fleet).await).unwrap();
    for secret in [
        &token,
        &scene.token,
        "argon2id",
        "token_hash",
        "szagent",
        "AQEBAQ",
        "AgICAg",
    ] {
        assert!(!told.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_flood_of_failed_logins_is_counted_and_still_slows_the_account_down() {
    let scene = scene().await;
    let fleet = &scene.fleet;
    for _ in 0..1000 {
        let ip = "192.0.2.1".parse().unwrap();
        fleet.login_failed("ops@example.com", Some(ip), None).await.unwrap();
    }
    assert_eq!(
        fleet.login_permitted("ops@example.com", None).err().unwrap().code(),
        "too_many_requests"
    );
    let one_by_one = records(fleet)
        .await
        .iter()
        .filter(|record| record.action == "login_failed")
        .count();
    // The burst, and a few more that were allowed while the loop ran.
    assert!((60..500).contains(&one_by_one), "{one_by_one}");
    fleet.maintain_audit().await.unwrap();
    let (rest, _) = newest(fleet, "login_failed").await;
    assert_eq!(rest.target, "many");
    let detail = format!(
        "{} more, too many in a short time to record individually",
        1000 - one_by_one
    );
    assert_eq!(rest.detail, Some(detail));
    fleet.maintain_audit().await.unwrap();
    assert_eq!(
        records(fleet).await.len(),
        one_by_one + 2,
        "a recorded count is not recorded again"
    );
}

#[tokio::test]
async fn floods_of_refused_agents_are_counted_separately() {
    let scene = scene().await;
    let fleet = &scene.fleet;
    let agent = |id: &str| Caller {
        actor: Actor::Agent(id.parse().unwrap()),
        ..admin()
    };
    for _ in 0..200 {
        fleet.agent_refused(&agent("la"), "tokyo").await.unwrap();
        fleet.agent_token_refused("/api/agent/hello", None, None).await.unwrap();
    }
    fleet.agent_refused(&agent("oslo"), "tokyo").await.unwrap();
    fleet.end_audit().await.unwrap();
    let records = records(fleet).await;
    let of = |actor: &str| {
        records
            .iter()
            .filter(|record| record.actor == actor)
            .collect::<Vec<_>>()
    };
    for actor in ["agent:la", "agent:?"] {
        let told = of(actor);
        assert!((61..190).contains(&told.len()), "{actor}: {}", told.len());
        let rest: usize = told[0]
            .detail
            .as_ref()
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(rest + told.len() - 1, 200, "{actor}");
    }
    assert_eq!(of("agent:oslo").len(), 1);
}

#[tokio::test]
async fn old_records_are_removed_once_a_day_and_the_rest_still_verifies() {
    static NOW: AtomicI64 = AtomicI64::new(1_800_000_000);
    let settings = Settings {
        audit_retention: Some(Duration::from_secs(10 * 86_400)),
        apply_timeout: Duration::ZERO,
        clock: Clock::new(|| Timestamp::from_unix(NOW.load(Atomic::Relaxed))),
        ..Settings::default()
    };
    let scene = scene_with(&["10.8.0.0/16"], settings).await;
    let fleet = &scene.fleet;
    for n in 0..20 {
        scene.create(with_key(&format!("c{n}"))).await.unwrap();
        NOW.fetch_add(86_400, Atomic::Relaxed);
        fleet.maintain_audit().await.unwrap();
    }
    let all = records(fleet).await;
    let pruned: Vec<_> = all.iter().filter(|record| record.action == "audit_pruned").collect();
    assert!(pruned.len() >= 9, "{pruned:?}");
    assert_eq!(pruned[0].actor, "local:sentrazone-plane");
    let oldest = all.last().unwrap();
    assert!(
        NOW.load(Atomic::Relaxed) - oldest.created_at.unix() <= 11 * 86_400,
        "{oldest:?}"
    );
    let before = all.len();
    fleet.maintain_audit().await.unwrap();
    assert_eq!(records(fleet).await.len(), before, "records are removed once a day");
    let outcome = fleet.verify_audit(None).await.unwrap();
    assert!(outcome.ok, "{outcome:?}");
    let stub = outcome.pruned.unwrap();
    assert_eq!((outcome.first, stub.count), (Some(stub.id + 1), stub.id));
    // An export of the remaining records can also be verified offline, with only the key.
    let mut pages = fleet.audit_pages().await.unwrap();
    let mut file = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        file.extend(lines(&page).unwrap());
    }
    let expected = Expected {
        keys: vec![signer(5).public_key()],
        checkpoints: true,
        head: Some(outcome.head),
    };
    let offline = verify_file(file.as_slice(), expected).unwrap();
    assert_eq!(
        (offline.ok, offline.head, offline.signed_until),
        (true, outcome.head, outcome.head.id)
    );
}

#[tokio::test]
async fn a_restored_log_continues_and_records_where_the_replaced_log_ended() {
    let scene = scene().await;
    let fleet = &scene.fleet;
    fleet.begin_audit().await.unwrap();
    let copy = fleet.back_up(&admin()).await.unwrap();
    let taken_over = fleet.verify_audit(None).await.unwrap();
    for n in 0..5 {
        scene.create(with_key(&format!("c{n}"))).await.unwrap();
    }
    let before = fleet.verify_audit(None).await.unwrap();
    assert_eq!((before.ok, before.head.id), (true, 7));
    fleet.restore(&admin(), copy).await.unwrap();
    let after = fleet.verify_audit(None).await.unwrap();
    assert!(after.ok, "{after:?}");
    assert_eq!((after.head.id, after.signed_until), (3, 3));
    let (restored, _) = newest(fleet, "database_restored").await;
    assert_eq!(
        restored.detail,
        Some(format!(
            "the previous log ended at {}, the restored one at {}, signed by {} up to record 1",
            before.head,
            taken_over.head,
            signer(5).public_key()
        ))
    );
    let known = fleet.verify_audit(Some(before.head)).await.unwrap();
    assert_eq!(known.fault.unwrap().id, 4, "the known record is no longer there");
}

#[tokio::test]
async fn a_new_signing_key_is_recorded_and_vouches_for_the_existing_log() {
    let scene = scene().await;
    scene.fleet.begin_audit().await.unwrap();
    assert_eq!(scene.actions().await, ["server_created"]);
    let path = scene._folder.path().join("plane.redb");
    let Scene {
        fleet, _folder: folder, ..
    } = scene;
    drop(fleet);
    let store = Store::open(&path, 16 << 20).unwrap().signed_by(signer(6));
    let fleet = Fleet::new(store, Settings::default());
    assert!(
        !fleet.verify_audit(None).await.unwrap().ok,
        "the new key has not been recorded yet"
    );
    for _ in 0..2 {
        fleet.begin_audit().await.unwrap();
    }
    let (told, _) = newest(&fleet, "audit_key_changed").await;
    let (old, new) = (signer(5).public_key(), signer(6).public_key());
    assert_eq!((told.id, told.detail), (2, Some(format!("from {old} to {new}"))));
    let outcome = fleet.verify_audit(None).await.unwrap();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(
        (outcome.signed_until, outcome.public_key, outcome.checkpoints),
        (2, Some(new), 2)
    );
    drop(folder);
}

#[tokio::test]
async fn a_verification_succeeds_during_concurrent_writes() {
    let scene = scene().await;
    let fleet = scene.fleet.clone();
    let writer = tokio::spawn(async move {
        for n in 0..100 {
            let target = format!("t{n}");
            let caller = Caller {
                actor: Actor::Agent(format!("agent-{n}").parse().unwrap()),
                ..admin()
            };
            fleet.agent_refused(&caller, &target).await.unwrap();
        }
    });
    while !writer.is_finished() {
        let outcome = scene.fleet.verify_audit(None).await.unwrap();
        assert!(outcome.ok, "{outcome:?}");
    }
    writer.await.unwrap();
    let mut verifier = Verifier::new(Expected::default());
    let mut pages = scene.fleet.audit_pages().await.unwrap();
    while let Some(page) = pages.next().await.unwrap() {
        assert!(page.iter().all(|line| verifier.line(line)));
        assert!(page.iter().any(|line| matches!(line, AuditLine::Checkpoint(_))));
    }
    assert_eq!(verifier.finish().records, 101);
}

#[tokio::test]
async fn verification_names_an_unreadable_row_and_a_truncation_that_left_a_checkpoint() {
    let scene = scene().await;
    let fleet = &scene.fleet;
    for n in 0..20 {
        scene.create(with_key(&format!("c{n}"))).await.unwrap();
    }
    fleet.checkpoint_audit().await.unwrap();
    let named = async || fleet.verify_audit(None).await.unwrap().fault.map(|fault| fault.id);
    assert_eq!(named().await, None);
    fleet.store().spoil_audit(7, Some(b"garbage")).await;
    assert_eq!(named().await, Some(7));
    let scene = self::scene().await;
    let fleet = &scene.fleet;
    scene.create(with_key("alice")).await.unwrap();
    fleet.checkpoint_audit().await.unwrap();
    // The newest record and the head are removed. The rest looks complete, except that there is still a
    // checkpoint for the removed record.
    fleet.store().spoil_audit(2, None).await;
    let fault = fleet.verify_audit(None).await.unwrap().fault.unwrap();
    assert!(fault.id == 2 && fault.reason.contains("checkpoint"), "{fault}");
}

/// The record of a change contains long names in full. Text from unauthenticated clients is truncated.
#[tokio::test]
async fn long_names_are_recorded_in_full_and_unauthenticated_text_is_truncated() {
    let scene = scene().await;
    let name = "n".repeat(64);
    scene.create(with_key(&name)).await.unwrap();
    let (made, _) = newest(&scene.fleet, "wg_client_created").await;
    assert_eq!(made.target, format!("{}/{name}", scene.server));
    let typed = format!("{}@example.com", "x".repeat(200));
    scene.fleet.login_failed(&typed, None, None).await.unwrap();
    let (failed, _) = newest(&scene.fleet, "login_failed").await;
    assert_eq!(
        (failed.actor.as_str(), failed.target.as_str()),
        (&typed[..64], &typed[..64])
    );
}
