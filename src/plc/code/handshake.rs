//! The PLC's side of the handshake, scan by scan, as `docs/plc/` describes it: what every target's source says.

use super::syntax::{
    Expression, FALSE, Index, Place, Preset, Statement, TRUE, each, elapsed, element, expired, note, number, plc, run, say, set,
    set_element, station, var, when,
};
use super::variables::PART_TIMERS;
use super::{BEAT_MS, one_by_one, requests, window};
use crate::line::config::ResultMode;
use crate::part::CycleId;
use crate::plc::signals::{MAP_MAGIC, MAP_VERSION};

/// Changes of a heartbeat after which it counts as alive.
pub(super) const BEATS: u32 = 2;

/// What the two blocks do in their own ways.
pub(super) struct Results {
    /// For each part that the block follows, a slot of its own.
    pub(super) slots: u16,
    /// At the first scan.
    pub(super) begin: Vec<Statement>,
    /// Every part is a reject.
    pub(super) forget: Vec<Statement>,
    /// The part in the slot `Slot` has run out of time.
    pub(super) expire: Vec<Statement>,
    /// Takes what the station shows, and decides.
    pub(super) take: Vec<Statement>,
    /// A part gets the slot `TriggerSlot`.
    pub(super) open: Vec<Statement>,
    /// What else must hold for a part to be triggered.
    pub(super) can_trigger: Option<Expression>,
    /// What BufferEnable says.
    pub(super) buffer_enable: Expression,
    /// Whether the result of the part in the slot `Slot` is still to come.
    pub(super) awaited: Expression,
    /// `T_result` has run out.
    pub(super) late: Vec<Statement>,
}

/// One scan.
pub(super) fn scan(mode: ResultMode) -> Vec<Statement> {
    let results = match mode {
        ResultMode::Single => one_by_one::results(),
        ResultMode::Window => window::results(),
    };
    [
        pulses(),
        sessions(&results),
        heartbeats(),
        restarts(&results),
        part_timers(&results),
        results.take.clone(),
        awaited(&results),
        parts(),
        triggers(&results),
        requests::serial(),
        requests::commands(),
        requests::levels(&results),
    ]
    .concat()
}

pub(super) fn copy_serial(to: Place, from: &'static str) -> Statement {
    Statement::CopySerial { to, from }
}

/// A rising edge of an input, which is kept under another name.
pub(super) fn rises(input: &'static str, before: &'static str) -> Expression {
    var(input) & !var(before)
}

fn pulses() -> Vec<Statement> {
    vec![
        note("What lasts for one scan."),
        set("RejectAll", FALSE),
        set("MissedPart", FALSE),
        set("ResultNew", FALSE),
        when(
            var("ClearError"),
            ["FaultAck", "FaultResult", "FaultClear", "FaultCommand", "FaultUser", "FaultPart"]
                .map(|fault| set(fault, FALSE))
                .to_vec(),
        ),
    ]
}

/// The number of a session after this one; 0 is left out.
fn session_after(before: Expression) -> Statement {
    when(
        before.clone().at_least(number(u32::from(u16::MAX))),
        vec![say("PlcSession", number(1))],
    )
    .otherwise(vec![say("PlcSession", before + number(1))])
}

fn sessions(results: &Results) -> Vec<Statement> {
    let map_is_right = station("MapMagic").is(number(MAP_MAGIC)) & station("MapVersion").is(number(u32::from(MAP_VERSION)));
    vec![
        note("A session of its own for every start of this PLC. Until it has one it says PlcSession 0, and the station takes no trigger."),
        when(
            var("FirstScan"),
            [
                set("Initialised", FALSE),
                say("PlcSession", number(0)),
                say("Trigger", FALSE),
                say("ResultAck", FALSE),
                say("ExecuteCommand", FALSE),
                say("SetUserData", FALSE),
                set("TriggerStep", number(0)),
                set("UserStep", number(0)),
                set("CommandStep", number(0)),
                set("CommandBusy", FALSE),
                set("BeatSeen", FALSE),
                set("BeatChanges", number(0)),
                set("LastBootId", number(0)),
                set("NextCycleId", number(1)),
                set("RejectAll", TRUE),
            ]
            .into_iter()
            .chain(results.begin.clone())
            .collect(),
        ),
        set(
            "FaultMap",
            var("LinkOk") & station("MapMagic").differs_from(number(0)) & !map_is_right.clone(),
        ),
        when(
            !var("Initialised") & var("LinkOk") & map_is_right,
            vec![
                when(
                    station("EchoPlcSession").differs_from(number(0)),
                    vec![set("SessionKept", station("EchoPlcSession"))],
                ),
                session_after(var("SessionKept")),
                set("SessionKept", plc("PlcSession")),
                set("Initialised", TRUE),
            ],
        )
        .or_when(
            var("Initialised") & rises("NewSession", "SessionBefore"),
            vec![
                session_after(plc("PlcSession")),
                set("SessionKept", plc("PlcSession")),
                set("RejectAll", TRUE),
            ],
        ),
        set("SessionBefore", var("NewSession")),
        set("InSession", var("Initialised") & station("EchoPlcSession").is(plc("PlcSession"))),
    ]
}

fn heartbeats() -> Vec<Statement> {
    vec![
        note("Both sides count. The station lives after two changes, until its number stands for AliveTime."),
        Statement::Run {
            timer: "T_beat",
            enable: !var("BeatDue"),
            preset: Preset::Milliseconds(BEAT_MS),
        },
        set("BeatDue", expired("T_beat")),
        when(
            var("BeatDue"),
            vec![
                when(
                    plc("Heartbeat").at_least(number(u32::from(u16::MAX))),
                    vec![say("Heartbeat", number(0))],
                )
                .otherwise(vec![say("Heartbeat", plc("Heartbeat") + number(1))]),
            ],
        ),
        set(
            "BeatChanged",
            var("LinkOk") & var("BeatSeen") & station("Heartbeat").differs_from(var("LastBeat")),
        ),
        run("T_alive", var("BeatSeen") & !var("BeatChanged"), "AliveTime"),
        when(
            var("BeatChanged") & var("BeatChanges").below(number(BEATS)),
            vec![set("BeatChanges", var("BeatChanges") + number(1))],
        ),
        when(expired("T_alive"), vec![set("BeatChanges", number(0))]),
        when(var("LinkOk"), vec![set("LastBeat", station("Heartbeat")), set("BeatSeen", TRUE)]),
        set(
            "StationAlive",
            var("LinkOk") & var("BeatChanges").at_least(number(BEATS)) & !var("FaultMap"),
        ),
    ]
}

fn restarts(results: &Results) -> Vec<Statement> {
    vec![
        note("A station that started anew knows nothing of the parts before."),
        when(
            var("LinkOk") & station("BootId").differs_from(var("LastBootId")),
            vec![
                when(var("LastBootId").differs_from(number(0)), vec![set("RejectAll", TRUE)]),
                set("LastBootId", station("BootId")),
            ],
        ),
        when(
            var("RejectAll"),
            [
                each("Slot", results.slots, vec![set_element("OpenCycleId", "Slot", number(0))]),
                set("PassPart", FALSE),
                when(
                    var("Pending") | var("TriggerStep").is(number(1)) | var("TriggerStep").is(number(2)),
                    vec![set("MissedPart", TRUE)],
                ),
                set("Pending", FALSE),
                say("Trigger", FALSE),
                when(var("TriggerStep").differs_from(number(0)), vec![set("TriggerStep", number(3))]),
            ]
            .into_iter()
            .chain(results.forget.clone())
            .collect(),
        ),
    ]
}

fn part_timers(results: &Results) -> Vec<Statement> {
    let mut statements = vec![note(
        "Each part has a timer of its own from StartPart on. A slot is free once its timer has seen it empty.",
    )];
    for (slot, timer) in (0..results.slots).zip(PART_TIMERS) {
        let part = || Expression::Element("OpenCycleId", Index::Number(slot));
        statements.push(Statement::Run {
            timer,
            enable: part().differs_from(number(0)),
            preset: Preset::Element("SlotTime", slot),
        });
        statements.push(Statement::Assign(
            Place::Element("SlotFree", Index::Number(slot)),
            part().is(number(0)),
        ));
        statements.push(Statement::Assign(
            Place::Element("SlotExpired", Index::Number(slot)),
            expired(timer),
        ));
    }
    let mut expire = vec![set_element("OpenCycleId", "Slot", number(0))];
    expire.extend(results.expire.clone());
    statements.push(each("Slot", results.slots, vec![when(element("SlotExpired", "Slot"), expire)]));
    statements
}

fn awaited(results: &Results) -> Vec<Statement> {
    let mut late = vec![set("FaultResult", TRUE)];
    late.extend(results.late.clone());
    vec![
        note("Parts whose result is still to come."),
        set("OpenParts", number(0)),
        each(
            "Slot",
            results.slots,
            vec![when(
                element("OpenCycleId", "Slot").differs_from(number(0)) & results.awaited.clone(),
                vec![set("OpenParts", var("OpenParts") + number(1))],
            )],
        ),
        run(
            "T_result",
            var("OpenParts").differs_from(number(0)) & !var("ResultNew"),
            "ResultTime",
        ),
        when(expired("T_result"), late),
    ]
}

fn parts() -> Vec<Statement> {
    vec![
        note("A part arrives. Only one can wait for its trigger; its own timer runs meanwhile."),
        run("T_wait", var("Pending"), "PartTime"),
        when(
            rises("StartPart", "StartBefore"),
            vec![
                when(
                    var("Pending") | !var("Enable"),
                    vec![set("MissedPart", TRUE), set("FaultPart", var("FaultPart") | var("Pending"))],
                )
                .otherwise(vec![
                    set("Pending", TRUE),
                    set("PendingEncoder", var("Encoder")),
                    copy_serial(Place::Variable("PendingSerial"), "Serial"),
                ]),
            ],
        ),
        set("StartBefore", var("StartPart")),
    ]
}

/// The part that is to be triggered is a reject, and its number is free again.
fn give_up(step: u32) -> Vec<Statement> {
    vec![
        set("MissedPart", TRUE),
        set("AckRestart", TRUE),
        when(
            element("OpenCycleId", "TriggerSlot").is(plc("CycleId")),
            vec![set_element("OpenCycleId", "TriggerSlot", number(0))],
        ),
        set("TriggerStep", number(step)),
    ]
}

/// A part is prepared: it gets a slot, its number and its block.
fn prepare(results: &Results) -> Vec<Statement> {
    let mut open = vec![
        set_element("OpenCycleId", "TriggerSlot", var("NextCycleId")),
        say("CycleId", var("NextCycleId")),
        say("Encoder", var("PendingEncoder")),
        copy_serial(Place::Plc("Serial"), "PendingSerial"),
        say("TestPart", var("TestPart")),
        say("CycleIdTail", var("NextCycleId")),
        when(
            expired("T_wait"),
            vec![set_element("SlotTime", "TriggerSlot", Expression::Milliseconds(0))],
        )
        .otherwise(vec![set_element("SlotTime", "TriggerSlot", var("PartTime") - elapsed("T_wait"))]),
        set("Pending", FALSE),
        set("TriggerStep", number(1)),
    ];
    open.extend(results.open.clone());
    vec![
        set("TriggerSlot", number(u32::from(results.slots))),
        each(
            "Slot",
            results.slots,
            vec![when(
                element("SlotFree", "Slot") & element("OpenCycleId", "Slot").is(number(0)),
                vec![set("TriggerSlot", var("Slot"))],
            )],
        ),
        when(var("TriggerSlot").below(number(u32::from(results.slots))), open),
    ]
}

fn triggers(results: &Results) -> Vec<Statement> {
    let answered = station("TriggerAck") | station("MissedTrigger");
    let mut can_prepare = var("Pending") & var("StationAlive") & var("InSession") & plc("Online") & var("UserStep").is(number(0));
    if let Some(condition) = &results.can_trigger {
        can_prepare = can_prepare & condition.clone();
    }
    let raise = vec![
        say("Trigger", TRUE),
        set("StartedCycleId", plc("CycleId")),
        when(
            var("NextCycleId").at_least(number(CycleId::LAST.get())),
            vec![set("NextCycleId", number(1))],
        )
        .otherwise(vec![set("NextCycleId", var("NextCycleId") + number(1))]),
        set("TriggerStep", number(2)),
    ];
    let mut lower = vec![say("Trigger", FALSE)];
    lower.extend(give_up(3));
    let mut unanswered = vec![set("FaultAck", TRUE)];
    unanswered.extend(lower.clone());
    let mut never_ready = vec![set("FaultAck", TRUE)];
    never_ready.extend(give_up(0));
    vec![
        note("CycleId to CycleIdTail first, Trigger at the earliest one scan later; all is held until the answer, then Trigger falls."),
        run(
            "T_ack",
            (var("Pending") | var("TriggerStep").is(number(1)) | var("TriggerStep").is(number(2))) & !var("AckRestart"),
            "AckTime",
        ),
        set("AckRestart", FALSE),
        run("T_clear", var("TriggerStep").is(number(3)), "ClearTime"),
        Statement::Case(
            "TriggerStep",
            vec![
                (
                    0,
                    "idle",
                    vec![
                        when(
                            var("Pending") & expired("T_ack"),
                            vec![
                                set("FaultAck", TRUE),
                                set("MissedPart", TRUE),
                                set("Pending", FALSE),
                                set("AckRestart", TRUE),
                            ],
                        )
                        .or_when(can_prepare, prepare(results)),
                    ],
                ),
                (
                    1,
                    "the block is written",
                    vec![
                        when(
                            expired("T_ack") | element("OpenCycleId", "TriggerSlot").differs_from(plc("CycleId")),
                            never_ready,
                        )
                        .or_when(var("StationAlive") & station("TriggerReady") & !answered.clone(), raise),
                    ],
                ),
                (
                    2,
                    "Trigger is 1",
                    vec![
                        when(
                            station("TriggerAck") & station("EchoTriggerId").is(plc("CycleId")),
                            vec![say("Trigger", FALSE), set("AckRestart", TRUE), set("TriggerStep", number(3))],
                        )
                        .or_when(station("MissedTrigger") & station("EchoTriggerId").is(plc("CycleId")), lower)
                        .or_when(expired("T_ack"), unanswered),
                    ],
                ),
                (
                    3,
                    "Trigger is 0 again: both answers fall",
                    vec![
                        when(!answered, vec![set("TriggerStep", number(0))])
                            .or_when(expired("T_clear"), vec![set("FaultClear", TRUE), set("TriggerStep", number(0))]),
                    ],
                ),
            ],
        ),
    ]
}
