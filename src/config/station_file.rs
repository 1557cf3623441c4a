//! `station.toml`, table by table: each is read by itself, whatever is wrong with the others; then what could be read is held together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::consistency;
use super::reader::{Answer, Document, Table};
use super::station::{
    CameraClock, CameraConfig, CameraSource, EngineConfig, InspectionConfig, ModelCheck, PlcConfig, RecipeConfig, ResultConfig, StampPlace,
    StationConfig, TimingConfig, TriggerConfig, is_loopback,
};
use super::timing::ms;
use super::value::{
    addresses, description, flag, millis, name, number, one_of, only, path, place_of, socket, title, whole, whole_u16, whole_u32,
};
use crate::line::config::{ResultMode, TriggerSource};
use crate::part::Region;
use crate::vision::{EngineOptions, Provider};

/// Most cameras of a station.
const CAMERAS_MAX: usize = 16;

/// Most inspections of a recipe.
const INSPECTIONS_MAX: usize = 32;

/// Most addresses that may write.
const WRITERS_MAX: usize = 16;

/// Longest time that any key gives: ten minutes.
const MILLIS_MAX: u64 = 600_000;

/// Highest coordinate and length in a frame, pixels.
const SIDE_PX_MAX: u32 = 65_535;

/// Where frames of cameras that are not wired to a sensor belong to a part, unless said otherwise.
const FRAME_WINDOW: Duration = Duration::from_millis(100);

pub(super) fn read(root: &mut Table<'_>, document: &Document, model_check: ModelCheck<'_>) -> Answer<StationConfig> {
    let folder = document.file().parent().unwrap_or(Path::new(""));
    let station = root.table("station", |table| read_station(table, folder));
    let plc = root.table("plc", |table| read_plc(table));
    let trigger = root.table("trigger", |table| read_trigger(table));
    let result = root.table_or_defaults("result", read_result);
    let timing = root.table("timing", |table| read_timing(table));
    let sequential = root.table_or_defaults("cycle_id", |table| table.or("sequential", true, flag));
    let cameras = root.tables("camera", "camera", CAMERAS_MAX, |table| read_camera(table, folder));
    let names = root.names_of("camera");
    let recipe = root.table("recipe", |table| read_recipe(table, folder, &names, model_check));
    let engine = root.table_or_defaults("engine", read_engine);
    let metrics = root.optional_table("metrics", |table| read_listen(table, "metrics are not encrypted"));

    if let (Ok(plc), Ok(timing)) = (&plc, &timing) {
        consistency::check_gate(root, plc, timing);
        if let (Ok(trigger), Ok(result)) = (&trigger, &result) {
            consistency::check_slots(root, plc, trigger, result, timing);
        }
    }
    if let (Ok(trigger), Ok(cameras)) = (&trigger, &cameras) {
        consistency::check_exposures(root, trigger, cameras);
    }
    if let (Ok(cameras), Ok(recipe)) = (&cameras, &recipe) {
        consistency::check_views(root, cameras, recipe);
    }
    if let (Ok(plc), Ok(Some(metrics))) = (&plc, &metrics) {
        consistency::check_addresses(root, plc, *metrics);
    }

    let (id, state_directory, runtime_directory) = station?;
    Ok(StationConfig {
        document: document.clone(),
        id,
        state_directory,
        runtime_directory,
        plc: plc?,
        trigger: trigger?,
        result: result?,
        timing: timing?,
        sequential: sequential?,
        cameras: cameras?,
        recipe: recipe?,
        engine: engine?,
        metrics: metrics?,
    })
}

fn read_station(table: &mut Table<'_>, folder: &Path) -> Answer<(String, PathBuf, PathBuf)> {
    let id = table.required("id", name);
    let state_directory = table.required("state_directory", path(folder));
    let runtime_directory = table.required("runtime_directory", path(folder));
    Ok((id?, state_directory?, runtime_directory?))
}

fn read_plc(table: &mut Table<'_>) -> Answer<PlcConfig> {
    let cycle_source = table.or("cycle_source", (), only("modbus", &["s7", "opcua", "ethernet_ip", "grpc"]));
    let role = table.or("role", (), only("server", &["client"]));
    let listen = read_listen(table, "Modbus cannot be secured");
    let writers = table.required("writers", addresses(WRITERS_MAX));
    let poll = table.or("poll_ms", Duration::from_millis(10), millis(5..=1000));
    let scan = table.required("scan_ms", millis(1..=1000));
    let heartbeat_timeout = table.or("heartbeat_timeout_ms", Duration::from_secs(1), millis(300..=10_000));
    let torn = table.or("torn_ms", Duration::from_millis(200), millis(1..=10_000));
    let trigger_grace = table.optional("trigger_grace_ms", millis(0..=10_000));
    if let (Ok(poll), Ok(scan), Ok(timeout)) = (poll, scan, heartbeat_timeout) {
        let least = 3 * (poll + scan);
        if timeout < least {
            let (timeout, least) = (ms(timeout), ms(least));
            let reason = format!(
                "heartbeat_timeout_ms {timeout} is shorter than 3 x (poll_ms + scan_ms), and a PLC that is well would be lost; give at least {least}"
            );
            table.refuse("heartbeat_timeout_ms", reason);
        }
    }
    cycle_source?;
    role?;
    Ok(PlcConfig {
        listen: listen?,
        writers: writers?,
        poll: poll?,
        scan: scan?,
        heartbeat_timeout: heartbeat_timeout?,
        torn: torn?,
        trigger_grace: trigger_grace?.unwrap_or(2 * poll?),
    })
}

/// An address to listen on. One that other machines reach must be wanted: what is said there is not secured, as `why` says.
fn read_listen(table: &mut Table<'_>, why: &str) -> Answer<SocketAddr> {
    let listen = table.required("listen", socket);
    let insecure = table.or("insecure", false, flag);
    let (listen, insecure) = (listen?, insecure?);
    if is_loopback(listen) || insecure {
        return Ok(listen);
    }
    let reason = format!("{why}, and other machines reach {listen}; listen on 127.0.0.1, or accept it with insecure = true");
    Err(table.refuse("listen", reason))
}

fn read_trigger(table: &mut Table<'_>) -> Answer<TriggerConfig> {
    #[derive(Clone, Copy)]
    enum Source {
        Plc,
        Hardware,
        FreeRun,
    }
    let source = table.required(
        "source",
        one_of([("plc", Source::Plc), ("hardware", Source::Hardware), ("free_run", Source::FreeRun)]),
    );
    let interval = table.required("part_interval_ms_min", millis(1..=MILLIS_MAX));
    let arm_window = table.optional("arm_window_ms", millis(1..=10_000));
    let frame_window = table.optional("frame_window_ms", millis(1..=10_000));
    let (source, part_interval_min, frame_window) = (source?, interval?, frame_window?);
    let source = match (source, arm_window?) {
        (Source::Plc, None) => TriggerSource::Plc {
            frame_window: frame_window.unwrap_or(FRAME_WINDOW),
        },
        (Source::FreeRun, None) => TriggerSource::FreeRun {
            frame_window: frame_window.unwrap_or(FRAME_WINDOW),
        },
        (Source::Plc | Source::FreeRun, Some(_)) => {
            return Err(table.refuse("arm_window_ms", "arm_window_ms is for the source \"hardware\"; remove it"));
        }
        (Source::Hardware, None) => {
            let reason = "arm_window_ms is missing; give the longest time from the trigger to the exposure";
            return Err(table.refuse("arm_window_ms", reason));
        }
        (Source::Hardware, Some(arm_window)) => TriggerSource::Hardware {
            arm_window: check_arm_window(table, arm_window, part_interval_min)?,
        },
    };
    if matches!(source, TriggerSource::Hardware { .. }) && frame_window.is_some() {
        let reason = "frame_window_ms is for the sources \"plc\" and \"free_run\"; remove it";
        table.refuse("frame_window_ms", reason);
    }
    Ok(TriggerConfig { source, part_interval_min })
}

/// Two parts never lie in one window.
fn check_arm_window(table: &Table<'_>, arm_window: Duration, part_interval_min: Duration) -> Answer<Duration> {
    if arm_window < part_interval_min {
        return Ok(arm_window);
    }
    let (window, interval) = (ms(arm_window), ms(part_interval_min));
    let reason = format!(
        "arm_window_ms {window} is not shorter than part_interval_ms_min {interval}, and two parts could lie in one window; shorten it"
    );
    Err(table.refuse("arm_window_ms", reason))
}

fn read_result(table: &mut Table<'_>) -> Answer<ResultConfig> {
    let modes = [("single", ResultMode::Single), ("window", ResultMode::Window)];
    let mode = table.or("mode", ResultMode::Single, one_of(modes));
    let accept_hold = table.or("accept_hold_ms", Duration::from_secs(1), millis(1..=60_000));
    Ok(ResultConfig {
        mode: mode?,
        accept_hold: accept_hold?,
    })
}

fn read_timing(table: &mut Table<'_>) -> Answer<TimingConfig> {
    let deadline = table.required("deadline_ms", millis(1..=60_000));
    let trigger_to_gate = table.required("trigger_to_gate_ms", millis(1..=MILLIS_MAX));
    let gate_actuation = table.required("gate_actuation_ms", millis(0..=60_000));
    let margin = table.or("margin_ms", Duration::from_millis(10), millis(0..=60_000));
    Ok(TimingConfig {
        deadline: deadline?,
        trigger_to_gate: trigger_to_gate?,
        gate_actuation: gate_actuation?,
        margin: margin?,
    })
}

fn read_camera(table: &mut Table<'_>, folder: &Path) -> Answer<CameraConfig> {
    let name = table.required("name", name);
    let source = read_camera_source(table, folder);
    let stamp = table.inline("stamp", |table| {
        let x = table.required("x", whole_u32(0..=SIDE_PX_MAX));
        let y = table.required("y", whole_u32(0..=SIDE_PX_MAX));
        let cell_px = table.required("cell_px", whole_u32(1..=64));
        Ok(StampPlace {
            x: x?,
            y: y?,
            cell_px: cell_px?,
        })
    });
    Ok(CameraConfig {
        name: name?,
        source: source?,
        stamp: stamp?,
    })
}

fn read_camera_source(table: &mut Table<'_>, folder: &Path) -> Answer<CameraSource> {
    let clocks = [
        ("pipeline", CameraClock::Pipeline),
        ("monotonic", CameraClock::Monotonic),
        ("arrival", CameraClock::Arrival),
    ];
    let description = table.optional("source", description);
    let images = table.optional("folder", path(folder));
    let clock = table.or("clock", CameraClock::Pipeline, one_of(clocks));
    let frames_held_max = table.or("frames_held_max", 8, whole(1..=64));
    let (description, images, clock, frames_held_max) = (description?, images?, clock?, frames_held_max?);
    match (description, images) {
        (Some(description), None) => Ok(CameraSource::Pipeline {
            description,
            clock,
            frames_held_max: frames_held_max as usize,
        }),
        (None, Some(images)) => {
            for key in ["clock", "frames_held_max"].into_iter().filter(|key| table.has(key)) {
                table.refuse(key, format!("{key} is for cameras with a source, not for a folder; remove it"));
            }
            Ok(CameraSource::Folder(images))
        }
        (Some(_), Some(_)) => Err(table.refuse("folder", "it has both a source and a folder; keep one")),
        (None, None) => Err(table.refuse(
            "source",
            "source is missing; give the description of a GStreamer source, or a folder of images",
        )),
    }
}

fn read_recipe(table: &mut Table<'_>, folder: &Path, cameras: &[&str], model_check: ModelCheck<'_>) -> Answer<RecipeConfig> {
    let number = table.required("number", whole_u16());
    let name = table.required("name", title);
    let inspections = table.tables("inspection", "inspection", INSPECTIONS_MAX, |table| {
        read_inspection(table, folder, cameras, model_check)
    });
    Ok(RecipeConfig {
        number: number?,
        name: name?,
        inspections: inspections?,
    })
}

fn read_inspection(table: &mut Table<'_>, folder: &Path, cameras: &[&str], model_check: ModelCheck<'_>) -> Answer<InspectionConfig> {
    let name = table.required("name", name);
    let camera = table.required("camera", place_of("a camera", cameras));
    let model = table.required("model", path(folder));
    if let Err(reason) = model.as_ref().map_or(Ok(()), |model| model_check(model)) {
        table.refuse("model", reason);
    }
    let region = table.inline("region", |table| {
        let x = table.required("x", whole_u32(0..=SIDE_PX_MAX));
        let y = table.required("y", whole_u32(0..=SIDE_PX_MAX));
        let width = table.required("width", whole_u32(1..=SIDE_PX_MAX));
        let height = table.required("height", whole_u32(1..=SIDE_PX_MAX));
        Ok(Region {
            x: x?,
            y: y?,
            width: width?,
            height: height?,
        })
    });
    let threshold = table.optional("threshold", number(0.0..=1e30));
    let min_area_px = table.optional("min_area_px", whole_u32(1..=u32::MAX));
    let defect_code = table.or("defect_code", 1, whole_u16());
    Ok(InspectionConfig {
        name: name?,
        camera: camera?,
        model: model?,
        region: region?,
        threshold: threshold?.map(|threshold| threshold as f32),
        min_area_px: min_area_px?,
        defect_code: defect_code?,
    })
}

fn read_engine(table: &mut Table<'_>) -> Answer<EngineConfig> {
    let providers = [Provider::Cpu, Provider::Cuda, Provider::TensorRt].map(|provider| (provider.name(), provider));
    let provider = table.or("provider", Provider::Cpu, one_of(providers));
    let threads = table.or("threads", 1, whole(0..=256));
    let workers = table.or("workers", 1, whole(1..=16));
    Ok(EngineConfig {
        options: EngineOptions {
            provider: provider?,
            threads: threads? as usize,
        },
        workers: workers? as usize,
    })
}
