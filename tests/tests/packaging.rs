//! The installed files must match the programs: configuration examples, units, scripts and manual pages.

use std::collections::BTreeSet;
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

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Returns the file with every setting enabled: the `#` of `#key = value` is removed.
fn uncommented(text: &str) -> String {
    let is_setting = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| is_name(key));
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
    // `ca_file` and `pin` must not be set together.
    let mut config = AgentConfig::read(&path, std::iter::empty()).unwrap();
    assert!(
        config.ca_file.take().is_some(),
        "ca_file has no default and needs an example value"
    );
    assert_eq!(
        std::mem::take(&mut config.pin).len(),
        1,
        "pin has no default and needs an example value"
    );
    let default = AgentConfig::new(config.plane.clone());
    assert_eq!(format!("{config:?}"), format!("{default:?}"));
    let settings = format!("{default:?}").matches(": ").count();
    assert!(settings >= 8, "a setting is missing from the defaults: {default:?}");
}

#[test]
fn the_units_are_valid_and_confined() {
    // The highest permitted exposure level according to systemd-analyze, in tenths.
    for (name, most) in [("sentrazone-plane", "11"), ("sentrazone-agent", "15")] {
        let (_, text) = packaged(&format!("systemd/{name}.service"));
        let folder = tempfile::tempdir().unwrap();
        let unit = folder.path().join(format!("{name}.service"));
        let installed = binary(name).display().to_string();
        std::fs::write(&unit, text.replace(&format!("/usr/bin/{name}"), &installed)).unwrap();
        let verified = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
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

/// The crates that are packaged.
const PACKAGED: [&str; 3] = ["plane", "agent", "wgctl"];

/// Returns the packaging metadata from a crate's manifest.
fn metadata(folder: &str) -> toml::Table {
    let manifest: toml::Table = packaged(&format!("{folder}/Cargo.toml")).1.parse().unwrap();
    manifest["package"]["metadata"]["deb"].as_table().unwrap().clone()
}

/// Returns the source and the destination of each file in a package.
fn files(folder: &str) -> Vec<(String, String)> {
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let rows = metadata(folder)["assets"].as_array().unwrap().clone();
    rows.iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
}

#[test]
fn every_packaged_file_exists_or_is_generated_by_the_build() {
    for folder in PACKAGED {
        for (source, _) in files(folder) {
            let made = ["target/", "../target/packages/documents/"];
            let (path, _) = packaged("Makefile");
            let path = path.with_file_name(folder).join(&source);
            assert!(
                path.is_file() || made.iter().any(|begin| source.starts_with(begin)),
                "{source}"
            );
        }
    }
}

#[test]
fn every_packaging_file_is_part_of_a_package() {
    let (root, _) = packaged("Makefile");
    let root = root.parent().unwrap();
    let shipped: BTreeSet<PathBuf> = PACKAGED
        .iter()
        .flat_map(|folder| {
            files(folder)
                .into_iter()
                .map(move |(source, _)| root.join(folder).join(source))
        })
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    for folder in [
        "systemd",
        "packaging/sysusers.d",
        "packaging/tmpfiles.d",
        "packaging/sysctl.d",
        "packaging/modules-load.d",
    ] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path().canonicalize().unwrap();
            assert!(shipped.contains(&path), "{} is not in any package", path.display());
        }
    }
}

/// Checks that `plane.toml`, which no program writes, is the only conffile. If a conffile has changed both locally and
/// in the package, dpkg asks the user.
#[test]
fn the_only_conffile_is_plane_toml_which_no_program_writes() {
    let below_etc = |folder| files(folder).into_iter().filter(|(_, to)| to.starts_with("etc/"));
    let all: Vec<(String, String)> = PACKAGED.into_iter().flat_map(below_etc).collect();
    assert_eq!(
        all,
        [("../packaging/plane.toml".to_owned(), "etc/sentrazone/".to_owned())]
    );
    assert!(
        PACKAGED
            .iter()
            .all(|folder| !metadata(folder).contains_key("conf-files"))
    );
}

#[test]
fn the_maintainer_scripts_are_plain_shell_and_include_debhelpers_part() {
    let mut count = 0;
    for folder in ["plane", "agent"] {
        let (scripts, _) = packaged("Makefile");
        let scripts = scripts.with_file_name("packaging").join("scripts").join(folder);
        for entry in std::fs::read_dir(&scripts).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{text}");
            assert_eq!(text.matches("#DEBHELPER#").count(), 1, "{text}");
            succeeds(Command::new("sh").arg("-n").arg(&path));
            match Command::new("shellcheck").arg("--shell=sh").arg(&path).output() {
                Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
            }
            count += 1;
        }
    }
    assert_eq!(count, 4);
}

/// Returns the names of all settings in an example.
fn names(example: &str) -> BTreeSet<String> {
    let names = uncommented(example);
    let names = names.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
    names.filter(|name| is_name(name)).map(str::to_owned).collect()
}

/// Returns the names of the fields in a configuration's `Debug` output.
fn fields(shown: &str) -> BTreeSet<String> {
    let words = shown.split(&[' ', '{', ',', '(', '\n'][..]);
    let words = words.filter_map(|word| word.strip_suffix(':'));
    words.filter(|word| is_name(word)).map(str::to_owned).collect()
}

#[test]
fn the_manual_pages_describe_every_setting() {
    let plane = format!("{:#?}", PlaneConfig::default());
    let agent = format!("{:#?}", AgentConfig::new(Vec::new()));
    for (name, shown) in [("plane.toml", plane), ("agent.toml", agent)] {
        let (_, page) = packaged(&format!("packaging/man/{name}.5"));
        let (_, example) = packaged(&format!("packaging/{name}"));
        let tags: Vec<&str> = page.split(".TP\n.B").skip(1).collect();
        let told = tags.iter().map(|tag| {
            tag.split_whitespace()
                .nth(usize::from(tag.starts_with('R')))
                .unwrap()
                .to_owned()
        });
        let told: BTreeSet<String> = told.collect();
        assert_eq!(told, names(&example), "{name}(5) and the example differ");
        for field in fields(&shown) {
            let setting = match field.as_str() {
                "limits" | "metrics" | "tls" => continue,
                "cache_size" => "cache_mib",
                "audit_retention" => "audit_retention_days",
                other => other,
            };
            assert!(told.contains(setting), "{name}(5) does not describe {setting}");
        }
        for default in uncommented(&example)
            .lines()
            .filter_map(|line| Some(line.split_once(" = ")?.1))
        {
            let is_number = default.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
            assert!(
                !is_number || page.contains(&format!("\" = \" {default}\n")),
                "{name}(5): {default}"
            );
        }
    }
}

#[test]
fn the_manual_pages_explain_every_exit_code_that_prevents_a_restart() {
    for name in ["sentrazone-plane", "sentrazone-agent"] {
        let (_, page) = packaged(&format!("packaging/man/{name}.8"));
        let (_, unit) = packaged(&format!("systemd/{name}.service"));
        let codes = unit
            .split("\nRestartPreventExitStatus=")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        assert!(!codes.is_empty());
        for code in codes.split(' ') {
            assert!(page.contains(&format!("\n.B {code}\n")), "{name}(8): {code}");
        }
    }
}

/// Runs the agent, with its configuration and state in the test's own directory, until it exits on its own.
fn agent(folder: &Path) -> std::process::Output {
    let config = folder.join("agent.toml");
    let text = format!(
        "plane = [\"http://127.0.0.1:1\"]\nstate_dir = \"{}\"\n",
        folder.join("state").display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(binary("sentrazone-agent"));
    command
        .arg("--config")
        .arg(config)
        .env("SENTRAZONE_LOG", "error")
        .output()
        .unwrap()
}

#[test]
fn an_agent_that_a_restart_cannot_help_prints_one_line_and_exits_with_its_own_code() {
    let ends = |prepare: &dyn Fn(&Path), code: i32, words: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        prepare(folder.path());
        let ended = agent(folder.path());
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert!(said.lines().count() == 1 && said.contains(words), "{said}");
    };
    ends(
        &|folder| std::fs::write(folder.join("state/wireguard.key"), "no key").unwrap(),
        65,
        "does not contain a key",
    );
    ends(
        &|folder| std::fs::write(folder.join("state/released"), "").unwrap(),
        79,
        "released",
    );
    let locked = std::cell::RefCell::new(Vec::new());
    let lock = |folder: &Path| {
        let file = std::fs::File::create(folder.join("state/lock")).unwrap();
        file.lock().unwrap();
        locked.borrow_mut().push(file);
    };
    ends(&lock, 75, "another agent is running");
    let nothing = Command::new(binary("sentrazone-agent"))
        .args(["--config", "/nonexistent/agent.toml"])
        .output();
    assert_eq!(nothing.unwrap().status.code(), Some(78));
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
