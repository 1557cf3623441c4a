//! The generated program of window mode: run as it is written, against a station that is played and against one that runs.

use takt::line::config::ResultMode;
use takt::line::image::{StationImage, WindowSlot, control};
use takt::part::CycleId;
use takt::plc::code::{Target, sources};
use takt::plc::signals::{self, WINDOW_START};

use crate::cabinet::{BLOCK, Cabinet, Line};
use crate::cell::Cell;
use crate::modbus::Client;
use crate::skip::skip;
use crate::structured_text::Controller;

fn running() -> Option<Cabinet> {
    Cabinet::running(ResultMode::Window)
}

impl Cabinet {
    /// The station shows this in the slot of a result.
    fn show_slot(&mut self, result_id: u32, cycle_id: u32, verdict: u16) {
        self.station.trigger_ready = true;
        self.station.window[result_id as usize % 16] = WindowSlot {
            cycle_id: CycleId::new(cycle_id),
            result_id,
            verdict,
            defect_code: 10 + verdict,
        };
    }

    /// A part is triggered, and at the gate at once.
    fn open_part(&mut self) -> u32 {
        self.start_part();
        self.acknowledge();
        self.set("GateCycleId", self.said.cycle_id);
        self.said.cycle_id
    }

    fn window(&self) -> Vec<u16> {
        signals::station_registers(&self.station)[usize::from(WINDOW_START)..].to_vec()
    }
}

#[test]
fn a_part_passes_by_its_own_slot_once_two_scans_read_it_alike() {
    let Some(mut plc) = running() else { return };
    let part = plc.open_part();
    plc.show_slot(70_003, part, 1);
    plc.scan();
    assert!(!plc.is("PassPart") && !plc.is("ResultNew"), "read once");
    plc.scan();
    assert!(plc.is("PassPart") && plc.is("ResultNew"));
    assert_eq!(
        ["PartCycleId", "ResultVerdict", "ResultDefect", "OpenParts"].map(|output| plc.get(output)),
        [1, 1, 11, 0]
    );
    assert!(
        !plc.said.is(control::RESULT_ACK) && !plc.said.is(control::BUFFER_ENABLE),
        "nothing is acknowledged"
    );
    plc.scan();
    assert!(plc.is("PassPart") && !plc.is("ResultNew"));
    // Another part at the gate is not this one, none is none, and this one is still good when it is its turn again.
    for (gate, passes) in [(2, false), (0, false), (1, true)] {
        plc.set("GateCycleId", gate);
        plc.scan();
        assert_eq!(plc.is("PassPart"), passes, "{gate}");
    }
    plc.show_slot(70_003, part, 0);
    plc.scan();
    assert!(plc.is("PassPart"), "accept_hold_ms is over: what was decided stands");
    plc.scans(40);
    assert!(!plc.is("PassPart"), "its own timer has run out");
}

#[test]
fn a_part_passes_only_if_everything_holds() {
    type Break = fn(&mut Cabinet);
    let breaks: [(&str, Break); 12] = [
        ("LinkOk", |plc| plc.set("LinkOk", 0)),
        ("no slot", |plc| plc.station.window = [WindowSlot::default(); 16]),
        ("Verdict 0", |plc| plc.show_slot(1, 1, 0)),
        ("Verdict 2", |plc| plc.show_slot(1, 1, 2)),
        ("Verdict 3", |plc| plc.show_slot(1, 1, 3)),
        ("another part's slot", |plc| plc.show_slot(1, 2, 1)),
        ("another start's window", |plc| {
            plc.old_window = Some([&plc.window()[..97], &[6]].concat());
        }),
        ("another session", |plc| plc.set("NewSession", 1)),
        ("the station's heartbeat", |plc| {
            let slot = std::mem::take(&mut plc.station.window[1]);
            plc.beats = false;
            plc.scans(110);
            plc.station.window[1] = slot;
        }),
        ("the window's heartbeat", |plc| {
            let slot = std::mem::take(&mut plc.station.window[1]);
            let mut window = plc.window();
            plc.old_window = Some(window.clone());
            plc.scans(110);
            plc.station.window[1] = slot;
            window[6..12].copy_from_slice(&plc.window()[6..12]);
            plc.old_window = Some(window);
        }),
        ("its own timer", |plc| {
            let slot = std::mem::take(&mut plc.station.window[1]);
            plc.scans(40);
            plc.station.window[1] = slot;
        }),
        ("T_result", |plc| plc.set("ResultTime", 10)),
    ];
    for (what, broken) in [("nothing", (|_| ()) as Break)].into_iter().chain(breaks) {
        let Some(mut plc) = running() else { return };
        if what.contains("heartbeat") {
            plc.set("PartTime", 5000);
            plc.set("ResultTime", 5000);
        }
        let part = plc.open_part();
        plc.show_slot(1, part, 1);
        broken(&mut plc);
        plc.scans(4);
        assert_eq!(plc.is("PassPart"), what == "nothing", "{what}");
    }
}

#[test]
fn a_copy_that_was_torn_passes_nothing() {
    let Some(mut plc) = running() else { return };
    // In this slot a good part of before, whose hold is over in every image that shows the part of now.
    let part = plc.open_part();
    let torn = |verdict| {
        let mut copy = StationImage {
            window: [WindowSlot::default(); 16],
            ..StationImage::default()
        };
        copy.window[5] = WindowSlot {
            cycle_id: CycleId::new(part),
            result_id: 21,
            verdict,
            defect_code: 0,
        };
        copy.window
    };
    plc.station.window = torn(1);
    plc.scan();
    plc.station.window = torn(2);
    plc.scans(3);
    assert!(!plc.is("PassPart") && plc.get("PartCycleId") == 1 && plc.get("ResultVerdict") == 2);
}

#[test]
fn a_slot_from_before_passes_no_part_of_now() {
    let Some(mut plc) = running() else { return };
    let part = plc.open_part();
    plc.show_slot(9, part, 1);
    plc.scans(2);
    assert!(plc.is("PassPart"));
    // The PLC starts anew; its first part has the number of the one before, and its copy of the window is still the old one.
    plc.old_window = Some(plc.window());
    plc.first = true;
    plc.set("StartPart", 1);
    plc.scans(3);
    assert!(plc.is("InSession") && !plc.is("WindowAlive") && !plc.is("Ready") && !plc.is("PassPart"));
    plc.set("StartPart", 0);
    plc.scans(20);
    assert!(
        !plc.said.is(control::TRIGGER),
        "no part is triggered before the window is of this session"
    );
    // Nor while the window, whatever it be, holds something under its number.
    plc.old_window = None;
    plc.scans(35);
    assert!(plc.is("WindowAlive") && !plc.is("NumberFree") && !plc.is("Ready"));
    plc.set("StartPart", 1);
    plc.scans(5);
    assert!(!plc.said.is(control::TRIGGER) && !plc.is("PassPart"));
    // The station has followed: its slots are clear.
    plc.station.window = [WindowSlot::default(); 16];
    plc.scans(3);
    assert!(plc.said.is(control::TRIGGER) && plc.said.cycle_id == part);
}

#[test]
fn a_slot_of_the_block_that_is_used_again_knows_nothing_of_the_part_before() {
    let Some(mut plc) = running() else { return };
    for result_id in 1..=40 {
        let part = plc.open_part();
        plc.scans(3);
        assert!(!plc.is("PassPart"), "{part} has no result yet");
        plc.show_slot(result_id, part, 1);
        plc.scans(2);
        assert!(plc.is("PassPart"), "{part}");
        plc.scans(40);
        assert!(!plc.is("PassPart"), "{part} is gone");
    }
}

#[test]
fn beats_of_before_the_session_do_not_count() {
    let Some(mut plc) = running() else { return };
    (plc.first, plc.follows) = (true, false);
    plc.scans(40);
    assert!(plc.is("StationAlive") && !plc.is("InSession") && !plc.is("WindowAlive"));
    plc.follows = true;
    plc.scans(2);
    assert!(plc.is("InSession") && !plc.is("WindowAlive"));
    plc.scans(20);
    assert!(plc.is("WindowAlive"));
}

#[test]
fn a_station_that_starts_anew_voids_every_part() {
    let Some(mut plc) = running() else { return };
    let part = plc.open_part();
    plc.show_slot(9, part, 1);
    plc.scans(2);
    assert!(plc.is("PassPart"));
    plc.station.boot_id = 8;
    plc.scan();
    assert!(!plc.is("PassPart") && plc.is("RejectAll"));
    plc.scans(40);
    assert!(!plc.is("PassPart") && plc.get("OpenParts") == 0);
}

#[test]
fn every_timer_that_runs_out_says_so_and_the_next_part_is_taken() {
    let Some(mut plc) = running() else { return };
    plc.start_part();
    plc.scans(60);
    assert!(plc.is("FaultAck") && !plc.said.is(control::TRIGGER), "T_ack");

    plc = running().unwrap();
    plc.set("PartTime", 5000);
    let part = plc.open_part();
    plc.scans(210);
    assert!(plc.is("FaultResult") && plc.get("OpenParts") == 0, "T_result");
    plc.show_slot(9, part, 1);
    plc.scans(5);
    assert!(!plc.is("PassPart") && !plc.is("ResultNew"), "what comes after T_result is too late");
    plc.set("ClearError", 1);
    plc.scans(1);
    plc.set("ClearError", 0);
    let part = plc.open_part();
    plc.show_slot(10, part, 1);
    plc.scans(2);
    assert!(plc.is("PassPart") && !plc.is("FaultResult"));

    plc = running().unwrap();
    plc.start_part();
    (plc.station.trigger_ack, plc.station.echo_trigger_id) = (true, plc.said.cycle_id);
    plc.scans(60);
    assert!(plc.is("FaultClear"), "T_clear");
}

#[test]
fn sixteen_parts_are_open_and_each_has_its_own_result() {
    let Some(mut plc) = running() else { return };
    for timer in ["PartTime", "ResultTime"] {
        plc.set(timer, 3000);
    }
    for part in 1..=16 {
        assert_eq!(plc.open_part(), part);
        plc.station.trigger_ready = true;
    }
    assert_eq!(plc.get("OpenParts"), 16);
    // All at once, in another order, over the wrap of the numbers of results.
    for part in 1..=16_u32 {
        plc.show_slot(u32::MAX - part, part, if part == 3 { 2 } else { 1 });
    }
    plc.scan();
    let mut told: Vec<(i64, i64)> = Vec::new();
    for _ in 0..16 {
        plc.scan();
        assert!(plc.is("ResultNew"));
        told.push((plc.get("PartCycleId"), plc.get("ResultVerdict")));
    }
    plc.scan();
    assert!(!plc.is("ResultNew") && plc.get("OpenParts") == 0);
    told.sort_unstable();
    assert_eq!(told, (1..=16).map(|part| (part, if part == 3 { 2 } else { 1 })).collect::<Vec<_>>());
    for part in 1..=17 {
        plc.set("GateCycleId", part);
        plc.scan();
        assert_eq!(plc.is("PassPart"), part != 3 && part != 17, "{part}");
    }
    // A seventeenth has no place.
    plc.set("StartPart", 1);
    plc.scans(60);
    assert!(plc.is("FaultAck") && plc.get("StartedCycleId") == 16);
}

#[test]
fn the_example_runs() {
    let Ok(mut controller) = Controller::load(&sources(Target::IecSt, ResultMode::Window)[0].text) else {
        skip("plc_window", "see the other tests of this file");
        return;
    };
    let registers = signals::station_registers(&StationImage::default());
    for (name, part) in [("Read", &registers[..BLOCK]), ("Window", &registers[usize::from(WINDOW_START)..])] {
        for (index, word) in part.iter().enumerate() {
            controller.set(&format!("Main.{name}Registers[{index}]"), *word);
        }
    }
    controller.set("Main.LinkOk", 1);
    controller.set("Main.Run", 1);
    for scan in 0..30 {
        controller.execute("TaktWindowExample", "Main", 10 * scan);
    }
    assert!(!controller.is("Main.OpenGate"));
    let said = signals::plc_image(&std::array::from_fn(|index| {
        controller.get(&format!("Main.WriteRegisters[{index}]")) as u16
    }));
    assert_eq!((said.plc_session, said.heartbeat > 0, said.is(control::ONLINE)), (1, true, true));
}

/// A station in window mode that keeps what it shows for longer than any test takes.
fn cell() -> Cell {
    Cell::new(&[("mode = \"single\"", "mode = \"window\"\naccept_hold_ms = 60000")])
}

/// A part from its sensor to the gate; its number, and whether it may pass.
fn part(line: &mut Line) -> (i64, bool) {
    line.until(|plc| plc.is("Ready"));
    line.plc.set("StartPart", 1);
    line.until(|plc| plc.is("ResultNew") || plc.is("MissedPart"));
    line.plc.set("StartPart", 0);
    let part = line.plc.get("StartedCycleId");
    assert_eq!(line.plc.get("PartCycleId"), part);
    line.plc.set("GateCycleId", part);
    line.scan();
    (part, line.plc.is("PassPart"))
}

#[test]
fn the_generated_program_has_its_parts_inspected_by_a_real_station() {
    let cell = cell();
    let running = cell.start();
    let Some(mut line) = Line::new(&cell, ResultMode::Window) else {
        return;
    };
    let passed: Vec<(i64, bool)> = (0..5).map(|_| part(&mut line)).collect();
    assert_eq!(
        passed,
        [(1, true), (2, true), (3, true), (4, true), (5, false)],
        "the fifth is scratched"
    );
    assert_eq!((line.plc.get("ResultVerdict"), line.plc.get("ResultDefect")), (2, 7));
    // Whichever of them is at the gate has its own verdict.
    for (number, passes) in passed {
        line.plc.set("GateCycleId", number);
        line.scan();
        assert_eq!(line.plc.is("PassPart"), passes, "{number}");
    }

    // The station restarts with a part open: none of before passes, the next one does.
    line.plc.set("GateCycleId", 4);
    line.until(|plc| plc.is("Ready") && plc.is("PassPart"));
    line.plc.set("StartPart", 1);
    line.until(|plc| plc.said.is(control::TRIGGER));
    line.plc.set("StartPart", 0);
    running.kill();
    let (running, _) = cell.start_again();
    line.client = Client::connect([127, 0, 0, 1].into(), cell.plc);
    line.until(|plc| plc.is("RejectAll"));
    assert!(!line.plc.is("PassPart") && line.plc.get("OpenParts") == 0);
    assert!(part(&mut line).1, "the camera begins with its first picture");

    // So does the PLC, whose first part has the number of a good one of before.
    let session = line.plc.said.plc_session;
    line.plc.first = true;
    line.until(|plc| plc.is("InSession"));
    assert_eq!(line.plc.said.plc_session, session + 1);
    line.plc.set("GateCycleId", 1);
    line.until(|plc| plc.is("Ready"));
    assert!(!line.plc.is("PassPart"));
    assert_eq!(part(&mut line), (1, true));
    assert!(
        !["FaultAck", "FaultResult", "FaultClear", "FaultMap", "FaultPart"]
            .iter()
            .any(|fault| line.plc.is(fault))
    );
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
}
