//! Heads that list few boxes and suppress by themselves: end-to-end exports, RT-DETR (Zhao et al. 2024) and D-FINE (Peng et al. 2024).

use super::heads::Dim;
use super::ranking::Ranking;
use super::yolo::{centred, detection, unit};
use super::{DetectError, Detection, Head, HeadKind, Quantity, Size, Tensor};

/// End-to-end exports: rows of edges, score and class.
pub(super) fn rows(head: &Head, tensor: &Tensor<'_>, image: usize, score_min: f32) -> Result<Vec<Detection>, DetectError> {
    let entry = head.entry();
    head.dims(tensor, [Dim::Any("N"), Dim::Any("rows"), Dim::Fixed(entry)])?;
    let mut found = Vec::new();
    for (index, row) in tensor.image(image)?.chunks_exact(entry).enumerate() {
        if reaches(tensor, index, row[4], score_min)? {
            let class = class(tensor, index, row[5], head.classes)?;
            found.push(detection(tensor, index, class, row[4], [row[0], row[1], row[2], row[3]])?);
        }
    }
    Ok(found)
}

/// RT-DETR and D-FINE as trained: every pair of query and class is a candidate, the best are taken, as many as there are queries.
pub(super) fn queries(
    head: &Head,
    scores: &Tensor<'_>,
    boxes: &Tensor<'_>,
    image: usize,
    input: Size,
    score_min: f32,
) -> Result<Vec<Detection>, DetectError> {
    let [_, queries, _] = head.dims(scores, [Dim::Any("N"), Dim::Any("queries"), Dim::Fixed(head.classes)])?;
    head.dims(boxes, [Dim::Any("N"), Dim::Fixed(queries), Dim::Fixed(4)])?;
    let (edges, _) = boxes.image(image)?.as_chunks::<4>();
    let mut found = Vec::new();
    for (query, row) in scores.image(image)?.chunks_exact(head.classes).enumerate() {
        for (class, value) in row.iter().enumerate() {
            if !value.is_finite() {
                return Err(scores.not_finite(Quantity::Score, query));
            }
            let score = if head.kind == HeadKind::DetrLogits {
                sigmoid(*value)
            } else {
                *value
            };
            if reaches(scores, query, score, score_min)? {
                let edges = pixels(boxes, query, edges[query], input)?;
                found.push(detection(boxes, query, class, score, edges)?);
            }
        }
    }
    // The best as many as there are queries.
    Ok(Ranking::of(&found, queries).map(|place| found[place]).collect())
}

/// RT-DETR as Ultralytics exports it: the best class of each query.
pub(super) fn joined(head: &Head, tensor: &Tensor<'_>, image: usize, input: Size, score_min: f32) -> Result<Vec<Detection>, DetectError> {
    let entry = head.entry();
    head.dims(tensor, [Dim::Any("N"), Dim::Any("queries"), Dim::Fixed(entry)])?;
    let mut found = Vec::new();
    for (query, row) in tensor.image(image)?.chunks_exact(entry).enumerate() {
        let (mut class, mut score) = (0, f32::NEG_INFINITY);
        for (index, value) in row[4..].iter().enumerate() {
            if !value.is_finite() {
                return Err(tensor.not_finite(Quantity::Score, query));
            }
            if *value > score {
                (class, score) = (index, *value);
            }
        }
        if reaches(tensor, query, score, score_min)? {
            let edges = pixels(tensor, query, [row[0], row[1], row[2], row[3]], input)?;
            found.push(detection(tensor, query, class, score, edges)?);
        }
    }
    Ok(found)
}

/// RT-DETR and D-FINE as deployed: labels, boxes and scores by themselves.
pub(super) fn deployed(
    head: &Head,
    labels: &Tensor<'_>,
    boxes: &Tensor<'_>,
    scores: &Tensor<'_>,
    image: usize,
    score_min: f32,
) -> Result<Vec<Detection>, DetectError> {
    let [_, rows] = head.dims(scores, [Dim::Any("N"), Dim::Any("rows")])?;
    head.dims(labels, [Dim::Any("N"), Dim::Fixed(rows)])?;
    head.dims(boxes, [Dim::Any("N"), Dim::Fixed(rows), Dim::Fixed(4)])?;
    let (edges, _) = boxes.image(image)?.as_chunks::<4>();
    let classes = labels.image(image)?;
    let mut found = Vec::new();
    for (index, score) in scores.image(image)?.iter().enumerate() {
        if reaches(scores, index, *score, score_min)? {
            let class = class(labels, index, classes[index], head.classes)?;
            found.push(detection(boxes, index, class, *score, edges[index])?);
        }
    }
    Ok(found)
}

/// Whether a score counts; scores that are no numbers, or too high to be scores, are errors.
fn reaches(tensor: &Tensor<'_>, index: usize, score: f32, score_min: f32) -> Result<bool, DetectError> {
    if score.is_finite() && score < score_min {
        return Ok(false);
    }
    unit(tensor, Quantity::Score, index, score).map(|()| true)
}

/// A class that is stored as a float.
fn class(tensor: &Tensor<'_>, index: usize, value: f32, classes: usize) -> Result<usize, DetectError> {
    // NaN is in no range.
    if (0.0..classes as f32).contains(&value) && value.fract() == 0.0 {
        return Ok(value as usize);
    }
    Err(DetectError::Class {
        tensor: tensor.name.into(),
        index,
        value,
        classes,
    })
}

/// Edges in pixels of a box whose centre and size are shares of the input.
fn pixels(tensor: &Tensor<'_>, index: usize, shares: [f32; 4], input: Size) -> Result<[f32; 4], DetectError> {
    for share in shares {
        unit(tensor, Quantity::Box, index, share)?;
    }
    let (width, height) = (input.width as f32, input.height as f32);
    let [x0, y0, x1, y1] = centred(index, shares);
    Ok([x0 * width, y0 * height, x1 * width, y1 * height])
}

/// The logistic function.
pub(super) fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}
