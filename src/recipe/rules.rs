//! What an inspection demands of a part: where it looks, what counts there, and how bad it is. Pure.

use super::area::{Area, OutsideFrame, PlacedArea};
use super::criterion::{Criterion, Zone};
use super::geometry::Polygon;
use super::measure::Scale;
use super::pose::{Pose, Whereabouts};
use crate::part::{Reason, Region};

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
    /// The rules in a frame of so many pixels, on a part that is there.
    ///
    /// # Errors
    /// Why the part is not decidable: it was not found, or what is to be looked at lies outside of the frame.
    pub fn placed(&self, frame_px: (u32, u32), part: Whereabouts) -> Result<PlacedRules<'_>, Reason> {
        match part {
            Whereabouts::AsDrawn => self.placed_by(frame_px, None).map_err(|_| Reason::FrameSize),
            Whereabouts::Found(pose) if pose.is_finite() => self.placed_by(frame_px, Some(&pose)).map_err(|_| Reason::NotLocated),
            Whereabouts::Found(_) | Whereabouts::Lost => Err(Reason::NotLocated),
        }
    }

    fn placed_by(&self, frame_px: (u32, u32), pose: Option<&Pose>) -> Result<PlacedRules<'_>, OutsideFrame> {
        let moved = |zone: &Zone| pose.map_or_else(|| zone.polygon.clone(), |pose| pose.moved(&zone.polygon));
        Ok(PlacedRules {
            rules: self,
            area: self.area.placed(frame_px, pose)?,
            zones: self.zones.iter().map(moved).collect(),
            scale: self.scale,
        })
    }

    /// The rules where a picture is all there is to look at, and this region of a frame is the picture.
    pub fn in_picture(&self, region: Region) -> PlacedRules<'_> {
        PlacedRules {
            rules: self,
            area: PlacedArea::whole(region),
            zones: Vec::new(),
            scale: self.scale,
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
    /// How large a pixel is in this one.
    pub scale: Option<Scale>,
}

#[cfg(test)]
mod tests {
    use super::super::area::Outline;
    use super::super::geometry::Rect;
    use super::*;

    fn square(left: f64, top: f64) -> Polygon {
        Polygon::of_rect(Rect {
            left,
            top,
            right: left + 20.0,
            bottom: top + 20.0,
        })
    }

    fn rules() -> Rules {
        Rules {
            area: Area {
                outline: Outline::Polygon(square(40.0, 30.0)),
                exclude: Vec::new(),
            },
            zones: vec![Zone {
                name: "seat".into(),
                polygon: square(42.0, 32.0),
            }],
            ..Rules::default()
        }
    }

    fn shift(dx_px: f64) -> Whereabouts {
        Whereabouts::Found(Pose { dx_px, ..Pose::default() })
    }

    #[test]
    fn region_and_zones_move_with_the_part() {
        let rules = rules();
        let found = rules.placed((100, 100), shift(7.0)).unwrap();
        assert_eq!((found.area.crop.x, found.area.crop.y), (47, 30));
        assert_eq!(found.zones, [square(49.0, 32.0)]);
        let drawn = rules.placed((100, 100), Whereabouts::AsDrawn).unwrap();
        assert_eq!((drawn.area.crop.x, drawn.zones.clone()), (40, vec![square(42.0, 32.0)]));
    }

    #[test]
    fn what_is_not_found_or_not_wholly_seen_is_not_decided() {
        let rules = rules();
        let no_number = shift(f64::NAN);
        for part in [Whereabouts::Lost, shift(41.0), shift(-41.0), no_number] {
            assert_eq!(rules.placed((100, 100), part), Err(Reason::NotLocated), "{part:?}");
        }
        assert_eq!(rules.placed((59, 100), Whereabouts::AsDrawn), Err(Reason::FrameSize));
    }

    #[test]
    fn what_a_model_cannot_tell_is_not_asked_of_it() {
        let model = |is_located: bool| Abilities {
            classes: vec!["scratch".into(), "dent".into()],
            is_located,
        };
        let asks = |criterion: Criterion| Rules {
            criteria: vec![criterion],
            ..Rules::default()
        };
        let of = |class: &str| Criterion {
            class: Some(class.into()),
            ..Criterion::default()
        };
        assert_eq!(asks(of("dent")).check(&model(false)), Ok(()));
        assert!(asks(of("dnt")).check(&model(true)).is_err());
        let large = asks(Criterion {
            area_px_min: Some(3.0),
            ..of("dent")
        });
        assert_eq!((large.check(&model(true)), large.check(&model(false)).is_err()), (Ok(()), true));
        assert_eq!((rules().check(&model(true)), rules().check(&model(false)).is_err()), (Ok(()), true));
        // A class that is only noted, or not named at all, passes.
        let noted = asks(Criterion {
            rejects: false,
            ..Criterion::default()
        });
        assert_eq!(asks(of("dent")).ignored(&model(true)), ["scratch"]);
        assert_eq!(noted.ignored(&model(true)), ["scratch", "dent"]);
        assert!(Rules::default().ignored(&model(true)).is_empty() && asks(Criterion::default()).ignored(&model(true)).is_empty());
    }
}
