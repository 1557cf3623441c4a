//! Models of a station that runs, exchanged by its configuration; what the journal keeps of every wish; threads that prove; progress of a start.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use takt::rpc::health::ask_station;

use crate::cell::{Cell, Running, model};
use crate::models::{ONLINE, activate, asked, cell_with, desk, in_force, judged_by, of_other_weights, variant};
use crate::program::{run, takt};
use crate::service::ServiceManager;
use crate::station::Plc;

/// Writes the configuration with another model in place of the taught one, and has the station read it.
fn reload(cell: &Cell, running: &Running, text: &str, package: &Path) {
    fs::write(cell.config(), text.replace(model().to_str().unwrap(), package.to_str().unwrap())).unwrap();
    kill_process(Pid::from_raw(running.id() as i32).unwrap(), Signal::HUP).unwrap();
}

/// Longer than records take on their way.
const PATIENCE: Duration = Duration::from_mins(1);

/// A historian, ended by its process ID at the latest when the test ends.
struct Historian {
    child: Child,
    address: String,
    store: PathBuf,
}

impl Historian {
    fn start(folder: &Path) -> Self {
        let store = folder.join("historian.sqlite");
        let mut child = takt("historian")
            .args(["--listen", "127.0.0.1:0", "--format", "json", "--store"])
            .arg(format!("sqlite:{}", store.display()))
            .arg("--images")
            .arg(format!("file:{}", folder.join("images-kept").display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut listening = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut listening).unwrap();
        let address = serde_json::from_str::<Value>(&listening).unwrap()["address"]
            .as_str()
            .unwrap()
            .to_owned();
        Self { child, address, store }
    }
}

impl Drop for Historian {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn history(records: &Path) -> Vec<Value> {
    run(takt("model").arg("history").arg(records).args(["--format", "json"]))
        .done()
        .json()
}

fn words(changes: &[Value]) -> Vec<(&str, &str)> {
    let of = |change| (word(change, "wish"), word(change, "outcome"));
    changes.iter().map(of).collect()
}

fn word<'a>(change: &'a Value, key: &str) -> &'a str {
    change[key].as_str().unwrap_or_default()
}

fn assert_journal_holds(journal: &Path) {
    let verified = run(takt("journal").arg("verify").arg(journal).args(["--format", "json"]))
        .done()
        .json();
    assert_eq!(verified[0]["whole"], true, "{verified:#?}");
}

#[test]
fn a_configuration_that_names_another_model_puts_it_in_force_between_two_parts() {
    let cell = cell_with(ONLINE);
    let text = fs::read_to_string(cell.config()).unwrap();
    let manager = ServiceManager::new(&cell);
    let running = manager.start(&cell);
    manager.wait("READY=1");
    let mut plc = Plc::connect(&cell).ready();
    let first = plc.inspect(1).config_checksum;
    let taught = judged_by(&running, 1).0;

    let other = variant(cell.path(), "other", |_| {});
    reload(&cell, &running, &text, &other);
    manager.wait("RELOADING=1");
    let told = manager.wait("READY=1");
    assert!(told.contains("other models are in force"), "{told}");
    let second = plc.inspect(2).config_checksum;
    assert_eq!(judged_by(&running, 2), ("other".into(), u64::from(second)));
    assert_ne!(first, second);
    let listed = in_force(&cell);
    assert_eq!(
        (&listed["activated"], &listed["configured"]),
        (&false.into(), &other.to_str().unwrap().into())
    );

    // What does not prove itself changes nothing, whatever the file says.
    let different = variant(cell.path(), "different", of_other_weights);
    reload(&cell, &running, &text, &different);
    manager.wait("RELOADING=1");
    let told = manager.wait("READY=1");
    assert!(
        told.contains("those before stay in force") && told.contains("golden image"),
        "{told}"
    );
    assert_eq!(plc.inspect(3).config_checksum, second);
    assert_eq!(judged_by(&running, 3).0, "other");
    // What is edited together belongs together.
    let third = variant(cell.path(), "third", |_| {});
    reload(&cell, &running, &text.replace("margin_ms = 10", "margin_ms = 11"), &third);
    manager.wait("RELOADING=1");
    let told = manager.wait("READY=1");
    assert!(
        told.contains("a restart is needed for timing.margin_ms, recipe.inspection.model"),
        "{told}"
    );
    assert_eq!(plc.inspect(4).config_checksum, second);

    // An activation holds until the file names another package; the way back ends with it, as at a restart.
    activate(&cell, &third).done();
    asked(&cell, "rollback", None).done();
    reload(&cell, &running, &text, model());
    manager.wait("RELOADING=1");
    assert!(manager.wait("READY=1").contains("other models are in force"));
    assert_eq!(plc.inspect(5).config_checksum, first, "the same file and the same models");
    assert_eq!(judged_by(&running, 5).0, taught);
    asked(&cell, "rollback", None).refused(&["no model was in force before"]);
    reload(&cell, &running, &text, &third);
    manager.wait("RELOADING=1");
    manager.wait("READY=1");
    let last = plc.inspect(6).config_checksum;
    let journal = cell.path().join("state/journal");
    let until = Instant::now() + PATIENCE;
    while history(&journal).len() < 7 {
        assert!(Instant::now() < until, "{:#?}", history(&journal));
    }
    running.kill();

    // A restart comes to the same as what was in force.
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    assert_eq!(plc.inspect(8).config_checksum, last);
    assert_eq!(judged_by(&running, 8), ("third".into(), u64::from(last)));
    let changes = history(&journal);
    let expected = [
        ("configuration", "exchanged"),
        ("configuration", "refused"),
        ("activate", "exchanged"),
        ("rollback", "exchanged"),
        ("configuration", "exchanged"),
        ("rollback", "refused"),
        ("configuration", "exchanged"),
    ];
    assert_eq!(words(&changes), expected, "{changes:#?}");
    let refused = &changes[1];
    assert_eq!(
        (&refused["from"]["version"], &refused["to"]["version"]),
        (&"other".into(), &"different".into())
    );
    assert_eq!(refused["from_checksum"], refused["to_checksum"]);
    assert!(refused["reason"].as_str().unwrap().contains("golden image"), "{refused:#}");
    assert!(
        changes
            .iter()
            .all(|change| change["asked_unix_ns"].as_i64() > Some(1_700_000_000_000_000_000))
    );
    assert_eq!(
        (&changes[0]["by"], &changes[0]["inspection"]),
        (&"station.toml".into(), &"surface".into())
    );
    assert_eq!(changes[0]["to_checksum"], format!("{second:08x}"));
    assert_eq!(changes[0]["package"], other.to_str().unwrap());
    drop(running);
    assert_journal_holds(&journal);
}

#[test]
fn every_wish_for_a_model_is_recorded_and_reaches_the_historian() {
    let cell = cell_with(ONLINE);
    let historian = Historian::start(cell.path());
    let text = fs::read_to_string(cell.config()).unwrap();
    fs::write(
        cell.config(),
        format!("{text}\n[historian]\nurl = \"http://{}\"\n", historian.address),
    )
    .unwrap();
    let other = variant(cell.path(), "other", |_| {});
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    let before = plc.inspect(1).config_checksum;
    activate(&cell, &other).done();
    activate(&cell, &other).done();
    activate(&cell, Path::new("/nowhere")).refused(&["it has no model.toml"]);
    let unknown = run(takt("model").args(["rollback", "--inspection", "rim", "--station", &format!("http://{}", desk(&cell))]));
    unknown.refused(&["failed to find inspection \"rim\""]);
    asked(&cell, "rollback", None).done();
    assert_eq!(plc.inspect(2).config_checksum, before);
    judged_by(&running, 2);
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");

    let journal = cell.path().join("state/journal");
    let changes = history(&journal);
    let expected = [
        ("activate", "exchanged"),
        ("activate", "unchanged"),
        ("activate", "refused"),
        ("rollback", "refused"),
        ("rollback", "exchanged"),
    ];
    assert_eq!(words(&changes), expected, "{changes:#?}");
    assert_eq!((&changes[3]["inspection"], &changes[3]["from"]), (&"rim".into(), &Value::Null));
    assert_eq!(changes[4]["to_checksum"], format!("{before:08x}"));
    assert_eq!(changes[4]["to"], changes[0]["from"]);
    assert!(changes[0]["by"].as_str().unwrap().contains("127."), "{:#}", changes[0]);
    // One of them, as any record.
    let key = format!("test-cell/{}/{}", changes[0]["epoch"], changes[0]["sequence"]);
    let journal_text = journal.to_str().unwrap();
    let shown = run(takt("query").args(["show", &key, "--journal", journal_text, "--format", "json"]))
        .done()
        .json();
    assert_eq!(
        (&shown[0]["record"]["kind"], &shown[0]["record"]["to"]["version"]),
        (&"model_change".into(), &"other".into())
    );
    let page = run(takt("query").args(["show", &key, "--journal", journal_text])).done().stdout;
    assert!(page.contains("activate exchanged"), "{page}");
    let table = run(takt("model").arg("history").arg(&journal)).done().stdout;
    assert!(
        table.contains("activate refused") && table.contains("it has no model.toml"),
        "{table}"
    );
    assert_journal_holds(&journal);

    // What a stop left unsent goes with the next start.
    let running = cell.start();
    let until = Instant::now() + PATIENCE;
    while history(&historian.store) != changes {
        assert!(Instant::now() < until, "{:#?}", history(&historian.store));
    }
    drop(running);
}

/// Policy and niceness of the threads that sessions started (`proc_pid_stat(5)`: fields 19 and 41).
fn session_threads(process: u32) -> Vec<(i64, i64)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"))
        .unwrap()
        .map(|task| task.unwrap().path());
    let is_session = |task: &std::path::PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "session");
    let standing = |task: std::path::PathBuf| {
        let stat = fs::read_to_string(task.join("stat")).unwrap();
        let after_name: Vec<i64> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .skip(1)
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        // Field 4 is the first after name and state.
        (after_name[41 - 4], after_name[19 - 4])
    };
    tasks.filter(is_session).map(standing).collect()
}

#[test]
fn sessions_of_several_threads_judge_at_usual_priority_once_they_are_in_force() {
    let cell = cell_with(ONLINE);
    let text = fs::read_to_string(cell.config()).unwrap();
    fs::write(cell.config(), text.replace("threads = 1", "threads = 3")).unwrap();
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    plc.inspect(1);
    assert_eq!(session_threads(running.id()), [], "those of a start are made by the runtime itself");
    let other = variant(cell.path(), "other", |_| {});
    activate(&cell, &other).done();
    plc.inspect(2);
    assert_eq!(judged_by(&running, 2).0, "other");
    let own = rustix::process::getpriority_process(None).unwrap();
    // The thread that asks is one of the three.
    assert_eq!(
        session_threads(running.id()),
        vec![(i64::from(libc::SCHED_OTHER), i64::from(own)); 2]
    );
}

#[test]
fn a_station_that_loads_its_models_says_how_far_it_is() {
    let cell = cell_with(ONLINE);
    drop(cell.start());
    // The copy that sessions run from, read by nobody before its engine does: it comes when this test lets it.
    let kept = fs::read_dir(cell.path().join("state/models"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let kept = kept.into_iter().find(|path| path.is_dir()).unwrap().join("model.onnx");
    let bytes = fs::read(&kept).unwrap();
    fs::remove_file(&kept).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        CString::new(kept.to_str().unwrap()).unwrap().as_c_str(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let running = cell.launch();
    running.wait(|line| line["error"] == "models_not_ready");
    // Opens once the engine reads: the model is being loaded.
    let mut pipe = fs::OpenOptions::new().write(true).open(&kept).unwrap();
    let status = || ask_station(SocketAddr::new(cell.plc.ip(), 15_021), PATIENCE).unwrap();
    let until = Instant::now() + PATIENCE;
    // What the engine says of itself is on its way.
    let loading = loop {
        let loading = status();
        if loading.models_loading.is_some() {
            break loading;
        }
        assert!(Instant::now() < until, "{loading:?}");
    };
    let progress = loading.models_loading.clone().unwrap();
    assert_eq!((progress.number, progress.of, progress.provider.as_str()), (1, 1, "cpu"));
    assert_eq!(Path::new(&progress.model), kept.parent().unwrap());
    assert_eq!((loading.ready, loading.error_code), (false, 10), "{loading:?}");
    assert_eq!(loading.station_mode, takt::line::image::StationMode::Preoperational as u32);
    pipe.write_all(&bytes).unwrap();
    drop(pipe);
    running.wait(|line| line["event"] == "state" && line["error"] != "models_not_ready");
    let ready = status();
    assert_eq!(ready.models_loading, None);
}
