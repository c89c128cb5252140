//! Machines to which the packages have been copied, and a simulated user who types the manual's commands.

use std::path::{Path, PathBuf};
use std::process::Command;

use sentrazone_tests::machine::{Cable, Machine};
use sentrazone_tests::manual::{Block, blocks};
use tokio::sync::{Mutex, MutexGuard};

/// The lock that allows one test at a time to use machines, because the tests run on two processors.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The directories of the older and of the current packages on a machine.
pub(crate) const OLDER: &str = "/root/older";
pub(crate) const THESE: &str = "/root/these";

/// A script that lists a machine's files, except those that its own services change.
const FILES: &str = "
    find / -xdev \\( -path /tmp -o -path /var/tmp -o -path /root -o -path /var/log -o -path /var/cache -o -path /var/lib/apt \
        -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /etc/systemd/network \\) -prune \
        -o -printf '%p %y %m %u %g %l\\n' | grep -vE '^/(etc/(passwd|group|g?shadow)-?|etc/\\.pwd\\.lock) ' | sort";

/// Waits until no other test is using machines.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}

/// A machine, and its files before the installation.
pub(crate) struct Site {
    pub(crate) machine: Machine,
    before: String,
}

impl Site {
    /// Boots a machine without a cable.
    pub(crate) fn alone(disk: &Path) -> Self {
        Self::prepared(Machine::boot(disk))
    }

    /// Boots a machine at one end of a cable, with the address 10.77.0.{own_end}.
    pub(crate) fn on(cable: &Path, own_end: u8, other_end: u8, disk: &Path) -> Self {
        let cable = Cable {
            folder: cable.to_owned(),
            own_end,
            other_end,
        };
        let mut machine = Machine::boot_on(cable, disk);
        machine.run(&format!(
            "printf '[Match]\\nMACAddress=52:54:00:77:00:0{own_end}\\n[Network]\\nAddress=10.77.0.{own_end}/24\\n' \
                >/etc/systemd/network/05-cable.network
             systemctl restart systemd-networkd"
        ));
        Self::prepared(machine)
    }

    /// Prepares what the manual assumes: the packages, sudo, and an apt that does not ask for confirmation.
    fn prepared(mut machine: Machine) -> Self {
        machine.run(
            "tar -xf /dev/vdb -C /root
             printf '#!/bin/sh\\nexec \"$@\"\\n' >/usr/local/bin/sudo
             chmod 755 /usr/local/bin/sudo
             echo 'APT::Get::Assume-Yes \"true\";' >/etc/apt/apt.conf.d/90yes
             echo '127.0.0.1 vpn.example.com' >>/etc/hosts",
        );
        let before = machine.run(FILES);
        Self { machine, before }
    }

    /// Types a block in a directory, with `input` as standard input. Returns the output.
    pub(crate) fn types(&mut self, folder: &str, block: &Block, input: &str) -> String {
        let commands = block.commands.trim();
        self.machine
            .run(&format!("cd {folder}\n{{ {commands}\n}} <<'INPUT'\n{input}\nINPUT"))
    }

    /// Types a block again and again until it succeeds. Panics if the block fails with output that does not contain
    /// `not_yet`.
    pub(crate) fn types_until_done(&mut self, folder: &str, block: &Block, not_yet: &str) {
        let script = format!("set -e; cd {folder}; {}; echo done", block.commands.trim());
        let done = |output: &str| output.ends_with("done") || !output.contains(not_yet);
        let output = self.machine.until("the manual's commands", &script, done);
        assert!(output.ends_with("done"), "{output}");
    }

    /// Returns the files that have been added or removed since the machine was prepared.
    pub(crate) fn left(&mut self) -> Vec<String> {
        let after = self.machine.run(FILES);
        let new = after
            .lines()
            .filter(|line| !self.before.lines().any(|old| old == *line));
        let gone = self
            .before
            .lines()
            .filter(|line| !after.lines().any(|new| new == *line));
        new.chain(gone).map(str::to_owned).collect()
    }
}

/// Returns the blocks under a heading for a machine, in order.
pub(crate) fn manual(heading: &str, machine: &str) -> Vec<Block> {
    let of_it = |block: &Block| block.heading == heading && block.machine == machine;
    blocks().into_iter().filter(of_it).collect()
}

/// Returns the only block under a heading for a machine.
pub(crate) fn only(heading: &str, machine: &str) -> Block {
    let [block] = &manual(heading, machine)[..] else {
        panic!("expected exactly one block under {heading} for {machine}")
    };
    block.clone()
}

/// Packs the current packages, the previous ones and the sandbox-escape program into a tar file.
pub(crate) fn disk(folder: &Path) -> PathBuf {
    let packages = std::env::var_os("SENTRAZONE_PACKAGES");
    let packages = PathBuf::from(packages.expect("SENTRAZONE_PACKAGES: run with `make deb-test`"));
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (older, these) = (folder.join("older"), folder.join("these"));
    for folder in [&older, &these] {
        std::fs::create_dir_all(folder).unwrap();
    }
    succeeds(Command::new(repository.join("packaging/older")).arg(&older));
    for entry in std::fs::read_dir(packages).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            std::fs::copy(&path, these.join(path.file_name().unwrap())).unwrap();
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages/escape.c");
    succeeds(
        Command::new("gcc")
            .args(["-O1", "-o"])
            .arg(folder.join("escape"))
            .arg(source),
    );
    let disk = folder.join("packages.tar");
    let names = ["older", "these", "escape"];
    succeeds(
        Command::new("tar")
            .arg("-C")
            .arg(folder)
            .arg("-cf")
            .arg(&disk)
            .args(names),
    );
    disk
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
