//! What goes on beside the parts, scan by scan: serial numbers that are latched, commands, and what is said all the time.

use super::handshake::{Results, copy_serial, rises};
use super::syntax::{Expression, FALSE, Place, Statement, TRUE, expired, note, number, plc, run, say, set, station, var, when};

pub(super) fn serial() -> Vec<Statement> {
    let latch = vec![copy_serial(Place::Plc("Serial"), "Serial"), set("UserStep", number(1))];
    vec![
        note("Serial mode latched: the number is latched before the part is triggered."),
        run("T_user", var("UserStep").at_least(number(2)), "UserTime"),
        when(rises("LatchSerial", "LatchBefore"), vec![set("SerialLatched", FALSE)]),
        Statement::Case(
            "UserStep",
            vec![
                (
                    0,
                    "idle",
                    vec![when(
                        rises("LatchSerial", "LatchBefore") & (var("TriggerStep").is(number(0)) | var("TriggerStep").is(number(3))),
                        latch,
                    )],
                ),
                (1, "Serial is written", vec![say("SetUserData", TRUE), set("UserStep", number(2))]),
                (
                    2,
                    "SetUserData is 1",
                    vec![
                        when(
                            station("UserDataAck"),
                            vec![set("SerialLatched", TRUE), say("SetUserData", FALSE), set("UserStep", number(3))],
                        )
                        .or_when(
                            expired("T_user"),
                            vec![set("FaultUser", TRUE), say("SetUserData", FALSE), set("UserStep", number(3))],
                        ),
                    ],
                ),
                (
                    3,
                    "SetUserData is 0 again",
                    vec![when(!station("UserDataAck") | expired("T_user"), vec![set("UserStep", number(0))])],
                ),
            ],
        ),
        set("LatchBefore", var("LatchSerial")),
    ]
}

pub(super) fn commands() -> Vec<Statement> {
    let start = vec![
        set("CommandDone", FALSE),
        set("CommandFailed", FALSE),
        set("CommandBusy", TRUE),
        say("Command", var("Command")),
        set("CommandStep", number(1)),
    ];
    let end = |done: bool, failed: bool| {
        vec![
            set("CommandDone", Expression::Bool(done)),
            set("CommandFailed", Expression::Bool(failed)),
            say("ExecuteCommand", FALSE),
            set("CommandStep", number(3)),
        ]
    };
    let mut timed_out = vec![set("FaultCommand", TRUE)];
    timed_out.extend(end(false, true));
    vec![
        note("One command at a time: Command first, ExecuteCommand one scan later, held until it is done or has failed."),
        run("T_cmd", var("CommandStep").is(number(2)), "CommandTime"),
        Statement::Case(
            "CommandStep",
            vec![
                (
                    0,
                    "idle",
                    vec![when(rises("ExecuteCommand", "ExecuteBefore") & var("InSession"), start)],
                ),
                (
                    1,
                    "Command is written",
                    vec![say("ExecuteCommand", TRUE), set("CommandStep", number(2))],
                ),
                (
                    2,
                    "ExecuteCommand is 1",
                    vec![
                        when(station("CommandDone"), end(true, false))
                            .or_when(station("CommandFailed"), end(false, true))
                            .or_when(expired("T_cmd"), timed_out),
                    ],
                ),
                (
                    3,
                    "ExecuteCommand is 0 again",
                    vec![when(
                        !station("CommandDone") & !station("CommandFailed"),
                        vec![set("CommandBusy", FALSE), set("CommandStep", number(0))],
                    )],
                ),
            ],
        ),
        set("ExecuteBefore", var("ExecuteCommand")),
    ]
}

pub(super) fn levels(results: &Results) -> Vec<Statement> {
    let mut ready = var("StationAlive")
        & var("InSession")
        & station("TriggerReady")
        & !var("RecipeBusy")
        & !var("Pending")
        & var("TriggerStep").is(number(0))
        & var("UserStep").is(number(0));
    if let Some(condition) = &results.can_trigger {
        ready = ready & condition.clone();
    }
    let is_held = var("TriggerStep").is(number(1)) | var("TriggerStep").is(number(2));
    vec![
        note("What is said all the time. The recipe changes between two triggers, the result mode while offline."),
        when(!plc("Online"), vec![say("BufferEnable", results.buffer_enable.clone())]),
        say("Online", var("Enable") & var("Initialised") & !var("NewSession")),
        say("TriggerEnable", plc("Online")),
        when(!is_held.clone(), vec![say("RecipeNumber", var("RecipeNumber"))]),
        say("Bypass", var("Bypass")),
        say("GateInhibit", var("GateInhibit")),
        say("ClearError", var("ClearError")),
        say("DispositionCycleId", var("DispositionCycleId")),
        say("Disposition", var("Disposition")),
        set(
            "RecipeBusy",
            var("RecipeNumber").differs_from(number(0)) & station("RecipeReady").differs_from(var("RecipeNumber")),
        ),
        set("StopLine", station("StopRequest")),
        set("Ready", ready),
        set(
            "MayMove",
            var("StationAlive") & station("ExposureComplete") & !var("Pending") & !is_held,
        ),
    ]
}
