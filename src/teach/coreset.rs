//! Greedy coreset: the patches that a memory bank keeps (PatchCore, Roth et al. 2022, algorithm 1; the k-centre heuristic of Gonzalez 1985).
//!
//! Each step takes the patch that is farthest from all taken so far. Distances to those taken only ever shrink, so a patch that is now farther than
//! every patch outside a shortlist of the farthest is the farthest of all, whatever happens outside. Steps are therefore taken inside a shortlist for
//! as long as that holds, and all other patches hear of them later, together, in one matrix product. The result is that of the plain algorithm.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Dimensions that patches are projected to before distances are compared (Sinha et al. 2020 as used by PatchCore: a random projection keeps
/// distances well enough to choose by).
pub const PROJECTED_DIMENSIONS: usize = 32;

/// Projects rows of `dimensions` values to [`PROJECTED_DIMENSIONS`] (or leaves them, if they have no more) by a random Gaussian matrix drawn
/// from `seed`.
pub fn project(rows: &[f32], dimensions: usize, seed: u64) -> (Vec<f32>, usize) {
    if dimensions <= PROJECTED_DIMENSIONS {
        return (rows.to_vec(), dimensions);
    }
    let to = PROJECTED_DIMENSIONS;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let scale = 1.0 / (to as f32).sqrt();
    let matrix: Vec<f32> = (0..dimensions * to).map(|_| gaussian(&mut random) * scale).collect();
    let mut projected = vec![0.0_f32; rows.len() / dimensions * to];
    projected
        .par_chunks_mut(to)
        .zip(rows.par_chunks(dimensions))
        .for_each(|(out, row)| {
            for (value, weights) in row.iter().zip(matrix.chunks_exact(to)) {
                out.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
            }
        });
    (projected, to)
}

/// A standard normal number (Box and Muller 1958).
fn gaussian(random: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * random.random::<f64>()).cos()) as f32
}

/// Patches handled together in a matrix product.
const BLOCK: usize = 2048;

/// Patches on the shortlist: enough for dozens of steps, little beside the whole.
const SHORTLIST: usize = 1024;

/// Indices of `size` rows (or all, if there are no more) chosen greedily from a first one drawn from `seed`.
///
/// `rows` holds points of `dimensions` values. Equal distances go to the lowest index, so the result depends on the input and seed alone.
pub fn greedy_coreset(rows: &[f32], dimensions: usize, size: usize, seed: u64) -> Vec<usize> {
    let count = rows.len() / dimensions.max(1);
    if size >= count {
        return (0..count).collect();
    }
    let first = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed).random_range(0..count);
    let mut chosen = vec![first];
    let mut fresh = vec![first];
    let mut nearest = vec![f32::INFINITY; count];
    while chosen.len() < size {
        update(&mut nearest, rows, dimensions, &fresh);
        fresh = take_from_shortlist(&nearest, rows, dimensions, size - chosen.len());
        chosen.extend(&fresh);
    }
    chosen
}

/// Lowers the squared distances `nearest` of all rows by those to the `fresh` ones.
fn update(nearest: &mut [f32], rows: &[f32], dimensions: usize, fresh: &[usize]) {
    let centres: Vec<f32> = fresh.iter().flat_map(|&index| row(rows, dimensions, index)).copied().collect();
    let squares = squared_lengths(&centres, dimensions);
    nearest
        .par_chunks_mut(BLOCK)
        .zip(rows.par_chunks(BLOCK * dimensions))
        .for_each(|(nearest, rows)| {
            let products = products(rows, &centres, dimensions);
            let lengths = squared_lengths(rows, dimensions);
            for ((nearest, length), products) in nearest.iter_mut().zip(lengths).zip(products.chunks_exact(squares.len())) {
                let closest = products
                    .iter()
                    .zip(&squares)
                    .fold(f32::INFINITY, |least, (product, square)| least.min(square - 2.0 * product));
                *nearest = nearest.min((length + closest).max(0.0));
            }
        });
    // Rounding must not let a chosen row be chosen again.
    for &index in fresh {
        nearest[index] = f32::NEG_INFINITY;
    }
}

/// Takes steps inside the shortlist of the farthest rows, at least one and at most `most`.
fn take_from_shortlist(nearest: &[f32], rows: &[f32], dimensions: usize, most: usize) -> Vec<usize> {
    let farther = |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    let mut shortlist: Vec<(f32, usize)> = nearest.iter().copied().zip(0..).collect();
    let mut outside = f32::NEG_INFINITY;
    if shortlist.len() > SHORTLIST {
        outside = shortlist.select_nth_unstable_by(SHORTLIST, farther).1.0;
        shortlist.truncate(SHORTLIST);
    }
    shortlist.sort_unstable_by_key(|entry| entry.1);
    let mut taken = Vec::new();
    while taken.len() < most {
        let farthest = shortlist
            .iter()
            .copied()
            .reduce(|best, entry| if entry.0 > best.0 { entry } else { best });
        let Some((distance, index)) = farthest else { break };
        // The first of the list is the farthest of all; a later one is so only while it beats everything outside.
        if !taken.is_empty() && distance <= outside {
            break;
        }
        taken.push(index);
        let centre = row(rows, dimensions, index);
        for (distance, other) in &mut shortlist {
            *distance = if *other == index {
                f32::NEG_INFINITY
            } else {
                distance.min(squared_distance(centre, row(rows, dimensions, *other)))
            };
        }
    }
    taken
}

fn row(rows: &[f32], dimensions: usize, index: usize) -> &[f32] {
    &rows[index * dimensions..][..dimensions]
}

/// The sum of squares of each row.
pub(super) fn squared_lengths(rows: &[f32], columns: usize) -> Vec<f32> {
    rows.chunks_exact(columns)
        .map(|row| row.iter().map(|value| value * value).sum())
        .collect()
}

/// All inner products of rows of `a` with rows of `b`, `[row of a][row of b]`.
pub(super) fn products(a: &[f32], b: &[f32], columns: usize) -> Vec<f32> {
    let matrix = |rows| ndarray::ArrayView2::from_shape((<[f32]>::len(rows) / columns, columns), rows);
    match (matrix(a), matrix(b)) {
        (Ok(a), Ok(b)) => a.dot(&b.t()).into_raw_vec_and_offset().0,
        _ => unreachable!("rows hold whole numbers of columns"),
    }
}

/// Squared Euclidean distance, summed in eight lanes so that it vectorises.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0_f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(x, y)| (x - y) * (x - y))
        .sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            let difference = x[lane] - y[lane];
            sums[lane] += difference * difference;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The algorithm as the paper states it.
    fn plain(rows: &[f32], dimensions: usize, size: usize, first: usize) -> Vec<usize> {
        let count = rows.len() / dimensions;
        let mut nearest = vec![f32::INFINITY; count];
        let mut chosen = vec![first];
        while chosen.len() < size {
            let last = chosen[chosen.len() - 1];
            for (i, distance) in nearest.iter_mut().enumerate() {
                *distance = distance.min(squared_distance(
                    &rows[i * dimensions..][..dimensions],
                    &rows[last * dimensions..][..dimensions],
                ));
            }
            let farthest = (0..count).fold(0, |best, i| if nearest[i] > nearest[best] { i } else { best });
            chosen.push(farthest);
        }
        chosen
    }

    proptest! {
        #[test]
        fn skipping_distances_changes_nothing(values in prop::collection::vec(-100_i16..100, 40..400), size in 1_usize..12, seed: u64) {
            let rows: Vec<f32> = values[..values.len() / 2 * 2].iter().map(|v| f32::from(*v)).collect();
            let fast = greedy_coreset(&rows, 2, size, seed);
            prop_assert_eq!(&fast, &plain(&rows, 2, size, fast[0]));
        }

        #[test]
        fn projection_is_linear_and_repeatable(a in prop::collection::vec(-1.0_f32..1.0, 40), seed: u64) {
            let doubled: Vec<f32> = a.iter().map(|v| 2.0 * v).collect();
            let (once, dims) = project(&a, 40, seed);
            let (twice, _) = project(&doubled, 40, seed);
            prop_assert_eq!(dims, PROJECTED_DIMENSIONS);
            prop_assert!(once.iter().zip(&twice).all(|(x, y)| (2.0 * x - y).abs() < 1e-4));
        }
    }

    #[test]
    fn a_bank_as_large_as_the_data_keeps_everything() {
        assert_eq!(greedy_coreset(&[1.0, 2.0, 3.0], 1, 5, 0), [0, 1, 2]);
    }
}
