//! An evidence image with what was found on it. The record has no anomaly map, so the findings are boxes.

use std::path::Path;

use anyhow::Context;

use crate::rpc::proto::Finding;
use crate::vision::Image;
use crate::vision::decode::read_image;
use crate::vision::encode::encode_png;

/// From the box outwards: a dark edge, the white line, a dark edge, so that it is seen on any part. Pixels.
const LINES: [(i64, [u8; 3]); 4] = [(1, DARK), (2, WHITE), (3, WHITE), (4, DARK)];

const WHITE: [u8; 3] = [255, 255, 255];
const DARK: [u8; 3] = [24, 26, 29];

/// Writes the image at `image` as PNG to `target`, with a frame around each finding.
pub(super) fn write(image: &Path, findings: &[Finding], target: &Path) -> anyhow::Result<()> {
    let mut picture = read_image(image)?;
    for finding in findings {
        for (distance, colour) in LINES {
            frame(&mut picture, finding, distance, colour);
        }
    }
    let bytes = encode_png(picture.width, picture.height, &picture.rgb)?;
    std::fs::write(target, bytes).with_context(|| format!("failed to write overlay {}", target.display()))
}

/// The pixels `distance` outside of the finding, as far as they are on the image.
fn frame(picture: &mut Image, finding: &Finding, distance: i64, colour: [u8; 3]) {
    let (width, height) = (i64::from(picture.width), i64::from(picture.height));
    let (left, top) = (i64::from(finding.x) - distance, i64::from(finding.y) - distance);
    let right = i64::from(finding.x) + i64::from(finding.width) - 1 + distance;
    let bottom = i64::from(finding.y) + i64::from(finding.height) - 1 + distance;
    let mut draw = |x: i64, y: i64| {
        if (0..width).contains(&x) && (0..height).contains(&y) {
            let place = 3 * (y * width + x) as usize;
            picture.rgb[place..place + 3].copy_from_slice(&colour);
        }
    };
    for x in left.max(0)..=right.min(width - 1) {
        draw(x, top);
        draw(x, bottom);
    }
    for y in top.max(0)..=bottom.min(height - 1) {
        draw(left, y);
        draw(right, y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(x: u32, y: u32, width: u32, height: u32) -> Finding {
        Finding {
            x,
            y,
            width,
            height,
            ..Default::default()
        }
    }

    #[test]
    fn a_finding_is_framed_and_not_covered() {
        let mut picture = Image {
            width: 20,
            height: 16,
            rgb: vec![128; 20 * 16 * 3],
        };
        frame(&mut picture, &found(5, 5, 3, 2), 2, WHITE);
        let at = |x: usize, y: usize| picture.rgb[3 * (y * 20 + x)];
        assert_eq!([at(3, 3), at(9, 8), at(6, 3), at(3, 5)], [255; 4]);
        assert_eq!([at(5, 5), at(7, 6), at(4, 4), at(10, 9)], [128; 4]);
    }

    #[test]
    fn a_finding_that_is_not_on_the_image_draws_nothing_beyond_it() {
        let mut picture = Image {
            width: 4,
            height: 4,
            rgb: vec![0; 48],
        };
        for finding in [found(0, 0, 4, 4), found(u32::MAX, u32::MAX, u32::MAX, u32::MAX), found(3, 3, 0, 0)] {
            for (distance, colour) in LINES {
                frame(&mut picture, &finding, distance, colour);
            }
        }
        assert_eq!(picture.rgb.len(), 48);
    }
}
