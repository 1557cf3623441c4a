//! A station that runs: until it is told to stop or a stage fails, then taken down in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::departures::Departures;
use super::engines::WorkerState;
use super::error::StationError;
use super::line_thread::LineInput;
use super::model_desk::ModelDesk;
use super::outside::PlcWire;
use super::probe::Probe;
use super::threads::Control;
use crate::capture::Camera;
use crate::config::station::EngineConfig;
use crate::flow::{self, NothingReceived, Receiver, Sender};
use crate::journal::black_box::BlackBox;
use crate::journal::numbers::Numbers;
use crate::line::event::ProviderStanding;
use crate::model::activation::ModelsLoading;
use crate::telemetry::{Metrics, systemd};

/// How long after the last deadline the threads have to end.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// How a station's life ended.
#[derive(Debug)]
pub enum Ended {
    /// As it was told to.
    Stopped,
    /// This thread panicked; the outputs are safe.
    Failed(&'static str),
}

/// A station that runs.
pub struct Station {
    pub(super) line: JoinHandle<(Numbers, BlackBox)>,
    pub(super) inputs: Sender<LineInput>,
    pub(super) threads: Vec<(&'static str, JoinHandle<()>)>,
    pub(super) cameras: Vec<Arc<dyn Camera>>,
    pub(super) plc: PlcWire,
    pub(super) stop: CancellationToken,
    pub(super) deadline: Duration,
    pub(super) state_directory: PathBuf,
    pub(super) departures: Departures,
    pub(super) workers_starting: usize,
    pub(super) probes: Vec<Probe>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) engine: EngineConfig,
    /// Where other models are asked for; as long as it is there, they may be.
    pub(super) desk: Arc<ModelDesk>,
}

impl Station {
    /// The probe of each engine: whether verdicts could get through.
    pub fn probes(&self) -> Vec<Probe> {
        self.probes.clone()
    }

    /// How long a stop may take: what is open has its outcome by then, and who has not ended is named.
    pub fn stop_max(&self) -> Duration {
        self.deadline + 3 * STOP_GRACE
    }

    /// How long after its trigger a part has its outcome.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Runs until it is told to stop, or its line fails, then calls `ending` and takes it down.
    ///
    /// # Errors
    /// When a model does not load or does not prove itself: there is nothing to inspect with.
    pub fn run(mut self, control: &Receiver<Control>, ending: &dyn Fn()) -> Result<Ended, StationError> {
        let (mut failure, mut failed_stage) = (None, None);
        loop {
            match control.receive() {
                Some(Control::Worker(WorkerState::Ready)) => {
                    self.workers_starting = self.workers_starting.saturating_sub(1);
                    if self.workers_starting == 0 {
                        self.metrics.models_loading(0);
                        self.desk.tell_loading(None);
                        let _ = self.inputs.send(LineInput::ModelsReady(true));
                        // The PLC's port is served since before there were engines.
                        systemd::ready("models proven, PLC served");
                    }
                }
                Some(Control::Worker(WorkerState::Loading { model, number, of })) => self.loading(&model, number, of),
                Some(Control::Worker(WorkerState::Failed(error))) if self.engine.is_required && error.is_of_provider() => {
                    // Nothing is inspected, and whoever looks at the PLC is told why: more than an end of the process would say.
                    tracing::error!(error = %told(&error), "the provider that [engine] requires does not run the models");
                    systemd::status("the provider that [engine] requires does not run the models; nothing is inspected");
                    let _ = self.inputs.send(LineInput::Provider(ProviderStanding::Missing));
                    self.desk.tell_loading(None);
                }
                Some(Control::Worker(WorkerState::Failed(error))) => {
                    failure = Some(error);
                    break;
                }
                Some(Control::StageFailed(stage)) => {
                    failed_stage = Some(stage);
                    break;
                }
                Some(Control::Stop) => {
                    systemd::stopping();
                    break;
                }
                // A line that failed is started anew: the process does not stop.
                Some(Control::LineEnded) | None => break,
            }
        }
        ending();
        let ended = self.take_down(control);
        match (failure, failed_stage) {
            (Some(error), _) => Err(error.into()),
            (None, Some(stage)) => Ok(Ended::Failed(stage)),
            (None, None) => Ok(ended),
        }
    }

    /// A model is being loaded: minutes, where a GPU's compiler has not seen it before.
    fn loading(&self, package: &Path, number: usize, of: usize) {
        let (model, provider) = (package.display(), self.engine.options.provider);
        tracing::info!(%model, number, of, %provider, "loading a model and proving it");
        systemd::status(&format!("loading model {number} of {of} on {provider}: {model}"));
        self.metrics.models_loading(of + 1 - number);
        self.desk.tell_loading(Some(ModelsLoading {
            number,
            of,
            model: package.into(),
            provider: provider.to_string(),
        }));
    }

    /// No new parts; open ones to their outcome; then everything ends, and whoever does not is named.
    fn take_down(self, control: &Receiver<Control>) -> Ended {
        let _ = self.inputs.send(LineInput::Stop);
        let mut line_is_over = self.line.is_finished() || line_ended(control, self.deadline + STOP_GRACE);
        if !line_is_over {
            tracing::error!("open parts did not get their outcome in time; they are not decidable");
            let _ = self.inputs.send(LineInput::Abort);
            line_is_over = line_ended(control, STOP_GRACE);
        }
        // It said so with its last breath: joining takes no time.
        let line = line_is_over.then(|| self.line.join());
        // Nothing makes Accept fall any more, so nobody may go on reading it.
        self.stop.cancel();
        drop(self.plc);
        let (ended, black_box) = match line {
            Some(Ok((numbers, black_box))) => {
                if let Err(error) = numbers.write(&self.state_directory) {
                    tracing::error!(%error, "the counters of this run are lost");
                }
                (Ended::Stopped, Some(black_box))
            }
            Some(Err(_)) => (Ended::Failed("line"), None),
            None => {
                tracing::error!(thread = "line", "still running");
                (Ended::Stopped, None)
            }
        };
        // From here on nobody talks to the line: its channels close, and with them the threads that wait on them.
        drop(self.cameras);
        drop(self.desk);
        drop(self.inputs);
        let limit = flow::now() + STOP_GRACE;
        for (name, thread) in self.threads {
            while !thread.is_finished() && flow::now() < limit {
                std::thread::park_timeout(Duration::from_millis(2));
            }
            if !thread.is_finished() {
                tracing::error!(thread = name, "still running");
            } else if thread.join().is_err() {
                tracing::error!(thread = name, "panicked");
            }
        }
        // Now that the last records are printed and committed.
        if let Some(mut black_box) = black_box {
            black_box.write_reported_below(self.departures.below());
        }
        ended
    }
}

/// An error with what caused it.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// Waits until the line thread says that it ended.
fn line_ended(control: &Receiver<Control>, limit: Duration) -> bool {
    let until = flow::now() + limit;
    loop {
        match control.receive_timeout(until.since(flow::now())) {
            Ok(Control::LineEnded) | Err(NothingReceived::Closed) => return true,
            Ok(_) => {}
            Err(NothingReceived::TimedOut) => return false,
        }
    }
}
