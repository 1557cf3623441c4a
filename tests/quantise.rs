//! Packages that compute with bytes: made by the command line, held against the model at full precision, refused where bytes are not near enough.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use takt::model::manifest::Precision;
use takt::model::package::{MODEL, Package};

use crate::parts;
use crate::program::{Outcome, entries, inspect, run, takt, teach_at};
use crate::skip::skip;

/// Good parts and a model of them, taught once for all tests. At 64 pixels a score hangs on few numbers; at 128 it is like that of a real model.
struct Lesson {
    folder: tempfile::TempDir,
}

static LESSON: LazyLock<Lesson> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    parts::write(&folder.path().join("good"), 0, parts::GOOD, false);
    run(&mut teach_at("128x128", &folder.path().join("good"), &folder.path().join("model"))).done();
    Lesson { folder }
});

impl Lesson {
    fn good(&self) -> PathBuf {
        self.folder.path().join("good")
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }
}

fn quantise(package: &Path, good: &Path, out: &Path) -> Command {
    let mut command = takt("model");
    command.arg("quantise").arg(package).arg("--good").arg(good).arg("--out").arg(out);
    command
}

/// Drawn parts are alike, so that good ones lie near those taught from, where the rounding of features counts for more than in pictures.
const TOLERANCE: [&str; 2] = ["--tolerance", "0.3"];

/// Scores and verdicts of images.
fn judged(model: &Path, images: &Path) -> Vec<(f64, String)> {
    let lines = run(&mut inspect(model, images)).done().json();
    let judged = lines
        .iter()
        .map(|line| (line["score"].as_f64().unwrap(), line["verdict"].as_str().unwrap().to_owned()));
    judged.collect()
}

#[test]
fn bytes_judge_as_full_precision_does_and_the_package_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bytes");
    let told = run(quantise(&LESSON.model(), &LESSON.good(), &out)
        .args(TOLERANCE)
        .args(["--format", "json"]))
    .done()
    .json();
    let [lowest, highest] = ["score_moved_min", "score_moved_max"].map(|key| told[0][key].as_f64().unwrap());
    assert!(told[0]["speed_ratio"].as_f64() > Some(0.0), "{told:?}");
    assert!(lowest <= highest && lowest.abs().max(highest.abs()) <= 0.3, "{told:?}");

    let (plain, bytes) = (Package::open(&LESSON.model()).unwrap(), Package::open(&out).unwrap());
    assert_eq!(
        (plain.manifest.precision(), bytes.manifest.precision()),
        (Precision::F32, Precision::Int8)
    );
    let quantisation = bytes.manifest.quantisation.clone().unwrap();
    assert_eq!((quantisation.images, quantisation.convolutions_plain), (12, 1));
    assert!(quantisation.convolutions > 20, "{quantisation:?}");
    // The weights are most of a model, and bytes are a quarter of them.
    assert!(3 * bytes.files[MODEL].len() < 2 * plain.files[MODEL].len());
    // What proves it is what the model gives at full precision.
    let scores = |package: &takt::model::manifest::Manifest| package.golden.images.iter().map(|image| image.score).collect::<Vec<_>>();
    assert_eq!(scores(&plain.manifest), scores(&bytes.manifest));

    let unseen = folder.path().join("unseen");
    parts::write(&unseen, 100, 4, false);
    let scratched = folder.path().join("scratched");
    parts::write(&scratched, 200, 4, true);
    for images in [unseen, scratched] {
        for ((plain, verdict), (bytes, same)) in judged(&LESSON.model(), &images).iter().zip(judged(&out, &images)) {
            assert!((plain - bytes).abs() < 0.3 * plain, "{bytes} instead of {plain}");
            assert_eq!(*verdict, same);
        }
    }
    run(takt("model").arg("verify").arg(&out)).done();
    let shown = run(takt("model").arg("show").arg(&out)).done().stdout;
    assert!(shown.contains("int8 in 32 of 33 convolutions"), "{shown}");
}

#[test]
fn scores_that_move_too_far_are_told_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bytes");
    let refused: Outcome = run(quantise(&LESSON.model(), &LESSON.good(), &out).args(["--tolerance", "0.000001"]));
    refused.refused(&["computed with bytes", "instead of", "% where 0.0 % are allowed", "--tolerance"]);
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[test]
fn what_cannot_be_quantised_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (out, again, few) = (folder.path().join("bytes"), folder.path().join("again"), folder.path().join("few"));
    parts::write(&few, 0, 3, false);
    run(&mut quantise(&LESSON.model(), &few, &out)).refused(&["holds 3 images", "at least 4"]);
    run(&mut quantise(&LESSON.model(), &folder.path().join("nowhere"), &out)).refused(&["nowhere", "good images"]);
    // The other spelling is the same command.
    let mut command = takt("model");
    command
        .arg("quantize")
        .arg(LESSON.model())
        .arg("--good")
        .arg(LESSON.good())
        .arg("--out")
        .arg(&out);
    run(command.args(TOLERANCE)).done();
    run(&mut quantise(&out, &LESSON.good(), &again)).refused(&["computes with bytes already", "the model that it was made of"]);
    run(&mut quantise(&LESSON.model(), &LESSON.good(), &out)).refused(&["exists already", "--overwrite"]);
    assert_eq!(entries(folder.path()), ["bytes", "few"]);
}

#[test]
fn a_detector_of_others_finds_the_same_boxes_with_bytes() {
    let test = "quantise::a_detector_of_others_finds_the_same_boxes_with_bytes";
    let source = crate::parity::data().join("detectors");
    if !source.is_dir() {
        return skip(test, &format!("{} is not there", source.display()));
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Ranges from the picture at several sizes; no part of it is in any of the places where boxes are looked for.
    std::fs::create_dir(at("good")).unwrap();
    std::fs::create_dir(at("golden")).unwrap();
    let picture = image::open(source.join("glyphs.png")).unwrap();
    for percent in [100, 90, 80, 70] {
        let (width, height) = (picture.width() * percent / 100, picture.height() * percent / 100);
        let scaled = picture.resize_exact(width, height, image::imageops::FilterType::Triangle);
        scaled.save(at("good").join(format!("{percent}.png"))).unwrap();
    }
    picture.save(at("golden").join("glyphs.png")).unwrap();
    let mut import = takt("model");
    import.arg("import").arg(source.join("ddddocr_1.6.1_common_det_yolox416.onnx"));
    import.arg("--golden").arg(at("golden")).arg("--out").arg(at("plain"));
    import.args([
        "--head",
        "yolox_raw",
        "--colour",
        "bgr",
        "--range",
        "bytes",
        "--fit",
        "letterbox_top_left",
    ]);
    import.args(["--filter", "point", "--threshold", "0.3", "--iou", "0.45", "--class", "glyph"]);
    run(&mut import).done();
    run(&mut quantise(&at("plain"), &at("good"), &at("bytes"))).done();
    let boxes = |model: &str| {
        let found = run(&mut inspect(&at(model), &at("golden"))).done().json();
        let findings = found[0]["findings"].as_array().unwrap().clone();
        findings
            .iter()
            .map(|finding| ["x", "y", "width", "height"].map(|key| finding[key].as_i64().unwrap()))
            .collect::<Vec<_>>()
    };
    let (mut plain, mut bytes) = (boxes("plain"), boxes("bytes"));
    plain.sort_unstable();
    bytes.sort_unstable();
    assert!(!plain.is_empty());
    assert_eq!(plain.len(), bytes.len());
    for (plain, bytes) in plain.iter().zip(&bytes) {
        let is_near = plain.iter().zip(bytes).all(|(a, b)| (a - b).abs() <= 4);
        assert!(is_near, "{bytes:?} instead of {plain:?}");
    }
}
