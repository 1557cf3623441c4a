//! What a PLC is given: the register map is that of the interface, and the generated source does what it says. The source is run as it is written
//! (`structured_text.rs`), against a station that is played and against one that runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use takt::config::timing::{GateTiming, Pace};
use takt::line::config::ResultMode;
use takt::line::image::{StationImage, control};
use takt::part::{CycleId, Reason, Verdict};
use takt::plc::code::{Codes, Target, sources};
use takt::plc::map::{self, Direction, Row};
use takt::plc::signals;

use crate::cabinet::{BLOCK, Cabinet, Line};
use crate::cell::Cell;
use crate::modbus::Client;
use crate::program::{run, takt};
use crate::skip::skip;
use crate::structured_text::Controller;

const MODES: [ResultMode; 2] = [ResultMode::Single, ResultMode::Window];

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plc").join(name)
}

#[test]
fn every_register_is_where_the_interface_has_it() {
    let line = |row: &Row| {
        let space = if row.direction == Direction::PlcToStation {
            "holding"
        } else {
            "input"
        };
        let place = match row.bit {
            Some(bit) => format!("{}.{bit}", row.register),
            None if row.last_register > row.register => format!("{}-{}", row.register, row.last_register),
            None => row.register.to_string(),
        };
        let times = if row.count > 1 {
            format!(" +{} x{}", row.stride, row.count)
        } else {
            String::new()
        };
        format!("{space} {place}{times} {}\n", row.name)
    };
    let mapped: String = map::map().signals.iter().map(line).collect();
    // Written down by hand from the interface, not printed by takt.
    assert_eq!(mapped, fs::read_to_string(fixture("interface_section_7.txt")).unwrap());
}

#[test]
fn the_map_says_the_same_in_every_format() {
    let printed = |format: &str| run(takt("plc").args(["map", "--format", format])).done().stdout;
    let object: Value = serde_json::from_str(&printed("json")).unwrap();
    assert_eq!(object["map_version"], signals::MAP_VERSION);
    let (md, csv) = (printed("md"), printed("csv"));
    let rows = map::map().signals;
    assert_eq!(object["signals"].as_array().unwrap().len(), rows.len());
    assert_eq!(csv.matches("\r\n").count(), rows.len() + 1);
    for row in rows {
        assert!(md.contains(&format!(
            "| {} | {} | {} | {} |\n",
            row.place(),
            row.name,
            row.type_name,
            row.meaning
        )));
    }
    assert_eq!(object["signals"][2]["name"], "Trigger");
    assert_eq!(
        (&object["signals"][2]["bit"], &object["signals"][2]["type"]),
        (&2.into(), &"bit".into())
    );
}

#[test]
fn sources_are_the_ones_that_were_looked_at() {
    for (target, mode) in Target::ALL.iter().flat_map(|target| MODES.map(|mode| (target, mode))) {
        for file in sources(*target, mode) {
            let path = fixture(file.name);
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                kept == file.text,
                "{} has changed; look at what `takt plc code --target {} --mode ... --out tests/fixtures/plc` writes",
                path.display(),
                target.name()
            );
        }
    }
}

#[test]
fn constants_are_the_numbers_of_the_codes() {
    let text = &sources(Target::IecSt, ResultMode::Single)[0].text;
    for table in Codes::all() {
        for code in &table.codes {
            let constant = format!("   {}_{} : UINT := {};", table.prefix, code.constant(), code.number);
            assert_eq!(text.matches(&constant).count(), 1, "{constant}");
        }
    }
    assert!(text.contains(&format!("TAKT_REASON_DEADLINE : UINT := {};", Reason::Deadline.code())));
}

#[test]
fn a_part_goes_through_the_whole_handshake() {
    let Some(mut plc) = Cabinet::running(ResultMode::Single) else {
        return;
    };
    plc.set("Encoder", 70_000);
    plc.set("Serial[0]", i64::from(u16::from_be_bytes(*b"AB")));
    plc.set("StartPart", 1);
    plc.scan();
    let block = plc.said;
    assert_eq!(
        (block.cycle_id, block.cycle_id_tail, block.encoder, &block.serial[..3]),
        (1, 1, 70_000, &b"AB\0"[..])
    );
    assert!(block.is(control::ONLINE | control::TRIGGER_ENABLE) && !block.is(control::TRIGGER));
    plc.scan();
    assert!(plc.said.is(control::TRIGGER) && !plc.is("MayMove"));
    // Another trigger's answer is none.
    (plc.station.trigger_ack, plc.station.echo_trigger_id) = (true, 9);
    plc.scan();
    assert!(plc.said.is(control::TRIGGER));
    plc.acknowledge();
    assert!(plc.is("MayMove") && plc.get("OpenParts") == 1 && !plc.is("PassPart"));
    plc.show_good();
    plc.scan();
    assert!(plc.is("PassPart") && plc.is("ResultNew") && plc.get("PartCycleId") == 1);
    assert!(plc.said.is(control::RESULT_ACK) && plc.said.ack_result_id == 1);
    // It stands while the part goes to the gate, whatever the registers say next.
    plc.station.result_valid = false;
    (plc.station.accept, plc.station.verdict) = (false, None);
    plc.scan();
    assert!(plc.is("PassPart") && !plc.is("ResultNew") && !plc.said.is(control::RESULT_ACK));
    plc.scans(40);
    assert!(!plc.is("PassPart"), "its own timer has run out");
    assert!(
        !["FaultAck", "FaultResult", "FaultClear", "FaultPart", "FaultMap"]
            .iter()
            .any(|fault| plc.is(fault))
    );
    plc.set("StartPart", 0);
    plc.scan();
    plc.start_part();
    assert_eq!((plc.said.cycle_id, plc.get("StartedCycleId")), (2, 2));
}

#[test]
fn a_part_passes_only_if_everything_holds() {
    type Break = fn(&mut Cabinet);
    let breaks: [(&str, Break); 9] = [
        ("LinkOk", |plc| plc.set("LinkOk", 0)),
        ("ResultValid", |plc| plc.station.result_valid = false),
        ("Accept", |plc| plc.station.accept = false),
        ("Verdict 0", |plc| plc.station.verdict = None),
        ("Verdict 2", |plc| plc.station.verdict = Some(Verdict::NotOk)),
        ("EchoCycleId", |plc| plc.station.echo_cycle_id += 1),
        ("EchoCycleId 0", |plc| plc.station.echo_cycle_id = 0),
        ("heartbeat", |plc| {
            (plc.beats, plc.station.result_valid) = (false, false);
            plc.scans(110);
            plc.station.result_valid = true;
        }),
        ("its own timer", |plc| {
            plc.station.result_valid = false;
            plc.scans(40);
            plc.station.result_valid = true;
        }),
    ];
    let Some(mut plc) = Cabinet::running(ResultMode::Single) else {
        return;
    };
    plc.good_part();
    assert!(plc.is("PassPart"), "nothing is broken");
    for (what, broken) in breaks {
        let mut plc = Cabinet::running(ResultMode::Single).unwrap();
        if what == "heartbeat" {
            plc.set("PartTime", 5000);
        }
        plc.start_part();
        plc.acknowledge();
        plc.show_good();
        broken(&mut plc);
        plc.scan();
        assert!(!plc.is("PassPart"), "{what}");
    }
    // A copy from two images: ResultIdTail is another.
    plc = Cabinet::running(ResultMode::Single).unwrap();
    plc.start_part();
    plc.acknowledge();
    plc.show_good();
    let mut torn = signals::station_registers(&plc.station);
    torn[43] += 1;
    plc.scan_registers(&torn, plc.now_ms + 10);
    assert!(!plc.is("PassPart"));
    plc.scan();
    assert!(plc.is("PassPart"), "and once it is whole, it passes");
}

#[test]
fn a_part_that_waited_for_its_trigger_has_so_much_less_time() {
    for mode in MODES {
        for (waits, passes) in [(10, true), (50, false)] {
            let Some(mut plc) = Cabinet::running(mode) else { return };
            plc.set("AckTime", 5000);
            // An answer of before still stands: no trigger may follow yet.
            plc.start_part();
            (plc.station.trigger_ack, plc.station.echo_trigger_id) = (true, 1);
            plc.scan();
            plc.set("StartPart", 1);
            plc.scans(waits);
            plc.set("StartPart", 0);
            plc.station.trigger_ack = false;
            plc.scans(3);
            assert_eq!(
                (plc.said.is(control::TRIGGER), plc.is("MissedPart") || plc.is("FaultAck")),
                (passes, !passes)
            );
            if !passes {
                continue;
            }
            plc.acknowledge();
            plc.show_good();
            let result = &mut plc.station.window[1];
            (result.cycle_id, result.result_id, result.verdict) = (CycleId::new(2), 1, 1);
            plc.set("GateCycleId", 2);
            plc.scans(2);
            assert!(plc.is("PassPart") && plc.get("PartCycleId") == 2);
            // 400 ms after it was at the sensor and two scans, not after it was triggered.
            plc.scans(40 - waits - 3 - 2 - 2);
            assert!(plc.is("PassPart"), "{mode:?}");
            plc.scans(3);
            assert!(!plc.is("PassPart"), "{mode:?}");
        }
    }
}

#[test]
fn before_anything_was_read_nothing_passes_and_no_session_begins() {
    let Some(mut plc) = Cabinet::loaded(ResultMode::Single) else {
        return;
    };
    for link_ok in [0, 1] {
        plc.set("LinkOk", link_ok);
        let registers = plc.scan_registers(&[0; BLOCK], 10);
        assert_eq!((signals::plc_image(&registers).plc_session, plc.is("PassPart")), (0, false));
    }
    // Words exchanged.
    let mut registers = signals::station_registers(&plc.station);
    registers.swap(32, 33);
    plc.scan_registers(&registers, 20);
    assert!(plc.is("FaultMap") && !plc.is("Initialised"));
}

#[test]
fn a_plc_that_starts_anew_begins_the_session_after_the_one_in_force() {
    let Some(mut plc) = Cabinet::loaded(ResultMode::Single) else {
        return;
    };
    let session = |plc: &mut Cabinet, echo: u16| {
        plc.first = true;
        plc.station.echo_plc_session = echo;
        plc.scan();
        plc.said.plc_session
    };
    assert_eq!([0, 41, 41, u16::MAX, 0].map(|echo| session(&mut plc, echo)), [1, 42, 42, 1, 2]);
    plc.set("NewSession", 1);
    plc.scan();
    assert_eq!(
        (plc.said.plc_session, plc.is("RejectAll"), plc.said.is(control::ONLINE)),
        (3, true, false)
    );
    plc.scan();
    assert_eq!((plc.said.plc_session, plc.is("RejectAll")), (3, false));
}

#[test]
fn a_station_that_starts_anew_voids_every_part() {
    let Some(mut plc) = Cabinet::running(ResultMode::Single) else {
        return;
    };
    plc.good_part();
    assert!(plc.is("PassPart"));
    plc.station.boot_id = 8;
    plc.scan();
    assert!(!plc.is("PassPart") && plc.is("RejectAll"));
    plc.scan();
    assert!(!plc.is("RejectAll") && plc.get("OpenParts") == 0);
    // A result of a part of before passes nothing.
    plc.show_good();
    plc.scan();
    assert!(plc.is("ResultNew") && !plc.is("PassPart"));
}

#[test]
fn every_timer_that_runs_out_says_so_and_the_next_part_is_taken() {
    let Some(mut plc) = Cabinet::running(ResultMode::Single) else {
        return;
    };
    plc.start_part();
    plc.scans(60);
    assert!(plc.is("FaultAck") && !plc.said.is(control::TRIGGER), "T_ack");
    plc.station.trigger_ready = false;
    plc.set("ClearError", 1);
    plc.set("StartPart", 1);
    plc.scans(2);
    plc.set("ClearError", 0);
    assert!(!plc.is("FaultAck"));
    plc.scans(60);
    assert!(
        plc.is("FaultAck") && plc.get("StartedCycleId") == 1,
        "never ready: no trigger, and its number is the next one's"
    );

    plc = Cabinet::running(ResultMode::Single).unwrap();
    plc.set("PartTime", 5000);
    plc.start_part();
    plc.acknowledge();
    plc.scans(210);
    assert!(plc.is("FaultResult"), "T_result");

    plc = Cabinet::running(ResultMode::Single).unwrap();
    plc.good_part();
    plc.scans(60);
    assert!(plc.is("FaultClear") && !plc.said.is(control::RESULT_ACK), "T_clear of a result");

    plc = Cabinet::running(ResultMode::Single).unwrap();
    plc.start_part();
    (plc.station.trigger_ack, plc.station.echo_trigger_id) = (true, plc.said.cycle_id);
    plc.scans(60);
    assert!(plc.is("FaultClear"), "T_clear of an answer");

    plc = Cabinet::running(ResultMode::Single).unwrap();
    plc.set("LatchSerial", 1);
    plc.scans(60);
    assert!(
        plc.is("FaultUser") && !plc.is("SerialLatched") && !plc.said.is(control::SET_USER_DATA),
        "T_user"
    );

    plc = Cabinet::running(ResultMode::Single).unwrap();
    plc.set("Command", 1);
    plc.set("ExecuteCommand", 1);
    plc.scans(1010);
    assert!(
        plc.is("FaultCommand") && plc.is("CommandFailed") && !plc.said.is(control::EXECUTE_COMMAND),
        "T_cmd"
    );
}

#[test]
fn a_missed_trigger_and_a_part_too_many_are_rejects() {
    let Some(mut plc) = Cabinet::running(ResultMode::Single) else {
        return;
    };
    plc.start_part();
    (plc.station.missed_trigger, plc.station.echo_trigger_id) = (true, 1);
    plc.scan();
    assert!(plc.is("MissedPart") && !plc.said.is(control::TRIGGER));
    plc.scan();
    assert!(!plc.is("MissedPart") && plc.get("OpenParts") == 0 && !plc.is("FaultAck"));
    // The station's answer stands, so the next part waits; one more cannot.
    for (missed, fault) in [(false, false), (true, true)] {
        plc.set("StartPart", 1);
        plc.scan();
        assert_eq!((plc.is("MissedPart"), plc.is("FaultPart")), (missed, fault));
        plc.set("StartPart", 0);
        plc.scan();
    }
    plc.station.missed_trigger = false;
    plc.scans(3);
    assert!(plc.said.is(control::TRIGGER) && plc.said.cycle_id == 2);
}

#[test]
fn commands_and_serials_are_said_first_and_executed_a_scan_later() {
    let Some(mut plc) = Cabinet::running(ResultMode::Single) else {
        return;
    };
    plc.set("Command", 5);
    plc.set("ExecuteCommand", 1);
    plc.scan();
    assert!(plc.said.command == 5 && !plc.said.is(control::EXECUTE_COMMAND));
    plc.scan();
    assert!(plc.said.is(control::EXECUTE_COMMAND) && plc.is("CommandBusy"));
    plc.station.command_done = true;
    plc.scan();
    assert!(!plc.said.is(control::EXECUTE_COMMAND) && plc.is("CommandDone") && plc.is("CommandBusy"));
    plc.station.command_done = false;
    plc.scan();
    assert!(!plc.is("CommandBusy") && !plc.is("CommandFailed"));

    plc.set("Serial[15]", i64::from(u16::from_be_bytes(*b"yz")));
    plc.set("LatchSerial", 1);
    plc.set("StartPart", 1);
    plc.scan();
    assert!(
        plc.said.serial.ends_with(b"yz") || plc.said.cycle_id == 1,
        "latched, or the part came first"
    );
    plc.scans(2);
    plc.station.user_data_ack = plc.said.is(control::SET_USER_DATA);
    plc.scan();
    plc.station.user_data_ack = false;
    plc.scans(2);
    assert!(!plc.is("FaultUser") && plc.said.cycle_id == 1);
}

#[test]
fn several_parts_are_open_in_buffered_mode_and_each_gets_its_own_result() {
    let Some(mut plc) = Cabinet::loaded(ResultMode::Single) else {
        return;
    };
    plc.set("BufferEnable", 1);
    plc.set("PartTime", 3000);
    plc.station.trigger_ready = true;
    plc.scans(35);
    assert!(plc.said.is(control::BUFFER_ENABLE | control::ONLINE));
    for part in 1..=8 {
        plc.start_part();
        assert_eq!(plc.said.cycle_id, part);
        plc.acknowledge();
        plc.station.trigger_ready = true;
    }
    assert_eq!(plc.get("OpenParts"), 8);
    for part in 1..=8_u32 {
        plc.station.result_id += 1;
        plc.station.echo_cycle_id = part;
        plc.station.verdict = Some(if part == 3 { Verdict::NotOk } else { Verdict::Ok });
        (plc.station.result_valid, plc.station.accept) = (true, part != 3);
        plc.scan();
        assert_eq!((plc.get("PartCycleId"), plc.is("PassPart")), (i64::from(part), part != 3));
        (plc.station.result_valid, plc.station.accept, plc.station.verdict) = (false, false, None);
        plc.scan();
        assert!(!plc.said.is(control::RESULT_ACK));
    }
    assert_eq!(plc.get("OpenParts"), 0);
}

#[test]
fn the_example_runs() {
    let Ok(mut controller) = Controller::load(&sources(Target::IecSt, ResultMode::Single)[0].text) else {
        skip("plc_code", "see the other tests of this file");
        return;
    };
    let registers = signals::station_registers(&StationImage::default());
    for (index, word) in registers.iter().take(BLOCK).enumerate() {
        controller.set(&format!("Main.ReadRegisters[{index}]"), *word);
    }
    controller.set("Main.LinkOk", 1);
    controller.set("Main.Run", 1);
    for scan in 0..30 {
        controller.execute("TaktExample", "Main", 10 * scan);
    }
    assert!(!controller.is("Main.OpenGate"));
    let said = signals::plc_image(&std::array::from_fn(|index| {
        controller.get(&format!("Main.WriteRegisters[{index}]")) as u16
    }));
    assert_eq!((said.plc_session, said.heartbeat > 0, said.is(control::ONLINE)), (1, true, true));
}

#[test]
fn the_generated_program_has_its_parts_inspected_by_a_real_station() {
    let cell = Cell::new(&[]);
    let running = cell.start();
    let Some(mut line) = Line::new(&cell, ResultMode::Single) else {
        return;
    };
    let passed: Vec<bool> = (0..5).map(|_| line.part()).collect();
    assert_eq!(passed, [true, true, true, true, false], "the fifth is scratched");
    assert_eq!((line.plc.get("ResultVerdict"), line.plc.get("ResultDefect")), (2, 7));

    // The station restarts with a part open: that part never passes, the next one does.
    line.until(|plc| plc.is("Ready"));
    line.plc.set("StartPart", 1);
    line.until(|plc| plc.said.is(control::TRIGGER));
    line.plc.set("StartPart", 0);
    running.kill();
    let (running, _) = cell.start_again();
    line.client = Client::connect([127, 0, 0, 1].into(), cell.plc);
    line.until(|plc| plc.is("RejectAll"));
    assert!(!line.plc.is("PassPart") && line.plc.get("OpenParts") == 0);
    assert!(line.part(), "the camera begins with its first picture");

    // So does the PLC.
    let session = line.plc.said.plc_session;
    line.plc.first = true;
    line.until(|plc| plc.is("InSession"));
    assert_eq!(line.plc.said.plc_session, session + 1);
    assert!(line.part());
    assert!(
        !["FaultAck", "FaultResult", "FaultClear", "FaultMap", "FaultPart"]
            .iter()
            .any(|fault| line.plc.is(fault))
    );
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn in_buffered_mode_parts_are_triggered_ahead_of_their_results_at_a_real_station() {
    let cell = Cell::new(&[]);
    let running = cell.start();
    let Some(mut line) = Line::new(&cell, ResultMode::Single) else {
        return;
    };
    line.plc.set("BufferEnable", 1);
    let mut told = Vec::new();
    let mut open_max = 0;
    let listen = |plc: &Cabinet, told: &mut Vec<(i64, bool)>, open_max: &mut i64| {
        *open_max = plc.get("OpenParts").max(*open_max);
        if plc.is("ResultNew") {
            told.push((plc.get("PartCycleId"), plc.is("PassPart")));
        }
    };
    line.until(|plc| plc.is("Ready"));
    assert_eq!(line.plc.get("FromStation.RemainingBuffers"), 8, "the station is in buffered mode");
    for part in 1..=10 {
        while !line.plc.is("Ready") {
            line.scan();
            listen(&line.plc, &mut told, &mut open_max);
        }
        line.plc.set("StartPart", 1);
        while line.plc.get("StartedCycleId") < part {
            line.scan();
            listen(&line.plc, &mut told, &mut open_max);
        }
        line.plc.set("StartPart", 0);
        line.scan();
        listen(&line.plc, &mut told, &mut open_max);
    }
    while line.plc.get("OpenParts") > 0 {
        line.scan();
        listen(&line.plc, &mut told, &mut open_max);
    }
    println!("up to {open_max} parts open");
    let good = |part: &i64| part % 5 != 0;
    assert_eq!(
        told,
        (1..=10).map(|part| (part, good(&part))).collect::<Vec<_>>(),
        "every fifth is scratched"
    );
    assert!(
        !["FaultAck", "FaultResult", "FaultClear", "FaultPart"]
            .iter()
            .any(|fault| line.plc.is(fault))
    );
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn map_and_codes_in_documents_and_contract_are_those_of_the_program() {
    for (what, format, file) in [
        ("map", "md", "docs/plc/map.md"),
        ("codes", "md", "docs/plc/codes.md"),
        ("codes", "proto", "proto/takt/v1/codes.proto"),
    ] {
        let kept = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let printed = run(takt("plc").args([what, "--format", format])).done().stdout;
        assert!(kept == printed, "{file} is old: takt plc {what} --format {format} > {file}");
    }
}

#[test]
fn the_worked_example_of_the_timing_is_the_arithmetic_that_validates_stations() {
    let document = include_str!("../docs/plc/README.md");
    let ms = Duration::from_millis;
    let timing = GateTiming {
        poll: ms(10),
        scan: ms(10),
        exchange: None,
        deadline: ms(200),
        gate_actuation: ms(20),
        margin: ms(10),
        trigger_to_gate: ms(400),
    };
    let pace = Pace {
        handshake: timing.handshake(),
        part_interval_min: ms(250),
        result_mode: ResultMode::Single,
        outcome: timing.deadline,
        accept_hold: ms(1000),
    };
    let mut rows: Vec<(&str, Duration)> = timing.terms().iter().map(|term| (term.name, term.time)).collect();
    rows.push(("sum", timing.needed()));
    rows.push(("trigger_to_gate_ms", timing.trigger_to_gate));
    rows.push(("slack", timing.slack().unwrap()));
    rows.extend(pace.limits().map(|limit| (limit.meaning, limit.interval)));
    for (name, time) in rows {
        let row = format!("| {name} | {} |\n", time.as_millis());
        assert!(document.contains(&row), "docs/plc/README.md should hold {row}");
    }
    let rate = format!("here {} parts per second", pace.trigger_rate_hz_max());
    assert!(document.contains(&rate), "{rate}");
}

#[test]
fn numbers_in_the_protos_are_those_of_the_codes() {
    let proto = include_str!("../proto/takt/v1/record.proto");
    let tables = Codes::all();
    for (signal, prefix) in [("Verdict", "VERDICT"), ("Disposition", "DISPOSITION_KIND")] {
        let table = tables.iter().find(|table| table.signal == signal).unwrap();
        for code in table.codes.iter().filter(|code| code.number != 0) {
            let line = format!("  {prefix}_{} = {};", code.constant(), code.number);
            assert!(proto.contains(&line), "record.proto should hold {line}");
        }
    }
}
