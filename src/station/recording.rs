//! Records on their way from the line to the journal, and what becomes of them there.
//!
//! ```text
//! line thread --Report--> reporter --Entry--> journal (writer thread) --images--> evidence
//!                            |                    |
//!                      standard output       what is committed: black box cursor, forwarder, line controllers
//! ```

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::build::{Control, StationError, spawn};
use super::line_thread::{LineInput, Recorded, Report};
use super::reporter::{self, Departed, ReportFormat};
use crate::config::station::{StationConfig, WhenDiskFull};
use crate::flow::{self, Receiver, Sender, WhenFull, bounded};
use crate::journal::database::{Damage, Journal, NewRecord};
use crate::journal::evidence;
use crate::journal::record_table::Stored;
use crate::journal::retention::{self, Keeper, Quota};
use crate::journal::writer::{self, Entry, JournalListener, JournalState};
use crate::line::event::RecordsKept;
use crate::rpc::convert::{self, RecordContext};
use crate::rpc::proto::{self, record::Body};
use crate::telemetry::Metrics;

/// Records that may wait for the journal's writer, which holds as many again; beyond that the newest are dropped and counted. They are in the
/// black box all the same.
const ENTRIES_MAX: usize = 65_536;

/// Images that may wait for their file; there are fewer frames to be held.
const IMAGES_MAX: usize = 64;

/// What it takes to keep records.
pub struct Keeping {
    /// Where they are kept.
    pub journal: Journal,
    /// The models that look at parts.
    pub models: Vec<proto::Model>,
    /// Which parts have left before.
    pub departed: Departed,
    /// Sequence below which every part has left.
    pub reported_below: Arc<AtomicU64>,
    /// Is told how the journal is.
    pub line: Sender<LineInput>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl Keeping {
    /// Starts the threads that print, write records and write images. They end when nobody reports any more.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn start(
        self,
        config: &StationConfig,
        reports: Receiver<Report>,
        (format, mut output): (ReportFormat, Box<dyn Write + Send>),
        control: &Sender<Control>,
    ) -> Result<[(&'static str, JoinHandle<()>); 3], StationError> {
        let (entries, to_record) = bounded("journal", ENTRIES_MAX, WhenFull::DropNewest);
        let (images, to_write) = bounded("evidence", IMAGES_MAX, WhenFull::DropNewest);
        let context = RecordContext {
            recipe_name: config.recipe.name.clone(),
            models: self.models,
            ok_share: config.journal.ok_share,
        };
        let metrics = Arc::clone(&self.metrics);
        let report = move || {
            reporter::run(&reports, format, &mut output, &mut |recorded| {
                if entries.send(entry(recorded, &context)).is_err() {
                    metrics.record_dropped();
                }
            });
        };
        let mut listener = RecordedParts {
            departed: self.departed,
            reported_below: self.reported_below,
            line: self.line,
            metrics: self.metrics,
        };
        let (keeper, reader, journal) = (Keeper::new(quota(config)), self.journal.reader()?, self.journal);
        let write = move || {
            writer::run(journal, keeper, &to_record, &images, &mut listener);
        };
        let write_images = move || {
            evidence::run(&to_write, &reader, &mut |error| tracing::error!(%error, "an image is not kept"));
        };
        Ok([
            ("reporter", spawn("reporter", control, report)?),
            ("journal", spawn("journal", control, write)?),
            ("evidence", spawn("evidence", control, write_images)?),
        ])
    }
}

fn quota(config: &StationConfig) -> Quota {
    Quota {
        bytes: config.journal.quota_bytes,
        keep: config.journal.kept_min,
        when_full: match config.journal.when_full {
            WhenDiskFull::Stop => retention::WhenFull::Stop,
            WhenDiskFull::DropOldest => retention::WhenFull::DropOldest,
        },
    }
}

/// What is recorded becomes an entry of the journal.
fn entry(recorded: Recorded, context: &RecordContext) -> Entry {
    let (body, evidence) = match recorded {
        Recorded::Part { record, evidence } => (convert::body(&record, context, !evidence.is_empty()), evidence),
        Recorded::Disposition {
            plc_session,
            cycle_id,
            what,
        } => (convert::disposition(plc_session, cycle_id, what), Vec::new()),
    };
    let record = NewRecord {
        body,
        recorded_unix_ns: flow::unix_now_ns(),
        clock_quality: convert::clock_quality(flow::clock_quality()),
    };
    Entry { record, evidence }
}

/// Hears what becomes of records, on the writer's thread.
struct RecordedParts {
    /// Which parts have left.
    departed: Departed,
    reported_below: Arc<AtomicU64>,
    line: Sender<LineInput>,
    metrics: Arc<Metrics>,
}

impl RecordedParts {
    fn depart(&mut self, part_sequence: u64) {
        self.reported_below.store(self.departed.add(part_sequence), Ordering::Relaxed);
    }
}

impl JournalListener for RecordedParts {
    fn committed(&mut self, records: &[Arc<Stored>]) {
        self.metrics.recorded(records.len() as u64);
        for stored in records {
            if let Some(Body::Part(part)) = &stored.record.body {
                self.depart(part.part_sequence);
            }
        }
    }

    fn already_recorded(&mut self, part_sequence: u64) {
        self.depart(part_sequence);
    }

    fn state_changed(&mut self, state: &JournalState) {
        let kept = match state {
            JournalState::Healthy => RecordsKept::Safely,
            JournalState::NearlyFull => RecordsKept::Barely,
            JournalState::Full => RecordsKept::Full,
            JournalState::Failing(_) => RecordsKept::Failing,
        };
        match state {
            JournalState::Healthy => tracing::info!("the journal takes records"),
            JournalState::NearlyFull => tracing::warn!("the journal has little space left, and nothing more can be removed"),
            JournalState::Full => tracing::error!("the journal is full; no part is taken until there is space"),
            JournalState::Failing(reason) => tracing::error!(reason, "the journal takes no records; no part is taken until it does"),
        }
        let _ = self.line.send(LineInput::RecordsKept(kept));
    }

    fn dropped(&mut self, _: &Body) {
        self.metrics.record_dropped();
        tracing::error!("a record was dropped: the journal takes none, and too many wait; the black box has it until it is overwritten");
    }

    fn damaged(&mut self, damage: &Damage) {
        tracing::error!(?damage, "the journal was damaged; it is set aside, and a new one begun");
    }
}
