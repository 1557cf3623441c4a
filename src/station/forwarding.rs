//! The thread on which records go to the historian.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::line_thread::LineInput;
use crate::config::station::HistorianConfig;
use crate::flow::Sender;
use crate::journal::log::RecordLog;
use crate::rpc::forwarder::{self, Endpoint, ForwarderState};

/// What a station that stops still waits for the historian to take; the rest is sent after the next start.
const DRAIN_MAX: Duration = Duration::from_millis(1500);

/// How often it looks whether everything was taken by then.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// Why records cannot be sent at all.
#[derive(Debug, thiserror::Error)]
#[error("failed to use the historian of [historian]: {0}")]
pub struct HistorianError(String);

/// The historian as the configuration says.
///
/// # Errors
/// When the address or a certificate is of no use.
pub fn endpoint(config: &HistorianConfig) -> Result<Endpoint, HistorianError> {
    let tls = match &config.security {
        Some(security) => {
            let (tls, warnings) = security.load().map_err(|error| HistorianError(error.to_string()))?;
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
            Some(tls)
        }
        None => None,
    };
    forwarder::endpoint(&config.url, tls).map_err(HistorianError)
}

/// Sends records until the station stops, then what is left, for a moment.
pub fn run(log: &Arc<dyn RecordLog>, historian: Endpoint, line: &Sender<LineInput>, stop: &CancellationToken) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "records are not sent: the system gives no network runtime"),
    };
    let (state, states) = watch::channel(ForwarderState::Starting);
    let drained = CancellationToken::new();
    runtime.block_on(async {
        tokio::join!(
            forwarder::forward(Arc::clone(log), historian, state, drained.clone()),
            tell(states, line),
            async {
                stop.cancelled().await;
                let _ = tokio::time::timeout(DRAIN_MAX, everything_taken(log)).await;
                drained.cancel();
            }
        );
    });
}

/// Until the historian has every record.
async fn everything_taken(log: &Arc<dyn RecordLog>) {
    while log.acknowledged_below().is_ok_and(|taken| taken < *log.written_below().borrow()) {
        tokio::time::sleep(DRAIN_POLL).await;
    }
}

/// Tells log and line how it stands, until the forwarder ends.
async fn tell(mut states: watch::Receiver<ForwarderState>, line: &Sender<LineInput>) {
    let mut refuses = false;
    while states.changed().await.is_ok() {
        let state = states.borrow_and_update().clone();
        match &state {
            ForwarderState::Starting => {}
            ForwarderState::Connected => tracing::info!("records reach the historian"),
            ForwarderState::Waiting { reason, .. } => tracing::warn!(reason, "records wait for the historian"),
            ForwarderState::Refused { reason } => {
                tracing::error!(reason, "the historian refuses this station's records; they are kept here");
            }
        }
        let now = matches!(state, ForwarderState::Refused { .. });
        // Waiting says nothing about whether it would refuse.
        if now != refuses && !matches!(state, ForwarderState::Waiting { .. }) {
            refuses = now;
            let _ = line.send(LineInput::HistorianRefuses(refuses));
        }
    }
}
