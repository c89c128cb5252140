//! promtool, Prometheus's checker for metrics and rules. `tests/tools` downloads it if it is missing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let script = root().join("tests/tools");
        let fetched = Command::new(script).arg("--promtool").output().unwrap();
        let words = String::from_utf8_lossy(&fetched.stderr);
        assert!(fetched.status.success(), "cannot download promtool: {words}");
        String::from_utf8(fetched.stdout).unwrap().trim().into()
    })
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Runs promtool in a directory of the project. Returns its output, including warnings. Panics if promtool fails.
#[track_caller]
pub(crate) fn run(arguments: &[&str], folder: &str, stdin: &str) -> String {
    let mut child = Command::new(path())
        .args(arguments)
        .current_dir(root().join(folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    let words = String::from_utf8_lossy(&words).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {words}");
    words
}
