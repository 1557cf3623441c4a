//! Inspections whose region goes with the part: the part is found in the frame, its region laid upright, and what is found there laid back.

use std::path::PathBuf;

use crate::capture::Frame;
use crate::config::locator::LocatorConfig;
use crate::part::{Finding, Region};
use crate::recipe::geometry::Point;
use crate::recipe::measure::Scale;
use crate::recipe::pose::{Pose, Whereabouts};
use crate::vision::Image;
use crate::vision::decode::{DecodeError, read_image};
use crate::vision::grey::GreyImage;
use crate::vision::locator::{Locator, NotLocated, TeachError};
use crate::vision::upright;

/// Why a locator cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum LocatorError {
    /// Its reference is no picture.
    #[error("failed to load locator \"{locator}\": {source}")]
    Reference {
        /// Its name.
        locator: String,
        /// What is wrong with the file.
        source: DecodeError,
    },
    /// Its reference does not tell what to look for.
    #[error("failed to load locator \"{locator}\" from {}: {source}", reference.display())]
    Teach {
        /// Its name.
        locator: String,
        /// The picture.
        reference: PathBuf,
        /// What is wrong with it.
        source: TeachError,
    },
}

/// Why a part's region cannot be looked at.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotUpright {
    /// The part was not found, or not for certain.
    #[error(transparent)]
    NotLocated(#[from] NotLocated),
    /// It was, at the rim.
    #[error("the part was found, but the region that goes with it reaches out of the frame")]
    OutOfFrame,
    /// The frame's bytes are fewer than its size needs.
    #[error("the frame's bytes do not fit its size")]
    Frame,
}

/// A part's region of a frame, upright.
#[derive(Debug)]
pub struct Upright {
    /// It, as a frame of its own.
    pub frame: Frame,
    pose: Pose,
    region: Region,
    size_of_frame: (u32, u32),
}

/// Reads the reference and learns what to look for.
///
/// # Errors
/// When the file is no picture, or its region cannot be found again.
pub fn load(config: &LocatorConfig) -> Result<Locator, LocatorError> {
    learn(config, &read_reference(config)?)
}

/// Reads the reference.
///
/// # Errors
/// When the file is no picture.
pub fn read_reference(config: &LocatorConfig) -> Result<Image, LocatorError> {
    read_image(&config.reference).map_err(|source| LocatorError::Reference {
        locator: config.name.clone(),
        source,
    })
}

/// Learns what to look for.
///
/// # Errors
/// When the region cannot be found again.
pub fn learn(config: &LocatorConfig, reference: &Image) -> Result<Locator, LocatorError> {
    Locator::teach(&GreyImage::from_image(reference), config.region, config.settings).map_err(|source| LocatorError::Teach {
        locator: config.name.clone(),
        reference: config.reference.clone(),
        source,
    })
}

/// Finds the part.
///
/// # Errors
/// When it is not found.
pub fn locate(locator: &Locator, frame: &Frame) -> Result<Pose, NotUpright> {
    let grey = GreyImage::from_frame(frame).ok_or(NotUpright::Frame)?;
    Ok(locator.locate(&grey)?.pose)
}

/// Takes the region of a part that lies so; the region is given as it lies in the reference.
///
/// # Errors
/// When it reaches out of the frame.
pub fn upright(frame: &Frame, region: Region, pose: Pose) -> Result<Upright, NotUpright> {
    Ok(Upright {
        frame: upright::upright(frame, region, &pose).ok_or(NotUpright::OutOfFrame)?,
        pose,
        region,
        size_of_frame: (frame.width, frame.height),
    })
}

impl Upright {
    /// Its width and height, pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.frame.width, self.frame.height)
    }

    /// Where what a recipe draws comes to lie in it: the region's corner is its own.
    pub fn whereabouts(&self) -> Whereabouts {
        Whereabouts::Found(Pose {
            dx_px: -f64::from(self.region.x),
            dy_px: -f64::from(self.region.y),
            ..Pose::default()
        })
    }

    /// The camera's scale for what is measured in it: it lies elsewhere in the frame.
    pub fn scale(&self, scale: Option<Scale>) -> Option<Scale> {
        let Region { x, y, .. } = self.region;
        let (x, y) = (f64::from(x), f64::from(y));
        // The region begins at (x, y) of the reference, so that is added first.
        let pivot = Point::new(self.pose.pivot.x - x, self.pose.pivot.y - y);
        let to_frame = Pose {
            dx_px: self.pose.dx_px + x,
            dy_px: self.pose.dy_px + y,
            pivot,
            ..self.pose
        };
        scale.map(|scale| scale.seen_through(to_frame))
    }

    /// What was found in it, in pixels of the whole frame, and measured there.
    pub fn in_frame(&self, findings: Vec<Finding>, scale: Option<Scale>) -> Vec<Finding> {
        let back = |finding| {
            let mut finding = upright::in_frame(finding, self.region, &self.pose, self.size_of_frame);
            if let Some(scale) = scale {
                finding.measures = scale.measure(&finding);
            }
            finding
        };
        findings.into_iter().map(back).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::capture::{PixelFormat, Plane};
    use crate::part::Nanos;
    use crate::vision::encode::encode_png;
    use crate::vision::locator::Settings;

    const SIDE: usize = 240;

    /// An angle iron with a hole, moved right and down.
    fn picture(dx: f64, dy: f64) -> Vec<u8> {
        let level = |index: usize| {
            let (x, y) = ((index % SIDE) as f64 - dx, (index / SIDE) as f64 - dy);
            let in_box = |left: f64, top: f64, right: f64, bottom: f64| x >= left && x < right && y >= top && y < bottom;
            let is_iron = in_box(70.0, 70.0, 150.0, 95.0) || in_box(70.0, 70.0, 95.0, 170.0);
            let is_hole = (x - 130.0).hypot(y - 82.0) < 8.0;
            if is_iron && !is_hole { 60 } else { 190 }
        };
        (0..SIDE * SIDE).map(level).collect()
    }

    fn frame(luma: Vec<u8>) -> Frame {
        Frame {
            pixels: Arc::new(luma),
            format: PixelFormat::Gray8,
            width: SIDE as u32,
            height: SIDE as u32,
            planes: [Plane { offset: 0, stride: SIDE }, Plane::default(), Plane::default()],
            full_range: true,
            bt709: false,
            exposed_at: Nanos::default(),
            counter: None,
        }
    }

    fn config(folder: &std::path::Path) -> LocatorConfig {
        let rgb: Vec<u8> = picture(0.0, 0.0).iter().flat_map(|level| [*level; 3]).collect();
        let reference = folder.join("reference.png");
        std::fs::write(&reference, encode_png(SIDE as u32, SIDE as u32, &rgb).unwrap()).unwrap();
        LocatorConfig {
            name: "iron".into(),
            camera: 0,
            reference,
            region: Region {
                x: 56,
                y: 56,
                width: 110,
                height: 128,
            },
            settings: Settings {
                shift_px_max: 40.0,
                ..Settings::default()
            },
        }
    }

    #[test]
    fn the_region_goes_with_the_part_and_findings_go_back() {
        let folder = tempfile::tempdir().unwrap();
        let locator = load(&config(folder.path())).unwrap();
        let region = Region {
            x: 115,
            y: 66,
            width: 32,
            height: 32,
        };
        let frame = frame(picture(17.0, -12.0));
        let upright = upright(&frame, region, locate(&locator, &frame).unwrap()).unwrap();
        let still = picture(0.0, 0.0);
        for row in 0..32 {
            let expected = &still[(66 + row) * SIDE + 115..][..32];
            let got = upright.frame.row(0, row).unwrap();
            let differ = expected
                .iter()
                .zip(got)
                .filter(|(expected, got)| expected.abs_diff(**got) > 40)
                .count();
            // Edges lie within a tenth of a pixel: none turns from dark to bright.
            assert_eq!(differ, 0, "row {row}: {expected:?} {got:?}");
        }
        let place = Region {
            x: 5,
            y: 6,
            width: 7,
            height: 8,
        };
        let finding = Finding::somewhere_in(place, "scratch", 0.9);
        let [there] = upright.in_frame(vec![finding], None).try_into().unwrap();
        assert_eq!((there.x, there.y, there.width, there.height), (115 + 5 + 17, 66 + 6 - 12, 7, 8));
    }

    #[test]
    fn what_is_not_found_or_not_seen_whole_is_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let locator = load(&config(folder.path())).unwrap();
        let region = Region {
            x: 0,
            y: 60,
            width: 32,
            height: 32,
        };
        let blank = locate(&locator, &frame(vec![120; SIDE * SIDE]));
        assert!(matches!(blank, Err(NotUpright::NotLocated(_))), "{blank:?}");
        let frame_at_rim = frame(picture(-20.0, 0.0));
        let at_rim = upright(&frame_at_rim, region, locate(&locator, &frame_at_rim).unwrap());
        assert_eq!(at_rim.err(), Some(NotUpright::OutOfFrame));
        let cut = locate(&locator, &frame(vec![120; 7]));
        assert_eq!(cut.err(), Some(NotUpright::Frame));
        let lost = LocatorConfig {
            reference: folder.path().join("none.png"),
            ..config(folder.path())
        };
        assert!(load(&lost).unwrap_err().to_string().starts_with("failed to load locator \"iron\""));
    }
}
