//! What a model said of the tiles of a picture becomes what it says of the picture.

use super::{Head, Reader, decided, judge};
use crate::part::{Region, Verdict};
use crate::vision::findings::FINDINGS_MAX;
use crate::vision::inspector::{Inspection, Latency, Overrides};
use crate::vision::preprocess::Placement;
use crate::vision::tiling::{merge_boxes, merge_maps};

impl Reader {
    /// What the tiles that lie so in `seen` say together, each read by [`Reader::read`] with nothing dropped for its area. The picture scores what
    /// its worst tile scores. Findings are looked for once the tiles are one again.
    pub fn join(&self, tiles: Vec<(Placement, Inspection)>, seen: Region, overrides: Overrides) -> Inspection {
        let threshold = overrides.threshold.unwrap_or(self.threshold);
        let score = tiles.iter().map(|(_, tile)| tile.score).fold(f32::NEG_INFINITY, worse);
        let (latency, min_area_px) = (Latency::default(), overrides.min_area_px);
        if let Head::Anomaly { region, .. } = &self.head {
            let maps: Option<Vec<_>> = tiles.into_iter().map(|(placement, tile)| Some((placement, tile.map?))).collect();
            let map = maps.map(|maps| merge_maps(seen, &maps));
            let (verdict, reason, findings) = judge(map.as_ref(), score, threshold, *region, seen, min_area_px);
            return Inspection {
                verdict,
                reason,
                score,
                threshold,
                findings,
                map,
                latency,
            };
        }
        // One tile that cannot be read leaves a hole in the picture.
        let unread = tiles.iter().find(|(_, tile)| tile.verdict == Verdict::NotDecidable);
        let unread = unread.map(|(_, tile)| (tile.verdict, tile.reason, Vec::new()));
        let boxes = |(placement, tile): (Placement, Inspection)| tile.findings.into_iter().map(move |finding| (placement.region, finding));
        let (verdict, reason, findings) = unread.unwrap_or_else(|| {
            let found = merge_boxes(tiles.into_iter().flat_map(boxes).collect(), FINDINGS_MAX);
            decided(score, threshold, found, min_area_px)
        });
        Inspection {
            verdict,
            reason,
            score,
            threshold,
            findings,
            map: None,
            latency,
        }
    }
}

/// The higher score; what is no number stays none.
fn worse(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}
