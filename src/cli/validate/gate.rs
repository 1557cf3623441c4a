//! The arithmetic of a gate that the station moves itself, as people and programs read it.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::table::table;
use crate::config::StationConfig;
use crate::config::gate_timing::GateFit;
use crate::config::station::GateConfig;
use crate::config::timing::ms;

fn fit(config: &StationConfig) -> Option<(&GateConfig, GateFit)> {
    let gate = config.gate.as_ref()?;
    Some((gate, gate.fit(&config.plc, &config.trigger, &config.timing)))
}

/// A gate along the belt, in millimetres.
struct Place<'a> {
    name: &'a str,
    sensor_mm: f64,
    gate_mm: f64,
    /// How far before a part it begins to act.
    reach_mm: f64,
    /// How far the sensor must be before it.
    approach_mm_min: f64,
}

fn places(gate: &GateConfig) -> impl Iterator<Item = Place<'_>> {
    let mm = |counts: i64| counts as f64 * gate.mm_per_count;
    gate.names.iter().zip(&gate.tracker.gates).map(move |(name, plan)| Place {
        name,
        sensor_mm: mm(plan.sensor),
        gate_mm: mm(plan.gate),
        reach_mm: mm(plan.reach()),
        approach_mm_min: mm(plan.approach_min(&gate.tracker.pitch)),
    })
}

fn millimetres(mm: f64) -> String {
    format!("{mm:.1} mm")
}

/// The table of the gate, empty where the PLC moves it.
pub(super) fn report(config: &StationConfig) -> String {
    let Some((gate, fit)) = fit(config) else { return String::new() };
    let row = |what: String, is: String, must: String, why: String| vec![what, is, must, why];
    let time = |time: Duration| format!("{} ms", ms(time));
    let (goes, may_go) = fit.round_trip_mm();
    let (apart, apart_min) = fit.spacing_mm();
    let (there, needed) = fit.verdict();
    let mut rows = vec![
        row(
            "belt within a round trip to the PLC".into(),
            millimetres(goes),
            format!("at most {}", millimetres(may_go)),
            format!(
                "{:.0} mm/s for 2 x (poll + scan); a quarter of the window of {}",
                fit.top_speed_mm_s,
                millimetres(fit.window_mm)
            ),
        ),
        row(
            "from part to part".into(),
            millimetres(apart),
            format!("at least {}", millimetres(apart_min)),
            format!(
                "part_interval_ms_min at top speed; part {} + reach {}, and the window",
                millimetres(fit.part_length_mm),
                millimetres(fit.reach_mm)
            ),
        ),
    ];
    for place in places(gate) {
        rows.push(row(
            format!("from the sensor to gate \"{}\"", place.name),
            millimetres(place.gate_mm - place.sensor_mm),
            format!("at least {}", millimetres(place.approach_mm_min)),
            format!("part + 2 x reach {}, and window + reach", millimetres(place.reach_mm)),
        ));
    }
    rows.push(row(
        "latest outcome, after the trigger".into(),
        time(needed),
        format!("at most {}", time(there)),
        "half a round trip + outcome + margin_ms; the first gate begins to act".into(),
    ));
    let rule = table(&["the station's own gate", "is", "must be", "in which"], rows);
    format!("\n{rule}{}\n", encoder(gate))
}

/// What the encoder asks of the machine.
fn encoder(gate: &GateConfig) -> String {
    let (counts, mm) = (gate.tracker.top_speed, gate.mm_per_count);
    format!("{counts} counts a second at top speed, {mm} mm each.")
}

/// The same as programs read it; null where the PLC moves the gate.
pub(super) fn record(config: &StationConfig) -> Value {
    let Some((gate, fit)) = fit(config) else { return Value::Null };
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (round_trip_mm, round_trip_mm_max) = fit.round_trip_mm();
    let (spacing_mm, spacing_mm_min) = fit.spacing_mm();
    let (there, needed) = fit.verdict();
    let gates = places(gate).map(|place| {
        json!({
            "name": place.name,
            "sensor_mm": place.sensor_mm,
            "gate_mm": place.gate_mm,
            "reach_mm": place.reach_mm,
            "sensor_to_gate_mm": place.gate_mm - place.sensor_mm,
            "sensor_to_gate_mm_min": place.approach_mm_min,
        })
    });
    json!({
        "top_speed_mm_s": fit.top_speed_mm_s,
        "counts_per_s_max": gate.tracker.top_speed,
        "mm_per_count": gate.mm_per_count,
        "window_mm": fit.window_mm,
        "round_trip_mm": round_trip_mm,
        "round_trip_mm_max": round_trip_mm_max,
        "spacing_mm": spacing_mm,
        "spacing_mm_min": spacing_mm_min,
        "outcome_ms": ms(needed),
        "outcome_ms_max": ms(there),
        "gates": gates.collect::<Vec<_>>(),
    })
}
