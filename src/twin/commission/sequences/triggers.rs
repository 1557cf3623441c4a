//! Triggers and their numbers: repeated, bounced, torn, reused, missing, rolled over.

use super::{Script, Sequence};
use crate::line::config::TriggerSource;
use crate::line::error_code::ErrorCode;
use crate::part::{Reason, Verdict};
use crate::twin::commission::step::{Look, Terms, Timer, Value, is, is_not};

/// The last CycleId: PLCs have signed DINTs.
const LAST: u32 = i32::MAX as u32;

pub(super) fn all(terms: &Terms) -> Vec<Sequence> {
    vec![
        repeated(terms),
        bounce(terms),
        busy(terms),
        offline(terms),
        torn(terms),
        torn_heals(terms),
        reused(terms),
        reused_while_open(terms),
        cycle_id_zero(terms),
        skipped(terms),
        rollover(terms),
    ]
}

fn repeated(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "double_trigger",
        "Double trigger",
        "The same CycleId of the same part again is a retry: it is answered, nothing is acquired or counted anew, the outcome stands.",
    );
    script.power_up().part(101, Look::Good);
    script.keep(&[
        ("acquisition", "AcquisitionId"),
        ("result", "ResultId"),
        ("total", "CountTotal"),
        ("duplicate", "CountDuplicate"),
        ("toggle", "InspectionToggle"),
    ]);
    script
        .raise()
        .taken_with(101, vec![is("AcquisitionId", Value::Kept("acquisition")), is("Busy", 0)]);
    script.release().hold(
        "nothing is inspected again",
        vec![
            is("AcquisitionId", Value::Kept("acquisition")),
            is("ResultId", Value::Kept("result")),
            is("InspectionToggle", Value::Kept("toggle")),
            is("CountTotal", Value::Kept("total")),
            is("CountDuplicate", Value::After("duplicate", 1)),
            is("Busy", 0),
        ],
    );
    script.records(&[(101, Verdict::Ok, None)]).done()
}

fn bounce(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "bounce",
        "Trigger bounces",
        "Trigger goes 1, 0, 1 before the PLC reads an answer: one part is opened, not two.",
    );
    script.power_up();
    script.keep(&[("before", "AcquisitionId"), ("total", "CountTotal"), ("missed", "CountMissed")]);
    script.trigger(111);
    script.set("it bounces", &[("Trigger", 0)]);
    script.set("and is 1 again", &[("Trigger", 1)]);
    script.taken_with(111, vec![is_not("AcquisitionId", Value::Kept("before"))]);
    script.expose(111, Look::Good).keep(&[("acquisition", "AcquisitionId")]);
    script.hold(
        "no second acquisition",
        vec![is("AcquisitionId", Value::Kept("acquisition")), is("TriggerAck", 1)],
    );
    script.release();
    script.result_with(
        111,
        Look::Good,
        vec![is("CountTotal", Value::After("total", 1)), is("CountMissed", Value::Kept("missed"))],
    );
    script.records(&[(111, Verdict::Ok, None)]).done()
}

fn busy(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "trigger_while_busy",
        "Trigger while a part is open, single mode",
        "A trigger without TriggerReady is missed with its own EchoTriggerId, never fires later, and leaves the open part alone.",
    );
    script.needs_registers().needs_parts().power_up();
    script.keep(&[("missed", "CountMissed"), ("total", "CountTotal")]);
    script.open(121).keep(&[("acquisition", "AcquisitionId")]);
    let wired = matches!(terms.trigger, TriggerSource::Hardware { .. });
    if wired {
        // A wired exposure has to come in its arm window; until that has passed the part is open all the same.
        script.expose(121, Look::Good);
    }
    script
        .announce(122)
        .raise()
        .missed(122, vec![is("CountMissed", Value::After("missed", 1))])
        .release();
    if !wired {
        script.expose(121, Look::Good);
    }
    script.result_with(
        121,
        Look::Good,
        vec![
            is("AcquisitionId", Value::Kept("acquisition")),
            is("CountTotal", Value::After("total", 2)),
        ],
    );
    script.hold(
        "the missed trigger does not fire later",
        vec![
            is("AcquisitionId", Value::Kept("acquisition")),
            is("TriggerAck", 0),
            is("Busy", 0),
            is("EchoCycleId", 121),
        ],
    );
    script
        .records(&[(121, Verdict::Ok, None), (122, Verdict::NotDecidable, Some(Reason::Missed))])
        .done()
}

fn offline(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "offline",
        "PLC offline",
        "When Online falls TriggerReady falls, open parts run to their outcome, and a trigger is missed.",
    );
    script.needs_registers().needs_parts().power_up().open(126);
    script.set("the PLC goes offline", &[("Online", 0)]);
    script.expose(126, Look::Good);
    let verdict = script.verdict(Look::Good);
    let mut with = vec![is("EchoCycleId", 126), is("TriggerReady", 0)];
    with.extend(verdict);
    script.expect("the open part has its outcome", Timer::Result, is("ResultValid", 1), with);
    script.hold("no part may come", vec![is("TriggerReady", 0)]);
    script.trigger(127).missed(127, vec![]);
    script.lasts(
        "the answer stands until Trigger falls",
        vec![is("MissedTrigger", 1), is("TriggerAck", 0)],
    );
    script.release();
    script.set("the PLC is online again", &[("Online", 1)]);
    script
        .ready()
        .records(&[(126, Verdict::Ok, None), (127, Verdict::NotDecidable, Some(Reason::Missed))])
        .done()
}

fn torn(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "torn_write",
        "Torn write",
        "A Trigger whose CycleId differs from CycleIdTail opens no part; it is missed after torn_ms.",
    );
    script.power_up().part(131, Look::Good).ready();
    script.keep(&[("acquisition", "AcquisitionId")]);
    script.keep_distance().set(
        "half of the numbers, and Trigger",
        &[("CycleId", 132), ("Encoder", 132_000), ("CycleIdTail", 131), ("Trigger", 1)],
    );
    script.expect_while(
        "it is missed",
        Timer::Torn,
        is("MissedTrigger", 1),
        vec![is("TriggerAck", 0), is("AcquisitionId", Value::Kept("acquisition"))],
        vec![is("TriggerAck", 0), is("AcquisitionId", Value::Kept("acquisition"))],
    );
    script.set("the rest comes too late", &[("CycleIdTail", 132)]);
    script.hold(
        "it does not fire later",
        vec![is("TriggerAck", 0), is("AcquisitionId", Value::Kept("acquisition"))],
    );
    script.release().ready().done()
}

fn torn_heals(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "torn_write_heals",
        "Torn write that becomes whole",
        "A Trigger whose numbers become whole within torn_ms is the trigger of the whole numbers.",
    );
    script.power_up();
    script.announce(136).keep_distance();
    script.set(
        "half of the next numbers, and Trigger",
        &[("CycleId", 137), ("Encoder", 137_000), ("Trigger", 1)],
    );
    script.set("the rest", &[("CycleIdTail", 137)]);
    script.taken(137).release().expose(137, Look::Good).result(137, Look::Good);
    script.records(&[(137, Verdict::Ok, None)]).done()
}

fn reused(terms: &Terms) -> Sequence {
    let code = u32::from(ErrorCode::CycleIdReused.code());
    let mut script = Script::new(
        terms,
        "reused_id",
        "CycleId of another part",
        "The same CycleId with another Encoder is another part under a used name: missed, error 41, and nothing is acquired.",
    );
    script.power_up().part(141, Look::Good).ready();
    script.keep(&[("acquisition", "AcquisitionId")]);
    script.announce_at(141, 999_999).raise();
    script.missed(
        141,
        vec![
            is("ErrorCode", code),
            is("Error", 1),
            is("AcquisitionId", Value::Kept("acquisition")),
        ],
    );
    script
        .release()
        .hold("no part may come", vec![is("TriggerReady", 0), is("ErrorCode", code)]);
    script.clear_error(code).ready().done()
}

fn reused_while_open(terms: &Terms) -> Sequence {
    let code = u32::from(ErrorCode::CycleIdReused.code());
    let mut script = Script::new(
        terms,
        "reused_id_while_open",
        "CycleId of an open part",
        "When the ID of an open part is used for another one, nobody knows which of them it is: neither passes.",
    );
    script.needs_registers().needs_parts().power_up().open(146);
    script
        .announce_at(146, 999_999)
        .raise()
        .missed(146, vec![is("ErrorCode", code)])
        .release();
    script.expect(
        "the first is not decidable",
        Timer::Result,
        is("ResultValid", 1),
        vec![
            is("EchoCycleId", 146),
            is("Verdict", 3),
            is("ReasonCode", u32::from(Reason::IdReused.code())),
            is("Accept", 0),
        ],
    );
    // It passes the camera all the same: a part that is waited for would make the next one uncertain.
    script.expose(146, Look::Good);
    script.clear_error(code).ready().done()
}

fn cycle_id_zero(terms: &Terms) -> Sequence {
    let code = u32::from(ErrorCode::CycleIdZero.code());
    let mut script = Script::new(
        terms,
        "cycle_id_zero",
        "CycleId 0",
        "A trigger without a number is missed, with error 40 until ClearError.",
    );
    script.power_up();
    script.keep(&[("acquisition", "AcquisitionId")]);
    script.trigger(0);
    script.missed(
        0,
        vec![
            is("ErrorCode", code),
            is("Error", 1),
            is("AcquisitionId", Value::Kept("acquisition")),
        ],
    );
    script
        .release()
        .hold("no part may come", vec![is("TriggerReady", 0), is("ErrorCode", code)]);
    script.clear_error(code).ready().done()
}

fn skipped(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "skipped_ids",
        "Skipped CycleIds",
        "Numbers that are skipped are parts the station never saw: each is recorded and counted as not decidable.",
    );
    script.needs(terms.sequential, "cycle_id.sequential is false");
    script.power_up().part(151, Look::Good).ready();
    script.keep(&[("total", "CountTotal"), ("undecided", "CountNotDecidable")]);
    script.open(154).expose(154, Look::Good);
    let mut also = vec![is("CountTotal", Value::After("total", 3))];
    if terms.own_parts {
        also.push(is("CountNotDecidable", Value::After("undecided", 2)));
    }
    script.result_with(154, Look::Good, also);
    let never_seen = Some(Reason::NeverSeen);
    script
        .records(&[
            (151, Verdict::Ok, None),
            (152, Verdict::NotDecidable, never_seen),
            (153, Verdict::NotDecidable, never_seen),
            (154, Verdict::Ok, None),
        ])
        .done()
}

fn rollover(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "cycle_id_rollover",
        "CycleId 2147483647 to 1",
        "After 2147483647 comes 1: no jump, nothing skipped, the parts are told apart.",
    );
    script.power_up();
    script.keep(&[("total", "CountTotal")]);
    script.part(LAST, Look::Good).ready().trigger(1);
    script.taken_with(1, vec![is("Error", 0)]).release().expose(1, Look::Good);
    script.result_with(1, Look::Good, vec![is("CountTotal", Value::After("total", 2)), is("Error", 0)]);
    script.records(&[(LAST, Verdict::Ok, None), (1, Verdict::Ok, None)]).done()
}
