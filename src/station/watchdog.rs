//! The watchdog: as long as probes get through every stage, and only then, the service manager is told that the station is well. It ends a
//! station that it hears nothing of.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::probe::{Probe, Stuck};
use crate::flow::{self, NothingReceived, Sender, WhenFull, bounded};
use crate::part::Nanos;
use crate::telemetry::systemd;

/// Where the service manager asks for nothing, the log still tells of a stage that hangs.
const PERIOD: Duration = Duration::from_secs(10);

/// How long the station may take to be taken down and started anew after one of its stages failed.
const BETWEEN_LIVES_MAX: Duration = Duration::from_mins(1);

/// Looks within one period, so that a late one does no harm.
const LOOKS_PER_PERIOD: u32 = 4;

/// What is watched.
#[derive(Debug, Clone)]
enum Watched {
    /// A station that is taken down or set up, until then at the latest.
    BetweenLives(Nanos),
    /// A station that runs: the probe of each engine, and how long a stage may be silent.
    Running(Vec<Probe>, Duration),
}

/// Why the service manager is not told that all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unwell {
    /// A stage hangs.
    Stuck(Stuck),
    /// The station is neither down nor up.
    NotRestarted,
}

impl std::fmt::Display for Unwell {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stuck(stuck) => stuck.fmt(formatter),
            Self::NotRestarted => formatter.write_str("supervisor"),
        }
    }
}

impl Watched {
    fn unwell(&self, now: Nanos) -> Option<Unwell> {
        match self {
            Self::BetweenLives(until) => (now >= *until).then_some(Unwell::NotRestarted),
            Self::Running(probes, silence_max) => probes.iter().find_map(|probe| probe.stuck(now, *silence_max)).map(Unwell::Stuck),
        }
    }
}

/// How long a stage may be silent: half of the service manager's patience, or longer where a part may take longer.
fn silence_max(period: Duration, deadline: Duration) -> Duration {
    (period / 2).max(2 * deadline)
}

/// Watches the station of this process, life after life. Ends with it.
pub struct Watchdog {
    watched: Arc<Mutex<Watched>>,
    period: Duration,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Begins to watch.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start() -> std::io::Result<Self> {
        let period = systemd::watchdog_period().unwrap_or(PERIOD);
        let watched = Arc::new(Mutex::new(Watched::BetweenLives(flow::now() + BETWEEN_LIVES_MAX)));
        let (stop, stopped) = bounded::<()>("watchdog", 1, WhenFull::DropNewest);
        let seen = Arc::clone(&watched);
        let watch = move || {
            let mut before = None;
            while stopped.receive_timeout(period / LOOKS_PER_PERIOD) == Err(NothingReceived::TimedOut) {
                let unwell = seen.lock().unwrap_or_else(PoisonError::into_inner).unwell(flow::now());
                tell(before, unwell);
                before = unwell;
            }
        };
        Ok(Self {
            watched,
            period,
            stop: Some(stop),
            thread: Some(Builder::new().name("watchdog".into()).spawn(watch)?),
        })
    }

    /// A station runs whose parts have `deadline`, with these engines.
    pub fn running(&self, probes: Vec<Probe>, deadline: Duration) {
        self.set(Watched::Running(probes, silence_max(self.period, deadline)));
    }

    /// The station is taken down, or set up anew, in at most `within` and a minute.
    pub fn between_lives(&self, within: Duration) {
        self.set(Watched::BetweenLives(flow::now() + within + BETWEEN_LIVES_MAX));
    }

    fn set(&self, watched: Watched) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = watched;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(thread = "watchdog", "panicked");
        }
    }
}

fn tell(before: Option<Unwell>, unwell: Option<Unwell>) {
    match (before, unwell) {
        (before, Some(unwell)) if before != Some(unwell) => {
            tracing::error!(stage = %unwell, "a stage hangs; the watchdog is not fed until it goes on");
            systemd::status(&format!("hangs: {unwell} does not go on"));
        }
        (Some(_), None) => {
            tracing::warn!("every stage goes on");
            systemd::status("goes on after a stage had hung");
        }
        _ => {}
    }
    if unwell.is_none() {
        systemd::watchdog();
    }
}

#[cfg(test)]
mod tests {
    use super::super::probe::Stage;
    use super::*;

    #[test]
    fn one_engine_that_hangs_among_others_is_enough() {
        let (good, bad) = (Probe::of_engine(1, Nanos(0)), Probe::of_engine(2, Nanos(0)));
        good.loaded(Nanos::from_millis(0));
        bad.loaded(Nanos::from_millis(0));
        let watched = Watched::Running(vec![good.clone(), bad.clone()], Duration::from_secs(5));
        let pass = |probe: &Probe, millis| {
            for stage in [Stage::Engine, Stage::Line, Stage::Recorder] {
                probe.crosses(stage, Nanos::from_millis(millis));
            }
        };
        pass(&good, 6000);
        pass(&bad, 6000);
        assert_eq!(watched.unwell(Nanos::from_millis(11_000)), None);
        pass(&good, 11_000);
        let unwell = watched.unwell(Nanos::from_millis(11_001)).unwrap();
        assert_eq!(unwell.to_string(), "engine-2");
    }

    #[test]
    fn a_restart_takes_its_time_but_not_for_ever() {
        let watched = Watched::BetweenLives(Nanos::from_millis(60_000));
        assert_eq!(watched.unwell(Nanos::from_millis(59_999)), None);
        assert_eq!(watched.unwell(Nanos::from_millis(60_000)).unwrap().to_string(), "supervisor");
    }

    #[test]
    fn slow_parts_are_given_time() {
        let seconds = Duration::from_secs;
        assert_eq!(silence_max(seconds(10), Duration::from_millis(80)), seconds(5));
        assert_eq!(silence_max(seconds(10), seconds(30)), seconds(60));
    }
}
