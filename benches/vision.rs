//! The parts of an inspection and of teaching that are takt's own arithmetic. Whole inspections are measured by `takt bench vision`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use takt::teach::coreset::{greedy_coreset, project};
use takt::vision::findings::find;
use takt::vision::preprocess::Preprocessor;
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

fn postprocess(c: &mut Criterion) {
    // A smooth map with about twenty regions above the limit.
    let wave = |index: usize| ((index % 256) as f32 * 0.1).sin() + ((index / 256) as f32 * 0.1).sin();
    let map = AnomalyMap {
        width: 256,
        height: 256,
        scores: (0..256 * 256).map(wave).collect(),
    };
    c.bench_function("findings of a 256x256 map", |b| b.iter(|| find(black_box(&map), 1.5, 640, 480, 0)));
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

criterion_group!(benches, preprocess, postprocess, coreset);
criterion_main!(benches);
