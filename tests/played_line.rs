//! A real line behind a real gRPC service; only cameras and engines are played. Every third part is bad.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use prost::Message;
use takt::flow;
use takt::journal::log::{ImageFile, LogError, RecordLog};
use takt::line::config::{LineConfig, RecipePlan, ResultMode, TriggerSource};
use takt::line::event::{Event, FrameId, Inspected};
use takt::line::{Line, Memory};
use takt::part::{Reason, Verdict, View};
use takt::plc::grpc::is_passed;
use takt::plc::{PlcEvent, Shown};
use takt::rpc::access::Access;
use takt::rpc::proto;
use takt::rpc::results_feed::ResultsFeed;
use takt::rpc::station_service::{CYCLES_COME_FROM_PLC, ImageSwapped, StationFacts, StationPorts, serve};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::ServerTlsConfig;

/// What a test wants of the service.
pub(crate) struct Wishes {
    /// Who may do what, and TLS.
    pub(crate) access: Access,
    pub(crate) tls: Option<ServerTlsConfig>,
    /// Whether controllers give the cycles.
    pub(crate) gives_cycles: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            access: Access::open(),
            tls: None,
            gives_cycles: true,
        }
    }
}

/// The line and its service; both end with it.
pub(crate) struct PlayedLine {
    pub(crate) address: SocketAddr,
    pub(crate) results: Arc<ResultsFeed>,
    pub(crate) stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
    inputs: Sender<Option<PlcEvent>>,
}

impl PlayedLine {
    pub(crate) fn start(wishes: Wishes) -> Self {
        let (inputs, events) = mpsc::channel();
        let (shown, swapped, results, log) = (
            Shown::default(),
            ImageSwapped::default(),
            Arc::<ResultsFeed>::default(),
            Arc::<MemoryLog>::default(),
        );
        let stop = CancellationToken::new();
        let to_line = Mutex::new(inputs.clone());
        let ports = StationPorts {
            facts: StationFacts {
                station: "press-1".into(),
                epoch: 4,
                recipes: vec![proto::RecipeSummary {
                    number: 1,
                    name: "Bracket".into(),
                    inspections: vec!["top".into()],
                    ..Default::default()
                }],
            },
            models: None,
            shown: Arc::clone(&shown),
            swapped: swapped.clone(),
            results: Arc::clone(&results),
            log: Some(Arc::clone(&log) as Arc<dyn RecordLog>),
            events: if wishes.gives_cycles {
                Ok(Box::new(move |event| {
                    // A line that has ended takes no more.
                    let _ = to_line.lock().unwrap().send(Some(event));
                }))
            } else {
                Err(CYCLES_COME_FROM_PLC)
            },
            access: wishes.access,
            accept_hold: Duration::from_mins(1),
            is_stand_in: false,
        };
        let server = serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), wishes.tls, ports, stop.clone()).unwrap();
        let mut cell = Cell {
            line: line(),
            shown,
            swapped,
            results: Arc::clone(&results),
            log,
        };
        cell.step(Event::CameraUp(0));
        cell.step(Event::ModelsReady(true));
        let thread = std::thread::spawn(move || {
            loop {
                let now = flow::now();
                match events.recv_timeout(cell.line.wake_at(now).since(now)) {
                    Ok(Some(PlcEvent::Connected)) => cell.step(Event::PlcConnected),
                    Ok(Some(PlcEvent::Lost)) => cell.step(Event::PlcLost),
                    Ok(Some(PlcEvent::Wrote { at, image, written })) => cell.step(Event::PlcWrote { at, image, written }),
                    Err(RecvTimeoutError::Timeout) => cell.step(Event::Tick),
                    Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        });
        Self {
            address: server.address,
            results,
            stop,
            threads: vec![server.thread, thread],
            inputs,
        }
    }
}

impl Drop for PlayedLine {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.inputs.send(None);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || std::thread::panicking());
        }
    }
}

fn line() -> Line {
    // No deadline that a slow machine could miss.
    let patience = Duration::from_mins(1);
    let config = LineConfig {
        gate_sees_parts: true,
        tags: Vec::new(),
        station: "press-1".into(),
        trigger_source: TriggerSource::Plc { frame_window: patience },
        result_mode: ResultMode::Window,
        deadline: patience,
        accept_hold: Duration::from_mins(1),
        torn: patience,
        trigger_grace: patience,
        heartbeat_timeout: patience,
        sequential: true,
        serial: takt::line::config::SerialMode::WithTrigger,
        simulated: false,
        workers: 1,
        cameras: 1,
        recipes: RecipePlan::all([(1, vec![0])]),
        config_checksum: 7,
    };
    let memory = Memory {
        boot_id: 3,
        epoch: 4,
        acquisition_below: 10_000,
        result_below: 10_000,
        ..Memory::default()
    };
    Line::new(config, memory, flow::now())
}

struct Cell {
    line: Line,
    shown: Shown,
    swapped: ImageSwapped,
    results: Arc<ResultsFeed>,
    log: Arc<MemoryLog>,
}

impl Cell {
    fn step(&mut self, event: Event) {
        self.line.advance(flow::now(), event);
        let commit = self.line.commit(flow::now());
        self.shown.store(Arc::new(self.line.image().clone()));
        self.swapped.ring();
        for record in &commit.decided {
            self.results.publish(record, is_passed(record, self.line.image()));
            self.log.add(record.cycle_id.map_or(0, takt::part::CycleId::get));
        }
        for opened in commit.opened.iter().filter(|opened| opened.acquisition_id != 0) {
            self.step(Event::Frame {
                camera: 0,
                frame: FrameId(opened.part.0),
                counter: None,
                exposed_at: flow::now(),
            });
        }
        for job in commit.jobs {
            self.step(Event::Inspected {
                part: job.part,
                inspection: job.inspection,
                inspected: Box::new(inspected(job.part.0)),
            });
        }
    }
}

fn inspected(part: u64) -> Inspected {
    let verdict = if part.is_multiple_of(3) { Verdict::NotOk } else { Verdict::Ok };
    Inspected {
        view: View {
            inspection: "top".into(),
            camera: "top".into(),
            frame_counter: None,
            exposed_ns: flow::now(),
            stamp: None,
            verdict,
            reason: (verdict == Verdict::NotOk).then_some(Reason::Anomaly),
            score: Some(1.0),
            threshold: Some(2.0),
            severity: None,
            findings: Vec::new(),
            model: None,
        },
        defect_code: 4,
        queue_us: 0,
        preprocess_us: 0,
        infer_us: 0,
        postprocess_us: 0,
    }
}

/// Records in memory.
struct MemoryLog {
    records: Mutex<Vec<Vec<u8>>>,
    below: watch::Sender<u64>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self {
            records: Mutex::default(),
            below: watch::Sender::new(1),
        }
    }
}

impl MemoryLog {
    fn add(&self, cycle_id: u32) {
        let mut records = self.records.lock().unwrap();
        let sequence = records.len() as u64 + 1;
        let body = proto::record::Body::Disposition(proto::Disposition {
            cycle_id,
            plc_session: 1,
            kind: 1,
            ..Default::default()
        });
        let record = proto::Record {
            station: "press-1".into(),
            epoch: 4,
            sequence,
            body: Some(body),
            ..proto::Record::default()
        };
        records.push(record.encode_to_vec());
        self.below.send_replace(sequence + 1);
    }
}

impl RecordLog for MemoryLog {
    fn station(&self) -> &'static str {
        "press-1"
    }

    fn epoch(&self) -> u64 {
        4
    }

    fn written_below(&self) -> watch::Receiver<u64> {
        self.below.subscribe()
    }

    fn read(&self, first: u64, last: u64, _bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>, LogError> {
        let records = self.records.lock().unwrap();
        // Two at a time, so that there is more than one read.
        let wanted = (first..=last).take(2);
        Ok(wanted
            .filter_map(|sequence| Some((sequence, records.get(sequence as usize - 1)?.clone())))
            .collect())
    }

    fn hash_of(&self, _sequence: u64) -> Result<Option<[u8; 32]>, LogError> {
        Ok(None)
    }

    fn acknowledged_below(&self) -> Result<u64, LogError> {
        Ok(1)
    }

    fn acknowledge(&self, _ranges: &[std::ops::RangeInclusive<u64>]) -> Result<(), LogError> {
        Ok(())
    }

    fn images_to_send(&self, _count: usize) -> Result<Vec<ImageFile>, LogError> {
        Ok(Vec::new())
    }

    fn image_sent(&self, _sequence: u64, _camera: &str) -> Result<(), LogError> {
        Ok(())
    }
}
