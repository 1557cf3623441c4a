//! The contract: the sequences that every wire must keep, as a line knows them from its PLC, against the station as a process. Each runs on each wire.
//!
//! A wire is a [`Peer`] in `contract_peers.rs`; what is asserted of images is asserted where the wire has some. A further wire is one more peer and one line in
//! `contract!`; a further sequence is a function and its name in the list. What only registers can say is in `contract_registers.rs`.

use serde_json::Value;
use takt::line::image::{Counts, StationImage, StationMode, WINDOW_SLOTS, WindowSlot};
use takt::part::CycleId;

use crate::cell::{Cell, Running, parts_of};
use crate::contract_peers::{Peer, Seen, Trigger, Wire};
use crate::held::Held;
use crate::skip::skip;

pub(crate) fn trigger(cycle_id: u32) -> Trigger {
    Trigger {
        cycle_id,
        encoder: 10 * cycle_id,
        serial: "",
        recipe: 0,
        test_part: false,
    }
}

/// The record of a part, once it is told.
pub(crate) fn part(running: &Running, cycle_id: u32) -> Value {
    let is_it = |line: &Value| line["event"] == "part" && line["cycle_id"] == cycle_id;
    running.wait(is_it).pop().unwrap()
}

/// One part, from its trigger to its result.
pub(crate) fn inspect(peer: &mut dyn Peer, cycle_id: u32) -> Seen {
    inspect_as(peer, trigger(cycle_id))
}

fn inspect_as(peer: &mut dyn Peer, trigger: Trigger) -> Seen {
    let answer = peer.trigger(trigger);
    assert!(answer.acknowledged && answer.cycle_id == trigger.cycle_id, "{answer:?}");
    let seen = peer.result(trigger.cycle_id);
    assert_eq!(seen.cycle_id, trigger.cycle_id);
    seen
}

/// A station with recipe 4 beside recipe 3; it looks at the same, and calls the defect 8.
pub(crate) fn with_two_recipes(wire: Wire) -> Cell {
    let model = crate::cell::model().to_str().unwrap();
    let second = format!(
        "defect_code = 7\n\n[[recipe]]\nnumber = 4\nname = \"drawn too\"\n\n\
         [[recipe.inspection]]\nname = \"again\"\ncamera = \"top\"\nmodel = \"{model}\"\ndefect_code = 8\n"
    );
    wire.cell(&[("[recipe]\n", "[[recipe]]\n"), ("defect_code = 7\n", &second)])
}

pub(crate) fn nothing_valid(image: &StationImage) {
    assert!(!image.result_valid && !image.accept && image.verdict.is_none(), "{image:#?}");
}

/// Section 10, normal.
fn a_part_is_answered_shown_and_acknowledged(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    if let Some(image) = peer.image() {
        nothing_valid(&image);
        assert!(image.trigger_ready && !image.trigger_ack);
    }
    let toggle = peer.image().map(|image| image.inspection_toggle);
    let answer = peer.trigger(trigger(41));
    assert!(
        answer.acknowledged && answer.cycle_id == 41 && answer.acquisition_id != 0,
        "{answer:?}"
    );
    let seen = peer.result(41);
    assert_eq!((seen.verdict, seen.passes, seen.deadline_missed), ("ok", true, false));
    assert_ne!(seen.result_id, 0);
    if let Some(image) = peer.image() {
        assert_ne!(Some(image.inspection_toggle), toggle);
        assert!(image.exposure_complete && !image.busy && image.trigger_ready, "{image:#?}");
        assert_eq!((image.echo_cycle_id, image.result_id), (41, seen.result_id));
    }
    peer.acknowledge(seen.result_id + 1);
    if let Some(image) = peer.image() {
        assert!(
            image.result_valid && image.accept,
            "a wrong AckResultId consumes nothing: {image:#?}"
        );
    }
    peer.acknowledge(seen.result_id);
    if let Some(image) = peer.image() {
        nothing_valid(&image);
    }
    let record = part(&running, 41);
    assert_eq!((&record["verdict"], &record["result_id"]), (&"ok".into(), &seen.result_id.into()));
    if wire == Wire::Client {
        assert_eq!(record["delivery"], "confirmed");
    } else {
        assert_eq!(record["delivery"], Value::Null, "the PLC reads results itself");
    }
    let (_, rest, log) = running.stop();
    assert_eq!(parts_of(&rest).len(), 0, "one record: {log}");
}

/// Verdicts are those of their own parts: four good ones, then a scratched one, over and over.
fn ten_parts_get_their_own_verdicts(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    let mut shown = Vec::new();
    for cycle_id in 1..=10 {
        let seen = inspect(&mut *peer, cycle_id);
        peer.acknowledge(seen.result_id);
        let expected = if cycle_id.is_multiple_of(5) {
            ("not_ok", false)
        } else {
            ("ok", true)
        };
        assert_eq!((seen.verdict, seen.passes), expected, "{cycle_id}");
        assert!(!shown.contains(&seen.result_id));
        shown.push(seen.result_id);
    }
    assert_eq!(part(&running, 10)["verdict"], "not_ok");
}

/// Section 10, late engine: it stands still until the part has its verdict without it.
fn a_part_that_is_late_is_not_passed_and_its_findings_follow(wire: Wire) {
    let cell = wire.cell(&[
        ("deadline_ms = 5000", "deadline_ms = 500"),
        ("frame_window_ms = 2000", "frame_window_ms = 400"),
    ]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    let held = match Held::thread(running.id(), "engine-1") {
        Ok(held) => held,
        Err(error) => {
            let test = format!("a_part_that_is_late_is_not_passed_and_its_findings_follow ({wire:?})");
            return skip(&test, &format!("ptrace: {error}"));
        }
    };
    let seen = inspect(&mut *peer, 42);
    assert_eq!((seen.verdict, seen.passes, seen.deadline_missed), ("not_decidable", false, true));
    let record = part(&running, 42);
    assert_eq!(record["reason"], "deadline", "{record:#}");
    drop(held);
    let findings = part(&running, 42);
    assert_eq!(
        (&findings["late_findings"], &findings["measured"]["verdict"]),
        (&true.into(), &"ok".into()),
        "{findings:#}"
    );
}

/// Section 3, duplicates.
fn a_trigger_that_is_repeated_changes_nothing_and_a_reused_number_is_missed(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    let first = peer.trigger(trigger(7));
    let seen = peer.result(7);
    let again = peer.trigger(trigger(7));
    assert_eq!((again.acknowledged, again.acquisition_id), (true, first.acquisition_id));
    let another = Trigger { encoder: 1, ..trigger(7) };
    assert!(!peer.trigger(another).acknowledged);
    running.wait(|line| line["event"] == "state" && line["error"] == "cycle_id_reused");
    let (_, rest, _) = running.stop();
    let told = parts_of(&rest);
    assert!(
        told.iter()
            .all(|record| record["verdict"] == "not_decidable" && record["reason"] == "missed"),
        "{seen:?}, {told:#?}"
    );
}

/// Section 3.
fn the_number_zero_is_missed_and_skipped_numbers_are_recorded(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    inspect(&mut *peer, 1);
    inspect(&mut *peer, 4);
    let lines = running.wait(|line| line["event"] == "part" && line["cycle_id"] == 4);
    let reasons: Vec<(&Value, &Value)> = parts_of(&lines)
        .iter()
        .map(|record| (&record["cycle_id"], &record["reason"]))
        .collect();
    for cycle_id in [2, 3] {
        assert!(reasons.contains(&(&cycle_id.into(), &"never_seen".into())), "{reasons:?}");
    }
    assert!(!peer.trigger(trigger(0)).acknowledged);
    running.wait(|line| line["event"] == "state" && line["error"] == "cycle_id_zero");
}

/// Section 5: a link that is lost voids nothing except by deadline.
fn a_result_outlasts_a_link_that_is_lost(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    assert!(peer.trigger(trigger(1)).acknowledged);
    peer.cut();
    peer.mend();
    let seen = peer.result(1);
    assert_eq!((seen.cycle_id, seen.verdict), (1, "ok"));
    peer.ready();
    assert_eq!(inspect(&mut *peer, 2).verdict, "ok");
    let record = part(&running, 1);
    assert_eq!((&record["verdict"], &record["result_id"]), (&"ok".into(), &seen.result_id.into()));
}

/// Section 5: what belongs to the session before is gone; numbers may be used again.
fn another_session_begins_with_nothing(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    let first = inspect(&mut *peer, 1);
    peer.begin();
    if let Some(image) = peer.image() {
        nothing_valid(&image);
        assert_eq!(image.result_id, 0);
    }
    let second = inspect(&mut *peer, 1);
    assert_ne!(first.result_id, second.result_id);
    let records = running.wait(|line| line["event"] == "part" && line["result_id"] == second.result_id);
    let sessions: Vec<&Value> = parts_of(&records).iter().map(|record| &record["plc_session"]).collect();
    assert_eq!(sessions.len(), 2);
    assert_ne!(sessions[0], sessions[1]);
}

/// Section 10, kill -9.
fn after_a_kill_nothing_of_before_is_shown_and_what_was_skipped_is_told(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    let seen = inspect(&mut *peer, 51);
    let mut told = running.kill();
    peer.cut();
    let running = cell.launch();
    told.extend(running.wait(|line| line["event"] == "state" && line["error"] != "models_not_ready"));
    peer.mend();
    peer.ready();
    if let Some(image) = peer.image() {
        nothing_valid(&image);
        assert!(!image.trigger_ack);
    }
    let after = inspect(&mut *peer, 53);
    assert_ne!(after.result_id, seen.result_id);
    told.extend(running.wait(|line| line["event"] == "part" && line["cycle_id"] == 53));
    let parts = parts_of(&told);
    let of = |cycle_id: u32| parts.iter().filter(move |record| record["cycle_id"] == cycle_id);
    assert!(
        of(52).all(|record| record["reason"] == "restart") && of(52).count() == 1,
        "{parts:#?}"
    );
    assert!(of(51).all(|record| record["verdict"] == "ok") && of(51).count() >= 1, "{parts:#?}");
}

/// Section 4, window: each part finds its own result among the last sixteen, for as long as Accept would stand, and no longer than its session.
fn in_window_mode_each_part_finds_its_own_slot(wire: Wire) {
    let window = [
        ("mode = \"single\"", "mode = \"window\""),
        ("accept_hold_ms = 60000", "accept_hold_ms = 5000"),
    ];
    let cell = wire.cell(&window);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    let toggle = peer.image().map(|image| image.inspection_toggle);
    let mut numbers = Vec::new();
    // More than there are slots.
    for cycle_id in 1..=18 {
        peer.ready();
        let seen = inspect(&mut *peer, cycle_id);
        let expected = if cycle_id.is_multiple_of(5) {
            ("not_ok", false)
        } else {
            ("ok", true)
        };
        assert_eq!((seen.verdict, seen.passes), expected, "{cycle_id}");
        assert_eq!(part(&running, cycle_id)["result_id"], seen.result_id);
        numbers.push(seen.result_id);
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    if let Some(image) = peer.image() {
        assert_eq!(Some(image.inspection_toggle), toggle, "there is no toggle in window mode");
        nothing_valid(&image);
        let held: Vec<u32> = image.window.iter().filter_map(|slot| slot.cycle_id).map(CycleId::get).collect();
        assert_eq!(held.len(), 16, "the last sixteen: {held:?}");
        assert!(held.iter().all(|cycle_id| (3..=18).contains(cycle_id)), "{held:?}");
    }
    peer.begin();
    if let Some(image) = peer.image() {
        assert_eq!(image.window, <[WindowSlot; WINDOW_SLOTS]>::default(), "slots are of a session");
    }
    assert_eq!(inspect(&mut *peer, 1).cycle_id, 1);
}

/// Section 6: parts that are not for real pass nowhere, however good they are.
fn a_simulated_station_passes_nothing(wire: Wire) {
    let cell = wire.cell(&[("id = \"test-cell\"", "id = \"test-cell\"\nsimulated = true")]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    let seen = inspect(&mut *peer, 1);
    assert_eq!((seen.verdict, seen.passes), ("ok", false));
    if let Some(image) = peer.image() {
        assert!(
            image.simulated && !image.accept && image.station_mode == StationMode::Simulated,
            "{image:#?}"
        );
    }
    assert_eq!(part(&running, 1)["verdict"], "ok");
}

/// Section 6.
fn a_test_part_is_inspected_and_neither_counted_nor_passed(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    let seen = inspect_as(
        &mut *peer,
        Trigger {
            test_part: true,
            ..trigger(1)
        },
    );
    assert_eq!((seen.verdict, seen.passes), ("ok", false));
    if let Some(image) = peer.image() {
        assert!(image.test_result && !image.accept, "{image:#?}");
        assert_eq!(image.counts, Counts::default());
    }
    assert_eq!(part(&running, 1)["test_part"], true);
    peer.acknowledge(seen.result_id);
    peer.ready();
    let seen = inspect(&mut *peer, 2);
    assert_eq!((seen.verdict, seen.passes), ("ok", true));
    if let Some(image) = peer.image() {
        assert_eq!((image.test_result, image.counts.total, image.counts.ok), (false, 1, 1));
    }
    assert_eq!(part(&running, 2)["test_part"], false);
}

/// Section 2: whatever is not printable ASCII becomes '?'.
fn a_serial_number_goes_with_its_trigger_into_the_record(wire: Wire) {
    let cell = wire.cell(&[]);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin();
    for (cycle_id, serial, recorded) in [(1, "SN 4711/A", "SN 4711/A"), (2, "", ""), (3, "Tür\t7", "T?r?7")] {
        peer.ready();
        inspect_as(
            &mut *peer,
            Trigger {
                serial,
                ..trigger(cycle_id)
            },
        );
        assert_eq!(part(&running, cycle_id)["serial"], recorded);
    }
}

/// Section 6: a part is judged by the recipe of its trigger; one that there is not takes no part, and changes nothing.
fn a_recipe_is_changed_between_two_parts(wire: Wire) {
    let cell = with_two_recipes(wire);
    let running = cell.start();
    let mut peer = wire.connect(&cell);
    peer.begin_with(3);
    let mut part_of_recipe_4 = Value::Null;
    for (cycle_id, recipe, in_force) in [(1, 3, 3), (2, 4, 4), (3, 0, 4), (4, 3, 3), (5, 4, 4)] {
        inspect_as(
            &mut *peer,
            Trigger {
                recipe,
                ..trigger(cycle_id)
            },
        );
        let record = part(&running, cycle_id);
        assert_eq!(record["recipe"], in_force, "{record:#}");
        if let Some(image) = peer.image() {
            assert_eq!((image.recipe_of_result, image.recipe_ready), (in_force, in_force));
        }
        part_of_recipe_4 = record;
    }
    // The fifth picture is a scratched part.
    assert_eq!(part_of_recipe_4["defect_code"], 8, "{part_of_recipe_4:#}");
    assert!(!peer.trigger(Trigger { recipe: 99, ..trigger(6) }).acknowledged);
    let missed = part(&running, 6);
    assert_eq!((&missed["verdict"], &missed["reason"]), (&"not_decidable".into(), &"missed".into()));
    inspect_as(&mut *peer, Trigger { recipe: 3, ..trigger(7) });
    assert_eq!(part(&running, 7)["recipe"], 3);
}

macro_rules! contract {
    ($($sequence:ident),* $(,)?) => {
        mod modbus_server { $(#[test] fn $sequence() { super::$sequence(super::Wire::Server); })* }
        mod modbus_client { $(#[test] fn $sequence() { super::$sequence(super::Wire::Client); })* }
        mod grpc { $(#[test] fn $sequence() { super::$sequence(super::Wire::Grpc); })* }
    };
}

contract! {
    a_part_is_answered_shown_and_acknowledged,
    ten_parts_get_their_own_verdicts,
    a_part_that_is_late_is_not_passed_and_its_findings_follow,
    a_trigger_that_is_repeated_changes_nothing_and_a_reused_number_is_missed,
    the_number_zero_is_missed_and_skipped_numbers_are_recorded,
    a_result_outlasts_a_link_that_is_lost,
    another_session_begins_with_nothing,
    after_a_kill_nothing_of_before_is_shown_and_what_was_skipped_is_told,
    in_window_mode_each_part_finds_its_own_slot,
    a_simulated_station_passes_nothing,
    a_test_part_is_inspected_and_neither_counted_nor_passed,
    a_serial_number_goes_with_its_trigger_into_the_record,
    a_recipe_is_changed_between_two_parts,
}
