//! What the station keeps and has left behind: journal, black box, the end of its last life, its last error.

use super::machine::{bytes, span};
use crate::doctor::{Check, Finding, Status};
use crate::journal::black_box::Glance;
use crate::journal::condition::Condition;

/// Whether records can be kept.
pub fn journal(found: &Result<Option<Condition>, String>, now_unix_s: i64) -> Finding {
    let condition = match found {
        Ok(Some(condition)) => condition,
        Ok(None) => return Finding::new(Check::Journal, Status::Ok, "there is none yet: the first start makes it"),
        Err(error) => return Finding::not_looked_at(Check::Journal, error),
    };
    let records = condition.recorded_below.saturating_sub(1);
    let backlog = condition.recorded_below.saturating_sub(condition.acknowledged_below);
    let last = condition.last_unix_ns.map(|last| ago(last, now_unix_s));
    let mut told = vec![format!("format {}", condition.version), format!("{records} records in this epoch")];
    told.extend(last.map(|last| format!("last {} ago", span(last))));
    told.push(format!("{backlog} not at the historian"));
    if condition.images_unsent > 0 {
        told.push(format!("{} images not there either", condition.images_unsent));
    }
    told.push(bytes(condition.used_bytes));
    let (status, remedy) = if condition.has_losses {
        told.push("records of late say that others are lost".into());
        (
            Status::Warning,
            "see the log for when the journal was damaged or full; takt journal verify proves what is left",
        )
    } else {
        (Status::Ok, "")
    };
    Finding::new(Check::Journal, status, told.join(", "))
        .remedy(remedy)
        .value("format_version", condition.version)
        .value("records", records)
        .value("backlog_records", backlog)
        .value("backlog_images", condition.images_unsent)
        .value("used_bytes", condition.used_bytes)
        .value("last_record_s", last)
}

/// Seconds since a moment; 0 for one that the clock has not reached.
fn ago(unix_ns: i64, now_unix_s: i64) -> u64 {
    u64::try_from(now_unix_s.saturating_sub(unix_ns.div_euclid(1_000_000_000))).unwrap_or_default()
}

/// Whether it can be used, and what is in it only.
pub fn black_box(found: &Result<Option<Glance>, String>) -> Finding {
    match found {
        Err(error) => Finding::not_looked_at(Check::BlackBox, error),
        Ok(None) => Finding::new(Check::BlackBox, Status::Ok, "there is none: the next start makes it"),
        Ok(Some(glance)) => Finding::new(
            Check::BlackBox,
            Status::Ok,
            format!("{} parts, {} of them not in the journal yet", glance.parts, glance.unreported),
        )
        .value("parts", glance.parts)
        .value("unrecorded", glance.unreported),
    }
}

/// How the last life of the station ended, as far as it can be known.
pub fn last_end(runs: bool, glance: Option<&Glance>, condition: Option<&Condition>, date: impl Fn(i64) -> String) -> Finding {
    let power = condition.and_then(|condition| condition.power_loss_unix_ns);
    let (status, fact, remedy) = match (runs, glance) {
        (true, _) => (Status::Ok, "the station runs".to_owned(), ""),
        (false, Some(glance)) if glance.unreported > 0 => (
            Status::Warning,
            format!(
                "it did not stop in order: {} parts were open, {} are in the black box only",
                glance.open, glance.unreported
            ),
            "start the station, which records them; journalctl -u takt-station says what happened",
        ),
        (false, Some(_)) => (Status::Ok, "nothing was open, and every part is in the journal".to_owned(), ""),
        (false, None) if condition.is_some_and(|condition| condition.recorded_below > 1) => (
            Status::Unknown,
            "the machine was restarted since, and the station not started".to_owned(),
            "",
        ),
        (false, None) => (Status::Unknown, "no station ran here yet".to_owned(), ""),
    };
    let finding = match power {
        None => Finding::new(Check::LastEnd, status, fact).remedy(remedy),
        Some(at) => {
            let at = date(at.div_euclid(1_000_000_000));
            let fact = format!("{fact}; power was cut while parts were open, last at {at}");
            let remedy = if remedy.is_empty() {
                "stop the station before the power is cut, or buffer it"
            } else {
                remedy
            };
            Finding::new(Check::LastEnd, status.max(Status::Warning), fact).remedy(remedy)
        }
    };
    finding.value("power_loss_unix_ns", power)
}

/// What the station wrote into the system's log last, among errors: when, and what. Older than this it is history, seconds.
const ERROR_IS_NEW_S: u64 = 24 * 3600;

/// The last error in the system's log: when (seconds ago) and what; `None`: there is none.
pub fn last_error(found: &Result<Option<(u64, String)>, String>) -> Finding {
    match found {
        Err(why) => Finding::new(Check::LastError, Status::Unknown, why.as_str()),
        Ok(None) => Finding::new(Check::LastError, Status::Ok, "the system's log has none"),
        Ok(Some((seconds, message))) => {
            let fact = format!("{} ago: {message}", span(*seconds));
            let finding = if *seconds < ERROR_IS_NEW_S {
                Finding::new(Check::LastError, Status::Warning, fact).remedy("journalctl -u takt-station -p err")
            } else {
                Finding::new(Check::LastError, Status::Ok, fact)
            };
            finding.value("age_s", *seconds).value("message", message.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::findings::is;

    fn condition() -> Condition {
        Condition {
            version: 1,
            recorded_below: 101,
            acknowledged_below: 91,
            last_unix_ns: Some(940_000_000_000),
            used_bytes: 3 << 20,
            ..Condition::default()
        }
    }

    fn glance(open: u64, unreported: u64) -> Glance {
        Glance {
            epoch: 1,
            parts: 100,
            open,
            unreported,
            last_unix_ns: Some(1),
        }
    }

    #[test]
    fn records_are_kept_or_it_is_said_what_is_wrong() {
        let kept = journal(&Ok(Some(condition())), 1000);
        is(
            &kept,
            Status::Ok,
            &["format 1, 100 records in this epoch, last 60 s ago, 10 not at the historian, 3.0 MiB"],
        );
        assert_eq!(kept.values["backlog_records"], 10);
        // A clock that went back makes nothing negative.
        is(&journal(&Ok(Some(condition())), 0), Status::Ok, &["last 0 s ago"]);
        let lossy = Condition {
            has_losses: true,
            images_unsent: 2,
            ..condition()
        };
        is(
            &journal(&Ok(Some(lossy)), 1000),
            Status::Warning,
            &["2 images", "lost", "takt journal verify"],
        );
        is(&journal(&Ok(None), 0), Status::Ok, &["first start"]);
        is(
            &journal(
                &Err("failed to open journal: its format version is 9, this takt knows 1; run the takt that wrote it".into()),
                0,
            ),
            Status::Failed,
            &["run the takt"],
        );
        is(
            &black_box(&Ok(Some(glance(0, 3)))),
            Status::Ok,
            &["100 parts, 3 of them not in the journal yet"],
        );
        is(&black_box(&Ok(None)), Status::Ok, &["next start"]);
        is(
            &black_box(&Err("failed to open black box: its version; x".into())),
            Status::Failed,
            &["version"],
        );
    }

    #[test]
    fn the_last_end_is_told_as_far_as_it_is_known() {
        let told = |runs, glance: Option<Glance>, condition: Option<Condition>| {
            last_end(runs, glance.as_ref(), condition.as_ref(), |second| format!("second {second}"))
        };
        is(&told(true, Some(glance(1, 1)), Some(condition())), Status::Ok, &["runs"]);
        is(
            &told(false, Some(glance(2, 5)), None),
            Status::Warning,
            &["2 parts were open, 5 are in the black box only"],
        );
        is(
            &told(false, Some(glance(0, 0)), None),
            Status::Ok,
            &["every part is in the journal"],
        );
        is(&told(false, None, Some(condition())), Status::Unknown, &["restarted since"]);
        is(&told(false, None, None), Status::Unknown, &["no station ran"]);
        let cut = Condition {
            power_loss_unix_ns: Some(5_000_000_000),
            ..condition()
        };
        is(&told(true, None, Some(cut)), Status::Warning, &["power was cut", "second 5"]);
        is(&last_error(&Ok(None)), Status::Ok, &["none"]);
        is(
            &last_error(&Ok(Some((60, "it broke".into())))),
            Status::Warning,
            &["60 s ago: it broke"],
        );
        is(&last_error(&Ok(Some((900_000, "it broke".into())))), Status::Ok, &["10 days ago"]);
        is(&last_error(&Err("no journald here".into())), Status::Unknown, &["no journald"]);
    }
}
