//! The writer: takes what is to be recorded off its channel and commits it in batches.
//!
//! A batch begins with its first entry, gathers for half of [`COMMIT_MAX`] at most, and the disk has the other half. While the disk does not
//! take it, everything waits in order, is tried again every [`RETRY`], and the state is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::database::{Damage, Journal, JournalError, NewRecord};
use super::evidence::{Evidence, EvidenceJob};
use super::record_table::Stored;
use super::retention::{Keeper, Space};
use crate::flow::{NothingReceived, Receiver, Sender};
use crate::rpc::proto::record::Body;

/// A record is on the disk this long after it came, where the disk takes a commit in half of it.
pub const COMMIT_MAX: Duration = Duration::from_millis(20);

/// Records of a commit; with as many waiting none is waited for.
pub const BATCH_MAX: usize = 1024;

/// Records that wait while the disk takes none: as many as the black box holds. Beyond, the oldest is dropped, counted and told: it is not
/// recorded unless the black box still has it at the next start.
pub const WAITING_MAX: usize = 65_536;

/// Time between attempts while the disk takes nothing.
pub const RETRY: Duration = Duration::from_secs(1);

/// What is to be recorded.
#[derive(Debug)]
pub struct Entry {
    /// The record.
    pub record: NewRecord,
    /// Pictures that belong to it.
    pub evidence: Vec<Evidence>,
}

/// How the journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalState {
    /// It takes records.
    Healthy,
    /// It takes records; little space is left and nothing can be removed any more.
    NearlyFull,
    /// No space is left, by quota or on the disk.
    Full,
    /// It does not take records, for this reason.
    Failing(String),
}

/// Hears what happens to records. Called by the writer's thread: it must not wait.
pub trait JournalListener {
    /// These are on the disk.
    fn committed(&mut self, records: &[Arc<Stored>]);

    /// This part was recorded in an earlier life.
    fn already_recorded(&mut self, part_sequence: u64);

    /// The journal's state changed.
    fn state_changed(&mut self, state: &JournalState);

    /// A record was dropped because [`WAITING_MAX`] others wait; the body says of which part.
    fn dropped(&mut self, body: &Body);

    /// The file in use was damaged and set aside.
    fn damaged(&mut self, damage: &Damage);
}

/// Writes until nobody sends any more and everything is committed, or, if the disk takes nothing, one last attempt has failed. Returns the
/// journal and how many records were not written.
pub fn run(
    journal: Journal,
    keeper: Keeper,
    entries: &Receiver<Entry>,
    evidence: &Sender<EvidenceJob>,
    listener: &mut dyn JournalListener,
) -> (Journal, usize) {
    let mut writer = Writer {
        journal,
        keeper,
        evidence,
        listener,
        waiting: VecDeque::new(),
        state: JournalState::Healthy,
        is_refused: false,
    };
    loop {
        let is_open = writer.gather(entries);
        writer.commit();
        if !is_open {
            while !writer.waiting.is_empty() && !writer.is_refused {
                writer.commit();
            }
            if !writer.waiting.is_empty() {
                tracing::error!(
                    records = writer.waiting.len(),
                    "records were not written when the journal closed; they are in the black box"
                );
            }
            return (writer.journal, writer.waiting.len());
        }
    }
}

struct Writer<'a> {
    journal: Journal,
    keeper: Keeper,
    evidence: &'a Sender<EvidenceJob>,
    listener: &'a mut dyn JournalListener,
    waiting: VecDeque<Entry>,
    state: JournalState,
    /// Whether the last commit failed.
    is_refused: bool,
}

impl Writer<'_> {
    /// Takes entries until it is time to commit. Returns whether more may come.
    fn gather(&mut self, entries: &Receiver<Entry>) -> bool {
        if self.waiting.is_empty() {
            match self.first(entries) {
                Ok(entry) => self.take(entry),
                Err(NothingReceived::TimedOut) => {
                    self.keep_space();
                    return true;
                }
                Err(NothingReceived::Closed) => return false,
            }
        }
        let wait = if self.is_refused { RETRY } else { COMMIT_MAX / 2 };
        let until = Instant::now() + wait;
        while self.is_refused || self.waiting.len() < BATCH_MAX {
            match entries.receive_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(entry) => self.take(entry),
                Err(NothingReceived::TimedOut) => return true,
                Err(NothingReceived::Closed) => return false,
            }
        }
        true
    }

    /// Waits for an entry: forever where all is well, else until space is looked for again.
    fn first(&self, entries: &Receiver<Entry>) -> Result<Entry, NothingReceived> {
        if self.state == JournalState::Healthy {
            entries.receive().ok_or(NothingReceived::Closed)
        } else {
            entries.receive_timeout(RETRY)
        }
    }

    fn take(&mut self, mut entry: Entry) {
        if self.is_refused {
            // Frames lie in the cameras' memory and cannot wait as long.
            entry.evidence.iter_mut().for_each(Evidence::forget);
        }
        self.waiting.push_back(entry);
        if self.waiting.len() > WAITING_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.listener.dropped(&oldest.record.body);
        }
    }

    /// Commits what waits, at most a batch.
    fn commit(&mut self) {
        let count = self.waiting.len().min(BATCH_MAX);
        if count == 0 {
            return;
        }
        let records = self.waiting.iter().take(count).map(|entry| &entry.record);
        match self.journal.append(records) {
            Ok(appended) => {
                self.is_refused = false;
                for part in &appended.already {
                    self.listener.already_recorded(*part);
                }
                self.listener.committed(&appended.stored);
                self.send_evidence(count, &appended.stored);
                self.keep_space();
            }
            Err(error) => self.failed(&error),
        }
    }

    /// The first `count` entries are recorded: their pictures follow.
    fn send_evidence(&mut self, count: usize, stored: &[Arc<Stored>]) {
        let mut stored = stored.iter().peekable();
        for entry in self.waiting.drain(..count) {
            // A part that was left out has no sequence of its own.
            let Some(record) = stored.next_if(|stored| is_of(stored.record.body.as_ref(), &entry.record.body)) else {
                continue;
            };
            for evidence in entry.evidence {
                let job = EvidenceJob {
                    sequence: record.sequence,
                    evidence,
                };
                if let Err(mut job) = self.evidence.send(job) {
                    // There are more places here than frames can be held: its thread is gone.
                    job.evidence.forget();
                    tracing::error!(sequence = job.sequence, "an image is not kept: nobody writes images any more");
                }
            }
        }
    }

    fn keep_space(&mut self) {
        let state = match self.keeper.keep(&mut self.journal) {
            Ok(Space::Enough) => JournalState::Healthy,
            Ok(Space::Little) => JournalState::NearlyFull,
            Ok(Space::None) => JournalState::Full,
            Err(error) => {
                tracing::error!(%error, "space cannot be made");
                JournalState::Failing(error.to_string())
            }
        };
        // It took records just now.
        self.tell(state);
    }

    fn failed(&mut self, error: &JournalError) {
        self.is_refused = true;
        if error.is_damage() {
            match self.journal.begin_anew(&error.to_string()) {
                Ok(damage) => {
                    self.is_refused = false;
                    return self.listener.damaged(&damage);
                }
                Err(error) => tracing::error!(%error, "the damaged journal cannot be replaced"),
            }
        }
        self.tell(if error.is_full() {
            JournalState::Full
        } else {
            JournalState::Failing(error.to_string())
        });
        for entry in &mut self.waiting {
            entry.evidence.iter_mut().for_each(Evidence::forget);
        }
        if error.is_full()
            && let Err(error) = self.keeper.make_room(&mut self.journal)
        {
            tracing::error!(%error, "no room can be made on the full disk");
        }
    }

    fn tell(&mut self, state: JournalState) {
        if self.state == state {
            return;
        }
        let waiting = self.waiting.len();
        match &state {
            JournalState::Healthy => tracing::info!("the journal takes records"),
            JournalState::NearlyFull => tracing::warn!("the journal has little space left, and nothing more can be removed"),
            JournalState::Full => tracing::error!(waiting, "the journal is full"),
            JournalState::Failing(reason) => tracing::error!(reason, waiting, "the journal takes no records"),
        }
        self.listener.state_changed(&state);
        self.state = state;
    }
}

/// Whether a record says this (its texts may have been cut).
fn is_of(recorded: Option<&Body>, given: &Body) -> bool {
    match (recorded, given) {
        (Some(Body::Part(recorded)), Body::Part(given)) => recorded.part_sequence == given.part_sequence,
        (Some(recorded), given) => std::mem::discriminant(recorded) == std::mem::discriminant(given),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::database::tests::{journal_of, part};
    use super::super::evidence::tests::frame;
    use super::super::evidence::{self, FramePlaces, State, Why};
    use super::super::retention::{Quota, WhenFull as WhenDiskFull};
    use super::super::verify::verify;
    use super::*;
    use crate::flow::{self, WhenFull, bounded};

    #[derive(Default)]
    struct Heard {
        committed: Vec<u64>,
        batches: Vec<usize>,
        already: Vec<u64>,
        states: Vec<JournalState>,
        dropped: usize,
        /// Called after each commit and each change of state.
        then: Option<Box<dyn FnMut()>>,
    }

    impl JournalListener for Heard {
        fn committed(&mut self, records: &[Arc<Stored>]) {
            self.batches.push(records.len());
            self.committed.extend(records.iter().map(|stored| stored.sequence));
        }

        fn already_recorded(&mut self, part_sequence: u64) {
            self.already.push(part_sequence);
        }

        fn state_changed(&mut self, state: &JournalState) {
            self.states.push(state.clone());
            if let Some(then) = &mut self.then {
                then();
            }
        }

        fn dropped(&mut self, _: &Body) {
            self.dropped += 1;
        }

        fn damaged(&mut self, _: &Damage) {}
    }

    fn keeper() -> Keeper {
        Keeper::new(Quota {
            bytes: u64::MAX,
            keep: Duration::ZERO,
            when_full: WhenDiskFull::Stop,
        })
    }

    fn entry(number: u64) -> Entry {
        Entry {
            record: part(number),
            evidence: Vec::new(),
        }
    }

    fn channel(entries: impl IntoIterator<Item = Entry>) -> flow::Receiver<Entry> {
        let (sender, receiver) = bounded("records", 200_000, WhenFull::DropNewest);
        for entry in entries {
            assert!(sender.send(entry).is_ok());
        }
        receiver
    }

    fn is_whole(folder: &Path) -> bool {
        verify(folder).unwrap().is_whole()
    }

    #[test]
    fn everything_is_committed_in_order_before_the_writer_ends() {
        let (folder, journal) = journal_of(0);
        let (jobs, _images) = bounded("evidence", 8, WhenFull::DropNewest);
        let mut heard = Heard::default();
        let (journal, left) = run(journal, keeper(), &channel((1..=3000).map(entry)), &jobs, &mut heard);
        assert_eq!((left, heard.committed), (0, (1..=3000).collect::<Vec<_>>()));
        assert!(heard.batches.iter().all(|count| *count <= BATCH_MAX) && heard.batches.len() < 100);
        assert_eq!(heard.states, []);
        drop(journal);
        assert!(is_whole(folder.path()));
    }

    #[test]
    fn pictures_follow_their_records_and_not_those_of_parts_recorded_before() {
        let (folder, journal) = journal_of(5);
        drop(journal);
        let (journal, _) = super::super::database::tests::open(folder.path());
        let (reader, places) = (journal.reader().unwrap(), FramePlaces::default());
        let (jobs, images) = bounded("evidence", 8, WhenFull::DropNewest);
        let with_image = |number| Entry {
            evidence: vec![places.hold("top", &frame(), Why::NotOk)],
            ..entry(number)
        };
        let mut heard = Heard::default();
        run(
            journal,
            keeper(),
            &channel([with_image(3), with_image(6), entry(7), with_image(8)]),
            &jobs,
            &mut heard,
        );
        assert_eq!((heard.already, heard.committed), (vec![3], vec![6, 7, 8]));
        drop(jobs);
        evidence::run(&images, &reader, &mut |error| panic!("{error}"));
        let kept = (1..=8).filter(|sequence| reader.images_of(*sequence).unwrap().iter().any(|image| image.state == State::Kept));
        assert_eq!(kept.collect::<Vec<_>>(), [6, 8]);
    }

    #[test]
    fn a_full_disk_is_told_and_what_waited_is_recorded_in_order_once_there_is_space() {
        let (folder, mut journal) = journal_of(10);
        let pages: i64 = journal.connection().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        journal.connection().pragma_update(None, "max_page_count", pages + 1).unwrap();
        let (sender, receiver) = bounded("records", 1000, WhenFull::DropNewest);
        for number in 11..=400 {
            assert!(sender.send(entry(number)).is_ok());
        }
        let (jobs, _images) = bounded("evidence", 8, WhenFull::DropNewest);
        let mut heard = Heard::default();
        // The channel closes when the disk is full: the last attempt fails too, and says how much it leaves.
        let mut sender = Some(sender);
        heard.then = Some(Box::new(move || drop(sender.take())));
        let (mut journal, left) = run(journal, keeper(), &receiver, &jobs, &mut heard);
        assert_eq!(
            (left, heard.states.as_slice(), heard.committed.len()),
            (390, &[JournalState::Full][..], 0)
        );
        journal.connection().pragma_update(None, "max_page_count", 1 << 30).unwrap();
        let (journal, left) = run(journal, keeper(), &channel((11..=400).map(entry)), &jobs, &mut heard);
        assert_eq!((left, heard.committed), (0, (11..=400).collect::<Vec<_>>()));
        drop(journal);
        assert!(is_whole(folder.path()));
    }

    #[test]
    fn while_the_disk_takes_nothing_the_oldest_goes_beyond_what_may_wait() {
        let (_folder, mut journal) = journal_of(1);
        journal.connection().pragma_update(None, "query_only", true).unwrap();
        let (jobs, _images) = bounded("evidence", 8, WhenFull::DropNewest);
        let mut heard = Heard::default();
        let entries = channel((2..WAITING_MAX as u64 + 102).map(entry));
        let (_, left) = run(journal, keeper(), &entries, &jobs, &mut heard);
        assert_eq!((left, heard.dropped, heard.committed.len()), (WAITING_MAX, 100, 0));
        assert!(matches!(heard.states.as_slice(), [JournalState::Failing(_)]), "{:?}", heard.states);
    }
}
