//! Results one by one, as single and buffered mode show them: the one in the result registers is taken, decided upon and acknowledged.

use super::handshake::Results;
use super::slots;
use super::syntax::{
    Expression, FALSE, Statement, TRUE, each, element, expired, note, number, plc, run, say, set, set_element, station, var, when,
};
use crate::line::config::ResultMode;
use crate::part::Verdict;

/// Parts that the block follows: as many as the station has result buffers, and the one whose `PassPart` stands.
const SLOTS: u16 = slots(ResultMode::Single);

/// The number of no slot.
const NO_SLOT: u32 = SLOTS as u32;

pub(super) fn results() -> Results {
    let forget = vec![
        set("PartSlot", number(NO_SLOT)),
        say("ResultAck", FALSE),
        set("ResultStep", number(0)),
    ];
    Results {
        slots: SLOTS,
        begin: vec![set("ResultStep", number(0))],
        forget,
        expire: vec![when(var("Slot").is(var("PartSlot")), vec![set("PartSlot", number(NO_SLOT))])],
        take: take(),
        open: Vec::new(),
        can_trigger: None,
        buffer_enable: var("BufferEnable"),
        awaited: var("Slot").differs_from(var("PartSlot")),
        late: Vec::new(),
    }
}

/// Section 1 of the interface: the part may pass only if all of this holds, in one copy of what the station says.
fn pass_rule() -> Expression {
    var("StationAlive")
        & station("ResultValid")
        & station("Accept")
        & station("Verdict").is(number(u32::from(Verdict::Ok.code())))
        & station("EchoCycleId").is(element("OpenCycleId", "PartSlot"))
        & station("ResultId").is(station("ResultIdTail"))
        & !element("SlotExpired", "PartSlot")
}

fn take() -> Vec<Statement> {
    let whole = station("ResultValid") & station("ResultId").is(station("ResultIdTail"));
    let decide = vec![
        set("LastResultId", station("ResultId")),
        set("ResultNew", TRUE),
        set("ResultVerdict", station("Verdict")),
        set("ResultReason", station("ReasonCode")),
        set("ResultDefect", station("DefectCode")),
        set("PartCycleId", station("EchoCycleId")),
        note("The part before leaves its slot; this one is found by its number, or passes not."),
        when(
            var("PartSlot").below(number(NO_SLOT)),
            vec![set_element("OpenCycleId", "PartSlot", number(0))],
        ),
        set("PartSlot", number(NO_SLOT)),
        each(
            "Slot",
            SLOTS,
            vec![when(
                element("OpenCycleId", "Slot").is(station("EchoCycleId")) & station("EchoCycleId").differs_from(number(0)),
                vec![set("PartSlot", var("Slot"))],
            )],
        ),
        set("PassPart", FALSE),
        when(var("PartSlot").below(number(NO_SLOT)), vec![set("PassPart", pass_rule())]),
        say("AckResultId", station("ResultId")),
        say("ResultAck", TRUE),
        set("ResultStep", number(1)),
    ];
    vec![
        note("A result is taken once, from one whole copy, and acknowledged. PassPart stands until the part's timer runs out."),
        run("T_release", var("ResultStep").is(number(1)), "ClearTime"),
        when(
            !var("StationAlive") | !var("InSession") | var("PartSlot").at_least(number(NO_SLOT)),
            vec![set("PassPart", FALSE)],
        ),
        Statement::Case(
            "ResultStep",
            vec![
                (
                    0,
                    "waiting",
                    vec![when(
                        var("StationAlive") & var("InSession") & whole & station("ResultId").differs_from(var("LastResultId")),
                        decide,
                    )],
                ),
                (
                    1,
                    "ResultAck is 1: the station takes the result back",
                    vec![
                        when(
                            !station("ResultValid") | station("ResultId").differs_from(plc("AckResultId")),
                            vec![say("ResultAck", FALSE), set("ResultStep", number(0))],
                        )
                        .or_when(
                            expired("T_release"),
                            vec![set("FaultClear", TRUE), say("ResultAck", FALSE), set("ResultStep", number(0))],
                        ),
                    ],
                ),
            ],
        ),
    ]
}
