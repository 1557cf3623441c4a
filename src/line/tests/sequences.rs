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
fn buffered_mode_is_refused() {
    let mut bench = Bench::new(config(PLC, ResultMode::Single), memory());
    bench.event(Event::ModelsReady(true)).event(Event::PlcConnected);
    bench.write(|_| {});
    bench
        .set(control::TRIGGER_ENABLE | control::BUFFER_ENABLE | control::ONLINE)
        .pass(200);
    assert_eq!(bench.error(), ErrorCode::BufferedUnavailable.code());
    assert!(bench.image().error && !bench.image().trigger_ready);
    bench.trigger(1);
    assert_eq!(bench.answer(), (false, true, 1));
    assert_eq!(bench.outcome_of(1), undecided(Reason::Missed));

    bench.release().clear(control::BUFFER_ENABLE);
    assert_eq!(
        bench.error(),
        ErrorCode::BufferedUnavailable.code(),
        "the mode is fixed while Online"
    );
    bench.clear(control::ONLINE).set(control::ONLINE);
    assert!(bench.image().trigger_ready && bench.error() == 0);
    bench.set(control::BUFFER_ENABLE);
    assert!(bench.image().trigger_ready, "sampled at the rising edge of Online only");
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
