//! The contract, continued: what only a PLC with registers can say, and every wire with registers must hear the same way.

use serde_json::Value;
use takt::line::image::{BUFFERS, StationImage, control};
use takt::part::{Reason, Verdict};

use crate::cell::{Cell, parts_of};
use crate::contract::{inspect, nothing_valid, part, trigger, with_two_recipes};
use crate::contract_peers::{Program, Wire};

/// Deadlines that no machine reaches.
const UNHURRIED: [(&str, &str); 2] = [
    ("deadline_ms = 5000", "deadline_ms = 60000"),
    ("trigger_to_gate_ms = 10000", "trigger_to_gate_ms = 130000"),
];

/// A part is opened, in buffered mode without waiting for its result.
fn open(plc: &mut dyn Program, cycle_id: u32) {
    plc.ready();
    let answer = plc.trigger(trigger(cycle_id));
    assert!(answer.acknowledged, "{answer:?}");
}

fn shows(image: &StationImage, cycle_id: u32) -> bool {
    image.result_valid && image.echo_cycle_id == cycle_id
}

/// ResultAck, left to stand.
fn raise_ack(plc: &mut dyn Program, result_id: u32) {
    plc.says().ack_result_id = result_id;
    plc.says().control |= control::RESULT_ACK;
}

fn lower_ack(plc: &mut dyn Program) {
    plc.says().control &= !control::RESULT_ACK;
}

/// Section 4 and 10, buffered: one is shown, the others wait in their order; only the number that is shown consumes it.
fn buffered_results_are_acknowledged_in_order(wire: Wire) {
    let cell = wire.cell(&UNHURRIED);
    let running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin_buffered();
    plc.wait_for(&|image| image.remaining_buffers == BUFFERS as u16);
    for cycle_id in 1..=5 {
        open(&mut *plc, cycle_id);
        plc.wait_for(&|image| image.remaining_buffers == (BUFFERS as u32 - cycle_id) as u16);
    }
    let first = plc.wait_for(&|image| shows(image, 1) && !image.busy);
    for wrong in [0, first.result_id + 1, first.result_id + 4, u32::MAX] {
        raise_ack(&mut *plc, wrong);
        plc.hold(&|image| shows(image, 1) && image.accept && image.remaining_buffers == 3);
        lower_ack(&mut *plc);
        plc.hold(&|image| shows(image, 1));
    }
    let mut toggle = first.inspection_toggle;
    for cycle_id in 1..=5 {
        let shown = plc.wait_for(&|image| shows(image, cycle_id));
        assert_eq!((shown.result_id, shown.inspection_toggle), (first.result_id + cycle_id - 1, toggle));
        let expected = if cycle_id == 5 { Verdict::NotOk } else { Verdict::Ok };
        assert_eq!((shown.verdict, shown.accept), (Some(expected), cycle_id != 5), "{cycle_id}");
        raise_ack(&mut *plc, shown.result_id);
        let free = (BUFFERS as u32 - 5 + cycle_id) as u16;
        let withdrawn = plc.wait_for(&|image| !image.result_valid && image.remaining_buffers == free);
        nothing_valid(&withdrawn);
        plc.hold(&|image| !image.result_valid && !image.accept);
        lower_ack(&mut *plc);
        toggle = !toggle;
    }
    plc.hold(&|image| !image.result_valid && !image.accept);
    let told = running.wait(|line| line["event"] == "part" && line["cycle_id"] == 5);
    assert!(
        parts_of(&told).iter().all(|record| record["reason"] != "buffer_overrun"),
        "{told:#?}"
    );
}

/// Section 4: an Ok that waits past its deadline passes nothing any more; it keeps its slot.
fn a_buffered_result_that_is_read_too_late_does_not_pass(wire: Wire) {
    let cell = wire.cell(&[("deadline_ms = 5000", "deadline_ms = 2000")]);
    let running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin_buffered();
    open(&mut *plc, 1);
    let first = plc.wait_for(&|image| shows(image, 1));
    open(&mut *plc, 2);
    // The station's heartbeat is a clock of ten beats a second.
    let begun = plc.wait_for(&|image| !image.busy).heartbeat;
    let still = plc.wait_for(&|image| image.heartbeat.wrapping_sub(begun) > 25);
    assert!(shows(&still, 1) && still.remaining_buffers == 6, "{still:#?}");
    plc.acknowledge(first.result_id);
    let second = plc.wait_for(&|image| shows(image, 2));
    assert_eq!((second.verdict, second.accept), (Some(Verdict::NotDecidable), false));
    assert_eq!(second.result_id, first.result_id + 1);
    plc.acknowledge(second.result_id);
    // A machine on which no engine is in time tells of the deadline itself.
    let record = part(&running, 2);
    assert!(["not_read", "deadline"].contains(&record["reason"].as_str().unwrap()), "{record:#}");
}

/// Section 10: nobody acknowledges.
fn a_full_buffer_takes_no_part_and_loses_none(wire: Wire) {
    let cell = wire.cell(&UNHURRIED);
    let running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin_buffered();
    let buffers = BUFFERS as u32;
    for cycle_id in 1..=buffers {
        open(&mut *plc, cycle_id);
    }
    plc.wait_for(&|image| image.remaining_buffers == 0 && !image.busy && !image.trigger_ready);
    plc.hold(&|image| !image.trigger_ready && shows(image, 1) && !image.buffer_overrun);
    let extra = plc.trigger(trigger(buffers + 1));
    assert!(!extra.acknowledged && extra.cycle_id == buffers + 1, "{extra:?}");
    plc.hold(&|image| shows(image, 1) && !image.buffer_overrun);
    for cycle_id in 1..=buffers {
        let shown = plc.wait_for(&|image| shows(image, cycle_id));
        let verdict = if cycle_id.is_multiple_of(5) { Verdict::NotOk } else { Verdict::Ok };
        assert_eq!((shown.verdict, shown.buffer_overrun), (Some(verdict), false), "{cycle_id}");
        plc.acknowledge(shown.result_id);
    }
    let free = plc.wait_for(&|image| image.remaining_buffers == BUFFERS as u16);
    nothing_valid(&free);
    plc.ready();
    let (_, told, _) = running.stop();
    let reasons: Vec<&Value> = parts_of(&told)
        .into_iter()
        .filter(|record| record["cycle_id"] == buffers + 1)
        .map(|record| &record["reason"])
        .collect();
    assert_eq!(reasons, ["missed"]);
}

/// Section 4: what is 1 already when a result is shown is no edge.
fn an_acknowledgement_before_its_result_is_none(wire: Wire) {
    let cell = wire.cell(&[]);
    let _running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin();
    let first = inspect(&mut *plc, 1);
    plc.acknowledge(first.result_id);
    raise_ack(&mut *plc, first.result_id + 1);
    plc.hold(&|image| !image.result_valid);
    let second = inspect(&mut *plc, 2);
    assert_eq!(second.result_id, first.result_id + 1);
    plc.hold(&|image| shows(image, 2));
    lower_ack(&mut *plc);
    plc.hold(&|image| shows(image, 2));
    plc.acknowledge(second.result_id);
}

/// Section 5: numbers that came half are no trigger, and never become one.
fn a_torn_write_is_missed(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin();
    inspect(&mut *plc, 1);
    let before = plc.wait_for(&|image| shows(image, 1));
    let said = plc.says();
    (said.cycle_id, said.encoder, said.cycle_id_tail) = (2, 20, 1);
    said.control |= control::TRIGGER;
    let missed = plc.wait_for(&|image| {
        assert!(!image.trigger_ack, "{image:#?}");
        image.missed_trigger
    });
    assert_eq!(missed.acquisition_id, before.acquisition_id);
    // The rest comes too late.
    plc.says().cycle_id_tail = 2;
    plc.hold(&|image| !image.trigger_ack && image.missed_trigger);
    plc.says().control &= !control::TRIGGER;
    let after = plc.wait_for(&|image| !image.missed_trigger && image.trigger_ready);
    assert_eq!((after.acquisition_id, after.counts.missed), (before.acquisition_id, 1));
    let told = running.wait(|line| line["event"] == "part" && line["reason"] == "missed");
    assert_eq!(told.last().unwrap()["acquisition_id"], 0);
    assert_eq!(inspect(&mut *plc, 3).verdict, "ok");
}

/// Section 5: they are the trigger that they become within `torn_ms`.
fn a_torn_write_that_becomes_whole_is_a_trigger(wire: Wire) {
    let cell = wire.cell(&[("poll_ms = 10", "poll_ms = 10\ntorn_ms = 10000")]);
    let running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin();
    let said = plc.says();
    (said.cycle_id, said.encoder, said.cycle_id_tail) = (2, 20, 1);
    said.control |= control::TRIGGER;
    plc.hold(&|image| !image.trigger_ack && !image.missed_trigger);
    plc.says().cycle_id_tail = 2;
    let taken = plc.wait_for(&|image| image.trigger_ack || image.missed_trigger);
    assert!(taken.trigger_ack && taken.echo_trigger_id == 2, "{taken:#?}");
    plc.says().control &= !control::TRIGGER;
    assert_eq!(plc.result(2).verdict, "ok");
    assert_eq!(part(&running, 2)["encoder"], 20);
}

/// Section 6: the inspection runs, the part is the PLC's own business.
fn during_a_bypass_nothing_is_accepted(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin();
    plc.says().control |= control::BYPASS;
    let seen = inspect(&mut *plc, 1);
    assert_eq!((seen.verdict, seen.passes), ("not_decidable", false));
    let shown = plc.wait_for(&|image| shows(image, 1));
    assert_eq!(shown.reason_code, Reason::Bypass.code());
    plc.says().control &= !control::BYPASS;
    plc.hold(&|image| shows(image, 1) && !image.accept);
    let record = part(&running, 1);
    assert_eq!(
        (&record["reason"], &record["measured"]["verdict"]),
        (&"bypass".into(), &"ok".into())
    );
    plc.ready();
    let seen = inspect(&mut *plc, 2);
    assert_eq!((seen.verdict, seen.passes), ("ok", true));
}

fn latching(wire: Wire, required: bool) -> Cell {
    let serial = format!("[serial]\nmode = \"latched\"\nrequired = {required}\n\n[timing]\n");
    wire.cell(&[("[timing]\n", &serial)])
}

/// The serial number of the next part is latched.
fn latch(plc: &mut dyn Program, serial: &str) {
    plc.says().serial = [0; 32];
    plc.says().serial[..serial.len()].copy_from_slice(serial.as_bytes());
    plc.says().control |= control::SET_USER_DATA;
    plc.wait_for(&|image| image.user_data_ack);
    plc.says().control &= !control::SET_USER_DATA;
    plc.wait_for(&|image| !image.user_data_ack);
}

/// Section 6: the next part that is taken has it, and none after that.
fn a_latched_serial_number_is_one_parts(wire: Wire) {
    let cell = latching(wire, false);
    let running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin();
    latch(&mut *plc, "SN-0001");
    inspect(&mut *plc, 1);
    plc.ready();
    inspect(&mut *plc, 2);
    plc.ready();
    latch(&mut *plc, "SN-0002");
    latch(&mut *plc, "SN-0003");
    inspect(&mut *plc, 3);
    for (cycle_id, serial) in [(1, "SN-0001"), (2, ""), (3, "SN-0003")] {
        assert_eq!(part(&running, cycle_id)["serial"], serial, "{cycle_id}");
    }
}

/// Section 6, with `required`.
fn without_a_serial_number_that_is_required_a_part_is_missed(wire: Wire) {
    let cell = latching(wire, true);
    let running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin();
    assert!(!plc.trigger(trigger(1)).acknowledged);
    assert_eq!(part(&running, 1)["reason"], "missed");
    latch(&mut *plc, "SN-0002");
    plc.ready();
    inspect(&mut *plc, 2);
    assert_eq!(part(&running, 2)["serial"], "SN-0002");
}

/// Section 6: a part that is open keeps its recipe.
fn a_recipe_that_changes_while_a_part_is_open_is_the_next_parts(wire: Wire) {
    let cell = with_two_recipes(wire);
    let _running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin_with(3);
    for (cycle_id, own, next) in [(1, 3, 4), (2, 4, 3), (3, 3, 4)] {
        plc.ready();
        plc.says().cycle_id = cycle_id;
        plc.says().cycle_id_tail = cycle_id;
        plc.says().encoder = cycle_id;
        plc.hold(&|image| image.trigger_ready);
        plc.says().control |= control::TRIGGER;
        plc.wait_for(&|image| image.trigger_ack && image.echo_trigger_id == cycle_id);
        plc.says().control &= !control::TRIGGER;
        plc.says().recipe_number = next;
        let shown = plc.wait_for(&|image| shows(image, cycle_id));
        assert_eq!((shown.recipe_of_result, shown.accept), (own, true));
        plc.wait_for(&|image| image.recipe_ready == next && image.trigger_ready && !image.error);
    }
}

/// Section 6: what the station does not have stops triggers, and passes with its cause.
fn a_recipe_that_there_is_not_is_an_error_until_it_is_asked_for_no_more(wire: Wire) {
    let cell = with_two_recipes(wire);
    let running = cell.start();
    let mut plc = wire.program(&cell);
    plc.begin_with(3);
    plc.says().recipe_number = 99;
    plc.wait_for(&|image| image.error && image.error_code == 32 && image.recipe_ready == 3 && !image.trigger_ready);
    running.wait(|line| line["event"] == "state" && line["error"] == "recipe_unknown");
    plc.says().recipe_number = 4;
    plc.wait_for(&|image| !image.error && image.recipe_ready == 4 && image.trigger_ready);
    assert_eq!(inspect(&mut *plc, 1).verdict, "ok");
}

macro_rules! contract_of_registers {
    ($($sequence:ident),* $(,)?) => {
        mod modbus_server { $(#[test] fn $sequence() { super::$sequence(super::Wire::Server); })* }
        mod modbus_client { $(#[test] fn $sequence() { super::$sequence(super::Wire::Client); })* }
    };
}

contract_of_registers! {
    buffered_results_are_acknowledged_in_order,
    a_buffered_result_that_is_read_too_late_does_not_pass,
    a_full_buffer_takes_no_part_and_loses_none,
    an_acknowledgement_before_its_result_is_none,
    a_torn_write_is_missed,
    a_torn_write_that_becomes_whole_is_a_trigger,
    during_a_bypass_nothing_is_accepted,
    a_latched_serial_number_is_one_parts,
    without_a_serial_number_that_is_required_a_part_is_missed,
    a_recipe_that_changes_while_a_part_is_open_is_the_next_parts,
    a_recipe_that_there_is_not_is_an_error_until_it_is_asked_for_no_more,
}
