//! Parts that lie anywhere on the belt, by a real station: found, judged where they lie, and not decidable where there is none.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma};
use serde_json::{Value, json};
use takt::part::Verdict;
use takt::recipe::geometry::{Point, Polygon, Rect};
use takt::recipe::pose::Pose;

use crate::cell::{Cell, model};
use crate::parts::{self, Pixels, SCRATCH};
use crate::program::{run, takt};
use crate::station::Plc;

/// Sides of a picture of the belt, pixels.
const BELT: (u32, u32) = (340, 280);

/// Where the part lies in the reference: left, top; and its side.
const PLACE: (f64, f64) = (100.0, 70.0);
const SIDE: f64 = 128.0;

/// How a part moved, turned about its middle.
fn moved(dx_px: f64, dy_px: f64, degrees: f64) -> Pose {
    Pose {
        dx_px,
        dy_px,
        angle_rad: degrees.to_radians(),
        pivot: Point::new(PLACE.0 + SIDE / 2.0, PLACE.1 + SIDE / 2.0),
    }
}

/// A picture of the bright belt with a part on it that moved so: each pixel the mean of 3 x 3 places.
fn belt(part: Option<(u64, bool, Pose)>) -> GrayImage {
    let drawn = part.map(|(seed, scratched, pose)| (parts::part(seed, (128, 128), scratched, Pixels::Grey8).to_luma8(), pose));
    let level = |x: f64, y: f64| {
        let Some((part, pose)) = &drawn else { return 235.0 };
        let at = pose.to_reference(Point::new(x, y));
        let (column, row) = (at.x - PLACE.0, at.y - PLACE.1);
        if !(0.0..SIDE).contains(&column) || !(0.0..SIDE).contains(&row) {
            return 235.0;
        }
        f64::from(part.get_pixel(column as u32, row as u32).0[0])
    };
    GrayImage::from_fn(BELT.0, BELT.1, |column, row| {
        let places = (0..9).map(|place| (f64::from(place % 3), f64::from(place / 3)));
        let sum: f64 = places
            .map(|(right, down)| level(f64::from(column) + (right + 0.5) / 3.0, f64::from(row) + (down + 0.5) / 3.0))
            .sum();
        Luma([(sum / 9.0).round() as u8])
    })
}

/// What the belt brings, over and over: parts in place, moved, moved and scratched; none; and one further off than it is looked for.
fn pictures() -> [GrayImage; 5] {
    [
        belt(Some((100, false, moved(0.0, 0.0, 0.0)))),
        belt(Some((102, false, moved(23.4, -17.8, 8.0)))),
        belt(Some((200, true, scratched_at()))),
        belt(None),
        belt(Some((103, false, moved(115.0, 0.0, 0.0)))),
    ]
}

fn scratched_at() -> Pose {
    moved(-31.0, 22.0, -6.0)
}

/// A cell whose inspections, two of them, go with the part; two engines share what was found.
fn cell(kind: &str) -> Cell {
    let model = model().display();
    let inspection = |name: &str| {
        format!(
            "[[recipe.inspection]]\nname = \"{name}\"\ncamera = \"top\"\nmodel = \"{model}\"\ndefect_code = 7\nthreshold = 30\n\
             region = {{ x = 100, y = 70, width = 128, height = 128 }}\nlocator = \"plate\"\n"
        )
    };
    let plain = format!("[[recipe.inspection]]\nname = \"surface\"\ncamera = \"top\"\nmodel = \"{model}\"\ndefect_code = 7\n");
    let located = [inspection("surface"), inspection("surface-again")].concat();
    let engine = format!(
        "[[locator]]\nname = \"plate\"\nkind = \"{kind}\"\ncamera = \"top\"\nreference = \"reference.png\"\n\
         region = {{ x = 88, y = 58, width = 152, height = 152 }}\n\n[engine]\nworkers = 2"
    );
    let cell = Cell::new(&[(&plain, &located), ("[engine]", &engine)]);
    let images = cell.path().join("images");
    fs::remove_dir_all(&images).unwrap();
    fs::create_dir(&images).unwrap();
    for (number, picture) in pictures().iter().enumerate() {
        picture.save(images.join(format!("{number:03}.png"))).unwrap();
    }
    belt(Some((101, false, moved(0.0, 0.0, 0.0))))
        .save(cell.path().join("reference.png"))
        .unwrap();
    cell
}

fn parts_are_judged_where_they_lie(kind: &str) {
    let cell = cell(kind);
    run(takt("validate").arg("--config").arg(cell.config())).done();
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    let verdicts: Vec<(bool, Option<Verdict>)> = (1..=5)
        .map(|cycle_id| {
            let image = plc.inspect(cycle_id);
            (image.accept, image.verdict)
        })
        .collect();
    let told: Vec<Value> = (1..=5)
        .map(|cycle_id| {
            let is_it = |line: &Value| line["event"] == "part" && line["cycle_id"] == cycle_id;
            running.wait(is_it).pop().unwrap()
        })
        .collect();
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    let lost = (false, Some(Verdict::NotDecidable));
    let expected = [
        (true, Some(Verdict::Ok)),
        (true, Some(Verdict::Ok)),
        (false, Some(Verdict::NotOk)),
        lost,
        lost,
    ];
    assert_eq!(verdicts, expected, "{told:#?}\n{log}");
    for part in &told[3..] {
        assert_eq!(part["reason"], "not_located", "{part:#}");
        for view in part["views"].as_array().unwrap() {
            assert_eq!(
                (&view["verdict"], &view["reason"]),
                (&json!("not_decidable"), &json!("not_located")),
                "{part:#}"
            );
        }
    }
    // The scratch is told where it lies in the frame, by both inspections alike.
    let views = told[2]["views"].as_array().unwrap();
    assert_eq!(views.len(), 2);
    assert_eq!(views[0]["findings"], views[1]["findings"]);
    let [left, top, right, bottom] = SCRATCH.map(|share| SIDE * share);
    let middle = scratched_at().to_frame(Point::new(PLACE.0 + left.midpoint(right), PLACE.1 + top.midpoint(bottom)));
    let finding = &views[0]["findings"][0];
    let number = |key: &str| finding[key].as_f64().unwrap();
    let found = Rect {
        left: number("x"),
        top: number("y"),
        right: number("x") + number("width"),
        bottom: number("y") + number("height"),
    };
    // The model sees so little detail that a scratch warms its whole map; so the finding is nearly the part, where that lies now.
    let plate = Rect {
        left: PLACE.0,
        top: PLACE.1,
        right: PLACE.0 + SIDE,
        bottom: PLACE.1 + SIDE,
    };
    let lies = scratched_at().moved(&Polygon::of_rect(plate)).bounds();
    let is_on_it =
        found.left > lies.left - 3.0 && found.top > lies.top - 3.0 && found.right < lies.right + 3.0 && found.bottom < lies.bottom + 3.0;
    assert!(
        found.contains(middle) && is_on_it,
        "{finding} is not on the part at {lies:?}, {middle:?}"
    );
}

#[test]
fn parts_that_moved_are_judged_where_edges_find_them() {
    parts_are_judged_where_they_lie("edges");
}

#[test]
fn parts_that_moved_are_judged_where_a_template_finds_them() {
    parts_are_judged_where_they_lie("template");
}

#[test]
fn references_that_cannot_be_used_are_refused_before_the_station_starts() {
    let refused = |spoil: &dyn Fn(&Path)| {
        let cell = cell("edges");
        spoil(cell.path());
        let outcome = run(takt("validate").arg("--config").arg(cell.config()));
        assert_eq!(outcome.code, Some(2), "{}", outcome.stdout);
        assert!(outcome.stderr.contains("station.toml: "), "{}", outcome.stderr);
        outcome.stderr
    };
    let changed = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |folder: &Path| {
            let file = folder.join("station.toml");
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.contains(&from), "{from}");
            fs::write(file, text.replace(&from, &to)).unwrap();
        }
    };
    let error = refused(&|folder| fs::remove_file(folder.join("reference.png")).unwrap());
    assert!(
        error.contains("locator \"plate\", key reference: ") && error.contains("reference.png"),
        "{error}"
    );
    let error = refused(&|folder| fs::write(folder.join("reference.png"), "no picture").unwrap());
    assert!(error.contains("locator \"plate\", key reference: "), "{error}");
    let error = refused(&|folder| belt(None).save(folder.join("reference.png")).unwrap());
    assert!(
        error.contains("locator \"plate\", key region: ") && error.contains("edge points"),
        "{error}"
    );
    let error = refused(&changed("x = 88, y = 58", "x = 288, y = 58"));
    assert!(error.contains("locator \"plate\", key region: "), "{error}");
    let error = refused(&changed("x = 100, y = 70", "x = 300, y = 70"));
    assert!(error.contains("inspection \"surface\", key region: "), "{error}");
    let error = refused(&|folder| belt_of_another_size().save(folder.join("images/000.png")).unwrap());
    assert!(
        error.contains("locator \"plate\", key reference: ") && error.contains("340x280") && error.contains("170x140"),
        "{error}"
    );
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/calibration_v1.toml");
    let error = refused(&changed(
        "folder = \"images\"",
        &format!("folder = \"images\"\ncalibration = \"{fixture}\""),
    ));
    assert!(
        error.contains("camera \"top\", key calibration: ") && error.contains("340x280"),
        "{error}"
    );
}

fn belt_of_another_size() -> GrayImage {
    image::imageops::thumbnail(&belt(None), BELT.0 / 2, BELT.1 / 2)
}
