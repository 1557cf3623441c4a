//! Commands, serial numbers given beforehand, modes, and parts that are not let in because they would be late.

use super::super::commands::Command;
use super::super::config::SerialMode;
use super::super::error_code::ErrorCode;
use super::super::event::{Event, MissCause, Note, Withheld};
use super::super::image::{Counts, StationMode, control};
use super::*;

impl Bench {
    fn execute(&mut self, number: u16) -> &mut Self {
        self.write(|plc| plc.command = number).set(control::EXECUTE_COMMAND)
    }

    fn done(&self) -> (bool, bool, bool) {
        let image = self.image();
        (image.command_executing, image.command_done, image.command_failed)
    }

    fn finish(&mut self, command: Command, succeeded: bool) -> &mut Self {
        self.event(Event::CommandFinished { command, succeeded })
    }
}

#[test]
fn counters_begin_again_and_nothing_is_lost() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK).pass(20).part(2, NOT_OK).pass(20);
    bench.execute(1);
    assert_eq!(bench.done(), (false, true, false));
    assert_eq!(bench.image().counts, Counts::default());
    assert_eq!(bench.line.counts().total, 2, "what is recorded stays counted");
    bench.pass(50);
    assert_eq!(bench.done(), (false, true, false), "held until ExecuteCommand falls");
    bench.clear(control::EXECUTE_COMMAND);
    assert_eq!(bench.done(), (false, false, false));
    bench.part(3, NOT_OK);
    assert_eq!((bench.image().counts.total, bench.image().counts.not_ok), (1, 1));
    let again = Line::new(
        config(PLC, ResultMode::Single),
        Memory {
            counts: bench.line.counts(),
            counts_base: bench.line.counts_base(),
            ..memory()
        },
        bench.now,
    );
    assert_eq!(again.image().counts, bench.image().counts, "after a restart too");
}

#[test]
fn clear_results_takes_back_what_is_shown_and_what_waits() {
    let mut bench = Bench::buffered();
    bench
        .part(1, Outcome::OK)
        .pass(5)
        .part(2, Outcome::OK)
        .pass(5)
        .part(3, NOT_OK)
        .pass(5)
        .trigger(4)
        .release()
        .frame();
    bench.execute(5);
    assert_eq!(bench.done(), (false, true, false));
    assert!(!bench.image().result_valid && !bench.image().accept && bench.image().busy);
    assert_eq!(bench.image().remaining_buffers, 7);
    assert_eq!(bench.outcome_of(2), undecided(Reason::Cleared));
    assert_eq!(bench.outcome_of(3), undecided(Reason::Cleared));
    bench.judge(Outcome::OK);
    assert_eq!(bench.shown(), (true, true, Some(Verdict::Ok), 0));
    assert_eq!(bench.image().echo_cycle_id, 4);

    let mut window = Bench::window(PLC);
    window.part(1, Outcome::OK).pass(5);
    assert_eq!(window.slot_verdict(1), Some(1));
    window.execute(5);
    assert_eq!(window.slot_verdict(1), None);
}

#[test]
fn a_test_run_stops_the_line_while_it_runs_and_for_good_if_it_fails() {
    let mut bench = Bench::single(PLC);
    bench.execute(2);
    assert_eq!(bench.last.command, Some(Command::TestRun));
    assert_eq!(bench.done(), (true, false, false));
    assert_eq!(bench.image().station_mode, StationMode::TestRun);
    assert!(!bench.image().trigger_ready);
    bench.trigger(1).release();
    assert_eq!(bench.outcome_of(1), undecided(Reason::Missed));
    bench.finish(Command::TestRun, true);
    assert_eq!(bench.done(), (false, true, false));
    assert!(bench.image().trigger_ready && bench.image().station_mode == StationMode::Auto);
    bench.clear(control::EXECUTE_COMMAND).execute(2).finish(Command::TestRun, false);
    assert_eq!(bench.done(), (false, false, true));
    assert_eq!(bench.error(), ErrorCode::TestRunFailed.code());
    assert!(!bench.image().trigger_ready);
    bench.set(control::CLEAR_ERROR);
    assert_eq!(bench.error(), ErrorCode::TestRunFailed.code(), "the models are no better for it");
    bench.clear(control::EXECUTE_COMMAND).execute(2).finish(Command::TestRun, true);
    assert_eq!((bench.error(), bench.image().trigger_ready), (0, true));
}

#[test]
fn what_is_taught_is_not_passed_and_not_counted() {
    let mut bench = Bench::single(PLC);
    bench.execute(3).finish(Command::StartTeach, true).clear(control::EXECUTE_COMMAND);
    assert_eq!(bench.image().station_mode, StationMode::Teach);
    bench.part(1, Outcome::OK);
    assert_eq!(bench.shown(), (true, false, Some(Verdict::Ok), 0));
    assert!(bench.image().test_result);
    assert_eq!(bench.image().counts, Counts::default());
    bench.execute(3);
    assert_eq!(bench.done(), (false, false, true), "it is taught already");
    bench.clear(control::EXECUTE_COMMAND).execute(4);
    assert_eq!(bench.done(), (true, false, false));
    bench.clear(control::EXECUTE_COMMAND);
    assert_eq!(bench.done(), (true, false, false), "the work goes on");
    bench.finish(Command::StopTeach, true);
    assert_eq!(
        (bench.done(), bench.image().station_mode),
        ((false, false, false), StationMode::Auto)
    );
    bench.part(2, Outcome::OK);
    assert!(bench.image().accept);
    bench.execute(3).finish(Command::StartTeach, false);
    assert_eq!(
        (bench.done(), bench.image().station_mode),
        ((false, false, true), StationMode::Auto)
    );
}

#[test]
fn commands_that_are_unknown_or_come_at_a_wrong_time_fail() {
    let mut bench = Bench::single(PLC);
    for number in [0, 6, u16::MAX, 4] {
        bench.execute(number);
        assert_eq!(bench.done(), (false, false, true), "{number}");
        assert!(bench.notes.contains(&Note::CommandRefused { number }));
        assert!(bench.image().warning && bench.error() == ErrorCode::CommandRefused.code());
        bench
            .clear(control::EXECUTE_COMMAND)
            .set(control::CLEAR_ERROR)
            .clear(control::CLEAR_ERROR);
        assert!(!bench.image().warning);
    }
    bench.trigger(1).release();
    bench.execute(2);
    assert_eq!(bench.done(), (false, false, true), "a part is open");
    bench.clear(control::EXECUTE_COMMAND).frame().judge(Outcome::OK).execute(2);
    bench.clear(control::EXECUTE_COMMAND).execute(1);
    assert_eq!(bench.done(), (true, false, false), "one at a time");
    bench.finish(Command::TestRun, true);
    assert_eq!(
        bench.done(),
        (false, false, false),
        "its question was withdrawn, the other one refused"
    );
}

#[test]
fn an_execute_command_that_is_found_is_no_edge() {
    let mut bench = Bench::single(PLC);
    bench.event(Event::PlcLost).event(Event::PlcConnected);
    bench.plc.command = 1;
    bench.set(control::EXECUTE_COMMAND);
    assert_eq!(bench.done(), (false, false, false));
    bench.clear(control::EXECUTE_COMMAND).execute(1);
    assert_eq!(bench.done(), (false, true, false));
}

fn latched(required: bool) -> LineConfig {
    LineConfig {
        serial: SerialMode::Latched { required },
        ..config(PLC, ResultMode::Single)
    }
}

fn named(text: &str) -> [u8; 32] {
    let mut serial = [0; 32];
    serial[..text.len()].copy_from_slice(text.as_bytes());
    serial
}

#[test]
fn a_latched_serial_belongs_to_the_next_part_taken_and_to_no_other() {
    let mut bench = Bench::ready(latched(true));
    bench.trigger(1).release();
    assert_eq!(bench.answer().2, 1);
    let cause = MissCause::SerialMissing;
    assert!(bench.notes.contains(&Note::TriggerMissed { cycle_id: 1, cause }));

    bench.write(|plc| plc.serial = named("A-1")).set(control::SET_USER_DATA);
    assert!(bench.image().user_data_ack);
    bench.write(|plc| plc.serial = named("later")).clear(control::SET_USER_DATA);
    assert!(!bench.image().user_data_ack);
    bench.part(2, Outcome::OK).pass(10);
    assert_eq!(bench.records.last().unwrap().serial, "A-1");
    // The same trigger again: the number is gone, the part is the same.
    bench.trigger(2);
    assert_eq!(bench.answer(), (true, false, 2));
    assert!(bench.notes.contains(&Note::TriggerRepeated {
        cycle_id: crate::part::CycleId::new(2).unwrap()
    }));
    bench.release().trigger(3);
    assert_eq!(bench.answer(), (false, true, 3), "never inherited");

    bench
        .release()
        .trigger(4)
        .write(|plc| plc.serial = named("B"))
        .set(control::SET_USER_DATA);
    assert!(!bench.image().user_data_ack, "only while Trigger is 0");
}

#[test]
fn a_serial_latched_anew_tells_another_part_from_a_repeated_trigger() {
    let latch = |bench: &mut Bench, serial: &str| {
        bench.write(|plc| plc.serial = named(serial)).set(control::SET_USER_DATA);
        bench.clear(control::SET_USER_DATA);
    };
    let mut bench = Bench::ready(latched(true));
    latch(&mut bench, "A");
    bench.part(41, Outcome::OK).pass(10);
    // The PLC is not sure: it says everything again. The serial belongs to this part, not to the next.
    latch(&mut bench, "A");
    bench.trigger(41);
    assert_eq!(bench.answer(), (true, false, 41));
    bench.release().trigger(42);
    assert_eq!(bench.answer(), (false, true, 42), "it has no serial");
    bench.release();
    // Another part under the number of the first: nobody has looked at it.
    latch(&mut bench, "B");
    bench.trigger(41);
    assert_eq!(bench.answer(), (false, true, 41));
    assert_eq!(bench.error(), ErrorCode::CycleIdReused.code());
}

#[test]
fn a_latch_answered_before_a_link_was_lost_is_no_answer_after_it() {
    let mut bench = Bench::ready(latched(true));
    bench.write(|plc| plc.serial = named("A")).set(control::SET_USER_DATA);
    assert!(bench.image().user_data_ack);
    bench.event(Event::PlcLost);
    assert!(!bench.image().user_data_ack);
    bench.event(Event::PlcConnected);
    assert!(!bench.image().user_data_ack);
}

#[test]
fn without_a_latch_the_serial_is_empty_or_comes_with_the_trigger() {
    let mut bench = Bench::ready(latched(false));
    bench.write(|plc| plc.serial = named("unlatched")).part(1, Outcome::OK);
    assert_eq!(bench.records.last().unwrap().serial, "");
    bench.pass(10).set(control::SET_USER_DATA);
    assert!(bench.image().user_data_ack);
    bench.write(|plc| plc.plc_session = 4);
    assert!(!bench.image().user_data_ack, "another session");
    bench.clear(control::SET_USER_DATA).pass(10).part(2, Outcome::OK);
    assert_eq!(bench.records.last().unwrap().serial, "");

    let mut bench = Bench::single(PLC);
    bench.write(|plc| plc.serial = named("with it")).set(control::SET_USER_DATA);
    assert!(!bench.image().user_data_ack);
    bench.part(1, Outcome::OK);
    assert_eq!(bench.records.last().unwrap().serial, "with it");
}

#[test]
fn a_simulated_station_passes_nothing_and_says_so() {
    let mut bench = Bench::ready(LineConfig {
        simulated: true,
        ..config(PLC, ResultMode::Single)
    });
    assert!(bench.image().simulated && bench.image().station_mode == StationMode::Simulated);
    bench.part(1, Outcome::OK);
    assert_eq!(bench.shown(), (true, false, Some(Verdict::Ok), 0));
}

/// An engine that takes 60 of 100 ms: one part at a time is all there is time for.
#[test]
fn trigger_ready_drops_before_a_deadline_would_be_missed() {
    let mut bench = Bench::window(PLC);
    let slow = |bench: &mut Bench| {
        let job = *bench.jobs.last().unwrap();
        let mut seen = inspected(Outcome::OK);
        (seen.infer_us, seen.preprocess_us, seen.postprocess_us) = (60_000, 0, 0);
        bench.event(Event::Inspected {
            part: job.part,
            inspection: job.inspection,
            inspected: seen,
        });
    };
    for cycle_id in 1..=8 {
        bench.trigger(cycle_id).release();
        assert!(bench.image().trigger_ready, "nothing is known yet");
        bench.frame().pass(60);
        slow(&mut bench);
    }
    bench.pass(2000).trigger(9).release();
    assert!(!bench.image().trigger_ready, "two would take 120 ms");
    assert!(bench.image().held_for_deadline && !bench.image().held_for_slot);
    let expected = ms(120);
    let cause = Withheld::Admission { expected };
    assert!(bench.notes.contains(&Note::Withheld { cause }));
    bench.frame().pass(10).trigger(10).release();
    assert_eq!(bench.answer().2, 10);
    assert!(
        !bench.notes.iter().any(|note| matches!(note, Note::TriggerMissed { .. })),
        "an edge on its way is taken"
    );
    bench.pass(30).trigger(11).release();
    let cause = MissCause::Admission;
    assert!(bench.notes.contains(&Note::TriggerMissed { cycle_id: 11, cause }));
    bench.pass(100);
    assert!(bench.image().trigger_ready, "a part that is alone is let in");
    assert!(!bench.image().held_for_deadline);
}
