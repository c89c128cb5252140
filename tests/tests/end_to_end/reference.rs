//! Every endpoint, called by a client that was written from the API reference alone, and by `wgctl`.

use sentrazone_tests::lab::{Lab, PLANE_PORT};
use sentrazone_tests::reference_client;

use crate::online;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_from_the_reference_alone_works_unchanged() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    let url = format!("http://127.0.0.1:{PLANE_PORT}");
    let words = reference_client::command(&lab.admin(), &url, "los-angeles", host.token(), lab.folder()).await;
    let printed = lab.exec(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let endpoints = [
        "POST /api/login",
        "GET /api/statuses",
        "GET /api/history",
        "GET /api/wg-clients/",
        "POST /api/wg-clients/",
        "/enable",
        "/disable",
        "/qrcode",
        "GET /api/audit",
        "GET /api/audit/export",
        "POST /api/report",
    ];
    for endpoint in endpoints {
        assert!(
            printed
                .lines()
                .any(|line| line.starts_with("ok ") && line.contains(endpoint)),
            "{endpoint}: {printed}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wgctl_handles_the_usual_commands_of_an_ops_engineer() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    let made: serde_json::Value =
        serde_json::from_str(&lab.wgctl(&["--json", "peer", "add", "los-angeles", "alice-iphone"])).unwrap();
    assert_eq!(
        (&made["name"], &made["applied"]),
        (&"alice-iphone".into(), &true.into())
    );
    assert!(lab.wgctl(&["peer", "list", "los-angeles"]).contains("alice-iphone"));
    let text = lab.wgctl(&["peer", "config", "los-angeles", "alice-iphone"]);
    let device = lab.device("alice");
    device.connect(&text);
    assert!(device.reaches("10.8.0.1"));
    assert!(lab.wgctl(&["peer", "qr", "los-angeles", "alice-iphone"]).contains('█'));
    lab.wgctl(&["peer", "disable", "los-angeles", "alice-iphone"]);
    assert!(device.misses("10.8.0.1"));
    lab.wgctl(&["peer", "enable", "los-angeles", "alice-iphone"]);
    lab.wgctl(&["peer", "rename", "los-angeles", "alice-iphone", "alice-pixel"]);
    assert!(
        lab.wgctl(&["peer", "show", "los-angeles", "alice-pixel"])
            .contains("10.8.0.2")
    );
    assert!(lab.wgctl(&["status"]).contains("los-angeles"));
    assert!(lab.wgctl(&["server", "show", "los-angeles"]).contains("10.8.0.0/24"));
    lab.wgctl(&["history", "los-angeles"]);
    lab.wgctl(&["peer", "remove", "los-angeles", "alice-pixel"]);
    assert!(host.kernel_peers().is_empty());
    let audit = lab.wgctl(&["audit"]);
    for action in [
        "wg_client_created",
        "wg_client_config_viewed",
        "wg_client_disabled",
        "wg_client_deleted",
    ] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
    assert!(
        lab.wgctl(&["audit", "export"])
            .starts_with("id,actor,action,target,ip,created_at")
    );
    let shown = host.namespace.exec(&[
        &sentrazone_tests::process::binary("wgctl").display().to_string(),
        "show",
        "wg0",
    ]);
    assert!(shown.contains("public key") && shown.contains("51820"), "{shown}");
}
