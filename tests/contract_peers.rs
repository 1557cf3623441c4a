//! The peers of the contract: what stands at the other end of each wire. Registers have one PLC program in common; a line controller has its messages.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use takt::line::image::{PlcImage, StationImage, control};
use takt::plc::signals::{self, STATION_REGISTERS};
use takt::rpc::proto::control_request::Message as Asked;
use takt::rpc::proto::control_response::Message as Said;
use takt::rpc::proto::station_service_client::StationServiceClient;
use takt::rpc::proto::{self, ControlRequest};
use takt::twin::foreign_peer::{PlcMemory, PlcServer};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::cell::Cell;
use crate::modbus::Client;

/// Far more than anything takes; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A part is announced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trigger {
    pub(crate) cycle_id: u32,
    pub(crate) encoder: u32,
}

/// How the station answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) acknowledged: bool,
    pub(crate) cycle_id: u32,
    pub(crate) acquisition_id: u32,
}

/// What the peer learned of a part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) cycle_id: u32,
    pub(crate) result_id: u32,
    pub(crate) verdict: &'static str,
    /// Whether it may pass by what was shown.
    pub(crate) passes: bool,
    pub(crate) deadline_missed: bool,
}

/// The other end of a wire.
pub(crate) trait Peer {
    /// Begins a session of its own, and waits until the station is ready.
    fn begin(&mut self);
    /// Waits until the station is ready, in the session that there is.
    fn ready(&mut self);
    /// Announces a part, and waits for the end of the handshake.
    fn trigger(&mut self, trigger: Trigger) -> Answer;
    /// Waits for the result of a part.
    fn result(&mut self, cycle_id: u32) -> Seen;
    /// Acknowledges a result, and waits until the station has seen that.
    fn acknowledge(&mut self, result_id: u32);
    /// The link breaks.
    fn cut(&mut self);
    /// The link is back.
    fn mend(&mut self);
    /// What the station shows, where the wire has images.
    fn image(&mut self) -> Option<StationImage>;
}

/// The wires there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// The station is the Modbus server.
    Server,
    /// The PLC is.
    Client,
    /// A line controller.
    Grpc,
}

impl Wire {
    /// A cell whose station speaks this, with changes of its configuration.
    pub(crate) fn cell(self, changes: &[(&str, &str)]) -> Cell {
        let of_wire: &[(&str, &str)] = match self {
            Self::Server => &[],
            Self::Client => &[
                ("listen = ", "role = \"client\"\nplc_write_ms_max = 1\nconnect = "),
                ("writers = [\"127.0.0.1\"]", ""),
            ],
            Self::Grpc => &[
                ("[plc]\nlisten = ", "[grpc]\nlisten = "),
                ("writers = [\"127.0.0.1\"]", "[plc]\ncycle_source = \"grpc\""),
            ],
        };
        // Accept stays, however slow the machine is.
        let of_all = [("mode = \"single\"", "mode = \"single\"\naccept_hold_ms = 60000")];
        Cell::new(&[of_wire, &of_all, changes].concat())
    }

    pub(crate) fn connect(self, cell: &Cell) -> Box<dyn Peer> {
        match self {
            Self::Server => Box::new(Plc::new(AtServer {
                cell_plc: cell.plc,
                client: Some(Client::connect(Ipv4Addr::LOCALHOST, cell.plc)),
            })),
            Self::Client => Box::new(Plc::new(AtClient::new(cell))),
            Self::Grpc => Box::new(Controller::new(cell)),
        }
    }
}

/// Registers of both sides.
trait Registers {
    fn write(&mut self, image: &PlcImage);
    fn read(&mut self) -> StationImage;
    fn cut(&mut self);
    fn mend(&mut self);
}

/// The PLC asks and writes.
struct AtServer {
    cell_plc: std::net::SocketAddr,
    client: Option<Client>,
}

impl Registers for AtServer {
    fn write(&mut self, image: &PlcImage) {
        let answer = self.client.as_mut().unwrap().write(0, &signals::plc_registers(image));
        assert_eq!(answer[0], 16);
    }

    fn read(&mut self) -> StationImage {
        let client = self.client.as_mut().unwrap();
        let mut registers = [0; STATION_REGISTERS];
        registers[..100].copy_from_slice(&client.read(4, 0, 100));
        registers[100..].copy_from_slice(&client.read(4, 100, STATION_REGISTERS as u16 - 100));
        signals::station_image(&registers)
    }

    fn cut(&mut self) {
        self.client = None;
    }

    fn mend(&mut self) {
        self.client = Some(Client::connect(Ipv4Addr::LOCALHOST, self.cell_plc));
    }
}

/// The station asks and writes.
struct AtClient {
    cell_plc: std::net::SocketAddr,
    memory: PlcMemory,
    server: Option<PlcServer>,
    writes: u64,
}

impl AtClient {
    fn new(cell: &Cell) -> Self {
        let memory = PlcMemory::default();
        Self {
            cell_plc: cell.plc,
            server: Some(PlcServer::start(cell.plc, memory.clone()).unwrap()),
            memory,
            writes: 0,
        }
    }
}

impl Registers for AtClient {
    fn write(&mut self, image: &PlcImage) {
        let registers = signals::plc_registers(image);
        self.memory.put(1, &registers[1..]);
        self.memory.put(0, &registers[..1]);
    }

    fn read(&mut self) -> StationImage {
        // Until the station writes, or reads what the PLC says now.
        self.writes = self.memory.wait(self.writes, Duration::from_millis(5));
        let registers: [u16; STATION_REGISTERS] = self.memory.get(1000, STATION_REGISTERS).try_into().unwrap();
        signals::station_image(&registers)
    }

    fn cut(&mut self) {
        self.server = None;
    }

    fn mend(&mut self) {
        self.server = Some(PlcServer::start(self.cell_plc, self.memory.clone()).unwrap());
    }
}

/// The PLC program that both have.
struct Plc<R> {
    registers: R,
    image: PlcImage,
    boot_id: u16,
}

impl<R: Registers> Plc<R> {
    fn new(registers: R) -> Self {
        Self {
            registers,
            image: PlcImage::default(),
            boot_id: 0,
        }
    }

    fn write(&mut self) {
        self.image.heartbeat = self.image.heartbeat.wrapping_add(1);
        self.registers.write(&self.image);
    }

    /// One image, and what holds of each.
    fn read(&mut self) -> StationImage {
        let image = self.registers.read();
        assert!(
            !image.accept || (image.result_valid && image.verdict.is_some_and(|verdict| verdict.code() == 1)),
            "{image:#?}"
        );
        assert!(!(image.trigger_ack && image.missed_trigger), "{image:#?}");
        image
    }

    #[track_caller]
    fn wait(&mut self, until: impl Fn(&StationImage) -> bool) -> StationImage {
        let begun = Instant::now();
        loop {
            self.write();
            let image = self.read();
            if until(&image) {
                return image;
            }
            assert!(begun.elapsed() < PATIENCE, "the station never showed it: {image:#?}");
        }
    }
}

impl<R: Registers> Peer for Plc<R> {
    fn begin(&mut self) {
        // A map that nobody wrote yet has no BootId.
        let image = self.wait(|image| image.boot_id != 0);
        self.image.plc_session = image.echo_plc_session.max(self.image.plc_session).wrapping_add(1).max(1);
        self.image.control = control::ONLINE | control::TRIGGER_ENABLE;
        self.ready();
    }

    fn ready(&mut self) {
        let (session, before) = (self.image.plc_session, self.boot_id);
        // What was written by a run that is over is no answer.
        let heartbeat = self.read().heartbeat;
        let image = self.wait(|image| image.trigger_ready && image.echo_plc_session == session && image.heartbeat != heartbeat);
        assert!(before == 0 || image.boot_id >= before);
        self.boot_id = image.boot_id;
    }

    fn trigger(&mut self, trigger: Trigger) -> Answer {
        self.image.cycle_id = trigger.cycle_id;
        self.image.cycle_id_tail = trigger.cycle_id;
        self.image.encoder = trigger.encoder;
        self.write();
        self.image.control |= control::TRIGGER;
        let answered = self.wait(|image| image.trigger_ack || image.missed_trigger);
        assert_eq!(answered.echo_trigger_id, trigger.cycle_id, "{answered:#?}");
        assert!(!answered.trigger_ready);
        self.image.control &= !control::TRIGGER;
        self.wait(|image| !image.trigger_ack && !image.missed_trigger);
        Answer {
            acknowledged: answered.trigger_ack,
            cycle_id: answered.echo_trigger_id,
            acquisition_id: if answered.trigger_ack { answered.acquisition_id } else { 0 },
        }
    }

    fn result(&mut self, cycle_id: u32) -> Seen {
        let image = self.wait(|image| image.result_valid && image.echo_cycle_id == cycle_id);
        Seen {
            cycle_id: image.echo_cycle_id,
            result_id: image.result_id,
            verdict: image.verdict.map_or("undefined", takt::part::Verdict::name),
            passes: image.accept,
            deadline_missed: image.deadline_missed,
        }
    }

    fn acknowledge(&mut self, result_id: u32) {
        let is_shown = self.read().result_id == result_id;
        self.image.ack_result_id = result_id;
        self.image.control |= control::RESULT_ACK;
        if is_shown {
            self.wait(|image| !image.result_valid);
        } else {
            let heartbeat = self.read().heartbeat;
            self.wait(|image| image.heartbeat != heartbeat);
        }
        self.image.control &= !control::RESULT_ACK;
        // Two heartbeats of the station: it has seen the bit fall.
        for _ in 0..2 {
            let heartbeat = self.read().heartbeat;
            self.wait(|image| image.heartbeat != heartbeat);
        }
    }

    fn cut(&mut self) {
        self.registers.cut();
    }

    fn mend(&mut self) {
        self.registers.mend();
    }

    fn image(&mut self) -> Option<StationImage> {
        Some(self.read())
    }
}

/// A line controller.
struct Controller {
    runtime: Runtime,
    address: std::net::SocketAddr,
    call: Option<(mpsc::Sender<ControlRequest>, Streaming<proto::ControlResponse>)>,
    session: u32,
    boot_id: u32,
    /// The newest result that was seen.
    newest: u32,
    results: BTreeMap<u32, proto::Result>,
}

impl Controller {
    fn new(cell: &Cell) -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            address: cell.plc,
            call: None,
            session: 0,
            boot_id: 0,
            newest: 0,
            results: BTreeMap::new(),
        }
    }

    fn attach(&mut self) {
        let address = self.address;
        let (call, boot_id) = self.runtime.block_on(async {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            let (to, requests) = mpsc::channel(16);
            let mut client = StationServiceClient::new(endpoint.connect().await.unwrap());
            let status = client.get_status(proto::GetStatusRequest {}).await.unwrap().into_inner();
            let from = client.control(ReceiverStream::new(requests)).await.unwrap().into_inner();
            ((to, from), status.boot_id)
        });
        self.call = Some(call);
        if std::mem::replace(&mut self.boot_id, boot_id) != boot_id {
            // Another run knows nothing of the results of this one.
            self.newest = 0;
        }
        self.ask(Asked::Attach(proto::Attach {
            plc_session: self.session,
            resume_after_result_id: self.newest,
            resume_session: true,
        }));
        self.wait(|said| matches!(said, Said::Attached(_)).then_some(()));
    }

    fn ask(&mut self, message: Asked) {
        let (to, _) = self.call.as_ref().unwrap();
        self.runtime.block_on(to.send(ControlRequest { message: Some(message) })).unwrap();
    }

    /// The next message that is what is waited for. Results are kept; whatever comes is answered by a heartbeat.
    fn wait<T>(&mut self, wanted: impl Fn(&Said) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "the station never said it");
            let (_, from) = self.call.as_mut().unwrap();
            let heard = self
                .runtime
                .block_on(async { tokio::time::timeout(PATIENCE, from.message()).await });
            let said = heard.unwrap().unwrap().unwrap().message.unwrap();
            if let Said::Result(result) = &said {
                self.newest = result.result_id;
                self.results.insert(result.cycle_id, *result);
            }
            if let Some(found) = wanted(&said) {
                return found;
            }
            self.ask(Asked::Heartbeat(proto::Heartbeat {}));
        }
    }
}

impl Peer for Controller {
    fn begin(&mut self) {
        self.results.clear();
        self.session += 1;
        self.attach();
        self.ready();
    }

    fn ready(&mut self) {
        self.wait(|said| matches!(said, Said::Ready(ready) if ready.ready).then_some(()));
    }

    fn trigger(&mut self, trigger: Trigger) -> Answer {
        self.ask(Asked::Cycle(proto::Cycle {
            cycle_id: trigger.cycle_id,
            encoder: trigger.encoder,
            ..proto::Cycle::default()
        }));
        let answer = self.wait(|said| if let Said::Answer(answer) = said { Some(*answer) } else { None });
        Answer {
            acknowledged: answer.acknowledged,
            cycle_id: answer.cycle_id,
            acquisition_id: answer.acquisition_id,
        }
    }

    fn result(&mut self, cycle_id: u32) -> Seen {
        while !self.results.contains_key(&cycle_id) {
            self.wait(|said| matches!(said, Said::Result(_)).then_some(()));
        }
        let result = self.results.remove(&cycle_id).unwrap();
        Seen {
            cycle_id,
            result_id: result.result_id,
            verdict: match result.outcome.unwrap_or_default().verdict() {
                proto::Verdict::Ok => "ok",
                proto::Verdict::NotOk => "not_ok",
                _ => "not_decidable",
            },
            passes: result.pass,
            deadline_missed: result.deadline_missed,
        }
    }

    fn acknowledge(&mut self, result_id: u32) {
        self.ask(Asked::Ack(proto::ResultAck { result_id }));
        self.ready();
    }

    fn cut(&mut self) {
        self.call = None;
    }

    fn mend(&mut self) {
        self.attach();
    }

    fn image(&mut self) -> Option<StationImage> {
        None
    }
}
