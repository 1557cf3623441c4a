//! The four sequences of the PLC interface, line by line. P is a write of the PLC, S an image of the station.

use super::super::error_code::ErrorCode;
use super::super::event::{Event, MissCause, Note};
use super::super::history::{Fingerprint, UsedCycle};
use super::super::image::{Counts, control};
use super::*;
use crate::part::CycleId;

#[test]
fn normal_single_mode_cycle_41() {
    let mut bench = Bench::single(PLC);
    let toggle = bench.image().inspection_toggle;
    let image = bench.image();
    assert!(image.trigger_ready && !image.trigger_ack && !image.result_valid && !image.accept);
    assert_eq!(image.verdict, None);

    bench.write(|plc| (plc.cycle_id, plc.cycle_id_tail) = (41, 41));
    bench.pass(5).set(control::TRIGGER);
    let image = bench.image();
    assert_eq!((image.echo_trigger_id, image.acquisition_id), (41, 1));
    assert!(!image.exposure_complete && image.trigger_ack && !image.trigger_ready && image.busy && !image.accept);
    assert_eq!(bench.opened.len(), 1, "the ledger opened the cycle before it was acknowledged");

    bench.pass(10).release();
    assert!(!bench.image().trigger_ack && !bench.image().trigger_ready);

    bench.frame();
    assert!(bench.image().exposure_complete && !bench.image().result_valid);

    bench.pass(20).judge(Outcome::OK);
    let image = bench.image();
    assert_eq!((image.echo_cycle_id, image.result_id, image.verdict), (41, 1, Some(Verdict::Ok)));
    assert!(image.result_valid && image.accept && image.inspection_toggle != toggle && !image.busy && image.trigger_ready);
    assert_eq!((image.recipe_of_result, image.config_checksum, image.reason_code), (1, 0xC0DE, 0));

    bench.pass(10).ack(1);
    assert_eq!(bench.shown(), (false, false, None, 0));

    bench.clear(control::RESULT_ACK).pass(2000);
    assert_eq!(bench.images.iter().filter(|(_, image)| image.accept).count(), 1);
    assert_eq!(bench.outcomes(), [(41, Verdict::Ok, None)]);
    assert_eq!(
        bench.image().counts,
        Counts {
            total: 1,
            ok: 1,
            ..Counts::default()
        }
    );
}

#[test]
fn late_engine_cycle_42() {
    let mut bench = Bench::single(PLC);
    let toggle = bench.image().inspection_toggle;
    bench.trigger(42).release().pass(3).frame();
    bench.pass_nanos(96_999_999);
    assert!(!bench.image().result_valid, "one nanosecond before the deadline");
    bench.pass_nanos(1);
    let image = bench.image();
    assert_eq!((image.echo_cycle_id, image.result_id), (42, 1));
    assert_eq!(bench.shown(), (true, false, Some(Verdict::NotDecidable), Reason::Deadline.code()));
    assert!(image.deadline_missed && image.inspection_toggle != toggle);

    let shown = image.clone();
    bench.pass(30).judge(Outcome::OK);
    let mut now = bench.image().clone();
    now.heartbeat = shown.heartbeat;
    assert_eq!(now, shown, "no register changes");
    let late = bench.records.last().unwrap();
    assert!(late.late_findings && late.measured == Some(Outcome::OK) && late.reason == Some(Reason::Deadline));
    assert_eq!(bench.outcomes(), [(42, Verdict::NotDecidable, Some(Reason::Deadline))]);
}

#[test]
fn decided_at_99_9_but_shown_at_100_is_late() {
    let mut bench = Bench::single(PLC);
    bench.trigger(42).release().frame().pass_nanos(99_900_000);
    let job = bench.jobs[0];
    let (part, inspection) = (job.part, job.inspection);
    let inspected = inspected(Outcome::OK);
    bench.line.advance(
        bench.now,
        Event::Inspected {
            part,
            inspection,
            inspected,
        },
    );
    bench.now = bench.now + Duration::from_micros(100);
    bench.commit();
    assert_eq!(bench.shown(), (true, false, Some(Verdict::NotDecidable), Reason::Deadline.code()));
    assert_eq!(bench.outcome_of(42), undecided(Reason::Deadline));
    assert_eq!(bench.records[0].measured, Some(Outcome::OK));
}

#[test]
fn buffered_late_ack() {
    let mut bench = Bench::buffered();
    let remaining = |bench: &Bench| bench.image().remaining_buffers;
    assert_eq!(remaining(&bench), 8);
    bench.trigger(1).release().frame();
    let a = *bench.jobs.last().unwrap();
    assert_eq!(remaining(&bench), 7);
    bench.pass(30).judge_job(a, Outcome::OK);
    assert_eq!(bench.shown(), (true, true, Some(Verdict::Ok), 0));
    assert_eq!((bench.image().echo_cycle_id, remaining(&bench)), (1, 7));
    let toggle = bench.image().inspection_toggle;
    bench.pass(20).trigger(2).release().frame();
    let b = *bench.jobs.last().unwrap();
    assert_eq!(remaining(&bench), 6);
    assert_eq!(bench.image().echo_cycle_id, 1, "a trigger never touches the result shown");
    assert!(bench.image().accept);
    bench.pass(30).judge_job(b, Outcome::OK);
    assert!(!bench.image().busy, "it waits to be read");
    bench.pass(20).trigger(3).release().frame();
    let c = *bench.jobs.last().unwrap();
    assert_eq!(remaining(&bench), 5);
    bench.pass(40).judge_job(c, NOT_OK);
    bench.pass(60);
    assert_eq!(
        (bench.image().echo_cycle_id, bench.image().inspection_toggle, remaining(&bench)),
        (1, toggle, 5)
    );

    bench.ack(1);
    assert_eq!((bench.shown().0, bench.image().accept, remaining(&bench)), (false, false, 6));
    bench.pass(20);
    assert!(!bench.image().result_valid, "nothing shows while ResultAck is 1");
    bench.clear(control::RESULT_ACK);
    assert_eq!(bench.image().echo_cycle_id, 2);
    assert_eq!(bench.shown(), (true, false, Some(Verdict::NotDecidable), Reason::NotRead.code()));
    assert!(bench.image().inspection_toggle != toggle && !bench.image().deadline_missed);
    bench.pass(10).ack(2).pass(10).clear(control::RESULT_ACK);
    assert_eq!(bench.image().echo_cycle_id, 3);
    assert_eq!(bench.shown(), (true, false, Some(Verdict::NotOk), Reason::Anomaly.code()));
    assert_eq!((bench.image().defect_code, remaining(&bench)), (7, 7));
    bench.pass(10).ack(3);
    assert_eq!(remaining(&bench), 8);
    let b = bench
        .records
        .iter()
        .find(|record| record.cycle_id.is_some_and(|id| id.get() == 2))
        .unwrap();
    assert_eq!(b.measured, Some(Outcome::OK));
    assert_eq!(
        bench
            .images
            .iter()
            .filter(|(_, image)| image.accept)
            .map(|(_, image)| image.echo_cycle_id)
            .max(),
        Some(1)
    );
}

#[test]
fn buffered_without_any_ack() {
    let mut bench = Bench::buffered();
    for cycle_id in 1..=8 {
        assert!(bench.image().trigger_ready, "{cycle_id}");
        bench.part(cycle_id, Outcome::OK).pass(30);
    }
    assert!(!bench.image().trigger_ready && !bench.image().buffer_overrun);
    assert_eq!(bench.image().remaining_buffers, 0);
    bench.trigger(9);
    assert_eq!(bench.answer(), (false, true, 9));
    assert_eq!(bench.outcome_of(9), undecided(Reason::Missed));
    assert!(!bench.image().buffer_overrun);
    bench.release();
    for result_id in 1..=8 {
        assert_eq!(bench.image().echo_cycle_id, result_id);
        bench.pass(1).ack(9).clear(control::RESULT_ACK);
        assert_eq!(bench.image().result_id, result_id, "a wrong AckResultId consumes nothing");
        bench.pass(1).ack(result_id).clear(control::RESULT_ACK);
    }
    assert!(bench.image().trigger_ready && bench.image().remaining_buffers == 8);
    assert_eq!(bench.outcome_of(1), Outcome::OK);
    (2..=5).for_each(|cycle_id| assert_eq!(bench.outcome_of(cycle_id), undecided(Reason::NotRead), "{cycle_id}"));
}

#[test]
fn buffered_keeps_a_slot_for_an_edge_on_its_way() {
    let mut bench = Bench::buffered();
    for cycle_id in 1..=8 {
        bench.part(cycle_id, NOT_OK).pass(1);
    }
    assert!(!bench.image().trigger_ready);
    bench.part(9, NOT_OK);
    assert_eq!(bench.image().remaining_buffers, 0);
    bench.pass(1).trigger(10);
    assert_eq!(bench.answer(), (false, true, 10), "one slot is kept, not two");
    bench.release().pass(500);
    for cycle_id in 1..=9 {
        assert_eq!(
            (bench.image().echo_cycle_id, bench.image().verdict),
            (cycle_id, Some(Verdict::NotOk))
        );
        bench.pass(1).ack(cycle_id).clear(control::RESULT_ACK);
    }
}

#[test]
fn an_ack_that_stands_already_is_no_edge_in_buffered_mode() {
    let mut bench = Bench::buffered();
    bench.write(|plc| {
        plc.ack_result_id = 1;
        plc.control |= control::RESULT_ACK;
    });
    bench.pass(10).part(1, Outcome::OK).pass(10);
    assert_eq!(bench.shown(), (true, true, Some(Verdict::Ok), 0));
    bench.clear(control::RESULT_ACK).pass(1).ack(1);
    assert!(!bench.image().result_valid);
}

#[test]
fn the_result_mode_changes_only_while_online_rises_and_nothing_is_left_to_read() {
    let mut bench = Bench::single(PLC);
    bench.set(control::BUFFER_ENABLE).part(1, Outcome::OK).pass(10);
    assert_eq!(bench.image().remaining_buffers, 1, "the mode is fixed while Online");
    bench.trigger(2).release().frame().clear(control::ONLINE).set(control::ONLINE);
    assert!(!bench.image().trigger_ready, "a part of the mode before is open");
    bench.judge(Outcome::OK).pass(100);
    assert!(bench.image().trigger_ready && bench.image().remaining_buffers == 7);
    bench
        .part(3, NOT_OK)
        .clear(control::BUFFER_ENABLE | control::ONLINE)
        .set(control::ONLINE);
    assert_eq!(bench.image().echo_cycle_id, 2);
    assert!(!bench.image().trigger_ready);
    bench.pass(1).ack(2).clear(control::RESULT_ACK).pass(100);
    assert_eq!((bench.image().echo_cycle_id, bench.image().remaining_buffers), (3, 1));
    assert!(bench.image().trigger_ready);
}

#[test]
fn buffered_mode_is_refused_where_results_are_in_windows() {
    let mut bench = Bench::new(config(PLC, ResultMode::Window), memory());
    bench.event(Event::ModelsReady(true)).event(Event::PlcConnected);
    bench.write(|_| {});
    bench
        .set(control::TRIGGER_ENABLE | control::BUFFER_ENABLE | control::ONLINE)
        .pass(200);
    assert_eq!(bench.error(), ErrorCode::BufferedUnavailable.code());
    assert!(bench.image().error && !bench.image().trigger_ready);
    bench.trigger(1);
    assert_eq!(bench.answer(), (false, true, 1));
    bench.release().clear(control::BUFFER_ENABLE | control::ONLINE).set(control::ONLINE);
    assert!(bench.image().trigger_ready && bench.error() == 0);
}

#[test]
fn kill_9_with_51_open_and_52_triggered_while_down() {
    // The black box held 51 opened without an outcome: it is recorded NotDecidable(restart), and counted.
    let counts = Counts {
        total: 11,
        ok: 10,
        not_decidable: 1,
        ..Counts::default()
    };
    let memory = Memory {
        boot_id: 8,
        next_sequence: 12,
        next_acquisition: 1000,
        next_result: 2000,
        counts,
        history: vec![UsedCycle {
            plc_session: 3,
            cycle_id: CycleId::new(51).unwrap(),
            fingerprint: Fingerprint::new(0, &[0; 32], 0),
            acquisition_id: 11,
        }],
        ..memory()
    };
    let mut bench = Bench::new(config(PLC, ResultMode::Single), memory);
    let image = bench.image();
    assert_eq!(
        (image.boot_id, image.echo_cycle_id, image.verdict, image.echo_plc_session),
        (8, 0, None, 3)
    );
    assert!(!image.result_valid && !image.accept && !image.trigger_ack && !image.missed_trigger);
    assert!(!image.inspection_toggle && !image.trigger_ready && !image.busy);
    assert_eq!(image.counts, counts);

    let ready = control::ONLINE | control::TRIGGER_ENABLE;
    bench.event(Event::PlcConnected).write(|plc| {
        (plc.cycle_id, plc.cycle_id_tail) = (52, 52);
        plc.control = ready | control::TRIGGER | control::RESULT_ACK;
    });
    bench.pass(300);
    assert_eq!(bench.answer(), (false, false, 0), "a Trigger still 1 is no edge");
    assert!(!bench.image().trigger_ready);
    bench.release();
    assert!(!bench.image().trigger_ready, "ResultAck is still 1");
    bench.clear(control::RESULT_ACK);
    assert!(!bench.image().trigger_ready, "the models are not proven yet");
    bench.event(Event::ModelsReady(true));
    assert!(bench.image().trigger_ready);

    bench.trigger(53);
    assert_eq!(bench.answer(), (true, false, 53));
    assert_eq!((bench.image().acquisition_id, bench.image().counts.total), (1000, 12));
    bench.release().frame().judge(Outcome::OK);
    assert_eq!(
        bench.outcomes(),
        [(52, Verdict::NotDecidable, Some(Reason::Restart)), (53, Verdict::Ok, None)]
    );
    let passed: Vec<u32> = bench
        .images
        .iter()
        .filter(|(_, image)| image.accept)
        .map(|(_, image)| image.echo_cycle_id)
        .collect();
    assert_eq!(passed, [53], "no image after the restart passes a part triggered before it");
    assert_eq!(bench.image().result_id, 2000);
}

#[test]
fn after_a_restart_two_heartbeat_changes_are_needed() {
    let mut bench = Bench::new(config(PLC, ResultMode::Single), memory());
    bench.event(Event::ModelsReady(true)).event(Event::PlcConnected);
    bench.write(|plc| plc.control = control::ONLINE | control::TRIGGER_ENABLE);
    bench.write(|plc| plc.heartbeat = u16::MAX);
    assert!(!bench.image().trigger_ready, "one change");
    bench.trigger(1);
    assert_eq!(bench.answer(), (false, true, 1));
    let cause = MissCause::NotEnabled;
    assert!(bench.notes.contains(&Note::TriggerMissed { cycle_id: 1, cause }));
    bench.release().write(|plc| plc.heartbeat = 0);
    assert!(bench.image().trigger_ready, "two changes, over the end of the numbers");
}
