//! `[[locator]]`: what finds parts in the frames of a camera.

use std::path::{Path, PathBuf};

use super::camera_file::read_region;
use super::reader::{Answer, Table};
use super::recipe::RecipeConfig;
use super::recipe_file::place_of_recipe;
use super::value::{name, number, one_of, path, place_of, quoted};
use crate::line::event::CameraIndex;
use crate::part::Region;
use crate::vision::locator::{Kind, SHIFT_PX_MAX, SIDE_PX_MIN, Settings};

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
    let kind = table.or("kind", usual.kind, one_of(Kind::ALL.map(|kind| (kind.name(), kind))));
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
            kind: kind?,
            shift_px_max: shift_px_max?,
            angle_deg_max: angle_deg_max?,
            score_min: score_min?,
        },
    })
}

/// A locator finds parts in the frames of the inspection that asks it, and the inspection says what goes with the part.
pub(super) fn check(root: &Table<'_>, locators: &[LocatorConfig], recipes: &[RecipeConfig]) {
    let numbered = recipes.iter().enumerate();
    let inspections = numbered.flat_map(|(recipe, of)| of.inspections.iter().enumerate().map(move |inspection| (recipe, inspection)));
    for (recipe, (index, inspection)) in inspections {
        let Some(locator) = inspection.locator.and_then(|locator| locators.get(locator)) else {
            continue;
        };
        let what = format!("inspection {}", quoted(&inspection.name));
        let at = |key: &str| format!("{}.inspection.{index}.{key}", place_of_recipe(root, recipe));
        if locator.camera != inspection.camera {
            let reason = format!(
                "its locator {} looks at another camera's frames; name one of the same camera",
                quoted(&locator.name)
            );
            root.refuse_at(&at("locator"), &what, reason);
        }
        if inspection.rules.area.region().is_none() {
            let reason = "it has a locator but no region; give the region, as it lies in the locator's reference, that goes with the part";
            root.refuse_at(&at("locator"), &what, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::Document;
    use crate::config::{ConfigErrors, StationConfig};
    use crate::model::manifest::sha256_hex;
    use crate::recipe::measure::Scale;
    use crate::vision::calibration::file::Record;

    const STATION: &str = r#"config_version = 1
[station]
id = "least"
state_directory = "state"
runtime_directory = "run"
[plc]
listen = "127.0.0.1:1502"
writers = ["127.0.0.1"]
scan_ms = 10
[trigger]
source = "plc"
part_interval_ms_min = 1000
[timing]
deadline_ms = 200
trigger_to_gate_ms = 400
gate_actuation_ms = 20
[[camera]]
name = "top"
folder = "images"
[[camera]]
name = "side"
folder = "others"
[recipe]
number = 1
name = "flange"
[[recipe.inspection]]
name = "surface"
camera = "top"
model = "model"
region = { x = 10, y = 10, width = 64, height = 64 }
locator = "flange"
[[recipe.inspection]]
name = "rim"
camera = "side"
model = "model"
"#;

    const LOCATOR: &str = r#"[[locator]]
name = "flange"
camera = "top"
reference = "flange.png"
region = { x = 40, y = 30, width = 200, height = 120 }
"#;

    fn read(text: &str) -> Result<StationConfig, ConfigErrors> {
        let document = Document::new(Path::new("/line/station.toml"), text.into())?;
        StationConfig::from_document(&document, &|_, _| Ok(()))
    }

    #[track_caller]
    fn assert_refused(text: &str, expected: &str) {
        let errors = read(text).unwrap_err();
        assert!(errors.to_string().contains(expected), "{errors}");
    }

    #[test]
    fn a_locator_is_found_by_its_name_and_has_usual_settings() {
        let station = read(&format!("{STATION}{LOCATOR}")).unwrap();
        assert_eq!(station.recipes[0].inspections[0].locator, Some(0));
        assert_eq!(station.recipes[0].inspections[1].locator, None);
        let [locator] = station.locators.as_slice() else {
            panic!("{:?}", station.locators);
        };
        assert_eq!(
            (locator.name.as_str(), locator.camera, locator.settings),
            ("flange", 0, Settings::default())
        );
        assert_eq!(locator.reference, Path::new("/line/flange.png"));
        let narrow = read(&format!(
            "{STATION}{LOCATOR}kind = \"template\"\nshift_px_max = 20\nangle_deg_max = 0\nscore_min = 0.75\n"
        ))
        .unwrap();
        let settings = Settings {
            kind: Kind::Template,
            shift_px_max: 20.0,
            angle_deg_max: 0.0,
            score_min: 0.75,
        };
        assert_eq!(narrow.locators[0].settings, settings);
    }

    #[test]
    fn what_cannot_be_is_refused_where_it_stands() {
        assert_refused(STATION, "locator is \"flange\"; give the name of a locator, and add its table");
        let text = format!("{STATION}{LOCATOR}");
        assert_refused(
            &text.replace("locator = \"flange\"", "locator = \"flansh\""),
            "locator is \"flansh\"; give the name of a locator: \"flange\"",
        );
        assert_refused(
            &text.replace("region = { x = 10, y = 10, width = 64, height = 64 }\n", ""),
            "it has a locator but no region",
        );
        assert_refused(
            &text.replace("camera = \"top\"\nreference", "camera = \"side\"\nreference"),
            "its locator \"flange\" looks at another camera's frames",
        );
        assert_refused(&text.replace("width = 200", "width = 20"), "less than 24 px a side");
        assert_refused(
            &text.replace("region = { x = 40, y = 30, width = 200, height = 120 }\n", ""),
            "region is missing",
        );
        assert_refused(
            &format!("{text}shift_px = 3\n"),
            "unknown key \"shift_px\"; did you mean \"shift_px_max\"?",
        );
        assert_refused(
            &format!("{text}kind = \"templates\"\n"),
            "kind is \"templates\"; give \"edges\" or \"template\"",
        );
        assert_refused(&format!("{text}score_min = 0\n"), "score_min is 0; give a number from 0.2 to 1");
    }

    #[test]
    fn a_calibration_gives_a_camera_its_scale_and_the_size_it_holds_for() {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/calibration_v1.toml");
        let with = |line: &str| STATION.replace("name = \"top\"\n", &format!("name = \"top\"\n{line}\n")) + LOCATOR;
        let top = read(&with(&format!("calibration = \"{fixture}\""))).unwrap().cameras[0].clone();
        let record = Record::from_text(include_str!("../../tests/fixtures/calibration_v1.toml")).unwrap();
        // A calibration that is exchanged changes what is measured, so it changes ConfigChecksum; without one, the file alone counts.
        let station = read(&with(&format!("calibration = \"{fixture}\""))).unwrap();
        let hash = sha256_hex(include_str!("../../tests/fixtures/calibration_v1.toml").as_bytes());
        assert_eq!(station.checksummed(), format!("{}\n# calibration of top: {hash}\n", station.text()));
        let plain = read(&format!("{STATION}{LOCATOR}")).unwrap();
        assert_eq!(plain.checksummed(), plain.text());
        let [width, height] = record.calibration.size_px;
        assert_eq!(top.calibrated_px, Some((width, height)));
        assert_eq!(top.scale, Scale::calibrated(record.calibration));
        assert_refused(
            &with(&format!("calibration = \"{fixture}\"\nmm_per_px = 0.05")),
            "leave one of them out",
        );
        assert_refused(&with("calibration = \"none.toml\""), "none.toml cannot be read");
    }
}
