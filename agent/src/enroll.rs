//! `sentrazone-agent enroll`: from a token to a host that can run.
//!
//! Owns the check of the token against the plane and the two files it leaves, whole and private.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use url::Url;
use wgctl::ServerId;
use wgctl::client::{Client, Target};
use wgctl::file;
use wgctl::protocol::v1::{Hello, VERSION};
use zeroize::Zeroizing;

use crate::cache;
use crate::config::{self, Config};
use crate::secrets::{self, Secrets};

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
    /// Whether a plane may be dialled without TLS on other machines.
    pub allow_plaintext: bool,
    /// Where the configuration goes; the token beside it.
    pub config: PathBuf,
    /// Where secrets and cache go; none for the default.
    pub state_dir: Option<PathBuf>,
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
    /// The plane did not take it, or is not there.
    #[error("not enrolled: {0}")]
    Plane(#[from] wgctl::client::Error),
    /// The configuration cannot be written as TOML.
    #[error("the configuration cannot be written: {0}")]
    Toml(#[from] toml::ser::Error),
}

/// Enrolls this host and says what to do next.
pub async fn enroll(enrollment: Enrollment) -> Result<String, Error> {
    let Enrollment {
        planes,
        token_file,
        ca_file,
        allow_plaintext,
        config: path,
        state_dir,
    } = enrollment;
    // A host that is enrolled again keeps what was set by hand.
    let mut config = match path.exists() {
        true => Config::read(&path, std::iter::empty())?,
        false => Config::new(Vec::new()),
    };
    config.plane = planes;
    config.allow_plaintext |= allow_plaintext;
    config.ca_file = ca_file.or(config.ca_file);
    config.token_file = path.with_file_name("agent.token");
    if let Some(folder) = state_dir {
        config.state_dir = folder;
    }
    config.check()?;
    let token = read_token(&token_file)?;
    let ours = cache::load(&config.state_dir)?.map(|state| state.server_id);
    let secrets = Secrets::open(&config.state_dir)?;
    let server = introduce(&config, &secrets, &token).await?;
    if let Some(ours) = ours.filter(|ours| *ours != server) {
        return Err(Error::AnotherServer {
            theirs: server,
            ours,
            folder: config.state_dir,
        });
    }

    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
    }
    file::write_private(&config.token_file, format!("{}\n", token.as_str()).as_bytes())
        .map_err(at(&config.token_file))?;
    let text = toml::to_string(&config)?;
    file::write_private(&path, text.as_bytes()).map_err(at(&path))?;
    let mut files = vec![path.clone(), config.token_file.clone(), config.state_dir.clone()];
    files.extend(secrets::files(&config.state_dir));
    for file in &files {
        hand_to_the_agent(file).map_err(at(file))?;
    }
    Ok(format!(
        "This host is {server} now. Configuration: {}\nStart the agent: `sudo systemctl enable --now sentrazone-agent` where \
         its unit is installed, else `sudo sentrazone-agent --config {}`",
        path.display(),
        path.display()
    ))
}

/// Root enrolls; where the package made a user for the agent, the files are that user's.
fn hand_to_the_agent(path: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    match nix::unistd::User::from_name(USER)? {
        Some(user) => Ok(nix::unistd::chown(path, Some(user.uid), Some(user.gid))?),
        None => Ok(()),
    }
}

fn read_token(path: &Path) -> Result<Zeroizing<String>, Error> {
    let mut text = Zeroizing::new(String::new());
    let outcome = match path.to_str() {
        Some("-") => io::stdin().read_to_string(&mut text),
        _ => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
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

/// Introduces the host to the first plane that answers; gives the server's id.
async fn introduce(config: &Config, secrets: &Secrets, token: &Zeroizing<String>) -> Result<ServerId, Error> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })
    };
    let certificates = config.ca_file.as_ref().map(read).transpose()?;
    let hello = Hello {
        version: VERSION,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        public_key: secrets.private_key().public_key(),
    };
    let mut outcome = Err(Error::NoToken("the command line".to_owned()));
    for url in &config.plane {
        let client = Client::new(Target::Url(url.clone()), certificates.as_deref())?.with_token(token.clone());
        match client.hello(&hello).await {
            Ok(welcome) => return Ok(welcome.server_id),
            Err(error) => outcome = Err(error.into()),
        }
    }
    outcome
}
