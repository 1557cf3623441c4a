//! `[reject]`, `[[gate]]` and `[alarms]`: who moves the gate, where it is, how it is wired, and when the line is to stop.

mod alarms;
mod lines;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

pub(super) use self::alarms::read_alarms;
use self::lines::{Lines, check_wires, lines_of_plc, no_lines, read_lines, wire};
use super::gate_timing::GateFit;
use super::reader::{Answer, Table};
use super::station::{CycleSource, PlcConfig, TimingConfig, TriggerConfig};
use super::timing::{ms, time_to_outcome};
use super::value::{flag, millis, name, number, one_of, quoted, whole, whole_u32};
use crate::gate::Grade;
use crate::gate::config::{GATES_MAX, GateKind, GatePlan, Misfit, Origin, Pitch, TrackerConfig, Travel};
use crate::gate::wiring::{GateWires, TravelWires, Wiring};

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
            // A station that asks the PLC knows of a trigger once the answer is there.
            round_trip: 2 * (plc.poll + plc.scan) + plc.polled().map_or(Duration::ZERO, |polled| polled.write_max),
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
    modulus: u64,
    interlock: bool,
    lines: Lines,
}

/// `[reject]` with `[[gate]]`; `None` where the PLC moves the gate.
pub(super) fn read(root: &mut Table<'_>, folder: &Path, plc: Option<&PlcConfig>) -> Answer<Option<GateConfig>> {
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
    let most = if belt.lines.is_plc() { 1 } else { GATES_MAX };
    let gates = root.tables("gate", "gate", most, |table| read_gate(table, &belt))?;
    let (names, gates): (Vec<String>, Vec<(GatePlan, Option<GateWires>)>) = gates.into_iter().unzip();
    let (plans, wires): (Vec<GatePlan>, Vec<Option<GateWires>>) = gates.into_iter().unzip();
    // A reading of the PLC is as old as a poll and a scan, an edge of a line hardly at all.
    let late = plc.filter(|_| belt.lines.is_plc()).map_or(EDGE_JITTER, |plc| plc.poll + plc.scan);
    let config = GateConfig {
        tracker: TrackerConfig {
            travel: match belt.lines.travel {
                TravelWires::Running(_) => Travel::Time,
                _ => Travel::Encoder { modulus: belt.modulus },
            },
            top_speed: belt.top_speed,
            slack: 2 + (belt.top_speed as f64 * late.as_secs_f64()).ceil() as i64,
            pitch: belt.pitch,
            gates: plans,
        },
        wiring: Wiring {
            chip: belt.lines.chip,
            output_chip: belt.lines.output_chip,
            travel: belt.lines.travel,
            index: belt.lines.index,
            gates: wires.into_iter().flatten().collect(),
            stop: belt.lines.stop,
            ready: belt.lines.ready,
            debounce: belt.lines.debounce,
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
    let is_plc = table.or("board", false, one_of([("gpio", false), ("plc", true)]))?;
    let lines = if is_plc { lines_of_plc(table) } else { read_lines(table, folder) };
    let mm_per_count = table.optional("mm_per_count", number(1e-4..=1000.0));
    let speed = table.required("top_speed_mm_s", number(1.0..=SPEED_MM_S_MAX));
    let part_length = table.required("part_length_mm", number(0.1..=WAY_MM_MAX));
    let interlock = table.or("infeed_interlock", false, flag);
    let pitch = table.optional("pitch_mm", number(1.0..=WAY_MM_MAX));
    let tolerance = table.optional("tolerance_mm", number(0.1..=WAY_MM_MAX));
    let modulus = read_modulus(table, is_plc);
    let origin = table.optional("origin", whole_u32(0..=u32::MAX));
    let (lines, mm_per_count, speed) = (lines?, mm_per_count?, speed?);
    let mm_per_count = match (lines.travel, mm_per_count) {
        (_, Some(mm)) => mm,
        (TravelWires::Running(_), None) => MM_WITHOUT_ENCODER,
        (..) => {
            return Err(table.refuse(
                "mm_per_count",
                "mm_per_count is missing; give how far the belt goes for one count, millimetres",
            ));
        }
    };
    if speed / mm_per_count > COUNTS_PER_S_MAX && matches!(lines.travel, TravelWires::Quadrature { .. } | TravelWires::Pulse(_)) {
        let rate = (speed / mm_per_count).round();
        let reason = format!(
            "{rate} counts a second at top_speed_mm_s are more than the {COUNTS_PER_S_MAX} that GPIO lines are read at; \
             use an encoder with fewer periods, or one channel of it"
        );
        return Err(table.refuse("mm_per_count", reason));
    }
    let origin = read_origin(table, &lines, origin?);
    let pitch = read_pitch(table, (pitch?, tolerance?), origin?, mm_per_count);
    Ok(Some(Belt {
        mm_per_count,
        top_speed: (speed / mm_per_count).ceil() as u64,
        part_length: counts_up(part_length?, mm_per_count),
        pitch: pitch?,
        modulus: modulus?,
        interlock: interlock?,
        lines,
    }))
}

/// How far the encoder counts.
fn read_modulus(table: &mut Table<'_>, is_plc: bool) -> Answer<u64> {
    if !is_plc && table.has("encoder_modulus") {
        return Err(table.refuse_key(
            "encoder_modulus",
            "edges are counted here, and wrap at 2^32; remove it, or count in the PLC with board = \"plc\"",
        ));
    }
    table.or("encoder_modulus", 1 << 32, whole(2..=1 << 32))
}

/// Where pockets would begin, where that is known.
fn read_origin(table: &Table<'_>, lines: &Lines, origin: Option<u32>) -> Answer<Option<Origin>> {
    match (origin, lines.index) {
        (Some(_), _) if !lines.is_plc() => Err(table.refuse(
            "origin",
            "origin is a reading of the PLC's encoder; remove it, or count in the PLC with board = \"plc\"",
        )),
        (Some(reading), _) => Ok(Some(Origin::Reading(reading))),
        (None, Some(_)) => Ok(Some(Origin::Index)),
        (None, None) => Ok(None),
    }
}

fn read_pitch(table: &Table<'_>, given: (Option<f64>, Option<f64>), origin: Option<Origin>, mm_per_count: f64) -> Answer<Pitch> {
    match given {
        (None, Some(tolerance)) => {
            let key = match origin {
                Some(Origin::Index) => "index",
                _ => "origin",
            };
            if origin.is_some() {
                let reason = format!("{key} is for pockets; remove it, or give pitch_mm in place of tolerance_mm");
                return Err(table.refuse(key, reason));
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
            let Some(origin) = origin else {
                let reason = "where pockets begin is not known; give index, a signal with an edge when a pocket begins at the trigger";
                return Err(table.refuse("pitch_mm", reason));
            };
            Ok(Pitch::Even {
                counts: counts.round() as i64,
                origin,
            })
        }
        _ => Err(table.refuse(
            "tolerance_mm",
            "give pitch_mm for a belt with pockets, or tolerance_mm for parts that lie anywhere; one of them",
        )),
    }
}

fn read_gate(table: &mut Table<'_>, belt: &Belt) -> Answer<(String, (GatePlan, Option<GateWires>))> {
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
    let wires = read_gate_wires(table, belt);
    let sensor_mm = table.required("sensor_mm", number(0.1..=WAY_MM_MAX));
    let gate_mm = table.required("gate_mm", number(0.1..=WAY_MM_MAX));
    let actuation = table.required("actuation_ms", millis(0..=10_000));
    let margin = table.or("margin_mm", 5.0, number(0.1..=1000.0));
    let confirm_mm = table.optional("confirm_mm", number(0.1..=WAY_MM_MAX));
    let open_max = table.or("open_ms_max", Duration::from_secs(2), millis(10..=600_000));
    let (kind, wires, confirm_mm) = (kind?, wires?, confirm_mm?);
    if kind == GateKind::EnergiseToReject && belt.lines.is_plc() {
        let reason = "GateFireCycleId names a part that may pass: over the PLC's registers a gate is energised to pass; use kind = \"energise_to_pass\"";
        return Err(table.refuse("kind", reason));
    }
    if kind == GateKind::EnergiseToReject && !belt.interlock {
        let reason = "a gate that passes without power needs an infeed that stops on StopRequest and on a lost heartbeat: wire it, and say so with \
                      infeed_interlock = true in [reject]; or use kind = \"energise_to_pass\"";
        return Err(table.refuse("kind", reason));
    }
    let is_confirmed = match &wires {
        Some(wires) => wires.confirm.is_some(),
        None => confirm_mm.is_some(),
    };
    match (is_confirmed, confirm_mm) {
        (true, None) => {
            return Err(table.refuse(
                "confirm",
                "confirm_mm is missing; give how far behind the gate an ejection is confirmed at the latest",
            ));
        }
        (false, Some(_)) => return Err(table.refuse("confirm_mm", "nothing confirms an ejection; give confirm, or remove confirm_mm")),
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
    let off_rejects = kind == GateKind::EnergiseToPass;
    let wires = wires.map(|wires| GateWires { off_rejects, ..wires });
    Ok((name?, (plan, wires)))
}

/// The lines of a gate; `None`: the PLC has them. Which state of the output rejects is not known here.
fn read_gate_wires(table: &mut Table<'_>, belt: &Belt) -> Answer<Option<GateWires>> {
    if belt.lines.is_plc() {
        return no_lines(table, &["sensor", "output", "confirm"]).map(|()| None);
    }
    let sensor = table.required("sensor", wire);
    let output = table.required("output", wire);
    let confirm = table.optional("confirm", wire);
    Ok(Some(GateWires {
        sensor: sensor?,
        output: output?,
        confirm: confirm?,
        off_rejects: true,
    }))
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
                "pockets do not go into encoder_modulus: after it wraps they would begin elsewhere; give a modulus of whole pockets"
                    .to_owned(),
            ),
        };
        answer = Err(root.refuse_at(&place, &what, reason));
    }
    answer
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
    if gate.wiring.travel == TravelWires::Plc {
        check_over_plc(root, gate, plc);
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

/// Over the PLC's registers readings are old, and so is what the PLC is told.
fn check_over_plc(root: &Table<'_>, gate: &GateConfig, plc: &PlcConfig) {
    if !matches!(plc.cycle_source, CycleSource::Modbus { .. }) {
        let reason = "the registers of the gate, holding 34 to 39, are written by a PLC that is a Modbus client: \
                      set cycle_source = \"modbus\" and role = \"server\" in [plc], or use GPIO lines";
        root.refuse_at("reject.board", "[reject]", reason);
    }
    let Some(plan) = gate.tracker.gates.first() else { return };
    let goes = (gate.tracker.top_speed as f64 * (plc.poll + plc.scan).as_secs_f64()).ceil() as i64;
    let mm = counts_to_mm(gate, goes);
    if plan.lead < goes {
        let reason = format!(
            "GateFireCycleId reaches the PLC up to poll_ms + scan_ms later, and the belt goes {mm:.1} mm meanwhile: give an actuation_ms that holds both, \
             at least {} ms and the time of the gate itself",
            ms(plc.poll + plc.scan)
        );
        root.refuse_at("gate.0.actuation_ms", &gate_name(gate, 0), reason);
    }
    if plan.margin / 2 < goes {
        let reason = format!(
            "the belt goes {mm:.1} mm from one reading of EncoderNow to the next, and half of margin_mm is kept for that; give at least {:.1}",
            2.0 * mm
        );
        root.refuse_at("gate.0.margin_mm", &gate_name(gate, 0), reason);
    }
}

fn counts_to_mm(gate: &GateConfig, counts: i64) -> f64 {
    counts as f64 * gate.mm_per_count
}
