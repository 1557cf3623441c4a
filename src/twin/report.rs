//! What a run of the twin comes to: part by part, and as a whole.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::facts::{Cycle, CycleKey, Exposure, GateReason, StrayOk};
use super::oracle::{Evidence, Finding, Judgement, Terms, judge};
use crate::evaluate::metrics::percentile;
use crate::line::image::Counts;
use crate::part::{Nanos, PartRecord, Reason, Verdict};

/// One part that was triggered, as everyone saw it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartRun {
    /// Its number, in the stamp.
    pub part: u32,
    /// What is wrong with it; `None` for a good part.
    pub defect: Option<String>,
    /// The PLC's number of it.
    pub cycle_id: u32,
    /// The PLC's session.
    pub plc_session: u16,
    /// The verdict that the PLC read.
    pub verdict: Option<Verdict>,
    /// The verdict that the station recorded.
    pub recorded: Option<Verdict>,
    /// Why, by the record.
    pub reason: Option<Reason>,
    /// What the gate did.
    pub gate: Option<GateReason>,
    /// When the last byte of the Trigger write left.
    pub trigger_sent_ns: Option<Nanos>,
    /// When the reply that carried the verdict was received.
    pub verdict_received_ns: Option<Nanos>,
    /// Between the two, microseconds.
    pub trigger_to_verdict_us: Option<u64>,
    /// The part's own time in the engine, microseconds, by the record.
    pub engine_us: Option<u64>,
}

impl PartRun {
    /// What is known of a cycle; `record` as far as the station told.
    pub(super) fn new(cycle: &Cycle, defect: Option<String>, record: Option<&PartRecord>) -> Self {
        let received = cycle.read.map(|read| read.received);
        Self {
            part: cycle.part,
            defect,
            cycle_id: cycle.key.cycle_id.get(),
            plc_session: cycle.key.plc_session,
            verdict: cycle.read.map(|read| read.verdict),
            recorded: record.map(|record| record.verdict),
            reason: record.map_or_else(
                || cycle.read.and_then(|read| Reason::from_code(read.reason_code)),
                |record| record.reason,
            ),
            gate: cycle.gated.map(|gated| gated.reason),
            trigger_sent_ns: cycle.sent,
            verdict_received_ns: received,
            trigger_to_verdict_us: cycle
                .sent
                .zip(received)
                .map(|(sent, received)| received.since(sent).as_micros() as u64),
            engine_us: record.map(|record| record.stages.infer_us).filter(|time| *time > 0),
        }
    }

    /// The verdict, by the record, else as read.
    pub fn outcome(&self) -> Option<Verdict> {
        self.recorded.or(self.verdict)
    }

    /// Whether it passed the gate.
    pub fn passed(&self) -> bool {
        self.gate == Some(GateReason::Pass)
    }

    /// A defective part that passed.
    pub fn is_escape(&self) -> bool {
        self.defect.is_some() && self.passed()
    }

    /// A good part that the station called NotOk.
    pub fn is_false_reject(&self) -> bool {
        self.defect.is_none() && self.outcome() == Some(Verdict::NotOk)
    }
}

/// How many parts had which verdict, by the records, else as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Outcomes {
    /// Good.
    pub ok: usize,
    /// Defective.
    pub not_ok: usize,
    /// Not judged.
    pub not_decidable: usize,
    /// No verdict is known: the trigger got lost with the station or the PLC.
    pub unknown: usize,
}

/// Whether a promise was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// `false`: broken. `None`: what is needed was not measured, the rest was kept.
    pub pass: Option<bool>,
    /// How often it was broken.
    pub broken: usize,
    /// The first thing that broke it.
    pub first: Option<String>,
}

impl From<Finding> for Promise {
    fn from(finding: Finding) -> Self {
        Self {
            pass: finding.broken.map(|broken| broken == 0),
            broken: finding.broken.unwrap_or(0),
            first: finding.first,
        }
    }
}

/// A whole run. Times on the wire are from the last byte of the Trigger write to the reply that carries the verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TwinReport {
    /// Parts that were triggered.
    pub parts: usize,
    /// Parts that went by without a trigger, for want of time.
    pub untriggered: u32,
    /// Their verdicts.
    pub outcomes: Outcomes,
    /// How often each reason was given.
    pub reasons: BTreeMap<&'static str, usize>,
    /// Parts that passed the gate.
    pub passed: usize,
    /// Parts that were rejected.
    pub rejected: usize,
    /// Defective parts that passed the gate.
    pub escapes: usize,
    /// Good parts that the station called NotOk.
    pub false_rejects: usize,
    /// Outcomes that were not there by their deadline; `None` without records.
    pub late: Option<usize>,
    /// Triggers without a record; `None` without records.
    pub lost: Option<usize>,
    /// Verdicts computed from a frame of another part; `None` without records.
    pub wrong_part: Option<usize>,
    /// Oks shown after their deadline.
    pub ok_after_deadline: usize,
    /// Records of the station; `None` if it runs elsewhere.
    pub records: Option<usize>,
    /// How often the station was killed.
    pub station_kills: u32,
    /// How often the historian was killed.
    pub historian_kills: u32,
    /// How often the network to it was cut.
    pub network_cuts: u32,
    /// How often the PLC restarted.
    pub plc_restarts: u32,
    /// Trigger to verdict, median, microseconds.
    pub trigger_to_verdict_us_p50: Option<u64>,
    /// Trigger to verdict, 99th percentile, microseconds.
    pub trigger_to_verdict_us_p99: Option<u64>,
    /// Trigger to verdict, the longest, microseconds.
    pub trigger_to_verdict_us_max: Option<u64>,
    /// LINE-1, conservation.
    pub line_1: Promise,
    /// LINE-2, identity.
    pub line_2: Promise,
    /// LINE-3, deadline.
    pub line_3: Promise,
    /// LINE-5, record: the journal, and the historian if the twin runs one, hold what was said; `None` if the station runs elsewhere.
    pub line_5: Option<Promise>,
    /// Whether the run was stopped before all parts had come.
    pub stopped: bool,
    /// Each part, in the order of the triggers.
    #[serde(skip)]
    pub details: Vec<PartRun>,
}

impl TwinReport {
    /// Whether no promise was broken.
    pub fn is_kept(&self) -> bool {
        [&self.line_1, &self.line_2, &self.line_3]
            .into_iter()
            .chain(&self.line_5)
            .all(|promise| promise.pass != Some(false))
    }
}

/// What a run left behind.
#[derive(Debug, Default)]
pub(super) struct Remains {
    pub cycles: Vec<Cycle>,
    pub exposures: Vec<Exposure>,
    pub strays: Vec<StrayOk>,
    pub boot_ids: std::collections::BTreeSet<u16>,
    pub records: Option<Vec<PartRecord>>,
    /// The station's counters before and after, if nothing restarted in between.
    pub counts: Option<(Counts, Counts)>,
    pub untriggered: u32,
    pub station_kills: u32,
    pub historian_kills: u32,
    pub network_cuts: u32,
    pub plc_restarts: u32,
    pub line_5: Option<Finding>,
    pub stopped: bool,
}

/// Judges and sums up.
pub(super) fn sum_up(terms: &Terms, remains: Remains, defect_of: impl Fn(u32) -> Option<String>) -> TwinReport {
    let evidence = Evidence {
        cycles: remains.cycles,
        exposures: remains.exposures,
        strays: remains.strays,
        records: remains.records,
        boot_ids: remains.boot_ids,
        counts: remains.counts,
    };
    let judgement = judge(terms, &evidence);
    let details = details(&evidence, defect_of);
    let count = |of: &dyn Fn(&PartRun) -> bool| details.iter().filter(|part| of(part)).count();
    let verdicts = |verdict: Option<Verdict>| count(&|part| part.outcome() == verdict);
    let mut reasons = BTreeMap::new();
    for reason in details.iter().filter_map(|part| part.reason) {
        *reasons.entry(reason.name()).or_insert(0) += 1;
    }
    let times: Vec<u64> = details.iter().filter_map(|part| part.trigger_to_verdict_us).collect();
    let Judgement {
        line_1,
        line_2,
        line_3,
        lost,
        wrong_part,
        ok_after_deadline,
        late,
    } = judgement;
    TwinReport {
        parts: details.len(),
        untriggered: remains.untriggered,
        outcomes: Outcomes {
            ok: verdicts(Some(Verdict::Ok)),
            not_ok: verdicts(Some(Verdict::NotOk)),
            not_decidable: verdicts(Some(Verdict::NotDecidable)),
            unknown: verdicts(None),
        },
        reasons,
        passed: count(&PartRun::passed),
        rejected: count(&|part| !part.passed()) + remains.untriggered as usize,
        escapes: count(&PartRun::is_escape),
        false_rejects: count(&PartRun::is_false_reject),
        late,
        lost,
        wrong_part,
        ok_after_deadline,
        records: evidence.records.as_ref().map(Vec::len),
        station_kills: remains.station_kills,
        historian_kills: remains.historian_kills,
        network_cuts: remains.network_cuts,
        plc_restarts: remains.plc_restarts,
        trigger_to_verdict_us_p50: percentile(&times, 50.0),
        trigger_to_verdict_us_p99: percentile(&times, 99.0),
        trigger_to_verdict_us_max: times.iter().copied().max(),
        line_1: line_1.into(),
        line_2: line_2.into(),
        line_3: line_3.into(),
        line_5: remains.line_5.map(Promise::from),
        stopped: remains.stopped,
        details,
    }
}

fn details(evidence: &Evidence, defect_of: impl Fn(u32) -> Option<String>) -> Vec<PartRun> {
    let mut by_cycle: HashMap<CycleKey, &PartRecord> = HashMap::new();
    for record in evidence.own_records() {
        if let Some(key) = CycleKey::of(record) {
            // The first that was told; later ones add or repeat.
            by_cycle.entry(key).or_insert(record);
        }
    }
    let of = |cycle: &Cycle| PartRun::new(cycle, defect_of(cycle.part), by_cycle.get(&cycle.key).copied());
    evidence.cycles.iter().map(of).collect()
}
