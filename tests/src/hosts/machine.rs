//! A whole emulated machine with systemd and a disk of its own that survives reboots.
//!
//! Owns the machine's disk, starting and stopping the machine (by a clean reboot or a power cut), and running scripts
//! on it. It must not know the product: the module `installed` installs the product.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The maximum time for a boot. Under emulation, a kernel sometimes locks up before it finds its disk.
const BOOT: Duration = Duration::from_secs(150);
/// The maximum time for one script.
const SCRIPT: Duration = Duration::from_secs(180);
/// The pause between two checks of a condition.
const PAUSE: Duration = Duration::from_millis(200);
/// The number of attempts to boot.
const BOOTS: usize = 3;

/// A running machine. It is killed when dropped.
pub struct Machine {
    qemu: Option<Child>,
    control: Option<BufReader<UnixStream>>,
    folder: tempfile::TempDir,
    initramfs: PathBuf,
    second_disk: PathBuf,
    cable: Option<Cable>,
    /// The time at which this boot began.
    pub booted: Instant,
}

/// One end of a network cable between two machines, in addition to each machine's own network. Its
/// interface has the hardware address `52:54:00:77:00:0` followed by `own_end`.
#[derive(Debug, Clone)]
pub struct Cable {
    /// A directory that both machines share.
    pub folder: PathBuf,
    /// The number of this machine's end, one digit.
    pub own_end: u8,
    /// The number of the other machine's end.
    pub other_end: u8,
}

impl Machine {
    /// Creates a machine and boots it. `second_disk` becomes its read-only `/dev/vdb`.
    #[must_use]
    pub fn boot(second_disk: &Path) -> Self {
        Self::boot_with(second_disk, None)
    }

    /// Like [`Machine::boot`], but with a cable to another machine.
    #[must_use]
    pub fn boot_on(cable: Cable, second_disk: &Path) -> Self {
        Self::boot_with(second_disk, Some(cable))
    }

    fn boot_with(second_disk: &Path, cable: Option<Cable>) -> Self {
        assert!(
            std::env::var_os("SENTRAZONE_IN_GUEST").is_none(),
            "a machine cannot run inside an emulated host: use `cargo machine-test`"
        );
        let prepared = Command::new(script("prepare"))
            .stderr(Stdio::inherit())
            .output()
            .expect("tests/guest/machine/prepare");
        assert!(prepared.status.success(), "the machine cannot be prepared");
        let paths = String::from_utf8(prepared.stdout).expect("paths");
        let [disk, initramfs] = paths.lines().collect::<Vec<_>>()[..] else {
            panic!("{paths:?}: a disk and an initramfs were expected")
        };
        let folder = tempfile::Builder::new()
            .prefix("sentrazone-machine")
            .tempdir()
            .expect("a folder");
        let copied = Command::new("cp")
            .args(["--sparse=always", "--reflink=auto", disk])
            .arg(folder.path().join("disk"))
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy the disk");
        let mut machine = Self {
            qemu: None,
            control: None,
            folder,
            initramfs: initramfs.into(),
            second_disk: second_disk.to_owned(),
            cable,
            booted: Instant::now(),
        };
        machine.start();
        machine
    }

    /// Boots from the machine's disk, and waits for its control connection.
    pub fn start(&mut self) {
        for attempt in 1..=BOOTS {
            let socket = self.folder.path().join("control");
            let _ = std::fs::remove_file(&socket);
            let listener = UnixListener::bind(&socket).expect("a socket");
            self.booted = Instant::now();
            self.qemu = Some(self.emulate(&socket));
            listener.set_nonblocking(true).expect("a socket");
            let (stream, _) =
                crate::wait::until_blocking("QEMU starts", || listener.accept(), Result::is_ok).expect("QEMU");
            stream.set_nonblocking(false).expect("a socket");
            stream.set_read_timeout(Some(BOOT)).expect("a timeout");
            let mut control = BufReader::new(stream);
            let mut line = String::new();
            if control.read_line(&mut line).is_ok() && line.starts_with("ready ") {
                control.get_ref().set_read_timeout(Some(SCRIPT)).expect("a timeout");
                self.control = Some(control);
                return;
            }
            eprintln!("machine: boot attempt {attempt} of {BOOTS} failed; {}", self.console());
            self.end();
        }
        panic!("the machine did not boot");
    }

    fn emulate(&self, socket: &Path) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("qemu.log"))
            .expect("a log");
        let cable = self.cable.iter().flat_map(|cable| {
            let ends = [cable.own_end, cable.other_end].map(|end| end.to_string().into());
            [cable.folder.clone().into_os_string()].into_iter().chain(ends)
        });
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(script("start"))
            .arg(self.folder.path().join("disk"))
            .arg(&self.initramfs)
            .arg(socket)
            .arg(self.folder.path().join("console"))
            .arg(&self.second_disk)
            .args(cable)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("tests/guest/machine/start")
    }

    /// Runs a bash script on the machine, as root. Returns its exit code and its output.
    pub fn tries(&mut self, script: &str) -> (i32, String) {
        let answer = self.converse(script).unwrap_or_else(|error| {
            panic!(
                "no response from the machine to {script:?} ({error}); {}",
                self.console()
            )
        });
        let (code, output) = answer.trim_end().split_once(' ').expect("code and output");
        let output = STANDARD.decode(output).expect("base64");
        let output = String::from_utf8_lossy(&output).trim_end().to_owned();
        (code.parse().expect("an exit code"), output)
    }

    fn converse(&mut self, script: &str) -> std::io::Result<String> {
        let control = self.control.as_mut().ok_or(std::io::ErrorKind::NotConnected)?;
        let line = format!("{}\n", STANDARD.encode(script));
        control.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        match control.read_line(&mut answer)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(answer),
        }
    }

    /// Runs a bash script on the machine and returns its output. Panics with the output if the script fails.
    pub fn run(&mut self, script: &str) -> String {
        let (code, output) = self.tries(&format!("set -eo pipefail\n{script}"));
        assert!(code == 0, "{script:?}: exit code {code}\n{output}");
        output
    }

    /// Repeats a script until its output satisfies the condition. Panics with the last output if that
    /// takes longer than the maximum time for one script.
    pub fn until(&mut self, what: &str, script: &str, satisfied: impl Fn(&str) -> bool) -> String {
        until(what, || self.tries(script).1, |output| satisfied(output))
    }

    /// Shuts the machine down with `systemctl reboot`, and starts it again.
    pub fn reboot(&mut self) {
        let _ = self.converse("systemctl reboot");
        let qemu = self.qemu.as_mut().expect("a running machine");
        let ended = || matches!(qemu.try_wait(), Ok(Some(_)));
        until("the machine went down", ended, |ended| *ended);
        self.start();
    }

    /// Cuts the machine's power. Data that its kernel has not written to the disk is lost.
    pub fn cut(&mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.control = None;
        if let Some(mut qemu) = self.qemu.take() {
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
    }

    fn console(&self) -> String {
        let text = std::fs::read(self.folder.path().join("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let tail: Vec<&str> = text.lines().rev().take(15).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let errors = std::fs::read_to_string(self.folder.path().join("qemu.log")).unwrap_or_default();
        format!("its console ends with:\n{}\n{errors}", tail.join("\n"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// Calls `ask` until its result satisfies the condition, but no longer than the maximum time for one script.
fn until<T: std::fmt::Debug>(what: &str, mut ask: impl FnMut() -> T, satisfied: impl Fn(&T) -> bool) -> T {
    let begin = Instant::now();
    loop {
        let answer = ask();
        if satisfied(&answer) {
            return answer;
        }
        assert!(
            begin.elapsed() < SCRIPT,
            "{what}: still not true after {SCRIPT:?}: {answer:?}"
        );
        std::thread::sleep(PAUSE);
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/machine").join(name)
}
