//! PLCs with registers: one that reads the station, and one that is written to. The peer is of another make (`twin/foreign_peer.rs`).

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{bail, ensure};

use super::cell::{Cell, Outlet};
use super::{LOOPBACK, PATIENCE, Role};
use crate::flow::now;
use crate::line::image::{PlcImage, StationImage, control};
use crate::part::{Nanos, PartRecord, Verdict};
use crate::plc::delivery::Offer;
use crate::plc::modbus::client::{ClientConfig, ModbusClient, ResultPort};
use crate::plc::modbus::{Layout, ModbusConfig, ModbusServer, SILENCE_MAX};
use crate::plc::signals::{STATION_REGISTERS, plc_registers, station_image};
use crate::twin::foreign_peer::{Master, PlcMemory, PlcServer};

/// Registers of status and result.
const BLOCK: u16 = 44;

/// Where a PLC that reads has the station's registers among its holding registers, and where one that is polled has them.
const STATION_AT: u16 = 1000;

/// A role in which the PLC has registers.
trait Registers {
    fn cell(&mut self) -> &mut Cell;
    /// The peer says this.
    fn say(&mut self, image: &PlcImage) -> anyhow::Result<()>;
    /// What the peer has of the station, and since when.
    fn look(&mut self) -> anyhow::Result<(StationImage, Nanos)>;
    /// How long the peer takes for the same without takt.
    fn exchange(&mut self) -> anyhow::Result<Duration>;
}

impl<R: Registers> Role for R {
    fn begin(&mut self) -> anyhow::Result<()> {
        until(self, &mut said(0), |shown| shown.trigger_ready)
    }

    fn part(&mut self, cycle_id: u32) -> anyhow::Result<(Nanos, Nanos)> {
        let mut image = said(cycle_id);
        image.control |= control::TRIGGER;
        until(self, &mut image, |shown| shown.trigger_ack && shown.echo_trigger_id == cycle_id)?;
        image.control &= !control::TRIGGER;
        until(self, &mut image, |shown| !shown.trigger_ack)?;
        let decided = self.cell().decide()?;
        loop {
            let (shown, at) = self.look()?;
            if shown.result_valid && shown.echo_cycle_id == cycle_id {
                ensure!(shown.accept, "the station did not pass a good part");
                return Ok((decided, at));
            }
            ensure!(now().since(decided) < PATIENCE, "the result did not reach the peer");
        }
    }

    fn bare(&mut self) -> anyhow::Result<Duration> {
        self.exchange()
    }
}

/// Says something until the station shows what is waited for.
fn until(role: &mut dyn Registers, image: &mut PlcImage, shown: impl Fn(&StationImage) -> bool) -> anyhow::Result<()> {
    let begun = now();
    loop {
        image.heartbeat = image.heartbeat.wrapping_add(1);
        role.say(image)?;
        role.cell().listen(Duration::from_millis(1))?;
        if shown(&role.look()?.0) {
            return Ok(());
        }
        if now().since(begun) > PATIENCE {
            bail!("the station did not answer its PLC; run this on a machine that does nothing else");
        }
    }
}

fn said(cycle_id: u32) -> PlcImage {
    PlcImage {
        control: control::ONLINE | control::TRIGGER_ENABLE,
        plc_session: 1,
        cycle_id,
        cycle_id_tail: cycle_id,
        ..PlcImage::default()
    }
}

/// Registers as the station's image; what was not read is 0.
fn image_of(registers: &[u16]) -> StationImage {
    let mut all = [0; STATION_REGISTERS];
    all.iter_mut().zip(registers).for_each(|(register, read)| *register = *read);
    station_image(&all)
}

/// The station is the server.
pub(super) struct Reads {
    cell: Cell,
    peer: Master,
    _station: ModbusServer,
    bare_peer: Master,
    _bare: PlcServer,
}

impl Reads {
    pub(super) fn start() -> anyhow::Result<Self> {
        let (sender, events) = channel();
        let cell = Cell::new(events);
        let config = ModbusConfig {
            listen: LOOPBACK,
            writers: vec![LOOPBACK.ip()],
            tags: false,
            silence_max: SILENCE_MAX,
        };
        let station = ModbusServer::start(&config, Arc::clone(&cell.shown), move |event| {
            let _ = sender.send(event);
        })?;
        let bare = PlcServer::start(LOOPBACK, PlcMemory::default())?;
        Ok(Self {
            cell,
            peer: Master::connect(station.address())?,
            _station: station,
            bare_peer: Master::connect(bare.address())?,
            _bare: bare,
        })
    }
}

impl Registers for Reads {
    fn cell(&mut self) -> &mut Cell {
        &mut self.cell
    }

    fn say(&mut self, image: &PlcImage) -> anyhow::Result<()> {
        Ok(self.peer.write(0, &plc_registers(image))?)
    }

    fn look(&mut self) -> anyhow::Result<(StationImage, Nanos)> {
        let registers = self.peer.read(STATION_AT, BLOCK)?;
        Ok((image_of(&registers), now()))
    }

    fn exchange(&mut self) -> anyhow::Result<Duration> {
        let begun = now();
        self.bare_peer.read(STATION_AT, BLOCK)?;
        Ok(now().since(begun))
    }
}

/// The PLC is the server.
pub(super) struct Polled {
    cell: Cell,
    memory: PlcMemory,
    _peer: PlcServer,
    _station: ModbusClient,
    bare_peer: Master,
    _bare: PlcServer,
    writes: u64,
}

impl Polled {
    pub(super) fn start() -> anyhow::Result<Self> {
        let (sender, events) = channel();
        let mut cell = Cell::new(events);
        let memory = PlcMemory::default();
        let peer = PlcServer::start(LOOPBACK, memory.clone())?;
        let config = ClientConfig {
            connect: peer.address(),
            unit_id: 1,
            layout: Layout {
                read_base: 0,
                write_base: STATION_AT,
                has_window: false,
                has_tags: false,
            },
            poll: Duration::from_millis(5),
            response_timeout: PATIENCE,
            write_max: Duration::from_millis(50),
        };
        let events = move |event| {
            let _ = sender.send(event);
        };
        let (station, results) = ModbusClient::start(config, Arc::clone(&cell.shown), events, |_| {})?;
        cell.outlet = Some(Box::new(results));
        let bare = PlcServer::start(LOOPBACK, PlcMemory::default())?;
        Ok(Self {
            cell,
            memory,
            _peer: peer,
            _station: station,
            bare_peer: Master::connect(bare.address())?,
            _bare: bare,
            writes: 0,
        })
    }
}

impl Outlet for ResultPort {
    fn decided(&self, records: &[PartRecord]) {
        for record in records.iter().filter(|record| record.result_id != 0) {
            self.offer(Offer {
                result_id: record.result_id,
                passes: record.verdict == Verdict::Ok,
                deadline: record.deadline_ns,
                offered_at: now(),
            });
        }
    }

    fn shown(&self, _: &[PartRecord], _: &StationImage) {
        self.swapped();
    }
}

impl Registers for Polled {
    fn cell(&mut self) -> &mut Cell {
        &mut self.cell
    }

    fn say(&mut self, image: &PlcImage) -> anyhow::Result<()> {
        self.memory.put(0, &plc_registers(image));
        Ok(())
    }

    fn look(&mut self) -> anyhow::Result<(StationImage, Nanos)> {
        self.writes = self.memory.wait(self.writes, Duration::from_millis(1));
        let image = image_of(&self.memory.get(STATION_AT, BLOCK.into()));
        // The status word comes last.
        let at = self.memory.take_written().last().map_or_else(now, |written| written.at);
        Ok((image, at))
    }

    /// Data, then the status word with them.
    fn exchange(&mut self) -> anyhow::Result<Duration> {
        let begun = now();
        for _ in 0..2 {
            self.bare_peer.write(STATION_AT, &[0; BLOCK as usize])?;
        }
        Ok(now().since(begun))
    }
}
