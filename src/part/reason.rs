//! Why a part is not Ok: fixed numbers for the wire, names for records, words and remedies for people. One table.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:expr])+ $variant:ident = $code:literal, $name:literal, $remedy:literal;)+) => {
        /// Why a part is not Ok. The numbers are fixed for good: PLC programs compare them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The number on the wire (ReasonCode); 0 there means none.
            pub fn code(self) -> u16 {
                match self { $(Self::$variant => $code),+ }
            }

            /// The name used in JSON and tables.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
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

reasons! {
    /// The anomaly score is above the model's threshold.
    Anomaly = 1, "anomaly", "look at the part; if it is good, teach with more good parts";
    /// A defect of a known class was found.
    Defect = 2, "defect", "look at the part; if it is good, raise the threshold or train the model with more such parts";
    /// The image could not be read.
    Unreadable = 10, "unreadable", "check the image source";
    /// The model gave a score or a map that is no number.
    ModelOutput = 11, "model_output", "verify the package with `takt model verify`";
    /// The engine failed on this part.
    EngineFailed = 12, "engine_failed", "see the log; restart the station if it persists";
    /// The engine's queue was full.
    Overload = 13, "overload", "lower the part rate, use a smaller model or more workers";
    /// No outcome was shown before the deadline.
    Deadline = 20, "deadline", "allow more time (deadline_ms), or use a faster model or machine";
    /// No frame of this part arrived.
    NoFrame = 30, "no_frame", "check the camera, its trigger wire and the frame or arm window";
    /// It is not certain which frame belongs to this part.
    Correlation = 31, "correlation", "check for bounced or lost camera triggers and the arm window";
    /// The frame has not the size or format the recipe needs.
    FrameSize = 32, "frame_size", "set the camera to the size that the station's region of interest fits into";
    /// The trigger came when the station could not take it.
    Missed = 40, "missed", "trigger only while TriggerReady is 1";
    /// The cycle ID was used again while this part was open.
    IdReused = 41, "id_reused", "mint each cycle ID once within a PlcSession";
    /// The PLC skipped this cycle ID.
    NeverSeen = 42, "never_seen", "check that each cycle is triggered and held until it is answered";
    /// The PLC restarted or began a new session before the result was shown.
    PlcRestart = 43, "plc_restart", "none: parts between camera and gate are rejected";
    /// The station restarted before the result was shown, or the part came while it was down.
    Restart = 44, "restart", "none: parts between camera and gate are rejected";
    /// The station was stopped before the result was shown.
    Shutdown = 45, "shutdown", "stop the line before the station";
    /// Power failed within the last commit interval.
    PowerLoss = 46, "power_loss", "none: parts between camera and gate are rejected";
    /// A stage of the station failed while this part was open.
    Internal = 47, "internal", "see the log and report it";
    /// The result's deadline passed before the PLC read it.
    NotRead = 50, "not_read", "acknowledge results faster";
    /// There was no buffer for the result.
    BufferOverrun = 51, "buffer_overrun", "trigger only while TriggerReady is 1";
    /// The PLC cleared the results (command 5) before this one was shown.
    Cleared = 52, "cleared", "none: the PLC asked for it";
    /// The PLC had Bypass set.
    Bypass = 60, "bypass", "clear Bypass to inspect for real";
    /// The part was not found in the image.
    NotLocated = 61, "not_located", "check the part's position";
    /// What a criterion of the recipe needs to know of a finding could not be measured.
    Unmeasured = 62, "unmeasured", "give the camera a scale (mm_per_px), or ask in the recipe for what the model can tell";
}

impl Reason {
    /// The reason of a number on the wire; `None` for 0 and unknown numbers.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_and_names_are_unique_and_lead_back() {
        let codes: BTreeSet<u16> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!((codes.len(), names.len()), (Reason::ALL.len(), Reason::ALL.len()));
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert_eq!(serde_json::to_string(reason).unwrap(), format!("\"{}\"", reason.name()));
            assert!(!reason.text().is_empty() && !reason.remedy().is_empty());
        }
        assert_eq!(Reason::from_code(0), None);
    }
}
