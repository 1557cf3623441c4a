//! Which pixels belong together: labels the connected regions of a grid. Pure.

/// The connected regions of a grid of flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    /// `width * height` labels, row by row: 0 is background, `1..=count` are the regions, numbered by their first pixel in reading order.
    pub labels: Vec<u32>,
    /// How many regions there are.
    pub count: u32,
}

/// Labels the 8-connected regions of `foreground`: `width * height` flags, row by row. Pixels that touch at a side or a corner are connected.
/// Flags beyond `width * height` are ignored, missing ones are background.
///
/// Two passes with union-find (Rosenfeld and Pfaltz 1966, "Sequential operations in digital picture processing"): time is linear in the
/// number of pixels for all practical purposes, memory is 4 bytes per pixel and 4 bytes per provisional label (at most one per 4 pixels,
/// plus the edges). Grids of up to 2^32 - 2 pixels.
pub fn label_regions(width: usize, height: usize, foreground: &[bool]) -> Regions {
    let mut labels = vec![0_u32; width * height];
    // parents[label] <= label; a root is its own parent. Entry 0 is the background.
    let mut parents = vec![0_u32];

    for (i, _) in foreground.iter().take(labels.len()).enumerate().filter(|(_, flag)| **flag) {
        let x = i % width;
        let inner_left = x > 0;
        let inner_right = x + 1 < width;
        let above = |offset: usize| i.checked_sub(offset).map_or(0, |j| labels[j]);
        let north = above(width);
        // The pixel above touches all other neighbours seen so far, so they share its region already. The same holds between west and
        // north-west, which leaves one pair that this pixel can join: the left side and north-east.
        labels[i] = if north != 0 {
            north
        } else {
            let west = if inner_left { labels[i - 1] } else { 0 };
            let left = if west == 0 && inner_left { above(width + 1) } else { west };
            let right = if inner_right { above(width - 1) } else { 0 };
            match (left, right) {
                (0, 0) => {
                    let label = parents.len() as u32;
                    parents.push(label);
                    label
                }
                (0, label) | (label, 0) => label,
                (a, b) => union(&mut parents, a, b),
            }
        };
    }

    // A parent is never larger than its child, so one pass in order turns every provisional label into its final number.
    let mut count = 0;
    for label in 1..parents.len() {
        let parent = parents[label] as usize;
        parents[label] = if parent == label {
            count += 1;
            count
        } else {
            parents[parent]
        };
    }
    for label in &mut labels {
        *label = parents[*label as usize];
    }
    Regions { labels, count }
}

/// Joins the sets of `a` and `b` and returns their common root, the smaller of the two roots.
fn union(parents: &mut [u32], a: u32, b: u32) -> u32 {
    let (a, b) = (root(parents, a), root(parents, b));
    let (low, high) = (a.min(b), a.max(b));
    parents[high as usize] = low;
    low
}

/// The root of `label`, halving the path on the way so that later look-ups are short.
fn root(parents: &mut [u32], mut label: u32) -> u32 {
    while parents[label as usize] != label {
        parents[label as usize] = parents[parents[label as usize] as usize];
        label = parents[label as usize];
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid(rows: &[&str]) -> (usize, usize, Vec<bool>) {
        (rows[0].len(), rows.len(), rows.concat().bytes().map(|b| b == b'#').collect())
    }

    fn labels(rows: &[&str]) -> (Vec<u32>, u32) {
        let (width, height, flags) = grid(rows);
        let regions = label_regions(width, height, &flags);
        (regions.labels, regions.count)
    }

    /// Flood fill in reading order: slow, obvious, and the same numbering.
    fn flood_fill(width: usize, height: usize, flags: &[bool]) -> Regions {
        let mut labels = vec![0; width * height];
        let mut count = 0;
        for start in 0..width * height {
            if !flags[start] || labels[start] != 0 {
                continue;
            }
            count += 1;
            labels[start] = count;
            let mut open = vec![start];
            while let Some(i) = open.pop() {
                for (dy, dx) in [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)] {
                    let (x, y) = ((i % width) as i64 + dx, (i / width) as i64 + dy);
                    if x >= 0 && y >= 0 && x < width as i64 && y < height as i64 {
                        let j = y as usize * width + x as usize;
                        if flags[j] && labels[j] == 0 {
                            labels[j] = count;
                            open.push(j);
                        }
                    }
                }
            }
        }
        Regions { labels, count }
    }

    #[test]
    fn corners_connect() {
        assert_eq!(labels(&["#.#", ".#.", "#.#"]).1, 1);
        assert_eq!(labels(&[".#", "#."]), (vec![0, 1, 1, 0], 1));
    }

    #[test]
    fn the_right_edge_does_not_touch_the_left_edge_of_the_next_row() {
        assert_eq!(labels(&["..#", "...", "#.."]).1, 2);
        assert_eq!(labels(&["..#", "#.."]), (vec![0, 0, 1, 2, 0, 0], 2));
        assert_eq!(labels(&["#..", "..#"]), (vec![1, 0, 0, 0, 0, 2], 2));
    }

    #[test]
    fn arms_that_meet_late_are_one_region() {
        assert_eq!(
            labels(&["#.#.#", "#.#.#", "#####"]),
            (vec![1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1], 1)
        );
    }

    #[test]
    fn empty_and_narrow_grids() {
        assert_eq!(label_regions(0, 0, &[]).count, 0);
        assert_eq!(label_regions(0, 5, &[]).count, 0);
        assert_eq!(label_regions(1, 3, &[true, false, true]).labels, [1, 0, 2]);
        assert_eq!(label_regions(3, 1, &[true, true, false]).labels, [1, 1, 0]);
        assert_eq!(label_regions(2, 2, &[true]).labels, [1, 0, 0, 0]);
        assert_eq!(label_regions(1, 1, &[true, true]).labels, [1]);
    }

    proptest! {
        #[test]
        fn equals_flood_fill(width in 1_usize..14, height in 1_usize..14, density in 0.1..0.9_f64, noise in prop::collection::vec(0.0..1.0_f64, 196)) {
            let flags: Vec<bool> = noise[..width * height].iter().map(|value| *value < density).collect();
            prop_assert_eq!(label_regions(width, height, &flags), flood_fill(width, height, &flags));
        }
    }
}
