//! The base URL of a plane.
//!
//! Owns its form in configuration files and on the command line.

use url::Url;

/// Parses the base URL of a plane, as given in a configuration file or on the command line.
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
