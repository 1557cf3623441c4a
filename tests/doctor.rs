//! `takt doctor` on real boxes: a station that runs, a historian behind TLS, and everything that may be wrong with either.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use takt::doctor::Check;
use takt::rpc::pki::{self, Purpose, Wanted};

use crate::cell::{Cell, model};
use crate::program::{Outcome, run, takt};
use crate::station::Plc;

const DAY_S: i64 = 24 * 3600;

/// `takt doctor` for programs, with this configuration.
fn doctor(config: &Path) -> Command {
    let mut command = takt("doctor");
    command.arg("--config").arg(config).args(["--format", "json"]);
    command
}

/// What it says, after it has ended in order and its exit code fits.
#[track_caller]
fn examined(command: &mut Command) -> Value {
    let outcome: Outcome = run(command);
    assert!(!outcome.stderr.contains("panicked"), "{outcome:#?}");
    let report = outcome.json().pop().unwrap_or_else(|| panic!("{outcome:#?}"));
    let expected = i32::from(report["status"] == "failed");
    assert_eq!(
        (outcome.code, report["exit_code"].as_i64()),
        (Some(expected), Some(expected.into())),
        "{report:#}"
    );
    report
}

/// All that was found of a check.
fn all<'r>(report: &'r Value, check: &str) -> Vec<&'r Value> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().filter(|finding| finding["check"] == check).collect()
}

/// The finding of a check about a subject; how it stands, its fact and its remedy have to be as said.
#[track_caller]
fn found<'r>(report: &'r Value, check: &str, status: &str, words: &[&str]) -> &'r Value {
    let findings = all(report, check);
    let fits = |finding: &&&Value| {
        let text = format!("{} {} {}", finding["subject"], finding["fact"], finding["remedy"]);
        finding["status"] == status && words.iter().all(|word| text.contains(word))
    };
    findings
        .iter()
        .find(fits)
        .unwrap_or_else(|| panic!("no {check} that is {status} and says {words:?} in {findings:#?}"))
}

fn configure(cell: &Cell, tables: &str) {
    let text = fs::read_to_string(cell.config()).unwrap();
    fs::write(cell.config(), format!("{text}\n{tables}\n")).unwrap();
}

/// Everything in a folder and below, with its size and time of change; but for the index of the journal's log that its readers share.
fn contents(folder: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.metadata().unwrap();
        if metadata.is_dir() {
            found.extend(contents(&path));
        } else if !path.to_string_lossy().ends_with("-shm") {
            found.push((path, metadata.len(), metadata.modified().unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_running_station_is_looked_at_and_not_disturbed() {
    let cell = Cell::new(&[]);
    let metrics = SocketAddr::new(cell.plc.ip(), 15_021);
    configure(&cell, &format!("[metrics]\nlisten = \"{metrics}\""));
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    let first = plc.inspect(1);
    // It is no promise how fast a doctor is, so the PLC goes on meanwhile.
    let done = AtomicBool::new(false);
    let (report, mut plc) = std::thread::scope(|scope| {
        let polling = scope.spawn(|| {
            let mut plc = plc;
            while !done.load(Ordering::SeqCst) {
                plc = plc.ready();
            }
            plc
        });
        let report = examined(&mut doctor(&cell.config()));
        done.store(true, Ordering::SeqCst);
        (report, polling.join().unwrap())
    });
    found(&report, "config", "ok", &["test-cell"]);
    let library = found(&report, "library", "ok", &["ONNX Runtime", "cpu"]);
    assert!(library["values"]["version"].as_str().unwrap().starts_with("1."), "{library:#}");
    assert!(Path::new(library["values"]["file"].as_str().unwrap()).is_absolute(), "{library:#}");
    found(&report, "gstreamer", "ok", &["no camera needs it"]);
    found(&report, "model", "ok", &["its seal is whole"]);
    found(&report, "golden_gate", "ok", &["the running station came through it"]);
    found(&report, "camera", "ok", &["it delivers", "5 images"]);
    let port = found(&report, "plc", "ok", &["served; connected: 127.0.0.1"]);
    assert_eq!(port["values"]["connected"], serde_json::json!(["127.0.0.1"]));
    let station = found(&report, "station", "ok", &["ready; ", "parts since its start"]);
    assert_eq!(
        (&station["values"]["ready"], &station["values"]["error_code"]),
        (&Value::from(true), &Value::from(0))
    );
    found(&report, "historian", "unknown", &["none is configured"]);
    found(&report, "journal", "ok", &["format 1"]);
    found(&report, "last_end", "ok", &["the station runs"]);
    assert_eq!(all(&report, "disk").len(), 2, "{report:#}");

    // The station goes on as if nothing had been.
    let second = plc.inspect(2);
    assert_eq!((second.counts.total, second.boot_id), (2, first.boot_id));
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");

    // And once it has stopped, what it left is read and left as it is.
    let before = contents(cell.path());
    let report = examined(&mut doctor(&cell.config()));
    assert_eq!(contents(cell.path()), before);
    found(&report, "station", "warning", &["does not run", "systemctl start"]);
    found(&report, "plc", "ok", &["free"]);
    found(&report, "last_end", "ok", &["every part is in the journal"]);
    let journal = found(&report, "journal", "ok", &["2 records", "2 not at the historian"]);
    assert_eq!(journal["values"]["backlog_records"], 2);
}

/// An authority, and certificates of it.
struct Plant {
    folder: tempfile::TempDir,
}

impl Plant {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        pki::write_authority(folder.path(), &pki::new_authority("plant", 10, now() - 400 * DAY_S).unwrap()).unwrap();
        Self { folder }
    }

    fn ca(&self) -> String {
        self.folder.path().join(pki::AUTHORITY_CERTIFICATE).to_str().unwrap().to_owned()
    }

    /// Certificate and key, made so many days ago for so many.
    fn issue(&self, name: &str, purpose: Purpose, days_ago: i64, days: u32) -> (String, String) {
        let wanted = Wanted {
            name: name.into(),
            purpose,
            hosts: vec!["127.0.0.1".into()],
            days,
        };
        let issued = pki::issue(self.folder.path(), &wanted, now() - days_ago * DAY_S).unwrap();
        let file = format!("{name}-{days_ago}");
        let (certificate, key) = pki::write_issued(self.folder.path(), &file, &issued).unwrap();
        (certificate.to_str().unwrap().to_owned(), key.to_str().unwrap().to_owned())
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A historian as a process of its own.
struct Historian {
    child: Child,
    address: String,
}

impl Historian {
    fn start(plant: &Plant) -> Self {
        let (certificate, key) = plant.issue("historian", Purpose::Historian, 0, 365);
        let place = |name: &str| plant.folder.path().join(name).display().to_string();
        let mut child = takt("historian")
            .args(["--listen", "127.0.0.1:0", "--format", "json"])
            .args(["--store", &format!("sqlite:{}", place("historian.sqlite"))])
            .args(["--images", &format!("file:{}", place("images"))])
            .args(["--certificate", &certificate, "--key", &key, "--client-ca", &plant.ca()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut listening = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut listening).unwrap();
        let listening: Value = serde_json::from_str(&listening).unwrap();
        let address = listening["address"].as_str().unwrap().to_owned();
        Self { child, address }
    }
}

impl Drop for Historian {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_historian_is_asked_with_the_station_s_certificate_and_every_certificate_is_dated() {
    let plant = Plant::new();
    let historian = Historian::start(&plant);
    let with = |(certificate, key): (String, String)| {
        let cell = Cell::new(&[]);
        let (address, ca) = (&historian.address, plant.ca());
        let table = format!("[historian]\nurl = \"https://{address}\"\nca = \"{ca}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"");
        configure(&cell, &table);
        cell
    };
    let cell = with(plant.issue("test-cell", Purpose::Station, 0, 365));
    let report = examined(&mut doctor(&cell.config()));
    found(&report, "historian", "ok", &["it answers after"]);
    assert_eq!(all(&report, "certificate").len(), 2);
    let certificate = found(&report, "certificate", "ok", &["test-cell is valid for 36"]);
    assert!(certificate["values"]["days_left"].as_i64() >= Some(363), "{certificate:#}");

    let soon = with(plant.issue("test-cell", Purpose::Station, 350, 365));
    found(
        &examined(&mut doctor(&soon.config())),
        "certificate",
        "warning",
        &["expires in 1", "takt pki issue"],
    );

    let late = with(plant.issue("test-cell", Purpose::Station, 100, 30));
    let report = examined(&mut doctor(&late.config()));
    found(&report, "certificate", "failed", &["test-cell expired on", "takt pki issue"]);
    found(&report, "historian", "failed", &["expired"]);
    assert_eq!(report["exit_code"], 1);

    drop(historian);
    let report = examined(&mut doctor(&cell.config()));
    found(&report, "historian", "failed", &["not reached", "nothing listens there"]);
    found(&report, "certificate", "ok", &["test-cell"]);
}

#[test]
fn every_error_of_a_configuration_is_told_with_its_place_and_the_box_is_looked_at_all_the_same() {
    let cell = Cell::new(&[
        ("scan_ms = 10", "scan_ms = 0\nscann_ms = 1"),
        ("folder = \"images\"", "folder = \"images\"\nexposure = 3"),
    ]);
    let text = fs::read_to_string(cell.config()).unwrap();
    let line_of = |key: &str| text.lines().position(|line| line.starts_with(key)).unwrap() as i64 + 1;
    let report = examined(&mut doctor(&cell.config()));
    for (key, reason) in [
        ("scan_ms", "scan_ms is 0"),
        ("scann_ms", "unknown key"),
        ("exposure", "unknown key \\\"exposure\\\""),
    ] {
        let finding = found(&report, "config", "failed", &[reason]);
        assert_eq!(finding["values"]["line"].as_i64(), Some(line_of(key)), "{finding:#}");
        let place = format!("{}:{}:", cell.config().display(), line_of(key));
        assert!(finding["fact"].as_str().unwrap().starts_with(&place), "{finding:#}");
    }
    found(&report, "library", "ok", &["ONNX Runtime"]);
    found(&report, "plc", "unknown", &["has to be right first"]);
    assert_eq!(all(&report, "memory").len(), 1);

    // Cut off in the middle, as a full disk leaves it; then not there; then nothing that is text.
    fs::write(cell.config(), &text[..text.len() / 2]).unwrap();
    found(&examined(&mut doctor(&cell.config())), "config", "failed", &["station.toml"]);
    fs::write(cell.config(), [0xff; 64]).unwrap();
    found(&examined(&mut doctor(&cell.config())), "config", "failed", &["station.toml"]);
    fs::remove_file(cell.config()).unwrap();
    found(
        &examined(&mut doctor(&cell.config())),
        "config",
        "failed",
        &["failed to read the file"],
    );
    let usage = run(takt("doctor").arg("--conf"));
    assert_eq!(usage.code, Some(2), "{usage:#?}");
}

#[test]
fn what_stands_in_the_way_of_a_station_is_named() {
    let cell = Cell::new(&[
        (
            "folder = \"images\"",
            "source = \"nvarguscamerasrc ! video/x-raw ! nothinglikethis\"",
        ),
        ("source = \"plc\"", "source = \"free_run\""),
    ]);
    let state = cell.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o555)).unwrap();
    fs::write(cell.path().join("run"), "a file where a folder has to be").unwrap();
    let _taken = TcpListener::bind(cell.plc).unwrap();
    let report = examined(&mut doctor(&cell.config()));
    found(&report, "disk", "failed", &["its mode is 0555", "chmod u+w"]);
    found(&report, "disk", "failed", &["it is no folder"]);
    found(&report, "plc", "failed", &["another program listens there", "ss -ltnp"]);
    found(&report, "gstreamer", "failed", &["nvarguscamerasrc", "nvidia-l4t-gstreamer"]);
    found(&report, "camera", "unknown", &["top"]);
    fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_camera_that_is_not_there_is_named() {
    let device = "source = \"v4l2src device=/dev/video-of-nobody\"";
    let cell = Cell::new(&[("folder = \"images\"", device), ("source = \"plc\"", "source = \"free_run\"")]);
    found(
        &examined(&mut doctor(&cell.config())),
        "camera",
        "failed",
        &["/dev/video-of-nobody is not there", "cable"],
    );
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("source = \"rtspsrc location=rtsp://{free}/stream ! decodebin\"");
    let cell = Cell::new(&[
        ("folder = \"images\"", address.as_str()),
        ("source = \"plc\"", "source = \"free_run\""),
    ]);
    found(
        &examined(&mut doctor(&cell.config())),
        "camera",
        "failed",
        &[&free.to_string(), "does not answer"],
    );
}

#[test]
fn an_update_stays_if_the_station_can_run_on_it() {
    let cell = Cell::new(&[]);
    let report = examined(doctor(&cell.config()).arg("--boot"));
    assert_eq!(
        (&report["may_stay"], &report["mode"]),
        (&Value::from(true), &Value::from("boot")),
        "{report:#}"
    );
    let mut checks: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["check"].as_str().unwrap())
        .collect();
    // Of the configuration there may be warnings.
    checks.dedup();
    let expected = ["takt", "config", "library", "golden_gate", "plc", "journal", "black_box"];
    assert_eq!(checks, expected);
    found(&report, "golden_gate", "ok", &[model().to_str().unwrap(), "golden images", "cpu"]);

    // A journal of a later version: this takt cannot go on with it.
    let journal = cell.path().join("state/journal");
    fs::create_dir_all(&journal).unwrap();
    let file = rusqlite::Connection::open(journal.join("journal.sqlite")).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let report = examined(doctor(&cell.config()).arg("--boot"));
    assert_eq!(report["may_stay"], false);
    found(
        &report,
        "journal",
        "failed",
        &["format version is 99", "run the takt that wrote it"],
    );
    let screen = run(takt("doctor").arg("--config").arg(cell.config()).arg("--boot"));
    assert!(
        screen.code == Some(1) && screen.stdout.ends_with("This version must not stay.\n"),
        "{screen:#?}"
    );
    assert!(
        !screen.stdout.contains('\u{1b}') && screen.stdout.lines().all(|line| line.chars().count() <= 80),
        "{screen:#?}"
    );
}

#[test]
fn a_library_for_another_machine_is_named_with_both() {
    let (machine, number) = if cfg!(target_arch = "x86_64") {
        ("aarch64", 183)
    } else {
        ("x86_64", 62)
    };
    let cell = Cell::new(&[]);
    let library = cell.path().join("libonnxruntime.so");
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0".to_vec();
    elf.extend([number, 0]);
    elf.resize(4096, 0);
    fs::write(&library, elf).unwrap();
    let report = examined(doctor(&cell.config()).arg("--boot").env("ORT_DYLIB_PATH", &library));
    let finding = found(
        &report,
        "library",
        "failed",
        &[&format!("is for {machine}"), std::env::consts::ARCH],
    );
    assert_eq!(finding["values"]["architecture"], machine);
    found(&report, "golden_gate", "failed", &["failed to load ONNX Runtime"]);
    assert_eq!(report["may_stay"], false);
}

#[test]
fn a_file_that_never_comes_holds_up_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("station.toml");
    // Whoever opens it waits for a writer, as for a network file system whose server is gone.
    let made = Command::new("mkfifo").arg(&config).status().unwrap();
    assert!(made.success());
    let report = examined(&mut doctor(&config));
    found(&report, "config", "failed", &["is not read within"]);
    found(&report, "machine", "ok", &["kernel"]);
}

#[test]
fn every_check_is_in_the_manual() {
    let document = include_str!("../docs/doctor.md");
    let table: Vec<String> = Check::ALL
        .iter()
        .map(|check| format!("| `{}` | {} |", check.name(), check.meaning()))
        .collect();
    let table = table.join("\n");
    assert!(document.contains(&table), "docs/doctor.md should hold:\n{table}");
}
