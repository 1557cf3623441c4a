//! Inspections whose region goes with the part: the part is found in the frame, its region laid upright, and what is found there laid back.

use std::path::PathBuf;

use crate::capture::Frame;
use crate::config::locator::LocatorConfig;
use crate::part::{Finding, Region};
use crate::vision::decode::{DecodeError, read_image};
use crate::vision::grey::GreyImage;
use crate::vision::locator::{Locator, NotLocated, Pose, TeachError};
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
    size: (u32, u32),
}

/// Reads the reference and learns what to look for.
///
/// # Errors
/// When the file is no picture, or its region cannot be found again.
pub fn load(config: &LocatorConfig) -> Result<Locator, LocatorError> {
    let reference = read_image(&config.reference).map_err(|source| LocatorError::Reference {
        locator: config.name.clone(),
        source,
    })?;
    Locator::teach(&GreyImage::from_image(&reference), config.region, config.settings).map_err(|source| LocatorError::Teach {
        locator: config.name.clone(),
        reference: config.reference.clone(),
        source,
    })
}

/// Finds the part and takes its region, which is given as it lies in the reference.
///
/// # Errors
/// When the part is not found, or reaches out of the frame.
pub fn upright(locator: &Locator, frame: &Frame, region: Region) -> Result<Upright, NotUpright> {
    let grey = GreyImage::from_frame(frame).ok_or(NotUpright::Frame)?;
    let pose = locator.locate(&grey)?.pose;
    Ok(Upright {
        frame: upright::upright(frame, region, &pose).ok_or(NotUpright::OutOfFrame)?,
        pose,
        region,
        size: (frame.width, frame.height),
    })
}

impl Upright {
    /// What was found in it, in pixels of the whole frame.
    pub fn in_frame(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let back = |finding| upright::in_frame(finding, self.region, &self.pose, self.size);
        findings.into_iter().map(back).collect()
    }
}
