//! What the station's own gate and the alarms do to the image.

use super::super::error_code::ErrorCode;
use super::super::gate::GateEvent;
use super::*;
use crate::gate::alarms::AlarmLimits;
use crate::gate::{Fate, Grade, PartId, RejectCause, Report};
use crate::part::{CycleId, Disposition};

fn report(report: Report) -> Event {
    Event::Gate(GateEvent::Report(report))
}

fn fate(cycle_id: u32, fate: Fate) -> Event {
    let cycle_id = CycleId::new(cycle_id).unwrap();
    let id = PartId { plc_session: 3, cycle_id };
    report(Report::Fate { id, fate, gate: Some(0) })
}

fn with_alarms(limits: AlarmLimits) -> Bench {
    let mut bench = Bench::single(PLC);
    bench.line = bench.line.clone().with_alarms(limits);
    bench
}

fn clear_error(bench: &mut Bench) {
    bench.set(control::CLEAR_ERROR).clear(control::CLEAR_ERROR);
}

#[test]
fn rejects_in_a_row_ask_the_line_to_stop_until_somebody_clears_it() {
    let mut bench = with_alarms(AlarmLimits {
        consecutive_rejects: Some(2),
        ..AlarmLimits::default()
    });
    bench.part(1, NOT_OK);
    assert!(!bench.image().stop_request);
    bench.part(2, NOT_OK);
    assert!(bench.image().stop_request && bench.image().warning && bench.image().trigger_ready);
    assert_eq!(bench.error(), ErrorCode::ConsecutiveRejects.code());
    bench.part(3, Outcome::OK);
    assert!(bench.image().stop_request, "held");
    clear_error(&mut bench);
    assert!(!bench.image().stop_request);
    bench.part(4, NOT_OK);
    assert!(!bench.image().stop_request, "counted anew");
}

#[test]
fn an_ok_that_was_written_too_late_counts_in_a_row_of_rejects() {
    let mut bench = with_alarms(AlarmLimits {
        consecutive_rejects: Some(2),
        ..AlarmLimits::default()
    });
    bench.part(1, NOT_OK).part(2, Outcome::OK);
    assert!(!bench.image().stop_request);
    let mut record = bench.records.last().unwrap().clone();
    bench.line.make_late(&mut record, bench.now);
    bench.event(Event::Tick);
    assert!(bench.image().stop_request);
    assert_eq!(bench.error(), ErrorCode::ConsecutiveRejects.code());
}

#[test]
fn what_was_not_ejected_stops_line_and_triggers() {
    let mut bench = Bench::single(PLC);
    bench.event(report(Report::NotEjected { gate: 0, id: None }));
    assert!(bench.image().stop_request && bench.image().error && !bench.image().trigger_ready);
    assert_eq!(bench.error(), ErrorCode::PartNotEjected.code());
    clear_error(&mut bench);
    assert!(!bench.image().stop_request && bench.image().trigger_ready);
}

#[test]
fn a_gate_that_fails_stops_the_line_as_long_as_it_does() {
    let mut bench = Bench::single(PLC);
    bench.event(Event::Gate(GateEvent::Failing(true)));
    clear_error(&mut bench);
    assert!(bench.image().stop_request && !bench.image().trigger_ready);
    bench.event(Event::Gate(GateEvent::Failing(false)));
    assert!(!bench.image().stop_request && bench.image().trigger_ready);
}

#[test]
fn parts_that_do_not_come_to_the_gate_are_recorded_removed_and_raise_an_alarm() {
    let mut bench = with_alarms(AlarmLimits {
        consecutive_removed: Some(2),
        ..AlarmLimits::default()
    });
    let mut said = Vec::new();
    for (cycle_id, what) in [
        (1, Fate::Removed),
        (2, Fate::Passed),
        (3, Fate::Rejected(RejectCause::Graded(Grade::Critical))),
        (4, Fate::Removed),
        (5, Fate::Removed),
    ] {
        assert!(!bench.image().stop_request);
        bench.event(fate(cycle_id, what));
        said.extend(
            bench
                .last
                .dispositions
                .iter()
                .map(|(session, id, what)| (*session, id.get(), *what)),
        );
    }
    assert!(bench.image().stop_request);
    assert_eq!(bench.error(), ErrorCode::PartsMissing.code());
    let expected = [
        (3, 1, Disposition::Removed),
        (3, 2, Disposition::Passed),
        (3, 3, Disposition::Rejected),
        (3, 4, Disposition::Removed),
        (3, 5, Disposition::Removed),
    ];
    assert_eq!(said, expected);
}

#[test]
fn the_part_that_the_gate_acts_on_is_shown() {
    let mut bench = Bench::single(PLC);
    bench.event(Event::Gate(GateEvent::ActsOn(CycleId::new(41))));
    assert_eq!(bench.image().gate_fire_cycle_id, 41);
    bench.event(Event::Gate(GateEvent::ActsOn(None)));
    assert_eq!(bench.image().gate_fire_cycle_id, 0);
}
