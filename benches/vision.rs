//! The parts of an inspection and of teaching that are takt's own arithmetic. Whole inspections are measured by `takt bench vision`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use takt::part::Region;
use takt::teach::coreset::{greedy_coreset, project};
use takt::vision::detect::nms::Scope;
use takt::vision::detect::{Head, HeadKind, Limits, Size, Tensor, detect};
use takt::vision::findings::find;
use takt::vision::preprocess::{Colour, Element, Filter, Fit, InputTensor, Layout, Place, Placement, Preprocessor, TensorSpec};
use takt::vision::{AnomalyMap, Image};

fn preprocess(c: &mut Criterion) {
    let (width, height) = (640, 480);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let image = Image {
        width,
        height,
        rgb: (0..width * height * 3).map(|_| random.random()).collect(),
    };
    let mut preprocessor = Preprocessor::new(256, 256);
    c.bench_function("preprocess 640x480 to 256x256", |b| {
        b.iter(|| preprocessor.resize(black_box(&image)).map(<[u8]>::len));
    });
}

/// What other models take, from an image of a large camera.
fn tensors(c: &mut Criterion) {
    let (width, height) = (1920, 1080);
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let image = Image {
        width,
        height,
        rgb: (0..width * height * 3).map(|_| random.random()).collect(),
    };
    let detector = TensorSpec {
        width: 640,
        height: 640,
        layout: Layout::Nchw,
        element: Element::F32,
        colour: Colour::Rgb,
        scale: 1.0 / 255.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        fit: Fit::Letterbox {
            place: Place::Centre,
            fill: 114,
            grow: true,
        },
        filter: Filter::Point,
    };
    let by_area = TensorSpec {
        width: 256,
        height: 256,
        fit: Fit::Stretch,
        filter: Filter::Area,
        ..detector
    };
    for (name, spec) in [
        ("preprocess 1920x1080 to 256x256 floats by area", by_area),
        ("preprocess 1920x1080 to 640x640 floats between bars", detector),
    ] {
        let Ok(mut tensor) = InputTensor::new(spec, 1) else { continue };
        c.bench_function(name, |b| b.iter(|| tensor.set_image(0, black_box(&image), None).is_ok()));
    }
}

fn postprocess(c: &mut Criterion) {
    // A smooth map with about twenty regions above the limit.
    let wave = |index: usize| ((index % 256) as f32 * 0.1).sin() + ((index / 256) as f32 * 0.1).sin();
    let map = AnomalyMap {
        width: 256,
        height: 256,
        scores: (0..256 * 256).map(wave).collect(),
    };
    let placement = Placement {
        region: Region::whole(640, 480),
        left: 0,
        top: 0,
        width: 256,
        height: 256,
    };
    c.bench_function("findings of a 256x256 map", |b| {
        b.iter(|| find(black_box(&map), None, 1.5, &placement));
    });
}

fn boxes(c: &mut Criterion) {
    // YOLOv8 at 640x640: 20 objects, each reported by 12 anchors, and low scores everywhere else.
    let (classes, anchors) = (80, 8400);
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut values: Vec<f32> = (0..4 * anchors).map(|_| random.random_range(10.0..60.0)).collect();
    values.extend((0..classes * anchors).map(|_| 0.05 * random.random::<f32>().powi(3)));
    for _ in 0..20 {
        let (x, y) = (random.random_range(30.0..610.0), random.random_range(30.0..610.0));
        let class = random.random_range(0..classes);
        for _ in 0..12 {
            let anchor = random.random_range(0..anchors);
            for (row, value) in [(0, x), (1, y), (2, 40.0), (3, 40.0)] {
                values[row * anchors + anchor] = value + random.random_range(0.0..3.0);
            }
            values[(4 + class) * anchors + anchor] = random.random_range(0.3..0.9);
        }
    }
    let head = Head {
        kind: HeadKind::YoloV8,
        classes,
        coefficients: 0,
    };
    let output = Tensor {
        name: "output0",
        shape: &[1, 4 + classes, anchors],
        values: &values,
    };
    let input = Size { width: 640, height: 640 };
    let limits = Limits {
        score_min: 0.25,
        iou_max: 0.45,
        scope: Scope::PerClass,
    };
    c.bench_function("boxes of 8,400 anchors x 80 classes", |b| {
        b.iter(|| detect(&head, black_box(&[output]), 0, input, &limits).map(|found| found.kept.len()));
    });
}

fn coreset(c: &mut Criterion) {
    let (patches, channels) = (20_480, 152);
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let rows: Vec<f32> = (0..patches * channels).map(|_| random.random::<f32>().powi(3)).collect();
    let mut group = c.benchmark_group("coreset");
    group.sample_size(10);
    group.bench_function("project 20,480 patches", |b| b.iter(|| project(black_box(&rows), channels, 0)));
    let (projected, dimensions) = project(&rows, channels, 0);
    group.bench_function("512 of 20,480 patches", |b| {
        b.iter(|| greedy_coreset(black_box(&projected), dimensions, 512, 0));
    });
    group.finish();
}

criterion_group!(benches, preprocess, tensors, postprocess, boxes, coreset);
criterion_main!(benches);
