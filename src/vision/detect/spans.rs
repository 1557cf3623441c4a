//! Masks of instances as spans: short whatever their size, and easily joined where tiles cut an instance.

use super::masks::InstanceMask;

/// The pixels of an instance as spans of columns: what a mask of any size is kept as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spans(Vec<Span>);

/// Pixels of one column that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The column, pixels of the frame.
    pub x: u32,
    /// Its first row.
    pub top: u32,
    /// The row behind its last.
    pub bottom: u32,
}

impl Spans {
    /// Those of a mask.
    pub fn of(mask: &InstanceMask) -> Self {
        let is_inside = |x: u32, y: u32| mask.inside[(y * mask.width + x) as usize];
        let mut spans = Vec::new();
        for x in 0..mask.width {
            let mut top = None;
            for y in 0..=mask.height {
                match (top, y < mask.height && is_inside(x, y)) {
                    (None, true) => top = Some(y),
                    (Some(start), false) => {
                        spans.push(Span {
                            x: mask.x + x,
                            top: mask.y + start,
                            bottom: mask.y + y,
                        });
                        top = None;
                    }
                    _ => {}
                }
            }
        }
        Self(spans)
    }

    /// By columns, and from the top of each; none touches the next.
    pub fn iter(&self) -> impl Iterator<Item = Span> + '_ {
        self.0.iter().copied()
    }

    /// What lies in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<Span> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut spans: Vec<Span> = Vec::with_capacity(all.len());
        for span in all {
            match spans.last_mut() {
                Some(last) if last.x == span.x && span.top <= last.bottom => last.bottom = last.bottom.max(span.bottom),
                _ => spans.push(span),
            }
        }
        Self(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIDE: u32 = 7;

    fn mask(x: u32, y: u32, inside: &[bool]) -> InstanceMask {
        InstanceMask {
            x,
            y,
            width: SIDE,
            height: SIDE,
            inside: inside.to_vec(),
            area_px: 1,
        }
    }

    /// Flags of a picture of 10 x 10 pixels.
    fn pixels(spans: &Spans) -> Vec<bool> {
        let mut inside = vec![false; 100];
        for span in spans.iter() {
            (span.top..span.bottom).for_each(|y| inside[(y * 10 + span.x) as usize] = true);
        }
        inside
    }

    fn flags() -> impl Strategy<Value = Vec<bool>> {
        prop::collection::vec(any::<bool>(), (SIDE * SIDE) as usize)
    }

    proptest! {
        #[test]
        fn spans_are_the_pixels_and_join_pixel_by_pixel(a in flags(), b in flags(), x in 0_u32..=3, y in 0_u32..=3) {
            let (first, second) = (Spans::of(&mask(0, 0, &a)), Spans::of(&mask(x, y, &b)));
            let is = |flags: &[bool], column: i64, row: i64| {
                let inside = (0..i64::from(SIDE)).contains(&column) && (0..i64::from(SIDE)).contains(&row);
                inside && flags[(row * i64::from(SIDE) + column) as usize]
            };
            let expected = |f: &dyn Fn(i64, i64) -> bool| (0..100).map(|at| f(at % 10, at / 10)).collect::<Vec<bool>>();
            prop_assert_eq!(pixels(&first), expected(&|column, row| is(&a, column, row)));
            let both = first.union(&second);
            let (x, y) = (i64::from(x), i64::from(y));
            prop_assert_eq!(pixels(&both), expected(&|column, row| is(&a, column, row) || is(&b, column - x, row - y)));
            let all: Vec<Span> = both.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].x < pair[1].x || pair[0].bottom < pair[1].top), "{all:?}");
            prop_assert_eq!(both, second.union(&first));
        }
    }
}
