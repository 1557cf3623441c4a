//! Luma and chroma become red, green and blue.

use super::source::Source;

/// The factors that make red, green and blue of luma and chroma.
pub(super) struct Colours<T> {
    /// The luma of black.
    black: u8,
    luma: T,
    red_of_v: T,
    green_of_u: T,
    green_of_v: T,
    blue_of_u: T,
}

impl Colours<f64> {
    /// By ITU-R BT.601 or BT.709.
    fn exact(source: Source<'_>) -> Self {
        let (full_range, bt709) = source.encoding();
        let (red, blue) = if bt709 { (0.2126, 0.0722) } else { (0.299, 0.114) };
        let (black, luma_range, chroma_range) = if full_range { (0, 255.0, 255.0) } else { (16, 219.0, 224.0) };
        let green = 1.0 - red - blue;
        let chroma = 255.0 / chroma_range;
        Self {
            black,
            luma: 255.0 / luma_range,
            red_of_v: chroma * 2.0 * (1.0 - red),
            green_of_u: chroma * 2.0 * (1.0 - blue) * blue / green,
            green_of_v: chroma * 2.0 * (1.0 - red) * red / green,
            blue_of_u: chroma * 2.0 * (1.0 - blue),
        }
    }
}

impl<T> Colours<T> {
    fn map<U>(self, convert: impl Fn(T) -> U) -> Colours<U> {
        Colours {
            black: self.black,
            luma: convert(self.luma),
            red_of_v: convert(self.red_of_v),
            green_of_u: convert(self.green_of_u),
            green_of_v: convert(self.green_of_v),
            blue_of_u: convert(self.blue_of_u),
        }
    }
}

impl Colours<i32> {
    /// In 1/65536.
    pub(super) fn fixed(source: Source<'_>) -> Self {
        Colours::exact(source).map(|factor| (factor * 65536.0).round() as i32)
    }

    /// Puts pixels of luma, U and V into `target` as bytes of red, green and blue.
    pub(super) fn convert(&self, pixels: impl Iterator<Item = [u8; 3]>, target: &mut [u8]) {
        let black = i32::from(self.black);
        for (rgb, [luma, u, v]) in target.chunks_exact_mut(3).zip(pixels) {
            let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
            let grey = (i32::from(luma) - black) * self.luma + (1 << 15);
            rgb[0] = level(grey + self.red_of_v * v);
            rgb[1] = level(grey - self.green_of_u * u - self.green_of_v * v);
            rgb[2] = level(grey + self.blue_of_u * u);
        }
    }
}

fn level(fixed: i32) -> u8 {
    (fixed >> 16).clamp(0, 255) as u8
}

impl Colours<f32> {
    /// In floating point.
    pub(super) fn of(source: Source<'_>) -> Self {
        Colours::exact(source).map(|factor| factor as f32)
    }

    /// Makes red of luma, green of U and blue of V, in place.
    pub(super) fn convert_levels(&self, [first, second, third]: [&mut [f32]; 3]) {
        let black = f32::from(self.black);
        for ((first, second), third) in first.iter_mut().zip(second).zip(third) {
            let grey = (*first - black) * self.luma;
            let (u, v) = (*second - 128.0, *third - 128.0);
            *first = (grey + self.red_of_v * v).clamp(0.0, 255.0);
            *second = (grey - self.green_of_u * u - self.green_of_v * v).clamp(0.0, 255.0);
            *third = (grey + self.blue_of_u * u).clamp(0.0, 255.0);
        }
    }
}
