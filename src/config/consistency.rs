//! What must fit together between the tables of a station. Each check stands alone and is made as soon as the tables it compares could be read.

use std::net::SocketAddr;

use super::reader::Table;
use super::recipe_file::place_of_recipe;
use super::station::{
    CameraClock, CameraConfig, CameraSource, CycleSource, DeviceSettings, InspectionConfig, PlcConfig, RecipeConfig, ResultConfig,
    TimingConfig, TriggerConfig, gate_timing, pace,
};
use super::timing::ms;
use super::value::quoted;
use crate::line::config::{ResultMode, TriggerSource};
use crate::part::Region;
use crate::recipe::area::Outline;

/// The verdict is at the gate before the part.
pub(super) fn check_gate(root: &Table<'_>, plc: &PlcConfig, timing: &TimingConfig) {
    let timing = gate_timing(plc, timing);
    if timing.slack().is_some() {
        return;
    }
    let terms = timing.terms().map(|term| format!("{} {}", term.name, ms(term.time))).join(" + ");
    let (given, needed) = (ms(timing.trigger_to_gate), ms(timing.needed()));
    let reason = format!(
        "trigger_to_gate_ms {given} is shorter than {terms} = {needed}: parts would pass the gate before their verdict; \
         give at least {needed}, or shorten a term"
    );
    root.refuse_at("timing.trigger_to_gate_ms", "[timing]", reason);
}

/// What a station that polls its PLC reads and writes there is apart, and a result can be there in time.
pub(super) fn check_polled(root: &Table<'_>, plc: &PlcConfig, result: &ResultConfig, has_tags: bool) {
    let Some(polled) = plc.polled() else { return };
    let layout = polled.layout(result.mode, has_tags);
    let (read, write) = layout.extents();
    if read.start < write.end && write.start < read.end {
        let reason = format!(
            "write_base {} leaves no room: the station reads holding registers {} to {} and writes {} to {}; set them apart",
            polled.write_base,
            read.start,
            read.end - 1,
            write.start,
            write.end - 1
        );
        root.refuse_at("plc.write_base", "[plc]", reason);
    }
    for (key, extent) in [("read_base", read), ("write_base", write)] {
        if extent.end > 1 << 16 {
            let reason = format!(
                "{key} {} is too high: registers end at 65535, and {} are needed",
                extent.start,
                extent.end - extent.start
            );
            root.refuse_at(&format!("plc.{key}"), "[plc]", reason);
        }
    }
}

/// A result can be written to the PLC before it is due.
pub(super) fn check_write(root: &Table<'_>, plc: &PlcConfig, timing: &TimingConfig) {
    let Some(polled) = plc.polled().filter(|polled| polled.write_max >= timing.deadline) else {
        return;
    };
    let (write, deadline) = (ms(polled.write_max), ms(timing.deadline));
    let reason = format!(
        "plc_write_ms_max {write} is not shorter than deadline_ms {deadline}, and no Ok could ever be sent; allow more time, or less for a write"
    );
    root.refuse_at("plc.plc_write_ms_max", "[plc]", reason);
}

/// In window mode a slot is free for every part.
pub(super) fn check_slots(root: &Table<'_>, plc: &PlcConfig, trigger: &TriggerConfig, result: &ResultConfig, timing: &TimingConfig) {
    let pace = pace(plc, trigger, result, timing);
    let limit = pace.result_limit();
    if result.mode != ResultMode::Window || limit.interval <= pace.part_interval_min {
        return;
    }
    let (given, needed) = (pace.part_interval_min.as_millis(), limit.interval.as_nanos().div_ceil(1_000_000));
    let held = ms(pace.outcome + pace.accept_hold);
    let remedy = match pace.accept_hold_max().map(|hold| hold.as_millis()) {
        Some(hold @ 1..) => format!("or accept_hold_ms at most {hold}"),
        _ => "or shorten deadline_ms".into(),
    };
    let reason = format!(
        "part_interval_ms_min {given} is too short for {}, each for up to {held} ms until its deadline and through accept_hold_ms; \
         give at least {needed}, {remedy}",
        limit.meaning
    );
    root.refuse_at("trigger.part_interval_ms_min", "[trigger]", reason);
}

/// Every camera's frames can be told which part they show.
pub(super) fn check_exposures(root: &Table<'_>, trigger: &TriggerConfig, cameras: &[CameraConfig]) {
    for (index, camera) in cameras.iter().enumerate() {
        match (&camera.source, trigger.source) {
            (CameraSource::Folder(_), TriggerSource::Hardware { .. } | TriggerSource::FreeRun { .. }) => {
                let reason = "a folder gives an image when the PLC triggers; set source = \"plc\" in [trigger], or use a camera";
                root.refuse_at(&format!("camera.{index}.folder"), &camera_name(camera), reason);
            }
            (
                CameraSource::Pipeline {
                    clock: CameraClock::Arrival,
                    ..
                }
                | CameraSource::Device(DeviceSettings {
                    clock: CameraClock::Arrival,
                    ..
                }),
                TriggerSource::Hardware { .. },
            ) => {
                let reason = "clock \"arrival\" tells no time of exposure, which a hardware trigger needs; give \"monotonic\", or \"pipeline\" for a source";
                root.refuse_at(&format!("camera.{index}.clock"), &camera_name(camera), reason);
            }
            _ => {}
        }
    }
}

/// Every camera is looked through; and each inspection looks at what its camera shows, measures what can be measured, and sees no stamp: the
/// number in it would be taken for a defect.
pub(super) fn check_views(root: &Table<'_>, cameras: &[CameraConfig], recipes: &[RecipeConfig]) {
    let inspections = || recipes.iter().flat_map(|recipe| &recipe.inspections);
    for (index, camera) in cameras.iter().enumerate() {
        if inspections().all(|inspection| inspection.camera != index) {
            let reason = "no inspection looks through it; add one, or remove the camera";
            root.refuse_at(&format!("camera.{index}"), &camera_name(camera), reason);
        }
    }
    for (index, recipe) in recipes.iter().enumerate() {
        let place = place_of_recipe(root, index);
        for (index, inspection) in recipe.inspections.iter().enumerate() {
            if let Some(camera) = cameras.get(inspection.camera) {
                check_view(root, &format!("{place}.inspection.{index}"), inspection, camera);
            }
        }
    }
}

fn check_view(root: &Table<'_>, place: &str, inspection: &InspectionConfig, camera: &CameraConfig) {
    let what = format!("inspection {}", quoted(&inspection.name));
    let key = if matches!(inspection.rules.area.outline, Outline::Polygon(_)) {
        "polygon"
    } else {
        "region"
    };
    for reason in [stamp_in_view(camera, inspection), outside_of_view(camera, inspection)]
        .into_iter()
        .flatten()
    {
        root.refuse_at(&format!("{place}.{key}"), &what, reason);
    }
    let unmeasured = inspection
        .rules
        .criteria
        .iter()
        .enumerate()
        .filter(|(_, criterion)| criterion.needs_scale());
    for (index, _) in unmeasured.filter(|_| camera.scale.is_none()) {
        let camera = quoted(&camera.name);
        let reason = format!(
            "criterion {} asks for millimetres, but camera {camera} has no scale; give it mm_per_px or a calibration",
            index + 1
        );
        root.refuse_at(&format!("{place}.criterion.{index}"), &what, reason);
    }
}

fn stamp_in_view(camera: &CameraConfig, inspection: &InspectionConfig) -> Option<String> {
    let stamp = camera.stamp?.region();
    let camera = quoted(&camera.name);
    match inspection.rules.area.region() {
        None => Some(format!(
            "it looks at the whole frame, and so at the stamp of camera {camera}; give it a region without the stamp"
        )),
        Some(region) if overlap(region, stamp) => {
            let Region { x, y, width, height } = stamp;
            Some(format!(
                "its region covers the stamp of camera {camera} (x {x}, y {y}, {width}x{height} px); move one of them"
            ))
        }
        Some(_) => None,
    }
}

/// Of a camera whose frames have a size that is known.
fn outside_of_view(camera: &CameraConfig, inspection: &InspectionConfig) -> Option<String> {
    let CameraSource::Device(DeviceSettings { width, height, .. }) = camera.source else {
        return None;
    };
    let is_outside = inspection
        .rules
        .area
        .region()
        .is_some_and(|region| !region.is_within(width, height));
    is_outside.then(|| {
        format!(
            "it lies outside of the {width}x{height} pixels of camera {}; move it",
            quoted(&camera.name)
        )
    })
}

fn overlap(a: Region, b: Region) -> bool {
    let meet = |a: u32, a_length: u32, b: u32, b_length: u32| a < b.saturating_add(b_length) && b < a.saturating_add(a_length);
    meet(a.x, a.width, b.x, b.width) && meet(a.y, a.height, b.y, b.height)
}

/// Two listeners do not want one address. Port 0 is any free one.
pub(super) fn check_addresses(root: &Table<'_>, plc: &PlcConfig, metrics: SocketAddr) {
    if plc.listen() == Some(metrics) && metrics.port() != 0 {
        root.refuse_at(
            "metrics.listen",
            "[metrics]",
            format!("the PLC connects to {metrics} already; give another port"),
        );
    }
}

fn camera_name(camera: &CameraConfig) -> String {
    format!("camera {}", quoted(&camera.name))
}

/// Line controllers that give cycles need an address to give them to.
pub(super) fn check_controllers(root: &Table<'_>, plc: &PlcConfig, are_served: bool) {
    if plc.cycle_source == CycleSource::Grpc && !are_served {
        root.refuse_at(
            "plc.cycle_source",
            "[plc]",
            "cycles come by gRPC, but there is no [grpc] table; add one with listen",
        );
    }
}
