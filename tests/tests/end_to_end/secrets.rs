//! Keys and tokens must be stored only where they belong.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sentrazone_tests::device::values;
use sentrazone_tests::lab::Lab;

use crate::create_applied;

#[tokio::test(flavor = "multi_thread")]
async fn the_planes_files_contain_no_secret_key_of_a_host_or_device() {
    let mut lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    let mut secrets = BTreeSet::new();
    for name in ["alice", "bob", "carol"] {
        let peer = create_applied(&lab, &host, name).await;
        let text = lab.admin().peer_configuration(&host.id, peer.id).await.unwrap();
        secrets.extend(values(&text, "PrivateKey"));
        secrets.extend(values(&text, "PresharedKey"));
    }
    let dump = host.dump();
    secrets.insert(dump[0][0].clone());
    secrets.extend(dump[1..].iter().map(|row| row[1].clone()));
    assert_eq!(
        secrets.len(),
        7,
        "expected the host's private key, three devices' private keys and three preshared keys"
    );
    assert!(!secrets.contains("(none)"));
    assert!(lab.plane().stop().success());

    let token = host.token().as_bytes().to_vec();
    let mut files = 0;
    for file in walk(&lab.plane_state())
        .into_iter()
        .chain([lab.folder().join("plane.log")])
    {
        let content = std::fs::read(&file).unwrap();
        files += 1;
        for secret in &secrets {
            let raw = BASE64.decode(secret).unwrap();
            let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
            for form in [secret.as_bytes(), &raw, hex.as_bytes()] {
                assert!(!contains(&content, form), "{} contains a key", file.display());
            }
        }
        assert!(
            !contains(&content, &token),
            "{} contains the agent's token",
            file.display()
        );
    }
    assert!(
        files >= 3,
        "only {files} files: expected the database, the signing key and the log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_files_are_accessible_only_to_their_owner() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    create_applied(&lab, &host, "alice").await;
    let files = [
        walk(&lab.plane_state()),
        walk(&host.state()),
        walk(host.config().parent().unwrap()),
    ]
    .concat();
    let secret = |path: &&std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        !name.ends_with(".log") && !name.ends_with(".toml") && !name.ends_with(".sock")
    };
    let checked: Vec<_> = files.iter().filter(secret).collect();
    for file in &checked {
        let mode = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    assert!(checked.len() >= 5, "{checked:?}");
}

pub(crate) fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
