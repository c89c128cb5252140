//! Accounts, the last admin, sessions, failed logins, and their audit records.

use wgctl::api::{AuditLine, Role, User};

use super::*;

async fn add(scene: &Scene, email: &str, role: Role) -> Result<User, Refusal> {
    let new = NewAccount {
        email: email.parse().unwrap(),
        password_hash: "$argon2id$hash".to_owned(),
        role,
    };
    scene.fleet.create_user(&admin(), new, None).await
}

/// Records a login with the correct password.
async fn log_in(scene: &Scene, user: &User, rehashed: Option<&str>) -> Result<(), Refusal> {
    let account = scene.fleet.account(&user.id).unwrap().unwrap();
    let rehashed = rehashed.map(str::to_owned);
    scene.fleet.login_succeeded(&account, rehashed, None, None).await
}

#[tokio::test]
async fn the_last_enabled_admin_cannot_be_demoted_disabled_or_removed() {
    let scene = scene().await;
    let ops = add(&scene, "ops@example.com", Role::Admin).await.unwrap();
    assert_eq!(
        add(&scene, "OPS@example.com", Role::Admin).await.unwrap_err().code(),
        "user_exists"
    );
    add(&scene, "viewer@example.com", Role::Viewer).await.unwrap();
    let (fleet, admin) = (&scene.fleet, &admin());
    let demote = || UserChange {
        role: Some(Role::Viewer),
        ..UserChange::default()
    };
    let disable = || UserChange {
        enabled: Some(false),
        ..UserChange::default()
    };
    assert_eq!(
        fleet.update_user(admin, &ops.id, demote()).await.unwrap_err().code(),
        "last_admin"
    );
    assert_eq!(
        fleet.update_user(admin, &ops.id, disable()).await.unwrap_err().code(),
        "last_admin"
    );
    assert_eq!(
        fleet.remove_user(admin, &ops.id).await.unwrap_err().code(),
        "last_admin"
    );
    let second = add(&scene, "second@example.com", Role::Admin).await.unwrap();
    fleet.update_user(admin, &ops.id, disable()).await.unwrap();
    assert_eq!(
        fleet.remove_user(admin, &second.id).await.unwrap_err().code(),
        "last_admin"
    );
    assert_eq!(fleet.users().await.unwrap().len(), 3);
}

#[tokio::test]
async fn sessions_end_on_logout_and_when_the_account_changes() {
    let scene = scene().await;
    let user = add(&scene, "ops@example.com", Role::Admin).await.unwrap();
    add(&scene, "second@example.com", Role::Admin).await.unwrap();
    let fleet = &scene.fleet;
    let epoch = async || fleet.account(&user.id).unwrap().map(|account| account.session_epoch);
    assert_eq!(epoch().await, Some(1));
    log_in(&scene, &user, None).await.unwrap();
    assert_eq!(epoch().await, Some(1));
    fleet.logout(&admin(), &user.id).await.unwrap();
    assert_eq!(epoch().await, Some(2));
    let account = fleet.account(&user.id).unwrap().unwrap();
    fleet
        .change_password(&admin(), &account, "new".to_owned())
        .await
        .unwrap();
    assert_eq!(epoch().await, Some(3));
    let disable = UserChange {
        enabled: Some(false),
        ..UserChange::default()
    };
    assert!(!fleet.update_user(&admin(), &user.id, disable).await.unwrap().enabled);
    assert_eq!(epoch().await, Some(4));
    fleet.remove_user(&admin(), &user.id).await.unwrap();
    assert_eq!(epoch().await, None);
    let expected = [
        "user_deleted",
        "user_updated",
        "password_changed",
        "logout",
        "login_succeeded",
    ];
    assert_eq!(scene.actions().await[..5], expected);
}

#[tokio::test]
async fn failed_logins_slow_an_account_down_whether_it_exists_or_not() {
    let scene = scene().await;
    let user = add(&scene, "ops@example.com", Role::Admin).await.unwrap();
    let fleet = &scene.fleet;
    let mut refusals = Vec::new();
    for email in ["ops@example.com", "nobody@example.com"] {
        for _ in 0..8 {
            fleet
                .login_failed(email, Some("192.0.2.7".parse().unwrap()), None)
                .await
                .unwrap();
        }
        refusals.push(fleet.login_permitted(email, None).err().unwrap().code());
    }
    assert_eq!(refusals, ["too_many_requests"; 2]);
    assert!(fleet.login_permitted("other@example.com", None).is_ok());
    log_in(&scene, &user, None).await.unwrap();
    assert!(fleet.login_permitted(" Ops@example.com", None).is_ok());
    assert!(fleet.login_permitted("nobody@example.com", None).is_err());
    let query = AuditQuery {
        action: Some("login_failed".to_owned()),
        actor: Some("nobody@example.com".to_owned()),
        ..AuditQuery::default()
    };
    let records = fleet.audit(query).await.unwrap();
    assert_eq!((records.len(), records[0].ip.as_str()), (8, "192.0.2.7"));
}

#[tokio::test]
async fn the_audit_log_can_be_read_in_pages_and_filtered() {
    let scene = scene().await;
    for n in 0..30 {
        scene.create(with_key(&format!("c{n}"))).await.unwrap();
    }
    let fleet = &scene.fleet;
    let page = AuditQuery {
        limit: Some(10),
        offset: 5,
        ..AuditQuery::default()
    };
    let ids: Vec<_> = fleet
        .audit(page)
        .await
        .unwrap()
        .iter()
        .map(|record| record.id)
        .collect();
    assert_eq!(ids, (17..=26).rev().collect::<Vec<_>>());
    let of_server = AuditQuery {
        target: Some("los-angeles".to_owned()),
        offset: 30,
        ..AuditQuery::default()
    };
    let found = fleet.audit(of_server).await.unwrap();
    assert_eq!((found.len(), found[0].action.as_str()), (1, "server_created"));
    let below = AuditQuery {
        offset: 100,
        ..AuditQuery::default()
    };
    assert!(fleet.audit(below).await.unwrap().is_empty());
    for limit in [0, 1001] {
        let query = AuditQuery {
            limit: Some(limit),
            ..AuditQuery::default()
        };
        assert_eq!(fleet.audit(query).await.unwrap_err().field(), Some("limit"));
    }
    let mut pages = fleet.audit_pages().await.unwrap();
    let all = pages.next().await.unwrap().unwrap();
    assert!(matches!(all.last(), Some(AuditLine::Checkpoint(mark)) if mark.id == 31));
    let ids = all.iter().filter_map(|line| match line {
        AuditLine::Record(record) => Some(record.id),
        _ => None,
    });
    assert!(ids.eq(1..=31));
    assert!(pages.next().await.unwrap().is_none());
}

#[tokio::test]
async fn idempotency_keys_are_forgotten_after_a_day() {
    use std::sync::atomic::{AtomicI64, Ordering};
    static NOW: AtomicI64 = AtomicI64::new(1_800_000_000);
    let settings = Settings {
        clock: Clock::new(|| Timestamp::from_unix(NOW.load(Ordering::Relaxed))),
        ..Settings::default()
    };
    let scene = scene_with(&["10.8.0.0/24"], settings).await;
    let create = async |name, body| {
        let caller = admin();
        let made = scene
            .fleet
            .create_peer(&caller, &scene.server, with_key(name), Some(once(body)));
        made.await
    };
    let first = create("alice", 1).await.unwrap();
    NOW.fetch_add(24 * 3600 - 1, Ordering::Relaxed);
    scene.fleet.sweep().await.unwrap();
    assert_eq!(create("alice", 1).await.unwrap().id, first.id);
    NOW.fetch_add(1, Ordering::Relaxed);
    assert_ne!(create("bob", 2).await.unwrap().id, first.id);
    NOW.fetch_add(25 * 3600, Ordering::Relaxed);
    scene.fleet.sweep().await.unwrap();
    create("carol", 3).await.unwrap();
}

#[tokio::test]
async fn futures_that_the_http_layer_awaits_can_move_between_threads() {
    fn moves<F: Future + Send>(future: F) -> F {
        future
    }
    let scene = scene().await;
    let (fleet, server) = (&scene.fleet, &scene.server);
    moves(fleet.servers()).await.unwrap();
    moves(fleet.create_peer(&admin(), server, with_key("a"), None))
        .await
        .unwrap();
    moves(fleet.peers(server, PeersQuery::default())).await.unwrap();
    fleet.account_by_email("a@b").unwrap();
    let _permit = fleet.login_permitted("a@b", None).unwrap();
    moves(fleet.ready()).await.unwrap();
    drop(moves(fleet.clone().housekeep()));
}

#[tokio::test]
async fn a_password_change_is_refused_if_the_account_has_changed_in_the_meantime() {
    let scene = scene().await;
    let new = NewAccount {
        email: "ops@example.com".parse().unwrap(),
        password_hash: "old".to_owned(),
        role: Role::Admin,
    };
    let id = scene.fleet.create_user(&admin(), new, None).await.unwrap().id;
    let account = scene.fleet.account(&id).unwrap().unwrap();
    // While the old password is being checked, an admin sets another one.
    let reset = UserChange {
        password_hash: Some("reset".to_owned()),
        ..UserChange::default()
    };
    scene.fleet.update_user(&admin(), &id, reset).await.unwrap();
    let late = scene
        .fleet
        .change_password(&admin(), &account, "thief's".to_owned())
        .await;
    assert_eq!(late.unwrap_err().field(), Some("current_password"));
    assert_eq!(scene.fleet.account(&id).unwrap().unwrap().password_hash, "reset");
}

#[tokio::test]
async fn a_login_is_refused_if_the_account_has_been_disabled_in_the_meantime() {
    let scene = scene().await;
    let user = add(&scene, "ops@example.com", Role::Viewer).await.unwrap();
    let fleet = &scene.fleet;
    let account = fleet.account(&user.id).unwrap().unwrap();
    // While the password is being checked, an admin disables the account.
    let disable = UserChange {
        enabled: Some(false),
        ..UserChange::default()
    };
    fleet.update_user(&admin(), &user.id, disable).await.unwrap();
    let late = fleet.login_succeeded(&account, None, None, None).await;
    assert_eq!(late.unwrap_err().code(), "unauthorized");
    assert_eq!(scene.actions().await[0], "user_updated");
}

#[tokio::test]
async fn a_weak_hash_is_replaced_at_login_unless_it_has_changed_in_the_meantime() {
    let scene = scene().await;
    let user = add(&scene, "ops@example.com", Role::Viewer).await.unwrap();
    let hash = async || scene.fleet.account(&user.id).unwrap().unwrap().password_hash;
    let checked = scene.fleet.account(&user.id).unwrap().unwrap();
    log_in(&scene, &user, Some("stronger")).await.unwrap();
    assert_eq!(hash().await, "stronger");
    // Another login has checked the password against the previous hash.
    scene
        .fleet
        .login_succeeded(&checked, Some("stronger, too".to_owned()), None, None)
        .await
        .unwrap();
    assert_eq!(hash().await, "stronger");
}

#[tokio::test]
async fn if_two_admins_remove_each_other_at_once_one_of_them_remains() {
    let scene = scene().await;
    let (fleet, caller) = (&scene.fleet, admin());
    let mut left = add(&scene, "first@example.com", Role::Admin).await.unwrap();
    for round in 0..60 {
        let fresh = add(&scene, &format!("{round}@example.com"), Role::Admin).await.unwrap();
        let keep_out = async |user: &User| match round % 3 {
            0 => fleet.remove_user(&caller, &user.id).await,
            way => {
                let change = UserChange {
                    role: (way == 1).then_some(Role::Viewer),
                    enabled: (way == 2).then_some(false),
                    password_hash: None,
                };
                fleet.update_user(&caller, &user.id, change).await.map(drop)
            }
        };
        let outcomes = tokio::join!(keep_out(&left), keep_out(&fresh));
        left = match outcomes {
            (Ok(()), Err(refusal)) if refusal.code() == "last_admin" => fresh,
            (Err(refusal), Ok(())) if refusal.code() == "last_admin" => left,
            other => panic!("round {round}: {other:?}"),
        };
    }
}

/// An attacker who guesses constantly from many addresses uses up the attempts for unknown addresses,
/// but not those for the address from which the owner logs in.
#[tokio::test]
async fn the_owner_is_not_locked_out_by_an_attacker_who_guesses_constantly() {
    let scene = scene().await;
    let user = add(&scene, "ops@example.com", Role::Admin).await.unwrap();
    let fleet = &scene.fleet;
    let home: Option<std::net::IpAddr> = Some("2001:db8::7".parse().unwrap());
    let same_home = Some("2001:db8::8".parse().unwrap());
    let account = fleet.account(&user.id).unwrap().unwrap();
    fleet.login_succeeded(&account, None, home, None).await.unwrap();
    for n in 0..20 {
        let away = Some(std::net::IpAddr::from([192, 0, 2, n]));
        fleet.login_failed("ops@example.com", away, None).await.unwrap();
    }
    let permitted = async |ip| fleet.login_permitted("OPS@example.com", ip).is_ok();
    assert!(!permitted(Some("192.0.2.99".parse().unwrap())).await);
    assert!(!permitted(None).await);
    assert!(permitted(home).await && permitted(same_home).await);
    // Attempts from the owner's own address are limited, too.
    for _ in 0..8 {
        fleet.login_failed("ops@example.com", same_home, None).await.unwrap();
    }
    assert!(!permitted(home).await);
    fleet.login_succeeded(&account, None, home, None).await.unwrap();
    assert!(permitted(home).await && permitted(None).await);
}
