//! TLS of the TCP addresses: which certificate is shown, and that it stays the current one.
//!
//! Owns the rustls configuration (TLS 1.2 and 1.3, HTTP/1.1 alone, aws-lc), the exchange of the
//! certificate under living connections, and the pin clients know the plane by. `own` makes a
//! certificate, `files` reads one. It must not accept or drive connections.

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

/// An error of loading or creating a certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that a setting names cannot be used.
    #[error("{named_at}: {reason}")]
    Setting {
        /// The setting and its place.
        named_at: String,
        /// Why.
        reason: Box<Self>,
    },
    /// The plane's own certificate is not there yet.
    #[error(
        "there is no certificate yet: the plane makes {} at its first start (`systemctl start sentrazone-plane`)",
        .0.display()
    )]
    NotYet(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A private key is not private.
    #[error(
        "{0}: every user of this machine may use this private key (mode {mode:o}): chmod 640 {0}, with a group of the \
         plane's", path.display()
    )]
    Open {
        /// The key's file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The fault in it.
        reason: String,
    },
    /// The certificate of our own cannot be made.
    #[error("no certificate can be made: {0} (names under [tls] in the configuration)")]
    Make(#[from] rcgen::Error),
    /// Certificate and key cannot be used (together).
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// There is none to be asked for.
    #[error("the plane has no certificate: mode is \"off\" under [tls] in the configuration")]
    Off,
}

impl TlsError {
    /// The file it is about.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } | Self::Open { path, .. } | Self::Content { path, .. } => Some(path),
            Self::Setting { .. } | Self::NotYet(_) | Self::Make(_) | Self::Unusable(_) | Self::Off => None,
        }
    }

    /// The same, with the setting that names the file.
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

/// The TLS side of TCP connections.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    shown: Arc<CurrentCertificate>,
    files: Option<Files>,
}

impl Tls {
    /// The certificate that is configured, made where it is to be our own; none for plain HTTP.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>, TlsError> {
        let (certified, files) = match &config.tls {
            config::Tls::Off => return Ok(None),
            config::Tls::SelfSigned { names } => {
                let names = own::names(&config.listen, names);
                (own::load_or_make(&config.state_dir, &names)?, None)
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

    /// The key that hosts must pin, where no authority vouches for the certificate.
    pub(crate) fn pin(&self) -> Option<Pin> {
        let own = self.files.is_none();
        own.then(|| pin(&self.shown.current()).ok()).flatten()
    }

    /// Shows the files' certificate anew whenever they change. One that cannot be used is told of
    /// and not shown: the one before stays.
    async fn follow(&self, mut files: Files, mut hangups: Signal) {
        loop {
            let asked = tokio::select! {
                _ = hangups.recv() => true,
                () = tokio::time::sleep(files::BETWEEN_LOOKS) => false,
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
                    tracing::error!("the changed certificate is not used, the one before stays: {error}");
                }
            }
        }
    }
}

/// Keeps the certificate current, until the plane ends. SIGHUP looks at once; where there is nothing
/// to look at, it does no harm.
pub(crate) async fn keep_current(tls: Option<Tls>) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        tracing::warn!("SIGHUP cannot be caught");
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

/// The fingerprint of the certificate that is (to be) shown, read from its file.
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

/// The certificate that new connections are shown.
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
