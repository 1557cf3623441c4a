//! Results side by side, as window mode shows them: each part's is looked for by the part's number among the sixteen. Nothing is acknowledged.
//!
//! The window is a reading of its own (Modbus gives at most 125 registers at once), so it may be older than the rest of what the station says. A
//! slot left from before must never pass a part of now: the window counts once its heartbeat has changed twice within this session, a part is
//! triggered only while the window holds nothing under its number, and the window's BootId must be the station's. A copy that was torn on its way
//! into the PLC shows a mixture in one scan: a result is taken once two scans read it alike.

use super::handshake::{BEATS, Results};
use super::slots;
use super::syntax::{
    Expression, FALSE, Statement, TRUE, each, element, expired, note, number, run, set, set_element, station, var, when, window,
    window_slot,
};
use crate::line::config::ResultMode;
use crate::line::image::WINDOW_SLOTS;
use crate::part::Verdict;

/// Parts that the block follows: as many as the station shows.
const SLOTS: u16 = slots(ResultMode::Window);

/// Slots of the window.
const WINDOW: u16 = WINDOW_SLOTS as u16;

pub(super) fn results() -> Results {
    let close = vec![when(
        !element("SlotTaken", "Slot"),
        vec![set_element("OpenCycleId", "Slot", number(0))],
    )];
    Results {
        slots: SLOTS,
        begin: vec![set("WindowSeen", FALSE), set("WindowChanges", number(0))],
        forget: Vec::new(),
        expire: Vec::new(),
        take: [alive(), look(), decide()].concat(),
        open: vec![
            set_element("SeenResultId", "TriggerSlot", number(0)),
            set_element("SlotTaken", "TriggerSlot", FALSE),
            set_element("SlotPasses", "TriggerSlot", FALSE),
        ],
        can_trigger: Some(var("NumberFree")),
        buffer_enable: FALSE,
        awaited: !element("SlotTaken", "Slot"),
        late: vec![each("Slot", SLOTS, close)],
    }
}

fn alive() -> Vec<Statement> {
    vec![
        note(
            "The window is read apart from the rest: it counts after two changes of its heartbeat in this session, while it is of the station's start.",
        ),
        set(
            "WindowChanged",
            var("LinkOk") & var("WindowSeen") & window("Heartbeat").differs_from(var("LastWindowBeat")),
        ),
        run("T_window", var("WindowSeen") & !var("WindowChanged"), "AliveTime"),
        when(
            var("WindowChanged") & var("WindowChanges").below(number(BEATS)),
            vec![set("WindowChanges", var("WindowChanges") + number(1))],
        ),
        when(expired("T_window") | !var("InSession"), vec![set("WindowChanges", number(0))]),
        when(
            var("LinkOk"),
            vec![set("LastWindowBeat", window("Heartbeat")), set("WindowSeen", TRUE)],
        ),
        set(
            "WindowAlive",
            var("StationAlive") & var("InSession") & var("WindowChanges").at_least(number(BEATS)) & window("BootId").is(station("BootId")),
        ),
        set("NumberFree", var("WindowAlive")),
        each(
            "Look",
            WINDOW,
            vec![when(
                window_slot("Look", "CycleId").is(var("NextCycleId")),
                vec![set("NumberFree", FALSE)],
            )],
        ),
    ]
}

/// Section 4 of the interface: a part may pass only if its own slot says so, in a window that is alive, before its own timer runs out.
fn pass_rule() -> Expression {
    window_slot("Found", "Verdict").is(number(u32::from(Verdict::Ok.code()))) & !element("SlotExpired", "Slot")
}

/// Looks for the result of every part that waits for one.
fn look() -> Vec<Statement> {
    let waits = var("WindowAlive") & element("OpenCycleId", "Slot").differs_from(number(0)) & !element("SlotTaken", "Slot");
    let found = each(
        "Look",
        WINDOW,
        vec![when(
            window_slot("Look", "CycleId").is(element("OpenCycleId", "Slot")),
            vec![set("Found", var("Look"))],
        )],
    );
    let seen_alike = element("SeenResultId", "Slot").is(window_slot("Found", "ResultId"))
        & element("SeenVerdict", "Slot").is(window_slot("Found", "Verdict"));
    let take = vec![
        set_element("SlotTaken", "Slot", TRUE),
        set_element("SlotPasses", "Slot", pass_rule()),
        set("ResultNew", TRUE),
        set("PartCycleId", element("OpenCycleId", "Slot")),
        set("ResultVerdict", window_slot("Found", "Verdict")),
        set("ResultDefect", window_slot("Found", "DefectCode")),
    ];
    let remember = vec![
        set_element("SeenResultId", "Slot", window_slot("Found", "ResultId")),
        set_element("SeenVerdict", "Slot", window_slot("Found", "Verdict")),
    ];
    vec![
        note("A part's result is looked for by its number, and taken once two scans read it alike. One is given out per scan."),
        each(
            "Slot",
            SLOTS,
            vec![
                set("Found", number(u32::from(WINDOW))),
                when(waits, vec![found]),
                when(
                    var("Found").at_least(number(u32::from(WINDOW))),
                    vec![set_element("SeenResultId", "Slot", number(0))],
                )
                .or_when(!seen_alike.clone(), remember)
                .or_when(!var("ResultNew"), take),
            ],
        ),
    ]
}

fn decide() -> Vec<Statement> {
    let passes = var("WindowAlive")
        & element("OpenCycleId", "Slot").is(var("GateCycleId"))
        & element("SlotPasses", "Slot")
        & !element("SlotExpired", "Slot");
    vec![
        note("The part at the gate passes if its own result said so."),
        set("PassPart", FALSE),
        when(
            var("GateCycleId").differs_from(number(0)),
            vec![each("Slot", SLOTS, vec![when(passes, vec![set("PassPart", TRUE)])])],
        ),
    ]
}
