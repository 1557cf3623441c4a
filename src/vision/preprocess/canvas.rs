//! Rows of levels become values of a tensor: normalised, in its layout, between bars.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::spec::{Colour, Layout, Placement, TensorSpec};

/// A value of a tensor.
pub(super) trait Value: Copy {
    /// Rounds to the nearest, into as many values.
    fn round(values: &[f32], into: &mut [Self]);
}

impl Value for f32 {
    fn round(values: &[f32], into: &mut [Self]) {
        into.copy_from_slice(values);
    }
}

impl Value for f16 {
    fn round(values: &[f32], into: &mut [Self]) {
        into.convert_from_f32_slice(values);
    }
}

impl Value for u8 {
    fn round(values: &[f32], into: &mut [Self]) {
        for (value, into) in values.iter().zip(into) {
            *into = (value + 0.5) as u8;
        }
    }
}

/// One picture of a tensor while it is written.
pub(super) struct Canvas<'a, T> {
    pub(super) spec: &'a TensorSpec,
    pub(super) placement: Placement,
    values: &'a mut [T],
    /// A row of all channels in the order of the layout, with the bars beside the picture.
    line: &'a mut [f32],
    gains: [(f32, f32); 3],
}

impl<'a, T: Value> Canvas<'a, T> {
    /// A canvas on the values of one picture, with bars around the place of the picture; `line` has the values of one row.
    pub(super) fn new(spec: &'a TensorSpec, placement: Placement, values: &'a mut [T], line: &'a mut [f32]) -> Self {
        let gains = spec.gains();
        let mut canvas = Self {
            spec,
            placement,
            values,
            line,
            gains,
        };
        let picture = placement.top..placement.top + placement.height;
        if placement.width < spec.width || placement.height < spec.height {
            let width = spec.width as usize;
            canvas.set_line(0, [&spec.fill(); 3].map(|level| std::iter::repeat_n(level, width)));
            (0..spec.height)
                .filter(|row| !picture.contains(row))
                .for_each(|row| canvas.put_line(row as usize));
        }
        canvas
    }

    /// Writes a row of the picture from its levels of red, green and blue.
    pub(super) fn write(&mut self, row: usize, rgb: [&[f32]; 3]) {
        self.set_line(self.placement.left as usize, rgb.map(<[f32]>::iter));
        self.put_line(self.placement.top as usize + row);
    }

    fn set_line<'l>(&mut self, left: usize, [red, green, blue]: [impl Iterator<Item = &'l f32>; 3]) {
        match self.spec.colour {
            Colour::Rgb => {
                self.set_channel(0, left, red.copied());
                self.set_channel(1, left, green.copied());
                self.set_channel(2, left, blue.copied());
            }
            Colour::Bgr => {
                self.set_channel(0, left, blue.copied());
                self.set_channel(1, left, green.copied());
                self.set_channel(2, left, red.copied());
            }
            Colour::Gray => {
                let rgb = red.zip(green).zip(blue);
                self.set_channel(0, left, rgb.map(|((red, green), blue)| 0.299 * red + 0.587 * green + 0.114 * blue));
            }
        }
    }

    fn set_channel(&mut self, channel: usize, left: usize, levels: impl Iterator<Item = f32>) {
        let (gain, offset) = self.gains[channel];
        let (start, step) = match self.spec.layout {
            Layout::Nchw => (channel * self.spec.width as usize + left, 1),
            Layout::Nhwc => {
                let channels = self.spec.colour.channels();
                (left * channels + channel, channels)
            }
        };
        let values = self.line.get_mut(start..).unwrap_or_default();
        if step == 1 {
            values
                .iter_mut()
                .zip(levels)
                .for_each(|(value, level)| *value = level * gain + offset);
        } else {
            let values = values.iter_mut().step_by(step);
            values.zip(levels).for_each(|(value, level)| *value = level * gain + offset);
        }
    }

    fn put_line(&mut self, row: usize) {
        let (lines, line) = match self.spec.layout {
            Layout::Nchw => (self.spec.colour.channels(), self.spec.width as usize),
            Layout::Nhwc => (1, self.line.len()),
        };
        let plane = self.values.len() / lines;
        for (values, line) in self.values.chunks_exact_mut(plane).zip(self.line.chunks_exact(line)) {
            if let Some(values) = values.get_mut(row * line.len()..(row + 1) * line.len()) {
                T::round(line, values);
            }
        }
    }
}
