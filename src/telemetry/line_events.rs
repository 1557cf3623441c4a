//! What happened at the line, as log lines and counts.

use std::sync::Arc;

use tracing::{debug, info, warn};

use super::Metrics;
use crate::line::commands::Command;
use crate::line::error_code::{ErrorCode, Level};
use crate::line::event::{CameraIndex, MissCause, Note, Withheld};

/// Writes the log line and the count of each event together.
pub struct LineEvents {
    cameras: Vec<String>,
    metrics: Arc<Metrics>,
}

impl LineEvents {
    /// For a station with these cameras.
    pub fn new(cameras: Vec<String>, metrics: Arc<Metrics>) -> Self {
        Self { cameras, metrics }
    }

    fn camera(&self, camera: CameraIndex) -> &str {
        self.cameras.get(camera).map_or("?", String::as_str)
    }

    /// A frame arrived.
    pub fn frame(&self, camera: CameraIndex) {
        self.metrics.frame(self.camera(camera));
    }

    /// A camera delivers.
    pub fn camera_up(&self, camera: CameraIndex) {
        info!(camera = self.camera(camera), "camera delivers");
        self.metrics.camera_up(self.camera(camera), true);
    }

    /// A camera does not deliver.
    pub fn camera_down(&self, camera: CameraIndex, reason: &str) {
        warn!(camera = self.camera(camera), reason, "camera does not deliver; parts are not taken");
        self.metrics.camera_up(self.camera(camera), false);
    }

    /// What the line wants people to know.
    pub fn note(&self, note: &Note) {
        let (event, count) = match note {
            Note::TriggerMissed { cycle_id, cause } => {
                warn!(cycle_id, cause = cause_name(*cause), "trigger missed");
                ("trigger_missed", 1)
            }
            Note::TriggerRepeated { cycle_id } => {
                info!(cycle_id = cycle_id.get(), "trigger repeated; its outcome stands");
                ("trigger_repeated", 1)
            }
            Note::CyclesSkipped { from, count } => {
                warn!(
                    from = from.get(),
                    count, "cycle IDs were skipped; each is recorded as not decidable"
                );
                ("cycle_skipped", u64::from(*count))
            }
            Note::CycleJump { from, to } => {
                warn!(
                    from = from.get(),
                    to = to.get(),
                    "cycle IDs jumped backwards or too far; nothing is recorded for the gap"
                );
                ("cycle_jump", 1)
            }
            Note::AckIgnored { result_id } => {
                warn!(result_id, "acknowledgement ignored: that result is not shown");
                ("ack_ignored", 1)
            }
            Note::FrameRepeated { camera } => {
                warn!(camera = self.camera(*camera), "frame came twice; the second is ignored");
                ("frame_repeated", 1)
            }
            Note::FrameLate { camera } => {
                warn!(camera = self.camera(*camera), "frame came after its part had its outcome");
                ("frame_late", 1)
            }
            Note::FrameWithoutTrigger { camera } => {
                warn!(
                    camera = self.camera(*camera),
                    "frame without a trigger: a part passed that the PLC did not announce"
                );
                ("frame_without_trigger", 1)
            }
            Note::FramesLost { camera, count } => {
                warn!(camera = self.camera(*camera), count, "frames are missing in the camera's count");
                ("frame_lost", *count)
            }
            Note::SessionChanged { from, to } => {
                info!(from, to, "the PLC began a new session");
                ("plc_session_changed", 1)
            }
            Note::SerialUnprintable { cycle_id } => {
                warn!(
                    cycle_id = cycle_id.get(),
                    "serial number has characters that cannot be printed; they read '?'"
                );
                ("serial_unprintable", 1)
            }
            Note::CommandTaken { command } => {
                info!(command = command.name(), "the PLC's command is executed");
                ("command_taken", 1)
            }
            Note::CommandRefused { number } => {
                let command = Command::from_code(*number).map_or("unknown", Command::name);
                warn!(
                    number,
                    command, "the PLC's command is refused: it is unknown, or cannot be executed now"
                );
                ("command_refused", 1)
            }
            // Once a part where the line runs at its limit: no lines in the log, but a count.
            Note::Withheld { cause: Withheld::Slots } => {
                debug!("TriggerReady is held back: every result slot is taken");
                ("trigger_ready_withheld_slots", 1)
            }
            Note::Withheld {
                cause: Withheld::Admission { expected },
            } => {
                debug!(?expected, "TriggerReady is held back: a part that came now would miss its deadline");
                ("trigger_ready_withheld_admission", 1)
            }
            Note::ErrorChanged { code } => {
                error_changed(*code);
                ("error_changed", 1)
            }
        };
        self.metrics.event(event, count);
    }
}

fn error_changed(code: u16) {
    match ErrorCode::ALL.iter().find(|error| error.code() == code) {
        None => info!("no error is active"),
        Some(error) => {
            let (name, text, remedy) = (error.name(), error.text(), error.remedy());
            match error.level() {
                Level::Error => tracing::error!(code, name, remedy, "{text}"),
                Level::Warning => warn!(code, name, remedy, "{text}"),
            }
        }
    }
}

fn cause_name(cause: MissCause) -> &'static str {
    match cause {
        MissCause::NotEnabled => "the PLC is not online, not alive, or has the handshake off",
        MissCause::NotReady => "the station is not ready",
        MissCause::Busy => "every result slot is taken",
        MissCause::Torn => "CycleId and CycleIdTail did not agree in time",
        MissCause::IdInvalid => "the cycle ID is 0 or above 2147483647",
        MissCause::IdReused => "the cycle ID belongs to another part",
        MissCause::Recipe => "RecipeNumber is not the recipe that is ready",
        MissCause::Admission => "it would have missed its deadline: more parts are open than can be judged in time",
        MissCause::SerialMissing => "no serial number was latched for it, and serial.required is true",
    }
}
