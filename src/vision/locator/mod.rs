//! Where the part lies in the frame: its shift and rotation against a picture that was taught. Pure.
//!
//! Either by the shape of edges ([`Kind::Edges`]): how well the directions of brightness gradients agree (C. Steger, "Occlusion, clutter, and illumination invariant
//! object recognition", ISPRS 2002). Only directions count, so brighter or darker light changes nothing, and a part that is covered by a third
//! loses a third of its score. The search goes from coarse to fine, then every edge is measured along its normal and the pose that fits all of
//! them best is taken (least squares, as in the same paper). Or by brightness, pixel by pixel ([`Kind::Template`]): for prints and textures whose
//! edges are soft or too many. The search is the same, the exact pose is the top of the correlation.
//!
//! | file | what it does |
//! |---|---|
//! | `gradient.rs` | directions of gradients, per level of the pyramid |
//! | `shape.rs` | edges of the reference |
//! | `template.rs` | the reference pixel by pixel |
//! | `search.rs` | either of them, from coarse to fine |
//! | `refine.rs` | edges to a fraction of a pixel |
//!
//! Points in these files are those of OpenCV: the centre of the first pixel is (0, 0), x to the right, y down. A [`Pose`], which all others see,
//! counts from the edges of pixels, as recipes do. Angles turn from x to y: clockwise as seen.

mod gradient;
mod refine;
mod search;
mod shape;
mod template;
#[cfg(test)]
mod tests;

use crate::part::Region;
use crate::recipe::geometry as place;
use crate::recipe::pose::Pose;
use crate::vision::grey::GreyImage;

use refine::refined;
use search::{Candidate, Pattern, Search};
use shape::Shape;
use template::Template;

/// A place, x and y, pixels.
pub type Point = [f64; 2];

/// Halvings of the picture at most.
const LEVELS_MAX: usize = 5;

/// Shortest side of a region at the coarsest level, pixels.
const SIDE_MIN: u32 = 12;

/// Shortest side of a region that can be taught, pixels.
pub const SIDE_PX_MIN: u32 = 24;

/// Widest search, pixels to each side.
pub const SHIFT_PX_MAX: f64 = 1024.0;

/// How near the best's score another place may come, as a share of it, before it is unclear which of them is the part.
const RIVAL_SCORE: f64 = 0.9;

/// What lies nearer than this to the best is the same place, pixels.
const SAME_PLACE_PX: f64 = 8.0;

/// ... and what is turned by less than this against it, radians (6 degrees).
const SAME_ANGLE_RAD: f64 = 0.105;

/// What of a part is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// The directions of its edges.
    #[default]
    Edges,
    /// Its brightness, pixel by pixel.
    Template,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Edges, Self::Template];

    /// Its name in station.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edges => "edges",
            Self::Template => "template",
        }
    }
}

/// How the part is searched for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// By what.
    pub kind: Kind,
    /// How far it may be shifted to each side, pixels, up to [`SHIFT_PX_MAX`].
    pub shift_px_max: f64,
    /// How far it may be turned either way, degrees, up to 180.
    pub angle_deg_max: f64,
    /// Score from which it is found, above 0, at most 1: about the share of its edges that are seen, or the correlation.
    pub score_min: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kind: Kind::Edges,
            shift_px_max: 64.0,
            angle_deg_max: 15.0,
            score_min: 0.6,
        }
    }
}

/// A part that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Located {
    /// How it lies, against the reference; turned about the middle of the taught region.
    pub pose: Pose,
    /// How well it agrees with the reference, at most 1.
    pub score: f64,
}

/// Why no part was found.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NotLocated {
    /// Nothing looks enough like it.
    #[error("the part was not found: the best place scores {best_score:.2}, {score_min:.2} is needed")]
    Unlike {
        /// The best score anywhere.
        best_score: f64,
        /// What is needed.
        score_min: f64,
    },
    /// Two places look like it.
    #[error(
        "the part was not found for certain: the best place scores {best_score:.2}, another one, {distance_px:.0} px and {angle_deg:.0} degrees away, {rival_score:.2}"
    )]
    Ambiguous {
        /// The best score.
        best_score: f64,
        /// That of the other place.
        rival_score: f64,
        /// How far away it is, pixels.
        distance_px: f64,
        /// How far it is turned against the best, degrees.
        angle_deg: f64,
    },
}

impl NotLocated {
    /// The best score anywhere.
    pub fn best_score(&self) -> f64 {
        match self {
            Self::Unlike { best_score, .. } | Self::Ambiguous { best_score, .. } => *best_score,
        }
    }
}

/// Why a region cannot be taught.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TeachError {
    /// Not in the picture, or too small.
    #[error(
        "failed to teach the locator: its region (x {}, y {}, {}x{} px) must lie in the reference of {width}x{height} px and have at least \
         {SIDE_PX_MIN} px a side", region.x, region.y, region.width, region.height
    )]
    Region {
        /// The region.
        region: Region,
        /// Width of the reference, pixels.
        width: usize,
        /// Its height.
        height: usize,
    },
    /// Hardly an edge in it.
    #[error(
        "failed to teach the locator: its region has only {found} edge points, {needed} are needed; choose one with outlines, print or holes"
    )]
    FewEdges {
        /// Edge points found.
        found: usize,
        /// Points needed.
        needed: usize,
    },
    /// Nothing in it that is brighter or darker.
    #[error(
        "failed to teach the locator: the brightness of its region varies by {found:.1} levels (standard deviation), {needed:.0} are needed; \
         choose one with print, holes or an outline"
    )]
    Plain {
        /// The deviation found, levels.
        found: f64,
        /// What is needed.
        needed: f64,
    },
    /// The region looks like itself elsewhere.
    #[error(
        "failed to teach the locator: its region looks nearly the same {distance_px:.0} px and {angle_deg:.0} degrees away (score {rival_score:.2}); \
         choose one that is like nothing else, or search less far"
    )]
    Ambiguous {
        /// Score of the other place.
        rival_score: f64,
        /// How far away it is, pixels.
        distance_px: f64,
        /// How far it is turned, degrees.
        angle_deg: f64,
    },
    /// Nobody can search that far in time.
    #[error(
        "failed to teach the locator: shift_px_max {shift_px_max} and angle_deg_max {angle_deg_max} make a search of {steps} steps, {limit} are the limit; \
         search less far, or teach a larger region"
    )]
    TooWide {
        /// Pixels to each side.
        shift_px_max: f64,
        /// Degrees either way.
        angle_deg_max: f64,
        /// Comparisons of a gradient.
        steps: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Settings that nothing can meet.
    #[error(
        "failed to teach the locator: shift_px_max must be from 0 to {SHIFT_PX_MAX}, angle_deg_max from 0 to 180, score_min above 0 and at most 1"
    )]
    Settings,
}

/// What a part looks like.
#[derive(Debug, Clone)]
enum Look {
    Edges(Shape),
    Template(Template),
}

/// A part that can be found again.
#[derive(Debug, Clone)]
pub struct Locator {
    look: Look,
    search: Search,
    settings: Settings,
}

impl Locator {
    /// Learns what `region` of a reference looks like.
    ///
    /// # Errors
    /// When the region has too little in it, or looks like itself elsewhere within the search.
    pub fn teach(reference: &GreyImage, region: Region, settings: Settings) -> Result<Self, TeachError> {
        let Settings {
            shift_px_max,
            angle_deg_max,
            score_min,
            kind,
        } = settings;
        let in_range = (0.0..=SHIFT_PX_MAX).contains(&shift_px_max) && (0.0..=180.0).contains(&angle_deg_max);
        let is_score = score_min > 0.0 && score_min <= 1.0;
        if !in_range || !is_score {
            return Err(TeachError::Settings);
        }
        let (width, height) = (reference.width, reference.height);
        let fits = region.is_within(width as u32, height as u32);
        if !fits || region.width < SIDE_PX_MIN || region.height < SIDE_PX_MIN {
            return Err(TeachError::Region { region, width, height });
        }
        let (look, search) = match kind {
            Kind::Edges => {
                let shape = Shape::of(reference, region)?;
                let search = Search::new(&shape, settings)?;
                (Look::Edges(shape), search)
            }
            Kind::Template => {
                let template = Template::of(reference, region)?;
                let search = Search::new(&template, settings)?;
                (Look::Template(template), search)
            }
        };
        let locator = Self { look, search, settings };
        match locator.locate(reference) {
            Err(NotLocated::Ambiguous {
                rival_score,
                distance_px,
                angle_deg,
                ..
            }) => Err(TeachError::Ambiguous {
                rival_score,
                distance_px,
                angle_deg,
            }),
            _ => Ok(locator),
        }
    }

    /// Where the part lies in a frame.
    ///
    /// # Errors
    /// When nothing looks enough like it, or more than one place does.
    pub fn locate(&self, frame: &GreyImage) -> Result<Located, NotLocated> {
        let turns = self.settings.angle_deg_max > 0.0;
        match &self.look {
            Look::Edges(shape) => self.located(shape, frame, |rough| refined(shape, frame, rough, turns)),
            Look::Template(template) => self.located(template, frame, |rough| template.refined(frame, rough, turns)),
        }
    }

    /// Where it lies, the last fraction of a pixel by `refined`.
    fn located<P: Pattern>(&self, pattern: &P, frame: &GreyImage, refined: impl Fn(Candidate) -> Candidate) -> Result<Located, NotLocated> {
        let score_min = self.settings.score_min;
        let unlike = |best_score: f64| NotLocated::Unlike { best_score, score_min };
        let places = self.search.places(pattern, frame);
        let best = *places.first().ok_or(unlike(0.0))?;
        if best.score < score_min {
            return Err(unlike(best.score));
        }
        if let Some(rival) = places[1..]
            .iter()
            .find(|rival| rival.score >= RIVAL_SCORE * best.score && !is_same(&best, rival))
        {
            return Err(NotLocated::Ambiguous {
                best_score: best.score,
                rival_score: rival.score,
                distance_px: distance(&best, rival),
                angle_deg: turn(&best, rival).to_degrees(),
            });
        }
        let exact = refined(best);
        let [x, y] = pattern.middle();
        Ok(Located {
            pose: Pose {
                dx_px: exact.x - x,
                dy_px: exact.y - y,
                angle_rad: exact.angle,
                // Poses count from edges of pixels, the search from their centres.
                pivot: place::Point::new(x + 0.5, y + 0.5),
            },
            score: best.score,
        })
    }
}

/// The middle of a region: between its outermost pixels.
fn middle_of(region: Region) -> Point {
    let middle = |first: u32, count: u32| f64::from(first) + (f64::from(count) - 1.0) / 2.0;
    [middle(region.x, region.width), middle(region.y, region.height)]
}

fn distance(a: &Candidate, b: &Candidate) -> f64 {
    (a.x - b.x).hypot(a.y - b.y)
}

/// By how much one is turned against the other, radians, 0 to pi.
fn turn(a: &Candidate, b: &Candidate) -> f64 {
    let turn = (a.angle - b.angle).rem_euclid(std::f64::consts::TAU);
    turn.min(std::f64::consts::TAU - turn)
}

fn is_same(a: &Candidate, b: &Candidate) -> bool {
    distance(a, b) <= SAME_PLACE_PX && turn(a, b) <= SAME_ANGLE_RAD
}
