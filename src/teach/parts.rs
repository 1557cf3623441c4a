//! Good parts as teaching takes them: read, cut into tiles where there are tiles, brought to the model's size, copies and what is too much left out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::path::{Path, PathBuf};

use image::ImageReader;
use rayon::prelude::*;

use super::features::{Embeddings, Grid};
use super::progress::Progress;
use super::{GoodImage, Lesson, PATCHES_MAX, TeachError};
use crate::model::manifest::sha256_hex;
use crate::part::Region;
use crate::vision::Image;
use crate::vision::decode::read_image;
use crate::vision::preprocess::{InputTensor, TensorSpec, TensorValues};
use crate::vision::tiling::Tiles;

/// Pictures of good parts, each as one or more images of the model's input size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GoodParts {
    /// The file of each part.
    pub paths: Vec<PathBuf>,
    /// Which of the images each part is seen in.
    pub tiles: Vec<Range<usize>>,
    /// RGB bytes, row by row, of all parts one after the other.
    pub images: Vec<Vec<u8>>,
}

impl GoodParts {
    /// How many parts.
    pub fn count(&self) -> usize {
        self.paths.len()
    }

    /// A hash of each part's pixels.
    pub fn hashes(&self) -> Vec<String> {
        self.tiles.iter().map(|tiles| hash_of(&self.images[tiles.clone()])).collect()
    }

    /// The images of some parts in a row.
    pub fn images_of(&self, parts: &[usize]) -> Vec<usize> {
        parts.iter().flat_map(|part| self.tiles[*part].clone()).collect()
    }

    /// The embeddings of some parts, of those of all images.
    #[must_use]
    pub fn subset(&self, embeddings: &Embeddings, parts: &[usize]) -> Embeddings {
        embeddings.subset(&self.images_of(parts))
    }

    pub(super) fn push(&mut self, path: PathBuf, images: Vec<Vec<u8>>) {
        self.tiles.push(self.images.len()..self.images.len() + images.len());
        self.images.extend(images);
        self.paths.push(path);
    }
}

/// Reads the files on all cores and makes images of the model's input size of them.
///
/// # Errors
/// At the first file that cannot be used, and on a stop.
pub fn read(paths: Vec<PathBuf>, lesson: &Lesson, progress: &dyn Progress) -> Result<GoodParts, TeachError> {
    let read = |tensor: &mut Result<InputTensor, TeachError>, path: PathBuf| {
        progress.check()?;
        let tensor = tensor.as_mut().map_err(|error| TeachError::Tensor(error.to_string()))?;
        let images = cut(&read_image(&path)?, lesson, tensor)?;
        progress.advance(1);
        Ok((path, images))
    };
    let read: Result<Vec<_>, TeachError> = paths.into_par_iter().map_init(|| tensor(lesson), read).collect();
    let mut parts = GoodParts::default();
    read?.into_iter().for_each(|(path, images)| parts.push(path, images));
    Ok(parts)
}

/// The tensor of one image, as the taught model will have it.
pub(super) fn tensor(lesson: &Lesson) -> Result<InputTensor, TeachError> {
    InputTensor::new(TensorSpec::taught(lesson.width, lesson.height), 1).map_err(|error| TeachError::Tensor(error.to_string()))
}

/// A picture as one or more images of the model's input size.
pub(super) fn cut(picture: &Image, lesson: &Lesson, tensor: &mut InputTensor) -> Result<Vec<Vec<u8>>, TeachError> {
    cut_by(picture, lesson.tiles, tensor)
}

fn cut_by(picture: &Image, tiles: Option<Tiles>, tensor: &mut InputTensor) -> Result<Vec<Vec<u8>>, TeachError> {
    let whole = Region::whole(picture.width, picture.height);
    let regions = tiles.map_or_else(|| Ok(vec![whole]), |tiles| tiles.cut(whole))?;
    let image = |region: Region| {
        tensor.set_image(0, picture, Some(region))?;
        match tensor.values() {
            TensorValues::U8(bytes) => Ok(bytes.to_vec()),
            _ => Err(TeachError::Tensor("a taught model takes bytes".into())),
        }
    };
    regions.into_iter().map(image).collect()
}

/// Images that are at the model's size already.
pub(super) fn whole(images: Vec<GoodImage>) -> GoodParts {
    let mut parts = GoodParts::default();
    for (path, pixels) in images {
        parts.push(path, vec![pixels]);
    }
    parts
}

/// Leaves out later copies of the same picture, for they would vouch for each other; and what to say of them.
pub(super) fn without_copies(all: GoodParts) -> (GoodParts, Option<String>) {
    let mut seen: HashMap<String, PathBuf> = HashMap::new();
    let mut copies = Vec::new();
    let mut kept = GoodParts::default();
    let mut images = all.images.into_iter();
    for (path, tiles) in all.paths.into_iter().zip(all.tiles) {
        let images: Vec<Vec<u8>> = images.by_ref().take(tiles.len()).collect();
        match seen.entry(hash_of(&images)) {
            Entry::Occupied(first) => copies.push(format!("{} (of {})", file_name(&path), file_name(first.get()))),
            Entry::Vacant(entry) => {
                entry.insert(path.clone());
                kept.push(path, images);
            }
        }
    }
    let warning = (!copies.is_empty()).then(|| {
        format!(
            "{} image(s) are copies of others and were left out: {}",
            copies.len(),
            shortened(&copies)
        )
    });
    (kept, warning)
}

/// Leaves out parts of which a hash says that they were taught before; and what to say of them.
pub(super) fn without_known(all: GoodParts, is_known: impl Fn(&str) -> bool) -> (GoodParts, Option<String>) {
    let known: Vec<bool> = all.hashes().iter().map(|hash| is_known(hash)).collect();
    let mut names = Vec::new();
    let mut kept = GoodParts::default();
    let mut images = all.images.into_iter();
    for ((path, tiles), is_known) in all.paths.into_iter().zip(all.tiles).zip(known) {
        let images: Vec<Vec<u8>> = images.by_ref().take(tiles.len()).collect();
        if is_known {
            names.push(file_name(&path));
        } else {
            kept.push(path, images);
        }
    }
    let warning = (!names.is_empty()).then(|| {
        format!(
            "{} image(s) were taught before and were left out: {}",
            names.len(),
            shortened(&names)
        )
    });
    (kept, warning)
}

/// A hash of the pixels of images.
pub(super) fn hash_of(images: &[Vec<u8>]) -> String {
    match images {
        [image] => sha256_hex(image),
        images => sha256_hex(images.iter().map(|pixels| sha256_hex(pixels)).collect::<String>().as_bytes()),
    }
}

/// The hash of a picture as a model sees it that was taught from it, where it sees bytes; `tensor` is that of one image.
pub fn hash_of_picture(picture: &Image, tiles: Option<Tiles>, tensor: &mut InputTensor) -> Option<String> {
    cut_by(picture, tiles, tensor).ok().map(|images| hash_of(&images))
}

/// As many files as fit in memory, evenly spread, and what to say if that is not all.
pub(super) fn thinned(paths: Vec<PathBuf>, lesson: &Lesson, grid: &Grid) -> (Vec<PathBuf>, Option<String>) {
    let found = paths.len();
    let images = lesson
        .tiles
        .map_or(found, |_| paths.iter().map(|path| tiles_in(path, lesson)).sum());
    let most = PATCHES_MAX / grid.patches().max(1) / lesson.views();
    if images <= most {
        return (paths, None);
    }
    // At least one stays, whatever its size.
    let kept = (found * most / images).max(1);
    let warning =
        format!("{found} good images are more than memory is set aside for at this size; {kept} of them, evenly spread, are used");
    ((0..kept).map(|index| paths[index * found / kept].clone()).collect(), Some(warning))
}

/// How many tiles a file will have, by its header; one where that cannot be read, which reading will tell of.
fn tiles_in(path: &Path, lesson: &Lesson) -> usize {
    let size = ImageReader::open(path).ok().and_then(|reader| reader.into_dimensions().ok());
    let cut = |(width, height)| lesson.tiles.and_then(|tiles| tiles.cut(Region::whole(width, height)).ok());
    size.and_then(cut).map_or(1, |tiles| tiles.len())
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The first few of many names.
pub(super) fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// At most `most` of a list, evenly spread, the first among them.
pub(super) fn evenly<T>(list: Vec<T>, most: usize) -> Vec<T> {
    let (count, mut kept) = (list.len(), 0);
    let mut is_next = |index: usize| {
        let is_next = count <= most || index == kept * count / most;
        kept += usize::from(is_next);
        is_next
    };
    let list = list.into_iter().enumerate();
    list.filter(|(index, _)| is_next(*index)).map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_even_choice_has_its_size_and_order(count in 0_usize..300, most in 1_usize..50) {
            let kept = evenly((0..count).collect(), most);
            prop_assert_eq!(kept.len(), count.min(most));
            prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(count == 0 || kept[0] == 0);
        }
    }
}
