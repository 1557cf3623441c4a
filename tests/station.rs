//! The station as a process: a PLC triggers, a camera sees, the verdict is shown for that very cycle, or nothing passes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::Value;
use takt::line::image::{PlcImage, StationImage, control};
use takt::part::Verdict;
use takt::plc::signals;

use crate::cell::{Cell, Running, parts_of};
use crate::modbus::Client;
use crate::program::{run, takt};

/// A PLC that does one thing at a time and waits until it sees what it waits for.
pub(crate) struct Plc {
    client: Client,
    pub(crate) image: PlcImage,
}

impl Plc {
    /// Connects, begins a session, shows that it lives, and waits until the station is ready.
    pub(crate) fn connect(cell: &Cell) -> Self {
        let mut plc = Self {
            client: Client::connect([127, 0, 0, 1].into(), cell.plc),
            image: PlcImage::default(),
        };
        plc.image.plc_session = plc.shown().echo_plc_session.wrapping_add(1).max(1);
        plc.image.control = control::ONLINE | control::TRIGGER_ENABLE;
        plc
    }

    pub(crate) fn ready(mut self) -> Self {
        self.wait(|image| image.trigger_ready);
        self
    }

    pub(crate) fn shown(&mut self) -> StationImage {
        let mut registers = [0; signals::STATION_REGISTERS];
        // A read carries at most 125 registers.
        registers[..100].copy_from_slice(&self.client.read(4, 0, 100));
        registers[100..].copy_from_slice(&self.client.read(4, 100, signals::STATION_REGISTERS as u16 - 100));
        signals::station_image(&registers)
    }

    pub(crate) fn write(&mut self) {
        self.image.heartbeat = self.image.heartbeat.wrapping_add(1);
        let registers = signals::plc_registers(&self.image);
        assert_eq!(self.client.write(0, &registers)[0], 16);
    }

    /// Polls until the image is as expected. How long that may take is the test's patience, not a promise.
    pub(crate) fn wait(&mut self, until: impl Fn(&StationImage) -> bool) -> StationImage {
        for _ in 0..200_000 {
            self.write();
            let image = self.shown();
            if until(&image) {
                return image;
            }
        }
        panic!("the station never showed it: {:#?}", self.shown());
    }

    /// Triggers a part, and returns the image that shows its result.
    pub(crate) fn inspect(&mut self, cycle_id: u32) -> StationImage {
        assert!(self.trigger(cycle_id));
        self.wait(|image| image.result_valid && image.echo_cycle_id == cycle_id)
    }

    /// Triggers a part, and returns whether it was taken.
    pub(crate) fn trigger(&mut self, cycle_id: u32) -> bool {
        self.image.cycle_id = cycle_id;
        self.image.cycle_id_tail = cycle_id;
        self.write();
        self.image.control |= control::TRIGGER;
        self.write();
        let answered = self.wait(|image| (image.trigger_ack || image.missed_trigger) && image.echo_trigger_id == cycle_id);
        assert_eq!(answered.echo_trigger_id, cycle_id, "{answered:#?}");
        self.image.control &= !control::TRIGGER;
        self.write();
        answered.trigger_ack
    }
}

fn part(running: &Running, cycle_id: u32) -> Value {
    running
        .wait(|line| line["event"] == "part" && line["cycle_id"] == cycle_id)
        .pop()
        .unwrap()
}

#[test]
fn a_good_part_is_accepted_and_a_scratched_one_is_not() {
    let cell = Cell::new(&[]);
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    for cycle_id in 1..=4 {
        let image = plc.inspect(cycle_id);
        assert_eq!((image.accept, image.verdict.map(Verdict::name)), (true, Some("ok")));
    }
    let image = plc.inspect(5);
    assert_eq!(
        (image.accept, image.verdict.map(Verdict::name), image.defect_code),
        (false, Some("not_ok"), 7)
    );
    let counts = [image.counts.total, image.counts.ok, image.counts.not_ok, image.counts.not_decidable];
    assert_eq!(counts, [5, 4, 1, 0]);
    let record = part(&running, 5);
    assert_eq!(record["views"][0]["inspection"], "surface");
    assert!(record["views"][0]["score"].as_f64() > record["views"][0]["threshold"].as_f64());
    assert!(record["stages"]["infer_us"].as_u64() > Some(0));
}

#[test]
fn a_reader_of_standard_output_that_stands_still_keeps_no_record_from_the_journal() {
    // Their lines are more than a pipe of 64 KiB holds.
    const PARTS: u32 = 150;
    let cell = Cell::new(&[]);
    let mut station = takt("run")
        .arg("--config")
        .arg(cell.config())
        .args(["--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(station.stdout.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    assert!(first.contains("listening"), "{first}");
    let mut plc = Plc::connect(&cell).ready();
    for cycle_id in 1..=PARTS {
        plc.inspect(cycle_id);
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&station), rustix::process::Signal::TERM).unwrap();
    assert_eq!(station.wait().unwrap().code(), Some(0));
    drop(output);
    let journal = cell.path().join("state/journal");
    let records = run(takt("query")
        .args(["records", "--all", "--format", "json", "--journal"])
        .arg(journal))
    .done()
    .json();
    let cycles: BTreeSet<u64> = records.iter().filter_map(|record| record["cycle_id"].as_u64()).collect();
    assert_eq!(cycles, (1..=u64::from(PARTS)).collect());
}

#[test]
fn an_orderly_stop_ends_what_is_open_and_the_counters_go_on() {
    let cell = Cell::new(&[]);
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    let first = plc.inspect(1);
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    // Without the black box only what the disk keeps is left, as after a power cut.
    std::fs::remove_dir_all(cell.path().join("run")).unwrap();

    let _running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    let second = plc.inspect(2);
    assert_eq!(second.counts.total, 2);
    assert_eq!(second.boot_id, first.boot_id + 1);
    assert!(second.acquisition_id > first.acquisition_id && second.result_id > first.result_id);
}

#[test]
fn after_a_kill_what_was_shown_stands_and_what_was_skipped_is_told() {
    let cell = Cell::new(&[]);
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    let shown = plc.inspect(51);
    let before = running.kill();
    let session = plc.image.plc_session;

    let running = cell.launch();
    let mut lines = running.wait(|line| line["event"] == "state" && line["error"] != "models_not_ready");
    let mut plc = Plc::connect(&cell);
    let first = plc.shown();
    assert_eq!((first.boot_id, first.echo_plc_session), (shown.boot_id + 1, session));
    assert!(!first.accept && !first.result_valid && !first.trigger_ack && first.verdict.is_none() && !first.trigger_ready);
    assert_eq!(first.counts, shown.counts);
    // The PLC goes on in its session; 52 came while the station was down.
    plc.image.plc_session = session;
    let mut plc = plc.ready();
    plc.inspect(53);
    lines.extend(running.wait(|line| line["cycle_id"] == 53));
    let told: Vec<(&Value, &Value)> = parts_of(&lines)
        .iter()
        .map(|record| (&record["cycle_id"], &record["reason"]))
        .collect();
    assert!(told.contains(&(&Value::from(52), &Value::from("restart"))), "{told:?}");
    // Told before the kill or after the start, with the outcome that was shown.
    let told_before = parts_of(&before);
    let after = parts_of(&lines).into_iter().find(|record| record["cycle_id"] == 51);
    let outcomes: Vec<&Value> = told_before
        .iter()
        .copied()
        .chain(after)
        .filter(|record| record["cycle_id"] == 51)
        .map(|record| &record["verdict"])
        .collect();
    assert!(
        !outcomes.is_empty() && outcomes.iter().all(|verdict| **verdict == "ok"),
        "{outcomes:?}"
    );
}

#[test]
fn a_part_that_is_not_judged_in_time_is_not_passed_and_its_findings_follow() {
    let cell = Cell::new(&[
        ("deadline_ms = 5000", "deadline_ms = 1"),
        ("frame_window_ms = 2000", "frame_window_ms = 1"),
    ]);
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    let image = plc.inspect(1);
    assert!(!image.accept && image.deadline_missed);
    assert_eq!(image.verdict.map(Verdict::name), Some("not_decidable"));
    let record = part(&running, 1);
    assert!(["deadline", "no_frame"].contains(&record["reason"].as_str().unwrap()), "{record:#}");
}

#[test]
fn a_frame_that_the_region_does_not_fit_into_is_not_decidable() {
    let region = "defect_code = 7\nregion = { x = 0, y = 0, width = 5000, height = 10 }";
    let cell = Cell::new(&[("defect_code = 7", region)]);
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    assert!(!plc.inspect(1).accept);
    assert_eq!(part(&running, 1)["reason"], "frame_size");
}

#[test]
fn a_camera_that_stops_is_an_error_until_it_delivers_again() {
    // Ten frames, then the end of the stream, over and over.
    let source = "source = \"videotestsrc is-live=true num-buffers=10 ! video/x-raw,format=GRAY8,width=64,height=64,framerate=50/1\"";
    let cell = Cell::new(&[("folder = \"images\"", source), ("source = \"plc\"", "source = \"free_run\"")]);
    let running = cell.launch();
    for error in ["camera_lost", "", "camera_lost"] {
        running.wait(|line| line["event"] == "state" && line["error"].as_str().unwrap_or_default() == error);
    }
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("camera does not deliver") && log.contains("camera_lost"), "{log}");
}

#[test]
fn a_second_station_and_a_port_in_use_are_refused_by_name() {
    let cell = Cell::new(&[]);
    let taken = TcpListener::bind(cell.plc).unwrap();
    let (code, _, log) = cell.launch().ended();
    assert_eq!(code, Some(1));
    assert!(log.contains(&cell.plc.to_string()) && log.contains("plc.listen"), "{log}");
    drop(taken);

    let _running = cell.start();
    let (code, _, log) = cell.launch().ended();
    assert_eq!(code, Some(1));
    assert!(log.contains("another station runs with this runtime_directory"), "{log}");
}

#[test]
fn a_model_that_does_not_prove_itself_stops_the_station() {
    let cell = Cell::new(&[]);
    let broken = cell.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    let text = std::fs::read_to_string(cell.config()).unwrap();
    std::fs::write(
        cell.config(),
        text.replace(crate::cell::model().to_str().unwrap(), broken.to_str().unwrap()),
    )
    .unwrap();
    let (code, _, log) = cell.launch().ended();
    assert!(matches!(code, Some(1 | 2)), "{log}");
    assert!(log.contains("model.toml") && !log.contains("panicked"), "{log}");
}

/// Verdict by session and cycle ID.
pub(crate) type Verdicts = BTreeMap<(u64, u64), String>;

pub(crate) fn verdict_of(line: &Value) -> ((u64, u64), String) {
    let number = |name: &str| line[name].as_u64().unwrap();
    (
        (number("plc_session"), number("cycle_id")),
        line["verdict"].as_str().unwrap().to_owned(),
    )
}

/// The station's records, each once: what it tells again after a restart must be the same.
pub(crate) fn recorded(lines: &[Value]) -> Verdicts {
    let mut by_sequence: BTreeMap<u64, ((u64, u64), String)> = BTreeMap::new();
    for record in parts_of(lines).into_iter().filter(|record| record["late_findings"] == false) {
        let told = verdict_of(record);
        let before = by_sequence.insert(record["sequence"].as_u64().unwrap(), told.clone());
        assert!(
            before.as_ref().is_none_or(|before| *before == told),
            "told twice, and not the same: {before:?}, {told:?}"
        );
    }
    let count = by_sequence.len();
    let verdicts: Verdicts = by_sequence.into_values().collect();
    assert_eq!(verdicts.len(), count, "a part has two records");
    verdicts
}

/// Parts of a run with a foreign PLC, unless `TAKT_FOREIGN_PARTS` says otherwise.
pub(crate) fn foreign_parts() -> usize {
    std::env::var("TAKT_FOREIGN_PARTS").map_or(100, |parts| parts.parse().unwrap())
}

/// What the PLC read is what was recorded; what it passed, the record calls good; what it got an answer to has its record.
pub(crate) fn agree(said: &[Value], told: &[Value]) {
    let recorded = recorded(told);
    for part in said {
        let (cycle, read) = verdict_of(part);
        if read == "undefined" {
            assert_ne!(part["pass"], true, "{part}");
        } else {
            assert_eq!(recorded.get(&cycle), Some(&read), "{part}");
        }
        assert!(part["answer"] == "none" || recorded.contains_key(&cycle), "{part}");
    }
}

/// A foreign PLC triggers parts, with restarts of either side, and connections that drop.
fn foreign_master_runs(mode: &str, arguments: &[&str]) {
    let result_mode = format!("mode = \"{}\"", if mode == "window" { mode } else { "single" });
    let changes = [
        ("mode = \"single\"", result_mode.as_str()),
        ("part_interval_ms_min = 5000", "part_interval_ms_min = 500"),
    ];
    let cell = Cell::new(if mode == "window" { &changes } else { &[] });
    let mut running = cell.start();
    let parts = foreign_parts();
    let (number, restart) = (parts.to_string(), (parts / 4).to_string());
    let common = [
        "--parts",
        &number,
        "--mode",
        mode,
        "--poll-ms",
        "5",
        "--restart-after",
        &restart,
        "--drop-scan-share",
        "0.002",
        "--ready-timeout",
        "60",
        // A trigger that is raised while there is no link is answered by nobody: its part is given up soon.
        "--timer-ms",
        "5000",
    ];
    let Some(mut master) = crate::foreign::start(cell.plc, &[&common[..], arguments].concat()) else {
        return;
    };
    let lines = crate::foreign::lines(&mut master);
    let mut said = crate::foreign::take(&lines, parts * 6 / 10);
    // In the middle of a part, as power would fail.
    let mut told = running.kill();
    let (again, recovered) = cell.start_again();
    running = again;
    told.extend(recovered);
    said.extend(crate::foreign::take(&lines, usize::MAX));
    assert!(master.wait().unwrap().success(), "{:#?}", said.last());
    let (code, rest, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    told.extend(rest);

    let summary = said.pop().unwrap();
    assert_eq!(summary["violations"], Value::Array(Vec::new()), "{summary:#}");
    assert_eq!(
        (&summary["plc_restarts"], &summary["station_restarts"]),
        (&Value::from(1), &Value::from(1)),
        "{summary:#}"
    );
    assert_eq!(said.len(), parts);
    agree(&said, &told);
    assert!(said.iter().filter(|part| part["pass"] == true).count() > parts / 2, "{summary:#}");
    println!("{mode}: {summary}");
}

#[test]
fn a_foreign_plc_takes_results_one_by_one_through_restarts_of_either_side() {
    foreign_master_runs("single", &[]);
}

#[test]
fn a_foreign_plc_takes_results_from_the_buffer_through_restarts_of_either_side() {
    foreign_master_runs("buffered", &["--ack-delay-ms", "40"]);
}

#[test]
fn a_foreign_plc_takes_results_from_the_window_through_restarts_of_either_side() {
    foreign_master_runs("window", &[]);
}
