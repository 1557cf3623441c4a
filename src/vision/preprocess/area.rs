//! The mean of the pixels that a pixel of the tensor covers, row by row: first the rows of the source that make it are added up, weighted, as
//! they lie in memory; then the samples of that one row. Nearly all the work is in the first step, which goes over bytes in order, so that
//! compilers turn it into vector instructions, and what is between the steps fits the first-level cache.

use super::reduce::Channels;
use super::source::Source;
use super::taps::{Cut, Taps};

/// Takes means of planes that have a sample for the same number of pixels.
#[derive(Default)]
pub(super) struct Means {
    columns: Taps,
    rows: Taps,
    /// The rows of the source that make one of the tensor, added up.
    sums: Vec<f32>,
}

impl Means {
    /// Makes the weights for cuts of the columns and of the rows.
    pub(super) fn prepare(&mut self, columns: Cut, rows: Cut) {
        self.columns.prepare(columns);
        self.rows.prepare(rows);
    }

    /// Sets a row of levels, 0 to 255, for each channel that a plane holds.
    ///
    /// `None` when the source has not the bytes that its size needs.
    pub(super) fn set_row(&mut self, source: Source<'_>, channels: &Channels, row: usize, levels: &mut [Vec<f32>; 3]) -> Option<()> {
        self.add_rows(source, channels, row)?;
        match channels.step {
            1 => self.add_samples::<1>(channels, levels),
            2 => self.add_samples::<2>(channels, levels),
            3 => self.add_samples::<3>(channels, levels),
            _ => self.add_samples::<4>(channels, levels),
        }
        Some(())
    }

    /// Adds up the rows of a plane that make one of the tensor.
    fn add_rows(&mut self, source: Source<'_>, &Channels { plane, step, .. }: &Channels, row: usize) -> Option<()> {
        let reach = self.columns.reach();
        self.sums.clear();
        self.sums.resize(reach.len() * step, 0.0);
        let (first, weights) = self.rows.of(row);
        for (row, weight) in (first..).zip(weights).filter(|(_, weight)| **weight > 0.0) {
            let bytes = source.row(plane, row)?.get(reach.start * step..reach.end * step)?;
            for (sum, byte) in self.sums.iter_mut().zip(bytes) {
                *sum += f32::from(*byte) * weight;
            }
        }
        Some(())
    }

    /// Adds up the samples that make each pixel; a sample has `N` bytes.
    fn add_samples<const N: usize>(&self, channels: &Channels, levels: &mut [Vec<f32>; 3]) {
        let start = self.columns.reach().start;
        let (samples, _) = self.sums.as_chunks::<N>();
        for (pixel, (first, weights)) in self.columns.iter().enumerate() {
            let mut sums = [0.0; N];
            for (weight, sample) in weights.iter().zip(samples.get(first - start..).unwrap_or_default()) {
                for (sum, byte) in sums.iter_mut().zip(sample) {
                    *sum += weight * byte;
                }
            }
            for (byte, level) in channels.bytes {
                levels[*level][pixel] = sums[*byte];
            }
        }
    }
}
