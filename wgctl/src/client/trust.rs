//! The trust in a plane's certificate.
//!
//! Owns the two ways to establish it, by certificate authorities (the system's and additional ones) or by the
//! pin of the plane's key, and the information about a certificate that was not accepted. In both cases, the
//! signature of the handshake is verified. It must not send anything.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, InvalidMessage, OtherError,
    RootCertStore, SignatureScheme,
};

use super::error::Error;
use crate::pin::Pin;

/// The condition under which a certificate is accepted.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The certificate is signed by an authority: one of the system's or one of these (PEM).
    Authorities(Option<Vec<u8>>),
    /// The certificate has one of these keys. Its other contents do not matter.
    Pins(Vec<Pin>),
}

impl Trust {
    /// Returns the TLS configuration for connections with this trust.
    pub(super) fn tls(&self) -> Result<ClientConfig, Error> {
        let setup = |error: TlsError| Error::Setup(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Verifier {
            judge: match self {
                Self::Authorities(pem) => Judge::Authorities(authorities(pem.as_deref(), &provider)?),
                Self::Pins(pins) => Judge::Pins(pins.clone()),
            },
            provider: Arc::clone(&provider),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(setup)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Returns the verifier, or `None` if there are no authorities at all. In that case, no certificate is
/// accepted, but the error still shows the key that was presented.
fn authorities(pem: Option<&[u8]>, provider: &Arc<CryptoProvider>) -> Result<Option<Arc<WebPkiServerVerifier>>, Error> {
    let wrong = |reason: String| Error::Setup(format!("the certificates to trust: {reason}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.unwrap_or_default()) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if pem.is_some() && roots.is_empty() {
        return Err(wrong("they contain no certificate in PEM".to_owned()));
    }
    // System certificates that cannot be parsed are skipped.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Ok(None);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider)).build();
    verifier.map(Some).map_err(|error| wrong(error.to_string()))
}

/// The details of a certificate that was not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Distrust {
    /// The reason why it was not accepted.
    pub(super) reason: String,
    /// The pin of the key that was presented.
    pub(super) presented: Pin,
    /// True if a different key was pinned.
    pub(super) pinned: bool,
}

impl Distrust {
    /// Finds the `Distrust` inside a transport error, at any depth.
    pub(super) fn inside<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        match tls_error(error)? {
            TlsError::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
            _ => None,
        }
    }
}

/// Returns true if a transport error means that the response was not TLS.
pub(super) fn is_no_tls(error: &(dyn StdError + 'static)) -> bool {
    matches!(
        tls_error(error),
        Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType))
    )
}

/// Finds the TLS error inside a transport error, at any depth.
fn tls_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e TlsError> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    // The source of an `io::Error` is the source of its content, so following sources would skip the content
    // itself.
    let content = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let content = content.map(|content| -> &(dyn StdError + 'static) { content });
    content.or_else(|| error.source()).and_then(tls_error)
}

#[derive(Debug)]
struct Verifier {
    judge: Judge,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Judge {
    Authorities(Option<Arc<WebPkiServerVerifier>>),
    Pins(Vec<Pin>),
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let presented = Pin::of_public_key(&ParsedCertificate::try_from(end_entity)?.subject_public_key_info());
        let (reason, pinned) = match &self.judge {
            Judge::Pins(pins) if pins.contains(&presented) => return Ok(ServerCertVerified::assertion()),
            Judge::Pins(_) => ("its key is not the pinned one".to_owned(), true),
            Judge::Authorities(None) => ("this machine has no CA certificates".to_owned(), false),
            Judge::Authorities(Some(known)) => {
                match known.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                    Ok(verified) => return Ok(verified),
                    Err(error) => (in_words(&error), false),
                }
            }
        };
        let distrust = Distrust {
            reason,
            presented,
            pinned,
        };
        Err(CertificateError::Other(OtherError(Arc::new(distrust))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn in_words(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no certificate authority known to this machine vouches for it".to_owned()
        }
        other => other.to_string(),
    }
}
