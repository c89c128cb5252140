//! The TLS settings for the plane's TCP addresses: `[tls]`.
//!
//! Owns the modes and the settings that belong to each. It must not read a certificate or a key.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::settings::{SettingError, Settings};

/// The TLS mode for the plane's TCP addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tls {
    /// Plain HTTP.
    #[default]
    Off,
    /// TLS with a certificate that the plane creates on its first start. Clients pin its key.
    SelfSigned {
        /// The names and addresses in the certificate, in addition to localhost and the listen addresses.
        names: Vec<String>,
    },
    /// TLS with these files (PEM), which are read again when they change.
    Files {
        /// The certificate, followed by the intermediate certificates.
        cert: File,
        /// The certificate's private key.
        key: File,
    },
}

/// A file that a setting names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The file.
    pub path: PathBuf,
    /// The location and name of the setting, such as `plane.toml:4: tls.cert`.
    pub named_at: String,
}

impl Tls {
    pub(super) fn take(settings: &mut Settings) -> Result<Self, SettingError> {
        let places = ["mode", "cert", "key", "names"].map(|key| settings.place_of(&format!("tls.{key}")));
        let text = |text: &str| Ok::<_, String>(text.to_owned());
        let mode = settings.take_with("tls.mode", "off".to_owned(), text)?;
        let cert = settings.take_path("tls.cert", PathBuf::new())?;
        let key = settings.take_path("tls.key", PathBuf::new())?;
        let names: Vec<String> = settings.take_list("tls.names", Vec::new(), name)?;
        let [at_mode, at_cert, at_key, at_names] = places;
        let wrong = |place: String, message: &str| {
            Err(SettingError {
                place,
                message: message.to_owned(),
            })
        };
        let given = (!cert.as_os_str().is_empty(), !key.as_os_str().is_empty());
        match (mode.as_str(), given) {
            ("files", (true, true)) if names.is_empty() => {
                let file = |path, place: &str, setting: &str| File {
                    path,
                    named_at: format!("{place}: {setting}"),
                };
                Ok(Self::Files {
                    cert: file(cert, &at_cert, "tls.cert"),
                    key: file(key, &at_key, "tls.key"),
                })
            }
            ("files", (false, _)) => wrong(
                at_mode,
                "tls.mode: \"files\" needs a certificate: set cert to the path of its PEM file",
            ),
            ("files", (_, false)) => wrong(
                at_mode,
                "tls.mode: \"files\" needs a private key: set key to the path of its PEM file",
            ),
            ("files", _) => wrong(
                at_names,
                "tls.names: the certificate in cert has its own names: remove this line, or set mode = \"self-signed\"",
            ),
            ("off" | "self-signed", (true, _)) => wrong(
                at_cert,
                "tls.cert: only mode = \"files\" uses this: set that mode, or remove this line",
            ),
            ("off" | "self-signed", (_, true)) => wrong(
                at_key,
                "tls.key: only mode = \"files\" uses this: set that mode, or remove this line",
            ),
            ("self-signed", _) => Ok(Self::SelfSigned { names }),
            ("off", _) if names.is_empty() => Ok(Self::Off),
            ("off", _) => wrong(
                at_names,
                "tls.names: only mode = \"self-signed\" uses this: set that mode, or remove this line",
            ),
            (other, _) => Err(SettingError {
                place: at_mode,
                message: format!("tls.mode: {other:?} is not a mode: use \"off\", \"self-signed\" or \"files\""),
            }),
        }
    }
}

/// Parses a name or an address for which a certificate can be issued.
fn name(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    match ServerName::try_from(host) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "{text:?} is not a name or an address: use one such as plane.example.com or 192.0.2.10"
        )),
    }
}
