//! What stops, restarts, falls silent and is cut.

use std::time::Duration;

use super::{Script, Sequence};
use crate::line::error_code::ErrorCode;
use crate::part::{Reason, Verdict};
use crate::twin::commission::step::{Action, Check, Look, Recorded, Span, Terms, Timer, Value, is, is_not};

pub(super) fn all(terms: &Terms) -> Vec<Sequence> {
    vec![
        plc_restart(terms),
        heartbeat_loss(terms),
        heartbeat_rollover(terms),
        short_cut(terms),
        long_cut(terms),
        stale_data(terms),
        station_restart(terms),
        kill(terms),
    ]
}

fn plc_restart(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "plc_restart",
        "PLC stops and starts",
        "A new PlcSession makes parts of before its past: what was open is recorded, not shown, and its CycleIds are free again.",
    );
    script
        .needs_registers()
        .needs_parts()
        .power_up()
        .part(221, Look::Good)
        .ready()
        .open(222);
    script.keep(&[("acquisition", "AcquisitionId"), ("undecided", "CountNotDecidable")]);
    script.step("the PLC stops and starts", Action::PlcStarts);
    script.expect(
        "the session is in force, and nothing of before is open or shown",
        Timer::Clear,
        is("EchoPlcSession", Value::Kept("session")),
        vec![
            is("Busy", 0),
            is("ResultValid", 0),
            is("Verdict", 0),
            is("Accept", 0),
            is("TriggerAck", 0),
            is("EchoCycleId", 0),
            is("CountNotDecidable", Value::After("undecided", 1)),
        ],
    );
    script.expose(222, Look::Good);
    script.hold(
        "it is never shown",
        vec![is("ResultValid", 0), is("Accept", 0), is("EchoCycleId", 0)],
    );
    script.set("the PLC goes online", &[("Online", 1), ("TriggerEnable", 1)]).ready();
    script
        .trigger(222)
        .taken_with(222, vec![is_not("AcquisitionId", Value::Kept("acquisition"))])
        .release();
    script.expose(222, Look::Good).result(222, Look::Good);
    if terms.own_station {
        let before = Recorded {
            cycle_id: 222,
            outcome: Some((Verdict::NotDecidable, Some(Reason::PlcRestart))),
            serial: None,
            session_before: true,
        };
        script.step("the part of before has exactly one record", Action::Records(vec![before]));
    }
    script.records(&[(222, Verdict::Ok, None)]).done()
}

fn heartbeat_loss(terms: &Terms) -> Sequence {
    let code = u32::from(ErrorCode::PlcLost.code());
    let mut script = Script::new(
        terms,
        "heartbeat_loss",
        "The PLC's heartbeat stops",
        "A PLC that writes but does not live is none: error 30, no part is taken; both pass once the heartbeat changes twice.",
    );
    script.power_up();
    script.step("the PLC hangs", Action::Heart(false));
    script.expect(
        "the station notices",
        Timer::Heartbeat,
        is("ErrorCode", code),
        vec![is("Error", 1), is("TriggerReady", 0)],
    );
    script.trigger(226).missed(226, vec![is("ErrorCode", code)]).release();
    script.hold("no part may come", vec![is("TriggerReady", 0), is("ErrorCode", code)]);
    script.step("the PLC lives", Action::Heart(true));
    script.expect("the station goes on", Timer::Heartbeat, is("TriggerReady", 1), vec![is("Error", 0)]);
    script
        .part(227, Look::Good)
        .records(&[(226, Verdict::NotDecidable, Some(Reason::Missed))])
        .done()
}

fn heartbeat_rollover(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "heartbeat_rollover",
        "Heartbeat 65535 to 0",
        "The PLC's heartbeat may roll over. (The station's own does so every 109 minutes; this run does not wait for it.)",
    );
    script.power_up();
    script.set("the heartbeat is about to roll over", &[("Heartbeat", 65_533)]);
    script.step(
        "it does, and the PLC stays alive",
        Action::Hold {
            span: Span::Time(terms.heartbeat_timeout + Duration::from_millis(1500)),
            checks: vec![is("TriggerReady", 1), is("Error", 0)],
        },
    );
    script.done()
}

fn short_cut(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "link_down_50_ms",
        "Link down for 50 ms",
        "A short cut between TriggerAck and the result costs nothing: the part has its one result.",
    );
    script
        .needs_registers()
        .power_up()
        .open(231)
        .keep(&[("acquisition", "AcquisitionId"), ("total", "CountTotal")]);
    script.step("the link is cut", Action::LinkDown).expose(231, Look::Good);
    script.step("it stands again", Action::LinkUp(Duration::from_millis(50)));
    script.result_with(
        231,
        Look::Good,
        vec![
            is("AcquisitionId", Value::Kept("acquisition")),
            is("TriggerAck", 0),
            is("MissedTrigger", 0),
        ],
    );
    script.acknowledge(vec![]).set("ResultAck falls", &[("ResultAck", 0)]).ready();
    script.records(&[(231, Verdict::Ok, None)]).done()
}

fn long_cut(terms: &Terms) -> Sequence {
    let code = u32::from(ErrorCode::PlcLost.code());
    let mut script = Script::new(
        terms,
        "link_down_5_s",
        "Link down for 5 s",
        "A long cut voids no outcome, but Accept does not outlive its hold time, and no part is taken before the heartbeat is back.",
    );
    script.needs_registers().power_up().part(236, Look::Good);
    script.keep(&[
        ("acquisition", "AcquisitionId"),
        ("result", "ResultId"),
        ("session", "EchoPlcSession"),
    ]);
    script.step("the link is cut", Action::LinkDown);
    script.step("it stands again", Action::LinkUp(terms.long_cut));
    let accept = (terms.long_cut > terms.accept_hold).then(|| is("Accept", 0));
    let mut with: Vec<Check> = vec![
        is("ResultValid", 1),
        is("EchoCycleId", 236),
        is("ResultId", Value::Kept("result")),
        is("AcquisitionId", Value::Kept("acquisition")),
        is("TriggerReady", 0),
        is("ErrorCode", code),
    ];
    with.extend(accept);
    script.expect(
        "the result is still there, and no part may come",
        Timer::Clear,
        is("EchoPlcSession", Value::Kept("session")),
        with,
    );
    script.expect("the station goes on", Timer::Heartbeat, is("TriggerReady", 1), vec![is("Error", 0)]);
    script
        .part(237, Look::Good)
        .records(&[(236, Verdict::Ok, None), (237, Verdict::Ok, None)])
        .done()
}

fn stale_data(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "stale_data",
        "Trigger and ResultAck still 1 after a reconnection",
        "What is found to be 1 after a reconnection is no edge: it opens no part and consumes no result until it was 0.",
    );
    script.needs_registers().power_up().part(241, Look::Good).ready();
    script.keep(&[("acquisition", "AcquisitionId"), ("result", "ResultId"), ("missed", "CountMissed")]);
    script.step("the link is cut", Action::LinkDown);
    script.set(
        "meanwhile the PLC writes the next part's numbers",
        &[("CycleId", 242), ("Encoder", 242_000), ("CycleIdTail", 242)],
    );
    script.write(
        "and raises Trigger and ResultAck",
        &[
            ("Trigger", Value::Number(1)),
            ("AckResultId", Value::Kept("result")),
            ("ResultAck", Value::Number(1)),
        ],
    );
    script.step("the link stands again", Action::LinkUp(Duration::from_millis(200)));
    script.step(
        "neither is an edge",
        Action::Hold {
            span: Span::Beats(4),
            checks: vec![
                is("AcquisitionId", Value::Kept("acquisition")),
                is("TriggerAck", 0),
                is("MissedTrigger", 0),
                is("TriggerReady", 0),
                is("ResultValid", 1),
                is("ResultId", Value::Kept("result")),
                is("CountMissed", Value::Kept("missed")),
            ],
        },
    );
    script.set("both fall", &[("Trigger", 0), ("ResultAck", 0)]);
    script.expect(
        "the station is ready",
        Timer::Clear,
        is("TriggerReady", 1),
        vec![is("ResultValid", 1)],
    );
    script.acknowledge(vec![]).set("ResultAck falls", &[("ResultAck", 0)]);
    script.ready().part(242, Look::Good).records(&[(242, Verdict::Ok, None)]).done()
}

/// What the first image of a station's new life must say.
fn first_image() -> Vec<Check> {
    let nothing = [
        "EchoCycleId",
        "Verdict",
        "ResultValid",
        "Accept",
        "TriggerAck",
        "MissedTrigger",
        "InspectionToggle",
        "TriggerReady",
        "Busy",
        "ResultId",
    ];
    nothing.map(|signal| is(signal, 0)).to_vec()
}

fn station_restart(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "station_restart",
        "Station stops in order and starts",
        "BootId rises by one, counters go on, and nothing of before is shown.",
    );
    script
        .needs_registers()
        .needs_parts()
        .needs_station()
        .power_up()
        .part(246, Look::Good);
    script.keep(&[
        ("boot", "BootId"),
        ("total", "CountTotal"),
        ("session", "EchoPlcSession"),
        ("result", "ResultId"),
    ]);
    script.step("the station stops", Action::Stop).step("it starts", Action::Start);
    let mut with = first_image();
    with.extend([is("CountTotal", Value::Kept("total")), is("EchoPlcSession", Value::Kept("session"))]);
    script.expect(
        "nothing of before is shown",
        Timer::Start,
        is("BootId", Value::After("boot", 1)),
        with,
    );
    script.expect_while(
        "the station is ready once its models are proven",
        Timer::Start,
        is("TriggerReady", 1),
        vec![is("Error", 0)],
        vec![is("Accept", 0), is("ResultValid", 0)],
    );
    script
        .part(247, Look::Good)
        .records(&[(246, Verdict::Ok, None), (247, Verdict::Ok, None)])
        .done()
}

fn kill(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "kill",
        "kill -9 with a part open",
        "The open part and the one that was triggered meanwhile are recorded as lost to the restart, once each, and are never shown.",
    );
    script.needs_registers().needs_parts().needs_station().power_up();
    script.keep(&[
        ("boot", "BootId"),
        ("undecided", "CountNotDecidable"),
        ("session", "EchoPlcSession"),
    ]);
    script.open(51).step("the station is killed", Action::Kill);
    script.set(
        "part 52 is triggered while it is down",
        &[("CycleId", 52), ("Encoder", 52_000), ("CycleIdTail", 52), ("Trigger", 1)],
    );
    script.step("the station starts", Action::Start);
    let mut with = first_image();
    with.extend([
        is("EchoPlcSession", Value::Kept("session")),
        is("CountNotDecidable", Value::After("undecided", 1)),
    ]);
    script.expect(
        "nothing of before is shown, but it is counted",
        Timer::Start,
        is("BootId", Value::After("boot", 1)),
        with,
    );
    let silent = || {
        vec![
            is("TriggerAck", 0),
            is("MissedTrigger", 0),
            is("TriggerReady", 0),
            is("Accept", 0),
            is("ResultValid", 0),
        ]
    };
    script.expect_while(
        "its models are proven, and Trigger that is still 1 is no edge",
        Timer::Start,
        is("Online", 1),
        silent(),
        silent(),
    );
    script.lasts("nor later", silent());
    script.set("Trigger falls", &[("Trigger", 0)]);
    script.expect(
        "the station is ready",
        Timer::Heartbeat,
        is("TriggerReady", 1),
        vec![is("Error", 0)],
    );
    script.part(53, Look::Good);
    let lost = Some(Reason::Restart);
    let mut records = vec![(51, Verdict::NotDecidable, lost), (53, Verdict::Ok, None)];
    if terms.sequential {
        records.push((52, Verdict::NotDecidable, lost));
    }
    script.records(&records).done()
}
