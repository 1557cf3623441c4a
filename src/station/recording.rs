//! Records on their way from the line to the journal, and what becomes of them there.
//!
//! ```text
//! line thread --Report--> reporter --Entry--> journal (writer thread) --images--> evidence
//!                            |                    |
//!                      standard output       what is committed: black box cursor, forwarder, line controllers
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::line_thread::{LineInput, Recorded};
use crate::flow::{self, Sender};
use crate::journal::database::{Damage, NewRecord};
use crate::journal::record_table::Stored;
use crate::journal::writer::{Entry, JournalListener, JournalState};
use crate::line::event::RecordsKept;
use crate::rpc::convert::{self, RecordContext};
use crate::rpc::proto::record::Body;
use crate::station::reporter::Departed;
use crate::telemetry::Metrics;

/// What is recorded becomes an entry of the journal.
pub fn entry(recorded: Recorded, context: &RecordContext) -> Entry {
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
pub struct RecordedParts {
    /// Which parts have left.
    pub departed: Departed,
    /// Sequence below which every part has.
    pub reported_below: Arc<AtomicU64>,
    /// Is told how the journal is.
    pub line: Sender<LineInput>,
    /// Counts.
    pub metrics: Arc<Metrics>,
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
