//! A part's number in the pixels of its frame, outside of every region of interest: proof that a verdict belongs to the part. Pure.
//!
//! Eight columns by six rows of squares, black for 0 and white for 1, row by row: 32 bits of the number and 16 of its checksum, highest first.

use serde::{Deserialize, Serialize};

use super::Image;
use crate::capture::{Frame, PixelFormat};
use crate::part::Region;

const COLUMNS: u32 = 8;
const ROWS: u32 = 6;
/// Brighter than this is 1.
const LUMA_OF_ZERO_MAX: u32 = 127;

/// Where a stamp lies in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StampPlace {
    /// Left edge, pixels.
    pub x: u32,
    /// Top edge, pixels.
    pub y: u32,
    /// Side of one square, pixels, at least 1; 2 or more survive the shared colours of the YUV formats.
    pub cell_px: u32,
}

impl StampPlace {
    /// The pixels it covers.
    pub fn region(self) -> Region {
        Region {
            x: self.x,
            y: self.y,
            width: self.cell_px.saturating_mul(COLUMNS),
            height: self.cell_px.saturating_mul(ROWS),
        }
    }
}

/// Draws the stamp of a number; what lies outside of the image is left out.
pub fn write(image: &mut Image, at: StampPlace, number: u32) {
    let bits = sealed(number);
    let region = at.region();
    let (right, bottom) = (region.x.saturating_add(region.width), region.y.saturating_add(region.height));
    for y in at.y..bottom.min(image.height) {
        for x in at.x..right.min(image.width) {
            let cell = (y - at.y) / at.cell_px * COLUMNS + (x - at.x) / at.cell_px;
            let value = if bits >> (COLUMNS * ROWS - 1 - cell) & 1 == 1 { 255 } else { 0 };
            let start = 3 * (y as usize * image.width as usize + x as usize);
            image.rgb[start..start + 3].fill(value);
        }
    }
}

/// The number of the stamp at a place of a frame; `None` where there is none, or one that is damaged.
pub fn read(frame: &Frame, at: StampPlace) -> Option<u32> {
    if !at.region().is_within(frame.width, frame.height) {
        return None;
    }
    let mut bits = 0;
    for cell in 0..COLUMNS * ROWS {
        let (column, row) = (cell % COLUMNS, cell / COLUMNS);
        let bright = cell_luma(frame, at.x + column * at.cell_px, at.y + row * at.cell_px, at.cell_px)? > LUMA_OF_ZERO_MAX;
        bits = bits << 1 | u64::from(bright);
    }
    let number = (bits >> 16) as u32;
    (sealed(number) == bits).then_some(number)
}

/// The mean luma of a square without its rim, where there is one.
fn cell_luma(frame: &Frame, x: u32, y: u32, side: u32) -> Option<u32> {
    let rim = side / 4;
    let (mut sum, mut count) = (0, 0);
    for row in y + rim..y + side - rim {
        let samples = frame.row(0, row as usize)?;
        for column in x + rim..x + side - rim {
            sum += luma(samples, frame.format, column as usize)?;
            count += 1;
        }
    }
    (count > 0).then(|| sum / count)
}

/// The luma of a pixel in a row of the first plane.
fn luma(row: &[u8], format: PixelFormat, x: usize) -> Option<u32> {
    let sum = |index: usize| {
        let pixel = row.get(index..index + 3)?;
        Some([u32::from(pixel[0]), u32::from(pixel[1]), u32::from(pixel[2])])
    };
    // Rounded weights of BT.601; black and white need no more.
    let weigh = |[red, green, blue]: [u32; 3]| (77 * red + 150 * green + 29 * blue) >> 8;
    match format {
        PixelFormat::Gray8 | PixelFormat::Nv12 | PixelFormat::I420 => row.get(x).copied().map(u32::from),
        PixelFormat::Yuy2 => row.get(2 * x).copied().map(u32::from),
        PixelFormat::Rgb => sum(3 * x).map(weigh),
        PixelFormat::Bgr => sum(3 * x).map(|[blue, green, red]| weigh([red, green, blue])),
    }
}

/// The 48 bits of a stamp: the number and its checksum, CRC-16/CCITT-FALSE. Nothing all black or all white is one.
fn sealed(number: u32) -> u64 {
    let mut crc = 0xffff_u16;
    for byte in number.to_be_bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        }
    }
    u64::from(number) << 16 | u64::from(crc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Plane;
    use crate::part::Nanos;
    use proptest::prelude::*;
    use std::sync::Arc;

    const AT: StampPlace = StampPlace { x: 3, y: 5, cell_px: 4 };

    fn image(fill: u8) -> Image {
        Image {
            width: 48,
            height: 40,
            rgb: vec![fill; 48 * 40 * 3],
        }
    }

    /// A frame whose rows have five bytes of padding; YUV ones have the limited range.
    fn frame(image: &Image, format: PixelFormat) -> Frame {
        let sizes = format.plane_sizes(image.width, image.height);
        let mut planes = [Plane::default(); 3];
        let mut bytes = Vec::new();
        for (plane, (row_bytes, rows)) in planes.iter_mut().zip(sizes) {
            *plane = Plane {
                offset: bytes.len(),
                stride: row_bytes + 5,
            };
            bytes.resize(bytes.len() + rows * plane.stride, 128);
        }
        for (index, pixel) in image.rgb.chunks_exact(3).enumerate() {
            let (x, y) = (index % image.width as usize, index / image.width as usize);
            let row = y * planes[0].stride;
            let limited = (16 + u32::from(pixel[1]) * 219 / 255) as u8;
            match format {
                PixelFormat::Rgb | PixelFormat::Bgr => bytes[row + 3 * x..][..3].copy_from_slice(pixel),
                PixelFormat::Gray8 => bytes[row + x] = pixel[0],
                PixelFormat::Nv12 | PixelFormat::I420 => bytes[row + x] = limited,
                PixelFormat::Yuy2 => bytes[row + 2 * x] = limited,
            }
        }
        Frame {
            pixels: Arc::new(bytes),
            format,
            width: image.width,
            height: image.height,
            planes,
            full_range: false,
            bt709: false,
            exposed_at: Nanos(0),
            counter: None,
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_in_every_format(number: u32, fill: u8, cell_px in 1_u32..5) {
            let mut image = image(fill);
            let at = StampPlace { cell_px, ..AT };
            write(&mut image, at, number);
            for format in PixelFormat::ALL {
                prop_assert_eq!(read(&frame(&image, format), at), Some(number), "{:?}", format);
            }
        }

        #[test]
        fn a_changed_square_is_noticed(number: u32, cell in 0_u32..48) {
            let mut image = image(0);
            write(&mut image, AT, number);
            let (x, y) = (AT.x + cell % COLUMNS * AT.cell_px, AT.y + cell / COLUMNS * AT.cell_px);
            for (row, column) in (y..y + AT.cell_px).flat_map(|row| (x..x + AT.cell_px).map(move |column| (row, column))) {
                let start = 3 * (row * image.width + column) as usize;
                image.rgb[start..start + 3].iter_mut().for_each(|value| *value = 255 - *value);
            }
            prop_assert_eq!(read(&frame(&image, PixelFormat::Rgb), AT), None);
        }
    }

    #[test]
    fn where_nothing_is_stamped_nothing_is_read() {
        for fill in [0, 60, 255] {
            assert_eq!(read(&frame(&image(fill), PixelFormat::Rgb), AT), None);
        }
    }

    #[test]
    fn a_place_outside_of_the_frame_is_neither_written_nor_read() {
        for at in [
            StampPlace { x: 20, ..AT },
            StampPlace { y: u32::MAX, ..AT },
            StampPlace { cell_px: u32::MAX, ..AT },
            StampPlace { cell_px: 0, ..AT },
        ] {
            let mut image = image(0);
            write(&mut image, at, 1);
            assert_eq!(read(&frame(&image, PixelFormat::Rgb), at), None, "{at:?}");
        }
    }
}
