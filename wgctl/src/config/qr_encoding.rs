//! The QR code for a client's configuration (ISO/IEC 18004).
//!
//! Owns the choice of size, error correction and character set. It must not draw the code: that belongs to
//! its callers.

use qrcode::bits::Bits;
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode, Version};

/// The number of the extended channel interpretation for UTF-8 (AIM ITS/04-023).
const ECI_UTF8: u32 = 26;

/// Encodes `content` at error correction level M, which tolerates a scratched screen, or at level L if it does not
/// fit at level M. Returns `None` for more than 2,953 bytes.
#[must_use]
pub fn encode(content: &[u8]) -> Option<QrCode> {
    let levels = [EcLevel::M, EcLevel::L];
    if content.is_ascii() {
        return levels
            .iter()
            .find_map(|level| QrCode::with_error_correction_level(content, *level).ok());
    }
    let mut sizes = levels
        .iter()
        .flat_map(|level| (1..=40).map(move |size| (*level, Version::Normal(size))));
    sizes.find_map(|(level, version)| utf8(content, level, version).ok())
}

/// Encodes the bytes and marks them as UTF-8. Without the mark, readers guess the character set, and some
/// read "ë" as Chinese.
fn utf8(content: &[u8], level: EcLevel, version: Version) -> Result<QrCode, QrError> {
    let mut bits = Bits::new(version);
    bits.push_eci_designator(ECI_UTF8)?;
    bits.push_byte_data(content)?;
    bits.push_terminator(level)?;
    QrCode::with_bits(bits, level)
}
