//! Configuration files that were written once are read for good, the examples are what they say, and `takt validate` tells what is wrong and what is so.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use takt::capture::PixelFormat;
use takt::config::station::{CameraClock, CameraSource, CycleSource, StampPlace};
use takt::config::twin::Rate;
use takt::config::{StationConfig, TwinConfig};
use takt::line::config::{ResultMode, TriggerSource};
use takt::part::{Region, Severity};
use takt::recipe::Rules;
use takt::recipe::area::{Area, Outline};
use takt::recipe::criterion::Criterion;
use takt::recipe::geometry::{Point, Polygon};
use takt::twin::schedule::Faults;
use takt::vision::Provider;

use crate::parts;
use crate::program::{Outcome, run, takt};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn validate(config: &Path, format: &str) -> Outcome {
    run(takt("validate").arg("--config").arg(config).args(["--format", format]))
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_station_of_version_1_is_still_read() {
    let station = StationConfig::read(&repository("tests/fixtures/config/station-1.toml")).unwrap();
    assert_eq!(station.id, "cell-4");
    assert_eq!(station.state_directory, repository("tests/fixtures/config/state"));
    assert_eq!(station.runtime_directory, Path::new("/run/takt"));
    assert_eq!(station.plc.listen().unwrap().to_string(), "0.0.0.0:1502");
    assert!(matches!(&station.plc.cycle_source, CycleSource::Modbus { writers, .. } if writers.len() == 2));
    let plc = &station.plc;
    let times = [plc.poll, plc.scan, plc.heartbeat_timeout, plc.torn, plc.trigger_grace];
    assert_eq!(times, [10, 10, 1000, 200, 25].map(millis));
    assert_eq!(station.trigger.source, TriggerSource::Hardware { arm_window: millis(30) });
    assert_eq!(station.trigger.part_interval_min, millis(50));
    assert_eq!((station.result.mode, station.result.accept_hold), (ResultMode::Window, millis(500)));
    let timing = &station.timing;
    let times = [timing.deadline, timing.trigger_to_gate, timing.gate_actuation, timing.margin];
    assert_eq!(times, [200, 400, 20, 10].map(millis));
    assert!(!station.sequential);

    let [top, side] = station.cameras.as_slice() else {
        panic!("{:?}", station.cameras)
    };
    assert_eq!((top.name.as_str(), top.stamp), ("top", Some(StampPlace { x: 0, y: 0, cell_px: 4 })));
    let CameraSource::Pipeline {
        description,
        clock,
        frames_held_max,
    } = &top.source
    else {
        panic!("{top:?}")
    };
    assert_eq!(description, "shmsrc socket-path=/tmp/twin.sock is-live=true ! gdpdepay");
    assert_eq!((*clock, *frames_held_max), (CameraClock::Monotonic, 6));
    let CameraSource::Pipeline {
        clock, frames_held_max, ..
    } = side.source
    else {
        panic!("{side:?}")
    };
    assert_eq!((clock, frames_held_max), (CameraClock::Pipeline, 8));

    let [recipe] = station.recipes.as_slice() else {
        panic!("{:?}", station.recipes)
    };
    assert_eq!((recipe.number, recipe.revision.as_str(), recipe.name.as_str()), (1, "", "flange"));
    let [surface, thread] = recipe.inspections.as_slice() else {
        panic!("{recipe:?}")
    };
    assert_eq!((surface.camera, thread.camera), (0, 1));
    let region = Region {
        x: 0,
        y: 32,
        width: 640,
        height: 448,
    };
    let rules = Rules {
        area: Area::of_region(Some(region)),
        threshold: Some(12.5),
        min_area_px: 20,
        defect_code: 7,
        ..Rules::default()
    };
    assert_eq!(surface.rules, rules);
    assert_eq!(
        (thread.model.as_path(), &thread.rules),
        (Path::new("/models/thread"), &Rules::default())
    );
    let engine = &station.engine;
    assert_eq!(
        (engine.options.provider, engine.options.threads, engine.workers),
        (Provider::TensorRt, 2, 3)
    );
    assert_eq!(station.metrics.map(|listen| listen.port()), Some(9184));
}

#[test]
fn recipes_of_version_1_are_still_read() {
    let station = StationConfig::read(&repository("tests/fixtures/config/station-1-recipes.toml")).unwrap();
    let [first, second] = station.recipes.as_slice() else {
        panic!("{:?}", station.recipes)
    };
    assert_eq!(
        (first.number, first.revision.as_str(), first.name.as_str()),
        (7, "B", "flange 40 mm")
    );
    assert_eq!(
        (second.number, second.revision.as_str(), second.name.as_str()),
        (8, "", "flange 60 mm")
    );
    assert_eq!(
        station.inspections().map(|inspection| inspection.camera).collect::<Vec<_>>(),
        [0, 1]
    );
    assert_eq!(second.inspections[0].rules, Rules::default());

    let rules = &first.inspections[0].rules;
    let polygon = |points: &[(f64, f64)]| Polygon::new(points.iter().map(|(x, y)| Point::new(*x, *y)).collect()).unwrap();
    let area = Area {
        outline: Outline::Polygon(polygon(&[(120.0, 80.0), (900.5, 80.0), (980.0, 400.0), (120.0, 640.0)])),
        exclude: vec![
            polygon(&[(300.0, 200.0), (420.0, 200.0), (420.0, 320.0)]),
            polygon(&[(500.0, 200.0), (520.0, 200.0), (520.0, 220.0)]),
        ],
    };
    assert_eq!(rules.area, area);
    assert_eq!((rules.threshold, rules.min_area_px, rules.defect_code), (Some(0.5), 4, 10));
    assert_eq!(rules.scale.map(|scale| scale.mm_per_px), Some(0.05));
    let zones: Vec<(&str, f64)> = rules.zones.iter().map(|zone| (zone.name.as_str(), zone.polygon.area())).collect();
    assert_eq!(zones, [("lip", 100_000.0), ("corner", 3200.0)]);
    let strict = Criterion {
        class: Some("scratch".into()),
        score_min: Some(0.25),
        area_px_min: Some(12.0),
        area_mm2_min: Some(0.5),
        length_px_min: Some(20.0),
        length_mm_min: Some(2.0),
        within: Some(1),
        edge_distance_px_max: Some(30.0),
        edge_distance_mm_max: Some(1.5),
        count_min: 2,
        severity: Severity::Critical,
        rejects: true,
        defect_code: 12,
    };
    let noted = Criterion {
        severity: Severity::Minor,
        rejects: false,
        defect_code: 10,
        ..Criterion::default()
    };
    assert_eq!(rules.criteria, [strict, noted]);
}

#[test]
fn a_line_of_version_1_is_still_read() {
    let line = TwinConfig::read(&repository("tests/fixtures/config/line-1.toml")).unwrap();
    assert_eq!(line.station, repository("tests/fixtures/config/station-1.toml"));
    assert!(line.start);
    assert_eq!((line.plc.poll, line.plc.scan), (Duration::ZERO, Duration::ZERO));
    assert_eq!(line.plc.address.map(|address| address.port()), Some(1502));
    assert_eq!(
        (line.camera.width, line.camera.height, line.camera.format),
        (320, 240, PixelFormat::Nv12)
    );
    assert_eq!((line.camera.exposure_delay, line.camera.transfer), (millis(3), millis(4)));
    assert_eq!((line.parts.count, line.parts.rate, line.parts.seed), (1000, Rate::Max, 42));
    assert_eq!(line.parts.dataset.as_deref(), Some(Path::new("/data/screw")));
    assert_eq!((line.parts.defect_share, line.parts.trigger_to_gate), (0.25, Some(millis(350))));
    assert_eq!(line.encoder_pitch, 500);
    let faults = Faults {
        frame_missed: 0.01,
        frame_late: 0.02,
        frame_duplicate: 0.03,
        frames_swapped: 0.04,
        trigger_duplicate: 0.05,
        trigger_bounce: 0.06,
        torn_write: 0.07,
        plc_restart: 0.08,
        engine_slow: 0.09,
        station_kill: 0.1,
        kills: 5,
        ..Faults::default()
    };
    assert_eq!(line.faults, faults);
}

#[test]
fn every_example_is_a_station_without_surprises() {
    for (example, warnings) in [("usb-camera.toml", 1), ("rtsp.toml", 1), ("twin/station.toml", 0)] {
        let station = StationConfig::read(&repository("examples").join(example)).unwrap_or_else(|errors| panic!("{errors}"));
        // Those for a real PLC listen where it can reach them. Where this clone lies is its owner's business.
        let warned = station.warnings();
        let count = warned.iter().filter(|warning| !warning.starts_with("state_directory")).count();
        assert_eq!(count, warnings, "{example}: {warned:?}");
    }
    let line = TwinConfig::read(&repository("examples/twin/line.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(line.station, repository("examples/twin/station.toml"));
}

#[test]
fn validate_tells_every_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("station.toml");
    let example = fs::read_to_string(repository("examples/twin/station.toml")).unwrap();
    let text = example.replace("deadline_ms = 200", "deadline_ms = 400");
    fs::write(&config, text.replace("provider = \"cpu\"", "provider = \"cpu\"\nworker = 2")).unwrap();
    let outcome = validate(&config, "table").exited(2);
    outcome.refused(&[
        "trigger_to_gate_ms 400 is shorter",
        "did you mean \"workers\"?",
        "failed to open model package",
    ]);
    for line in outcome.stderr.lines() {
        assert!(line.starts_with(&format!("{}:", config.display())), "{line}");
    }
}

/// A gate of the station's own that fits the twin's station, if its parts come every 200 ms at most.
const GATE: &str = r#"
[reject]
owner = "station"
chip = "/dev/gpiochip0"
encoder = { a = 4, b = 5 }
mm_per_count = 0.25
top_speed_mm_s = 200
part_length_mm = 10
tolerance_mm = 15
[[gate]]
name = "scrap"
kind = "energise_to_pass"
sensor = 6
output = 21
sensor_mm = 300
gate_mm = 400
actuation_ms = 10
"#;

#[test]
fn validate_prints_the_arithmetic_of_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("station.toml");
    let example = fs::read_to_string(repository("examples/twin/station.toml")).unwrap();
    parts::write_package(&folder.path().join("model"));
    fs::write(&config, &example).unwrap();
    assert!(validate(&config, "json").done().json()[0]["gate"].is_null(), "the PLC moves it");
    let apart = example.replace("part_interval_ms_min = 50", "part_interval_ms_min = 200");
    fs::write(&config, format!("{apart}{GATE}")).unwrap();

    let gate = &validate(&config, "json").done().json()[0]["gate"];
    // By hand: 200 mm/s for 2 x (10 + 5) ms; a quarter of 2 x 15 mm and a count.
    assert_eq!((&gate["round_trip_mm"], &gate["round_trip_mm_max"]), (&6.0.into(), &7.5625.into()));
    // 200 mm/s for 200 ms; the window, which is more than part and reach.
    assert_eq!((&gate["spacing_mm"], &gate["spacing_mm_min"]), (&40.0.into(), &30.25.into()));
    // 15 ms, 30 ms to arm and 200 ms, 10 ms; 400 mm less 200 mm/s for 10 ms and 5 mm, at 200 mm/s.
    assert_eq!((&gate["outcome_ms"], &gate["outcome_ms_max"]), (&255.0.into(), &1965.0.into()));
    let place = &gate["gates"][0];
    assert_eq!((&place["reach_mm"], &place["sensor_to_gate_mm"]), (&7.0.into(), &100.0.into()));
    assert_eq!(place["sensor_to_gate_mm_min"], 37.5);

    let table = validate(&config, "table").done().stdout;
    for words in [
        "6.0 mm",
        "at most 7.6 mm",
        "40.0 mm",
        "at least 30.2 mm",
        "gate \"scrap\"",
        "at least 37.5 mm",
        "1965 ms",
        "800 counts a second",
    ] {
        assert!(table.contains(words), "\"{words}\" is missing in {table}");
    }
}

#[test]
fn validate_prints_the_arithmetic() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("station.toml");
    fs::copy(repository("examples/twin/station.toml"), &config).unwrap();
    parts::write_package(&folder.path().join("model"));

    let report = &validate(&config, "json").done().json()[0];
    assert_eq!(report["needed_ms"], 260.0);
    assert_eq!((&report["trigger_to_gate_ms"], &report["slack_ms"]), (&400.0.into(), &140.0.into()));
    assert_eq!(report["terms"].as_array().unwrap().len(), 4);
    assert_eq!(report["trigger_rate_hz_max"], 20.0);

    let table = validate(&config, "table").done().stdout;
    for words in [
        "2 x (poll_ms + scan_ms)",
        "deadline_ms",
        "gate_actuation_ms",
        "margin_ms",
        "sum",
        "260",
        "slack",
        "140",
        "20.0 per second",
    ] {
        assert!(table.contains(words), "\"{words}\" is missing in {table}");
    }
}
