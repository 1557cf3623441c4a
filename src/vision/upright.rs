//! The region of a part that lies somewhere, as it would look if the part lay as in the reference; and back. Pure.

use std::sync::Arc;

use crate::capture::{Frame, PixelFormat, Plane};
use crate::part::{Finding, Region};
use crate::recipe::geometry::{Point, Rect};
use crate::recipe::measure::box_of;
use crate::recipe::pose::Pose;

/// How far a corner of the region may lie outside of the frame, pixels: rounding, no missing picture.
const BEYOND_PX: f64 = 1.0;

/// Samples of one kind in a plane of a frame: where the first one is, and how far it is to the next.
#[derive(Clone, Copy)]
struct Samples {
    first: usize,
    stride: usize,
    step: usize,
    columns: usize,
    rows: usize,
    /// Pixels per sample, across and down.
    pixels: [f64; 2],
}

impl Samples {
    fn new(frame: &Frame, plane: usize, (first, step): (usize, usize), [across, down]: [u32; 2]) -> Self {
        let Plane { offset, stride } = frame.planes[plane];
        Self {
            first: offset + first,
            stride,
            step,
            columns: frame.width.div_ceil(across) as usize,
            rows: frame.height.div_ceil(down) as usize,
            pixels: [f64::from(across), f64::from(down)],
        }
    }

    /// The sample at a place of the frame, in pixels, bilinear; the rim goes on outside.
    fn at(&self, bytes: &[u8], Point { x, y }: Point) -> Option<u8> {
        let place = |place: f64, pixels: f64, count: usize| (place / pixels - 0.5).clamp(0.0, count as f64 - 1.0);
        let (x, y) = (place(x, self.pixels[0], self.columns), place(y, self.pixels[1], self.rows));
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(self.columns - 1), (top + 1).min(self.rows - 1));
        let (share_x, share_y) = (x - left as f64, y - top as f64);
        let value = |row: usize, column: usize| {
            let at = self.first + row * self.stride + column * self.step;
            bytes.get(at).copied().map(f64::from)
        };
        let between = |row: usize| Some(value(row, left)? * (1.0 - share_x) + value(row, right)? * share_x);
        Some((between(top)? * (1.0 - share_y) + between(bottom)? * share_y).round() as u8)
    }
}

/// The region of the reference, taken from where it lies in the frame now: a frame of the region's size. GRAY8, RGB and BGR stay what they are,
/// other formats become I420. `None` where the region lies partly outside of the frame, or the frame's bytes do not fit its size.
pub fn upright(frame: &Frame, region: Region, pose: &Pose) -> Option<Frame> {
    let (width, height) = (f64::from(frame.width), f64::from(frame.height));
    let is_seen = |Point { x, y }: Point| (-BEYOND_PX..=width + BEYOND_PX).contains(&x) && (-BEYOND_PX..=height + BEYOND_PX).contains(&y);
    if !frame.is_whole()
        || frame.width == 0
        || frame.height == 0
        || !Rect::from(region)
            .corners()
            .into_iter()
            .all(|corner| is_seen(pose.to_frame(corner)))
    {
        return None;
    }
    let bytes = (*frame.pixels).as_ref();
    let samples = |plane, within, pixels| Samples::new(frame, plane, within, pixels);
    let full = [1, 1];
    let (format, planes): (PixelFormat, Vec<Vec<Samples>>) = match frame.format {
        PixelFormat::Gray8 => (PixelFormat::Gray8, vec![vec![samples(0, (0, 1), full)]]),
        PixelFormat::Rgb | PixelFormat::Bgr => (frame.format, vec![(0..3).map(|channel| samples(0, (channel, 3), full)).collect()]),
        PixelFormat::Nv12 => (
            PixelFormat::I420,
            vec![
                vec![samples(0, (0, 1), full)],
                vec![samples(1, (0, 2), [2, 2])],
                vec![samples(1, (1, 2), [2, 2])],
            ],
        ),
        PixelFormat::I420 => (
            PixelFormat::I420,
            vec![
                vec![samples(0, (0, 1), full)],
                vec![samples(1, (0, 1), [2, 2])],
                vec![samples(2, (0, 1), [2, 2])],
            ],
        ),
        PixelFormat::Yuy2 => (
            PixelFormat::I420,
            vec![
                vec![samples(0, (0, 2), full)],
                vec![samples(0, (1, 4), [2, 1])],
                vec![samples(0, (3, 4), [2, 1])],
            ],
        ),
    };
    let sizes = format.plane_sizes(region.width, region.height);
    let mut pixels = Vec::new();
    let mut places = [Plane::default(); 3];
    for (number, channels) in planes.iter().enumerate() {
        let (stride, rows) = sizes[number];
        places[number] = Plane {
            offset: pixels.len(),
            stride,
        };
        // Planes of chroma have half the rows and columns.
        let scale = if number == 0 { 1.0 } else { 2.0 };
        for row in 0..rows {
            for column in 0..stride / channels.len() {
                let place = |origin: u32, index: usize| f64::from(origin) + (index as f64 + 0.5) * scale;
                let at = pose.to_frame(Point::new(place(region.x, column), place(region.y, row)));
                for channel in channels {
                    pixels.push(channel.at(bytes, at)?);
                }
            }
        }
    }
    Some(Frame {
        pixels: Arc::new(pixels),
        format,
        width: region.width,
        height: region.height,
        planes: places,
        ..frame.clone()
    })
}

/// A finding of the upright region, in pixels of the frame: the rectangle around it as it lies there. Its area stays that of the finding.
pub fn in_frame(finding: Finding, region: Region, pose: &Pose, (width, height): (u32, u32)) -> Finding {
    let found = box_of(&finding);
    let (right, down) = (f64::from(region.x), f64::from(region.y));
    let corners = found
        .corners()
        .map(|corner| pose.to_frame(Point::new(corner.x + right, corner.y + down)));
    let span = |of: fn(&Point) -> f64, side: u32| {
        let places = corners.iter().map(of);
        let first = places
            .clone()
            .fold(f64::INFINITY, f64::min)
            .round()
            .clamp(0.0, f64::from(side) - 1.0);
        let last = places.fold(0.0, f64::max).round().clamp(first + 1.0, f64::from(side));
        (first as u32, (last - first) as u32)
    };
    let ((x, width), (y, height)) = (span(|at| at.x, width.max(1)), span(|at| at.y, height.max(1)));
    Finding {
        x,
        y,
        width,
        height,
        ..finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::Nanos;

    const SIDE: u32 = 64;

    /// A frame of smooth brightness and colour in a format.
    fn frame(format: PixelFormat) -> Frame {
        let sizes = format.plane_sizes(SIDE, SIDE);
        let luma = |x: usize, y: usize| (2 * x + y) as u8;
        let mut pixels = Vec::new();
        let mut planes = [Plane::default(); 3];
        for (number, (stride, rows)) in sizes.into_iter().enumerate() {
            planes[number] = Plane {
                offset: pixels.len(),
                stride,
            };
            for y in 0..rows {
                for byte in 0..stride {
                    pixels.push(match (format, number) {
                        (PixelFormat::Gray8 | PixelFormat::Nv12 | PixelFormat::I420, 0) => luma(byte, y),
                        (PixelFormat::Rgb | PixelFormat::Bgr, _) => luma(byte / 3, y).wrapping_add(10 * (byte % 3) as u8),
                        (PixelFormat::Yuy2, _) if byte % 2 == 0 => luma(byte / 2, y),
                        _ => 128,
                    });
                }
            }
        }
        Frame {
            pixels: Arc::new(pixels),
            format,
            width: SIDE,
            height: SIDE,
            planes,
            full_range: true,
            bt709: false,
            exposed_at: Nanos::default(),
            counter: Some(3),
        }
    }

    fn pose(dx_px: f64, dy_px: f64, degrees: f64) -> Pose {
        Pose {
            dx_px,
            dy_px,
            angle_rad: f64::to_radians(degrees),
            pivot: Point::new(32.0, 32.0),
        }
    }

    const REGION: Region = Region {
        x: 20,
        y: 24,
        width: 21,
        height: 15,
    };

    #[test]
    fn every_format_shows_what_lies_where_the_part_is() {
        for format in PixelFormat::ALL {
            let pose = pose(3.25, -4.5, 9.0);
            let upright = upright(&frame(format), REGION, &pose).unwrap();
            assert_eq!((upright.width, upright.height, upright.counter), (21, 15, Some(3)), "{format:?}");
            assert!(upright.is_whole(), "{format:?}");
            for (x, y) in [(0, 0), (20, 14), (7, 11)] {
                let seen = pose.to_frame(Point::new(f64::from(REGION.x + x) + 0.5, f64::from(REGION.y + y) + 0.5));
                let (in_x, in_y) = (seen.x - 0.5, seen.y - 0.5);
                let step = if matches!(format, PixelFormat::Rgb | PixelFormat::Bgr) {
                    3
                } else {
                    1
                };
                let got = upright.row(0, y as usize).unwrap()[x as usize * step];
                assert!((f64::from(got) - (2.0 * in_x + in_y)).abs() <= 1.0, "{format:?} {x} {y}: {got}");
            }
        }
    }

    #[test]
    fn a_region_that_is_not_seen_whole_is_not_taken() {
        let frame = frame(PixelFormat::Gray8);
        assert!(upright(&frame, REGION, &pose(-22.0, 0.0, 0.0)).is_none());
        assert!(upright(&frame, REGION, &pose(-20.5, 0.0, 0.0)).is_some());
        let cut = Frame {
            pixels: Arc::new(vec![0_u8; 10]),
            ..frame
        };
        assert!(upright(&cut, REGION, &pose(0.0, 0.0, 0.0)).is_none());
    }

    #[test]
    fn findings_lie_in_the_frame_where_the_part_does() {
        let place = Region {
            x: 2,
            y: 3,
            width: 4,
            height: 2,
        };
        let finding = Finding {
            area_px: 7,
            ..Finding::somewhere_in(place, "anomaly", 1.0)
        };
        let shifted = in_frame(finding.clone(), REGION, &pose(10.0, -5.0, 0.0), (SIDE, SIDE));
        assert_eq!(
            (shifted.x, shifted.y, shifted.width, shifted.height, shifted.area_px),
            (32, 22, 4, 2, 7)
        );
        // A quarter turn clockwise about the middle: the edge (x, y) goes to (64 - y, x).
        let turned = in_frame(finding.clone(), REGION, &pose(0.0, 0.0, 90.0), (SIDE, SIDE));
        assert_eq!((turned.x, turned.y, turned.width, turned.height), (35, 22, 2, 4));
        let outside = in_frame(finding, REGION, &pose(1000.0, 0.0, 0.0), (SIDE, SIDE));
        assert!(outside.x + outside.width <= SIDE && outside.width >= 1);
    }
}
