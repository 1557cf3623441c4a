//! ErrorCode: fixed numbers for the wire, names, words and remedies for people. One table.

/// Whether inspection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// TriggerReady drops.
    Error,
    /// Inspection goes on.
    Warning,
}

macro_rules! error_codes {
    ($($(#[doc = $doc:expr])+ $variant:ident = $code:literal, $name:literal, $level:ident, $latched:literal, $remedy:literal;)+) => {
        /// What is wrong with the station. The numbers are fixed for good; the lowest active one is shown.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $variant = $code,)+
        }

        impl ErrorCode {
            /// Every code, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Name for logs and metrics.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Whether inspection goes on.
            pub fn level(self) -> Level {
                match self { $(Self::$variant => Level::$level),+ }
            }

            /// Whether it stays until ClearError; the others pass with their cause.
            pub fn is_latched(self) -> bool {
                match self { $(Self::$variant => $latched),+ }
            }

            /// What it means, in a sentence.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii_start()),+ }
            }

            /// What to do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),+ }
            }
        }
    };
}

error_codes! {
    /// Models are being loaded, or failed to.
    ModelsNotReady = 10, "models_not_ready", Error, false, "wait; if it stays, see the log";
    /// The station does not run; a stand-in answers that passes no part.
    StationDown = 11, "station_down", Error, false, "run takt doctor at the station, or see its log";
    /// The configuration cannot be read, so the station does not run; a stand-in answers that passes no part.
    ConfigInvalid = 12, "config_invalid", Error, false, "run takt validate at the station, and start it again";
    /// The disk takes nothing that the station must keep, so it does not run; a stand-in answers that passes no part.
    StateUnavailable = 13, "state_unavailable", Error, false, "free or mend the disk that holds state_directory; takt doctor tells which";
    /// The provider that the configuration requires does not run the models.
    ProviderMissing = 14, "provider_missing", Error, false, "see the log; mend the GPU's driver or library, or allow another provider in [engine], then restart the station";
    /// A test run (command 2) did not give the expected scores: the models are not what was proven.
    TestRunFailed = 15, "test_run_failed", Error, false, "see the log; run takt model verify, activate a proven package or roll back, then have a test run pass (command 2)";
    /// A camera does not deliver.
    CameraLost = 20, "camera_lost", Error, false, "check cable and power of the camera named in the log";
    /// The PLC's heartbeat stopped.
    PlcLost = 30, "plc_lost", Error, false, "check the PLC program, the network and heartbeat_timeout_ms";
    /// BufferEnable was set at the rising edge of Online, but this station shows results in window mode.
    BufferedUnavailable = 31, "buffered_unavailable", Error, false, "clear BufferEnable, then drop and raise Online; or set result.mode = \"single\"";
    /// RecipeNumber asks for a recipe the station does not have, or for none while there are several.
    RecipeUnknown = 32, "recipe_unknown", Error, false, "set RecipeNumber to the number of a recipe of the station";
    /// A trigger carried CycleId 0 or one above 2^31 - 1.
    CycleIdZero = 40, "cycle_id_zero", Error, true, "mint CycleIds from 1 to 2147483647, then ClearError";
    /// A cycle ID was used for two parts of one session.
    CycleIdReused = 41, "cycle_id_reused", Error, true, "mint each CycleId once within a PlcSession, then ClearError";
    /// The cycle IDs jumped backwards or by more than 1000.
    CycleIdJump = 42, "cycle_id_jump", Error, true, "count CycleIds up by one, or set cycle_id.sequential = false, then ClearError";
    /// Part numbers ran out because they could not be persisted.
    NumbersExhausted = 50, "numbers_exhausted", Error, false, "check the disk that holds state_directory";
    /// The journal has used up its quota, or the disk is full.
    JournalFull = 51, "journal_full", Error, false, "connect the historian, raise journal.quota_mib or free the disk; or set journal.when_full = \"drop_oldest\"";
    /// The journal cannot be written.
    JournalFailing = 52, "journal_failing", Error, false, "check the disk that holds journal.directory; the log has the reason";
    /// A stage of the station failed and was restarted.
    StageRestarted = 60, "stage_restarted", Warning, true, "see the log and report it, then ClearError";
    /// Models run on another provider than the first one, which cannot be had: slower, perhaps.
    ProviderStandsIn = 61, "provider_stands_in", Warning, false, "see the log; mend the GPU's driver or library, then restart the station";
    /// Inputs or outputs of the station's own gate do not work; it rejects everything, as far as it can be moved.
    GateFailing = 62, "gate_failing", Error, false, "see the log; check the GPIO chips and lines named in [reject] and [[gate]]";
    /// The encoder's step was longer than the belt can have gone; everything on the belt is rejected.
    EncoderJump = 63, "encoder_jump", Error, true, "check the encoder, its cable and shield, and top_speed_mm_s, then ClearError";
    /// What was to be ejected was not, as far as the confirmation says.
    PartNotEjected = 64, "part_not_ejected", Error, true, "look for the part behind the gate, check the ejector and its sensor, then ClearError";
    /// Parts were triggered and did not come to the gate, too many in a row.
    PartsMissing = 65, "parts_missing", Error, true, "check the gate's part sensor and the distances in [[gate]], then ClearError";
    /// A part was seen that nobody announced, and the gate has no sensor to tell it from the others.
    PartUnannounced = 66, "part_unannounced", Error, true, "remove what is between camera and gate, check the PLC's part sensor, then ClearError";
    /// A part was seen that nobody announced.
    FrameWithoutTrigger = 70, "frame_without_trigger", Warning, true, "check the PLC's part sensor, then ClearError";
    /// A part came to the gate that nobody announced, and was rejected.
    PartUntracked = 71, "part_untracked", Warning, true, "check the PLC's part sensor, the distances in [[gate]] and the belt, then ClearError";
    /// Something was ejected that the gate had not rejected.
    EjectedUnasked = 72, "ejected_unasked", Warning, true, "check the gate and the sensor that confirms ejections, then ClearError";
    /// The journal has little space left and nothing more can be removed.
    JournalNearlyFull = 80, "journal_nearly_full", Warning, false, "connect the historian, or raise journal.quota_mib";
    /// The historian refuses this station's records.
    HistorianRefuses = 81, "historian_refuses", Warning, false, "see the log: a cloned or restored station needs a new epoch (takt journal new-epoch)";
    /// The clock has not been set: it says that it is before the first takt, and so do the records.
    ClockNotSet = 82, "clock_not_set", Warning, false, "check what sets the clock, and the clock's battery; takt doctor tells what there is";
    /// A command has an unknown number, or cannot be executed now.
    CommandRefused = 83, "command_refused", Warning, true, "see the log and docs/plc: some commands need that no part is open; then ClearError";
    /// Too many parts in a row were not Ok.
    ConsecutiveRejects = 90, "consecutive_rejects", Warning, true, "look at the parts and at what makes them, then ClearError";
    /// Too large a share of the latest parts was not Ok.
    RejectRate = 91, "reject_rate", Warning, true, "look at the parts and at what makes them, then ClearError";
}

impl ErrorCode {
    /// Whether the line must stop: StopRequest.
    pub fn requests_stop(self) -> bool {
        matches!(
            self,
            Self::GateFailing | Self::PartNotEjected | Self::PartsMissing | Self::ConsecutiveRejects | Self::RejectRate
        )
    }

    /// The number on the wire; 0 there means none.
    pub fn code(self) -> u16 {
        self as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_rise_and_everything_has_words() {
        assert!(ErrorCode::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
        assert!(
            ErrorCode::ALL
                .iter()
                .all(|code| !code.text().is_empty() && !code.remedy().is_empty() && code.code() > 0)
        );
    }
}
