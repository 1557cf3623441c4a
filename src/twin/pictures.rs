//! What parts look like: a bounded set of pictures at the camera's size, of good parts and of defective ones.

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::parts::{self, DefectKind};
use super::schedule::Part;
use crate::teach::dataset::{DatasetError, LabelledImage, test_images};
use crate::vision::Image;
use crate::vision::decode::{DecodeError, read_image};
use crate::vision::preprocess::{PreprocessError, Preprocessor};

/// Most pictures of each kind, good or defective.
const EACH_MAX: usize = 40;

/// Most bytes of all pictures together: 256 MiB.
const BYTES_MAX: usize = 256 << 20;

/// Why there are no pictures.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The data set cannot be used.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// An image of it cannot be used.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It cannot be brought to the camera's size.
    #[error(transparent)]
    Resize(#[from] PreprocessError),
    /// There are no defective parts to show.
    #[error("failed to show defective parts: {0} has images of good parts only; set defect_share = 0, or add test/<defect>")]
    NoDefects(PathBuf),
}

/// What one part may look like.
pub(super) struct Picture {
    /// At the size of the part in the frame.
    pub(super) image: Image,
    /// What is wrong with it; `None` for a good part.
    pub(super) defect: Option<String>,
}

/// What all parts may look like.
pub(super) struct Pictures {
    good: Vec<Picture>,
    defective: Vec<Picture>,
}

impl Pictures {
    /// How many pictures of each kind fit into memory if they have as many pixels as a frame.
    pub(super) fn each(frame_px: (u32, u32)) -> usize {
        let bytes = 3 * frame_px.0 as usize * frame_px.1 as usize;
        (BYTES_MAX / (2 * bytes).max(1)).clamp(1, EACH_MAX)
    }

    /// Pictures of `size` pixels, of parts from `dataset` or rendered ones, at most `each` of each kind. The size decides nothing else: what
    /// part is seen stays the same.
    ///
    /// # Errors
    /// When the data set cannot be used, or has no defects although some parts are to have some.
    pub(super) fn load(dataset: Option<&Path>, seed: u64, size: (u32, u32), each: usize, with_defects: bool) -> Result<Self, PictureError> {
        let mut resize = Resize(Preprocessor::new(size.0, size.1), size);
        match dataset {
            None => Self::render(seed, each, with_defects, &mut resize),
            Some(folder) => Self::read(folder, seed, each, with_defects, &mut resize),
        }
    }

    fn render(seed: u64, each: usize, with_defects: bool, resize: &mut Resize) -> Result<Self, PictureError> {
        let mut render = |index: usize, kind: Option<DefectKind>| {
            Ok(Picture {
                image: resize.fit(&parts::render(seed, index as u64, kind).image)?,
                defect: kind.map(|kind| kind.name().to_owned()),
            })
        };
        let good: Result<Vec<Picture>, PictureError> = (0..each.min(24)).map(|index| render(index, None)).collect();
        let count = if with_defects { each.min(20) } else { 0 };
        let kinds = DefectKind::ALL.iter().cycle().take(count).enumerate();
        let defective: Result<_, PictureError> = kinds.map(|(index, kind)| render(1000 + index, Some(*kind))).collect();
        Ok(Self {
            good: good?,
            defective: defective?,
        })
    }

    fn read(folder: &Path, seed: u64, each: usize, with_defects: bool, resize: &mut Resize) -> Result<Self, PictureError> {
        let (defective, good): (Vec<LabelledImage>, Vec<LabelledImage>) =
            test_images(folder)?.into_iter().partition(LabelledImage::is_defect);
        if with_defects && defective.is_empty() {
            return Err(PictureError::NoDefects(folder.into()));
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut read = |images: &[LabelledImage], count: usize| -> Result<Vec<Picture>, PictureError> {
            let chosen: Vec<&LabelledImage> = images.choose_multiple(&mut random, count).collect();
            let read = |image: &LabelledImage| {
                Ok(Picture {
                    image: resize.fit(&read_image(&image.path)?)?,
                    defect: image.is_defect().then(|| image.class.clone()),
                })
            };
            chosen.into_iter().map(read).collect()
        };
        Ok(Self {
            good: read(&good, each)?,
            defective: read(&defective, if with_defects { each } else { 0 })?,
        })
    }

    /// What this part looks like.
    pub(super) fn of(&self, part: &Part) -> Option<&Picture> {
        let pictures = if part.defective { &self.defective } else { &self.good };
        pictures.get(part.picture as usize % pictures.len().max(1))
    }
}

struct Resize(Preprocessor, (u32, u32));

impl Resize {
    fn fit(&mut self, image: &Image) -> Result<Image, PreprocessError> {
        let (width, height) = self.1;
        Ok(Image {
            width,
            height,
            rgb: self.0.resize(image)?.to_vec(),
        })
    }
}
