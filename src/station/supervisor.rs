//! Runs a station for as long as it is wanted: what failed is started anew, with outputs that pass no part in between.

use std::io::Write;
use std::time::Duration;

use super::build;
use super::configuration::Configuration;
use super::error::StationError;
use super::life::Ended;
use super::memory;
use super::reporter::ReportFormat;
use super::threads::Control;
use super::watchdog::Watchdog;
use crate::flow::{self, NothingReceived, Receiver, Sender};
use crate::telemetry::systemd;

/// The wait before a station that failed is started anew: at first, and at most. It doubles with every failure on the heels of the last.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A station that ran for so long had recovered from its last failure.
const STEADY: Duration = Duration::from_mins(1);

/// Runs until `control` says stop.
///
/// # Errors
/// When the station cannot be set up, or has nothing to inspect with.
pub fn run(
    configuration: &Configuration,
    format: ReportFormat,
    output: impl Fn() -> Box<dyn Write + Send>,
    control: &Sender<Control>,
    happened: &Receiver<Control>,
) -> Result<(), StationError> {
    memory::keep();
    let watchdog = Watchdog::start().map_err(|source| StationError::Thread { name: "watchdog", source })?;
    let mut failures = 0;
    loop {
        let started = flow::now();
        let station = build::start(configuration, format, output(), control, failures > 0)?;
        let stop_max = station.stop_max();
        watchdog.running(station.probes(), station.deadline());
        let Ended::Failed(stage) = station.run(happened, &|| watchdog.between_lives(stop_max))? else {
            return Ok(());
        };
        failures = if flow::now().since(started) > STEADY { 1 } else { failures + 1 };
        // As after a kill: the black box says what was shown, the next start has another BootId.
        tracing::error!(
            stage,
            failures,
            "a stage failed; every open part is not decidable, the station starts anew"
        );
        systemd::status(&format!("starts anew: stage {stage} failed"));
        if told_to_stop(happened, restart_wait(failures)) {
            return Ok(());
        }
    }
}

fn restart_wait(failures: u32) -> Duration {
    let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    RESTART.0.saturating_mul(doubled).min(RESTART.1)
}

/// Waits; what the station that failed still had to say is heard and forgotten.
fn told_to_stop(happened: &Receiver<Control>, wait: Duration) -> bool {
    let until = flow::now() + wait;
    loop {
        match happened.receive_timeout(until.since(flow::now())) {
            Ok(Control::Stop) | Err(NothingReceived::Closed) => return true,
            Ok(_) => {}
            Err(NothingReceived::TimedOut) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{WhenFull, bounded};

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let waits = [1, 2, 3, 8, 40].map(|failures| restart_wait(failures).as_millis());
        assert_eq!(waits, [100, 200, 400, 10_000, 10_000]);
    }

    #[test]
    fn a_stop_is_heard_between_two_lives_and_old_news_are_not() {
        let (control, happened) = bounded("control", 4, WhenFull::DropNewest);
        control.send(Control::LineEnded).unwrap();
        assert!(!told_to_stop(&happened, Duration::from_millis(1)));
        control.send(Control::StageFailed("line")).unwrap();
        control.send(Control::Stop).unwrap();
        assert!(told_to_stop(&happened, Duration::from_secs(10)));
    }
}
