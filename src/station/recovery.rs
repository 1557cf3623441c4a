//! What an earlier life of the station left: its outcomes stand, its open parts become `NotDecidable(restart)`, its numbers go on.

use crate::journal::black_box::{Decided, Kept, Recovered};
use crate::journal::database::RecentPart;
use crate::journal::numbers::Numbers;
use crate::line::Memory;
use crate::line::history::{Fingerprint, UsedCycle};
use crate::line::image::Counts;
use crate::part::{CycleId, Outcome, PartRecord, Reason};

/// How a station goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// For the line.
    pub memory: Memory,
    /// Outcomes of parts that were open, with the counters after each: the black box has to keep them before anything else happens.
    pub closed: Vec<(PartRecord, Counts)>,
    /// Records that may not have left the station, the closed ones among them.
    pub unreported: Vec<PartRecord>,
    /// Sequence below which every part has left: of the first unreported one, else of the next. Numbers jump when the black box is lost.
    pub reported_below: u64,
}

/// Goes on from the numbers as they were read (`before`) and as they are now persisted for this start (`numbers`), from what the black box held,
/// and from the parts that the journal holds.
pub fn recover(station: &str, before: &Numbers, numbers: &Numbers, recovered: &Recovered, recorded: &[RecentPart]) -> Recovery {
    let epoch = numbers.epoch;
    let mut counts = latest_counts(before, recovered);
    let mut closed = Vec::new();
    let mut unreported = Vec::new();
    for kept in &recovered.parts {
        let record = kept.record(station, epoch);
        if kept.decided.is_none() {
            add(&mut counts, &record);
            closed.push((record.clone(), counts));
        }
        if record.sequence >= recovered.reported_below {
            unreported.push(record);
        }
    }
    // The black box is gone with the power, the journal is not.
    let power_lost = recovered.is_new && !recorded.is_empty();
    let last_session = recorded
        .last()
        .filter(|_| power_lost)
        .and_then(|part| u16::try_from(part.plc_session).ok());
    let last = recovered.parts.last();
    // More may be recorded than was granted, if the disk took no numbers for a while.
    let recorded_below = recorded.iter().map(|part| part.part_sequence + 1).max();
    let first_unused = before.sequence_below.max(recorded_below.unwrap_or(0));
    let memory = Memory {
        boot_id: numbers.boot_id,
        epoch,
        next_sequence: last.map_or(first_unused, |kept| kept.opened.part.0 + 1),
        next_acquisition: before.acquisition_below,
        next_result: before.result_below,
        acquisition_below: numbers.acquisition_below,
        result_below: numbers.result_below,
        counts,
        counts_base: recovered.counts_base.unwrap_or(Counts::from_array(before.counts_base)),
        plc_session: last.map_or(last_session.unwrap_or(before.plc_session), |kept| kept.opened.plc_session),
        history: if power_lost {
            recorded.iter().filter_map(used_cycle).collect()
        } else {
            recovered.parts.iter().filter_map(Kept::used_cycle).collect()
        },
        stage_restarted: false,
        power_lost,
    };
    Recovery {
        reported_below: unreported.first().map_or(memory.next_sequence, |record| record.sequence),
        memory,
        closed,
        unreported,
    }
}

/// What the line remembers of a recorded part's cycle ID.
fn used_cycle(part: &RecentPart) -> Option<UsedCycle> {
    let mut serial = [0; 32];
    let printed = part.serial.as_bytes();
    let length = printed.len().min(serial.len());
    serial[..length].copy_from_slice(&printed[..length]);
    Some(UsedCycle {
        plc_session: u16::try_from(part.plc_session).ok()?,
        cycle_id: CycleId::new(part.cycle_id?)?,
        // The recipe is the one it was inspected with: what the PLC asked for was that or none.
        fingerprint: Fingerprint::new(part.encoder, &serial, u16::try_from(part.recipe).ok()?),
        acquisition_id: 0,
    })
}

/// The counters as they stood last. They only grow (and wrap), so the outcome that counted most parts was the last.
fn latest_counts(before: &Numbers, recovered: &Recovered) -> Counts {
    let persisted = Counts::from_array(before.counts);
    let decided = recovered.parts.iter().filter_map(|kept| kept.decided);
    let latest = decided.max_by_key(|decided: &Decided| decided.counts.total.wrapping_sub(persisted.total) as i32);
    let mut counts = latest.map_or(persisted, |decided| decided.counts);
    counts.duplicate = if recovered.parts.is_empty() {
        persisted.duplicate
    } else {
        recovered.duplicates
    };
    counts
}

/// Counts a record.
pub fn add(counts: &mut Counts, record: &PartRecord) {
    if record.late_findings || record.test_part {
        return;
    }
    if record.reason == Some(Reason::Missed) {
        counts.missed = counts.missed.wrapping_add(1);
    }
    counts.add(Outcome {
        verdict: record.verdict,
        reason: record.reason,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::event::{Opened, Sequence};
    use crate::part::Nanos;

    fn kept(sequence: u64, decided: Option<(Outcome, u32)>) -> Kept {
        let opened = Opened {
            part: Sequence(sequence),
            cycle_id: CycleId::new(sequence as u32 + 40),
            plc_session: 5,
            boot_id: 1,
            acquisition_id: 1,
            encoder: 0,
            serial: [0; 32],
            recipe: 1,
            recipe_asked: 0,
            tags: Vec::new(),
            test_part: false,
            owns_id: true,
            triggered_at: Nanos::default(),
            config_checksum: 0,
        };
        let decided = decided.map(|(outcome, total)| Decided {
            outcome,
            result_id: 1,
            total_us: 0,
            deadline_us: 0,
            counts: Counts {
                total,
                ok: total,
                ..Counts::default()
            },
            config_checksum: 0,
            defect_code: 0,
            severity: None,
        });
        Kept {
            opened,
            triggered_unix_ns: 0,
            decided,
        }
    }

    #[test]
    fn open_parts_are_closed_once_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let before = Numbers::read(folder.path(), 1).unwrap().next_start();
        let numbers = before.next_start();
        let recovered = Recovered {
            // Decided out of order: the second part was counted after the third.
            parts: vec![
                kept(1, Some((Outcome::OK, 1))),
                kept(2, Some((Outcome::OK, 3))),
                kept(3, Some((Outcome::OK, 2))),
                kept(4, None),
            ],
            reported_below: 3,
            duplicates: 6,
            counts_base: None,
            is_new: false,
        };
        let recovery = recover("a", &before, &numbers, &recovered, &[]);
        let expected = Counts {
            total: 4,
            ok: 3,
            not_decidable: 1,
            duplicate: 6,
            ..Counts::default()
        };
        assert_eq!(recovery.memory.counts, expected);
        assert_eq!(
            (
                recovery.memory.next_sequence,
                recovery.memory.plc_session,
                recovery.memory.history.len()
            ),
            (5, 5, 4)
        );
        assert_eq!(recovery.memory.next_acquisition, before.acquisition_below);
        let closed: Vec<(u64, Option<Reason>, Counts)> = recovery
            .closed
            .iter()
            .map(|(record, counts)| (record.sequence, record.reason, *counts))
            .collect();
        assert_eq!(closed, [(4, Some(Reason::Restart), expected)]);
        let unreported: Vec<u64> = recovery.unreported.iter().map(|record| record.sequence).collect();
        assert_eq!((unreported, recovery.reported_below), (vec![3, 4], 3));
    }

    #[test]
    fn without_a_black_box_nothing_is_given_out_twice() {
        let folder = tempfile::tempdir().unwrap();
        let before = Numbers::read(folder.path(), 1).unwrap().next_start();
        let recovery = recover("a", &before, &before.next_start(), &Recovered::default(), &[]);
        assert_eq!(recovery.memory.next_sequence, before.sequence_below);
        assert_eq!((recovery.unreported, recovery.reported_below), (vec![], before.sequence_below));
        // The disk took records for longer than it took numbers.
        let recorded = RecentPart {
            part_sequence: before.sequence_below + 5,
            ..RecentPart::default()
        };
        let recovery = recover("a", &before, &before.next_start(), &Recovered::default(), &[recorded]);
        assert_eq!(recovery.memory.next_sequence, before.sequence_below + 6);
    }
}
