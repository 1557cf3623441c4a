//! The station of the bench: the real line, with a camera and an engine that are played.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;

use super::PATIENCE;
use crate::flow::now;
use crate::line::config::{LineConfig, RecipePlan, ResultMode, SerialMode, TriggerSource};
use crate::line::event::{Commit, Event, FrameId, Inspected, Job};
use crate::line::image::StationImage;
use crate::line::{Line, Memory};
use crate::part::{Nanos, PartRecord, Verdict, View};
use crate::plc::{PlcEvent, Shown};

/// What is told of outcomes beside the image.
pub(super) trait Outlet {
    /// These outcomes are about to be shown.
    fn decided(&self, records: &[PartRecord]);
    /// They are shown, by this image.
    fn shown(&self, records: &[PartRecord], image: &StationImage);
}

/// The station: the real line; the camera and the engine are here.
pub(super) struct Cell {
    line: Line,
    pub(super) shown: Shown,
    events: Receiver<PlcEvent>,
    /// What is told of outcomes, where reading the image is not enough.
    pub(super) outlet: Option<Box<dyn Outlet>>,
    job: Option<Job>,
}

impl Cell {
    pub(super) fn new(events: Receiver<PlcEvent>) -> Self {
        let config = LineConfig {
            gate_sees_parts: true,
            station: "bench".into(),
            trigger_source: TriggerSource::Plc { frame_window: PATIENCE },
            result_mode: ResultMode::Single,
            deadline: PATIENCE,
            accept_hold: PATIENCE,
            torn: PATIENCE,
            trigger_grace: PATIENCE,
            heartbeat_timeout: PATIENCE,
            sequential: true,
            serial: SerialMode::WithTrigger,
            simulated: false,
            workers: 1,
            cameras: 1,
            tags: Vec::new(),
            recipes: RecipePlan::all([(1, vec![0])]),
            config_checksum: 1,
        };
        let memory = Memory {
            boot_id: 1,
            epoch: 1,
            acquisition_below: u32::MAX / 2,
            result_below: u32::MAX / 2,
            ..Memory::default()
        };
        let mut cell = Self {
            line: Line::new(config, memory, now()),
            shown: Arc::new(ArcSwap::from_pointee(StationImage::default())),
            events,
            outlet: None,
            job: None,
        };
        cell.step(Event::CameraUp(0));
        cell.step(Event::ModelsReady(true));
        cell
    }

    /// Takes in what the PLC did; waits so long for it to do something.
    pub(super) fn listen(&mut self, patience: Duration) -> anyhow::Result<()> {
        let mut waited = patience;
        while let Ok(event) = self.events.recv_timeout(waited) {
            waited = Duration::ZERO;
            self.step(match event {
                PlcEvent::Connected => Event::PlcConnected,
                PlcEvent::Lost => bail!("the peer lost the station"),
                PlcEvent::Wrote { at, image, written } => Event::PlcWrote { at, image, written },
            });
        }
        self.step(Event::Tick);
        Ok(())
    }

    fn step(&mut self, event: Event) {
        self.line.advance(now(), event);
        let commit = self.line.commit(now());
        self.show(&commit);
        for opened in commit.opened.iter().filter(|opened| opened.acquisition_id != 0) {
            self.step(Event::Frame {
                camera: 0,
                frame: FrameId(opened.part.0),
                counter: None,
                exposed_at: now(),
            });
        }
        self.job = commit.jobs.first().copied().or(self.job);
    }

    fn show(&self, commit: &Commit) {
        if !commit.image_changed {
            return;
        }
        if let Some(outlet) = &self.outlet {
            outlet.decided(&commit.decided);
        }
        self.shown.store(Arc::new(self.line.image().clone()));
        if let Some(outlet) = &self.outlet {
            outlet.shown(&commit.decided, self.line.image());
        }
    }

    /// The engine says that the part is good. Returns when that was.
    pub(super) fn decide(&mut self) -> anyhow::Result<Nanos> {
        let job = self.job.take().context("the line wants nothing judged")?;
        let view = View {
            inspection: "surface".into(),
            camera: "top".into(),
            frame_counter: None,
            exposed_ns: now(),
            stamp: None,
            verdict: Verdict::Ok,
            reason: None,
            score: Some(0.0),
            threshold: Some(1.0),
            severity: None,
            findings: Vec::new(),
            model: None,
        };
        let decided = now();
        self.step(Event::Inspected {
            part: job.part,
            inspection: job.inspection,
            inspected: Box::new(Inspected {
                view,
                defect_code: 0,
                queue_us: 0,
                preprocess_us: 0,
                infer_us: 0,
                postprocess_us: 0,
            }),
        });
        Ok(decided)
    }
}
