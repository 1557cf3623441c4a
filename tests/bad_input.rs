//! What cannot be used is refused: with an exit code, by name, with a remedy, without a panic, and with nothing half-written.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::{DynamicImage, RgbImage, RgbaImage};
use prost::Message;
use takt::model::manifest::{Manifest, sha256_hex};
use takt::model::onnx::{AttributeProto, FLOAT, GraphProto, ModelProto, NodeProto, OperatorSetId, ValueInfoProto};
use takt::vision::decode::read_image;
use tempfile::TempDir;

use crate::parts::{self, Pixels};
use crate::program::{entries, inspect, run, takt, teach, teach_at};
use crate::skip::skip;

/// An image that the tests cannot make themselves (`fixtures/images.py` did).
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name)
}

/// A folder with good parts in `good/`.
fn good_parts() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    parts::write(&folder.path().join("good"), 0, parts::GOOD, false);
    folder
}

/// Teaches from `good/` in `folder` and expects a message with all of `words`, and no model.
#[track_caller]
fn refused(folder: &TempDir, words: &[&str]) {
    let before = entries(folder.path());
    run(&mut teach(&folder.path().join("good"), &folder.path().join("model"))).refused(words);
    assert_eq!(entries(folder.path()), before);
}

/// Puts `bytes` as image `name` beside the good parts and expects teaching to refuse it by name, and inspection to find it unreadable.
#[track_caller]
fn unreadable(name: &str, bytes: &[u8], words: &[&str]) {
    let folder = good_parts();
    let image = folder.path().join("good").join(name);
    fs::write(&image, bytes).unwrap();
    refused(&folder, &[&[name], words].concat());

    let model = folder.path().join("model");
    parts::write_package(&model);
    let line = &run(inspect(&model, &image).arg("--fail-on-reject")).exited(3).json()[0];
    assert_eq!(
        (line["verdict"].as_str(), line["reason"].as_str()),
        (Some("not_decidable"), Some("unreadable")),
        "{line}"
    );
    assert!(words.iter().all(|word| line["error"].as_str().unwrap().contains(word)), "{line}");
}

/// An image file in memory.
fn encoded(image: &DynamicImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

// Folders

#[test]
fn a_missing_folder_is_named() {
    refused(&tempfile::tempdir().unwrap(), &["failed to read folder", "good", "No such file"]);
}

#[test]
fn an_empty_folder_is_named_with_the_formats_that_are_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("good")).unwrap();
    refused(&folder, &["failed to find images", "good", "png, ppm, tif"]);
}

#[test]
fn a_data_set_given_as_a_folder_of_good_parts_is_told_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    parts::write(&folder.path().join("good/train/good"), 0, 5, false);
    refused(&folder, &["failed to find images", "did you mean", "good/train/good?"]);
}

#[test]
fn defects_are_not_taken_for_good_parts() {
    let folder = tempfile::tempdir().unwrap();
    parts::write_dataset(folder.path());
    let crack = folder.path().join("test/scratch");
    let words = [crack.to_str().unwrap(), "seems to hold defects", "train/good"];
    run(&mut teach(&crack, &folder.path().join("model"))).refused(&words);
    assert_eq!(entries(folder.path()), ["ground_truth", "test", "train"]);
}

#[test]
fn one_image_is_too_few() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    parts::write(&good, 0, 1, false);
    refused(&folder, &["1 different image", good.to_str().unwrap(), "at least 5", "20 or more"]);
}

#[test]
fn copies_of_one_image_do_not_count_as_many() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    parts::write(&good, 0, 1, false);
    for copy in 1..10 {
        fs::copy(good.join("000.png"), good.join(format!("{copy:03}.png"))).unwrap();
    }
    refused(&folder, &["1 different image", "at least 5"]);
}

#[test]
fn a_size_that_the_backbone_cannot_take_is_misuse() {
    let folder = good_parts();
    for size in ["100x100", "32x32", "4096x4096"] {
        let outcome = run(&mut teach_at(size, &folder.path().join("good"), &folder.path().join("model")));
        outcome.refused(&[size, "multiples of 32 from 64 to 1024"]);
        assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    }
}

#[test]
fn a_false_reject_rate_that_is_no_share_is_misuse() {
    let folder = good_parts();
    for rate in ["0", "1", "1.5", "NaN"] {
        let outcome = run(teach(&folder.path().join("good"), &folder.path().join("model")).args(["--false-reject-rate", rate]));
        outcome.refused(&["false reject rate", "between 0 and 1"]);
        assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    }
    assert_eq!(entries(folder.path()), ["good"]);
}

// Images

#[test]
fn a_png_that_is_cut_off_is_refused() {
    let whole = encoded(&parts::part(0, (128, 128), false, Pixels::Grey8), image::ImageFormat::Png);
    unreadable("cut.png", &whole[..whole.len() / 2], &["failed to decode image", "save it again"]);
}

#[test]
fn a_jpeg_that_is_cut_off_is_refused() {
    let whole = encoded(&parts::part(0, (128, 128), false, Pixels::Rgb8), image::ImageFormat::Jpeg);
    unreadable("cut.jpg", &whole[..whole.len() / 2], &["failed to decode image", "save it again"]);
}

#[test]
fn a_file_that_is_no_image_is_refused() {
    unreadable("notes.png", b"remember the milk", &["failed to decode image", "save it again"]);
    unreadable("empty.png", b"", &["failed to decode image", "save it again"]);
}

#[test]
fn an_image_of_one_pixel_is_refused() {
    let pixel = encoded(&DynamicImage::new_rgb8(1, 1), image::ImageFormat::Png);
    unreadable("pixel.png", &pixel, &["1x1 px", "at least 16 px"]);
}

/// The header of a BMP of 24 bits per pixel, which is all of the file that is looked at before its size is refused.
fn bmp_header(width: i32, height: i32) -> Vec<u8> {
    let pixels = 54_u32.to_le_bytes();
    let file = [&b"BM"[..], &u32::MAX.to_le_bytes(), &[0; 4], &pixels];
    let size = [&40_u32.to_le_bytes()[..], &width.to_le_bytes(), &height.to_le_bytes()];
    let layout = [&1_u16.to_le_bytes()[..], &24_u16.to_le_bytes(), &[0; 24]];
    [file.concat(), size.concat(), layout.concat()].concat()
}

#[test]
fn an_image_of_400_megapixels_is_refused_before_memory_is_taken_for_it() {
    let folder = good_parts();
    fs::write(folder.path().join("good/huge.bmp"), bmp_header(20_000, 20_000)).unwrap();
    let mut teach = teach(&folder.path().join("good"), &folder.path().join("model"));
    // As RGB it would take 1.2 GB; the program gets 1 GiB of address space, stacks and libraries included.
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -v 1048576 && exec \"$@\"", "sh"])
        .arg(teach.get_program())
        .args(teach.get_args())
        .env("RAYON_NUM_THREADS", "2");
    for command in [&mut teach, &mut limited] {
        run(command).refused(&["huge.bmp", "20000x20000 px", "at most 128 megapixels"]);
    }
    assert_eq!(entries(folder.path()), ["good"]);
}

#[test]
fn the_alpha_channel_of_a_png_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    parts::write_package(&model);
    let opaque = parts::part(301, (128, 128), true, Pixels::Rgb8).into_rgb8();
    let clear = RgbaImage::from_fn(128, 128, |x, y| {
        let [red, green, blue] = opaque[(x, y)].0;
        image::Rgba([red, green, blue, (x * 2) as u8])
    });
    let score = |name: &str, image: DynamicImage| {
        let file = folder.path().join(name);
        image.save(&file).unwrap();
        run(&mut inspect(&model, &file)).done().json()[0]["score"].clone()
    };
    assert_eq!(score("clear.png", clear.into()), score("opaque.png", opaque.into()));
}

/// The pixels of an image file as takt sees them.
fn seen(file: &Path) -> RgbImage {
    let image = read_image(file).unwrap();
    RgbImage::from_raw(image.width, image.height, image.rgb).unwrap()
}

fn is_red(image: &RgbImage, x: u32, y: u32) -> bool {
    let [red, green, blue] = image[(x, y)].0;
    red > 200 && green < 60 && blue < 60
}

#[test]
fn a_cmyk_jpeg_is_read_in_its_colours() {
    let image = seen(&fixture("cmyk_red.jpg"));
    assert_eq!(image.dimensions(), (32, 32));
    assert!(is_red(&image, 16, 16), "{:?}", image[(16, 16)]);
}

#[test]
fn a_photo_taken_upright_is_turned_as_its_exif_data_says() {
    let image = seen(&fixture("orientation_6.jpg"));
    assert_eq!(image.dimensions(), (32, 48));
    let red = [(4, 4), (28, 4), (4, 44), (28, 44)].map(|(x, y)| is_red(&image, x, y));
    assert_eq!(
        red,
        [false, true, false, false],
        "the top left quarter as stored is the top right one as seen"
    );
}

// Backbones

/// A network with one input and one output, which averages over blocks of 8 x 8 pixels.
fn averaging(input: &str, output: &str) -> ModelProto {
    let node = NodeProto {
        input: vec![input.into()],
        output: vec![output.into()],
        name: "average".into(),
        op_type: "AveragePool".into(),
        attribute: vec![
            AttributeProto::ints("kernel_shape", &[8, 8]),
            AttributeProto::ints("strides", &[8, 8]),
        ],
        ..NodeProto::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetId {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            name: "averaging".into(),
            node: vec![node],
            input: vec![ValueInfoProto::tensor(input, FLOAT, &[None, Some(3), Some(64), Some(64)])],
            output: vec![ValueInfoProto::tensor(output, FLOAT, &[None, Some(3), Some(8), Some(8)])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

/// A backbone's manifest for an input "input" and an output "s8" of so many channels.
fn backbone_manifest(channels: usize) -> String {
    format!(
        "format_version = 1\nname = \"averaging\"\nlicence = \"CC0-1.0\"\nprovenance = \"a test\"\ninput = \"input\"\ncolour = \"rgb\"\n\
         mean = [127.0, 127.0, 127.0]\nstd = [128.0, 128.0, 128.0]\nsize_multiple = 8\n\
         [[feature]]\noutput = \"s8\"\nstride = 8\nchannels = {channels}\n"
    )
}

/// Teaches with a backbone of those bytes and manifest.
fn teach_with_backbone(folder: &TempDir, onnx: &[u8], manifest: &str) -> crate::program::Outcome {
    let file = folder.path().join("own.onnx");
    fs::write(&file, onnx).unwrap();
    fs::write(file.with_extension("toml"), manifest).unwrap();
    run(teach(&folder.path().join("good"), &folder.path().join("model"))
        .arg("--backbone")
        .arg(&file))
}

#[test]
fn a_backbone_of_ones_own_can_be_taught_with() {
    let folder = good_parts();
    teach_with_backbone(&folder, &averaging("input", "s8").encode_to_vec(), &backbone_manifest(3)).done();
    assert_eq!(entries(folder.path()), ["good", "model", "own.onnx", "own.toml"]);
}

#[test]
fn a_backbone_that_is_no_onnx_or_has_other_inputs_or_outputs_is_refused() {
    let cases = [
        (b"no network".to_vec(), 3, &["own.onnx", "no ONNX model"][..]),
        (Vec::new(), 3, &["own.onnx", "no ONNX model"]),
        (
            averaging("picture", "s8").encode_to_vec(),
            3,
            &["own.onnx", "its inputs are [\"picture\"]", "the manifest states \"input\""],
        ),
        (
            averaging("input", "s4").encode_to_vec(),
            3,
            &["own.onnx", "no output \"s8\"", "[\"s4\"]"],
        ),
        (
            averaging("input", "s8").encode_to_vec(),
            5,
            &["averaging", "\"s8\" has shape", "3, 8, 8]", "5, 8, 8]"],
        ),
    ];
    for (onnx, channels, words) in cases {
        let folder = good_parts();
        teach_with_backbone(&folder, &onnx, &backbone_manifest(channels)).refused(words);
        assert_eq!(entries(folder.path()), ["good", "own.onnx", "own.toml"]);
    }
}

#[test]
fn a_backbone_with_names_that_the_model_needs_is_refused() {
    let folder = good_parts();
    let manifest = backbone_manifest(3).replace("\"s8\"", "\"anomaly_map\"");
    teach_with_backbone(&folder, &averaging("input", "anomaly_map").encode_to_vec(), &manifest).refused(&["\"anomaly_map\"", "rename it"]);
}

#[test]
fn a_backbone_that_changed_since_its_manifest_was_written_is_refused() {
    let folder = good_parts();
    let manifest = backbone_manifest(3).replace("input = ", &format!("sha256 = \"{}\"\ninput = ", "0".repeat(64)));
    teach_with_backbone(&folder, &averaging("input", "s8").encode_to_vec(), &manifest).refused(&[
        "own.onnx",
        "SHA-256",
        "restore the file",
    ]);
}

#[test]
fn a_backbone_without_manifest_or_file_is_refused() {
    let folder = good_parts();
    let file = folder.path().join("own.onnx");
    let mut command = teach(&folder.path().join("good"), &folder.path().join("model"));
    command.arg("--backbone").arg(&file);
    run(&mut command).refused(&["own.onnx", "neither a file nor the built-in"]);
    fs::write(&file, averaging("input", "s8").encode_to_vec()).unwrap();
    run(&mut command).refused(&["own.toml", "with its manifest NAME.toml beside it"]);
    assert_eq!(entries(folder.path()), ["good", "own.onnx"]);
}

// Packages

/// A package and a part to judge with it.
fn package() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (model, image) = (folder.path().join("model"), folder.path().join("part.png"));
    parts::write_package(&model);
    parts::part(300, (128, 128), false, Pixels::Grey8).save(&image).unwrap();
    (folder, model, image)
}

/// All files of a package by their path inside it.
fn files(model: &Path) -> Vec<String> {
    let golden = entries(&model.join("golden")).into_iter().map(|name| format!("golden/{name}"));
    ["model.onnx", "model.toml"].map(str::to_owned).into_iter().chain(golden).collect()
}

#[test]
fn one_changed_bit_in_any_file_of_a_package_is_noticed() {
    let (_folder, model, image) = package();
    for name in files(&model) {
        let file = model.join(&name);
        let whole = fs::read(&file).unwrap();
        for position in [0, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[position] ^= 1;
            fs::write(&file, &changed).unwrap();
            run(&mut inspect(&model, &image)).refused(&["failed to open model package", &name, "restore"]);
        }
        fs::write(&file, &whole).unwrap();
    }
    run(&mut inspect(&model, &image)).done();
}

#[test]
fn a_file_cut_short_in_a_package_is_noticed() {
    let (_folder, model, image) = package();
    for name in files(&model) {
        let whole = fs::read(model.join(&name)).unwrap();
        fs::write(model.join(&name), &whole[..whole.len() / 2]).unwrap();
        run(&mut inspect(&model, &image)).refused(&["failed to open model package", &name, "restore"]);
        fs::write(model.join(&name), &whole).unwrap();
    }
}

#[test]
fn a_file_missing_from_a_package_is_named() {
    let (_folder, model, image) = package();
    for name in files(&model) {
        let away = model.with_file_name("away");
        fs::rename(model.join(&name), &away).unwrap();
        let remedy = if name == "model.toml" {
            "give the folder that `takt teach --out` wrote"
        } else {
            "restore the package"
        };
        run(&mut inspect(&model, &image)).refused(&[&name, remedy]);
        fs::rename(&away, model.join(&name)).unwrap();
    }
}

#[test]
fn a_folder_that_is_no_package_or_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for model in [folder.path().to_owned(), folder.path().join("nowhere")] {
        run(&mut inspect(&model, &fixture("cmyk_red.jpg"))).refused(&[model.to_str().unwrap(), "model.toml", "takt teach --out"]);
    }
}

#[test]
fn a_package_of_a_newer_format_asks_for_a_newer_takt() {
    let (_folder, model, image) = package();
    let manifest = model.join("model.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let newer = text.replace("format_version = 2\n", "format_version = 3\n");
    assert_ne!(text, newer);
    fs::write(&manifest, newer).unwrap();
    run(&mut inspect(&model, &image)).refused(&[model.to_str().unwrap(), "format version is 3", "update takt"]);
}

/// Changes the manifest of a package and seals it again, as somebody would who knows how.
fn resealed(model: &Path, change: impl FnOnce(&mut Manifest)) {
    let file = model.join("model.toml");
    let mut manifest = Manifest::from_text(&fs::read_to_string(&file).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(file, manifest.to_text().unwrap()).unwrap();
}

#[test]
fn a_manifest_cannot_reach_out_of_its_package() {
    for escape in ["../part.png", "golden/../../part.png", "/etc/hostname", "./model.onnx"] {
        let (_folder, model, image) = package();
        resealed(&model, |manifest| drop(manifest.files.insert(escape.into(), "0".repeat(64))));
        run(&mut inspect(&model, &image)).refused(&[model.to_str().unwrap(), escape, "not inside the package"]);
    }
}

#[test]
fn a_model_that_the_manifest_does_not_vouch_for_is_not_run() {
    let (_folder, model, image) = package();
    fs::write(model.join("model.onnx.data"), b"weights").unwrap();
    resealed(&model, |manifest| {
        manifest.files.remove("model.onnx");
        manifest.files.insert("model.onnx.data".into(), sha256_hex(b"weights"));
    });
    run(&mut inspect(&model, &image)).refused(&[model.to_str().unwrap(), "holds no model.onnx"]);
}

#[test]
fn a_link_in_a_package_cannot_reach_out_of_it() {
    let (folder, model, image) = package();
    let outside = folder.path().join("outside.onnx");
    fs::rename(model.join("model.onnx"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, model.join("model.onnx")).unwrap();
    // The hash holds, so what runs is what was taught: a link is harmless.
    run(&mut inspect(&model, &image)).done();
    fs::write(&outside, "another model").unwrap();
    run(&mut inspect(&model, &image)).refused(&["model.onnx", "SHA-256"]);
}

#[test]
fn a_package_whose_golden_images_score_otherwise_is_not_activated() {
    let (_folder, model, image) = package();
    resealed(&model, |manifest| manifest.golden.images[0].score += 1.0);
    run(&mut inspect(&model, &image)).refused(&["failed to activate", "golden/", "expected", "teach the model again"]);
}

#[test]
fn a_package_without_golden_images_is_not_activated() {
    let (_folder, model, image) = package();
    resealed(&model, |manifest| manifest.golden.images.clear());
    run(&mut inspect(&model, &image)).refused(&["failed to activate", "no golden images", "teach or import it again"]);
}

// Data sets

#[test]
fn a_data_set_without_labels_is_refused_before_minutes_are_spent() {
    let folder = good_parts();
    let (good, model) = (folder.path().join("good"), folder.path().join("model"));
    run(teach(&good, &model).arg("--test").arg(&good)).refused(&["failed to find test images", "good", "one per kind of defect"]);
    assert_eq!(entries(folder.path()), ["good"]);
}

#[test]
fn a_mask_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (model, dataset) = (folder.path().join("model"), folder.path().join("dataset"));
    parts::write_package(&model);
    parts::write_dataset(&dataset);
    fs::write(dataset.join("ground_truth/scratch/002_mask.png"), "no mask").unwrap();
    run(takt("evaluate").arg("--model").arg(&model).arg("--dataset").arg(&dataset)).refused(&["002_mask.png", "failed to decode image"]);
}

// Places to write to

/// A file system of its own, gone with the value.
pub(crate) struct Mount(TempDir);

impl Mount {
    /// A file system in memory, or why there can be none.
    pub(crate) fn new(options: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let outcome = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "takt-test"])
            .arg(folder.path())
            .output();
        match outcome {
            Ok(output) if output.status.success() => Ok(Self(folder)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Nobody may write any more.
    pub(crate) fn make_read_only(&self) {
        let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).status();
        assert!(remounted.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let disk = match Mount::new("size=1m") {
        Ok(disk) => disk,
        Err(reason) => return skip("a_full_disk_leaves_nothing_half_written", &reason),
    };
    let folder = good_parts();
    let model = disk.path().join("model");
    run(&mut teach(&folder.path().join("good"), &model)).refused(&[model.to_str().unwrap(), "No space left", "check free space"]);
    assert_eq!(entries(disk.path()), Vec::<String>::new());
}

#[test]
fn a_disk_that_cannot_be_written_to_is_named() {
    let disk = match Mount::new("ro") {
        Ok(disk) => disk,
        Err(reason) => return skip("a_disk_that_cannot_be_written_to_is_named", &reason),
    };
    let folder = good_parts();
    let model = disk.path().join("model");
    run(&mut teach(&folder.path().join("good"), &model)).refused(&[model.to_str().unwrap(), "Read-only file system", "permissions"]);
}

#[test]
fn a_file_in_the_way_of_the_package_is_left_alone() {
    let folder = good_parts();
    let file = folder.path().join("model");
    fs::write(&file, "precious").unwrap();
    refused(&folder, &[file.to_str().unwrap(), "no model package", "another --out"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let below = file.join("model");
    run(&mut teach(&folder.path().join("good"), &below)).refused(&[below.to_str().unwrap(), "check free space and permissions"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn overlays_have_no_place_where_a_file_is() {
    let (_folder, model, image) = package();
    run(inspect(&model, &image).arg("--overlay").arg(&image)).refused(&["failed to create folder", image.to_str().unwrap()]);
}

// Messages

#[test]
fn a_cause_is_told_once() {
    let folder = good_parts();
    let (good, model) = (folder.path().join("good"), folder.path().join("model"));
    let in_the_way = good.join("000.png");
    let (_package, package, image) = package();
    fs::write(package.join("model.toml"), "changed").unwrap();
    for (mut command, cause) in [
        (teach(&folder.path().join("nowhere"), &model), "os error"),
        (teach(&good, &in_the_way.join("model")), "os error"),
        (inspect(&package, &image), "model.toml was changed"),
    ] {
        let outcome = run(&mut command);
        outcome.refused(&[cause]);
        assert_eq!(outcome.stderr.matches(cause).count(), 1, "{outcome:#?}");
    }
}

// Stopping

#[test]
fn interrupted_teaching_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    // Enough work that the signal always comes in time: the bank alone takes many seconds, and the program listens between images.
    parts::write(&folder.path().join("good"), 0, 32, false);
    let mut command = teach_at("512x512", &folder.path().join("good"), &folder.path().join("model"));
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    stderr.read_line(&mut first).unwrap();
    let kill = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let rest: Vec<String> = stderr.lines().map(Result::unwrap).collect();
    let status = child.wait().unwrap();

    assert!(first.starts_with("decode"), "{first}");
    assert_eq!(status.code(), Some(1), "{rest:?}");
    assert_eq!(rest.last().map(String::as_str), Some("error: stopped; nothing was written"));
    assert_eq!(entries(folder.path()), ["good"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (_folder, model, image) = package();
    let mut command = inspect(&model, &image);
    // The reading end is closed before the program starts.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let (_folder, model, image) = package();
    let test = "output_that_cannot_be_written_is_a_failure";
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        return skip(test, "there is no /dev/full");
    };
    let output = inspect(&model, &image)
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("failed to write to standard output"));
}
