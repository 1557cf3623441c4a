//! Adapter to the service manager: the station says how it is (`sd_notify(3)`), through the crate `sd-notify`. Without a service manager
//! nothing is said. What cannot be delivered is let go: the manager acts on silence.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// Whether this process ever said that it is ready: a process has one service manager, which starts it once.
static IS_READY: AtomicBool = AtomicBool::new(false);

/// How often the service manager wants to hear [`watchdog`]; `None`: never.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

/// The station inspects, or would if the PLC asked it to.
pub fn ready(status: &str) {
    IS_READY.store(true, Ordering::Relaxed);
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// How it is, in a sentence.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(&one_line(status))]);
}

/// The configuration is read again; [`reloaded`] ends that.
pub fn reloading() {
    if !IS_READY.load(Ordering::Relaxed) {
        return;
    }
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The configuration was read again, with this outcome. Who was not ready before is not for it.
pub fn reloaded(outcome: &str) {
    if IS_READY.load(Ordering::Relaxed) {
        ready(outcome);
    } else {
        status(outcome);
    }
}

/// It comes to its end.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// All is well.
pub fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// A line break would begin another message.
fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("; ")
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "failed to reach the service manager");
    }
}
