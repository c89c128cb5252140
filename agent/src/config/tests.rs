//! Tests of the configuration: good and bad values for each setting, the file and the environment.

use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(&path, environment).map_err(|error| error.to_string())
}

#[test]
fn only_the_plane_setting_is_required() {
    let config = load("plane = [\"https://plane.example.com\"]", &[]).unwrap();
    assert_eq!((config.report_interval, config.backend), (15, Backend::Kernel));
    assert!(load("", &[]).unwrap_err().contains("name at least one plane"));
    let environment = [("SENTRAZONE_AGENT_PLANE", "[\"https://plane.example.com\"]")];
    assert_eq!(load("", &environment).unwrap().plane, config.plane);
}

#[test]
fn one_or_several_pins_are_accepted_but_not_together_with_a_ca_file() {
    let pin = Pin::of_public_key(b"x");
    let plane = "plane = [\"https://plane.example.com\"]\n";
    let one = load(&format!("{plane}pin = \"{pin}\""), &[]).unwrap();
    assert_eq!(one.pin, [pin]);
    assert!(toml::to_string(&one).unwrap().contains(&format!("pin = \"{pin}\"")));
    let two = load(&format!("{plane}pin = [\"{pin}\", \"{pin}\"]"), &[]).unwrap();
    assert_eq!(two.pin, [pin, pin]);
    assert!(matches!(two.trust(), Ok(Trust::Pins(pins)) if pins.len() == 2));
    let error = load(&format!("{plane}pin = \"sha256:00\""), &[]).unwrap_err();
    assert!(
        error.contains("line 2") && error.contains("64 hexadecimal digits"),
        "{error}"
    );
    let both = load(&format!("{plane}pin = \"{pin}\"\nca_file = \"/ca.pem\""), &[]);
    assert!(both.unwrap_err().contains("not both"));
    let plain = load(&format!("plane = [\"http://127.0.0.1:8080\"]\npin = \"{pin}\""), &[]);
    assert!(plain.unwrap_err().contains("presents no key"));
}

#[test]
fn an_unknown_key_is_reported_with_its_line() {
    let error = load("plane = [\"https://plane.example.com\"]\nreport_intervall = 3\n", &[]).unwrap_err();
    assert!(
        error.contains("line 2") && error.contains("report_intervall"),
        "{error}"
    );
}

#[test]
fn environment_variables_take_precedence_over_the_file() {
    let text = "plane = [\"https://plane.example.com\"]";
    let environment = [
        ("SENTRAZONE_AGENT_REPORT_INTERVAL", "3"),
        ("SENTRAZONE_AGENT_STATE_DIR", "/srv/state"),
    ];
    let config = load(text, &environment).unwrap();
    assert_eq!((config.report_interval, config.state_dir), (3, "/srv/state".into()));
    assert!(load(text, &[("SENTRAZONE_AGENT_REPORT_INTERVAL", "soon")]).is_err());
    assert!(load(text, &[("SENTRAZONE_AGENT_NO_SUCH_KEY", "1")]).is_err());
}

#[test]
fn a_token_passed_on_by_systemd_takes_precedence_over_the_token_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = "plane = [\"https://plane.example.com\"]\ntoken_file = \"/etc/token\"";
    let credentials = [("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())];
    assert_eq!(load(text, &credentials).unwrap().token_file, Path::new("/etc/token"));
    let credential = folder.path().join("agent.token");
    std::fs::write(&credential, "token").unwrap();
    assert_eq!(load(text, &credentials).unwrap().token_file, credential);
}

#[test]
fn a_token_is_not_sent_unencrypted_over_a_network() {
    assert!(
        load("plane = [\"http://plane.example.com\"]", &[])
            .unwrap_err()
            .contains("allow_plaintext")
    );
    assert!(load("plane = [\"http://plane.example.com\"]\nallow_plaintext = true", &[]).is_ok());
    let shown = "plane = [\"https://x\"]\nmetrics_listen = \"[::]:9587\"\nmetrics_expose = true\nlog = \"debug\"";
    assert!(load(shown, &[]).unwrap().metrics_listen.is_some());
    for loopback in ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"] {
        assert!(load(&format!("plane = [\"{loopback}\"]"), &[]).is_ok(), "{loopback}");
    }
    for bad in [
        "plane = []",
        "plane = [\"ftp://x\"]",
        "plane = [\"https://x\"]\nreport_interval = 0",
        "plane = [\"https://x\"]\nmetrics_listen = \"9587\"",
        "plane = [\"https://x\"]\nmetrics_listen = \"0.0.0.0:9587\"",
        "plane = [\"https://x\"]\nlog = \"loud\"",
    ] {
        assert!(load(bad, &[]).is_err(), "{bad}");
    }
}

#[test]
fn a_bad_value_is_refused_with_its_line_its_setting_and_a_valid_example() {
    let cases = [
        ("plane", "\"https://x\"", "list of URLs"),
        ("plane", "[7]", "https://plane.example.com"),
        ("plane", "[\"plane.example.com\"]", "https://plane.example.com"),
        ("plane", "[\"https://[::1\"]", "https://plane.example.com"),
        ("token_file", "7", "/etc/sentrazone/agent.token"),
        ("token_file", "\"\"", "/etc/sentrazone/agent.token"),
        ("ca_file", "true", "in double quotes"),
        ("ca_file", "\"\"", "in double quotes"),
        ("pin", "7", "64 hexadecimal digits"),
        ("pin", "[\"sha256:12\"]", "64 hexadecimal digits"),
        ("state_dir", "[]", "/var/lib/sentrazone-agent"),
        ("state_dir", "\"\"", "/var/lib/sentrazone-agent"),
        ("report_interval", "\"15\"", "like 15"),
        ("report_interval", "-3", "1 to 3600"),
        ("report_interval", "99999999999", "1 to 3600"),
        ("report_interval", "1.5", "1 to 3600"),
        ("backend", "\"wireguard\"", "\"kernel\" or \"userspace\""),
        ("backend", "true", "\"kernel\" or \"userspace\""),
        ("allow_plaintext", "\"yes\"", "true or false"),
        ("allow_routes", "\"10.50.0.0/16\"", "list of networks"),
        ("allow_routes", "[\"plane.example.com\"]", "10.50.0.0/16"),
        ("allow_routes", "[\"10.50.0.1/16\"]", "write 10.50.0.0/16"),
        ("metrics_listen", "\"9587\"", "127.0.0.1:9587"),
        ("metrics_listen", "9587", "127.0.0.1:9587"),
        ("metrics_expose", "1", "true or false"),
        ("log", "\"loud\"", "\"debug\""),
        ("log", "3", "\"debug\""),
    ];
    for (key, value, wanted) in cases {
        let error = load(&format!("\n{key} = {value}\n"), &[]).unwrap_err();
        let said = format!("agent.toml: line 2: {key}: ");
        assert!(
            error.contains(&said) && error.contains(wanted),
            "{key} = {value}: {error}"
        );
        assert_in_our_words(&error);
        let variable = format!("SENTRAZONE_AGENT_{}", key.to_uppercase());
        let error = load("", &[(&variable, value)]).unwrap_err();
        let said = format!("the variable {variable}: {key}: ");
        assert!(
            error.contains(&said) && error.contains(wanted),
            "{key} = {value}: {error}"
        );
        assert_in_our_words(&error);
    }
}

/// Checks that the message contains no wording from the parsing libraries.
fn assert_in_our_words(error: &str) {
    let theirs = [
        "TOML parse",
        "invalid type",
        "expected",
        "relative URL",
        "invalid socket",
        "unknown variant",
        "|",
    ];
    assert!(!theirs.iter().any(|words| error.contains(words)), "{error}");
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_the_line_and_column() {
    for bad in [
        "\nplane = \"https://x",
        "\nplane https://x",
        "\n= 3",
        "\nlog = \"info\"\nlog = \"warn\"",
    ] {
        let error = load(bad, &[]).unwrap_err();
        assert!(error.contains("agent.toml: line "), "{bad:?}: {error}");
        assert!(error.contains("report_interval = 15"), "{bad:?}: {error}");
        assert_in_our_words(&error);
    }
    let error = load("\nplane https://x", &[]).unwrap_err();
    assert!(error.contains("line 2, column "), "{error}");
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    let utf_16: Vec<u8> = "\u{feff}log = 3".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content, line) in [
        (&utf_16[..], "line 1"),
        (b"# a\n# caf\xe9\n", "line 2"),
        (b"\n\n\xff", "line 3"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = Config::load(&path, std::iter::empty()).unwrap_err().to_string();
        let said = format!("agent.toml: {line}: ");
        assert!(error.contains(&said) && error.contains("save the file"), "{error}");
    }
    // Editors on Windows begin a file with a byte order mark.
    assert!(load("\u{feff}plane = [\"https://plane.example.com\"]\r\n", &[]).is_ok());
}

#[test]
fn a_ca_file_without_a_certificate_is_refused_with_the_form_it_must_have() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(vec!["https://plane.example.com".parse().unwrap()]);
    let path = folder.path().join("ca.pem");
    config.ca_file = Some(path.clone());
    for content in ["", "plane.example.com\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n"] {
        std::fs::write(&path, content).unwrap();
        let error = config.trust().unwrap_err().to_string();
        assert!(
            error.starts_with("ca_file: ") && error.contains("ca.pem contains no certificate"),
            "{error}"
        );
        assert!(error.contains("-----BEGIN CERTIFICATE-----"), "{error}");
    }
    std::fs::write(&path, "# the authority\n-----BEGIN CERTIFICATE-----\n").unwrap();
    assert!(matches!(config.trust(), Ok(Trust::Authorities(Some(_)))));
}

#[test]
fn a_variable_does_not_hide_a_bad_value_in_the_file() {
    let error = load(
        "report_interval = \"soon\"",
        &[("SENTRAZONE_AGENT_REPORT_INTERVAL", "3")],
    )
    .unwrap_err();
    assert!(error.contains("line 1: report_interval"), "{error}");
}
