//! Recipes in words, for whoever has to sign them. Pure.

use super::area::{Area, Outline};
use super::criterion::Criterion;
use super::rules::Rules;
use crate::part::Region;

impl Area {
    /// Where an inspection looks.
    pub fn words(&self) -> String {
        let outline = match &self.outline {
            Outline::Frame => "the whole frame".into(),
            Outline::Rect(Region { x, y, width, height }) => format!("{width}x{height} pixels at {x},{y}"),
            Outline::Polygon(polygon) => {
                let (corners, area) = (polygon.points().len(), polygon.area());
                format!("a polygon of {corners} corners and {area:.0} square pixels")
            }
        };
        match self.exclude.len() {
            0 => outline,
            1 => format!("{outline}, less 1 polygon"),
            count => format!("{outline}, less {count} polygons"),
        }
    }
}

impl Rules {
    /// What rejects a part, one sentence for each criterion.
    pub fn words(&self) -> Vec<String> {
        if self.criteria.is_empty() {
            let threshold = self
                .threshold
                .map_or("the package's threshold".into(), |threshold| format!("{threshold}"));
            let small = match self.min_area_px {
                0 => String::new(),
                least => format!(", at least {least} px2 large"),
            };
            return vec![format!("DefectCode {}: whatever scores above {threshold}{small}", self.defect_code)];
        }
        self.criteria.iter().map(|criterion| self.criterion_words(criterion)).collect()
    }

    fn criterion_words(&self, criterion: &Criterion) -> String {
        let outcome = if criterion.rejects {
            format!("{}, DefectCode {}", criterion.severity.name(), criterion.defect_code)
        } else {
            format!("{}, noted and passed", criterion.severity.name())
        };
        let count = match criterion.count_min {
            0 | 1 => "a finding".into(),
            count => format!("{count} findings or more"),
        };
        let class = criterion
            .class
            .as_ref()
            .map_or("of any class".into(), |class| format!("of class \"{class}\""));
        let at_least = |least: Option<f64>, unit: &str| least.map(|least| format!("at least {least} {unit}"));
        let most = |most: Option<f64>, unit: &str| most.map(|most| format!("at most {most} {unit} from the edge of the region"));
        let zone = criterion.within.and_then(|zone| self.zones.get(zone));
        let terms = [
            criterion.score_min.map(|least| format!("scored at least {least}")),
            at_least(criterion.area_px_min, "px2 large"),
            at_least(criterion.area_mm2_min, "mm2 large"),
            at_least(criterion.length_px_min, "px long"),
            at_least(criterion.length_mm_min, "mm long"),
            zone.map(|zone| format!("in zone \"{}\"", zone.name)),
            most(criterion.edge_distance_px_max, "px"),
            most(criterion.edge_distance_mm_max, "mm"),
        ];
        let finding = std::iter::once(format!("{count} {class}"));
        let said: Vec<String> = finding.chain(terms.into_iter().flatten()).collect();
        format!("{outcome}: {}", said.join(", "))
    }
}
