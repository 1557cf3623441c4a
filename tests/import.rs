//! Models that others trained: imported, proven, and run as their own programs run them; what their files do not say is asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::RgbImage;
use prost::Message;
use serde_json::Value;
use takt::model::onnx::{
    AttributeProto, FLOAT, GraphProto, INT64, ModelProto, NodeProto, OperatorSetId, StringStringEntry, TensorProto, ValueInfoProto,
};

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
        "--head yolox_raw or yolox_decoded",
        "--fit",
        "--class",
    ]);
}

/// What a graph computes, one line after the other.
fn node(op_type: &str, input: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.into()],
        name: output.into(),
        op_type: op_type.into(),
        attribute,
        ..NodeProto::default()
    }
}

/// A file with this graph, and a folder of golden images beside it: one red, one green, one blue.
fn written(folder: &Path, graph: GraphProto, metadata: &[(&str, &str)]) -> PathBuf {
    let model = ModelProto {
        ir_version: 8,
        producer_name: "a test".into(),
        opset_import: vec![OperatorSetId {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            name: "colours".into(),
            ..graph
        }),
        metadata_props: metadata
            .iter()
            .map(|(key, value)| StringStringEntry {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
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

fn image_input(element: i32) -> ValueInfoProto {
    ValueInfoProto::tensor("image", element, &[None, Some(3), Some(32), Some(32)])
}

/// A network that tells the colours of an image: the mean of each channel is the logit of its class.
fn colours(folder: &Path) -> PathBuf {
    let axes = vec![AttributeProto::ints("axes", &[2, 3]), AttributeProto::int("keepdims", 0)];
    let graph = GraphProto {
        node: vec![node("ReduceMean", &["image"], "logits", axes)],
        input: vec![image_input(FLOAT)],
        output: vec![ValueInfoProto::tensor("logits", FLOAT, &[None, Some(3)])],
        ..GraphProto::default()
    };
    written(folder, graph, &[])
}

pub(crate) const TOLD: [&str; 20] = [
    "--filter",
    "bilinear",
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
        (
            longer(&["--ok-class", "green", "--ok-class", "blue"]),
            &["no part could ever be rejected"],
        ),
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

/// `TensorProto.DataType.FLOAT16`.
const FLOAT16: i32 = 10;

#[test]
fn half_precision_is_given_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let axes = vec![AttributeProto::ints("axes", &[2, 3]), AttributeProto::int("keepdims", 0)];
    let graph = GraphProto {
        node: vec![
            node("Cast", &["image"], "wide", vec![AttributeProto::int("to", FLOAT.into())]),
            node("ReduceMean", &["wide"], "logits", axes),
        ],
        input: vec![image_input(FLOAT16)],
        output: vec![ValueInfoProto::tensor("logits", FLOAT, &[None, Some(3)])],
        ..GraphProto::default()
    };
    let file = written(folder.path(), graph, &[]);
    run(import(&file, &folder.path().join("golden"), &folder.path().join("model")).args(TOLD)).done();
    let found = run(&mut inspect(&folder.path().join("model"), &folder.path().join("golden")))
        .done()
        .json();
    let [high, low] = [250.0_f64 / 255.0, 5.0 / 255.0].map(f64::exp);
    let expected = (high + low) / (high + 2.0 * low);
    // 11 bits of precision in the input.
    assert!(
        (found[0]["score"].as_f64().unwrap() - expected).abs() < 1e-3,
        "{expected}: {}",
        found[0]
    );
}

#[test]
fn shares_that_are_none_are_not_taken_for_some() {
    let folder = tempfile::tempdir().unwrap();
    // The means of the channels sum up to about 1 only where one of them is bright.
    imported(folder.path(), &TOLD.map(|word| if word == "logits" { "shares" } else { word })).done();
    let dull = folder.path().join("dull");
    fs::create_dir(&dull).unwrap();
    RgbImage::from_pixel(48, 40, image::Rgb([20, 20, 20]))
        .save(dull.join("dull.png"))
        .unwrap();
    let found = run(&mut inspect(&folder.path().join("model"), &dull)).done().json();
    assert_eq!(
        (&found[0]["verdict"], &found[0]["reason"]),
        (&"not_decidable".into(), &"model_output".into())
    );
}

/// A network that tells the colour of each pixel: its channels, ten times as large, are the logits of the classes.
fn pixel_logits() -> GraphProto {
    GraphProto {
        node: vec![node("Mul", &["image", "ten"], "pixels", Vec::new())],
        initializer: vec![TensorProto::floats("ten", &[1], &[10.0])],
        input: vec![image_input(FLOAT)],
        output: vec![ValueInfoProto::tensor("pixels", FLOAT, &[None, Some(3), Some(32), Some(32)])],
        ..GraphProto::default()
    }
}

/// The same, as the number of the class; in maps of half the size.
fn pixel_labels() -> GraphProto {
    let axis = vec![AttributeProto::int("axis", 1), AttributeProto::int("keepdims", 0)];
    let pool = vec![
        AttributeProto::ints("kernel_shape", &[2, 2]),
        AttributeProto::ints("strides", &[2, 2]),
    ];
    GraphProto {
        node: vec![
            node("AveragePool", &["image"], "small", pool),
            node("ArgMax", &["small"], "labels", axis),
        ],
        input: vec![image_input(FLOAT)],
        output: vec![ValueInfoProto::tensor("labels", INT64, &[None, Some(16), Some(16)])],
        ..GraphProto::default()
    }
}

/// A red picture with a green spot of 12 x 6 pixels at (24, 16).
fn spotted(folder: &Path) -> PathBuf {
    let spotted = folder.join("spotted");
    fs::create_dir_all(&spotted).unwrap();
    RgbImage::from_fn(96, 48, |x, y| {
        let is_spot = (24..36).contains(&x) && (16..22).contains(&y);
        image::Rgb(if is_spot { [5, 250, 5] } else { [250, 5, 5] })
    })
    .save(spotted.join("spot.png"))
    .unwrap();
    spotted
}

#[test]
fn pixels_of_defects_are_found_where_they_are() {
    let logits = ["--threshold", "0.5", "--scores", "logits"];
    let cases = [
        // A pixel of the map is 3 x 1.5 of the picture, then 3 x 3, then 6 x 3; one that shows more of the spot than of the rest is of the spot.
        ("stretch", pixel_logits(), &logits[..], [24, 16, 12, 7]),
        ("letterbox", pixel_logits(), &logits, [24, 15, 12, 6]),
        ("stretch", pixel_labels(), &[], [24, 15, 12, 6]),
    ];
    for (fit, graph, told, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path(), graph, &[]);
        let package = folder.path().join("model");
        let mut command = import(&file, &folder.path().join("golden"), &package);
        command.args([
            "--fit",
            fit,
            "--filter",
            "area",
            "--colour",
            "rgb",
            "--range",
            "unit",
            "--ok-class",
            "red",
        ]);
        run(command.args(["--class", "red", "--class", "green", "--class", "blue"]).args(told)).done();
        let found = run(&mut inspect(&package, &spotted(folder.path()))).done().json();
        let findings = found[0]["findings"].as_array().unwrap();
        assert_eq!(
            (&found[0]["verdict"], &found[0]["reason"]),
            (&"not_ok".into(), &"defect".into()),
            "{fit}"
        );
        assert_eq!((findings.len(), &findings[0]["class"]), (1, &"green".into()), "{fit} {findings:?}");
        let [left, top, right, bottom] = edges(&findings[0]);
        assert_eq!([left, top, right - left, bottom - top], expected, "{fit} {told:?}");
        run(&mut inspect(&package, &folder.path().join("golden/red.png"))).done();
    }
}

#[test]
fn what_is_not_known_of_pixels_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), pixel_logits(), &[]);
    let golden = folder.path().join("golden");
    run(&mut import(&file, &golden, &folder.path().join("model"))).refused(&[
        "--scores labels",
        "its 3 classes",
        "--threshold",
        "--fit",
        "--filter",
        "--colour",
        "--range",
    ]);
    let file = written(folder.path(), pixel_labels(), &[]);
    let asked = run(&mut import(&file, &golden, &folder.path().join("model")));
    assert!(
        !asked.stderr.contains("--threshold") && !asked.stderr.contains("--scores"),
        "{asked:#?}"
    );
}

/// A detector as RT-DETR is deployed: it takes the size of the picture as a second input, and gives one box at the middle half of it, scored by
/// its red.
fn deployed() -> GraphProto {
    let whole = |name: &str| vec![AttributeProto::int(name, 0)];
    let mean = vec![AttributeProto::ints("axes", &[2, 3]), AttributeProto::int("keepdims", 0)];
    let to_float = vec![AttributeProto::int("to", FLOAT.into())];
    GraphProto {
        node: vec![
            node("Cast", &["orig_target_sizes"], "sizes", to_float),
            node("Concat", &["sizes", "sizes"], "edges", vec![AttributeProto::int("axis", 1)]),
            node("Mul", &["edges", "middle"], "flat", Vec::new()),
            node("Unsqueeze", &["flat", "one"], "boxes", Vec::new()),
            node("ReduceMean", &["image"], "means", mean),
            node("Gather", &["means", "first"], "scores", vec![AttributeProto::int("axis", 1)]),
            node("Identity", &["none"], "labels", whole("unused")[1..].to_vec()),
        ],
        initializer: vec![
            TensorProto::floats("middle", &[1, 4], &[0.25, 0.25, 0.75, 0.75]),
            TensorProto::ints("one", &[1], &[1]),
            TensorProto::ints("first", &[1], &[0]),
            TensorProto::ints("none", &[1, 1], &[0]),
        ],
        input: vec![
            ValueInfoProto::tensor("image", FLOAT, &[Some(1), Some(3), Some(32), Some(64)]),
            ValueInfoProto::tensor("orig_target_sizes", INT64, &[Some(1), Some(2)]),
        ],
        output: vec![
            ValueInfoProto::tensor("labels", INT64, &[Some(1), Some(1)]),
            ValueInfoProto::tensor("boxes", FLOAT, &[Some(1), Some(1), Some(4)]),
            ValueInfoProto::tensor("scores", FLOAT, &[Some(1), Some(1)]),
        ],
        ..GraphProto::default()
    }
}

#[test]
fn the_size_that_a_deployed_detector_asks_for_is_written_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), deployed(), &[]);
    let package = folder.path().join("model");
    let mut command = import(&file, &folder.path().join("golden"), &package);
    command.args(["--fit", "stretch", "--filter", "area", "--colour", "rgb", "--range", "unit"]);
    run(command.args(["--class", "red", "--threshold", "0.5"])).done();
    let found = run(&mut inspect(&package, &folder.path().join("golden"))).done().json();
    let verdicts: Vec<&Value> = found.iter().map(|line| &line["verdict"]).collect();
    assert_eq!(verdicts, ["ok", "ok", "not_ok"]);
    assert_eq!(edges(&found[2]["findings"][0]), [12, 10, 36, 30]);
}

#[test]
fn what_ultralytics_writes_into_its_exports_need_not_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let said = |task| {
        [
            ("author", "Ultralytics"),
            ("license", "AGPL-3.0 License (https://ultralytics.com/license)"),
            ("task", task),
            ("imgsz", "[32, 32]"),
            ("names", "{0: 'red', 1: \"worker's green\", 2: 'blue'}"),
        ]
    };
    let axes = vec![AttributeProto::ints("axes", &[2, 3]), AttributeProto::int("keepdims", 0)];
    let graph = |task| {
        let graph = GraphProto {
            node: vec![node("ReduceMean", &["image"], "output0", axes.clone())],
            input: vec![image_input(FLOAT)],
            output: vec![ValueInfoProto::tensor("output0", FLOAT, &[None, Some(3)])],
            ..GraphProto::default()
        };
        written(folder.path(), graph, &said(task))
    };
    let (golden, package) = (folder.path().join("golden"), folder.path().join("model"));
    run(&mut import(&graph("pose"), &golden, &package)).refused(&["\"pose\"", "detect, segment and classify"]);
    let file = graph("classify");
    let asked = run(&mut import(&file, &golden, &package));
    for known in ["--class", "--colour", "--range", "--scores"] {
        assert!(!asked.stderr.contains(&format!("{known} ")), "{known}: {asked:#?}");
    }
    let mut command = import(&file, &golden, &package);
    let imported = run(command.args([
        "--fit",
        "stretch",
        "--filter",
        "bilinear",
        "--ok-class",
        "red",
        "--threshold",
        "0.5",
    ]))
    .done();
    assert!(imported.stderr.contains("AGPL"), "{imported:#?}");
    let found = run(&mut inspect(&package, &golden)).done().json();
    assert_eq!(found[1]["findings"][0]["class"], "worker's green");
}
