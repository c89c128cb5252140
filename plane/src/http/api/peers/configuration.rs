//! `GET …/configuration`: a client's wg-quick configuration, as a file to save.
//!
//! Owns the file's name. It must not store the text, which comes from the host's agent.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use wgctl::{PeerId, PeerName, ServerId};

use crate::fleet::{Refusal, View};
use crate::http::extractors::Ids;
use crate::http::principal::Admin;
use crate::http::problem::Failure;
use crate::http::response::percent_encoded;

pub(crate) async fn show(admin: Admin, Ids((server, peer)): Ids<(ServerId, PeerId)>) -> Result<Response, Failure> {
    admin.looks()?;
    let view = View::Configuration;
    let configuration = admin.fleet().configuration(&admin.caller, &server, &peer, view).await?;
    let disposition = HeaderValue::try_from(content_disposition(&configuration.name))
        .map_err(|error| Refusal::Internal(error.to_string()))?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        ),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, configuration.text.to_string()).into_response())
}

/// Returns the `Content-Disposition` (RFC 6266): an ASCII name for every HTTP client, and the full name for those that
/// support `filename*`.
fn content_disposition(name: &PeerName) -> String {
    let whole = name.as_str().replace(['/', '\\'], "-");
    format!(
        "attachment; filename=\"{}.conf\"; filename*=UTF-8''{}.conf",
        interface_name(name.as_str()),
        percent_encoded(&whole)
    )
}

/// Converts a client's name to an interface name. wg-quick names the interface after the file; the name has at most 15
/// characters from `[a-zA-Z0-9_=+.-]` (wg-quick(8)). Only characters that are safe in shells and file systems are used.
fn interface_name(name: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(safe).collect();
    let name: String = name.trim_start_matches(['-', '.']).chars().take(15).collect();
    let name = name.trim_end_matches(['-', '.']);
    if name.is_empty() {
        "client".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_name_is_a_valid_wg_quick_interface_name() {
        for (name, wanted) in [
            ("alice-iphone", "alice-iphone"),
            ("a very long name of a device", "a-very-long-nam"),
            ("../../etc/passwd", "etc-passwd"),
            ("日本", "client"),
            ("x\"; rm -rf", "x---rm--rf"),
        ] {
            assert_eq!(interface_name(name), wanted);
        }
    }

    #[test]
    fn no_name_breaks_out_of_the_header() {
        let name = "Zoë \"x\"; a=b/c".parse().unwrap();
        assert_eq!(
            content_disposition(&name),
            "attachment; filename=\"Zo---x---a-b-c.conf\"; filename*=UTF-8''Zo%C3%AB%20%22x%22%3B%20a%3Db-c.conf"
        );
    }
}
