//! `[reject]`, `[[gate]]` and `[alarms]`: who moves the gate, where it is, how it is wired, and when the line is to stop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::gate_timing::GateFit;
use super::reader::{Answer, Table};
use super::station::{PlcConfig, TimingConfig, TriggerConfig};
use super::timing::{ms, time_to_outcome};
use super::value::{flag, millis, name, number, one_of, path, quoted, share, whole, whole_u32};
use crate::gate::Grade;
use crate::gate::alarms::{AlarmLimits, RATE_PARTS_MAX, RateLimit};
use crate::gate::config::{GATES_MAX, GateKind, GatePlan, Misfit, Origin, Pitch, TrackerConfig, Travel};
use crate::gate::wiring::{GateWires, TravelWires, Wire, Wiring};

/// Longest distance along the belt, millimetres.
const WAY_MM_MAX: f64 = 100_000.0;

/// Highest speed of a belt, millimetres a second.
const SPEED_MM_S_MAX: f64 = 20_000.0;

/// Most counts of an encoder a second: each is an interrupt, and beyond this a counter in hardware is due.
const COUNTS_PER_S_MAX: f64 = 20_000.0;

/// How fine the belt is divided where no encoder does it, millimetres.
const MM_WITHOUT_ENCODER: f64 = 0.1;

/// How far off the kernel's times of edges are at worst.
const EDGE_JITTER: Duration = Duration::from_millis(2);

/// Highest offset of a line on its chip.
const LINE_MAX: u32 = 1023;

/// Most parts in a row that an alarm waits for.
const IN_A_ROW_MAX: u32 = 10_000;

/// How far from even a pocket may be, counts.
const POCKET_ERROR: f64 = 1e-3;

/// Gates that the station moves itself.
#[derive(Debug, Clone, PartialEq)]
pub struct GateConfig {
    /// Where everything is, in counts.
    pub tracker: TrackerConfig,
    /// How it is wired.
    pub wiring: Wiring,
    /// Names of the gates along the belt.
    pub names: Vec<String>,
    /// Length of the belt for one count, millimetres.
    pub mm_per_count: f64,
}

impl GateConfig {
    /// Whether parts can be told apart at the first gate, in time.
    pub fn fit(&self, plc: &PlcConfig, trigger: &TriggerConfig, timing: &TimingConfig) -> GateFit {
        let mm = |counts: i64| counts as f64 * self.mm_per_count;
        let first = self.tracker.gates.first();
        GateFit {
            top_speed_mm_s: self.tracker.top_speed as f64 * self.mm_per_count,
            window_mm: mm(self.tracker.pitch.width()),
            part_length_mm: first.map_or(0.0, |gate| mm(gate.part_length)),
            reach_mm: first.map_or(0.0, |gate| mm(gate.reach())),
            gate_mm: first.map_or(0.0, |gate| mm(gate.gate)),
            round_trip: 2 * (plc.poll + plc.scan),
            outcome: time_to_outcome(trigger.source, timing.deadline),
            margin: timing.margin,
            part_interval_min: trigger.part_interval_min,
        }
    }
}

/// What `[reject]` says that holds for all gates.
struct Belt {
    mm_per_count: f64,
    top_speed: u64,
    part_length: i64,
    pitch: Pitch,
    travel: TravelWires,
    interlock: bool,
    chip: PathBuf,
    output_chip: PathBuf,
    index: Option<Wire>,
    stop: Option<Wire>,
    ready: Option<Wire>,
    debounce: Duration,
}

/// `[reject]` with `[[gate]]`; `None` where the PLC moves the gate.
pub(super) fn read(root: &mut Table<'_>, folder: &Path) -> Answer<Option<GateConfig>> {
    let belt = root.optional_table("reject", |table| read_reject(table, folder));
    // What gates say can be read only with what the belt says.
    let belt = match belt {
        Ok(belt) => belt.flatten(),
        Err(refused) => {
            let _ = root.optional("gate", |_| Ok(()));
            return Err(refused);
        }
    };
    let Some(belt) = belt else {
        let expected = "no gates while the PLC moves them, or set owner = \"station\" in [reject]";
        root.optional("gate", |_| Err::<(), _>(expected.to_owned()))?;
        return Ok(None);
    };
    let gates = root.tables("gate", "gate", GATES_MAX, |table| read_gate(table, &belt))?;
    let (names, gates): (Vec<String>, Vec<(GatePlan, GateWires)>) = gates.into_iter().unzip();
    let (plans, wires): (Vec<GatePlan>, Vec<GateWires>) = gates.into_iter().unzip();
    let config = GateConfig {
        tracker: TrackerConfig {
            travel: match belt.travel {
                TravelWires::Running(_) => Travel::Time,
                TravelWires::Quadrature { .. } | TravelWires::Pulse(_) => Travel::Encoder { modulus: 1 << 32 },
            },
            top_speed: belt.top_speed,
            slack: 2 + (belt.top_speed as f64 * EDGE_JITTER.as_secs_f64()).ceil() as i64,
            pitch: belt.pitch,
            gates: plans,
        },
        wiring: Wiring {
            chip: belt.chip,
            output_chip: belt.output_chip,
            travel: belt.travel,
            index: belt.index,
            gates: wires,
            stop: belt.stop,
            ready: belt.ready,
            debounce: belt.debounce,
        },
        names,
        mm_per_count: belt.mm_per_count,
    };
    let fits = check_misfits(root, &config);
    let wired = check_wires(root, &config.wiring);
    fits.and(wired)?;
    Ok(Some(config))
}

fn read_reject(table: &mut Table<'_>, folder: &Path) -> Answer<Option<Belt>> {
    let is_ours = table.or("owner", false, one_of([("plc", false), ("station", true)]))?;
    if !is_ours {
        return Ok(None);
    }
    let chip = table.required("chip", path(folder));
    let output_chip = table.optional("output_chip", path(folder));
    let encoder = table.inline("encoder", read_encoder);
    let running = table.optional("belt_running", wire);
    let mm_per_count = table.optional("mm_per_count", number(1e-4..=1000.0));
    let speed = table.required("top_speed_mm_s", number(1.0..=SPEED_MM_S_MAX));
    let part_length = table.required("part_length_mm", number(0.1..=WAY_MM_MAX));
    let pitch = table.optional("pitch_mm", number(1.0..=WAY_MM_MAX));
    let tolerance = table.optional("tolerance_mm", number(0.1..=WAY_MM_MAX));
    let index = table.optional("index", wire);
    let stop = table.optional("stop", wire);
    let ready = table.optional("ready", wire);
    let debounce = table.or("debounce_us", 0, whole(0..=100_000));
    let interlock = table.or("infeed_interlock", false, flag);
    let travel = travel(table, encoder?, running?);
    let (travel, mm_per_count, speed) = (travel?, mm_per_count?, speed?);
    let mm_per_count = match (travel, mm_per_count) {
        (_, Some(mm)) => mm,
        (TravelWires::Running(_), None) => MM_WITHOUT_ENCODER,
        (..) => {
            return Err(table.refuse(
                "mm_per_count",
                "mm_per_count is missing; give how far the belt goes for one count, millimetres",
            ));
        }
    };
    if speed / mm_per_count > COUNTS_PER_S_MAX && !matches!(travel, TravelWires::Running(_)) {
        let rate = (speed / mm_per_count).round();
        let reason = format!(
            "{rate} counts a second at top_speed_mm_s are more than the {COUNTS_PER_S_MAX} that GPIO lines are read at; \
             use an encoder with fewer periods, or one channel of it"
        );
        return Err(table.refuse("mm_per_count", reason));
    }
    let index = index?;
    let pitch = read_pitch(table, (pitch?, tolerance?), index, mm_per_count);
    let chip = chip?;
    Ok(Some(Belt {
        mm_per_count,
        top_speed: (speed / mm_per_count).ceil() as u64,
        part_length: counts_up(part_length?, mm_per_count),
        pitch: pitch?,
        travel,
        interlock: interlock?,
        output_chip: output_chip?.unwrap_or_else(|| chip.clone()),
        chip,
        index,
        stop: stop?,
        ready: ready?,
        debounce: Duration::from_micros(debounce?),
    }))
}

fn read_encoder(table: &mut Table<'_>) -> Answer<TravelWires> {
    let pulse = table.optional("pulse", wire);
    let a = table.optional("a", wire);
    let b = table.optional("b", wire);
    match (pulse?, a?, b?) {
        (Some(pulse), None, None) => Ok(TravelWires::Pulse(pulse)),
        (None, Some(a), Some(b)) => Ok(TravelWires::Quadrature { a, b }),
        _ => Err(table.refuse("", "give both channels, { a = 3, b = 4 }, or the only one, { pulse = 3 }")),
    }
}

fn travel(table: &Table<'_>, encoder: Option<TravelWires>, running: Option<Wire>) -> Answer<TravelWires> {
    match (encoder, running) {
        (Some(encoder), None) => Ok(encoder),
        (None, Some(running)) => Ok(TravelWires::Running(running)),
        (Some(_), Some(_)) => Err(table.refuse(
            "belt_running",
            "belt_running is for a belt without encoder; remove it, or the encoder",
        )),
        (None, None) => Err(table.refuse(
            "encoder",
            "there is no encoder, and nothing that stops the tracking while the belt stands; give encoder, or belt_running",
        )),
    }
}

fn read_pitch(table: &Table<'_>, given: (Option<f64>, Option<f64>), index: Option<Wire>, mm_per_count: f64) -> Answer<Pitch> {
    match given {
        (None, Some(tolerance)) => {
            if index.is_some() {
                return Err(table.refuse(
                    "index",
                    "index is for pockets; remove it, or give pitch_mm in place of tolerance_mm",
                ));
            }
            let tolerance = counts_down(tolerance, mm_per_count);
            Ok(Pitch::Random { tolerance })
        }
        (Some(pitch), None) => {
            let counts = pitch / mm_per_count;
            if (counts - counts.round()).abs() > POCKET_ERROR || counts.round() < 2.0 {
                let reason = format!(
                    "pitch_mm {pitch} is {counts:.4} counts of mm_per_count {mm_per_count}, and pockets would drift: give a whole number of counts"
                );
                return Err(table.refuse("pitch_mm", reason));
            }
            if index.is_none() {
                let reason = "where pockets begin is not known; give index, a signal with an edge when a pocket begins at the trigger";
                return Err(table.refuse("pitch_mm", reason));
            }
            Ok(Pitch::Even {
                counts: counts.round() as i64,
                origin: Origin::Index,
            })
        }
        _ => Err(table.refuse(
            "tolerance_mm",
            "give pitch_mm for a belt with pockets, or tolerance_mm for parts that lie anywhere; one of them",
        )),
    }
}

fn read_gate(table: &mut Table<'_>, belt: &Belt) -> Answer<(String, (GatePlan, GateWires))> {
    let name = table.required("name", name);
    let kinds = [
        ("energise_to_pass", GateKind::EnergiseToPass),
        ("energise_to_reject", GateKind::EnergiseToReject),
    ];
    let kind = table.required("kind", one_of(kinds));
    let rejects = if table.has("rejects") {
        table.list(
            "rejects",
            Grade::REJECTED.len(),
            one_of(Grade::REJECTED.map(|grade| (grade.name(), grade))),
        )
    } else {
        Ok(Grade::REJECTED.to_vec())
    };
    let sensor = table.required("sensor", wire);
    let output = table.required("output", wire);
    let confirm = table.optional("confirm", wire);
    let sensor_mm = table.required("sensor_mm", number(0.1..=WAY_MM_MAX));
    let gate_mm = table.required("gate_mm", number(0.1..=WAY_MM_MAX));
    let actuation = table.required("actuation_ms", millis(0..=10_000));
    let margin = table.or("margin_mm", 5.0, number(0.1..=1000.0));
    let confirm_mm = table.optional("confirm_mm", number(0.1..=WAY_MM_MAX));
    let open_max = table.or("open_ms_max", Duration::from_secs(2), millis(10..=600_000));
    let (kind, confirm, confirm_mm) = (kind?, confirm?, confirm_mm?);
    if kind == GateKind::EnergiseToReject && !belt.interlock {
        let reason = "a gate that passes without power needs an infeed that stops on StopRequest and on a lost heartbeat: wire it, and say so with \
                      infeed_interlock = true in [reject]; or use kind = \"energise_to_pass\"";
        return Err(table.refuse("kind", reason));
    }
    match (confirm, confirm_mm) {
        (Some(_), None) => {
            return Err(table.refuse(
                "confirm",
                "confirm_mm is missing; give how far behind the gate an ejection is confirmed at the latest",
            ));
        }
        (None, Some(_)) => return Err(table.refuse("confirm_mm", "nothing confirms an ejection; give confirm, or remove confirm_mm")),
        _ => {}
    }
    let counts = |mm: f64| (mm / belt.mm_per_count).round() as i64;
    let lead = (belt.top_speed as f64 * actuation?.as_secs_f64()).ceil() as i64;
    let plan = GatePlan {
        kind,
        rejects: rejects?,
        sensor: counts(sensor_mm?),
        gate: counts(gate_mm?),
        part_length: belt.part_length,
        lead,
        margin: counts_up(margin?, belt.mm_per_count).max(2),
        confirm: confirm_mm.map(|mm| counts_up(mm, belt.mm_per_count)),
        open_max: open_max?,
    };
    let wires = GateWires {
        sensor: sensor?,
        output: output?,
        confirm,
        off_rejects: kind == GateKind::EnergiseToPass,
    };
    Ok((name?, (plan, wires)))
}

/// A line of the chip: its offset, or `{ line = 17, active_low = true }`.
fn wire(value: &DeValue<'_>) -> Result<Wire, String> {
    let expected = || format!("a line of the chip, 0 to {LINE_MAX}, like 17 or {{ line = 17, active_low = true }}");
    let line = whole_u32(0..=LINE_MAX);
    match value {
        DeValue::Integer(_) => line(value).map(|line| Wire { line, active_low: false }),
        DeValue::Table(table) => {
            let known = table
                .iter()
                .all(|(key, _)| ["line", "active_low"].contains(&key.get_ref().as_ref()));
            let number = table.get("line").and_then(|value| line(value.get_ref()).ok());
            let active_low = table.get("active_low").map_or(Ok(false), |value| flag(value.get_ref()));
            match (number, active_low) {
                (Some(line), Ok(active_low)) if known => Ok(Wire { line, active_low }),
                _ => Err(expected()),
            }
        }
        _ => Err(expected()),
    }
    .map_err(|_| expected())
}

fn counts_up(mm: f64, mm_per_count: f64) -> i64 {
    (mm / mm_per_count).ceil() as i64
}

fn counts_down(mm: f64, mm_per_count: f64) -> i64 {
    (mm / mm_per_count).floor() as i64
}

fn check_misfits(root: &Table<'_>, config: &GateConfig) -> Answer<()> {
    let mm = |counts: i64| format!("{:.1}", counts as f64 * config.mm_per_count);
    let mut answer = Ok(());
    for misfit in config.tracker.misfits() {
        let (place, what, reason) = match misfit {
            Misfit::Approach { gate, least } => (
                format!("gate.{gate}.gate_mm"),
                gate_name(config, gate),
                format!(
                    "its sensor is too near: by the time the gate moves for a part, everything that it could meet must have been seen; \
                     gate_mm must be at least sensor_mm + {}, or shorten actuation_ms, margin_mm, part_length_mm or the window",
                    mm(least)
                ),
            ),
            Misfit::Order { gate, least } => (
                format!("gate.{gate}.sensor_mm"),
                gate_name(config, gate),
                format!(
                    "its sensor must be behind the trigger, and behind the gate before it: give gates along the belt, this one with sensor_mm of at least {}",
                    mm(least)
                ),
            ),
            Misfit::Unrejected(grade) => (
                "gate.0.rejects".to_owned(),
                "[[gate]]".to_owned(),
                format!("no gate rejects {}; add it to rejects of one", quoted(grade.name())),
            ),
            Misfit::Modulus => (
                "reject.pitch_mm".to_owned(),
                "[reject]".to_owned(),
                "pockets do not go into the encoder's modulus".to_owned(),
            ),
        };
        answer = Err(root.refuse_at(&place, &what, reason));
    }
    answer
}

/// Each line is one thing.
fn check_wires(root: &Table<'_>, wiring: &Wiring) -> Answer<()> {
    let inputs = wiring.inputs().into_iter().map(|(_, wire)| (&wiring.chip, wire.line));
    let outputs = wiring.outputs().into_iter().map(|wire| (&wiring.output_chip, wire.line));
    let mut seen = Vec::new();
    for wire in inputs.chain(outputs) {
        if seen.contains(&wire) {
            let reason = format!("line {} of {} is used twice; each line is one thing", wire.1, wire.0.display());
            return Err(root.refuse_at("reject", "[reject]", reason));
        }
        seen.push(wire);
    }
    Ok(())
}

fn gate_name(config: &GateConfig, gate: usize) -> String {
    format!("gate {}", quoted(config.names.get(gate).map_or("", String::as_str)))
}

/// The gate tells parts apart, and has their outcomes in time.
pub(super) fn check(root: &Table<'_>, gate: &GateConfig, plc: &PlcConfig, trigger: &TriggerConfig, timing: &TimingConfig) {
    let fit = gate.fit(plc, trigger, timing);
    let (goes, may_go) = fit.round_trip_mm();
    if goes > may_go {
        let reason = format!(
            "the belt goes {goes:.1} mm at top speed within the worst round trip to the PLC, 2 x (poll_ms + scan_ms), and that is more than {may_go:.1} mm, \
             a quarter of the window of a part: a part could be taken for another; widen tolerance_mm or pitch_mm, shorten poll_ms, or slow the belt"
        );
        root.refuse_at("reject.top_speed_mm_s", "[reject]", reason);
    }
    let (apart, least) = fit.spacing_mm();
    if apart < least {
        let reason = format!(
            "parts come {apart:.1} mm apart at part_interval_ms_min and top speed, and the gate tells them apart from {least:.1} mm on; \
             narrow tolerance_mm, shorten actuation_ms or margin_mm, or lengthen part_interval_ms_min"
        );
        root.refuse_at("reject.top_speed_mm_s", "[reject]", reason);
    }
    let (there, needed) = fit.verdict();
    if there < needed {
        let reason = format!(
            "a part is there {} ms after its trigger at top speed, and its outcome takes up to {} ms: the first gate would reject it; \
             move the gate, or shorten deadline_ms",
            ms(there),
            ms(needed)
        );
        root.refuse_at("gate.0.gate_mm", &gate_name(gate, 0), reason);
    }
}

/// `[alarms]`.
pub(super) fn read_alarms(table: &mut Table<'_>) -> Answer<AlarmLimits> {
    let rejects = table.optional("consecutive_rejects_max", whole_u32(1..=IN_A_ROW_MAX));
    let removed = table.optional("consecutive_removed_max", whole_u32(1..=IN_A_ROW_MAX));
    let rate = table.optional("reject_rate_max", share());
    let parts = table.optional("reject_rate_parts", whole(1..=RATE_PARTS_MAX as u64));
    let reject_rate = match (rate?, parts?) {
        (Some(share), Some(parts)) => Some(RateLimit {
            share,
            parts: parts as usize,
        }),
        (None, None) => None,
        (Some(_), None) => {
            return Err(table.refuse(
                "reject_rate_max",
                "reject_rate_parts is missing; give of how many parts the share is taken",
            ));
        }
        (None, Some(_)) => {
            return Err(table.refuse(
                "reject_rate_parts",
                "reject_rate_max is missing; give the share of rejects that is too much",
            ));
        }
    };
    Ok(AlarmLimits {
        consecutive_rejects: rejects?,
        reject_rate,
        consecutive_removed: removed?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigErrors;
    use crate::config::reader::Document;
    use crate::config::station::StationConfig;

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
}
