//! Why a station cannot run.

use std::path::PathBuf;

use super::engines::EngineStartError;
use super::forwarding::HistorianError;
use crate::capture::CameraError;
use crate::gate::gpio::GpioError;
use crate::journal::black_box::BlackBoxError;
use crate::journal::database::JournalError;
use crate::journal::numbers::NumbersError;
use crate::model::registry::RegistryError;
use crate::model::signature::SignatureError;
use crate::plc::modbus::PlcError;
use crate::rpc::station_service::ServeError;
use crate::rpc::tls::SecurityError;
use crate::telemetry::endpoint::EndpointError;

/// Why a station cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The numbers cannot be kept.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// There is no black box.
    #[error(transparent)]
    BlackBox(#[from] BlackBoxError),
    /// Records cannot be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Records cannot be sent.
    #[error(transparent)]
    Historian(#[from] HistorianError),
    /// Line controllers cannot be served.
    #[error(transparent)]
    Grpc(#[from] ServeError),
    /// A certificate or key is of no use.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// A camera cannot be set up.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// The PLC cannot be served.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// The station's own gate cannot be moved.
    #[error(transparent)]
    Gpio(#[from] GpioError),
    /// Metrics cannot be offered.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// What is activated is not known.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A key that packages are signed with cannot be read.
    #[error(transparent)]
    Key(#[from] SignatureError),
    /// The engines cannot start.
    #[error(transparent)]
    Engine(#[from] EngineStartError),
    /// A model package cannot be read.
    #[error("failed to read model {path}: {source}")]
    Model {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A model cannot tell what the recipe asks for.
    #[error("failed to use inspection {inspection}: {reason}")]
    Rules {
        /// Its name.
        inspection: String,
        /// What it cannot tell, with a remedy.
        reason: String,
    },
    /// A thread could not be made.
    #[error("failed to start thread {name}: {source}; check the limits of processes and memory")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}
