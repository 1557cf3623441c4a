//! Results in window mode: sixteen side by side, each in a slot that its part finds by its CycleId.

use super::{Script, Sequence};
use crate::line::image::WINDOW_SLOTS;
use crate::part::Verdict;
use crate::twin::commission::step::{Action, Look, Terms, Timer, Value, is, slot};

pub(super) fn all(terms: &Terms) -> Vec<Sequence> {
    vec![slots(terms), hold(terms), session(terms), link_down(terms), kill(terms)]
}

/// Whether every so manieth part is defective.
fn look(cycle_id: u32) -> Look {
    if cycle_id.is_multiple_of(5) { Look::Defective } else { Look::Good }
}

fn slots(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "window_slots",
        "Window mode, more parts than slots",
        "Each part finds its own result in slot ResultId mod 16; the oldest gives way, and the result registers stay silent.",
    );
    script
        .needs_window()
        .power_up()
        .keep(&[("toggle", "InspectionToggle"), ("total", "CountTotal")]);
    let (first, count) = (301, WINDOW_SLOTS as u32 + 2);
    for cycle_id in first..first + count {
        script.expect(
            "there is room for the next part",
            Timer::Hold,
            is("TriggerReady", 1),
            vec![is("Error", 0)],
        );
        script
            .open(cycle_id)
            .expose(cycle_id, look(cycle_id))
            .result(cycle_id, look(cycle_id));
    }
    let of = |cycle_id, is_there: bool| slot(cycle_id, is("WindowCycleId", if is_there { cycle_id } else { 0 }));
    script.hold(
        "the last sixteen are there, and the result registers say nothing",
        vec![
            of(first, false),
            of(first + 1, false),
            of(first + 2, true),
            of(first + count - 1, true),
            is("ResultValid", 0),
            is("Accept", 0),
            is("Verdict", 0),
            is("InspectionToggle", Value::Kept("toggle")),
            is("CountTotal", Value::After("total", count)),
        ],
    );
    let records: Vec<_> = (first..first + count)
        .map(|cycle_id| match look(cycle_id) {
            Look::Defective => (cycle_id, Verdict::NotOk, None),
            _ => (cycle_id, Verdict::Ok, None),
        })
        .collect();
    script.records(&records).done()
}

fn hold(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "window_hold",
        "Window mode, a result that is not fetched",
        "After accept_hold_ms a verdict in the window is 0: it passes no part any more, and its slot stays its own.",
    );
    script.needs_window().needs_parts().power_up();
    script.part(321, Look::Good);
    script.expect(
        "the verdict falls by itself",
        Timer::Hold,
        slot(321, is("WindowVerdict", 0)),
        vec![slot(321, is("WindowCycleId", 321))],
    );
    script.lasts(
        "and does not come back",
        vec![slot(321, is("WindowVerdict", 0)), slot(321, is("WindowCycleId", 321))],
    );
    script.ready().part(322, Look::Defective);
    script.expect(
        "so does that of a defective part",
        Timer::Hold,
        slot(322, is("WindowVerdict", 0)),
        vec![slot(322, is("WindowCycleId", 322))],
    );
    script.records(&[(321, Verdict::Ok, None), (322, Verdict::NotOk, None)]).done()
}

fn session(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "window_session",
        "Window mode, the PLC stops and starts",
        "A new PlcSession finds an empty window: CycleIds of before are free again, and pass nothing.",
    );
    script.needs_window().power_up().part(331, Look::Good);
    script.step("the PLC stops and starts", Action::PlcStarts);
    script.expect(
        "the session is in force",
        Timer::Clear,
        is("EchoPlcSession", Value::Kept("session")),
        vec![],
    );
    script.hold("the window is empty", vec![slot(331, is("WindowCycleId", 0)), is("Busy", 0)]);
    script.set("the PLC goes online", &[("Online", 1), ("TriggerEnable", 1)]).ready();
    script.part(331, Look::Good).records(&[(331, Verdict::Ok, None)]).done()
}

fn link_down(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "window_link_down",
        "Window mode, link down for 50 ms",
        "A short cut between TriggerAck and the result costs nothing: the part finds its slot afterwards.",
    );
    script.needs_window().power_up().open(336).keep(&[("acquisition", "AcquisitionId")]);
    script.step("the link is cut", Action::LinkDown).expose(336, Look::Good);
    script.step("it stands again", Action::LinkUp(std::time::Duration::from_millis(50)));
    script.result_with(336, Look::Good, vec![is("AcquisitionId", Value::Kept("acquisition"))]);
    script.ready().part(337, Look::Good).records(&[(336, Verdict::Ok, None)]).done()
}

fn kill(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "window_kill",
        "Window mode, kill -9",
        "A station that was killed starts with an empty window: what it showed passes nothing any more.",
    );
    script.needs_window().needs_parts().needs_station().power_up();
    script.part(341, Look::Good).keep(&[("boot", "BootId")]);
    script.step("the station is killed", Action::Kill).step("it starts", Action::Start);
    script.expect(
        "the window is empty",
        Timer::Start,
        is("BootId", Value::After("boot", 1)),
        vec![slot(341, is("WindowCycleId", 0)), is("TriggerReady", 0)],
    );
    script.expect_while(
        "the station is ready once its models are proven",
        Timer::Start,
        is("TriggerReady", 1),
        vec![is("Error", 0)],
        vec![slot(341, is("WindowCycleId", 0))],
    );
    script
        .part(342, Look::Good)
        .records(&[(341, Verdict::Ok, None), (342, Verdict::Ok, None)])
        .done()
}
