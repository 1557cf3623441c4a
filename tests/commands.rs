//! What a PLC commands of a real station: counters, test runs, pictures to teach from; and serial numbers given beforehand.

use std::fs;
use std::path::{Path, PathBuf};

use takt::line::commands::Command;
use takt::line::error_code::ErrorCode;
use takt::line::image::{StationImage, StationMode, control};
use takt::part::Verdict;

use crate::cell::Cell;
use crate::station::Plc;

impl Plc {
    /// Has a command executed, and returns whether it was done.
    fn execute(&mut self, command: Command) -> bool {
        self.image.command = command.code();
        self.image.control |= control::EXECUTE_COMMAND;
        let answered = self.wait(|image| image.command_done || image.command_failed);
        assert_ne!(answered.command_done, answered.command_failed);
        self.image.control &= !control::EXECUTE_COMMAND;
        self.wait(|image| !image.command_done && !image.command_failed);
        answered.command_done
    }

    fn acknowledge(&mut self, shown: &StationImage) {
        self.image.ack_result_id = shown.result_id;
        self.image.control |= control::RESULT_ACK;
        self.wait(|image| !image.result_valid);
        self.image.control &= !control::RESULT_ACK;
        self.write();
    }
}

/// What lies in a folder, by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn good_parts_are_kept_to_teach_from_as_the_inspection_sees_them() {
    let region = "defect_code = 7\nregion = { x = 8, y = 4, width = 40, height = 32 }";
    let cell = Cell::new(&[("defect_code = 7", region)]);
    let _running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    plc.inspect(1);
    assert!(plc.execute(Command::StartTeach));
    assert_eq!(plc.shown().station_mode, StationMode::Teach);
    for cycle_id in [2, 3] {
        let image = plc.inspect(cycle_id);
        assert!(!image.accept && image.test_result && image.verdict.is_some());
        plc.acknowledge(&image);
    }
    assert!(plc.execute(Command::StopTeach));
    let image = plc.wait(|image| image.trigger_ready);
    assert_eq!((image.station_mode, image.counts.total), (StationMode::Auto, 1));

    let lessons = entries(&cell.path().join("state/teach"));
    assert_eq!(lessons.len(), 1);
    let kept = entries(&lessons[0].join("3-surface"));
    assert_eq!(kept.len(), 2);
    // The camera shows its folder in order: the second and the third were taught.
    for (kept, shown) in kept.iter().zip(["001.png", "002.png"]) {
        let shown = image::open(cell.path().join("images").join(shown)).unwrap().into_rgb8();
        let cut = image::imageops::crop_imm(&shown, 8, 4, 40, 32).to_image();
        assert_eq!(image::open(kept).unwrap().into_rgb8(), cut, "{}", kept.display());
    }
    assert!(
        plc.inspect(4).accept || plc.shown().verdict.map(Verdict::name) == Some("not_ok"),
        "inspected again"
    );
}

#[test]
fn a_lesson_without_a_part_has_failed() {
    let cell = Cell::new(&[]);
    let _running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    assert!(!plc.execute(Command::StopTeach), "nothing is taught");
    assert!(plc.execute(Command::StartTeach));
    assert!(!plc.execute(Command::StopTeach), "nothing was kept");
    assert_eq!(plc.wait(|image| image.trigger_ready).station_mode, StationMode::Auto);
}

#[test]
fn a_test_run_finds_a_package_that_was_damaged_while_the_station_ran() {
    let cell = Cell::new(&[]);
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    assert!(plc.execute(Command::TestRun));
    assert!(plc.inspect(1).accept);

    // The station runs a copy of its own.
    let copies = entries(&cell.path().join("state/models"));
    let graph = copies
        .iter()
        .map(|copy| copy.join("model.onnx"))
        .find(|graph| graph.exists())
        .unwrap();
    let whole = fs::read(&graph).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&graph, damaged).unwrap();
    assert!(!plc.execute(Command::TestRun));
    let image = plc.shown();
    assert_eq!(image.error_code, ErrorCode::TestRunFailed.code());
    assert!(image.error && !image.trigger_ready);
    assert!(!plc.trigger(2), "missed");

    fs::write(&graph, whole).unwrap();
    plc.image.control |= control::CLEAR_ERROR;
    assert!(
        plc.execute(Command::TestRun),
        "clearing the error makes no model better, proving it does"
    );
    plc.wait(|image| image.trigger_ready);
    plc.image.control &= !control::CLEAR_ERROR;
    assert!(plc.inspect(3).accept);
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("test run: the model is not what was proven"), "{log}");
}

#[test]
fn counters_that_the_plc_cleared_stay_so_over_kill_9_and_a_start() {
    let cell = Cell::new(&[]);
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    for cycle_id in 1..=3 {
        plc.inspect(cycle_id);
    }
    assert!(plc.execute(Command::ClearCounters));
    assert_eq!(plc.shown().counts.total, 0);
    plc.inspect(4);
    running.kill();
    let (_running, _) = cell.start_again();
    let mut plc = Plc::connect(&cell).ready();
    let counts = plc.shown().counts;
    assert_eq!((counts.total, counts.ok), (1, 1));
}

#[test]
fn a_serial_number_that_was_latched_is_the_next_parts() {
    let cell = Cell::new(&[("[timing]", "[serial]\nmode = \"latched\"\nrequired = true\n\n[timing]")]);
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    assert!(!plc.trigger(1), "without a serial number");
    plc.image.serial[..4].copy_from_slice(b"A-17");
    plc.image.control |= control::SET_USER_DATA;
    plc.wait(|image| image.user_data_ack);
    plc.image.control &= !control::SET_USER_DATA;
    plc.image.serial = [b'x'; 32];
    plc.wait(|image| !image.user_data_ack);
    plc.inspect(2);
    let record = running.wait(|line| line["event"] == "part" && line["cycle_id"] == 2).pop().unwrap();
    assert_eq!(record["serial"], "A-17");
    assert!(!plc.trigger(3), "never inherited");
}

#[test]
fn a_simulated_station_passes_no_part() {
    let cell = Cell::new(&[("id = \"test-cell\"", "id = \"test-cell\"\nsimulated = true")]);
    let _running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    let image = plc.inspect(1);
    assert!(image.simulated && !image.accept && image.verdict == Some(Verdict::Ok));
    assert_eq!(image.station_mode, StationMode::Simulated);
}
