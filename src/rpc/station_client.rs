//! Asks a station. Calls block: there is one question at a time.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::historian_client::{ClientError, TlsFiles, connect};
use super::proto;
use super::proto::station_service_client::StationServiceClient;

/// Until there is an answer: a provider may have to build what it runs before a model can be proven.
const ANSWER_MAX: Duration = Duration::from_mins(15);

/// Why a station does not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StationClientError {
    /// The address or the certificates are none.
    #[error(
        "failed to use the address {address}: {why}; it is http:// or, with TLS, https:// and what the station's [grpc] listen says, such as http://127.0.0.1:7444"
    )]
    Address {
        /// As given.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// Nobody answers there.
    #[error(
        "failed to reach the station at {address}: {why}; does it run, has it a [grpc] table with this address, and does it use TLS (https://, --ca)?"
    )]
    Unreachable {
        /// As given.
        address: String,
        /// What the network says.
        why: String,
    },
    /// One may not ask.
    #[error("failed to ask the station at {address}: {why}")]
    Forbidden {
        /// As given.
        address: String,
        /// What it said.
        why: String,
    },
    /// It does not do so, and says why.
    #[error("{0}")]
    Refused(String),
    /// It is gone before it answered, or somebody else answers: whether it did is not known.
    #[error("failed to get an answer from {address}: {why}; `takt model list --station` tells what is in force")]
    Unanswered {
        /// As given.
        address: String,
        /// What happened.
        why: String,
    },
}

/// A connection to a station.
#[derive(Debug)]
pub struct StationClient {
    address: String,
    runtime: Runtime,
    service: StationServiceClient<Channel>,
}

impl StationClient {
    /// Connects.
    ///
    /// # Errors
    /// When the address or the certificates are none, or nobody is there.
    pub fn connect(address: &str, tls: TlsFiles) -> Result<Self, StationClientError> {
        let address = address.to_owned();
        let (runtime, channel) = connect(&address, tls).map_err(|error| match error {
            ClientError::Unreachable { address, why } => StationClientError::Unreachable { address, why },
            error => StationClientError::Address {
                address: address.clone(),
                why: error.to_string(),
            },
        })?;
        Ok(Self {
            address,
            runtime,
            service: StationServiceClient::new(channel),
        })
    }

    /// The models in force.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn models(&mut self) -> Result<proto::ListModelsResponse, StationClientError> {
        let mut service = self.service.clone();
        self.answer(async move { service.list_models(proto::ListModelsRequest {}).await })
    }

    /// Has another model loaded, proven, and put in force.
    ///
    /// # Errors
    /// When it is refused, or there is no answer.
    pub fn activate(&mut self, inspection: &str, package: &str) -> Result<proto::ActivateModelResponse, StationClientError> {
        let mut service = self.service.clone();
        let request = proto::ActivateModelRequest {
            inspection: inspection.into(),
            package: package.into(),
        };
        self.answer(async move { service.activate_model(request).await })
    }

    /// Goes back to the model before.
    ///
    /// # Errors
    /// When it is refused, or there is no answer.
    pub fn roll_back(&mut self, inspection: &str) -> Result<proto::ActivateModelResponse, StationClientError> {
        let mut service = self.service.clone();
        let request = proto::RollbackModelRequest {
            inspection: inspection.into(),
        };
        self.answer(async move { service.rollback_model(request).await })
    }

    fn answer<T>(&self, asked: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, StationClientError> {
        let in_time = self.runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, asked).await });
        match in_time {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(refusal(&self.address, &status)),
            Err(_) => Err(StationClientError::Unanswered {
                address: self.address.clone(),
                why: format!("{} min have passed", ANSWER_MAX.as_secs() / 60),
            }),
        }
    }
}

fn refusal(address: &str, status: &Status) -> StationClientError {
    let (address, why) = (address.to_owned(), status.message().to_owned());
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => StationClientError::Forbidden { address, why },
        Code::NotFound | Code::Aborted | Code::FailedPrecondition | Code::InvalidArgument | Code::Internal => {
            StationClientError::Refused(why)
        }
        code => StationClientError::Unanswered {
            address,
            why: if why.is_empty() { format!("{code:?}") } else { why },
        },
    }
}
