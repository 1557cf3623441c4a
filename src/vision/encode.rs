//! Pixels become an image file.

use std::io::Cursor;

/// `pixels` (RGB) as a PNG file.
///
/// # Errors
/// When the pixels do not have the stated size.
pub fn encode_png(width: u32, height: u32, pixels: &[u8]) -> Result<Vec<u8>, image::ImageError> {
    let mut bytes = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut bytes, pixels, width, height, image::ColorType::Rgb8, image::ImageFormat::Png)?;
    Ok(bytes.into_inner())
}
