//! What goes into a model: the shape, type and values of its input.

use super::file::ModelFile;
use super::{Questions, Told};
use crate::model::manifest::{BAR_LEVEL, InputSpec, Normalisation};
use crate::model::onnx::TensorProto;
use crate::vision::detect::Size;
use crate::vision::preprocess::{Colour, Element, Layout};
use crate::vision::{ElementType, Port};

/// Values of channels, by what those call them who train models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Range {
    /// 0 to 1: pixels / 255.
    Unit,
    /// -1 to 1: pixels / 127.5 - 1.
    Symmetric,
    /// 0 to 255: pixels as they are.
    Bytes,
    /// Pixels / 255, less the mean and divided by the deviation of ImageNet's channels: 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225 for red, green, blue.
    Imagenet,
}

impl Range {
    /// Scale and offset of each channel, in the order of `colour`.
    fn affine(self, colour: Colour) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::Unit => ([1.0 / 255.0; 3], [0.0; 3]),
            Self::Symmetric => ([1.0 / 127.5; 3], [-1.0; 3]),
            Self::Bytes => ([1.0; 3], [0.0; 3]),
            Self::Imagenet => {
                // torchvision's documentation of its pre-trained models.
                let (mut mean, mut deviation) = ([0.485_f32, 0.456, 0.406], [0.229_f32, 0.224, 0.225]);
                if colour == Colour::Bgr {
                    mean.reverse();
                    deviation.reverse();
                }
                (
                    deviation.map(|deviation| 1.0 / (255.0 * deviation)),
                    std::array::from_fn(|channel| -mean[channel] / deviation[channel]),
                )
            }
        }
    }
}

/// The dimensions of an input for pictures; `None` where the file leaves a length open.
struct PictureShape {
    layout: Layout,
    batch: Option<usize>,
    channels: Option<usize>,
    width: Option<usize>,
    height: Option<usize>,
}

impl PictureShape {
    fn of(port: &Port) -> Result<Self, String> {
        let &[batch, a, b, c] = port.shape.as_slice() else {
            return Err(format!(
                "its input {port} has no four dimensions; takt gives images, rows, columns and channels"
            ));
        };
        let is_colour = |length: Option<usize>| matches!(length, Some(1 | 3));
        let (layout, channels, height, width) = match (is_colour(a), is_colour(c)) {
            (true, false) => (Layout::Nchw, a, b, c),
            (false, true) => (Layout::Nhwc, c, a, b),
            _ => {
                return Err(format!(
                    "in its input {port} neither the second nor the last dimension alone has 1 or 3 channels; export it with fixed channels"
                ));
            }
        };
        Ok(Self {
            layout,
            batch,
            channels,
            width,
            height,
        })
    }
}

/// The input tensor, unless something about it has to be asked.
///
/// # Errors
/// Why takt cannot give such an input.
pub(super) fn input(inputs: &[Port], known: &Told, questions: &mut Questions) -> Result<Option<InputSpec>, String> {
    let [port] = inputs else {
        return Err(format!("it has {} inputs; takt gives one image", inputs.len()));
    };
    let shape = PictureShape::of(port)?;
    let dtype = match port.element {
        Some(ElementType::U8) => Element::U8,
        Some(ElementType::F32) => Element::F32,
        Some(ElementType::F16) => Element::F16,
        _ => return Err(format!("its input {port} has neither bytes nor floats; export it so")),
    };
    let size = questions.unless(size(inputs, known)?, "which size its input has (--size WxH)");
    let colour = match shape.channels {
        Some(1) => Some(Colour::Gray),
        _ => questions.unless(known.colour, "in which order its colours are (--colour rgb or --colour bgr)"),
    };
    let range = match dtype {
        Element::U8 => Some(known.range.unwrap_or(Range::Bytes)),
        Element::F32 | Element::F16 => questions.unless(
            known.range,
            "which values its input takes (--range unit, symmetric, bytes or imagenet)",
        ),
    };
    let fit = questions.unless(
        known.fit,
        "how pictures of another shape get to its size (--fit stretch, letterbox or letterbox_top_left)",
    );
    let filter = questions.unless(
        known.filter,
        "how pixels became fewer where it was trained (--filter point as OpenCV does unless told, bilinear as Pillow and torchvision do, or area)",
    );
    let (Some(Size { width, height }), Some(colour), Some(range), Some(fit), Some(filter)) = (size, colour, range, fit, filter) else {
        return Ok(None);
    };
    let (normalisation, affine) = match dtype {
        Element::U8 => (Normalisation::InModel, None),
        Element::F32 | Element::F16 => (Normalisation::Affine, Some(range.affine(colour))),
    };
    Ok(Some(InputSpec {
        tiles: known.tiles,
        name: port.name.clone(),
        layout: shape.layout,
        dtype,
        colour,
        width,
        height,
        batch: shape.batch.unwrap_or(1),
        normalisation,
        scale: affine.map(|(scale, _)| scale),
        offset: affine.map(|(_, offset)| offset),
        fit,
        fill: known.fill.unwrap_or(BAR_LEVEL),
        filter,
    }))
}

/// The size of the input, once it is known.
///
/// # Errors
/// As [`input`].
pub(super) fn size(inputs: &[Port], known: &Told) -> Result<Option<Size>, String> {
    let Some(port) = inputs.first() else { return Ok(None) };
    let shape = PictureShape::of(port)?;
    // Where nobody says otherwise, a tile goes through as it is.
    let of_tile = known.tiles.map(|tiles| (tiles.width, tiles.height));
    let width = side(port, "width", shape.width, known.size.map(|(width, _)| width))?.or(of_tile.map(|(width, _)| width));
    let height = side(port, "height", shape.height, known.size.map(|(_, height)| height))?.or(of_tile.map(|(_, height)| height));
    Ok(width.zip(height).map(|(width, height)| Size { width, height }))
}

/// A side of the input, of the file or as told.
fn side(port: &Port, name: &str, length: Option<usize>, told: Option<u32>) -> Result<Option<u32>, String> {
    match (length, told) {
        (Some(length), Some(told)) if length != told as usize => Err(format!(
            "its input {port} has a {name} of {length}, --size says {told}; leave --size out"
        )),
        (Some(length), _) => u32::try_from(length)
            .map(Some)
            .map_err(|_| format!("its input {port} is too large")),
        (None, told) => Ok(told),
    }
}

/// RT-DETR and D-FINE as deployed take the size of the picture as a second input, of width and height, and give boxes in its pixels. That of the
/// model's own input is written into the model, so that boxes are in pixels of that, as those of every head.
///
/// # Errors
/// When this cannot be done.
pub(super) fn pin_second_input(file: &mut ModelFile<'_>, inputs: &[Port], known: &Told) -> Result<bool, String> {
    let [image, size] = inputs else { return Ok(false) };
    let is_size = size.element == Some(ElementType::I64) && matches!(size.shape.as_slice(), [_, Some(2)]);
    if !is_size {
        return Ok(false);
    }
    if !file.is_alone() {
        return Err(format!(
            "its input {size} has to be written into it, which takt does only where weights are not in files of their own; export it as one file"
        ));
    }
    let Size { width, height } = self::size(inputs, known)?.ok_or("its file leaves open which size its input has (--size WxH)")?;
    let shape = PictureShape::of(image)?;
    let batch = shape.batch.unwrap_or(1);
    let values: Vec<i64> = (0..batch).flat_map(|_| [i64::from(width), i64::from(height)]).collect();
    file.pin_input(TensorProto::ints(&size.name, &[batch, 2], &values));
    Ok(true)
}
