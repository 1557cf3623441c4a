//! The emitted graph, on ONNX Runtime, answers as the reference scorer does, in Rust: same scores, same maps, one by one or together.

use std::path::{Path, PathBuf};

use takt::model::package::MODEL;
use takt::teach::backbone::{BUILT_IN, Backbone};
use takt::teach::dataset::test_images;
use takt::teach::detector::Method;
use takt::teach::features::FeatureExtractor;
use takt::teach::progress::Silent;
use takt::teach::{Taught, reference_map, teach};
use takt::vision::decode::read_image;
use takt::vision::inspector::Inspector;
use takt::vision::ort::OrtEngine;
use takt::vision::preprocess::Preprocessor;
use takt::vision::preprocess::TensorValues;
use takt::vision::{Engine, EngineOptions, Image};

use crate::parts::{self, Pixels};
use crate::skip::skip;

/// How far scores may be off, as a share of the score.
const SCORE_TOLERANCE: f32 = 1e-4;

/// How far maps may be off, as a share of the highest score in the map.
const MAP_TOLERANCE: f32 = 1e-3;

/// Folder of public data sets.
pub(crate) fn data() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    std::env::var_os("TAKT_DATA")
        .filter(|folder| !folder.is_empty())
        .map_or_else(beside, PathBuf::from)
}

/// Image files at the size of the model.
fn resized(files: &[PathBuf], taught: &Taught) -> Vec<Vec<u8>> {
    let mut preprocessor = Preprocessor::new(taught.grid.width as u32, taught.grid.height as u32);
    files
        .iter()
        .map(|file| preprocessor.resize(&read_image(file).unwrap()).unwrap().to_vec())
        .collect()
}

/// Drawn parts that the model was not taught from, good and scratched, at the size of the model.
fn drawn(taught: &Taught) -> Vec<Vec<u8>> {
    let size = (taught.grid.width as u32, taught.grid.height as u32);
    (500..506)
        .map(|seed| parts::part(seed, size, seed % 2 == 0, Pixels::Rgb8).into_rgb8().into_raw())
        .collect()
}

/// Holds the graph of `taught` against its reference on images of its size.
fn assert_parity(taught: &Taught, images: Vec<Vec<u8>>) {
    let grid = &taught.grid;
    let backbone = Backbone::open(BUILT_IN).unwrap();
    let mut extractor = FeatureExtractor::new(&backbone, grid.width, grid.height, EngineOptions::default()).unwrap();
    let embeddings = extractor.embed(&images, &Silent).unwrap();
    let mut inspector = Inspector::new(taught.package.clone().activate(EngineOptions::default()).unwrap());
    for (index, (rgb, embedding)) in images.into_iter().zip(embeddings.images()).enumerate() {
        let expected = taught.detector.score(embedding);
        let image = Image {
            width: grid.width as u32,
            height: grid.height as u32,
            rgb,
        };
        let inspection = inspector.inspect(&image).unwrap();
        let (got, wanted) = (inspection.score, expected.image);
        assert!(
            (got - wanted).abs() <= SCORE_TOLERANCE * wanted.abs(),
            "image {index}: the graph scores {got}, the reference {wanted}"
        );

        let map = reference_map(grid, &expected);
        let got_map = inspection.map.unwrap();
        assert_eq!((got_map.width, got_map.height), (map.width, map.height));
        let highest = map.scores.iter().copied().fold(0.0_f32, f32::max);
        let off = got_map
            .scores
            .iter()
            .zip(&map.scores)
            .map(|(got, wanted)| (got - wanted).abs())
            .fold(0.0_f32, f32::max);
        assert!(
            off <= MAP_TOLERANCE * highest,
            "image {index}: a pixel of the graph's map is {off} off, the highest is {highest}"
        );
    }
}

/// Parity on all test images of a data set of photos.
fn assert_parity_on_photos(test: &str, method: Method) {
    let root = data().join("aws_aliens");
    if !root.is_dir() {
        return skip(
            test,
            &format!("{} is not there; TAKT_DATA names the folder of data sets", root.display()),
        );
    }
    let taught = teach(&parts::lesson(root.join("train/good"), 256, method), &Silent).unwrap();
    let files: Vec<PathBuf> = test_images(&root).unwrap().into_iter().map(|image| image.path).collect();
    let images = resized(&files, &taught);
    assert_parity(&taught, images);
}

#[test]
fn the_patchcore_graph_scores_photos_as_its_reference_does() {
    assert_parity_on_photos("the_patchcore_graph_scores_photos_as_its_reference_does", Method::Patchcore);
}

#[test]
fn the_padim_graph_scores_photos_as_its_reference_does() {
    assert_parity_on_photos("the_padim_graph_scores_photos_as_its_reference_does", Method::Padim);
}

#[test]
fn both_graphs_score_drawn_parts_as_their_references_do() {
    for method in [Method::Patchcore, Method::Padim, Method::Relative] {
        let taught = parts::taught(method);
        let images = drawn(&taught);
        assert_parity(&taught, images);
    }
}

#[test]
fn a_graph_for_a_wide_image_scores_as_its_reference_does() {
    let folder = tempfile::tempdir().unwrap();
    parts::write(folder.path(), 0, parts::GOOD, false);
    for method in [Method::Patchcore, Method::Padim, Method::Relative] {
        let mut lesson = parts::lesson(folder.path().into(), 64, method);
        lesson.width = 128;
        let taught = teach(&lesson, &Silent).unwrap();
        let images = drawn(&taught);
        assert_parity(&taught, images);
    }
}

#[test]
fn images_judged_together_get_the_scores_they_get_alone() {
    for method in [Method::Patchcore, Method::Padim, Method::Relative] {
        let taught = parts::taught(method);
        let (width, height) = (taught.grid.width, taught.grid.height);
        let mut engine = OrtEngine::from_bytes("the emitted graph", &taught.package.files[MODEL], EngineOptions::default()).unwrap();
        let images = &drawn(&taught)[..3];
        let together = engine.run(&[3, height, width, 3], TensorValues::U8(&images.concat())).unwrap();
        for (index, image) in images.iter().enumerate() {
            let alone = engine.run(&[1, height, width, 3], TensorValues::U8(image)).unwrap();
            for (together, alone) in together.iter().zip(&alone) {
                assert_eq!((together.shape[0], alone.shape[0]), (3, 1));
                let together = &together.values[index * alone.values.len()..][..alone.values.len()];
                let highest = alone.values.iter().copied().fold(0.0_f32, f32::max);
                let off = together
                    .iter()
                    .zip(&alone.values)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0_f32, f32::max);
                assert!(
                    off <= SCORE_TOLERANCE * highest,
                    "{method:?}, image {index}: {off} off at a highest score of {highest}"
                );
            }
        }
    }
}

#[test]
fn the_relative_graph_scores_photos_as_its_reference_does() {
    assert_parity_on_photos("the_relative_graph_scores_photos_as_its_reference_does", Method::Relative);
}
