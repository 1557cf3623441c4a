//! Pixels become the model's input: resized to its size, as bytes. Normalisation runs inside the model.

use fast_image_resize::images::{Image as Pixels, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::Image;

/// Resizes images to one size, with buffers that are used again.
pub struct Preprocessor {
    resizer: Resizer,
    target: Pixels<'static>,
}

/// An image that cannot be resized: its buffer does not have the size it claims.
#[derive(Debug, thiserror::Error)]
#[error("failed to resize a {width}x{height} image: {reason}")]
pub struct PreprocessError {
    width: u32,
    height: u32,
    reason: String,
}

impl Preprocessor {
    /// A preprocessor for models that take `width` x `height` pixels.
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            resizer: Resizer::new(),
            target: Pixels::new(width, height, PixelType::U8x3),
        }
    }

    /// The image at the model's size as RGB bytes, row by row (`height * width * 3`).
    ///
    /// Bilinear with the filter widened by the scale when shrinking (as Pillow's `BILINEAR`), so that small defects are averaged in rather
    /// than skipped. The aspect ratio follows the model's input.
    ///
    /// # Errors
    /// When the image's buffer does not match its stated size.
    pub fn resize<'a>(&'a mut self, image: &'a Image) -> Result<&'a [u8], PreprocessError> {
        let failed = |reason: String| PreprocessError {
            width: image.width,
            height: image.height,
            reason,
        };
        if (image.width, image.height) == (self.target.width(), self.target.height()) {
            return Ok(&image.rgb);
        }
        let source = ImageRef::new(image.width, image.height, &image.rgb, PixelType::U8x3).map_err(|error| failed(error.to_string()))?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer
            .resize(&source, &mut self.target, &options)
            .map_err(|error| failed(error.to_string()))?;
        Ok(self.target.buffer())
    }
}
