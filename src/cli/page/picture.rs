//! The picture of a part on the page: what is true on the left, what the model says on the right.

use std::io::Cursor;

use anyhow::Context;
use image::codecs::jpeg::JpegEncoder;

use crate::evaluate::{Sample, Truth};
use crate::model::manifest::Manifest;
use crate::report::Picture;
use crate::vision::decode::read_image;
use crate::vision::inspector::Inspector;
use crate::vision::{Image, Mask, overlay};

/// JPEG quality of pictures on the page: contours stay crisp, the page stays small enough to mail.
const JPEG_QUALITY: u8 = 82;

/// The overlay of an image as JPEG; none if it cannot be read.
pub(super) fn picture(inspector: &mut Inspector, sample: &Sample) -> anyhow::Result<Option<Picture>> {
    let Ok((image, inspection)) = inspector.inspect_file(&sample.path) else {
        return Ok(None);
    };
    let region = inspector.manifest().threshold.region;
    let overlay = overlay::render_beside_truth(&image, &inspection, region, truth(sample, &image, inspector.manifest()).as_ref());
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
        .encode(&overlay.rgb, overlay.width, overlay.height, image::ExtendedColorType::Rgb8)
        .with_context(|| format!("failed to encode the picture of {}", sample.path.display()))?;
    Ok(Some(Picture {
        mime: "image/jpeg",
        bytes: bytes.into_inner(),
    }))
}

/// Where the defects are, if that is known.
fn truth(sample: &Sample, image: &Image, manifest: &Manifest) -> Option<Mask> {
    let (width, height) = (image.width as usize, image.height as usize);
    match &sample.truth {
        Truth::Unmarked | Truth::Class(_) => None,
        Truth::Labels(path) => {
            // Numbers beyond the classes are what nobody judged.
            let is_defect = |number: u8| {
                manifest
                    .classes
                    .get(usize::from(number))
                    .is_some_and(|class| !manifest.ok_classes.contains(class))
            };
            let labels = read_image(path).ok()?;
            Some(Mask {
                width: labels.width as usize,
                height: labels.height as usize,
                defect: labels.rgb.chunks_exact(3).map(|pixel| is_defect(pixel[0])).collect(),
            })
        }
        Truth::Mask(path) => {
            let mask = read_image(path).ok()?;
            Some(Mask {
                width: mask.width as usize,
                height: mask.height as usize,
                defect: mask.rgb.chunks_exact(3).map(|pixel| pixel[0] > 127).collect(),
            })
        }
        Truth::Objects(objects) => {
            let mut defect = vec![false; width * height];
            for object in objects {
                let outline = object.outline.as_ref().and_then(|outline| outline.mask(image.width, image.height));
                if let Some(outline) = outline {
                    defect
                        .iter_mut()
                        .zip(outline.pixels())
                        .for_each(|(defect, inside)| *defect |= inside);
                    continue;
                }
                let shape = object.place.shape;
                let columns = within(shape.x, width)..within(shape.x + shape.width, width);
                for row in within(shape.y, height)..within(shape.y + shape.height, height) {
                    defect[row * width + columns.start..row * width + columns.end].fill(true);
                }
            }
            Some(Mask { width, height, defect })
        }
    }
}

/// The pixel that an edge lies next to, at most the last.
fn within(edge: f64, side: usize) -> usize {
    (edge.round().max(0.0) as usize).min(side)
}
