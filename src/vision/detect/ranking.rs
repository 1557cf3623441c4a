//! Candidates best first, sorted no further than somebody asks: suppression stops when it has kept enough, mostly long before the last of them.

use super::Detection;

/// Candidates that are sorted at a time. One portion is enough for most pictures.
const PORTION: usize = 512;

/// Places of candidates, in the order of [`super::nms::order`].
pub(super) struct Ranking {
    /// Numbers that sort so, the first `sorted` of them in order and before all others.
    keys: Vec<u64>,
    sorted: usize,
    next: usize,
    end: usize,
}

impl Ranking {
    /// Of the best `count`, at most.
    pub(super) fn of(candidates: &[Detection], count: usize) -> Self {
        let keys: Vec<u64> = candidates.iter().zip(0..).map(|(one, place)| key(one.score, place)).collect();
        Self {
            end: count.min(keys.len()),
            keys,
            sorted: 0,
            next: 0,
        }
    }

    /// How many are still to come.
    pub(super) fn left(&self) -> usize {
        self.end - self.next
    }

    fn sort_portion(&mut self) {
        let rest = &mut self.keys[self.sorted..];
        let portion = PORTION.min(rest.len());
        if portion < rest.len() {
            rest.select_nth_unstable(portion);
        }
        rest[..portion].sort_unstable();
        self.sorted += portion;
    }
}

impl Iterator for Ranking {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.next == self.end {
            return None;
        }
        if self.next == self.sorted {
            self.sort_portion();
        }
        let place = self.keys[self.next] as u32;
        self.next += 1;
        Some(place as usize)
    }
}

/// What sorts as a score and a place do: plain numbers are sorted several times as fast as what a function has to compare. A tensor of more anchors
/// than a `u32` counts would have 64 GB and more of scores.
fn key(score: f32, place: u32) -> u64 {
    // `f32::total_cmp`: numbers below zero have all bits turned, others the sign alone; then turned again, as the highest come first.
    let bits = score.to_bits();
    let falling = if bits >> 31 == 1 { bits } else { !(bits | 1 << 31) };
    u64::from(falling) << 32 | u64::from(place)
}

#[cfg(test)]
mod tests {
    use super::super::nms;
    use super::*;
    use proptest::prelude::*;

    fn scored(score: f32) -> Detection {
        Detection {
            class: 0,
            score,
            x0: 0.0,
            y0: 0.0,
            x1: 1.0,
            y1: 1.0,
            anchor: 0,
        }
    }

    proptest! {
        #[test]
        fn keys_sort_as_scores_and_places_do(a: (f32, u32), b: (f32, u32)) {
            let places = ((a.0, a.1 as usize), (b.0, b.1 as usize));
            prop_assert_eq!(key(a.0, a.1).cmp(&key(b.0, b.1)), nms::order(places.0, places.1));
        }

        #[test]
        fn portion_by_portion_comes_what_sorting_all_gives(levels in prop::collection::vec(-3_i16..400, 0..2000), count in 0_usize..2500) {
            let candidates: Vec<Detection> = levels.iter().map(|level| scored(f32::from(*level) / 16.0)).collect();
            let mut all: Vec<usize> = (0..candidates.len()).collect();
            all.sort_by(|a, b| nms::order((candidates[*a].score, *a), (candidates[*b].score, *b)));
            all.truncate(count);
            let mut ranking = Ranking::of(&candidates, count);
            prop_assert_eq!(ranking.left(), all.len());
            let first: Vec<usize> = ranking.by_ref().take(7).collect();
            prop_assert_eq!(ranking.left(), all.len() - first.len());
            prop_assert_eq!([first, ranking.collect()].concat(), all);
        }
    }
}
