//! A station in this process: the real line and the real Modbus server, an engine that takes no time, and what is broken on purpose.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::mutations::{Broken, Mutation};
use crate::flow::now;
use crate::journal::black_box::{Decided, Kept};
use crate::line::config::{LineConfig, RecipePlan, ResultMode, TriggerSource};
use crate::line::event::{Event, FrameId, Inspected};
use crate::line::image::{Counts, StationImage};
use crate::line::{Line, Memory};
use crate::part::{Nanos, Outcome, PartRecord, Reason, Verdict, View};
use crate::plc::delivery::Offer;
use crate::plc::modbus::client::{ClientConfig, ModbusClient, ResultPort};
use crate::plc::modbus::{Layout, ModbusConfig, ModbusServer, SILENCE_MAX};
use crate::plc::{PlcEvent, Shown};
use crate::twin::commission::driver::Plant;
use crate::twin::commission::run::Place;
use crate::twin::commission::step::{Look, Terms};

/// How much later than its deadline a late engine says its word.
const LATE: Duration = Duration::from_millis(60);

/// Where the registers are of a PLC that is polled.
const LAYOUT: Layout = Layout {
    read_base: 0,
    write_base: 1000,
    has_window: false,
    has_tags: false,
};

/// Longest wait for anything: the line ticks by then.
const TICK: Duration = Duration::from_millis(20);

enum Input {
    Plc(PlcEvent),
    Exposed(Look, Nanos),
    Killed,
}

/// What survives a kill, as black box and numbers do.
struct Memories {
    boot_id: u16,
    kept: BTreeMap<u64, Kept>,
    counts: Counts,
    base: Counts,
    session: u16,
}

/// Its end of the wire; dropped last of all it has.
enum PlayedWire {
    Server { _server: ModbusServer },
    Client { _client: ModbusClient },
}

/// The station, and the parts in front of it.
pub(super) struct PlayedStation {
    terms: Terms,
    mutation: Option<&'static Mutation>,
    address: SocketAddr,
    wire: Option<PlayedWire>,
    inputs: Option<Sender<Input>>,
    line: Option<JoinHandle<Memories>>,
    memories: Option<Memories>,
    records: Arc<Mutex<Vec<PartRecord>>>,
    read: Vec<PartRecord>,
    /// Whether a good part is exposed with each trigger, by itself.
    own_parts: bool,
}

impl PlayedStation {
    pub(super) fn new(terms: &Terms, mutation: Option<&'static Mutation>) -> Self {
        // An address of its own: its port stays free while the station is down.
        static STATIONS: AtomicU8 = AtomicU8::new(1);
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        let own = Ipv4Addr::new(127, high | 0x80, low, STATIONS.fetch_add(1, Ordering::Relaxed));
        Self {
            terms: terms.clone(),
            mutation,
            address: SocketAddr::from((own, if terms.polled { 15_020 } else { 0 })),
            wire: None,
            inputs: None,
            line: None,
            memories: None,
            records: Arc::default(),
            read: Vec::new(),
            own_parts: false,
        }
    }

    pub(super) fn has_parts_of_its_own(&mut self) {
        self.own_parts = true;
    }

    /// Starts it, and says where it meets its PLC.
    pub(super) fn begin(&mut self) -> Place {
        self.start().unwrap();
        if !self.terms.polled {
            return Place::Server(self.address);
        }
        Place::Client {
            listen: self.address,
            read_base: LAYOUT.read_base,
            write_base: LAYOUT.write_base,
            silence_max: self.terms.heartbeat_timeout,
        }
    }

    /// The wire, and where results are offered that the station writes.
    fn connect(&self, shown: Shown, inputs: &Sender<Input>) -> Result<(PlayedWire, Option<ResultPort>, SocketAddr), String> {
        let told = inputs.clone();
        let events = move |event| drop(told.send(Input::Plc(event)));
        if self.terms.polled {
            let config = ClientConfig {
                connect: self.address,
                unit_id: 1,
                layout: Layout {
                    has_window: self.terms.mode == ResultMode::Window,
                    ..LAYOUT
                },
                poll: Duration::from_millis(5),
                response_timeout: Duration::from_millis(300),
                write_max: Duration::from_millis(20),
            };
            let (client, port) = ModbusClient::start(config, shown, events, |_| ()).map_err(|error| error.to_string())?;
            return Ok((PlayedWire::Client { _client: client }, Some(port), self.address));
        }
        let modbus = ModbusConfig {
            listen: self.address,
            writers: vec![IpAddr::from([127, 0, 0, 1]), self.address.ip()],
            tags: false,
            silence_max: SILENCE_MAX,
        };
        let server = ModbusServer::start(&modbus, shown, events).map_err(|error| error.to_string())?;
        let address = server.address();
        Ok((PlayedWire::Server { _server: server }, None, address))
    }

    fn config(&self) -> LineConfig {
        let arm_window = match self.terms.trigger {
            TriggerSource::Hardware { arm_window } => arm_window,
            _ => Duration::ZERO,
        };
        let mut config = LineConfig {
            gate_sees_parts: true,
            station: "played".into(),
            trigger_source: self.terms.trigger,
            result_mode: self.terms.mode,
            deadline: self.terms.deadline.saturating_sub(arm_window),
            accept_hold: self.terms.accept_hold,
            torn: self.terms.torn,
            trigger_grace: Duration::from_millis(20),
            heartbeat_timeout: self.terms.heartbeat_timeout,
            sequential: self.terms.sequential,
            serial: self.terms.serial,
            simulated: false,
            workers: 1,
            cameras: 1,
            tags: Vec::new(),
            recipes: RecipePlan::all(self.terms.recipes.iter().map(|number| (*number, vec![0]))),
            config_checksum: 1,
        };
        if let Some(mutation) = self.mutation {
            (mutation.configure)(&mut config);
        }
        config
    }

    /// What a start finds: parts that were open are not decidable, and told of.
    fn recall(&mut self) -> (Memory, Memories) {
        let before = self.memories.take();
        let mut memories = before.unwrap_or(Memories {
            boot_id: 6,
            kept: BTreeMap::new(),
            counts: Counts::default(),
            base: Counts::default(),
            session: 0,
        });
        memories.boot_id += 1;
        for kept in memories.kept.values_mut().filter(|kept| kept.decided.is_none()) {
            let record = kept.record("played", 1);
            memories.counts.add(Outcome {
                verdict: record.verdict,
                reason: record.reason,
            });
            kept.decided = Some(decided(&record));
            self.tell(record);
        }
        let block = 1000 * u32::from(memories.boot_id);
        let mut memory = Memory {
            boot_id: memories.boot_id,
            epoch: 1,
            next_sequence: memories.kept.keys().max().copied().unwrap_or(0) + 1,
            next_acquisition: block,
            next_result: block,
            acquisition_below: block + 1000,
            result_below: block + 1000,
            counts: memories.counts,
            counts_base: memories.base,
            plc_session: memories.session,
            history: memories.kept.values().filter_map(Kept::used_cycle).collect(),
            ..Memory::default()
        };
        if let Some(mutation) = self.mutation {
            (mutation.recall)(&mut memory);
        }
        (memory, memories)
    }

    fn tell(&self, record: PartRecord) {
        tell(&self.records, self.mutation, record);
    }

    fn end(&mut self) -> Result<(), String> {
        self.wire = None;
        let inputs = self.inputs.take().ok_or("it does not run")?;
        let _ = inputs.send(Input::Killed);
        let line = self.line.take().ok_or("it does not run")?;
        self.memories = Some(line.join().map_err(|_| "the line panicked")?);
        Ok(())
    }
}

fn tell(records: &Mutex<Vec<PartRecord>>, mutation: Option<&'static Mutation>, mut record: PartRecord) {
    let copies = mutation.map_or(1, |mutation| (mutation.record)(&mut record));
    let mut records = records.lock().unwrap();
    for copy in 0..copies {
        let sequence = record.sequence + 1_000_000 * copy;
        records.push(PartRecord {
            sequence,
            ..record.clone()
        });
    }
}

fn decided(record: &PartRecord) -> Decided {
    Decided {
        outcome: Outcome {
            verdict: record.verdict,
            reason: record.reason,
        },
        result_id: record.result_id,
        total_us: 0,
        deadline_us: 0,
        counts: Counts::default(),
        config_checksum: record.config_checksum,
        defect_code: record.defect_code,
        severity: None,
    }
}

impl Plant for PlayedStation {
    fn expose(&mut self, _: u32, look: Look, at: Nanos) {
        if let Some(inputs) = &self.inputs {
            let _ = inputs.send(Input::Exposed(look, at));
        }
    }

    fn kill(&mut self) -> Result<(), String> {
        self.end()
    }

    fn stop(&mut self) -> Result<(), String> {
        self.end()
    }

    fn start(&mut self) -> Result<(), String> {
        if self.inputs.is_some() {
            return Ok(());
        }
        let config = self.config();
        let (memory, memories) = self.recall();
        let mut line = Line::new(config, memory, now());
        line.sabotage = self.mutation.and_then(|mutation| mutation.sabotage);
        let mut broken = Broken::default();
        let shown: Shown = Arc::new(ArcSwap::from_pointee(show(&line, self.mutation, &mut broken)));
        let (inputs, events) = channel();
        let (wire, results, address) = self.connect(Arc::clone(&shown), &inputs)?;
        let played = Played {
            line,
            mutation: self.mutation,
            broken,
            shown,
            results,
            memories,
            records: Arc::clone(&self.records),
            looks: HashMap::new(),
            frames: 0,
            judged: Vec::new(),
            own_parts: self.own_parts,
        };
        self.line = Some(thread::spawn(move || played.live(&events)));
        (self.wire, self.inputs, self.address) = (Some(wire), Some(inputs), address);
        Ok(())
    }

    fn records(&mut self) -> Result<&[PartRecord], String> {
        self.read.append(&mut self.records.lock().unwrap());
        Ok(&self.read)
    }
}

impl Drop for PlayedStation {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The image as it is shown: broken where that is wanted.
fn show(line: &Line, mutation: Option<&'static Mutation>, broken: &mut Broken) -> StationImage {
    let mut image = line.image().clone();
    if let Some(mutation) = mutation {
        (mutation.show)(&mut image, broken);
    }
    broken.shown = image.clone();
    image
}

/// The line's thread.
struct Played {
    line: Line,
    mutation: Option<&'static Mutation>,
    broken: Broken,
    shown: Shown,
    /// Where results are offered, if the station writes them.
    results: Option<ResultPort>,
    memories: Memories,
    records: Arc<Mutex<Vec<PartRecord>>>,
    looks: HashMap<FrameId, Look>,
    frames: u64,
    /// Findings on their way.
    judged: Vec<(Nanos, Event)>,
    own_parts: bool,
}

impl Played {
    fn live(mut self, inputs: &Receiver<Input>) -> Memories {
        for event in [Event::CameraUp(0), Event::ModelsReady(true)] {
            self.happen(event);
        }
        loop {
            let time = now();
            let due = self.judged.iter().map(|(at, _)| *at).min();
            let wake = self.line.wake_at(time).min(due.unwrap_or(Nanos(u64::MAX)));
            match inputs.recv_timeout(wake.since(time).min(TICK)) {
                Ok(Input::Plc(event)) => self.hear(event),
                Ok(Input::Exposed(look, at)) => self.expose(look, at),
                Ok(Input::Killed) | Err(RecvTimeoutError::Disconnected) => return self.remember(),
                Err(RecvTimeoutError::Timeout) => self.happen(Event::Tick),
            }
            let time = now();
            while let Some(place) = self.judged.iter().position(|(at, _)| *at <= time) {
                let (_, event) = self.judged.remove(place);
                self.happen(event);
            }
        }
    }

    fn remember(mut self) -> Memories {
        self.memories.counts = self.line.counts();
        self.memories.base = self.line.counts_base();
        self.memories.session = self.line.image().echo_plc_session;
        self.memories
    }

    fn hear(&mut self, event: PlcEvent) {
        self.broken.writes += u32::from(matches!(event, PlcEvent::Wrote { .. }));
        let events = self
            .mutation
            .map_or_else(|| vec![event], |mutation| (mutation.hear)(event, &mut self.broken));
        for event in events {
            let raises = matches!(event, PlcEvent::Wrote { .. });
            let acquisition = self.line.image().acquisition_id;
            self.happen(match event {
                PlcEvent::Connected => Event::PlcConnected,
                PlcEvent::Lost => Event::PlcLost,
                PlcEvent::Wrote { at, image, written } => Event::PlcWrote { at, image, written },
            });
            if self.own_parts && raises && self.line.image().acquisition_id != acquisition {
                self.expose(Look::Good, now());
            }
        }
    }

    fn expose(&mut self, look: Look, exposed_at: Nanos) {
        self.frames += 1;
        let frame = FrameId(self.frames);
        self.looks.insert(frame, look);
        self.happen(Event::Frame {
            camera: 0,
            frame,
            counter: Some(self.frames),
            exposed_at,
        });
    }

    /// Before the image that shows them.
    fn offer(&self, decided: &[PartRecord]) {
        let Some(results) = &self.results else { return };
        for record in decided.iter().filter(|record| record.result_id != 0 && !record.late_findings) {
            results.offer(Offer {
                result_id: record.result_id,
                passes: record.verdict == Verdict::Ok && !record.test_part,
                deadline: record.deadline_ns,
                offered_at: now(),
            });
        }
    }

    fn happen(&mut self, event: Event) {
        self.line.advance(now(), event);
        let commit = self.line.commit(now());
        self.offer(&commit.decided);
        self.shown.store(Arc::new(show(&self.line, self.mutation, &mut self.broken)));
        if let Some(results) = &self.results {
            results.swapped();
        }
        for opened in commit.opened {
            let kept = Kept {
                opened,
                triggered_unix_ns: 0,
                decided: None,
            };
            self.memories.kept.insert(kept.opened.part.0, kept);
        }
        for record in commit.decided {
            if let Some(kept) = self.memories.kept.get_mut(&record.sequence).filter(|_| !record.late_findings) {
                kept.decided = Some(decided(&record));
            }
            tell(&self.records, self.mutation, record);
        }
        for job in commit.jobs {
            let look = self.looks.get(&job.frame).copied().unwrap_or(Look::Good);
            let at = if look == Look::GoodButLate { job.deadline + LATE } else { now() };
            let event = Event::Inspected {
                part: job.part,
                inspection: job.inspection,
                inspected: inspected(look),
            };
            self.judged.push((at, event));
        }
        if let Some(command) = commit.command {
            self.judged.push((now(), Event::CommandFinished { command, succeeded: true }));
        }
    }
}

fn inspected(look: Look) -> Box<Inspected> {
    let outcome = if look == Look::Defective {
        Outcome::not_ok(Reason::Anomaly)
    } else {
        Outcome {
            verdict: Verdict::Ok,
            reason: None,
        }
    };
    Box::new(Inspected {
        view: View {
            inspection: "surface".into(),
            camera: "top".into(),
            frame_counter: None,
            exposed_ns: Nanos::default(),
            stamp: None,
            verdict: outcome.verdict,
            reason: outcome.reason,
            score: None,
            threshold: None,
            severity: None,
            findings: Vec::new(),
            model: None,
        },
        defect_code: if look == Look::Defective { 7 } else { 0 },
        queue_us: 1,
        preprocess_us: 1,
        infer_us: 1,
        postprocess_us: 1,
    })
}
