//! A controller with the generated program in it, and the station it talks to: played by the test, or real.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use takt::line::config::ResultMode;
use takt::line::image::{PlcImage, StationImage, StationMode, control};
use takt::part::Verdict;
use takt::plc::code::{Target, sources};
use takt::plc::signals::{self, PLC_REGISTERS, STATION_REGISTERS, WINDOW_START};

use crate::cell::Cell;
use crate::modbus::Client;
use crate::skip::skip;
use crate::structured_text::Controller;

/// Longer than any test here takes, so that one that hangs ends.
const PATIENCE: Duration = Duration::from_mins(5);

/// Registers that the first read of the program takes.
pub(crate) const BLOCK: usize = 44;

/// The generated program in a controller, and the station it talks to, which is played.
pub(crate) struct Cabinet {
    controller: Controller,
    mode: ResultMode,
    pub(crate) station: StationImage,
    /// Whether the played station's heart beats.
    pub(crate) beats: bool,
    /// Whether the played station takes over the PLC's session.
    pub(crate) follows: bool,
    pub(crate) now_ms: i64,
    pub(crate) first: bool,
    /// The window as it was read long ago, where the PLC's copy is that old.
    pub(crate) old_window: Option<Vec<u16>>,
    /// What the PLC says after the scan.
    pub(crate) said: PlcImage,
}

impl Cabinet {
    /// Switched on, with everything that it is given set; or why its source cannot be parsed here.
    pub(crate) fn new(controller: Controller, mode: ResultMode) -> Self {
        let mut cabinet = Self {
            controller,
            mode,
            station: StationImage {
                online: true,
                boot_id: 7,
                station_mode: StationMode::Auto,
                recipe_ready: 3,
                ..StationImage::default()
            },
            beats: true,
            follows: true,
            now_ms: 0,
            first: true,
            old_window: None,
            said: PlcImage::default(),
        };
        for (input, value) in [("LinkOk", 1), ("Enable", 1), ("PartTime", 400)] {
            cabinet.set(input, value);
        }
        cabinet
    }

    pub(crate) fn loaded(mode: ResultMode) -> Option<Self> {
        match Controller::load(&sources(Target::IecSt, mode)[0].text) {
            Ok(controller) => Some(Self::new(controller, mode)),
            Err(reason) => {
                skip("plc_code", &reason);
                None
            }
        }
    }

    pub(crate) fn set(&mut self, input: &str, value: impl Into<i64>) {
        self.controller.set(&format!("Station.{input}"), value);
    }

    pub(crate) fn get(&self, output: &str) -> i64 {
        self.controller.get(&format!("Station.{output}"))
    }

    pub(crate) fn is(&self, output: &str) -> bool {
        self.get(output) != 0
    }

    /// Everything that the block holds, but for how its timers work.
    pub(crate) fn state(&self) -> BTreeMap<&str, i64> {
        self.controller
            .below("Station.")
            .filter(|(path, _)| !path.contains("Timer") && !path.contains(".T_"))
            .collect()
    }

    /// One scan on a copy of these registers; returns those to write.
    pub(crate) fn scan_registers(&mut self, read: &[u16], now_ms: i64) -> [u16; PLC_REGISTERS] {
        self.unpack("TaktUnpack", "FromStation", &read[..BLOCK], now_ms);
        let block = match self.mode {
            ResultMode::Single => "TaktStation",
            ResultMode::Window => {
                self.unpack("TaktUnpackWindow", "Window", &read[usize::from(WINDOW_START)..], now_ms);
                "TaktWindowStation"
            }
        };
        self.set("FirstScan", self.first);
        self.first = false;
        self.controller.execute(block, "Station", now_ms);
        self.controller.copy("Station.ToStation", "Pack.ToStation");
        self.controller.execute("TaktPack", "Pack", now_ms);
        std::array::from_fn(|index| self.controller.get(&format!("Pack.Registers[{index}]")) as u16)
    }

    /// Registers become an input of the program.
    fn unpack(&mut self, block: &str, input: &str, registers: &[u16], now_ms: i64) {
        for (index, word) in registers.iter().enumerate() {
            self.controller.set(&format!("{block}.Registers[{index}]"), *word);
        }
        self.controller.execute(block, block, now_ms);
        self.controller.copy(&format!("{block}.{input}"), &format!("Station.{input}"));
    }

    /// One scan of 10 ms against the station as it is played.
    pub(crate) fn scan(&mut self) {
        self.now_ms += 10;
        if self.beats && self.now_ms % 100 == 0 {
            self.station.heartbeat = self.station.heartbeat.wrapping_add(1);
        }
        let mut read = signals::station_registers(&self.station);
        if let Some(window) = &self.old_window {
            read[usize::from(WINDOW_START)..].copy_from_slice(window);
        }
        let registers = self.scan_registers(&read, self.now_ms);
        self.said = signals::plc_image(&registers);
        // The only thing the played station does by itself.
        if self.follows {
            self.station.echo_plc_session = self.said.plc_session;
        }
    }

    pub(crate) fn scans(&mut self, count: usize) {
        (0..count).for_each(|_| self.scan());
    }

    /// In session with a station that lives and is ready.
    pub(crate) fn running(mode: ResultMode) -> Option<Self> {
        let mut cabinet = Self::loaded(mode)?;
        cabinet.station.trigger_ready = true;
        cabinet.scans(35);
        assert!(cabinet.is("StationAlive") && cabinet.is("InSession") && cabinet.is("Ready"));
        Some(cabinet)
    }

    /// A part is at the sensor: the block is written, and one scan later Trigger.
    pub(crate) fn start_part(&mut self) {
        self.set("StartPart", 1);
        self.scan();
        self.set("StartPart", 0);
        assert!(!self.said.is(control::TRIGGER));
        self.scan();
    }

    /// The station takes the trigger, and the PLC its answer.
    pub(crate) fn acknowledge(&mut self) {
        (self.station.trigger_ack, self.station.trigger_ready) = (true, false);
        (self.station.echo_trigger_id, self.station.busy) = (self.said.cycle_id, true);
        self.scan();
        assert!(!self.said.is(control::TRIGGER));
        self.station.trigger_ack = false;
        self.station.exposure_complete = true;
        self.scan();
    }

    /// The station shows a good result of the part triggered last.
    pub(crate) fn show_good(&mut self) {
        self.station.result_id += 1;
        self.station.echo_cycle_id = self.said.cycle_id;
        self.station.verdict = Some(Verdict::Ok);
        (self.station.result_valid, self.station.accept) = (true, true);
        (self.station.busy, self.station.trigger_ready) = (false, true);
    }

    /// A part from its sensor to its result.
    pub(crate) fn good_part(&mut self) {
        self.start_part();
        self.acknowledge();
        self.show_good();
        self.scan();
    }
}

/// The generated program in front of a station that runs.
pub(crate) struct Line {
    pub(crate) plc: Cabinet,
    pub(crate) client: Client,
    since: Instant,
}

impl Line {
    pub(crate) fn new(cell: &Cell, mode: ResultMode) -> Option<Self> {
        let mut plc = Cabinet::loaded(mode)?;
        // No limit that a slow machine could break.
        for time in ["PartTime", "AliveTime", "AckTime", "ResultTime", "ClearTime"] {
            plc.set(time, 3_600_000);
        }
        plc.set("RecipeNumber", 3);
        Some(Self {
            plc,
            client: Client::connect([127, 0, 0, 1].into(), cell.plc),
            since: Instant::now(),
        })
    }

    /// What the station says, read as the program's heading demands.
    fn read(&mut self) -> [u16; STATION_REGISTERS] {
        let mut read = [0; STATION_REGISTERS];
        read[..BLOCK].copy_from_slice(&self.client.read(4, 0, BLOCK as u16));
        if self.plc.mode == ResultMode::Window {
            let window = &mut read[usize::from(WINDOW_START)..];
            window.copy_from_slice(&self.client.read(4, WINDOW_START, window.len() as u16));
        }
        read
    }

    #[track_caller]
    pub(crate) fn scan(&mut self) {
        let read = self.read();
        let shown = signals::station_image(&read);
        assert!(self.since.elapsed() < PATIENCE, "it never came: {:?}, {shown:?}", self.plc.said);
        let write = self.plc.scan_registers(&read, self.since.elapsed().as_millis() as i64);
        self.plc.said = signals::plc_image(&write);
        assert_eq!(self.client.write(0, &write)[0], 16);
    }

    /// Scans until it is so.
    #[track_caller]
    pub(crate) fn until(&mut self, holds: impl Fn(&Cabinet) -> bool) {
        self.scan();
        while !holds(&self.plc) {
            self.scan();
        }
    }

    /// A part from its sensor to its result; whether it may pass.
    pub(crate) fn part(&mut self) -> bool {
        self.until(|plc| plc.is("Ready"));
        self.plc.set("StartPart", 1);
        self.until(|plc| plc.is("ResultNew") || plc.is("MissedPart"));
        self.plc.set("StartPart", 0);
        assert_eq!(self.plc.get("PartCycleId"), self.plc.get("StartedCycleId"));
        let passes = self.plc.is("PassPart");
        self.scan();
        passes
    }
}
