//! External changes to a running agent's interface, made with `wg`, `ip` and `nft`. They are repaired promptly, and
//! unrelated tunnels are not disturbed.

use sentrazone_tests::lab::Lab;
use sentrazone_tests::{interface_state, wait};
use wgctl::PrivateKey;
use wgctl::client::AuditQuery;
use wgctl::drift::DriftKind;

use crate::{create_applied, online};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_drift_is_repaired_and_other_sessions_continue() {
    let lab = Lab::new().await;
    let host = lab
        .host_with("los-angeles", &["10.8.0.0/24", "fd00:8::/64"], |server| {
            server.masquerade = true;
            server.mtu = Some(1380);
        })
        .await;
    let steady = create_applied(&lab, &host, "steady").await;
    let subject = create_applied(&lab, &host, "subject").await;
    let device = lab.device("steady");
    let configuration = lab.admin().peer_configuration(&host.id, steady.id).await.unwrap();
    device.connect(&configuration);
    assert!(device.reaches("10.8.0.1"));

    let secret = lab.folder().join("theirs").display().to_string();
    std::fs::write(&secret, PrivateKey::generate().unwrap().to_base64().as_str()).unwrap();
    let stranger = PrivateKey::generate().unwrap().public_key().to_string();
    let (key, address) = (subject.public_key.to_string(), format!("{}/32", subject.address));
    let set = ["wg", "set", "wg0"];
    let spares: [(&str, &[&str]); 9] = [
        ("peer removed", &["peer", &key, "remove"]),
        ("peer added", &["peer", &stranger, "allowed-ips", "10.77.0.0/16"]),
        ("preshared key changed", &["peer", &key, "preshared-key", &secret]),
        ("keepalive changed", &["peer", &key, "persistent-keepalive", "25"]),
        ("allowed IP stolen", &["peer", &stranger, "allowed-ips", &address]),
        ("port changed", &["listen-port", "6000"]),
        (
            "address removed",
            &["ip", "address", "del", "10.8.0.1/24", "dev", "wg0"],
        ),
        ("MTU changed", &["ip", "link", "set", "wg0", "mtu", "1300"]),
        (
            "masquerading removed",
            &["nft", "delete", "table", "inet", "sentrazone-wg0"],
        ),
    ];
    let resets: [(&str, &[&str]); 3] = [
        ("private key changed", &["private-key", &secret]),
        ("link set down", &["ip", "link", "set", "wg0", "down"]),
        ("link deleted", &["ip", "link", "del", "wg0"]),
    ];
    let picture = || interface_state::interface(&host.namespace, "wg0");
    let session = || {
        let mut rows = host.dump().into_iter();
        let row = rows.find(|row| row[0] == steady.public_key.to_string()).unwrap();
        // The endpoint and the latest handshake, which are lost together with a session.
        (row[2].clone(), row[4].clone())
    };
    let whole = picture();
    let meddle = |words: &[&str]| match words[0] {
        "ip" | "nft" => host.namespace.exec(words),
        _ => host.namespace.exec(&[&set, words].concat()),
    };
    let admin = lab.admin();
    let repaired = async || {
        let statuses = admin.statuses().await.unwrap();
        let status = statuses.into_iter().find(|status| status.server_id == host.id);
        status.map_or(0, |status| status.drift_repaired)
    };
    for (what, words) in spares {
        let (before, counted) = (session(), repaired().await);
        meddle(words);
        wait::until(what, &repaired, |now| *now > counted).await;
        wait::until_blocking(what, picture, |now| *now == whole);
        assert_eq!(session(), before, "{what}: the session did not continue");
    }
    assert!(device.reaches("10.8.0.1"));
    for (what, words) in resets {
        let counted = repaired().await;
        meddle(words);
        wait::until(what, &repaired, |now| *now > counted).await;
        wait::until_blocking(what, picture, |now| *now == whole);
    }
    online(&lab, &host).await;
    // Otherwise the device would use its old session for about 15 s more (REKEY_TIMEOUT, KEEPALIVE_TIMEOUT).
    device.connect(&configuration);
    assert!(device.reaches("10.8.0.1"));

    let query = AuditQuery {
        action: Some("drift_repaired".to_owned()),
        limit: Some(1000),
        ..AuditQuery::default()
    };
    let records = admin.audit(&query).await.unwrap();
    let actor = format!("agent:{}", host.id);
    assert!(records.iter().all(|record| record.actor == actor));
    let told: Vec<String> = records.into_iter().filter_map(|record| record.detail).collect();
    for kind in [
        DriftKind::PeerRemoved,
        DriftKind::PeerAdded,
        DriftKind::PeerChanged,
        DriftKind::AllowedIpsChanged,
        DriftKind::ListenPortChanged,
        DriftKind::AddressRemoved,
        DriftKind::MtuChanged,
        DriftKind::MasqueradeChanged,
        DriftKind::PrivateKeyChanged,
        DriftKind::LinkDown,
        DriftKind::LinkDeleted,
    ] {
        assert!(
            told.iter().any(|detail| detail.contains(kind.as_str())),
            "{kind}: {told:?}"
        );
    }
}
