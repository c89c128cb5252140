//! The steps of an enrolment, in an order that is safe to interrupt and repeat.
//!
//! Owns the messages to the plane and the files that are written. It must not decide whether the host's interface
//! is adopted: that belongs to `adopt`.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use wgctl::client::PlaneClient;
use wgctl::device::Device;
use wgctl::program::private_file;
use wgctl::protocol::v1::{Hello, Terms, VERSION};
use wgctl::{PeerName, PublicKey, Timestamp};

use super::error::Error;
use super::interface::blocking;
use crate::config::Config;
use crate::host::Netlink;
use crate::reconcile::{DesiredHost, desired_host};
use crate::secrets::{Secrets, Takeover};
use crate::setup::adopt::{self, ExistingInterface};
use crate::setup::preview;
use crate::setup::wg_quick_file::Import;
use crate::state_dir;

/// The user that the agent's unit runs as.
const USER: &str = "sentrazone-agent";

/// A host that is being enrolled.
pub(super) struct NewHost<'a> {
    pub(super) path: &'a Path,
    pub(super) dry_run: bool,
    pub(super) now: Timestamp,
    pub(super) config: &'a Config,
    pub(super) token: &'a str,
    pub(super) client: &'a PlaneClient,
    pub(super) terms: &'a Terms,
    pub(super) import: Option<&'a Import>,
}

impl NewHost<'_> {
    /// Makes the host take on the recorded state.
    pub(super) async fn become_recorded(
        &self,
        own: Option<&PublicKey>,
        device: Option<Device>,
    ) -> Result<String, Error> {
        let folder = &self.config.state_dir;
        let secrets = (own.is_some() || !self.dry_run)
            .then(|| Secrets::open(folder))
            .transpose()?;
        // Without an existing interface there is nothing to compare.
        let first_run = match (&secrets, &device) {
            (Some(secrets), Some(device)) => {
                let wanted = desired_host(secrets, &self.terms.server_id, &self.terms.recorded, self.now);
                Some(first_run(wanted, device, &BTreeMap::new()).await)
            }
            _ => None,
        };
        let mut words = String::new();
        if let Some(first_run) = first_run.filter(|lines| self.dry_run || !lines.is_empty()) {
            preview::section(&mut words, "The agent's first run changes", &first_run, "nothing");
        } else if self.dry_run {
            let interface = &self.terms.recorded.interface;
            let peers = self.terms.recorded.peers.len();
            let lines = [format!("creates {} with a new key and {peers} peers", interface.name)];
            preview::section(&mut words, "The agent's first run", &lines, "");
        }
        if let Some(key) = self.terms.public_key.filter(|key| own != Some(key)) {
            let server = &self.terms.server_id;
            let lines = [format!(
                "{server} had another host's key, {key}. This host's key replaces it: that host is cut off, and \
                 existing configurations no longer work (`wgctl peer config` prints new ones)"
            )];
            preview::section(&mut words, "Notes", &lines, "");
        }
        let Some(secrets) = secrets.filter(|_| !self.dry_run) else {
            return Ok(preview::dry_run(words, None, &[]));
        };
        let hello = Hello {
            version: VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            public_key: secrets.private_key().public_key(),
        };
        self.client.hello(&hello).await?;
        let lock = adopt::lock(folder).map_err(|source| Error::File {
            path: folder.clone(),
            source,
        })?;
        Ok(format!("{words}{}", self.keep(lock.is_none())?))
    }

    /// Adopts the host's existing interface as it is.
    pub(super) async fn adopt(&self, found: &ExistingInterface) -> Result<String, Error> {
        let (server, folder) = (&self.terms.server_id, &self.config.state_dir);
        let mut takeover = Takeover::new(folder, found.private_key.clone())?;
        let adoption = found.describe(takeover.secrets(), server).map_err(adopt::Error::from)?;
        let mut planned = self.client.adopt(&adoption, true).await?;
        let port = planned.recorded.interface.listen_port;
        let notes = preview::notes(self.terms, port, self.import);
        let wanted = desired_host(takeover.secrets(), server, &planned.recorded, self.now);
        let names = planned.clients.iter().map(|peer| (peer.public_key, peer.name.clone()));
        let actual = if found.runs {
            found.device.clone()
        } else {
            Device::default()
        };
        let spec = wanted.spec.clone();
        let surplus = blocking(move || Netlink::open()?.surplus(&spec)).await?;
        planned
            .obstacles
            .extend(adopt::lost_addresses(&self.terms.recorded.interface.name, &surplus));
        let first_run = first_run(wanted, &actual, &names.collect()).await;
        if self.dry_run {
            let words = preview::adoption(self.terms, found, &planned, &first_run);
            return Ok(preview::dry_run(words, Some(&planned), &notes));
        }
        if !planned.obstacles.is_empty() {
            return Err(adopt::Error::Obstacles(planned.obstacles).into());
        }
        let failed = |source| Error::File {
            path: folder.clone(),
            source,
        };
        let lock = adopt::lock(folder).map_err(failed)?;
        let _lock = lock.ok_or_else(|| Error::AgentRuns(folder.clone()))?;
        takeover.keep_seal()?;
        let adopted = self.client.adopt(&adoption, false).await?;
        let mut words = preview::adoption(self.terms, found, &adopted, &first_run);
        // This must precede the key: once the key exists, the host counts as one whose state has been stored.
        found.note(folder, server, adopted)?;
        takeover.keep_key()?;
        preview::section(&mut words, "Notes", &notes, "");
        Ok(format!("{words}{}", self.keep(false)?))
    }

    /// Writes the configuration and the token, gives the state to the agent's user, and removes the release mark.
    /// `runs` is true if an agent is running, which then still uses the previous files.
    fn keep(&self, runs: bool) -> Result<String, Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { path, source }
        };
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(at(folder))?;
        }
        let (path, token_file, folder) = (self.path, &self.config.token_file, &self.config.state_dir);
        private_file::write_private(token_file, format!("{}\n", self.token).as_bytes()).map_err(at(token_file))?;
        let text = toml::to_string(self.config)?;
        private_file::write_private(path, text.as_bytes()).map_err(at(path))?;
        // The file contains no secret. The token remains owned by root, and the unit passes it on (`LoadCredential=`).
        std::fs::set_permissions(path, Permissions::from_mode(0o644)).map_err(at(path))?;
        let mut files = vec![folder.clone()];
        for entry in std::fs::read_dir(folder).map_err(at(folder))? {
            files.push(entry.map_err(at(folder))?.path());
        }
        for file in &files {
            hand_to_the_agent(file).map_err(at(file))?;
        }
        state_dir::unmark_released(folder).map_err(at(folder))?;
        let done = format!(
            "This host is now {}. Configuration: {}",
            self.terms.server_id,
            path.display()
        );
        Ok(match runs {
            true => format!(
                "{done}\nThe agent is still running with its previous configuration: restart it, with `sudo systemctl \
                 restart sentrazone-agent` if its unit is installed. Tunnels are not affected"
            ),
            false => format!(
                "{done}\nStart the agent: `sudo systemctl enable --now sentrazone-agent` if its unit is installed, \
                 else `sudo sentrazone-agent --config {}`",
                path.display()
            ),
        })
    }
}

/// Returns the changes that the agent's first run makes to the peers and the host.
async fn first_run(wanted: DesiredHost, actual: &Device, names: &BTreeMap<PublicKey, PeerName>) -> Vec<String> {
    let mut lines = preview::changes(&wanted, actual, names);
    match blocking(move || Netlink::open()?.preview(&wanted.spec)).await {
        Ok(host) => lines.extend(host),
        // The agent will encounter the same error and report it.
        Err(error) => lines.push(format!(
            "addresses and routes, in a way that cannot be determined: {error}"
        )),
    }
    lines
}

/// Gives a file to the agent's user, if the package has created that user, because enrolment runs as root.
fn hand_to_the_agent(path: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    match nix::unistd::User::from_name(USER)? {
        // Symbolic links are not followed: the directory belongs to that user, who may have placed one there.
        Some(user) => Ok(nix::unistd::fchownat(
            nix::fcntl::AT_FDCWD,
            path,
            Some(user.uid),
            Some(user.gid),
            nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
        )?),
        None => Ok(()),
    }
}
