//! Changes that are refused because the caller's authority is no longer valid when they reach the
//! writer.

use wgctl::api::{NewApiToken, Role, User};

use super::*;

async fn add(scene: &Scene, email: &str) -> User {
    let new = NewAccount {
        email: email.parse().unwrap(),
        password_hash: "$argon2id$hash".to_owned(),
        role: Role::Admin,
    };
    scene.fleet.create_user(&admin(), new, None).await.unwrap()
}

/// Returns a caller like the one that the HTTP layer creates when a request arrives.
async fn session(scene: &Scene, user: &User) -> Caller {
    let account = scene.fleet.account(&user.id).unwrap().unwrap();
    Caller {
        authority: account.authority(Role::Admin),
        ..Caller::standing(account.actor(), None)
    }
}

fn role(role: Role) -> UserChange {
    UserChange {
        role: Some(role),
        ..UserChange::default()
    }
}

async fn log(scene: &Scene) -> Vec<wgctl::api::AuditRecord> {
    let mut pages = scene.fleet.audit_pages().await.unwrap();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        all.extend(page.into_iter().filter_map(|line| match line {
            wgctl::api::AuditLine::Record(record) => Some(record),
            wgctl::api::AuditLine::Pruned(_) | wgctl::api::AuditLine::Checkpoint(_) => None,
        }));
    }
    all
}

/// Tests each way in which a session can end while its request is in progress.
#[tokio::test]
async fn a_session_that_has_ended_in_the_meantime_changes_nothing() {
    let scene = scene().await;
    let fleet = &scene.fleet;
    add(&scene, "other@example.com").await;
    for (n, way) in ["demoted", "disabled", "password", "logout", "removed"]
        .into_iter()
        .enumerate()
    {
        let user = add(&scene, &format!("u{n}@example.com")).await;
        let caller = session(&scene, &user).await;
        let disabled = UserChange {
            enabled: Some(false),
            ..UserChange::default()
        };
        let password = UserChange {
            password_hash: Some("new".to_owned()),
            ..UserChange::default()
        };
        match way {
            "demoted" => drop(fleet.update_user(&admin(), &user.id, role(Role::Viewer)).await.unwrap()),
            "disabled" => drop(fleet.update_user(&admin(), &user.id, disabled).await.unwrap()),
            "password" => drop(fleet.update_user(&admin(), &user.id, password).await.unwrap()),
            "logout" => fleet.logout(&caller, &user.id).await.unwrap(),
            _ => fleet.remove_user(&admin(), &user.id).await.unwrap(),
        }
        let before = log(&scene).await.len();
        let refused = fleet
            .create_peer(&caller, &scene.server, with_key("alice"), None)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), "unauthorized", "{way}");
        let refused = fleet.remove_server(&caller, &scene.server).await.unwrap_err();
        assert_eq!(refused.code(), "unauthorized", "{way}");
        assert_eq!(log(&scene).await.len(), before, "{way}: nothing is written");
    }
    let clients = fleet.peers(&scene.server, PeersQuery::default()).await.unwrap();
    assert!(clients.peers.is_empty());
}

#[tokio::test]
async fn an_insufficient_role_is_refused_inside_the_transaction() {
    let scene = scene().await;
    add(&scene, "other@example.com").await;
    let user = add(&scene, "ops@example.com").await;
    scene
        .fleet
        .update_user(&admin(), &user.id, role(Role::Viewer))
        .await
        .unwrap();
    // Simulates a handler that has admitted a viewer by mistake.
    let caller = session(&scene, &user).await;
    let refused = scene.fleet.signing_key_rotated(&caller, "k").await.unwrap_err();
    assert_eq!(refused.code(), "forbidden");
    assert_eq!(scene.actions().await[0], "user_updated");
}

/// In NetBird, a permission could change between its check and its use. Here, a change by a demoted user
/// either precedes the demotion in the log or is refused.
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_rxmp_8h9v_56cx_nobody_acts_after_their_demotion() {
    let scene = scene().await;
    add(&scene, "other@example.com").await;
    let user = add(&scene, "ops@example.com").await;
    let (mut done, mut refused) = (0, 0);
    for _ in 0..50 {
        let caller = session(&scene, &user).await;
        let acts: Vec<_> = (0..200)
            .map(|act| {
                let (fleet, caller, id) = (scene.fleet.clone(), caller.clone(), user.id);
                tokio::spawn(async move {
                    if act == 100 {
                        let demoted = fleet.update_user(&admin(), &id, role(Role::Viewer)).await;
                        demoted.map(drop)
                    } else {
                        fleet.signing_key_rotated(&caller, "k").await
                    }
                })
            })
            .collect();
        for act in acts {
            match act.await.unwrap() {
                Ok(()) => done += 1,
                Err(Refusal::SessionEnded) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        scene
            .fleet
            .update_user(&admin(), &user.id, role(Role::Admin))
            .await
            .unwrap();
    }
    assert!(done > 50 && refused > 0, "{done} done, {refused} refused");
    let mut is_admin = true;
    let mut acts = 0;
    for record in log(&scene).await {
        match (record.action.as_str(), record.actor.as_str()) {
            ("user_updated", _) => is_admin = !is_admin,
            ("signing_key_rotated", actor) => {
                assert!(is_admin, "{actor} acted after their demotion: record {}", record.id);
                acts += 1;
            }
            _ => {}
        }
    }
    assert_eq!(acts + 50, done);
}

#[tokio::test]
async fn a_token_that_has_been_revoked_in_the_meantime_changes_nothing() {
    let scene = scene().await;
    let fleet = &scene.fleet;
    let new = NewApiToken {
        name: "ci".parse().unwrap(),
        role: Role::Admin,
        servers: None,
        expires_at: None,
    };
    let made = fleet.create_token(&admin(), new, None).await.unwrap();
    let caller = |role| Caller {
        authority: Authority::Token {
            id: made.api_token.id,
            role,
            server: None,
        },
        ..Caller::standing(Actor::Token("ci".to_owned()), None)
    };
    let create = async |name| {
        let caller = caller(Role::Admin);
        let made = fleet.create_peer(&caller, &scene.server, with_key(name), None);
        made.await
    };
    create("alice").await.unwrap();
    fleet.remove_token(&admin(), &made.api_token.id).await.unwrap();
    assert_eq!(create("bob").await.unwrap_err().code(), "unauthorized");
    assert_eq!(scene.actions().await[..2], ["token_deleted", "wg_client_created"]);
}

#[tokio::test]
async fn a_token_for_a_removed_server_does_not_apply_to_a_new_server_with_the_same_id() {
    let scene = scene().await;
    let (fleet, server) = (&scene.fleet, &scene.server);
    let other = NewServer {
        id: "berlin".parse().unwrap(),
        ..new_server(&["10.9.0.0/24"])
    };
    let other = fleet.create_server(&admin(), other, None).await.unwrap().server.id;
    let new = NewApiToken {
        name: "ci".parse().unwrap(),
        role: Role::Admin,
        servers: Some(vec![server.clone(), other.clone()]),
        expires_at: None,
    };
    let made = fleet.create_token(&admin(), new, None).await.unwrap();
    let on = |server: &ServerId| Caller {
        authority: Authority::Token {
            id: made.api_token.id,
            role: Role::Admin,
            server: Some(server.clone()),
        },
        ..Caller::standing(Actor::Token("ci".to_owned()), None)
    };
    let create = async |server, name| fleet.create_peer(&on(server), server, with_key(name), None).await;
    create(server, "alice").await.unwrap();
    fleet.remove_server(&admin(), server).await.unwrap();
    fleet
        .create_server(&admin(), new_server(&["10.8.0.0/24"]), None)
        .await
        .unwrap();
    assert_eq!(create(server, "bob").await.unwrap_err().code(), "not_found");
    create(&other, "bob").await.unwrap();
}

#[tokio::test]
async fn an_agents_token_is_valid_only_for_its_own_server() {
    let scene = scene().await;
    let other = NewServer {
        id: "berlin".parse().unwrap(),
        ..new_server(&["10.9.0.0/24"])
    };
    let other = scene.fleet.create_server(&admin(), other, None).await.unwrap();
    let mut caller = scene.caller();
    let hello = Hello {
        version: 1,
        agent_version: "test".to_owned(),
        public_key: PrivateKey::generate().unwrap().public_key(),
    };
    // The caller claims to act for another server.
    caller.authority = Authority::Agent {
        server: other.server.id.clone(),
        token_hash: token_hash(&scene.token),
    };
    let refused = scene.fleet.hello(&caller, &other.server.id, hello).await.unwrap_err();
    assert_eq!(refused.code(), "unauthorized");
}

#[tokio::test]
async fn an_agent_whose_token_has_been_replaced_in_the_meantime_changes_nothing() {
    let scene = scene().await;
    let caller = scene.caller();
    let hello = Hello {
        version: 1,
        agent_version: "test".to_owned(),
        public_key: PrivateKey::generate().unwrap().public_key(),
    };
    let rotation = TokenRotation::default();
    scene
        .fleet
        .rotate_agent_token(&admin(), &scene.server, rotation)
        .await
        .unwrap();
    let (fleet, server) = (&scene.fleet, &scene.server);
    let refused = fleet.hello(&caller, server, hello).await.unwrap_err();
    assert_eq!(refused.code(), "unauthorized");
    assert_eq!(fleet.server(server).unwrap().public_key, None);
    let refused = fleet.prekeys(&caller, server, prekeys(3)).await.unwrap_err();
    assert_eq!(refused.code(), "unauthorized");
    assert_eq!(scene.poll(0).await.prekeys_wanted, 32);
    let applied = Applied {
        incarnation: fleet.store().incarnation().unwrap(),
        revision: 1,
        failed: Vec::new(),
        interface_failed: None,
    };
    let refused = fleet.applied(&caller, server, applied).await.unwrap_err();
    assert_eq!(refused.code(), "unauthorized");
    let report = serde_json::from_value(serde_json::json!({
        "server_id": server, "peers": 7, "transfer_rx": 1, "transfer_tx": 2
    }));
    let refused = fleet.report(&caller, server, report.unwrap()).await.unwrap_err();
    assert_eq!(refused.code(), "unauthorized");
}

/// Prekeys that are waiting for the writer while the agent's token is rotated are not added to the stock.
#[tokio::test(flavor = "multi_thread")]
async fn prekeys_in_transit_when_their_token_is_replaced_are_refused() {
    let scene = scene().await;
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (fleet, caller, server) = (scene.fleet.clone(), scene.caller(), scene.server.clone());
            tokio::spawn(async move { fleet.prekeys(&caller, &server, prekeys(20)).await.is_ok() })
        })
        .collect();
    let rotation = TokenRotation::default();
    let rotated = scene.fleet.rotate_agent_token(&admin(), &scene.server, rotation).await;
    rotated.unwrap();
    for delivery in waiting {
        let _ = delivery.await.unwrap();
    }
    assert_eq!(scene.poll(0).await.prekeys_wanted, 32);
}
