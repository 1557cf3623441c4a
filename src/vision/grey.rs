//! Pictures of one channel, as calibration and locators look at them. Pure.
//!
//! Coordinates are those of OpenCV: the centre of the first pixel is (0, 0), x to the right, y down.

use std::ops::Range;

use super::Image;
use crate::capture::{Frame, PixelFormat};

/// Luma of one picture, row by row, no padding.
#[derive(Clone, PartialEq, Eq)]
pub struct GreyImage {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` bytes.
    pub luma: Vec<u8>,
}

impl std::fmt::Debug for GreyImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GreyImage({}x{})", self.width, self.height)
    }
}

/// Luma of BT.601, weights rounded to 1/256.
fn luma_of(red: u8, green: u8, blue: u8) -> u8 {
    ((77 * u32::from(red) + 150 * u32::from(green) + 29 * u32::from(blue) + 128) >> 8).min(255) as u8
}

impl GreyImage {
    /// The luma of an image.
    pub fn from_image(image: &Image) -> Self {
        Self {
            width: image.width as usize,
            height: image.height as usize,
            luma: image
                .rgb
                .chunks_exact(3)
                .map(|pixel| luma_of(pixel[0], pixel[1], pixel[2]))
                .collect(),
        }
    }

    /// The luma of a frame, as the camera gave it; `None` where its bytes do not fit its size.
    pub fn from_frame(frame: &Frame) -> Option<Self> {
        let (width, height) = (frame.width as usize, frame.height as usize);
        let mut luma = Vec::with_capacity(width.checked_mul(height)?);
        for y in 0..height {
            let row = frame.row(0, y)?;
            match frame.format {
                PixelFormat::Gray8 | PixelFormat::Nv12 | PixelFormat::I420 => luma.extend_from_slice(row.get(..width)?),
                PixelFormat::Yuy2 => luma.extend(row.iter().step_by(2).take(width)),
                PixelFormat::Rgb => luma.extend(row.chunks_exact(3).map(|pixel| luma_of(pixel[0], pixel[1], pixel[2]))),
                PixelFormat::Bgr => luma.extend(row.chunks_exact(3).map(|pixel| luma_of(pixel[2], pixel[1], pixel[0]))),
            }
        }
        Some(Self { width, height, luma })
    }

    /// The luma of a pixel; of the nearest one for places outside.
    pub fn at(&self, x: isize, y: isize) -> u8 {
        let x = x.clamp(0, self.width as isize - 1) as usize;
        let y = y.clamp(0, self.height as isize - 1) as usize;
        self.luma[y * self.width + x]
    }

    /// The luma between pixels, bilinear; the rim goes on outside.
    pub fn sample(&self, x: f64, y: f64) -> f64 {
        let between = |a: u8, b: u8, share: f64| f64::from(a) + share * (f64::from(b) - f64::from(a));
        if x >= 0.0 && y >= 0.0 {
            // Nearly all places are inside, where nothing needs to be held back at the rim.
            let (left, top) = (x as usize, y as usize);
            let (right_share, bottom_share) = (x - left as f64, y - top as f64);
            let pair = |row: usize| {
                let start = row.checked_mul(self.width)?.checked_add(left)?;
                self.luma.get(start..start.checked_add(2)?)
            };
            if left + 1 < self.width
                && let (Some(upper), Some(lower)) = (pair(top), pair(top + 1))
            {
                let (upper, lower) = (between(upper[0], upper[1], right_share), between(lower[0], lower[1], right_share));
                return upper + bottom_share * (lower - upper);
            }
        }
        let (left, top) = (x.floor(), y.floor());
        let (right_share, bottom_share) = (x - left, y - top);
        let (left, top) = (left as isize, top as isize);
        let upper = between(self.at(left, top), self.at(left + 1, top), right_share);
        let lower = between(self.at(left, top + 1), self.at(left + 1, top + 1), right_share);
        upper + bottom_share * (lower - upper)
    }

    /// A part of the picture; of ranges that reach beyond it, what lies inside.
    #[must_use]
    pub fn cropped(&self, columns: Range<usize>, rows: Range<usize>) -> Self {
        let (right, bottom) = (columns.end.min(self.width), rows.end.min(self.height));
        let (left, top) = (columns.start.min(right), rows.start.min(bottom));
        let mut luma = Vec::with_capacity((right - left) * (bottom - top));
        for row in self.luma.chunks_exact(self.width.max(1)).take(bottom).skip(top) {
            luma.extend_from_slice(&row[left..right]);
        }
        Self {
            width: right - left,
            height: bottom - top,
            luma,
        }
    }

    /// The picture at half its size: means of 2 x 2 pixels; an odd last row or column is left out. `None` below 2 pixels a side.
    ///
    /// The centre of pixel (x, y) lies at (2x + 1/2, 2y + 1/2) here.
    pub fn halved(&self) -> Option<Self> {
        let (width, height) = (self.width / 2, self.height / 2);
        if width == 0 || height == 0 {
            return None;
        }
        let mut luma = Vec::with_capacity(width * height);
        for rows in self.luma.chunks_exact(2 * self.width).take(height) {
            let (upper, lower) = rows.split_at(self.width);
            luma.extend(upper.chunks_exact(2).zip(lower.chunks_exact(2)).map(|(upper, lower)| {
                let sum = u16::from(upper[0]) + u16::from(upper[1]) + u16::from(lower[0]) + u16::from(lower[1]);
                ((sum + 2) / 4) as u8
            }));
        }
        Some(Self { width, height, luma })
    }
}
