//! Masks of instances: a model gives prototypes for the whole image and a few coefficients per detection (Bolya et al. 2019, YOLACT).
//!
//! A prototype pixel's logit is the sum of the coefficients times the prototypes; logits are interpolated (bilinear, centre to centre, as
//! `align_corners=False`) at the centre of each pixel of the picture; a pixel belongs to the instance where its logit is above 0 and the pixel
//! touches the box. This is what Ultralytics' `process_mask_native` (`retina_masks=True`) does since it interpolates before the sigmoid. By default
//! (`process_mask`) it crops first, in prototype pixels of 4x4 input pixels: there an instance smaller than these can vanish, here it does not.

use super::heads::Dim;
use super::{DetectError, Detection, Head, HeadKind, Quantity, Size, Tensor};
use crate::recipe::geometry::Point;
use crate::recipe::measure::greatest_feret;
use crate::vision::preprocess::Placement;

/// Logits above this belong to the instance: a sigmoid above a half.
const INSIDE_ABOVE: f32 = 0.0;

/// The pixels of an instance, within the smallest rectangle that holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceMask {
    /// First column, pixels of the frame.
    pub x: u32,
    /// First row, pixels of the frame.
    pub y: u32,
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// `width * height` flags, row by row.
    pub inside: Vec<bool>,
    /// How many flags are set; at least 1.
    pub area_px: u32,
}

impl InstanceMask {
    /// Its greatest Feret diameter, from corner to corner of pixels.
    pub fn length_px(&self) -> f32 {
        let rows = self.inside.chunks_exact(self.width as usize).zip(self.y..);
        let corners = rows.filter_map(|(row, y)| {
            let first = row.iter().position(|inside| *inside)?;
            let end = row.iter().rposition(|inside| *inside)? + 1;
            Some([(first, y), (first, y + 1), (end, y), (end, y + 1)])
        });
        let places = corners.flatten().map(|(x, y)| Point::new(x as f64, f64::from(y)));
        greatest_feret(&mut places.collect()) as f32
    }
}

/// Prototypes of one image.
#[derive(Debug, Clone, Copy)]
struct Prototypes<'a> {
    /// Columns, at least 1.
    width: usize,
    /// Rows, at least 1.
    height: usize,
    /// One plane after the other.
    values: &'a [f32],
}

/// The mask of a detection of image `image`, in pixels of the frame of which a part lies so in the model's input; `None` where no pixel belongs to
/// it. `outputs` are the tensors of `head`, and `detection` is one that [`super::detect`] read from them, in pixels of the model's input.
///
/// # Errors
/// When the head has no masks, a tensor does not have its shape, or a value that is needed is not finite.
pub fn instance_mask(
    head: &Head,
    outputs: &[Tensor<'_>],
    image: usize,
    detection: &Detection,
    (placement, input): (&Placement, Size),
) -> Result<Option<InstanceMask>, DetectError> {
    let [predictions, prototypes] = outputs else {
        return Err(DetectError::Outputs {
            head: *head,
            found: outputs.len(),
            expected: "2 (predictions, prototypes)".into(),
        });
    };
    let coefficients = coefficients(head, predictions, image, detection.anchor)?;
    let planes = Prototypes::of(head, prototypes, image)?;
    planes
        .mask(&coefficients, detection, placement, input)
        .map_err(|index| prototypes.not_finite(Quantity::Mask, index))
}

/// The mask coefficients of an anchor or row.
fn coefficients(head: &Head, predictions: &Tensor<'_>, image: usize, anchor: usize) -> Result<Vec<f32>, DetectError> {
    let entry = head.entry();
    let first = entry - head.coefficients;
    let values = predictions.image(image)?;
    let found: Vec<f32> = if head.kind == HeadKind::YoloV8 {
        let [_, _, anchors] = head.dims(predictions, [Dim::Any("N"), Dim::Fixed(entry), Dim::Any("anchors")])?;
        let column = if anchor < anchors {
            values.get(first * anchors + anchor..)
        } else {
            None
        };
        column.unwrap_or_default().iter().step_by(anchors.max(1)).copied().collect()
    } else {
        head.dims(predictions, [Dim::Any("N"), Dim::Any("anchors"), Dim::Fixed(entry)])?;
        let row = values.get(anchor * entry + first..(anchor + 1) * entry);
        row.unwrap_or_default().to_vec()
    };
    if found.len() != head.coefficients || !found.iter().all(|value| value.is_finite()) {
        return Err(predictions.not_finite(Quantity::Mask, anchor));
    }
    Ok(found)
}

/// Where a pixel's centre lies among the prototypes along one axis: between `low` and `low + 1`, at `share` of the way.
#[derive(Debug, Clone, Copy)]
struct Place {
    low: usize,
    share: f32,
}

/// One axis of a box: the first of the pixels it touches, and the places of all of them among `cells` prototypes.
fn places(low: f32, high: f32, axis: Axis, cells: usize) -> (u32, Vec<Place>) {
    let to_source = |edge: f32| (edge - axis.offset) / axis.scale;
    let first = (to_source(low).floor().max(0.0) as u32).min(axis.pixels);
    let end = (to_source(high).ceil().max(0.0) as u32).min(axis.pixels);
    let step = cells as f32 / axis.input;
    let place = |pixel: u32| {
        let input = (pixel as f32 + 0.5) * axis.scale + axis.offset;
        let at = (input * step - 0.5).clamp(0.0, (cells - 1) as f32);
        let low = (at as usize).min(cells.saturating_sub(2));
        Place {
            low,
            share: at - low as f32,
        }
    };
    (first, (first..end).map(place).collect())
}

/// How pixels of what was seen lie in the input, along one axis.
#[derive(Debug, Clone, Copy)]
struct Axis {
    pixels: u32,
    input: f32,
    offset: f32,
    scale: f32,
}

impl<'a> Prototypes<'a> {
    /// The prototypes of one image of a tensor [N, M, h, w].
    fn of(head: &Head, tensor: &Tensor<'a>, image: usize) -> Result<Self, DetectError> {
        let expected = [Dim::Any("N"), Dim::Fixed(head.coefficients), Dim::Some("h"), Dim::Some("w")];
        let [_, _, height, width] = head.dims(tensor, expected)?;
        Ok(Self {
            width,
            height,
            values: tensor.image(image)?,
        })
    }

    /// The mask of one instance; the index of a value that is not finite where there is one.
    fn mask(&self, coefficients: &[f32], detection: &Detection, placement: &Placement, input: Size) -> Result<Option<InstanceMask>, usize> {
        let (across, down) = placement.scale();
        let horizontal = Axis {
            pixels: placement.region.width,
            input: input.width as f32,
            offset: placement.left as f32,
            scale: across as f32,
        };
        let vertical = Axis {
            pixels: placement.region.height,
            input: input.height as f32,
            offset: placement.top as f32,
            scale: down as f32,
        };
        let (x, columns) = places(detection.x0, detection.x1, horizontal, self.width);
        let (y, rows) = places(detection.y0, detection.y1, vertical, self.height);
        let (Some(left), Some(right), Some(top), Some(bottom)) = (columns.first(), columns.last(), rows.first(), rows.last()) else {
            return Ok(None);
        };
        // The prototypes that are needed: those around the first and the last pixel, and all between.
        let window = (
            left.low,
            top.low,
            (right.low + 2).min(self.width),
            (bottom.low + 2).min(self.height),
        );
        let logits = self.logits(coefficients, window)?;
        let pitch = window.2 - window.0;
        // With one row or column of prototypes there is none behind it, and the share is 0.
        let (right_of, below) = (usize::from(pitch > 1), if window.3 - window.1 > 1 { pitch } else { 0 });

        let mut inside = Vec::with_capacity(columns.len() * rows.len());
        let mut between = vec![0.0; pitch];
        for row in &rows {
            let start = (row.low - window.1) * pitch;
            let (above, beneath) = (&logits[start..start + pitch], &logits[start + below..start + below + pitch]);
            for (value, (above, beneath)) in between.iter_mut().zip(above.iter().zip(beneath)) {
                *value = mix(*above, *beneath, row.share);
            }
            inside.extend(columns.iter().map(|column| {
                let at = column.low - window.0;
                mix(between[at], between[at + right_of], column.share) > INSIDE_ABOVE
            }));
        }
        Ok(tight(placement.region.x + x, placement.region.y + y, columns.len(), &inside))
    }

    /// The logits of a window (first column, first row, end column, end row) of the prototypes.
    fn logits(&self, coefficients: &[f32], (left, top, right, bottom): (usize, usize, usize, usize)) -> Result<Vec<f32>, usize> {
        let (columns, plane) = (right - left, self.width * self.height);
        let mut sums = vec![0.0_f32; columns * (bottom - top)];
        for (coefficient, values) in coefficients.iter().zip(self.values.chunks_exact(plane)) {
            for (sums, row) in sums.chunks_exact_mut(columns).zip(values[top * self.width..].chunks(self.width)) {
                for (sum, value) in sums.iter_mut().zip(&row[left..right]) {
                    *sum += coefficient * value;
                }
            }
        }
        // A value that is not finite makes its sum so, or an overflow does.
        if let Some(index) = sums.iter().position(|sum| !sum.is_finite()) {
            return Err((top + index / columns) * self.width + left + index % columns);
        }
        Ok(sums)
    }
}

fn mix(a: f32, b: f32, share: f32) -> f32 {
    a * (1.0 - share) + b * share
}

/// Cuts flags of rows of `columns` pixels, the first of which is (x, y), to those that are set.
fn tight(x: u32, y: u32, columns: usize, inside: &[bool]) -> Option<InstanceMask> {
    let (mut left, mut right, mut top, mut bottom) = (usize::MAX, 0, usize::MAX, 0);
    let mut area_px = 0;
    for (index, row) in inside.chunks_exact(columns).enumerate() {
        if let (Some(first), Some(last)) = (row.iter().position(|inside| *inside), row.iter().rposition(|inside| *inside)) {
            (left, right) = (left.min(first), right.max(last + 1));
            (top, bottom) = (top.min(index), index + 1);
            area_px += row.iter().map(|inside| u32::from(*inside)).sum::<u32>();
        }
    }
    let rows = inside.chunks_exact(columns).take(bottom).skip(top);
    (area_px > 0).then(|| InstanceMask {
        x: x + left as u32,
        y: y + top as u32,
        width: (right - left) as u32,
        height: (bottom - top) as u32,
        inside: rows.flat_map(|row| &row[left..right]).copied().collect(),
        area_px,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::Region;
    use crate::vision::detect::HeadKind;
    use proptest::prelude::*;

    const INPUT: Size = Size { width: 32, height: 32 };
    const HEAD: Head = Head {
        kind: HeadKind::YoloV8,
        classes: 1,
        coefficients: 2,
    };

    /// A picture of this size that fills the input, or fills it one way and has bars the other.
    fn placed(width: u32, height: u32, stretch: bool) -> Placement {
        let scale = (32.0 / f64::from(width)).min(32.0 / f64::from(height));
        let side = |pixels: u32| {
            if stretch {
                32
            } else {
                ((f64::from(pixels) * scale) as u32).clamp(1, 32)
            }
        };
        let (across, down) = (side(width), side(height));
        Placement {
            region: Region { x: 0, y: 0, width, height },
            left: (32 - across) / 2,
            top: (32 - down) / 2,
            width: across,
            height: down,
        }
    }

    fn detection(x0: f32, y0: f32, x1: f32, y1: f32) -> Detection {
        Detection {
            class: 0,
            score: 0.9,
            x0,
            y0,
            x1,
            y1,
            anchor: 0,
        }
    }

    /// One anchor with these coefficients, 2 prototypes of 8x8.
    fn decode(
        coefficients: [f32; 2],
        planes: &[f32],
        detection: &Detection,
        placement: &Placement,
    ) -> Result<Option<InstanceMask>, DetectError> {
        let values = [&[16.0, 16.0, 8.0, 8.0, 0.9], &coefficients[..]].concat();
        let predictions = Tensor {
            name: "output0",
            shape: &[1, 7, 1],
            values: &values,
        };
        let prototypes = Tensor {
            name: "output1",
            shape: &[1, 2, 8, 8],
            values: planes,
        };
        instance_mask(&HEAD, &[predictions, prototypes], 0, detection, (placement, INPUT))
    }

    fn plane(value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let first = (0..64).map(|index| value(index % 8, index / 8));
        first.chain(std::iter::repeat_n(0.0, 64)).collect()
    }

    /// The definition, for every pixel of the picture, in f64: the value, and whether the pixel touches the box.
    fn reference(coefficients: [f32; 2], planes: &[f32], detection: &Detection, placement: &Placement) -> Vec<(f64, bool)> {
        let at = |x: usize, y: usize| {
            (0..2)
                .map(|m| f64::from(coefficients[m]) * f64::from(planes[m * 64 + y * 8 + x]))
                .sum::<f64>()
        };
        let (across, down) = placement.scale();
        let mut pixels = Vec::new();
        for y in 0..placement.region.height {
            for x in 0..placement.region.width {
                let input = |pixel: f64, scale: f64, offset: u32| pixel * scale + f64::from(offset);
                let cell = |pixel: u32, scale: f64, offset: u32| (input(f64::from(pixel) + 0.5, scale, offset) / 4.0 - 0.5).clamp(0.0, 7.0);
                let (u, v) = (cell(x, across, placement.left), cell(y, down, placement.top));
                let (i, j) = (u.floor().min(6.0), v.floor().min(6.0));
                let (f, g, i, j) = (u - i, v - j, i as usize, j as usize);
                let value = (at(i, j) * (1.0 - f) + at(i + 1, j) * f) * (1.0 - g) + (at(i, j + 1) * (1.0 - f) + at(i + 1, j + 1) * f) * g;
                let touches = |low: f32, high: f32, pixel: u32, scale: f64, offset: u32| {
                    input(f64::from(pixel) + 1.0, scale, offset) > f64::from(low)
                        && input(f64::from(pixel), scale, offset) < f64::from(high)
                };
                let across = touches(detection.x0, detection.x1, x, across, placement.left);
                pixels.push((value, across && touches(detection.y0, detection.y1, y, down, placement.top)));
            }
        }
        pixels
    }

    #[test]
    fn a_half_plane_ends_where_its_value_crosses_a_half() {
        // Prototype columns 0..4 say +8, the others -8: the value is 0 at the border between them, column 16 of 32.
        let planes = plane(|x, _| if x < 4 { 8.0 } else { -8.0 });
        let mask = decode([1.0, 0.0], &planes, &detection(2.0, 4.0, 30.0, 10.0), &placed(32, 32, true))
            .unwrap()
            .unwrap();
        assert_eq!((mask.x, mask.y, mask.width, mask.height, mask.area_px), (2, 4, 14, 6, 84));
        assert!(mask.inside.iter().all(|inside| *inside));
    }

    #[test]
    fn an_instance_smaller_than_a_prototype_is_not_lost() {
        let planes = plane(|_, _| 5.0);
        let mask = decode([1.0, 0.0], &planes, &detection(13.2, 13.2, 13.9, 13.9), &placed(32, 32, true))
            .unwrap()
            .unwrap();
        assert_eq!((mask.x, mask.y, mask.area_px), (13, 13, 1));
    }

    #[test]
    fn a_mask_lies_in_the_frame() {
        let mut placement = placed(32, 32, true);
        (placement.region.x, placement.region.y) = (100, 50);
        let mask = decode([1.0, 0.0], &plane(|_, _| 5.0), &detection(2.0, 4.0, 30.0, 10.0), &placement);
        let mask = mask.unwrap().unwrap();
        assert_eq!((mask.x, mask.y, mask.width, mask.height), (102, 54, 28, 6));
        assert!((mask.length_px() - 28.0_f32.hypot(6.0)).abs() < 1e-4);
    }

    #[test]
    fn nothing_inside_is_no_mask() {
        let placement = placed(32, 32, true);
        assert_eq!(
            decode([1.0, 0.0], &plane(|_, _| -5.0), &detection(0.0, 0.0, 32.0, 32.0), &placement),
            Ok(None)
        );
        assert_eq!(
            decode([1.0, 0.0], &plane(|_, _| 5.0), &detection(-9.0, -9.0, -1.0, -1.0), &placement),
            Ok(None)
        );
        assert_eq!(
            decode([1.0, 0.0], &plane(|_, _| 5.0), &detection(40.0, 0.0, 50.0, 9.0), &placement),
            Ok(None)
        );
    }

    #[test]
    fn values_that_are_no_numbers_are_errors() {
        let placement = placed(32, 32, true);
        let whole = detection(0.0, 0.0, 32.0, 32.0);
        let error = decode([f32::NAN, 0.0], &plane(|_, _| 5.0), &whole, &placement).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to decode output \"output0\": the mask of entry 0 is not a finite number"
        );
        let planes = plane(|x, y| if (x, y) == (3, 2) { f32::INFINITY } else { 1.0 });
        let error = decode([1.0, 0.0], &planes, &whole, &placement).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to decode output \"output1\": the mask of entry 19 is not a finite number"
        );
        let none = Tensor {
            name: "output1",
            shape: &[1, 2, 0, 8],
            values: &[],
        };
        let predictions = Tensor {
            name: "output0",
            shape: &[1, 7, 1],
            values: &[0.0; 7],
        };
        let error = instance_mask(&HEAD, &[predictions, none], 0, &whole, (&placement, INPUT)).unwrap_err();
        assert!(
            error.to_string().ends_with("found shape [1, 2, 0, 8], expected [N, 2, h, w]"),
            "{error}"
        );
        let far = Detection { anchor: 1, ..whole };
        assert!(decode([1.0, 0.0], &plane(|_, _| 5.0), &far, &placement).is_err());
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            coefficients in prop::array::uniform2(-3.0_f32..3.0), planes in prop::collection::vec(-4.0_f32..4.0, 128),
            corner in (-5.0_f32..34.0, -5.0_f32..34.0), extent in (0.0_f32..40.0, 0.0_f32..40.0), source in (1_u32..70, 1_u32..70), stretch: bool,
        ) {
            let placement = placed(source.0, source.1, stretch);
            let detection = detection(corner.0, corner.1, corner.0 + extent.0, corner.1 + extent.1);
            let expected = reference(coefficients, &planes, &detection, &placement);
            let mask = decode(coefficients, &planes, &detection, &placement).unwrap();
            let set = |index: usize| mask.as_ref().is_some_and(|mask| {
                let (x, y) = (index as u32 % placement.region.width, index as u32 / placement.region.width);
                let (column, row) = (x.wrapping_sub(mask.x), y.wrapping_sub(mask.y));
                column < mask.width && row < mask.height && mask.inside[(row * mask.width + column) as usize]
            });
            // Pixels that only touch the box by rounding, and values at the limit, may go either way.
            let edges_are_clear = {
                let (across, down) = placement.scale();
                let clear = |edge: f32, scale: f64, offset: u32| {
                    let at = (f64::from(edge) - f64::from(offset)) / scale;
                    (at - at.round()).abs() >= 1e-3
                };
                let columns = [detection.x0, detection.x1].into_iter().all(|edge| clear(edge, across, placement.left));
                columns && [detection.y0, detection.y1].into_iter().all(|edge| clear(edge, down, placement.top))
            };
            if edges_are_clear {
                for (index, (value, touches)) in expected.iter().enumerate() {
                    if value.abs() > 1e-4 {
                        prop_assert_eq!(set(index), *touches && *value > 0.0, "pixel {} value {}", index, value);
                    }
                }
            }
            if let Some(mask) = mask {
                prop_assert_eq!(mask.inside.len(), (mask.width * mask.height) as usize);
                prop_assert_eq!(mask.area_px as usize, mask.inside.iter().filter(|inside| **inside).count());
                // Every side of the rectangle is touched.
                let rows: Vec<&[bool]> = mask.inside.chunks(mask.width as usize).collect();
                prop_assert!(rows[0].contains(&true) && rows[rows.len() - 1].contains(&true));
                prop_assert!(rows.iter().any(|row| row[0]) && rows.iter().any(|row| row[row.len() - 1]));
                prop_assert!(mask.x + mask.width <= placement.region.width && mask.y + mask.height <= placement.region.height);
            }
        }
    }
}
