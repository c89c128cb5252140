//! CVE-2026-15733, openwrt/luci #7452, and similar: neither plane nor agent executes a program while
//! an interface is created, peers are added and removed, and external changes are repaired.

use sentrazone_tests::lab::Lab;
use sentrazone_tests::process::binary;
use sentrazone_tests::trace::{Trace, is_allowed};
use sentrazone_tests::wait;
use wgctl::api::NewPeer;

use crate::{create, create_applied, online};

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_15733_agent_and_plane_execute_nothing() {
    assert!(is_allowed(), "this test needs ptrace(2): root, and no sandbox");
    let mut lab = Lab::new().await;
    lab.plane().stop();
    let plane = Trace::of(&binary("sentrazone-plane"), "traced-plane", lab.folder());
    lab.start_plane_from(plane.program()).await;
    let mut host = lab
        .enrolled("los-angeles", &["10.8.0.0/24", "fd00:8::/64"], |server| {
            server.masquerade = true;
        })
        .await;
    let agent = Trace::of(&binary("sentrazone-agent"), "traced-agent", lab.folder());
    host.start_from(agent.program());
    online(&lab, &host).await;

    for name in ["$(touch /tmp/owned)", "`id`", "; reboot #", "PostUp = id"] {
        let peer = create(&lab, &host, name).await;
        let text = lab.admin().peer_configuration(&host.id, peer.id).await.unwrap();
        assert!(text.starts_with(&format!("# {name}\n[Interface]\n")), "{text}");
    }
    let behind = NewPeer {
        name: Some("site".parse().unwrap()),
        server_allowed_ips: Some(vec!["192.168.7.0/24".parse().unwrap()]),
        ..NewPeer::default()
    };
    lab.admin().create_peer(&host.id, &behind, None).await.unwrap();
    let peer = create_applied(&lab, &host, "alice").await;
    let device = lab.device("alice");
    device.connect(&lab.admin().peer_configuration(&host.id, peer.id).await.unwrap());
    assert!(device.reaches("10.8.0.1"));
    host.namespace.exec(&["ip", "link", "del", &host.interface]);
    let back = || std::future::ready(host.has_peer(&peer.public_key));
    wait::until("the interface has been created again", back, |back| *back).await;
    lab.admin().remove_peer(&host.id, peer.id).await.unwrap();

    let ids = (host.agent().id(), lab.plane().id());
    assert!(host.agent().stop().success());
    assert!(lab.plane().stop().success());
    for (program, executed) in [("agent", agent.executed(ids.0)), ("plane", plane.executed(ids.1))] {
        assert_eq!(
            executed.len(),
            1,
            "something other than the program itself was executed: {executed:#?}"
        );
        assert!(executed[0].contains(&format!("sentrazone-{program}")), "{executed:?}");
    }
}
