//! Reads the station's facts: files, the network, the journal, other programs. Each function is one check and may take as long as it likes:
//! whoever calls it does not wait longer than it wants to.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::findings::cameras::{self, CameraPlace, DeviceFault, GStreamerFacts, Lacking};
use super::findings::engine::{self, Gate, LibraryFacts, ModelFacts};
use super::findings::machine;
use super::findings::peers::{self, BindFault, CertificateFile, HistorianFacts, PortFacts, RunningFacts, Said};
use super::findings::records;
use super::texts::{self, SourcePlace};
use super::tree::SystemTree;
use super::{Check, Finding, Status, programs};
use crate::capture::survey::{self, Description};
use crate::config::station::{CameraConfig, CameraSource, CycleSource, StationConfig};
use crate::flow;
use crate::journal::black_box;
use crate::journal::condition::{self, Condition};
use crate::journal::numbers::Numbers;
use crate::line::error_code::ErrorCode;
use crate::model::package::Package;
use crate::model::signature::Trust;
use crate::rpc::certificate::{CertificateFacts, date};
use crate::rpc::health;
use crate::rpc::tls::{self, SecurityError};
use crate::station::build::BLACK_BOX;
use crate::vision::Provider;
use crate::vision::decode::EXTENSIONS;
use crate::vision::ort::{candidates, providers, version_of};

/// How long an answer over the network may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long another program may take.
const PROGRAM_MAX: Duration = Duration::from_secs(3);

/// Most bytes of an answer over HTTP.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Most files of a folder of images that are counted.
const IMAGES_COUNTED_MAX: usize = 10_000;

/// Bytes that a new black box needs; its file has 8.1 MiB.
const BLACK_BOX_BYTES: u64 = 9 << 20;

/// Where the station's state is unless its configuration says otherwise.
const STATE: &str = "/var/lib/takt";

/// The station's unit in the system's log.
const UNIT: &str = "takt-station.service";

/// takt itself.
pub fn takt() -> Finding {
    let (version, architecture) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    Finding::new(Check::Takt, Status::Ok, format!("takt {version} for {architecture}"))
        .value("version", version)
        .value("architecture", architecture)
}

/// The process of the station that runs with this configuration.
pub fn station_process(tree: &SystemTree, config: &StationConfig) -> Option<u32> {
    tree.lock_holder(&config.runtime_directory.join(BLACK_BOX))
}

/// ONNX Runtime. Loads it.
pub fn library(tree: &SystemTree, wanted: Option<Provider>) -> Finding {
    let facts = LibraryFacts {
        wanted,
        architecture: std::env::consts::ARCH.into(),
        ..LibraryFacts::default()
    };
    let facts = match providers() {
        Ok(providers) => {
            let file = tree.mapped_files("libonnxruntime").into_iter().next();
            LibraryFacts {
                version: file.as_deref().and_then(version_of),
                file,
                providers,
                ..facts
            }
        }
        Err(error) => LibraryFacts {
            error: Some(error.to_string()),
            foreign: foreign_libraries(),
            ..facts
        },
    };
    engine::library(&facts)
}

/// Libraries that are found but are for another machine.
fn foreign_libraries() -> Vec<(PathBuf, String)> {
    let machine_of = |path: &Path| {
        let mut head = [0; 20];
        File::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
        texts::elf_machine(&head)
    };
    let found = candidates().into_iter().filter_map(|path| Some((machine_of(&path)?, path)));
    let foreign = found.filter(|(machine, _)| machine != std::env::consts::ARCH);
    foreign.map(|(machine, path)| (path, machine)).collect()
}

/// The model packages of a configuration, each once.
fn packages(config: &StationConfig) -> BTreeSet<PathBuf> {
    config.inspections().map(|inspection| inspection.model.clone()).collect()
}

/// Model packages: their seals.
pub fn models(config: &StationConfig) -> Vec<Finding> {
    let trust = Trust::read(config.models.require_signature, &config.models.trusted_keys);
    let facts = packages(config).into_iter().map(|package| {
        let trusted = || -> Result<Package, String> {
            let opened = Package::open(&package).map_err(|error| error.to_string())?;
            let trust = trust.as_ref().map_err(ToString::to_string)?;
            trust.check(&opened).map_err(|error| error.to_string())?;
            Ok(opened)
        };
        let found = trusted().map(|opened| {
            let manifest = opened.manifest;
            (manifest.name, manifest.version, manifest.golden.images.len())
        });
        ModelFacts { package, found }
    });
    facts.map(|facts| engine::model(&facts)).collect()
}

/// Model packages: their golden gates, on the provider that is configured. Takes the processor for a while.
pub fn golden_gates(config: &StationConfig) -> Vec<Finding> {
    let order = config.engine.order;
    let gates = packages(config).into_iter().map(|package| {
        let activated = Package::open(&package).and_then(|opened| opened.activate(order));
        let gate = Gate::Tried(
            activated
                .map(|active| (active.gated.len(), active.engine.provider()))
                .map_err(|error| chain(&error)),
        );
        engine::golden_gate(Some(&package), &gate)
    });
    gates.collect()
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| {
        let cause = cause.to_string();
        if told.contains(&cause) { told } else { format!("{told}: {cause}") }
    })
}

/// Whether the station that runs came through the golden gate of this very program, so that it need not be tried again beside it.
pub fn runs_this_program(tree: &SystemTree, config: &StationConfig) -> bool {
    let Some(process) = station_process(tree, config) else {
        return false;
    };
    let is_same = std::env::current_exe()
        .ok()
        .is_some_and(|program| tree.program_of(process) == Some(program));
    let unproven = [ErrorCode::ModelsNotReady, ErrorCode::ProviderMissing].map(ErrorCode::code);
    let is_proven = |said: &Said| !unproven.contains(&said.error_code);
    is_same && said(config).and_then(Result::ok).as_ref().is_some_and(is_proven)
}

/// GStreamer and what the cameras need of it. Loads its plugins.
pub fn gstreamer(config: Option<&StationConfig>) -> Vec<Finding> {
    let mut facts = GStreamerFacts {
        version: Some(survey::version()),
        ..GStreamerFacts::default()
    };
    let cameras = config.map_or(&[][..], |config| &config.cameras);
    for (camera, description) in cameras.iter().filter_map(|camera| Some((camera, pipeline(camera)?))) {
        facts.cameras += 1;
        match survey::look_at(description) {
            Ok(Description::Complete) | Err(_) => {}
            Ok(Description::Missing(missing)) => facts.lacking.extend(missing.into_iter().map(|missing| Lacking {
                camera: camera.name.clone(),
                element: missing.element,
                package: missing.package,
            })),
            Ok(Description::Wrong(words)) => facts.wrong.push((camera.name.clone(), words)),
        }
    }
    cameras::gstreamer(&facts)
}

fn pipeline(camera: &CameraConfig) -> Option<&str> {
    if let CameraSource::Pipeline { description, .. } = &camera.source {
        return Some(description);
    }
    None
}

/// A camera, which is not started for it.
pub fn camera(config: &StationConfig, camera: &CameraConfig) -> Finding {
    let up = config
        .metrics
        .and_then(|address| http_get(address, "/metrics").ok())
        .and_then(|(_, text)| {
            let up = texts::metric(&text, "takt_camera_up", Some(("camera", &camera.name)))?;
            Some(up > 0.0)
        });
    cameras::camera(&camera.name, &place(&camera.source), up)
}

/// Where pictures come from, and whether that is there.
fn place(source: &CameraSource) -> CameraPlace {
    let description = match source {
        CameraSource::Folder(folder) => return CameraPlace::Folder(folder.clone(), count_images(folder)),
        CameraSource::Device(camera) => return device(&camera.path),
        CameraSource::Pipeline { description, .. } => description,
    };
    match texts::source_place(description) {
        SourcePlace::Device(node) => device(&node),
        SourcePlace::Socket(path) => {
            let is_there = fs::metadata(&path).is_ok_and(|file| file.file_type().is_socket());
            CameraPlace::Socket(path, is_there)
        }
        SourcePlace::Address(host, port) => {
            let address = format!("{host}:{port}");
            let error = connect(&address).err().map(|error| error.to_string());
            CameraPlace::Address(address, error)
        }
        SourcePlace::Nothing => CameraPlace::Elsewhere,
    }
}

fn device(node: &Path) -> CameraPlace {
    let fault = match fs::metadata(node) {
        Err(_) => Some(DeviceFault::Missing),
        Ok(file) if !file.file_type().is_char_device() => Some(DeviceFault::NoDevice),
        Ok(_) if access(node, Access::READ_OK | Access::WRITE_OK).is_err() => Some(DeviceFault::Forbidden),
        Ok(_) => None,
    };
    CameraPlace::Device(node.display().to_string(), fault)
}

fn count_images(folder: &Path) -> Result<usize, String> {
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let paths = entries.take(IMAGES_COUNTED_MAX).filter_map(|entry| Some(entry.ok()?.path()));
    let is_image = |path: &PathBuf| {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        ending.is_some_and(|ending| EXTENSIONS.contains(&ending.as_str()))
    };
    Ok(paths.filter(is_image).count())
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The ports that the PLC or line controllers connect to.
pub fn ports(tree: &SystemTree, config: &StationConfig) -> Vec<Finding> {
    let (sockets, process) = (tree.sockets(), station_process(tree, config));
    let modbus = match &config.plc.cycle_source {
        CycleSource::Modbus { listen, writers } => Some(("Modbus", *listen, writers.clone())),
        CycleSource::PolledModbus(_) | CycleSource::Grpc => None,
    };
    let grpc = config.grpc.as_ref().map(|grpc| ("gRPC", grpc.listen, Vec::<IpAddr>::new()));
    let facts = modbus.into_iter().chain(grpc).map(|(protocol, listen, writers)| {
        let is_served = peers::is_served(&sockets, listen);
        PortFacts {
            protocol,
            listen,
            writers,
            sockets: sockets.clone(),
            process,
            // Not tried where somebody listens: nothing would be learned.
            bound: if is_served { Ok(()) } else { try_bind(listen) },
        }
    });
    let findings = facts.map(|facts| {
        let is_extra = facts.protocol == "gRPC" && config.plc.cycle_source != CycleSource::Grpc;
        let finding = peers::plc(&facts);
        // Line controllers that only listen may come and go.
        if is_extra && finding.status == Status::Warning && process.is_some() {
            return Finding {
                status: Status::Ok,
                remedy: String::new(),
                ..finding
            };
        }
        finding
    });
    findings.collect()
}

/// Whether an address could be listened on. It is bound for a moment and not listened on, so that a station that starts meanwhile is not refused.
fn try_bind(listen: SocketAddr) -> Result<(), BindFault> {
    let family = if listen.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let bound = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).and_then(|socket| {
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &listen)
    });
    bound.map_err(|error| match error {
        Errno::ADDRNOTAVAIL => BindFault::NoAddress,
        Errno::ACCESS => BindFault::Forbidden,
        Errno::ADDRINUSE => BindFault::Taken,
        other => BindFault::Other(other.to_string()),
    })
}

/// Status and body. HTTP/1.0, so that the body ends with the connection.
fn http_get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&reachable(address), ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    let answer = String::from_utf8_lossy(&bytes);
    let (status, body) = texts::http_answer(&answer).ok_or_else(|| io::Error::other("this is no answer over HTTP"))?;
    Ok((status, body.to_owned()))
}

/// Where a server that listens everywhere is reached from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let here: IpAddr = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => [127, 0, 0, 1].into(),
        IpAddr::V6(address) if address.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(here, listen.port())
}

/// What the running station says of itself: its metrics, or else its status where no TLS is needed to ask for it.
fn said(config: &StationConfig) -> Option<Result<Said, String>> {
    if let Some(address) = config.metrics {
        let metrics = http_get(address, "/metrics").map_err(|error| format!("metrics at {address}: {error}"));
        let said = metrics.and_then(|(status, text)| match status {
            200 => Ok(Said::of_metrics(&text)),
            other => Err(format!("metrics at {address}: HTTP status {other}; is that the station?")),
        });
        // What `/health` says is what a load balancer or a fieldbus gateway goes by.
        return Some(said.and_then(|said| {
            let (status, _) = http_get(address, "/health").map_err(|error| format!("health at {address}: {error}"))?;
            Ok(Said {
                is_ready: said.is_ready && status == 200,
                ..said
            })
        }));
    }
    let grpc = config.grpc.as_ref().filter(|grpc| grpc.security.server.is_none())?;
    let status = health::ask_station(reachable(grpc.listen), ANSWER_MAX);
    Some(status.map(|status| Said {
        is_ready: status.ready,
        error_code: u16::try_from(status.error_code).unwrap_or(u16::MAX),
        parts: u64::from(status.count_total),
        ..Said::default()
    }))
}

/// The running station.
pub fn running(tree: &SystemTree, config: &StationConfig) -> Finding {
    let process = station_process(tree, config);
    let last = journal(tree, config).ok().flatten().and_then(|condition| condition.last_unix_ns);
    let since = |unix_ns: i64| u64::try_from((flow::unix_now_ns() - unix_ns) / 1_000_000_000).unwrap_or_default();
    peers::station(&RunningFacts {
        process,
        said: process.and_then(|_| said(config)),
        last_part_s: last.map(since),
    })
}

/// The historian, asked with the configured certificates.
pub fn historian(tree: &SystemTree, config: &StationConfig) -> Finding {
    let condition = journal(tree, config).ok().flatten();
    let backlog = condition.map(|condition| condition.recorded_below.saturating_sub(condition.acknowledged_below));
    let Some(historian) = &config.historian else {
        return peers::historian(&HistorianFacts {
            url: None,
            answer: Ok(0.0),
            backlog,
        });
    };
    let asked = Instant::now();
    let answer = health::ask_historian(&historian.url, historian.security.as_ref(), ANSWER_MAX);
    peers::historian(&HistorianFacts {
        url: Some(historian.url.clone()),
        answer: answer.map(|()| 1e3 * asked.elapsed().as_secs_f64()),
        backlog,
    })
}

fn journal(tree: &SystemTree, config: &StationConfig) -> Result<Option<Condition>, String> {
    // An epoch of 0 stands for a state that was not made yet.
    let numbers = Numbers::read(&config.state_directory, 0).map_err(|error| error.to_string())?;
    let epoch = (numbers.epoch > 0).then_some(numbers.epoch);
    let is_written = station_process(tree, config).is_some();
    condition::look(&config.journal.directory, &config.id, epoch, is_written).map_err(|error| error.to_string())
}

/// Journal, black box, and what they say of the last end.
pub fn records(tree: &SystemTree, config: &StationConfig) -> Vec<Finding> {
    let journal = journal(tree, config);
    let black_box = black_box::look(&config.runtime_directory.join(BLACK_BOX)).map_err(|error| error.to_string());
    let now_unix_s = flow::unix_now_ns().div_euclid(1_000_000_000);
    let glance = black_box.as_ref().ok().and_then(Option::as_ref);
    let condition = journal.as_ref().ok().and_then(Option::as_ref);
    vec![
        records::journal(&journal, now_unix_s),
        records::black_box(&black_box),
        records::last_end(station_process(tree, config).is_some(), glance, condition, date),
    ]
}

/// Folders that the station writes to: where, and what for.
pub fn folders(config: Option<&StationConfig>) -> Vec<(PathBuf, &'static str)> {
    let Some(config) = config else {
        return vec![(STATE.into(), "state, unless configured otherwise")];
    };
    let mut folders = vec![
        (config.state_directory.clone(), "state_directory"),
        (config.runtime_directory.clone(), "runtime_directory"),
    ];
    if !config.journal.directory.starts_with(&config.state_directory) {
        folders.push((config.journal.directory.clone(), "journal.directory"));
    }
    folders
}

/// A folder that the station writes to.
pub fn folder(tree: &SystemTree, config: Option<&StationConfig>, path: &Path, role: &'static str) -> Finding {
    let mut facts = match tree.folder(path, role) {
        Ok(facts) => facts,
        Err(error) => {
            let told = format!("failed to look at it: {error}; check the disk, and whether something is mounted there");
            return Finding::not_looked_at(Check::Disk, &told).of(path.display().to_string());
        }
    };
    if let Some(config) = config {
        if config.journal.directory.starts_with(path) {
            facts.quota_bytes = config.journal.quota_bytes;
            facts.used_bytes = journal(tree, config).ok().flatten().map_or(0, |condition| condition.used_bytes);
        }
        if config.runtime_directory == path && !path.join(BLACK_BOX).exists() {
            facts.needed_bytes = BLACK_BOX_BYTES;
        }
    }
    machine::disk(&facts)
}

/// Every certificate that the configuration names.
pub fn certificates(config: &StationConfig) -> Vec<Finding> {
    let mut files = Vec::new();
    if let Some(server) = config.grpc.as_ref().and_then(|grpc| grpc.security.server.as_ref()) {
        let pair = pair(server.load().map(|(_, warnings)| warnings));
        files.push((server.certificate.clone(), "certificate of [grpc]", pair));
        files.extend(server.client_ca.clone().map(|file| (file, "client_ca of [grpc]", None)));
    }
    if let Some(client) = config.historian.as_ref().and_then(|historian| historian.security.as_ref()) {
        files.push((client.ca.clone(), "ca of [historian]", None));
        if let Some((certificate, _)) = &client.identity {
            let pair = pair(client.load().map(|(_, warnings)| warnings));
            files.push((certificate.clone(), "certificate of [historian]", pair));
        }
    }
    let now_unix_s = flow::unix_now_ns().div_euclid(1_000_000_000);
    let facts = files.into_iter().map(|(file, role, pair)| CertificateFile {
        found: certificates_in(&file).map_err(|error| error.to_string()),
        file,
        role,
        pair,
    });
    facts.map(|facts| peers::certificate(&facts, now_unix_s, date)).collect()
}

/// What is wrong with certificate and key together. The dates of a certificate are told for its own file.
fn pair(loaded: Result<Vec<tls::Warning>, SecurityError>) -> Option<Result<String, String>> {
    match loaded {
        Err(error) => Some(Err(error.to_string())),
        Ok(warnings) => warnings.into_iter().find_map(|warning| match warning {
            tls::Warning::Open(told) => Some(Ok(told)),
            tls::Warning::Date(_) => None,
        }),
    }
}

fn certificates_in(file: &Path) -> Result<Vec<(String, i64, i64)>, SecurityError> {
    let facts = tls::read_certificates(file)?.into_iter().map(|der| {
        let facts = CertificateFacts::of_der(&der).map_err(|error| SecurityError::Damaged(file.to_owned(), error.to_string()))?;
        Ok((facts.name, facts.valid_from_unix_s, facts.valid_until_unix_s))
    });
    facts.collect()
}

/// The clock, with what chrony says of it where it runs.
pub fn clock(tree: &SystemTree) -> Finding {
    let mut facts = tree.clock();
    if facts.setters.iter().any(|setter| setter == "chronyd") {
        let ran = programs::run(Command::new("chronyc").args(["-c", "tracking"]), PROGRAM_MAX);
        facts.tracking = ran
            .ok()
            .filter(|ran| ran.code == Some(0))
            .and_then(|ran| texts::tracking(&ran.stdout));
    }
    machine::clock(&facts)
}

/// The last error of the station in the system's log.
pub fn last_error() -> Finding {
    let mut journalctl = Command::new("journalctl");
    journalctl.args([
        "--unit",
        UNIT,
        "--priority",
        "err",
        "--lines",
        "1",
        "--output",
        "json",
        "--no-pager",
        "--quiet",
    ]);
    let found = match programs::run(&mut journalctl, PROGRAM_MAX) {
        Err(programs::ProgramError::NotStarted(_)) => Err("this system has no journalctl to ask".into()),
        Err(late) => Err(format!("journalctl: {late}")),
        Ok(ran) if ran.code != Some(0) => Err("this user may not read the system's log; the group systemd-journal may".into()),
        Ok(ran) => Ok(texts::log_entry(&ran.stdout).map(|(unix_s, message)| {
            let now_unix_s = flow::unix_now_ns() / 1_000_000_000;
            (u64::try_from(now_unix_s - unix_s).unwrap_or_default(), message)
        })),
    };
    records::last_error(&found)
}
