//! The highest score of every anchor, and the class it is of, where scores lie class after class.
//!
//! Such a tensor is larger than the caches near a core (2.7 MB for 8,400 anchors of 80 classes), so what counts is how it is read: once, row by
//! row, [`ROWS`] rows side by side, which is what prefetchers of processors follow, and with a note of which rows a maximum came from, so that its
//! class is found among these instead of among all.

/// Rows that are read side by side.
const ROWS: usize = 8;

/// Anchors that are compared at a time: a fixed number becomes vector instructions.
const LANES: usize = 16;

/// The exponent bits of an f32; all are set in NaN and infinity only.
const EXPONENT: u32 = 0x7f80_0000;

/// The highest score of each anchor.
pub(super) struct Peaks<'a> {
    rows: &'a [f32],
    anchors: usize,
    /// By anchor; filled up to whole lanes.
    scores: Vec<f32>,
    /// Which [`ROWS`] it is in; the first of equal ones.
    groups: Vec<u32>,
}

impl<'a> Peaks<'a> {
    /// Of rows of a score for each of `anchors`, at least 1; each row is a class. `None` unless all scores are finite.
    pub(super) fn of(rows: &'a [f32], anchors: usize) -> Option<Self> {
        let filled = anchors.next_multiple_of(LANES);
        let mut peaks = Self {
            rows,
            anchors,
            scores: vec![f32::NEG_INFINITY; filled],
            groups: vec![0; filled],
        };
        let mut odd = [0; LANES];
        for (number, group) in (0..).zip(rows.chunks(ROWS * anchors)) {
            let last = group.len() / anchors - 1;
            // A group of fewer is filled up with its last row, which changes nothing.
            let row = |index: usize| &group[index.min(last) * anchors..][..anchors];
            peaks.raise(std::array::from_fn(row), number, &mut odd);
        }
        odd.iter().all(|odd| *odd == 0).then_some(peaks)
    }

    /// The score of each anchor, in order.
    pub(super) fn scores(&self) -> &[f32] {
        &self.scores[..self.anchors]
    }

    /// The class that an anchor's highest score is of; the first of equal ones.
    pub(super) fn class(&self, anchor: usize) -> usize {
        let first = self.groups[anchor] as usize * ROWS;
        let column = self.rows[first * self.anchors + anchor..].iter().step_by(self.anchors).take(ROWS);
        // How many come before it, without a branch for each: nobody could foretell which way it goes.
        let best = self.scores[anchor];
        let (_, before) = column.fold((0, 0), |(found, before), score| {
            let found = found | usize::from(*score >= best);
            (found, before + 1 - found)
        });
        first + before
    }

    // Slices by index become vector instructions here; zipped iterators over ten of them do not.
    #[allow(clippy::needless_range_loop)]
    fn raise(&mut self, rows: [&[f32]; ROWS], group: u32, odd: &mut [u32; LANES]) {
        let rows = rows.map(|row| row.as_chunks::<LANES>());
        let whole = rows[0].0.len();
        let lanes = rows.map(|(lanes, _)| &lanes[..whole]);
        let (scores, rest_scores) = self.scores.as_chunks_mut::<LANES>().0.split_at_mut(whole);
        let (groups, rest_groups) = self.groups.as_chunks_mut::<LANES>().0.split_at_mut(whole);
        for at in 0..whole {
            raise_lanes(&mut scores[at], &mut groups[at], lanes.map(|row| &row[at]), group, odd);
        }
        if let (Some(scores), Some(groups)) = (rest_scores.first_mut(), rest_groups.first_mut()) {
            let rest = rows.map(|(_, rest)| filled(rest));
            raise_lanes(scores, groups, rest.each_ref(), group, odd);
        }
    }
}

/// The last few anchors of a row, and then nothing that is higher.
fn filled(rest: &[f32]) -> [f32; LANES] {
    let mut lanes = [f32::MIN; LANES];
    lanes.iter_mut().zip(rest).for_each(|(lane, score)| *lane = *score);
    lanes
}

/// Raises scores to the highest of rows that are higher, and notes what is not finite.
#[allow(clippy::needless_range_loop)]
fn raise_lanes(scores: &mut [f32; LANES], groups: &mut [u32; LANES], rows: [&[f32; LANES]; ROWS], group: u32, odd: &mut [u32; LANES]) {
    let mut highest = *rows[0];
    for row in rows {
        for lane in 0..LANES {
            odd[lane] |= u32::from(row[lane].to_bits() & EXPONENT == EXPONENT);
            highest[lane] = higher(highest[lane], row[lane]);
        }
    }
    for lane in 0..LANES {
        // A mask instead of a branch.
        let is_higher = 0_u32.wrapping_sub(u32::from(highest[lane] > scores[lane]));
        groups[lane] = (is_higher & group) | (!is_higher & groups[lane]);
        scores[lane] = higher(scores[lane], highest[lane]);
    }
}

/// One instruction, where `f32::max` would look for NaN.
fn higher(score: f32, other: f32) -> f32 {
    if other > score { other } else { score }
}

#[cfg(test)]
mod tests {
    // Scores are copied, not computed.
    #![allow(clippy::float_cmp)]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_anchor_has_its_highest_score_and_the_first_class_of_it(
            anchors in 1_usize..70, classes in 1_usize..30, levels in prop::collection::vec(-2_i8..6, 70 * 30),
        ) {
            // Few levels, so that classes are equal at times; below zero too.
            let rows: Vec<f32> = levels.iter().take(anchors * classes).map(|level| f32::from(*level) / 8.0).collect();
            let peaks = Peaks::of(&rows, anchors).unwrap();
            prop_assert_eq!(peaks.scores().len(), anchors);
            for anchor in 0..anchors {
                let column: Vec<f32> = rows.iter().skip(anchor).step_by(anchors).copied().collect();
                let highest = column.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                prop_assert_eq!(peaks.scores()[anchor], highest);
                prop_assert_eq!(Some(peaks.class(anchor)), column.iter().position(|score| *score == highest));
            }
        }

        #[test]
        fn one_score_that_is_not_finite_is_noticed_wherever_it_is(
            anchors in 1_usize..70, classes in 1_usize..30, place: prop::sample::Index,
            odd in prop_oneof![Just(f32::NAN), Just(-f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)],
        ) {
            let mut rows = vec![0.5_f32; anchors * classes];
            prop_assert!(Peaks::of(&rows, anchors).is_some());
            rows[place.index(anchors * classes)] = odd;
            prop_assert!(Peaks::of(&rows, anchors).is_none());
        }
    }
}
