//! The two images: everything the PLC says, everything the station says. Each is exchanged whole. Which register or tag a field is in is
//! the business of `plc/`.

use super::tags::TAG_REGISTERS;
use crate::gate::counters::Counted;
use crate::part::{CycleId, Outcome, Verdict};

/// Bits of the PLC's control word, by their number.
pub mod control {
    /// Inspection allowed.
    pub const ONLINE: u16 = 1 << 0;
    /// Arms the trigger handshake.
    pub const TRIGGER_ENABLE: u16 = 1 << 1;
    /// Rising edge starts or arms the cycle.
    pub const TRIGGER: u16 = 1 << 2;
    /// Rising edge consumes the result shown.
    pub const RESULT_ACK: u16 = 1 << 3;
    /// Result mode, sampled at the rising edge of Online.
    pub const BUFFER_ENABLE: u16 = 1 << 4;
    /// Latches the serial number.
    pub const SET_USER_DATA: u16 = 1 << 5;
    /// Starts the command.
    pub const EXECUTE_COMMAND: u16 = 1 << 6;
    /// Clears errors whose cause is gone.
    pub const CLEAR_ERROR: u16 = 1 << 7;
    /// The PLC passes parts without inspection.
    pub const BYPASS: u16 = 1 << 8;
    /// The gate must not move.
    pub const GATE_INHIBIT: u16 = 1 << 9;
    /// The part is a test part.
    pub const TEST_PART: u16 = 1 << 10;
}

/// Everything the PLC says, as it stood after one of its writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlcImage {
    /// The control word, see [`control`].
    pub control: u16,
    /// Number of the command.
    pub command: u16,
    /// Recipe asked for; 0 keeps the one in use.
    pub recipe_number: u16,
    /// Counts while the PLC is alive.
    pub heartbeat: u16,
    /// Number of the part, 0 for none.
    pub cycle_id: u32,
    /// Encoder position.
    pub encoder: u32,
    /// Serial number, NUL padded.
    pub serial: [u8; 32],
    /// Session of the PLC, 0 while it is not initialised.
    pub plc_session: u16,
    /// The result that ResultAck means.
    pub ack_result_id: u32,
    /// The part that Disposition means.
    pub disposition_cycle_id: u32,
    /// What happened to the part: 1 passed, 2 rejected, 3 removed.
    pub disposition: u16,
    /// Written last of the block: equals `cycle_id` once the block is whole.
    pub cycle_id_tail: u32,
    /// What the PLC counts at a gate that the station owns.
    pub counted: Counted,
    /// What rides along with the part, as registers.
    pub tags: [u16; TAG_REGISTERS],
}

impl PlcImage {
    /// Whether the control bits of `mask` are all set.
    pub fn is(&self, mask: u16) -> bool {
        self.control & mask == mask
    }
}

/// Parts counted. They persist and wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// ok + `not_ok` + `not_decidable`.
    pub total: u32,
    /// Parts that were Ok.
    pub ok: u32,
    /// Parts that were NotOk.
    pub not_ok: u32,
    /// Parts that could not be judged, the missed ones among them.
    pub not_decidable: u32,
    /// Triggers that could not be taken.
    pub missed: u32,
    /// Triggers that repeated one; part of no other count.
    pub duplicate: u32,
}

impl Counts {
    /// The counters as they are stored: total, ok, `not_ok`, `not_decidable`, missed, duplicate.
    pub fn to_array(self) -> [u32; 6] {
        [self.total, self.ok, self.not_ok, self.not_decidable, self.missed, self.duplicate]
    }

    /// The counters as they were stored.
    pub fn from_array([total, ok, not_ok, not_decidable, missed, duplicate]: [u32; 6]) -> Self {
        Self {
            total,
            ok,
            not_ok,
            not_decidable,
            missed,
            duplicate,
        }
    }

    /// Counts an outcome.
    pub fn add(&mut self, outcome: Outcome) {
        let count = match outcome.verdict {
            Verdict::Ok => &mut self.ok,
            Verdict::NotOk => &mut self.not_ok,
            Verdict::NotDecidable => &mut self.not_decidable,
        };
        *count = count.wrapping_add(1);
        self.total = self.total.wrapping_add(1);
    }
}

impl Counts {
    /// What was counted since the counters stood so.
    #[must_use]
    pub fn since(self, base: Self) -> Self {
        let (now, then) = (self.to_array(), base.to_array());
        Self::from_array(std::array::from_fn(|at| now[at].wrapping_sub(then[at])))
    }

    /// Takes back an outcome that was counted and is none.
    pub fn take_back(&mut self, outcome: Outcome) {
        let count = match outcome.verdict {
            Verdict::Ok => &mut self.ok,
            Verdict::NotOk => &mut self.not_ok,
            Verdict::NotDecidable => &mut self.not_decidable,
        };
        *count = count.wrapping_sub(1);
        self.total = self.total.wrapping_sub(1);
    }
}

/// StationMode on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StationMode {
    /// Not ready to inspect: starting, or nothing to inspect with.
    #[default]
    Preoperational = 0,
    /// Inspecting.
    Auto = 1,
    /// Being taught, or moved by hand.
    Teach = 2,
    /// Test run.
    TestRun = 3,
    /// Simulated.
    Simulated = 4,
}

/// Results that wait to be acknowledged in buffered mode: the one shown, those behind it, and those of parts being inspected.
pub const BUFFERS: usize = 8;

/// One result of window mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowSlot {
    /// The part; `None` in an empty slot.
    pub cycle_id: Option<CycleId>,
    /// Number of the result.
    pub result_id: u32,
    /// 1 only while Accept would be 1; 0 undefined.
    pub verdict: u16,
    /// Class of the defect, 0 for none.
    pub defect_code: u16,
}

/// Slots of window mode; a result is in slot `result_id % WINDOW_SLOTS`.
pub const WINDOW_SLOTS: usize = 16;

/// Everything the station says: one immutable image, swapped whole. The default says nothing and passes no part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a bit of the status word that PLC programs read")]
pub struct StationImage {
    /// The station takes part in production.
    pub online: bool,
    /// A Trigger edge will be taken.
    pub trigger_ready: bool,
    /// The trigger was taken.
    pub trigger_ack: bool,
    /// The part may move.
    pub exposure_complete: bool,
    /// The trigger was not taken.
    pub missed_trigger: bool,
    /// At least one part is open.
    pub busy: bool,
    /// Flips with each result shown.
    pub inspection_toggle: bool,
    /// The result registers hold a result.
    pub result_valid: bool,
    /// A result was lost for want of a buffer.
    pub buffer_overrun: bool,
    /// A command is being executed.
    pub command_executing: bool,
    /// The command was executed.
    pub command_done: bool,
    /// The command failed.
    pub command_failed: bool,
    /// An error stops inspection; see `error_code`.
    pub error: bool,
    /// The part shown is good.
    pub accept: bool,
    /// The result shown was not there by its deadline.
    pub deadline_missed: bool,
    /// The serial number was latched.
    pub user_data_ack: bool,
    /// Nothing is real.
    pub simulated: bool,
    /// The result shown is of a test part.
    pub test_result: bool,
    /// The line must stop.
    pub stop_request: bool,
    /// Something is wrong, inspection goes on.
    pub warning: bool,
    /// The clock is synchronised.
    pub clock_synced: bool,
    /// TriggerReady waits for a result slot.
    pub held_for_slot: bool,
    /// TriggerReady waits because a part that came now would miss its deadline.
    pub held_for_deadline: bool,
    /// Free result buffers.
    pub remaining_buffers: u16,
    /// Lowest active error or warning, 0 for none.
    pub error_code: u16,
    /// Counts while the verdict path is alive.
    pub heartbeat: u16,
    /// The recipe that is ready, 0 for none.
    pub recipe_ready: u16,
    /// Number of the station's start, never 0 once running.
    pub boot_id: u16,
    /// The PlcSession in force.
    pub echo_plc_session: u16,
    /// What the station is doing.
    pub station_mode: StationMode,
    /// Verdict of the result shown; `None` (0 on the wire) is undefined.
    pub verdict: Option<Verdict>,
    /// Reason of the result shown, see [`crate::part::Reason::code`].
    pub reason_code: u16,
    /// Defect class of the result shown.
    pub defect_code: u16,
    /// Recipe of the result shown.
    pub recipe_of_result: u16,
    /// The part of the result shown; 0 for none.
    pub echo_cycle_id: u32,
    /// The acquisition of the trigger taken last.
    pub acquisition_id: u32,
    /// The result shown; ResultIdTail carries the same number.
    pub result_id: u32,
    /// CycleId of the trigger answered last.
    pub echo_trigger_id: u32,
    /// Checksum of configuration, recipe and models of the result shown.
    pub config_checksum: u32,
    /// From the trigger to the decision of the result shown.
    pub process_time_us: u32,
    /// Station-owned gate: the part the gate acts on.
    pub gate_fire_cycle_id: u32,
    /// Parts counted.
    pub counts: Counts,
    /// Results of window mode, by `result_id % WINDOW_SLOTS`.
    pub window: [WindowSlot; WINDOW_SLOTS],
}
