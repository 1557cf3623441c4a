//! The thread that has the gate's board: it tells the gate what inputs do, and opens the board anew when that has failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::GateInput;
use crate::flow::Sender;
use crate::gate::board::{Board, Inputs};

/// How long it waits for edges before it looks whether it is to stop, or the outputs have failed.
const EDGES_WAIT: Duration = Duration::from_millis(200);

/// The wait before a board that failed is opened anew: at first, and at most. It doubles with every failure.
const REOPEN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// The board, and whom it tells.
pub(super) struct BoardThread {
    pub(super) board: Box<dyn Board>,
    pub(super) gate: Sender<GateInput>,
    /// Edges were dropped.
    pub(super) overrun: Arc<AtomicBool>,
    /// The gate could not set an output.
    pub(super) outputs_failed: Arc<AtomicBool>,
    pub(super) stop: CancellationToken,
}

impl BoardThread {
    /// Runs until the station stops. The board was opened once, with these inputs.
    pub(super) fn run(mut self, mut inputs: Box<dyn Inputs>) {
        while self.tell_edges(inputs.as_mut()) {
            // Lines that are held cannot be taken anew.
            drop(inputs);
            let Some(again) = self.open_anew() else { break };
            inputs = again;
        }
        let _ = self.gate.send(GateInput::Stop);
    }

    /// Tells the gate what inputs do; whether that ended because the board failed, and not because the station stops.
    fn tell_edges(&self, inputs: &mut dyn Inputs) -> bool {
        while !self.stop.is_cancelled() {
            if self.outputs_failed.swap(false, Ordering::AcqRel) {
                return self.insist(GateInput::Failed(None));
            }
            match inputs.wait(EDGES_WAIT) {
                Ok(edges) if edges.is_empty() => {}
                Ok(edges) => {
                    if self.gate.send(GateInput::Edges(edges)).is_err() {
                        self.overrun.store(true, Ordering::Release);
                    }
                }
                Err(error) => return self.insist(GateInput::Failed(Some(error))),
            }
        }
        false
    }

    /// Opens the board as soon as it can be had; `None` when the station stops.
    fn open_anew(&mut self) -> Option<Box<dyn Inputs>> {
        let mut wait = REOPEN.0;
        while self.rests(wait) {
            match self.board.open() {
                Ok(opened) => {
                    let (levels, outputs) = (opened.levels, opened.outputs);
                    return self.insist(GateInput::Back { levels, outputs }).then_some(opened.inputs);
                }
                Err(error) => {
                    tracing::debug!(%error, "the gate's board cannot be opened yet");
                    wait = (2 * wait).min(REOPEN.1);
                }
            }
        }
        None
    }

    /// Tells the gate what it must not miss, as soon as there is room; `false` when the station stops.
    fn insist(&self, input: GateInput) -> bool {
        let mut left = input;
        while let Err(unsaid) = self.gate.send(left) {
            self.overrun.store(true, Ordering::Release);
            left = unsaid;
            if !self.rests(EDGES_WAIT) {
                return false;
            }
        }
        true
    }

    /// Waits; `false` as soon as the station stops.
    fn rests(&self, wait: Duration) -> bool {
        let mut left = wait;
        while !self.stop.is_cancelled() && !left.is_zero() {
            let turn = left.min(EDGES_WAIT);
            std::thread::sleep(turn);
            left -= turn;
        }
        !self.stop.is_cancelled()
    }
}
