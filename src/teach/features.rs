//! Images become patch embeddings: backbone features, locally averaged, brought to the finest grid and put side by side (PatchCore, Roth et al.
//! 2022, section 3.1).

use rayon::prelude::*;

use super::TeachError;
use super::backbone::{Backbone, BackboneManifest, FeatureMap};
use super::progress::Progress;
use super::spatial::{AxisMap, apply};
use crate::vision::ort::OrtEngine;
use crate::vision::preprocess::TensorValues;
use crate::vision::{Engine, EngineOptions, OutputTensor};

/// Images per inference.
const BATCH: usize = 4;

/// Weights of a patch and its neighbours along each axis, for the finest feature map. PatchCore averages over a 3 x 3 box; weights that fall off
/// keep small defects sharper and scored better on every real data set tried (docs/accuracy.md).
const FINEST_NEIGHBOURHOOD: [f64; 3] = [1.0, 3.0, 1.0];
/// The same for all coarser feature maps.
const COARSER_NEIGHBOURHOOD: [f64; 3] = [1.0, 2.0, 1.0];

/// Where patches lie and how each feature map gets there.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Width of the model's input, pixels.
    pub width: usize,
    /// Height of the model's input, pixels.
    pub height: usize,
    /// Patches per row.
    pub columns: usize,
    /// Rows of patches.
    pub rows: usize,
    /// Whether each image is first brought to one light and contrast ([`own_contrast`]).
    pub own_contrast: bool,
    /// For each feature map of the backbone: its channels, and the maps along its vertical and horizontal axis.
    pub features: Vec<(usize, AxisMap, AxisMap)>,
}

impl Grid {
    /// The grid of the backbone's finest feature map for inputs of `width` x `height` pixels, multiples of the backbone's `size_multiple`.
    pub fn new(backbone: &Backbone, width: usize, height: usize) -> Self {
        let features = &backbone.manifest.features;
        let finest = features.first().map_or(1, |feature| feature.stride as usize);
        let (columns, rows) = (width / finest, height / finest);
        let axis = |pixels: usize, stride: usize, patches: usize| {
            let length = pixels / stride;
            let kernel = if stride == finest {
                FINEST_NEIGHBOURHOOD
            } else {
                COARSER_NEIGHBOURHOOD
            };
            let averaged = AxisMap::local_average(length, &kernel);
            if length == patches {
                averaged
            } else {
                averaged.then(&AxisMap::linear(patches, length))
            }
        };
        let features = features
            .iter()
            .map(|feature| {
                let stride = feature.stride as usize;
                (feature.channels, axis(height, stride, rows), axis(width, stride, columns))
            })
            .collect();
        Self {
            width,
            height,
            columns,
            rows,
            own_contrast: false,
            features,
        }
    }

    /// With each image brought to one light and contrast, or not.
    #[must_use]
    pub fn with_own_contrast(self, own_contrast: bool) -> Self {
        Self { own_contrast, ..self }
    }

    /// Patches per image.
    pub fn patches(&self) -> usize {
        self.columns * self.rows
    }

    /// Values per patch.
    pub fn channels(&self) -> usize {
        self.features.iter().map(|(channels, ..)| channels).sum()
    }
}

/// Patch embeddings of images, `[image][patch][channel]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// Patches per image.
    pub patches: usize,
    /// Values per patch.
    pub channels: usize,
    /// All values.
    pub values: Vec<f32>,
    /// How many images in a row show the same picture, each varied in its way; 1 where none is varied.
    pub views: usize,
}

impl Embeddings {
    /// Embeddings of pictures of which none is varied.
    pub fn new(patches: usize, channels: usize, values: Vec<f32>) -> Self {
        Self {
            patches,
            channels,
            values,
            views: 1,
        }
    }

    /// Values per image.
    pub fn stride(&self) -> usize {
        self.patches * self.channels
    }

    /// The embeddings of each image.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.stride())
    }

    /// The embeddings of image `index`.
    pub fn image(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride()..][..self.stride()]
    }

    /// Copies of the embeddings of some images.
    #[must_use]
    pub fn subset(&self, images: &[usize]) -> Self {
        let values = images.iter().flat_map(|&index| self.image(index)).copied().collect();
        Self::new(self.patches, self.channels, values)
    }

    /// Copies of the embeddings of some images, each followed by those of its varied copies, which `varied` holds in the same order.
    #[must_use]
    pub fn subset_with(&self, images: &[usize], varied: &Self) -> Self {
        let copies = varied.images().len() / self.images().len().max(1);
        let stride = self.stride() * copies;
        let views = |&index: &usize| [self.image(index), &varied.values[index * stride..][..stride]];
        Self {
            views: 1 + copies,
            values: images.iter().flat_map(views).flatten().copied().collect(),
            ..*self
        }
    }
}

/// Runs a backbone and makes embeddings of what it gives.
pub struct FeatureExtractor {
    /// One session per core, each on one thread: images are independent, so nothing has to wait for another core.
    engines: Vec<OrtEngine>,
    backbone: Backbone,
    grid: Grid,
}

impl FeatureExtractor {
    /// Loads the backbone for inputs of `width` x `height` pixels.
    ///
    /// # Errors
    /// When the runtime cannot load it.
    pub fn new(backbone: &Backbone, width: usize, height: usize, options: EngineOptions) -> Result<Self, TeachError> {
        let cores = if options.threads == 0 {
            rayon::current_num_threads()
        } else {
            options.threads
        };
        let single = EngineOptions { threads: 1, ..options };
        let name = format!("backbone {}", backbone.manifest.name);
        let engines = (0..cores)
            .map(|_| OrtEngine::from_bytes(&name, &backbone.bytes, single))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            engines,
            grid: Grid::new(backbone, width, height),
            backbone: backbone.clone(),
        })
    }

    /// With each image brought to one light and contrast, or not.
    #[must_use]
    pub fn with_own_contrast(mut self, own_contrast: bool) -> Self {
        self.grid.own_contrast = own_contrast;
        self
    }

    /// Where the patches lie.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Embeddings of images at the grid's input size (RGB bytes, row by row).
    ///
    /// # Errors
    /// When the backbone fails or gives other shapes than its manifest states, or on a stop.
    pub fn embed(&mut self, images: &[Vec<u8>], progress: &dyn Progress) -> Result<Embeddings, TeachError> {
        let (grid, manifest) = (&self.grid, &self.backbone.manifest);
        let (patches, channels) = (grid.patches(), grid.channels());
        let mut values = vec![0.0_f32; images.len() * patches * channels];
        let share = images.len().div_ceil(self.engines.len()).max(1);
        let shares = images.par_chunks(share).zip(values.par_chunks_mut(share * patches * channels));
        shares.zip(self.engines.par_iter_mut()).try_for_each(|((images, values), engine)| {
            for (batch, target) in images.chunks(BATCH).zip(values.chunks_mut(BATCH * patches * channels)) {
                progress.check()?;
                let outputs = engine.run(
                    &[batch.len(), 3, grid.height, grid.width],
                    TensorValues::F32(&normalised(batch, grid, manifest)),
                )?;
                let features = named_features(engine, &outputs, batch.len(), grid, manifest)?;
                for (index, target) in target.chunks_exact_mut(patches * channels).enumerate() {
                    fill(grid, &features, index, target);
                }
                progress.advance(batch.len());
            }
            Ok::<_, TeachError>(())
        })?;
        Ok(Embeddings::new(patches, channels, values))
    }
}

/// Mean and deviation that every image is brought to, levels of 0 to 255: about those of an ordinary photograph, which backbones were trained on.
pub(super) const OWN_CONTRAST: (f32, f32) = (127.0, 45.0);

/// Added to the mean square of an image's deviations, levels squared: noise of a blank image must not become a picture.
pub(super) const OWN_CONTRAST_FLOOR: f32 = 16.0;

/// The gain and the offset that bring an image to one light and contrast.
fn own_contrast(rgb: &[u8]) -> (f32, f32) {
    let count = rgb.len().max(1) as f64;
    let mean = rgb.iter().map(|level| f64::from(*level)).sum::<f64>() / count;
    let square = rgb.iter().map(|level| (f64::from(*level) - mean).powi(2)).sum::<f64>() / count;
    let (level, deviation) = OWN_CONTRAST;
    let gain = f64::from(deviation) / (square + f64::from(OWN_CONTRAST_FLOOR)).sqrt();
    (gain as f32, (f64::from(level) - mean * gain) as f32)
}

/// Bytes `[n][y][x][channel]` as normalised floats `[n][channel][y][x]`.
fn normalised(batch: &[Vec<u8>], grid: &Grid, manifest: &BackboneManifest) -> Vec<f32> {
    let pixels = grid.width * grid.height;
    let mut input = vec![0.0_f32; batch.len() * 3 * pixels];
    let levels: Vec<(f32, f32)> = batch
        .iter()
        .map(|rgb| if grid.own_contrast { own_contrast(rgb) } else { (1.0, 0.0) })
        .collect();
    for (plane, target) in input.chunks_exact_mut(pixels).enumerate() {
        let (channel, mean, std) = (plane % 3, manifest.mean[plane % 3], manifest.std[plane % 3]);
        let (gain, offset) = levels[plane / 3];
        for (value, rgb) in target.iter_mut().zip(batch[plane / 3].chunks_exact(3)) {
            *value = (f32::from(rgb[channel]) * gain + offset - mean) / std;
        }
    }
    input
}

/// The outputs that the manifest names, in its order, with their shapes checked.
fn named_features<'a>(
    engine: &OrtEngine,
    outputs: &'a [OutputTensor],
    images: usize,
    grid: &Grid,
    manifest: &BackboneManifest,
) -> Result<Vec<&'a OutputTensor>, TeachError> {
    let find = |(feature, (channels, vertical, horizontal)): (&FeatureMap, &(usize, AxisMap, AxisMap))| {
        let expected = [images, *channels, vertical.columns, horizontal.columns];
        let output = engine
            .outputs()
            .iter()
            .position(|port| port.name == feature.output)
            .and_then(|index| outputs.get(index));
        output
            .filter(|output| output.shape == expected)
            .ok_or_else(|| TeachError::FeatureShape {
                backbone: manifest.name.clone(),
                output: feature.output.clone(),
                expected: expected.to_vec(),
                got: output.map(|output| output.shape.clone()).unwrap_or_default(),
            })
    };
    manifest.features.iter().zip(&grid.features).map(find).collect()
}

/// Writes the embeddings of image `index` of a batch to `target` (`[patch][channel]`).
fn fill(grid: &Grid, features: &[&OutputTensor], index: usize, target: &mut [f32]) {
    let channels = grid.channels();
    let mut first = 0;
    for (feature, (count, vertical, horizontal)) in features.iter().zip(&grid.features) {
        let plane = vertical.columns * horizontal.columns;
        for (channel, source) in feature.values[index * count * plane..][..count * plane]
            .chunks_exact(plane)
            .enumerate()
        {
            let mapped = apply(vertical, horizontal, source);
            target
                .iter_mut()
                .skip(first + channel)
                .step_by(channels)
                .zip(&mapped)
                .for_each(|(target, value)| *target = *value);
        }
        first += count;
    }
}
