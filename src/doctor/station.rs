//! The station: what is known of it, and what that means. Pure: facts in, findings out.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::machine::{bytes, span};
use super::texts::{Socket, metric, metric_sum};
use super::{Check, Finding, Status};
use crate::journal::black_box::Glance;
use crate::journal::condition::Condition;
use crate::line::error_code::{ErrorCode, Level};
use crate::vision::Provider;

/// What stands in a place of its own where a user may not look.
const MAY_NOT_LOOK: &str = "Permission denied";

/// Something that could not be looked at. That this user may not look is no fault of the box.
pub fn not_looked_at(check: Check, error: &str) -> Finding {
    if error.contains(MAY_NOT_LOOK) {
        let fact = format!("this user may not look: {}", error.split("; ").next().unwrap_or(error));
        return Finding::new(check, Status::Unknown, fact).remedy("run it as the station's user or root: sudo takt doctor");
    }
    Finding::failed(check, &error)
}

/// What is wrong with a configuration file, one error a finding.
pub fn config_errors(file: &Path, lines: &[String]) -> Vec<Finding> {
    let finding = |line: &String| {
        let finding = Finding::failed(Check::Config, line);
        let place = line.strip_prefix(&format!("{}:", file.display())).unwrap_or_default();
        let mut numbers = place.splitn(3, ':').map_while(|number| number.parse::<u64>().ok());
        let finding = finding.value("file", file.display().to_string());
        match (numbers.next(), numbers.next()) {
            (Some(line), Some(column)) => finding.value("line", line).value("column", column),
            _ => finding,
        }
    };
    lines.iter().map(finding).collect()
}

/// What is right with it, and what should be known.
pub fn config_read(file: &Path, station: &str, warnings: &[String]) -> Vec<Finding> {
    let read = Finding::new(Check::Config, Status::Ok, format!("station {station}, {}", file.display()))
        .value("file", file.display().to_string())
        .value("station", station);
    let warned = warnings.iter().map(|warning| match warning.split_once("; ") {
        Some((fact, remedy)) => Finding::new(Check::Config, Status::Warning, fact).remedy(remedy),
        None => Finding::new(Check::Config, Status::Warning, warning.as_str()),
    });
    std::iter::once(read).chain(warned).collect()
}

/// ONNX Runtime on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LibraryFacts {
    /// The file that was loaded.
    pub file: Option<PathBuf>,
    /// Its version.
    pub version: Option<String>,
    /// The providers it was built with.
    pub providers: Vec<Provider>,
    /// The provider that the configuration asks for.
    pub wanted: Option<Provider>,
    /// Why it was not loaded.
    pub error: Option<String>,
    /// Files in the places where it is looked for that are for another machine, and for which.
    pub foreign: Vec<(PathBuf, String)>,
    /// This program's machine.
    pub architecture: String,
}

/// Whether models can run at all.
pub fn library(facts: &LibraryFacts) -> Finding {
    let here = &facts.architecture;
    if let Some(error) = &facts.error {
        return match facts.foreign.first() {
            Some((file, machine)) => Finding::new(
                Check::Library,
                Status::Failed,
                format!("{} is for {machine}, this machine and this takt are {here}", file.display()),
            )
            .remedy(format!(
                "install the package takt for {here}, or set ORT_DYLIB_PATH to a libonnxruntime.so for {here}"
            ))
            .value("file", file.display().to_string())
            .value("architecture", machine.as_str()),
            None => Finding::failed(Check::Library, error),
        };
    }
    let file = facts
        .file
        .as_ref()
        .map_or_else(|| "a file that is not known".into(), |file| file.display().to_string());
    let version = facts.version.as_deref().unwrap_or("of an unknown version");
    let providers: Vec<&str> = facts.providers.iter().map(|provider| provider.name()).collect();
    let fact = format!("ONNX Runtime {version}, built with {}, {file}", providers.join(", "));
    let finding = match facts.wanted.filter(|wanted| !facts.providers.contains(wanted)) {
        Some(wanted) => Finding::new(
            Check::Library,
            Status::Failed,
            format!("{fact}: the configuration asks for {wanted}"),
        )
        .remedy(format!(
            "set ORT_DYLIB_PATH to a libonnxruntime.so that was built with {wanted}, or engine.provider = \"cpu\""
        )),
        None => Finding::new(Check::Library, Status::Ok, fact),
    };
    finding
        .value("version", facts.version.clone())
        .value("file", file)
        .value("providers", providers)
        .value("architecture", here.as_str())
}

/// A model package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// Its folder.
    pub package: PathBuf,
    /// Name, version, and the number of its golden images; or what is wrong with it.
    pub found: Result<(String, String, usize), String>,
}

/// Whether it is whole.
pub fn model(facts: &ModelFacts) -> Finding {
    let package = facts.package.display().to_string();
    let finding = match &facts.found {
        Ok((name, version, golden)) => Finding::new(
            Check::Model,
            Status::Ok,
            format!("{name} {version}, its seal is whole, {golden} golden images"),
        )
        .value("name", name.as_str())
        .value("version", version.as_str()),
        Err(error) => not_looked_at(Check::Model, error),
    };
    finding.of(package)
}

/// How a golden gate is known to be open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// It was tried: how many images gave what they should, and on which provider; or why not.
    Tried(Result<(usize, Provider), String>),
    /// The station that runs came through it.
    Running,
    /// It was not tried.
    NotTried,
}

/// Whether a model computes here what it was taught.
pub fn golden_gate(package: Option<&Path>, gate: &Gate) -> Finding {
    let finding = match gate {
        Gate::Tried(Ok((images, provider))) => Finding::new(
            Check::GoldenGate,
            Status::Ok,
            format!("{images} golden images gave what they should on {provider}"),
        )
        .value("images", *images)
        .value("provider", provider.name()),
        Gate::Tried(Err(error)) => Finding::failed(Check::GoldenGate, error),
        Gate::Running => Finding::new(Check::GoldenGate, Status::Ok, "the running station came through it at its start"),
        Gate::NotTried => Finding::new(
            Check::GoldenGate,
            Status::Unknown,
            "not tried: it takes the processor for seconds; takt doctor --boot tries it",
        ),
    };
    match package {
        Some(package) => finding.of(package.display().to_string()),
        None => finding,
    }
}

/// An element that a camera needs and that is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The camera.
    pub camera: String,
    /// The element.
    pub element: String,
    /// The Debian package that has it.
    pub package: Option<&'static str>,
}

/// GStreamer on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GStreamerFacts {
    /// Its version, or why it does not start.
    pub version: Option<Result<String, String>>,
    /// Cameras whose descriptions were looked at.
    pub cameras: usize,
    /// What they lack.
    pub lacking: Vec<Lacking>,
    /// Descriptions that it does not understand: camera, and its words.
    pub wrong: Vec<(String, String)>,
}

/// Whether it has what the cameras need.
pub fn gstreamer(facts: &GStreamerFacts) -> Vec<Finding> {
    let version = match &facts.version {
        Some(Ok(version)) => version,
        Some(Err(error)) => {
            let fact = format!("GStreamer does not start: {error}");
            return vec![Finding::new(Check::GStreamer, Status::Failed, fact).remedy("install libgstreamer1.0-0")];
        }
        None => return Vec::new(),
    };
    let lacking = facts.lacking.iter().map(|lacking| {
        let Lacking { camera, element, package } = lacking;
        let remedy = match package {
            Some(package) => format!("apt-get install {package}"),
            None => format!("check the spelling of {element}, or install the plugin that has it"),
        };
        Finding::new(Check::GStreamer, Status::Failed, format!("there is no element {element}"))
            .remedy(remedy)
            .of(camera.as_str())
            .value("element", element.as_str())
            .value("package", *package)
    });
    let wrong = facts.wrong.iter().map(|(camera, words)| {
        Finding::new(Check::GStreamer, Status::Failed, format!("its source is not understood: {words}"))
            .remedy("correct source of that camera; try it with gst-launch-1.0 SOURCE ! fakesink")
            .of(camera.as_str())
    });
    let found: Vec<Finding> = lacking.chain(wrong).collect();
    if !found.is_empty() {
        return found;
    }
    let needs = match facts.cameras {
        0 => "no camera needs it".to_owned(),
        1 => "it has what the camera needs".to_owned(),
        cameras => format!("it has what the {cameras} cameras need"),
    };
    let fact = format!("GStreamer {version}, {needs}");
    vec![Finding::new(Check::GStreamer, Status::Ok, fact).value("version", version.as_str())]
}

/// A video device that the kernel knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VideoDevice {
    /// Its file, `/dev/video0`.
    pub node: String,
    /// What its driver calls it.
    pub name: String,
    /// Which of the camera's devices; 0 gives pictures.
    pub index: u32,
    /// Whether its file is there.
    pub has_node: bool,
}

/// Video devices.
pub fn video_devices(devices: &[VideoDevice]) -> Finding {
    let cameras: Vec<&VideoDevice> = devices.iter().filter(|device| device.index == 0).collect();
    let told: Vec<String> = cameras.iter().map(|camera| format!("{} {}", camera.node, camera.name)).collect();
    let lost = cameras.iter().find(|camera| !camera.has_node);
    let finding = match (lost, cameras.is_empty()) {
        (_, true) => Finding::new(
            Check::VideoDevices,
            Status::Unknown,
            "the kernel knows no video device; cameras of the network are none",
        ),
        (Some(lost), _) => Finding::new(
            Check::VideoDevices,
            Status::Warning,
            format!("{}; {} has no file", told.join(", "), lost.node),
        )
        .remedy("check udev; in a container, pass the device on"),
        (None, false) => Finding::new(Check::VideoDevices, Status::Ok, told.join(", ")),
    };
    let nodes: Vec<&str> = cameras.iter().map(|camera| camera.node.as_str()).collect();
    finding.value("devices", nodes)
}

/// Where a camera's pictures come from, and whether that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraPlace {
    /// A video device: its file, and what is wrong with it.
    Device(String, Option<DeviceFault>),
    /// A host and port; and what the network says.
    Address(String, Option<String>),
    /// A socket of this machine; and whether it is there.
    Socket(PathBuf, bool),
    /// A folder; how many images it has, or why not.
    Folder(PathBuf, Result<usize, String>),
    /// Its description names nothing that can be looked for.
    Elsewhere,
}

/// What is wrong with a video device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFault {
    /// It is not there.
    Missing,
    /// This user may not use it.
    Forbidden,
    /// Something else has its name.
    NoDevice,
}

/// Whether a camera can be reached. `delivers`: what the running station says of it.
pub fn camera(name: &str, place: &CameraPlace, delivers: Option<bool>) -> Finding {
    let (status, fact, remedy) = camera_place(place);
    let (status, fact, remedy) = match delivers {
        Some(true) => (Status::Ok, format!("it delivers; {fact}"), String::new()),
        Some(false) => {
            let remedy = if remedy.is_empty() {
                "check cable and power; the station's log says what is wrong".into()
            } else {
                remedy
            };
            (Status::Failed, format!("the station says that it does not deliver; {fact}"), remedy)
        }
        None => (status, fact, remedy),
    };
    let finding = Finding::new(Check::Camera, status, fact).remedy(remedy).of(name);
    match delivers {
        Some(delivers) => finding.value("delivers", delivers),
        None => finding,
    }
}

fn camera_place(place: &CameraPlace) -> (Status, String, String) {
    match place {
        CameraPlace::Device(node, None) => (Status::Ok, format!("{node} is there"), String::new()),
        CameraPlace::Device(node, Some(DeviceFault::Missing)) => (
            Status::Failed,
            format!("{node} is not there"),
            "check cable and power; see video_devices for what is there; a name below /dev/v4l/by-id stays the same".into(),
        ),
        CameraPlace::Device(node, Some(DeviceFault::Forbidden)) => (
            Status::Unknown,
            format!("{node} is there, and this user may not use it; the station's user must be in the group video"),
            String::new(),
        ),
        CameraPlace::Device(node, Some(DeviceFault::NoDevice)) => (
            Status::Failed,
            format!("{node} is no device"),
            "name the camera's device, see video_devices".into(),
        ),
        CameraPlace::Address(address, None) => (Status::Ok, format!("{address} answers"), String::new()),
        CameraPlace::Address(address, Some(error)) => (
            Status::Failed,
            format!("{address} does not answer: {error}"),
            "check the camera's power, its address, and the network between".into(),
        ),
        CameraPlace::Socket(path, true) => (Status::Ok, format!("socket {} is there", path.display()), String::new()),
        CameraPlace::Socket(path, false) => (
            Status::Failed,
            format!("there is no socket {}", path.display()),
            "start the program that gives the pictures".into(),
        ),
        CameraPlace::Folder(path, Ok(0)) => (
            Status::Failed,
            format!("there is no image in {}", path.display()),
            "put PNG, JPEG, BMP, TIFF or WebP files there".into(),
        ),
        CameraPlace::Folder(path, Ok(images)) => (Status::Ok, format!("{images} images in {}", path.display()), String::new()),
        CameraPlace::Folder(path, Err(error)) => (
            Status::Failed,
            format!("{} cannot be read: {error}", path.display()),
            "make the folder, or name another".into(),
        ),
        CameraPlace::Elsewhere => (
            Status::Unknown,
            "its source names nothing that can be looked for without starting it".into(),
            String::new(),
        ),
    }
}

/// Why a port cannot be listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindFault {
    /// No network card of this machine has the address.
    NoAddress,
    /// Ports below 1024 are not for this user.
    Forbidden,
    /// Something else has it.
    Taken,
    /// In the system's words.
    Other(String),
}

/// A port that the station serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortFacts {
    /// What is spoken there.
    pub protocol: &'static str,
    /// Where.
    pub listen: SocketAddr,
    /// Who may write; empty where nobody is listed.
    pub writers: Vec<IpAddr>,
    /// Connections and listeners of this machine.
    pub sockets: Vec<Socket>,
    /// The process of the station, if it runs.
    pub process: Option<u32>,
    /// Whether it could be bound, where nobody listens.
    pub bound: Result<(), BindFault>,
}

/// Whether a socket's side here is an address, or covers it.
fn is_at(socket: &Socket, listen: SocketAddr) -> bool {
    let (ours, theirs) = (listen.ip().to_canonical(), socket.local.ip().to_canonical());
    socket.local.port() == listen.port() && (ours == theirs || ours.is_unspecified() || theirs.is_unspecified())
}

/// Whether somebody listens at an address.
pub fn is_served(sockets: &[Socket], listen: SocketAddr) -> bool {
    sockets.iter().any(|socket| socket.listens && is_at(socket, listen))
}

/// Whether the PLC can be served, and who is connected.
pub fn plc(facts: &PortFacts) -> Finding {
    let (protocol, listen) = (facts.protocol, facts.listen);
    let is_served = is_served(&facts.sockets, listen);
    let connected = facts.sockets.iter().filter(|socket| socket.is_connected && is_at(socket, listen));
    let mut connected: Vec<IpAddr> = connected.map(|socket| socket.remote.ip().to_canonical()).collect();
    connected.sort();
    connected.dedup();
    let may_write = |address: &IpAddr| facts.writers.is_empty() || facts.writers.contains(address);
    let told: Vec<String> = connected
        .iter()
        .map(|address| {
            if may_write(address) {
                address.to_string()
            } else {
                format!("{address} (reads only)")
            }
        })
        .collect();
    let finding = match (is_served, facts.process) {
        (true, Some(_)) if connected.iter().any(may_write) => {
            Finding::new(Check::Plc, Status::Ok, format!("served; connected: {}", told.join(", ")))
        }
        (true, Some(_)) => {
            let others = if told.is_empty() {
                String::new()
            } else {
                format!("; connected: {}", told.join(", "))
            };
            let remedy = match facts.writers.as_slice() {
                [] => "check that the line controller runs, its address, and the network between".into(),
                writers => {
                    let writers: Vec<String> = writers.iter().map(ToString::to_string).collect();
                    format!("check the PLC's program and network; writers of [plc] are {}", writers.join(", "))
                }
            };
            Finding::new(
                Check::Plc,
                Status::Warning,
                format!("served, but nobody who gives cycles is connected{others}"),
            )
            .remedy(remedy)
        }
        (true, None) => Finding::new(Check::Plc, Status::Failed, "another program listens there, and the station cannot").remedy(format!(
            "find it with: ss -ltnp 'sport = :{}', and end it, or use another port",
            listen.port()
        )),
        (false, Some(_)) => Finding::new(Check::Plc, Status::Warning, "the station runs and does not listen there")
            .remedy("wait for its start; if it stays, restart the station: its configuration may have been changed since"),
        (false, None) => not_served(&facts.bound, listen),
    };
    let connected: Vec<String> = connected.iter().map(ToString::to_string).collect();
    finding
        .of(format!("{protocol} {listen}"))
        .value("listen", listen.to_string())
        .value("served", is_served)
        .value("connected", connected)
}

fn not_served(bound: &Result<(), BindFault>, listen: SocketAddr) -> Finding {
    let failed = |fact: String, remedy: &str| Finding::new(Check::Plc, Status::Failed, fact).remedy(remedy);
    match bound {
        Ok(()) => Finding::new(Check::Plc, Status::Ok, "free: a station can serve it"),
        Err(BindFault::NoAddress) => failed(
            format!("no network card here has the address {}", listen.ip()),
            "connect the cable, give the card that address, or correct listen",
        ),
        Err(BindFault::Taken) => failed(
            "something else has it".into(),
            "find it with: ss -tanp, and end it, or use another port",
        ),
        Err(BindFault::Forbidden) => Finding::new(
            Check::Plc,
            Status::Unknown,
            "free, but this user may not listen below port 1024; the service takt-station may (CAP_NET_BIND_SERVICE)",
        ),
        Err(BindFault::Other(error)) => failed(format!("it cannot be listened on: {error}"), "check the network of this machine"),
    }
}

/// The running station.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunningFacts {
    /// Its process; `None`: it does not run.
    pub process: Option<u32>,
    /// What it says, asked at its metrics or as a line controller; `None`: neither can be asked.
    pub said: Option<Result<Said, String>>,
    /// Seconds since the last part that was recorded.
    pub last_part_s: Option<u64>,
}

/// What a station says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// Whether it inspects.
    pub is_ready: bool,
    /// The lowest active ErrorCode, 0 for none.
    pub error_code: u16,
    /// Parts with an outcome since its start.
    pub parts: u64,
    /// How long a part waits for an engine, on average; milliseconds.
    pub queue_ms: Option<f64>,
    /// Records that nobody could take.
    pub records_dropped: u64,
}

impl Said {
    /// Out of the text of its metrics.
    pub fn of_metrics(text: &str) -> Self {
        let number = |name: &str| metric(text, name, None);
        let stage = |what: &str| metric(text, &format!("takt_stage_seconds_{what}"), Some(("stage", "queue")));
        let queue_ms = stage("sum").zip(stage("count")).filter(|(_, count)| *count > 0.0);
        Self {
            is_ready: number("takt_ready") == Some(1.0),
            error_code: number("takt_error_code").unwrap_or_default() as u16,
            parts: metric_sum(text, "takt_parts_total").unwrap_or_default() as u64,
            queue_ms: queue_ms.map(|(sum, count)| 1e3 * sum / count),
            records_dropped: number("takt_records_dropped_total").unwrap_or_default() as u64,
        }
    }
}

/// Whether it inspects.
pub fn station(facts: &RunningFacts) -> Finding {
    let Some(process) = facts.process else {
        return Finding::new(Check::Station, Status::Warning, "it does not run")
            .remedy("systemctl start takt-station; if it does not stay, journalctl -u takt-station says why")
            .value("running", false);
    };
    let finding = match &facts.said {
        None => Finding::new(
            Check::Station,
            Status::Unknown,
            "it runs; how it stands is not known without [metrics] listen",
        ),
        Some(Err(error)) => Finding::new(Check::Station, Status::Failed, format!("it runs and does not answer: {error}"))
            .remedy("see journalctl -u takt-station; restart it if it hangs"),
        Some(Ok(said)) => stands(said, facts.last_part_s),
    };
    // 0: its process is not visible from here, as in another container.
    let finding = if process > 0 { finding.value("process", process) } else { finding };
    finding.value("running", true)
}

fn stands(said: &Said, last_part_s: Option<u64>) -> Finding {
    let mut told = vec![if said.is_ready {
        "ready".to_owned()
    } else {
        "not ready".to_owned()
    }];
    let error = ErrorCode::ALL.iter().find(|error| error.code() == said.error_code);
    if let Some(error) = error {
        let text = error.text().trim_end_matches('.');
        told.push(format!("ErrorCode {} {}: {text}", error.code(), error.name()));
    } else if said.error_code != 0 {
        told.push(format!("ErrorCode {}", said.error_code));
    }
    told.push(format!("{} parts since its start", said.parts));
    if let Some(seconds) = last_part_s {
        told.push(format!("last recorded {} ago", span(seconds)));
    }
    if let Some(queue_ms) = said.queue_ms {
        told.push(format!("{queue_ms:.1} ms in the queue"));
    }
    if said.records_dropped > 0 {
        told.push(format!("{} records found their reader too slow", said.records_dropped));
    }
    let (status, remedy) = match error {
        Some(error) if error.level() == Level::Error => (Status::Failed, error.remedy()),
        Some(error) => (Status::Warning, error.remedy()),
        None if !said.is_ready => (Status::Warning, "it waits for the PLC: Online and TriggerEnable have to be 1"),
        None if said.records_dropped > 0 => (
            Status::Warning,
            "check the disk of the journal: parts come faster than it takes their records",
        ),
        None => (Status::Ok, ""),
    };
    Finding::new(Check::Station, status, told.join("; "))
        .remedy(remedy)
        .value("ready", said.is_ready)
        .value("error_code", said.error_code)
        .value("error", error.map(|error| error.name()))
        .value("parts", said.parts)
        .value("last_part_s", last_part_s)
        .value("queue_ms", said.queue_ms)
        .value("records_dropped", said.records_dropped)
}

/// The historian, as it answers this station.
#[derive(Debug, Clone, PartialEq)]
pub struct HistorianFacts {
    /// Where it is; `None`: there is none.
    pub url: Option<String>,
    /// After how many milliseconds it said that it serves; or why not.
    pub answer: Result<f64, String>,
    /// Records that wait for it.
    pub backlog: Option<u64>,
}

/// Whether it can be reached.
pub fn historian(facts: &HistorianFacts) -> Finding {
    let Some(url) = &facts.url else {
        return Finding::new(
            Check::Historian,
            Status::Unknown,
            "none is configured: records stay in the journal until its quota is used up",
        );
    };
    let wait = facts
        .backlog
        .map_or_else(String::new, |count| format!("; {count} records wait for it"));
    let finding = match &facts.answer {
        Ok(after_ms) => {
            Finding::new(Check::Historian, Status::Ok, format!("it answers after {after_ms:.0} ms{wait}")).value("answer_ms", *after_ms)
        }
        Err(error) if error.contains(MAY_NOT_LOOK) => not_looked_at(Check::Historian, error),
        Err(error) => match error.split_once("; ") {
            Some((fact, remedy)) => Finding::new(Check::Historian, Status::Failed, format!("not reached: {fact}{wait}")).remedy(remedy),
            None => Finding::new(Check::Historian, Status::Failed, format!("not reached: {error}{wait}")).remedy("see the historian's log"),
        },
    };
    finding.of(url.as_str()).value("backlog_records", facts.backlog)
}

/// A file of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFile {
    /// Where.
    pub file: PathBuf,
    /// What it is for, as the configuration calls it.
    pub role: &'static str,
    /// Whose they are, first and last second in which they are valid; or why that is not known.
    pub found: Result<Vec<(String, i64, i64)>, String>,
    /// What is wrong with the pair of certificate and key, or what should be known of it.
    pub pair: Option<Result<String, String>>,
}

/// Certificates that expire sooner are to be replaced.
const EXPIRES_SOON_DAYS: i64 = 30;

const DAY_S: i64 = 24 * 3600;

/// Whether they are valid now, and how long. `date` makes a second readable.
pub fn certificate(facts: &CertificateFile, now_unix_s: i64, date: impl Fn(i64) -> String) -> Finding {
    let finding = match &facts.found {
        Err(error) => not_looked_at(Check::Certificate, error),
        Ok(found) => in_force(found, now_unix_s, date),
    };
    let finding = match &facts.pair {
        Some(Err(error)) if finding.status == Status::Ok => not_looked_at(Check::Certificate, error),
        Some(Ok(warning)) if finding.status == Status::Ok => {
            let (fact, remedy) = warning.split_once("; ").unwrap_or((warning, ""));
            let fact = format!("{}; {fact}", finding.fact);
            Finding {
                status: Status::Warning,
                ..finding
            }
            .told(fact)
            .remedy(remedy)
        }
        _ => finding,
    };
    finding.of(facts.file.display().to_string()).value("role", facts.role)
}

impl Finding {
    fn told(self, fact: String) -> Self {
        Self { fact, ..self }
    }
}

fn in_force(found: &[(String, i64, i64)], now_unix_s: i64, date: impl Fn(i64) -> String) -> Finding {
    // The one that ends first ends them all; one that does not hold yet is as bad.
    let early = found.iter().find(|(_, from, _)| now_unix_s < *from);
    if let Some((name, from, _)) = early {
        return Finding::new(
            Check::Certificate,
            Status::Failed,
            format!("that of {name} is not valid before {}", date(*from)),
        )
        .remedy("check this machine's clock")
        .value("valid_from_unix_s", *from);
    }
    let Some((name, _, until)) = found.iter().min_by_key(|(_, _, until)| *until) else {
        return Finding::new(Check::Certificate, Status::Failed, "there is no certificate in it")
            .remedy("make it anew with takt pki issue");
    };
    let days = (until - now_unix_s).div_euclid(DAY_S);
    let end = date(*until);
    let renew = "make a new one with takt pki issue and replace the file";
    let finding = if now_unix_s > *until {
        Finding::new(Check::Certificate, Status::Failed, format!("that of {name} expired on {end}")).remedy(renew)
    } else if days < EXPIRES_SOON_DAYS {
        Finding::new(
            Check::Certificate,
            Status::Warning,
            format!("that of {name} expires in {days} days, on {end}"),
        )
        .remedy(renew)
    } else {
        Finding::new(
            Check::Certificate,
            Status::Ok,
            format!("that of {name} is valid for {days} more days"),
        )
    };
    finding.value("valid_until_unix_s", *until).value("days_left", days)
}

/// Whether records can be kept.
pub fn journal(found: &Result<Option<Condition>, String>, now_unix_s: i64) -> Finding {
    let condition = match found {
        Ok(Some(condition)) => condition,
        Ok(None) => return Finding::new(Check::Journal, Status::Ok, "there is none yet: the first start makes it"),
        Err(error) => return not_looked_at(Check::Journal, error),
    };
    let records = condition.recorded_below.saturating_sub(1);
    let backlog = condition.recorded_below.saturating_sub(condition.acknowledged_below);
    let last = condition.last_unix_ns.map(|last| ago(last, now_unix_s));
    let mut told = vec![format!("format {}", condition.version), format!("{records} records in this epoch")];
    told.extend(last.map(|last| format!("last {} ago", span(last))));
    told.push(format!("{backlog} not at the historian"));
    if condition.images_unsent > 0 {
        told.push(format!("{} images not there either", condition.images_unsent));
    }
    told.push(bytes(condition.used_bytes));
    let (status, remedy) = if condition.has_losses {
        told.push("records of late say that others are lost".into());
        (
            Status::Warning,
            "see the log for when the journal was damaged or full; takt journal verify proves what is left",
        )
    } else {
        (Status::Ok, "")
    };
    Finding::new(Check::Journal, status, told.join(", "))
        .remedy(remedy)
        .value("format_version", condition.version)
        .value("records", records)
        .value("backlog_records", backlog)
        .value("backlog_images", condition.images_unsent)
        .value("used_bytes", condition.used_bytes)
        .value("last_record_s", last)
}

/// Seconds since a moment; 0 for one that the clock has not reached.
fn ago(unix_ns: i64, now_unix_s: i64) -> u64 {
    u64::try_from(now_unix_s.saturating_sub(unix_ns.div_euclid(1_000_000_000))).unwrap_or_default()
}

/// Whether it can be used, and what is in it only.
pub fn black_box(found: &Result<Option<Glance>, String>) -> Finding {
    match found {
        Err(error) => not_looked_at(Check::BlackBox, error),
        Ok(None) => Finding::new(Check::BlackBox, Status::Ok, "there is none: the next start makes it"),
        Ok(Some(glance)) => Finding::new(
            Check::BlackBox,
            Status::Ok,
            format!("{} parts, {} of them not in the journal yet", glance.parts, glance.unreported),
        )
        .value("parts", glance.parts)
        .value("unrecorded", glance.unreported),
    }
}

/// How the last life of the station ended, as far as it can be known.
pub fn last_end(runs: bool, glance: Option<&Glance>, condition: Option<&Condition>, date: impl Fn(i64) -> String) -> Finding {
    let power = condition.and_then(|condition| condition.power_loss_unix_ns);
    let (status, fact, remedy) = match (runs, glance) {
        (true, _) => (Status::Ok, "the station runs".to_owned(), ""),
        (false, Some(glance)) if glance.unreported > 0 => (
            Status::Warning,
            format!(
                "it did not stop in order: {} parts were open, {} are in the black box only",
                glance.open, glance.unreported
            ),
            "start the station, which records them; journalctl -u takt-station says what happened",
        ),
        (false, Some(_)) => (Status::Ok, "nothing was open, and every part is in the journal".to_owned(), ""),
        (false, None) if condition.is_some_and(|condition| condition.recorded_below > 1) => (
            Status::Unknown,
            "the machine was restarted since, and the station not started".to_owned(),
            "",
        ),
        (false, None) => (Status::Unknown, "no station ran here yet".to_owned(), ""),
    };
    let finding = match power {
        None => Finding::new(Check::LastEnd, status, fact).remedy(remedy),
        Some(at) => {
            let at = date(at.div_euclid(1_000_000_000));
            let fact = format!("{fact}; power was cut while parts were open, last at {at}");
            let remedy = if remedy.is_empty() {
                "stop the station before the power is cut, or buffer it"
            } else {
                remedy
            };
            Finding::new(Check::LastEnd, status.max(Status::Warning), fact).remedy(remedy)
        }
    };
    finding.value("power_loss_unix_ns", power)
}

/// What the station wrote into the system's log last, among errors: when, and what. Older than this it is history, seconds.
const ERROR_IS_NEW_S: u64 = 24 * 3600;

/// The last error in the system's log: when (seconds ago) and what; `None`: there is none.
pub fn last_error(found: &Result<Option<(u64, String)>, String>) -> Finding {
    match found {
        Err(why) => Finding::new(Check::LastError, Status::Unknown, why.as_str()),
        Ok(None) => Finding::new(Check::LastError, Status::Ok, "the system's log has none"),
        Ok(Some((seconds, message))) => {
            let fact = format!("{} ago: {message}", span(*seconds));
            let finding = if *seconds < ERROR_IS_NEW_S {
                Finding::new(Check::LastError, Status::Warning, fact).remedy("journalctl -u takt-station -p err")
            } else {
                Finding::new(Check::LastError, Status::Ok, fact)
            };
            finding.value("age_s", *seconds).value("message", message.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(finding: &Finding, status: Status, words: &[&str]) {
        assert_eq!(finding.status, status, "{finding:#?}");
        for word in words {
            assert!(
                format!("{} {}", finding.fact, finding.remedy).contains(word),
                "\"{word}\" is missing in {finding:#?}"
            );
        }
        assert!(
            !matches!(status, Status::Warning | Status::Failed) || !finding.remedy.is_empty(),
            "no remedy in {finding:#?}"
        );
    }

    #[test]
    fn every_error_of_a_file_has_its_place() {
        let lines = [
            "a.toml:14:12: failed to read camera \"top\": unknown key \"exposure\"; did you mean \"exposure_us\"?".to_owned(),
            "a.toml: failed to read the file: No such file; check its path".to_owned(),
        ];
        let found = config_errors(Path::new("a.toml"), &lines);
        is(&found[0], Status::Failed, &["a.toml:14:12: failed to read camera", "did you mean"]);
        assert_eq!(
            (found[0].values["line"].as_u64(), found[0].values["column"].as_u64()),
            (Some(14), Some(12))
        );
        assert!(!found[1].values.contains_key("line"));
        let read = config_read(Path::new("a.toml"), "press-1", &["b is open; close it".to_owned()]);
        is(&read[0], Status::Ok, &["press-1"]);
        is(&read[1], Status::Warning, &["b is open", "close it"]);
    }

    fn loaded() -> LibraryFacts {
        LibraryFacts {
            file: Some("/usr/lib/takt/libonnxruntime.so".into()),
            version: Some("1.24.2".into()),
            providers: vec![Provider::Cpu],
            wanted: Some(Provider::Cpu),
            architecture: "x86_64".into(),
            ..LibraryFacts::default()
        }
    }

    #[test]
    fn a_library_runs_what_is_asked_or_says_why_not() {
        is(
            &library(&loaded()),
            Status::Ok,
            &["ONNX Runtime 1.24.2, built with cpu, /usr/lib/takt"],
        );
        let wanted = LibraryFacts {
            wanted: Some(Provider::TensorRt),
            ..loaded()
        };
        is(&library(&wanted), Status::Failed, &["asks for tensorrt", "ORT_DYLIB_PATH"]);
        let missing = LibraryFacts {
            error: Some("failed to load ONNX Runtime: nowhere; set ORT_DYLIB_PATH".into()),
            ..loaded()
        };
        is(&library(&missing), Status::Failed, &["nowhere", "set ORT_DYLIB_PATH"]);
        let foreign = LibraryFacts {
            foreign: vec![("/usr/lib/takt/libonnxruntime.so".into(), "aarch64".into())],
            ..missing
        };
        is(
            &library(&foreign),
            Status::Failed,
            &["is for aarch64, this machine and this takt are x86_64"],
        );
    }

    #[test]
    fn models_and_their_gates_are_told() {
        let of = |found| ModelFacts {
            package: "/m".into(),
            found,
        };
        is(
            &model(&of(Ok(("cap".into(), "3".into(), 7)))),
            Status::Ok,
            &["cap 3", "7 golden images"],
        );
        is(
            &model(&of(Err("failed to open it: changed; restore it".into()))),
            Status::Failed,
            &["changed", "restore it"],
        );
        is(
            &model(&of(Err("failed to read it: Permission denied (os error 13); x".into()))),
            Status::Unknown,
            &["may not look", "sudo"],
        );
        is(&golden_gate(None, &Gate::NotTried), Status::Unknown, &["--boot"]);
        is(&golden_gate(None, &Gate::Running), Status::Ok, &["running station"]);
        is(
            &golden_gate(Some(Path::new("/m")), &Gate::Tried(Ok((7, Provider::Cpu)))),
            Status::Ok,
            &["7 golden images", "cpu"],
        );
        is(
            &golden_gate(None, &Gate::Tried(Err("scored 1; teach again".into()))),
            Status::Failed,
            &["scored 1", "teach again"],
        );
    }

    #[test]
    fn what_gstreamer_lacks_is_named_for_each_camera() {
        let facts = GStreamerFacts {
            version: Some(Ok("1.22.0".into())),
            cameras: 2,
            ..GStreamerFacts::default()
        };
        is(
            &gstreamer(&facts)[0],
            Status::Ok,
            &["GStreamer 1.22.0, it has what the 2 cameras need"],
        );
        let lacking = GStreamerFacts {
            lacking: vec![Lacking {
                camera: "top".into(),
                element: "rtspsrc".into(),
                package: Some("gstreamer1.0-plugins-good"),
            }],
            ..facts.clone()
        };
        is(
            &gstreamer(&lacking)[0],
            Status::Failed,
            &["no element rtspsrc", "apt-get install gstreamer1.0-plugins-good"],
        );
        let broken = GStreamerFacts {
            version: Some(Err("no memory".into())),
            ..facts
        };
        is(&gstreamer(&broken)[0], Status::Failed, &["does not start: no memory"]);
        assert_eq!(gstreamer(&GStreamerFacts::default()), []);
    }

    #[test]
    fn a_camera_is_there_or_it_is_said_where_it_was_looked_for() {
        let device = |fault| CameraPlace::Device("/dev/video0".into(), fault);
        is(&camera("top", &device(None), None), Status::Ok, &["/dev/video0 is there"]);
        is(
            &camera("top", &device(Some(DeviceFault::Missing)), None),
            Status::Failed,
            &["not there", "cable"],
        );
        is(
            &camera("top", &device(Some(DeviceFault::Forbidden)), None),
            Status::Unknown,
            &["group video"],
        );
        is(
            &camera("top", &device(Some(DeviceFault::NoDevice)), None),
            Status::Failed,
            &["no device"],
        );
        is(
            &camera("top", &device(Some(DeviceFault::Forbidden)), Some(true)),
            Status::Ok,
            &["it delivers"],
        );
        is(
            &camera("top", &device(None), Some(false)),
            Status::Failed,
            &["does not deliver", "cable"],
        );
        let address = |error: Option<&str>| CameraPlace::Address("cam:554".into(), error.map(str::to_owned));
        is(&camera("top", &address(None), None), Status::Ok, &["cam:554 answers"]);
        is(
            &camera("top", &address(Some("timed out")), None),
            Status::Failed,
            &["timed out", "power"],
        );
        is(
            &camera("top", &CameraPlace::Socket("/tmp/a".into(), false), None),
            Status::Failed,
            &["no socket /tmp/a"],
        );
        is(
            &camera("top", &CameraPlace::Folder("/i".into(), Ok(0)), None),
            Status::Failed,
            &["no image in /i"],
        );
        is(
            &camera("top", &CameraPlace::Elsewhere, None),
            Status::Unknown,
            &["nothing that can be looked for"],
        );
        let found = VideoDevice {
            node: "/dev/video0".into(),
            name: "UVC".into(),
            index: 0,
            has_node: true,
        };
        let second = VideoDevice { index: 1, ..found.clone() };
        is(&video_devices(&[found.clone(), second]), Status::Ok, &["/dev/video0 UVC"]);
        is(
            &video_devices(&[VideoDevice { has_node: false, ..found }]),
            Status::Warning,
            &["no file"],
        );
        is(&video_devices(&[]), Status::Unknown, &["no video device"]);
    }

    fn port(sockets: &[(&str, &str, bool)], process: Option<u32>, bound: Result<(), BindFault>) -> PortFacts {
        let socket = |(local, remote, listens): &(&str, &str, bool)| Socket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            listens: *listens,
            is_connected: !*listens,
        };
        PortFacts {
            protocol: "Modbus",
            listen: "192.168.10.5:502".parse().unwrap(),
            writers: vec!["192.168.10.20".parse().unwrap()],
            sockets: sockets.iter().map(socket).collect(),
            process,
            bound,
        }
    }

    #[test]
    fn a_port_is_served_by_the_station_free_or_taken() {
        let listens = ("192.168.10.5:502", "0.0.0.0:0", true);
        let writer = ("192.168.10.5:502", "192.168.10.20:50000", false);
        let reader = ("192.168.10.5:502", "192.168.10.99:50000", false);
        is(
            &plc(&port(&[listens, writer, reader], Some(9), Ok(()))),
            Status::Ok,
            &["connected: 192.168.10.20, 192.168.10.99 (reads only)"],
        );
        is(
            &plc(&port(&[listens, reader], Some(9), Ok(()))),
            Status::Warning,
            &["nobody who gives cycles", "writers of [plc] are 192.168.10.20"],
        );
        is(
            &plc(&port(&[listens], None, Ok(()))),
            Status::Failed,
            &["another program", "sport = :502"],
        );
        is(&plc(&port(&[], Some(9), Ok(()))), Status::Warning, &["does not listen"]);
        // Everywhere is here too; another port or address is not.
        is(
            &plc(&port(&[("[::]:502", "[::]:0", true), writer], Some(9), Ok(()))),
            Status::Ok,
            &["connected"],
        );
        is(
            &plc(&port(&[("192.168.10.5:503", "0.0.0.0:0", true)], None, Ok(()))),
            Status::Ok,
            &["free"],
        );
        is(
            &plc(&port(&[("127.0.0.1:502", "0.0.0.0:0", true)], None, Ok(()))),
            Status::Ok,
            &["free"],
        );
        is(
            &plc(&port(&[], None, Err(BindFault::NoAddress))),
            Status::Failed,
            &["has the address 192.168.10.5", "cable"],
        );
        is(
            &plc(&port(&[], None, Err(BindFault::Forbidden))),
            Status::Unknown,
            &["CAP_NET_BIND_SERVICE"],
        );
        is(&plc(&port(&[], None, Err(BindFault::Taken))), Status::Failed, &["something else"]);
        is(
            &plc(&port(&[], None, Err(BindFault::Other("no memory".into())))),
            Status::Failed,
            &["no memory"],
        );
    }

    #[test]
    fn a_station_is_as_ready_as_it_says() {
        let of = |said: Option<Result<Said, String>>| {
            station(&RunningFacts {
                process: Some(12),
                said,
                last_part_s: Some(3),
            })
        };
        let ready = Said {
            is_ready: true,
            parts: 42,
            queue_ms: Some(0.25),
            ..Said::default()
        };
        is(
            &station(&RunningFacts::default()),
            Status::Warning,
            &["does not run", "systemctl start takt-station"],
        );
        is(&of(None), Status::Unknown, &["[metrics] listen"]);
        is(&of(Some(Err("timed out".into()))), Status::Failed, &["does not answer: timed out"]);
        is(
            &of(Some(Ok(ready.clone()))),
            Status::Ok,
            &["ready; 42 parts since its start; last recorded 3 s ago; 0.2 ms in the queue"],
        );
        let lost = Said {
            is_ready: false,
            error_code: 30,
            ..ready.clone()
        };
        is(
            &of(Some(Ok(lost))),
            Status::Failed,
            &["ErrorCode 30 plc_lost", "heartbeat_timeout_ms"],
        );
        let full = Said {
            error_code: 80,
            ..ready.clone()
        };
        is(&of(Some(Ok(full))), Status::Warning, &["journal_nearly_full"]);
        let waits = Said {
            is_ready: false,
            ..ready.clone()
        };
        is(&of(Some(Ok(waits))), Status::Warning, &["waits for the PLC"]);
        let slow = Said {
            records_dropped: 4,
            ..ready
        };
        is(&of(Some(Ok(slow))), Status::Warning, &["4 records"]);
    }

    #[test]
    fn a_station_says_how_it_stands_in_its_metrics() {
        let text = "takt_parts_total{verdict=\"ok\",reason=\"\"} 40\ntakt_parts_total{verdict=\"not_ok\",reason=\"anomaly\"} 2\n\
            takt_stage_seconds_sum{stage=\"queue\"} 0.021\ntakt_stage_seconds_count{stage=\"queue\"} 42\ntakt_records_dropped_total 1\n\
            takt_error_code 30\ntakt_ready 0\n";
        let said = Said::of_metrics(text);
        assert_eq!(
            (said.is_ready, said.error_code, said.parts, said.records_dropped),
            (false, 30, 42, 1)
        );
        assert!((said.queue_ms.unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(Said::of_metrics(""), Said::default());
    }

    #[test]
    fn a_historian_answers_or_it_is_said_why_not() {
        let of = |answer: Result<f64, &str>| HistorianFacts {
            url: Some("https://h:7443".into()),
            answer: answer.map_err(str::to_owned),
            backlog: Some(5),
        };
        is(&historian(&of(Ok(3.2))), Status::Ok, &["answers after 3 ms; 5 records wait"]);
        is(
            &historian(&of(Err("UnknownIssuer; give its ca.pem"))),
            Status::Failed,
            &["not reached: UnknownIssuer; 5 records", "give its ca.pem"],
        );
        is(
            &historian(&of(Err("failed to read a.key: Permission denied; x"))),
            Status::Unknown,
            &["sudo"],
        );
        let none = HistorianFacts { url: None, ..of(Ok(0.0)) };
        is(&historian(&none), Status::Unknown, &["none is configured"]);
    }

    #[test]
    fn a_certificate_is_valid_soon_not_or_not_yet() {
        let of = |from, until| CertificateFile {
            file: "/a.pem".into(),
            role: "certificate of [grpc]",
            found: Ok(vec![("press-1".into(), from, until), ("authority".into(), 0, 400 * DAY_S)]),
            pair: None,
        };
        let now = 100 * DAY_S;
        let told = |facts: &CertificateFile| certificate(facts, now, |second| format!("day {}", second / DAY_S));
        is(&told(&of(0, now + 31 * DAY_S)), Status::Ok, &["press-1 is valid for 31 more days"]);
        is(
            &told(&of(0, now + 29 * DAY_S)),
            Status::Warning,
            &["expires in 29 days, on day 129", "takt pki issue"],
        );
        is(&told(&of(0, now - 1)), Status::Failed, &["expired on day 99"]);
        is(
            &told(&of(now + 1, now + 400 * DAY_S)),
            Status::Failed,
            &["not valid before", "clock"],
        );
        let unfit = CertificateFile {
            pair: Some(Err("failed to use the key: it does not fit; give the pair".into())),
            ..of(0, 300 * DAY_S)
        };
        is(&told(&unfit), Status::Failed, &["does not fit", "give the pair"]);
        let open = CertificateFile {
            pair: Some(Ok("the key can be read by others; chmod 600".into())),
            ..of(0, 300 * DAY_S)
        };
        is(&told(&open), Status::Warning, &["200 more days; the key can be read", "chmod 600"]);
        let missing = CertificateFile {
            found: Err("failed to read /a.pem: no such file; check its path".into()),
            ..of(0, 1)
        };
        is(&told(&missing), Status::Failed, &["no such file", "check its path"]);
        let empty = CertificateFile {
            found: Ok(Vec::new()),
            ..missing
        };
        is(&told(&empty), Status::Failed, &["no certificate"]);
    }

    fn condition() -> Condition {
        Condition {
            version: 1,
            recorded_below: 101,
            acknowledged_below: 91,
            last_unix_ns: Some(940_000_000_000),
            used_bytes: 3 << 20,
            ..Condition::default()
        }
    }

    fn glance(open: u64, unreported: u64) -> Glance {
        Glance {
            epoch: 1,
            parts: 100,
            open,
            unreported,
            last_unix_ns: Some(1),
        }
    }

    #[test]
    fn records_are_kept_or_it_is_said_what_is_wrong() {
        let kept = journal(&Ok(Some(condition())), 1000);
        is(
            &kept,
            Status::Ok,
            &["format 1, 100 records in this epoch, last 60 s ago, 10 not at the historian, 3.0 MiB"],
        );
        assert_eq!(kept.values["backlog_records"], 10);
        // A clock that went back makes nothing negative.
        is(&journal(&Ok(Some(condition())), 0), Status::Ok, &["last 0 s ago"]);
        let lossy = Condition {
            has_losses: true,
            images_unsent: 2,
            ..condition()
        };
        is(
            &journal(&Ok(Some(lossy)), 1000),
            Status::Warning,
            &["2 images", "lost", "takt journal verify"],
        );
        is(&journal(&Ok(None), 0), Status::Ok, &["first start"]);
        is(
            &journal(
                &Err("failed to open journal: its format version is 9, this takt knows 1; run the takt that wrote it".into()),
                0,
            ),
            Status::Failed,
            &["run the takt"],
        );
        is(
            &black_box(&Ok(Some(glance(0, 3)))),
            Status::Ok,
            &["100 parts, 3 of them not in the journal yet"],
        );
        is(&black_box(&Ok(None)), Status::Ok, &["next start"]);
        is(
            &black_box(&Err("failed to open black box: its version; x".into())),
            Status::Failed,
            &["version"],
        );
    }

    #[test]
    fn the_last_end_is_told_as_far_as_it_is_known() {
        let told = |runs, glance: Option<Glance>, condition: Option<Condition>| {
            last_end(runs, glance.as_ref(), condition.as_ref(), |second| format!("second {second}"))
        };
        is(&told(true, Some(glance(1, 1)), Some(condition())), Status::Ok, &["runs"]);
        is(
            &told(false, Some(glance(2, 5)), None),
            Status::Warning,
            &["2 parts were open, 5 are in the black box only"],
        );
        is(
            &told(false, Some(glance(0, 0)), None),
            Status::Ok,
            &["every part is in the journal"],
        );
        is(&told(false, None, Some(condition())), Status::Unknown, &["restarted since"]);
        is(&told(false, None, None), Status::Unknown, &["no station ran"]);
        let cut = Condition {
            power_loss_unix_ns: Some(5_000_000_000),
            ..condition()
        };
        is(&told(true, None, Some(cut)), Status::Warning, &["power was cut", "second 5"]);
        is(&last_error(&Ok(None)), Status::Ok, &["none"]);
        is(
            &last_error(&Ok(Some((60, "it broke".into())))),
            Status::Warning,
            &["60 s ago: it broke"],
        );
        is(&last_error(&Ok(Some((900_000, "it broke".into())))), Status::Ok, &["10 days ago"]);
        is(&last_error(&Err("no journald here".into())), Status::Unknown, &["no journald"]);
    }
}
