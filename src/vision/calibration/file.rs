//! `calibration.toml`: one camera's lens and plane, and where they come from. Text in, text out.
//!
//! The last line is a comment with the SHA-256 of everything above it: a number that was changed by hand is noticed.

use nalgebra::Matrix3;
use serde::{Deserialize, Serialize};

use super::Calibration;
use super::estimate::{Grid, Method};
use super::homography::Homography;
use super::lens::Lens;
use super::quality::Quality;
use super::target::{Kind, Target};
use crate::model::manifest::sha256_hex;

/// Version of the format that this takt writes and reads.
pub const CALIBRATION_VERSION: u32 = 1;

/// Bytes of a file that is read; ours have 2,000.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// What starts the line that holds the file's own hash.
const SEAL: &str = "# sha256 of all lines above: ";

/// Sides of a picture, pixels.
const SIDE_PX: std::ops::RangeInclusive<u32> = 16..=65_535;

/// A calibration and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Name of the camera.
    pub camera: String,
    /// When it was made: RFC 3339, UTC.
    pub made_at: String,
    /// The takt that made it.
    pub takt_version: String,
    /// What it was made with.
    pub target: Target,
    /// How lens and plane were found.
    pub method: Method,
    /// The picture whose target lies in the plane of the parts.
    pub plane_image: String,
    /// Which numbers of the lens were not found but assumed.
    pub undetermined: Vec<String>,
    /// What was reached.
    pub quality: Quality,
    /// The numbers.
    pub calibration: Calibration,
}

/// Why a file is no calibration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FileError {
    /// Written by a newer takt.
    #[error("calibration_version is {found}, this takt reads up to {CALIBRATION_VERSION}; update takt, or calibrate anew with this one")]
    Newer {
        /// The version found.
        found: i64,
    },
    /// Not as it was written.
    #[error("it was changed or cut off since it was written; calibrate anew, or take the file from a backup")]
    Changed,
    /// No calibration at all.
    #[error("it is no calibration: {0}; write one with takt calibrate")]
    Invalid(String),
}

/// A camera whose frames are of another size than the pictures of its calibration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to use the calibration of camera \"{camera}\": it holds for pictures of {} x {} px, the camera gives {} x {} px; \
     set the camera to that size, or calibrate anew",
    calibrated[0], calibrated[1], given[0], given[1]
)]
pub struct OtherSize {
    /// Name of the camera.
    pub camera: String,
    /// Size that it was made with, pixels.
    pub calibrated: [u32; 2],
    /// Size of the frames.
    pub given: [u32; 2],
}

impl Record {
    /// The file.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn to_text(&self) -> Result<String, FileError> {
        let body = toml::to_string(&self.file()).map_err(|error| FileError::Invalid(error.to_string()))?;
        let text = format!("{body}{SEAL}{}\n", sha256_hex(body.as_bytes()));
        // What cannot be read again is not written.
        Self::from_text(&text)?;
        Ok(text)
    }

    /// Reads a file and checks its version, its seal and its numbers.
    ///
    /// # Errors
    /// When it was written by a newer takt, was changed, or is no calibration.
    pub fn from_text(text: &str) -> Result<Self, FileError> {
        // The version comes first: a newer format may be sealed in another way.
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("calibration_version = ")?.trim().parse::<i64>().ok());
        let Some(version) = version else {
            return Err(FileError::Invalid("calibration_version is missing".into()));
        };
        if version > i64::from(CALIBRATION_VERSION) {
            return Err(FileError::Newer { found: version });
        }
        let (body, seal) = text.rsplit_once(SEAL).ok_or(FileError::Changed)?;
        if seal.trim_end() != sha256_hex(body.as_bytes()) {
            return Err(FileError::Changed);
        }
        let file: File = toml::from_str(body).map_err(|error| FileError::Invalid(error.message().to_owned()))?;
        file.checked()
    }

    /// Refuses frames of another size.
    ///
    /// # Errors
    /// When they are.
    pub fn check_size(&self, width_px: u32, height_px: u32) -> Result<(), OtherSize> {
        let given = [width_px, height_px];
        if given == self.calibration.size_px {
            return Ok(());
        }
        Err(OtherSize {
            camera: self.camera.clone(),
            calibrated: self.calibration.size_px,
            given,
        })
    }

    fn file(&self) -> File {
        let (Calibration { size_px, lens, plane_mm }, quality) = (&self.calibration, &self.quality);
        File {
            calibration_version: CALIBRATION_VERSION,
            camera: self.camera.clone(),
            made_at: self.made_at.clone(),
            takt_version: self.takt_version.clone(),
            image: ImageSize {
                width_px: size_px[0],
                height_px: size_px[1],
            },
            target: TargetTable {
                kind: self.target.kind.name().into(),
                columns: self.target.grid.columns,
                rows: self.target.grid.rows,
                pitch_mm: self.target.grid.pitch_mm,
            },
            lens: LensTable {
                method: self.method.name().into(),
                focal_length_px: lens.focal_px,
                principal_point_px: lens.centre_px,
                distortion_k1_k2_p1_p2_k3: lens.distortion,
                undetermined: self.undetermined.clone(),
            },
            plane: PlaneTable {
                image: self.plane_image.clone(),
                mm_from_undistorted_px: std::array::from_fn(|row| std::array::from_fn(|column| plane_mm.0[(row, column)])),
            },
            quality: QualityTable {
                views: quality.views,
                points: quality.points,
                rms_px: quality.rms_px,
                max_px: quality.worst_px,
                coverage: quality.coverage,
                scale_mm_per_px: quality.scale_mm_per_px,
                scale_mm_per_px_min: quality.scale_range_mm_per_px[0],
                scale_mm_per_px_max: quality.scale_range_mm_per_px[1],
                distortion_px_max: quality.distortion_px,
            },
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    calibration_version: u32,
    camera: String,
    made_at: String,
    takt_version: String,
    image: ImageSize,
    target: TargetTable,
    lens: LensTable,
    plane: PlaneTable,
    quality: QualityTable,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageSize {
    width_px: u32,
    height_px: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetTable {
    kind: String,
    columns: usize,
    rows: usize,
    pitch_mm: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LensTable {
    method: String,
    focal_length_px: [f64; 2],
    principal_point_px: [f64; 2],
    distortion_k1_k2_p1_p2_k3: [f64; 5],
    undetermined: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaneTable {
    image: String,
    mm_from_undistorted_px: [[f64; 3]; 3],
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QualityTable {
    views: usize,
    points: usize,
    rms_px: f64,
    max_px: f64,
    coverage: f64,
    scale_mm_per_px: f64,
    scale_mm_per_px_min: f64,
    scale_mm_per_px_max: f64,
    distortion_px_max: f64,
}

impl File {
    /// The record, if its numbers can be a camera's.
    fn checked(self) -> Result<Record, FileError> {
        let invalid = |what: &str| FileError::Invalid(what.to_owned());
        let kind = Kind::from_name(&self.target.kind).ok_or_else(|| invalid("target.kind is none that this takt knows"))?;
        let method = Method::from_name(&self.lens.method).ok_or_else(|| invalid("lens.method is none that this takt knows"))?;
        let size_px = [self.image.width_px, self.image.height_px];
        if !size_px.iter().all(|side| SIDE_PX.contains(side)) {
            return Err(invalid("the size of the image is none that a camera has"));
        }
        let lens = Lens {
            focal_px: self.lens.focal_length_px,
            centre_px: self.lens.principal_point_px,
            distortion: self.lens.distortion_k1_k2_p1_p2_k3,
        };
        let numbers = lens.focal_px.iter().chain(&lens.centre_px).chain(&lens.distortion);
        if !numbers.copied().all(f64::is_finite) || !lens.focal_px.iter().all(|length| *length > 0.0) {
            return Err(invalid("the lens has numbers that none has"));
        }
        let plane = Matrix3::from_fn(|row, column| self.plane.mm_from_undistorted_px[row][column]);
        let calibration = Calibration {
            size_px,
            lens,
            plane_mm: Homography(plane),
        };
        let scale = calibration.scale_mm_per_px();
        if calibration.plane_mm.inverse().is_none() || !scale.is_finite() || scale <= 0.0 {
            return Err(invalid("plane.mm_from_undistorted_px is no plane before the camera"));
        }
        let quality = self.quality;
        Ok(Record {
            camera: self.camera,
            made_at: self.made_at,
            takt_version: self.takt_version,
            target: Target {
                kind,
                grid: Grid {
                    columns: self.target.columns,
                    rows: self.target.rows,
                    pitch_mm: self.target.pitch_mm,
                },
            },
            method,
            plane_image: self.plane.image,
            undetermined: self.lens.undetermined,
            quality: Quality {
                views: quality.views,
                points: quality.points,
                rms_px: quality.rms_px,
                worst_px: quality.max_px,
                coverage: quality.coverage,
                scale_mm_per_px: quality.scale_mm_per_px,
                scale_range_mm_per_px: [quality.scale_mm_per_px_min, quality.scale_mm_per_px_max],
                distortion_px: quality.distortion_px_max,
            },
            calibration,
        })
    }
}
