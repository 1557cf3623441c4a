//! What goes when space runs short, and in which order. The policy ([`plan`]) is pure; [`Keeper`] does what it says, a little at a time.
//!
//! Records and images together stay below a quota. Above [`START`] of it, things go until [`TARGET`] is reached, in the order of [`What`].
//! The write-ahead log comes on top: some megabytes, bounded by `LOG_BYTES_KEPT` in `tables.rs` while no commit is larger.
//! Records that the historian does not hold are never among them, unless [`WhenFull::DropOldest`] says so and nothing else is left: then a
//! `Lost` record names them first.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::database::{Journal, JournalError, lost};
use super::evidence::State;
use super::record_table::SEQUENCES;
use super::set_aside::{self, EVIDENCE};
use super::tables::{self, NO_HASH};
use crate::flow::unix_now_ns;
use crate::rpc::proto::LostReason;

/// Share of the quota above which things are removed.
pub const START: f64 = 0.95;

/// Share of the quota down to which they are removed.
pub const TARGET: f64 = 0.90;

/// Share of the quota down to which records go that the historian does not hold: no more than must be.
const TARGET_OF_LOSS: f64 = 0.99;

/// Bytes that are made free at a time on a disk that others filled.
const ROOM_BYTES: u64 = 16 << 20;

/// Images removed at a time, which takes some milliseconds.
const IMAGES_AT_A_TIME: u64 = 64;

/// Records removed at a time: no fewer than a commit adds.
const RECORDS_AT_A_TIME: u64 = super::writer::BATCH_MAX as u64;

/// Bytes that a typical record takes with everything it is found by: a part with one view, one finding in fifty, three tags.
/// Measured: see the test `a_typical_record_takes_what_is_said`.
pub const RECORD_BYTES: u64 = 1024;

/// What happens when no space is left and nothing may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The station takes no more parts.
    #[default]
    Stop,
    /// The oldest records go, and a record says so.
    DropOldest,
}

/// How much the journal may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Database and evidence together, bytes.
    pub bytes: u64,
    /// Records that the historian holds are kept at least this long, by the time of their trigger.
    pub keep: Duration,
    /// What happens when all of it is used.
    pub when_full: WhenFull,
}

/// What can be removed, in the order in which it goes; of each the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Journals that were damaged and set aside.
    SetAside,
    /// Images of parts that are Ok.
    SampledOk,
    /// Other images that the historian has.
    SentImages,
    /// Other images.
    UnsentImages,
    /// Records that the historian holds, older than must be kept.
    AcknowledgedRecords,
    /// Records that exist nowhere else, or must be kept.
    OtherRecords,
}

impl What {
    /// Everything, in order.
    pub const ALL: [Self; 6] = [
        Self::SetAside,
        Self::SampledOk,
        Self::SentImages,
        Self::UnsentImages,
        Self::AcknowledgedRecords,
        Self::OtherRecords,
    ];
}

/// Bytes in use, by what they are for, in the order of [`What`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage(pub [u64; 6]);

impl Usage {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

/// How much space there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Enough, or enough can be made.
    Enough,
    /// More than [`START`] stays in use whatever may be removed.
    Little,
    /// All of the quota stays in use.
    None,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What goes, with how many bytes of it, in order.
    pub removals: Vec<(What, u64)>,
    /// The space there is then.
    pub space: Space,
}

/// Decides what goes.
pub fn plan(quota: &Quota, usage: &Usage) -> Plan {
    let share = |share: f64| (quota.bytes as f64 * share) as u64;
    let mut left = usage.total();
    let mut removals = Vec::new();
    if left > share(START) {
        removals = removals_of(usage, left - share(TARGET));
        left -= removals.iter().map(|(_, bytes)| bytes).sum::<u64>();
    }
    let others = usage.0[What::OtherRecords as usize];
    if left >= quota.bytes && quota.when_full == WhenFull::DropOldest && others > 0 {
        let bytes = others.min(left - share(TARGET_OF_LOSS));
        removals.push((What::OtherRecords, bytes));
        left -= bytes;
    }
    let space = if left >= quota.bytes {
        Space::None
    } else if left > share(START) {
        Space::Little
    } else {
        Space::Enough
    };
    Plan { removals, space }
}

/// As many bytes in order, or all that may go; never what exists nowhere else.
fn removals_of(usage: &Usage, mut needed: u64) -> Vec<(What, u64)> {
    let mut removals = Vec::new();
    for what in What::ALL.into_iter().filter(|what| *what != What::OtherRecords) {
        let bytes = usage.0[what as usize].min(needed);
        if bytes > 0 {
            removals.push((what, bytes));
            needed -= bytes;
        }
    }
    removals
}

/// How a line is run, for the space it needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Parts in a second.
    pub parts_per_s: f64,
    /// Share of parts that are NotOk or NotDecidable: all of their images are kept.
    pub reject_share: f64,
    /// Share of Ok parts whose images are kept.
    pub sampled_share: f64,
    /// Images of a part.
    pub images_per_part: f64,
    /// Bytes of an image.
    pub image_bytes: u64,
    /// Bytes of a record; [`RECORD_BYTES`] where nothing better is known.
    pub record_bytes: u64,
}

/// The quota that keeps everything for a time, nothing acknowledged and nothing removed, bytes.
pub fn quota_for(days: f64, load: &Load) -> u64 {
    let parts = days * 86_400.0 * load.parts_per_s;
    let with_images = load.reject_share + (1.0 - load.reject_share) * load.sampled_share;
    let per_part = load.record_bytes as f64 + with_images * load.images_per_part * load.image_bytes as f64;
    // Below `START` nothing is removed.
    (parts * per_part / START).ceil() as u64
}

/// Keeps a journal below its quota.
#[derive(Debug)]
pub struct Keeper {
    quota: Quota,
    set_aside: Option<(Vec<PathBuf>, u64)>,
}

/// The records that go first: those of the oldest chain.
struct Oldest {
    chain: u64,
    first: u64,
    /// Records from the first on that the historian holds and that are old enough.
    removable: u64,
    /// All records of the chain.
    count: u64,
}

impl Keeper {
    /// Keeps this quota.
    pub fn new(quota: Quota) -> Self {
        Self { quota, set_aside: None }
    }

    /// Removes what has to go now, at most a step of each kind, and tells how much space there is.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn keep(&mut self, journal: &mut Journal) -> Result<Space, JournalError> {
        let (usage, oldest) = self.usage(journal)?;
        let plan = plan(&self.quota, &usage);
        remove(journal, &plan.removals, &usage, oldest.as_ref())?;
        Ok(plan.space)
    }

    /// Makes some room, whatever the quota says: the disk is full.
    ///
    /// # Errors
    /// When not even that can be done.
    pub fn make_room(&mut self, journal: &mut Journal) -> Result<(), JournalError> {
        let (usage, oldest) = self.usage(journal)?;
        remove(journal, &removals_of(&usage, ROOM_BYTES), &usage, oldest.as_ref())
    }

    /// Bytes in use.
    ///
    /// # Errors
    /// When the database does not say.
    fn usage(&mut self, journal: &mut Journal) -> Result<(Usage, Option<Oldest>), JournalError> {
        let folder = journal.shared().folder.clone();
        let set_aside = self.set_aside_bytes(&folder);
        let start = (self.quota.bytes as f64 * START) as u64;
        let too_young = unix_now_ns().saturating_sub(i64::try_from(self.quota.keep.as_nanos()).unwrap_or(i64::MAX));
        let read = |connection: &Connection| -> rusqlite::Result<(Usage, Option<Oldest>)> {
            let images = image_bytes(connection)?;
            let database = database_bytes(connection)?;
            let in_use = set_aside + images.iter().sum::<u64>() + database;
            // Who may go only matters when somebody must.
            let oldest = if in_use > start { oldest(connection, too_young)? } else { None };
            let removable = oldest
                .as_ref()
                .map_or(0, |oldest| database / oldest.count.max(1) * oldest.removable);
            let usage = Usage([set_aside, images[0], images[1], images[2], removable, database - removable]);
            Ok((usage, oldest))
        };
        read(journal.connection()).map_err(|source| journal.shared().failed(source))
    }

    fn set_aside_bytes(&mut self, folder: &Path) -> u64 {
        let all = set_aside::all(folder);
        match &self.set_aside {
            Some((counted, bytes)) if *counted == all => *bytes,
            _ => {
                let bytes = all.iter().map(|path| bytes_below(path)).sum();
                self.set_aside = Some((all, bytes));
                bytes
            }
        }
    }
}

/// Removes what a plan says, at most a step of each kind.
fn remove(journal: &mut Journal, removals: &[(What, u64)], usage: &Usage, oldest: Option<&Oldest>) -> Result<(), JournalError> {
    for (what, bytes) in removals {
        match (what, oldest) {
            (What::SetAside, _) => remove_set_aside(&journal.shared().folder),
            (What::SampledOk | What::SentImages | What::UnsentImages, _) => remove_images(journal, *what, *bytes)?,
            (What::AcknowledgedRecords, Some(oldest)) => {
                let per_record = usage.0[What::AcknowledgedRecords as usize] / oldest.removable.max(1);
                let count = (bytes / per_record.max(1)).clamp(1, RECORDS_AT_A_TIME).min(oldest.removable);
                remove_records(journal, oldest, count)?;
            }
            (What::OtherRecords, Some(oldest)) => {
                let per_record = usage.0[What::OtherRecords as usize] / oldest.count.max(1);
                let count = (bytes / per_record.max(1)).clamp(1, RECORDS_AT_A_TIME).min(oldest.count);
                name_what_is_lost(journal, oldest, count)?;
                remove_records(journal, oldest, count)?;
            }
            (What::AcknowledgedRecords | What::OtherRecords, None) => {}
        }
    }
    Ok(())
}

/// Bytes of images on disk: sampled, sent, unsent.
fn image_bytes(connection: &Connection) -> rusqlite::Result<[u64; 3]> {
    let sum = "SELECT total(bytes) FILTER (WHERE why = 3), total(bytes) FILTER (WHERE why <> 3 AND state = 2), \
               total(bytes) FILTER (WHERE why <> 3 AND state = 1) FROM image_totals WHERE state <= 2";
    connection.prepare_cached(sum)?.query_row([], |row| {
        let bytes = |column| row.get::<_, f64>(column).map(|bytes| bytes as u64);
        Ok([bytes(0)?, bytes(1)?, bytes(2)?])
    })
}

/// Bytes of the database that hold something.
fn database_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    Ok((pragma("page_size")? * (pragma("page_count")? - pragma("freelist_count")?)).max(0) as u64)
}

/// The chain that goes first, and how much of it may.
fn oldest(connection: &Connection, too_young: i64) -> rusqlite::Result<Option<Oldest>> {
    let first: Option<i64> = connection
        .prepare_cached("SELECT id FROM records ORDER BY id LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let Some(id) = first else { return Ok(None) };
    let (chain, first) = (id as u64 / SEQUENCES, tables::sequence_of(id));
    let last = tables::head(connection, chain)?.map_or(first, |(sequence, _)| sequence);
    let held_below = tables::acknowledged_below(connection, chain)?.min(last + 1);
    let old_below = old_below(connection, chain, first, held_below, too_young)?;
    Ok(Some(Oldest {
        chain,
        first,
        removable: old_below.saturating_sub(first),
        count: last + 1 - first,
    }))
}

/// The sequence below which records are older than `too_young`. Triggers come in order but for clocks that are set, so halving finds it.
fn old_below(connection: &Connection, chain: u64, first: u64, below: u64, too_young: i64) -> rusqlite::Result<u64> {
    let mut time_of = connection.prepare_cached("SELECT at_unix_ns FROM records WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    let (mut old, mut young) = (first, below);
    while old < young {
        let middle = old + (young - old) / 2;
        let time: Option<i64> = time_of.query_row([tables::id(chain, middle)], |row| row.get(0)).optional()?;
        if time.is_some_and(|time| time < too_young) {
            old = middle + 1;
        } else {
            young = middle;
        }
    }
    Ok(old)
}

fn remove_set_aside(folder: &Path) {
    if let Some(path) = set_aside::all(folder).first() {
        tracing::error!(folder = %path.display(), "a damaged journal is removed for want of space");
        if let Err(error) = fs::remove_dir_all(path) {
            tracing::error!(folder = %path.display(), %error, "failed to remove a damaged journal; remove it by hand");
        }
    }
}

/// Removes the oldest images of a sort, of as many bytes or a step. The file goes first: that works on a full disk too, and a row whose
/// file is gone is put right at start.
fn remove_images(journal: &mut Journal, what: What, bytes: u64) -> Result<(), JournalError> {
    let of_sort = match what {
        What::SampledOk => "(why = 3) = 1 AND state <= 2",
        What::SentImages => "(why = 3) = 0 AND state = 2",
        _ => "(why = 3) = 0 AND state = 1",
    };
    let evidence = journal.shared().folder.join(EVIDENCE);
    let find = format!("SELECT record, camera, file, size_bytes FROM images WHERE {of_sort} ORDER BY record LIMIT ?1");
    let remove = |connection: &mut Connection| -> rusqlite::Result<u64> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut count, mut freed) = (0, 0);
        {
            let found = transaction
                .prepare_cached(&find)?
                .query_map([IMAGES_AT_A_TIME as i64], |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, String>(1)?,
                        row.get::<_, String>(2)?,
                        row.get::<_, i64>(3)?,
                    ))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let mut mark = transaction.prepare_cached("UPDATE images SET state = ?1 WHERE record = ?2 AND camera = ?3")?;
            for (record, camera, file, size) in found {
                if freed >= bytes {
                    break;
                }
                remove_file(&evidence.join(&file));
                mark.execute(params![State::Removed as i64, record, camera])?;
                (count, freed) = (count + 1, freed + size as u64);
            }
        }
        transaction.commit()?;
        Ok(count)
    };
    let removed = remove(journal.connection()).map_err(|source| journal.shared().failed(source))?;
    tracing::info!(images = removed, sort = ?what, "images were removed for want of space");
    Ok(())
}

fn remove_file(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::error!(file = %path.display(), %error, "failed to remove an image; remove it by hand");
    }
}

/// Names those of the oldest records that exist nowhere else, before they go.
fn name_what_is_lost(journal: &mut Journal, oldest: &Oldest, count: u64) -> Result<(), JournalError> {
    let (first, last) = (oldest.first, oldest.first + count - 1);
    let shared = std::sync::Arc::clone(journal.shared());
    let ranges = unacknowledged(journal.connection(), oldest.chain, first, last).map_err(|source| shared.failed(source))?;
    if oldest.chain != shared.chain {
        tracing::error!(
            first,
            last,
            ?ranges,
            "records of an earlier epoch are removed for want of space; these the historian does not hold"
        );
        return Ok(());
    }
    if !ranges.is_empty() {
        tracing::error!(?ranges, "records are removed for want of space that the historian does not hold");
    }
    let records: Vec<_> = ranges.iter().map(|(from, to)| lost(*from, *to, LostReason::DiskFull)).collect();
    journal.append(&records).map(|_| ())
}

/// What of a range the historian does not hold.
fn unacknowledged(connection: &Connection, chain: u64, first: u64, last: u64) -> rusqlite::Result<Vec<(u64, u64)>> {
    let mut statement =
        connection.prepare_cached("SELECT first, last FROM acknowledged WHERE chain = ?1 AND last >= ?2 AND first <= ?3 ORDER BY first")?;
    let mut rows = statement.query([chain as i64, first as i64, last as i64])?;
    let (mut ranges, mut next) = (Vec::new(), first);
    while let Some(row) = rows.next()? {
        let held = (row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
        if held.0 > next {
            ranges.push((next, held.0 - 1));
        }
        next = next.max(held.1 + 1);
    }
    if next <= last {
        ranges.push((next, last));
    }
    Ok(ranges)
}

/// Removes the oldest records of a chain with all that belongs to them. What follows is verified from there on.
fn remove_records(journal: &mut Journal, oldest: &Oldest, count: u64) -> Result<(), JournalError> {
    if count == 0 {
        return Ok(());
    }
    let evidence = journal.shared().folder.join(EVIDENCE);
    let (chain, last) = (oldest.chain, oldest.first + count - 1);
    let ids = [tables::id(chain, oldest.first), tables::id(chain, last)];
    let remove = |connection: &mut Connection| -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let hash: Option<[u8; 32]> = transaction
            .prepare_cached("SELECT hash FROM records WHERE id = ?1")?
            .query_row([ids[1]], |row| row.get(0))
            .optional()?;
        let files = transaction
            .prepare_cached("SELECT file FROM images WHERE record BETWEEN ?1 AND ?2 AND state <= 2")?
            .query_map(ids, |row| row.get::<_, String>(0))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        for file in files {
            remove_file(&evidence.join(file));
        }
        for delete in [
            "DELETE FROM images WHERE record BETWEEN ?1 AND ?2",
            "DELETE FROM record_labels WHERE label IN (SELECT id FROM labels) AND record BETWEEN ?1 AND ?2",
            "DELETE FROM records WHERE id BETWEEN ?1 AND ?2",
        ] {
            transaction.prepare_cached(delete)?.execute(ids)?;
        }
        transaction
            .prepare_cached("DELETE FROM labels WHERE NOT EXISTS (SELECT 1 FROM record_labels WHERE label = labels.id)")?
            .execute([])?;
        transaction
            .prepare_cached("DELETE FROM acknowledged WHERE chain = ?1 AND last <= ?2")?
            .execute([chain as i64, last as i64])?;
        tables::set_anchor(&transaction, chain, last + 1, &hash.unwrap_or(NO_HASH))?;
        transaction.commit()?;
        // Gives the pages back to the disk.
        let mut vacuum = connection.prepare_cached("PRAGMA incremental_vacuum")?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
        Ok(())
    };
    remove(journal.connection()).map_err(|source| journal.shared().failed(source))?;
    tracing::info!(chain, last, count, "records were removed for want of space");
    Ok(())
}

fn bytes_below(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| bytes_below(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::database::tests::{journal_of, open, part, parts};
    use super::super::evidence::{EvidenceJob, FramePlaces, Why};
    use super::super::log::RecordLog;
    use super::super::verify::verify;
    use super::*;
    use crate::rpc::proto::record::Body;

    fn quota(bytes: u64, when_full: WhenFull) -> Quota {
        Quota {
            bytes,
            keep: Duration::ZERO,
            when_full,
        }
    }

    fn usages() -> impl Strategy<Value = Usage> {
        proptest::array::uniform6(0_u64..1000).prop_map(Usage)
    }

    proptest! {
        #[test]
        fn nothing_goes_while_something_before_it_is_left(usage in usages(), bytes in 1_u64..5000, drop_oldest: bool) {
            let when_full = if drop_oldest { WhenFull::DropOldest } else { WhenFull::Stop };
            let plan = plan(&quota(bytes, when_full), &usage);
            for (index, (what, bytes)) in plan.removals.iter().enumerate() {
                prop_assert!(*bytes > 0 && *bytes <= usage.0[*what as usize]);
                if *bytes < usage.0[*what as usize] {
                    prop_assert_eq!(index + 1, plan.removals.len(), "what is cut is the last");
                }
                for before in What::ALL.into_iter().filter(|before| before < what && usage.0[*before as usize] > 0) {
                    prop_assert!(plan.removals.contains(&(before, usage.0[before as usize])));
                }
            }
        }

        #[test]
        fn no_more_goes_than_must_and_what_is_left_is_what_is_said(usage in usages(), bytes in 1_u64..5000, drop_oldest: bool) {
            let when_full = if drop_oldest { WhenFull::DropOldest } else { WhenFull::Stop };
            let plan = plan(&quota(bytes, when_full), &usage);
            let removed: u64 = plan.removals.iter().map(|(_, bytes)| bytes).sum();
            let left = usage.total() - removed;
            let (start, target) = (bytes as f64 * START, bytes as f64 * TARGET);
            if usage.total() as f64 <= start - 1.0 {
                prop_assert_eq!(removed, 0);
            }
            prop_assert!(removed == 0 || left as f64 >= target - 1.0);
            let lost = plan.removals.iter().any(|(what, _)| *what == What::OtherRecords);
            prop_assert!(!lost || (drop_oldest && usage.total() - (removed - plan.removals.last().unwrap().1) >= bytes));
            match plan.space {
                Space::None => prop_assert!(left >= bytes && !(drop_oldest && usage.0[What::OtherRecords as usize] > 0 && !lost)),
                Space::Little => prop_assert!(left < bytes && left as f64 > start - 1.0),
                Space::Enough => prop_assert!((left as f64) <= start + 1.0),
            }
        }
    }

    /// Keeps until nothing more goes.
    fn settle(keeper: &mut Keeper, journal: &mut Journal) -> Space {
        let mut state = None;
        for _ in 0..1000 {
            let space = keeper.keep(journal).unwrap();
            let now = keeper.usage(journal).unwrap().0;
            if state == Some((space, now)) {
                break;
            }
            state = Some((space, now));
        }
        state.unwrap().0
    }

    #[test]
    fn acknowledged_records_go_and_the_rest_is_verified_from_there_on() {
        let (folder, mut journal) = journal_of(6000);
        let reader = journal.reader().unwrap();
        let all = Keeper::new(quota(u64::MAX, WhenFull::Stop)).usage(&mut journal).unwrap().0.total();
        let mut keeper = Keeper::new(quota(all / 2, WhenFull::Stop));
        assert_eq!(settle(&mut keeper, &mut journal), Space::None, "nothing may go");
        assert_eq!(reader.read(1, 1, 1).unwrap().len(), 1);
        reader.acknowledge(&[1..=5000]).unwrap();
        let before = reader.hash_of(1).unwrap();
        assert!(before.is_some());
        assert_ne!(settle(&mut keeper, &mut journal), Space::None);
        let first = reader.read(1, 6000, 1).unwrap()[0].0;
        assert!((2..=5001).contains(&first), "{first}");
        assert!(reader.hash_of(first - 1).unwrap().is_some(), "the anchor knows what was before");
        assert_eq!(reader.acknowledged_below().unwrap(), 5001);
        let report = verify(folder.path()).unwrap();
        assert!(
            report.is_whole() && report.lost == 0 && report.records == 6001 - first,
            "{report:?}"
        );
        drop(journal);
        assert_eq!(open(folder.path()).1.next_sequence, 6001);
    }

    #[test]
    fn what_nobody_else_holds_is_named_before_it_goes() {
        let (folder, mut journal) = journal_of(6000);
        let reader = journal.reader().unwrap();
        reader.acknowledge(&[101..=200]).unwrap();
        let all = Keeper::new(quota(u64::MAX, WhenFull::Stop)).usage(&mut journal).unwrap().0.total();
        let mut keeper = Keeper::new(quota(all * 3 / 4, WhenFull::DropOldest));
        settle(&mut keeper, &mut journal);
        let kept = reader.read(1, u64::MAX, usize::MAX).unwrap();
        let first = kept[0].0;
        assert!(first > 200);
        let mut named: Vec<(u64, u64)> = Vec::new();
        for (_, bytes) in kept {
            let record = crate::journal::record_table::Stored::read(bytes).unwrap().record;
            if let Some(Body::Lost(lost)) = record.body {
                named.push((lost.from, lost.to));
            }
        }
        assert_eq!(named.first(), Some(&(1, 100)));
        assert_eq!(named.get(1).map(|range| range.0), Some(201));
        assert_eq!(named.last().map(|range| range.1), Some(first - 1));
        assert!(verify(folder.path()).unwrap().is_whole());
    }

    #[test]
    fn samples_go_before_rejects_and_their_rows_say_so() {
        let (folder, mut journal) = journal_of(4);
        let reader = journal.reader().unwrap();
        let (jobs, waiting) = crate::flow::bounded("evidence", 8, crate::flow::WhenFull::DropNewest);
        let places = FramePlaces::default();
        for (sequence, why) in [(1, Why::NotOk), (2, Why::SampledOk), (3, Why::SampledOk), (4, Why::NotDecidable)] {
            let evidence = places.hold("top", &super::super::evidence::tests::frame(), why);
            jobs.send(EvidenceJob { sequence, evidence }).unwrap();
        }
        drop(jobs);
        super::super::evidence::run(&waiting, &reader, &mut |error| panic!("{error}"));
        let images = Keeper::new(quota(1, WhenFull::Stop)).usage(&mut journal).unwrap().0;
        remove_images(&mut journal, What::SampledOk, 1).unwrap();
        let states = || {
            (1..=4)
                .map(|sequence| reader.images_of(sequence).unwrap()[0].state)
                .collect::<Vec<_>>()
        };
        assert_eq!(states(), [State::Kept, State::Removed, State::Kept, State::Kept]);
        remove_images(&mut journal, What::UnsentImages, u64::MAX).unwrap();
        assert_eq!(states(), [State::Removed, State::Removed, State::Kept, State::Removed]);
        let after = Keeper::new(quota(1, WhenFull::Stop)).usage(&mut journal).unwrap().0;
        assert_eq!((after.0[1], after.0[3]), (images.0[1] / 2, 0));
        assert!(verify(folder.path()).unwrap().is_whole());
    }

    #[test]
    fn a_typical_record_takes_what_is_said() {
        let (_folder, mut journal) = journal_of(0);
        for start in (0..20_000).step_by(200) {
            journal.append(&parts(start..start + 200)).unwrap();
        }
        let bytes = database_bytes(journal.connection()).unwrap() / 20_000;
        assert!((RECORD_BYTES / 2..=RECORD_BYTES).contains(&bytes), "{bytes}");
    }

    #[test]
    fn the_bound_for_two_weeks_holds_what_it_is_for() {
        let load = Load {
            parts_per_s: 2.0,
            reject_share: 0.02,
            sampled_share: 0.01,
            images_per_part: 1.0,
            image_bytes: 250_000,
            record_bytes: RECORD_BYTES,
        };
        let quota_bytes = quota_for(14.0, &load);
        // 2,419,200 parts, 72,092 of them with an image.
        let used = 2_419_200 * RECORD_BYTES + 72_093 * 250_000;
        assert_eq!(
            plan(&quota(quota_bytes, WhenFull::Stop), &Usage([0, 0, 0, 0, 0, used - 250_000])).space,
            Space::Enough
        );
        assert!(quota_bytes < used * 11 / 10);
        let _ = part(1);
    }
}
