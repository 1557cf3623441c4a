//! What newly stored records add to the counts by hour. Pure.
//!
//! A part counts once in each of: all parts; each class found on it; each tag it carries; its reason, where it has one. Test parts are not
//! counted, nor is what was found after an outcome was final: the outcome stands.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::record_table::model_set;
use crate::rpc::proto::{self, Verdict, record::Body};

/// Nanoseconds of an hour.
const HOUR_NS: i64 = 3_600_000_000_000;

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RollupKey {
    /// Hours since 1970, of the trigger; of the recording where that is not known.
    pub hour: i64,
    /// Number of the recipe.
    pub recipe: u32,
    /// The models, as `model_sets` names them.
    pub models: String,
    /// Of these parts, which.
    pub slice: Slice,
}

/// Which parts of an hour, a recipe and a set of models.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slice {
    /// Every part.
    All,
    /// Those on which a class was found.
    Class(String),
    /// Those that carry a tag: name and value.
    Tag(String, String),
    /// Those with a reason, by its number; 0 is none and not counted.
    Reason(u32),
}

/// Parts by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ok.
    pub ok: u64,
    /// NotOk.
    pub not_ok: u64,
    /// NotDecidable, and whatever this version does not know.
    pub not_decidable: u64,
}

/// What the records add.
pub fn deltas<'a>(records: impl IntoIterator<Item = &'a proto::Record>) -> BTreeMap<RollupKey, Counts> {
    let mut deltas = BTreeMap::new();
    for record in records {
        if let Some(Body::Part(part)) = &record.body
            && !part.test_part
        {
            count(&mut deltas, record.recorded_unix_ns, part);
        }
    }
    deltas
}

fn count(deltas: &mut BTreeMap<RollupKey, Counts>, recorded_unix_ns: i64, part: &proto::Part) {
    let at_unix_ns = match part.triggered_unix_ns {
        0 => recorded_unix_ns,
        triggered => triggered,
    };
    let models = model_set(&part.models);
    for slice in slices(part) {
        let key = RollupKey {
            hour: at_unix_ns.div_euclid(HOUR_NS),
            recipe: part.recipe,
            models: models.clone(),
            slice,
        };
        let counts: &mut Counts = deltas.entry(key).or_default();
        match part.outcome.unwrap_or_default().verdict() {
            Verdict::Ok => counts.ok += 1,
            Verdict::NotOk => counts.not_ok += 1,
            Verdict::NotDecidable | Verdict::Unspecified => counts.not_decidable += 1,
        }
    }
}

/// Where a part counts, each once.
fn slices(part: &proto::Part) -> BTreeSet<Slice> {
    let classes = part
        .views
        .iter()
        .flat_map(|view| &view.findings)
        .map(|finding| Slice::Class(finding.class.clone()));
    let tags = part.tags.iter().map(|tag| Slice::Tag(tag.name.clone(), tag.value.clone()));
    let reason = part.outcome.map(|outcome| outcome.reason).filter(|reason| *reason != 0);
    classes.chain(tags).chain(reason.map(Slice::Reason)).chain([Slice::All]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: i32 = Verdict::Ok as i32;

    fn part(verdict: i32, reason: u32) -> proto::Part {
        proto::Part {
            recipe: 7,
            triggered_unix_ns: 3 * HOUR_NS + 1,
            outcome: Some(proto::Outcome { verdict, reason }),
            ..Default::default()
        }
    }

    fn record(body: Body) -> proto::Record {
        proto::Record {
            recorded_unix_ns: 5 * HOUR_NS,
            body: Some(body),
            ..Default::default()
        }
    }

    fn part_record(part: proto::Part) -> proto::Record {
        record(Body::Part(Box::new(part)))
    }

    fn counted(records: &[proto::Record]) -> Vec<(i64, Slice, [u64; 3])> {
        let rows = deltas(records).into_iter();
        rows.map(|(key, counts)| (key.hour, key.slice, [counts.ok, counts.not_ok, counts.not_decidable]))
            .collect()
    }

    #[test]
    fn verdicts_that_are_not_known_are_not_decidable() {
        let records = [OK, 2, 3, 0, 99].map(|verdict| part_record(part(verdict, 0)));
        let absent = part_record(proto::Part {
            outcome: None,
            ..part(OK, 0)
        });
        let records: Vec<_> = records.into_iter().chain([absent]).collect();
        assert_eq!(counted(&records), [(3, Slice::All, [1, 1, 4])]);
    }

    #[test]
    fn a_part_counts_once_for_each_class_tag_and_reason() {
        let scratch = || proto::Finding {
            class: "scratch".into(),
            ..Default::default()
        };
        let view = || proto::View {
            findings: vec![scratch(), scratch()],
            ..Default::default()
        };
        let tag = proto::Tag {
            name: "cavity".into(),
            value: "3".into(),
        };
        let part = proto::Part {
            views: vec![view(), view()],
            tags: vec![tag.clone(), tag],
            ..part(2, 4)
        };
        let slices = [
            Slice::All,
            Slice::Class("scratch".into()),
            Slice::Tag("cavity".into(), "3".into()),
            Slice::Reason(4),
        ];
        assert_eq!(counted(&[part_record(part)]), slices.map(|slice| (3, slice, [0, 1, 0])));
    }

    #[test]
    fn test_parts_and_late_findings_do_not_count() {
        let test = proto::Part {
            test_part: true,
            ..part(OK, 0)
        };
        let late = proto::LateFindings {
            measured: Some(proto::Outcome { verdict: OK, reason: 0 }),
            ..Default::default()
        };
        assert_eq!(counted(&[part_record(test), record(Body::LateFindings(late))]), []);
    }

    #[test]
    fn hours_are_of_the_trigger_or_else_of_the_recording_and_may_lie_before_1970() {
        let at = |triggered_unix_ns| {
            let part = proto::Part {
                triggered_unix_ns,
                ..part(OK, 0)
            };
            deltas([&part_record(part)]).into_keys().map(|key| key.hour).collect::<Vec<_>>()
        };
        assert_eq!(
            [at(HOUR_NS - 1), at(HOUR_NS), at(0), at(-1), at(i64::MIN)],
            [vec![0], vec![1], vec![5], vec![-1], vec![i64::MIN.div_euclid(HOUR_NS)]]
        );
    }
}
