//! A small internet: a plane, VPN hosts and devices in namespaces around one bridge.
//!
//! Owns their addresses, processes and directories, and removes them all when dropped. The bridge is in
//! the plane's namespace; hosts and devices reach the plane at [`PLANE_ADDRESS`].

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use wgctl::api::{NewServer, ServerCreated};
use wgctl::client::{PlaneClient, Target};
use wgctl::{PublicKey, ServerId};

use crate::device::Device;
use crate::netns::{self, Netns, run};
use crate::process::{Process, binary};
use crate::wait;

/// The address at which hosts and devices reach the plane, from a documentation network (RFC 5737).
pub const PLANE_ADDRESS: &str = "192.0.2.254";
/// The plane's port in its own namespace.
pub const PLANE_PORT: u16 = 8080;
/// The bridge's end of the plane's own link, if the plane has one.
const PLANE_PORT_OF_BRIDGE: &str = "plane0";

/// The plane, the bridge and the lab's directory.
pub struct Lab {
    // Fields are dropped in this order: processes before the directories and namespaces that they use.
    plane: Option<Process>,
    hub: Option<Netns>,
    home: Option<Netns>,
    folder: tempfile::TempDir,
    next: AtomicU8,
    /// The report interval, in seconds, of hosts that are created from now on.
    pub report_interval: u32,
}

impl Lab {
    /// Starts a plane in a namespace of its own, and waits until it is ready.
    pub async fn new() -> Self {
        let lab = Self::with_hub(Some(Netns::named("hub")));
        lab.begin().await
    }

    /// Like [`Lab::new`], but in the caller's own namespace, where other programs can also reach the plane.
    pub async fn here() -> Self {
        Self::with_hub(None).begin().await
    }

    fn with_hub(hub: Option<Netns>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sentrazone-lab")
            .tempdir()
            .expect("a folder");
        Self {
            plane: None,
            hub,
            home: None,
            folder,
            next: AtomicU8::new(1),
            report_interval: 1,
        }
    }

    /// Like [`Lab::new`], but with a separate link between plane and bridge ([`Lab::link_plane`],
    /// [`Lab::plane_link`]), so that a fault on that link affects no tunnel.
    pub async fn apart() -> Self {
        let mut lab = Self::with_hub(Some(Netns::named("hub")));
        lab.home = Some(Netns::named("plane"));
        lab.begin().await
    }

    async fn begin(mut self) -> Self {
        let address = format!("addr add {PLANE_ADDRESS}/24 dev");
        self.ip(&["link add br0 type bridge", "link set br0 up"]);
        match &self.home {
            None => self.ip(&[&format!("{address} br0"), "addr add 2001:db8::254/64 dev br0 nodad"]),
            Some(home) => {
                let name = home.name();
                self.ip(&[
                    &format!("link add {PLANE_PORT_OF_BRIDGE} type veth peer name eth0 netns {name}"),
                    &format!("link set {PLANE_PORT_OF_BRIDGE} master br0 up"),
                ]);
                home.ip(&[&format!("{address} eth0"), "link set eth0 up"]);
            }
        }
        let config = format!(
            "listen = \"0.0.0.0:{PLANE_PORT}\"\nstate_dir = \"{0}/plane\"\nsocket = \"{0}/plane.sock\"\n\
             [tls]\nmode = \"off\"\nbehind_proxy = true\n\
             [limits]\nwrites_per_second = 1_000_000\nwrite_burst = 1_000_000\n",
            self.folder.path().display()
        );
        std::fs::write(self.folder.path().join("plane.toml"), config).expect("plane.toml");
        self.start_plane().await;
        self
    }

    /// Takes the plane's link down or up.
    pub fn link_plane(&self, up: bool) {
        self.exec(&[
            "ip",
            "link",
            "set",
            PLANE_PORT_OF_BRIDGE,
            if up { "up" } else { "down" },
        ]);
    }

    /// Runs a program at each end of the plane's link. The word `DEVICE` is replaced by the name of the device at
    /// that end.
    pub fn plane_link(&self, words: &[&str]) {
        let at = |device| -> Vec<&str> {
            let named = words.iter().map(|word| if *word == "DEVICE" { device } else { *word });
            named.collect()
        };
        self.exec(&at(PLANE_PORT_OF_BRIDGE));
        self.home.as_ref().expect("a plane apart").exec(&at("eth0"));
    }

    /// Starts the plane (again) and waits until it is ready.
    pub async fn start_plane(&mut self) {
        self.start_plane_from(&binary("sentrazone-plane")).await;
    }

    /// Like [`Lab::start_plane`], but runs the file `program`.
    pub async fn start_plane_from(&mut self, program: &Path) {
        let mut command = match &self.home {
            Some(home) => home.command(&program.display().to_string()),
            None => self.command(program),
        };
        command.arg("--config").arg(self.folder.path().join("plane.toml"));
        self.plane = Some(Process::start("plane", command, self.folder.path()));
        let admin = self.admin();
        wait::until("the plane is ready", || admin.ready(), Result::is_ok)
            .await
            .expect("ready");
    }

    /// Returns the plane's process.
    pub fn plane(&mut self) -> &mut Process {
        self.plane.as_mut().expect("a plane")
    }

    /// Returns the plane's state directory.
    #[must_use]
    pub fn plane_state(&self) -> PathBuf {
        self.folder.path().join("plane")
    }

    /// Returns the directory that contains all of the lab's files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a client that reaches the plane over its unix socket, as the local admin.
    #[must_use]
    pub fn admin(&self) -> PlaneClient {
        PlaneClient::new(Target::Socket(self.folder.path().join("plane.sock")), None).expect("a client")
    }

    /// Runs a program in the bridge's namespace. Returns its output.
    pub fn exec(&self, words: &[&str]) -> String {
        match &self.hub {
            Some(hub) => hub.exec(words),
            None => run(words),
        }
    }

    /// Runs `ip` commands in the bridge's namespace.
    pub fn ip(&self, commands: &[&str]) {
        match &self.hub {
            Some(hub) => hub.ip(commands),
            None => netns::ip(commands),
        }
    }

    /// Returns a command that will run in the bridge's namespace.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        match &self.hub {
            Some(hub) => hub.command(&program.display().to_string()),
            None => Command::new(program),
        }
    }

    /// Runs `wgctl` against this plane's socket. Returns its output.
    pub fn wgctl(&self, words: &[&str]) -> String {
        let program = binary("wgctl").display().to_string();
        let socket = self.folder.path().join("plane.sock").display().to_string();
        let all: Vec<&str> = [&[program.as_str(), "--socket", &socket], words].concat();
        self.exec(&all)
    }

    /// Connects a new namespace to the bridge, with the next free addresses `192.0.2.N` and `2001:db8::N`. Returns the
    /// namespace and its IPv4 address.
    pub fn join(&self, role: &str) -> (Netns, String) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let namespace = Netns::named(role);
        let (port, name) = (format!("port{number}"), namespace.name());
        self.ip(&[
            &format!("link add {port} type veth peer name eth0 netns {name}"),
            &format!("link set {port} master br0 up"),
        ]);
        let address = format!("192.0.2.{number}");
        namespace.ip(&[
            &format!("addr add {address}/24 dev eth0"),
            &format!("addr add 2001:db8::{number}/64 dev eth0 nodad"),
            "link set eth0 up",
        ]);
        (namespace, address)
    }

    /// Creates a VPN host whose server record has this id and pool. Its agent is enrolled and running.
    pub async fn host(&self, id: &str, pool: &[&str]) -> Host {
        self.host_with(id, pool, |_| {}).await
    }

    /// Like [`Lab::host`], but `change` modifies the server record first.
    pub async fn host_with(&self, id: &str, pool: &[&str], change: impl FnOnce(&mut NewServer)) -> Host {
        let mut host = self.enrolled(id, pool, change).await;
        host.start();
        host
    }

    /// Like [`Lab::host_with`], but the agent is not started.
    pub async fn enrolled(&self, id: &str, pool: &[&str], change: impl FnOnce(&mut NewServer)) -> Host {
        let host = self.registered(id, pool, change).await;
        host.enroll(self.report_interval);
        host
    }

    /// Like [`Lab::host_with`], but the agent is not enrolled.
    pub async fn registered(&self, id: &str, pool: &[&str], change: impl FnOnce(&mut NewServer)) -> Host {
        let (namespace, address) = self.join(id);
        let mut new = NewServer {
            id: id.parse().expect("a server id"),
            endpoint: format!("{address}:51820").parse().expect("an endpoint"),
            address_pool: pool.iter().map(|net| net.parse().expect("a network")).collect(),
            dns: Vec::new(),
            allowed_ips: None,
            mtu: None,
            persistent_keepalive: None,
            interface: None,
            listen_port: None,
            masquerade: false,
            ping_target: None,
            drift_policy: wgctl::drift::DriftPolicy::default(),
            adopt: false,
        };
        change(&mut new);
        let created = self.admin().create_server(&new, None).await.expect("a server");
        Host::new(namespace, created, self.folder.path())
    }

    /// Connects a new WireGuard device to the bridge.
    #[must_use]
    pub fn device(&self, name: &str) -> Device {
        let (namespace, _) = self.join(name);
        Device::new(namespace, self.folder.path().join(format!("{name}.conf")))
    }
}

/// A VPN host: a namespace with an agent.
pub struct Host {
    agent: Option<Process>,
    /// The host's namespace.
    pub namespace: Netns,
    /// The id of the host's server.
    pub id: ServerId,
    /// The interface that the agent creates.
    pub interface: String,
    token: String,
    folder: PathBuf,
}

impl Host {
    fn new(namespace: Netns, created: ServerCreated, folder: &Path) -> Self {
        let folder = folder.join(created.server.id.as_str());
        std::fs::create_dir(&folder).expect("a folder");
        Self {
            agent: None,
            namespace,
            id: created.server.id,
            interface: created.server.interface.to_string(),
            token: created.agent_token,
            folder,
        }
    }

    /// Enrolls the agent as an engineer would, with the token on standard input.
    pub fn enroll(&self, report_interval: u32) {
        use std::io::Write as _;
        let agent = binary("sentrazone-agent").display().to_string();
        let mut child = self
            .namespace
            .command(&agent)
            .args([
                "enroll",
                "--plane",
                &format!("http://{PLANE_ADDRESS}:{PLANE_PORT}"),
                "--allow-plaintext",
            ])
            .args(["--token-file", "-", "--config"])
            .arg(self.config())
            .arg("--state-dir")
            .arg(self.state())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sentrazone-agent enroll");
        let mut input = child.stdin.take().expect("its standard input");
        input.write_all(self.token.as_bytes()).expect("the token");
        drop(input);
        assert!(child.wait().expect("its exit status").success(), "enrolling failed");
        let text = std::fs::read_to_string(self.config()).expect("agent.toml");
        let quicker: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("report_interval"))
            .collect();
        std::fs::write(
            self.config(),
            format!("report_interval = {report_interval}\n{}\n", quicker.join("\n")),
        )
        .expect("agent.toml");
    }

    /// Starts the agent (again).
    pub fn start(&mut self) {
        self.start_from(&binary("sentrazone-agent"));
    }

    /// Like [`Host::start`], but runs the file `program`.
    pub fn start_from(&mut self, program: &Path) {
        let mut command = self.namespace.command(&program.display().to_string());
        command.arg("--config").arg(self.config());
        self.agent = Some(Process::start("agent", command, &self.folder));
    }

    /// Returns the agent's process.
    pub fn agent(&mut self) -> &mut Process {
        self.agent.as_mut().expect("an agent")
    }

    /// Returns the path of the agent's configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }

    /// Returns the agent's state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Returns the agent's token, which would be secret outside tests.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the rows of `wg show INTERFACE dump`, split at tabs. The first row describes the interface.
    #[must_use]
    pub fn dump(&self) -> Vec<Vec<String>> {
        let text = self.namespace.exec(&["wg", "show", &self.interface, "dump"]);
        text.lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect()
    }

    /// Returns true if `wg` shows this peer in the kernel.
    #[must_use]
    pub fn has_peer(&self, key: &PublicKey) -> bool {
        self.kernel_peers().contains(&key.to_string())
    }

    /// Returns the public keys of the kernel's peers. The list is empty if there is no interface.
    #[must_use]
    pub fn kernel_peers(&self) -> Vec<String> {
        let output = self
            .namespace
            .command("wg")
            .args(["show", &self.interface, "peers"])
            .output()
            .expect("wg");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}
