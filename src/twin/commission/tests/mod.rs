//! The list against a line in this process, behind the station's real Modbus server: a line that is sound passes everything; one that is broken
//! fails the very step that is there to see it.

mod mutations;
mod station;

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::driver::Driver;
use super::outcome::{Commissioning, Ending, SequenceOutcome};
use super::sequences;
use super::step::Terms;
use super::{junit, page};
use crate::line::config::{ResultMode, SerialMode};
use mutations::{MUTATIONS, Mutation};
use station::PlayedStation;

/// Broken stations that are looked at side by side.
const AT_ONCE: usize = 16;

fn terms(serial: SerialMode) -> Terms {
    Terms {
        mode: ResultMode::Single,
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

/// Runs the sequences of these names, or all of them, against a station that is broken like this.
fn played(terms: &Terms, only: Option<&str>, mutation: Option<&'static Mutation>) -> Commissioning {
    let mut station = PlayedStation::new(terms, mutation);
    let address: SocketAddr = station.begin();
    let mut driver = Driver::new(terms, address, Duration::from_millis(1), Duration::ZERO, station).unwrap();
    let list = sequences::all(terms);
    let chosen = list.iter().filter(|sequence| only.is_none_or(|name| sequence.name == name));
    let sequences: Vec<SequenceOutcome> = chosen.map(|sequence| driver.run(sequence)).collect();
    Commissioning {
        station: "played <1>".into(),
        address: address.to_string(),
        began: "2026-11-22T12:00:00Z".into(),
        verdicts_judged: true,
        stopped: false,
        images: driver.watchdog.images,
        accepting_images: driver.watchdog.accepting,
        sequences,
    }
}

#[track_caller]
fn assert_passed(outcome: &Commissioning, skipped: &[&str]) {
    for sequence in &outcome.sequences {
        let expected = if skipped.contains(&sequence.name) {
            Ending::Skipped
        } else {
            Ending::Passed
        };
        assert_eq!(sequence.ending, expected, "{}: {:#?}", sequence.name, sequence.failure());
    }
    assert!(outcome.is_passed() && outcome.accepting_images > 0 && outcome.images > outcome.accepting_images);
}

#[test]
fn a_sound_line_passes_everything() {
    let outcome = played(&terms(SerialMode::WithTrigger), None, None);
    assert_passed(&outcome, &["serial_latched"]);
}

#[test]
fn a_sound_line_with_latched_serial_numbers_passes() {
    for required in [false, true] {
        let outcome = played(&terms(SerialMode::Latched { required }), Some("serial_latched"), None);
        assert_passed(&outcome, &[]);
    }
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
    let address = station.begin();
    let mut driver = Driver::new(&terms, address, Duration::from_millis(1), Duration::ZERO, station).unwrap();
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

/// Each broken line fails the sequence that its row of the table names, at the step or by the signal that it names: which of two images shows
/// first what is broken may be a race.
#[test]
fn every_broken_line_fails_the_step_that_is_there_to_see_it() {
    let run = |mutation: &'static Mutation| {
        let outcome = played(&terms(mutation.serial), Some(mutation.sequence), Some(mutation));
        let [sequence] = &outcome.sequences[..] else {
            return Some(format!("{}: there is no sequence {}", mutation.name, mutation.sequence));
        };
        let failure = sequence
            .failure()
            .map(|step| (step.title.as_str(), step.signal.as_str(), step.seen.as_str()));
        match failure {
            Some((title, signal, _)) if title == mutation.step || signal == mutation.signal => None,
            _ => Some(format!(
                "{} ({}): should fail at {:?} by {:?}, but: {failure:?}",
                mutation.name, mutation.sequence, mutation.step, mutation.signal
            )),
        }
    };
    // They wait most of the time; but who looks a thousand times a second has to be given the time to look.
    let wrong: Vec<String> = MUTATIONS
        .chunks(AT_ONCE)
        .flat_map(|some| {
            thread::scope(|scope| {
                let runs: Vec<_> = some.iter().map(|mutation| scope.spawn(move || run(mutation))).collect();
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
        .filter(|name| MUTATIONS.iter().all(|mutation| mutation.sequence != *name))
        .collect();
    assert!(unproven.is_empty(), "{unproven:?}");
}

#[test]
fn reports_name_signal_time_and_expectation_of_what_failed() {
    let mutation = MUTATIONS.iter().find(|mutation| mutation.sequence == "wrong_ack").unwrap();
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
}
