//! Image files become 8-bit RGB: grey is repeated, 16 bits are scaled by their full range, alpha is ignored, EXIF orientation is applied.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};

use super::Image;

/// File name endings that are taken for images, in lower case.
pub const EXTENSIONS: [&str; 8] = ["bmp", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff"];

/// The shortest side that can carry a part: below it no feature of the backbone sees anything.
pub const SIDE_PX_MIN: u32 = 16;

/// The largest image: 128 megapixels, 384 MiB as RGB. Line-scan images fit, a decompression bomb does not.
pub const PIXELS_MAX: u64 = 128 << 20;

/// Why an image file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file could not be opened.
    #[error("failed to open image {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no image, is damaged or cut off.
    #[error("failed to decode image {path}: {reason}; save it again as PNG, JPEG, BMP, TIFF or PNM")]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// The image is too small or too large.
    #[error(
        "failed to take image {path}: it is {width}x{height} px; both sides need at least {SIDE_PX_MIN} px and the whole at most {} megapixels",
        PIXELS_MAX >> 20
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// Reads the image file at `path`.
///
/// # Errors
/// When the file cannot be read, is no complete image, or has a size out of range ([`SIDE_PX_MIN`], [`PIXELS_MAX`]).
pub fn read_image(path: &Path) -> Result<Image, DecodeError> {
    let failed = |error: &ImageError| DecodeError::Decode {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let file = File::open(path).map_err(|source| DecodeError::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut reader = ImageReader::new(BufReader::new(file))
        .with_guessed_format()
        .map_err(|source| DecodeError::Open {
            path: path.to_owned(),
            source,
        })?;
    // The size is checked before any pixel is decoded; the limit on memory is for what decoders allocate on the way.
    let mut limits = Limits::default();
    limits.max_alloc = Some(PIXELS_MAX * 8);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| failed(&error))?;
    let (width, height) = decoder.dimensions();
    if width.min(height) < SIDE_PX_MIN || u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(DecodeError::Size {
            path: path.to_owned(),
            width,
            height,
        });
    }
    let orientation = decoder.orientation().map_err(|error| failed(&error))?;
    let mut pixels = DynamicImage::from_decoder(decoder).map_err(|error| failed(&error))?;
    pixels.apply_orientation(orientation);
    let rgb = pixels.into_rgb8();
    Ok(Image {
        width: rgb.width(),
        height: rgb.height(),
        rgb: rgb.into_raw(),
    })
}
