//! Tests of token contents and of the effect of a key rotation on tokens.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

fn tokens() -> Tokens {
    Tokens::load_or_create(tempfile::tempdir().unwrap().path()).unwrap()
}

fn account() -> Account {
    Account {
        id: UserId::random(),
        email: "ops@example.com".parse().unwrap(),
        role: Role::Admin,
        enabled: true,
        password_hash: String::new(),
        session_epoch: 7,
    }
}

/// Returns the claims of a session that is issued at `now`.
fn session(now: Timestamp) -> Claims {
    Claims {
        sub: UserId::random(),
        email: "ops@example.com".to_owned(),
        role: Role::Admin,
        iat: now.unix(),
        exp: now.after(LIFETIME).unix(),
        jti: Uuid::new_v4(),
        aud: AUDIENCE.to_owned(),
        typ: SESSION.to_owned(),
        epoch: 1,
    }
}

#[test]
fn a_token_identifies_its_user_for_24_hours() {
    let (tokens, account, now) = (tokens(), account(), Timestamp::from_unix(1_800_000_000));
    let (token, end) = tokens.issue(&account, now).unwrap();
    assert_eq!(end.since(now), LIFETIME);
    let claims = tokens.verify(&token, now).unwrap();
    assert_eq!((claims.sub, claims.epoch), (account.id, 7));
    assert!(tokens.verify(&token, end.before(Duration::from_secs(1))).is_ok());
    assert!(matches!(tokens.verify(&token, end), Err(TokenError::Expired)));
    // The clock may have been set back by `SKEW`, but no further.
    assert!(tokens.verify(&token, now.before(SKEW)).is_ok());
    let before = now.before(SKEW + Duration::from_secs(1));
    assert!(matches!(tokens.verify(&token, before), Err(TokenError::Invalid)));
}

#[test]
fn a_validly_signed_token_must_also_be_a_one_day_session() {
    let (tokens, now) = (tokens(), Timestamp::from_unix(1_800_000_000));
    let session = session(now);
    let verified = |claims: &Claims| tokens.verify(&tokens.keys().current.sign(claims).unwrap(), now);
    assert_eq!(verified(&session).unwrap(), session);
    let made = |change: fn(&mut Claims)| {
        let mut claims = session.clone();
        change(&mut claims);
        verified(&claims)
    };
    for change in [
        (|claims| claims.typ = "agent".to_owned()) as fn(&mut Claims),
        |claims| claims.aud = "elsewhere".to_owned(),
        |claims| claims.exp += 1,
        |claims| claims.iat -= 1,
    ] {
        assert!(matches!(made(change), Err(TokenError::Invalid)));
    }
}

#[tokio::test]
async fn after_a_rotation_a_new_key_signs_and_old_tokens_remain_valid_until_they_expire() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::load_or_create(dir.path()).unwrap();
    let now = Timestamp::from_unix(1_800_000_000);
    let (before, end) = tokens.issue(&account(), now).unwrap();
    let (kid, erased) = tokens
        .rotate(now, async |_: &str| Ok::<_, TokenError>(()))
        .await
        .unwrap();
    let (after, _) = tokens.issue(&account(), now).unwrap();
    assert_ne!(before.split('.').next(), after.split('.').next());
    let header = BASE64.decode(after.split('.').next().unwrap()).unwrap();
    assert!(String::from_utf8(header).unwrap().contains(&kid));
    // This also holds after a restart of the plane.
    let last = end.before(Duration::from_secs(1));
    for tokens in [&tokens, &Tokens::load_or_create(dir.path()).unwrap()] {
        for token in [&before, &after] {
            assert!(tokens.verify(token, last).is_ok());
        }
    }
    tokens.sweep(erased.before(Duration::from_secs(1))).await.unwrap();
    assert_eq!(tokens.keys().old.len(), 1);
    tokens.sweep(erased).await.unwrap();
    assert_eq!(tokens.keys().old.len(), 0);
    assert!(tokens.verify(&before, now).is_err());
    let file = std::fs::read_to_string(dir.path().join("session.keys")).unwrap();
    assert_eq!(file.matches("secret").count(), 1, "the old key is erased");
}

#[tokio::test]
async fn an_old_key_cannot_sign_new_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::load_or_create(dir.path()).unwrap();
    let now = Timestamp::from_unix(1_800_000_000);
    let stolen = tokens.keys();
    tokens
        .rotate(now, async |_: &str| Ok::<_, TokenError>(()))
        .await
        .unwrap();
    let later = now.after(Duration::from_secs(3600));
    let claims = session(later);
    let forged = stolen.current.sign(&claims).unwrap();
    assert!(matches!(tokens.verify(&forged, later), Err(TokenError::Invalid)));
    let (honest, _) = tokens.issue(&account(), later).unwrap();
    assert!(tokens.verify(&honest, later).is_ok());
}

#[tokio::test]
async fn a_rotation_that_cannot_be_logged_does_not_take_place() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::load_or_create(dir.path()).unwrap();
    let file = || std::fs::read(dir.path().join("session.keys")).unwrap();
    let before = file();
    let refused = tokens.rotate(Timestamp::from_unix(0), async |_: &str| Err(TokenError::Expired));
    assert!(matches!(refused.await, Err(TokenError::Expired)));
    assert_eq!(file(), before);
    assert_eq!(tokens.keys().old.len(), 0);
    // A rotation is not logged either if its key cannot be written.
    std::fs::create_dir(dir.path().join("session.keys.new")).unwrap();
    let noted = async |_: &str| -> Result<(), TokenError> { unreachable!("the key is not on disk") };
    let refused = tokens.rotate(Timestamp::from_unix(0), noted).await;
    assert!(matches!(refused, Err(TokenError::Key(KeyError::Io { .. }))));
    assert_eq!(file(), before);
}

#[tokio::test]
async fn keys_whose_tokens_have_expired_are_erased_at_startup() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::load_or_create(dir.path()).unwrap();
    let long_ago = Timestamp::from_unix(1_000_000_000);
    tokens
        .rotate(long_ago, async |_: &str| Ok::<_, TokenError>(()))
        .await
        .unwrap();
    let erased = async {
        while !tokens.keys().old.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let erased = tokio::time::timeout(Duration::from_secs(20), erased);
    tokio::select! {
        () = tokens.housekeep(|| Timestamp::from_unix(2_000_000_000)) => unreachable!("housekeeping never ends"),
        erased = erased => erased.expect("the keys are erased within seconds"),
    }
}
