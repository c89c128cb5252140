//! Replies to requests that only this host can answer: a peer's configuration with its decrypted keys.
//!
//! Owns the decryption of the keys and the text of the configuration. It must not send anything: the poll
//! delivers the reply.

use wgctl::ServerId;
use wgctl::config::PeerConfig;
use wgctl::protocol::v1::{Ask, PeerConfiguration, Reply};

use crate::secrets::{Error, Secrets};

/// Returns the reply to one request.
#[must_use]
pub(super) fn answer(secrets: &Secrets, server: &ServerId, ask: Ask) -> Reply {
    match ask {
        Ask::Configuration(wanted) => match configuration(secrets, server, wanted) {
            Ok(config) => Reply::Configuration {
                text: config.render().to_string(),
            },
            Err(error) => Reply::Failed {
                reason: error.to_string(),
            },
        },
    }
}

fn configuration(secrets: &Secrets, server: &ServerId, wanted: PeerConfiguration) -> Result<PeerConfig, Error> {
    let PeerConfiguration {
        id,
        name,
        public_key,
        private_key,
        preshared_key,
        addresses,
        dns,
        mtu,
        allowed_ips,
        endpoint,
        persistent_keepalive,
    } = wanted;
    let open_private = |sealed| secrets.open_private_key(server, id, &public_key, sealed);
    let open_preshared = |sealed| secrets.open_preshared_key(server, id, sealed);
    Ok(PeerConfig {
        name,
        private_key: private_key.as_ref().map(open_private).transpose()?,
        addresses,
        dns,
        mtu,
        public_key: secrets.private_key().public_key(),
        preshared_key: preshared_key.as_ref().map(open_preshared).transpose()?,
        allowed_ips,
        endpoint,
        persistent_keepalive,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_contains_the_decrypted_keys_and_the_hosts_public_key() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(folder.path()).unwrap();
        let server: ServerId = "los-angeles".parse().unwrap();
        let prekey = secrets.prekey(&server).unwrap();
        let wanted = PeerConfiguration {
            id: prekey.id,
            name: "alice".parse().unwrap(),
            public_key: prekey.public_key,
            private_key: Some(prekey.private_key),
            preshared_key: Some(prekey.preshared_key),
            addresses: vec!["10.8.0.2/32".parse().unwrap()],
            dns: Vec::new(),
            mtu: None,
            allowed_ips: vec!["0.0.0.0/0".parse().unwrap()],
            endpoint: "vpn.example.com:51820".parse().unwrap(),
            persistent_keepalive: Some(25),
        };
        let Reply::Configuration { text } = answer(&secrets, &server, Ask::Configuration(wanted.clone())) else {
            panic!("expected a configuration");
        };
        let config: PeerConfig = text.parse().unwrap();
        assert_eq!(config.private_key.unwrap().public_key(), prekey.public_key);
        assert_eq!(config.public_key, secrets.private_key().public_key());

        let elsewhere = "new-york".parse().unwrap();
        assert!(matches!(
            answer(&secrets, &elsewhere, Ask::Configuration(wanted)),
            Reply::Failed { .. }
        ));
    }
}
