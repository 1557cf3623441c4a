//! What an inspection demands of a part: where it looks, what counts there, and how bad it is. Pure.

use super::area::{Area, OutsideFrame, PlacedArea};
use super::criterion::{Criterion, Zone};
use super::geometry::Polygon;
use super::measure::Scale;
use super::pose::Pose;
use crate::part::Region;

/// The rules of one inspection.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Where it looks.
    pub area: Area,
    /// Parts of that with names.
    pub zones: Vec<Zone>,
    /// Above which score something counts; `None`: as the package says.
    pub threshold: Option<f32>,
    /// Findings of fewer pixels do not count; 0: all do.
    pub min_area_px: u32,
    /// What rejects a part. Without any, everything above the threshold does.
    pub criteria: Vec<Criterion>,
    /// What the PLC is told where no criterion says, not 0.
    pub defect_code: u16,
    /// How large a pixel is; `None` where nobody said.
    pub scale: Option<Scale>,
}

impl Default for Rules {
    /// The package's threshold, everywhere.
    fn default() -> Self {
        Self {
            area: Area::default(),
            zones: Vec::new(),
            threshold: None,
            min_area_px: 0,
            criteria: Vec::new(),
            defect_code: 1,
            scale: None,
        }
    }
}

impl Rules {
    /// The rules in a frame of so many pixels, on a part that moved so.
    ///
    /// # Errors
    /// When the area is not in the frame.
    pub fn placed<'a>(&'a self, frame_px: (u32, u32), pose: Option<&Pose>) -> Result<PlacedRules<'a>, OutsideFrame> {
        let moved = |zone: &Zone| pose.map_or_else(|| zone.polygon.clone(), |pose| pose.moved(&zone.polygon));
        Ok(PlacedRules {
            rules: self,
            area: self.area.placed(frame_px, pose)?,
            zones: self.zones.iter().map(moved).collect(),
        })
    }

    /// The rules where a picture is all there is to look at, and this region of a frame is the picture.
    pub fn in_picture(&self, region: Region) -> PlacedRules<'_> {
        PlacedRules {
            rules: self,
            area: PlacedArea::whole(region),
            zones: Vec::new(),
        }
    }

    /// The lowest score that a criterion asks for.
    pub fn score_min(&self) -> Option<f32> {
        self.criteria.iter().filter_map(|criterion| criterion.score_min).reduce(f32::min)
    }
}

/// What a model can tell of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Classes of defects.
    pub classes: Vec<String>,
    /// Whether it tells where they are.
    pub is_located: bool,
}

impl Rules {
    /// Whether a model can tell what the rules ask for. What it cannot would leave every part not decidable, or let defects pass under a name
    /// that is misspelt.
    ///
    /// # Errors
    /// What it cannot tell, in a sentence with a remedy.
    pub fn check(&self, model: &Abilities) -> Result<(), String> {
        let quoted = |class: &String| format!("\"{class}\"");
        for (number, criterion) in (1..).zip(&self.criteria) {
            if let Some(class) = criterion.class.as_ref().filter(|class| !model.classes.contains(class)) {
                let classes: Vec<String> = model.classes.iter().map(quoted).collect();
                return Err(format!(
                    "criterion {number} is for the class {}, and the model finds {}; correct the class",
                    quoted(class),
                    classes.join(" or ")
                ));
            }
            if criterion.needs_place() && !model.is_located {
                return Err(format!(
                    "criterion {number} asks where a finding is or how large, and the model does not tell; ask for class, score and count only"
                ));
            }
        }
        if self.area.is_partial() && !model.is_located {
            return Err("the model judges whole pictures, of which a polygon or exclude cannot leave anything out; give a region".into());
        }
        Ok(())
    }

    /// Classes of defects that no criterion looks at: such a defect passes.
    pub fn ignored<'a>(&self, model: &'a Abilities) -> Vec<&'a str> {
        let is_ignored = |class: &&String| {
            let mut criteria = self.criteria.iter().filter(|criterion| criterion.rejects);
            !self.criteria.is_empty() && !criteria.any(|criterion| criterion.class.as_ref().is_none_or(|of| of == *class))
        };
        model.classes.iter().filter(is_ignored).map(String::as_str).collect()
    }
}

/// The rules in one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedRules<'a> {
    /// What holds in every frame.
    pub rules: &'a Rules,
    /// Where the inspection looks in this one.
    pub area: PlacedArea,
    /// Outlines of the zones in this one.
    pub(super) zones: Vec<Polygon>,
}
