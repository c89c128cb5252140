//! API tokens, and the rotation of agent tokens with a grace period.

use std::sync::atomic::{AtomicI64, Ordering};

use wgctl::api::{NewApiToken, Role};

use super::*;

fn new(name: &str) -> NewApiToken {
    NewApiToken {
        name: name.parse().unwrap(),
        role: Role::Admin,
        servers: None,
        expires_at: None,
    }
}

fn grace(grace_seconds: u32) -> TokenRotation {
    TokenRotation { grace_seconds }
}

/// Returns a scene whose clock is set by the test.
async fn scene_at(now: &'static AtomicI64) -> Scene {
    let settings = Settings {
        apply_timeout: Duration::from_millis(20),
        clock: Clock::new(|| Timestamp::from_unix(now.load(Ordering::Relaxed))),
        ..Settings::default()
    };
    scene_with(&["10.8.0.0/24"], settings).await
}

#[tokio::test]
async fn a_token_is_shown_once_and_stored_as_a_hash() {
    let scene = scene().await;
    let fleet = &scene.fleet;
    let made = fleet.create_token(&admin(), new("ci"), Some(once(1))).await.unwrap();
    assert!(made.token.starts_with("szapi_") && made.token.len() == 49, "256 bits");
    let again = fleet.create_token(&admin(), new("ci"), Some(once(1))).await.unwrap();
    assert_eq!(again.token, made.token);
    assert_eq!(scene.actions().await[..2], ["token_viewed", "token_created"]);
    let taken = fleet.create_token(&admin(), new("ci"), None).await.err().unwrap();
    assert_eq!((taken.code(), taken.field()), ("token_exists", Some("name")));
    let grant = fleet.token_grant(&made.token).unwrap().unwrap();
    assert_eq!((grant.id, grant.role), (made.api_token.id, Role::Admin));
    assert!(grant.scope.is_everything());
    let listed = serde_json::to_string(&fleet.tokens().await.unwrap()).unwrap();
    assert!(!listed.contains("szapi_"), "{listed}");
    let file = std::fs::read(scene._folder.path().join("plane.redb")).unwrap();
    assert!(!file.windows(made.token.len()).any(|part| part == made.token.as_bytes()));
    fleet.remove_token(&admin(), &made.api_token.id).await.unwrap();
    assert!(fleet.token_grant(&made.token).unwrap().is_none());
    let gone = fleet.remove_token(&admin(), &made.api_token.id).await.unwrap_err();
    assert_eq!(gone.code(), "not_found");
    fleet.create_token(&admin(), new("ci"), None).await.unwrap();
}

#[tokio::test]
async fn a_token_expires_at_its_expiry_time() {
    static NOW: AtomicI64 = AtomicI64::new(1_800_000_000);
    let scene = scene_at(&NOW).await;
    let fleet = &scene.fleet;
    let end = Timestamp::from_unix(1_800_000_100);
    let ending = |end| NewApiToken {
        expires_at: Some(end),
        ..new("ci")
    };
    let past = ending(Timestamp::from_unix(1_800_000_000));
    let refused = fleet.create_token(&admin(), past, None).await.err().unwrap();
    assert_eq!(refused.field(), Some("expires_at"));
    let made = fleet.create_token(&admin(), ending(end), None).await.unwrap();
    NOW.store(1_800_000_099, Ordering::Relaxed);
    assert!(fleet.token_grant(&made.token).unwrap().is_some());
    NOW.store(1_800_000_100, Ordering::Relaxed);
    assert!(fleet.token_grant(&made.token).unwrap().is_none());
    let caller = Caller {
        authority: Authority::Token {
            id: made.api_token.id,
            role: Role::Admin,
            server: None,
        },
        ..Caller::standing(Actor::Token("ci".to_owned()), None)
    };
    let late = fleet.create_peer(&caller, &scene.server, with_key("alice"), None);
    assert_eq!(late.await.unwrap_err().code(), "unauthorized");
}

#[tokio::test]
async fn the_servers_that_a_new_token_names_must_exist() {
    let scene = scene().await;
    let of = |servers: &[&str]| NewApiToken {
        servers: Some(servers.iter().map(|id| id.parse().unwrap()).collect()),
        ..new("ci")
    };
    for wrong in [of(&[]), of(&["los-angeles", "nowhere"])] {
        let refused = scene.fleet.create_token(&admin(), wrong, None).await.err().unwrap();
        assert_eq!(refused.field(), Some("servers"));
    }
    let made = scene
        .fleet
        .create_token(&admin(), of(&["los-angeles"]), None)
        .await
        .unwrap();
    let scope = scene.fleet.token_grant(&made.token).unwrap().unwrap().scope;
    assert!(scope.admits(&scene.server) && !scope.admits(&"nowhere".parse().unwrap()));
}

#[tokio::test]
async fn the_last_use_is_recorded_at_most_once_a_minute() {
    static NOW: AtomicI64 = AtomicI64::new(1_800_000_000);
    let scene = scene_at(&NOW).await;
    let fleet = &scene.fleet;
    let made = fleet.create_token(&admin(), new("ci"), None).await.unwrap();
    let use_at = async |seconds: i64| {
        NOW.store(1_800_000_000 + seconds, Ordering::Relaxed);
        fleet.token_grant(&made.token).unwrap().unwrap();
    };
    let noted = async |seconds: i64| {
        let wanted = Some(Timestamp::from_unix(1_800_000_000 + seconds));
        let noted = async {
            while fleet.tokens().await.unwrap()[0].last_used_at != wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), noted)
            .await
            .expect("the use is recorded");
    };
    assert_eq!(fleet.tokens().await.unwrap()[0].last_used_at, None);
    use_at(0).await;
    noted(0).await;
    use_at(59).await;
    use_at(60).await;
    noted(60).await;
    // The clock is set back.
    use_at(10).await;
    noted(10).await;
}

#[tokio::test]
async fn an_agents_old_token_becomes_invalid_on_the_first_poll_with_the_new_one() {
    let scene = scene().await;
    let (fleet, server) = (&scene.fleet, &scene.server);
    let rotated = fleet.rotate_agent_token(&admin(), server, grace(3600)).await.unwrap();
    assert!(rotated.previous_valid_until.is_some());
    for _ in 0..3 {
        assert_eq!(scene.whose(&scene.token).await.as_ref(), Some(server));
    }
    fleet.note_token_used(&scene.caller(), server).await;
    // A request with the new token that is not a poll retires nothing.
    let (_, caller) = fleet.agent_by_token(&rotated.agent_token, None, None).unwrap().unwrap();
    assert_eq!(scene.whose(&scene.token).await.as_ref(), Some(server));
    assert_eq!(scene.actions().await[0], "server_token_rotated");
    for _ in 0..2 {
        fleet.note_token_used(&caller, server).await;
    }
    assert_eq!(scene.whose(&scene.token).await, None);
    assert_eq!(scene.whose(&rotated.agent_token).await.as_ref(), Some(server));
    assert_eq!(
        scene.actions().await[..3],
        ["server_token_retired", "server_token_rotated", "server_created"]
    );
}

/// A poll with a new token is in progress when the token is rotated again. The poll does not shorten the
/// grace period of that rotation.
#[tokio::test]
async fn a_token_that_has_since_been_replaced_retires_no_other_token() {
    let scene = scene().await;
    let (fleet, server) = (&scene.fleet, &scene.server);
    let second = fleet.rotate_agent_token(&admin(), server, grace(3600)).await.unwrap();
    let agent = fleet.agent_by_token(&second.agent_token, None, None).unwrap();
    let (_, caller) = agent.unwrap();
    let third = fleet.rotate_agent_token(&admin(), server, grace(3600)).await.unwrap();
    fleet.retire_agent_token(&caller, server).await.unwrap();
    for token in [&second.agent_token, &third.agent_token] {
        assert_eq!(scene.whose(token).await.as_ref(), Some(server));
    }
}

#[tokio::test]
async fn an_agents_old_token_becomes_invalid_at_the_end_of_its_grace_period() {
    static NOW: AtomicI64 = AtomicI64::new(1_800_000_000);
    let scene = scene_at(&NOW).await;
    let (fleet, server) = (&scene.fleet, &scene.server);
    let too_long = fleet.rotate_agent_token(&admin(), server, grace(604_801)).await;
    assert_eq!(too_long.err().unwrap().field(), Some("grace_seconds"));
    let rotated = fleet.rotate_agent_token(&admin(), server, grace(60)).await.unwrap();
    assert_eq!(rotated.previous_valid_until, Some(Timestamp::from_unix(1_800_000_060)));
    NOW.store(1_800_000_059, Ordering::Relaxed);
    assert_eq!(scene.whose(&scene.token).await.as_ref(), Some(server));
    NOW.store(1_800_000_060, Ordering::Relaxed);
    assert_eq!(scene.whose(&scene.token).await, None);
    assert_eq!(scene.whose(&rotated.agent_token).await.as_ref(), Some(server));
}

#[tokio::test]
async fn the_oldest_of_three_agent_tokens_is_invalid() {
    let scene = scene().await;
    let (fleet, server) = (&scene.fleet, &scene.server);
    let second = fleet.rotate_agent_token(&admin(), server, grace(3600)).await.unwrap();
    let third = fleet.rotate_agent_token(&admin(), server, grace(3600)).await.unwrap();
    assert_eq!(scene.whose(&scene.token).await, None);
    assert_eq!(scene.whose(&second.agent_token).await.as_ref(), Some(server));
    assert_eq!(scene.whose(&third.agent_token).await.as_ref(), Some(server));
    fleet.rotate_agent_token(&admin(), server, grace(3600)).await.unwrap();
    fleet.remove_server(&admin(), server).await.unwrap();
    for token in [&scene.token, &second.agent_token, &third.agent_token] {
        assert_eq!(scene.whose(token).await, None);
    }
}

/// Starts a poll from the agent and leaves it waiting for a response.
async fn held_poll(scene: &Scene) -> tokio::task::JoinHandle<Result<Desired, Refusal>> {
    let held = DesiredQuery {
        revision: scene.poll(0).await.revision,
        incarnation: Some(scene.fleet.store().incarnation().unwrap()),
        wait: 60,
    };
    scene.apply(held.revision).await;
    scene.stock(64).await;
    let (fleet, server, me) = (scene.fleet.clone(), scene.server.clone(), scene.caller());
    let poll = tokio::spawn(async move { fleet.desired(&me, &server, held).await });
    while scene.fleet.open_polls() == 0 {
        tokio::task::yield_now().await;
    }
    poll
}

#[tokio::test]
async fn a_poll_whose_token_has_been_revoked_gets_no_more_changes() {
    let scene = scene().await;
    let poll = held_poll(&scene).await;
    scene
        .fleet
        .rotate_agent_token(&admin(), &scene.server, TokenRotation::default())
        .await
        .unwrap();
    scene.create(with_key("alice")).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), poll).await;
    let desired = ended.expect("the rotation ends the poll").unwrap().unwrap();
    assert_eq!(desired.change, Change::Unchanged);
}

#[tokio::test]
async fn a_poll_that_outlasts_the_grace_period_of_its_token_gets_no_more_changes() {
    static NOW: AtomicI64 = AtomicI64::new(1_800_000_000);
    // Either the grace period ends, or another rotation follows.
    for rotated_again in [false, true] {
        let scene = scene_at(&NOW).await;
        let poll = held_poll(&scene).await;
        let caller = admin();
        let rotate = async || {
            let rotated = scene.fleet.rotate_agent_token(&caller, &scene.server, grace(60));
            rotated.await.unwrap()
        };
        rotate().await;
        match rotated_again {
            true => drop(rotate().await),
            false => drop(NOW.fetch_add(60, Ordering::Relaxed)),
        }
        scene.create(with_key("alice")).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(20), poll).await;
        let desired = ended.expect("the change wakes the poll").unwrap().unwrap();
        assert_eq!((desired.change, desired.prekeys_wanted), (Change::Unchanged, 0));
    }
}

#[tokio::test]
async fn a_poll_whose_token_is_in_its_grace_period_still_gets_changes() {
    let scene = scene().await;
    let poll = held_poll(&scene).await;
    scene
        .fleet
        .rotate_agent_token(&admin(), &scene.server, grace(60))
        .await
        .unwrap();
    scene.create(with_key("alice")).await.unwrap();
    assert_ne!(poll.await.unwrap().unwrap().change, Change::Unchanged);
}

#[tokio::test]
async fn a_rotation_ends_the_poll_even_if_the_caller_hangs_up() {
    use futures_util::FutureExt as _;
    let scene = scene().await;
    let poll = held_poll(&scene).await;
    let caller = admin();
    let rotation = scene
        .fleet
        .rotate_agent_token(&caller, &scene.server, TokenRotation::default());
    assert!(rotation.now_or_never().is_none());
    let ended = tokio::time::timeout(Duration::from_secs(20), poll).await;
    assert_eq!(
        ended.expect("the rotation ends the poll").unwrap().unwrap().change,
        Change::Unchanged
    );
    assert_eq!(scene.whose(&scene.token).await, None);
}
