//! Drawn parts: brushed metal with a groove, and the same with a dark scratch. A seed gives the same part at any size.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use takt::model::package;
use takt::teach::detector::Method;
use takt::teach::patchcore::PatchCoreOptions;
use takt::teach::progress::Silent;
use takt::teach::{Lesson, Taught, teach};
use takt::vision::EngineOptions;

/// Good parts that most tests teach from.
pub(crate) const GOOD: u64 = 12;

/// Where the scratch is, as shares of width and height: left, top, right, bottom.
pub(crate) const SCRATCH: [f64; 4] = [0.55, 0.25, 0.80, 0.40];

/// How an image of a part is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pixels {
    Grey8,
    Grey16,
    Rgb8,
}

/// Brightness from 0 to 1 of each pixel.
fn draw(seed: u64, (width, height): (u32, u32), scratched: bool) -> ImageBuffer<Luma<f32>, Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (shift, light): (f64, f64) = (random.random_range(-0.01..0.01), random.random_range(-0.03..0.03));
    ImageBuffer::from_fn(width, height, |column, row| {
        let (x, y) = (f64::from(column) / f64::from(width), f64::from(row) / f64::from(height));
        let brushed = 0.06 * (90.0 * (y + shift)).sin();
        let groove = if (x - 0.3 - shift).abs() < 0.05 { -0.25 } else { 0.0 };
        let grain: f64 = random.random_range(-0.03..0.03);
        let [left, top, right, bottom] = SCRATCH;
        let inside = (left..right).contains(&x) && (top..bottom).contains(&y);
        // A slanted stroke from corner to corner of its box.
        let stroke = ((x - left) / (right - left) - (y - top) / (bottom - top)).abs() < 0.45;
        if scratched && inside && stroke {
            Luma([0.05])
        } else {
            Luma([(0.6 + light + brushed + groove + grain) as f32])
        }
    })
}

/// A part as an image.
pub(crate) fn part(seed: u64, size: (u32, u32), scratched: bool, pixels: Pixels) -> DynamicImage {
    let drawn = draw(seed, size, scratched);
    let grey = |value: f32| (value * 255.0) as u8;
    match pixels {
        Pixels::Grey8 => GrayImage::from_fn(size.0, size.1, |x, y| Luma([grey(drawn[(x, y)].0[0])])).into(),
        Pixels::Grey16 => ImageBuffer::from_fn(size.0, size.1, |x, y| Luma([(drawn[(x, y)].0[0] * 65535.0) as u16])).into(),
        Pixels::Rgb8 => RgbImage::from_fn(size.0, size.1, |x, y| Rgb([grey(drawn[(x, y)].0[0]); 3])).into(),
    }
}

/// Writes grey parts of 128 x 128 pixels with seeds from `first` on to `folder`.
pub(crate) fn write(folder: &Path, first: u64, count: u64, scratched: bool) {
    fs::create_dir_all(folder).unwrap();
    for index in 0..count {
        part(first + index, (128, 128), scratched, Pixels::Grey8)
            .save(folder.join(format!("{index:03}.png")))
            .unwrap();
    }
}

/// Writes a data set in the layout of MVTec AD: 12 good parts to teach from, 4 good and 4 scratched ones to judge, with masks.
pub(crate) fn write_dataset(root: &Path) {
    write(&root.join("train/good"), 0, GOOD, false);
    write(&root.join("test/good"), 100, 4, false);
    write(&root.join("test/scratch"), 200, 4, true);
    let masks = root.join("ground_truth/scratch");
    fs::create_dir_all(&masks).unwrap();
    let [left, top, right, bottom] = SCRATCH.map(|share| (share * 128.0) as u32);
    let mask = GrayImage::from_fn(128, 128, |x, y| {
        Luma([if (left..right).contains(&x) && (top..bottom).contains(&y) {
            255
        } else {
            0
        }])
    });
    for index in 0..4 {
        mask.save(masks.join(format!("{index:03}_mask.png"))).unwrap();
    }
}

/// What to teach from `good` by default, at `side` x `side` pixels.
pub(crate) fn lesson(good: PathBuf, side: u32, method: Method) -> Lesson {
    Lesson {
        good,
        backbone: takt::teach::backbone::BUILT_IN.into(),
        width: side,
        height: side,
        false_reject_rate: 0.01,
        strict: false,
        method,
        settings: PatchCoreOptions {
            bank: 2048,
            neighbours: 3,
            seed: 0,
            ..PatchCoreOptions::default()
        },
        name: "drawn".into(),
        version: "1".into(),
        engine: EngineOptions::default(),
        ..Lesson::default()
    }
}

/// Teaches from drawn good parts, in memory.
pub(crate) fn taught(method: Method) -> Taught {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0, GOOD, false);
    teach(&lesson(folder.path().into(), 64, method), &Silent).unwrap()
}

/// Writes a model of the drawn parts to `path`.
pub(crate) fn write_package(path: &Path) {
    static TAUGHT: LazyLock<Taught> = LazyLock::new(|| taught(Method::Patchcore));
    package::write(path, &TAUGHT.package.manifest, &TAUGHT.package.files, false).unwrap();
}
