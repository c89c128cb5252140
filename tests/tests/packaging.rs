//! What the packages will install is true: the example configurations and the units.

use std::path::{Path, PathBuf};
use std::process::Command;

use sentrazone_agent::config::Config as AgentConfig;
use sentrazone_plane::Config as PlaneConfig;
use sentrazone_tests::process::binary;

fn packaged(path: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

/// The file with every setting in force: `#key = value` without its `#`.
fn uncommented(text: &str) -> String {
    let is_setting = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        line.contains(" = ") && !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    let lines = text
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_planes_example_shows_every_setting_with_its_default() {
    let (path, text) = packaged("packaging/plane.toml");
    let parse = |text: &str| PlaneConfig::parse(&path, text, std::iter::empty()).unwrap();
    assert_eq!(
        format!("{:?}", parse(&uncommented(&text))),
        format!("{:?}", PlaneConfig::default())
    );
    assert_eq!(format!("{:?}", parse(&text)), format!("{:?}", PlaneConfig::default()));
}

#[test]
fn the_agents_example_shows_every_setting_with_its_default() {
    let (_, text) = packaged("packaging/agent.toml");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, uncommented(&text)).unwrap();
    // Together, ca_file and pin are refused.
    let mut config = AgentConfig::read(&path, std::iter::empty()).unwrap();
    assert!(
        config.ca_file.take().is_some(),
        "an example, for a setting without default"
    );
    assert_eq!(std::mem::take(&mut config.pin).len(), 1, "another");
    let default = AgentConfig::new(config.plane.clone());
    assert_eq!(format!("{config:?}"), format!("{default:?}"));
    let settings = format!("{default:?}").matches(": ").count();
    assert!(
        settings >= 8,
        "a setting was added: does the example have it? {default:?}"
    );
}

#[test]
fn the_units_are_valid_and_confined() {
    // Exposure as systemd counts it, in tenths.
    for (name, most) in [("sentrazone-plane", "11"), ("sentrazone-agent", "15")] {
        let (_, text) = packaged(&format!("systemd/{name}.service"));
        let folder = tempfile::tempdir().unwrap();
        let unit = folder.path().join(format!("{name}.service"));
        let installed = binary(name).display().to_string();
        std::fs::write(&unit, text.replace(&format!("/usr/bin/{name}"), &installed)).unwrap();
        let verified = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&unit)
            .output()
            .unwrap();
        let words = [verified.stdout, verified.stderr].concat();
        assert!(words.is_empty(), "{}", String::from_utf8_lossy(&words));
        let security = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold", most])
            .arg(&unit)
            .output()
            .unwrap();
        assert!(
            security.status.success(),
            "{}",
            String::from_utf8_lossy(&security.stdout)
        );
    }
}
