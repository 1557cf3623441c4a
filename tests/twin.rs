//! The virtual line around a real station: what goes wrong on purpose breaks no promise.

use std::path::Path;

use serde_json::Value;

use crate::cell::Cell;
use crate::parts;
use crate::program::{run, takt};

/// A cell with a virtual camera, results in window mode.
pub(crate) fn cell(trigger: &str) -> Cell {
    let cell = Cell::new(&[
        ("source = \"plc\"\nframe_window_ms = 2000\npart_interval_ms_min = 5000", trigger),
        ("mode = \"single\"", "mode = \"window\"\naccept_hold_ms = 150"),
        (
            "deadline_ms = 5000\ntrigger_to_gate_ms = 10000",
            "deadline_ms = 400\ntrigger_to_gate_ms = 600",
        ),
        (
            "folder = \"images\"",
            "source = 'shmsrc socket-path=\"SOCKET\" is-live=true ! gdpdepay'\nclock = \"monotonic\"\nstamp = { x = 0, y = 0, cell_px = 3 }",
        ),
        (
            "defect_code = 7",
            "defect_code = 7\nregion = { x = 0, y = 24, width = 128, height = 128 }",
        ),
        ("heartbeat_timeout_ms = 5000", "heartbeat_timeout_ms = 2000"),
    ]);
    let text = std::fs::read_to_string(cell.config()).unwrap();
    let socket = cell.path().join("top.sock");
    std::fs::write(cell.config(), text.replace("SOCKET", socket.to_str().unwrap())).unwrap();
    parts::write(&cell.path().join("set/test/good"), 100, 6, false);
    parts::write(&cell.path().join("set/test/scratch"), 200, 3, true);
    cell
}

pub(crate) fn line_with(folder: &Path, parts: &str, faults: &str) -> Value {
    let text = format!(
        "config_version = 1\n[station]\nconfig = \"station.toml\"\nstart = true\n[plc]\npoll_ms = 2\nscan_ms = 1\n\
         [camera]\nwidth = 128\nheight = 152\nformat = \"RGB\"\nexposure_delay_ms = 5\ntransfer_ms = 1\n\
         [parts]\nseed = 7\ndefect_share = 0.25\ndataset = \"set\"\n{parts}\n[encoder]\npitch = 1000\n[faults]\n{faults}\n"
    );
    let file = folder.join("line.toml");
    std::fs::write(&file, text).unwrap();
    let outcome = run(takt("twin").arg("--config").arg(file).args(["--format", "json"])).done();
    outcome.json().pop().unwrap()
}

/// Whatever happened, nothing was lost, exchanged or passed that should not have been.
pub(crate) fn assert_kept(report: &Value) {
    for promise in ["line_1", "line_2", "line_3", "line_5"] {
        assert_eq!(report[promise]["pass"], true, "{report:#}");
    }
    for count in ["lost", "wrong_part", "ok_after_deadline"] {
        assert_eq!(report[count], 0, "{report:#}");
    }
}

#[test]
fn a_line_where_much_goes_wrong_keeps_its_promises() {
    let cell = cell("source = \"hardware\"\narm_window_ms = 30\npart_interval_ms_min = 60");
    let faults = "frame_missed = 0.05\nframe_late = 0.05\nframe_duplicate = 0.05\nframes_swapped = 0.05\ntrigger_duplicate = 0.05\n\
                  trigger_bounce = 0.05\ntorn_write = 0.05\nplc_restart = 0.02\nengine_slow = 0.02";
    let report = line_with(cell.path(), "count = 120\nrate_hz = 12.0", faults);
    assert_kept(&report);
    assert!(report["outcomes"]["ok"].as_u64() > Some(20), "{report:#}");
    assert!(report["outcomes"]["not_decidable"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn a_station_that_is_killed_at_any_moment_loses_nothing() {
    let cell = cell("source = \"plc\"\nframe_window_ms = 400\npart_interval_ms_min = 60");
    let report = line_with(cell.path(), "count = 100\nrate_hz = \"max\"", "kills = 12");
    assert_kept(&report);
    assert_eq!(report["station_kills"], 12);
    assert!(report["outcomes"]["ok"].as_u64() > Some(10), "{report:#}");
}
