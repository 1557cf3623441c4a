//! Where pixels are read from: a frame of a camera or a decoded image, row by row.

use crate::capture::{Frame, PixelFormat};
use crate::part::Region;
use crate::vision::Image;

/// Why a source cannot be read.
pub(super) const TOO_SHORT: &str = "its bytes are fewer than its size needs";

/// A frame or an image.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Frame(&'a Frame),
    Image(&'a Image),
}

impl<'a> Source<'a> {
    pub(super) fn width(self) -> u32 {
        match self {
            Self::Frame(frame) => frame.width,
            Self::Image(image) => image.width,
        }
    }

    pub(super) fn height(self) -> u32 {
        match self {
            Self::Frame(frame) => frame.height,
            Self::Image(image) => image.height,
        }
    }

    pub(super) fn format(self) -> PixelFormat {
        match self {
            Self::Frame(frame) => frame.format,
            Self::Image(_) => PixelFormat::Rgb,
        }
    }

    /// Whether luma and chroma have the full range, and whether they follow BT.709.
    pub(super) fn encoding(self) -> (bool, bool) {
        match self {
            Self::Frame(frame) => (frame.full_range, frame.bt709),
            Self::Image(_) => (true, false),
        }
    }

    /// The bytes of one row of a plane; `None` outside of it, or of the bytes that there are.
    pub(super) fn row(self, plane: usize, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Frame(frame) => frame.row(plane, row),
            Self::Image(image) => {
                let bytes = (image.width as usize).checked_mul(3)?;
                let start = bytes.checked_mul(row)?;
                image.rgb.get(start..start.checked_add(bytes)?)
            }
        }
    }

    /// Whether it has the bytes that its size needs.
    pub(super) fn is_whole(self) -> bool {
        match self {
            Self::Frame(frame) => frame.is_whole(),
            Self::Image(image) => image.height == 0 || self.row(0, image.height as usize - 1).is_some(),
        }
    }

    /// The region, or all of it where there is none.
    ///
    /// # Errors
    /// When it reaches outside.
    pub(super) fn seen(self, region: Option<Region>) -> Result<Region, String> {
        let region = region.unwrap_or(Region {
            x: 0,
            y: 0,
            width: self.width(),
            height: self.height(),
        });
        if region.is_within(self.width(), self.height()) {
            return Ok(region);
        }
        let Region { x, y, width, height } = region;
        Err(format!(
            "its region of {width}x{height} px at ({x}, {y}) reaches outside; set the camera to the size that the region is meant for"
        ))
    }
}
