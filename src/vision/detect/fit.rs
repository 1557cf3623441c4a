//! How a picture was fitted into the model's input, and the way back. Says where pixels lie; resizing them is preprocessing.

use serde::{Deserialize, Serialize};

use super::{Detection, Size};

/// Where a letterboxed picture lies in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Placement {
    /// In the middle; of an odd number of padding pixels the smaller half is left and above (Ultralytics' `LetterBox`: `round(pad / 2 - 0.1)`).
    #[default]
    Centred,
    /// In the top left corner (`preproc` of YOLOX).
    TopLeft,
}

/// How many whole pixels a letterboxed picture takes where its scaled size is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Content {
    /// The nearest number, of two the even one (Ultralytics: Python's `round`).
    #[default]
    Rounded,
    /// The number below (YOLOX: Python's `int`).
    Truncated,
}

/// Where the pixels of a picture are in the model's input: per axis, input = source * scale + offset, with 0 at the outer edge of the first pixel.
///
/// The scale is that of the pixels: content size by source size, after rounding. The references map back with the unrounded ratio of a
/// letterbox; where rounding changed the content's size, their boxes are off by up to one pixel of the input at the far edge, and these are not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    source: Size,
    input: Size,
    content: Size,
    left: u32,
    top: u32,
}

impl Fit {
    /// The picture fills the input, its aspect is not kept.
    pub fn stretch(source: Size, input: Size) -> Self {
        Self {
            source,
            input,
            content: input,
            left: 0,
            top: 0,
        }
    }

    /// The picture is scaled by one factor, as large as fits, and padded with whole pixels.
    pub fn letterbox(source: Size, input: Size, placement: Placement, content: Content) -> Self {
        // Largest first, in f64 as Python does it, so that the numbers are those of the references.
        let across = f64::from(input.width) / f64::from(source.width.max(1));
        let down = f64::from(input.height) / f64::from(source.height.max(1));
        let ratio = across.min(down);
        let pixels = |source: u32, input: u32| {
            let scaled = f64::from(source) * ratio;
            let whole = match content {
                Content::Rounded => scaled.round_ties_even(),
                Content::Truncated => scaled.floor(),
            };
            (whole as u32).clamp(1, input.max(1))
        };
        let content = Size {
            width: pixels(source.width, input.width),
            height: pixels(source.height, input.height),
        };
        let before = |content: u32, input: u32| match placement {
            Placement::Centred => input.saturating_sub(content) / 2,
            Placement::TopLeft => 0,
        };
        Self {
            source,
            input,
            content,
            left: before(content.width, input.width),
            top: before(content.height, input.height),
        }
    }

    /// Size of the picture.
    pub fn source(&self) -> Size {
        self.source
    }

    /// Size of the model's input.
    pub fn input(&self) -> Size {
        self.input
    }

    /// Size of the picture within the input; the rest is padding.
    pub fn content(&self) -> Size {
        self.content
    }

    /// Columns of padding left of the picture.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Rows of padding above the picture.
    pub fn top(&self) -> u32 {
        self.top
    }

    /// Input pixels per source pixel, across and down.
    pub fn scale(&self) -> (f32, f32) {
        let scale = |content: u32, source: u32| content as f32 / source.max(1) as f32;
        (
            scale(self.content.width, self.source.width),
            scale(self.content.height, self.source.height),
        )
    }

    /// A detection in pixels of the picture, clipped to it; `None` where nothing of it lies in the picture.
    pub fn to_source(&self, detection: &Detection) -> Option<Detection> {
        let (across, down) = self.scale();
        let back = |edge: f32, offset: u32, scale: f32, source: u32| ((edge - offset as f32) / scale).clamp(0.0, source as f32);
        let mapped = Detection {
            x0: back(detection.x0, self.left, across, self.source.width),
            x1: back(detection.x1, self.left, across, self.source.width),
            y0: back(detection.y0, self.top, down, self.source.height),
            y1: back(detection.y1, self.top, down, self.source.height),
            ..*detection
        };
        let beside = |low: f32, high: f32, source: u32| high <= 0.0 || low >= source as f32;
        let outside = beside(mapped.x0, mapped.x1, self.source.width) || beside(mapped.y0, mapped.y1, self.source.height);
        (!outside).then_some(mapped)
    }

    /// A detection of the picture in pixels of the model's input; the inverse of [`Fit::to_source`] but for its clipping.
    pub fn to_input(&self, detection: &Detection) -> Detection {
        let (across, down) = self.scale();
        Detection {
            x0: detection.x0 * across + self.left as f32,
            x1: detection.x1 * across + self.left as f32,
            y0: detection.y0 * down + self.top as f32,
            y1: detection.y1 * down + self.top as f32,
            ..*detection
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    fn detection(x0: f32, y0: f32, x1: f32, y1: f32) -> Detection {
        Detection {
            class: 0,
            score: 0.5,
            x0,
            y0,
            x1,
            y1,
            anchor: 0,
        }
    }

    #[test]
    fn letterboxes_as_the_references_do() {
        // Ultralytics 8: 1280x720 in 640x640 is 640x360 with 140 above; 333x500 is 426x640 with 107 left, 107 right.
        let fit = Fit::letterbox(size(1280, 720), size(640, 640), Placement::Centred, Content::Rounded);
        assert_eq!((fit.content(), fit.left(), fit.top()), (size(640, 360), 0, 140));
        let fit = Fit::letterbox(size(333, 500), size(640, 640), Placement::Centred, Content::Rounded);
        assert_eq!((fit.content(), fit.left(), fit.top()), (size(426, 640), 107, 0));
        // An odd rest: 427 of 640 leaves 213, of which round(106.5 - 0.1) = 106 are left.
        let fit = Fit::letterbox(size(427, 640), size(640, 640), Placement::Centred, Content::Rounded);
        assert_eq!((fit.content(), fit.left()), (size(427, 640), 106));
        // YOLOX: int(240 * 416 / 344) = 290.
        let fit = Fit::letterbox(size(344, 240), size(416, 416), Placement::TopLeft, Content::Truncated);
        assert_eq!((fit.content(), fit.left(), fit.top()), (size(416, 290), 0, 0));
    }

    #[test]
    fn what_lies_in_the_padding_is_not_in_the_picture() {
        let fit = Fit::letterbox(size(1280, 720), size(640, 640), Placement::Centred, Content::Rounded);
        assert_eq!(fit.to_source(&detection(10.0, 10.0, 50.0, 140.0)), None);
        assert_eq!(fit.to_source(&detection(10.0, 500.0, 50.0, 600.0)), None);
        assert_eq!(
            fit.to_source(&detection(10.0, 100.0, 50.0, 150.0)),
            Some(detection(20.0, 0.0, 100.0, 20.0))
        );
    }

    #[test]
    fn a_picture_thinner_than_a_pixel_of_the_input_keeps_one() {
        let fit = Fit::letterbox(size(10_000, 3), size(64, 64), Placement::Centred, Content::Truncated);
        assert_eq!(fit.content(), size(64, 1));
    }

    proptest! {
        #[test]
        fn there_and_back_is_where_it_was(
            source in (1_u32..5000, 1_u32..5000), input in (32_u32..1300, 32_u32..1300), stretch: bool, top_left: bool, truncated: bool,
            corners in (0.0_f32..1.0, 0.0_f32..1.0, 0.0_f32..1.0, 0.0_f32..1.0),
        ) {
            let (source, input) = (size(source.0, source.1), size(input.0, input.1));
            let placement = if top_left { Placement::TopLeft } else { Placement::Centred };
            let content = if truncated { Content::Truncated } else { Content::Rounded };
            let fit = if stretch { Fit::stretch(source, input) } else { Fit::letterbox(source, input, placement, content) };
            prop_assert!(fit.left() + fit.content().width <= input.width && fit.top() + fit.content().height <= input.height);
            let (width, height) = (source.width as f32, source.height as f32);
            let (a, b, c, d) = corners;
            let inside = detection(a.min(b) * width, c.min(d) * height, a.max(b) * width, c.max(d) * height);
            if inside.x1 > 0.01 && inside.y1 > 0.01 && inside.x0 < width - 0.01 && inside.y0 < height - 0.01 {
                let back = fit.to_source(&fit.to_input(&inside)).unwrap();
                let (across, down) = fit.scale();
                let columns = [(back.x0, inside.x0, across), (back.x1, inside.x1, across)];
                for (got, expected, scale) in columns.into_iter().chain([(back.y0, inside.y0, down), (back.y1, inside.y1, down)]) {
                    prop_assert!((got - expected).abs() <= 1e-3 + 1e-3 / scale, "{got} {expected}");
                }
            }
        }

        #[test]
        fn what_comes_back_lies_in_the_picture(
            source in (1_u32..5000, 1_u32..5000), x in -2000.0_f32..2000.0, y in -2000.0_f32..2000.0, w in 0.0_f32..2000.0, h in 0.0_f32..2000.0,
        ) {
            let fit = Fit::letterbox(size(source.0, source.1), size(640, 480), Placement::Centred, Content::Rounded);
            if let Some(found) = fit.to_source(&detection(x, y, x + w, y + h)) {
                prop_assert!(found.x0 >= 0.0 && found.x0 <= found.x1 && found.x1 <= source.0 as f32);
                prop_assert!(found.y0 >= 0.0 && found.y0 <= found.y1 && found.y1 <= source.1 as f32);
            }
        }
    }
}
