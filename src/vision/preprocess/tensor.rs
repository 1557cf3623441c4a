//! Pictures become the input tensor of a model, whatever it takes.

use half::f16;

use super::canvas::{Canvas, Value};
use super::reduce::Reducer;
use super::source::{Source, TOO_SHORT};
use super::spec::{Element, Filter, Layout, Placement, SpecError, TensorSpec};
use super::{PreprocessError, Preprocessor};
use crate::capture::Frame;
use crate::part::Region;
use crate::vision::Image;

/// The input tensor of a model: a batch of pictures, each set on its own. Once each has been set, setting them again takes no memory, save that
/// [`Filter::Bilinear`] lists the rows of a frame.
pub struct InputTensor {
    spec: TensorSpec,
    batch: usize,
    values: Values,
    resizer: Resizer,
    /// A row of all channels.
    line: Vec<f32>,
}

enum Values {
    U8(Vec<u8>),
    F32(Vec<f32>),
    F16(Vec<f16>),
}

/// The ways to resize, with buffers that are used again.
#[derive(Default)]
struct Resizer {
    reducer: Reducer,
    /// For [`Filter::Bilinear`], made when the size of the picture in the tensor is known.
    bilinear: Option<Preprocessor>,
    /// A row of red, green and blue.
    levels: [Vec<f32>; 3],
}

/// The values of a tensor, row-major.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TensorValues<'a> {
    /// Bytes.
    U8(&'a [u8]),
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 16-bit floats.
    F16(&'a [f16]),
}

impl InputTensor {
    /// A tensor of `batch` pictures, all values 0.
    ///
    /// # Errors
    /// When there cannot be such a tensor.
    pub fn new(spec: TensorSpec, batch: usize) -> Result<Self, SpecError> {
        spec.check(batch)?;
        let length = batch * spec.values();
        Ok(Self {
            spec,
            batch,
            values: match spec.element {
                Element::U8 => Values::U8(vec![0; length]),
                Element::F32 => Values::F32(vec![0.0; length]),
                Element::F16 => Values::F16(vec![f16::ZERO; length]),
            },
            resizer: Resizer::default(),
            line: vec![0.0; spec.width as usize * spec.colour.channels()],
        })
    }

    /// What it was made for.
    pub fn spec(&self) -> &TensorSpec {
        &self.spec
    }

    /// Length of each dimension, that of the batch first.
    pub fn shape(&self) -> [usize; 4] {
        let (width, height, channels) = (self.spec.width as usize, self.spec.height as usize, self.spec.colour.channels());
        match self.spec.layout {
            Layout::Nhwc => [self.batch, height, width, channels],
            Layout::Nchw => [self.batch, channels, height, width],
        }
    }

    /// The values of all pictures.
    pub fn values(&self) -> TensorValues<'_> {
        match &self.values {
            Values::U8(values) => TensorValues::U8(values),
            Values::F32(values) => TensorValues::F32(values),
            Values::F16(values) => TensorValues::F16(values),
        }
    }

    /// How many pictures it holds.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Length of each dimension and the values of the first `count` pictures, at most all.
    pub fn first(&self, count: usize) -> ([usize; 4], TensorValues<'_>) {
        let mut shape = self.shape();
        shape[0] = count.min(self.batch);
        let length = shape[0] * self.spec.values();
        let values = match &self.values {
            Values::U8(values) => TensorValues::U8(&values[..length]),
            Values::F32(values) => TensorValues::F32(&values[..length]),
            Values::F16(values) => TensorValues::F16(&values[..length]),
        };
        (shape, values)
    }

    /// Sets a picture of the batch to a part of a frame, or to all of it, and returns where it lies in the tensor.
    ///
    /// # Errors
    /// When the part does not lie inside the frame, the frame's bytes do not match its stated size, or the batch has no picture of that index.
    /// The values of the picture are then not to be used.
    pub fn set_frame(&mut self, index: usize, frame: &Frame, region: Option<Region>) -> Result<Placement, PreprocessError> {
        self.set(index, Source::Frame(frame), region)
    }

    /// Sets a picture of the batch to a part of an image, or to all of it, and returns where it lies in the tensor.
    ///
    /// # Errors
    /// As [`InputTensor::set_frame`].
    pub fn set_image(&mut self, index: usize, image: &Image, region: Option<Region>) -> Result<Placement, PreprocessError> {
        self.set(index, Source::Image(image), region)
    }

    fn set(&mut self, index: usize, source: Source<'_>, region: Option<Region>) -> Result<Placement, PreprocessError> {
        self.draw(index, source, region).map_err(|reason| PreprocessError {
            width: source.width(),
            height: source.height(),
            reason,
        })
    }

    fn draw(&mut self, index: usize, source: Source<'_>, region: Option<Region>) -> Result<Placement, String> {
        let Self { spec, line, resizer, .. } = self;
        let placement = spec.place(source.seen(region)?);
        if !source.is_whole() {
            return Err(TOO_SHORT.into());
        }
        if index >= self.batch {
            return Err(format!("the batch has {} pictures, none of index {index}", self.batch));
        }
        let picture = index * spec.values()..(index + 1) * spec.values();
        match &mut self.values {
            Values::U8(values) if spec.is_taught() => {
                values[picture].copy_from_slice(resizer.resize(source, &placement)?);
                Ok(())
            }
            Values::U8(values) => resizer.draw(source, Canvas::new(spec, placement, &mut values[picture], line)),
            Values::F32(values) => resizer.draw(source, Canvas::new(spec, placement, &mut values[picture], line)),
            Values::F16(values) => resizer.draw(source, Canvas::new(spec, placement, &mut values[picture], line)),
        }?;
        Ok(placement)
    }
}

impl Resizer {
    /// The placed part of a source as RGB bytes, for [`Filter::Bilinear`].
    fn resize(&mut self, source: Source<'_>, placement: &Placement) -> Result<&[u8], String> {
        let (width, height) = (placement.width, placement.height);
        self.bilinear.take_if(|preprocessor| preprocessor.size() != (width, height));
        let preprocessor = self.bilinear.get_or_insert_with(|| Preprocessor::new(width, height));
        preprocessor.resize_planes(source, placement.region)?;
        Ok(preprocessor.target.buffer())
    }

    /// Draws the placed part of a source onto a canvas.
    fn draw<T: Value>(&mut self, source: Source<'_>, mut canvas: Canvas<'_, T>) -> Result<(), String> {
        let (placement, filter) = (canvas.placement, canvas.spec.filter);
        if filter != Filter::Bilinear {
            let drawn = self.reducer.reduce(source, &placement, filter, |row, rgb| canvas.write(row, rgb));
            return drawn.ok_or_else(|| TOO_SHORT.into());
        }
        let mut levels = std::mem::take(&mut self.levels);
        let rows = self.resize(source, &placement)?.chunks_exact(3 * placement.width as usize);
        for (row, pixels) in rows.enumerate() {
            for (channel, levels) in levels.iter_mut().enumerate() {
                levels.clear();
                levels.extend(pixels.iter().skip(channel).step_by(3).map(|level| f32::from(*level)));
            }
            canvas.write(row, levels.each_ref().map(Vec::as_slice));
        }
        self.levels = levels;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Colour, Fit, Place};
    use super::super::tests::{HEIGHT, WIDTH, frame, plain_rgb, regions, smooth};
    use super::*;
    use crate::capture::PixelFormat;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// Levels of red, green and blue, channel by channel.
    const LEVELS: TensorSpec = TensorSpec {
        width: 16,
        height: 12,
        layout: Layout::Nchw,
        element: Element::F32,
        colour: Colour::Rgb,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        fit: Fit::Stretch,
        filter: Filter::Area,
    };

    const WHOLE: Region = Region {
        x: 0,
        y: 0,
        width: WIDTH,
        height: HEIGHT,
    };

    fn noise(format: PixelFormat) -> Frame {
        frame(format, 3, |plane, row, byte| {
            ((row * 31) ^ (byte * 17) ^ (plane * 7)).wrapping_mul(0x9e37_79b9) as u8
        })
    }

    fn values(tensor: &InputTensor) -> Vec<f32> {
        match tensor.values() {
            TensorValues::U8(values) => values.iter().copied().map(f32::from).collect(),
            TensorValues::F32(values) => values.to_vec(),
            TensorValues::F16(values) => values.iter().copied().map(f32::from).collect(),
        }
    }

    fn of_frame(spec: TensorSpec, frame: &Frame, region: Option<Region>) -> Vec<f32> {
        let mut tensor = InputTensor::new(spec, 1).unwrap();
        tensor.set_frame(0, frame, region).unwrap();
        values(&tensor)
    }

    /// The worst difference; both have the same length.
    fn worst(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// The plain way: every pixel converted; then for each pixel of the tensor, the mean of all pixels by how much of each it covers.
    fn plain_area(frame: &Frame, region: Region, width: u32, height: u32) -> Vec<f32> {
        let share = |pixel: u32, sample: u32, samples: u32, pixels: u32| {
            let step = f64::from(samples) / f64::from(pixels);
            let (start, end) = (f64::from(pixel) * step, f64::from(pixel + 1) * step);
            (end.min(f64::from(sample + 1)) - start.max(f64::from(sample))).max(0.0) / step
        };
        let mut values = Vec::new();
        for channel in 0..3 {
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let mut sum = 0.0;
                for (row, column) in (0..region.height).flat_map(|row| (0..region.width).map(move |column| (row, column))) {
                    let weight = share(y, row, region.height, height) * share(x, column, region.width, width);
                    if weight > 0.0 {
                        let pixel = plain_rgb(frame, (region.x + column) as usize, (region.y + row) as usize);
                        sum += weight * f64::from(pixel[channel]);
                    }
                }
                values.push(sum as f32);
            }
        }
        values
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn area_of_packed_formats_is_the_plain_mean(region in regions(), width in 1_u32..24, height in 1_u32..24) {
            for format in [PixelFormat::Rgb, PixelFormat::Bgr, PixelFormat::Gray8] {
                let frame = noise(format);
                let reduced = of_frame(TensorSpec { width, height, ..LEVELS }, &frame, Some(region));
                let worst = worst(&reduced, &plain_area(&frame, region, width, height));
                prop_assert!(worst < 0.01, "{format:?}: {worst}");
            }
        }

        #[test]
        fn area_of_yuv_formats_is_that_of_converting_first(
            region in regions(), width in 1_u32..24, height in 1_u32..24, full_range: bool, bt709: bool,
        ) {
            for format in [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuy2] {
                let frame = Frame { full_range, bt709, ..smooth(format, 3) };
                let reduced = of_frame(TensorSpec { width, height, ..LEVELS }, &frame, Some(region));
                let worst = worst(&reduced, &plain_area(&frame, region, width, height));
                // The plain way rounds colours to whole levels before it takes the mean.
                prop_assert!(worst < 1.0, "{format:?}: {worst}");
            }
        }

        #[test]
        fn a_point_lies_between_the_four_pixels_around_it(region in regions(), width in 1_u32..90, height in 1_u32..90) {
            let frame = noise(PixelFormat::Rgb);
            let spec = TensorSpec { width, height, filter: Filter::Point, ..LEVELS };
            let at = |pixel: u32, samples: u32, pixels: u32| {
                let place = (f64::from(pixel) + 0.5) * f64::from(samples) / f64::from(pixels) - 0.5;
                let place = place.clamp(0.0, f64::from(samples - 1));
                (place as u32, (place as u32 + 1).min(samples - 1), place.fract())
            };
            let mut plain = Vec::new();
            for (channel, y, x) in (0..3).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x)))) {
                let ((left, right, across), (top, bottom, down)) = (at(x, region.width, width), at(y, region.height, height));
                let level = |x: u32, y: u32| f64::from(plain_rgb(&frame, (region.x + x) as usize, (region.y + y) as usize)[channel]);
                let between = |a: f64, b: f64, share: f64| a + (b - a) * share;
                let row = |y| between(level(left, y), level(right, y), across);
                plain.push(between(row(top), row(bottom), down) as f32);
            }
            // Levels are whole, and cut down by up to half a level before they are rounded.
            prop_assert!(worst(&of_frame(spec, &frame, Some(region)), &plain) < 1.1);
        }

        #[test]
        fn whatever_the_size_and_the_place_it_is_taken(
            region in regions(), (width, height) in (1_u32..70, 1_u32..70), is_centred: bool, grow: bool,
            filter in prop::sample::select(vec![Filter::Bilinear, Filter::Area, Filter::Point]),
        ) {
            let place = if is_centred { Place::Centre } else { Place::TopLeft };
            for (fit, format) in [Fit::Stretch, Fit::Letterbox { place, fill: 114, grow }]
                .into_iter()
                .flat_map(|fit| PixelFormat::ALL.map(|format| (fit, format)))
            {
                let spec = TensorSpec { width, height, fit, filter, ..LEVELS };
                let levels = of_frame(spec, &noise(format), Some(region));
                prop_assert!(levels.iter().all(|level| (-0.01..255.01).contains(level)));
            }
        }

        #[test]
        fn what_models_take_that_takt_teaches_stays_the_same(region in regions(), width in 1_u32..70, height in 1_u32..70) {
            for format in PixelFormat::ALL {
                let frame = noise(format);
                let mut tensor = InputTensor::new(TensorSpec::taught(width, height), 1).unwrap();
                tensor.set_frame(0, &frame, Some(region)).unwrap();
                let mut preprocessor = Preprocessor::new(width, height);
                prop_assert_eq!(tensor.values(), TensorValues::U8(preprocessor.resize_frame(&frame, Some(region)).unwrap()));
            }
        }
    }

    #[test]
    fn a_constant_picture_stays_constant() {
        for (filter, format) in [Filter::Bilinear, Filter::Area, Filter::Point]
            .into_iter()
            .flat_map(|filter| PixelFormat::ALL.map(|format| (filter, format)))
        {
            // Luma of 200 and chroma without colour, in the full range.
            let is_chroma = |plane, byte| plane > 0 || format == PixelFormat::Yuy2 && byte % 2 == 1;
            let constant = frame(format, 0, |plane, _, byte| if is_chroma(plane, byte) { 128 } else { 200 });
            let full_range = true;
            let fit = Fit::Letterbox {
                place: Place::Centre,
                fill: 200,
                grow: true,
            };
            for fit in [Fit::Stretch, fit] {
                let levels = of_frame(
                    TensorSpec { fit, filter, ..LEVELS },
                    &Frame {
                        full_range,
                        ..constant.clone()
                    },
                    None,
                );
                assert!(worst(&levels, &[200.0; 3 * 16 * 12]) < 0.001, "{format:?} {filter:?} {fit:?}");
            }
        }
    }

    #[test]
    fn layouts_are_transposed_and_colours_swapped() {
        let frame = noise(PixelFormat::Rgb);
        let planes = of_frame(LEVELS, &frame, None);
        let pixels = 16 * 12;
        let with = |layout, colour| of_frame(TensorSpec { layout, colour, ..LEVELS }, &frame, None);
        let nhwc = |order: [usize; 3]| -> Vec<f32> { (0..pixels).flat_map(|pixel| order.map(|c| planes[c * pixels + pixel])).collect() };
        assert_eq!(with(Layout::Nhwc, Colour::Rgb), nhwc([0, 1, 2]));
        assert_eq!(with(Layout::Nhwc, Colour::Bgr), nhwc([2, 1, 0]));
        assert_eq!(
            with(Layout::Nchw, Colour::Bgr),
            [&planes[2 * pixels..], &planes[pixels..2 * pixels], &planes[..pixels]].concat()
        );
        let grey: Vec<f32> = (0..pixels)
            .map(|pixel| 0.299 * planes[pixel] + 0.587 * planes[pixels + pixel] + 0.114 * planes[2 * pixels + pixel])
            .collect();
        for layout in [Layout::Nchw, Layout::Nhwc] {
            assert!(worst(&with(layout, Colour::Gray), &grey) < 0.001);
        }
    }

    #[test]
    fn values_are_normalised_and_rounded() {
        let frame = noise(PixelFormat::Nv12);
        let levels = of_frame(LEVELS, &frame, None);
        let (scale, mean, std) = (1.0 / 255.0, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let spec = TensorSpec {
            scale,
            mean,
            std,
            ..LEVELS
        };
        let normalised: Vec<f32> = (0..3)
            .flat_map(|channel| {
                levels[channel * 192..(channel + 1) * 192]
                    .iter()
                    .map(move |level| (level * scale - mean[channel]) / std[channel])
            })
            .collect();
        assert!(worst(&of_frame(spec, &frame, None), &normalised) < 1e-5);
        let halves = of_frame(
            TensorSpec {
                element: Element::F16,
                ..spec
            },
            &frame,
            None,
        );
        // 11 bits of values up to 2.7.
        assert!(worst(&halves, &normalised) < 0.0011);
        let bytes = of_frame(
            TensorSpec {
                element: Element::U8,
                ..LEVELS
            },
            &frame,
            None,
        );
        assert!(worst(&bytes, &levels) < 0.5001);
    }

    #[test]
    fn bars_lie_beside_what_stretching_to_the_inner_size_gives() {
        for (layout, filter) in [
            (Layout::Nchw, Filter::Area),
            (Layout::Nhwc, Filter::Point),
            (Layout::Nhwc, Filter::Bilinear),
        ] {
            let fit = Fit::Letterbox {
                place: Place::Centre,
                fill: 114,
                grow: true,
            };
            let frame = noise(PixelFormat::Bgr);
            let boxed = TensorSpec {
                width: 40,
                height: 24,
                mean: [1.0, 2.0, 3.0],
                layout,
                filter,
                fit,
                ..LEVELS
            };
            let mut tensor = InputTensor::new(boxed, 1).unwrap();
            let placement = tensor.set_frame(0, &frame, None).unwrap();
            assert_eq!((placement.left, placement.top, placement.width, placement.height), (4, 0, 31, 24));
            let fit = Fit::Stretch;
            let inner = of_frame(TensorSpec { width: 31, fit, ..boxed }, &frame, None);
            let index = |x: usize, y: usize, channel: usize, width: usize| match layout {
                Layout::Nchw => (channel * 24 + y) * width + x,
                Layout::Nhwc => (y * width + x) * 3 + channel,
            };
            let values = values(&tensor);
            for (x, y, channel) in (0..40).flat_map(|x| (0..24).flat_map(move |y| (0..3).map(move |channel| (x, y, channel)))) {
                let expected = if (4..35).contains(&x) {
                    inner[index(x - 4, y, channel, 31)]
                } else {
                    113.0 - channel as f32
                };
                assert_eq!(values[index(x, y, channel, 40)].to_bits(), expected.to_bits(), "{x} {y} {channel}");
            }
        }
    }

    #[test]
    fn a_spot_is_found_where_the_placement_says() {
        let spec = TensorSpec {
            width: 40,
            height: 40,
            fit: Fit::Letterbox {
                place: Place::Centre,
                fill: 0,
                grow: true,
            },
            ..LEVELS
        };
        // One bright pixel, in a region that does not begin at the corner.
        let (x, y) = (30, 21);
        let frame = frame(PixelFormat::Gray8, 0, |_, row, byte| if (byte, row) == (x, y) { 255 } else { 0 });
        let region = Region {
            x: 11,
            y: 6,
            width: 47,
            height: 33,
        };
        let mut tensor = InputTensor::new(spec, 1).unwrap();
        let placement = tensor.set_frame(0, &frame, Some(region)).unwrap();
        let plane = &values(&tensor)[..1600];
        let sum: f32 = plane.iter().sum();
        let middle = |place: fn(usize) -> usize| {
            let moment: f32 = plane
                .iter()
                .enumerate()
                .map(|(index, level)| level * (place(index) as f32 + 0.5))
                .sum();
            f64::from(moment / sum)
        };
        let (found_x, found_y) = placement.to_frame(middle(|index| index % 40), middle(|index| index / 40));
        assert!(
            (found_x - (x as f64 + 0.5)).abs() < 0.5 && (found_y - (y as f64 + 0.5)).abs() < 0.5,
            "{found_x} {found_y}"
        );
    }

    #[test]
    fn pictures_of_a_batch_are_set_one_by_one() {
        let image = Image {
            width: 2,
            height: 1,
            rgb: vec![10, 20, 30, 50, 60, 70],
        };
        let spec = TensorSpec {
            width: 1,
            height: 1,
            ..LEVELS
        };
        let mut tensor = InputTensor::new(spec, 2).unwrap();
        assert_eq!(tensor.shape(), [2, 3, 1, 1]);
        tensor.set_image(1, &image, None).unwrap();
        assert_eq!(values(&tensor), [0.0, 0.0, 0.0, 30.0, 40.0, 50.0]);
        let right = Region {
            x: 1,
            y: 0,
            width: 1,
            height: 1,
        };
        assert_eq!(tensor.set_image(0, &image, Some(right)).unwrap().region, right);
        assert_eq!(values(&tensor), [50.0, 60.0, 70.0, 30.0, 40.0, 50.0]);
        let error = tensor.set_image(2, &image, None).unwrap_err().to_string();
        assert_eq!(error, "failed to resize a 2x1 image: the batch has 2 pictures, none of index 2");
    }

    #[test]
    fn what_does_not_have_its_bytes_is_refused() {
        for (format, filter) in PixelFormat::ALL
            .into_iter()
            .flat_map(|format| [(format, Filter::Area), (format, Filter::Bilinear)])
        {
            let mut tensor = InputTensor::new(TensorSpec { filter, ..LEVELS }, 1).unwrap();
            let whole = noise(format);
            let bytes = (*whole.pixels).as_ref().to_vec();
            let short = Frame {
                pixels: Arc::new(bytes[..bytes.len() - 1].to_vec()),
                ..whole
            };
            let error = tensor.set_frame(0, &short, None).unwrap_err().to_string();
            assert_eq!(error, "failed to resize a 61x47 image: its bytes are fewer than its size needs");
            let huge = Frame {
                width: u32::MAX,
                height: u32::MAX,
                ..short
            };
            assert!(tensor.set_frame(0, &huge, None).is_err());
            let outside = Region { x: 1, ..WHOLE };
            assert!(tensor.set_frame(0, &noise(format), Some(outside)).is_err());
            assert!(tensor.set_frame(0, &noise(format), Some(WHOLE)).is_ok());
        }
        let mut tensor = InputTensor::new(LEVELS, 1).unwrap();
        for (width, height, bytes) in [(2, 2, 11), (0, 2, 0), (2, 0, 0), (u32::MAX, u32::MAX, 12)] {
            let image = Image {
                width,
                height,
                rgb: vec![0; bytes],
            };
            assert!(tensor.set_image(0, &image, None).is_err());
        }
    }
}
