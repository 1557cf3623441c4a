//! Between the four pixels around one point, in the arithmetic of OpenCV's `INTER_LINEAR` for bytes: weights of 11 bits, across before down,
//! whole levels. The scores of detectors change in the third digit where levels are rounded in another way, and most were trained on these.

use super::reduce::Channels;
use super::source::Source;
use super::taps::Cut;

/// Takes planes that have a sample for the same number of pixels point by point.
#[derive(Default)]
pub(super) struct Points {
    columns: Pairs,
    rows: Pairs,
}

/// The two samples around each point of a cut, kept until another cut is asked for.
#[derive(Default)]
struct Pairs {
    cut: Option<Cut>,
    pairs: Vec<Pair>,
}

/// Two samples and their weights.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pair {
    samples: [usize; 2],
    /// In 1/2048.
    weights: [i32; 2],
}

impl Points {
    /// Finds the samples for cuts of the columns and of the rows.
    pub(super) fn prepare(&mut self, columns: Cut, rows: Cut) {
        // Across, a point beyond the middle of the outermost sample is moved there. Down, that sample is taken twice, with both weights.
        self.columns.prepare(columns, |place, last| place.clamp(0.0, last));
        self.rows.prepare(rows, |place, _| place);
    }

    /// Sets a row of levels, 0 to 255, for each channel that a plane holds.
    ///
    /// `None` when the source has not the bytes that its size needs.
    pub(super) fn set_row(&self, source: Source<'_>, channels: &Channels, row: usize, levels: &mut [Vec<f32>; 3]) -> Option<()> {
        let down = self.rows.pairs.get(row)?;
        let [top, bottom] = down.samples.map(|row| source.row(channels.plane, row));
        let (top, bottom) = (top?, bottom?);
        for (byte, level) in channels.bytes {
            for (across, level) in self.columns.pairs.iter().zip(&mut levels[*level]) {
                let [left, right] = across.samples.map(|sample| sample * channels.step + byte);
                let between = |row: &[u8]| Some(mean(across.weights, [i32::from(*row.get(left)?), i32::from(*row.get(right)?)]));
                // The shifts leave 16 and then 2 bits: each product is cut down by itself, as OpenCV's vector instructions do it.
                let [top, bottom] = [between(top)? >> 4, between(bottom)? >> 4];
                let sum = ((top * down.weights[0]) >> 16) + ((bottom * down.weights[1]) >> 16);
                *level = ((sum + 2) >> 2) as f32;
            }
        }
        Some(())
    }
}

fn mean(weights: [i32; 2], samples: [i32; 2]) -> i32 {
    weights[0] * samples[0] + weights[1] * samples[1]
}

impl Pairs {
    /// Finds the samples; `moved` gives the place to take for one counted from the middle of the first sample, and that of the last.
    fn prepare(&mut self, cut: Cut, moved: impl Fn(f32, f32) -> f32) {
        if self.cut == Some(cut) {
            return;
        }
        self.cut = Some(cut);
        self.pairs.clear();
        let reach = cut.reach();
        let last = reach.len() - 1;
        let scale = cut.length / f64::from(cut.pixels);
        self.pairs.extend((0..cut.pixels).map(|pixel| {
            // Of 32 bits, as there.
            let place = ((f64::from(pixel) + 0.5) * scale - 0.5 + cut.start.fract()) as f32;
            let place = moved(place, last as f32);
            let first = place.floor();
            let weight = |share: f32| (share * 2048.0).round_ties_even() as i32;
            Pair {
                // Below 0 becomes 0.
                samples: [first as usize, (first + 1.0) as usize].map(|sample| reach.start + sample.min(last)),
                weights: [weight(1.0 - (place - first)), weight(place - first)],
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Colour, Filter, InputTensor, TensorSpec, TensorValues};
    use crate::vision::Image;

    /// Red of what OpenCV 5.0.0 makes of the picture below by `resize` with `INTER_LINEAR`: fewer pixels, and more.
    const OPENCV: [(u32, u32, &[u8]); 2] = [
        (4, 3, &[45, 117, 113, 174, 204, 51, 155, 98, 106, 71, 132, 86]),
        (
            9,
            7,
            &[
                0, 25, 53, 82, 111, 140, 168, 197, 222, 52, 81, 114, 148, 182, 102, 103, 136, 165, 117, 151, 158, 157, 197, 95, 94, 109,
                95, 182, 221, 153, 57, 103, 149, 195, 155, 24, 64, 108, 128, 140, 191, 101, 113, 140, 136, 56, 106, 115, 112, 170, 115, 79,
                89, 138, 108, 162, 111, 32, 95, 158, 79, 28, 82,
            ],
        ),
    ];

    #[test]
    fn bytes_are_those_of_opencv() {
        let pixels = (0..5_u32).flat_map(|y| (0..7_u32).map(move |x| (x, y)));
        let image = Image {
            width: 7,
            height: 5,
            rgb: pixels
                .flat_map(|(x, y)| [0, 1, 2].map(|channel| (x * 37 + y * 91 + channel * 53 + x * y * 11) as u8))
                .collect(),
        };
        for (width, height, expected) in OPENCV {
            let spec = TensorSpec {
                filter: Filter::Point,
                colour: Colour::Rgb,
                ..TensorSpec::taught(width, height)
            };
            let mut tensor = InputTensor::new(spec, 1).unwrap();
            tensor.set_image(0, &image, None).unwrap();
            let TensorValues::U8(values) = tensor.values() else {
                panic!("not bytes")
            };
            let red: Vec<u8> = values.iter().step_by(3).copied().collect();
            assert_eq!(red, expected);
        }
    }
}
