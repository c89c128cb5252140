//! Tests of the secrets: they are created once, bound to their purpose, and never replaced.

use super::*;

fn server() -> ServerId {
    "los-angeles".parse().unwrap()
}

#[test]
fn secrets_are_created_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let first = Secrets::open(folder.path()).unwrap();
    let prekey = first.prekey(&server()).unwrap();
    let again = Secrets::open(folder.path()).unwrap();
    assert_eq!(again.private_key(), first.private_key());
    let key = again
        .open_private_key(&server(), prekey.id, &prekey.public_key, &prekey.private_key)
        .unwrap();
    assert_eq!(key.public_key(), prekey.public_key);
    again
        .open_preshared_key(&server(), prekey.id, &prekey.preshared_key)
        .unwrap();
}

#[test]
fn a_sealed_key_opens_only_for_its_server_peer_and_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = Secrets::open(folder.path()).unwrap();
    let (one, two) = (secrets.prekey(&server()).unwrap(), secrets.prekey(&server()).unwrap());
    let elsewhere = "new-york".parse().unwrap();
    assert!(
        secrets
            .open_private_key(&elsewhere, one.id, &one.public_key, &one.private_key)
            .is_err()
    );
    assert!(
        secrets
            .open_private_key(&server(), two.id, &one.public_key, &one.private_key)
            .is_err()
    );
    assert!(
        secrets
            .open_private_key(&server(), one.id, &two.public_key, &one.private_key)
            .is_err()
    );
    assert!(secrets.open_preshared_key(&server(), one.id, &one.private_key).is_err());
    for length in 0..one.preshared_key.0.len() {
        let cut = Sealed(one.preshared_key.0[..length].to_vec());
        assert!(
            secrets.open_preshared_key(&server(), one.id, &cut).is_err(),
            "{length} bytes"
        );
    }
    let another = tempfile::tempdir().unwrap();
    let stranger = Secrets::open(another.path()).unwrap();
    assert!(
        stranger
            .open_preshared_key(&server(), one.id, &one.preshared_key)
            .is_err()
    );
}

#[test]
fn a_lost_or_damaged_secret_is_never_replaced() {
    for name in [WIREGUARD_KEY, SEAL_KEY] {
        let folder = tempfile::tempdir().unwrap();
        Secrets::open(folder.path()).unwrap();
        for spoilt in ["", "short", "\u{fffd}", &BASE64.encode([0; 32])] {
            std::fs::write(folder.path().join(name), spoilt).unwrap();
            assert!(
                matches!(Secrets::open(folder.path()), Err(Error::Corrupt(_))),
                "{name} {spoilt:?}"
            );
        }
    }
    let folder = tempfile::tempdir().unwrap();
    Secrets::open(folder.path()).unwrap();
    std::fs::remove_file(folder.path().join(SEAL_KEY)).unwrap();
    assert!(matches!(Secrets::open(folder.path()), Err(Error::Missing { .. })));
}
