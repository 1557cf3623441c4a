//! Pixels become the model's input: resized to its size, as RGB bytes. Normalisation runs inside the model.
//!
//! Frames are resized plane by plane as they lie in the camera's memory, and their colours converted afterwards, on the few pixels that are
//! left: no copy of the whole frame is made. Rounding apart this gives what converting first would give, as both steps are linear.

use fast_image_resize::images::{Image as Pixels, ImageRef, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x2, U8x3, U8x4};
use fast_image_resize::{FilterType, ImageView, PixelTrait, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::Image;
use crate::capture::{Frame, PixelFormat};
use crate::part::Region;

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
        self.resize_planes(frame, region).map_err(|reason| PreprocessError {
            width: frame.width,
            height: frame.height,
            reason,
        })?;
        Ok(self.target.buffer())
    }

    fn resize_planes(&mut self, frame: &Frame, region: Option<Region>) -> Result<(), String> {
        let region = region.unwrap_or(Region {
            x: 0,
            y: 0,
            width: frame.width,
            height: frame.height,
        });
        if !region.is_within(frame.width, frame.height) {
            let Region { x, y, width, height } = region;
            return Err(format!(
                "its region of {width}x{height} px at ({x}, {y}) reaches outside; set the camera to the size that the region is meant for"
            ));
        }
        let whole = Patch::of_full_planes(region);
        let size = (self.target.width(), self.target.height());
        let resizer = &mut self.resizer;
        match frame.format {
            PixelFormat::Rgb => return resize_plane::<U8x3>(resizer, frame, 0, whole, size, self.target.buffer_mut()),
            PixelFormat::Bgr => {
                resize_plane::<U8x3>(resizer, frame, 0, whole, size, self.target.buffer_mut())?;
                self.target.buffer_mut().chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
                return Ok(());
            }
            PixelFormat::Gray8 => {
                let luma = self.luma.sized::<U8>(size);
                resize_plane::<U8>(resizer, frame, 0, whole, size, luma)?;
                let pixels = self.target.buffer_mut().chunks_exact_mut(3);
                pixels.zip(luma).for_each(|(pixel, luma)| pixel.fill(*luma));
                return Ok(());
            }
            _ => {}
        }
        let colours = Colours::of(frame);
        let [u, v] = &mut self.chroma;
        match frame.format {
            PixelFormat::I420 => {
                let halves = Patch::of_halved_planes(region, 2);
                let (luma, u, v) = (self.luma.sized::<U8>(size), u.sized::<U8>(size), v.sized::<U8>(size));
                resize_plane::<U8>(resizer, frame, 0, whole, size, luma)?;
                resize_plane::<U8>(resizer, frame, 1, halves, size, u)?;
                resize_plane::<U8>(resizer, frame, 2, halves, size, v)?;
                colours.convert(luma.iter().zip(u.iter().zip(&*v)).map(|(y, (u, v))| [*y, *u, *v]), &mut self.target);
            }
            PixelFormat::Nv12 => {
                let (luma, uv) = (self.luma.sized::<U8>(size), u.sized::<U8x2>(size));
                resize_plane::<U8>(resizer, frame, 0, whole, size, luma)?;
                resize_plane::<U8x2>(resizer, frame, 1, Patch::of_halved_planes(region, 2), size, uv)?;
                colours.convert(luma.iter().zip(uv.chunks_exact(2)).map(|(y, uv)| [*y, uv[0], uv[1]]), &mut self.target);
            }
            // The same bytes are seen as pixels of luma and something, and as half as many of something, U, something and V.
            _ => {
                let (luma, chroma) = (self.luma.sized::<U8x2>(size), u.sized::<U8x4>(size));
                resize_plane::<U8x2>(resizer, frame, 0, whole, size, luma)?;
                resize_plane::<U8x4>(resizer, frame, 0, Patch::of_halved_planes(region, 1), size, chroma)?;
                let pairs = luma.chunks_exact(2).zip(chroma.chunks_exact(4));
                colours.convert(pairs.map(|(y, uv)| [y[0], uv[1], uv[3]]), &mut self.target);
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
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false)
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
    frame: &Frame,
    plane: usize,
    patch: Patch,
    (width, height): (u32, u32),
    target: &mut [u8],
) -> Result<(), String> {
    let source = Rows::<P>::new(frame, plane, patch.pixels).ok_or("its bytes are fewer than its size needs")?;
    let mut target = TypedImage::<P>::from_buffer(width, height, target).map_err(|error| error.to_string())?;
    let [left, top, inner_width, inner_height] = patch.inner;
    let options = bilinear().crop(left, top, inner_width, inner_height);
    resizer.resize_typed(&source, &mut target, &options).map_err(|error| error.to_string())
}

/// A part of a plane in the memory of the frame, whatever lies between its rows.
struct Rows<'a, P> {
    width: u32,
    height: u32,
    /// Each an image of one row.
    rows: Vec<TypedImageRef<'a, P>>,
}

impl<'a, P: PixelTrait> Rows<'a, P> {
    /// `None` where the plane has not as many bytes as the part needs.
    fn new(frame: &'a Frame, plane: usize, pixels: Region) -> Option<Self> {
        let first = pixels.x as usize * P::size();
        let bytes = first..first + pixels.width as usize * P::size();
        let rows = (pixels.y..pixels.y + pixels.height).map(|row| {
            let row = frame.row(plane, row as usize)?.get(bytes.clone())?;
            TypedImageRef::from_buffer(pixels.width, 1, row).ok()
        });
        Some(Self {
            width: pixels.width,
            height: pixels.height,
            rows: rows.collect::<Option<_>>()?,
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
        self.rows.iter().skip(start_row as usize).map(TypedImageRef::pixels)
    }
}

/// How luma and chroma become red, green and blue; in 1/65536.
struct Colours {
    black: i32,
    luma: i32,
    red_of_v: i32,
    green_of_u: i32,
    green_of_v: i32,
    blue_of_u: i32,
}

impl Colours {
    fn of(frame: &Frame) -> Self {
        let (red, blue) = if frame.bt709 { (0.2126, 0.0722) } else { (0.299, 0.114) };
        let (black, luma_range, chroma_range) = if frame.full_range { (0, 255.0, 255.0) } else { (16, 219.0, 224.0) };
        let green = 1.0 - red - blue;
        let fixed = |factor: f64| (factor * 65536.0).round() as i32;
        let (luma, chroma) = (255.0 / luma_range, 255.0 / chroma_range);
        Self {
            black,
            luma: fixed(luma),
            red_of_v: fixed(chroma * 2.0 * (1.0 - red)),
            green_of_u: fixed(chroma * 2.0 * (1.0 - blue) * blue / green),
            green_of_v: fixed(chroma * 2.0 * (1.0 - red) * red / green),
            blue_of_u: fixed(chroma * 2.0 * (1.0 - blue)),
        }
    }

    /// Puts pixels of luma, U and V into `target` as RGB.
    fn convert(&self, pixels: impl Iterator<Item = [u8; 3]>, target: &mut Pixels<'_>) {
        for (rgb, [luma, u, v]) in target.buffer_mut().chunks_exact_mut(3).zip(pixels) {
            let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
            let grey = (i32::from(luma) - self.black) * self.luma + (1 << 15);
            rgb[0] = level(grey + self.red_of_v * v);
            rgb[1] = level(grey - self.green_of_u * u - self.green_of_v * v);
            rgb[2] = level(grey + self.blue_of_u * u);
        }
    }
}

fn level(fixed: i32) -> u8 {
    (fixed >> 16).clamp(0, 255) as u8
}
