//! The list against a line in this process, behind the station's real Modbus server: a line that is sound passes everything; one that is broken
//! fails the very step that is there to see it.

mod mutations;
mod station;

use std::thread;
use std::time::Duration;

use super::driver::Driver;
use super::outcome::{Commissioning, Ending, SequenceOutcome};
use super::sequences;
use super::step::Terms;
use super::{junit, page};
use crate::line::config::{ResultMode, SerialMode, TriggerSource};
use crate::line::image::StationMode;
use crate::part::Verdict;
use mutations::Mutation;
use station::PlayedStation;

/// Broken stations that are looked at side by side.
const AT_ONCE: usize = 16;

fn terms(serial: SerialMode) -> Terms {
    Terms {
        mode: ResultMode::Single,
        polled: false,
        trigger: TriggerSource::Plc {
            frame_window: Duration::from_secs(2),
        },
        part_interval: Duration::ZERO,
        deadline: Duration::from_millis(1500),
        accept_hold: Duration::from_millis(1500),
        torn: Duration::from_millis(300),
        heartbeat_timeout: Duration::from_secs(1),
        recipes: vec![1, 2],
        serial,
        sequential: true,
        simulated: false,
        own_parts: true,
        own_station: true,
        long_cut: Duration::from_secs(2),
    }
}

/// Results come in window mode.
fn in_window(terms: &mut Terms) {
    terms.mode = ResultMode::Window;
}

/// A sensor is wired to the camera.
fn wired(terms: &mut Terms) {
    let arm_window = Duration::from_millis(400);
    terms.trigger = TriggerSource::Hardware { arm_window };
    terms.part_interval = Duration::from_millis(450);
    terms.deadline += arm_window;
}

/// The camera runs by itself.
fn free_running(terms: &mut Terms) {
    let frame_window = Duration::from_millis(400);
    terms.trigger = TriggerSource::FreeRun { frame_window };
    terms.part_interval = frame_window;
}

/// Runs the sequences of these names, or all of them, against a station that is broken like this.
fn played(terms: &Terms, only: Option<&str>, mutation: Option<&'static Mutation>) -> Commissioning {
    let mut station = PlayedStation::new(terms, mutation);
    let place = station.begin();
    let mut driver = Driver::new(terms, &place, Duration::from_millis(1), station).unwrap();
    let list = sequences::all(terms);
    let chosen = list.iter().filter(|sequence| only.is_none_or(|name| sequence.name == name));
    let sequences: Vec<SequenceOutcome> = chosen.map(|sequence| driver.run(sequence)).collect();
    Commissioning {
        station: "played <1>".into(),
        address: place.address().to_string(),
        wire: place.text(),
        facts: terms.facts(Duration::from_millis(1)),
        began: "2026-11-22T12:00:00Z".into(),
        verdicts_judged: true,
        stopped: false,
        images: driver.watchdog.images,
        accepting_images: driver.watchdog.accepting,
        sequences,
    }
}

#[track_caller]
fn assert_nothing_failed(outcome: &Commissioning) {
    let failures: Vec<_> = outcome
        .sequences
        .iter()
        .filter_map(|sequence| Some((sequence.name, sequence.failure()?)))
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(outcome.is_passed() && outcome.accepting_images > 0 && outcome.images > outcome.accepting_images);
}

/// A line that is sound passes what it is not skipped for; those that it must not be skipped for are named.
fn passes(change: impl FnOnce(&mut Terms), least: &[&str]) {
    let mut terms = terms(SerialMode::WithTrigger);
    change(&mut terms);
    let outcome = played(&terms, None, None);
    assert_nothing_failed(&outcome);
    let passed: Vec<&str> = outcome
        .sequences
        .iter()
        .filter(|sequence| sequence.ending == Ending::Passed)
        .map(|sequence| sequence.name)
        .collect();
    let missing: Vec<_> = least.iter().filter(|name| !passed.contains(name)).collect();
    assert!(missing.is_empty(), "skipped: {missing:?}");
}

/// What every line with result registers is asked.
const OF_REGISTERS: [&str; 6] = ["normal", "late_engine", "buffer_full", "trigger_while_busy", "stale_data", "kill"];

/// What every line in window mode is asked.
const OF_WINDOW: [&str; 6] = [
    "window_slots",
    "window_hold",
    "window_session",
    "window_link_down",
    "window_kill",
    "no_exposure",
];

#[test]
fn a_sound_line_passes_everything() {
    let outcome = played(&terms(SerialMode::WithTrigger), None, None);
    assert_nothing_failed(&outcome);
    let skipped = outcome.sequences.iter().filter(|sequence| sequence.ending == Ending::Skipped);
    let skipped: Vec<&str> = skipped.map(|sequence| sequence.name).collect();
    let elsewhere = ["two_exposures", "unannounced_part", "nearest_frame", "serial_latched"];
    assert_eq!(skipped, [&OF_WINDOW[..5], &elsewhere].concat());
}

#[test]
fn a_sound_line_in_window_mode_passes() {
    passes(in_window, &OF_WINDOW);
}

#[test]
fn a_sound_line_with_a_wired_trigger_passes() {
    passes(
        wired,
        &[&OF_REGISTERS[..], &["two_exposures", "unannounced_part", "no_exposure"]].concat(),
    );
}

#[test]
fn a_sound_line_with_a_camera_that_runs_freely_passes() {
    passes(free_running, &[&OF_REGISTERS[..], &["nearest_frame", "no_exposure"]].concat());
}

#[test]
fn a_sound_line_that_polls_its_plc_passes() {
    passes(|terms| terms.polled = true, &OF_REGISTERS);
}

#[test]
fn a_sound_line_that_polls_its_plc_passes_in_window_mode() {
    passes(
        |terms| {
            terms.polled = true;
            in_window(terms);
        },
        &OF_WINDOW,
    );
}

#[test]
fn a_sound_line_with_latched_serial_numbers_passes() {
    for required in [false, true] {
        let outcome = played(&terms(SerialMode::Latched { required }), Some("serial_latched"), None);
        assert_nothing_failed(&outcome);
    }
}

#[test]
fn a_lesson_that_a_failure_leaves_open_is_ended() {
    static DOUBTFUL: Mutation = Mutation {
        name: "sees defects in what it learns from",
        show: |image, _| {
            if image.station_mode == StationMode::Teach && image.result_valid {
                image.verdict = Some(Verdict::NotOk);
            }
        },
        ..mutations::SOUND
    };
    let terms = terms(SerialMode::WithTrigger);
    let mut station = PlayedStation::new(&terms, Some(&DOUBTFUL));
    let place = station.begin();
    let mut driver = Driver::new(&terms, &place, Duration::from_millis(1), station).unwrap();
    let list = sequences::all(&terms);
    let mut run = |name| driver.run(list.iter().find(|sequence| sequence.name == name).unwrap());
    assert_eq!(run("command_teach").ending, Ending::Failed);
    // Were the station still being taught, it would not be ready for this.
    assert_eq!(run("command_refused").failure(), None);
}

#[test]
fn of_parts_of_others_only_the_handshake_is_judged() {
    // The parts come all the same, and are good ones: by whom is nothing the list knows.
    let terms = Terms {
        own_parts: false,
        own_station: false,
        ..terms(SerialMode::WithTrigger)
    };
    let mut station = PlayedStation::new(&terms, None);
    station.has_parts_of_its_own();
    let place = station.begin();
    let mut driver = Driver::new(&terms, &place, Duration::from_millis(1), station).unwrap();
    let outcomes: Vec<SequenceOutcome> = sequences::all(&terms).iter().map(|sequence| driver.run(sequence)).collect();
    let failed: Vec<_> = outcomes.iter().filter_map(SequenceOutcome::failure).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let passed = outcomes.iter().filter(|outcome| outcome.ending == Ending::Passed).count();
    assert!(passed >= 18, "{passed}");
    let kill = outcomes.iter().find(|outcome| outcome.name == "kill").unwrap();
    assert!(
        kill.ending == Ending::Skipped && kill.reason.contains("the station"),
        "{}",
        kill.reason
    );
}

/// Each broken line fails the sequence that its row of the table names, at the step and by the signal that it names; or at the other step, where it
/// is a race which of two images shows first what is broken.
#[test]
fn every_broken_line_fails_the_step_that_is_there_to_see_it() {
    let run = |mutation: &'static Mutation| {
        let mut terms = terms(mutation.serial);
        (mutation.given)(&mut terms);
        let outcome = played(&terms, Some(mutation.sequence), Some(mutation));
        let [sequence] = &outcome.sequences[..] else {
            return Some(format!("{}: there is no sequence {}", mutation.name, mutation.sequence));
        };
        let failure = sequence
            .failure()
            .map(|step| (step.title.as_str(), step.signal.as_str(), step.seen.as_str()));
        match failure {
            Some((title, signal, _)) if mutation.is_seen_at(title, signal) => None,
            _ => Some(format!(
                "{} ({}): should fail at {:?} by {:?}, but: {failure:?}",
                mutation.name, mutation.sequence, mutation.step, mutation.signal
            )),
        }
    };
    // They wait most of the time; but who looks a thousand times a second has to be given the time to look.
    let wrong: Vec<String> = mutations::all()
        .chunks(AT_ONCE)
        .flat_map(|some| {
            thread::scope(|scope| {
                let runs: Vec<_> = some.iter().copied().map(|mutation| scope.spawn(move || run(mutation))).collect();
                runs.into_iter().filter_map(|run| run.join().unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No sequence is there that nothing was ever seen to fail.
#[test]
fn every_sequence_has_a_broken_line_that_fails_it() {
    let list = sequences::all(&terms(SerialMode::WithTrigger));
    let unproven: Vec<&str> = list
        .iter()
        .map(|sequence| sequence.name)
        .filter(|name| mutations::all().iter().all(|mutation| mutation.sequence != *name))
        .collect();
    assert!(unproven.is_empty(), "{unproven:?}");
}

#[test]
fn reports_name_signal_time_and_expectation_of_what_failed() {
    let mutation = mutations::all()
        .into_iter()
        .find(|mutation| mutation.sequence == "wrong_ack")
        .unwrap();
    let outcome = played(&terms(SerialMode::WithTrigger), Some("wrong_ack"), Some(mutation));
    let (xml, html) = (junit(&outcome), page(&outcome));
    assert!(
        xml.contains("<failure type=\"ResultValid\" message=\"ResultValid: expected 1, seen 0\">"),
        "{xml}"
    );
    assert!(xml.contains("name=\"takt commissioning of played &lt;1&gt;\""), "{xml}");
    assert!(xml.contains("failures=\"1\"") && xml.contains("<skipped message=\"a step before it failed\"/>"));
    assert!(html.contains("ResultValid: expected 1, seen 0") && html.contains("T_result") && html.contains("played &lt;1&gt;"));
    assert!(!html.contains("<1>") && !xml.contains("<1>"));
    // What failed is unfolded and told at the head; nothing is fetched, nothing runs.
    assert!(html.contains("not passed") && html.contains("id=\"fold-wrong_ack\" checked") && html.contains("href=\"#wrong_ack\""));
    assert!(html.contains("<dt>Deadline</dt><dd>1500 ms</dd>"), "{html}");
    assert!(
        ["<script", "<link", "<img", "http:", "https:", "url(", "@import"]
            .iter()
            .all(|word| !html.contains(word))
    );
}
