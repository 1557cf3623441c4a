//! Dense heads: a box and scores for every anchor, most of them nothing.

use super::heads::Dim;
use super::peaks::Peaks;
use super::{DetectError, Detection, Head, Quantity, Size, Tensor, UNIT_TOLERANCE};

/// Accumulators of a maximum within a row, so that it needs no order.
const LANES: usize = 8;

/// The exponent bits of an f32; all are set in NaN and infinity only.
const EXPONENT: u32 = 0x7f80_0000;

/// Strides of the feature maps that YOLOX predicts on, pixels, in the order of its output.
pub(super) const STRIDES: [u32; 3] = [8, 16, 32];

/// `YOLOv8`: all boxes' cx, then cy, w, h, then a row of scores per class.
pub(super) fn class_major(head: &Head, tensor: &Tensor<'_>, image: usize, score_min: f32) -> Result<Vec<Detection>, DetectError> {
    let [_, _, anchors] = head.dims(tensor, [Dim::Any("N"), Dim::Fixed(head.entry()), Dim::Any("anchors")])?;
    let values = tensor.image(image)?;
    if anchors == 0 {
        return Ok(Vec::new());
    }
    let (boxes, rest) = values.split_at(4 * anchors);
    let scores = &rest[..head.classes * anchors];

    let Some(peaks) = Peaks::of(scores, anchors) else {
        let is_finite = |anchor: &usize| scores.iter().skip(*anchor).step_by(anchors).all(|score| score.is_finite());
        let index = (0..anchors).find(|anchor| !is_finite(anchor)).unwrap_or(0);
        return Err(tensor.not_finite(Quantity::Score, index));
    };
    let mut found = Vec::new();
    for (anchor, score) in peaks.scores().iter().enumerate().filter(|(_, score)| **score >= score_min) {
        unit(tensor, Quantity::Score, anchor, *score)?;
        let edges = centred(anchor, [0, 1, 2, 3].map(|row| boxes[row * anchors + anchor]));
        found.push(detection(tensor, anchor, peaks.class(anchor), *score, edges)?);
    }
    Ok(found)
}

/// Raises `best` to `row` where that is larger; whether all of `row` is finite. Written so that it becomes vector instructions.
fn raise(best: &mut [f32], row: &[f32]) -> bool {
    let mut odd = 0_u32;
    for (best, score) in best.iter_mut().zip(row) {
        *best = if *score > *best { *score } else { *best };
        odd |= u32::from(score.to_bits() & EXPONENT == EXPONENT);
    }
    odd == 0
}

/// `YOLOv5` and YOLOX: a row per anchor of its box, objectness and scores. `edges` turns an anchor's index and its first four values into edges.
pub(super) fn anchor_major(
    head: &Head,
    tensor: &Tensor<'_>,
    image: usize,
    score_min: f32,
    edges: impl Fn(usize, [f32; 4]) -> [f32; 4],
) -> Result<Vec<Detection>, DetectError> {
    let entry = head.entry();
    head.dims(tensor, [Dim::Any("N"), Dim::Any("anchors"), Dim::Fixed(entry)])?;
    let mut found = Vec::new();
    for (anchor, row) in tensor.image(image)?.chunks_exact(entry).enumerate() {
        let (objectness, scores) = (row[4], &row[5..5 + head.classes]);
        let (best, finite) = largest(scores);
        if !finite || !objectness.is_finite() {
            return Err(tensor.not_finite(Quantity::Score, anchor));
        }
        let score = objectness * best;
        if score < score_min {
            continue;
        }
        unit(tensor, Quantity::Score, anchor, objectness)?;
        unit(tensor, Quantity::Score, anchor, best)?;
        let class = scores.iter().position(|score| *score >= best).unwrap_or(0);
        let edges = edges(anchor, [row[0], row[1], row[2], row[3]]);
        found.push(detection(tensor, anchor, class, score, edges)?);
    }
    Ok(found)
}

/// The largest value, and whether all are finite.
fn largest(values: &[f32]) -> (f32, bool) {
    let mut best = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let mut finite = true;
    let rest = chunks.remainder();
    for chunk in chunks {
        finite &= raise(&mut best, chunk);
    }
    finite &= raise(&mut best, rest);
    (best.into_iter().fold(f32::NEG_INFINITY, f32::max), finite)
}

/// YOLOX without its decode: offsets and logarithms become pixels.
pub(super) fn grid(head: &Head, tensor: &Tensor<'_>, image: usize, input: Size, score_min: f32) -> Result<Vec<Detection>, DetectError> {
    let anchors = anchors(input, &STRIDES);
    head.dims(tensor, [Dim::Any("N"), Dim::Fixed(anchors), Dim::Fixed(head.entry())])?;
    anchor_major(head, tensor, image, score_min, |anchor, [x, y, w, h]| {
        let (column, row, stride) = cell(input, anchor);
        centred(
            anchor,
            [(x + column) * stride, (y + row) * stride, w.exp() * stride, h.exp() * stride],
        )
    })
}

/// How many cells the feature maps of an input have, one for each stride.
pub(super) fn anchors(input: Size, strides: &[u32]) -> usize {
    let cells = |stride: &u32| (input.width / stride) as usize * (input.height / stride) as usize;
    strides.iter().map(cells).sum()
}

/// Column, row and stride (pixels) of an anchor of YOLOX.
fn cell(input: Size, anchor: usize) -> (f32, f32, f32) {
    let mut first = 0;
    for stride in STRIDES {
        let (columns, rows) = ((input.width / stride) as usize, (input.height / stride) as usize);
        if anchor < first + columns * rows {
            let inside = anchor - first;
            return ((inside % columns) as f32, (inside / columns) as f32, stride as f32);
        }
        first += columns * rows;
    }
    // Not reached: the number of anchors was compared.
    (f32::NAN, f32::NAN, f32::NAN)
}

/// The edges x0, y0, x1, y1 of a box given by its centre and size.
pub(super) fn centred(_anchor: usize, [cx, cy, w, h]: [f32; 4]) -> [f32; 4] {
    [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0]
}

/// A detection whose edges are in order. Heads without a decode that keeps sizes positive (YOLO26) may give them the other way round; the box
/// is then what lies between, so that a candidate is never lost.
pub(super) fn detection(
    tensor: &Tensor<'_>,
    anchor: usize,
    class: usize,
    score: f32,
    [x0, y0, x1, y1]: [f32; 4],
) -> Result<Detection, DetectError> {
    let found = Detection {
        class,
        score,
        x0: if x1 < x0 { x1 } else { x0 },
        y0: if y1 < y0 { y1 } else { y0 },
        x1: if x1 < x0 { x0 } else { x1 },
        y1: if y1 < y0 { y0 } else { y1 },
        anchor,
    };
    if found.is_finite() {
        Ok(found)
    } else {
        Err(tensor.not_finite(Quantity::Box, anchor))
    }
}

/// That a score or a normalised coordinate is in [0, 1], up to a small overshoot.
pub(super) fn unit(tensor: &Tensor<'_>, what: Quantity, index: usize, value: f32) -> Result<(), DetectError> {
    if !value.is_finite() {
        return Err(tensor.not_finite(what, index));
    }
    if (-UNIT_TOLERANCE..=1.0 + UNIT_TOLERANCE).contains(&value) {
        return Ok(());
    }
    Err(DetectError::OutOfUnit {
        tensor: tensor.name.into(),
        what,
        index,
        value,
    })
}
