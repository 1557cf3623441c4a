//! Pixels become the model's input.
//!
//! | file | what it does |
//! |---|---|
//! | `preprocess.rs` | RGB bytes for the models that takt teaches; their normalisation runs inside the model |
//! | `spec.rs` | what other models take, and where a picture comes to lie in it |
//! | `tensor.rs` | a picture becomes such a tensor |
//! | `source.rs` | where pixels are read from |
//! | `reduce.rs` | the planes of a picture become fewer pixels |
//! | `area.rs` | ... by the mean of those that a pixel covers |
//! | `taps.rs` | which these are, and by how much |
//! | `point.rs` | ... or by those around one point |
//! | `colour.rs` | luma and chroma become red, green and blue |
//! | `canvas.rs` | levels become values, in the tensor's layout |
//!
//! Frames are resized plane by plane as they lie in the camera's memory, and their colours converted afterwards, on the few pixels that are
//! left: no copy of the whole frame is made. Rounding apart this gives what converting first would give, as both steps are linear.

mod area;
mod canvas;
mod colour;
mod point;
mod reduce;
mod source;
mod spec;
mod taps;
mod tensor;

use fast_image_resize::images::{Image as Pixels, ImageRef, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x2, U8x3, U8x4};
use fast_image_resize::{FilterType, ImageView, PixelTrait, PixelType, ResizeAlg, ResizeOptions, Resizer};

use self::colour::Colours;
use self::source::{Source, TOO_SHORT};
use super::Image;
use crate::capture::{Frame, PixelFormat};
use crate::part::Region;

pub use self::spec::{Colour, Element, Filter, Fit, Layout, Place, Placement, SIDE_PX_MAX, SpecError, TensorSpec, VALUES_MAX};
pub use self::tensor::{InputTensor, TensorValues};

/// Resizes images to one size, with buffers that are used again.
pub struct Preprocessor {
    resizer: Resizer,
    target: Pixels<'static>,
    luma: Scaled,
    chroma: [Scaled; 2],
}

/// A plane at the model's size, one pixel after the other; made when it is first needed.
#[derive(Default)]
struct Scaled(Vec<u8>);

/// An image that cannot be resized: its buffer does not have the size it claims, or the part that is asked for lies outside of it.
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
            luma: Scaled::default(),
            chroma: Default::default(),
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
        self.resizer
            .resize(&source, &mut self.target, &bilinear())
            .map_err(|error| failed(error.to_string()))?;
        Ok(self.target.buffer())
    }

    /// A part of a frame, or all of it, at the model's size as RGB bytes; resized as by [`Preprocessor::resize`].
    ///
    /// # Errors
    /// When the part does not lie inside the frame, or the frame's bytes do not match its stated size.
    pub fn resize_frame(&mut self, frame: &Frame, region: Option<Region>) -> Result<&[u8], PreprocessError> {
        let source = Source::Frame(frame);
        let resized = source.seen(region).and_then(|region| self.resize_planes(source, region));
        resized.map_err(|reason| PreprocessError {
            width: frame.width,
            height: frame.height,
            reason,
        })?;
        Ok(self.target.buffer())
    }

    /// Pixels per row and rows of what it makes.
    fn size(&self) -> (u32, u32) {
        (self.target.width(), self.target.height())
    }

    /// Resizes a region that lies inside the source into the target.
    fn resize_planes(&mut self, source: Source<'_>, region: Region) -> Result<(), String> {
        let whole = Patch::of_full_planes(region);
        let size = self.size();
        let resizer = &mut self.resizer;
        match source.format() {
            PixelFormat::Rgb => return resize_plane::<U8x3>(resizer, source, 0, whole, size, self.target.buffer_mut()),
            PixelFormat::Bgr => {
                resize_plane::<U8x3>(resizer, source, 0, whole, size, self.target.buffer_mut())?;
                self.target.buffer_mut().chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
                return Ok(());
            }
            PixelFormat::Gray8 => {
                let luma = self.luma.sized::<U8>(size);
                resize_plane::<U8>(resizer, source, 0, whole, size, luma)?;
                let pixels = self.target.buffer_mut().chunks_exact_mut(3);
                pixels.zip(luma).for_each(|(pixel, luma)| pixel.fill(*luma));
                return Ok(());
            }
            _ => {}
        }
        let colours = Colours::fixed(source);
        let [u, v] = &mut self.chroma;
        match source.format() {
            PixelFormat::I420 => {
                let halves = Patch::of_halved_planes(region, 2);
                let (luma, u, v) = (self.luma.sized::<U8>(size), u.sized::<U8>(size), v.sized::<U8>(size));
                resize_plane::<U8>(resizer, source, 0, whole, size, luma)?;
                resize_plane::<U8>(resizer, source, 1, halves, size, u)?;
                resize_plane::<U8>(resizer, source, 2, halves, size, v)?;
                colours.convert(
                    luma.iter().zip(u.iter().zip(&*v)).map(|(y, (u, v))| [*y, *u, *v]),
                    self.target.buffer_mut(),
                );
            }
            PixelFormat::Nv12 => {
                let (luma, uv) = (self.luma.sized::<U8>(size), u.sized::<U8x2>(size));
                resize_plane::<U8>(resizer, source, 0, whole, size, luma)?;
                resize_plane::<U8x2>(resizer, source, 1, Patch::of_halved_planes(region, 2), size, uv)?;
                colours.convert(
                    luma.iter().zip(uv.chunks_exact(2)).map(|(y, uv)| [*y, uv[0], uv[1]]),
                    self.target.buffer_mut(),
                );
            }
            // The same bytes are seen as pixels of luma and something, and as half as many of something, U, something and V.
            _ => {
                let (luma, chroma) = (self.luma.sized::<U8x2>(size), u.sized::<U8x4>(size));
                resize_plane::<U8x2>(resizer, source, 0, whole, size, luma)?;
                resize_plane::<U8x4>(resizer, source, 0, Patch::of_halved_planes(region, 1), size, chroma)?;
                let pairs = luma.chunks_exact(2).zip(chroma.chunks_exact(4));
                colours.convert(pairs.map(|(y, uv)| [y[0], uv[1], uv[3]]), self.target.buffer_mut());
            }
        }
        Ok(())
    }
}

impl Scaled {
    /// The buffer, large enough for a plane of such pixels.
    fn sized<P: PixelTrait>(&mut self, (width, height): (u32, u32)) -> &mut [u8] {
        self.0.resize(width as usize * height as usize * P::size(), 0);
        &mut self.0
    }
}

fn bilinear() -> ResizeOptions {
    // No format has alpha; without this the second of two channels would be taken for it.
    ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .use_alpha(false)
}

/// The part of a plane that is resized: whole pixels, and of these a box that may begin and end between pixels.
#[derive(Clone, Copy)]
struct Patch {
    pixels: Region,
    /// Left, top, width and height within the pixels.
    inner: [f64; 4],
}

impl Patch {
    /// Of a plane with a pixel for each of the frame's.
    fn of_full_planes(region: Region) -> Self {
        Self {
            pixels: region,
            inner: [0.0, 0.0, f64::from(region.width), f64::from(region.height)],
        }
    }

    /// Of a plane with a pixel for two of the frame's in a row, and for `rows` in a column.
    fn of_halved_planes(region: Region, rows: u32) -> Self {
        let (x, width) = (region.x / 2, (region.x + region.width).div_ceil(2) - region.x / 2);
        let (y, height) = (region.y / rows, (region.y + region.height).div_ceil(rows) - region.y / rows);
        let inside = |start: u32, step: u32| f64::from(start % step) / f64::from(step);
        Self {
            pixels: Region { x, y, width, height },
            inner: [
                inside(region.x, 2),
                inside(region.y, rows),
                f64::from(region.width) / 2.0,
                f64::from(region.height) / f64::from(rows),
            ],
        }
    }
}

/// Resizes a part of a plane into `target`.
fn resize_plane<P: PixelTrait>(
    resizer: &mut Resizer,
    source: Source<'_>,
    plane: usize,
    patch: Patch,
    (width, height): (u32, u32),
    target: &mut [u8],
) -> Result<(), String> {
    let source = Rows::<P>::new(source, plane, patch.pixels).ok_or(TOO_SHORT)?;
    let mut target = TypedImage::<P>::from_buffer(width, height, target).map_err(|error| error.to_string())?;
    let [left, top, inner_width, inner_height] = patch.inner;
    let options = bilinear().crop(left, top, inner_width, inner_height);
    resizer
        .resize_typed(&source, &mut target, &options)
        .map_err(|error| error.to_string())
}

/// A part of a plane in the memory of the frame, whatever lies between its rows.
struct Rows<'a, P> {
    width: u32,
    height: u32,
    /// Each an image of one row.
    lines: Vec<TypedImageRef<'a, P>>,
}

impl<'a, P: PixelTrait> Rows<'a, P> {
    /// `None` where the plane has not as many bytes as the part needs.
    fn new(source: Source<'a>, plane: usize, pixels: Region) -> Option<Self> {
        let first = pixels.x as usize * P::size();
        let bytes = first..first + pixels.width as usize * P::size();
        let lines = (pixels.y..pixels.y + pixels.height).map(|row| {
            let row = source.row(plane, row as usize)?.get(bytes.clone())?;
            TypedImageRef::from_buffer(pixels.width, 1, row).ok()
        });
        Some(Self {
            width: pixels.width,
            height: pixels.height,
            lines: lines.collect::<Option<_>>()?,
        })
    }
}

#[allow(unsafe_code)]
// SAFETY: the trait asks for rows of at least `width` pixels. Each row was made as an image of `width` x 1 pixels, which
// `TypedImageRef::from_buffer` refuses for fewer bytes, and `pixels` returns all of them.
unsafe impl<P: PixelTrait> ImageView for Rows<'_, P> {
    type Pixel = P;

    fn width(&self) -> u32 {
        self.width
    }

    fn height(&self) -> u32 {
        self.height
    }

    fn iter_rows(&self, start_row: u32) -> impl Iterator<Item = &[P]> {
        self.lines.iter().skip(start_row as usize).map(TypedImageRef::pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Plane;
    use crate::part::Nanos;
    use proptest::prelude::*;
    use std::sync::Arc;

    pub(super) const WIDTH: u32 = 61;
    pub(super) const HEIGHT: u32 = 47;

    /// A frame of a format with rows padded by `padding` bytes; `sample` gives the bytes of the planes by plane, row and byte in the row.
    pub(super) fn frame(format: PixelFormat, padding: usize, sample: impl Fn(usize, usize, usize) -> u8) -> Frame {
        let mut planes = [Plane::default(); 3];
        let mut bytes = Vec::new();
        for (plane, (row_bytes, rows)) in format.plane_sizes(WIDTH, HEIGHT).into_iter().enumerate() {
            planes[plane] = Plane {
                offset: bytes.len(),
                stride: row_bytes + padding,
            };
            for row in 0..rows {
                bytes.extend((0..row_bytes).map(|byte| sample(plane, row, byte)));
                // The last row ends with its pixels.
                let is_last = row + 1 == rows;
                bytes.extend(std::iter::repeat_n(0xaa, if is_last { 0 } else { padding }));
            }
        }
        Frame {
            pixels: Arc::new(bytes),
            format,
            width: WIDTH,
            height: HEIGHT,
            planes,
            full_range: false,
            bt709: false,
            exposed_at: Nanos(0),
            counter: None,
        }
    }

    /// A wave that is smooth from pixel to pixel: 85 to 165, of any channel at a place in pixels.
    fn wave(channel: usize, x: f64, y: f64) -> f64 {
        let phase = channel as f64 * 2.0;
        125.0 + 40.0 * ((x / 40.0 + phase).sin() * (y / 40.0 + phase).cos())
    }

    /// A frame of smooth waves; in the YUV formats as luma, U and V, with chroma taken in the middle of the pixels that share it.
    pub(super) fn smooth(format: PixelFormat, padding: usize) -> Frame {
        let value = |channel: usize, x: f64, y: f64| wave(channel, x, y).round() as u8;
        frame(format, padding, |plane, row, byte| {
            let (row, middle) = (row as f64, 2.0 * row as f64 + 0.5);
            match (format, plane) {
                (PixelFormat::Rgb, _) => value(byte % 3, (byte / 3) as f64, row),
                (PixelFormat::Bgr, _) => value(2 - byte % 3, (byte / 3) as f64, row),
                (PixelFormat::Nv12, 1) => value(1 + byte % 2, (byte / 2 * 2) as f64 + 0.5, middle),
                (PixelFormat::I420, 1 | 2) => value(plane, (2 * byte) as f64 + 0.5, middle),
                (PixelFormat::Yuy2, _) if byte % 2 == 1 => value(1 + byte / 2 % 2, (byte / 4 * 4 / 2) as f64 + 0.5, row),
                (PixelFormat::Yuy2, _) => value(0, (byte / 2) as f64, row),
                _ => value(0, byte as f64, row),
            }
        })
    }

    /// The plain way, in floating point: every pixel's samples, converted to RGB.
    pub(super) fn plain_rgb(frame: &Frame, x: usize, y: usize) -> [u8; 3] {
        let at = |plane: usize, row: usize, byte: usize| f64::from(frame.row(plane, row).unwrap()[byte]);
        let [luma, u, v] = match frame.format {
            PixelFormat::Rgb => return [0, 1, 2].map(|channel| at(0, y, 3 * x + channel) as u8),
            PixelFormat::Bgr => return [2, 1, 0].map(|channel| at(0, y, 3 * x + channel) as u8),
            PixelFormat::Gray8 => return [at(0, y, x) as u8; 3],
            PixelFormat::Nv12 => [at(0, y, x), at(1, y / 2, x / 2 * 2), at(1, y / 2, x / 2 * 2 + 1)],
            PixelFormat::I420 => [at(0, y, x), at(1, y / 2, x / 2), at(2, y / 2, x / 2)],
            PixelFormat::Yuy2 => [at(0, y, 2 * x), at(0, y, x / 2 * 4 + 1), at(0, y, x / 2 * 4 + 3)],
        };
        // Factors as printed in ITU-R BT.601 and BT.709.
        let [red_v, green_u, green_v, blue_u] = if frame.bt709 {
            [1.5748, 0.1873, 0.4681, 1.8556]
        } else {
            [1.402, 0.3441, 0.7141, 1.772]
        };
        let (luma, scale) = if frame.full_range {
            (luma, 1.0)
        } else {
            ((luma - 16.0) * 255.0 / 219.0, 255.0 / 224.0)
        };
        let (u, v) = ((u - 128.0) * scale, (v - 128.0) * scale);
        [luma + red_v * v, luma - green_u * u - green_v * v, luma + blue_u * u].map(|value| value.round().clamp(0.0, 255.0) as u8)
    }

    /// Converts all of the frame, cuts the region out, resizes it.
    fn reference(frame: &Frame, region: Region, width: u32, height: u32) -> Vec<u8> {
        let rows = region.y as usize..(region.y + region.height) as usize;
        let columns = region.x as usize..(region.x + region.width) as usize;
        let rgb = rows
            .flat_map(|y| columns.clone().flat_map(move |x| plain_rgb(frame, x, y)))
            .collect();
        let image = Image {
            width: region.width,
            height: region.height,
            rgb,
        };
        Preprocessor::new(width, height).resize(&image).unwrap().to_vec()
    }

    pub(super) fn regions() -> impl Strategy<Value = Region> {
        (0..WIDTH - 1, 0..HEIGHT - 1)
            .prop_flat_map(|(x, y)| (Just(x), Just(y), 1..=WIDTH - x, 1..=HEIGHT - y))
            .prop_map(|(x, y, width, height)| Region { x, y, width, height })
    }

    proptest! {
        #[test]
        fn packed_formats_are_exact(
            region in regions(), width in 1_u32..70, height in 1_u32..70, padding in 0_usize..8, seed: u8,
        ) {
            for format in [PixelFormat::Rgb, PixelFormat::Bgr, PixelFormat::Gray8] {
                let noise = |_, row: usize, byte: usize| ((row * 31) ^ (byte * 17) ^ usize::from(seed)).wrapping_mul(0x9e37) as u8;
                let frame = frame(format, padding, noise);
                let mut preprocessor = Preprocessor::new(width, height);
                let resized = preprocessor.resize_frame(&frame, Some(region)).unwrap();
                prop_assert!(resized == reference(&frame, region, width, height), "{:?}", format);
            }
        }

        #[test]
        fn yuv_formats_are_near(
            region in regions(), shrink in 1_u32..5, padding in 0_usize..8, full_range: bool, bt709: bool,
        ) {
            prop_assume!(region.width >= 8 && region.height >= 8);
            let (width, height) = (region.width / shrink, region.height / shrink);
            for format in [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuy2] {
                let frame = Frame { full_range, bt709, ..smooth(format, padding) };
                let mut preprocessor = Preprocessor::new(width, height);
                let resized = preprocessor.resize_frame(&frame, Some(region)).unwrap();
                let plain = reference(&frame, region, width, height);
                let worst = resized.iter().zip(&plain).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                // The plain way repeats chroma where pixels share it, which by itself is off by one level here.
                prop_assert!(worst <= 4, "{:?}: worst {worst}", format);
            }
        }
    }

    #[test]
    fn one_preprocessor_takes_one_format_after_the_other() {
        let whole = Region {
            x: 0,
            y: 0,
            width: WIDTH,
            height: HEIGHT,
        };
        let mut preprocessor = Preprocessor::new(20, 16);
        for format in PixelFormat::ALL.into_iter().chain(PixelFormat::ALL.into_iter().rev()) {
            let frame = smooth(format, 3);
            let again = preprocessor.resize_frame(&frame, None).unwrap().to_vec();
            assert_eq!(
                again,
                Preprocessor::new(20, 16).resize_frame(&frame, Some(whole)).unwrap(),
                "{format:?}"
            );
        }
    }

    #[test]
    fn black_white_and_pure_colours_come_out_as_they_went_in() {
        // Luma, U and V of black, white and red in BT.601, limited range.
        for (yuv, rgb) in [
            ([16, 128, 128], [0, 0, 0]),
            ([235, 128, 128], [255, 255, 255]),
            ([81, 90, 240], [254, 0, 0]),
        ] {
            for format in [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuy2] {
                let frame = frame(format, 0, |plane, _, byte| match (format, plane) {
                    (PixelFormat::Nv12, 1) => yuv[1 + byte % 2],
                    (PixelFormat::I420, _) => yuv[plane],
                    (PixelFormat::Yuy2, _) => [yuv[0], yuv[1], yuv[0], yuv[2]][byte % 4],
                    _ => yuv[0],
                });
                let mut preprocessor = Preprocessor::new(5, 5);
                assert_eq!(preprocessor.resize_frame(&frame, None).unwrap()[..3], rgb, "{format:?}");
            }
        }
    }

    #[test]
    fn a_region_outside_of_the_frame_is_refused_by_its_sizes() {
        let mut preprocessor = Preprocessor::new(8, 8);
        let frame = smooth(PixelFormat::Nv12, 0);
        for (x, width) in [(60, 2), (0, 62), (u32::MAX, 2), (0, 0)] {
            let region = Region { x, y: 0, width, height: 4 };
            let error = preprocessor.resize_frame(&frame, Some(region)).unwrap_err().to_string();
            assert!(error.contains("61x47") && error.contains(&format!("{width}x4")), "{error}");
        }
    }

    #[test]
    fn bytes_that_do_not_reach_are_refused() {
        for format in PixelFormat::ALL {
            let mut frame = smooth(format, 0);
            let bytes = (*frame.pixels).as_ref();
            frame.pixels = Arc::new(bytes[..bytes.len() - 1].to_vec());
            assert!(Preprocessor::new(8, 8).resize_frame(&frame, None).is_err(), "{format:?}");
        }
    }
}
