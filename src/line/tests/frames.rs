//! Which frame shows which part: for each trigger source what is certain, and that nothing else is judged.

use super::super::error_code::ErrorCode;
use super::super::event::{Event, Note};
use super::super::image::control;
use super::*;

/// Triggers a part whose edge was `ago` milliseconds before now.
fn trigger_ago(bench: &mut Bench, cycle_id: u32, ago: u64) {
    (bench.plc.cycle_id, bench.plc.cycle_id_tail) = (cycle_id, cycle_id);
    bench.plc.control |= control::TRIGGER;
    let (at, image) = (bench.now.before(ms(ago)), bench.plc);
    bench.event(Event::PlcWrote { at, image, written: ALL });
    bench.release();
}

/// A frame exposed `ago` milliseconds before now.
fn frame_ago(bench: &mut Bench, counter: u64, ago: u64) {
    let exposed_at = bench.now.before(ms(ago));
    bench.frame_of(0, Some(counter), exposed_at);
}

/// The cycle IDs that were given frames to judge, with the frames.
fn judged(bench: &Bench) -> Vec<(u32, u64)> {
    let cycle = |job: &Job| {
        bench
            .opened
            .iter()
            .find(|opened| opened.part == job.part)
            .unwrap()
            .cycle_id
            .unwrap()
            .get()
    };
    bench.jobs.iter().map(|job| (cycle(job), job.frame.0)).collect()
}

const UNCERTAIN: Outcome = Outcome::not_decidable(Reason::Correlation);

// ---- source plc ----

#[test]
fn late_frame_of_the_previous_part_is_not_taken_for_this_one() {
    for source in [PLC, HARDWARE] {
        let mut bench = Bench::window(source);
        bench.trigger(1).release().pass(50).trigger(2).release().pass(5);
        frame_ago(&mut bench, 1, 52);
        assert_eq!(judged(&bench), [(1, 0)]);
        frame_ago(&mut bench, 2, 1);
        assert_eq!(judged(&bench), [(1, 0), (2, 1)]);
    }
}

#[test]
fn a_frame_that_either_of_two_waiting_parts_may_have_caused_is_judged_for_neither() {
    let mut bench = Bench::window(PLC);
    bench.trigger(1).release().pass(20).trigger(2).release().pass(3).frame();
    assert_eq!((bench.outcome_of(1), bench.outcome_of(2)), (UNCERTAIN, UNCERTAIN));
    assert_eq!((judged(&bench), bench.last.released.len()), (vec![], 1));
}

#[test]
fn a_frame_exposed_before_the_edge_or_after_the_window_is_not_the_parts() {
    let mut bench = Bench::single(PLC);
    bench.frame().pass(5).trigger(1).release().pass(61).frame().pass(50);
    assert_eq!((judged(&bench), bench.outcome_of(1)), (vec![], undecided(Reason::NoFrame)));
}

#[test]
fn a_frame_that_comes_twice_is_taken_once() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).release().pass(3);
    frame_ago(&mut bench, 5, 0);
    frame_ago(&mut bench, 5, 0);
    assert_eq!(judged(&bench), [(1, 0)]);
    assert_eq!(bench.notes.last(), Some(&Note::FrameRepeated { camera: 0 }));
    let exposed = bench.now;
    bench.pass(1).frame_of(0, None, exposed).frame_of(0, None, exposed);
    assert_eq!(
        bench.notes.last(),
        Some(&Note::FrameRepeated { camera: 0 }),
        "by its time, without a number"
    );
}

#[test]
fn a_frame_after_the_outcome_is_late() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).release().pass(100);
    frame_ago(&mut bench, 1, 97);
    assert_eq!((judged(&bench), bench.notes.last()), (vec![], Some(&Note::FrameLate { camera: 0 })));
}

#[test]
fn missing_frames_are_counted() {
    let mut bench = Bench::single(PLC);
    for counter in [1, 4, u64::MAX, 0] {
        frame_ago(&mut bench, counter, 0);
        bench.pass(1);
    }
    let lost: Vec<u64> = bench
        .notes
        .iter()
        .filter_map(|note| {
            if let Note::FramesLost { count, .. } = note {
                Some(*count)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(lost, [2, u64::MAX - 5]);
}

#[test]
fn a_frame_exposed_after_a_missed_part_came_is_not_taken_for_the_part_before_it() {
    let mut bench = Bench::single(PLC);
    bench.trigger(1).release().pass(20).trigger(2).release().pass(3).frame();
    assert_eq!((bench.outcome_of(1), bench.outcome_of(2)), (UNCERTAIN, undecided(Reason::Missed)));
    bench.pass(10).part(3, Outcome::OK);
    assert_eq!(
        bench.outcome_of(3),
        Outcome::OK,
        "the missed one does not stand in the way of the next"
    );
}

#[test]
fn the_frame_of_a_part_that_was_voided_is_not_taken_for_the_next() {
    let mut bench = Bench::window(PLC);
    bench
        .trigger(1)
        .release()
        .write(|plc| plc.plc_session = 4)
        .trigger(1)
        .release()
        .pass(4);
    bench.frame();
    assert_eq!(
        (judged(&bench), bench.outcomes().last()),
        (vec![], Some(&(1, Verdict::NotDecidable, Some(Reason::Correlation))))
    );
}

// ---- source hardware ----

#[test]
fn one_armed_part_and_one_exposure_belong_together() {
    let mut bench = Bench::single(HARDWARE);
    bench.trigger(1).release().pass(20).frame();
    assert_eq!(judged(&bench), [(1, 0)]);
    let deadline = bench.now + ms(100);
    assert_eq!(bench.jobs[0].deadline, deadline, "from the exposure");
    bench.pass(20).judge(Outcome::OK);
    assert!(bench.image().accept);
}

#[test]
fn nothing_is_shown_while_a_second_exposure_may_turn_up() {
    let mut bench = Bench::single(HARDWARE);
    bench.trigger(1).release().pass(7);
    frame_ago(&mut bench, 1, 2);
    bench.judge(Outcome::OK).pass(24);
    assert!(
        !bench.image().result_valid,
        "the window is over after 30 ms, and a frame takes 2 ms"
    );
    bench.pass(1);
    assert!(bench.image().accept);
}

#[test]
fn a_ghost_exposure_before_the_part_arrived_is_not_judged_for_it() {
    let mut bench = Bench::single(HARDWARE);
    bench.trigger(1).release().pass(5);
    frame_ago(&mut bench, 1, 0);
    bench.pass(5).judge(Outcome::OK).pass(10);
    frame_ago(&mut bench, 2, 0);
    assert_eq!(bench.outcome_of(1), UNCERTAIN);
    assert!(bench.images.iter().all(|(_, image)| !image.accept));
}

#[test]
fn two_armed_parts_and_one_exposure_are_both_uncertain() {
    let mut bench = Bench::window(HARDWARE);
    bench.trigger(1).release().pass(10).trigger(2).release().pass(10).frame();
    assert_eq!((bench.outcome_of(1), bench.outcome_of(2)), (UNCERTAIN, UNCERTAIN));
}

#[test]
fn a_missed_part_takes_part_in_the_doubt() {
    let mut bench = Bench::single(HARDWARE);
    bench.trigger(1).release().pass(10).trigger(2).release().pass(10).frame();
    assert_eq!((bench.outcome_of(1), bench.outcome_of(2)), (UNCERTAIN, undecided(Reason::Missed)));
}

#[test]
fn a_gap_in_the_cameras_numbers_makes_the_parts_around_it_uncertain() {
    let mut bench = Bench::window(HARDWARE);
    bench.trigger(1).release().pass(5);
    frame_ago(&mut bench, 1, 0);
    bench.pass(40).judge(Outcome::OK);
    bench.trigger(2).release().pass(45).trigger(3).release().pass(5);
    frame_ago(&mut bench, 3, 0);
    assert_eq!((bench.outcome_of(2), bench.outcome_of(3)), (UNCERTAIN, UNCERTAIN));
    assert_eq!(bench.outcome_of(1), Outcome::OK, "it was over");
    bench.pass(45).trigger(4).release().pass(5);
    frame_ago(&mut bench, 4, 0);
    bench.judge(Outcome::OK).pass(40);
    assert_eq!(bench.outcome_of(4), Outcome::OK);
}

#[test]
fn swapped_frames_are_uncertain() {
    let mut bench = Bench::window(HARDWARE);
    bench.trigger(1).release().pass(5);
    frame_ago(&mut bench, 1, 0);
    bench.pass(40).judge(Outcome::OK);
    bench.trigger(2).release().pass(45).trigger(3).release().pass(5);
    frame_ago(&mut bench, 3, 0);
    frame_ago(&mut bench, 2, 45);
    assert_eq!((bench.outcome_of(2), bench.outcome_of(3)), (UNCERTAIN, UNCERTAIN));
}

#[test]
fn a_frame_may_overtake_its_trigger() {
    let mut bench = Bench::single(HARDWARE);
    frame_ago(&mut bench, 1, 1);
    trigger_ago(&mut bench, 1, 3);
    assert_eq!(judged(&bench), [(1, 0)]);
}

#[test]
fn a_frame_that_was_given_away_is_doubted_when_a_slow_trigger_claims_it_too() {
    let mut bench = Bench::window(HARDWARE);
    bench.trigger(1).release().pass(10);
    frame_ago(&mut bench, 1, 0);
    bench.judge(Outcome::OK);
    trigger_ago(&mut bench, 2, 4);
    assert_eq!(bench.outcome_of(1), UNCERTAIN);
    bench.pass(140);
    assert_ne!(bench.outcome_of(2), Outcome::OK);
}

#[test]
fn a_frame_without_a_trigger_stops_a_line_whose_gate_cannot_tell_parts_apart() {
    let mut bench = Bench::ready(LineConfig {
        gate_sees_parts: false,
        ..config(HARDWARE, ResultMode::Single)
    });
    bench.frame().pass(30);
    assert_eq!((bench.error(), bench.image().error), (ErrorCode::PartUnannounced.code(), true));
    assert!(!bench.image().trigger_ready);
    bench.set(control::CLEAR_ERROR);
    assert_eq!((bench.error(), bench.image().trigger_ready), (0, true));
}

#[test]
fn a_frame_without_a_trigger_is_a_part_that_nobody_announced() {
    let mut bench = Bench::single(HARDWARE);
    bench.frame().pass(29);
    assert_eq!(bench.error(), 0);
    bench.pass(1);
    assert_eq!(
        (bench.error(), bench.image().warning, bench.image().error),
        (ErrorCode::FrameWithoutTrigger.code(), true, false)
    );
    assert!(bench.image().trigger_ready, "a warning runs on");
    bench.set(control::CLEAR_ERROR);
    assert_eq!(bench.error(), 0);
}

#[test]
fn numbers_mean_nothing_after_the_camera_was_away() {
    let mut bench = Bench::single(HARDWARE);
    frame_ago(&mut bench, 900, 0);
    bench
        .event(Event::CameraDown(0))
        .event(Event::CameraUp(0))
        .trigger(1)
        .release()
        .pass(5);
    frame_ago(&mut bench, 0, 0);
    bench.judge(Outcome::OK).pass(40);
    assert_eq!(bench.outcome_of(1), Outcome::OK);
}

// ---- free run ----

#[test]
fn the_frame_nearest_to_the_edge_is_taken() {
    for (before, after, nearest) in [(4, 6, 0), (6, 4, 1)] {
        let mut bench = Bench::single(FREE_RUN);
        frame_ago(&mut bench, 1, 0);
        bench.pass(before).trigger(1).release();
        assert_eq!(judged(&bench), [], "the next one may be nearer");
        bench.pass(after);
        frame_ago(&mut bench, 2, 0);
        assert_eq!(judged(&bench), [(1, nearest)]);
    }
}

#[test]
fn a_frame_on_its_way_while_the_window_ends_is_still_the_nearest() {
    let mut bench = Bench::single(FREE_RUN);
    frame_ago(&mut bench, 1, 0);
    bench.pass(10).trigger(1).release().pass(40);
    frame_ago(&mut bench, 2, 38);
    assert_eq!(judged(&bench), [(1, 1)]);
}

#[test]
fn a_frame_nearest_to_two_parts_is_judged_for_neither() {
    let mut bench = Bench::window(FREE_RUN);
    bench.trigger(1).release().pass(4).trigger(2).release().pass(2).frame();
    assert_eq!((bench.outcome_of(1), bench.outcome_of(2)), (UNCERTAIN, UNCERTAIN));
}

#[test]
fn where_a_frame_is_missing_the_nearest_is_not_known() {
    let mut bench = Bench::single(FREE_RUN);
    frame_ago(&mut bench, 1, 0);
    bench.pass(10).trigger(1).release().pass(10);
    frame_ago(&mut bench, 3, 0);
    assert_eq!(bench.outcome_of(1), UNCERTAIN);
}

#[test]
fn the_frame_of_a_part_that_was_shown_is_not_given_to_the_next() {
    let mut bench = Bench::window(FREE_RUN);
    bench.trigger(1).release().pass(1);
    frame_ago(&mut bench, 1, 0);
    bench.judge(Outcome::OK).pass(9).trigger(2).release().pass(30);
    frame_ago(&mut bench, 2, 1);
    assert_eq!(
        (judged(&bench), bench.outcome_of(1), bench.outcome_of(2)),
        (vec![(1, 0)], Outcome::OK, UNCERTAIN)
    );
}
