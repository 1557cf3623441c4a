//! Which found object is which true one: COCO's greedy matching of one class in one image. Pure.

use super::super::overlap::Shape;
use super::{AREAS, AreaRange, Found, OVERLAPS, TrueObject, overlap_threshold};

/// A found object and what became of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Judged {
    pub(super) score: f64,
    /// Its rank in its image, 0 for the best.
    pub(super) rank: u8,
    /// For each range of areas one bit per overlap threshold: it is a true object.
    pub(super) is_right: [u16; AREAS],
    /// Likewise: it counts neither as right nor as wrong.
    pub(super) is_ignored: [u16; AREAS],
}

/// Judges the found objects of one class in one image, best first; of more than `most` the best.
///
/// For each threshold the found objects choose in the order of their scores, each the true object that it overlaps most among those not taken
/// yet; of equals the last. A crowd may be chosen by many. One that may be ignored (a crowd, or of another size) is only chosen where no
/// other will do. Found objects that chose one to be ignored are ignored, and so are those that chose none and are of another size.
pub(super) fn judge<S: Shape>(truths: &[TrueObject<S>], found: &[Found<S>], areas: &[AreaRange; AREAS], most: usize) -> Vec<Judged> {
    let mut order: Vec<&Found<S>> = found.iter().collect();
    // Stable, so that equal scores stay in the order given; -0 and 0 are equal. Whatever is no number comes last.
    let key = |score: f64| if score.is_nan() { f64::NEG_INFINITY } else { score + 0.0 };
    order.sort_by(|a, b| key(b.score).total_cmp(&key(a.score)));
    order.truncate(most);
    let overlaps: Vec<Vec<f64>> = order
        .iter()
        .map(|one| truths.iter().map(|truth| one.shape.overlap(&truth.shape, truth.is_crowd)).collect())
        .collect();
    let mut judged: Vec<Judged> = (0_u8..)
        .zip(&order)
        .map(|(rank, one)| Judged {
            score: key(one.score),
            rank,
            is_right: [0; AREAS],
            is_ignored: [0; AREAS],
        })
        .collect();
    for (range, limits) in areas.iter().enumerate() {
        let is_ignored: Vec<bool> = truths.iter().map(|truth| truth.is_crowd || !limits.holds(truth.area)).collect();
        for threshold in 0..OVERLAPS {
            let chosen = choose(truths, &is_ignored, &overlaps, overlap_threshold(threshold));
            for ((one, judged), chosen) in order.iter().zip(&mut judged).zip(chosen) {
                let ignored = chosen.map_or_else(|| !limits.holds(one.shape.area()), |truth| is_ignored[truth]);
                judged.is_right[range] |= u16::from(chosen.is_some() && !ignored) << threshold;
                judged.is_ignored[range] |= u16::from(ignored) << threshold;
            }
        }
    }
    judged
}

/// The true object that each found one chooses, by index.
fn choose<S: Shape>(truths: &[TrueObject<S>], is_ignored: &[bool], overlaps: &[Vec<f64>], threshold: f64) -> Vec<Option<usize>> {
    let mut is_taken = vec![false; truths.len()];
    // The best among those that pass, of equals the last.
    let best = |overlaps: &[f64], is_taken: &[bool], among_ignored: bool| {
        let mut best: Option<(usize, f64)> = None;
        for (truth, overlap) in overlaps.iter().enumerate() {
            let is_open = is_ignored[truth] == among_ignored && (!is_taken[truth] || truths[truth].is_crowd);
            if is_open && *overlap >= best.map_or(threshold, |(_, most)| most) {
                best = Some((truth, *overlap));
            }
        }
        best.map(|(truth, _)| truth)
    };
    overlaps
        .iter()
        .map(|overlaps| {
            let chosen = best(overlaps, &is_taken, false).or_else(|| best(overlaps, &is_taken, true));
            if let Some(truth) = chosen {
                is_taken[truth] = true;
            }
            chosen
        })
        .collect()
}
