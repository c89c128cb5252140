//! From a configuration to a running plane, and down again.
//!
//! Owns the order: state directory, database (whose lock keeps a second plane out), key,
//! sockets, then serving. It must not read the configuration file or the command line.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::task::JoinSet;

use crate::auth::{KeyError, PasswordError, Passwords, SigningKey, TokenError, Tokens};
use crate::config::Config;
use crate::fleet::{Fleet, Settings};
use crate::http::{App, BindError, Listener};
use crate::store::{Store, StoreError};
use crate::watchdog;

const DATABASE: &str = "plane.redb";

/// Why the plane does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory cannot be made or read.
    #[error("cannot use the state directory {path}: {source}")]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Tokens cannot be signed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Passwords cannot be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// An address or the socket cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Error {
    /// The exit code, of sysexits.h where a restart does not help: the unit does not try again then.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        const DATA: u8 = 65;
        const UNAVAILABLE: u8 = 69;
        const TEMPORARY: u8 = 75;
        match self {
            Self::Store(StoreError::Damaged { .. } | StoreError::TooNew { .. }) => DATA,
            Self::Store(StoreError::Locked(_)) => TEMPORARY,
            Self::Bind(error) if error.is_in_use() => UNAVAILABLE,
            _ => 1,
        }
    }
}

/// A plane that holds its database and its addresses, and does not serve yet.
pub struct Plane {
    app: App,
    listener: Listener,
}

impl Plane {
    /// Opens the state and binds every address. Connections wait until [`Self::serve`].
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        make_state_dir(&config.state_dir).map_err(|source| Error::StateDir {
            path: config.state_dir.clone(),
            source,
        })?;
        let store = Store::open(&config.state_dir.join(DATABASE), config.cache_size)?;
        let key = SigningKey::load_or_make(&config.state_dir)?;
        let tokens = Tokens::new(&key)?;
        let passwords = Passwords::new()?;
        let settings = Settings {
            apply_timeout: config.apply_timeout,
            ..Settings::default()
        };
        let fleet = Fleet::new(store, settings);
        let listener = Listener::bind(config).await?;
        let app = App::new(fleet, key, tokens, passwords, config);
        Ok(Self { app, listener })
    }

    /// The TCP addresses that are bound, with their real ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.listener.addresses()
    }

    /// Serves until `shutdown` is over, then lets running requests end as long as the
    /// configuration allows. Held long polls are answered at once.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.app.fleet().housekeep());
        tasks.spawn(watchdog::watch(self.app.fleet().store().clone()));
        self.listener.serve(self.app, shutdown).await;
        // Their share of the database is given back only when the tasks are gone.
        tasks.shutdown().await;
        Ok(())
    }
}

/// Runs a plane until `shutdown` is over.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    Plane::bind(&config).await?.serve(shutdown).await
}

fn make_state_dir(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                let path = path.display();
                tracing::warn!("the state directory {path} is open to other users (mode {mode:o}): chmod 700 it");
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path)
        }
        Err(error) => Err(error),
    }
}
