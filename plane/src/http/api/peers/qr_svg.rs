//! `GET …/qrcode`: a client's configuration as a QR code in SVG, for a phone to scan.
//!
//! Owns the drawing: dark on light in every theme, with the quiet zone that the standard requires. The drawing must not
//! contain anything that could be executed or fetched.

use std::fmt::Write as _;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use qrcode::Color;
use wgctl::config::qr_encoding::encode;
use wgctl::{PeerId, ServerId};

use crate::fleet::View;
use crate::http::extractors::Ids;
use crate::http::principal::Admin;
use crate::http::problem::{Failure, Kind};

/// The number of light modules around the code (ISO/IEC 18004, section 6.3.8).
const QUIET_ZONE: usize = 4;
/// The number of pixels per module, if the viewer does not scale the image.
const SCALE: usize = 6;

pub(crate) async fn show(admin: Admin, Ids((server, peer)): Ids<(ServerId, PeerId)>) -> Result<Response, Failure> {
    admin.looks()?;
    let configuration = admin
        .fleet()
        .configuration(&admin.caller, &server, &peer, View::Qrcode)
        .await?;
    let svg = draw(configuration.text.as_bytes()).ok_or_else(|| {
        Kind::QrcodeTooLarge
            .because("the configuration is too long for a QR code: download the file from …/configuration")
    })?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

/// Draws the text as a QR code. Returns `None` if the text is too long for one.
fn draw(text: &[u8]) -> Option<String> {
    let code = encode(text)?;
    let side = code.width() + 2 * QUIET_ZONE;
    let pixels = side * SCALE;
    let dark = runs(&code.to_colors(), code.width());
    Some(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"{pixels}\" height=\"{pixels}\" \
         viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path d=\"M0 0h{side}v{side}h-{side}z\" fill=\"#fff\"/><path d=\"{dark}\" fill=\"#000\"/></svg>\n"
    ))
}

/// Returns the dark modules as one path, with a rectangle for each horizontal run.
fn runs(colors: &[Color], width: usize) -> String {
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run.first() == Some(&Color::Dark) {
                let (x, y, length) = (x + QUIET_ZONE, y + QUIET_ZONE, run.len());
                // Writing to a String cannot fail.
                let _ = write!(path, "M{x} {y}h{length}v1h-{length}z");
            }
            x += run.len();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_contains_exactly_the_dark_modules() {
        let code = encode(b"text").unwrap();
        let path = runs(&code.to_colors(), code.width());
        let drawn: usize = path
            .split('h')
            .filter_map(|part| part.split_once("v1")?.0.parse::<usize>().ok())
            .sum();
        assert_eq!(
            drawn,
            code.to_colors().iter().filter(|color| **color == Color::Dark).count()
        );
    }

    #[test]
    fn a_typical_configuration_is_small_and_plain() {
        let svg = draw(&[b'x'; 353]).unwrap();
        assert!(svg.len() < 25_000, "{}", svg.len());
        for word in ["script", "href", "<image", "style", "xlink"] {
            assert!(!svg.contains(word));
        }
    }

    #[test]
    fn text_that_is_too_long_is_refused_and_not_truncated() {
        assert!(draw(&[b'x'; 2953]).is_some());
        assert!(draw(&[b'x'; 2954]).is_none());
    }
}
