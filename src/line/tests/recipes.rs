//! Several recipes, and several inspections of one part.

use super::super::error_code::ErrorCode;
use super::super::event::{Event, Inspected};
use super::*;
use crate::part::Severity;

/// Recipe 1 looks through the first camera; recipe 2 twice through the second and once through the first.
fn two_recipes() -> LineConfig {
    LineConfig {
        cameras: 2,
        recipes: RecipePlan::all([(1, vec![0]), (2, vec![1, 1, 0])]),
        ..config(PLC, ResultMode::Single)
    }
}

fn up(config: LineConfig) -> Bench {
    let mut bench = Bench::new(config, memory());
    bench.come_up();
    bench
}

/// The inspections that were handed out, and forgets them.
fn inspections(bench: &mut Bench) -> Vec<usize> {
    bench.jobs.drain(..).map(|job| job.inspection).collect()
}

fn see(bench: &mut Bench, camera: CameraIndex, counter: u64) {
    let now = bench.now;
    bench.frame_of(camera, Some(counter), now);
}

#[test]
fn with_several_recipes_no_part_is_taken_until_the_plc_has_chosen() {
    let mut bench = up(two_recipes());
    let image = bench.image();
    assert_eq!(
        (image.trigger_ready, image.recipe_ready, image.error_code),
        (false, 0, ErrorCode::RecipeUnknown.code())
    );
    bench.trigger(1).release();
    assert_eq!((bench.outcome_of(1), bench.records[0].recipe), (undecided(Reason::Missed), 0));
    bench.write(|plc| plc.recipe_number = 2);
    let image = bench.image();
    assert_eq!((image.trigger_ready, image.recipe_ready, image.error_code), (true, 2, 0));
    // 0 keeps it.
    bench.write(|plc| plc.recipe_number = 0);
    assert_eq!((bench.image().trigger_ready, bench.image().recipe_ready), (true, 2));
}

#[test]
fn a_recipe_that_there_is_not_is_missed_and_the_one_in_force_stays() {
    let mut bench = up(two_recipes());
    bench.write(|plc| plc.recipe_number = 1).write(|plc| plc.recipe_number = 9);
    let image = bench.image();
    assert_eq!(
        (image.trigger_ready, image.recipe_ready, image.error_code),
        (false, 1, ErrorCode::RecipeUnknown.code())
    );
    bench.trigger(1);
    assert_eq!(bench.outcome_of(1), undecided(Reason::Missed));
}

#[test]
fn a_part_is_inspected_by_the_recipe_of_its_trigger_and_no_other() {
    let mut bench = up(two_recipes());
    // The number comes with the trigger.
    bench.write(|plc| plc.recipe_number = 1).trigger(1).release();
    see(&mut bench, 1, 1);
    assert_eq!(
        inspections(&mut bench),
        Vec::<usize>::new(),
        "recipe 1 does not look through the second camera"
    );
    assert!(!bench.image().exposure_complete);
    see(&mut bench, 0, 1);
    let jobs: Vec<Job> = bench.jobs.drain(..).collect();
    assert!(bench.image().exposure_complete);
    // Another recipe comes into force while the part is open; it keeps its own.
    bench.write(|plc| plc.recipe_number = 2);
    assert_eq!(bench.image().recipe_ready, 2);
    // What the other recipe's inspections find is not this part's.
    for inspection in [1, 2, 3, 4, usize::MAX] {
        bench.judge_job(Job { inspection, ..jobs[0] }, NOT_OK);
        assert!(!bench.image().result_valid);
    }
    bench.judge_job(jobs[0], Outcome::OK);
    assert_eq!(
        (bench.outcome_of(1), bench.records[0].recipe, bench.image().recipe_of_result),
        (Outcome::OK, 1, 1)
    );

    bench.trigger(2).release();
    see(&mut bench, 1, 2);
    assert_eq!(inspections(&mut bench), [1, 2]);
    see(&mut bench, 0, 2);
    assert_eq!(inspections(&mut bench), [3]);
}

#[test]
fn one_inspection_that_is_missing_leaves_the_part_not_decidable() {
    let mut bench = up(two_recipes());
    bench.write(|plc| plc.recipe_number = 2).trigger(1).release();
    see(&mut bench, 1, 1);
    see(&mut bench, 0, 1);
    let jobs: Vec<Job> = bench.jobs.drain(..).collect();
    for job in &jobs[..2] {
        bench.judge_job(*job, Outcome::OK);
    }
    bench.pass(100);
    assert_eq!(bench.outcome_of(1), undecided(Reason::Deadline));
}

#[test]
fn the_worst_of_all_inspections_is_told() {
    let found = |severity: Option<Severity>, defect_code: u16, reason: Reason| {
        let plain = *inspected(Outcome::not_ok(reason));
        Inspected {
            defect_code,
            view: View { severity, ..plain.view },
            ..plain
        }
    };
    let minor = || found(Some(Severity::Minor), 11, Reason::Defect);
    let unsaid = || found(None, 12, Reason::Anomaly);
    let critical = || found(Some(Severity::Critical), 13, Reason::Defect);
    let noted = || {
        let plain = *inspected(Outcome::OK);
        Inspected {
            view: View {
                severity: Some(Severity::Minor),
                ..plain.view
            },
            ..plain
        }
    };
    for (inspections, expected) in [
        (
            [minor(), unsaid(), critical()],
            (Outcome::not_ok(Reason::Defect), 13, Some(Severity::Critical)),
        ),
        ([minor(), unsaid(), noted()], (Outcome::not_ok(Reason::Anomaly), 12, None)),
        (
            [noted(), minor(), noted()],
            (Outcome::not_ok(Reason::Defect), 11, Some(Severity::Minor)),
        ),
        ([noted(), *inspected(Outcome::OK), noted()], (Outcome::OK, 0, Some(Severity::Minor))),
        (
            [noted(), *inspected(undecided(Reason::NotLocated)), noted()],
            (undecided(Reason::NotLocated), 0, None),
        ),
    ] {
        let mut bench = up(two_recipes());
        bench.write(|plc| plc.recipe_number = 2).trigger(1).release();
        see(&mut bench, 1, 1);
        see(&mut bench, 0, 1);
        let jobs: Vec<Job> = bench.jobs.drain(..).collect();
        for (job, inspected) in jobs.iter().zip(inspections) {
            bench.event(Event::Inspected {
                part: job.part,
                inspection: job.inspection,
                inspected: Box::new(inspected),
            });
        }
        let record = &bench.records[0];
        assert_eq!((bench.outcome_of(1), record.defect_code, record.severity), expected);
        assert_eq!(bench.image().defect_code, expected.1);
    }
}
