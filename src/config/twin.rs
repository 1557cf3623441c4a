//! `line.toml`: the virtual line around a station.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Answer, ConfigErrors, Document, Table};
use super::value::{flag, millis, number, one_of, path, share, socket, whole, whole_u32};
use crate::capture::PixelFormat;
use crate::twin::schedule::Faults;

/// Longest time that any key gives: ten minutes.
const MILLIS_MAX: u64 = 600_000;

/// A virtual line.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinConfig {
    /// The station's own `station.toml`. Absolute.
    pub station: PathBuf,
    /// Whether the twin runs the station itself; else it runs elsewhere.
    pub start: bool,
    /// The virtual PLC.
    pub plc: TwinPlc,
    /// The virtual cameras, all alike.
    pub camera: TwinCamera,
    /// What comes along.
    pub parts: TwinParts,
    /// Encoder counts from part to part, at least 1.
    pub encoder_pitch: u32,
    /// What goes wrong.
    pub faults: Faults,
    /// A historian that the twin runs, and a network that it cuts; `None`: neither.
    pub historian: Option<TwinHistorian>,
    /// The private key that the twin signs packages with which it asks the station to run. Absolute.
    pub signing_key: Option<PathBuf>,
}

/// A virtual PLC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwinPlc {
    /// From poll to poll; zero: without wait.
    pub poll: Duration,
    /// One scan; zero: at every poll.
    pub scan: Duration,
    /// Where the station listens, if not where its own file says.
    pub address: Option<SocketAddr>,
}

/// A virtual camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwinCamera {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// How pixels are laid out.
    pub format: PixelFormat,
    /// From the part's arrival (or the trigger) to the exposure.
    pub exposure_delay: Duration,
    /// From the exposure to the frame's arrival.
    pub transfer: Duration,
}

/// What comes along.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinParts {
    /// How many, at least 1.
    pub count: u32,
    /// How fast.
    pub rate: Rate,
    /// The same seed gives the same parts and faults.
    pub seed: u64,
    /// Folder of images in the layout of MVTec AD, absolute; `None`: rendered parts.
    pub dataset: Option<PathBuf>,
    /// Share of parts with a defect, in [0, 1].
    pub defect_share: f64,
    /// From the trigger to the gate, if not as the station's own file says.
    pub trigger_to_gate: Option<Duration>,
}

/// How fast parts come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// So many a second, above 0.
    Hz(f64),
    /// The next as soon as the station is ready for it.
    Max,
}

/// The virtual plant's historian, and the network in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinHistorian {
    /// Where the station expects its historian: the near end of the network.
    pub network: SocketAddr,
    /// What the historian keeps. Absolute.
    pub directory: PathBuf,
    /// How long a cable stays pulled.
    pub network_cut: Duration,
    /// The part at whose passing of the gate it is pulled, besides cuts at random; `None`: none.
    pub network_cut_at: Option<u32>,
}

impl TwinConfig {
    /// Reads `line.toml`, not the station's own file.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub fn read(file: &Path) -> Result<Self, ConfigErrors> {
        Self::from_document(&Document::open(file)?)
    }

    pub(super) fn from_document(document: &Document) -> Result<Self, ConfigErrors> {
        let folder = document.file().parent().unwrap_or(Path::new(""));
        document.read("the line", |root| read_line(root, folder))
    }
}

fn read_line(root: &mut Table<'_>, folder: &Path) -> Answer<TwinConfig> {
    let station = root.table("station", |table| {
        let config = table.required("config", path(folder));
        let start = table.or("start", true, flag);
        Ok((config?, start?))
    });
    let plc = root.table_or_defaults("plc", read_plc);
    let camera = root.table_or_defaults("camera", read_camera);
    let parts = root.table_or_defaults("parts", |table| read_parts(table, folder));
    let encoder_pitch = root.table_or_defaults("encoder", |table| table.or("pitch", 1000, whole_u32(1..=1_000_000_000)));
    let faults = root.table_or_defaults("faults", read_faults);
    let historian = root.optional_table("historian", |table| read_historian(table, folder));
    let signing_key = root.table_or_defaults("models", |table| table.optional("signing_key", path(folder)));
    if let (Ok((_, false)), Ok(faults)) = (&station, &faults) {
        check_reach(root, faults);
    }
    if let (Ok(None), Ok(faults)) = (&historian, &faults) {
        check_network(root, faults);
    }
    let (station, start) = station?;
    Ok(TwinConfig {
        station,
        start,
        plc: plc?,
        camera: camera?,
        parts: parts?,
        encoder_pitch: encoder_pitch?,
        faults: faults?,
        historian: historian?,
        signing_key: signing_key?,
    })
}

fn read_plc(table: &mut Table<'_>) -> Answer<TwinPlc> {
    let poll = table.or("poll_ms", Duration::from_millis(10), millis(0..=1000));
    let scan = table.or("scan_ms", Duration::from_millis(5), millis(0..=1000));
    let address = table.optional("address", socket);
    Ok(TwinPlc {
        poll: poll?,
        scan: scan?,
        address: address?,
    })
}

fn read_camera(table: &mut Table<'_>) -> Answer<TwinCamera> {
    let formats = [
        ("RGB", PixelFormat::Rgb),
        ("BGR", PixelFormat::Bgr),
        ("GRAY8", PixelFormat::Gray8),
        ("NV12", PixelFormat::Nv12),
        ("I420", PixelFormat::I420),
        ("YUY2", PixelFormat::Yuy2),
    ];
    let width = table.or("width", 640, whole_u32(16..=8192));
    let height = table.or("height", 480, whole_u32(16..=8192));
    let format = table.or("format", PixelFormat::Rgb, one_of(formats));
    let exposure_delay = table.or("exposure_delay_ms", Duration::from_millis(1), millis(0..=10_000));
    let transfer = table.or("transfer_ms", Duration::from_millis(2), millis(0..=10_000));
    let camera = TwinCamera {
        width: width?,
        height: height?,
        format: format?,
        exposure_delay: exposure_delay?,
        transfer: transfer?,
    };
    // Two pixels share their chroma.
    let (wide, high) = match camera.format {
        PixelFormat::Gray8 | PixelFormat::Rgb | PixelFormat::Bgr => (1, 1),
        PixelFormat::Yuy2 => (2, 1),
        PixelFormat::Nv12 | PixelFormat::I420 => (2, 2),
    };
    for (key, length, unit) in [("width", camera.width, wide), ("height", camera.height, high)] {
        if length % unit != 0 {
            table.refuse(
                key,
                format!("{key} {length} is odd, and this format shares chroma between two pixels; give an even one"),
            );
        }
    }
    Ok(camera)
}

fn read_parts(table: &mut Table<'_>, folder: &Path) -> Answer<TwinParts> {
    let count = table.or("count", 200, whole_u32(1..=10_000_000));
    let rate = table.or("rate_hz", Rate::Hz(5.0), parts_per_second);
    let seed = table.or("seed", 1, whole(0..=i64::MAX as u64));
    let dataset = table.optional("dataset", path(folder));
    let defect_share = table.or("defect_share", 0.2, share());
    let trigger_to_gate = table.optional("trigger_to_gate_ms", millis(1..=MILLIS_MAX));
    Ok(TwinParts {
        count: count?,
        rate: rate?,
        seed: seed?,
        dataset: dataset?,
        defect_share: defect_share?,
        trigger_to_gate: trigger_to_gate?,
    })
}

/// A number of parts a second, or as many as possible.
fn parts_per_second(value: &DeValue<'_>) -> Result<Rate, String> {
    if value.as_str() == Some("max") {
        return Ok(Rate::Max);
    }
    let hz = number(0.01..=10_000.0)(value);
    hz.map(Rate::Hz).map_err(|expected| format!("{expected}, or \"max\""))
}

fn read_faults(table: &mut Table<'_>) -> Answer<Faults> {
    let mut probability = |key| table.or(key, 0.0, share());
    let frame_missed = probability("frame_missed");
    let frame_late = probability("frame_late");
    let frame_duplicate = probability("frame_duplicate");
    let frames_swapped = probability("frames_swapped");
    let trigger_duplicate = probability("trigger_duplicate");
    let trigger_bounce = probability("trigger_bounce");
    let torn_write = probability("torn_write");
    let plc_restart = probability("plc_restart");
    let engine_slow = probability("engine_slow");
    let station_kill = probability("station_kill");
    let mut number = |key| table.or(key, 0, whole_u32(0..=10_000));
    let kills = number("kills");
    let historian_kills = number("historian_kills");
    let network_cuts = number("network_cuts");
    let model_swaps = number("model_swaps");
    Ok(Faults {
        frame_missed: frame_missed?,
        frame_late: frame_late?,
        frame_duplicate: frame_duplicate?,
        frames_swapped: frames_swapped?,
        trigger_duplicate: trigger_duplicate?,
        trigger_bounce: trigger_bounce?,
        torn_write: torn_write?,
        plc_restart: plc_restart?,
        engine_slow: engine_slow?,
        station_kill: station_kill?,
        kills: kills?,
        historian_kills: historian_kills?,
        network_cuts: network_cuts?,
        model_swaps: model_swaps?,
    })
}

fn read_historian(table: &mut Table<'_>, folder: &Path) -> Answer<TwinHistorian> {
    let network = table.required("network", socket);
    let directory = table.required("directory", path(folder));
    let network_cut = table.or("network_cut_ms", Duration::from_millis(500), millis(1..=MILLIS_MAX));
    let network_cut_at = table.optional("network_cut_at_part", whole_u32(1..=10_000_000));
    Ok(TwinHistorian {
        network: network?,
        directory: directory?,
        network_cut: network_cut?,
        network_cut_at: network_cut_at?,
    })
}

/// What is not there cannot fail.
fn check_network(root: &Table<'_>, faults: &Faults) {
    let asked = [("historian_kills", faults.historian_kills), ("network_cuts", faults.network_cuts)];
    for (key, _) in asked.iter().filter(|(_, asked)| *asked > 0) {
        let reason = format!("{key} needs a historian that the twin runs; add a [historian] table, or remove it");
        root.refuse_at(&format!("faults.{key}"), "[faults]", reason);
    }
}

/// A station that runs elsewhere can be neither stopped nor killed.
fn check_reach(root: &Table<'_>, faults: &Faults) {
    let asked = [
        ("engine_slow", faults.engine_slow > 0.0),
        ("station_kill", faults.station_kill > 0.0),
        ("kills", faults.kills > 0),
        ("model_swaps", faults.model_swaps > 0),
    ];
    for (key, _) in asked.iter().filter(|(_, asked)| *asked) {
        let reason = format!("{key} needs a station that the twin runs itself; set start = true in [station], or remove it");
        root.refuse_at(&format!("faults.{key}"), "[faults]", reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;

    const LEAST: &str = "config_version = 1\n[station]\nconfig = \"station.toml\"\n";

    fn read_bytes(bytes: Vec<u8>) -> Result<TwinConfig, ConfigErrors> {
        TwinConfig::from_document(&Document::new(Path::new("/line/line.toml"), bytes)?)
    }

    fn read_text(text: &str) -> Result<TwinConfig, ConfigErrors> {
        read_bytes(text.into())
    }

    /// Expects the least line with `tables` added to be refused with exactly these errors.
    #[track_caller]
    fn refused(tables: &str, expected: &[&str]) {
        let errors = read_text(&format!("{LEAST}{tables}")).unwrap_err();
        let expected: Vec<String> = expected.iter().map(|line| format!("/line/line.toml:{line}")).collect();
        assert_eq!(errors.lines(), expected);
    }

    #[test]
    fn a_line_is_five_rendered_parts_a_second_and_nothing_goes_wrong() {
        let line = read_text(LEAST).unwrap();
        assert_eq!(line.station, Path::new("/line/station.toml"));
        assert!(line.start);
        assert_eq!(line.plc.address, None);
        assert_eq!(
            (line.camera.width, line.camera.height, line.camera.format),
            (640, 480, PixelFormat::Rgb)
        );
        assert_eq!((line.parts.count, line.parts.rate, line.parts.dataset), (200, Rate::Hz(5.0), None));
        assert_eq!(line.encoder_pitch, 1000);
        assert_eq!(line.faults, Faults::default());
    }

    #[test]
    fn errors_are_told_at_once() {
        refused(
            "[parts]\nrate_hz = \"fast\"\ncounts = 3\n[faults]\nframe_late = 1.5\n[camera]\nformat = \"rgb\"\n",
            &[
                "5:11: failed to read [parts]: rate_hz is \"fast\"; give a number from 0.01 to 10000, or \"max\"",
                "6:1: failed to read [parts]: unknown key \"counts\"; did you mean \"count\"?",
                "8:14: failed to read [faults]: frame_late is 1.5; give a number from 0 to 1",
                "10:10: failed to read [camera]: format is \"rgb\"; give \"RGB\" or \"BGR\" or \"GRAY8\" or \"NV12\" or \"I420\" or \"YUY2\"",
            ],
        );
    }

    #[test]
    fn a_rate_is_a_number_or_max() {
        for (given, rate) in [("12.5", Rate::Hz(12.5)), ("20", Rate::Hz(20.0)), ("\"max\"", Rate::Max)] {
            let line = read_text(&format!("{LEAST}[parts]\nrate_hz = {given}\n")).unwrap();
            assert_eq!(line.parts.rate, rate);
        }
    }

    #[test]
    fn a_station_that_runs_elsewhere_is_neither_stopped_nor_killed() {
        refused(
            "start = false\n[faults]\nkills = 3\nengine_slow = 0.5\nstation_kill = 0.0\n",
            &[
                "6:9: failed to read [faults]: kills needs a station that the twin runs itself; set start = true in [station], or remove it",
                "7:15: failed to read [faults]: engine_slow needs a station that the twin runs itself; set start = true in [station], or remove it",
            ],
        );
    }

    #[test]
    fn formats_that_share_chroma_need_even_sides() {
        refused(
            "[camera]\nformat = \"YUY2\"\nwidth = 641\nheight = 481\n",
            &["6:9: failed to read [camera]: width 641 is odd, and this format shares chroma between two pixels; give an even one"],
        );
        assert!(read_text(&format!("{LEAST}[camera]\nwidth = 641\nheight = 481\n")).is_ok());
    }

    proptest! {
        #[test]
        fn no_damage_panics(damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8)) {
            let mut bytes = include_bytes!("../../tests/fixtures/config/line-1.toml").to_vec();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = read_bytes(bytes);
        }
    }
}
