//! What the function block takes, gives and keeps.

use super::syntax::{Initial, Section, Type, Variable};
use super::{NO_SLOT, SLOTS};

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

/// Every variable of the block, by section and in the order of the source.
pub(super) static VARIABLES: &[Variable] = variables! {
    Input "FirstScan": Type::Bool; "TRUE in the first scan after a start of the PLC, else FALSE";
    Input "LinkOk": Type::Bool; "FromStation was read without an error, and ToStation was written; FALSE rejects";
    Input "FromStation": Type::FromStation; "one copy of what the station says, read whole";
    Input "Enable": Type::Bool; "inspection is wanted; take it away at an E-stop";
    Input "NewSession": Type::Bool; "rising edge, after an E-stop: every part between camera and gate is a reject";
    Input "BufferEnable": Type::Bool; "results queue at the station (buffered mode); taken when inspection begins";
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
    Output "PassPart": Type::Bool; "the part PartCycleId may pass; FALSE rejects";
    Output "PartCycleId": Type::U32; "the part that PassPart is about";
    Output "ResultNew": Type::Bool; "for one scan: PassPart and what follows are those of another part";
    Output "ResultVerdict": Type::U16; "0 undefined, 1 OK, 2 NotOK, 3 NotDecidable";
    Output "ResultReason": Type::U16; "ReasonCode, see docs/plc/codes.md";
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
    Own "OpenCycleId": Type::U32s(SLOTS); "parts between StartPart and PartTime; 0 is none";
    Own "SlotFree": Type::Bools(SLOTS); "the slot's timer has seen that it is empty";
    Own "SlotExpired": Type::Bools(SLOTS); "the part's own timer has run out";
    Own "Slot": Type::U16; "runs through the slots";
    Own "PartSlot": Type::U16, = Initial::Number(NO_SLOT); "the slot of the part PartCycleId; 9 is none";
    Own "Pending": Type::Bool; "a part waits for its trigger";
    Own "PendingEncoder": Type::U32; "its encoder position";
    Own "PendingSerial": Type::Serial; "its serial number";
    Own "TriggerStep": Type::U16; "0 idle, 1 block written, 2 Trigger is 1, 3 Trigger is 0 again";
    Own "TriggerSlot": Type::U16; "the slot of the part that is triggered";
    Own "NextCycleId": Type::U32, = Initial::Number(1); "CycleId of the next part";
    Own "T_ack": Type::Timer; "from StartPart to the answer";
    Own "AckRestart": Type::Bool; "T_ack begins anew";
    Own "T_clear": Type::Timer; "until both answers are 0";
    Own "ResultStep": Type::U16; "0 waiting, 1 ResultAck is 1";
    Own "LastResultId": Type::U32; "the result taken last";
    Own "T_result": Type::Timer; "parts are open, no result comes";
    Own "T_release": Type::Timer; "until ResultValid is 0 (T_clear for results)";
    Own "UserStep": Type::U16; "0 idle, 1 Serial written, 2 SetUserData is 1, 3 SetUserData is 0 again";
    Own "T_user": Type::Timer; "until UserDataAck";
    Own "CommandStep": Type::U16; "0 idle, 1 Command written, 2 ExecuteCommand is 1, 3 ExecuteCommand is 0 again";
    Own "T_cmd": Type::Timer; "until CommandDone or CommandFailed";
    Own "PartTimer0": Type::Timer; "own timer of the part in slot 0";
    Own "PartTimer1": Type::Timer; "own timer of the part in slot 1";
    Own "PartTimer2": Type::Timer; "own timer of the part in slot 2";
    Own "PartTimer3": Type::Timer; "own timer of the part in slot 3";
    Own "PartTimer4": Type::Timer; "own timer of the part in slot 4";
    Own "PartTimer5": Type::Timer; "own timer of the part in slot 5";
    Own "PartTimer6": Type::Timer; "own timer of the part in slot 6";
    Own "PartTimer7": Type::Timer; "own timer of the part in slot 7";
    Own "PartTimer8": Type::Timer; "own timer of the part in slot 8";
    Retained "SessionKept": Type::U16; "the session before, should the station not know it";
};

/// The timers of the slots, by slot.
pub(super) const PART_TIMERS: [&str; SLOTS as usize] = [
    "PartTimer0",
    "PartTimer1",
    "PartTimer2",
    "PartTimer3",
    "PartTimer4",
    "PartTimer5",
    "PartTimer6",
    "PartTimer7",
    "PartTimer8",
];
