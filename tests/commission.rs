//! Virtual commissioning of a real station, `takt run`, over the real wire; its report as a program of another make reads it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use takt::line::config::{ResultMode, SerialMode, TriggerSource};
use takt::twin::commission::sequences::all;
use takt::twin::commission::step::Terms;

use crate::cell::Cell;
use crate::foreign::packages;
use crate::parts;
use crate::program::{Outcome, run, takt};
use crate::skip::skip;

/// A cell with a virtual camera and two recipes, whose times leave room for a slow machine.
fn cell() -> (Cell, PathBuf) {
    cell_with(&[])
}

/// The same with its configuration changed.
fn cell_with(changes: &[(&str, &str)]) -> (Cell, PathBuf) {
    let recipe = "[[recipe.inspection]]\nname = \"surface\"\ncamera = \"top\"\nmodel = \"MODEL\"\ndefect_code = 7\n";
    let region = "region = { x = 0, y = 24, width = 128, height = 128 }\n";
    let model = crate::cell::model().to_str().unwrap();
    let inspection = format!("{}{region}", recipe.replace("MODEL", model));
    let second = format!(
        "{inspection}\n[[recipe]]\nnumber = 4\nname = \"drawn too\"\n\n{}",
        inspection.replace("\"surface\"", "\"again\"")
    );
    let first = recipe.replace("MODEL", model);
    let all = [
        ("mode = \"single\"", "mode = \"single\"\naccept_hold_ms = 4000"),
        (
            "deadline_ms = 5000\ntrigger_to_gate_ms = 10000",
            "deadline_ms = 3000\ntrigger_to_gate_ms = 10000",
        ),
        (
            "folder = \"images\"",
            "source = 'shmsrc socket-path=\"SOCKET\" is-live=true ! gdpdepay'\nclock = \"monotonic\"\nstamp = { x = 0, y = 0, cell_px = 3 }",
        ),
        ("[recipe]\n", "[[recipe]]\n"),
        (first.as_str(), second.as_str()),
        ("heartbeat_timeout_ms = 5000", "heartbeat_timeout_ms = 2000"),
    ];
    let cell = Cell::new(&[&all[..], changes].concat());
    let text = std::fs::read_to_string(cell.config()).unwrap();
    let socket = cell.path().join("top.sock");
    std::fs::write(cell.config(), text.replace("SOCKET", socket.to_str().unwrap())).unwrap();
    parts::write(&cell.path().join("set/test/good"), 100, 1, false);
    parts::write(&cell.path().join("set/test/scratch"), 200, 1, true);
    let line = cell.path().join("line.toml");
    let text = "config_version = 1\n[station]\nconfig = \"station.toml\"\n[plc]\npoll_ms = 2\nscan_ms = 1\n\
                [camera]\nwidth = 128\nheight = 152\nformat = \"RGB\"\nexposure_delay_ms = 0\ntransfer_ms = 1\n\
                [parts]\ndataset = \"set\"\n";
    std::fs::write(&line, text).unwrap();
    (cell, line)
}

fn commission(line: &Path, options: &[&str]) -> Outcome {
    run(takt("twin")
        .arg("--commission")
        .arg("--config")
        .arg(line)
        .args(["--format", "json"])
        .args(options))
}

/// What junitparser says of a file; `None` where it cannot be had.
fn read_junit(file: &Path) -> Option<Value> {
    let packages = match packages("requirements_junit.txt") {
        Ok(packages) => packages,
        Err(reason) => {
            skip("commission: junitparser reads the report", &reason);
            return None;
        }
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/read_junit.py");
    let mut python = Command::new("python3");
    Some(
        run(python.arg(script).arg(file).env("PYTHONPATH", packages))
            .done()
            .json()
            .pop()
            .unwrap(),
    )
}

#[test]
fn a_real_station_passes_the_whole_list() {
    let (cell, line) = cell();
    let (xml, html) = (cell.path().join("report.xml"), cell.path().join("report.html"));
    let options = ["--junit", xml.to_str().unwrap(), "--report", html.to_str().unwrap()];
    let outcome = commission(&line, &options);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let said = outcome.json().pop().unwrap();
    let sequences = said["sequences"].as_array().unwrap();
    let ended = |ending: &str| -> Vec<&str> {
        let sequences = sequences.iter().filter(|sequence| sequence["ending"] == ending);
        sequences.map(|sequence| sequence["name"].as_str().unwrap()).collect()
    };
    let elsewhere = [
        "window_slots",
        "window_hold",
        "window_session",
        "window_link_down",
        "window_kill",
        "two_exposures",
        "unannounced_part",
        "nearest_frame",
        "serial_latched",
    ];
    assert_eq!(ended("skipped"), elsewhere, "what a station of another configuration does");
    assert_eq!(ended("passed").len(), sequences.len() - elsewhere.len());
    assert!(
        said["accepting_images"].as_u64() > Some(0) && said["verdicts_judged"] == true,
        "{said}"
    );
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.contains("Commissioning of test-cell") && page.contains("T_result"));

    let Some(report) = read_junit(&xml) else { return };
    assert_eq!(
        (&report["failures"], &report["skipped"]),
        (&Value::from(0), &Value::from(elsewhere.len())),
        "{report:#}"
    );
    let suites = report["suites"].as_array().unwrap();
    assert_eq!(suites.len(), sequences.len());
    let cases: usize = suites.iter().map(|suite| suite["cases"].as_array().unwrap().len()).sum();
    assert_eq!(report["tests"], cases, "{report:#}");
    let first = suites[0]["cases"].as_array().unwrap();
    let names: Vec<&str> = first.iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert!(
        names
            .iter()
            .any(|name| name.contains("TriggerAck = 1") && name.contains("T_ack 2000 ms")),
        "{names:#?}"
    );
}

/// Runs the list against a station of this configuration; these sequences must be among those that pass, and none fails.
fn a_real_station_passes(changes: &[(&str, &str)], least: &[&str]) {
    let (_cell, line) = cell_with(changes);
    let outcome = commission(&line, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let said = outcome.json().pop().unwrap();
    let sequences = said["sequences"].as_array().unwrap();
    for name in least {
        let sequence = sequences.iter().find(|sequence| sequence["name"] == *name).unwrap();
        assert_eq!(sequence["ending"], "passed", "{sequence:#}");
    }
    assert!(said["accepting_images"].as_u64() > Some(0), "{said}");
}

#[test]
fn a_real_station_that_polls_its_plc_passes() {
    let polls = [
        ("listen = ", "role = \"client\"\nplc_write_ms_max = 200\nconnect = "),
        ("writers = [\"127.0.0.1\"]", ""),
    ];
    a_real_station_passes(
        &polls,
        &["normal", "late_engine", "buffered_late_ack", "buffer_full", "stale_data", "kill"],
    );
}

#[test]
fn a_real_station_in_window_mode_whose_camera_runs_freely_passes() {
    let window = [
        ("mode = \"single\"", "mode = \"window\""),
        ("source = \"plc\"", "source = \"free_run\""),
        ("frame_window_ms = 2000", "frame_window_ms = 500"),
    ];
    a_real_station_passes(
        &window,
        &[
            "window_slots",
            "window_hold",
            "window_session",
            "window_kill",
            "nearest_frame",
            "no_exposure",
        ],
    );
}

#[test]
fn a_real_station_with_a_wired_trigger_passes() {
    let wired = [
        ("source = \"plc\"", "source = \"hardware\"\narm_window_ms = 800"),
        ("frame_window_ms = 2000\n", ""),
        ("part_interval_ms_min = 5000", "part_interval_ms_min = 900"),
    ];
    a_real_station_passes(
        &wired,
        &[
            "normal",
            "two_exposures",
            "unannounced_part",
            "trigger_while_busy",
            "no_exposure",
            "kill",
        ],
    );
}

#[test]
fn a_station_that_polls_its_plc_cannot_be_asked() {
    let cell = Cell::new(&[("listen = ", "role = \"client\"\nconnect = "), ("writers = [\"127.0.0.1\"]", "")]);
    let line = cell.path().join("line.toml");
    std::fs::write(&line, "config_version = 1\n[station]\nconfig = \"station.toml\"\n").unwrap();
    let outcome = commission(&line, &["--station", &cell.plc.to_string()]);
    outcome.refused(&["plc.role", "start = false", "plc.connect"]);
}

#[test]
fn a_station_that_runs_elsewhere_has_its_handshake_judged() {
    // Its camera shows parts of its own, over and over.
    let cell = Cell::new(&[
        ("mode = \"single\"", "mode = \"single\"\naccept_hold_ms = 4000"),
        ("heartbeat_timeout_ms = 5000", "heartbeat_timeout_ms = 2000"),
    ]);
    let station = cell.start();
    let line = cell.path().join("line.toml");
    std::fs::write(
        &line,
        "config_version = 1\n[station]\nconfig = \"station.toml\"\n[plc]\npoll_ms = 2\n",
    )
    .unwrap();
    let outcome = commission(&line, &["--station", &cell.plc.to_string()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let said = outcome.json().pop().unwrap();
    assert_eq!(said["verdicts_judged"], false);
    let sequences = said["sequences"].as_array().unwrap();
    let of = |name: &str| sequences.iter().find(|sequence| sequence["name"] == name).unwrap();
    assert_eq!(of("normal")["ending"], "passed");
    assert_eq!(of("link_down_5_s")["ending"], "passed");
    assert_eq!(of("kill")["ending"], "skipped");
    assert!(of("kill")["reason"].as_str().unwrap().contains("the twin's"), "{said}");
    assert_eq!(station.stop().0, Some(0));
}

#[test]
fn a_station_that_is_not_there_is_said() {
    let cell = Cell::new(&[]);
    let line = cell.path().join("line.toml");
    std::fs::write(&line, "config_version = 1\n[station]\nconfig = \"station.toml\"\n").unwrap();
    let outcome = commission(&line, &["--station", &cell.plc.to_string()]);
    outcome.refused(&["does not answer", &cell.plc.to_string(), "plc.writers"]);
}

#[test]
fn the_list_in_the_manual_is_the_list_that_is_run() {
    let terms = Terms {
        mode: ResultMode::Single,
        polled: false,
        trigger: TriggerSource::Plc {
            frame_window: Duration::from_millis(100),
        },
        part_interval: Duration::ZERO,
        deadline: Duration::from_millis(200),
        accept_hold: Duration::from_secs(1),
        torn: Duration::from_millis(200),
        heartbeat_timeout: Duration::from_secs(1),
        recipes: vec![1],
        serial: SerialMode::WithTrigger,
        sequential: true,
        simulated: false,
        own_parts: true,
        own_station: true,
        long_cut: Duration::from_secs(5),
    };
    let manual = include_str!("../docs/commissioning.md");
    let list = all(&terms);
    let rows: Vec<String> = list
        .iter()
        .map(|sequence| format!("| `{}` | {}: {} |", sequence.name, sequence.title, sequence.proves))
        .collect();
    let table = rows.join("\n");
    assert!(
        manual.contains(&table),
        "docs/commissioning.md differs from the list; it should hold:\n{table}"
    );
}

#[test]
fn a_report_without_commissioning_is_wrong_usage() {
    let outcome = run(takt("twin").args(["--config", "line.toml", "--report", "x.html"]));
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--commission"), "{}", outcome.stderr);
}
