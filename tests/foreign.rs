//! A PLC program of another make (`foreign/plc_master.py`, with pymodbus) gets its parts judged by the station's Modbus server. The line behind the
//! server is played here: it answers triggers as the interface says, and its verdicts follow from the cycle ID.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use takt::line::image::{PlcImage, StationImage, StationMode, WINDOW_SLOTS, WindowSlot, control};
use takt::part::{CycleId, Verdict};
use takt::plc::modbus::{ModbusConfig, ModbusServer, SILENCE_MAX};
use takt::plc::{PlcEvent, Shown};

use crate::skip::skip;

/// Where stations listen.
const STATION: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

/// Where the station listens that is started twice: nobody else uses this address, so its port stays free while the station is down.
const RESTARTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 10);

/// The foreign PLC program, ready to be given its options; or why it cannot be had here.
pub(crate) fn plc_master() -> Result<Command, String> {
    static PACKAGES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let packages = PACKAGES.get_or_init(|| packages("requirements.txt")).clone()?;
    let mut python = Command::new("python3");
    python.arg(folder().join("plc_master.py")).env("PYTHONPATH", packages);
    Ok(python)
}

/// The foreign line controller, ready to be given its options and the address of a station; or why it cannot be had here.
pub(crate) fn grpc_controller(station: SocketAddr) -> Result<Command, String> {
    static PACKAGES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let packages = PACKAGES.get_or_init(|| packages("requirements_grpc.txt")).clone()?;
    let mut python = Command::new("python3");
    python.arg(folder().join("grpc_controller.py")).env("PYTHONPATH", packages);
    python.args(["--target", &station.to_string(), "--protos"]);
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("proto"));
    Ok(python)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign")
}

/// The folder with the packages of a list of requirements, installed once for each version of that file.
pub(crate) fn packages(requirements: &str) -> Result<PathBuf, String> {
    let requirements = folder().join(requirements);
    let version = crc32fast::hash(&fs::read(&requirements).unwrap());
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let packages = kept.join(format!("python-{version:08x}"));
    if packages.is_dir() {
        return Ok(packages);
    }
    fs::create_dir_all(kept).unwrap();
    let fresh = tempfile::tempdir_in(kept).unwrap();
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
    ]);
    pip.arg("--target").arg(fresh.path()).arg("--requirement").arg(&requirements);
    let output = pip
        .output()
        .map_err(|error| format!("python3 cannot be run ({error}); install python3 and python3-pip"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = said.trim().lines().last().unwrap_or("pip says nothing").to_owned();
        return Err(format!(
            "pip cannot install the packages ({reason}); install python3-pip, Python 3.10 or later, and let it reach PyPI"
        ));
    }
    // Whole or not at all; another process may have been faster.
    match fs::rename(fresh.path(), &packages) {
        Err(_) if !packages.is_dir() => Err(format!("{} cannot be written", packages.display())),
        _ => Ok(packages),
    }
}

/// What the master said in the end.
struct Said {
    parts: Vec<Value>,
    summary: Value,
}

impl Said {
    fn of(output: &Output) -> Self {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}\n{out}{err}", output.status);
        let mut parts: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let summary = parts.pop().unwrap();
        assert_eq!(summary["violations"], Value::Array(Vec::new()), "{summary}");
        Self { parts, summary }
    }

    /// Cycle ID, verdict, whether it passed and why not, of each part.
    fn outcomes<'a>(&'a self) -> Vec<(u64, &'a str, bool, &'a str)> {
        let outcome = |part: &'a Value| {
            let word = |name: &str| part[name].as_str().unwrap();
            let cycle_id = part["cycle_id"].as_u64().unwrap();
            (cycle_id, word("verdict"), part["pass"].as_bool().unwrap(), word("cause"))
        };
        self.parts.iter().map(outcome).collect()
    }
}

/// Starts the master with these options against what listens at this address, without a limit that a slow machine could break.
pub(crate) fn start(at: SocketAddr, options: &[&str]) -> Option<Child> {
    Some(command(at, options)?.stdout(Stdio::piped()).spawn().unwrap())
}

/// Starts the foreign PLC that is the server at this address, with these options.
pub(crate) fn start_server(at: SocketAddr, options: &[&str]) -> Option<Child> {
    let plc = plc_master().map(|command| {
        // The same Python, packages and environment; the other program.
        let mut server = Command::new(command.get_program());
        server.arg(folder().join("plc_server.py"));
        server.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        server
    });
    Some(given(plc, at, options)?.stdout(Stdio::piped()).spawn().unwrap())
}

/// The next lines, so many at most, or all until its end. It has limits of its own for everything that it waits for; this one is of the whole.
#[track_caller]
pub(crate) fn take(lines: &Receiver<Value>, most: usize) -> Vec<Value> {
    let end = Instant::now() + Duration::from_mins(30);
    let mut taken = Vec::new();
    while taken.len() < most {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => taken.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("the PLC program does not end; it said {:#?} last", taken.last()),
        }
    }
    taken
}

/// What it says, line by line; ends with it.
pub(crate) fn lines(master: &mut Child) -> mpsc::Receiver<Value> {
    let stdout = BufReader::new(master.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _ = sender.send(serde_json::from_str(&line).unwrap());
        }
    });
    lines
}

/// Runs the master with these options against what listens at this address, without a limit that a slow machine could break.
fn master(at: SocketAddr, options: &[&str]) -> Option<thread::JoinHandle<Output>> {
    let mut command = command(at, options)?;
    Some(thread::spawn(move || command.output().unwrap()))
}

fn command(at: SocketAddr, options: &[&str]) -> Option<Command> {
    given(plc_master(), at, options)
}

/// A program of this PLC with its options.
fn given(program: Result<Command, String>, at: SocketAddr, options: &[&str]) -> Option<Command> {
    let mut command = match program {
        Ok(command) => command,
        Err(reason) => {
            skip("foreign", &reason);
            return None;
        }
    };
    command.args(["--host", &at.ip().to_string(), "--port", &at.port().to_string()]);
    command.args([
        "--timer-ms",
        "60000",
        "--heartbeat-timeout-ms",
        "60000",
        "--response-timeout-ms",
        "60000",
    ]);
    command.args(options).stdin(Stdio::null());
    Some(command)
}

/// What a line says to a PLC, without parts, cameras or deadlines.
struct Line {
    server: ModbusServer,
    events: Receiver<PlcEvent>,
    shown: Shown,
    image: StationImage,
    plc: PlcImage,
    window: bool,
    results: u32,
    acknowledged: usize,
}

impl Line {
    fn start(listen: SocketAddr, boot_id: u16, window: bool) -> Self {
        let shown = Shown::default();
        let (sender, events) = mpsc::channel();
        let config = ModbusConfig {
            listen,
            writers: vec![Ipv4Addr::LOCALHOST.into()],
            tags: false,
            silence_max: SILENCE_MAX,
        };
        let server = ModbusServer::start(&config, Arc::clone(&shown), move |event| {
            // Nobody listens to a station that is being killed.
            let _ = sender.send(event);
        });
        let mut line = Self {
            server: server.unwrap(),
            events,
            shown,
            image: StationImage {
                online: true,
                boot_id,
                station_mode: StationMode::Auto,
                ..StationImage::default()
            },
            plc: PlcImage::default(),
            window,
            results: u32::from(boot_id) * 1000,
            acknowledged: 0,
        };
        line.show();
        line
    }

    fn show(&mut self) {
        self.shown.store(Arc::new(self.image.clone()));
    }

    /// Plays the line until that many triggers were acknowledged, or the master is done.
    fn play(&mut self, triggers: usize, done: impl Fn() -> bool) {
        while self.acknowledged < triggers && !done() {
            match self.events.recv_timeout(Duration::from_millis(20)) {
                Ok(PlcEvent::Wrote { image, .. }) => self.wrote(image),
                // What is found after a connection is no edge.
                Ok(PlcEvent::Connected) => self.plc.control |= control::TRIGGER | control::RESULT_ACK,
                Ok(PlcEvent::Lost) => {}
                Err(RecvTimeoutError::Timeout) => self.image.heartbeat = self.image.heartbeat.wrapping_add(1),
                Err(RecvTimeoutError::Disconnected) => panic!("the server is gone"),
            }
            self.show();
        }
    }

    fn wrote(&mut self, plc: PlcImage) {
        let before = std::mem::replace(&mut self.plc, plc);
        let rises = |mask| plc.is(mask) && !before.is(mask);
        if plc.plc_session != self.image.echo_plc_session {
            self.image.echo_plc_session = plc.plc_session;
            self.clear_result();
            self.image.window = [WindowSlot::default(); WINDOW_SLOTS];
        }
        if rises(control::RESULT_ACK) && plc.ack_result_id == self.image.result_id {
            self.clear_result();
        }
        if rises(control::TRIGGER) && plc.cycle_id == plc.cycle_id_tail {
            self.acknowledge();
        } else if self.image.trigger_ack && !plc.is(control::TRIGGER) {
            self.image.trigger_ack = false;
            self.judge();
        }
        let idle = !self.image.trigger_ack && !plc.is(control::TRIGGER);
        self.image.trigger_ready = idle && plc.is(control::ONLINE | control::TRIGGER_ENABLE);
    }

    fn clear_result(&mut self) {
        self.image.result_valid = false;
        self.image.accept = false;
        self.image.verdict = None;
    }

    fn acknowledge(&mut self) {
        self.clear_result();
        self.image.echo_trigger_id = self.plc.cycle_id;
        self.image.trigger_ack = true;
        self.acknowledged += 1;
    }

    /// Every third part is bad, every fifth not decidable.
    fn judge(&mut self) {
        let cycle_id = self.plc.cycle_id;
        let verdict = match cycle_id {
            _ if cycle_id.is_multiple_of(5) => Verdict::NotDecidable,
            _ if cycle_id.is_multiple_of(3) => Verdict::NotOk,
            _ => Verdict::Ok,
        };
        self.results += 1;
        if self.window {
            self.image.window[self.results as usize % WINDOW_SLOTS] = WindowSlot {
                cycle_id: CycleId::new(cycle_id),
                result_id: self.results,
                verdict: verdict.code(),
                defect_code: 0,
            };
            return;
        }
        self.image.echo_cycle_id = cycle_id;
        self.image.result_id = self.results;
        self.image.result_valid = true;
        self.image.verdict = Some(verdict);
        self.image.accept = verdict == Verdict::Ok;
        self.image.inspection_toggle ^= true;
    }
}

/// All parts of one run, without interruption.
fn run(window: bool, options: &[&str]) -> Option<Said> {
    let mut line = Line::start(SocketAddr::from((STATION, 0)), 7, window);
    let mode = if window { "window" } else { "single" };
    let master = master(line.server.address(), &[&["--mode", mode], options].concat())?;
    line.play(usize::MAX, || master.is_finished());
    Some(Said::of(&master.join().unwrap()))
}

const PASSED: (&str, bool, &str) = ("ok", true, "pass_rule");
const BAD: (&str, bool, &str) = ("not_ok", false, "verdict");
const UNDECIDED: (&str, bool, &str) = ("not_decidable", false, "verdict");

fn numbered<const N: usize>(first: u64, outcomes: [(&'static str, bool, &'static str); N]) -> Vec<(u64, &'static str, bool, &'static str)> {
    let numbered = (first..).zip(outcomes);
    numbered
        .map(|(cycle_id, (verdict, pass, cause))| (cycle_id, verdict, pass, cause))
        .collect()
}

#[test]
fn a_foreign_plc_gets_its_results_one_by_one() {
    let Some(said) = run(false, &["--parts", "6", "--start-cycle", "1"]) else {
        return;
    };
    assert_eq!(said.outcomes(), numbered(1, [PASSED, PASSED, BAD, PASSED, UNDECIDED, BAD]));
    assert_eq!((&said.summary["passed"], &said.summary["acknowledged"]), (&3.into(), &6.into()));
}

#[test]
fn a_foreign_plc_finds_its_results_in_the_window() {
    let Some(said) = run(true, &["--parts", "20", "--start-cycle", "2147483640"]) else {
        return;
    };
    let ids: Vec<u64> = said.outcomes().iter().map(|outcome| outcome.0).collect();
    assert_eq!(
        ids,
        (2_147_483_640..=2_147_483_647).chain(1..=12).collect::<Vec<u64>>(),
        "after the last comes the first"
    );
    assert_eq!(said.outcomes()[8..14], numbered(1, [PASSED, PASSED, BAD, PASSED, UNDECIDED, BAD]));
}

#[test]
fn a_foreign_plc_that_restarts_passes_nothing_of_before() {
    let Some(said) = run(false, &["--parts", "4", "--restart-after", "2"]) else {
        return;
    };
    assert_eq!(
        said.outcomes(),
        numbered(1, [PASSED, ("undefined", false, "plc_restart"), BAD, PASSED])
    );
    let sessions: Vec<&Value> = said.parts.iter().map(|part| &part["plc_session"]).collect();
    assert_eq!(sessions, [1, 1, 2, 2]);
    assert_eq!(said.summary["plc_restarts"], 1);
}

#[test]
fn a_foreign_plc_rejects_what_a_station_that_restarts_had_open() {
    let mut line = Line::start(SocketAddr::from((RESTARTED, 0)), 7, false);
    let address = line.server.address();
    let Some(master) = master(address, &["--parts", "4"]) else { return };
    // The second is acknowledged and never judged.
    line.play(2, || master.is_finished());
    drop(line);
    let mut line = Line::start(address, 8, false);
    line.play(usize::MAX, || master.is_finished());
    let said = Said::of(&master.join().unwrap());
    assert_eq!(
        said.outcomes(),
        numbered(1, [PASSED, ("undefined", false, "station_restart"), BAD, PASSED])
    );
    assert_eq!(said.summary["station_restarts"], 1);
}
