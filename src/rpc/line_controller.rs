//! A line controller as takt plays one itself: one call of `Control`, driven by its owner's thread.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::proto::control_request::Message as Asked;
use super::proto::control_response::Message as Said;
use super::proto::station_service_client::StationServiceClient;
use super::proto::{ControlRequest, ControlResponse};

/// Requests that may wait to be sent; beyond that the controller waits.
const REQUESTS_MAX: usize = 16;

/// Why the call is over.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// There is no way to wait for a connection.
    #[error("failed to start a line controller: {0}; raise the limits of this process for open files")]
    Runtime(#[source] std::io::Error),
    /// Nobody answers.
    #[error("failed to connect to the station at {0}: {1}; check that it runs and listens there")]
    Connect(SocketAddr, #[source] tonic::transport::Error),
    /// The station ended the call, with its reason.
    #[error("failed to go on: the station ended the call: {0}")]
    Ended(#[from] Box<Status>),
    /// The station ended the call without one.
    #[error("failed to go on: the station ended the call")]
    Closed,
}

/// One call of `Control`, without TLS. Nothing moves but while one of its methods runs.
#[derive(Debug)]
pub struct LineController {
    runtime: Runtime,
    to: mpsc::Sender<ControlRequest>,
    from: Streaming<ControlResponse>,
    health: HealthClient<Channel>,
}

impl LineController {
    /// Opens the call.
    ///
    /// # Errors
    /// When nobody answers there, or not as a station.
    pub fn connect(address: SocketAddr) -> Result<Self, ControllerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ControllerError::Runtime)?;
        let (to, requests) = mpsc::channel(REQUESTS_MAX);
        let unreachable = |error| ControllerError::Connect(address, error);
        let (from, health) = runtime.block_on(async {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
            let channel = endpoint.connect().await.map_err(unreachable)?;
            let mut client = StationServiceClient::new(channel.clone());
            let from = client.control(ReceiverStream::new(requests)).await.map_err(Box::new)?.into_inner();
            Ok::<_, ControllerError>((from, HealthClient::new(channel)))
        })?;
        Ok(Self { runtime, to, from, health })
    }

    /// Says something.
    ///
    /// # Errors
    /// When the call is over.
    pub fn ask(&self, message: Asked) -> Result<(), ControllerError> {
        let request = ControlRequest { message: Some(message) };
        self.runtime.block_on(self.to.send(request)).map_err(|_| ControllerError::Closed)
    }

    /// What the station says next; `None` if it says nothing within that time.
    ///
    /// # Errors
    /// When the call is over.
    pub fn hear(&mut self, patience: Duration) -> Result<Option<Said>, ControllerError> {
        let from = &mut self.from;
        match self
            .runtime
            .block_on(async { tokio::time::timeout(patience, from.message()).await })
        {
            Err(_) => Ok(None),
            Ok(heard) => Ok(heard.map_err(Box::new)?.ok_or(ControllerError::Closed)?.message),
        }
    }

    /// A round trip that has nothing to do with parts: a check of `grpc.health.v1`.
    ///
    /// # Errors
    /// When the station is gone.
    pub fn check_health(&mut self) -> Result<(), ControllerError> {
        let check = self.health.check(HealthCheckRequest::default());
        self.runtime.block_on(check).map_err(Box::new)?;
        Ok(())
    }
}
