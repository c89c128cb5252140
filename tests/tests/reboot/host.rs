//! A VPN host on a machine of its own, whose plane runs outside the machine, and readings of the host's state.

use sentrazone_tests::installed;
use sentrazone_tests::loopback::LoopbackPlane;
use sentrazone_tests::machine::Machine;
use sentrazone_tests::wait;
use tokio::sync::{Mutex, MutexGuard};
use wgctl::api::{NewPeer, Peer};
use wgctl::{PrivateKey, PublicKey, ServerId, Timestamp};

/// The lock that allows one machine at a time, because the tests run on two processors.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A script that prints everything about the interface that a reboot must preserve.
const PICTURE: &str = "
    wg show wg0 public-key; wg show wg0 listen-port
    wg show wg0 allowed-ips | sort
    wg show wg0 preshared-keys | sort | sha256sum
    ip -o addr show dev wg0 scope global | awk '{print $3, $4}'
    ip -o link show dev wg0 | grep -o 'mtu [0-9]*\\|,UP'
    ip route show dev wg0; ip -6 route show dev wg0 | grep -v ^fe80
    nft list ruleset
    cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding";

/// A command that prints when the agent's process started and when the unit was ready, in microseconds since boot.
const TIMES: &str = "systemctl show sentrazone-agent --value \
                     -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic";

/// A script that connects a device in a namespace on the same machine. The tunnel's UDP socket stays in the host's
/// namespace, so that it can reach 127.0.0.1; the tunnel is the device's only interface.
pub(crate) const CONNECT: &str = "
    ip netns del device 2>/dev/null || true
    ip link del tun0 2>/dev/null || true
    ip netns add device
    ip link add tun0 type wireguard
    wg setconf tun0 <(grep -vE '^(Address|DNS|MTU)' /root/device.conf)
    ip link set tun0 netns device
    for address in $(sed -n 's/^Address *= *//p' /root/device.conf | tr , ' '); do
        ip -n device addr add $address dev tun0
    done
    ip -n device link set tun0 up
    ip -n device route add default dev tun0
    ip -n device -6 route add default dev tun0";

/// Waits until no other test is using a machine.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}

/// A host whose agent is enrolled and running.
pub(crate) struct Host {
    /// The machine. It is dropped before the plane and the directories that it uses.
    pub(crate) machine: Machine,
    pub(crate) plane: LoopbackPlane,
    pub(crate) id: ServerId,
    _folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// The duration of a host's recovery, in seconds.
pub(crate) struct Restored {
    /// From the start of the agent's process until it was ready.
    pub(crate) from_agent: f64,
    /// From the kernel's start until the agent was ready.
    pub(crate) from_kernel: f64,
    /// From power-on, including emulation and firmware.
    pub(crate) from_power: f64,
}

impl Host {
    /// Installs and enrolls a host, with the steps from the manual.
    pub(crate) async fn enrolled() -> Self {
        let turn = turn().await;
        let folder = tempfile::tempdir().unwrap();
        let mut machine = installed::machine(folder.path());
        let plane = LoopbackPlane::start().await;
        let pool = ["10.8.0.0/16", "fd00:8::/64"];
        let created = plane.server("los-angeles", "127.0.0.1:51820", &pool).await;
        machine.run(&format!(
            "sentrazone-agent enroll --plane http://10.0.2.2:{} --allow-plaintext --token-file - <<<'{}'
             systemctl enable --now sentrazone-agent",
            plane.port(),
            created.agent_token
        ));
        Self {
            machine,
            plane,
            id: created.server.id,
            _folder: folder,
            _turn: turn,
        }
    }

    /// Creates a peer whose key the agent has created.
    pub(crate) async fn peer(&self, name: &str) -> Peer {
        self.create(name, None).await
    }

    /// Creates peers with their own keys, 64 at a time.
    pub(crate) async fn fill(&self, which: std::ops::Range<usize>) -> Vec<Peer> {
        let mut peers = Vec::new();
        let numbers: Vec<usize> = which.collect();
        for some in numbers.chunks(64) {
            let calls = some.iter().map(|number| async move {
                let key = PrivateKey::generate().unwrap().public_key();
                self.create(&format!("peer-{number}"), Some(key)).await
            });
            peers.extend(futures_util::future::join_all(calls).await);
        }
        peers
    }

    pub(crate) async fn create(&self, name: &str, public_key: Option<PublicKey>) -> Peer {
        let new = NewPeer {
            name: Some(name.parse().unwrap()),
            preshared_key: public_key.map(|_| false),
            public_key,
            ..NewPeer::default()
        };
        let admin = self.plane.admin();
        // The stock of prekeys may be empty for a moment.
        let made = wait::until(
            "a peer is created",
            || admin.create_peer(&self.id, &new, None),
            Result::is_ok,
        );
        made.await.unwrap()
    }

    /// Starts the plane again, and waits until the agent has connected to it and is up to date.
    pub(crate) async fn plane_is_back(&mut self) {
        let since = Timestamp::now();
        self.plane.give_back().await;
        let admin = self.plane.admin();
        let heard = |answer: &Result<Vec<wgctl::api::Status>, _>| {
            answer.as_ref().unwrap()[0].reported_at.is_some_and(|at| at >= since)
        };
        wait::until("the agent reports", || admin.statuses(), heard)
            .await
            .unwrap();
        self.converged().await;
    }

    /// Waits until the agent is online and has applied the record.
    pub(crate) async fn converged(&self) {
        let admin = self.plane.admin();
        let current = |answer: &Result<Vec<wgctl::api::Status>, _>| {
            let status = &answer.as_ref().unwrap()[0];
            status.online && status.applied_revision == Some(status.desired_revision)
        };
        wait::until("the host is up to date", || admin.statuses(), current)
            .await
            .unwrap();
    }

    /// Returns the public keys of the kernel's peers.
    pub(crate) fn peers(&mut self) -> std::collections::BTreeSet<String> {
        self.machine
            .run("wg show wg0 peers")
            .lines()
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn picture(&mut self) -> String {
        self.machine.run(PICTURE)
    }

    /// Waits until the agent's unit is active after a boot. Returns the durations.
    pub(crate) fn restored(&mut self) -> Restored {
        // If the unit has failed, this prints its journal.
        let active = "state=$(systemctl is-active sentrazone-agent); echo $state; \
                      [ $state != failed ] || journalctl -b -u sentrazone-agent --no-pager -o cat | tail -n 20";
        self.machine
            .until("the agent's unit is active", active, |state| state == "active");
        let times = self.machine.run(TIMES);
        let times: Vec<f64> = times.lines().map(|time| time.parse::<f64>().unwrap() / 1e6).collect();
        Restored {
            from_agent: times[1] - times[0],
            from_kernel: times[1],
            from_power: self.machine.booted.elapsed().as_secs_f64(),
        }
    }

    /// Connects a device on the machine, with this configuration.
    pub(crate) fn connect(&mut self, configuration: &str) {
        self.machine
            .run(&format!("cat >/root/device.conf <<'END'\n{configuration}\nEND"));
        self.machine.run(CONNECT);
    }

    /// Checks that the other end of the tunnel responds to pings.
    pub(crate) fn device_reaches_its_server(&mut self) {
        for address in ["10.8.0.1", "fd00:8::1"] {
            self.machine
                .run(&format!("ip netns exec device ping -n -q -c 3 -i 0.2 -w 20 {address}"));
        }
    }
}

impl std::fmt::Display for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.2} s from agent start, {:.1} s from kernel start, {:.1} s from power-on",
            self.from_agent, self.from_kernel, self.from_power
        )
    }
}
