//! Which findings reject a part: a criterion, and whether findings meet it. Pure.
//!
//! A measure that a criterion asks for may be unknown. Then it is not known whether the finding meets it, and the answer is [`Met::Unknown`]:
//! the logic is Kleene's with three values (Kleene 1952, "Introduction to Metamathematics", section 64), in which an answer that is not
//! unknown stays as it is whatever the unknown turns out to be.

use super::area::PlacedArea;
use super::geometry::{Polygon, Rect};
use super::measure::Scale;
use crate::part::{Finding, Severity};

/// Most criteria of one inspection.
pub const CRITERIA_MAX: usize = 32;

/// Most zones of one inspection.
pub const ZONES_MAX: usize = 32;

/// A criterion: all that it asks for must be so of a finding, and of enough findings.
#[derive(Debug, Clone, PartialEq)]
pub struct Criterion {
    /// Class of the findings; `None` for all.
    pub class: Option<String>,
    /// Least score of a finding. Without it, findings count as they do without criteria: by the threshold.
    pub score_min: Option<f32>,
    /// Least area, square pixels.
    pub area_px_min: Option<f64>,
    /// Least area, square millimetres.
    pub area_mm2_min: Option<f64>,
    /// Least length (greatest Feret diameter), pixels.
    pub length_px_min: Option<f64>,
    /// Least length (greatest Feret diameter), millimetres.
    pub length_mm_min: Option<f64>,
    /// The zone that the finding must touch, by its place in the recipe.
    pub within: Option<usize>,
    /// Largest distance to the edge of the area, pixels.
    pub edge_distance_px_max: Option<f64>,
    /// Largest distance to the edge of the area, millimetres.
    pub edge_distance_mm_max: Option<f64>,
    /// How many findings must be so, at least 1.
    pub count_min: u32,
    /// How bad that is.
    pub severity: Severity,
    /// Whether the part is rejected; else it is noted.
    pub rejects: bool,
    /// What the PLC is told, not 0.
    pub defect_code: u16,
}

impl Default for Criterion {
    fn default() -> Self {
        Self {
            class: None,
            score_min: None,
            area_px_min: None,
            area_mm2_min: None,
            length_px_min: None,
            length_mm_min: None,
            within: None,
            edge_distance_px_max: None,
            edge_distance_mm_max: None,
            count_min: 1,
            severity: Severity::Major,
            rejects: true,
            defect_code: 1,
        }
    }
}

/// A named part of an inspection's area, for criteria that hold there only.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// Its name, unlike any other's of the inspection.
    pub name: String,
    /// Its outline, in pixels of the whole frame.
    pub polygon: Polygon,
}

/// Whether something is so. The order is that of "and", which is the least of its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Met {
    /// It is not.
    No,
    /// What would tell is missing.
    Unknown,
    /// It is.
    Yes,
}

impl From<bool> for Met {
    fn from(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }
}

/// A finding as criteria look at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) finding: &'a Finding,
    /// Whether it counts by the threshold.
    pub(super) counts: bool,
    /// Its box; `None` where the model does not tell where it is.
    pub(super) place: Option<Rect>,
}

/// What holds for all findings of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) area: &'a PlacedArea,
    /// Outlines of the zones in this frame.
    pub(super) zones: &'a [Polygon],
    pub(super) scale: Option<Scale>,
}

impl Criterion {
    /// Whether it needs the scale of the camera.
    pub fn needs_scale(&self) -> bool {
        [self.area_mm2_min, self.length_mm_min, self.edge_distance_mm_max]
            .iter()
            .any(Option::is_some)
    }

    /// Whether it asks where a finding is or how large.
    pub fn needs_place(&self) -> bool {
        let lengths = [self.area_px_min, self.length_px_min, self.edge_distance_px_max];
        self.needs_scale() || self.within.is_some() || lengths.iter().any(Option::is_some)
    }

    /// Whether a finding is what it asks for.
    pub(super) fn asks_for(&self, candidate: &Candidate<'_>, around: &Surroundings<'_>) -> Met {
        let finding = candidate.finding;
        let class = Met::from(self.class.as_ref().is_none_or(|class| *class == finding.class));
        let score = match self.score_min {
            None => candidate.counts.into(),
            Some(_) if finding.score.is_nan() => Met::Unknown,
            Some(least) => (finding.score >= least).into(),
        };
        let place = candidate.place;
        let area_px = place.map(|_| f64::from(finding.area_px));
        let length_px = place.and(finding.measures.length_px).map(f64::from);
        let distance_px = || place.map(|place| around.area.edge_distance(place));
        let area_mm2 = || Some(around.scale?.area_mm2(area_px?, place?.middle()));
        let mm = |length_px: Option<f64>| Some(around.scale?.length_mm(length_px?, place?.middle()));
        let terms = [
            at_least(self.area_px_min, || area_px),
            at_least(self.area_mm2_min, area_mm2),
            at_least(self.length_px_min, || length_px),
            at_least(self.length_mm_min, || mm(length_px)),
            at_most(self.edge_distance_px_max, distance_px),
            at_most(self.edge_distance_mm_max, || mm(distance_px())),
            self.touches_zone(place, around.zones),
        ];
        terms.into_iter().fold(class.min(score), Met::min)
    }

    fn touches_zone(&self, place: Option<Rect>, zones: &[Polygon]) -> Met {
        let Some(zone) = self.within else { return Met::Yes };
        match (place, zones.get(zone)) {
            (Some(place), Some(zone)) => zone.meets(place).into(),
            _ => Met::Unknown,
        }
    }

    /// Whether so many findings that it asks for, and so many of which that is unknown, are enough. `is_complete`: there are no others.
    pub(super) fn is_met(&self, certain: usize, unknown: usize, is_complete: bool) -> Met {
        let enough = |count: usize| count >= self.count_min as usize;
        if enough(certain) {
            Met::Yes
        } else if enough(certain.saturating_add(unknown)) || !is_complete {
            Met::Unknown
        } else {
            Met::No
        }
    }
}

fn at_least(least: Option<f64>, measure: impl FnOnce() -> Option<f64>) -> Met {
    compare(least, measure, |measure, least| measure >= least)
}

fn at_most(most: Option<f64>, measure: impl FnOnce() -> Option<f64>) -> Met {
    compare(most, measure, |measure, most| measure <= most)
}

/// Whether a measure is as it is asked for; nobody measures what nobody asked for.
fn compare(asked: Option<f64>, measure: impl FnOnce() -> Option<f64>, is_so: impl Fn(f64, f64) -> bool) -> Met {
    let Some(asked) = asked else { return Met::Yes };
    match measure().filter(|measure| !measure.is_nan()) {
        Some(measure) => is_so(measure, asked).into(),
        None => Met::Unknown,
    }
}
