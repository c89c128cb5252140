//! A QR code drawn with characters.
//!
//! Owns the drawing: two modules per character, a quiet zone of four modules (ISO/IEC 18004), and light
//! modules as blocks. In colour, the blocks are white on black, so that the code is dark on light whatever
//! colours the terminal uses.

use qrcode::Color;
use wgctl::config::qr_encoding::encode;
use zeroize::Zeroizing;

/// The width of the light border around the code, in modules.
const QUIET_ZONE: usize = 4;

/// The error for content that is too long for a QR code.
#[derive(Debug, thiserror::Error)]
#[error("a configuration of {0} bytes is too long for a QR code (at most 2953)")]
pub(crate) struct TooLong(usize);

/// Draws `content` at error correction level M, or at level L if it does not fit at level M. The drawing is as
/// secret as the content.
pub(crate) fn draw(content: &[u8], colour: bool) -> Result<Zeroizing<String>, TooLong> {
    let code = encode(content).ok_or(TooLong(content.len()))?;
    let width = code.width();
    let modules = code.into_colors();
    let light = |x: usize, y: usize| -> bool {
        let inside = |position: usize| position.checked_sub(QUIET_ZONE).filter(|&inner| inner < width);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => modules.get(y * width + x) != Some(&Color::Dark),
            _ => true,
        }
    };
    let side = width + 2 * QUIET_ZONE;
    let mut drawing = Zeroizing::new(String::with_capacity(side * side * 2));
    for y in (0..side).step_by(2) {
        if colour {
            drawing.push_str("\u{1b}[97;40m");
        }
        for x in 0..side {
            // If the height is odd, there is nothing below the last row.
            drawing.push(match (light(x, y), y + 1 < side && light(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        drawing.push_str(if colour { "\u{1b}[0m\n" } else { "\n" });
    }
    Ok(drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_shows_the_code_with_its_quiet_zone() {
        let content = b"[Interface]\nPrivateKey = x\n";
        let code = encode(content).unwrap();
        let (width, modules) = (code.width(), code.to_colors());
        let drawing = draw(content, false).unwrap();
        let rows: Vec<Vec<char>> = drawing.lines().map(|line| line.chars().collect()).collect();
        assert_eq!(rows.len(), (width + 8).div_ceil(2));
        assert!(rows.iter().all(|row| row.len() == width + 8));
        for y in 0..width + 8 {
            for x in 0..width + 8 {
                let light = match rows[y / 2][x] {
                    '█' => true,
                    '▀' => y % 2 == 0,
                    '▄' => y % 2 == 1,
                    _ => false,
                };
                let inside = (4..width + 4).contains(&x) && (4..width + 4).contains(&y);
                assert_eq!(
                    light,
                    !inside || modules[(y - 4) * width + x - 4] == Color::Light,
                    "{x},{y}"
                );
            }
        }
    }

    #[test]
    fn content_too_long_for_a_qr_code_is_refused_with_its_size() {
        assert!(draw(&[b'x'; 2953], true).is_ok(), "level L holds 2,953 bytes");
        assert!(
            draw(&[b'x'; 2954], true)
                .unwrap_err()
                .to_string()
                .contains("2954 bytes")
        );
    }

    #[test]
    fn zbar_can_read_the_drawn_code() {
        for content in ["# alice\n[Interface]", "# Zoë's laptop, 日本\n[Interface]"] {
            let drawing = draw(content.as_bytes(), false).unwrap();
            let path = std::env::temp_dir().join(format!("wgctl-{}.pgm", uuid::Uuid::new_v4()));
            std::fs::write(&path, graymap(&drawing, 4)).unwrap();
            let read = std::process::Command::new("zbarimg")
                .args(["-q", "--raw"])
                .arg(&path)
                .output();
            std::fs::remove_file(&path).unwrap();
            let Ok(read) = read else {
                eprintln!("not read back: zbarimg is not installed");
                return;
            };
            assert_eq!(String::from_utf8_lossy(&read.stdout).trim_end(), content);
        }
    }

    /// Converts the drawing to a picture (PGM, one of the netpbm formats), with `scale` pixels per module.
    fn graymap(drawing: &str, scale: usize) -> Vec<u8> {
        let mut rows: Vec<Vec<u8>> = Vec::new();
        for line in drawing.lines() {
            for half in ["█▀", "█▄"] {
                let row = line.chars().map(|c| if half.contains(c) { 255 } else { 0 });
                let row: Vec<u8> = row.flat_map(|shade| std::iter::repeat_n(shade, scale)).collect();
                rows.extend(std::iter::repeat_n(row, scale));
            }
        }
        let mut picture = format!("P5 {} {} 255\n", rows[0].len(), rows.len()).into_bytes();
        picture.extend(rows.into_iter().flatten());
        picture
    }
}
