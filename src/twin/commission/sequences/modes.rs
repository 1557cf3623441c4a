//! Recipes, commands, serial numbers, bypass and test parts.

use super::{Script, Sequence};
use crate::line::commands::Command;
use crate::line::config::SerialMode;
use crate::line::error_code::ErrorCode;
use crate::part::{Reason, Verdict};
use crate::twin::commission::step::{Action, Check, Look, Recorded, Terms, Timer, Value, is, is_not};

pub(super) fn all(terms: &Terms) -> Vec<Sequence> {
    vec![
        recipe_change(terms),
        recipe_unknown(terms),
        clear_counters(terms),
        test_run(terms),
        teach(terms),
        clear_results(terms),
        refused_command(terms),
        serial_with_trigger(terms),
        serial_latched(terms),
        bypass(terms),
        test_part(terms),
    ]
}

fn recipe_change(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "recipe_change",
        "Recipe change while a part is open",
        "A part that is open keeps its recipe; the next one has the new one.",
    );
    let (from, to) = (
        terms.recipes.first().copied().unwrap_or(0),
        terms.recipes.get(1).copied().unwrap_or(0),
    );
    script
        .needs_registers()
        .needs_parts()
        .needs(to != 0, "the station has one recipe only");
    script.power_up().open(161);
    script.set("another recipe while the part is open", &[("RecipeNumber", to.into())]);
    script.expect(
        "the recipe is ready",
        Timer::Clear,
        is("RecipeReady", u32::from(to)),
        vec![is("Error", 0)],
    );
    script.expose(161, Look::Good).expect(
        "the open part keeps its recipe",
        Timer::Result,
        is("ResultValid", 1),
        vec![is("EchoCycleId", 161), is("RecipeOfResult", u32::from(from))],
    );
    script.ready().open(162).expose(162, Look::Good).expect(
        "the next part has the new one",
        Timer::Result,
        is("ResultValid", 1),
        vec![is("EchoCycleId", 162), is("RecipeOfResult", u32::from(to))],
    );
    script.set("the first recipe again", &[("RecipeNumber", from.into())]);
    script
        .expect("it is ready", Timer::Clear, is("RecipeReady", u32::from(from)), vec![])
        .done()
}

fn recipe_unknown(terms: &Terms) -> Sequence {
    let unknown = (1..=u16::MAX)
        .rev()
        .find(|number| !terms.recipes.contains(number))
        .unwrap_or(u16::MAX);
    let known = u32::from(terms.recipes.first().copied().unwrap_or(0));
    let code = u32::from(ErrorCode::RecipeUnknown.code());
    let mut script = Script::new(
        terms,
        "recipe_unknown",
        "Unknown recipe",
        "A recipe that the station does not have stops triggers with error 32 and changes nothing; the error passes with its cause.",
    );
    script.power_up();
    script.set("a recipe that there is not", &[("RecipeNumber", unknown.into())]);
    script.expect(
        "the station says so",
        Timer::Clear,
        is("ErrorCode", code),
        vec![is("Error", 1), is("TriggerReady", 0), is("RecipeReady", known)],
    );
    script.trigger(166).missed(166, vec![is("RecipeReady", known)]).release();
    script.set("a recipe that there is", &[("RecipeNumber", known)]);
    script.expect(
        "the error has passed",
        Timer::Clear,
        is("TriggerReady", 1),
        vec![is("Error", 0), is("RecipeReady", known)],
    );
    script.records(&[(166, Verdict::NotDecidable, Some(Reason::Missed))]).done()
}

/// A command, its answer with what else that image says, and the fall of both.
fn command(script: &mut Script<'_>, number: u16, succeeds: bool, with: Vec<Check>) {
    let (answer, other) = if succeeds {
        ("CommandDone", "CommandFailed")
    } else {
        ("CommandFailed", "CommandDone")
    };
    script.set(format!("command {number}"), &[("Command", number.into()), ("ExecuteCommand", 1)]);
    let mut also = vec![is(other, 0), is("CommandExecuting", 0)];
    also.extend(with);
    script.expect_while(
        "it is answered",
        Timer::Command,
        is(answer, 1),
        also,
        vec![is(other, 0), is("Accept", 0)],
    );
    script.lasts("the answer stands until ExecuteCommand falls", vec![is(answer, 1), is(other, 0)]);
    script.set("ExecuteCommand falls", &[("ExecuteCommand", 0)]);
    script.expect("the answer falls", Timer::Clear, is(answer, 0), vec![is(other, 0)]);
}

fn clear_counters(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "command_clear_counters",
        "Command 1, clear counters",
        "The counters begin at 0, and count on from there.",
    );
    script.power_up().part(171, Look::Good);
    let counters = [
        "CountTotal",
        "CountOk",
        "CountNotOk",
        "CountNotDecidable",
        "CountMissed",
        "CountDuplicate",
    ];
    if terms.mode == crate::line::config::ResultMode::Single {
        script.acknowledge(vec![]).set("ResultAck falls", &[("ResultAck", 0)]);
    }
    command(
        &mut script,
        Command::ClearCounters.code(),
        true,
        counters.map(|signal| is(signal, 0)).to_vec(),
    );
    script
        .ready()
        .open(172)
        .expose(172, Look::Good)
        .result_with(172, Look::Good, vec![is("CountTotal", 1)]);
    script.done()
}

fn test_run(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "command_test_run",
        "Command 2, test run",
        "The models prove themselves on their golden images once more, and inspection goes on.",
    );
    script.power_up();
    command(&mut script, Command::TestRun.code(), true, vec![]);
    script.ready().part(176, Look::Good).done()
}

fn teach(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "command_teach",
        "Commands 3 and 4, start and stop teaching",
        "While it is taught the station passes nothing, however good the part is; then inspection goes on.",
    );
    script.needs(!terms.simulated, "the station is simulated");
    script.power_up();
    command(&mut script, Command::StartTeach.code(), true, vec![is("StationMode", 2)]);
    script.ready_for_teaching().open(181).expose(181, Look::Good);
    script.result_with(181, Look::Good, vec![is("Accept", 0), is("StationMode", 2)]);
    script.hold("nothing passes", vec![is("Accept", 0), is("StationMode", 2)]);
    command(&mut script, Command::StopTeach.code(), true, vec![is("StationMode", 1)]);
    script.ready().part(182, Look::Good).done()
}

fn clear_results(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "command_clear_results",
        "Command 5, clear results",
        "The result shown is withdrawn at once, and is not shown again.",
    );
    script.needs_registers().power_up().part(186, Look::Good);
    let gone = || vec![is("ResultValid", 0), is("Verdict", 0), is("Accept", 0)];
    // Accept may be 1 until then: no `command`.
    script.set(
        "command 5",
        &[("Command", Command::ClearResults.code().into()), ("ExecuteCommand", 1)],
    );
    let mut with = gone();
    with.push(is("CommandFailed", 0));
    script.expect("the result is withdrawn", Timer::Command, is("CommandDone", 1), with);
    script.set("ExecuteCommand falls", &[("ExecuteCommand", 0)]);
    script.expect("the answer falls", Timer::Clear, is("CommandDone", 0), gone());
    script.hold("it is not shown again", gone());
    script.records(&[(186, Verdict::Ok, None)]).done()
}

fn refused_command(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "command_refused",
        "Commands that are refused",
        "An unknown command, and one that must wait until no part is open, end with CommandFailed and change nothing.",
    );
    script.needs_parts().power_up();
    command(&mut script, 99, false, vec![is("Error", 0), is("Warning", 1)]);
    script.ready().open(191);
    let mode = if terms.simulated { 4 } else { 1 };
    script.set(
        "command 3",
        &[("Command", Command::StartTeach.code().into()), ("ExecuteCommand", 1)],
    );
    script.expect(
        "it must wait, the part is open",
        Timer::Command,
        is("CommandFailed", 1),
        vec![is("CommandDone", 0), is("StationMode", mode)],
    );
    script.expose(191, Look::Good).result(191, Look::Good);
    script.set("ExecuteCommand falls", &[("ExecuteCommand", 0)]);
    script.expect("the answer falls", Timer::Clear, is("CommandFailed", 0), vec![is("CommandDone", 0)]);
    script.set("ClearError", &[("ClearError", 1)]);
    script.expect(
        "the warning is gone",
        Timer::Clear,
        is_not("ErrorCode", u32::from(ErrorCode::CommandRefused.code())),
        vec![],
    );
    script.done()
}

fn serial_with_trigger(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "serial_with_trigger",
        "Serial number with the trigger",
        "The part's record has the serial number that stood in Serial with its CycleId.",
    );
    script
        .needs_station()
        .needs(terms.serial == SerialMode::WithTrigger, "serial.mode is latched");
    script.power_up();
    script.step("the serial number of the part", Action::Serial("SN-0196"));
    script.open(196).expose(196, Look::Good).result(196, Look::Good);
    script
        .step("its record has it", Action::Records(vec![serial(196, "SN-0196")]))
        .done()
}

fn serial(cycle_id: u32, serial: &'static str) -> Recorded {
    Recorded {
        cycle_id,
        outcome: None,
        serial: Some(serial),
        session_before: false,
    }
}

fn serial_latched(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "serial_latched",
        "Latched serial number",
        "SetUserData latches Serial for the next part that is taken; the part after it inherits nothing.",
    );
    let latched = matches!(terms.serial, SerialMode::Latched { .. });
    script.needs_station().needs(latched, "serial.mode is with_trigger").power_up();
    let numbers = [("CycleId", 201), ("Encoder", 201_000), ("CycleIdTail", 201)];
    script
        .latch("SN-0201")
        .set("the numbers of part 201", &numbers)
        .keep_distance()
        .raise();
    script.taken(201).release().expose(201, Look::Good).result(201, Look::Good);
    let numbers = [("CycleId", 202), ("Encoder", 202_000), ("CycleIdTail", 202)];
    script
        .ready()
        .set("the numbers of part 202, and no serial number", &numbers)
        .keep_distance()
        .raise();
    if terms.serial == (SerialMode::Latched { required: true }) {
        script.missed(202, vec![]).release();
    } else {
        script.taken(202).release().expose(202, Look::Good).result(202, Look::Good);
    }
    script
        .step(
            "their records have it, and have it not",
            Action::Records(vec![serial(201, "SN-0201"), serial(202, "")]),
        )
        .done()
}

fn bypass(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "bypass",
        "Bypass",
        "With Bypass the station inspects and records, but Accept stays 0 and the outcome is NotDecidable(bypass).",
    );
    script.needs_registers().power_up();
    script.set("the PLC bypasses the inspection", &[("Bypass", 1)]);
    script.open(206).expose(206, Look::Good);
    script.expect_while(
        "the part is inspected, and not accepted",
        Timer::Result,
        is("ResultValid", 1),
        vec![
            is("EchoCycleId", 206),
            is("Verdict", 3),
            is("ReasonCode", u32::from(Reason::Bypass.code())),
            is("Accept", 0),
        ],
        vec![is("Accept", 0)],
    );
    script.set("the bypass ends", &[("Bypass", 0)]);
    script.hold("it is not accepted afterwards either", vec![is("Accept", 0), is("Verdict", 3)]);
    script.records(&[(206, Verdict::NotDecidable, Some(Reason::Bypass))]).done()
}

fn test_part(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "test_part",
        "Test part",
        "A test part is inspected and marked, is no part of the counters, and is not accepted.",
    );
    script.needs_registers().power_up();
    script.keep(&[("total", "CountTotal")]);
    script.set("the next part is a test part", &[("TestPart", 1)]);
    script.open(211).expose(211, Look::Good);
    script.result_with(
        211,
        Look::Good,
        vec![is("TestResult", 1), is("Accept", 0), is("CountTotal", Value::Kept("total"))],
    );
    script.set("the parts are real again", &[("TestPart", 0)]);
    script.hold(
        "it is not accepted afterwards either",
        vec![is("Accept", 0), is("CountTotal", Value::Kept("total"))],
    );
    script.ready().open(212).expose(212, Look::Good);
    script
        .result_with(
            212,
            Look::Good,
            vec![is("TestResult", 0), is("CountTotal", Value::After("total", 1))],
        )
        .done()
}

impl Script<'_> {
    /// The station is taught, and takes parts.
    fn ready_for_teaching(&mut self) -> &mut Self {
        self.expect("it takes parts", Timer::Result, is("TriggerReady", 1), vec![is("StationMode", 2)])
    }
}
