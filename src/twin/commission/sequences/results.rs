//! Results and their acknowledgement: one at a time, and buffered.

use super::{Script, Sequence};
use crate::line::image::BUFFERS;
use crate::part::{Reason, Verdict};
use crate::twin::commission::step::{Action, Look, Span, Terms, Timer, Value, is, is_not, one_of};

pub(super) fn all(terms: &Terms) -> Vec<Sequence> {
    vec![
        normal(terms),
        defective(terms),
        replaced(terms),
        late_engine(terms),
        lost_ack(terms),
        early_ack(terms),
        wrong_ack(terms),
        buffered_late_ack(terms),
        buffer_full(terms),
    ]
}

fn normal(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "normal",
        "Normal cycle, single mode",
        "A good part goes from Trigger to ResultAck, and each answer comes whole, in one image.",
    );
    script.needs_registers().power_up();
    script.keep(&[
        ("toggle", "InspectionToggle"),
        ("acquisition", "AcquisitionId"),
        ("total", "CountTotal"),
    ]);
    script.trigger(41);
    let mut with = vec![is_not("AcquisitionId", Value::Kept("acquisition"))];
    if terms.own_parts {
        with.extend([is("ExposureComplete", 0), is("Busy", 1), is("Accept", 0), is("ResultValid", 0)]);
    }
    script.taken_with(41, with).release();
    script.expose(41, Look::Good);
    script.result_with(
        41,
        Look::Good,
        vec![
            is("Accept", u32::from(terms.own_parts && !terms.simulated)),
            is("InspectionToggle", Value::Flipped("toggle")),
            is("ResultIdTail", Value::Signal("ResultId")),
            is("ExposureComplete", 1),
            is("Busy", 0),
            is("DeadlineMissed", 0),
            is("TriggerReady", 1),
            is("CountTotal", Value::After("total", 1)),
        ]
        .into_iter()
        .filter(|check| terms.own_parts || !matches!(check.signal, "Accept" | "DeadlineMissed"))
        .collect(),
    );
    script.acknowledge(vec![is("ResultId", Value::Kept("result"))]);
    script.hold(
        "it is not shown again while ResultAck is 1",
        vec![is("ResultValid", 0), is("Accept", 0), is("Verdict", 0)],
    );
    script.set("ResultAck falls", &[("ResultAck", 0)]);
    script.hold(
        "nor afterwards",
        vec![is("ResultValid", 0), is("Accept", 0), is("CountTotal", Value::After("total", 1))],
    );
    script.records(&[(41, Verdict::Ok, None)]).done()
}

fn defective(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "defective",
        "Defective part",
        "A defective part is shown as NotOK and is never accepted.",
    );
    script.needs_registers().needs_parts().power_up();
    script.keep(&[("not_ok", "CountNotOk")]);
    script.open(43).expose(43, Look::Defective);
    script.result_with(43, Look::Defective, vec![is("CountNotOk", Value::After("not_ok", 1))]);
    script.hold("it stays rejected", vec![is("Accept", 0), is("Verdict", 2)]);
    script.records(&[(43, Verdict::NotOk, None)]).done()
}

fn replaced(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "replaced",
        "Result without acknowledgement, single mode",
        "The next trigger that is taken withdraws the result before it, in the image of its TriggerAck.",
    );
    script.needs_registers().needs_parts().power_up().part(31, Look::Good);
    script.keep(&[("result", "ResultId")]);
    script
        .trigger(32)
        .taken_with(32, vec![is("ResultValid", 0), is("Verdict", 0), is("Accept", 0)]);
    script
        .release()
        .expose(32, Look::Good)
        .result_with(32, Look::Good, vec![is_not("ResultId", Value::Kept("result"))]);
    script.records(&[(31, Verdict::Ok, None), (32, Verdict::Ok, None)]).done()
}

fn late_engine(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "late_engine",
        "Late engine",
        "At the deadline the part is not decidable, once and for good: what the engine says afterwards reaches no register.",
    );
    script.needs_registers().needs_parts().needs_station().power_up();
    script.keep(&[("toggle", "InspectionToggle"), ("result", "ResultId")]);
    script.open(42).expose(42, Look::GoodButLate);
    let reasons = [Reason::Deadline, Reason::NoFrame].map(|reason| u32::from(reason.code()));
    script.result_with(
        42,
        Look::GoodButLate,
        vec![
            one_of("ReasonCode", &reasons),
            is("DeadlineMissed", 1),
            is_not("ResultId", Value::Kept("result")),
            is("InspectionToggle", Value::Flipped("toggle")),
        ],
    );
    script.keep(&[("result", "ResultId"), ("late toggle", "InspectionToggle")]);
    script.step(
        "the engine's late word changes no register",
        Action::Hold {
            span: Span::Beats(6),
            checks: vec![
                is("Verdict", 3),
                is("Accept", 0),
                is("ResultId", Value::Kept("result")),
                is("InspectionToggle", Value::Kept("late toggle")),
            ],
        },
    );
    script.records(&[(42, Verdict::NotDecidable, None)]).done()
}

fn lost_ack(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "lost_ack",
        "TriggerAck is lost",
        "An answer that the PLC did not see stands until Trigger falls, and the PLC may ask again: the part is opened once.",
    );
    script.power_up();
    script.keep(&[("total", "CountTotal"), ("duplicate", "CountDuplicate")]);
    script.trigger(71);
    script
        .step("the link is cut before the answer is read", Action::LinkDown)
        .expose(71, Look::Good);
    script.step("it stands again", Action::LinkUp(std::time::Duration::from_millis(50)));
    script.taken(71).keep(&[("acquisition", "AcquisitionId")]);
    script.set("the PLC begins anew", &[("Trigger", 0)]);
    script.expect("the answer falls", Timer::Clear, is("TriggerAck", 0), vec![]);
    script.raise().taken_with(
        71,
        vec![
            is("AcquisitionId", Value::Kept("acquisition")),
            is("CountDuplicate", Value::After("duplicate", 1)),
        ],
    );
    script
        .release()
        .result_with(71, Look::Good, vec![is("CountTotal", Value::After("total", 1))]);
    script.records(&[(71, Verdict::Ok, None)]).done()
}

fn early_ack(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "early_ack",
        "ResultAck too early",
        "A ResultAck that is 1 before the result is shown is no edge, even with the right AckResultId: the result stays until a real edge.",
    );
    script
        .needs_registers()
        .needs_parts()
        .power_up()
        .part(81, Look::Good)
        .acknowledge(vec![]);
    script.set("ResultAck falls", &[("ResultAck", 0)]);
    script.ready().open(82);
    script.write(
        "the PLC acknowledges what is not shown yet",
        &[("AckResultId", Value::After("result", 1)), ("ResultAck", Value::Number(1))],
    );
    script
        .expose(82, Look::Good)
        .result_with(82, Look::Good, vec![is("ResultId", Value::After("result", 1))]);
    script.lasts(
        "the early acknowledgement consumes nothing",
        vec![is("ResultValid", 1), is("ResultId", Value::After("result", 1))],
    );
    script.set("ResultAck falls", &[("ResultAck", 0)]);
    script.hold("nor does its fall", vec![is("ResultValid", 1)]);
    script.acknowledge(vec![]);
    script.records(&[(81, Verdict::Ok, None), (82, Verdict::Ok, None)]).done()
}

fn wrong_ack(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "wrong_ack",
        "Wrong AckResultId",
        "An acknowledgement of another result consumes nothing.",
    );
    script
        .needs_registers()
        .power_up()
        .part(91, Look::Good)
        .keep(&[("result", "ResultId")]);
    script.write(
        "the PLC acknowledges another result",
        &[("AckResultId", Value::After("result", 7)), ("ResultAck", Value::Number(1))],
    );
    script.hold(
        "the result stays",
        vec![is("ResultValid", 1), is("ResultId", Value::Kept("result")), is("EchoCycleId", 91)],
    );
    script.set("ResultAck falls", &[("ResultAck", 0)]);
    script.hold("it still stays", vec![is("ResultValid", 1), is("ResultId", Value::Kept("result"))]);
    script.acknowledge(vec![]).done()
}

/// Buffered mode in which `read` results are read one after the other.
fn read(script: &mut Script<'_>, cycle_ids: impl IntoIterator<Item = u32>) {
    for cycle_id in cycle_ids {
        script.expect(
            format!("part {cycle_id} is shown next"),
            Timer::Result,
            is("ResultValid", 1),
            vec![is("EchoCycleId", cycle_id)],
        );
        script.acknowledge(vec![]).set("ResultAck falls", &[("ResultAck", 0)]);
    }
}

fn buffered_late_ack(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "buffered_late_ack",
        "Buffered results, late acknowledgement",
        "Results wait in order, each with its slot; an OK that waits past its deadline passes nothing any more, a NotOK stays one.",
    );
    let (a, b, c) = (11, 12, 13);
    script.needs_registers().needs_parts().power_up_in(true);
    script.expect("all slots are free", Timer::Clear, is("RemainingBuffers", 8), vec![]);
    script
        .trigger(a)
        .taken_with(a, vec![is("RemainingBuffers", 7)])
        .release()
        .expose(a, Look::Good);
    script
        .result_with(a, Look::Good, vec![is("RemainingBuffers", 7)])
        .keep(&[("result", "ResultId"), ("toggle", "InspectionToggle")]);
    script.ready().trigger(b);
    script.taken_with(b, vec![is("RemainingBuffers", 6), is("ResultValid", 1), is("EchoCycleId", a)]);
    script.release().expose(b, Look::Good);
    script
        .ready()
        .trigger(c)
        .taken_with(c, vec![is("RemainingBuffers", 5), is("ResultId", Value::Kept("result"))]);
    script.release().expose(c, Look::Defective);
    script.expect(
        "all three are inspected",
        Timer::Result,
        is("Busy", 0),
        vec![is("RemainingBuffers", 5), is("EchoCycleId", a)],
    );
    script.step(
        "the first stays shown, alone, while the others' deadlines pass",
        Action::Hold {
            span: Span::Time(terms.deadline + terms.accept_hold),
            checks: vec![
                is("ResultValid", 1),
                is("ResultId", Value::Kept("result")),
                is("InspectionToggle", Value::Kept("toggle")),
                is("RemainingBuffers", 5),
            ],
        },
    );
    script.expect(
        "Accept does not stay for ever",
        Timer::Clear,
        is("Accept", 0),
        vec![is("ResultValid", 1), is("Verdict", 1)],
    );
    script.acknowledge(vec![is("RemainingBuffers", 6)]);
    script.lasts(
        "nothing shows while ResultAck is 1",
        vec![is("ResultValid", 0), is("RemainingBuffers", 6)],
    );
    script.set("ResultAck falls", &[("ResultAck", 0)]);
    script.expect(
        "the second was not read in time",
        Timer::Clear,
        is("ResultValid", 1),
        vec![
            is("EchoCycleId", b),
            is("ResultId", Value::After("result", 1)),
            is("Verdict", 3),
            is("ReasonCode", u32::from(Reason::NotRead.code())),
            is("Accept", 0),
        ],
    );
    script
        .acknowledge(vec![is("RemainingBuffers", 7)])
        .set("ResultAck falls", &[("ResultAck", 0)]);
    script.expect(
        "the third is NotOK still",
        Timer::Clear,
        is("ResultValid", 1),
        vec![is("EchoCycleId", c), is("Verdict", 2), is("Accept", 0)],
    );
    script
        .acknowledge(vec![is("RemainingBuffers", 8)])
        .set("ResultAck falls", &[("ResultAck", 0)]);
    let not_read = Some(Reason::NotRead);
    script
        .records(&[
            (a, Verdict::Ok, None),
            (b, Verdict::NotDecidable, not_read),
            (c, Verdict::NotOk, None),
        ])
        .done()
}

fn buffer_full(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "buffer_full",
        "Buffered results, no acknowledgement at all",
        "With every slot taken TriggerReady is 0, the next trigger is missed and says so, and no result is overrun or lost.",
    );
    let buffers = BUFFERS as u32;
    let first = 21;
    let extra = first + buffers;
    script.needs_registers().needs_parts().power_up_in(true);
    for cycle_id in first..extra {
        let left = buffers - 1 - (cycle_id - first);
        script.trigger(cycle_id).taken_with(cycle_id, vec![is("RemainingBuffers", left)]);
        script.release().expose(cycle_id, Look::Defective);
        if cycle_id + 1 < extra {
            script.ready();
        }
    }
    script.expect(
        "all are inspected",
        Timer::Result,
        is("Busy", 0),
        vec![is("RemainingBuffers", 0), is("TriggerReady", 0)],
    );
    script.hold(
        "no part may come",
        vec![
            is("TriggerReady", 0),
            is("RemainingBuffers", 0),
            is("EchoCycleId", first),
            is("ResultValid", 1),
        ],
    );
    script
        .trigger(extra)
        .missed(extra, vec![is("BufferOverrun", 0), is("ResultValid", 1), is("EchoCycleId", first)])
        .release();
    read(&mut script, first..extra);
    script.expect(
        "every slot is free again",
        Timer::Clear,
        is("RemainingBuffers", 8),
        vec![is("ResultValid", 0), is("BufferOverrun", 0)],
    );
    script.records(&[(first, Verdict::NotOk, None), (extra, Verdict::NotDecidable, Some(Reason::Missed))]);
    script.done()
}
