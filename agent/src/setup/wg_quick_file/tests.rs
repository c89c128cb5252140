//! Tests of importing a wg-quick file.

use super::*;

fn key() -> PublicKey {
    PrivateKey::generate().unwrap().public_key()
}

fn parsed(text: &str) -> Result<Import, String> {
    Import::parse(Path::new("wg0.conf"), text).map_err(|error| error.to_string())
}

fn interface() -> String {
    let key = PrivateKey::generate().unwrap().to_base64();
    format!("[Interface]\nPrivateKey = {}\nListenPort = 51999\n", key.as_str())
}

#[test]
fn names_come_from_comments_above_or_inside_a_section() {
    let keys: Vec<PublicKey> = (0..8).map(|_| key()).collect();
    let text = format!(
        "{}# a note on the interface\n\n# alice\n[Peer]\nPublicKey = {}\n\n[Peer]\n# Name = bob\nPublicKey = {}\n\
         ### Client carol\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.8.0.4/32 # her phone\n\n### begin dave ###\n[Peer]\n\
         PublicKey = {}\n### end dave ###\n### begin erin ###\n[Peer]\nPublicKey = {}\n# PresharedKey = off\n\n\
         # far away\n\n[Peer]\nPublicKey = {}\n[Peer]\nPublicKey = {}\n#   \n[Peer]\n#zoë's phone\nPublicKey = {}\n",
        interface(),
        keys[0],
        keys[1],
        keys[2],
        keys[3],
        keys[4],
        keys[5],
        keys[6],
        keys[7]
    );
    let import = parsed(&text).unwrap();
    let names: Vec<Option<&str>> = keys
        .iter()
        .map(|key| import.names.get(key).map(PeerName::as_str))
        .collect();
    let expected = ["alice", "bob", "carol", "dave"].map(Some);
    assert_eq!(names[..4], expected);
    assert_eq!(names[4..], [Some("erin"), None, None, Some("zoë's phone")]);
    assert_eq!(import.device.peers.len(), 8);
}

#[test]
fn settings_are_read_as_wg_would_read_them_and_the_rest_is_reported() {
    let key = key();
    let text = format!(
        "{}MTU = 1380\nFwMark = 0x7\nPostUp = iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE; echo s3cret\nPostUp = \
         logger up\nSaveConfig = true\nColour = blue\n[Peer]\nPublicKey = {key}\nAllowedIPs = 10.8.0.7/24, 10.8.0.2\n\
         Endpoint = 192.0.2.7:51820\nPersistentKeepalive = 21\n",
        interface()
    );
    let import = parsed(&text).unwrap();
    let peer = &import.device.peers[&key];
    let nets: Vec<String> = peer.allowed_ips.iter().map(ToString::to_string).collect();
    assert_eq!(
        (nets, peer.persistent_keepalive),
        (vec!["10.8.0.0/24".to_owned(), "10.8.0.2/32".to_owned()], 21)
    );
    assert_eq!(import.device.listen_port, 51999);
    let notes = import.notes(&"los-angeles".parse().unwrap(), None);
    for part in [
        "--masquerade true",
        "runs no commands",
        "wg-quick option",
        "Colour",
        "--mtu 1380",
        "FwMark",
        "Endpoint",
    ] {
        assert!(
            notes.iter().filter(|note| note.contains(part)).count() == 1,
            "{part}: {notes:#?}"
        );
    }
    assert!(
        !format!("{notes:?} {import:?}").contains("s3cret"),
        "a command line can hold a secret"
    );
    assert_eq!(
        import.notes(&"los-angeles".parse().unwrap(), Some(1380)).len(),
        notes.len() - 1
    );
}

#[test]
fn an_unusable_file_is_refused_with_the_line_of_the_fault() {
    let one = format!("[Peer]\nPublicKey = {}\n", key());
    let twice = format!("{}{one}{one}", interface());
    assert!(
        parsed(&twice).unwrap_err().contains("line 6"),
        "{}",
        parsed(&twice).unwrap_err()
    );
    assert!(
        parsed("[Interface]\nListenPort = 1\n")
            .unwrap_err()
            .contains("PrivateKey")
    );
    let zero = format!("{}[Peer]\nPublicKey = {}=\n", interface(), "A".repeat(43));
    assert!(
        parsed(&zero).unwrap_err().contains("line 5"),
        "{}",
        parsed(&zero).unwrap_err()
    );
    let error = Import::read(Path::new("/nonexistent/wg0.conf"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nonexistent/wg0.conf"));
}
