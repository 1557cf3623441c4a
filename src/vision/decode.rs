//! Image files become 8-bit RGB: grey is repeated, 16 bits are scaled by their full range, alpha is ignored, EXIF orientation is applied.

use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::Image;

/// File name endings that are taken for images, in lower case.
pub const EXTENSIONS: [&str; 9] = ["bmp", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"];

/// The shortest side that can carry a part: below it no feature of the backbone sees anything.
pub const SIDE_PX_MIN: u32 = 16;

/// The largest image: 128 megapixels, 384 MiB as RGB. Line-scan images fit, a decompression bomb does not.
pub const PIXELS_MAX: u64 = 128 << 20;

/// The largest image file: 16 bits of 4 channels for every pixel that is allowed.
const FILE_BYTES_MAX: u64 = PIXELS_MAX * 8;

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
    #[error("failed to decode image {path}: {reason}; save it again as PNG, JPEG, BMP, TIFF, WebP or PNM")]
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

/// The image files directly in a folder, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn list_images(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_image = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        path.is_file() && ending.is_some_and(|ending| EXTENSIONS.contains(&ending.as_str()))
    };
    let mut images: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(is_image)
        .collect();
    images.sort();
    Ok(images)
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
    let bytes = read_bounded(path).map_err(|source| DecodeError::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut reader = ImageReader::new(Cursor::new(&bytes))
        .with_guessed_format()
        .map_err(|source| DecodeError::Open {
            path: path.to_owned(),
            source,
        })?;
    if reader.format() == Some(ImageFormat::Jpeg) && is_jpeg_cut_off(&bytes) {
        return Err(DecodeError::Decode {
            path: path.to_owned(),
            reason: "the file is cut off".into(),
        });
    }
    // The size is checked before any pixel is decoded; the limit on memory is for what decoders allocate on the way.
    let mut limits = Limits::default();
    limits.max_alloc = Some(FILE_BYTES_MAX);
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

/// The bytes of a file no larger than any image in range can be.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has {size} bytes, more than an image may")));
    }
    fs::read(path)
}

/// Whether the last scan of a JPEG has no end: the decoder would fill the rest with grey. Inside a scan no other marker of these two can appear.
fn is_jpeg_cut_off(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    last([0xff, 0xd9]) <= last([0xff, 0xda])
}
