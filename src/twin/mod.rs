//! The digital twin of a line: parts for demos and tests where no photographs are at hand, and what a line does with them.
//!
//! | file | what it does |
//! |---|---|
//! | `parts.rs` | one part becomes pixels, with or without a defect |
//! | `mod.rs` | a whole data set of such parts |
//! | `camera.rs` | a camera whose frames go through shared memory |

pub mod camera;
pub mod parts;

use crate::vision::{Image, Mask};
use parts::DefectKind;

/// How many parts a rendered data set has. The same set always has the same pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderedSet {
    /// Which production: sets of different seeds have no part in common.
    pub seed: u64,
    /// Good parts to teach from.
    pub train_good: u32,
    /// Good parts to test with.
    pub test_good: u32,
    /// Defective parts to test with, of each of the [`DefectKind`]s.
    pub test_per_defect: u32,
}

/// What one file of a rendered data set holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenderedFile {
    /// A photograph of a part, so to speak.
    Image(Image),
    /// Where the part's defect is, at the size of its image.
    Mask(Mask),
}

impl Default for RenderedSet {
    /// Enough to teach a model from and to see it work, in seconds.
    fn default() -> Self {
        Self {
            seed: 0,
            train_good: 60,
            test_good: 20,
            test_per_defect: 6,
        }
    }
}

impl RenderedSet {
    /// The files of the set with their paths relative to its folder, in the layout of MVTec AD: `train/good/000.png`, `test/good/000.png`,
    /// `test/<defect>/000.png` and `ground_truth/<defect>/000_mask.png`. No part appears twice. Each is rendered when its turn comes.
    pub fn files(self) -> impl Iterator<Item = (String, RenderedFile)> {
        let folders = [("train/good", None, self.train_good), ("test/good", None, self.test_good)];
        let defects = DefectKind::ALL.map(|kind| ("test", Some(kind), self.test_per_defect));
        let parts = folders
            .into_iter()
            .chain(defects)
            .flat_map(|(folder, kind, count)| (0..count).map(move |number| (folder, kind, number)));
        parts.zip(0_u64..).flat_map(move |((folder, kind, number), index)| {
            let part = parts::render(self.seed, index, kind);
            let image = RenderedFile::Image(part.image);
            match kind {
                None => vec![(format!("{folder}/{number:03}.png"), image)],
                Some(kind) => vec![
                    (format!("{folder}/{kind}/{number:03}.png"), image),
                    (format!("ground_truth/{kind}/{number:03}_mask.png"), RenderedFile::Mask(part.mask)),
                ],
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_has_the_layout_of_mvtec_ad_and_no_part_twice() {
        let set = RenderedSet {
            seed: 1,
            train_good: 2,
            test_good: 1,
            test_per_defect: 1,
        };
        let files: Vec<(String, RenderedFile)> = set.files().collect();
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths[..5],
            [
                "train/good/000.png",
                "train/good/001.png",
                "test/good/000.png",
                "test/scratch/000.png",
                "ground_truth/scratch/000_mask.png"
            ]
        );
        assert_eq!(paths.len(), 3 + 2 * DefectKind::ALL.len());
        let images: BTreeSet<&[u8]> = files
            .iter()
            .filter_map(|(_, file)| {
                if let RenderedFile::Image(image) = file {
                    Some(image.rgb.as_slice())
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(images.len(), 3 + DefectKind::ALL.len());
    }
}
