//! TLS for the TCP addresses: presenting the certificate, and keeping it current.
//!
//! Owns the rustls configuration (TLS 1.2 and 1.3, only HTTP/1.1, aws-lc), the replacement of the certificate without
//! interrupting connections, and the pin by which clients recognize the plane. `own` creates a certificate, and `files`
//! reads one. It must not accept or drive connections.

mod files;
mod own;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use wgctl::Pin;

use crate::config::{self, Config};
use files::Files;

/// An error while loading or creating a certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that a setting names cannot be used.
    #[error("{named_at}: {reason}")]
    Setting {
        /// The setting and its place.
        named_at: String,
        /// The reason why the file cannot be used.
        reason: Box<Self>,
    },
    /// The plane has not created its own certificate yet.
    #[error(
        "there is no certificate yet: the plane creates {} on its first start (`systemctl start sentrazone-plane`)",
        .0.display()
    )]
    NotYet(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// Other users can use a private key.
    #[error(
        "{0}: every user of this machine can use this private key (mode {mode:o}): chmod 640 {0}, and set its group to \
         one that the plane's user belongs to", path.display()
    )]
    Open {
        /// The key's file.
        path: PathBuf,
        /// The permissions of the file.
        mode: u32,
    },
    /// A file does not have the expected content.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The error in the file.
        reason: String,
    },
    /// The plane's own certificate cannot be created.
    #[error("cannot create a certificate: {0} (names under [tls] in the configuration)")]
    Make(#[from] rcgen::Error),
    /// The certificate or the key cannot be used, or they do not belong together.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// A certificate is requested, but TLS is off.
    #[error("the plane has no certificate: mode is \"off\" under [tls] in the configuration")]
    Off,
}

impl TlsError {
    /// Returns the file that the error concerns.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } | Self::Open { path, .. } | Self::Content { path, .. } => Some(path),
            Self::Setting { .. } | Self::NotYet(_) | Self::Make(_) | Self::Unusable(_) | Self::Off => None,
        }
    }

    /// Adds the setting that names the file.
    fn named_by(self, files: &[&config::File]) -> Self {
        match files.iter().find(|file| self.path() == Some(&file.path)) {
            Some(file) => Self::Setting {
                named_at: file.named_at.clone(),
                reason: Box::new(self),
            },
            None => self,
        }
    }
}

/// TLS for the TCP connections.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    shown: Arc<CurrentCertificate>,
    files: Option<Files>,
}

impl Tls {
    /// Loads the configured certificate, or creates the plane's own. Returns `None` for plain HTTP.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>, TlsError> {
        let (certified, files) = match &config.tls {
            config::Tls::Off => return Ok(None),
            config::Tls::SelfSigned { names } => {
                let names = own::names(&config.listen, names);
                (own::load_or_create(&config.state_dir, &names)?, None)
            }
            config::Tls::Files { cert, key } => {
                let opened = Files::open(&cert.path, &key.path);
                let (certified, files) = opened.map_err(|error| error.named_by(&[cert, key]))?;
                (certified, Some(files))
            }
        };
        tracing::info!("the certificate's fingerprint is {}", pin(&certified)?);
        let shown = Arc::new(CurrentCertificate(RwLock::new(Arc::new(certified))));
        let mut tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            shown,
            files,
        }))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Returns the key that hosts must pin if no certificate authority vouches for the certificate.
    pub(crate) fn pin(&self) -> Option<Pin> {
        let own = self.files.is_none();
        own.then(|| pin(&self.shown.current()).ok()).flatten()
    }

    /// Reads the files again whenever they change, and presents the new certificate. If it cannot be used, an error
    /// is logged and the previous certificate stays in use.
    async fn follow(&self, mut files: Files, mut hangups: Signal) {
        loop {
            let asked = tokio::select! {
                _ = hangups.recv() => true,
                () = tokio::time::sleep(files::CHECK_INTERVAL) => false,
            };
            // The disk may be slow; requests must not wait for it.
            let looked = tokio::task::spawn_blocking(move || {
                let mut files = files;
                let found = files.look(asked);
                (files, found)
            });
            let Ok((looked, found)) = looked.await else { return };
            files = looked;
            match found.map(|found| found.and_then(|certified| Ok((pin(&certified)?, certified)))) {
                None => {}
                Some(Ok((pin, certified))) => {
                    self.shown.replace(certified);
                    tracing::info!("the changed certificate is in use; its fingerprint is {pin}");
                }
                Some(Err(error)) => {
                    tracing::error!("the changed certificate cannot be used; the previous one stays in use: {error}");
                }
            }
        }
    }
}

/// Keeps the certificate current until the plane ends. On SIGHUP, the files are read again at once; without files,
/// the signal has no effect.
pub(crate) async fn keep_current(tls: Option<Tls>) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        tracing::warn!("cannot catch SIGHUP: a changed certificate is used only after a restart");
        return;
    };
    match tls {
        Some(mut tls) if tls.files.is_some() => {
            if let Some(files) = tls.files.take() {
                tls.follow(files, hangups).await;
            }
        }
        _ => while hangups.recv().await.is_some() {},
    }
}

/// Returns the fingerprint of the configured certificate, read from its file.
pub fn fingerprint(config: &Config) -> Result<Pin, TlsError> {
    let chain = match &config.tls {
        config::Tls::Off => return Err(TlsError::Off),
        config::Tls::SelfSigned { .. } => own::read(&config.state_dir)?,
        config::Tls::Files { cert, .. } => files::read_chain(&cert.path).map_err(|error| error.named_by(&[cert]))?,
    };
    let first = chain.first().ok_or(rustls::Error::NoCertificatesPresented)?;
    pin_of(first)
}

/// Checks that the configured files can be used.
pub fn check(config: &Config) -> Result<(), TlsError> {
    match &config.tls {
        config::Tls::Files { cert, key } => {
            let read = files::read(&cert.path, &key.path);
            read.map(drop).map_err(|error| error.named_by(&[cert, key]))
        }
        config::Tls::Off | config::Tls::SelfSigned { .. } => Ok(()),
    }
}

fn pin(certified: &CertifiedKey) -> Result<Pin, TlsError> {
    pin_of(certified.end_entity_cert()?)
}

fn pin_of(certificate: &rustls::pki_types::CertificateDer<'_>) -> Result<Pin, TlsError> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(Pin::of_public_key(&parsed.subject_public_key_info()))
}

/// The certificate that is presented to new connections.
#[derive(Debug)]
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl CurrentCertificate {
    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}
