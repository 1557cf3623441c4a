//! A digital twin of a line: parts, PLC, cameras and gate around a real station, over the real wires, and a judge of what it does.
//!
//! | file | what it does |
//! |---|---|
//! | `parts.rs` | one part becomes pixels, with or without a defect; pure |
//! | `mod.rs` | a whole data set of such parts |
//! | `settings.rs` | what a run needs to know, of `line.toml` and `station.toml` |
//! | `schedule.rs` | which parts come, and what goes wrong with each, from a seed; pure |
//! | `pictures.rs` | what parts look like: rendered, or from a data set |
//! | `plc_program.rs` | the program of the PLC, scan by scan; pure |
//! | `gate.rs` | the pass rule; pure |
//! | `plc_thread.rs` | the PLC as it runs: scans, polls, faults |
//! | `modbus.rs` | its side of Modbus TCP |
//! | `foreign_peer.rs` | Modbus peers of another make, for measurements and tests |
//! | `delivery.rs` | the order in which frames leave the camera; pure |
//! | `camera_thread.rs` | frames made ahead of time and sent when they are due |
//! | `camera.rs` | a camera whose frames go through shared memory |
//! | `child_process.rs` | station and historian as children |
//! | `network.rs` | the network between them, whose cable can be pulled |
//! | `historian_side.rs` | the historian of a run, and whether it has what the station recorded |
//! | `run.rs` | all of it together |
//! | `facts.rs` | what PLC and camera saw; pure |
//! | `oracle.rs` | whether the station kept LINE-1 to LINE-3; pure |
//! | `model_swaps.rs` | packages that the station is asked to run, good and bad, and whoever asks |
//! | `model_oracle.rs` | whether each part was judged by the model in force; pure |
//! | `records.rs` | whether journal and historian hold what was said (LINE-5); the comparison is pure |
//! | `report.rs` | what a run comes to |
//! | `commission/` | virtual commissioning: the handshake, sequence by sequence |
//! | `simulation.rs` | tests: program, line and oracle in virtual time |

pub mod camera;
mod camera_thread;
mod child_process;
pub mod commission;
pub mod delivery;
pub mod facts;
pub mod foreign_peer;
pub mod gate;
mod historian_side;
mod modbus;
pub mod model_oracle;
pub mod model_swaps;
pub mod network;
pub mod oracle;
pub mod parts;
mod pictures;
pub mod plc_program;
mod plc_thread;
pub mod records;
pub mod report;
mod run;
pub mod schedule;
mod settings;
#[cfg(test)]
mod simulation;

use crate::vision::{Image, Mask};
use parts::DefectKind;

pub use historian_side::{IMAGES as HISTORIAN_IMAGES, STORE as HISTORIAN_STORE};
pub use report::{PartRun, TwinReport};
pub use run::{TwinError, Watcher, run};
pub use settings::{CameraSettings, Settings};

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
