//! The architecture rules: permitted dependencies, libraries that the plane and the agent must not link, the first
//! lines of source files, and the top-level entries. The test `documents` checks the documents.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the names of all packages that `package` links in a release build (not in its tests).
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
fn plane_and_agent_share_code_only_through_the_library() {
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

/// The parts of the plane, each with the parts that it may import. Tests may import more.
const IMPORTS: &[(&str, &[&str])] = &[
    ("auth", &["fleet", "keys", "model"]),
    ("config", &[]),
    ("fleet", &["history", "model", "relay", "store"]),
    ("history", &[]),
    ("http", &["auth", "config", "fleet", "keys", "model", "relay", "store"]),
    ("keys", &[]),
    ("model", &[]),
    ("relay", &["model"]),
    ("store", &["model"]),
    ("tls", &["config"]),
];

#[test]
fn the_parts_of_the_plane_import_each_other_in_one_direction_only() {
    let source = root().join("plane/src");
    let folders = std::fs::read_dir(&source)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect::<BTreeSet<_>>();
    let named = IMPORTS.iter().map(|(part, _)| (*part).to_owned()).collect();
    assert_eq!(folders, named, "a part of the plane has no rule");
    for (part, allowed) in IMPORTS {
        for file in rust_files(&source.join(part)).into_iter().filter(|file| !is_test(file)) {
            let text = code_of(&file);
            let imported = text.split("crate::").skip(1);
            let parts = imported.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
            for other in parts.filter(|other| folders.contains(*other)) {
                assert!(
                    other == *part || allowed.contains(&other),
                    "{} imports {other}, which {part} must not import",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn only_the_engine_uses_redb_and_its_transactions() {
    let source = root().join("plane/src");
    for file in rust_files(&source).into_iter().filter(|file| !is_test(file)) {
        if file.starts_with(source.join("store/redb")) {
            continue;
        }
        let text = code_of(&file);
        for name in [
            "redb::{",
            "redb::Database",
            "WriteTx",
            "ReadTx",
            "WriteTransaction",
            "ReadTransaction",
        ] {
            assert!(!text.contains(name), "{} names {name}", file.display());
        }
        let in_store = file.starts_with(source.join("store"));
        assert!(in_store || !text.contains("redb::"), "{} names redb", file.display());
    }
}

#[test]
fn the_model_does_no_io() {
    for file in rust_files(&root().join("plane/src/model")) {
        let text = code_of(&file);
        for name in [
            "std::fs",
            "std::io",
            "tokio",
            "std::thread",
            "std::process",
            "SystemTime",
            "Timestamp::now",
        ] {
            assert!(!text.contains(name), "{} names {name}", file.display());
        }
    }
}

#[test]
fn modules_with_submodules_use_mod_rs_and_no_directory_is_crowded() {
    for source in ["plane/src", "agent/src", "wgctl/src", "packaging/src", "tests/src"] {
        let files = rust_files(&root().join(source));
        for file in &files {
            assert!(
                !file.with_extension("").is_dir(),
                "{} is next to a directory of the same name",
                file.display()
            );
            let folder = file.parent().unwrap();
            let neighbours = files.iter().filter(|other| other.parent() == Some(folder)).count();
            assert!(neighbours <= 16, "{} contains {neighbours} files", folder.display());
        }
    }
}

/// Returns a file's text without its unit tests.
fn code_of(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

/// Returns true if the file contains only tests.
fn is_test(file: &Path) -> bool {
    file.components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

#[test]
fn plane_and_agent_execute_no_program() {
    for folder in ["plane/src", "agent/src", "wgctl/src"] {
        for file in rust_files(&root().join(folder))
            .into_iter()
            .filter(|file| !is_test(file))
        {
            let text = code_of(&file);
            let starts = ["process::Command", "Command::new(", "libc::exec", "posix_spawn"];
            let found: Vec<_> = starts.iter().filter(|start| text.contains(**start)).collect();
            assert!(found.is_empty(), "{} contains {found:?}", file.display());
        }
    }
}

#[test]
fn every_source_file_starts_with_a_module_comment() {
    for folder in ["wgctl", "plane", "agent", "packaging", "tests"] {
        for file in rust_files(&root().join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("//! "), "{} does not start with `//!`", file.display());
        }
    }
}

#[test]
fn the_top_level_has_only_the_expected_entries() {
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
fn the_api_reference_matches_the_openapi_document() {
    let page = std::fs::read_to_string(root().join("docs/api.md")).unwrap();
    let document = serde_json::from_str(sentrazone_plane::openapi()).unwrap();
    let renewed = sentrazone_tests::reference::renewed(&page, &document).unwrap();
    assert!(page == renewed, "docs/api.md is out of date: run `make docs`");
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
