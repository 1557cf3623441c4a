//! Whether each part was judged by the model that was in force at its trigger, whatever was asked of the station meanwhile. Pure.
//!
//! Between the question for a model and its answer either may be in force; before and after only one can. What was asked of a station that died
//! before it answered stays uncertain until the next answer. A package that is not to be trusted must be refused, a good one must not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::oracle::Finding;
use crate::part::{Nanos, PartRecord};

/// What is asked of a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SwapKind {
    /// A good package.
    Good,
    /// Back to the one before.
    Back,
    /// A package with a damaged file.
    Corrupted,
    /// A package that nobody signed, where somebody has to.
    Unsigned,
    /// A package that a stranger signed, where somebody known has to.
    Stranger,
    /// A whole package whose model computes something else.
    OtherScores,
    /// A whole package of another kind.
    OtherKind,
}

impl SwapKind {
    /// Whether the station must refuse it.
    pub fn is_bad(self) -> bool {
        !matches!(self, Self::Good | Self::Back)
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Good => "a good package",
            Self::Back => "the package before",
            Self::Corrupted => "a damaged package",
            Self::Unsigned => "an unsigned package",
            Self::Stranger => "a package signed by a stranger",
            Self::OtherScores => "a package that computes something else",
            Self::OtherKind => "a package of another kind",
        }
    }
}

/// What a station answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It is in force.
    InForce {
        /// Hash of its manifest.
        sha256: String,
        /// Hash of that of the model before.
        previous: String,
        /// What parts carry from now on.
        config_checksum: u32,
    },
    /// It is not, and why.
    Refused(String),
    /// Nobody knows: the station was gone before it answered.
    Nothing,
}

/// A model that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// Which.
    pub kind: SwapKind,
    /// Hash of the manifest of what was asked for; `None` for the one before.
    pub wanted: Option<String>,
    /// When it was asked for.
    pub asked: Nanos,
    /// When the answer came.
    pub answered: Nanos,
    /// The answer.
    pub answer: Answered,
}

/// What came of all swaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SwapCounts {
    /// Models that were put in force.
    pub activated: usize,
    /// Packages that were refused.
    pub refused: usize,
    /// Questions that were never answered.
    pub unanswered: usize,
    /// Models that parts were judged by.
    pub models: usize,
}

/// Counts what came of swaps.
pub fn count(swaps: &[Swap], inspection: &str, records: &[PartRecord]) -> SwapCounts {
    let with = |of: fn(&Answered) -> bool| swaps.iter().filter(|swap| of(&swap.answer)).count();
    let models: BTreeSet<&str> = records.iter().filter_map(|record| model_of(record, inspection)).collect();
    SwapCounts {
        activated: with(|answer| matches!(answer, Answered::InForce { .. })),
        refused: with(|answer| matches!(answer, Answered::Refused(_))),
        unanswered: with(|answer| matches!(answer, Answered::Nothing)),
        models: models.len(),
    }
}

/// Judges what a station did with its models. `records` and `swaps` in the order in which they came; `inspection` is the one that was asked about.
pub fn judge(swaps: &[Swap], inspection: &str, records: &[PartRecord]) -> Finding {
    let mut breaches: Vec<(Nanos, String)> = Vec::new();
    for swap in swaps {
        breaches.extend(wrong_answer(swap).map(|what| (swap.answered, what)));
    }
    let eras = eras(swaps, inspection, records, &mut breaches);
    let mut checksums = Checksums::of(swaps);
    for record in records {
        let Some(model) = model_of(record, inspection) else { continue };
        let at = record.triggered_ns;
        let cycle = record.cycle_id.map_or(0, crate::part::CycleId::get);
        if !eras.could_judge(at, model) {
            breaches.push((
                at,
                format!(
                    "cycle {cycle} was judged by model {}, which was not in force at its trigger",
                    short(model)
                ),
            ));
        }
        breaches.extend(
            checksums
                .contradiction(record.config_checksum, model)
                .map(|what| (at, format!("cycle {cycle}: {what}"))),
        );
    }
    let broken = breaches.len();
    let first = breaches.into_iter().min_by_key(|(at, _)| *at);
    Finding {
        broken: Some(broken),
        first: first.map(|(_, what)| what),
    }
}

/// The model that judged a part, as its record says; `None` where nobody judged it. Records of before a crash have lost it.
fn model_of<'a>(record: &'a PartRecord, inspection: &str) -> Option<&'a str> {
    let view = record.views.iter().find(|view| view.inspection == inspection)?;
    view.model.as_ref().map(|model| model.sha256.as_str())
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn wrong_answer(swap: &Swap) -> Option<String> {
    match &swap.answer {
        Answered::InForce { .. } if swap.kind.is_bad() => Some(format!("{} was put in force", swap.kind.text())),
        Answered::InForce { sha256, .. } if swap.wanted.as_ref().is_some_and(|wanted| wanted != sha256) => {
            Some(format!("another model was put in force than {}", swap.kind.text()))
        }
        Answered::Refused(why) if swap.kind == SwapKind::Good => Some(format!("a good package was refused: {why}")),
        _ => None,
    }
}

/// From when on which models can have been in force.
struct Eras(Vec<(Nanos, BTreeSet<String>)>);

impl Eras {
    fn could_judge(&self, at: Nanos, model: &str) -> bool {
        let era = self.0.iter().rev().find(|(from, _)| *from <= at).or(self.0.first());
        era.is_none_or(|(_, models)| models.contains(model))
    }
}

/// The first is told by the first record; each answer must go on from where the one before it left off.
fn eras(swaps: &[Swap], inspection: &str, records: &[PartRecord], breaches: &mut Vec<(Nanos, String)>) -> Eras {
    let mut current: BTreeSet<String> = records
        .iter()
        .find_map(|record| model_of(record, inspection))
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut eras = vec![(Nanos::default(), current.clone())];
    // Either way round: two steps back are one forth.
    let mut ever = current.clone();
    for swap in swaps {
        match &swap.answer {
            Answered::Refused(_) => {}
            Answered::InForce { sha256, previous, .. } => {
                if !current.is_empty() && !current.contains(previous) {
                    let what = format!(
                        "the station put {} in place of {}, which was not in force",
                        short(sha256),
                        short(previous)
                    );
                    breaches.push((swap.answered, what));
                }
                let mut either = current.clone();
                either.insert(sha256.clone());
                eras.push((swap.asked, either));
                current = BTreeSet::from([sha256.clone()]);
                eras.push((swap.answered, current.clone()));
            }
            Answered::Nothing => {
                match &swap.wanted {
                    Some(wanted) => drop(current.insert(wanted.clone())),
                    None => current.extend(ever.iter().cloned()),
                }
                eras.push((swap.asked, current.clone()));
            }
        }
        ever.extend(current.iter().cloned());
    }
    Eras(eras)
}

/// A checksum stands for one model, and a model for one checksum: nothing else changes in a run.
struct Checksums {
    model_of: BTreeMap<u32, String>,
    checksum_of: BTreeMap<String, u32>,
}

impl Checksums {
    fn of(swaps: &[Swap]) -> Self {
        let told = swaps.iter().filter_map(|swap| match &swap.answer {
            Answered::InForce {
                sha256, config_checksum, ..
            } => Some((sha256.clone(), *config_checksum)),
            Answered::Refused(_) | Answered::Nothing => None,
        });
        let checksum_of: BTreeMap<String, u32> = told.collect();
        Self {
            model_of: checksum_of.iter().map(|(model, checksum)| (*checksum, model.clone())).collect(),
            checksum_of,
        }
    }

    fn contradiction(&mut self, checksum: u32, model: &str) -> Option<String> {
        let known_model = self.model_of.entry(checksum).or_insert_with(|| model.to_owned());
        let known_checksum = self.checksum_of.entry(model.to_owned()).or_insert(checksum);
        (known_model != model || *known_checksum != checksum).then(|| {
            format!(
                "ConfigChecksum {checksum:08x} came with model {}, but {:08x} is that of it",
                short(model),
                known_checksum
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: u64, model: &str, config_checksum: u32) -> PartRecord {
        let view = format!(
            r#"{{"inspection":"surface","camera":"top","frame_counter":1,"exposed_ns":0,"stamp":1,"verdict":"ok","reason":null,"score":1.0,
                "threshold":2.0,"findings":[],"model":{{"name":"cap","version":"1","sha256":"{model}"}}}}"#
        );
        let text = format!(
            r#"{{"station":"a","epoch":1,"sequence":1,"cycle_id":{at},"plc_session":1,"boot_id":1,"acquisition_id":1,"result_id":1,"encoder":0,
                "serial":"","recipe":1,"config_checksum":{config_checksum},"verdict":"ok","reason":null,"measured":null,"test_part":false,
                "recovered":false,"late_findings":false,"triggered_unix_ns":0,"triggered_ns":{at},"deadline_ns":0,"shown_ns":0,
                "stages":{{"frame_us":0,"queue_us":0,"preprocess_us":0,"infer_us":0,"postprocess_us":0,"total_us":0}},"views":[{view}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn swap(kind: SwapKind, (asked, answered): (u64, u64), answer: Answered) -> Swap {
        Swap {
            kind,
            wanted: None,
            asked: Nanos(asked),
            answered: Nanos(answered),
            answer,
        }
    }

    fn in_force(sha256: &str, previous: &str, config_checksum: u32) -> Answered {
        Answered::InForce {
            sha256: sha256.into(),
            previous: previous.into(),
            config_checksum,
        }
    }

    fn broken(swaps: &[Swap], records: &[PartRecord]) -> (Option<usize>, String) {
        let finding = judge(swaps, "surface", records);
        (finding.broken, finding.first.unwrap_or_default())
    }

    #[test]
    fn either_model_may_judge_while_it_is_exchanged_and_one_afterwards() {
        let swaps = [swap(SwapKind::Good, (100, 200), in_force("b", "a", 2))];
        let fine = [record(10, "a", 1), record(150, "b", 2), record(160, "a", 1), record(201, "b", 2)];
        assert_eq!(broken(&swaps, &fine), (Some(0), String::new()));
        let late = [record(10, "a", 1), record(201, "a", 1)];
        let (count, first) = broken(&swaps, &late);
        assert!(count == Some(1) && first.contains("cycle 201 was judged by model a"), "{first}");
        let early = [record(10, "a", 1), record(99, "b", 2)];
        assert_eq!(broken(&swaps, &early).0, Some(1));
    }

    #[test]
    fn what_is_bad_must_be_refused_and_what_is_good_must_not() {
        let records = [record(10, "a", 1)];
        let accepted = [swap(SwapKind::Corrupted, (100, 200), in_force("b", "a", 2))];
        assert!(broken(&accepted, &records).1.contains("a damaged package was put in force"));
        let refused = [swap(SwapKind::Good, (100, 200), Answered::Refused("no".into()))];
        assert!(broken(&refused, &records).1.contains("a good package was refused: no"));
        let right = [
            swap(SwapKind::Unsigned, (100, 200), Answered::Refused("no".into())),
            swap(SwapKind::Back, (300, 400), Answered::Refused("none before".into())),
        ];
        assert_eq!(broken(&right, &[record(10, "a", 1), record(350, "a", 1)]).0, Some(0));
        assert_eq!(
            broken(&right, &[record(10, "a", 1), record(350, "b", 2)]).0,
            Some(1),
            "a refusal changes nothing"
        );
    }

    #[test]
    fn a_checksum_is_of_one_model() {
        let swaps = [swap(SwapKind::Good, (100, 200), in_force("b", "a", 2))];
        let (count, first) = broken(&swaps, &[record(10, "a", 1), record(300, "b", 1)]);
        assert!(count == Some(1) && first.contains("ConfigChecksum 00000001"), "{first}");
    }

    #[test]
    fn without_an_answer_either_may_be_in_force_until_the_next() {
        let mut lost = swap(SwapKind::Good, (100, 150), Answered::Nothing);
        lost.wanted = Some("b".into());
        let next = swap(SwapKind::Good, (300, 400), in_force("c", "b", 3));
        let records = [record(10, "a", 1), record(160, "a", 1), record(170, "b", 2), record(500, "c", 3)];
        assert_eq!(broken(&[lost.clone(), next.clone()], &records).0, Some(0));
        let wrong = swap(SwapKind::Good, (300, 400), in_force("c", "x", 3));
        assert!(broken(&[lost, wrong], &records).1.contains("in place of x, which was not in force"));
    }
}
