//! Probes: whether a verdict could get through. Every engine sends one now and then, after a part or for want of one; it takes the way that
//! verdicts take, through the line thread to the recorder, and each stage notes that it came by. A stage that hangs lets none through.
//!
//! What is printed is not on this way, as whoever reads it may stand still; nor is the journal: a disk that stalls is told to the PLC
//! (`journal_failing`), holds no verdict up, and gets no faster by a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::part::Nanos;

/// How often an engine sends a probe.
pub const PROBE_EVERY: Duration = Duration::from_millis(500);

/// How long an engine may take to load and prove its models. TensorRT compiles a model for the machine once, which takes minutes.
pub const LOADING_MAX: Duration = Duration::from_mins(10);

/// The stages that a verdict crosses, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Judges frames.
    Engine = 0,
    /// Decides and shows.
    Line = 1,
    /// Makes records for the journal.
    Recorder = 2,
}

const STAGES: [Stage; 3] = [Stage::Engine, Stage::Line, Stage::Recorder];

/// The way from one engine to the recorder, and when a probe was last seen at each stage of it.
#[derive(Debug)]
struct Way {
    engine: usize,
    seen: [AtomicU64; STAGES.len()],
    /// The engine loads its models until then at the latest, and sends no probes.
    loading_until: AtomicU64,
}

/// A probe: carried from stage to stage by its way's own channels.
#[derive(Debug, Clone)]
pub struct Probe(Arc<Way>);

/// A stage that let no probe through for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// The first on the way that no probe came through.
    pub stage: Stage,
    /// Number of the engine whose probe it was, from 1.
    pub engine: usize,
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.stage {
            Stage::Engine => write!(formatter, "engine-{}", self.engine),
            Stage::Line => formatter.write_str("line"),
            Stage::Recorder => formatter.write_str("recorder"),
        }
    }
}

impl Probe {
    /// For an engine that begins to load its models.
    pub fn of_engine(engine: usize, now: Nanos) -> Self {
        let probe = Self(Arc::new(Way {
            engine,
            seen: STAGES.map(|_| AtomicU64::new(now.0)),
            loading_until: AtomicU64::new(0),
        }));
        probe.loading(now);
        probe
    }

    /// The engine loads its models.
    pub fn loading(&self, now: Nanos) {
        self.0.loading_until.store((now + LOADING_MAX).0, Ordering::Relaxed);
    }

    /// The engine has its models: its way counts from now on.
    pub fn loaded(&self, now: Nanos) {
        self.0.seen.iter().for_each(|seen| seen.store(now.0, Ordering::Relaxed));
        self.0.loading_until.store(0, Ordering::Relaxed);
    }

    /// The probe comes by this stage.
    pub fn crosses(&self, stage: Stage, now: Nanos) {
        self.0.seen[stage as usize].store(now.0, Ordering::Relaxed);
    }

    /// The first stage that let none through for longer than `silence_max`, which is for engines that have their models.
    pub fn stuck(&self, now: Nanos, silence_max: Duration) -> Option<Stuck> {
        let loading_until = Nanos(self.0.loading_until.load(Ordering::Relaxed));
        if now < loading_until {
            return None;
        }
        let is_silent = |stage: &Stage| now.since(Nanos(self.0.seen[*stage as usize].load(Ordering::Relaxed))) > silence_max;
        // Who never ended loading sent none.
        let first = if loading_until.0 == 0 {
            STAGES.into_iter().find(is_silent)
        } else {
            Some(Stage::Engine)
        };
        first.map(|stage| Stuck {
            stage,
            engine: self.0.engine,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Nanos {
        Nanos::from_millis(1000 * seconds)
    }

    /// The probe of an engine that has had its models since second 100.
    fn loaded() -> Probe {
        let probe = Probe::of_engine(2, at(10));
        probe.loaded(at(100));
        probe
    }

    fn stuck(probe: &Probe, second: u64) -> Option<String> {
        probe.stuck(at(second), SILENCE).map(|stuck| stuck.to_string())
    }

    #[test]
    fn a_probe_that_gets_through_keeps_the_way_alive() {
        let probe = loaded();
        for second in 101..200 {
            for stage in STAGES {
                probe.crosses(stage, at(second));
            }
            assert_eq!(stuck(&probe, second + 5), None);
        }
    }

    #[test]
    fn the_first_stage_that_lets_none_through_is_named() {
        let probe = loaded();
        assert_eq!(stuck(&probe, 105), None);
        assert_eq!(stuck(&probe, 106).as_deref(), Some("engine-2"));
        probe.crosses(Stage::Engine, at(106));
        assert_eq!(stuck(&probe, 106).as_deref(), Some("line"));
        probe.crosses(Stage::Line, at(106));
        assert_eq!(stuck(&probe, 106).as_deref(), Some("recorder"));
        probe.crosses(Stage::Recorder, at(106));
        assert_eq!(stuck(&probe, 106), None);
    }

    #[test]
    fn loading_takes_its_time_but_not_for_ever() {
        let probe = Probe::of_engine(1, at(10));
        assert_eq!(stuck(&probe, 609), None);
        assert_eq!(stuck(&probe, 610).as_deref(), Some("engine-1"));
        let probe = loaded();
        probe.loading(at(200));
        assert_eq!(stuck(&probe, 799), None);
        probe.loaded(at(799));
        assert_eq!((stuck(&probe, 804), stuck(&probe, 805).as_deref()), (None, Some("engine-2")));
    }
}
