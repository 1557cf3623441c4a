//! `station.toml`, table by table: each is read by itself, whatever is wrong with the others; then what could be read is held together.

use std::path::{Path, PathBuf};

use super::camera_file::read_camera;
use super::consistency;
use super::gate_file;
use super::locator;
use super::models;
use super::plc_file::{read_listen, read_plc, read_result, read_serial, read_timing, read_trigger};
use super::reader::{Answer, Document, Table};
use super::recipe_file::{self, Context};
use super::record_file;
use super::station::{EngineConfig, JournalConfig, ModelCheck, StationConfig, reads_tags};
use super::value::{flag, log_filter, name, one_of, path, whole};
use crate::vision::providers::ProviderOrder;
use crate::vision::{EngineOptions, Provider};

/// Most cameras of a station.
const CAMERAS_MAX: usize = 16;

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

    let gate = gate_file::read(root, folder, plc.as_ref().ok());
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
    use std::time::Duration;

    use super::super::plc_file::FRAME_WINDOW;
    use super::super::station::{CameraClock, CameraSource};
    use super::*;
    use crate::capture::PixelFormat;
    use crate::config::ConfigErrors;
    use crate::config::station::ControlSetting;
    use crate::line::config::RecipePlan;
    use crate::line::config::{ResultMode, TriggerSource};
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
            &[("scan_ms", "unit_id = 3\nscan_ms")],
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
