//! Asks a historian. Calls block: there is one question at a time.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status, Streaming};

use super::proto::historian_service_client::HistorianServiceClient;
use super::proto::{self, get_image_response, query_records_response};

/// Port of a historian.
pub const DEFAULT_PORT: u16 = 7443;

/// Until there is a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Until there is an answer, whole pages and images included.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Bytes of one message: a record with all its related ones. Larger ones are refused.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Bytes of an image. Larger ones are refused.
pub const IMAGE_BYTES_MAX: u64 = 256 << 20;

/// Why a historian does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error(
        "failed to read the address {address}: {why}; it looks like http://127.0.0.1:{DEFAULT_PORT} or, with TLS, https://historian.plant:{DEFAULT_PORT}"
    )]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// Certificates or key are none.
    #[error("failed to use the certificates for {address}: {why}; --ca, --cert and --key are PEM files")]
    Certificates {
        /// As given.
        address: String,
        /// What is wrong with them.
        why: String,
    },
    /// Nobody answers there.
    #[error(
        "failed to reach the historian at {address}: {why}; is `takt historian` running there, does it use TLS (https://, --ca), and is the port free to pass?"
    )]
    Unreachable {
        /// As given.
        address: String,
        /// What the network says.
        why: String,
    },
    /// Somebody else answers there.
    #[error("failed to understand {address}: {why}; is this the gRPC port of a takt historian?")]
    NoHistorian {
        /// As given.
        address: String,
        /// What it said.
        why: String,
    },
    /// One may not ask.
    #[error("failed to ask {address}: {why}; give a certificate with the role read (--cert, --key; `takt pki issue` makes one)")]
    Forbidden {
        /// As given.
        address: String,
        /// What it said.
        why: String,
    },
    /// It cannot be asked so.
    #[error("{0}")]
    Invalid(String),
    /// It takes too long.
    #[error("failed to get an answer from {address} within {} s; ask for a shorter time", ANSWER_MAX.as_secs())]
    TooLate {
        /// As given.
        address: String,
    },
    /// The historian has a problem of its own.
    #[error("failed to get an answer from {address}: {why}")]
    Failed {
        /// As given.
        address: String,
        /// What it said.
        why: String,
    },
}

/// PEM texts for TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// Who signed the historian's certificate.
    pub ca: Option<Vec<u8>>,
    /// One's own certificate and key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A connection to a historian.
#[derive(Debug)]
pub struct HistorianClient {
    address: String,
    runtime: Runtime,
    service: HistorianServiceClient<Channel>,
}

impl HistorianClient {
    /// Connects.
    ///
    /// # Errors
    /// When the address or the certificates are none, or nobody is there.
    pub fn connect(address: &str, tls: TlsFiles) -> Result<Self, ClientError> {
        let endpoint = endpoint(address, tls)?;
        let unreachable = |why: String| ClientError::Unreachable {
            address: address.into(),
            why,
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unreachable(error.to_string()))?;
        let channel = runtime.block_on(endpoint.connect()).map_err(|error| unreachable(causes(&error)))?;
        Ok(Self {
            address: address.to_owned(),
            runtime,
            service: HistorianServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
        })
    }

    /// A page: bytes of records, and where the next begins (empty if nowhere).
    ///
    /// # Errors
    /// When there is no answer.
    pub fn query_records(&mut self, request: proto::QueryRecordsRequest) -> Result<(Vec<Vec<u8>>, String), ClientError> {
        let mut service = self.service.clone();
        self.answer(async move {
            let mut stream = service.query_records(request).await?.into_inner();
            let mut records = Vec::new();
            while let Some(response) = stream.message().await? {
                match response.message {
                    Some(query_records_response::Message::Record(bytes)) => records.push(bytes),
                    Some(query_records_response::Message::End(end)) => return Ok((records, end.next_cursor)),
                    None => {}
                }
            }
            Err(cut_off())
        })
    }

    /// A record with what belongs to it; `None` if there is none.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get_record(&mut self, key: proto::RecordKey) -> Result<Option<proto::GetRecordResponse>, ClientError> {
        let mut service = self.service.clone();
        self.answer(async move {
            match service.get_record(proto::GetRecordRequest { key: Some(key) }).await {
                Ok(response) => Ok(Some(response.into_inner())),
                Err(status) if status.code() == Code::NotFound => Ok(None),
                Err(status) => Err(status),
            }
        })
    }

    /// Counts by a dimension.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn pareto(&mut self, request: proto::ParetoRequest) -> Result<proto::ParetoResponse, ClientError> {
        let mut service = self.service.clone();
        self.answer(async move { Ok(service.pareto(request).await?.into_inner()) })
    }

    /// Counts by hour or day.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn yield_steps(&mut self, request: proto::YieldRequest) -> Result<proto::YieldResponse, ClientError> {
        let mut service = self.service.clone();
        self.answer(async move { Ok(service.r#yield(request).await?.into_inner()) })
    }

    /// The stations known.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn stations(&mut self) -> Result<Vec<proto::StationSummary>, ClientError> {
        let mut service = self.service.clone();
        self.answer(async move { Ok(service.list_stations(proto::ListStationsRequest {}).await?.into_inner().stations) })
    }

    /// The bytes of an evidence image.
    ///
    /// # Errors
    /// When there is no answer, or more bytes than [`IMAGE_BYTES_MAX`].
    pub fn image(&mut self, key: proto::RecordKey, camera: &str) -> Result<Vec<u8>, ClientError> {
        let mut service = self.service.clone();
        let request = proto::GetImageRequest {
            key: Some(key),
            camera: camera.to_owned(),
        };
        self.answer(async move {
            let stream = service.get_image(request).await?.into_inner();
            image_bytes(stream).await
        })
    }

    fn answer<T>(&self, asked: impl Future<Output = Result<T, Status>>) -> Result<T, ClientError> {
        let in_time = self.runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, asked).await });
        let late = |_| ClientError::TooLate {
            address: self.address.clone(),
        };
        in_time.map_err(late)?.map_err(|status| refusal(&self.address, &status))
    }
}

/// Puts the chunks together, within bounds.
async fn image_bytes(mut stream: Streaming<proto::GetImageResponse>) -> Result<Vec<u8>, Status> {
    let mut bytes = Vec::new();
    while let Some(response) = stream.message().await? {
        if let Some(get_image_response::Message::Chunk(chunk)) = response.message {
            if (bytes.len() + chunk.len()) as u64 > IMAGE_BYTES_MAX {
                return Err(Status::out_of_range(format!("the image is larger than {IMAGE_BYTES_MAX} bytes")));
            }
            bytes.extend(chunk);
        }
    }
    Ok(bytes)
}

fn endpoint(address: &str, tls: TlsFiles) -> Result<Endpoint, ClientError> {
    let wrong = |why: &str| ClientError::Address {
        address: address.into(),
        why: why.into(),
    };
    let with_tls = match address.split_once("://") {
        Some(("http", host)) if !host.is_empty() => false,
        Some(("https", host)) if !host.is_empty() => true,
        _ => return Err(wrong("it must begin with http:// or https://")),
    };
    if !with_tls && (tls.ca.is_some() || tls.identity.is_some()) {
        return Err(wrong("certificates go with https:// only"));
    }
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|error| wrong(&causes(&error)))?;
    let endpoint = endpoint.connect_timeout(CONNECT_MAX);
    if !with_tls {
        return Ok(endpoint);
    }
    let mut config = ClientTlsConfig::new();
    if let Some(ca) = tls.ca {
        config = config.ca_certificate(Certificate::from_pem(ca));
    }
    if let Some((certificate, key)) = tls.identity {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    endpoint.tls_config(config).map_err(|error| ClientError::Certificates {
        address: address.into(),
        why: causes(&error),
    })
}

/// An answer that ended in the middle.
fn cut_off() -> Status {
    Status::data_loss("the answer ended before it was complete; ask again")
}

/// What a refusal means for whoever asked.
fn refusal(address: &str, status: &Status) -> ClientError {
    let address = address.to_owned();
    let why = match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    };
    match status.code() {
        Code::InvalidArgument => ClientError::Invalid(why),
        Code::Unauthenticated | Code::PermissionDenied => ClientError::Forbidden { address, why },
        Code::Unimplemented => ClientError::NoHistorian { address, why },
        // What is no gRPC at all: another protocol behind the port.
        Code::Unknown | Code::Internal if std::error::Error::source(status).is_some() => ClientError::NoHistorian { address, why },
        Code::Unavailable => ClientError::Unreachable { address, why },
        Code::DeadlineExceeded => ClientError::TooLate { address },
        _ => ClientError::Failed { address, why },
    }
}

/// An error with everything that caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !told.contains(&more) {
            told = format!("{told}: {more}");
        }
        cause = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_that_are_none_are_refused_with_an_example() {
        for address in ["", "localhost:7443", "ftp://x", "http://", "https://", "http://a b"] {
            let error = endpoint(address, TlsFiles::default()).unwrap_err();
            assert!(matches!(error, ClientError::Address { .. }), "{address}: {error}");
            assert!(error.to_string().contains("http://127.0.0.1:7443"));
        }
        let tls = TlsFiles {
            ca: Some(vec![]),
            identity: None,
        };
        assert!(
            endpoint("http://127.0.0.1:1", tls)
                .unwrap_err()
                .to_string()
                .contains("https:// only")
        );
    }

    #[test]
    fn nobody_there_is_told_with_a_remedy() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = HistorianClient::connect(&format!("http://{free}"), TlsFiles::default()).unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("is `takt historian` running"));
    }

    #[test]
    fn somebody_else_there_is_told_with_a_remedy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        let error = HistorianClient::connect(&address, TlsFiles::default())
            .and_then(|mut client| client.stations())
            .unwrap_err();
        assert!(
            error.to_string().contains("gRPC port of a takt historian") || matches!(error, ClientError::Unreachable { .. }),
            "{error}"
        );
        server.join().unwrap();
    }

    #[test]
    fn refusals_say_what_to_do() {
        let told = |status: Status| refusal("http://h:1", &status).to_string();
        assert!(told(Status::permission_denied("no role")).contains("--cert"));
        assert!(told(Status::unimplemented("")).contains("gRPC port"));
        assert!(told(Status::deadline_exceeded("")).contains("shorter time"));
        assert_eq!(told(Status::invalid_argument("failed to answer: order")), "failed to answer: order");
        assert!(matches!(refusal("x", &Status::data_loss("gone")), ClientError::Failed { .. }));
    }
}
