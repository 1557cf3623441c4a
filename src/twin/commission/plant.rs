//! The plant around a PLC that commissions a station: the twin's cameras, and the station as a child where it is to be run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::driver::Plant;
use super::run::CommissionError;
use super::step::Look;
use crate::flow::{Receiver, Sender, WhenFull, bounded, now};
use crate::line::config::TriggerSource;
use crate::part::{Nanos, PartRecord};
use crate::twin::camera::TwinCamera;
use crate::twin::camera_thread::Mounted;
use crate::twin::child_process::{ChildProcess, StationLine};
use crate::twin::pictures::Pictures;
use crate::twin::schedule::Part;
use crate::twin::settings::Settings;

/// Lines of the station that wait to be heard; then its readers wait.
const LINES: usize = 4096;

/// How long the station may take to stop, and how often it is asked whether it has.
const STOP: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(20));

/// The plant.
pub(super) struct TwinPlant {
    /// The station's file, if the twin runs it.
    config: Option<PathBuf>,
    station: Option<ChildProcess>,
    say: Sender<StationLine>,
    said: Receiver<StationLine>,
    records: Vec<PartRecord>,
    cameras: Vec<Mounted>,
    transfer: Duration,
    /// How long a station is held still that is to miss a deadline.
    past_deadline: Duration,
    exposures: u64,
    /// Whether the cameras run by themselves.
    runs_freely: bool,
    idled_at: Nanos,
}

/// From frame to frame of a camera that runs by itself, while the station waits for its first; and how much longer it rests before a part comes.
const IDLE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));

impl TwinPlant {
    /// The twin's cameras, and the station if it is to be run; it is not started yet.
    pub(super) fn new(settings: &Settings, own_parts: bool, past_deadline: Duration) -> Result<Self, CommissionError> {
        let cameras = if own_parts { mount(settings)? } else { Vec::new() };
        let (say, said) = bounded("twin/commission", LINES, WhenFull::Block);
        Ok(Self {
            config: settings.start.clone(),
            station: None,
            say,
            said,
            records: Vec::new(),
            cameras,
            transfer: settings.transfer,
            past_deadline,
            exposures: 0,
            runs_freely: matches!(settings.trigger_source, TriggerSource::FreeRun { .. }),
            idled_at: Nanos::default(),
        })
    }

    fn listen(&mut self) {
        while let Some(line) = self.said.try_receive() {
            if let StationLine::Part(record) = line {
                self.records.push(*record);
            }
        }
    }

    fn show(&mut self, cycle_id: u32, look: Look, at: Nanos) {
        self.exposures += 1;
        let part = part(cycle_id, look);
        thread::sleep(self.transfer);
        for mounted in &self.cameras {
            let frame = mounted.camera.prepare(&mounted.sees(&part));
            mounted.camera.expose(&frame, self.exposures, at);
        }
    }
}

fn part(number: u32, look: Look) -> Part {
    Part {
        number,
        arrives: Duration::ZERO,
        encoder: 0,
        defective: look == Look::Defective,
        picture: 0,
        frame_fault: None,
        trigger_fault: None,
        machine_faults: Vec::new(),
    }
}

fn mount(settings: &Settings) -> Result<Vec<Mounted>, CommissionError> {
    let mount = |camera: &crate::twin::CameraSettings| {
        let size = (camera.area.width, camera.area.height);
        // The first good and the first defective picture are all that is shown.
        let pictures = Pictures::load(settings.dataset.as_deref(), settings.seed, size, 1, true)?;
        let (width, height) = settings.frame_px;
        Ok(Mounted {
            camera: TwinCamera::start(&camera.socket, width, height, settings.format)?,
            settings: camera.clone(),
            frame_px: settings.frame_px,
            pictures: Arc::new(pictures),
        })
    };
    settings.cameras.iter().map(mount).collect()
}

impl Plant for TwinPlant {
    fn expose(&mut self, cycle_id: u32, look: Look, at: Nanos) {
        if look == Look::GoodButLate
            && let Some(station) = &mut self.station
        {
            // A station that stands still is an engine that is late, and all else with it.
            station.pause();
            self.show(cycle_id, look, at);
            thread::sleep(self.past_deadline);
            if let Some(station) = &mut self.station {
                station.resume();
            }
        } else {
            self.show(cycle_id, look, at);
        }
    }

    fn idle(&mut self) -> Duration {
        if !self.runs_freely {
            return Duration::ZERO;
        }
        let time = now();
        if time.since(self.idled_at) >= IDLE.0 {
            self.idled_at = time;
            // Nobody's part, and none that passes: whoever took it for one would be found out.
            self.show(0, Look::Defective, time);
        }
        IDLE.1
    }

    fn kill(&mut self) -> Result<(), String> {
        let mut station = self.station.take().ok_or("it does not run")?;
        station.kill();
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        let mut station = self.station.take().ok_or("it does not run")?;
        station.ask_to_stop();
        let until = now() + STOP.0;
        while station.exited().is_none() {
            if now() > until {
                return Err(format!(
                    "it has not stopped within {} s:\n{}",
                    STOP.0.as_secs(),
                    station.last_words()
                ));
            }
            self.listen();
            thread::sleep(STOP.1);
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        let Some(config) = &self.config else { return Ok(()) };
        if self.station.as_mut().is_some_and(|station| station.exited().is_none()) {
            return Ok(());
        }
        let arguments: [OsString; 3] = ["run".into(), "--config".into(), config.clone().into_os_string()];
        let station = ChildProcess::start(&arguments, &self.say, |line| line).map_err(|error| error.to_string())?;
        self.station = Some(station);
        Ok(())
    }

    fn records(&mut self) -> Result<&[PartRecord], String> {
        self.listen();
        match self.station.as_mut().map(|station| (station.exited(), station)) {
            Some((Some(status), station)) => Err(format!("it ended with {status}; its last words:\n{}", station.last_words())),
            _ => Ok(&self.records),
        }
    }
}
