//! The architecture holds: who may depend on whom, what the plane must not link, how files open,
//! and what stands at the top level. What documents say is held by `documents`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The names of all packages that `package` links, as built for release (not for tests).
fn linked(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(["--package", package])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn plane_and_agent_meet_only_in_the_shared_library() {
    let (plane, agent, shared) = (linked("sentrazone-plane"), linked("sentrazone-agent"), linked("wgctl"));
    assert!(plane.contains("wgctl") && agent.contains("wgctl"));
    assert!(!plane.contains("sentrazone-agent"), "the plane links the agent");
    assert!(!agent.contains("sentrazone-plane"), "the agent links the plane");
    assert!(
        !shared.iter().any(|name| name.starts_with("sentrazone-")),
        "the shared library links a program"
    );
}

#[test]
fn the_plane_links_no_netlink_and_the_agent_no_database() {
    let host_side = |name: &&String| name.contains("netlink") || matches!(name.as_str(), "wireguard-control");
    let plane = linked("sentrazone-plane");
    assert_eq!(
        plane.iter().filter(host_side).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
    let agent = linked("sentrazone-agent");
    assert!(agent.contains("netlink-packet-wireguard"));
    for foreign in ["redb", "axum", "argon2", "jsonwebtoken"] {
        assert!(!agent.contains(foreign), "the agent links {foreign}");
    }
}

#[test]
fn nothing_outside_the_store_knows_redb() {
    for file in rust_files(&root().join("plane/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let inside = file
            .strip_prefix(root().join("plane/src"))
            .unwrap()
            .starts_with("store");
        assert!(inside || !text.contains("redb::"), "{} names redb", file.display());
    }
}

#[test]
fn plane_and_agent_execute_no_program() {
    for folder in ["plane/src", "agent/src", "wgctl/src"] {
        for file in rust_files(&root().join(folder)) {
            if file
                .components()
                .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
            {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let starts = ["process::Command", "Command::new(", "libc::exec", "posix_spawn"];
            let found: Vec<_> = starts.iter().filter(|start| text.contains(**start)).collect();
            assert!(found.is_empty(), "{} has {found:?}", file.display());
        }
    }
}

#[test]
fn every_source_file_says_first_what_it_owns() {
    for folder in ["wgctl", "plane", "agent", "packaging", "tests"] {
        for file in rust_files(&root().join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("//! "), "{} does not open with `//!`", file.display());
        }
    }
}

#[test]
fn the_top_level_is_what_the_architecture_says() {
    let expected: BTreeSet<&str> = [
        "Cargo.toml",
        "Cargo.lock",
        "wgctl",
        "plane",
        "agent",
        "packaging",
        "systemd",
        "tests",
        "README.md",
        "Makefile",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs",
        "deny.toml",
        "clippy.toml",
        "rust-toolchain.toml",
    ]
    .into();
    let output = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found: BTreeSet<&str> = text
        .lines()
        .filter_map(|path| path.split('/').next())
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_api_reference_is_what_the_openapi_document_says() {
    let page = std::fs::read_to_string(root().join("docs/api.md")).unwrap();
    let document = serde_json::from_str(sentrazone_plane::openapi()).unwrap();
    let renewed = sentrazone_tests::reference::renewed(&page, &document).unwrap();
    assert!(page == renewed, "docs/api.md is behind: run `make docs`");
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let found = files(folder, "rs");
    assert!(!found.is_empty(), "{} has no source files", folder.display());
    found
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    found
}
