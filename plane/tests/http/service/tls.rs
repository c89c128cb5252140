//! TLS over real sockets, checked with curl and openssl as independent clients.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sentrazone_plane::config::Tls;
use serde_json::{Value, json};

use crate::support::client::request;
use crate::support::plane::{TestPlane, until};
use crate::support::released::Released;

fn self_signed(plane: &mut sentrazone_plane::Config) {
    plane.tls = Tls::SelfSigned {
        names: vec!["plane.example.com".to_owned()],
    };
}

/// Returns the output of `openssl s_client` for a handshake with these options.
fn handshake(address: SocketAddr, options: &[&str]) -> Output {
    Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed: see tests/tools")
}

/// Returns the output of curl. The exit code shows whether curl accepted the certificate.
fn curl(options: &[&str], url: &str) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "60"])
        .args(options)
        .arg(url)
        .output()
        .expect("curl is installed: see tests/tools")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the pin of a certificate's key, as computed by openssl.
fn pin(cert: &Path) -> String {
    let script = format!(
        "openssl x509 -in {} -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r",
        cert.display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    format!("sha256:{}", text(&output.stdout).split(' ').next().unwrap())
}

/// Issues a certificate and key for a plane. The first call in `folder` also creates the certificate authority.
fn issued(folder: &Path, serial: &str) -> (PathBuf, PathBuf) {
    let script = format!(
        "set -e; cd {}
        [ -e ca.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2 \
            -subj /CN=authority -keyout ca.key -out ca.pem
        printf 'subjectAltName=IP:127.0.0.1\\n' > ext
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=plane -keyout {serial}.key -out {serial}.csr
        openssl x509 -req -in {serial}.csr -CA ca.pem -CAkey ca.key -set_serial {serial} -days 2 -extfile ext -out {serial}.pem
        chmod 600 {serial}.key",
        folder.display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (
        folder.join(format!("{serial}.pem")),
        folder.join(format!("{serial}.key")),
    )
}

#[test]
fn only_tls_1_2_and_1_3_are_accepted() {
    let plane = TestPlane::start_with(self_signed);
    for (version, protocol) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let output = handshake(plane.address, &[version, "-brief"]);
        assert!(output.status.success(), "{version}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(protocol), "{}", text(&output.stderr));
    }
    for version in ["-tls1", "-tls1_1"] {
        // At this security level, openssl itself still supports these versions.
        let output = handshake(plane.address, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(!output.status.success(), "{version}: {}", text(&output.stdout));
    }
    for weak in [
        "AES128-SHA",
        "ECDHE-ECDSA-AES128-SHA",
        "DHE-RSA-AES128-GCM-SHA256",
        "NULL",
        "RC4",
    ] {
        let cipher = format!("{weak}:@SECLEVEL=0");
        let output = handshake(plane.address, &["-tls1_2", "-cipher", &cipher]);
        assert!(!output.status.success(), "{weak}: {}", text(&output.stdout));
    }
}

#[test]
fn http_2_is_never_negotiated() {
    let plane = TestPlane::start_with(self_signed);
    let both = handshake(plane.address, &["-alpn", "h2,http/1.1"]);
    assert!(
        text(&both.stdout).contains("ALPN protocol: http/1.1"),
        "{}",
        text(&both.stdout)
    );
    assert!(!handshake(plane.address, &["-alpn", "h2"]).status.success());
}

#[test]
fn the_planes_own_certificate_is_verified_by_its_file_and_keeps_its_pin() {
    let mut plane = TestPlane::start_with(self_signed);
    let url = format!("https://{}/healthz", plane.address);
    let cert = plane.state_dir().join("tls.pem");
    let unknown = curl(&[], &url);
    assert_eq!(unknown.status.code(), Some(60), "{}", text(&unknown.stderr));
    let known = curl(&["--cacert", &cert.display().to_string()], &url);
    assert!(
        text(&known.stdout).starts_with("HTTP/1.1 200"),
        "{}",
        text(&known.stderr)
    );
    // The certificate also covers the configured names.
    let named = format!("https://plane.example.com:{}/healthz", plane.address.port());
    let resolve = format!("plane.example.com:{}:127.0.0.1", plane.address.port());
    let known = curl(
        &["--cacert", &cert.display().to_string(), "--resolve", &resolve],
        &named,
    );
    assert!(known.status.success(), "{}", text(&known.stderr));
    let before = pin(&cert);
    plane.restart_with(self_signed);
    assert_eq!(pin(&cert), before, "the key must persist across a restart");
}

#[test]
fn every_response_over_tls_requires_tls_in_the_future() {
    let plane = TestPlane::start_with(self_signed);
    for (path, options) in [
        ("/healthz", &[][..]),
        ("/api/servers", &[]),
        ("/nowhere", &[]),
        ("/healthz", &["--request", "B@D"]),
        ("/healthz", &["--header", "Host;"]),
    ] {
        let options = [&["--insecure"], options].concat();
        let answer = curl(&options, &format!("https://{}{path}", plane.address));
        let head = text(&answer.stdout).to_lowercase();
        for header in [
            "strict-transport-security: max-age=31536000",
            "x-content-type-options: nosniff",
            "frame-ancestors 'none'",
            "cache-control: no-store",
            "x-request-id: ",
        ] {
            assert!(head.contains(header), "{path} {options:?}: no {header} in {head}");
        }
        assert!(
            !head.contains("access-control-") && !head.contains("set-cookie"),
            "{head}"
        );
    }
}

#[test]
fn plain_http_to_a_tls_address_gets_no_response() {
    let plane = TestPlane::start_with(self_signed);
    let answer = request("GET", "/healthz").try_send(plane.address);
    assert!(answer.is_err(), "{answer:?}");
}

/// In Boundary, handshakes blocked the accept loop. Here, other connections do not wait for slow handshakes.
#[test]
fn slow_handshakes_delay_nobody_and_time_out() {
    let plane = TestPlane::start_with(|config| {
        self_signed(config);
        config.limits.header_timeout = Duration::from_secs(15);
    });
    let mut slow: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(plane.address).unwrap()).collect();
    for stream in &mut slow {
        // The beginning of a TLS record.
        stream.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    }
    let began = Instant::now();
    let answer = curl(&["--insecure"], &format!("https://{}/healthz", plane.address));
    assert!(
        answer.status.success() && began.elapsed() < Duration::from_secs(14),
        "{:?}",
        began.elapsed()
    );
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut bytes = Vec::new();
        // Either a reset or an orderly close is fine.
        if let Err(error) = stream.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn a_new_servers_response_contains_the_pin_for_its_host() {
    let plane = TestPlane::start_with(self_signed);
    let body = json!({"id": "los-angeles", "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/24"]});
    let local = |path: &str, body: &Value| request("POST", path).json(body).send_local(&plane.socket());
    let made = local("/api/servers", &body).expect(201);
    let cert = plane.state_dir().join("tls.pem");
    assert_eq!(made["pin"], pin(&cert));
    let rotated = local("/api/servers/los-angeles/token", &json!({}));
    assert_eq!(rotated.expect(200)["pin"], pin(&cert));
    // Public endpoints do not reveal the pin.
    for path in ["/healthz", "/readyz"] {
        assert!(
            !request("GET", path)
                .send_local(&plane.socket())
                .text()
                .contains("sha256")
        );
    }
}

#[test]
fn the_command_prints_the_fingerprint_of_the_served_certificate() {
    let plane = Released::start("[tls]\nmode = \"self-signed\"\n");
    let printed = plane.command(&["fingerprint"]).output().unwrap();
    let cert = plane.path("state/tls.pem");
    assert_eq!(text(&printed.stdout).trim(), pin(&cert), "{}", text(&printed.stderr));
    assert!(plane.log().contains(&pin(&cert)), "the log must contain the pin too");
    let off = Released::start("");
    let printed = off.command(&["fingerprint"]).output().unwrap();
    assert_eq!(printed.status.code(), Some(78));
    assert!(
        text(&printed.stderr).contains("mode is \"off\""),
        "{}",
        text(&printed.stderr)
    );
}

#[test]
fn a_changed_certificate_is_served_without_closing_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (first, first_key) = issued(folder.path(), "1");
    let (shown, shown_key) = (folder.path().join("shown.pem"), folder.path().join("shown.key"));
    let show = |from: &Path, to: &Path| {
        let beside = to.with_extension("new");
        std::fs::copy(from, &beside).unwrap();
        std::fs::rename(&beside, to).unwrap();
    };
    show(&first, &shown);
    show(&first_key, &shown_key);
    let plane = Released::start(&format!(
        "[tls]\nmode = \"files\"\ncert = \"{}\"\nkey = \"{}\"\n",
        shown.display(),
        shown_key.display()
    ));
    let ca = folder.path().join("ca.pem").display().to_string();
    let url = format!("https://{}/healthz", plane.address);
    let seen = || {
        let output = handshake(plane.address, &["-CAfile", &ca, "-verify_return_error"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let shown = Command::new("openssl")
            .args(["x509", "-noout", "-serial"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut shown = shown.unwrap();
        shown.stdin.take().unwrap().write_all(&output.stdout).unwrap();
        text(&shown.wait_with_output().unwrap().stdout).trim().to_owned()
    };
    assert_eq!(seen(), "serial=01");
    // A connection that is opened before the change and stays open.
    let held = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-connect",
            &plane.address.to_string(),
            "-CAfile",
            &ca,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut held = held.unwrap();
    let mut held_in = held.stdin.take().unwrap();
    let ask = "GET /healthz HTTP/1.1\r\nHost: plane\r\n\r\n";
    held_in.write_all(ask.as_bytes()).unwrap();
    let mut held_out = held.stdout.take().unwrap();
    assert!(held_out.read(&mut [0; 4096]).unwrap() > 0);
    // A certificate without its matching key is not used, and the log reports it.
    let (second, second_key) = issued(folder.path(), "2");
    show(&second, &shown);
    until("the mismatched pair to be refused", || {
        plane.log().contains("the previous one stays in use").then_some(())
    });
    assert!(
        plane.log().contains("does not match this certificate"),
        "{}",
        plane.log()
    );
    assert_eq!(seen(), "serial=01");
    // Once its key is in place, the plane loads the certificate by itself.
    show(&second_key, &shown_key);
    until("serial 2 to be served", || (seen() == "serial=02").then_some(()));
    // SIGHUP loads it at once.
    let (third, third_key) = issued(folder.path(), "3");
    show(&third_key, &shown_key);
    show(&third, &shown);
    kill(Pid::from_raw(plane.id()), Signal::SIGHUP).unwrap();
    until("serial 3 to be served", || (seen() == "serial=03").then_some(()));
    held_in.write_all(ask.as_bytes()).unwrap();
    assert!(
        held_out.read(&mut [0; 4096]).unwrap() > 0,
        "the first connection must stay open"
    );
    drop(held_in);
    let _ = held.kill();
    let _ = held.wait();
    assert!(curl(&["--cacert", &ca], &url).status.success());
}

#[test]
fn a_key_that_others_can_read_prevents_startup_with_exit_code_78() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = issued(folder.path(), "1");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, open).unwrap();
    let config = format!(
        "[tls]\nmode = \"files\"\ncert = \"{}\"\nkey = \"{}\"\n",
        cert.display(),
        key.display()
    );
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["check"][..], &[]] {
        let output = crate::support::released::command(dir.path(), &config)
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78));
        let said = text(&output.stderr);
        assert!(said.contains("chmod 640") && said.contains("1.key"), "{said}");
    }
}

#[test]
fn a_missing_file_is_reported_with_the_line_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, _) = issued(folder.path(), "1");
    let config = format!(
        "[tls]\nmode = \"files\"\ncert = \"{}\"\nkey = \"/nonexistent/key\"\n",
        cert.display()
    );
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["check"][..], &[]] {
        let output = crate::support::released::command(dir.path(), &config)
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78));
        let said = text(&output.stderr);
        assert!(said.contains("tls.key: /nonexistent/key: No such file"), "{said}");
        let line = said.split("plane.toml:").nth(1).unwrap().split(':').next().unwrap();
        let written = std::fs::read_to_string(dir.path().join("plane.toml")).unwrap();
        assert!(
            written
                .lines()
                .nth(line.parse::<usize>().unwrap() - 1)
                .unwrap()
                .starts_with("key =")
        );
    }
}

#[test]
fn there_is_no_fingerprint_before_the_first_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = crate::support::released::command(dir.path(), "[tls]\nmode = \"self-signed\"\n");
    let output = command.arg("fingerprint").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("on its first start") && !said.contains("configuration"),
        "{said}"
    );
}

#[test]
fn sighup_does_not_stop_the_plane() {
    let plane = Released::start("");
    kill(Pid::from_raw(plane.id()), Signal::SIGHUP).unwrap();
    request("GET", "/healthz").send(plane.address).expect(200);
}
