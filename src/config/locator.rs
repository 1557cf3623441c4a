//! `[[locator]]`: what finds parts in the frames of a camera.

use std::path::{Path, PathBuf};

use super::reader::{Answer, Table};
use super::station::RecipeConfig;
use super::station_file::read_region;
use super::value::{name, number, path, place_of, quoted};
use crate::line::event::CameraIndex;
use crate::part::Region;
use crate::vision::locator::{SHIFT_PX_MAX, SIDE_PX_MIN, Settings};

/// The key of the tables.
pub(super) const TABLES: &str = "locator";

/// Most locators of a station.
const LOCATORS_MAX: usize = 32;

/// Smallest score that can be asked for; at less, anything is found.
const SCORE_MIN: f64 = 0.2;

/// What finds a part.
#[derive(Debug, Clone, PartialEq)]
pub struct LocatorConfig {
    /// Its name, unlike any other's.
    pub name: String,
    /// The camera in whose frames it looks.
    pub camera: CameraIndex,
    /// A picture of that camera with a part in the place where the regions of the inspections fit. Absolute.
    pub reference: PathBuf,
    /// What of the reference is looked for.
    pub region: Region,
    /// How far, and from which score on.
    pub settings: Settings,
}

/// Reads the locators, of which there may be none.
pub(super) fn read_all(root: &mut Table<'_>, folder: &Path, cameras: &[&str]) -> Answer<Vec<LocatorConfig>> {
    if !root.has(TABLES) {
        return Ok(Vec::new());
    }
    root.tables(TABLES, TABLES, LOCATORS_MAX, |table| read(table, folder, cameras))
}

fn read(table: &mut Table<'_>, folder: &Path, cameras: &[&str]) -> Answer<LocatorConfig> {
    let usual = Settings::default();
    let name = table.required("name", name);
    let camera = table.required("camera", place_of("a camera", cameras));
    let reference = table.required("reference", path(folder));
    let region = table.inline("region", read_region);
    let shift_px_max = table.or("shift_px_max", usual.shift_px_max, number(0.0..=SHIFT_PX_MAX));
    let angle_deg_max = table.or("angle_deg_max", usual.angle_deg_max, number(0.0..=180.0));
    let score_min = table.or("score_min", usual.score_min, number(SCORE_MIN..=1.0));
    let region = match region? {
        Some(region) if region.width.min(region.height) >= SIDE_PX_MIN => region,
        Some(_) => {
            let reason = format!("its region has less than {SIDE_PX_MIN} px a side, too little to be found again; make it larger");
            return Err(table.refuse("region", reason));
        }
        None => {
            return Err(table.refuse(
                "region",
                "region is missing; give the rectangle of the reference that shows the part",
            ));
        }
    };
    Ok(LocatorConfig {
        name: name?,
        camera: camera?,
        reference: reference?,
        region,
        settings: Settings {
            shift_px_max: shift_px_max?,
            angle_deg_max: angle_deg_max?,
            score_min: score_min?,
        },
    })
}

/// A locator finds parts in the frames of the inspection that asks it, and the inspection says what goes with the part.
pub(super) fn check(root: &Table<'_>, locators: &[LocatorConfig], recipe: &RecipeConfig) {
    for (index, inspection) in recipe.inspections.iter().enumerate() {
        let Some(locator) = inspection.locator.and_then(|locator| locators.get(locator)) else {
            continue;
        };
        let what = format!("inspection {}", quoted(&inspection.name));
        let at = |key: &str| format!("recipe.inspection.{index}.{key}");
        if locator.camera != inspection.camera {
            let reason = format!(
                "its locator {} looks at another camera's frames; name one of the same camera",
                quoted(&locator.name)
            );
            root.refuse_at(&at("locator"), &what, reason);
        }
        if inspection.region.is_none() {
            let reason = "it has a locator but no region; give the region, as it lies in the locator's reference, that goes with the part";
            root.refuse_at(&at("locator"), &what, reason);
        }
    }
}
