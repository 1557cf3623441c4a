//! The rules of the PLC interface, one by one: triggers, results, sessions, errors.

use super::super::error_code::ErrorCode;
use super::super::event::{Event, MissCause, Note, ProviderStanding, RecordsKept};
use super::super::history::{Fingerprint, UsedCycle};
use super::super::image::{PlcImage, StationMode, WINDOW_SLOTS, control};
use super::super::tags::{TagPlan, TagSource};
use super::*;
use crate::part::{ClockQuality, CycleId, Disposition};

fn missed(bench: &Bench) -> Vec<MissCause> {
    let causes = bench.notes.iter().filter_map(|note| match note {
        Note::TriggerMissed { cause, .. } => Some(*cause),
        _ => None,
    });
    causes.collect()
}

// ---- triggers ----

#[test]
fn an_answer_stands_until_trigger_falls() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).pass(500);
    assert_eq!(bench.answer(), (true, false, 1));
    bench.release();
    assert_eq!(bench.answer(), (false, false, 1));
}

#[test]
fn a_trigger_while_another_part_is_open_is_missed_and_never_fires_later() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).release().trigger(2);
    assert_eq!(bench.answer(), (false, true, 2));
    bench.pass(150);
    assert_eq!(bench.answer(), (false, true, 2), "held although the line is free again");
    assert_eq!(bench.image().echo_cycle_id, 1, "a missed part is not put in the result registers");
    bench.release().pass(300);
    assert_eq!(bench.outcome_of(2), undecided(Reason::Missed));
    let counts = bench.image().counts;
    assert_eq!((counts.total, counts.not_decidable, counts.missed), (2, 2, 1));
    assert_eq!(bench.records.len(), 2);
}

#[test]
fn a_torn_trigger_waits_for_its_tail() {
    let mut bench = Bench::single(PLC);
    bench.write(|plc| plc.cycle_id = 5).set(control::TRIGGER);
    assert_eq!(bench.answer(), (false, false, 0));
    assert!(!bench.image().trigger_ready);
    bench.pass(199).write(|plc| plc.cycle_id_tail = 5);
    assert_eq!(bench.answer(), (true, false, 5));
}

#[test]
fn a_torn_trigger_is_missed_after_torn_ms() {
    let mut bench = Bench::single(PLC);
    bench.write(|plc| plc.cycle_id = 5).set(control::TRIGGER);
    bench.pass_nanos(199_999_999);
    assert_eq!(bench.answer(), (false, false, 0));
    bench.pass_nanos(1);
    assert_eq!(bench.answer(), (false, true, 5));
    bench.write(|plc| plc.cycle_id_tail = 5).pass(100);
    assert_eq!(bench.answer(), (false, true, 5), "never fires later");
    assert_eq!(missed(&bench), [MissCause::Torn]);
    bench.release().trigger(5);
    assert_eq!(bench.answer(), (true, false, 5), "its numbers were never taken");
}

#[test]
fn a_torn_trigger_that_ends_otherwise_has_its_record() {
    type End = fn(&mut Bench);
    // The answer stands until Trigger falls or another session begins, not with the link.
    let ends: [(End, bool); 4] = [
        (|bench| _ = bench.release(), false),
        (|bench| _ = bench.event(Event::PlcLost), true),
        (|bench| _ = bench.event(Event::PlcConnected), true),
        (|bench| _ = bench.write(|plc| plc.plc_session = 4), false),
    ];
    for (end, stands) in ends {
        let mut bench = Bench::single(PLC);
        bench.write(|plc| plc.cycle_id = 5).set(control::TRIGGER);
        end(&mut bench);
        assert_eq!(bench.outcomes(), [(5, Verdict::NotDecidable, Some(Reason::Missed))]);
        assert_eq!(
            (
                bench.records[0].plc_session,
                bench.image().trigger_ack,
                bench.image().missed_trigger
            ),
            (3, false, stands)
        );
    }
}

#[test]
fn an_answer_outlives_the_link_until_trigger_falls() {
    let mut bench = Bench::single(PLC);
    bench.trigger(5);
    assert_eq!(bench.answer(), (true, false, 5));
    bench.event(Event::PlcLost);
    assert_eq!(bench.answer(), (true, false, 5));
    bench.event(Event::PlcConnected);
    // Trigger is found to be 1: no edge, and the answer is still there to be read.
    bench.write(|_| ());
    assert_eq!(bench.answer(), (true, false, 5));
    bench.release();
    assert_eq!(bench.answer(), (false, false, 5));
}

#[test]
fn trigger_enable_falling_clears_only_ready_and_the_answers() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK).trigger(2).frame();
    let before = bench.image().clone();
    bench.clear(control::TRIGGER_ENABLE);
    let mut expected = before;
    (expected.trigger_ready, expected.trigger_ack, expected.missed_trigger) = (false, false, false);
    assert_eq!(*bench.image(), expected);
    bench.judge(Outcome::OK);
    assert_eq!(bench.shown(), (true, true, Some(Verdict::Ok), 0), "open parts run to their outcome");
    bench.set(control::TRIGGER_ENABLE);
    assert_eq!(bench.answer(), (false, false, 2));
    assert!(!bench.image().trigger_ready, "Trigger is still 1");
}

#[test]
fn a_miss_while_not_enabled_is_held_until_trigger_falls() {
    let mut bench = Bench::single(PLC);
    bench.clear(control::TRIGGER_ENABLE).trigger(1);
    assert_eq!(bench.answer(), (false, true, 1));
    bench.set(control::GATE_INHIBIT);
    assert_eq!(bench.answer(), (false, true, 1));
    bench.release();
    assert_eq!(bench.answer(), (false, false, 1));
}

#[test]
fn online_falling_lets_open_parts_finish() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).release().frame().clear(control::ONLINE);
    assert!(!bench.image().online && !bench.image().trigger_ready && bench.image().busy);
    bench.judge(Outcome::OK);
    assert!(bench.image().accept && !bench.image().trigger_ready);
    bench.trigger(2);
    assert_eq!(bench.answer(), (false, true, 2));
}

#[test]
fn a_retry_is_acknowledged_without_a_new_acquisition() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).release().trigger(1);
    assert_eq!(bench.answer(), (true, false, 1), "still open");
    bench.release().frame().judge(Outcome::OK);
    let shown = bench.shown();
    bench.trigger(1);
    assert_eq!(bench.answer(), (true, false, 1));
    assert_eq!((bench.image().acquisition_id, bench.shown()), (1, shown), "the outcome stands");
    assert_eq!((bench.opened.len(), bench.records.len()), (1, 1));
    let counts = bench.image().counts;
    assert_eq!((counts.total, counts.duplicate, counts.missed), (1, 2, 0));
}

#[test]
fn a_retry_of_a_missed_trigger_is_missed_and_not_recorded_again() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).release().trigger(2).release().frame().judge(Outcome::OK);
    bench.trigger(2);
    assert_eq!(bench.answer(), (false, true, 2), "an acknowledgement would promise a result");
    assert_eq!(bench.outcome_of(2), undecided(Reason::Missed));
    assert_eq!(bench.image().counts.missed, 1);
}

#[test]
fn any_difference_is_a_reuse_and_voids_the_first_if_not_yet_shown() {
    let changes: [fn(&mut PlcImage); 3] = [|plc| plc.encoder = 9, |plc| plc.serial[0] = b'A', |plc| plc.recipe_number = 1];
    for change in changes {
        let mut bench = Bench::single(PLC);
        bench.trigger(1).release().write(change).trigger(1);
        assert_eq!(bench.answer(), (false, true, 1));
        assert_eq!(bench.error(), ErrorCode::CycleIdReused.code());
        let reasons: Vec<_> = bench.outcomes().into_iter().map(|(_, _, reason)| reason).collect();
        assert_eq!(reasons, [Some(Reason::Missed), Some(Reason::IdReused)]);
        assert!(!bench.image().accept);
    }
}

#[test]
fn a_reuse_after_the_outcome_was_shown_changes_nothing_of_it() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK).write(|plc| plc.encoder = 9).trigger(1);
    assert_eq!(bench.answer(), (false, true, 1));
    assert_eq!(bench.shown(), (true, true, Some(Verdict::Ok), 0));
    assert_eq!(bench.outcomes()[0], (1, Verdict::Ok, None));
}

#[test]
fn cycle_ids_that_are_none_are_missed() {
    for number in [0, 1 << 31, u32::MAX] {
        let mut bench = Bench::single(PLC);
        bench.trigger(number);
        assert_eq!(bench.answer(), (false, true, number));
        assert_eq!((bench.error(), bench.records[0].cycle_id), (ErrorCode::CycleIdZero.code(), None));
        assert!(!bench.image().trigger_ready);
        bench.release().set(control::CLEAR_ERROR);
        assert!(bench.image().trigger_ready && bench.error() == 0);
    }
}

#[test]
fn skipped_numbers_are_recorded_each() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK).trigger(4);
    assert_eq!(bench.answer(), (true, false, 4));
    let never_seen = |id| (id, Verdict::NotDecidable, Some(Reason::NeverSeen));
    assert_eq!(bench.outcomes()[1..], [never_seen(2), never_seen(3)]);
    assert_eq!(bench.records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_thousand_may_be_skipped_and_not_one_more() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK).part(1002, Outcome::OK);
    assert_eq!((bench.records.len(), bench.error()), (1002, 0));
    bench.part(2004, Outcome::OK);
    assert_eq!((bench.records.len(), bench.error()), (1003, ErrorCode::CycleIdJump.code()));
    assert_eq!(bench.outcome_of(2004), Outcome::OK);
}

#[test]
fn without_sequential_nothing_is_skipped() {
    let mut bench = Bench::ready(LineConfig {
        sequential: false,
        ..config(PLC, ResultMode::Single)
    });
    bench.part(1, Outcome::OK).part(500, Outcome::OK).part(20, Outcome::OK);
    assert_eq!((bench.records.len(), bench.error()), (3, 0));
}

#[test]
fn skipped_numbers_of_a_test_part_count_as_production() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK).set(control::TEST_PART).part(3, Outcome::OK);
    assert_eq!(bench.image().counts.total, 2, "the first and the skipped one");
}

#[test]
fn after_the_last_cycle_id_comes_the_first() {
    let mut bench = Bench::single(PLC);
    let last = CycleId::LAST.get();
    bench.part(last - 1, Outcome::OK).part(last, Outcome::OK).part(1, Outcome::OK);
    assert_eq!((bench.outcomes().len(), bench.error()), (3, 0));
    bench.part(last, Outcome::OK);
    assert_eq!(bench.image().counts.duplicate, 1);
}

#[test]
fn numbers_wrap_and_zero_is_none() {
    let mut bench = Bench::new(
        config(PLC, ResultMode::Single),
        Memory {
            next_acquisition: u32::MAX,
            next_result: u32::MAX,
            acquisition_below: 50,
            result_below: 50,
            ..memory()
        },
    );
    bench.come_up();
    bench.part(1, Outcome::OK).part(2, Outcome::OK);
    let ids: Vec<_> = bench
        .records
        .iter()
        .map(|record| (record.acquisition_id, record.result_id))
        .collect();
    assert_eq!(ids, [(u32::MAX, u32::MAX), (1, 1)]);
}

#[test]
fn no_number_is_given_out_that_was_not_granted() {
    let mut bench = Bench::new(
        config(PLC, ResultMode::Window),
        Memory {
            acquisition_below: 100,
            result_below: 3,
            ..memory()
        },
    );
    bench.come_up();
    bench.trigger(1).release().trigger(2).release();
    assert_eq!((bench.line.ids_left(), bench.error()), (0, ErrorCode::NumbersExhausted.code()));
    bench.trigger(3);
    assert_eq!(bench.answer(), (false, true, 3));
    bench.release().pass(150);
    assert!(bench.records.iter().all(|record| record.result_id < 3));
    bench.event(Event::IdsGranted {
        acquisition_below: 100,
        result_below: 100,
    });
    assert!(bench.image().trigger_ready && bench.error() == 0);
}

#[test]
fn another_recipe_is_missed() {
    let mut bench = Bench::single(PLC);
    bench.write(|plc| plc.recipe_number = 2);
    assert_eq!(
        (bench.image().trigger_ready, bench.error(), bench.image().recipe_ready),
        (false, ErrorCode::RecipeUnknown.code(), 1)
    );
    bench.trigger(1);
    assert_eq!(missed(&bench), [MissCause::Recipe]);
    bench.release().write(|plc| plc.recipe_number = 1);
    assert!(bench.image().trigger_ready && bench.error() == 0);
}

#[test]
fn exposure_complete_is_cleared_with_the_acknowledgement_even_if_the_frame_was_first() {
    let mut bench = Bench::single(HARDWARE);
    let edge = bench.now;
    bench.pass(4).frame();
    bench.plc.control |= control::TRIGGER;
    (bench.plc.cycle_id, bench.plc.cycle_id_tail) = (1, 1);
    let image = bench.plc;
    bench.event(Event::PlcWrote {
        at: edge,
        image,
        written: ALL,
    });
    assert!(bench.image().trigger_ack && !bench.image().exposure_complete);
    assert_eq!(bench.line.wake_at(bench.now), bench.now);
    bench.event(Event::Tick);
    assert!(bench.image().trigger_ack && bench.image().exposure_complete);
}

#[test]
fn a_provider_that_is_missing_is_told_before_models_that_are_not_ready() {
    let mut bench = Bench::single(PLC);
    bench.event(Event::ModelsReady(false));
    assert_eq!(bench.error(), ErrorCode::ModelsNotReady.code());
    bench.event(Event::Provider(ProviderStanding::Missing));
    assert_eq!(
        (bench.error(), bench.image().trigger_ready, bench.image().station_mode),
        (ErrorCode::ProviderMissing.code(), false, StationMode::Preoperational)
    );
}

#[test]
fn exposure_complete_also_when_the_part_ends_without_frames() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).release();
    assert!(!bench.image().exposure_complete);
    bench.pass(100);
    assert!(bench.image().exposure_complete && bench.image().deadline_missed);
    assert_eq!(bench.outcome_of(1), undecided(Reason::NoFrame));
}

#[test]
fn what_is_wrong_around_the_line_is_shown_and_only_a_journal_that_takes_nothing_stops_it() {
    let mut bench = Bench::single(PLC);
    for (event, error, goes_on) in [
        (Event::Clock(ClockQuality::Implausible), ErrorCode::ClockNotSet, true),
        (Event::HistorianRefuses(true), ErrorCode::HistorianRefuses, true),
        (Event::RecordsKept(RecordsKept::Barely), ErrorCode::JournalNearlyFull, true),
        (Event::Provider(ProviderStanding::StoodIn), ErrorCode::ProviderStandsIn, true),
        (Event::RecordsKept(RecordsKept::Failing), ErrorCode::JournalFailing, false),
        (Event::RecordsKept(RecordsKept::Full), ErrorCode::JournalFull, false),
    ] {
        bench.event(event);
        assert_eq!((bench.error(), bench.image().trigger_ready), (error.code(), goes_on), "{error:?}");
    }
    bench.event(Event::RecordsKept(RecordsKept::Safely));
    bench.event(Event::HistorianRefuses(false));
    bench.event(Event::Provider(ProviderStanding::AsWanted));
    assert_eq!(bench.error(), ErrorCode::ClockNotSet.code());
    for (quality, synced) in [(ClockQuality::Unsynchronised, false), (ClockQuality::Synchronised, true)] {
        bench.event(Event::Clock(quality));
        let image = bench.image();
        assert_eq!((image.error_code, image.trigger_ready, image.clock_synced), (0, true, synced));
    }
}

// ---- results ----

#[test]
fn the_next_accepted_trigger_clears_the_result_and_a_missed_one_does_not() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK).trigger(0);
    assert_eq!(bench.shown(), (true, true, Some(Verdict::Ok), 0));
    bench.release().set(control::CLEAR_ERROR).trigger(2);
    assert_eq!(bench.shown(), (false, false, None, 0));
}

#[test]
fn accept_falls_after_accept_hold_and_the_result_stays() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK).pass_nanos(999_999_999);
    assert!(bench.image().accept);
    bench.pass_nanos(1);
    assert_eq!(bench.shown(), (true, false, Some(Verdict::Ok), 0));
}

#[test]
fn only_a_fitting_edge_of_result_ack_consumes() {
    let mut bench = Bench::single(PLC);
    bench.set(control::RESULT_ACK).part(1, Outcome::OK).pass(10);
    assert!(bench.image().result_valid, "already 1 when shown is no edge");
    bench.write(|plc| plc.ack_result_id = 1).pass(10);
    assert!(bench.image().result_valid, "a level is no edge");
    bench.clear(control::RESULT_ACK).ack(2);
    assert!(bench.image().result_valid, "another result");
    assert!(bench.notes.contains(&Note::AckIgnored { result_id: 2 }));
    bench.clear(control::RESULT_ACK).ack(1);
    assert_eq!(bench.shown(), (false, false, None, 0));
    bench.clear(control::RESULT_ACK).ack(1);
    assert_eq!(bench.notes.last(), Some(&Note::AckIgnored { result_id: 1 }), "consumed once");
}

#[test]
fn an_acknowledgement_from_before_the_result_was_shown_is_stale() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK);
    let before = bench.now;
    bench.pass(10).part(2, Outcome::OK).pass(10);
    bench.plc.control |= control::RESULT_ACK;
    bench.plc.ack_result_id = 2;
    let image = bench.plc;
    bench.event(Event::PlcWrote {
        at: before,
        image,
        written: ALL,
    });
    assert!(bench.image().result_valid && bench.image().accept);
}

#[test]
fn the_next_result_shows_only_after_result_ack_fell() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK).pass(10).ack(1).part(2, NOT_OK);
    assert_eq!(bench.shown(), (false, false, None, 0));
    assert!(bench.image().busy && !bench.image().trigger_ready);
    bench.pass(50).clear(control::RESULT_ACK);
    assert_eq!(bench.shown(), (true, false, Some(Verdict::NotOk), Reason::Anomaly.code()));
    assert_eq!(bench.image().defect_code, 7);
    bench.pass(10).ack(2).part(3, Outcome::OK).pass(100).clear(control::RESULT_ACK);
    assert_eq!(
        bench.shown(),
        (true, false, Some(Verdict::NotDecidable), Reason::Deadline.code()),
        "too late by then"
    );
}

#[test]
fn with_bypass_accept_stays_0_and_the_finding_is_kept() {
    for mode in [ResultMode::Single, ResultMode::Window] {
        let mut bench = Bench::ready(config(PLC, mode));
        bench.set(control::BYPASS).part(1, Outcome::OK).clear(control::BYPASS);
        assert_eq!(bench.outcome_of(1), undecided(Reason::Bypass));
        assert_eq!(bench.records[0].measured, Some(Outcome::OK));
        assert!(!bench.image().accept && bench.slot_verdict(1) != Some(1));
    }
}

#[test]
fn accept_that_bypass_took_does_not_come_back() {
    for mode in [ResultMode::Single, ResultMode::Window] {
        let mut bench = Bench::ready(config(PLC, mode));
        bench.trigger(1).release().set(control::BYPASS).frame().judge(Outcome::OK).pass(150);
        bench.clear(control::BYPASS).part(2, Outcome::OK);
        assert!(bench.slot_verdict(1) != Some(1));
        bench.set(control::BYPASS).clear(control::BYPASS);
        assert!(!bench.image().accept && bench.slot_verdict(2) != Some(1));
        assert!(bench.images.iter().all(|(_, image)| !(image.accept && image.echo_cycle_id == 1)));
    }
}

#[test]
fn only_mode_auto_accepts() {
    for mode in [ResultMode::Single, ResultMode::Window] {
        let mut bench = Bench::ready(config(PLC, mode));
        bench.part(1, Outcome::OK).event(Event::ModelsReady(false));
        assert_eq!(
            (bench.image().station_mode, bench.error()),
            (StationMode::Preoperational, ErrorCode::ModelsNotReady.code())
        );
        assert!(!bench.image().accept && bench.slot_verdict(1) != Some(1));
        bench.event(Event::ModelsReady(true));
        assert!(!bench.image().accept && bench.slot_verdict(1) != Some(1), "it does not come back");
    }
}

#[test]
fn a_test_part_is_not_counted_and_never_accepted() {
    for mode in [ResultMode::Single, ResultMode::Window] {
        let mut bench = Bench::ready(config(PLC, mode));
        bench.set(control::TEST_PART).part(1, Outcome::OK);
        assert!(!bench.image().accept && bench.slot_verdict(1) != Some(1) && bench.records[0].test_part);
        bench.write(|plc| plc.recipe_number = 9).trigger(2);
        assert_eq!(bench.image().counts, super::super::image::Counts::default(), "a missed one neither");
    }
}

#[test]
fn several_views_are_all_needed() {
    let two = |mode| LineConfig {
        cameras: 2,
        recipes: RecipePlan::all([(1, vec![0, 1, 1])]),
        ..config(PLC, mode)
    };
    for (outcomes, expected) in [
        ([Outcome::OK, Outcome::OK, Outcome::OK], Outcome::OK),
        ([Outcome::OK, undecided(Reason::EngineFailed), NOT_OK], NOT_OK),
        (
            [Outcome::OK, undecided(Reason::EngineFailed), Outcome::OK],
            undecided(Reason::EngineFailed),
        ),
    ] {
        let mut bench = Bench::ready(two(ResultMode::Single));
        bench.trigger(1).release();
        let now = bench.now;
        bench.frame_of(0, Some(1), now);
        assert!(!bench.image().exposure_complete);
        bench.frame_of(1, Some(8), now);
        assert!(bench.image().exposure_complete);
        let jobs: Vec<Job> = bench.jobs.drain(..).collect();
        for (job, outcome) in jobs.iter().zip(outcomes) {
            assert!(!bench.image().result_valid);
            bench.judge_job(*job, outcome);
        }
        assert_eq!(bench.outcome_of(1), expected);
    }
    let mut bench = Bench::ready(two(ResultMode::Single));
    bench.trigger(1).release();
    let now = bench.now;
    bench.frame_of(1, None, now).pass(100);
    assert_eq!(bench.outcome_of(1), undecided(Reason::NoFrame), "the other camera saw nothing");
}

// ---- window mode ----

#[test]
fn a_window_slot_is_found_by_its_result_id_and_falls_after_accept_hold() {
    let mut bench = Bench::window(PLC);
    for id in 1..=5 {
        bench.part(id, if id == 3 { NOT_OK } else { Outcome::OK }).pass(50);
    }
    for (index, slot) in bench.image().window.iter().enumerate().filter(|(_, slot)| slot.cycle_id.is_some()) {
        assert_eq!(slot.result_id as usize % WINDOW_SLOTS, index);
    }
    assert_eq!((1..=5).filter_map(|id| bench.slot_verdict(id)).collect::<Vec<_>>(), [1, 1, 2, 1, 1]);
    assert_eq!(bench.slot(3).unwrap().defect_code, 7);
    assert!(!bench.image().result_valid && !bench.image().accept && !bench.image().inspection_toggle);
    bench.pass(749);
    assert_eq!(bench.slot_verdict(1), Some(1));
    bench.pass(1);
    assert_eq!((bench.slot_verdict(1), bench.slot_verdict(2)), (Some(0), Some(1)));
}

#[test]
fn window_slots_are_cleared_by_a_new_session() {
    let mut bench = Bench::window(PLC);
    bench.part(1, Outcome::OK).trigger(2).release().write(|plc| plc.plc_session = 4);
    assert!(bench.image().window.iter().all(|slot| *slot == WindowSlot::default()));
    assert_eq!(bench.outcome_of(2), undecided(Reason::PlcRestart));
    assert_eq!(bench.image().echo_plc_session, 4);
}

#[test]
fn sixteen_parts_and_the_last_slot_only_within_the_grace() {
    let mut bench = Bench::window(PLC);
    for id in 1..=15 {
        assert!(bench.image().trigger_ready, "{id}");
        bench.part(id, Outcome::OK);
    }
    assert!(!bench.image().trigger_ready);
    bench.pass(20).trigger(16);
    assert_eq!(bench.answer(), (true, false, 16), "it was on its way");
    bench.release().trigger(17);
    assert_eq!(bench.answer(), (false, true, 17), "no slot at all");
    assert!(!bench.image().buffer_overrun);

    let mut bench = Bench::window(PLC);
    (1..=15).for_each(|id| _ = bench.part(id, Outcome::OK));
    bench.pass(21).trigger(16);
    assert_eq!(bench.answer(), (false, true, 16), "after the grace");
    bench.release().pass(979);
    assert!(bench.image().trigger_ready, "the slots ran out");
}

// ---- heartbeat, sessions, restarts ----

#[test]
fn a_silent_plc_is_lost_and_open_parts_finish() {
    let mut bench = Bench::single(PLC);
    bench.plc_silent = true;
    bench.pass(950).trigger(1).release().pass(49);
    assert!(bench.image().error_code == 0);
    bench.pass(1);
    assert_eq!((bench.error(), bench.image().trigger_ready), (ErrorCode::PlcLost.code(), false));
    bench.frame().judge(Outcome::OK);
    assert!(bench.image().accept);
    bench.plc_silent = false;
    bench.pass(100);
    assert_eq!(bench.error(), ErrorCode::PlcLost.code());
    bench.pass(100);
    assert!(bench.image().trigger_ready && bench.error() == 0);
}

#[test]
fn the_stations_heartbeat_changes_every_100_ms_and_wraps() {
    let mut bench = Bench::single(PLC);
    let before = bench.image().heartbeat;
    bench.pass(1000);
    assert_eq!(bench.image().heartbeat, before + 10);
    bench.pass(6_553_600 - 1000);
    assert_eq!(bench.image().heartbeat, before);
}

#[test]
fn levels_found_after_a_connection_or_in_a_new_session_are_no_edges() {
    let starts: [fn(&mut Bench); 2] = [
        |bench| _ = bench.event(Event::PlcLost).event(Event::PlcConnected),
        |bench| bench.plc.plc_session = 4,
    ];
    for start in starts {
        let mut bench = Bench::single(PLC);
        bench.part(1, Outcome::OK).pass(10);
        start(&mut bench);
        bench.write(|plc| {
            (plc.cycle_id, plc.cycle_id_tail, plc.ack_result_id) = (2, 2, 1);
            plc.control |= control::TRIGGER | control::RESULT_ACK;
        });
        let accepted = bench.image().accept;
        bench.pass(50);
        assert_eq!(
            (bench.answer().0, bench.answer().1, bench.image().trigger_ready),
            (false, false, false)
        );
        assert_eq!(bench.image().accept, accepted, "a link loss voids nothing");
        bench.clear(control::TRIGGER | control::RESULT_ACK).trigger(2);
        assert_eq!(bench.answer(), (true, false, 2));
    }
}

#[test]
fn a_new_session_voids_what_is_open_and_what_is_shown() {
    let mut bench = Bench::single(PLC);
    bench.part(1, Outcome::OK).pass(10).ack(1).part(2, Outcome::OK);
    assert!(bench.image().busy, "decided, and held back by ResultAck");
    bench.pass(5).write(|plc| plc.plc_session = 4);
    assert_eq!(bench.outcome_of(2), undecided(Reason::PlcRestart));
    assert_eq!(bench.records[1].measured, Some(Outcome::OK));
    assert_eq!(
        (bench.records[1].plc_session, bench.records[1].result_id, bench.records[1].shown_ns),
        (3, 0, bench.now)
    );
    let image = bench.image();
    assert_eq!((image.echo_cycle_id, image.result_id, image.echo_plc_session), (0, 0, 4));
    assert!(!image.busy && !image.result_valid && !image.accept);
    assert_eq!(bench.notes.last(), Some(&Note::SessionChanged { from: 3, to: 4 }));
    bench.clear(control::RESULT_ACK).part(1, Outcome::OK);
    assert_eq!(
        (bench.image().result_id, bench.image().counts.duplicate),
        (2, 0),
        "cycle IDs are new in a new session"
    );
}

#[test]
fn findings_after_a_session_changed_keep_the_reason() {
    let mut bench = Bench::single(PLC);
    bench
        .trigger(1)
        .release()
        .frame()
        .write(|plc| plc.plc_session = 4)
        .judge(Outcome::OK);
    let late = bench.records.last().unwrap();
    assert!(late.late_findings && late.reason == Some(Reason::PlcRestart) && late.measured == Some(Outcome::OK));
}

#[test]
fn session_0_is_a_plc_that_is_not_initialised() {
    let mut bench = Bench::single(PLC);
    bench.write(|plc| plc.plc_session = 0);
    assert_eq!((bench.image().trigger_ready, bench.image().echo_plc_session), (false, 3));
    bench.trigger(1);
    assert_eq!(bench.answer(), (false, true, 1));
}

#[test]
fn a_retry_after_a_restart_is_known() {
    let history = vec![UsedCycle {
        plc_session: 3,
        cycle_id: CycleId::new(51).unwrap(),
        fingerprint: Fingerprint::new(0, &[0; 32], 0),
        acquisition_id: 11,
    }];
    let mut bench = Bench::new(config(PLC, ResultMode::Single), Memory { history, ..memory() });
    bench.come_up();
    bench.trigger(51);
    assert_eq!(bench.answer(), (true, false, 51));
    assert_eq!(
        (bench.image().acquisition_id, bench.opened.len(), bench.image().counts.duplicate),
        (11, 0, 1)
    );
}

// ---- errors, stopping ----

#[test]
fn an_error_whose_cause_is_there_survives_clear_error() {
    let mut bench = Bench::single(PLC);
    bench.trigger(0).release().event(Event::CameraDown(0));
    assert_eq!(bench.error(), ErrorCode::CameraLost.code(), "the lowest is shown");
    bench.set(control::CLEAR_ERROR);
    assert_eq!((bench.error(), bench.image().error), (ErrorCode::CameraLost.code(), true));
    bench.event(Event::CameraUp(0));
    assert_eq!(
        (bench.error(), bench.image().trigger_ready),
        (0, true),
        "the latched one was cleared"
    );
    let mut codes = bench.notes.iter().filter(|note| matches!(note, Note::ErrorChanged { .. }));
    assert_eq!(codes.next_back(), Some(&Note::ErrorChanged { code: 0 }));
}

#[test]
fn stop_takes_no_parts_and_lets_open_ones_finish() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).release().event(Event::Stop);
    assert!(!bench.image().trigger_ready && !bench.image().online && !bench.line.is_drained());
    bench.frame().judge(Outcome::OK).trigger(2);
    assert!(bench.line.is_drained());
    assert_eq!((bench.outcome_of(1), bench.outcome_of(2)), (Outcome::OK, undecided(Reason::Missed)));
}

#[test]
fn abort_records_open_parts_and_shows_nothing() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).release().frame().event(Event::Abort);
    assert!(bench.line.is_drained() && !bench.image().result_valid);
    assert_eq!((bench.outcome_of(1), bench.records[0].result_id), (undecided(Reason::Shutdown), 0));
}

#[test]
fn serials_are_made_printable() {
    let mut bench = Bench::single(PLC);
    bench
        .write(|plc| plc.serial[..4].copy_from_slice(b"A\x07\xffB"))
        .part(1, Outcome::OK);
    assert_eq!(bench.records[0].serial, "A??B");
    assert!(bench.notes.contains(&Note::SerialUnprintable { cycle_id: CycleId::FIRST }));
}

#[test]
fn tags_are_sampled_with_the_cycle_id() {
    let mut bench = Bench::ready(LineConfig {
        tags: vec![TagPlan {
            name: "tool".into(),
            source: TagSource::U16 { at: 3 },
        }],
        ..config(PLC, ResultMode::Single)
    });
    bench.write(|plc| plc.tags[3] = 7);
    bench.trigger(1);
    bench.write(|plc| plc.tags[3] = 8).frame().judge(Outcome::OK);
    let tags: Vec<(&str, &str)> = bench.records[0]
        .tags
        .iter()
        .map(|tag| (tag.name.as_str(), tag.value.as_str()))
        .collect();
    assert_eq!(tags, [("tool", "7")]);
}

#[test]
fn a_fate_is_told_once_and_what_is_found_is_no_news() {
    let mut bench = Bench::single(PLC);
    let fate = |id, what| move |plc: &mut PlcImage| (plc.disposition_cycle_id, plc.disposition) = (id, what);
    let mut told = Vec::new();
    for write in [(41, 1), (42, 2), (42, 2), (43, 9), (0, 1), (44, 3)] {
        bench.write(fate(write.0, write.1));
        told.extend(
            std::mem::take(&mut bench.last.dispositions)
                .into_iter()
                .map(|(session, id, what)| (session, id.get(), what)),
        );
    }
    assert_eq!(
        told,
        [
            (3, 41, Disposition::Passed),
            (3, 42, Disposition::Rejected),
            (3, 44, Disposition::Removed)
        ]
    );
}

#[test]
fn cycles_that_went_by_without_power_are_told_from_those_of_a_restart() {
    for (power_lost, reason) in [(false, Reason::Restart), (true, Reason::PowerLoss)] {
        let used = UsedCycle {
            plc_session: 3,
            cycle_id: CycleId::new(50).unwrap(),
            fingerprint: Fingerprint::new(0, &[0; 32], 0),
            acquisition_id: 9,
        };
        let mut bench = Bench::new(
            config(PLC, ResultMode::Single),
            Memory {
                power_lost,
                history: vec![used],
                ..memory()
            },
        );
        bench.come_up();
        bench.part(53, Outcome::OK).part(55, Outcome::OK);
        let not_decidable = |reason| (Verdict::NotDecidable, Some(reason));
        let outcomes: Vec<_> = bench
            .records
            .iter()
            .map(|record| (record.cycle_id.unwrap().get(), (record.verdict, record.reason)))
            .collect();
        let expected = [
            (51, not_decidable(reason)),
            (52, not_decidable(reason)),
            (53, (Verdict::Ok, None)),
            (54, not_decidable(Reason::NeverSeen)),
            (55, (Verdict::Ok, None)),
        ];
        assert_eq!(outcomes, expected);
    }
}

#[test]
fn what_is_not_swapped_before_its_deadline_is_late() {
    for mode in [ResultMode::Single, ResultMode::Window] {
        let mut bench = Bench::ready(config(PLC, mode));
        bench.trigger(1).release().frame();
        let job = *bench.jobs.last().unwrap();
        bench.pass(90);
        let event = Event::Inspected {
            part: job.part,
            inspection: job.inspection,
            inspected: inspected(Outcome::OK),
        };
        bench.line.advance(bench.now, event);
        let mut commit = bench.line.commit(bench.now);
        let limit = commit.swap_before().unwrap();
        assert_eq!((commit.decided[0].verdict, bench.line.image().counts.ok), (Verdict::Ok, 1));
        // The thread was held up between the decision and the swap.
        bench.line.overtaken(&mut commit, limit);
        let (record, image) = (&commit.decided[0], bench.line.image());
        let late = Outcome::not_decidable(Reason::Deadline);
        assert_eq!(
            (record.verdict, record.reason, record.measured),
            (late.verdict, late.reason, Some(Outcome::OK))
        );
        assert!(record.shown_ns >= record.deadline_ns && commit.swap_before().is_none());
        assert_eq!((image.counts.total, image.counts.ok, image.counts.not_decidable), (1, 0, 1));
        assert!(!image.accept && image.window.iter().all(|slot| slot.verdict != 1), "{image:?}");
        if mode == ResultMode::Single {
            assert_eq!((image.verdict, image.deadline_missed), (Some(Verdict::NotDecidable), true));
        }
    }
}

// ---- models ----

#[test]
fn a_part_keeps_the_models_of_its_trigger() {
    let mut bench = Bench::window(PLC);
    bench.trigger(1).release();
    bench.event(Event::ModelsExchanged { config_checksum: 0xBEEF });
    assert!(bench.line.needs_models(0xC0DE) && bench.line.needs_models(0xBEEF));
    // Its frame comes after the exchange, and is judged by the models of before all the same.
    bench.frame();
    let first = *bench.jobs.last().unwrap();
    bench.pass(40).trigger(2).release().frame();
    let second = *bench.jobs.last().unwrap();
    assert_eq!((first.config_checksum, second.config_checksum), (0xC0DE, 0xBEEF));
    bench.judge_job(second, Outcome::OK).judge_job(first, NOT_OK);
    let checksum = |cycle: u32| {
        let mut records = bench.records.iter();
        records
            .find(|record| record.cycle_id.is_some_and(|id| id.get() == cycle))
            .map(|record| record.config_checksum)
    };
    assert_eq!((checksum(1), checksum(2)), (Some(0xC0DE), Some(0xBEEF)));
    assert!(!bench.line.needs_models(0xC0DE), "nobody waits for them any more");
}

#[test]
fn models_are_needed_until_the_last_findings_are_in() {
    let mut bench = Bench::window(PLC);
    bench.trigger(1).release().frame();
    bench.event(Event::ModelsExchanged { config_checksum: 0xBEEF }).pass(150);
    assert_eq!(bench.outcome_of(1), undecided(Reason::Deadline));
    assert!(bench.line.needs_models(0xC0DE), "the engine still works on it");
    bench.judge(Outcome::OK);
    assert!(!bench.line.needs_models(0xC0DE));
    let late = bench.records.last().unwrap();
    assert!(late.late_findings && late.config_checksum == 0xC0DE);
}
