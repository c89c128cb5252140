//! The cause of an error from the HTTP library: an untrusted certificate, the wrong scheme, or an unreachable
//! plane.
//!
//! Owns the classification. It must not send anything.

use super::error::Error;
use super::target::Target;
use super::trust::{self, Distrust};

/// Converts an error from the HTTP library into the error for its cause.
pub(super) fn unreachable(to: &Target, error: &reqwest::Error) -> Error {
    let target = to.to_string();
    if let Some(distrust) = Distrust::inside(error) {
        return Error::Untrusted {
            target,
            reason: distrust.reason.clone(),
            presented: distrust.presented,
            pinned: distrust.pinned,
        };
    }
    let asked = match to {
        Target::Url(url) => target
            .split_once("://")
            .filter(|_| is_wrong_protocol(error, url.scheme())),
        Target::Socket(_) => None,
    };
    let (missing, instead) = match asked {
        None => {
            let reason = innermost(error);
            return Error::Unreachable { target, reason };
        }
        Some(("https", place)) => ("TLS", format!("http://{place}")),
        Some((_, place)) => ("plain http", format!("https://{place}")),
    };
    Error::WrongScheme {
        target,
        missing,
        instead,
    }
}

/// Returns true if the other side does not speak the protocol of `scheme`: TLS for `https`, otherwise plain HTTP.
fn is_wrong_protocol(error: &(dyn std::error::Error + 'static), scheme: &str) -> bool {
    match scheme {
        "https" => trust::is_no_tls(error),
        _ => causes(error).any(|cause| cause.downcast_ref().is_some_and(hyper::Error::is_parse)),
    }
}

/// Returns an error and all its sources.
fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Returns the innermost cause: "connection refused" rather than "error sending request".
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
