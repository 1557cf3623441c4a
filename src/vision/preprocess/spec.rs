//! What a model takes, and where a picture comes to lie in it.

use serde::{Deserialize, Serialize};

use crate::part::Region;

/// Longest side of a model's input, pixels: beyond it a number is taken for a mistake.
pub const SIDE_PX_MAX: u32 = 8192;

/// Most values of a tensor, all its pictures together; those of a batch of 21 pictures of 2048 x 2048 pixels in colour.
pub const VALUES_MAX: usize = 1 << 28;

/// The input tensor of a model: its size, and how pixels become its values.
///
/// With a level of 0 to 255 of a channel, the value is `(level * scale - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Pixels per row, 1 to [`SIDE_PX_MAX`].
    pub width: u32,
    /// Rows, 1 to [`SIDE_PX_MAX`].
    pub height: u32,
    /// Order of the dimensions.
    pub layout: Layout,
    /// Type of the values. [`Element::U8`] holds the levels themselves: `scale` and `std` are 1 and `mean` is 0.
    pub element: Element,
    /// The channels and their order.
    pub colour: Colour,
    /// What levels are multiplied with: 1 where the model takes 0 to 255, 1/255 where it takes 0 to 1.
    pub scale: f32,
    /// What is then subtracted, per channel in the order of the tensor; [`Colour::Gray`] uses the first.
    pub mean: [f32; 3],
    /// What is then divided by, above 0, as for `mean`.
    pub std: [f32; 3],
    /// How the picture's shape becomes the tensor's.
    pub fit: Fit,
    /// How pixels become fewer, or more.
    pub filter: Filter,
}

/// Order of a tensor's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Pixel by pixel, the channels of one together.
    Nhwc,
    /// Channel by channel.
    Nchw,
}

impl Layout {
    /// The name in manifests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nhwc => "nhwc",
            Self::Nchw => "nchw",
        }
    }
}

/// Type of a tensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// Bytes, rounded to the nearest level.
    U8,
    /// 32-bit floats.
    F32,
    /// 16-bit floats (IEEE 754 binary16), rounded to the nearest.
    F16,
}

impl Element {
    /// The name in manifests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

/// The channels of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel: the luma of BT.601, as OpenCV and Pillow make grey.
    Gray,
}

impl Colour {
    /// The name in manifests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rgb => "rgb",
            Self::Bgr => "bgr",
            Self::Gray => "gray",
        }
    }
}

impl Colour {
    /// How many channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Gray => 1,
        }
    }
}

/// How the shape of a picture becomes that of the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Width and height each to the tensor's.
    Stretch,
    /// Both by the same factor, as large as fits, with bars beside.
    Letterbox {
        /// Where the picture lies between the bars.
        place: Place,
        /// Level of the bars in every channel; 114 where Ultralytics or YOLOX trained.
        fill: u8,
        /// Whether pictures smaller than the tensor are enlarged; otherwise they get wider bars.
        grow: bool,
    },
}

/// Where a picture lies between the bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the middle; an odd pixel is left over on the right or at the bottom (Ultralytics).
    Centre,
    /// At the left and at the top (YOLOX).
    TopLeft,
}

/// How pixels become fewer, or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// A triangle as wide as the scale, in bytes, as [`super::Preprocessor`] and Pillow's `BILINEAR` do it.
    Bilinear,
    /// The mean of the pixels that a pixel of the tensor covers, by area (OpenCV's `INTER_AREA`).
    Area,
    /// Between the four pixels around one point, in whole levels (OpenCV's `INTER_LINEAR` for bytes, to the bit). Shrinking skips pixels, and
    /// small defects with them: only for models that were trained so, as most detectors are.
    Point,
}

impl Filter {
    /// The name in manifests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bilinear => "bilinear",
            Self::Area => "area",
            Self::Point => "point",
        }
    }
}

/// A tensor that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// A side is 0 or too long.
    #[error("failed to prepare a model's input of {width}x{height} pixels: each side has 1 to {SIDE_PX_MAX}")]
    Size {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// No pictures at all, or too many.
    #[error("failed to prepare a batch of {batch} pictures: it needs at least one, and at most {VALUES_MAX} values in all")]
    Batch {
        /// Pictures.
        batch: usize,
    },
    /// Values would not be numbers.
    #[error("failed to prepare a model's input: scale, mean and std are to be finite numbers, and std above 0")]
    Normalisation,
    /// Bytes cannot hold normalised values.
    #[error("failed to prepare a model's input of bytes: they hold the levels themselves; set scale and std to 1 and mean to 0")]
    NormalisedBytes,
}

impl TensorSpec {
    /// What models take that takt teaches: RGB bytes, pixel by pixel, stretched to their size. [`super::Preprocessor`] makes the same.
    pub fn taught(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            layout: Layout::Nhwc,
            element: Element::U8,
            colour: Colour::Rgb,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            fit: Fit::Stretch,
            filter: Filter::Bilinear,
        }
    }

    /// Whether it is what models take that takt teaches.
    pub(super) fn is_taught(&self) -> bool {
        *self == Self::taught(self.width, self.height)
    }

    /// Values of one picture.
    pub(super) fn values(&self) -> usize {
        self.width as usize * self.height as usize * self.colour.channels()
    }

    /// Whether a tensor of `batch` such pictures can be made.
    pub(super) fn check(&self, batch: usize) -> Result<(), SpecError> {
        let Self { width, height, .. } = *self;
        if [width, height].iter().any(|side| !(1..=SIDE_PX_MAX).contains(side)) {
            return Err(SpecError::Size { width, height });
        }
        if batch == 0 || batch > VALUES_MAX / self.values() {
            return Err(SpecError::Batch { batch });
        }
        let numbers = self.mean.iter().chain(&self.std).chain([&self.scale]);
        if !numbers.copied().all(f32::is_finite) || self.std.iter().any(|std| *std <= 0.0) {
            return Err(SpecError::Normalisation);
        }
        if self.element == Element::U8 && (self.scale, self.mean, self.std) != (1.0, [0.0; 3], [1.0; 3]) {
            return Err(SpecError::NormalisedBytes);
        }
        Ok(())
    }

    /// The factor and the summand that make a value of a level, per channel.
    pub(super) fn gains(&self) -> [(f32, f32); 3] {
        std::array::from_fn(|channel| (self.scale / self.std[channel], -self.mean[channel] / self.std[channel]))
    }

    /// Where the region of a picture comes to lie.
    pub fn place(&self, region: Region) -> Placement {
        let (left, top, width, height) = match self.fit {
            Fit::Stretch => (0, 0, self.width, self.height),
            Fit::Letterbox { place, grow, .. } => {
                let across = f64::from(self.width) / f64::from(region.width);
                let scale = across.min(f64::from(self.height) / f64::from(region.height));
                let scale = if grow { scale } else { scale.min(1.0) };
                let side = |pixels: u32, most: u32| ((f64::from(pixels) * scale).round() as u32).clamp(1, most);
                let (width, height) = (side(region.width, self.width), side(region.height, self.height));
                match place {
                    Place::Centre => ((self.width - width) / 2, (self.height - height) / 2, width, height),
                    Place::TopLeft => (0, 0, width, height),
                }
            }
        };
        Placement {
            region,
            left,
            top,
            width,
            height,
        }
    }

    /// The level of what lies beside the picture.
    pub(super) fn fill(&self) -> f32 {
        match self.fit {
            Fit::Stretch => 0.0,
            Fit::Letterbox { fill, .. } => f32::from(fill),
        }
    }
}

/// Where a picture lies in a tensor: the way back from what a model found to the pixels of the frame.
///
/// Places are edges: pixel `i` reaches from `i` to `i + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The part of the frame that was taken, in its pixels.
    pub region: Region,
    /// Pixels of the tensor on its left.
    pub left: u32,
    /// Pixels of the tensor above it.
    pub top: u32,
    /// Its width in the tensor, pixels, at least 1.
    pub width: u32,
    /// Its height in the tensor, pixels, at least 1.
    pub height: u32,
}

impl Placement {
    /// Pixels of the tensor for one of the frame, across and down. Under [`Fit::Letterbox`] they differ by no more than rounding to whole
    /// pixels makes them.
    pub fn scale(&self) -> (f64, f64) {
        let ratio = |tensor: u32, frame: u32| f64::from(tensor) / f64::from(frame);
        (ratio(self.width, self.region.width), ratio(self.height, self.region.height))
    }

    /// The place in the frame of a place in the tensor. What lies in the bars comes to lie outside of the region.
    pub fn to_frame(&self, x: f64, y: f64) -> (f64, f64) {
        let (across, down) = self.scale();
        (
            (x - f64::from(self.left)) / across + f64::from(self.region.x),
            (y - f64::from(self.top)) / down + f64::from(self.region.y),
        )
    }

    /// The place in the tensor of a place in the frame.
    pub fn to_tensor(&self, x: f64, y: f64) -> (f64, f64) {
        let (across, down) = self.scale();
        (
            (x - f64::from(self.region.x)) * across + f64::from(self.left),
            (y - f64::from(self.region.y)) * down + f64::from(self.top),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letterbox(width: u32, height: u32, place: Place, grow: bool) -> TensorSpec {
        TensorSpec {
            width,
            height,
            fit: Fit::Letterbox { place, fill: 114, grow },
            ..TensorSpec::taught(1, 1)
        }
    }

    fn region(width: u32, height: u32) -> Region {
        Region { x: 0, y: 0, width, height }
    }

    #[test]
    fn a_wide_picture_gets_bars_above_and_below() {
        let placed = |place| {
            let Placement {
                left, top, width, height, ..
            } = letterbox(640, 640, place, true).place(region(1920, 1080));
            [left, top, width, height]
        };
        assert_eq!(placed(Place::Centre), [0, 140, 640, 360]);
        assert_eq!(placed(Place::TopLeft), [0, 0, 640, 360]);
    }

    #[test]
    fn the_odd_pixel_is_left_over_at_the_bottom() {
        let placement = letterbox(64, 64, Place::Centre, true).place(region(64, 31));
        assert_eq!((placement.top, placement.height), (16, 31));
    }

    #[test]
    fn small_pictures_are_enlarged_only_where_the_model_wants_it() {
        for (grow, size) in [(true, (64, 32)), (false, (20, 10))] {
            let placement = letterbox(64, 64, Place::Centre, grow).place(region(20, 10));
            assert_eq!((placement.width, placement.height), size);
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let spec = TensorSpec::taught(256, 256);
        assert_eq!(spec.check(1), Ok(()));
        for (spec, batch, error) in [
            (TensorSpec { width: 0, ..spec }, 1, SpecError::Size { width: 0, height: 256 }),
            (TensorSpec { height: 8193, ..spec }, 1, SpecError::Size { width: 256, height: 8193 }),
            (spec, 0, SpecError::Batch { batch: 0 }),
            (spec, usize::MAX, SpecError::Batch { batch: usize::MAX }),
            (
                TensorSpec {
                    std: [1.0, 0.0, 1.0],
                    ..spec
                },
                1,
                SpecError::Normalisation,
            ),
            (TensorSpec { scale: f32::NAN, ..spec }, 1, SpecError::Normalisation),
            (
                TensorSpec {
                    scale: 1.0 / 255.0,
                    ..spec
                },
                1,
                SpecError::NormalisedBytes,
            ),
        ] {
            assert_eq!(spec.check(batch), Err(error), "{spec:?}");
        }
    }

    proptest! {
        #[test]
        fn places_come_back_within_half_a_pixel_of_the_frame(
            (width, height, x, y) in (1_u32..3000, 1_u32..3000, 0_u32..3000, 0_u32..3000),
            (tensor_width, tensor_height) in (1_u32..1300, 1_u32..1300),
            (across, down) in (0.0..1.0, 0.0..1.0),
            is_centred: bool, grow: bool,
        ) {
            let place = if is_centred { Place::Centre } else { Place::TopLeft };
            let region = Region { x, y, width, height };
            let placement = letterbox(tensor_width, tensor_height, place, grow).place(region);
            prop_assert!(placement.left + placement.width <= tensor_width && placement.top + placement.height <= tensor_height);
            let (there_x, there_y) = (f64::from(x) + across * f64::from(width), f64::from(y) + down * f64::from(height));
            let inside = placement.to_tensor(there_x, there_y);
            let (left, top) = (f64::from(placement.left), f64::from(placement.top));
            prop_assert!(inside.0 >= left - 1e-6 && inside.0 <= left + f64::from(placement.width) + 1e-6);
            prop_assert!(inside.1 >= top - 1e-6 && inside.1 <= top + f64::from(placement.height) + 1e-6);
            let (back_x, back_y) = placement.to_frame(inside.0, inside.1);
            prop_assert!((back_x - there_x).abs() < 0.5 && (back_y - there_y).abs() < 0.5);
            // Both sides by the same factor, but for whole pixels.
            let (scale_x, scale_y) = placement.scale();
            let rounding = 1.0 / f64::from(width.min(height));
            prop_assert!((scale_x - scale_y).abs() <= rounding, "{scale_x} {scale_y}");
        }
    }
}
