//! The base URL of a plane.
//!
//! Owns its form, as configuration files and the command line give it.

use url::Url;

/// A plane's address without a trailing slash, as configuration and command line give it.
pub fn base_url(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("{text:?} is not a URL ({error}): write https://HOST[:PORT]"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!(
            "{text:?} is not an http or https URL: write https://HOST[:PORT]"
        ));
    }
    Ok(url)
}
