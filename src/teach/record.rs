//! What a package keeps of its lesson so that it can be extended later: `teaching.json`. Pure.
//!
//! Good pictures themselves are not kept. Their held-out scores are, because the threshold has to be chosen again with those of new parts; and a
//! short hash of each, so that a picture that was taught already is not taken for a new part.

use serde::{Deserialize, Serialize};

use super::PartScore;
use super::detector::Detector;

/// Version of its format.
const FORMAT_VERSION: u32 = 1;

/// Most parts that a record lists. Past it a package is not extended any more: it is taught anew.
pub const PARTS_MAX: usize = 100_000;

/// Largest record that is read: far above one of [`PARTS_MAX`] parts.
const BYTES_MAX: usize = 16 << 20;

/// New parts without which earlier scores stay as they are: the median of fewer says little.
const COMPARED_FROM: usize = 8;

/// Hexadecimal digits of a picture's hash that are kept: 64 bits, a chance of 3 in 10^10 that any two of [`PARTS_MAX`] are alike.
const HASH_DIGITS: usize = 16;

/// What is kept of a lesson.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this format.
    pub format_version: u32,
    /// Patches that the bank may keep, as asked for.
    pub bank: usize,
    /// Share of good parts that may be rejected, as asked for.
    pub false_reject_rate: f64,
    /// Whether the threshold was chosen by what mistakes cost.
    pub by_cost: bool,
    /// Images that the method was fitted to, tiles and varied copies among them.
    pub fitted: usize,
    /// Units that scores count in, where the method has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// Scores of good parts by models that had not seen them, rising.
    pub scores: Vec<f32>,
    /// Peaks of their maps, rising.
    pub peaks: Vec<f32>,
    /// A hash of each part's pixels at the model's size, the first digits, in order.
    pub parts: Vec<String>,
}

/// The units of the two banks of [`Relative`](super::relative::Relative), which its graph does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// Of patches as they are, and of those relative to their part.
    pub units: [f32; 2],
    /// Added to the mean square of a part's deviations.
    pub floor: f32,
}

impl Balance {
    /// That of a detector, if it has any.
    pub fn of(detector: &Detector) -> Option<Self> {
        match detector {
            Detector::Relative(both) => Some(Self {
                units: [both.as_is.unit, both.relative.unit],
                floor: both.floor,
            }),
            Detector::PatchCore(_) | Detector::Padim(_) => None,
        }
    }
}

impl Record {
    /// The record of a lesson: all held-out scores that its threshold rests on, and the hashes of all parts.
    pub fn new(
        bank: usize,
        false_reject_rate: f64,
        by_cost: bool,
        fitted: usize,
        detector: &Detector,
        scores: &[PartScore],
        hashes: &[String],
    ) -> Self {
        let rising = |value: fn(&PartScore) -> f32| {
            let mut values: Vec<f32> = scores.iter().map(value).collect();
            values.sort_unstable_by(f32::total_cmp);
            values
        };
        let mut parts: Vec<String> = hashes.iter().map(|hash| short(hash)).collect();
        parts.sort_unstable();
        Self {
            format_version: FORMAT_VERSION,
            bank,
            false_reject_rate,
            by_cost,
            fitted,
            balance: Balance::of(detector),
            scores: rising(|part| part.image),
            peaks: rising(|part| part.peak),
            parts,
        }
    }

    /// The record in a file's bytes.
    ///
    /// # Errors
    /// What is wrong with it, in words that follow "its teaching.json".
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > BYTES_MAX {
            return Err(format!("has {} bytes, more than a record has", bytes.len()));
        }
        let record: Self = serde_json::from_slice(bytes).map_err(|error| format!("is no record of a lesson ({error})"))?;
        let count = record.scores.len();
        let is_sound = record.scores.iter().chain(&record.peaks).all(|score| score.is_finite())
            && count > 0
            && record.peaks.len() == count
            && record
                .balance
                .is_none_or(|balance| balance.units.iter().chain([&balance.floor]).all(|value| *value > 0.0));
        if record.format_version != FORMAT_VERSION {
            return Err(format!(
                "has format version {}, this takt reads {FORMAT_VERSION}",
                record.format_version
            ));
        }
        if is_sound {
            Ok(record)
        } else {
            Err("holds no scores that make sense".into())
        }
    }

    /// The record as a file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Numbers, words and lists of them can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether a part of this hash was taught.
    pub fn knows(&self, hash: &str) -> bool {
        self.parts.binary_search(&short(hash)).is_ok()
    }

    /// Scores and peaks of earlier parts, each in their own order, as they would be about now. They were made by models of fewer parts, to which good
    /// parts looked less usual; so where new parts score lower, by the medians, earlier scores are brought down in proportion. Never up: that would
    /// let more pass because new parts are unlike the earlier ones.
    pub fn held_out(&self, new: &[PartScore]) -> impl Iterator<Item = PartScore> + '_ {
        let share = |earlier: &[f32], value: fn(&PartScore) -> f32| {
            let mut now: Vec<f32> = new.iter().map(value).collect();
            now.sort_unstable_by(f32::total_cmp);
            let (now, then) = (now.get(now.len() / 2), earlier.get(earlier.len() / 2));
            let share = now.zip(then).filter(|(_, then)| **then > 0.0).map_or(1.0, |(now, then)| now / then);
            if new.len() < COMPARED_FROM { 1.0 } else { share.min(1.0) }
        };
        let (of_images, of_peaks) = (share(&self.scores, |part| part.image), share(&self.peaks, |part| part.peak));
        self.scores.iter().zip(&self.peaks).map(move |(image, peak)| PartScore {
            image: image * of_images,
            peak: peak * of_peaks,
        })
    }
}

fn short(hash: &str) -> String {
    hash.chars().take(HASH_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn earlier_scores_come_down_with_new_ones_and_never_up() {
        let detector = Detector::PatchCore(crate::teach::patchcore::PatchCore::of_bank(vec![0.0], vec![0.0], 1));
        let scores = |scores: &[f32]| {
            scores
                .iter()
                .map(|score| PartScore {
                    image: *score,
                    peak: 2.0 * score,
                })
                .collect::<Vec<_>>()
        };
        let earlier = scores(&[8.0, 10.0, 12.0]);
        let record = Record::new(64, 0.01, false, 3, &detector, &earlier, &[]);
        let now = |new: &[f32]| {
            record
                .held_out(&scores(new))
                .map(|part| (part.image, part.peak))
                .collect::<Vec<_>>()
        };
        let as_they_were = [(8.0, 16.0), (10.0, 20.0), (12.0, 24.0)];
        assert_eq!(now(&[5.0; COMPARED_FROM]), [(4.0, 8.0), (5.0, 10.0), (6.0, 12.0)]);
        assert_eq!(now(&[15.0; COMPARED_FROM]), as_they_were);
        assert_eq!(now(&[5.0; COMPARED_FROM - 1]), as_they_were, "too few to tell");
        assert_eq!(now(&[]), as_they_were);
    }

    proptest! {
        #[test]
        fn a_record_survives_writing_and_knows_its_parts(scores in prop::collection::vec((0.0_f32..1e4, 0.0_f32..1e4), 1..40), fitted in 1_usize..900) {
            let detector = Detector::PatchCore(crate::teach::patchcore::PatchCore::of_bank(vec![0.0], vec![0.0], 1));
            let scores: Vec<PartScore> = scores.into_iter().map(|(image, peak)| PartScore { image, peak }).collect();
            let hashes = (0..scores.len()).map(|part| crate::model::manifest::sha256_hex(&part.to_le_bytes())).collect::<Vec<_>>();
            let record = Record::new(64, 0.01, false, fitted, &detector, &scores, &hashes);
            let again = Record::read(&record.to_bytes());
            prop_assert_eq!(again.as_ref(), Ok(&record));
            prop_assert!(hashes.iter().all(|hash| record.knows(hash)));
            prop_assert!(!record.knows(&crate::model::manifest::sha256_hex(b"another")));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Record::read(&bytes).is_err());
        }
    }
}
