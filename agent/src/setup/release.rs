//! `sentrazone-agent release`: leaves the interface running without the agent.
//!
//! Owns the removal of the agent's masquerading, and the mark that keeps the agent from managing the interface
//! again, for example after a reboot. It must not change the link, key, peers, addresses or routes.

use std::fmt::Write as _;

use ipnet::IpNet;
use wgctl::device::kernel::link::Route;
use wgctl::protocol::v1::Interface;

use crate::config::Config;
use crate::desired::State;
use crate::host::{Host as _, Netlink};
use crate::{Error, cache, state_dir};

/// Releases the interface and leaves it running. Returns the text for the user.
pub async fn release(config: Config) -> Result<String, Error> {
    let folder = config.state_dir;
    let Some(state) = cache::load(&folder)? else {
        return Ok("There is nothing to release: this agent has never set up an interface.".to_owned());
    };
    let _lock = state_dir::lock(&folder)?.ok_or_else(|| Error::StillRuns(folder.clone()))?;
    let interface = state.interface.name.clone();
    let release = move || -> Result<bool, wgctl::device::Error> {
        Netlink::open()?.release(&interface)?;
        Ok(Route::open()?.link(&interface)?.is_some())
    };
    let there = tokio::task::spawn_blocking(release)
        .await
        .map_err(|_| Error::ThreadEnded)??;
    state_dir::mark_released(&folder)?;
    Ok(words(&state, there))
}

fn words(state: &State, there: bool) -> String {
    let name = &state.interface.name;
    let mut words = if there {
        format!(
            "{name} keeps running without the agent, with its {} peers, addresses and routes, until the host reboots \
             or someone changes it.",
            state.peers.len()
        )
    } else {
        format!("There is no interface {name} on this host, so there was nothing to release.")
    };
    if state.interface.masquerade {
        let _ = write!(
            words,
            "\nThe agent's masquerading rules have been removed. To masquerade without the agent:\n\n  nft '{}'\n",
            masquerading(&state.interface)
        );
    }
    words.push_str(
        "\nThe agent will not manage it again, even after a reboot, until you run `sentrazone-agent enroll`. To \
         disable the agent: `systemctl disable sentrazone-agent`.",
    );
    words
}

/// Returns the `nft` commands that set up the same masquerading.
fn masquerading(interface: &Interface) -> String {
    let name = &interface.name;
    let mut commands = format!(
        "add table inet nat-{name}; add chain inet nat-{name} postrouting {{ type nat hook postrouting priority 100; }}"
    );
    for network in interface.addresses.iter().map(IpNet::trunc) {
        let family = if network.addr().is_ipv4() { "ip" } else { "ip6" };
        let _ = write!(
            commands,
            "; add rule inet nat-{name} postrouting {family} saddr {network} oifname != \"{name}\" masquerade"
        );
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::tests::{interface, peer, server};

    fn state(masquerade: bool) -> State {
        State {
            server_id: server(),
            incarnation: wgctl::name::Incarnation::random(),
            revision: 1,
            interface: Interface {
                masquerade,
                ..interface()
            },
            peers: [peer(2)].into_iter().map(|peer| (peer.id, peer)).collect(),
        }
    }

    #[test]
    fn a_release_shows_how_to_restore_the_masquerading_that_it_removes() {
        let told = words(&state(true), true);
        assert!(told.contains("its 1 peers") && told.contains("enroll"), "{told}");
        assert!(
            told.contains("ip saddr 10.8.0.0/24 oifname != \"wg0\" masquerade"),
            "{told}"
        );
        assert!(!words(&state(false), true).contains("nft"));
        assert!(words(&state(false), false).contains("no interface wg0"));
    }

    #[tokio::test]
    async fn a_release_is_refused_while_the_agent_is_running() {
        let folder = tempfile::tempdir().unwrap();
        cache::Cache::open(folder.path()).0.write(&state(false), None).unwrap();
        let held = state_dir::lock(folder.path()).unwrap().unwrap();
        let mut config = Config::new(vec!["https://plane.example.com".parse().unwrap()]);
        config.state_dir = folder.path().to_owned();
        let refused = release(config).await.unwrap_err();
        assert!(matches!(refused, Error::StillRuns(_)), "{refused}");
        assert!(!state_dir::is_released(folder.path()));
        drop(held);
    }

    #[tokio::test]
    async fn the_agent_does_not_start_on_a_released_host() {
        let folder = tempfile::tempdir().unwrap();
        state_dir::mark_released(folder.path()).unwrap();
        let mut config = Config::new(vec!["https://plane.example.com".parse().unwrap()]);
        config.state_dir = folder.path().to_owned();
        let refused = crate::run(config, std::future::pending()).await.unwrap_err();
        assert!(matches!(refused, Error::Released));
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing was created"
        );
    }
}
