//! The peers of the contract: what stands at the other end of each wire. Registers have one PLC program in common; a line controller has its messages.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use takt::line::image::{PlcImage, StationImage, WINDOW_SLOTS, WindowSlot, control};
use takt::part::Verdict;
use takt::plc::signals::{self, STATION_REGISTERS};
use takt::twin::foreign_peer::{PlcMemory, PlcServer};

use crate::cell::Cell;
use crate::contract_controller::Controller;
use crate::modbus::Client;

/// Far more than anything takes, for a wait as a whole; only a test that fails waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A part is announced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trigger {
    pub(crate) cycle_id: u32,
    pub(crate) encoder: u32,
    /// As the peer has it, printable or not.
    pub(crate) serial: &'static str,
    /// 0: the one in use.
    pub(crate) recipe: u16,
    pub(crate) test_part: bool,
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
    /// The same at a station of several recipes: none is in force until one is asked for.
    fn begin_with(&mut self, recipe: u16);
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

/// What only a PLC with registers can say.
pub(crate) trait Program: Peer {
    /// What it says with its next scan.
    fn says(&mut self) -> &mut PlcImage;
    /// As [`Peer::begin`], with results that wait in order until they are acknowledged.
    fn begin_buffered(&mut self);
    /// Scans until an image is as it is waited for.
    fn wait_for(&mut self, until: &dyn Fn(&StationImage) -> bool) -> StationImage;
    /// Scans until what was said before has had its effect, if it has one. Each image on the way must be so.
    fn hold(&mut self, so: &dyn Fn(&StationImage) -> bool);
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
            Self::Server | Self::Client => self.program(cell),
            Self::Grpc => Box::new(Controller::new(cell)),
        }
    }

    /// The PLC program of a wire with registers.
    pub(crate) fn program(self, cell: &Cell) -> Box<dyn Program> {
        match self {
            Self::Server => Box::new(Plc::new(AtServer {
                cell_plc: cell.plc,
                client: Some(Client::connect(Ipv4Addr::LOCALHOST, cell.plc)),
            })),
            Self::Client => Box::new(Plc::new(AtClient::new(cell))),
            Self::Grpc => unreachable!("a line controller has no registers"),
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

impl<R: Registers> Plc<R> {
    /// A session of its own, in which everything is 0 but this.
    fn restart(&mut self, control: u16) {
        // A map that nobody wrote yet has no BootId.
        let image = self.wait(|image| image.boot_id != 0);
        let session = image.echo_plc_session.max(self.image.plc_session).wrapping_add(1).max(1);
        self.image = PlcImage {
            control,
            heartbeat: self.image.heartbeat,
            recipe_number: self.image.recipe_number,
            plc_session: session,
            ..PlcImage::default()
        };
    }

    /// Its recipe is in force by then, or the station has said that it cannot be had.
    fn choose(&mut self, recipe: u16) {
        if recipe != self.image.recipe_number {
            self.image.recipe_number = recipe;
            self.hold(&|_| true);
        }
    }
}

impl<R: Registers> Program for Plc<R> {
    fn says(&mut self) -> &mut PlcImage {
        &mut self.image
    }

    fn begin_buffered(&mut self) {
        self.restart(control::BUFFER_ENABLE);
        let session = self.image.plc_session;
        // It is heard while Online rises.
        self.wait(|image| image.echo_plc_session == session && !image.trigger_ready);
        self.image.control |= control::ONLINE | control::TRIGGER_ENABLE;
        self.ready();
    }

    fn wait_for(&mut self, until: &dyn Fn(&StationImage) -> bool) -> StationImage {
        self.wait(until)
    }

    fn hold(&mut self, so: &dyn Fn(&StationImage) -> bool) {
        // Two heartbeats of the station, which its verdict path feeds.
        for _ in 0..2 {
            let heartbeat = self.read().heartbeat;
            self.wait(|image| {
                assert!(so(image), "{image:#?}");
                image.heartbeat != heartbeat
            });
        }
    }
}

impl<R: Registers> Peer for Plc<R> {
    fn begin_with(&mut self, recipe: u16) {
        self.image.recipe_number = recipe;
        self.begin();
    }

    fn begin(&mut self) {
        self.restart(control::ONLINE | control::TRIGGER_ENABLE);
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
        self.choose(trigger.recipe);
        self.image.cycle_id = trigger.cycle_id;
        self.image.cycle_id_tail = trigger.cycle_id;
        self.image.encoder = trigger.encoder;
        self.image.serial = characters(trigger.serial);
        if trigger.test_part {
            self.image.control |= control::TEST_PART;
        }
        self.write();
        self.image.control |= control::TRIGGER;
        let answered = self.wait(|image| image.trigger_ack || image.missed_trigger);
        assert_eq!(answered.echo_trigger_id, trigger.cycle_id, "{answered:#?}");
        assert!(!answered.trigger_ready);
        self.image.control &= !(control::TRIGGER | control::TEST_PART);
        self.wait(|image| !image.trigger_ack && !image.missed_trigger);
        Answer {
            acknowledged: answered.trigger_ack,
            cycle_id: answered.echo_trigger_id,
            acquisition_id: if answered.trigger_ack { answered.acquisition_id } else { 0 },
        }
    }

    /// From the registers or from a slot of the window, whichever the station fills.
    fn result(&mut self, cycle_id: u32) -> Seen {
        let slot_of = |image: &StationImage| {
            let is_it = |slot: &&WindowSlot| slot.cycle_id.is_some_and(|id| id.get() == cycle_id) && slot.verdict != 0;
            image.window.iter().find(is_it).copied()
        };
        let image = self.wait(|image| image.result_valid && image.echo_cycle_id == cycle_id || slot_of(image).is_some());
        if let Some(slot) = slot_of(&image) {
            assert!(!image.result_valid && !image.accept, "{image:#?}");
            assert_eq!(image.window[slot.result_id as usize % WINDOW_SLOTS], slot);
            return Seen {
                cycle_id,
                result_id: slot.result_id,
                verdict: Verdict::from_code(slot.verdict).map_or("undefined", Verdict::name),
                passes: slot.verdict == Verdict::Ok.code(),
                deadline_missed: false,
            };
        }
        Seen {
            cycle_id: image.echo_cycle_id,
            result_id: image.result_id,
            verdict: image.verdict.map_or("undefined", Verdict::name),
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
            self.hold(&|_| true);
        }
        self.image.control &= !control::RESULT_ACK;
        // It has seen the bit fall.
        self.hold(&|_| true);
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

/// A text as a PLC has it: a byte for each character, NUL padded.
fn characters(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes
        .iter_mut()
        .zip(text.chars())
        .for_each(|(byte, character)| *byte = u32::from(character) as u8);
    bytes
}
