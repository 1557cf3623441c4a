//! Models that others trained: imported, proven, and run as their own programs run them; what their files do not say is asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::RgbImage;
use prost::Message;
use serde_json::Value;
use takt::model::onnx::{AttributeProto, FLOAT, GraphProto, ModelProto, NodeProto, OperatorSetId, ValueInfoProto};

use crate::parity::data;
use crate::program::{Outcome, inspect, run, takt};
use crate::skip::skip;

pub(crate) fn import(file: &Path, golden: &Path, out: &Path) -> Command {
    let mut command = takt("model");
    command.arg("import").arg(file).arg("--golden").arg(golden).arg("--out").arg(out);
    command
}

/// Scores and labels of anomalib's own inference, made by anomalib itself: `expected.json` beside the images.
fn as_anomalib_judges(set: &str) {
    let source = data().join("anomalib").join(set);
    if !source.is_dir() {
        return skip("import::as_anomalib_judges", &format!("{} is not there", source.display()));
    }
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("model");
    let imported = run(import(&source.join("model.onnx"), &source.join("images"), &package).args(["--licence", "Apache-2.0"])).done();
    assert!(imported.stderr.contains("2 images at once"), "{imported:#?}");
    let expected: Vec<Value> = serde_json::from_slice(&fs::read(source.join("expected.json")).unwrap()).unwrap();
    let found = run(&mut inspect(&package, &source.join("images"))).done().json();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        let name = expected["image"].as_str().unwrap();
        assert!(found["image"].as_str().unwrap().ends_with(name), "{found} is not of {name}");
        let off = found["score"].as_f64().unwrap() - expected["pred_score"].as_f64().unwrap();
        assert!(off.abs() < 1e-3, "{name} is off by {off}");
        assert_eq!(found["verdict"] == "not_ok", expected["pred_label"] == true, "{name}: {found}");
    }
}

#[test]
fn cookies_are_judged_as_anomalib_judges_them() {
    as_anomalib_judges("aws_cookie_patchcore");
}

#[test]
fn tiles_are_judged_as_anomalib_judges_them() {
    as_anomalib_judges("magnetic_tile_patchcore");
}

/// The words that import a detector; every class is a defect.
fn detector(set: &str, classes: &[String], told: &[&str]) -> Option<Vec<Value>> {
    let source = data().join("detectors");
    if !source.is_dir() {
        skip("import::detector", &format!("{} is not there", source.display()));
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let (golden, package) = (folder.path().join("golden"), folder.path().join("model"));
    fs::create_dir(&golden).unwrap();
    let (model, picture) = set.split_once(' ').unwrap();
    fs::copy(source.join(picture), golden.join(picture)).unwrap();
    let mut command = import(&source.join(model), &golden, &package);
    command.args(told).args(["--iou", "0.45"]);
    for class in classes {
        command.args(["--class", class]);
    }
    run(&mut command).done();
    let found = run(&mut inspect(&package, &golden)).done().json();
    Some(found[0]["findings"].as_array().unwrap().clone())
}

/// Left, top, right and bottom.
fn edges(finding: &Value) -> [i64; 4] {
    let [x, y, width, height] = ["x", "y", "width", "height"].map(|key| finding[key].as_i64().unwrap());
    [x, y, x + width, y + height]
}

fn are_near(found: [i64; 4], expected: [i64; 4]) {
    assert!(
        found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1),
        "{found:?} is not {expected:?}"
    );
}

#[test]
fn yolov8_boxes_are_those_of_its_own_program() {
    let classes: Vec<String> = (0..18).map(|class| format!("class {class}")).collect();
    let told = [
        "--head",
        "yolo_v8",
        "--size",
        "320x320",
        "--colour",
        "bgr",
        "--range",
        "unit",
        "--fit",
        "letterbox_top_left",
        "--fill",
        "0",
    ];
    let more = [
        "--filter",
        "point",
        "--threshold",
        "0.2",
        "--scope",
        "all_classes",
        "--licence",
        "AGPL-3.0-only",
    ];
    let set = "nudenet_3.4.2_320n_yolov8.onnx astronaut.png";
    let Some(found) = detector(set, &classes, &[told.as_slice(), more.as_slice()].concat()) else {
        return;
    };
    let expected: Vec<Value> =
        serde_json::from_slice(&fs::read(data().join("detectors/astronaut_nudenet_expected.json")).unwrap()).unwrap();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    // Its second class is the face that the reference found.
    assert_eq!(found[0]["class"], "class 1");
    let off = found[0]["score"].as_f64().unwrap() - expected[0]["score"].as_f64().unwrap();
    assert!(off.abs() < 1e-3, "the score is off by {off}");
    let [x, y, width, height] = [0, 1, 2, 3].map(|index| expected[0]["box"][index].as_i64().unwrap());
    are_near(edges(&found[0]), [x, y, x + width, y + height]);
}

#[test]
fn yolox_boxes_are_those_of_its_own_program() {
    let told = [
        "--head",
        "yolox_raw",
        "--colour",
        "bgr",
        "--range",
        "bytes",
        "--fit",
        "letterbox_top_left",
        "--filter",
        "point",
        "--threshold",
        "0.5",
    ];
    let set = "ddddocr_1.6.1_common_det_yolox416.onnx glyphs.png";
    let Some(found) = detector(set, &["glyph".into()], &told) else {
        return;
    };
    let expected: Value = serde_json::from_slice(&fs::read(data().join("detectors/glyphs_ddddocr_expected.json")).unwrap()).unwrap();
    let expected = expected["reference"].as_array().unwrap();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        are_near(edges(found), [0, 1, 2, 3].map(|index| expected[index].as_i64().unwrap()));
    }
}

#[test]
fn where_several_heads_fit_it_is_asked_which() {
    let file = data().join("detectors/ddddocr_1.6.1_common_det_yolox416.onnx");
    if !file.is_file() {
        return skip(
            "import::where_several_heads_fit_it_is_asked_which",
            &format!("{} is not there", file.display()),
        );
    }
    let folder = tempfile::tempdir().unwrap();
    run(&mut import(&file, folder.path(), &folder.path().join("model"))).refused(&[
        "--head yolo_v5 or yolox_raw or yolox_decoded",
        "--fit",
        "--class",
    ]);
}

/// A network that tells the colours of an image: the mean of each channel is the logit of its class.
fn colours(folder: &Path) -> PathBuf {
    let node = NodeProto {
        input: vec!["image".into()],
        output: vec!["logits".into()],
        name: "mean".into(),
        op_type: "ReduceMean".into(),
        attribute: vec![AttributeProto::ints("axes", &[2, 3]), AttributeProto::int("keepdims", 0)],
        ..NodeProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        producer_name: "a test".into(),
        opset_import: vec![OperatorSetId {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            name: "colours".into(),
            node: vec![node],
            input: vec![ValueInfoProto::tensor("image", FLOAT, &[None, Some(3), Some(32), Some(32)])],
            output: vec![ValueInfoProto::tensor("logits", FLOAT, &[None, Some(3)])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let file = folder.join("colours.onnx");
    fs::write(&file, model.encode_to_vec()).unwrap();
    let golden = folder.join("golden");
    fs::create_dir_all(&golden).unwrap();
    for (name, colour) in [("red", [250, 5, 5]), ("green", [5, 250, 5]), ("blue", [5, 5, 250])] {
        RgbImage::from_pixel(48, 40, image::Rgb(colour))
            .save(golden.join(format!("{name}.png")))
            .unwrap();
    }
    file
}

pub(crate) const TOLD: [&str; 18] = [
    "--fit",
    "stretch",
    "--colour",
    "rgb",
    "--range",
    "unit",
    "--class",
    "red",
    "--class",
    "green",
    "--class",
    "blue",
    "--ok-class",
    "red",
    "--scores",
    "logits",
    "--threshold",
    "0.6",
];

pub(crate) fn imported(folder: &Path, told: &[&str]) -> Outcome {
    let file = colours(folder);
    run(import(&file, &folder.join("golden"), &folder.join("model")).args(told))
}

#[test]
fn what_a_file_does_not_say_is_asked_for_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    imported(folder.path(), &[]).refused(&[
        "--colour",
        "--range",
        "--class",
        "--ok-class",
        "--scores",
        "--threshold",
        "its 3 classes",
    ]);
    assert!(!folder.path().join("model").exists());
}

#[test]
fn a_classifier_names_the_defect() {
    let folder = tempfile::tempdir().unwrap();
    let said = imported(folder.path(), &TOLD).done();
    assert!(said.stderr.contains("--licence"), "{said:#?}");
    let found = run(&mut inspect(&folder.path().join("model"), &folder.path().join("golden")))
        .done()
        .json();
    // In the order of their names: blue, green, red.
    let verdicts: Vec<&Value> = found.iter().map(|line| &line["verdict"]).collect();
    assert_eq!(verdicts, ["not_ok", "not_ok", "ok"]);
    assert_eq!(
        (&found[0]["reason"], &found[0]["findings"][0]["class"]),
        (&"defect".into(), &"blue".into())
    );
    // The softmax of the means of the channels; what is not red is a defect.
    let [high, low] = [250.0_f64 / 255.0, 5.0 / 255.0].map(f64::exp);
    let expected = (high + low) / (high + 2.0 * low);
    assert!(
        (found[0]["score"].as_f64().unwrap() - expected).abs() < 1e-5,
        "{expected}: {}",
        found[0]
    );
    assert_eq!(found[0]["findings"][0]["width"], 48);
}

#[test]
fn the_order_of_colours_is_that_which_was_told() {
    let folder = tempfile::tempdir().unwrap();
    imported(folder.path(), &TOLD.map(|word| if word == "rgb" { "bgr" } else { word })).done();
    let found = run(&mut inspect(&folder.path().join("model"), &folder.path().join("golden")))
        .done()
        .json();
    assert_eq!((&found[0]["verdict"], &found[2]["verdict"]), (&"ok".into(), &"not_ok".into()));
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_left() {
    let told = |change: &[(&'static str, &'static str)]| {
        TOLD.map(|word| change.iter().find(|(from, _)| *from == word).map_or(word, |(_, to)| *to))
            .to_vec()
    };
    let longer = |more: &[&'static str]| [TOLD.to_vec(), more.to_vec()].concat();
    for (told, words) in [
        (longer(&["--class", "yellow"]), &["other than the 4 classes"][..]),
        (longer(&["--ok-class", "purple"]), &["--ok-class purple"]),
        (longer(&["--size", "64x64"]), &["has a width of 32", "leave --size out"]),
        (told(&[("0.6", "nan")]), &["finite"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        imported(folder.path(), &told).refused(words);
        assert!(!folder.path().join("model").exists(), "{told:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = colours(folder.path());
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    run(import(&file, &empty, &folder.path().join("model")).args(TOLD)).refused(&["holds none", "--golden"]);
    fs::write(&file, "no network").unwrap();
    run(import(&file, &folder.path().join("golden"), &folder.path().join("model")).args(TOLD)).refused(&["colours.onnx", "no ONNX model"]);
    assert!(!folder.path().join("model").exists());
}
