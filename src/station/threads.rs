//! Threads that the supervisor hears of when they panic, the line's above all.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::engines::WorkerState;
use super::error::StationError;
use super::line_thread::LineThread;
use crate::flow::Sender;
use crate::journal::black_box::BlackBox;
use crate::journal::numbers::Numbers;
use crate::line::error_code::ErrorCode;
use crate::line::image::StationImage;
use crate::plc::Shown;

/// What the supervisor waits for.
#[derive(Debug)]
pub enum Control {
    /// Somebody wants the station to stop.
    Stop,
    /// An engine worker says something of itself.
    Worker(WorkerState),
    /// The line thread ended.
    LineEnded,
    /// Another thread of the station panicked.
    StageFailed(&'static str),
}

/// Whatever ends the line thread: a panic leaves outputs that pass no part, and the supervisor knows.
struct LineEnd {
    shown: Shown,
    control: Sender<Control>,
}

impl Drop for LineEnd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.shown.load();
            self.shown.store(Arc::new(StationImage {
                boot_id: last.boot_id,
                heartbeat: last.heartbeat,
                error: true,
                error_code: ErrorCode::StageRestarted.code(),
                ..StationImage::default()
            }));
        }
        let _ = self.control.send(Control::LineEnded);
    }
}

/// Starts the line. Whatever ends it, its last image passes no part.
pub(super) fn spawn_line(
    line_thread: LineThread,
    shown: Shown,
    control: &Sender<Control>,
) -> Result<JoinHandle<(Numbers, BlackBox)>, StationError> {
    let end = LineEnd {
        shown,
        control: control.clone(),
    };
    let run_line = move || {
        let _end = end;
        line_thread.run()
    };
    Builder::new()
        .name("line".into())
        .spawn(run_line)
        .map_err(|source| StationError::Thread { name: "line", source })
}

/// Tells the supervisor when the thread that owns it panics.
pub(super) struct StageWatch {
    name: &'static str,
    control: Sender<Control>,
}

impl StageWatch {
    pub(super) fn new(name: &'static str, control: &Sender<Control>) -> Self {
        Self {
            name,
            control: control.clone(),
        }
    }
}

impl Drop for StageWatch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.control.send(Control::StageFailed(self.name));
        }
    }
}

/// Starts a thread. The supervisor hears of a panic.
pub(super) fn spawn(
    name: &'static str,
    control: &Sender<Control>,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StationError> {
    let watch = StageWatch::new(name, control);
    let watched = move || {
        let _watch = watch;
        run();
    };
    Builder::new()
        .name(name.into())
        .spawn(watched)
        .map_err(|source| StationError::Thread { name, source })
}

#[cfg(test)]
mod tests {
    use arc_swap::ArcSwap;

    use super::*;
    use crate::flow::{WhenFull, bounded};

    #[test]
    fn a_panic_of_the_line_leaves_outputs_that_pass_no_part_and_is_told() {
        let passing = StationImage {
            boot_id: 7,
            heartbeat: 9,
            result_valid: true,
            accept: true,
            trigger_ready: true,
            ..StationImage::default()
        };
        let shown: Shown = Arc::new(ArcSwap::from_pointee(passing));
        let (control, happened) = bounded("control", 4, WhenFull::DropNewest);
        let end = LineEnd {
            shown: Arc::clone(&shown),
            control: control.clone(),
        };
        let line = std::thread::spawn(move || {
            let _end = end;
            std::panic::resume_unwind(Box::new("as if the line had panicked"));
        });
        assert!(line.join().is_err());
        assert!(matches!(happened.receive(), Some(Control::LineEnded)));
        let image = shown.load();
        assert_eq!((image.boot_id, image.heartbeat, image.error), (7, 9, true));
        assert!(!image.accept && !image.result_valid && !image.trigger_ready);

        let stage = spawn("numbers", &control, || std::panic::resume_unwind(Box::new("likewise"))).unwrap();
        assert!(stage.join().is_err());
        assert!(matches!(happened.receive(), Some(Control::StageFailed("numbers"))));
    }
}
