//! The pixels of a frame become those of a tensor, plane by plane as they lie in memory. Colours are converted on what is left: all steps are
//! linear, so the order matters only where levels are clamped.

use super::area::Means;
use super::colour::Colours;
use super::point::Points;
use super::source::Source;
use super::spec::{Filter, Placement};
use super::taps::Cut;
use crate::capture::PixelFormat;

/// Reduces pictures, with buffers that are used again.
#[derive(Default)]
pub(super) struct Reducer {
    full: Grid,
    halved: Grid,
    /// A row of red, green and blue, or of luma, U and V.
    levels: [Vec<f32>; 3],
}

/// The ways to reduce planes that have a sample for the same number of pixels.
#[derive(Default)]
struct Grid {
    means: Means,
    points: Points,
}

/// What a plane holds.
pub(super) struct Channels {
    pub(super) plane: usize,
    /// Whether it has a sample for two pixels in a row.
    is_halved: bool,
    /// Bytes from one sample to the next, 1 to 4.
    pub(super) step: usize,
    /// The byte of a sample, and which of red, green and blue, or of luma, U and V, it is.
    pub(super) bytes: &'static [(usize, usize)],
}

const fn full(step: usize, bytes: &'static [(usize, usize)]) -> Channels {
    Channels {
        plane: 0,
        is_halved: false,
        step,
        bytes,
    }
}

const fn halved(plane: usize, step: usize, bytes: &'static [(usize, usize)]) -> Channels {
    Channels {
        plane,
        is_halved: true,
        step,
        bytes,
    }
}

/// What the planes of a format hold.
fn channels(format: PixelFormat) -> &'static [Channels] {
    match format {
        PixelFormat::Gray8 => const { &[full(1, &[(0, 0)])] },
        PixelFormat::Rgb => const { &[full(3, &[(0, 0), (1, 1), (2, 2)])] },
        PixelFormat::Bgr => const { &[full(3, &[(0, 2), (1, 1), (2, 0)])] },
        PixelFormat::Nv12 => const { &[full(1, &[(0, 0)]), halved(1, 2, &[(0, 1), (1, 2)])] },
        PixelFormat::I420 => const { &[full(1, &[(0, 0)]), halved(1, 1, &[(0, 1)]), halved(2, 1, &[(0, 2)])] },
        // The same bytes are seen as pixels of luma and something, and as half as many of something, U, something and V.
        PixelFormat::Yuy2 => const { &[full(2, &[(0, 0)]), halved(0, 4, &[(1, 1), (3, 2)])] },
    }
}

impl Reducer {
    /// Reduces the placed part of a source and gives `take`, row by row, the levels of red, green and blue: 0 to 255.
    ///
    /// `None` when the source has not the bytes that its size needs.
    pub(super) fn reduce(
        &mut self,
        source: Source<'_>,
        placement: &Placement,
        filter: Filter,
        mut take: impl FnMut(usize, [&[f32]; 3]),
    ) -> Option<()> {
        let format = source.format();
        let rows_of_chroma = if format == PixelFormat::Yuy2 { 1 } else { 2 };
        self.full.prepare(placement, filter, (1, 1));
        self.halved.prepare(placement, filter, (2, rows_of_chroma));
        let colours = Colours::of(source);
        let width = placement.width as usize;
        self.levels.iter_mut().for_each(|levels| levels.resize(width, 0.0));
        for row in 0..placement.height as usize {
            for channels in channels(format) {
                let grid = if channels.is_halved { &mut self.halved } else { &mut self.full };
                if filter == Filter::Point {
                    grid.points.set_row(source, channels, row, &mut self.levels)?;
                } else {
                    grid.means.set_row(source, channels, row, &mut self.levels)?;
                }
            }
            match format {
                PixelFormat::Gray8 => take(row, [&self.levels[0]; 3]),
                PixelFormat::Rgb | PixelFormat::Bgr => take(row, self.levels.each_ref().map(Vec::as_slice)),
                PixelFormat::Nv12 | PixelFormat::I420 | PixelFormat::Yuy2 => {
                    colours.convert_levels(self.levels.each_mut().map(Vec::as_mut_slice));
                    take(row, self.levels.each_ref().map(Vec::as_slice));
                }
            }
        }
        Some(())
    }
}

impl Grid {
    /// Makes the weights for planes with a sample for so many of the source's pixels in a row and in a column.
    fn prepare(&mut self, placement: &Placement, filter: Filter, (across, down): (u32, u32)) {
        let cut = |start: u32, length: u32, pixels: u32, step: u32| Cut {
            start: f64::from(start) / f64::from(step),
            length: f64::from(length) / f64::from(step),
            pixels,
        };
        let Placement { region, width, height, .. } = *placement;
        let columns = cut(region.x, region.width, width, across);
        let rows = cut(region.y, region.height, height, down);
        if filter == Filter::Point {
            self.points.prepare(columns, rows);
        } else {
            self.means.prepare(columns, rows);
        }
    }
}
