//! The files that a station's configuration names besides packages: whether they can be used, and fit the cameras.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::StationConfig;
use crate::config::locator::LocatorConfig;
use crate::config::station::{CameraConfig, CameraSource};
use crate::line::event::CameraIndex;
use crate::station::located::{self, LocatorError};
use crate::vision::decode::{list_images, read_image};
use crate::vision::locator::TeachError;

/// Width and height, pixels.
type Size = (u32, u32);

/// What is wrong with them, each with the table and the key that name the file.
pub(super) fn faults(config: &StationConfig) -> Vec<String> {
    let sizes: BTreeMap<CameraIndex, Size> = config
        .cameras
        .iter()
        .enumerate()
        .filter_map(|(index, camera)| Some((index, size_of(camera)?)))
        .collect();
    let mut faults: Vec<String> = config
        .cameras
        .iter()
        .enumerate()
        .filter_map(|(index, camera)| calibration_fault(camera, *sizes.get(&index)?))
        .collect();
    for (index, locator) in config.locators.iter().enumerate() {
        let size = sizes.get(&locator.camera).copied();
        let size = size.or_else(|| config.cameras.get(locator.camera)?.calibrated_px);
        match check(locator, size) {
            Ok(reference) => faults.extend(regions_outside(config, index, reference)),
            Err((key, fault)) => faults.push(format!("locator \"{}\", key {key}: {fault}", locator.name)),
        }
    }
    faults
}

/// The size of a camera's frames, where that is known without the camera: of a device it is set, of a folder the first picture has it.
fn size_of(camera: &CameraConfig) -> Option<Size> {
    match &camera.source {
        CameraSource::Device(device) => Some((device.width, device.height)),
        CameraSource::Folder(folder) => first_picture(folder),
        CameraSource::Pipeline { .. } => None,
    }
}

fn first_picture(folder: &Path) -> Option<Size> {
    let first = list_images(folder).ok()?.into_iter().next()?;
    read_image(&first).ok().map(|image| (image.width, image.height))
}

fn calibration_fault(camera: &CameraConfig, (width, height): Size) -> Option<String> {
    let (for_width, for_height) = camera.calibrated_px?;
    ((width, height) != (for_width, for_height)).then(|| {
        format!(
            "camera \"{}\", key calibration: it holds for frames of {for_width}x{for_height} px, the camera gives {width}x{height} px; set the \
             camera to that size, or calibrate anew",
            camera.name
        )
    })
}

/// The size of a locator's reference, if parts can be found by it; else the key that is wrong, and why.
fn check(locator: &LocatorConfig, camera: Option<Size>) -> Result<Size, (&'static str, String)> {
    let reference = located::read_reference(locator).map_err(|error| ("reference", error.to_string()))?;
    let size = (reference.width, reference.height);
    if let Some((width, height)) = camera.filter(|camera| *camera != size) {
        let fault = format!(
            "{} is of {}x{} px, the camera gives {width}x{height} px; take the picture with that camera at that size",
            locator.reference.display(),
            size.0,
            size.1
        );
        return Err(("reference", fault));
    }
    let learnt = located::learn(locator, &reference).map_err(|error| (key_of(&error), error.to_string()));
    learnt.map(|_| size)
}

/// The key to change.
fn key_of(error: &LocatorError) -> &'static str {
    match error {
        LocatorError::Reference { .. } => "reference",
        LocatorError::Teach {
            source: TeachError::TooWide { .. },
            ..
        } => "shift_px_max",
        LocatorError::Teach { .. } => "region",
    }
}

/// Inspections that go with a part whose regions, as they lie in the reference, lie outside of it.
fn regions_outside(config: &StationConfig, locator: usize, (width, height): Size) -> Vec<String> {
    let with_it = config.inspections().filter(|inspection| inspection.locator == Some(locator));
    let outside = with_it.filter(|inspection| {
        let region = inspection.rules.area.region();
        region.is_some_and(|region| !region.is_within(width, height))
    });
    let fault = |name: &str| {
        format!(
            "inspection \"{name}\", key region: it lies outside of its locator's reference of {width}x{height} px; draw it in that picture"
        )
    };
    outside.map(|inspection| fault(&inspection.name)).collect()
}
