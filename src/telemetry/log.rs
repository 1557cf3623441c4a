//! The log: which lines there are, and where they go. Whoever logs never waits: lines that find [`LINES_MAX`] others waiting are dropped and
//! counted.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::journald::{JournalLayer, JournalSocket, SOCKET};

/// Lines that wait for their reader; beyond that the newest are dropped and counted.
pub const LINES_MAX: usize = 16_384;

/// What is logged unless somebody says otherwise.
const FILTER: &str = "warn,ort=error,tonic::transport::server::io_stream=debug";

/// What the system's journal gets besides: a line for each part.
const FILTER_JOURNALD: &str = "takt::part=info";

/// Names a filter that counts more than any configuration.
const FILTER_VARIABLE: &str = "TAKT_LOG";

/// Lines that nobody will read. A process has one log, as the crate `tracing` has it.
static DROPPED: OnceLock<Dropped> = OnceLock::new();

struct Dropped {
    /// Too many waited.
    waiting: ErrorCounter,
    /// Journald did not take them.
    refused: Arc<AtomicU64>,
}

/// Lines of the log that nobody will read, since the start.
pub fn lines_dropped() -> u64 {
    let count = |dropped: &Dropped| dropped.waiting.dropped_lines() as u64 + dropped.refused.load(Ordering::Relaxed);
    DROPPED.get().map_or(0, count)
}

/// The log of this process.
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    goes_to_journald: bool,
    writer: Option<WorkerGuard>,
}

/// Why the log stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none.
    #[error("failed to set the log filter {filter:?}: {source}; write levels and modules, like \"warn,takt::plc=debug\"")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// There is no log to set.
    #[error("failed to set the log filter: {0}")]
    Gone(#[from] reload::Error),
}

impl Log {
    /// Begins to log: to the system's journal where standard error leads there, else to standard error.
    pub fn start() -> Self {
        let refused = Arc::<AtomicU64>::default();
        let journald = if leads_to_journald() {
            JournalSocket::new(Path::new(SOCKET), Arc::clone(&refused)).ok()
        } else {
            None
        };
        let goes_to_journald = journald.is_some();
        let (filter, handle) = reload::Layer::new(usual_filter(goes_to_journald));
        let (lines, writer) = match journald {
            Some(socket) => non_blocking(socket),
            None => non_blocking(io::stderr()),
        };
        let waiting = lines.error_counter();
        DROPPED.get_or_init(|| Dropped { waiting, refused });
        let output = if goes_to_journald {
            JournalLayer::new(move || lines.clone()).boxed()
        } else {
            let text = tracing_subscriber::fmt::layer().with_ansi(io::stderr().is_terminal());
            text.with_writer(move || lines.clone()).boxed()
        };
        tracing_subscriber::registry().with(filter).with(output).init();
        Self {
            filter: handle,
            goes_to_journald,
            writer: Some(writer),
        }
    }

    /// Whether lines become entries of the system's journal, with fields.
    pub fn goes_to_journald(&self) -> bool {
        self.goes_to_journald
    }

    /// Logs what `filter` says from now on; with `None` what is usual. The variable `TAKT_LOG` counts more.
    ///
    /// # Errors
    /// When it is no filter. The log stays as it is.
    pub fn set_filter(&self, filter: Option<&str>) -> Result<(), LogError> {
        if std::env::var_os(FILTER_VARIABLE).is_some() {
            return Ok(());
        }
        let filter = match filter {
            Some(filter) => parse(filter)?,
            None => usual_filter(self.goes_to_journald),
        };
        Ok(self.filter.reload(filter)?)
    }

    /// Writes what is left. Returns how many lines nobody will read.
    pub fn end(mut self) -> u64 {
        drop(self.writer.take());
        lines_dropped()
    }
}

/// Levels and modules, as the crate `tracing-subscriber` writes them.
///
/// # Errors
/// When it is no filter.
pub fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(filter).map_err(|source| LogError::Filter {
        filter: filter.into(),
        source,
    })
}

fn usual_filter(journald: bool) -> EnvFilter {
    EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| {
        if journald {
            EnvFilter::new(format!("{FILTER},{FILTER_JOURNALD}"))
        } else {
            EnvFilter::new(FILTER)
        }
    })
}

fn non_blocking(writer: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .thread_name("log")
        .finish(writer)
}

/// Whether standard error is the stream that the service manager connected to its journal: `JOURNAL_STREAM` names device and inode.
fn leads_to_journald() -> bool {
    let Ok(stderr) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stream(&stream, stderr.st_dev, stderr.st_ino))
}

fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    let numbers = stream.split_once(':');
    numbers.is_some_and(|(left, right)| left.parse() == Ok(device) && right.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_stream_that_was_named_is_the_journals() {
        assert!(is_stream("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", "8:1234:5", "a:b"] {
            assert!(!is_stream(other, 8, 1234), "{other}");
        }
    }

    #[test]
    fn what_is_no_filter_is_said() {
        assert!(parse("warn,takt::plc=debug").is_ok());
        let refused = parse("takt=loud").unwrap_err().to_string();
        assert!(refused.contains("takt=loud") && refused.contains("takt::plc=debug"), "{refused}");
    }

    #[test]
    fn the_usual_filters_are_filters() {
        assert!(parse(FILTER).is_ok() && parse(&format!("{FILTER},{FILTER_JOURNALD}")).is_ok());
    }
}
