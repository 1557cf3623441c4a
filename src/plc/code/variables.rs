//! What the function blocks take, give and keep.

use super::slots;
use super::syntax::{Initial, Section, Type, Variable};
use crate::line::config::ResultMode;
use crate::line::image::WINDOW_SLOTS;

macro_rules! variables {
    ($($section:ident $name:literal: $type_of:expr $(, = $initial:expr)?; $meaning:literal;)+) => {
        &[$(Variable {
            section: Section::$section,
            name: $name,
            type_of: $type_of,
            initial: variables!(@initial $($initial)?),
            meaning: $meaning,
        },)+]
    };
    (@initial) => { Initial::Nothing };
    (@initial $initial:expr) => { $initial };
}

/// What every block has, by section and in the order of the source.
static COMMON: &[Variable] = variables! {
    Input "FirstScan": Type::Bool; "TRUE in the first scan after a start of the PLC, else FALSE";
    Input "LinkOk": Type::Bool; "FromStation was read without an error, and ToStation was written; FALSE rejects";
    Input "FromStation": Type::FromStation; "one copy of what the station says, read whole";
    Input "Enable": Type::Bool; "inspection is wanted; take it away at an E-stop";
    Input "NewSession": Type::Bool; "rising edge, after an E-stop: every part between camera and gate is a reject";
    Input "StartPart": Type::Bool; "rising edge: a part is at the sensor before the camera";
    Input "Encoder": Type::U32; "encoder position at that edge, counts";
    Input "Serial": Type::Serial; "serial number of the part, at that edge or at that of LatchSerial";
    Input "LatchSerial": Type::Bool; "rising edge: the station keeps Serial for the next part (serial mode latched)";
    Input "RecipeNumber": Type::U16; "recipe wanted; 0 keeps the one in use";
    Input "TestPart": Type::Bool; "the part is a test part: out of the counters, never passed";
    Input "Bypass": Type::Bool; "parts pass without inspection, by a keyed decision; PassPart stays FALSE";
    Input "GateInhibit": Type::Bool; "the gate must not move";
    Input "Command": Type::U16; "number of the command, see docs/plc/codes.md";
    Input "ExecuteCommand": Type::Bool; "rising edge: have Command carried out";
    Input "ClearError": Type::Bool; "clears latched errors of the station, and the faults below";
    Input "DispositionCycleId": Type::U32; "part that Disposition is about";
    Input "Disposition": Type::U16; "what happened to that part: 1 passed, 2 rejected, 3 removed";
    Input "PartTime": Type::Time; "a part's own timer: from StartPart to the moment it must have been passed; 0 passes none";
    Input "AliveTime": Type::Time, = Initial::Milliseconds(1000); "a station whose heartbeat stands for so long is lost";
    Input "AckTime": Type::Time, = Initial::Milliseconds(500); "T_ack: from StartPart to the answer to its trigger";
    Input "ResultTime": Type::Time, = Initial::Milliseconds(2000); "T_result: without a result while parts are open";
    Input "ClearTime": Type::Time, = Initial::Milliseconds(500); "T_clear: until the station takes an answer or a result back";
    Input "CommandTime": Type::Time, = Initial::Milliseconds(10000); "T_cmd: until a command is done or has failed";
    Input "UserTime": Type::Time, = Initial::Milliseconds(500); "T_user: until Serial is latched";

    Output "ToStation": Type::ToStation; "what the PLC says; write it whole after each scan";
    Output "ResultVerdict": Type::U16; "0 undefined, 1 OK, 2 NotOK, 3 NotDecidable";
    Output "ResultDefect": Type::U16; "DefectCode as the recipe numbers it";
    Output "RejectAll": Type::Bool; "for one scan: every part between camera and gate is a reject";
    Output "MissedPart": Type::Bool; "for one scan: a part was not taken, it is a reject";
    Output "StartedCycleId": Type::U32; "CycleId of the part triggered last";
    Output "Ready": Type::Bool; "StartPart will be taken at once";
    Output "MayMove": Type::Bool; "the part is exposed and may move";
    Output "OpenParts": Type::U16; "parts whose result is still to come";
    Output "StationAlive": Type::Bool; "heartbeat and link are well";
    Output "InSession": Type::Bool; "the station follows this PLC's session";
    Output "RecipeBusy": Type::Bool; "the station is not ready with the recipe wanted";
    Output "StopLine": Type::Bool; "the station asks for the line to stop (StopRequest)";
    Output "SerialLatched": Type::Bool; "the station has the serial number";
    Output "CommandBusy": Type::Bool; "a command is being carried out";
    Output "CommandDone": Type::Bool; "the last command was carried out";
    Output "CommandFailed": Type::Bool; "the last command failed, or T_cmd ran out";
    Output "FaultAck": Type::Bool; "T_ack ran out: the station did not answer, or was not ready in time";
    Output "FaultResult": Type::Bool; "T_result ran out";
    Output "FaultClear": Type::Bool; "T_clear ran out";
    Output "FaultCommand": Type::Bool; "T_cmd ran out";
    Output "FaultUser": Type::Bool; "T_user ran out";
    Output "FaultMap": Type::Bool; "MapMagic or MapVersion is another: words or bytes are exchanged, or the station speaks another map";
    Output "FaultPart": Type::Bool; "StartPart came before the part before it was triggered";

    Own "Initialised": Type::Bool; "this PLC has a session";
    Own "SessionBefore": Type::Bool; "NewSession in the scan before";
    Own "StartBefore": Type::Bool; "StartPart in the scan before";
    Own "LatchBefore": Type::Bool; "LatchSerial in the scan before";
    Own "ExecuteBefore": Type::Bool; "ExecuteCommand in the scan before";
    Own "T_beat": Type::Timer; "own heartbeat";
    Own "BeatDue": Type::Bool; "the own heartbeat counts up";
    Own "T_alive": Type::Timer; "the station's heartbeat stands";
    Own "BeatSeen": Type::Bool; "LastBeat was read";
    Own "BeatChanged": Type::Bool; "the station's heartbeat counted up";
    Own "LastBeat": Type::U16; "the station's heartbeat before";
    Own "BeatChanges": Type::U16; "changes of it, up to 2";
    Own "LastBootId": Type::U16; "the station's start";
    Own "Slot": Type::U16; "runs through the slots";
    Own "Pending": Type::Bool; "a part waits for its trigger";
    Own "PendingEncoder": Type::U32; "its encoder position";
    Own "PendingSerial": Type::Serial; "its serial number";
    Own "T_wait": Type::Timer; "how long it has waited";
    Own "TriggerStep": Type::U16; "0 idle, 1 block written, 2 Trigger is 1, 3 Trigger is 0 again";
    Own "TriggerSlot": Type::U16; "the slot of the part that is triggered";
    Own "NextCycleId": Type::U32, = Initial::Number(1); "CycleId of the next part";
    Own "T_ack": Type::Timer; "from StartPart to the answer";
    Own "AckRestart": Type::Bool; "T_ack begins anew";
    Own "T_clear": Type::Timer; "until both answers are 0";
    Own "T_result": Type::Timer; "parts are open, no result comes";
    Own "UserStep": Type::U16; "0 idle, 1 Serial written, 2 SetUserData is 1, 3 SetUserData is 0 again";
    Own "T_user": Type::Timer; "until UserDataAck";
    Own "CommandStep": Type::U16; "0 idle, 1 Command written, 2 ExecuteCommand is 1, 3 ExecuteCommand is 0 again";
    Own "T_cmd": Type::Timer; "until CommandDone or CommandFailed";

    Retained "SessionKept": Type::U16; "the session before, should the station not know it";
};

/// What the block of single and buffered mode has besides.
static ONE_BY_ONE: &[Variable] = variables! {
    Input "BufferEnable": Type::Bool; "results queue at the station (buffered mode); taken when inspection begins";

    Output "PassPart": Type::Bool; "the part PartCycleId may pass; FALSE rejects";
    Output "PartCycleId": Type::U32; "the part that PassPart is about";
    Output "ResultNew": Type::Bool; "for one scan: PassPart and the rest are those of another part";
    Output "ResultReason": Type::U16; "ReasonCode, see docs/plc/codes.md";

    Own "PartSlot": Type::U16, = Initial::Number(slots(ResultMode::Single) as u32); "the slot of the part PartCycleId; 9 is none";
    Own "ResultStep": Type::U16; "0 waiting, 1 ResultAck is 1";
    Own "LastResultId": Type::U32; "the result taken last";
    Own "T_release": Type::Timer; "until ResultValid is 0 (T_clear for results)";
};

/// What the block of window mode has besides.
static WINDOW: &[Variable] = variables! {
    Input "Window": Type::Window; "one copy of the station's window, read whole";
    Input "GateCycleId": Type::U32; "the part that is at the gate now; 0 is none, and passes none";

    Output "PassPart": Type::Bool; "the part GateCycleId may pass; FALSE rejects";
    Output "ResultNew": Type::Bool; "for one scan: PartCycleId, ResultVerdict and ResultDefect are those of another part";
    Output "PartCycleId": Type::U32; "the part whose result was taken last";
    Output "WindowAlive": Type::Bool; "the window is read, and is of this session";

    Own "T_window": Type::Timer; "the window's heartbeat stands";
    Own "WindowSeen": Type::Bool; "LastWindowBeat was read";
    Own "WindowChanged": Type::Bool; "the window's heartbeat counted up";
    Own "LastWindowBeat": Type::U16; "the window's heartbeat before";
    Own "WindowChanges": Type::U16; "changes of it within this session, up to 2";
    Own "NumberFree": Type::Bool; "the window holds nothing under the next part's number";
    Own "Look": Type::U16; "runs through the window";
    Own "Found": Type::U16; "where the part's result is in the window; 16 is nowhere";
    Own "SeenResultId": Type::U32s(WINDOW_SLOTS as u16); "the part's result in the scan before; 0 is none";
    Own "SeenVerdict": Type::U16s(WINDOW_SLOTS as u16); "its verdict in the scan before";
    Own "SlotTaken": Type::Bools(WINDOW_SLOTS as u16); "the part's result was taken";
    Own "SlotPasses": Type::Bools(WINDOW_SLOTS as u16); "it was OK, and in time";
};

/// The timers of the slots, by slot; a block has the first ones, one for each of its slots.
pub(super) const PART_TIMERS: [&str; WINDOW_SLOTS] = [
    "PartTimer0",
    "PartTimer1",
    "PartTimer2",
    "PartTimer3",
    "PartTimer4",
    "PartTimer5",
    "PartTimer6",
    "PartTimer7",
    "PartTimer8",
    "PartTimer9",
    "PartTimer10",
    "PartTimer11",
    "PartTimer12",
    "PartTimer13",
    "PartTimer14",
    "PartTimer15",
];

/// Every variable of a block.
pub(super) fn variables(mode: ResultMode) -> Vec<Variable> {
    let count = slots(mode);
    let own = |name, type_of, meaning| Variable {
        section: Section::Own,
        name,
        type_of,
        initial: Initial::Nothing,
        meaning,
    };
    let parts = [
        own("OpenCycleId", Type::U32s(count), "parts between StartPart and PartTime; 0 is none"),
        own(
            "SlotTime",
            Type::Times(count),
            "PartTime, less what the part waited before it got its slot",
        ),
        own("SlotFree", Type::Bools(count), "the slot's timer has seen that it is empty"),
        own("SlotExpired", Type::Bools(count), "the part's own timer has run out"),
    ];
    let timers = PART_TIMERS.iter().take(usize::from(count));
    let besides = match mode {
        ResultMode::Single => ONE_BY_ONE,
        ResultMode::Window => WINDOW,
    };
    let mut variables = [COMMON, besides, &parts].concat();
    variables.extend(timers.map(|timer| own(timer, Type::Timer, "own timer of the part in the slot of this number")));
    variables
}
