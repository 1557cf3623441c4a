//! The way of a model through the command line: taught from good parts, used, measured.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::parts::{self, Pixels, SCRATCH};
use crate::program::{entries, inspect, run, takt, teach};

/// A folder with `good/` and a model taught from it at `model/`.
fn taught(arguments: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    parts::write(&folder.path().join("good"), 0, parts::GOOD, false);
    run(teach(&folder.path().join("good"), &folder.path().join("model")).args(arguments)).done();
    folder
}

/// Writes one part to `file`.
fn write_part(file: &Path, seed: u64, scratched: bool) {
    parts::part(seed, (128, 128), scratched, Pixels::Grey8).save(file).unwrap();
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Whether a finding and the scratch share pixels, in an image of `width` x `height`.
fn touches_the_scratch(finding: &Value, width: f64, height: f64) -> bool {
    let [left, top, right, bottom] = SCRATCH;
    let number = |key: &str| finding[key].as_f64().unwrap();
    let (x, y) = (number("x"), number("y"));
    x < right * width && x + number("width") > left * width && y < bottom * height && y + number("height") > top * height
}

#[test]
fn good_parts_become_a_package_with_manifest_model_and_golden_images() {
    let folder = taught(&[]);
    let model = folder.path().join("model");
    assert_eq!(entries(folder.path()), ["good", "model"]);
    assert_eq!(entries(&model), ["golden", "model.onnx", "model.toml", "teaching.json"]);
    assert!(entries(&model.join("golden")).len() >= 2);
    let manifest: toml::Value = toml::from_str(&fs::read_to_string(model.join("model.toml")).unwrap()).unwrap();
    assert_eq!(manifest["name"].as_str(), Some("model"));
    assert_eq!(manifest["provenance"]["images"].as_integer(), Some(12));
    let verdicts: Vec<&str> = manifest["golden"]["image"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["verdict"].as_str().unwrap())
        .collect();
    assert!(
        verdicts.contains(&"ok") && verdicts.contains(&"not_ok"),
        "the gate must see both verdicts, but has {verdicts:?}"
    );
}

#[test]
fn a_scratch_is_rejected_where_it_is_and_a_good_part_passes_whatever_the_method() {
    let ways: [&[&str]; 6] = [
        &["--method", "patchcore"],
        &["--method", "padim"],
        &["--method", "relative"],
        &["--tile", "64x64", "--overlap", "16"],
        &["--augment", "light,pose"],
        &["--augment", "light", "--method", "relative"],
    ];
    for arguments in ways {
        let method = arguments.join(" ");
        let folder = taught(arguments);
        let parts_folder = folder.path().join("parts");
        fs::create_dir(&parts_folder).unwrap();
        write_part(&parts_folder.join("good.png"), 300, false);
        write_part(&parts_folder.join("scratched.png"), 301, true);
        let outcome = run(&mut inspect(&folder.path().join("model"), &parts_folder)).done();
        let lines = outcome.json();
        let [good, scratched] = lines.as_slice() else {
            panic!("two lines expected: {outcome:#?}")
        };

        assert_eq!(
            (&good["verdict"], &good["reason"]),
            (&Value::from("ok"), &Value::Null),
            "{method}: {good}"
        );
        assert!(good["findings"].as_array().unwrap().is_empty(), "{method}: {good}");
        assert_eq!(
            (&scratched["verdict"], &scratched["reason"]),
            (&Value::from("not_ok"), &Value::from("anomaly")),
            "{method}: {scratched}"
        );
        assert!(scratched["score"].as_f64() > scratched["threshold"].as_f64());
        let worst = &scratched["findings"][0];
        assert!(touches_the_scratch(worst, 128.0, 128.0), "{method}: {scratched}");
    }
}

#[test]
fn inspect_prints_what_the_contract_promises() {
    let folder = tempfile::tempdir().unwrap();
    let (model, image) = (folder.path().join("model"), folder.path().join("scratched.png"));
    parts::write_package(&model);
    write_part(&image, 301, true);
    let line = &run(&mut inspect(&model, &image)).done().json()[0];
    assert_eq!(
        keys(line),
        ["findings", "image", "latency_us", "reason", "score", "threshold", "verdict"]
    );
    assert_eq!(
        keys(&line["findings"][0]),
        ["area_px", "class", "height", "length_px", "score", "width", "x", "y"]
    );
    assert_eq!(keys(&line["latency_us"]), ["decode", "infer", "postprocess", "preprocess"]);
    assert_eq!(line["image"].as_str(), image.to_str());
    assert!(line["latency_us"]["infer"].as_u64().unwrap() > 0);
}

#[test]
fn rejects_fail_the_run_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (model, good, scratched) = (
        folder.path().join("model"),
        folder.path().join("good.png"),
        folder.path().join("scratched.png"),
    );
    parts::write_package(&model);
    write_part(&good, 300, false);
    write_part(&scratched, 301, true);
    run(&mut inspect(&model, &scratched)).done();
    run(inspect(&model, &scratched).arg("--fail-on-reject")).exited(3);
    run(inspect(&model, &good).arg(&scratched).arg("--fail-on-reject")).exited(3);
    run(inspect(&model, &good).arg("--fail-on-reject")).done();
}

#[test]
fn an_unreadable_image_is_not_decidable_and_the_next_one_is_still_judged() {
    let folder = tempfile::tempdir().unwrap();
    let (model, broken, good) = (
        folder.path().join("model"),
        folder.path().join("broken.png"),
        folder.path().join("good.png"),
    );
    parts::write_package(&model);
    fs::write(&broken, "no picture").unwrap();
    write_part(&good, 300, false);
    let lines = run(inspect(&model, &broken).arg(&good).arg("--fail-on-reject")).exited(3).json();
    assert_eq!(
        (&lines[0]["verdict"], &lines[0]["reason"]),
        (&Value::from("not_decidable"), &Value::from("unreadable"))
    );
    assert!(lines[0]["error"].as_str().unwrap().contains("broken.png"));
    assert_eq!(lines[1]["verdict"], "ok");
}

#[test]
fn images_of_the_same_name_get_an_overlay_each() {
    let folder = tempfile::tempdir().unwrap();
    let (model, overlays) = (folder.path().join("model"), folder.path().join("overlays"));
    parts::write_package(&model);
    let [left, right] = ["left", "right"].map(|name| folder.path().join(name));
    parts::write(&left, 300, 1, false);
    parts::write(&right, 301, 1, true);
    run(inspect(&model, &left).arg(&right).arg("--overlay").arg(&overlays)).done();
    assert_eq!(entries(&overlays).len(), 2);
    for name in entries(&overlays) {
        let (width, height) = image::image_dimensions(overlays.join(&name)).unwrap();
        assert!(
            width > 2 * 384 && height > 384,
            "{name}: two panels of at least 384 px, not {width}x{height}"
        );
    }
}

#[test]
fn evaluate_prints_what_the_contract_promises() {
    let folder = tempfile::tempdir().unwrap();
    let (model, dataset) = (folder.path().join("model"), folder.path().join("dataset"));
    parts::write_package(&model);
    parts::write_dataset(&dataset);
    let outcome = run(takt("evaluate")
        .arg("--model")
        .arg(&model)
        .arg("--dataset")
        .arg(&dataset)
        .args(["--format", "json"]))
    .done();
    let [figures] = &outcome.json()[..] else {
        panic!("one object expected: {outcome:#?}")
    };
    let promised = [
        "images_good",
        "images_defect",
        "image_auroc",
        "pixel_auroc",
        "aupro",
        "threshold",
        "false_reject_rate",
        "escape_rate",
        "recall_at_false_reject_1pct",
        "latency_us_p50",
        "latency_us_p99",
        "peak_rss_mib",
        "per_class",
    ];
    let missing: Vec<&&str> = promised.iter().filter(|key| figures.get(key).is_none_or(Value::is_null)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in {figures}");
    assert_eq!(
        (&figures["images_good"], &figures["images_defect"]),
        (&Value::from(4), &Value::from(4))
    );
    assert_eq!(
        (&figures["image_auroc"], &figures["escape_rate"]),
        (&Value::from(1.0), &Value::from(0.0)),
        "{figures}"
    );
    assert!(figures["pixel_auroc"].as_f64().unwrap() > 0.9, "{figures}");
    assert_eq!(figures["per_class"]["scratch"]["images"], 4);
}

#[test]
fn without_masks_there_are_no_pixel_figures() {
    let folder = tempfile::tempdir().unwrap();
    let (model, dataset) = (folder.path().join("model"), folder.path().join("dataset"));
    parts::write_package(&model);
    parts::write_dataset(&dataset);
    fs::remove_dir_all(dataset.join("ground_truth")).unwrap();
    let outcome = run(takt("evaluate")
        .arg("--model")
        .arg(&model)
        .arg("--dataset")
        .arg(&dataset)
        .args(["--format", "json"]))
    .done();
    let figures = &outcome.json()[0];
    assert_eq!((&figures["pixel_auroc"], &figures["aupro"]), (&Value::Null, &Value::Null));
    assert_eq!(figures["image_auroc"], 1.0);
}

#[test]
fn teach_tries_the_model_on_test_images_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("dataset");
    parts::write_dataset(&dataset);
    let outcome = run(teach(&dataset.join("train/good"), &folder.path().join("model"))
        .arg("--test")
        .arg(&dataset)
        .args(["--format", "json"]))
    .done();
    let [lesson, figures] = &outcome.json()[..] else {
        panic!("two objects expected: {outcome:#?}")
    };
    assert_eq!(lesson["images"], 12);
    assert_eq!(figures["image_auroc"], 1.0);
}

#[test]
fn the_same_seed_gives_the_same_model_to_the_byte_and_another_seed_another() {
    for method in ["patchcore", "padim"] {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("good");
        parts::write(&good, 0, parts::GOOD, false);
        let model = |name: &str, seed: &str| {
            let out = folder.path().join(name);
            run(teach(&good, &out).args(["--method", method, "--seed", seed, "--bank", "64"])).done();
            fs::read(out.join("model.onnx")).unwrap()
        };
        let first = model("first", "7");
        // Not assert_eq!, which would print megabytes.
        assert!(first == model("second", "7"), "{method}: two models of one seed differ");
        assert!(first != model("third", "8"), "{method}: two seeds give the same model");
    }
}

#[test]
fn the_number_of_cores_does_not_change_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    parts::write(&good, 0, parts::GOOD, false);
    let model = |cores: &str| {
        let out = folder.path().join(cores);
        run(teach(&good, &out).args(["--bank", "64"]).env("RAYON_NUM_THREADS", cores)).done();
        fs::read(out.join("model.onnx")).unwrap()
    };
    assert!(model("1") == model("5"), "the model depends on the number of cores");
}

#[test]
fn any_mix_of_grey_colour_depth_size_and_file_format_can_be_taught_and_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let (good, model) = (folder.path().join("good"), folder.path().join("model"));
    fs::create_dir(&good).unwrap();
    let kinds = [
        (Pixels::Grey8, "png", (128, 128)),
        (Pixels::Grey16, "png", (160, 120)),
        (Pixels::Rgb8, "bmp", (128, 128)),
        (Pixels::Rgb8, "jpg", (128, 160)),
        (Pixels::Grey16, "tiff", (128, 128)),
        (Pixels::Grey8, "pgm", (200, 200)),
    ];
    for (seed, (pixels, ending, size)) in (0..18).zip(kinds.into_iter().cycle()) {
        parts::part(seed, size, false, pixels)
            .save(good.join(format!("{seed:02}.{ending}")))
            .unwrap();
    }
    let lesson = run(teach(&good, &model).args(["--format", "json"])).done();
    assert_eq!(lesson.json()[0]["images"], 18);

    for (pixels, ending, size) in kinds {
        let image = folder.path().join(format!("scratched.{ending}"));
        parts::part(400, size, true, pixels).save(&image).unwrap();
        let line = &run(&mut inspect(&model, &image)).done().json()[0];
        assert_eq!(line["verdict"], "not_ok", "{pixels:?} {ending} {size:?}: {line}");
        assert!(
            touches_the_scratch(&line["findings"][0], size.0.into(), size.1.into()),
            "{pixels:?} {ending} {size:?}: {line}"
        );
    }
}

#[test]
fn the_same_part_scores_the_same_in_8_and_16_bits_and_in_colour() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    parts::write_package(&model);
    let scores = [Pixels::Grey8, Pixels::Grey16, Pixels::Rgb8].map(|pixels| {
        let image = folder.path().join(format!("{pixels:?}.png"));
        parts::part(301, (128, 128), true, pixels).save(&image).unwrap();
        run(&mut inspect(&model, &image)).done().json()[0]["score"].as_f64().unwrap()
    });
    let [grey8, grey16, rgb8] = scores;
    assert!((grey8 - rgb8).abs() <= f64::EPSILON, "{scores:?}");
    // 16 bits are rounded to 8, where the drawn 8 bits were cut off: at most one step of brightness.
    assert!((grey8 - grey16).abs() <= 0.05 * grey8, "{scores:?}");
}

#[test]
fn too_few_images_for_the_rate_are_a_warning_and_under_strict_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    parts::write(&good, 0, parts::GOOD, false);
    let warning = "12 good images can vouch for at most 7.7 % false rejects, not 1.0 %";

    run(teach(&good, &folder.path().join("strict")).arg("--strict")).refused(&["--strict", warning, "give at least 99 images"]);
    assert_eq!(entries(folder.path()), ["good"]);

    let outcome = run(&mut teach(&good, &folder.path().join("model"))).done();
    assert!(outcome.stderr.contains(warning), "{outcome:#?}");
}

#[test]
fn strict_has_nothing_to_say_about_a_rate_that_the_images_support() {
    let folder = taught(&["--strict", "--false-reject-rate", "0.1"]);
    assert_eq!(entries(folder.path()), ["good", "model"]);
}

#[test]
fn a_package_is_replaced_only_where_that_is_asked_for() {
    let folder = taught(&[]);
    let (good, model) = (folder.path().join("good"), folder.path().join("model"));
    let before = fs::read_to_string(model.join("model.toml")).unwrap();

    run(&mut teach(&good, &model)).refused(&[model.to_str().unwrap(), "exists already", "--overwrite"]);
    assert_eq!(fs::read_to_string(model.join("model.toml")).unwrap(), before);

    run(teach(&good, &model).args(["--overwrite", "--version", "2"])).done();
    assert!(
        fs::read_to_string(model.join("model.toml"))
            .unwrap()
            .contains("\nversion = \"2\"\n")
    );
    assert_eq!(entries(folder.path()), ["good", "model"]);
}

#[test]
fn a_folder_that_is_no_package_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (good, photos) = (folder.path().join("good"), folder.path().join("photos"));
    parts::write(&good, 0, parts::GOOD, false);
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("holiday.jpg"), "precious").unwrap();
    for arguments in [&[][..], &["--overwrite"]] {
        run(teach(&good, &photos).args(arguments)).refused(&[photos.to_str().unwrap(), "no model package", "another --out"]);
        assert_eq!(entries(&photos), ["holiday.jpg"]);
        assert_eq!(fs::read_to_string(photos.join("holiday.jpg")).unwrap(), "precious");
    }
}

#[test]
fn copies_of_an_image_are_taught_once_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    parts::write(&good, 0, parts::GOOD, false);
    fs::copy(good.join("003.png"), good.join("again.png")).unwrap();
    let outcome = run(teach(&good, &folder.path().join("model")).args(["--format", "json"])).done();
    assert_eq!(outcome.json()[0]["images"], 12);
    assert!(outcome.stderr.contains("again.png (of 003.png)"), "{outcome:#?}");
}

#[test]
fn a_package_of_tiles_says_how_pictures_are_cut_and_is_proven_over_seams() {
    let folder = taught(&["--tile", "64x64", "--overlap", "16"]);
    let model = folder.path().join("model");
    let manifest: toml::Value = toml::from_str(&fs::read_to_string(model.join("model.toml")).unwrap()).unwrap();
    let tiles = &manifest["input"]["tiles"];
    let number = |key: &str| tiles[key].as_integer();
    assert_eq!(
        (number("width"), number("height"), number("overlap_px")),
        (Some(64), Some(64), Some(16))
    );
    for image in manifest["golden"]["image"].as_array().unwrap() {
        let size = image::image_dimensions(model.join(image["file"].as_str().unwrap())).unwrap();
        assert_eq!(size, (112, 112), "a golden image has two tiles in a row, overlapping by 16");
    }
}

#[test]
fn tiles_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    parts::write(&folder.path().join("good"), 0, parts::GOOD, false);
    let refused = |arguments: &[&str], words: &[&str]| {
        run(teach(&folder.path().join("good"), &folder.path().join("model")).args(arguments)).refused(words);
    };
    refused(&["--tile", "64x64", "--overlap", "40"], &["failed to teach in tiles", "0 to 32"]);
    refused(&["--tile", "64x64", "--method", "padim"], &["failed to teach in tiles", "padim"]);
}

#[test]
fn known_defects_and_what_mistakes_cost_give_the_threshold() {
    let folder = tempfile::tempdir().unwrap();
    let (good, defects) = (folder.path().join("good"), folder.path().join("scrap"));
    parts::write(&good, 0, parts::GOOD, false);
    parts::write(&defects, 400, 4, true);
    let threshold = |escape: &str| {
        let model = folder.path().join(format!("model-{escape}"));
        let mut command = teach(&good, &model);
        command
            .arg("--defects")
            .arg(&defects)
            .args(["--cost-escape", escape, "--cost-false-reject", "1", "--format", "json"]);
        let taught = run(&mut command).done().json()[0].clone();
        let [low, high] = [0, 1].map(|end| taught["cost"]["threshold_interval"][end].as_f64().unwrap());
        let threshold = taught["threshold"].as_f64().unwrap();
        assert!(low <= threshold && threshold <= high, "{taught}");
        assert_eq!(taught["cost"]["escape_rate"].as_f64(), Some(0.0), "{taught}");
        threshold
    };
    assert!(threshold("1000") <= threshold("200"));
    let only_defects = run(teach(&good, &folder.path().join("model")).arg("--defects").arg(&defects));
    only_defects.refused(&["--cost-escape"]);
}

/// `takt teach --extend`.
fn extend(base: &Path, good: &Path, out: &Path) -> std::process::Command {
    let mut command = takt("teach");
    command.arg("--extend").arg(base).arg("--good").arg(good).arg("--out").arg(out);
    command
}

/// Scores of images, in the order of their names.
fn scores(model: &Path, images: &Path) -> Vec<f64> {
    let lines = run(&mut inspect(model, images)).done().json();
    lines.iter().map(|line| line["score"].as_f64().unwrap()).collect()
}

#[test]
fn parts_taught_in_two_steps_are_judged_as_if_all_had_been_taught_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // All of them, the first two thirds, and the rest.
    parts::write(&at("all"), 0, 24, false);
    parts::write(&at("first"), 0, 16, false);
    parts::write(&at("rest"), 16, 8, false);
    parts::write(&at("unseen"), 300, 6, false);
    parts::write(&at("scratched"), 400, 6, true);
    for method in ["patchcore", "padim", "relative"] {
        let [whole, base, extended] = ["whole", "base", "extended"].map(|name| at(&format!("{method}-{name}")));
        run(teach(&at("all"), &whole).args(["--method", method])).done();
        run(teach(&at("first"), &base).args(["--method", method, "--version", "7"])).done();
        let told = run(extend(&base, &at("rest"), &extended).args(["--format", "json"])).done().json();
        assert_eq!(
            (&told[0]["images"], &told[0]["version"]),
            (&Value::from(24), &Value::from("8")),
            "{method}"
        );

        let manifest = |model: &Path| toml::from_str::<toml::Value>(&fs::read_to_string(model.join("model.toml")).unwrap()).unwrap();
        let of_base = &manifest(&extended)["provenance"]["extended_from"];
        assert_eq!((of_base["version"].as_str(), of_base["images"].as_integer()), (Some("7"), Some(16)));
        let number = |model: &Path| manifest(model)["threshold"]["score"].as_float().unwrap();
        let near = |a: f64, b: f64, share: f64| (a - b).abs() <= share * a.abs().max(b.abs());
        // Most of the scores that the threshold rests on come from models of fewer parts, which find good ones less usual.
        assert!(
            near(number(&whole), number(&extended), 0.3),
            "{method}: {} {}",
            number(&whole),
            number(&extended)
        );
        assert_eq!(manifest(&extended)["threshold"]["good_images"].as_integer(), Some(24));
        // Gaussians are merged exactly; of patches others may be chosen, which cover the same; relative scores are in the units of the base.
        let share = match method {
            "padim" => 0.01,
            "relative" => 0.25,
            _ => 0.1,
        };
        for images in ["unseen", "scratched"] {
            for (at_once, in_steps) in scores(&whole, &at(images)).into_iter().zip(scores(&extended, &at(images))) {
                assert!(
                    near(at_once, in_steps, share),
                    "{method}, {images}: {at_once} at once, {in_steps} in steps"
                );
            }
        }
        let (worst_good, best_scratched) = (
            scores(&extended, &at("unseen")).into_iter().fold(0.0, f64::max),
            scores(&extended, &at("scratched")).into_iter().fold(f64::MAX, f64::min),
        );
        assert!(worst_good < best_scratched, "{method}: {worst_good} {best_scratched}");
    }
    // What was taught once is no new part, and an extended package can be extended.
    let base = at("patchcore-extended");
    run(&mut extend(&base, &at("first"), &at("again"))).refused(&["failed to extend", "were taught to it already", "new ones"]);
    parts::write(&at("one"), 800, 1, false);
    fs::copy(at("first").join("003.png"), at("one").join("known.png")).unwrap();
    let more = run(extend(&base, &at("one"), &at("more")).args(["--format", "json"])).done();
    assert_eq!(more.json()[0]["images"], 25);
    assert!(more.stderr.contains("taught before and were left out: known.png"), "{more:#?}");
}

#[test]
fn packages_that_cannot_be_extended_are_refused_with_the_remedy() {
    let folder = taught(&[]);
    let at = |name: &str| folder.path().join(name);
    let refused = |base: &str, arguments: &[&str], words: &[&str]| {
        run(extend(&at(base), &at("good"), &at("out")).args(arguments)).refused(words);
        assert!(!at("out").exists());
    };
    run(takt("model")
        .arg("quantise")
        .arg(at("model"))
        .arg("--good")
        .arg(at("good"))
        .arg("--out")
        .arg(at("bytes"))
        .args(["--tolerance", "0.9"]))
    .done();
    refused("bytes", &[], &["failed to extend", "computes with bytes", "quantise the new one"]);
    run(teach(&at("good"), &at("named")).args(["--version", "spring"])).done();
    refused("named", &[], &["\"spring\" is no whole number", "--version"]);
    refused("model", &["--method", "padim"], &["--method"]);
    refused("nowhere", &[], &["nowhere"]);
    // As an older takt wrote it.
    let mut package = takt::model::package::Package::open(&at("model")).unwrap();
    package.files.remove("teaching.json");
    takt::model::package::write(&at("older"), &package.manifest, &package.files, false).unwrap();
    refused(
        "older",
        &[],
        &["holds no teaching.json", "Teach it once more from all of its good pictures"],
    );
    package.files.insert("teaching.json".into(), b"{}".to_vec());
    takt::model::package::write(&at("broken"), &package.manifest, &package.files, false).unwrap();
    refused("broken", &[], &["its teaching.json is no record", "teach it once more"]);
}

#[test]
fn a_model_taught_from_varied_pictures_allows_for_another_light() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    parts::write(&at("good"), 0, parts::GOOD, false);
    parts::write(&at("unseen"), 300, 6, false);
    fs::create_dir(at("dimmed")).unwrap();
    for name in entries(&at("unseen")) {
        let mut picture = image::open(at("unseen").join(&name)).unwrap().into_luma8();
        picture
            .pixels_mut()
            .for_each(|pixel| pixel.0[0] = (f32::from(pixel.0[0]) * 0.88) as u8);
        picture.save(at("dimmed").join(&name)).unwrap();
    }
    // How far dimmed parts are above the threshold, on average.
    let above = |name: &str, arguments: &[&str]| {
        run(teach(&at("good"), &at(name)).args(arguments)).done();
        let manifest: toml::Value = toml::from_str(&fs::read_to_string(at(name).join("model.toml")).unwrap()).unwrap();
        let threshold = manifest["threshold"]["score"].as_float().unwrap();
        let scores = scores(&at(name), &at("dimmed"));
        (scores.iter().sum::<f64>() / scores.len() as f64 / threshold, manifest)
    };
    let (plain, _) = above("plain", &[]);
    let (varied, manifest) = above("varied", &["--augment", "light"]);
    assert!(varied < plain, "{varied} instead of {plain}");
    assert_eq!(manifest["provenance"]["method"]["augment"][0].as_str(), Some("light"));
    assert_eq!(manifest["threshold"]["good_images"].as_integer(), Some(12));
}
