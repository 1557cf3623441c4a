//! Gradients of brightness.

use crate::vision::grey::GreyImage;

/// The gradient at a pixel, levels per pixel (Sobel); 0 at the rim.
pub(super) fn gradient(image: &GreyImage, x: usize, y: usize) -> [f32; 2] {
    let (width, height) = (image.width, image.height);
    if x == 0 || y == 0 || x + 1 >= width || y + 1 >= height {
        return [0.0; 2];
    }
    let at = y * width + x;
    let luma = |index: usize| i32::from(image.luma[index]);
    let (above, here, below) = (at - width, at, at + width);
    let right = luma(above + 1) + 2 * luma(here + 1) + luma(below + 1);
    let left = luma(above - 1) + 2 * luma(here - 1) + luma(below - 1);
    let lower = luma(below - 1) + 2 * luma(below) + luma(below + 1);
    let upper = luma(above - 1) + 2 * luma(above) + luma(above + 1);
    [(right - left) as f32 / 8.0, (lower - upper) as f32 / 8.0]
}

/// Directions of the gradients of a picture, as vectors of length 1; 0 where there is hardly a gradient, and in a margin around it.
#[derive(Debug, Clone)]
pub(super) struct Directions {
    margin: usize,
    stride: usize,
    rows: usize,
    vectors: Vec<[f32; 2]>,
}

impl Directions {
    /// Those of the gradients from `least` levels per pixel on, with so many pixels around.
    pub(super) fn of(image: &GreyImage, least: f32, margin: usize) -> Self {
        let (width, height) = (image.width, image.height);
        let stride = width + 2 * margin;
        let rows = height + 2 * margin;
        let mut vectors = vec![[0.0; 2]; stride * rows];
        for y in 1..height.saturating_sub(1) {
            let window = |row: usize| &image.luma[row * width..(row + 1) * width];
            let (above, here, below) = (window(y - 1), window(y), window(y + 1));
            let start = (y + margin) * stride + margin;
            let row = &mut vectors[start..start + width];
            let columns = above.windows(3).zip(here.windows(3)).zip(below.windows(3));
            for (vector, ((above, here), below)) in row[1..].iter_mut().zip(columns) {
                let level = |value: u8| i32::from(value);
                let right = level(above[2]) + 2 * level(here[2]) + level(below[2]);
                let left = level(above[0]) + 2 * level(here[0]) + level(below[0]);
                let lower = level(below[0]) + 2 * level(below[1]) + level(below[2]);
                let upper = level(above[0]) + 2 * level(above[1]) + level(above[2]);
                let (x, y) = ((right - left) as f32, (lower - upper) as f32);
                let length = (x * x + y * y).sqrt();
                let inverse = if length >= 8.0 * least { 1.0 / length } else { 0.0 };
                *vector = [x * inverse, y * inverse];
            }
        }
        Self {
            margin,
            stride,
            rows,
            vectors,
        }
    }

    /// Where a pixel lies among the vectors; `None` beyond the margin.
    pub(super) fn index(&self, x: i32, y: i32) -> Option<usize> {
        let (x, y) = (i64::from(x) + self.margin as i64, i64::from(y) + self.margin as i64);
        let is_inside = (0..self.stride as i64).contains(&x) && (0..self.rows as i64).contains(&y);
        is_inside.then(|| y as usize * self.stride + x as usize)
    }

    /// How far it is from a pixel to one that lies so beside it.
    pub(super) fn offset(&self, x: i32, y: i32) -> isize {
        y as isize * self.stride as isize + x as isize
    }

    /// How far around a pixel inside of the picture there is something to look at.
    pub(super) fn margin(&self) -> usize {
        self.margin
    }

    /// The direction at a place.
    pub(super) fn at(&self, index: usize) -> [f32; 2] {
        self.vectors.get(index).copied().unwrap_or([0.0; 2])
    }
}
