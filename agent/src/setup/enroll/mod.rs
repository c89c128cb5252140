//! `sentrazone-agent enroll`: from a token to a host that can run.
//!
//! Owns the check of the token against the plane, the order of the steps (everything that can be
//! refused comes before the first write) and the files it leaves, whole and private. What an
//! interface that is there already means is `adopt`'s.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use url::Url;
use wgctl::client::{Client, Target};
use wgctl::device::kernel::Kernel;
use wgctl::device::userspace::Userspace;
use wgctl::device::{Backend as _, Device};
use wgctl::file;
use wgctl::protocol::v1::{Hello, Terms, VERSION};
use wgctl::terminal::ask_hidden;
use wgctl::{Clock, PeerName, Pin, PublicKey, ServerId, Timestamp};
use zeroize::Zeroizing;

use crate::config::{self, Backend, Config};
use crate::host::Netlink;
use crate::reconcile::{DesiredHost, desired_host};
use crate::secrets::{self, Secrets, Takeover};
use crate::setup::adopt::{self, EnrollmentDecision, ExistingInterface};
use crate::setup::preview;
use crate::setup::wg_quick_file::{self, Import};
use crate::{cache, state_dir};

/// The user that the agent's unit runs as.
const USER: &str = "sentrazone-agent";

/// What enrolling is told.
pub struct Enrollment {
    /// Planes to dial.
    pub planes: Vec<Url>,
    /// Where the token is; `-` for standard input.
    pub token_file: PathBuf,
    /// Certificates (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The planes' keys.
    pub pin: Vec<Pin>,
    /// Whether a plane may be dialled without TLS on other machines.
    pub allow_plaintext: bool,
    /// Where the configuration goes; the token beside it.
    pub config: PathBuf,
    /// Where secrets and cache go; none for the default.
    pub state_dir: Option<PathBuf>,
    /// A wg-quick file to adopt the interface from.
    pub import: Option<PathBuf>,
    /// Whether only to say what would be done.
    pub dry_run: bool,
    /// Decides which peers have expired.
    pub clock: Clock,
}

/// Why a host was not enrolled. Nothing was written but the host's own keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no token.
    #[error("no token came from {0}: pass what `wgctl server add` printed")]
    NoToken(String),
    /// The configuration would make no sense.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The host's keys.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The token is of another server than the one this host is already.
    #[error(
        "the token is of server {theirs}, but this host is {ours}: take a token of {ours}, or give the agent another \
         --state-dir than {}", folder.display()
    )]
    AnotherServer {
        /// The token's.
        theirs: ServerId,
        /// The state's.
        ours: ServerId,
        /// Where the state is.
        folder: PathBuf,
    },
    /// What this host is already cannot be read.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// The plane does not take the token.
    #[error(
        "{0} does not take this token: it is not (or no longer) valid, or was not copied whole. `wgctl server token ID` \
         makes a new one for the server ID"
    )]
    Token(Target),
    /// The plane did not take it, or is not there.
    #[error("not enrolled: {0}")]
    Plane(#[from] wgctl::client::Error),
    /// The file to import.
    #[error(transparent)]
    Import(#[from] wg_quick_file::Error),
    /// The interface that is there.
    #[error(transparent)]
    Adopt(#[from] adopt::Error),
    /// The kernel.
    #[error(transparent)]
    Device(#[from] wgctl::device::Error),
    /// An agent is at it.
    #[error("the agent runs with {}: stop it first (`systemctl stop sentrazone-agent`)", .0.display())]
    AgentRuns(PathBuf),
    /// A call was cut off.
    #[error("asking the kernel was interrupted: {0}")]
    Interrupted(String),
    /// The configuration cannot be written as TOML.
    #[error("the configuration cannot be written: {0}")]
    Toml(#[from] toml::ser::Error),
}

/// Enrolls this host and says what to do next; with `dry_run`, what would be done.
pub async fn enroll(mut enrollment: Enrollment) -> Result<String, Error> {
    enrollment.config = absolute(&enrollment.config);
    let import = enrollment.import.as_deref().map(Import::read).transpose()?;
    let config = configuration(&enrollment)?;
    let token = read_token(&enrollment.token_file)?;
    let ours = cache::load(&config.state_dir)?.map(|state| state.server_id);
    let (client, terms) = ask(&config, &token).await?;
    if let Some(ours) = ours.filter(|ours| *ours != terms.server_id) {
        return Err(Error::AnotherServer {
            theirs: terms.server_id,
            ours,
            folder: config.state_dir,
        });
    }
    let own = secrets::own_key(&config.state_dir)?;
    let device = look(config.backend, &terms, import.is_some()).await?;
    let host = NewHost {
        path: &enrollment.config,
        dry_run: enrollment.dry_run,
        now: enrollment.clock.now(),
        config: &config,
        token: &token,
        client: &client,
        terms: &terms,
        import: import.as_ref(),
    };
    match adopt::course(&terms, own.as_ref(), device.clone(), import.as_ref())? {
        EnrollmentDecision::AsRecorded => host.become_recorded(own.as_ref(), device).await,
        EnrollmentDecision::Adopt(found) => host.adopt(&found).await,
    }
}

/// A host on its way to being a server's.
struct NewHost<'a> {
    path: &'a Path,
    dry_run: bool,
    now: Timestamp,
    config: &'a Config,
    token: &'a str,
    client: &'a Client,
    terms: &'a Terms,
    import: Option<&'a Import>,
}

impl NewHost<'_> {
    /// The host becomes what is recorded.
    async fn become_recorded(&self, own: Option<&PublicKey>, device: Option<Device>) -> Result<String, Error> {
        let folder = &self.config.state_dir;
        let secrets = (own.is_some() || !self.dry_run)
            .then(|| Secrets::open(folder))
            .transpose()?;
        // Only where something is there already is there something to say of it.
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
            let lines = [format!("makes {} with a fresh key and {peers} peers", interface.name)];
            preview::section(&mut words, "The agent's first run", &lines, "");
        }
        if let Some(key) = self.terms.public_key.filter(|key| own != Some(key)) {
            let server = &self.terms.server_id;
            let lines = [format!(
                "{server} had another host's key, {key}: with this host's own, configurations that were handed out reach it no \
                 more, and that host is out (`wgctl peer config` gives new ones)"
            )];
            preview::section(&mut words, "To know", &lines, "");
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

    /// The host's interface becomes the server's as it is.
    async fn adopt(&self, found: &ExistingInterface) -> Result<String, Error> {
        let (server, folder) = (&self.terms.server_id, &self.config.state_dir);
        let mut takeover = Takeover::new(folder, found.private_key.clone())?;
        let adoption = found.describe(takeover.secrets(), server).map_err(adopt::Error::from)?;
        let mut planned = self.client.adopt(&adoption, true).await?;
        let port = planned.recorded.interface.listen_port;
        let notes = preview::notes(self.terms, port, self.import);
        let wanted = desired_host(takeover.secrets(), server, &planned.recorded, self.now);
        let names = planned
            .clients
            .iter()
            .map(|client| (client.public_key, client.name.clone()));
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
        // Before the key: once that is there, the host is taken for one that was noted already.
        found.note(folder, server, adopted)?;
        takeover.keep_key()?;
        preview::section(&mut words, "To know", &notes, "");
        Ok(format!("{words}{}", self.keep(false)?))
    }

    /// Writes configuration and token, hands the state to the agent's user, and takes the mark of a
    /// release away. An agent that `runs` has read what was there before.
    fn keep(&self, runs: bool) -> Result<String, Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { path, source }
        };
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(at(folder))?;
        }
        let (path, token_file, folder) = (self.path, &self.config.token_file, &self.config.state_dir);
        file::write_private(token_file, format!("{}\n", self.token).as_bytes()).map_err(at(token_file))?;
        let text = toml::to_string(self.config)?;
        file::write_private(path, text.as_bytes()).map_err(at(path))?;
        // No secret is in it. The token stays root's: the unit passes it on (`LoadCredential=`).
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
            "This host is {} now. Configuration: {}",
            self.terms.server_id,
            path.display()
        );
        Ok(match runs {
            true => format!(
                "{done}\nThe agent runs with what it had: restart it, `sudo systemctl restart sentrazone-agent` where its unit \
                 is installed. No tunnel is touched"
            ),
            false => format!(
                "{done}\nStart the agent: `sudo systemctl enable --now sentrazone-agent` where its unit is installed, else \
                 `sudo sentrazone-agent --config {}`",
                path.display()
            ),
        })
    }
}

/// What the agent's first run changes, peers and host.
async fn first_run(wanted: DesiredHost, actual: &Device, names: &BTreeMap<PublicKey, PeerName>) -> Vec<String> {
    let mut lines = preview::changes(&wanted, actual, names);
    match blocking(move || Netlink::open()?.preview(&wanted.spec)).await {
        Ok(host) => lines.extend(host),
        // The agent will meet the same, and tell.
        Err(error) => lines.push(format!("what cannot be told of addresses and routes: {error}")),
    }
    lines
}

/// The configuration as it will be. A host that is enrolled again keeps what was set by hand.
fn configuration(enrollment: &Enrollment) -> Result<Config, Error> {
    let path = &enrollment.config;
    let mut config = match path.exists() {
        true => Config::read(path, std::iter::empty())?,
        false => Config::new(Vec::new()),
    };
    config.plane.clone_from(&enrollment.planes);
    config.allow_plaintext |= enrollment.allow_plaintext;
    // What is said now goes before what was: one way to know a plane rules the other out.
    if !enrollment.pin.is_empty() {
        config.pin.clone_from(&enrollment.pin);
        config.ca_file = None;
    }
    if let Some(file) = &enrollment.ca_file {
        config.ca_file = Some(absolute(file));
        config.pin.clone_from(&enrollment.pin);
    }
    config.token_file = path.with_file_name("agent.token");
    if let Some(folder) = &enrollment.state_dir {
        config.state_dir = absolute(folder);
    }
    config.check()?;
    Ok(config)
}

/// The same path from anywhere: the agent may be started from another folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The interface as it is. What cannot be read matters only where it is to be adopted: else the
/// agent tells.
async fn look(backend: Backend, terms: &Terms, import: bool) -> Result<Option<Device>, Error> {
    let name = terms.recorded.interface.name.clone();
    let read = blocking(move || match backend {
        Backend::Kernel => Kernel::open()?.read(&name),
        Backend::Userspace => Userspace::new().read(&name),
    });
    match read.await {
        Err(_) if !terms.adopt && !import => Ok(None),
        read => read,
    }
}

/// Kernel calls block, and netlink's runtime cannot be dropped inside another.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, wgctl::device::Error> + Send + 'static,
) -> Result<T, Error> {
    let called = tokio::task::spawn_blocking(call).await;
    Ok(called.map_err(|error| Error::Interrupted(error.to_string()))??)
}

/// Root enrolls; where the package made a user for the agent, the state is that user's.
fn hand_to_the_agent(path: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    match nix::unistd::User::from_name(USER)? {
        // Not what a link points to: the folder is that user's, who may have put one there.
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

fn read_token(path: &Path) -> Result<Zeroizing<String>, Error> {
    let mut text = Zeroizing::new(String::new());
    let outcome = match path.to_str() {
        Some("-") if io::stdin().is_terminal() => ask_hidden("The agent's token: ").map(|typed| text = typed),
        Some("-") => io::stdin().read_to_string(&mut text).map(drop),
        _ => std::fs::read_to_string(path).map(|read| *text = read),
    };
    outcome.map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    let token = Zeroizing::new(text.trim().to_owned());
    if token.is_empty() {
        return Err(Error::NoToken(path.display().to_string()));
    }
    Ok(token)
}

/// Asks the first plane that answers what this host is to become.
async fn ask(config: &Config, token: &Zeroizing<String>) -> Result<(Client, Terms), Error> {
    let trust = config.trust()?;
    let mut outcome = Err(Error::NoToken("the command line".to_owned()));
    for url in &config.plane {
        let client = Client::trusting(Target::Url(url.clone()), &trust)?.with_token(token.clone());
        match client.terms().await {
            Ok(terms) => return Ok((client, terms)),
            Err(error) if error.code() == Some("unauthorized") => {
                outcome = Err(Error::Token(client.target().clone()));
            }
            Err(error) => outcome = Err(error.into()),
        }
    }
    outcome
}
