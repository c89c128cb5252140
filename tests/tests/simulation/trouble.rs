//! Faults: kills, cut links, external changes and clock jumps.
//!
//! Owns the choice of faults, and the entries in the ledgers for the bytes that the faults may lose.

use sentrazone_plane::fleet::Fleet;
use wgctl::PrivateKey;
use wgctl::device::plan::{ChangeKind, PeerChange};
use wgctl::device::{Backend as _, Plan};

use crate::host::Host;
use crate::world::World;

/// The offsets to which a clock can jump, in seconds: a day back or ahead, ten years ahead, or none.
const JUMPS: [i64; 5] = [-86_400, 86_400, 315_360_000, 0, 0];

impl World {
    /// Performs one step of a seed.
    pub(crate) async fn step(&mut self) {
        let number = self.dice.below(self.hosts.len());
        self.revive(number).await;
        match self.dice.below(20) {
            0..=8 => self.act(number),
            9..=12 => self.traffic(number),
            13 => {
                let cut = self.dice.permille(600);
                self.network.cut(number, cut);
                self.network.trace(format_args!("{number}: cut {cut}"));
            }
            14..=15 if self.weather.agents_die => self.harm(number).await,
            16 if self.weather.planes_die => self.end_plane(),
            17 if self.weather.meddling => self.meddle(number),
            18 if self.weather.clocks_jump => self.jump(number),
            19 => {
                self.hosts[number].devices.fail_reads(1);
                self.network.trace(format_args!("{number}: a read will fail"));
            }
            _ => {}
        }
    }

    /// Handles an agent that has been killed during a write. May start an agent or a plane that is not running.
    async fn revive(&mut self, number: usize) {
        if self.hosts[number].was_doomed().await {
            self.ledgers.lock().unwrap()[number].lose();
            self.network.trace(format_args!("{number}: killed during a write"));
        }
        if self.dice.permille(400) {
            self.start_agent(number).await;
        }
        if self.dice.permille(400) {
            self.start_plane();
        }
    }

    /// Starts the agent. If it was killed, the bytes of peers that it was removing may be lost.
    pub(crate) async fn start_agent(&mut self, number: usize) {
        if !self.hosts[number].runs() && self.hosts[number].killed {
            self.ledgers.lock().unwrap()[number].lose();
        }
        self.hosts[number].start().await;
    }

    async fn harm(&mut self, number: usize) {
        let (what, host) = (self.dice.below(4), &mut self.hosts[number]);
        match what {
            0 => host.stop().await,
            1 => {
                self.ledgers.lock().unwrap()[number].lose();
                host.kill().await;
            }
            2 => host.doom(self.dice.below(4)),
            _ => {
                self.ledgers.lock().unwrap()[number].lose();
                host.reboot().await;
            }
        }
        self.network.trace(format_args!("{number}: harm {what}"));
    }

    pub(crate) fn start_plane(&mut self) {
        if !self.plane_runs {
            self.plane.start();
            self.plane_runs = true;
            self.lose_what_the_plane_lost();
            self.network.tell();
            self.network.trace("the plane is back");
        }
    }

    fn totals(&self) -> Option<Vec<u64>> {
        let read = |fleet: Fleet| async move {
            let statuses = fleet.statuses().await.unwrap();
            statuses.into_iter().map(|status| status.transfer_rx).collect()
        };
        self.plane.ask(read)
    }

    fn end_plane(&mut self) {
        if !self.plane_runs {
            return;
        }
        self.counted = self.totals().unwrap_or_default();
        let killed = self.dice.permille(600);
        if killed {
            self.plane.kill();
        } else {
            self.plane.stop();
        }
        self.plane_runs = false;
        self.network.tell();
        self.network.forget_reports();
        self.network.trace(format_args!("the plane is gone, killed: {killed}"));
    }

    fn lose_what_the_plane_lost(&mut self) {
        let now = self.totals().unwrap_or_default();
        let mut ledgers = self.ledgers.lock().unwrap();
        for ((ledger, before), now) in ledgers.iter_mut().zip(&self.counted).zip(now) {
            ledger.lost += before.saturating_sub(now);
        }
    }

    /// Changes the interface as another program would, without the agent.
    fn meddle(&mut self, number: usize) {
        let (what, nth) = (self.dice.below(5), self.dice.below(100));
        let host = &mut self.hosts[number];
        let Some(device) = host.device() else { return };
        let mut peers: Vec<_> = device
            .peers
            .iter()
            .map(|(key, peer)| (peer.allowed_ips.first().copied(), *key))
            .collect();
        peers.sort();
        let peer = peers.get(nth % peers.len().max(1)).copied();
        let mut plan = Plan::default();
        match (what, peer) {
            (0, _) => {
                host.devices.delete(&Host::interface());
            }
            (1, _) => plan.listen_port = Some(1000),
            (2, Some((_, key))) => plan.peers.push(change(ChangeKind::Remove, key)),
            (3, Some((_, key))) => {
                let mut steal = change(ChangeKind::Update, key);
                steal.allowed_ips = peers.iter().filter_map(|(address, _)| *address).collect();
                plan.peers.push(steal);
            }
            _ => {
                let stranger = PrivateKey::generate().unwrap().public_key();
                let mut stranger = change(ChangeKind::Create, stranger);
                stranger.allowed_ips = vec!["10.99.0.0/16".parse().unwrap()];
                plan.peers.push(stranger);
            }
        }
        let _ = host.devices.apply(&Host::interface(), &plan);
        host.disturb();
        self.ledgers.lock().unwrap()[number].lose();
        self.network.trace(format_args!("{number}: external change {what}"));
    }

    fn jump(&mut self, number: usize) {
        let ahead = *self.dice.pick(&JUMPS).unwrap();
        // If clocks differ, plane and host also disagree about expired clients.
        self.hosts.iter_mut().for_each(|host| host.clock_ever_jumped = true);
        let planes = self.dice.permille(300);
        if planes {
            self.plane_clock.jump_to(ahead);
            self.network.forget_reports();
        } else {
            self.hosts[number].clock.jump_to(ahead);
        }
        self.network
            .trace(format_args!("{number}: jump {ahead}, on the plane: {planes}"));
    }
}

fn change(kind: ChangeKind, public_key: wgctl::PublicKey) -> PeerChange {
    PeerChange {
        public_key,
        kind,
        preshared_key: None,
        persistent_keepalive: None,
        endpoint: None,
        replace_allowed_ips: false,
        allowed_ips: Vec::new(),
    }
}
