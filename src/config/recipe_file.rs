//! `[[recipe]]` of `station.toml`, table by table.

use std::path::Path;

use toml::de::DeValue;

use super::camera_file::{SIDE_PX_MAX, read_region};
use super::reader::{Answer, Table};
use super::recipe::{InspectionConfig, RecipeConfig};
use super::station::ModelCheck;
use super::value::{name, number, one_of, path, place_of, title, whole_u16, whole_u32};
use crate::part::Severity;
use crate::recipe::Rules;
use crate::recipe::area::{Area, EXCLUDED_MAX, Outline};
use crate::recipe::criterion::{CRITERIA_MAX, Criterion, ZONES_MAX, Zone};
use crate::recipe::geometry::{POLYGON_POINTS_MAX, Point, Polygon};

/// Most recipes of a station: the models of all are loaded and proven at start.
const RECIPES_MAX: usize = 64;

/// Most inspections of a recipe.
const INSPECTIONS_MAX: usize = 32;

/// Largest area and length that a criterion asks for, in whatever unit.
const MEASURE_MAX: f64 = 1e12;

/// The class that stands for all.
const EVERY_CLASS: &str = "*";

/// What recipes refer to.
pub(super) struct Context<'a> {
    /// Folder of the file.
    pub(super) folder: &'a Path,
    /// Names of the cameras.
    pub(super) cameras: &'a [&'a str],
    /// Names of the locators.
    pub(super) locators: &'a [&'a str],
    /// Looks at model packages.
    pub(super) model_check: ModelCheck<'a>,
}

/// All recipes: tables `[[recipe]]`, or the one table `[recipe]`.
pub(super) fn read_recipes(root: &mut Table<'_>, context: &Context<'_>) -> Answer<Vec<RecipeConfig>> {
    if !root.is_list("recipe") {
        return root.table("recipe", |table| read_recipe(table, context)).map(|recipe| vec![recipe]);
    }
    let recipes = root.tables("recipe", "recipe", RECIPES_MAX, |table| read_recipe(table, context))?;
    let mut answer = Ok(());
    for (index, recipe) in recipes.iter().enumerate() {
        if let Some(first) = recipes[..index].iter().position(|other| other.number == recipe.number) {
            let reason = format!(
                "number {} is that of recipe {} already, and the PLC asks by number; give each its own",
                recipe.number,
                first + 1
            );
            answer = Err(root.refuse_at(&format!("recipe.{index}.number"), &format!("recipe {}", index + 1), reason));
        }
    }
    answer.map(|()| recipes)
}

/// Where a recipe stands in the file.
pub(super) fn place_of_recipe(root: &Table<'_>, index: usize) -> String {
    if root.is_list("recipe") {
        format!("recipe.{index}")
    } else {
        "recipe".into()
    }
}

fn read_recipe(table: &mut Table<'_>, context: &Context<'_>) -> Answer<RecipeConfig> {
    let number = table.required("number", whole_u16());
    let revision = table.or("revision", String::new(), title);
    let name = table.required("name", title);
    let inspections = table.tables("inspection", "inspection", INSPECTIONS_MAX, |table| read_inspection(table, context));
    Ok(RecipeConfig {
        number: number?,
        revision: revision?,
        name: name?,
        inspections: inspections?,
    })
}

fn read_inspection(table: &mut Table<'_>, context: &Context<'_>) -> Answer<InspectionConfig> {
    let name = table.required("name", name);
    let camera = table.required("camera", place_of("a camera", context.cameras));
    let model = table.required("model", path(context.folder));
    let locator = table.optional("locator", place_of("a locator", context.locators));
    let rules = read_rules(table);
    let anything = Rules::default();
    if let Ok(model) = &model
        && let Err(reason) = (context.model_check)(model, rules.as_ref().unwrap_or(&anything))
    {
        table.refuse("model", reason);
    }
    Ok(InspectionConfig {
        name: name?,
        camera: camera?,
        model: model?,
        locator: locator?,
        rules: rules?,
    })
}

/// The rules, but for the scale: that is the camera's.
fn read_rules(table: &mut Table<'_>) -> Answer<Rules> {
    let outline = read_outline(table);
    let exclude = read_excluded(table);
    let threshold = table.optional("threshold", number(0.0..=1e30));
    let min_area_px = table.or("min_area_px", 0, whole_u32(1..=u32::MAX));
    let defect_code = table.or("defect_code", 1, whole_u16());
    let zones = optional_tables(table, "zone", ZONES_MAX, read_zone);
    let zone_names = table.names_of("zone");
    let code = defect_code.unwrap_or(1);
    let criteria = optional_tables(table, "criterion", CRITERIA_MAX, |table| read_criterion(table, &zone_names, code));
    Ok(Rules {
        area: Area {
            outline: outline?.unwrap_or_default(),
            exclude: exclude?,
        },
        zones: zones?,
        threshold: threshold?.map(|threshold| threshold as f32),
        min_area_px: min_area_px?,
        criteria: criteria?,
        defect_code: defect_code?,
        scale: None,
    })
}

fn optional_tables<T>(table: &mut Table<'_>, key: &'static str, max: usize, read: impl Fn(&mut Table<'_>) -> Answer<T>) -> Answer<Vec<T>> {
    if table.has(key) {
        table.tables(key, key, max, read)
    } else {
        Ok(Vec::new())
    }
}

/// A `region` or a `polygon`; `None` where there is neither.
fn read_outline(table: &mut Table<'_>) -> Answer<Option<Outline>> {
    let region = table.inline("region", read_region);
    let polygon = read_polygon(table, "polygon");
    match (region?, polygon?) {
        (Some(_), Some(_)) => Err(table.refuse("polygon", "it has both a region and a polygon; keep one")),
        (Some(region), None) => Ok(Some(Outline::Rect(region))),
        (None, polygon) => Ok(polygon.map(Outline::Polygon)),
    }
}

fn read_polygon(table: &mut Table<'_>, key: &'static str) -> Answer<Option<Polygon>> {
    match table.optional(key, points)?.map(Polygon::new) {
        None => Ok(None),
        Some(Ok(polygon)) => Ok(Some(polygon)),
        Some(Err(error)) => Err(table.refuse(key, format!("{key} is none: {error}"))),
    }
}

fn read_excluded(table: &mut Table<'_>) -> Answer<Vec<Polygon>> {
    let outlines = table.or("exclude", Vec::new(), |value| {
        let list = value.as_array().filter(|list| list.len() <= EXCLUDED_MAX);
        let all = list.and_then(|list| {
            list.iter()
                .map(|outline| points(outline.get_ref()).ok())
                .collect::<Option<Vec<_>>>()
        });
        all.ok_or_else(|| format!("a list of at most {EXCLUDED_MAX} polygons: [[[0, 0], [100, 0], [0, 50]]]"))
    })?;
    let mut answer = Ok(Vec::new());
    for (index, outline) in outlines.into_iter().enumerate() {
        match Polygon::new(outline) {
            Ok(polygon) => {
                if let Ok(all) = &mut answer {
                    all.push(polygon);
                }
            }
            Err(error) => answer = Err(table.refuse_in("exclude", index, format!("polygon {} of exclude is none: {error}", index + 1))),
        }
    }
    answer
}

fn read_zone(table: &mut Table<'_>) -> Answer<Zone> {
    let name = table.required("name", name);
    let polygon = match read_outline(table)? {
        Some(Outline::Rect(region)) => Polygon::of_rect(region.into()),
        Some(Outline::Polygon(polygon)) => polygon,
        Some(Outline::Frame) | None => return Err(table.refuse("polygon", "polygon is missing; give one, or a region")),
    };
    Ok(Zone { name: name?, polygon })
}

fn read_criterion(table: &mut Table<'_>, zones: &[&str], defect_code: u16) -> Answer<Criterion> {
    let measure = || number(0.0..=MEASURE_MAX);
    let class = table.required("class", title);
    let score_min = table.optional("score_min", number(0.0..=1e30));
    let area_px_min = table.optional("area_px_min", measure());
    let area_mm2_min = table.optional("area_mm2_min", measure());
    let length_px_min = table.optional("length_px_min", measure());
    let length_mm_min = table.optional("length_mm_min", measure());
    let within = table.optional("within", place_of("a zone", zones));
    let edge_distance_px_max = table.optional("edge_distance_px_max", measure());
    let edge_distance_mm_max = table.optional("edge_distance_mm_max", measure());
    let count_min = table.or("count_min", 1, whole_u32(1..=u32::MAX));
    let severity = table.or(
        "severity",
        Severity::Major,
        one_of(Severity::ALL.map(|severity| (severity.name(), severity))),
    );
    let rejects = table.or("verdict", true, one_of([("not_ok", true), ("ok", false)]));
    let defect_code = table.or("defect_code", defect_code, whole_u16());
    if let (Ok(severity @ (Severity::Major | Severity::Critical)), Ok(false)) = (severity, rejects) {
        let reason = format!(
            "a {} defect is never Ok; give severity = \"minor\", or leave the verdict out",
            severity.name()
        );
        return Err(table.refuse("verdict", reason));
    }
    Ok(Criterion {
        class: Some(class?).filter(|class| class != EVERY_CLASS),
        score_min: score_min?.map(|score| score as f32),
        area_px_min: area_px_min?,
        area_mm2_min: area_mm2_min?,
        length_px_min: length_px_min?,
        length_mm_min: length_mm_min?,
        within: within?,
        edge_distance_px_max: edge_distance_px_max?,
        edge_distance_mm_max: edge_distance_mm_max?,
        count_min: count_min?,
        severity: severity?,
        rejects: rejects?,
        defect_code: defect_code?,
    })
}

/// Corners of a polygon. Whether they make one is not looked at.
fn points(value: &DeValue<'_>) -> Result<Vec<Point>, String> {
    let coordinate = number(0.0..=f64::from(SIDE_PX_MAX));
    let point = |value: &DeValue<'_>| {
        let [x, y] = value.as_array()?.iter().as_slice() else { return None };
        Some(Point::new(coordinate(x.get_ref()).ok()?, coordinate(y.get_ref()).ok()?))
    };
    let list = value.as_array().filter(|list| (3..=POLYGON_POINTS_MAX).contains(&list.len()));
    let all = list.and_then(|list| list.iter().map(|value| point(value.get_ref())).collect::<Option<Vec<_>>>());
    all.ok_or_else(|| format!("3 to {POLYGON_POINTS_MAX} points, each two numbers from 0 to {SIDE_PX_MAX}: [[0, 0], [100, 0], [0, 50]]"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::reader::Document;
    use super::super::station::StationConfig;
    use crate::config::ConfigErrors;
    use proptest::prelude::*;
    use proptest::sample::Index;

    /// Two recipes with every key; the frozen fixture of version 1.
    const RECIPES: &str = include_str!("../../tests/fixtures/config/station-1-recipes.toml");

    fn read(bytes: Vec<u8>) -> Result<StationConfig, ConfigErrors> {
        let document = Document::new(Path::new("/line/station.toml"), bytes)?;
        StationConfig::from_document(&document, &|_, _| Ok(()))
    }

    /// Expects the recipes with an edit to be refused with exactly these errors.
    #[track_caller]
    fn refused(from: &str, to: &str, expected: &[&str]) {
        assert!(RECIPES.contains(from), "{from}");
        let errors = read(RECIPES.replacen(from, to, 1).into()).unwrap_err();
        let told: Vec<&str> = errors.lines().iter().filter_map(|line| Some(line.split_once(": ")?.1)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_no_polygon_is_refused() {
        let seal = "failed to read inspection \"seal\":";
        let points = "3 to 256 points, each two numbers from 0 to 65535: [[0, 0], [100, 0], [0, 50]]";
        for wrong in [
            "polygon = [[1, 1], [9, 1]]",
            "polygon = [[1, 1], [9, 1], [9, -1]]",
            "polygon = [[1, 1], [9, 1], [9]]",
        ] {
            let whole = "polygon = [[120, 80], [900.5, 80], [980, 400], [120, 640]]";
            refused(whole, wrong, &[&format!("{seal} polygon is a list; give {points}")]);
        }
        let crossing =
            "its edges from point 1 and from point 3 meet; give the points in the order of the outline, which never meets itself";
        refused(
            "[[120, 80], [900.5, 80], [980, 400], [120, 640]]",
            "[[120, 80], [900, 400], [900, 80], [120, 400]]",
            &[&format!("{seal} polygon is none: {crossing}")],
        );
        refused(
            "[[500, 200], [520, 200], [520, 220]]",
            "[[500, 200], [520, 200], [520, 200]]",
            &[&format!(
                "{seal} polygon 2 of exclude is none: point 3 is the same as the one before it; remove one"
            )],
        );
        refused(
            "threshold = 0.5",
            "region = { x = 0, y = 0, width = 9, height = 9 }",
            &[&format!("{seal} it has both a region and a polygon; keep one")],
        );
        refused(
            "polygon = [[120, 80], [200, 80], [120, 160]]",
            "",
            &["failed to read zone \"corner\": polygon is missing; give one, or a region"],
        );
    }

    #[test]
    fn a_recipe_has_its_own_number_and_a_criterion_what_it_needs() {
        refused(
            "number = 8",
            "number = 7",
            &["failed to read recipe 2: number 7 is that of recipe 1 already, and the PLC asks by number; give each its own"],
        );
        refused(
            "class = \"*\"",
            "count_min = 0",
            &[
                "failed to read criterion 2: class is missing; give 1 to 64 printable characters",
                "failed to read criterion 2: count_min is 0; give a whole number from 1 to 4294967295",
            ],
        );
        refused(
            "mm_per_px = 0.05",
            "",
            &[
                "failed to read inspection \"seal\": criterion 1 asks for millimetres, but camera \"top\" has no scale; give it mm_per_px or a calibration",
            ],
        );
        refused(
            "camera = \"side\"",
            "camera = \"top\"",
            &["failed to read camera \"side\": no inspection looks through it; add one, or remove the camera"],
        );
        refused(
            "camera = \"side\"",
            "camera = \"side\"\nlocator = \"hole\"",
            &["failed to read inspection \"seal\": locator is \"hole\"; give the name of a locator, and add its table"],
        );
    }

    #[test]
    fn a_device_is_known_to_show_so_much() {
        let device = "device = \"/dev/video0\"\nformat = \"RGB\"\nwidth = 640\nheight = 480";
        refused(
            "source = \"videotestsrc\"",
            device,
            &["failed to read inspection \"seal\": it lies outside of the 640x480 pixels of camera \"top\"; move it"],
        );
    }

    proptest! {
        #[test]
        fn no_damage_panics(damage in prop::collection::vec((any::<Index>(), any::<Index>(), any::<Index>()), 1..8)) {
            let mut bytes = RECIPES.as_bytes().to_vec();
            for (from, to, target) in damage {
                let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
                let piece: Vec<u8> = bytes.drain(from.min(to)..from.max(to)).take(200).collect();
                let target = target.index(bytes.len() + 1);
                bytes.splice(target..target, piece);
                if bytes.is_empty() {
                    break;
                }
            }
            let _ = read(bytes);
        }

        #[test]
        fn no_value_panics(line in 0_usize..90, value in r#"-?[0-9]{1,25}|-?[0-9]\.[0-9]e[0-9]{1,4}|inf|nan|"[^"\\]{0,9}"|\[(\[[0-9]{1,5},[0-9]{1,5}\],){0,5}\]|\{\}"#) {
            let lines: Vec<String> = RECIPES.lines().enumerate().map(|(number, text)| match text.split_once('=') {
                Some((key, _)) if number == line => format!("{key}={value}"),
                _ => text.to_owned(),
            }).collect();
            let _ = read(lines.join("\n").into());
        }
    }
}
