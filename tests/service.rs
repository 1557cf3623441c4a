//! The station as a service: what a service manager hears of it, when its watchdog is fed, what it takes over while it runs, who answers the
//! PLC while it is down; and whether systemd finds anything wrong with its units.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use takt::line::error_code::ErrorCode;
use takt::line::image::StationImage;
use takt::plc::signals;
use takt::rpc::health::ask_station;
use takt::rpc::proto::GetStatusResponse;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::cell::{Cell, Running};
use crate::held::Held;
use crate::modbus::Client;
use crate::program::{run, takt};
use crate::skip::skip;
use crate::station::Plc;

/// Longer than anything here takes, so that a test that hangs ends.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often the played service manager wants to hear that all is well. The station looks four times as often.
const WATCHDOG: Duration = Duration::from_secs(2);

/// A service manager: hears what a service says of itself.
pub(crate) struct ServiceManager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl ServiceManager {
    pub(crate) fn new(cell: &Cell) -> Self {
        let path = cell.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    pub(crate) fn start(&self, cell: &Cell) -> Running {
        cell.launch_with(&[
            ("NOTIFY_SOCKET", self.path.as_os_str()),
            ("WATCHDOG_USEC", WATCHDOG.as_micros().to_string().as_ref()),
        ])
    }

    fn hear(&self) -> String {
        let mut buffer = [0; 8192];
        let length = self.socket.recv(&mut buffer).expect("the station said nothing more");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Waits for a message with this line.
    pub(crate) fn wait(&self, line: &str) -> String {
        loop {
            let message = self.hear();
            if message.lines().any(|said| said.starts_with(line)) {
                return message;
            }
        }
    }

    /// Everything that is said in this time.
    fn listen_for(&self, time: Duration) -> Vec<String> {
        let until = Instant::now() + time;
        let mut messages = Vec::new();
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.socket.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 8192];
            if let Ok(length) = self.socket.recv(&mut buffer) {
                messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            }
        }
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        messages
    }
}

/// A part that has no outcome after half a second has none; so long a stage may hang twice.
fn quick() -> Cell {
    Cell::new(&[("deadline_ms = 5000", "deadline_ms = 500")])
}

#[test]
fn a_station_is_ready_once_it_inspects_and_is_well_without_parts() {
    let cell = quick();
    let manager = ServiceManager::new(&cell);
    let running = manager.start(&cell);
    manager.wait("READY=1");
    // Both at once: models are proven before that is said, and the PLC is served.
    TcpStream::connect(cell.plc).unwrap();
    running.wait(|line| line["event"] == "state" && line["error"] != "models_not_ready");
    for _ in 0..3 {
        manager.wait("WATCHDOG=1");
    }
    let process = rustix::process::Pid::from_raw(running.id() as i32).unwrap();
    kill_process(process, Signal::TERM).unwrap();
    manager.wait("STOPPING=1");
    assert_eq!(running.ended().0, Some(0));
}

#[test]
fn a_stage_that_hangs_is_named_and_starves_the_watchdog_until_it_goes_on() {
    let cell = quick();
    let manager = ServiceManager::new(&cell);
    let running = manager.start(&cell);
    manager.wait("READY=1");
    for stage in ["line", "engine-1", "recorder"] {
        manager.wait("WATCHDOG=1");
        let held = match Held::thread(running.id(), stage) {
            Ok(held) => held,
            Err(error) => {
                return skip(
                    "a_stage_that_hangs_is_named_and_starves_the_watchdog_until_it_goes_on",
                    &format!("ptrace: {error}"),
                );
            }
        };
        manager.wait(&format!("STATUS=hangs: {stage} "));
        let said = manager.listen_for(WATCHDOG);
        assert!(!said.iter().any(|message| message.contains("WATCHDOG=1")), "{stage}: {said:?}");
        drop(held);
        manager.wait("WATCHDOG=1");
    }
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("a stage hangs") && log.contains("every stage goes on"), "{log}");
}

#[test]
fn what_is_read_again_is_taken_over_or_named_and_what_is_wrong_changes_nothing() {
    let cell = Cell::new(&[]);
    let manager = ServiceManager::new(&cell);
    let running = manager.start(&cell);
    let process = Pid::from_raw(running.id() as i32).unwrap();
    manager.wait("READY=1");
    let mut plc = Plc::connect(&cell).ready();
    plc.inspect(1);

    let text = fs::read_to_string(cell.config()).unwrap();
    fs::write(
        cell.config(),
        text.replace("margin_ms = 10", "margin_ms = 11") + "[log]\nfilter = \"info\"\n",
    )
    .unwrap();
    kill_process(process, Signal::HUP).unwrap();
    assert!(manager.wait("RELOADING=1").contains("MONOTONIC_USEC="));
    let told = manager.wait("READY=1");
    assert!(told.contains("a restart is needed for timing.margin_ms"), "{told}");
    // A new session is worth a line from now on; the first one was not.
    let mut plc = Plc::connect(&cell).ready();
    assert!(plc.inspect(2).result_valid);

    fs::write(cell.config(), &text[..text.len() / 2]).unwrap();
    kill_process(process, Signal::HUP).unwrap();
    manager.wait("RELOADING=1");
    let told = manager.wait("READY=1");
    assert!(
        told.contains("configuration not taken over") && told.contains("station.toml:"),
        "{told}"
    );
    assert!(plc.inspect(3).result_valid);
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("the PLC began a new session").count(), 1, "{log}");
    assert!(log.contains("the configuration is not taken over"), "{log}");
}

/// Somebody who stands in for the station. Ended by its process ID at the latest when the test ends.
struct StandIn(Child);

impl StandIn {
    /// For a service manager that keeps state in this folder.
    fn start(cell: &Cell, manager: &ServiceManager, state: &Path) -> Self {
        let child = takt("failsafe")
            .args(["--serve", "--config"])
            .arg(cell.config())
            .env("STATE_DIRECTORY", state)
            .env("NOTIFY_SOCKET", &manager.path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl StandIn {
    /// What it tells line controllers. It has said where it will answer before it does.
    fn status(&self, controllers: SocketAddr) -> GetStatusResponse {
        let until = Instant::now() + PATIENCE;
        loop {
            match ask_station(controllers, PATIENCE) {
                Ok(status) => return status,
                Err(error) => assert!(Instant::now() < until, "stand-in {}: {error}", self.0.id()),
            }
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn image(client: &mut Client) -> StationImage {
    let mut registers = [0; signals::STATION_REGISTERS];
    registers[..100].copy_from_slice(&client.read(4, 0, 100));
    signals::station_image(&registers)
}

/// A cell that serves line controllers too, whose station ran once; and where they connect.
fn known_cell(manager: &ServiceManager, cell: &Cell) -> SocketAddr {
    fs::create_dir(cell.path().join("kept")).unwrap();
    let controllers = SocketAddr::new(cell.plc.ip(), 17_443);
    let text = fs::read_to_string(cell.config()).unwrap();
    fs::write(cell.config(), format!("{text}\n[grpc]\nlisten = \"{controllers}\"\n")).unwrap();
    let running = cell.launch_with(&[
        ("NOTIFY_SOCKET", manager.path.as_os_str()),
        ("STATE_DIRECTORY", cell.path().join("kept").as_os_str()),
    ]);
    manager.wait("READY=1");
    assert_eq!(running.stop().0, Some(0));
    controllers
}

/// Whether the service of stations is said to be well.
fn is_well(controllers: SocketAddr) -> bool {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let channel = Channel::from_shared(format!("http://{controllers}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let service = "takt.v1.StationService".to_owned();
        let answer = HealthClient::new(channel).check(HealthCheckRequest { service }).await.unwrap();
        answer.into_inner().status() == ServingStatus::Serving
    })
}

#[test]
fn while_the_station_is_down_somebody_answers_who_passes_nothing() {
    let cell = Cell::new(&[]);
    let manager = ServiceManager::new(&cell);
    let controllers = known_cell(&manager, &cell);

    // Half of a configuration: the station refuses it, and where the others find it is known from before.
    let text = fs::read_to_string(cell.config()).unwrap();
    fs::write(cell.config(), &text[..text.len() / 2]).unwrap();
    let (code, _, log) = cell.launch().ended();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("station.toml:"), "{log}");

    let stand_in = StandIn::start(&cell, &manager, &cell.path().join("kept"));
    manager.wait("STATUS=standing in");
    let mut client = connect(&cell);
    let first = image(&mut client);
    assert!(!first.accept && !first.result_valid && !first.trigger_ready && !first.online && first.verdict.is_none());
    assert_eq!((first.error, first.error_code, first.boot_id), (true, 12, 0));
    // What a PLC writes is no error to it, and changes nothing.
    assert_eq!(client.write(0, &[0xFFFF, 0, 0, 7])[0], 16);
    assert_eq!(image(&mut client), first);

    let status = stand_in.status(controllers);
    assert_eq!(
        (status.station.as_str(), status.error_code, status.boot_id, status.ready),
        ("test-cell", 12, 0, false)
    );
    assert!(
        status.error.contains("configuration") && status.remedy.contains("takt validate"),
        "{status:?}"
    );
    assert!(!is_well(controllers));

    // The station has its ports back as soon as the stand-in has ended, which is how the units order it.
    drop(stand_in);
    fs::write(cell.config(), text).unwrap();
    let _running = cell.start();
    Plc::connect(&cell).ready();
    assert!(is_well(controllers));
}

#[test]
fn a_disk_that_takes_nothing_is_told_to_plc_and_line_controllers() {
    let cell = Cell::new(&[]);
    let manager = ServiceManager::new(&cell);
    let controllers = known_cell(&manager, &cell);
    // No user writes below /proc, not even root.
    let text = fs::read_to_string(cell.config()).unwrap();
    fs::write(
        cell.config(),
        text.replace("state_directory = \"state\"", "state_directory = \"/proc/self\""),
    )
    .unwrap();
    let (code, _, log) = cell.launch().ended();
    assert_eq!(code, Some(4), "{log}");
    let stand_in = StandIn::start(&cell, &manager, Path::new("/proc"));
    let mut client = connect(&cell);
    let first = image(&mut client);
    assert_eq!((first.error, first.error_code, first.boot_id), (true, 13, 0));
    let status = stand_in.status(controllers);
    assert_eq!((status.error_code, status.ready), (13, false));
    assert!(status.remedy.contains("state_directory"), "{status:?}");
}

#[test]
fn a_library_for_another_machine_is_named_and_nothing_passes() {
    let cell = Cell::new(&[]);
    // The head of an ELF file for s390x, which takt has no machine of.
    let mut head = [0; 64];
    head[..6].copy_from_slice(b"\x7fELF\x02\x02");
    head[18..20].copy_from_slice(&22_u16.to_be_bytes());
    let library = cell.path().join("libonnxruntime.so");
    fs::write(&library, head).unwrap();
    let running = cell.launch_with(&[("ORT_DYLIB_PATH", library.as_os_str())]);
    let mut client = connect(&cell);
    let shown = image(&mut client);
    assert!(!shown.accept && !shown.trigger_ready);
    assert_eq!((shown.error, shown.error_code), (true, ErrorCode::ModelsNotReady.code()));
    let (code, _, log) = running.ended();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("libonnxruntime.so"), "{log}");
}

/// The stand-in says where it will answer before it does.
fn connect(cell: &Cell) -> Client {
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(cell.plc).is_err() {
        assert!(Instant::now() < until, "nobody answers");
        std::thread::yield_now();
    }
    Client::connect([127, 0, 0, 1].into(), cell.plc)
}

#[test]
fn outputs_are_made_safe_whatever_the_configuration_says() {
    let done = run(takt("failsafe").args(["--config", "/nonexistent/station.toml"])).done();
    assert!(done.stdout.contains("nothing to make safe"), "{done:#?}");
}

const UNITS: [&str; 4] = [
    "takt-station.service",
    "takt-standin.service",
    "takt-failsafe.service",
    "takt-historian.service",
];

fn systemd_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// `systemd-analyze` of these units, which are copied so that they name the program that was built; `None` where there is none.
fn analyze(test: &str, folder: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    for unit in UNITS {
        let text = fs::read_to_string(systemd_folder().join(unit)).unwrap();
        let text = text.replace("/usr/bin/takt", env!("CARGO_BIN_EXE_takt"));
        fs::write(folder.join(unit), text).unwrap();
    }
    let Ok(output) = Command::new("systemd-analyze").args(arguments).current_dir(folder).output() else {
        skip(test, "there is no systemd-analyze: install systemd");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let units = UNITS.map(|unit| format!("./{unit}"));
    let arguments: Vec<&str> = ["verify"].into_iter().chain(units.iter().map(String::as_str)).collect();
    let Some((passed, said)) = analyze("systemd_finds_nothing_wrong_with_the_units", folder.path(), &arguments) else {
        return;
    };
    // Warnings do not fail it, and would be ignored at every boot. It also looks at units of this machine, which are not ours.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("takt-")).collect();
    assert!(passed && ours.is_empty(), "{said}");
    // Proof that it looks.
    let text = fs::read_to_string(folder.path().join(UNITS[0])).unwrap();
    fs::write(
        folder.path().join("broken.service"),
        text.replace("Restart=always", "Restart=allways"),
    )
    .unwrap();
    let output = Command::new("systemd-analyze")
        .args(["verify", "./broken.service"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("allways"));
}

#[test]
fn the_sandbox_is_strict() {
    let folder = tempfile::tempdir().unwrap();
    for unit in UNITS {
        // Exposure by systemd's own list, 0 to 100.
        let arguments = ["security", "--offline=true", "--threshold=20", unit];
        let Some((passed, said)) = analyze("the_sandbox_is_strict", folder.path(), &arguments) else {
            return;
        };
        assert!(passed, "{said}");
    }
}

#[test]
fn the_user_is_in_groups_that_a_machine_may_not_have() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let users = fs::File::open(systemd_folder().join("takt.sysusers")).unwrap();
    let mut command = Command::new("systemd-sysusers");
    command.arg(format!("--root={}", root.path().display())).arg("-").stdin(users);
    let Ok(output) = command.output() else {
        return skip(
            "the_user_is_in_groups_that_a_machine_may_not_have",
            "there is no systemd-sysusers: install systemd",
        );
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let groups = fs::read_to_string(root.path().join("etc/group")).unwrap();
    for name in ["video", "gpio", "i2c"] {
        let group = groups.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
        assert!(group.ends_with(":takt"), "{group}");
    }
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(users.starts_with("takt:") && users.trim_end().ends_with("nologin"), "{users}");
}
