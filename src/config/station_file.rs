//! `station.toml`, table by table: each is read by itself, whatever is wrong with the others; then what could be read is held together.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::consistency;
use super::gate_file;
use super::locator;
use super::models;
use super::reader::{Answer, Document, Table};
use super::recipe_file::{self, Context};
use super::record_file;
use super::station::{
    CameraClock, CameraConfig, CameraSource, CycleSource, DeviceSettings, EngineConfig, JournalConfig, ModelCheck, PlcConfig, PolledPlc,
    ResultConfig, StampPlace, StationConfig, TimingConfig, TriggerConfig, is_loopback, reads_tags,
};
use super::timing::ms;
use super::value::{also, controls, description, flag, log_filter, machine, millis, name, number, one_of, path, socket, whole, whole_u32};
use crate::capture::PixelFormat;
use crate::line::config::{ResultMode, SerialMode, TriggerSource};
use crate::model::manifest::sha256_hex;
use crate::part::Region;
use crate::recipe::measure::{MM_PER_PX, Scale};
use crate::vision::calibration::file::Record;
use crate::vision::providers::ProviderOrder;
use crate::vision::{EngineOptions, Provider};

/// Most cameras of a station.
const CAMERAS_MAX: usize = 16;

/// Most addresses that may write.
const WRITERS_MAX: usize = 16;

/// Longest time that any key gives: ten minutes.
const MILLIS_MAX: u64 = 600_000;

/// Highest coordinate and length in a frame, pixels.
pub(super) const SIDE_PX_MAX: u32 = 65_535;

/// Most frames a second that a device is asked for.
const FRAME_RATE_HZ_MAX: u32 = 10_000;

/// Buffers of a camera that takt may hold, unless said otherwise.
const FRAMES_HELD: u64 = 8;

/// Most buffers of a camera that takt may hold. A driver may have fewer.
const FRAMES_HELD_MAX: u64 = 64;

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
    let serial = root.table_or_defaults("serial", read_serial);
    let cameras = root.tables("camera", "camera", CAMERAS_MAX, |table| read_camera(table, folder));
    let names = root.names_of("camera");
    let locators = locator::read_all(root, folder, &names);
    let context = Context {
        folder,
        cameras: &names,
        locators: &root.names_of(locator::TABLES),
        model_check,
    };
    let recipes = recipe_file::read_recipes(root, &context);
    let engine = root.table_or_defaults("engine", read_engine);
    let models = root.table_or_defaults("models", |table| models::read(table, folder));
    let metrics = root.optional_table("metrics", |table| read_listen(table, "metrics are not encrypted"));
    let log_filter = root.table_or_defaults("log", |table| table.optional("filter", log_filter));
    let journal = root.table_or_defaults("journal", |table| record_file::read_journal(table, folder));
    let historian = root.optional_table("historian", |table| record_file::read_historian(table, folder));
    let grpc = root.optional_table("grpc", |table| record_file::read_grpc(table, folder));
    let tags = if root.has(record_file::TAGS.0) {
        root.tables(record_file::TAGS.0, "tag", record_file::TAGS.1, record_file::read_tag)
    } else {
        Ok(Vec::new())
    };

    let gate = gate_file::read(root, folder);
    let alarms = root.table_or_defaults("alarms", gate_file::read_alarms);
    if let (Ok(Some(gate)), Ok(plc), Ok(trigger), Ok(timing)) = (&gate, &plc, &trigger, &timing) {
        gate_file::check(root, gate, plc, trigger, timing);
    }

    if let (Ok(plc), Ok(timing)) = (&plc, &timing) {
        consistency::check_gate(root, plc, timing);
        consistency::check_write(root, plc, timing);
        if let (Ok(trigger), Ok(result)) = (&trigger, &result) {
            consistency::check_slots(root, plc, trigger, result, timing);
        }
    }
    if let (Ok(plc), Ok(result), Ok(tags)) = (&plc, &result, &tags) {
        consistency::check_polled(root, plc, result, reads_tags(tags));
    }
    if let (Ok(trigger), Ok(cameras)) = (&trigger, &cameras) {
        consistency::check_exposures(root, trigger, cameras);
    }
    if let (Ok(cameras), Ok(recipes)) = (&cameras, &recipes) {
        consistency::check_views(root, cameras, recipes);
        if let Ok(locators) = &locators {
            locator::check(root, locators, recipes);
        }
    }
    if let (Ok(plc), Ok(Some(metrics))) = (&plc, &metrics) {
        consistency::check_addresses(root, plc, *metrics);
    }
    if let (Ok(plc), Ok(grpc)) = (&plc, &grpc) {
        consistency::check_controllers(root, plc, grpc.is_some());
    }

    let (cameras, mut recipes) = (cameras?, recipes?);
    for inspection in recipes.iter_mut().flat_map(|recipe| &mut recipe.inspections) {
        inspection.rules.scale = cameras.get(inspection.camera).and_then(|camera| camera.scale);
    }
    let (id, state_directory, runtime_directory, simulated) = station?;
    let (directory, journal) = journal?;
    Ok(StationConfig {
        journal: JournalConfig {
            directory: directory.unwrap_or_else(|| state_directory.join("journal")),
            ..journal
        },
        historian: historian?,
        grpc: grpc?,
        tags: tags?,
        gate: gate?,
        alarms: alarms?,
        document: document.clone(),
        id,
        state_directory,
        runtime_directory,
        plc: plc?,
        trigger: trigger?,
        result: result?,
        timing: timing?,
        sequential: sequential?,
        serial: serial?,
        simulated,
        cameras,
        locators: locators?,
        recipes,
        engine: engine?,
        models: models?,
        metrics: metrics?,
        log_filter: log_filter?,
    })
}

fn read_station(table: &mut Table<'_>, folder: &Path) -> Answer<(String, PathBuf, PathBuf, bool)> {
    let id = table.required("id", name);
    let state_directory = table.required("state_directory", path(folder));
    let runtime_directory = table.required("runtime_directory", path(folder));
    let simulated = table.or("simulated", false, flag);
    Ok((id?, state_directory?, runtime_directory?, simulated?))
}

fn read_serial(table: &mut Table<'_>) -> Answer<SerialMode> {
    let is_latched = table.or("mode", false, one_of([("with_trigger", false), ("latched", true)]));
    let required = table.optional("required", flag);
    match (is_latched?, required?) {
        (true, required) => Ok(SerialMode::Latched {
            required: required.unwrap_or(false),
        }),
        (false, None) => Ok(SerialMode::WithTrigger),
        (false, Some(_)) => Err(table.refuse("required", "required is for the mode \"latched\"; remove it")),
    }
}

fn read_plc(table: &mut Table<'_>) -> Answer<PlcConfig> {
    let cycle_source = read_cycle_source(table);
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
    Ok(PlcConfig {
        cycle_source: cycle_source?,
        poll: poll?,
        scan: scan?,
        heartbeat_timeout: heartbeat_timeout?,
        torn: torn?,
        trigger_grace: trigger_grace?.unwrap_or(2 * poll?),
    })
}

/// Who gives the cycles, and what belongs to that alone.
fn read_cycle_source(table: &mut Table<'_>) -> Answer<CycleSource> {
    let kinds = also(one_of([("modbus", false), ("grpc", true)]), &["s7", "opcua", "ethernet_ip"]);
    let is_grpc = table.or("cycle_source", false, kinds)?;
    if is_grpc {
        let of_modbus = ["role"].iter().chain(&OF_SERVER).chain(&OF_CLIENT);
        refuse_keys(table, of_modbus, "the cycle_source \"modbus\"")?;
        return Ok(CycleSource::Grpc);
    }
    let role = table.or("role", false, one_of([("server", false), ("client", true)]));
    if role == Ok(true) {
        let foreign = refuse_keys(table, &OF_SERVER, "the role \"server\"");
        let polled = read_polled(table);
        foreign?;
        return Ok(CycleSource::PolledModbus(polled?));
    }
    let foreign = refuse_keys(table, &OF_CLIENT, "the role \"client\"");
    let listen = read_listen(table, "Modbus cannot be secured");
    let writers = table.list("writers", WRITERS_MAX, machine);
    role?;
    foreign?;
    Ok(CycleSource::Modbus {
        listen: listen?,
        writers: writers?,
    })
}

/// Keys of `[plc]` for a station that is the Modbus server, and for one that is the client.
const OF_SERVER: [&str; 3] = ["listen", "insecure", "writers"];
const OF_CLIENT: [&str; 6] = [
    "connect",
    "unit_id",
    "read_base",
    "write_base",
    "response_timeout_ms",
    "plc_write_ms_max",
];

fn refuse_keys<'a>(table: &mut Table<'_>, keys: impl IntoIterator<Item = &'a &'static str>, whose: &str) -> Answer<()> {
    let mut answer = Ok(());
    for key in keys {
        if table.has(key) {
            answer = Err(table.refuse_key(key, format!("{key} is for {whose}; remove it")));
        }
    }
    answer
}

/// A PLC that the station polls. Its registers are where the station's own would be, unless said otherwise: 0 and up, 1000 and up.
fn read_polled(table: &mut Table<'_>) -> Answer<PolledPlc> {
    let connect = table.required("connect", socket);
    let unit_id = table.or("unit_id", 1, whole_u32(0..=255)).map(|unit| unit as u8);
    let read_base = table.or("read_base", 0, whole_u32(0..=65_535)).map(|base| base as u16);
    let write_base = table.or("write_base", 1000, whole_u32(0..=65_535)).map(|base| base as u16);
    let response_timeout = table.or("response_timeout_ms", Duration::from_millis(300), millis(10..=10_000));
    let write_max = table.or("plc_write_ms_max", Duration::from_millis(50), millis(1..=1000));
    Ok(PolledPlc {
        connect: connect?,
        unit_id: unit_id?,
        read_base: read_base?,
        write_base: write_base?,
        response_timeout: response_timeout?,
        write_max: write_max?,
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
    let scale = read_scale(table, folder);
    let CameraScale {
        scale,
        calibrated_px,
        calibration_sha256,
    } = scale?;
    Ok(CameraConfig {
        name: name?,
        source: source?,
        scale,
        calibrated_px,
        calibration_sha256,
        stamp: stamp?,
    })
}

/// What pixels of a camera mean; width and height of the frames that it holds for, and the hash of its file, where a calibration says it.
#[derive(Default)]
struct CameraScale {
    scale: Option<Scale>,
    calibrated_px: Option<(u32, u32)>,
    calibration_sha256: Option<String>,
}

/// How large a pixel of a camera is in the plane of the part.
fn read_scale(table: &mut Table<'_>, folder: &Path) -> Answer<CameraScale> {
    let told = table.optional("mm_per_px", number(MM_PER_PX));
    let file = table.optional("calibration", path(folder));
    let (told, file) = (told?, file?);
    let Some(file) = file else {
        return Ok(CameraScale {
            scale: told.and_then(Scale::new),
            ..CameraScale::default()
        });
    };
    if told.is_some() {
        return Err(table.refuse(
            "calibration",
            "a calibration says how large a pixel is, and mm_per_px does too; leave one of them out",
        ));
    }
    let text = fs::read_to_string(&file)
        .map_err(|error| table.refuse("calibration", format!("{} cannot be read: {error}; check the path", file.display())))?;
    let record = Record::from_text(&text).map_err(|error| table.refuse("calibration", format!("{}: {error}", file.display())))?;
    let [width, height] = record.calibration.size_px;
    Ok(CameraScale {
        scale: Scale::calibrated(record.calibration),
        calibrated_px: Some((width, height)),
        calibration_sha256: Some(sha256_hex(text.as_bytes())),
    })
}

fn read_camera_source(table: &mut Table<'_>, folder: &Path) -> Answer<CameraSource> {
    if table.has("device") {
        return read_device(table, folder).map(CameraSource::Device);
    }
    let clocks = [
        ("pipeline", CameraClock::Pipeline),
        ("monotonic", CameraClock::Monotonic),
        ("arrival", CameraClock::Arrival),
    ];
    let description = table.optional("source", description);
    let images = table.optional("folder", path(folder));
    let clock = table.or("clock", CameraClock::Pipeline, one_of(clocks));
    let frames_held_max = table.or("frames_held_max", FRAMES_HELD, whole(1..=FRAMES_HELD_MAX));
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
            "source is missing; give the description of a GStreamer source, a device such as /dev/video0, or a folder of images",
        )),
    }
}

fn read_device(table: &mut Table<'_>, folder: &Path) -> Answer<DeviceSettings> {
    let others = [
        ("source", table.optional("source", description)?.is_some()),
        ("folder", table.optional("folder", path(folder))?.is_some()),
    ];
    for (key, _) in others.iter().filter(|(_, is_given)| *is_given) {
        table.refuse(key, format!("it has both a device and a {key}; keep one"));
    }
    let device = table.required("device", path(folder));
    let format = table.required("format", one_of(PixelFormat::ALL.map(|format| (format.name(), format))));
    let width = table.required("width", whole_u32(1..=SIDE_PX_MAX));
    let height = table.required("height", whole_u32(1..=SIDE_PX_MAX));
    let frame_rate_hz = table.optional("frame_rate_hz", whole_u32(1..=FRAME_RATE_HZ_MAX));
    let controls = table.or("controls", Vec::new(), controls);
    let clocks = [("monotonic", CameraClock::Monotonic), ("arrival", CameraClock::Arrival)];
    let clock = table.or("clock", CameraClock::Monotonic, one_of(clocks));
    let frames_held_max = table.or("frames_held_max", FRAMES_HELD, whole(1..=FRAMES_HELD_MAX));
    Ok(DeviceSettings {
        path: device?,
        format: format?,
        width: width?,
        height: height?,
        frame_rate_hz: frame_rate_hz?,
        controls: controls?,
        clock: clock?,
        frames_held_max: frames_held_max? as usize,
    })
}

/// A rectangle of a frame.
pub(super) fn read_region(table: &mut Table<'_>) -> Answer<Region> {
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
}

fn read_engine(table: &mut Table<'_>) -> Answer<EngineConfig> {
    let known = [Provider::Cpu, Provider::Cuda, Provider::TensorRt].map(|provider| (provider.name(), provider));
    let providers = if table.has("providers") {
        let listed = table.list("providers", known.len(), one_of(known));
        match table.optional("provider", one_of(known)) {
            Ok(Some(_)) => Err(table.refuse("provider", "provider and providers are both there; keep providers")),
            _ => listed,
        }
    } else {
        table.or("provider", Provider::Cpu, one_of(known)).map(|provider| vec![provider])
    };
    let is_required = table.or("required", false, flag);
    let fp16 = table.or("fp16", false, flag);
    let threads = table.or("threads", 1, whole(0..=256));
    let workers = table.or("workers", 1, whole(1..=16));
    let (is_required, threads) = (is_required?, threads? as usize);
    let order = ProviderOrder::of(&providers?, is_required, threads, fp16?);
    let order = order.ok_or_else(|| table.refuse("providers", "providers is empty; name one"))?;
    Ok(EngineConfig {
        options: EngineOptions {
            provider: order.first,
            threads,
        },
        order,
        is_required,
        workers: workers? as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigErrors;
    use crate::config::station::ControlSetting;
    use crate::line::config::RecipePlan;
    use crate::recipe::Rules;
    use proptest::prelude::*;
    use proptest::sample::Index;

    /// A station that uses every key; the frozen fixture of version 1.
    const STATION: &str = include_str!("../../tests/fixtures/config/station-1.toml");

    /// The least that is a station.
    const LEAST: &str = r#"config_version = 1
[station]
id = "least"
state_directory = "state"
runtime_directory = "run"
[plc]
listen = "127.0.0.1:1502"
writers = ["127.0.0.1"]
scan_ms = 10
[trigger]
source = "plc"
part_interval_ms_min = 1000
[timing]
deadline_ms = 200
trigger_to_gate_ms = 400
gate_actuation_ms = 20
[[camera]]
name = "top"
folder = "images"
[recipe]
number = 1
name = "flange"
[[recipe.inspection]]
name = "surface"
camera = "top"
model = "model"
"#;

    fn read_text(text: &str) -> Result<StationConfig, ConfigErrors> {
        let document = Document::new(Path::new("/line/station.toml"), text.into())?;
        StationConfig::from_document(&document, &|_, _| Ok(()))
    }

    /// The text with `from`, which is in it once, replaced.
    #[track_caller]
    fn edited(text: &str, from: &str, to: &str) -> String {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replacen(from, to, 1)
    }

    /// Expects the text with each edit to be refused with exactly these errors.
    #[track_caller]
    fn refused(text: &str, edits: &[(&str, &str)], expected: &[&str]) {
        let text = edits.iter().fold(text.to_owned(), |text, (from, to)| edited(&text, from, to));
        let errors = read_text(&text).unwrap_err();
        let expected: Vec<String> = expected.iter().map(|line| format!("/line/station.toml:{line}")).collect();
        assert_eq!(errors.lines(), expected);
    }

    #[test]
    fn what_is_left_out_has_a_meaning() {
        let station = read_text(LEAST).unwrap();
        let millis = Duration::from_millis;
        assert_eq!(station.plc.poll, millis(10));
        assert_eq!(station.plc.heartbeat_timeout, millis(1000));
        assert_eq!(station.plc.torn, millis(200));
        assert_eq!(station.plc.trigger_grace, millis(20));
        assert_eq!(
            station.trigger.source,
            TriggerSource::Plc {
                frame_window: FRAME_WINDOW
            }
        );
        assert_eq!(station.result.mode, ResultMode::Single);
        assert_eq!(station.result.accept_hold, millis(1000));
        assert_eq!(station.timing.margin, millis(10));
        assert!(station.sequential);
        assert_eq!(station.cameras[0].source, CameraSource::Folder("/line/images".into()));
        let inspection = &station.recipes[0].inspections[0];
        assert_eq!(inspection.model, Path::new("/line/model"));
        assert_eq!(inspection.rules, Rules::default());
        assert_eq!(
            (
                station.engine.options.provider,
                station.engine.options.threads,
                station.engine.workers
            ),
            (Provider::Cpu, 1, 1)
        );
        assert_eq!(station.metrics, None);
        assert_eq!(station.warnings(), Vec::<String>::new());
        assert_eq!(station.text(), LEAST);
    }

    #[test]
    fn the_line_gets_what_it_needs() {
        let line = read_text(STATION).unwrap().line_config(0x00C0_FFEE);
        assert_eq!(line.station, "cell-4");
        assert_eq!(
            line.trigger_source,
            TriggerSource::Hardware {
                arm_window: Duration::from_millis(30)
            }
        );
        assert_eq!(line.result_mode, ResultMode::Window);
        assert_eq!(line.recipes, RecipePlan::all([(1, vec![0, 1])]));
        assert_eq!((line.cameras, line.config_checksum), (2, 0x00C0_FFEE));
    }

    #[test]
    fn an_empty_file_is_told_all_that_a_station_needs() {
        refused(
            LEAST,
            &[(LEAST, "config_version = 1")],
            &[
                "1:1: failed to read the station: table [station] is missing",
                "1:1: failed to read the station: table [plc] is missing",
                "1:1: failed to read the station: table [trigger] is missing",
                "1:1: failed to read the station: table [timing] is missing",
                "1:1: failed to read the station: there is no camera; add a table for each",
                "1:1: failed to read the station: table [recipe] is missing",
            ],
        );
    }

    #[test]
    fn errors_of_all_tables_are_told_at_once() {
        refused(
            LEAST,
            &[
                ("id = \"least\"", "id = \"not least\""),
                (
                    "writers = [\"127.0.0.1\"]",
                    "writers = [\"10.0.0.1\", \"plc\", \"10.0.0.1\"]\nrole = \"master\"",
                ),
                ("source = \"plc\"", "source = \"sensor\""),
                ("folder = \"images\"", "folder = \"images\"\nexposure = 3"),
                ("number = 1", "number = 0"),
                (
                    "camera = \"top\"",
                    "camera = \"side\"\nregion = { x = 0, y = 0, width = 0, height = 1 }",
                ),
            ],
            &[
                "3:6: failed to read [station]: id is \"not least\"; give 1 to 64 characters of A-Z a-z 0-9 . _ -",
                "8:24: failed to read [plc]: writers has \"plc\"; give the IP address of a machine, like \"192.168.0.10\"",
                "8:31: failed to read [plc]: writers has \"10.0.0.1\" twice; remove one",
                "9:8: failed to read [plc]: role is \"master\"; give \"server\" or \"client\"",
                "12:10: failed to read [trigger]: source is \"sensor\"; give \"plc\" or \"hardware\" or \"free_run\"",
                "21:1: failed to read camera \"top\": unknown key \"exposure\"; remove it",
                "23:10: failed to read [recipe]: number is 0; give a whole number from 1 to 65535",
                "27:10: failed to read inspection \"surface\": camera is \"side\"; give the name of a camera: \"top\"",
                "28:34: failed to read region of inspection \"surface\": width is 0; give a whole number from 1 to 65535",
            ],
        );
    }

    #[test]
    fn a_part_at_the_gate_before_its_verdict_is_refused() {
        refused(
            LEAST,
            &[("trigger_to_gate_ms = 400", "trigger_to_gate_ms = 269")],
            &[
                "15:22: failed to read [timing]: trigger_to_gate_ms 269 is shorter than 2 x (poll_ms + scan_ms) 40 + deadline_ms 200 + \
                 gate_actuation_ms 20 + margin_ms 10 = 270: parts would pass the gate before their verdict; give at least 270, or shorten a term",
            ],
        );
        assert!(read_text(&edited(LEAST, "trigger_to_gate_ms = 400", "trigger_to_gate_ms = 270")).is_ok());
    }

    #[test]
    fn parts_too_fast_for_the_window_are_refused_with_the_hold_that_fits() {
        let window = edited(LEAST, "[timing]", "[result]\nmode = \"window\"\naccept_hold_ms = 500\n[timing]");
        let told = |remedy: &str, interval: u64| {
            format!(
                "12:24: failed to read [trigger]: part_interval_ms_min {interval} is too short for window mode: 15 parts open or held, \
                 each for up to 700 ms until its deadline and through accept_hold_ms; give at least 47, {remedy}"
            )
        };
        let interval = "part_interval_ms_min = 1000";
        refused(
            &window,
            &[(interval, "part_interval_ms_min = 45")],
            &[&told("or accept_hold_ms at most 475", 45)],
        );
        refused(
            &window,
            &[(interval, "part_interval_ms_min = 12")],
            &[&told("or shorten deadline_ms", 12)],
        );
        assert!(read_text(&edited(&window, interval, "part_interval_ms_min = 47")).is_ok());
    }

    #[test]
    fn two_parts_never_lie_in_one_arm_window() {
        refused(
            STATION,
            &[("arm_window_ms = 30", "arm_window_ms = 50")],
            &[
                "23:17: failed to read [trigger]: arm_window_ms 50 is not shorter than part_interval_ms_min 50, and two parts could lie in one window; shorten it",
            ],
        );
    }

    #[test]
    fn keys_of_another_trigger_source_are_refused() {
        refused(
            STATION,
            &[("arm_window_ms = 30", "")],
            &["21:1: failed to read [trigger]: arm_window_ms is missing; give the longest time from the trigger to the exposure"],
        );
        refused(
            STATION,
            &[("arm_window_ms = 30", "arm_window_ms = 30\nframe_window_ms = 30")],
            &["24:19: failed to read [trigger]: frame_window_ms is for the sources \"plc\" and \"free_run\"; remove it"],
        );
        refused(
            LEAST,
            &[("source = \"plc\"", "source = \"plc\"\narm_window_ms = 30")],
            &["12:17: failed to read [trigger]: arm_window_ms is for the source \"hardware\"; remove it"],
        );
    }

    #[test]
    fn a_wired_camera_needs_times_of_exposure() {
        refused(
            STATION,
            &[("clock = \"monotonic\"", "clock = \"arrival\"")],
            &[
                "42:9: failed to read camera \"top\": clock \"arrival\" tells no time of exposure, which a hardware trigger needs; give \"monotonic\", or \"pipeline\" for a source",
            ],
        );
    }

    #[test]
    fn a_folder_waits_for_the_plc_and_has_nothing_of_a_pipeline() {
        refused(
            LEAST,
            &[("source = \"plc\"", "source = \"free_run\"")],
            &[
                "19:10: failed to read camera \"top\": a folder gives an image when the PLC triggers; set source = \"plc\" in [trigger], or use a camera",
            ],
        );
        refused(
            LEAST,
            &[("folder = \"images\"", "folder = \"images\"\nclock = \"arrival\"")],
            &["20:9: failed to read camera \"top\": clock is for cameras with a source, not for a folder; remove it"],
        );
        refused(
            LEAST,
            &[("folder = \"images\"", "folder = \"images\"\nsource = \"videotestsrc\"")],
            &["19:10: failed to read camera \"top\": it has both a source and a folder; keep one"],
        );
        refused(
            LEAST,
            &[("folder = \"images\"", "")],
            &[
                "17:1: failed to read camera \"top\": source is missing; give the description of a GStreamer source, a device such as /dev/video0, or a folder of images",
            ],
        );
    }

    const DEVICE: &str = "device = \"/dev/video0\"\nformat = \"GRAY8\"\nwidth = 640\nheight = 480";

    #[test]
    fn a_camera_may_be_a_device() {
        let controls = "frame_rate_hz = 30\ncontrols = { auto_exposure = \"Manual Mode\", gain = -3, hflip = true }";
        let text = edited(LEAST, "folder = \"images\"", &format!("{DEVICE}\n{controls}"));
        let station = read_text(&text).unwrap();
        let CameraSource::Device(camera) = &station.cameras[0].source else {
            panic!("{:?}", station.cameras[0].source)
        };
        assert_eq!(
            (camera.path.as_path(), camera.format),
            (Path::new("/dev/video0"), PixelFormat::Gray8)
        );
        assert_eq!(
            (camera.clock, camera.frames_held_max, camera.frame_rate_hz),
            (CameraClock::Monotonic, 8, Some(30))
        );
        let expected = [
            ("auto_exposure", ControlSetting::Choice("Manual Mode".into())),
            ("gain", ControlSetting::Whole(-3)),
            ("hflip", ControlSetting::Flag(true)),
        ];
        assert_eq!(camera.controls, expected.map(|(name, setting)| (name.to_owned(), setting)));
    }

    #[test]
    fn a_device_is_told_all_that_it_needs() {
        let nonsense = "device = \"/dev/video0\"\nformat = \"MJPG\"\nwidth = 0\nclock = \"pipeline\"\ncontrols = { gain = 1.5 }";
        refused(
            LEAST,
            &[("folder = \"images\"", nonsense)],
            &[
                "17:1: failed to read camera \"top\": height is missing; give a whole number from 1 to 65535",
                "20:10: failed to read camera \"top\": format is \"MJPG\"; give \"GRAY8\" or \"RGB\" or \"BGR\" or \"NV12\" or \"I420\" or \"YUY2\"",
                "21:9: failed to read camera \"top\": width is 0; give a whole number from 1 to 65535",
                "22:9: failed to read camera \"top\": clock is \"pipeline\"; give \"monotonic\" or \"arrival\"",
                "23:12: failed to read camera \"top\": controls is a table; give at most 64 controls by the names that v4l2-ctl --list-ctrls has, \
                 with a whole number, true or false, or the words of a choice: { gain = 12, auto_exposure = \"Manual Mode\" }",
            ],
        );
        refused(
            LEAST,
            &[("folder = \"images\"", &format!("folder = \"images\"\n{DEVICE}"))],
            &["19:10: failed to read camera \"top\": it has both a device and a folder; keep one"],
        );
        refused(
            LEAST,
            &[
                ("folder = \"images\"", &format!("{DEVICE}\nclock = \"arrival\"")),
                ("source = \"plc\"", "source = \"hardware\"\narm_window_ms = 30"),
            ],
            &[
                "24:9: failed to read camera \"top\": clock \"arrival\" tells no time of exposure, which a hardware trigger needs; give \"monotonic\", or \"pipeline\" for a source",
            ],
        );
    }

    #[test]
    fn every_name_is_its_own_and_every_camera_is_used() {
        refused(
            LEAST,
            &[("[recipe]", "[[camera]]\nname = \"top\"\nfolder = \"more\"\n[recipe]")],
            &[
                "20:1: failed to read camera \"top\": no inspection looks through it; add one, or remove the camera",
                "21:8: failed to read camera \"top\": camera 1 has the same name; each needs its own",
            ],
        );
    }

    #[test]
    fn nobody_looks_at_a_stamp() {
        let region = "region = { x = 0, y = 32, width = 640, height = 448 }";
        refused(
            STATION,
            &[(region, "region = { x = 31, y = 23, width = 8, height = 8 }")],
            &[
                "58:10: failed to read inspection \"surface\": its region covers the stamp of camera \"top\" (x 0, y 0, 32x24 px); move one of them",
            ],
        );
        refused(
            STATION,
            &[(region, "")],
            &[
                "54:1: failed to read inspection \"surface\": it looks at the whole frame, and so at the stamp of camera \"top\"; give it a region without the stamp",
            ],
        );
        for beside in ["x = 32, y = 0", "x = 0, y = 24"] {
            assert!(read_text(&edited(STATION, region, &format!("region = {{ {beside}, width = 8, height = 8 }}"))).is_ok());
        }
    }

    #[test]
    fn a_heartbeat_outlasts_three_rounds() {
        refused(
            LEAST,
            &[
                ("scan_ms = 10", "scan_ms = 91\nheartbeat_timeout_ms = 302"),
                ("trigger_to_gate_ms = 400", "trigger_to_gate_ms = 500"),
            ],
            &[
                "10:24: failed to read [plc]: heartbeat_timeout_ms 302 is shorter than 3 x (poll_ms + scan_ms), and a PLC that is well would be lost; give at least 303",
            ],
        );
    }

    #[test]
    fn what_other_machines_reach_must_be_wanted() {
        let metrics = "[metrics]\nlisten = \"[::]:9184\"\n[timing]";
        refused(
            LEAST,
            &[("127.0.0.1:1502", "0.0.0.0:1502"), ("[timing]", metrics)],
            &[
                "7:10: failed to read [plc]: Modbus cannot be secured, and other machines reach 0.0.0.0:1502; listen on 127.0.0.1, or accept it with insecure = true",
                "14:10: failed to read [metrics]: metrics are not encrypted, and other machines reach [::]:9184; listen on 127.0.0.1, or accept it with insecure = true",
            ],
        );
        let open = edited(LEAST, "listen = \"127.0.0.1:1502\"", "listen = \"0.0.0.0:1502\"\ninsecure = true");
        let warnings = read_text(&open).unwrap().warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("Modbus on 0.0.0.0:1502 cannot be secured"), "{warnings:?}");
    }

    /// LEAST with a PLC that is polled.
    fn polled(keys: &str) -> String {
        let text = edited(
            LEAST,
            "listen = \"127.0.0.1:1502\"",
            &format!("role = \"client\"\nconnect = \"10.0.0.7:502\"{keys}"),
        );
        let text = edited(&text, "writers = [\"127.0.0.1\"]\n", "");
        edited(&text, "trigger_to_gate_ms = 400", "trigger_to_gate_ms = 500")
    }

    #[test]
    fn a_plc_may_be_polled() {
        let station = read_text(&polled("")).unwrap();
        let plc = station.plc.polled().unwrap();
        assert_eq!((plc.connect.to_string().as_str(), plc.unit_id), ("10.0.0.7:502", 1));
        assert_eq!((plc.read_base, plc.write_base), (0, 1000));
        let millis = Duration::from_millis;
        assert_eq!((plc.response_timeout, plc.write_max), (millis(300), millis(50)));
        assert_eq!(
            station.gate_timing().needed(),
            millis(320),
            "a reading takes plc_write_ms_max at most"
        );
        assert!(
            station.warnings()[0].starts_with("Modbus to 10.0.0.7:502 cannot be secured"),
            "{:?}",
            station.warnings()
        );
    }

    #[test]
    fn a_plc_that_is_polled_has_room_and_time() {
        refused(
            &polled("\nlisten = \"127.0.0.1:1502\"\nread_base = 70000\nplc_write_ms_max = 200"),
            &[],
            &[
                "9:10: failed to read [plc]: listen is for the role \"server\"; remove it",
                "10:13: failed to read [plc]: read_base is 70000; give a whole number from 0 to 65535",
            ],
        );
        refused(
            &polled("\nread_base = 65530\nwrite_base = 65500\nplc_write_ms_max = 200"),
            &[],
            &[
                "9:13: failed to read [plc]: read_base 65530 is too high: registers end at 65535, and 34 are needed",
                "10:14: failed to read [plc]: write_base 65500 leaves no room: the station reads holding registers 65530 to 65563 and writes 65500 to 65543; set them apart",
                "10:14: failed to read [plc]: write_base 65500 is too high: registers end at 65535, and 44 are needed",
                "11:20: failed to read [plc]: plc_write_ms_max 200 is not shorter than deadline_ms 200, and no Ok could ever be sent; allow more time, or less for a write",
            ],
        );
        refused(
            LEAST,
            &[("poll_ms", "unit_id = 3\npoll_ms")],
            &["9:11: failed to read [plc]: unit_id is for the role \"client\"; remove it"],
        );
    }

    #[test]
    fn two_listeners_do_not_share_an_address() {
        refused(
            LEAST,
            &[("[timing]", "[metrics]\nlisten = \"127.0.0.1:1502\"\n[timing]")],
            &["14:10: failed to read [metrics]: the PLC connects to 127.0.0.1:1502 already; give another port"],
        );
    }

    #[test]
    fn state_that_will_not_last_and_parts_that_come_fast_are_warned_of() {
        let text = edited(LEAST, "state_directory = \"state\"", "state_directory = \"/tmp/state\"");
        let text = edited(&text, "part_interval_ms_min = 1000", "part_interval_ms_min = 50");
        let warnings = read_text(&text).unwrap().warnings();
        let said = [
            "state_directory /tmp/state may be gone",
            "every 50 ms, but 60 ms are safe (trigger handshake",
            "every 50 ms, but 200 ms are safe (single mode",
        ];
        assert_eq!(warnings.len(), said.len(), "{warnings:?}");
        for (warning, words) in warnings.iter().zip(said) {
            assert!(warning.contains(words), "{warning}");
        }
    }

    #[test]
    fn a_model_that_cannot_be_used_is_an_error_of_the_file() {
        let document = Document::new(Path::new("/line/station.toml"), LEAST.into()).unwrap();
        let errors = StationConfig::from_document(&document, &|model, _| Err(format!("there is nothing in {}", model.display())));
        assert_eq!(
            errors.unwrap_err().lines(),
            ["/line/station.toml:26:9: failed to read inspection \"surface\": there is nothing in /line/model"]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Document::new(Path::new("station.toml"), bytes).and_then(|document| StationConfig::from_document(&document, &|_, _| Ok(())));
        }

        #[test]
        fn no_damage_panics(damage in prop::collection::vec((any::<Index>(), any::<Index>(), any::<Index>()), 1..8)) {
            // Cuts a piece out and puts it somewhere else: what is left looks like a station all over.
            let mut bytes = STATION.as_bytes().to_vec();
            for (from, to, target) in damage {
                let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
                let piece: Vec<u8> = bytes.drain(from.min(to)..from.max(to)).take(200).collect();
                let target = target.index(bytes.len() + 1);
                bytes.splice(target..target, piece);
                if bytes.is_empty() {
                    break;
                }
            }
            let _ = Document::new(Path::new("station.toml"), bytes).and_then(|document| StationConfig::from_document(&document, &|_, _| Ok(())));
        }

        #[test]
        fn no_value_panics(line in 0_usize..100, value in r#"-?[0-9]{1,25}|-?[0-9]\.[0-9]e[0-9]{1,4}|inf|nan|"[^"\\]{0,9}"|\[\]|\{\}|1979-05-27"#) {
            let lines: Vec<String> = STATION.lines().enumerate().map(|(number, text)| match text.split_once('=') {
                Some((key, _)) if number == line => format!("{key}={value}"),
                _ => text.to_owned(),
            }).collect();
            let _ = read_text(&lines.join("\n"));
        }
    }
}
