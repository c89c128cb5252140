//! The installed product, as an archive that a machine unpacks.
//!
//! Owns the list of files and the commands that are run when a package is installed. It must not
//! start or configure anything: administrators do that, and so do the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::Machine;
use crate::process::binary;

/// The installed files: the path in the repository, and the directory on the machine.
const FILES: [(&str, &str); 8] = [
    ("systemd/sentrazone-plane.service", "usr/lib/systemd/system"),
    ("systemd/sentrazone-agent.service", "usr/lib/systemd/system"),
    ("packaging/sysusers.d/sentrazone-plane.conf", "usr/lib/sysusers.d"),
    ("packaging/sysusers.d/sentrazone-agent.conf", "usr/lib/sysusers.d"),
    ("packaging/sysctl.d/60-sentrazone-agent.conf", "usr/lib/sysctl.d"),
    (
        "packaging/modules-load.d/sentrazone-agent.conf",
        "usr/lib/modules-load.d",
    ),
    ("packaging/plane.toml", "etc/sentrazone"),
    ("LICENSE", "usr/share/doc/sentrazone-plane"),
];
const PROGRAMS: [&str; 3] = ["sentrazone-plane", "sentrazone-agent", "wgctl"];

/// Packs the newly built programs and the files they need into an archive in `folder`. Returns the archive's path.
#[must_use]
pub fn archive(folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::create_dir_all(tree.join("usr/bin")).expect("a folder");
    for name in PROGRAMS {
        succeeds(
            Command::new("strip")
                .arg("-o")
                .arg(tree.join("usr/bin").join(name))
                .arg(binary(name)),
        );
    }
    for (from, to) in FILES {
        let from = repository.join(from);
        succeeds(
            Command::new("install")
                .args(["-D", "-m", "644", "-t"])
                .arg(tree.join(to))
                .arg(from),
        );
    }
    let archive = folder.join("product.tar");
    succeeds(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "--mode=u+rw,go+r,go-w", "-C"])
            .arg(&tree)
            .arg("-cf")
            .arg(&archive)
            .args(["usr", "etc"]),
    );
    archive
}

/// Boots a machine and installs the product on it. Nothing is enrolled or started.
#[must_use]
pub fn machine(folder: &Path) -> Machine {
    let mut machine = Machine::boot(&archive(folder));
    machine.run(
        "tar -xf /dev/vdb -C / --no-overwrite-dir
         systemd-sysusers
         /usr/lib/systemd/systemd-sysctl
         systemctl restart systemd-modules-load
         systemctl daemon-reload
         sync", // A package manager does the same, so that a power cut does not lose the programs.
    );
    machine
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
