//! Progress on standard error: a bar on a terminal, plain lines otherwise; and the way to stop.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::teach::progress::{Progress, Stage};

static STOPPED: AtomicBool = AtomicBool::new(false);
static HANDLER: OnceLock<()> = OnceLock::new();

/// Shows progress and hears Ctrl-C, SIGTERM and SIGHUP.
pub(super) struct Screen {
    terminal: bool,
    stage: Mutex<Option<Running>>,
}

struct Running {
    stage: Stage,
    steps: usize,
    started: Instant,
    bar: ProgressBar,
}

impl Screen {
    pub(super) fn new() -> Self {
        // A failure to install leaves the default: the signal ends the process, and a half-written package never shows anyway.
        HANDLER.get_or_init(|| drop(ctrlc::set_handler(|| STOPPED.store(true, Ordering::Relaxed))));
        Self {
            terminal: io::stderr().is_terminal(),
            stage: Mutex::new(None),
        }
    }

    /// Ends the stage that is shown.
    pub(super) fn finish(&self) {
        let running = self.stage.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.bar.finish_and_clear();
            let seconds = running.started.elapsed().as_secs_f64();
            let _ = writeln!(io::stderr(), "{:<12} {:>6}  {seconds:6.1} s", running.stage.name(), running.steps);
        }
    }
}

impl Progress for Screen {
    fn begin(&self, stage: Stage, steps: usize) {
        self.finish();
        let bar = if self.terminal {
            ProgressBar::new(steps as u64)
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{prefix:<12} {bar:32} {pos}/{len}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(stage.name());
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running {
            stage,
            steps,
            started: Instant::now(),
            bar,
        });
    }

    fn advance(&self, steps: usize) {
        if let Some(running) = self.stage.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            running.bar.inc(steps as u64);
        }
    }

    fn tell(&self, line: &str) {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        match stage.as_ref().filter(|_| self.terminal) {
            Some(running) => running.bar.println(line),
            None => drop(writeln!(io::stderr(), "{line}")),
        }
    }

    fn stopped(&self) -> bool {
        STOPPED.load(Ordering::Relaxed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(running) = self.stage.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            running.bar.finish_and_clear();
        }
    }
}
