//! Records on their way from the line to the journal, and what becomes of them there.
//!
//! ```text
//! line thread --Recorded--> recorder --Entry--> journal (writer thread) --images--> evidence
//!                                                  |
//!                                   what is committed: black box cursor, forwarder, line controllers
//! ```

use std::sync::Arc;
use std::thread::JoinHandle;

use super::departures::{Departures, Left};
use super::error::StationError;
use super::line_thread::{LineInput, Recorded};
use super::models::KnownModels;
use super::probe::Stage;
use super::threads::{Control, spawn};
use crate::config::station::{RecipeConfig, StationConfig, WhenDiskFull};
use crate::flow::{self, Receiver, Sender, WhenFull, bounded};
use crate::journal::database::{Damage, Journal, NewRecord};
use crate::journal::evidence;
use crate::journal::record_table::Stored;
use crate::journal::retention::{self, Keeper, Quota};
use crate::journal::writer::{self, Entry, JournalListener, JournalState};
use crate::line::event::RecordsKept;
use crate::rpc::convert::{self, RecipeTitle, RecordContext};
use crate::rpc::proto::record::Body;
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
    /// The models behind each checksum.
    pub models: KnownModels,
    /// Which parts have left.
    pub departures: Departures,
    /// Is told how the journal is.
    pub line: Sender<LineInput>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl Keeping {
    /// Starts the threads that make records, write them and write images. They end when nothing more is to be recorded.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn start(
        self,
        config: &StationConfig,
        recorded: Receiver<Recorded>,
        control: &Sender<Control>,
    ) -> Result<[(&'static str, JoinHandle<()>); 3], StationError> {
        let (entries, to_record) = bounded("journal", ENTRIES_MAX, WhenFull::DropNewest);
        let (images, to_write) = bounded("evidence", IMAGES_MAX, WhenFull::DropNewest);
        let known = self.models;
        let mut context = RecordContext {
            recipes: config.recipes.iter().map(title).collect(),
            models: Vec::new(),
            ok_share: config.journal.ok_share,
        };
        let (metrics, image_metrics) = (Arc::clone(&self.metrics), Arc::clone(&self.metrics));
        let record = move || {
            while let Some(recorded) = recorded.receive() {
                if let Recorded::Part { record, .. } = &recorded {
                    context.models = known.of(record.config_checksum);
                }
                if let Some(entry) = entry(recorded, &context)
                    && entries.send(entry).is_err()
                {
                    metrics.record_dropped();
                }
            }
        };
        let mut listener = RecordedParts {
            departures: self.departures,
            line: self.line,
            metrics: self.metrics,
        };
        let (keeper, reader, journal) = (Keeper::new(quota(config)), self.journal.reader()?, self.journal);
        let write = move || {
            writer::run(journal, keeper, &to_record, &images, &mut listener);
        };
        let write_images = move || evidence::run(&to_write, &reader, &mut |_| image_metrics.image_dropped());
        Ok([
            ("recorder", spawn("recorder", control, record)?),
            ("journal", spawn("journal", control, write)?),
            ("evidence", spawn("evidence", control, write_images)?),
        ])
    }
}

fn title(recipe: &RecipeConfig) -> RecipeTitle {
    RecipeTitle {
        number: recipe.number,
        name: recipe.name.clone(),
        revision: recipe.revision.clone(),
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

/// What is recorded becomes an entry of the journal; a probe ends here.
fn entry(recorded: Recorded, context: &RecordContext) -> Option<Entry> {
    let (body, evidence) = match recorded {
        Recorded::Part { record, evidence } => (convert::body(&record, context, !evidence.is_empty()), evidence),
        Recorded::Disposition {
            plc_session,
            cycle_id,
            what,
        } => (convert::disposition(plc_session, cycle_id, what), Vec::new()),
        Recorded::ModelChange(change) => (convert::model_change(&change), Vec::new()),
        Recorded::Probe(probe) => {
            probe.crosses(Stage::Recorder, flow::now());
            return None;
        }
    };
    let record = NewRecord {
        body,
        recorded_unix_ns: flow::unix_now_ns(),
        clock_quality: convert::clock_quality(flow::clock_quality()),
    };
    Some(Entry { record, evidence })
}

/// Hears what becomes of records, on the writer's thread.
struct RecordedParts {
    departures: Departures,
    line: Sender<LineInput>,
    metrics: Arc<Metrics>,
}

impl JournalListener for RecordedParts {
    fn committed(&mut self, records: &[Arc<Stored>]) {
        self.metrics.recorded(records.len() as u64);
        for stored in records {
            if let Some(Body::Part(part)) = &stored.record.body {
                self.departures.tell(part.part_sequence, Left::Recorded);
            }
        }
    }

    fn already_recorded(&mut self, part_sequence: u64) {
        self.departures.tell(part_sequence, Left::Recorded);
    }

    fn state_changed(&mut self, state: &JournalState) {
        let kept = match state {
            JournalState::Healthy => RecordsKept::Safely,
            JournalState::NearlyFull => RecordsKept::Barely,
            JournalState::Full => RecordsKept::Full,
            JournalState::Failing(_) => RecordsKept::Failing,
        };
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
