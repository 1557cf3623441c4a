//! What the tables of the gate say, and what is refused.

use super::*;
use crate::config::ConfigErrors;
use crate::config::reader::Document;
use crate::config::station::StationConfig;
use crate::gate::alarms::{AlarmLimits, RateLimit};
use crate::gate::wiring::Wire;

const STATION: &str = r#"config_version = 1
[station]
id = "cell-4"
state_directory = "state"
runtime_directory = "run"
[plc]
listen = "127.0.0.1:1502"
writers = ["127.0.0.1"]
poll_ms = 5
scan_ms = 5
[trigger]
source = "plc"
part_interval_ms_min = 200
[timing]
deadline_ms = 200
trigger_to_gate_ms = 1000
gate_actuation_ms = 20
[[camera]]
name = "top"
folder = "images"
[recipe]
number = 1
name = "cap"
[[recipe.inspection]]
name = "surface"
camera = "top"
model = "model"
"#;

const GATE: &str = r#"[reject]
owner = "station"
chip = "/dev/gpiochip0"
encoder = { a = 4, b = 5 }
mm_per_count = 0.25
top_speed_mm_s = 500
part_length_mm = 30
tolerance_mm = 20
stop = { line = 20, active_low = true }
[[gate]]
name = "scrap"
kind = "energise_to_pass"
sensor = 6
output = 21
sensor_mm = 300
gate_mm = 400
actuation_ms = 30
[alarms]
consecutive_rejects_max = 5
reject_rate_max = 0.2
reject_rate_parts = 100
"#;

fn read(gate: &str) -> Result<StationConfig, ConfigErrors> {
    let document = Document::new(Path::new("/line/station.toml"), format!("{STATION}{gate}").into_bytes()).unwrap();
    StationConfig::from_document(&document, &|_, _| Ok(()))
}

/// What is wrong, without the name of the file; lines count from the first of `GATE`.
#[track_caller]
fn refused(edits: &[(&str, &str)], expected: &[&str]) {
    let mut text = GATE.to_owned();
    for (old, new) in edits {
        assert!(text.contains(old), "{old}");
        text = text.replacen(old, new, 1);
    }
    let errors = read(&text).unwrap_err();
    let before = STATION.lines().count();
    let lines = errors.lines().iter().map(|line| {
        let line = line.strip_prefix("/line/station.toml:").unwrap();
        let (number, rest) = line.split_once(':').unwrap();
        format!("{}:{rest}", number.parse::<usize>().unwrap().saturating_sub(before))
    });
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

#[test]
fn a_gate_of_the_station_is_what_its_tables_say() {
    let station = read(GATE).unwrap();
    let gate = station.gate.unwrap();
    let expected = GatePlan {
        kind: GateKind::EnergiseToPass,
        rejects: Grade::REJECTED.to_vec(),
        sensor: 1200,
        gate: 1600,
        part_length: 120,
        // 500 mm/s for 30 ms are 15 mm.
        lead: 60,
        margin: 20,
        confirm: None,
        open_max: Duration::from_secs(2),
    };
    assert_eq!(gate.tracker.gates, [expected]);
    assert_eq!(
        (gate.tracker.top_speed, gate.tracker.pitch),
        (2000, Pitch::Random { tolerance: 80 })
    );
    assert_eq!(gate.names, ["scrap"]);
    assert_eq!(
        gate.wiring.stop,
        Some(Wire {
            line: 20,
            active_low: true
        })
    );
    assert_eq!(gate.wiring.output_chip, Path::new("/dev/gpiochip0"));
    assert_eq!(station.alarms.consecutive_rejects, Some(5));
    assert_eq!(station.alarms.reject_rate, Some(RateLimit { share: 0.2, parts: 100 }));
}

#[test]
fn without_the_tables_the_plc_moves_the_gate_and_nothing_alarms() {
    let station = read("").unwrap();
    assert_eq!((station.gate, station.alarms), (None, AlarmLimits::default()));
    let errors = read("[reject]\nowner = \"plc\"\n[[gate]]\nname = \"scrap\"\n").unwrap_err();
    assert_eq!(
        errors.lines(),
        [
            "/line/station.toml:30:1: failed to read the station: gate is a list; give no gates while the PLC moves them, or set owner = \"station\" in [reject]"
        ]
    );
}

#[test]
fn a_gate_that_passes_without_power_needs_an_interlock() {
    refused(
        &[("energise_to_pass", "energise_to_reject")],
        &[
            "12:8: failed to read gate \"scrap\": a gate that passes without power needs an infeed that stops on StopRequest and on a lost heartbeat: \
             wire it, and say so with infeed_interlock = true in [reject]; or use kind = \"energise_to_pass\"",
        ],
    );
    let text = GATE
        .replacen("energise_to_pass", "energise_to_reject", 1)
        .replacen("[[gate]]", "infeed_interlock = true\n[[gate]]", 1);
    assert!(read(&text).is_ok());
}

#[test]
fn time_alone_does_not_track_parts() {
    refused(
        &[("encoder = { a = 4, b = 5 }\n", "")],
        &[
            "1:1: failed to read [reject]: there is no encoder, and nothing that stops the tracking while the belt stands; give encoder, or belt_running",
        ],
    );
    let text = GATE.replacen("encoder = { a = 4, b = 5 }", "belt_running = 4", 1);
    assert_eq!(read(&text).unwrap().gate.unwrap().tracker.travel, Travel::Time);
}

#[test]
fn pockets_are_whole_counts_and_begin_somewhere() {
    let even = ("tolerance_mm = 20", "pitch_mm = 60.1\nindex = 7");
    refused(
        &[even],
        &[
            "8:12: failed to read [reject]: pitch_mm 60.1 is 240.4000 counts of mm_per_count 0.25, and pockets would drift: give a whole number of counts",
        ],
    );
    refused(
        &[("tolerance_mm = 20", "pitch_mm = 60")],
        &[
            "8:12: failed to read [reject]: where pockets begin is not known; give index, a signal with an edge when a pocket begins at the trigger",
        ],
    );
    let text = GATE.replacen("tolerance_mm = 20", "pitch_mm = 60\nindex = 7", 1);
    let pitch = read(&text).unwrap().gate.unwrap().tracker.pitch;
    assert_eq!(
        pitch,
        Pitch::Even {
            counts: 240,
            origin: Origin::Index
        }
    );
}

#[test]
fn what_does_not_fit_along_the_belt_is_told_with_the_length_that_does() {
    refused(
        &[("gate_mm = 400", "gate_mm = 340")],
        &[
            "16:11: failed to read gate \"scrap\": its sensor is too near: by the time the gate moves for a part, everything that it could meet must have \
             been seen; gate_mm must be at least sensor_mm + 70.2, or shorten actuation_ms, margin_mm, part_length_mm or the window",
        ],
    );
    refused(
        &[(
            "kind = \"energise_to_pass\"",
            "kind = \"energise_to_pass\"\nrejects = [\"critical\", \"major\", \"minor\"]",
        )],
        &["13:11: failed to read [[gate]]: no gate rejects \"not_decidable\"; add it to rejects of one"],
    );
}

#[test]
fn a_belt_that_is_too_fast_for_the_wire_or_the_outcome_is_refused() {
    refused(
        &[("tolerance_mm = 20", "tolerance_mm = 19")],
        &[
            "6:18: failed to read [reject]: the belt goes 10.0 mm at top speed within the worst round trip to the PLC, 2 x (poll_ms + scan_ms), and that is more \
             than 9.6 mm, a quarter of the window of a part: a part could be taken for another; widen tolerance_mm or pitch_mm, shorten poll_ms, or slow the belt",
        ],
    );
    refused(
        &[("sensor_mm = 300", "sensor_mm = 50"), ("gate_mm = 400", "gate_mm = 125")],
        &[
            "16:11: failed to read gate \"scrap\": a part is there 210 ms after its trigger at top speed, and its outcome takes up to 220 ms: the first gate \
             would reject it; move the gate, or shorten deadline_ms",
        ],
    );
    refused(
        &[("part_length_mm = 30", "part_length_mm = 85"), ("gate_mm = 400", "gate_mm = 450")],
        &[
            "6:18: failed to read [reject]: parts come 100.0 mm apart at part_interval_ms_min and top speed, and the gate tells them apart from 105.0 mm on; \
             narrow tolerance_mm, shorten actuation_ms or margin_mm, or lengthen part_interval_ms_min",
        ],
    );
}

#[test]
fn each_line_is_one_thing() {
    refused(
        &[("output = 21", "output = 4")],
        &["1:1: failed to read [reject]: line 4 of /dev/gpiochip0 is used twice; each line is one thing"],
    );
}

/// The gate over the PLC's registers, with a belt that is slow enough for them.
const OVER_PLC: &str = r#"[reject]
owner = "station"
board = "plc"
mm_per_count = 0.5
top_speed_mm_s = 500
part_length_mm = 20
tolerance_mm = 20
[[gate]]
name = "scrap"
kind = "energise_to_pass"
sensor_mm = 300
gate_mm = 450
actuation_ms = 30
margin_mm = 10
confirm_mm = 100
"#;

#[test]
fn a_gate_over_the_registers_of_the_plc_has_no_lines() {
    let gate = read(OVER_PLC).unwrap().gate.unwrap();
    assert_eq!(
        (gate.wiring.travel, gate.wiring.inputs(), gate.wiring.outputs()),
        (TravelWires::Plc, Vec::new(), Vec::new())
    );
    let [plan] = gate.tracker.gates.as_slice() else {
        panic!("{gate:?}")
    };
    assert_eq!((plan.confirm, plan.lead, plan.margin), (Some(200), 30, 20));
    // 1000 counts a second for 5 ms of poll and 5 ms of scan, and what is never exact.
    assert_eq!(gate.tracker.slack, 12);
    let pockets = OVER_PLC.replacen("tolerance_mm = 20", "pitch_mm = 50\norigin = 7\nencoder_modulus = 10000", 1);
    let tracker = read(&pockets).unwrap().gate.unwrap().tracker;
    assert_eq!(tracker.travel, Travel::Encoder { modulus: 10_000 });
    let origin = Origin::Reading(7);
    assert_eq!(tracker.pitch, Pitch::Even { counts: 100, origin });
}

#[test]
fn what_a_gate_over_the_registers_cannot_be_is_refused() {
    let refused = |old: &str, new: &str, expected: &str| {
        assert!(OVER_PLC.contains(old), "{old}");
        let errors = read(&OVER_PLC.replacen(old, new, 1)).unwrap_err().to_string();
        assert!(errors.contains(expected), "{errors}");
    };
    refused("mm_per_count", "chip = \"/dev/gpiochip0\"\nmm_per_count", "the PLC has the lines");
    refused("sensor_mm", "sensor = 4\nsensor_mm", "the PLC has the lines");
    refused(
        "energise_to_pass",
        "energise_to_reject",
        "over the PLC's registers a gate is energised to pass",
    );
    refused(
        "actuation_ms = 30",
        "actuation_ms = 9",
        "at least 10 ms and the time of the gate itself",
    );
    refused(
        "margin_mm = 10",
        "margin_mm = 9",
        "half of margin_mm is kept for that; give at least 10.0",
    );
    refused("tolerance_mm = 20", "tolerance_mm = 9", "a quarter of the window");
    refused(
        "tolerance_mm = 20",
        "pitch_mm = 60\norigin = 7\nencoder_modulus = 1000",
        "pockets do not go into encoder_modulus",
    );
    let two = format!("{OVER_PLC}[[gate]]\nname = \"more\"\n");
    assert!(read(&two).is_err(), "the registers are of one gate");
}
