//! A cell to test in: the station as a process of its own, with a model that was taught, and whatever PLC a test brings.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::parts;
use crate::program::{run, takt, teach};

/// Longer than anything here takes, so that a test that hangs ends. Of the whole wait: a station that hangs may well go on talking.
const PATIENCE: Duration = Duration::from_mins(3);

/// A model of drawn parts, taught once for all tests.
pub(crate) fn model() -> &'static Path {
    static MODEL: OnceLock<tempfile::TempDir> = OnceLock::new();
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let folder = MODEL.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("good");
        parts::write(&good, 0, 30, false);
        run(&mut teach(&good, &folder.path().join("model"))).done();
        folder
    });
    PATH.get_or_init(|| folder.path().join("model"))
}

/// A folder with a station's configuration, images for its camera, and an address of its own.
pub(crate) struct Cell {
    folder: tempfile::TempDir,
    pub(crate) plc: SocketAddr,
}

impl Cell {
    /// A station whose camera shows four good parts and a scratched one, over and over, asked for by the PLC's trigger. Each pair of
    /// `changes` replaces text in its configuration.
    pub(crate) fn new(changes: &[(&str, &str)]) -> Self {
        static CELLS: AtomicU16 = AtomicU16::new(1);
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        parts::write(&images, 100, 4, false);
        parts::write(&folder.path().join("scratched"), 200, 1, true);
        std::fs::rename(folder.path().join("scratched/000.png"), images.join("004.png")).unwrap();
        // All of 127.0.0.0/8 is loopback: no two cells share an address, whoever runs them.
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        let cell = CELLS.fetch_add(1, Ordering::Relaxed) as u8;
        let plc = SocketAddr::from((Ipv4Addr::new(127, high | 0x40, low, cell), 15_020));
        let mut text = CONFIG
            .replace("ADDRESS", &plc.to_string())
            .replace("MODEL", model().to_str().unwrap());
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        std::fs::write(folder.path().join("station.toml"), text).unwrap();
        Self { folder, plc }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("station.toml")
    }

    /// Starts the station and waits until it has its models.
    pub(crate) fn start(&self) -> Running {
        self.start_with(&[])
    }

    /// Starts the station with these variables in its environment, and waits until it has its models.
    pub(crate) fn start_with(&self, variables: &[(&str, &OsStr)]) -> Running {
        let running = self.launch_with(variables);
        running.wait(has_models);
        running
    }

    /// Starts the station again. Returns what it printed on the way too: parts of its life before may be among it.
    pub(crate) fn start_again(&self) -> (Running, Vec<Value>) {
        let running = self.launch();
        let lines = running.wait(has_models);
        (running, lines)
    }

    /// Starts the station.
    pub(crate) fn launch(&self) -> Running {
        self.launch_with(&[])
    }

    /// Starts the station with these variables.
    pub(crate) fn launch_with(&self, variables: &[(&str, &OsStr)]) -> Running {
        let mut child = takt("run")
            .envs(variables.iter().copied())
            .arg("--config")
            .arg(self.config())
            .args(["--format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        let log = thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        Running { child, lines, log }
    }
}

fn has_models(line: &Value) -> bool {
    line["event"] == "state" && line["error"] != "models_not_ready"
}

/// A station that runs. Ended by its process ID at the latest when the test ends.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<Value>,
    log: JoinHandle<String>,
}

impl Running {
    /// Number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line the station prints, and returns it with those before it.
    #[track_caller]
    pub(crate) fn wait(&self, until: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut lines = Vec::new();
        let end = Instant::now() + PATIENCE;
        loop {
            let line = self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
                .unwrap_or_else(|error| panic!("{error} after {lines:#?}"));
            let found = until(&line);
            lines.push(line);
            if found {
                return lines;
            }
        }
    }

    /// As a power cut would, but for the memory.
    pub(crate) fn kill(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }

    /// Asks it to stop. Returns its exit code, what it still printed, and its log.
    pub(crate) fn stop(mut self) -> (Option<i32>, Vec<Value>, String) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        self.ended_by_itself(&mut Vec::new())
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> (Option<i32>, Vec<Value>, String) {
        self.ended_by_itself(&mut Vec::new())
    }

    fn ended_by_itself(&mut self, lines: &mut Vec<Value>) -> (Option<i32>, Vec<Value>, String) {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the station does not end: {lines:#?}"),
            }
        }
        let code = self.child.wait().unwrap().code();
        let log = std::mem::replace(&mut self.log, thread::spawn(String::new)).join().unwrap();
        (code, std::mem::take(lines), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines about parts.
pub(crate) fn parts_of(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["event"] == "part").collect()
}

const CONFIG: &str = r#"
config_version = 1

[station]
id = "test-cell"
state_directory = "state"
runtime_directory = "run"

[plc]
listen = "ADDRESS"
writers = ["127.0.0.1"]
poll_ms = 10
scan_ms = 10
heartbeat_timeout_ms = 5000

[trigger]
source = "plc"
frame_window_ms = 2000
part_interval_ms_min = 5000

[result]
mode = "single"

[timing]
deadline_ms = 5000
trigger_to_gate_ms = 10000
gate_actuation_ms = 20
margin_ms = 10

[[camera]]
name = "top"
folder = "images"

[recipe]
number = 3
name = "drawn"

[[recipe.inspection]]
name = "surface"
camera = "top"
model = "MODEL"
defect_code = 7

[engine]
threads = 1
"#;
