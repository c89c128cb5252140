//! Startup and shutdown of a plane.
//!
//! Owns the startup order: state directory, database (whose lock keeps out a second plane), keys, certificate, sockets,
//! migration of the database, and then serving. It must not read the configuration file or the command line.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::task::JoinSet;
use wgctl::program::metrics::Listening;

use crate::auth::{PasswordError, Passwords, TokenError, Tokens};
use crate::config::Config;
use crate::fleet::{Fleet, Settings};
use crate::http::{App, BindError, Listener, openapi};
use crate::keys;
use crate::keys::audit::{self, SignerError};
use crate::keys::root::{KeyError, RootKey};
use crate::store::{Store, StoreError};
use crate::tls::{self, Tls, TlsError};
use crate::watchdog;

const DATABASE: &str = "plane.redb";

/// An error that prevents the plane from running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory cannot be created or read.
    #[error("cannot use the state directory {path}: {source}")]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root key cannot be read or created.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key that signs the audit log cannot be read or created.
    #[error(transparent)]
    AuditKey(#[from] SignerError),
    /// Tokens cannot be signed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Passwords cannot be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address or the local socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The separate address for the metrics cannot be bound.
    #[error("cannot listen on {address} for the metrics: {source} (metrics.listen in the configuration)")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// The error from the operating system.
        source: io::Error,
    },
}

impl Error {
    /// Returns the exit code. It is a code from sysexits.h if a restart does not help; the systemd unit then does
    /// not restart the plane.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        const DATA: u8 = 65;
        const UNAVAILABLE: u8 = 69;
        const TEMPORARY: u8 = 75;
        const CONFIGURATION: u8 = 78;
        match self {
            Self::Store(StoreError::Damaged { .. } | StoreError::TooNew { .. }) => DATA,
            Self::Key(error) | Self::Token(TokenError::Key(error)) if error.needs_repair() => DATA,
            Self::AuditKey(error) if error.needs_repair() => DATA,
            Self::Store(StoreError::Locked(_)) => TEMPORARY,
            Self::Tls(_) => CONFIGURATION,
            Self::Bind(error) if error.is_in_use() => UNAVAILABLE,
            Self::Metrics { source, .. } if source.kind() == io::ErrorKind::AddrInUse => UNAVAILABLE,
            Self::StateDir { .. }
            | Self::Store(_)
            | Self::Key(_)
            | Self::AuditKey(_)
            | Self::Token(_)
            | Self::Password(_)
            | Self::Bind(_)
            | Self::Metrics { .. } => 1,
        }
    }
}

/// A plane that has bound its addresses and migrated its database, but is not serving yet.
pub struct Plane {
    app: App,
    listener: Listener,
    tls: Option<Tls>,
    metrics: Option<Listening>,
}

impl Plane {
    /// Opens the state directory, binds every address, and then migrates the database: a plane that cannot start with
    /// its configuration leaves the database as it is. Connections wait until [`Self::serve`] is called.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        make_state_dir(&config.state_dir).map_err(|source| Error::StateDir {
            path: config.state_dir.clone(),
            source,
        })?;
        warn_about_missing_database(&config.state_dir);
        // The database is locked before the keys are read, because a second plane could create other keys.
        let unmigrated = Store::open_unmigrated(&config.state_dir.join(DATABASE), config.cache_size)?;
        let signer = audit::load_or_create(&config.state_dir)?;
        let key = RootKey::load_or_create(&config.state_dir)?;
        let tokens = Tokens::load_or_create(&config.state_dir)?;
        let passwords = Passwords::new()?;
        let tls = Tls::open(config)?;
        let listener = Listener::bind(config, tls.as_ref().map(Tls::acceptor)).await?;
        let metrics = match config.metrics.listen {
            None => None,
            Some(address) => Some(
                Listening::bind(address)
                    .await
                    .map_err(|source| Error::Metrics { address, source })?,
            ),
        };
        if let Some(metrics) = &metrics {
            tracing::info!("metrics on http://{}/metrics", metrics.address());
        }
        let store = Store::migrate(unmigrated)?.signed_by(signer);
        let settings = Settings {
            apply_timeout: config.apply_timeout,
            audit_retention: config.audit_retention,
            ..Settings::default()
        };
        let fleet = Fleet::new(store, settings);
        if let Err(error) = fleet.begin_audit().await {
            // A full disk must not prevent the plane from serving reads.
            tracing::warn!("no checkpoint was added to the audit log ({error}); the next attempt is in a minute");
        }
        let pin = tls.as_ref().and_then(Tls::pin);
        let app = App::new(fleet, key, tokens, passwords, config, pin, openapi);
        Ok(Self {
            app,
            listener,
            tls,
            metrics,
        })
    }

    /// Returns the bound TCP addresses, with their actual ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.listener.addresses()
    }

    /// Returns the separate address for the metrics, if there is one, with its actual port.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Listening::address)
    }

    /// Serves until `shutdown` completes, then waits for running requests for as long as the
    /// configuration allows. Pending long polls are answered immediately.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let fleet = self.app.fleet();
        let mut beside = JoinSet::new();
        beside.spawn(fleet.clone().housekeep());
        beside.spawn(watchdog::watch(fleet.store().clone()));
        beside.spawn(self.app.clone().keep_keys());
        beside.spawn(tls::keep_current(self.tls));
        if let Some(metrics) = self.metrics {
            let app = self.app.clone();
            beside.spawn(metrics.serve(move || {
                let app = app.clone();
                async move { app.metrics().await }
            }));
        }
        self.listener.serve(self.app, shutdown).await;
        // The tasks hold handles to the database, which are released only when the tasks have ended.
        beside.shutdown().await;
        if let Err(error) = fleet.end_audit().await {
            tracing::warn!("the audit log ends without a checkpoint ({error}); one is added at the next start");
        }
        Ok(())
    }
}

/// Runs a plane until `shutdown` completes.
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

/// Logs a warning if there is no database, although a plane has used the state directory before.
fn warn_about_missing_database(state_dir: &Path) {
    let database = state_dir.join(DATABASE);
    let missing = fs::symlink_metadata(&database).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let left = left_by_earlier_plane(state_dir);
    if missing && !left.is_empty() {
        tracing::warn!(
            "there is no database {}, although a plane has run here before (it left {}): starting with an empty \
             database; unless this is intended, stop the plane and put the database back, or restore a backup with \
             `wgctl restore`",
            database.display(),
            left.join(", ")
        );
    }
}

/// Returns the names of the files that only a plane that had a database can have left in the state directory: keys, and
/// copies of the database that were made before a migration. The key of a self-signed plane is not among them, because
/// it may have been put there to move the plane to this machine.
fn left_by_earlier_plane(state_dir: &Path) -> Vec<String> {
    let copy = format!("{DATABASE}.schema-");
    let Ok(entries) = fs::read_dir(state_dir) else {
        // This is only about a warning. Code that needs the directory reports the error.
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut left: Vec<String> = names
        .filter(|name| keys::FILES.contains(&name.as_str()) || name.starts_with(&copy))
        .collect();
    left.sort_unstable();
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_plane_is_recognized_by_its_keys_and_copies() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["tls.key", "tls.pem", "plane.redb.new"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert!(left_by_earlier_plane(dir.path()).is_empty());
        let left = ["audit.key", "jwt.key", "plane.redb.schema-1", "session.keys"];
        for name in left {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(left_by_earlier_plane(dir.path()), left);
    }
}
