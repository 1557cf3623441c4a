//! How good a model is, of every kind: figures that can be worked out by hand, the page, and data sets that cannot be used.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use prost::Message;
use serde_json::{Value, json};
use takt::model::onnx::{AttributeProto, FLOAT, GraphProto, ModelProto, NodeProto, OperatorSetId, TensorProto, ValueInfoProto};

use crate::import;
use crate::parts;
use crate::program::{Outcome, inspect, run, takt};

const SIDE: u32 = 64;
const CELL: u32 = 16;
const CELLS: usize = 16;

/// Boxes of a head of this kind for 64 x 64 pixels: one for each cell of 8, 16 and 32 pixels. All but those of the grid score 0.
const BOXES: usize = 64 + 16 + 4;

/// A detector that finds what shines: of each cell of a grid of 4 x 4 a box whose scores are the means of the three channels, as a `YOLOv8` head.
///
/// With masks each box has the coefficient 1, and the one prototype is 1 everywhere: the mask of a box is all of it.
fn grid_detector(file: &Path, masks: bool) {
    let node = |op: &str, input: &[&str], output: &str, attribute: Vec<AttributeProto>| NodeProto {
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.into()],
        name: output.into(),
        op_type: op.into(),
        attribute,
        ..NodeProto::default()
    };
    let centre = |place: usize| (place as u32 * CELL + CELL / 2) as f32;
    let mut boxes: Vec<f32> = (0..CELLS).map(|cell| centre(cell % 4)).collect();
    boxes.extend((0..CELLS).map(|cell| centre(cell / 4)));
    boxes.extend([CELL as f32; 2 * CELLS]);
    let (coefficients, parts) = (usize::from(masks), ["boxes", "scores", "ones"]);
    let rows = 7 + coefficients;
    let mut output = vec![ValueInfoProto::tensor("output0", FLOAT, &[Some(1), Some(rows), Some(BOXES)])];
    if masks {
        output.push(ValueInfoProto::tensor("output1", FLOAT, &[Some(1), Some(1), Some(16), Some(16)]));
    }
    let model = ModelProto {
        ir_version: 8,
        producer_name: "a test".into(),
        opset_import: vec![OperatorSetId {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            name: "grid".into(),
            node: vec![
                node(
                    "AveragePool",
                    &["image"],
                    "cells",
                    vec![
                        AttributeProto::ints("kernel_shape", &[16, 16]),
                        AttributeProto::ints("strides", &[16, 16]),
                    ],
                ),
                node("Reshape", &["cells", "flat"], "scores", vec![]),
                node("Concat", &parts[..2 + coefficients], "grid", vec![AttributeProto::int("axis", 1)]),
                node("Concat", &["grid", "rest"], "output0", vec![AttributeProto::int("axis", 2)]),
                node("Identity", &["prototype"], "output1", vec![]),
            ],
            initializer: vec![
                TensorProto::floats("boxes", &[1, 4, CELLS], &boxes),
                TensorProto::ints("flat", &[3], &[1, 3, CELLS as i64]),
                TensorProto::floats("rest", &[1, rows, BOXES - CELLS], &vec![0.0; rows * (BOXES - CELLS)]),
                TensorProto::floats("ones", &[1, 1, CELLS], &[1.0; CELLS]),
                TensorProto::floats("prototype", &[1, 1, 16, 16], &[1.0; 256]),
            ],
            input: vec![ValueInfoProto::tensor(
                "image",
                FLOAT,
                &[Some(1), Some(3), Some(SIDE as usize), Some(SIDE as usize)],
            )],
            output,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    fs::write(file, model.encode_to_vec()).unwrap();
}

/// A picture in which some cells shine in some colour.
fn shining(file: &Path, cells: &[(u32, [u8; 3])]) {
    shining_on(file, (SIDE, SIDE), cells);
}

/// The same on a picture of this size, whose cells are counted row by row.
fn shining_on(file: &Path, (width, height): (u32, u32), cells: &[(u32, [u8; 3])]) {
    let mut image = RgbImage::new(width, height);
    let across = width / CELL;
    for (cell, colour) in cells {
        for (x, y) in (0..CELL).flat_map(|y| (0..CELL).map(move |x| (x, y))) {
            image.put_pixel(cell % across * CELL + x, cell / across * CELL + y, Rgb(*colour));
        }
    }
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    image.save(file).unwrap();
}

/// The detector as a package: red and green are defects, blue is none.
fn detector(folder: &Path) {
    let file = folder.join("grid.onnx");
    grid_detector(&file, false);
    shining(&folder.join("golden/one.png"), &[(5, [255, 0, 0])]);
    imported(folder, "model", "unit", &[]);
}

/// Imports `grid.onnx` of a folder as a package beside it.
fn imported(folder: &Path, package: &str, range: &str, more: &[&str]) {
    let file = folder.join("grid.onnx");
    let told = [
        "--head",
        "yolo_v8",
        "--colour",
        "rgb",
        "--range",
        range,
        "--fit",
        "stretch",
        "--filter",
        "bilinear",
        "--class",
        "red",
        "--class",
        "green",
        "--class",
        "blue",
        "--ok-class",
        "blue",
        "--threshold",
        "0.5",
        "--iou",
        "0.5",
        "--licence",
        "MIT",
    ];
    run(import::import(&file, &folder.join("golden"), &folder.join(package))
        .args(told)
        .args(more))
    .done();
}

/// Five pictures and their annotations, out of order: two that are found, one whose box is off, a false one, one that is missed, one that is no defect.
fn annotated(folder: &Path) {
    let red = |level: u8| [level, 0, 0];
    shining(&folder.join("images/found.png"), &[(0, red(204)), (5, red(179))]);
    shining(&folder.join("images/off.png"), &[(3, red(153))]);
    shining(&folder.join("images/false.png"), &[(9, red(255))]);
    shining(&folder.join("images/missed.png"), &[]);
    shining(&folder.join("images/harmless.png"), &[(6, [0, 0, 230])]);
    let image = |id: u32, name: &str| json!({ "id": id, "file_name": format!("{name}.png"), "width": 64, "height": 64 });
    let object = |image: u32, category: u32, bbox: [f64; 4]| json!({ "id": 1, "image_id": image, "category_id": category, "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0 });
    let file = json!({
        "images": [image(5, "harmless"), image(1, "found"), image(2, "off"), image(3, "false"), image(4, "missed")],
        "categories": [{ "id": 7, "name": "blue" }, { "id": 3, "name": "green" }, { "id": 1, "name": "red" }, { "id": 0, "name": "a project" }],
        "annotations": [
            object(1, 1, [0.0, 0.0, 16.0, 16.0]),
            object(1, 1, [16.0, 16.0, 16.0, 16.0]),
            // 10 of 16 columns: an overlap of 0.625.
            object(2, 1, [48.0, 0.0, 10.0, 16.0]),
            object(4, 3, [0.0, 0.0, 30.0, 30.0]),
            object(5, 7, [32.0, 16.0, 16.0, 16.0]),
        ],
    });
    fs::create_dir_all(folder.join("annotations")).unwrap();
    fs::write(folder.join("annotations/instances.json"), file.to_string()).unwrap();
}

fn evaluate(model: &Path, told: &[&str]) -> Outcome {
    run(takt("evaluate").arg("--model").arg(model).args(["--format", "json"]).args(told))
}

fn number(figures: &Value, key: &str) -> f64 {
    figures[key].as_f64().unwrap_or_else(|| panic!("{key} is missing in {figures}"))
}

#[track_caller]
fn assert_close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "got {got}, expected {expected}");
}

#[test]
fn a_detector_is_judged_by_objects_and_by_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (model, dataset, page) = (
        folder.path().join("model"),
        folder.path().join("data"),
        folder.path().join("page.html"),
    );
    detector(folder.path());
    annotated(&dataset);
    let told = ["--dataset", dataset.to_str().unwrap(), "--report", page.to_str().unwrap()];
    let outcome = evaluate(&model, &told).done();
    let figures = &outcome.json()[0];
    assert_eq!(figures["kind"], "detection");
    // Red: the false one comes first, then three right ones, of which the last overlaps its truth by 0.625 only: at three of ten thresholds the
    // best precision is 3/4 up to full recall, at seven 2/3 up to a recall of 2/3. Green is missed, blue is found.
    let red = (3.0 * 0.75 + 7.0 * 67.0 / 101.0 * 2.0 / 3.0) / 10.0;
    let red_50 = 0.75;
    assert_close(number(&figures["classes"]["red"], "ap_50_95"), red);
    assert_close(number(&figures["classes"]["green"], "ap_50_95"), 0.0);
    assert_close(number(&figures["classes"]["blue"], "ap_50_95"), 1.0);
    assert_close(number(figures, "map_50_95"), (red + 1.0) / 3.0);
    assert_close(number(figures, "map_50"), (red_50 + 1.0) / 3.0);
    assert_close(number(figures, "ar_100"), ((3.0 + 7.0 * 2.0 / 3.0) / 10.0 + 1.0) / 3.0);
    assert_eq!(figures["classes"]["red"]["objects"], 3);
    assert!(figures.get("map_large").is_none(), "there is no large object: {figures}");
    // By parts: the false one is rejected, the missed one passes.
    assert_eq!((&figures["images_good"], &figures["images_defect"]), (&json!(2), &json!(3)));
    assert_close(number(figures, "false_reject_rate"), 0.5);
    assert_close(number(figures, "escape_rate"), 1.0 / 3.0);
    assert_close(number(&figures["per_class"]["green"], "escape_rate"), 1.0);
    assert!(figures.get("accuracy").is_none() && figures["pixel_auroc"].is_null());

    let page = fs::read_to_string(page).unwrap();
    for words in [
        "Objects found",
        "Objects by size",
        "Objects by class",
        "mAP",
        "Escapes (1)",
        "False rejects (1)",
        "missed.png",
        "overlap kept",
    ] {
        assert!(page.contains(words), "{words} is not on the page");
    }
    assert!(page.contains(figures["dataset_sha256"].as_str().unwrap()));
}

/// Writes annotations of red objects on one image.
fn annotate(folder: &Path, name: &str, (width, height): (u32, u32), objects: &[(Value, [f64; 4])]) {
    let object = |(id, (outline, bbox)): (usize, &(Value, [f64; 4]))| json!({ "id": id, "image_id": 1, "category_id": 1, "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0, "segmentation": outline });
    let file = json!({
        "images": [{ "id": 1, "file_name": name, "width": width, "height": height }],
        "categories": [{ "id": 1, "name": "red" }],
        "annotations": objects.iter().enumerate().map(object).collect::<Vec<Value>>(),
    });
    fs::create_dir_all(folder.join("annotations")).unwrap();
    fs::write(folder.join("annotations/instances.json"), file.to_string()).unwrap();
}

#[test]
fn a_detector_in_tiles_counts_each_object_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    grid_detector(&folder.join("grid.onnx"), true);
    // Four tiles across and three down, each 32 px after the other: most cells lie in four of them.
    let size = (160, 128);
    let cells: Vec<(u32, [u8; 3])> = [0, 23, 34, 47, 79]
        .into_iter()
        .zip([250, 240, 230, 220, 210].map(|level| [level, 0, 0]))
        .collect();
    shining_on(&folder.join("golden/one.png"), size, &cells);
    imported(folder, "model", "unit", &["--tile", "64x64", "--overlap", "32"]);
    shining_on(&folder.join("images/one.png"), size, &cells);
    let place = |(cell, _): &(u32, [u8; 3])| [f64::from(cell % 10 * CELL), f64::from(cell / 10 * CELL), 16.0, 16.0];
    let outline = |[x, y, w, h]: [f64; 4]| json!([[x, y, x + w, y, x + w, y + h, x, y + h]]);
    let objects: Vec<(Value, [f64; 4])> = cells.iter().map(place).map(|bbox| (outline(bbox), bbox)).collect();
    annotate(folder, "one.png", size, &objects);

    let found = run(&mut inspect(&folder.join("model"), &folder.join("images"))).done().json();
    let findings = found[0]["findings"].as_array().unwrap();
    let edges = |finding: &Value| ["x", "y", "width", "height"].map(|key| finding[key].as_f64().unwrap());
    assert_eq!(
        findings.iter().map(edges).collect::<Vec<_>>(),
        objects.iter().map(|(_, bbox)| *bbox).collect::<Vec<_>>()
    );
    assert!(findings.iter().all(|finding| finding["area_px"] == 256), "{findings:?}");

    let figures = evaluate(&folder.join("model"), &["--dataset", folder.to_str().unwrap()])
        .done()
        .json()
        .remove(0);
    for key in ["map_50_95", "ar_100"] {
        assert_close(number(&figures, key), 1.0);
        assert_close(number(&figures["masks"], key), 1.0);
    }
}

#[test]
fn on_pictures_of_one_tile_a_detector_in_tiles_has_the_figures_of_one_without() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    detector(folder);
    imported(folder, "tiled", "unit", &["--tile", "64x64"]);
    annotated(folder);
    let figures = |package: &str| {
        let mut figures = evaluate(&folder.join(package), &["--dataset", folder.to_str().unwrap()])
            .done()
            .json()
            .remove(0);
        let all = figures.as_object_mut().unwrap();
        for measured in ["latency_us_p50", "latency_us_p99", "peak_rss_mib"] {
            assert!(all.remove(measured).is_some(), "{measured}");
        }
        figures
    };
    let tiled = figures("tiled");
    assert!(number(&tiled, "map_50") > 0.0);
    assert_eq!(tiled, figures("model"));
}

#[test]
fn masks_are_measured_against_outlines() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    grid_detector(&folder.join("grid.onnx"), true);
    shining(&folder.join("golden/one.png"), &[(5, [255, 0, 0])]);
    imported(folder, "model", "unit", &[]);
    shining(&folder.join("images/one.png"), &[(0, [204, 0, 0]), (5, [179, 0, 0])]);
    // The second is said to be a box of 16 columns, of which 10 belong to the object: as run lengths, column by column.
    let whole = json!([[0, 0, 16, 0, 16, 16, 0, 16]]);
    let mut runs = vec![16 * 64 + 16];
    (0..10).for_each(|_| runs.extend([16, 48]));
    *runs.last_mut().unwrap() = 64 * 64 - runs[..runs.len() - 1].iter().sum::<u64>();
    let part = json!({ "size": [64, 64], "counts": runs });
    let objects = [(whole, [0.0, 0.0, 16.0, 16.0]), (part, [16.0, 16.0, 16.0, 16.0])];
    annotate(folder, "one.png", (SIDE, SIDE), &objects);
    let page = folder.join("page.html");
    let told = ["--dataset", folder.to_str().unwrap(), "--report", page.to_str().unwrap()];
    let figures = evaluate(&folder.join("model"), &told).done().json().remove(0);
    assert_close(number(&figures, "map_50_95"), 1.0);
    // An overlap of 0.625: beyond 0.6 the second is wrong, and precision is 1 up to half of the recall, at 51 of 101 places.
    assert_close(number(&figures["masks"], "map_50"), 1.0);
    assert_close(number(&figures["masks"], "map_50_95"), (3.0 + 7.0 * 51.0 / 101.0) / 10.0);
    assert_close(
        number(&figures["classes"]["red"], "mask_ap_50_95"),
        number(&figures["masks"], "map_50_95"),
    );
    assert!(fs::read_to_string(&page).unwrap().contains("mAP of masks"));

    // Boxes alone are measured where an outline is missing; one that is none is told.
    let [first, (_, bbox)] = objects;
    annotate(folder, "one.png", (SIDE, SIDE), &[first.clone(), (Value::Null, bbox)]);
    let figures = evaluate(&folder.join("model"), &told).done().json().remove(0);
    assert_close(number(&figures, "map_50_95"), 1.0);
    assert!(figures.get("masks").is_none(), "{figures}");
    annotate(
        folder,
        "one.png",
        (SIDE, SIDE),
        &[first, (json!({ "size": [9, 9], "counts": [81] }), bbox)],
    );
    evaluate(&folder.join("model"), &told).refused(&["outline of object 1", "one.png", "64x64"]);
}

#[test]
fn answers_that_cannot_be_read_are_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    grid_detector(&folder.join("grid.onnx"), false);
    // Told to take bytes it says scores of up to 255: of a picture this dark they are none above 1.
    shining(&folder.join("golden/one.png"), &[(5, [1, 0, 0])]);
    imported(folder, "model", "bytes", &[]);
    annotated(folder);
    let dataset = ["--dataset", folder.to_str().unwrap()];
    let said = evaluate(&folder.join("model"), &dataset).done();
    let figures = said.json().remove(0);
    assert_eq!(figures["answers_unreadable"], 4, "{figures}");
    let table = run(takt("evaluate").arg("--model").arg(folder.join("model")).args(dataset)).done();
    assert!(table.stdout.contains("answers that cannot be read"), "{table:#?}");
}

#[test]
fn objects_are_found_below_the_threshold_too() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("data");
    detector(folder.path());
    annotated(&dataset);
    // Far below the threshold of 0.5: the part passes, the object counts.
    shining(&dataset.join("images/found.png"), &[(0, [20, 0, 0]), (5, [10, 0, 0])]);
    let outcome = evaluate(&folder.path().join("model"), &["--dataset", dataset.to_str().unwrap()]).done();
    let figures = &outcome.json()[0];
    let recall = number(&figures["classes"]["red"], "ar_100");
    assert_close(recall, (3.0 + 7.0 * 2.0 / 3.0) / 10.0);
    assert_close(number(figures, "escape_rate"), 2.0 / 3.0);
}

#[test]
fn a_detector_without_annotations_is_judged_by_parts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("data");
    detector(folder.path());
    shining(&dataset.join("test/good/a.png"), &[]);
    shining(&dataset.join("test/spot/a.png"), &[(3, [250, 0, 0])]);
    let outcome = evaluate(&folder.path().join("model"), &["--dataset", dataset.to_str().unwrap()]).done();
    let figures = &outcome.json()[0];
    assert_close(number(figures, "image_auroc"), 1.0);
    assert!(figures.get("map_50").is_none() && figures.get("classes").is_none());
}

#[test]
fn an_unreadable_picture_counts_as_rejected_and_its_objects_as_missed() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("data");
    detector(folder.path());
    annotated(&dataset);
    fs::write(dataset.join("images/harmless.png"), "no picture").unwrap();
    let outcome = evaluate(&folder.path().join("model"), &["--dataset", dataset.to_str().unwrap()]).done();
    let figures = &outcome.json()[0];
    assert_eq!(figures["images_unreadable"], 1);
    assert_close(number(&figures["classes"]["blue"], "ap_50_95"), 0.0);
    assert_close(number(figures, "false_reject_rate"), 1.0);
}

#[test]
fn annotations_that_cannot_be_used_are_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (model, dataset) = (folder.path().join("model"), folder.path().join("data"));
    detector(folder.path());
    annotated(&dataset);
    let file = dataset.join("annotations/instances.json");
    let good: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let told = ["--dataset", dataset.to_str().unwrap()];
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut annotations = good.clone();
        change(&mut annotations);
        fs::write(&file, annotations.to_string()).unwrap();
        evaluate(&model, &told)
    };
    changed(&|all| all["categories"][2]["name"] = "rust".into()).refused(&["\"rust\" (3 objects)", "red, green, blue", "rename"]);
    changed(&|all| all["annotations"][1]["image_id"] = 99.into()).refused(&["annotation 1", "image 99"]);
    changed(&|all| all["annotations"][1]["category_id"] = 99.into()).refused(&["annotation 1", "category 99"]);
    changed(&|all| all["annotations"][0]["bbox"] = json!([0, 0, -1, 2])).refused(&["annotation 0", "-1"]);
    changed(&|all| all["images"][0]["id"] = 1.into()).refused(&["two images have the id 1"]);
    changed(&|all| all["images"][1]["file_name"] = "gone.png".into()).refused(&["1 of the 5 images", "gone.png", "--images"]);
    changed(&|all| all["images"] = json!([])).refused(&["no images"]);
    fs::write(&file, "[1, 2").unwrap();
    evaluate(&model, &told).refused(&["instances.json", "COCO JSON"]);
    fs::write(dataset.join("annotations/other.json"), "{}").unwrap();
    evaluate(&model, &told).refused(&["instances.json", "other.json", "--annotations"]);
    // Named, with the folder of the images, they do.
    annotated(&dataset);
    let (file, images) = (file.to_str().unwrap(), dataset.join("images"));
    evaluate(&model, &["--annotations", file, "--images", images.to_str().unwrap()]).done();
    evaluate(&model, &["--annotations", file]).done();
}

#[test]
fn a_classifier_is_judged_class_by_class() {
    let folder = tempfile::tempdir().unwrap();
    import::imported(folder.path(), &import::TOLD).done();
    let (model, dataset, page) = (
        folder.path().join("model"),
        folder.path().join("data"),
        folder.path().join("page.html"),
    );
    let plain = |name: &str, colour: [u8; 3]| {
        let file = dataset.join("test").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        RgbImage::from_pixel(40, 40, Rgb(colour)).save(file).unwrap();
    };
    plain("red/0.png", [250, 0, 0]);
    plain("red/1.png", [240, 10, 0]);
    plain("green/0.png", [0, 250, 0]);
    // Green by its folder, blue by its looks.
    plain("green/1.png", [0, 100, 250]);
    plain("blue/0.png", [0, 0, 250]);
    let told = ["--dataset", dataset.to_str().unwrap(), "--report", page.to_str().unwrap()];
    let outcome = evaluate(&model, &told).done();
    let figures = &outcome.json()[0];
    assert_eq!(figures["kind"], "classification");
    assert_eq!(
        figures["confusion"],
        json!({ "classes": ["red", "green", "blue"], "counts": [[2, 0, 0], [0, 1, 1], [0, 0, 1]] })
    );
    assert_close(number(figures, "accuracy"), 0.8);
    assert_close(number(&figures["classes"]["green"], "recall"), 0.5);
    assert_close(number(&figures["classes"]["blue"], "precision"), 0.5);
    assert_close(number(&figures["classes"]["blue"], "f1"), 2.0 / 3.0);
    // Red is good: the others are defects by whatever class they are said to be.
    assert_eq!((&figures["images_good"], &figures["images_defect"]), (&json!(2), &json!(3)));
    assert_close(number(figures, "image_auroc"), 1.0);
    assert_eq!(figures["per_class"]["green"]["images"], 2);
    assert!(figures["per_class"].get("red").is_none());
    let page = fs::read_to_string(&page).unwrap();
    for words in ["Class by class", "Images by class", "Accuracy", "true class"] {
        assert!(page.contains(words), "{words} is not on the page");
    }

    plain("purple/0.png", [200, 0, 200]);
    evaluate(&model, &told).refused(&["\"purple\"", "red, green, blue", "rename"]);
}

#[test]
fn an_anomaly_model_says_what_its_data_were_and_how_precise_its_figures_are() {
    let folder = tempfile::tempdir().unwrap();
    let (model, dataset) = (folder.path().join("model"), folder.path().join("dataset"));
    parts::write_package(&model);
    parts::write_dataset(&dataset);
    let judged = || evaluate(&model, &["--dataset", dataset.to_str().unwrap()]).done().json().remove(0);
    let figures = judged();
    assert_eq!(figures["kind"], "anomaly");
    assert_close(number(&figures, "image_average_precision"), 1.0);
    assert!(figures.get("pixel_error_max").is_none(), "few pixels need no merging: {figures}");
    assert_eq!(judged()["dataset_sha256"], figures["dataset_sha256"]);
    fs::remove_file(
        dataset
            .join("ground_truth/scratch")
            .read_dir()
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path(),
    )
    .unwrap();
    assert_ne!(judged()["dataset_sha256"], figures["dataset_sha256"]);
}
