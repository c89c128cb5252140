//! Metrics of the fleet, read from the store for each scrape.
//!
//! Owns the read, which uses one read transaction on a separate thread, and the metric names. It must
//! not use secrets as labels: labels are ids and names. The cost grows with the number of servers. It
//! grows with the number of peers only if per-peer series are requested.

use crate::store::Read;
use std::fmt;
use std::ops::ControlFlow;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use wgctl::api::{PeerCounters, Status};
use wgctl::program::metrics::{Kind, number};
use wgctl::{PeerId, PeerName, ServerId};

use super::api_objects;
use crate::fleet::{Fleet, Refusal};

/// The maximum number of peers with series of their own. More would overload Prometheus.
const MOST_PEERS: usize = 100_000;

/// The values of the metrics at one point in time.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    servers: Vec<ServerNumbers>,
    peers: Vec<PeerNumbers>,
    peers_left_out: u64,
    audit_records: u64,
}

#[derive(Debug)]
struct ServerNumbers {
    status: Status,
    connected: bool,
    clients: u64,
    prekeys: u32,
}

#[derive(Debug)]
struct PeerNumbers {
    server: ServerId,
    id: PeerId,
    name: PeerName,
    counters: PeerCounters,
}

/// A metric: its name, help text, kind, and the function that reads its value.
type Column<T> = (&'static str, &'static str, Kind, fn(&T) -> Option<f64>);

const OF_FLEET: &[Column<Numbers>] = &[
    ("sentrazone_servers", "Registered servers", Kind::Gauge, |fleet| {
        Some(number(fleet.servers.len() as u64))
    }),
    (
        "sentrazone_agents_online",
        "Servers whose agent reported within its last three intervals",
        Kind::Gauge,
        |fleet| Some(fleet.count(|server| server.status.online)),
    ),
    (
        "sentrazone_agents_connected",
        "Servers whose agent is waiting for changes now",
        Kind::Gauge,
        |fleet| Some(fleet.count(|server| server.connected)),
    ),
    (
        "sentrazone_audit_records",
        "Records ever written to the audit log",
        Kind::Counter,
        |fleet| Some(number(fleet.audit_records)),
    ),
];

const OF_SERVER: &[Column<ServerNumbers>] = &[
    (
        "sentrazone_server_online",
        "Whether the server's agent reported within its last three intervals",
        Kind::Gauge,
        |server| Some(truth(server.status.online)),
    ),
    (
        "sentrazone_server_connected",
        "Whether the server's agent is waiting for changes now",
        Kind::Gauge,
        |server| Some(truth(server.connected)),
    ),
    (
        "sentrazone_server_last_report_timestamp_seconds",
        "Time of the agent's last report, in seconds since 1970",
        Kind::Gauge,
        |server| Some(server.status.reported_at?.unix() as f64),
    ),
    (
        "sentrazone_server_desired_revision",
        "The recorded revision",
        Kind::Gauge,
        |server| Some(number(server.status.desired_revision)),
    ),
    (
        "sentrazone_server_applied_revision",
        "The revision that the agent has confirmed",
        Kind::Gauge,
        |server| Some(number(server.status.applied_revision.unwrap_or_default())),
    ),
    (
        "sentrazone_server_interface_failed",
        "Whether the agent could not set up the interface",
        Kind::Gauge,
        |server| Some(truth(server.status.failed.is_some())),
    ),
    (
        "sentrazone_server_clients",
        "Recorded clients, enabled or not",
        Kind::Gauge,
        |server| Some(number(server.clients)),
    ),
    (
        "sentrazone_server_peers",
        "Clients on the interface, as reported by the agent",
        Kind::Gauge,
        |server| Some(number(server.status.peers)),
    ),
    (
        "sentrazone_server_received_bytes",
        "Bytes that the server received from its clients",
        Kind::Counter,
        |server| Some(number(server.status.transfer_rx)),
    ),
    (
        "sentrazone_server_sent_bytes",
        "Bytes that the server sent to its clients",
        Kind::Counter,
        |server| Some(number(server.status.transfer_tx)),
    ),
    (
        "sentrazone_server_ping_seconds",
        "The smoothed round-trip time that the agent measured",
        Kind::Gauge,
        |server| Some(server.status.ping_ms? / 1000.0),
    ),
    (
        "sentrazone_server_drift_repaired",
        "External changes that the agent has repaired",
        Kind::Counter,
        |server| Some(number(server.status.drift_repaired)),
    ),
    (
        "sentrazone_server_drift_standing",
        "External changes that are left in place",
        Kind::Gauge,
        |server| Some(number(server.status.drift.len() as u64)),
    ),
    (
        "sentrazone_server_prekeys",
        "Keys in stock for future clients",
        Kind::Gauge,
        |server| Some(f64::from(server.prekeys)),
    ),
];

const OF_PEER: &[Column<PeerNumbers>] = &[
    (
        "sentrazone_peer_latest_handshake_timestamp_seconds",
        "Time of the peer's latest handshake, in seconds since 1970",
        Kind::Gauge,
        |peer| Some(peer.counters.latest_handshake_at?.unix() as f64),
    ),
    (
        "sentrazone_peer_received_bytes",
        "Bytes that the server received from the peer",
        Kind::Counter,
        |peer| Some(number(peer.counters.rx)),
    ),
    (
        "sentrazone_peer_sent_bytes",
        "Bytes that the server sent to the peer",
        Kind::Counter,
        |peer| Some(number(peer.counters.tx)),
    ),
];

const LEFT_OUT: Column<Numbers> = (
    "sentrazone_peers_left_out",
    "Peers without series of their own, because there are too many",
    Kind::Gauge,
    |fleet| Some(number(fleet.peers_left_out)),
);

const fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

impl Numbers {
    fn count(&self, which: impl Fn(&ServerNumbers) -> bool) -> f64 {
        number(self.servers.iter().filter(|server| which(server)).count() as u64)
    }
}

/// The values, and whether they include per-peer series.
#[derive(Debug)]
pub(crate) struct FleetMetrics {
    numbers: Numbers,
    per_peer: bool,
}

impl Collector for FleetMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = &self.numbers;
        let left_out = [LEFT_OUT];
        let of_fleet = OF_FLEET.iter().chain(left_out.iter().filter(|_| self.per_peer));
        for (name, help, kind, value) in of_fleet {
            let metric = encoder.encode_descriptor(name, help, None, kind.metric_type())?;
            kind.write(metric, value(numbers).unwrap_or_default())?;
        }
        write_each(&mut encoder, OF_SERVER, &numbers.servers, |server| {
            [("server", server.status.server_id.to_string())]
        })?;
        write_each(&mut encoder, OF_PEER, &numbers.peers, |peer| {
            let (server, id) = (peer.server.to_string(), peer.id.to_string());
            [("server", server), ("client", id), ("name", peer.name.to_string())]
        })
    }
}

fn write_each<T, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    columns: &[Column<T>],
    all: &[T],
    labels: impl Fn(&T) -> [(&'static str, String); N],
) -> fmt::Result {
    for (name, help, kind, value) in columns {
        if !all.iter().any(|one| value(one).is_some()) {
            continue;
        }
        let mut metric = encoder.encode_descriptor(name, help, None, kind.metric_type())?;
        for one in all {
            if let Some(value) = value(one) {
                kind.write(metric.encode_family(&labels(one))?, value)?;
            }
        }
    }
    Ok(())
}

impl Fleet {
    /// Reads the metrics, including the series for each peer if `per_peer` is true.
    pub(crate) async fn metrics(&self, per_peer: bool) -> Result<FleetMetrics, Refusal> {
        let (fleet, now) = (self.clone(), self.now());
        let look = move |tx: &dyn Read| {
            let mut numbers = Numbers {
                audit_records: tx.audit_extent()?.head.id,
                ..Numbers::default()
            };
            for state in tx.servers_with_state()? {
                let id = &state.server.id;
                if per_peer {
                    add_peers(tx, id, &mut numbers)?;
                }
                numbers.servers.push(ServerNumbers {
                    connected: fleet.shared.relay.connected(id),
                    clients: state.ledger.peers,
                    prekeys: tx.prekey_stock(id)?,
                    status: api_objects::status(&state, now),
                });
            }
            Ok::<_, Refusal>(FleetMetrics { numbers, per_peer })
        };
        self.store().scan(look).await
    }
}

fn add_peers(tx: &dyn Read, server: &ServerId, numbers: &mut Numbers) -> Result<(), Refusal> {
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    let room = MOST_PEERS.saturating_sub(numbers.peers.len());
    let left_out = &mut numbers.peers_left_out;
    tx.each_peer(server, 0, &mut |peer| {
        if ids.len() < room {
            ids.push(peer.id);
            names.push(peer.name);
        } else {
            *left_out += 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let counters = tx.counters_of(server, &ids)?;
    let peers = ids.into_iter().zip(names).zip(counters);
    numbers.peers.extend(peers.map(|((id, name), counters)| PeerNumbers {
        server: server.clone(),
        id,
        name,
        counters,
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_the_text_are_escaped() {
        let peer = |name: &str| PeerNumbers {
            server: "los-angeles".parse().unwrap(),
            id: PeerId::random(),
            name: name.parse().unwrap(),
            counters: PeerCounters::default(),
        };
        let shown = FleetMetrics {
            numbers: Numbers {
                peers: vec![peer(r#"a\n"} 1"#), peer(r"back\slash\"), peer("日本 \"x\"")],
                ..Numbers::default()
            },
            per_peer: true,
        };
        let mut text = String::new();
        wgctl::program::metrics::write_once(&mut text, shown).unwrap();
        for name in [
            r#"name="a\\n\"} 1"}"#,
            r#"name="back\\slash\\"}"#,
            r#"name="日本 \"x\""}"#,
        ] {
            assert_eq!(text.matches(name).count(), 2, "{name}: {text}");
        }
        assert!(text.contains("sentrazone_peers_left_out 0.0\n"), "{text}");
    }
}
