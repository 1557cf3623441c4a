//! Objects that a model found on an image against those that are there: as boxes, and as masks.

use super::Object;
use super::metrics::average_precision::{Found, PrecisionTally, TrueObject};
use super::metrics::overlap::{Rectangle, RunLengthMask, Shape};
use crate::vision::reading::Candidate;

/// Counts boxes.
pub(super) fn add_boxes(tally: &mut PrecisionTally, classes: usize, objects: &[Object], found: &[Candidate]) {
    let truths: Vec<_> = objects.iter().map(|object| (object.class, object.place.clone())).collect();
    let found: Vec<_> = found.iter().map(|candidate| of(candidate, rectangle(candidate))).collect();
    add(tally, classes, &truths, &found);
}

/// Counts masks on an image of this width and height.
///
/// # Errors
/// Which object has an outline that is no mask on such an image.
pub(super) fn add_masks(
    tally: &mut PrecisionTally,
    classes: usize,
    objects: &[Object],
    found: &[Candidate],
    (width, height): (u32, u32),
) -> Result<(), usize> {
    let mut truths = Vec::with_capacity(objects.len());
    for (index, object) in objects.iter().enumerate() {
        let outline = object.outline.as_ref().and_then(|outline| outline.mask(width, height));
        let shape = outline.ok_or(index)?;
        let TrueObject { area, is_crowd, .. } = object.place;
        truths.push((object.class, TrueObject { shape, area, is_crowd }));
    }
    let found: Vec<_> = found.iter().filter_map(|one| Some(of(one, mask(one, width, height)?))).collect();
    add(tally, classes, &truths, &found);
    Ok(())
}

/// Counts what is on an image in which nothing was found.
pub(super) fn add_missed(tally: &mut PrecisionTally, classes: usize, objects: &[Object]) {
    add_boxes(tally, classes, objects, &[]);
}

fn of<S>(candidate: &Candidate, shape: S) -> (usize, Found<S>) {
    let score = f64::from(candidate.score);
    (candidate.class, Found { shape, score })
}

fn rectangle(candidate: &Candidate) -> Rectangle {
    let edges = candidate.edges;
    Rectangle {
        x: edges.left,
        y: edges.top,
        width: edges.right - edges.left,
        height: edges.bottom - edges.top,
    }
}

/// The mask of what was found; none where the model told none.
fn mask(candidate: &Candidate, width: u32, height: u32) -> Option<RunLengthMask> {
    let spans = candidate.mask.as_ref()?.iter().map(|span| (span.x, span.top, span.bottom));
    RunLengthMask::from_spans(width, height, spans)
}

fn add<S: Shape + Clone>(tally: &mut PrecisionTally, classes: usize, truths: &[(usize, TrueObject<S>)], found: &[(usize, Found<S>)]) {
    for class in 0..classes {
        let truths: Vec<TrueObject<S>> = of_class(truths, class);
        let found: Vec<Found<S>> = of_class(found, class);
        tally.add(class, &truths, &found);
    }
}

fn of_class<T: Clone>(all: &[(usize, T)], class: usize) -> Vec<T> {
    let mine = all.iter().filter(|(of, _)| *of == class);
    mine.map(|(_, one)| one.clone()).collect()
}
