//! How teaching tells where it is, and hears that it should stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::TeachError;

/// The stages of teaching, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Ways to teach are tried.
    Search,
    /// Images are read and resized.
    Decode,
    /// The backbone runs.
    Features,
    /// The model is fitted to all good images.
    Fit,
    /// Good images are scored by models that have not seen them.
    Calibration,
    /// The emitted graph is held against the reference scorer.
    Gate,
    /// The test images are judged.
    Test,
    /// Parts go by on a line.
    Line,
}

impl Stage {
    /// The name used on the screen and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Decode => "decode",
            Self::Features => "features",
            Self::Fit => "coreset",
            Self::Calibration => "calibration",
            Self::Gate => "gate",
            Self::Test => "test",
            Self::Line => "line",
        }
    }
}

/// Listens to teaching. Calls come from one thread at a time per stage, `advance` from any.
pub trait Progress: Sync {
    /// A stage of `steps` steps begins; the one before it is over.
    fn begin(&self, stage: Stage, steps: usize);

    /// Some steps are done.
    fn advance(&self, steps: usize);

    /// Something to be told at once, in one line.
    fn tell(&self, _line: &str) {}

    /// Whether the user asked to stop.
    fn stopped(&self) -> bool;

    /// Refuses to go on after a stop.
    ///
    /// # Errors
    /// [`TeachError::Stopped`] after a stop.
    fn check(&self) -> Result<(), TeachError> {
        if self.stopped() { Err(TeachError::Stopped) } else { Ok(()) }
    }
}

/// Nobody listens.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: Stage, _: usize) {}
    fn advance(&self, _: usize) {}
    fn stopped(&self) -> bool {
        false
    }
}

/// Stops at a moment, once it may.
pub struct Until<'a> {
    progress: &'a dyn Progress,
    end: Instant,
    may_end: AtomicBool,
}

impl<'a> Until<'a> {
    /// Goes on to `end`, and beyond it until [`Until::may_end`] was called.
    pub fn new(progress: &'a dyn Progress, end: Instant) -> Self {
        Self {
            progress,
            end,
            may_end: AtomicBool::new(false),
        }
    }

    /// From now on it stops when the moment has come.
    pub fn may_end(&self) {
        self.may_end.store(true, Ordering::Relaxed);
    }

    /// Whether the moment has come.
    pub fn is_over(&self) -> bool {
        self.may_end.load(Ordering::Relaxed) && Instant::now() >= self.end
    }
}

impl Progress for Until<'_> {
    fn begin(&self, stage: Stage, steps: usize) {
        self.progress.begin(stage, steps);
    }
    fn advance(&self, steps: usize) {
        self.progress.advance(steps);
    }
    fn tell(&self, line: &str) {
        self.progress.tell(line);
    }
    fn stopped(&self) -> bool {
        self.progress.stopped() || self.is_over()
    }
}

/// Steps within a step are not shown; a stop is heard all the same.
pub struct Unseen<'a>(pub &'a dyn Progress);

impl Progress for Unseen<'_> {
    fn begin(&self, _: Stage, _: usize) {}
    fn advance(&self, _: usize) {}
    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}
