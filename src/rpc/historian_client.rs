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
const ANSWER_MAX: Duration = Duration::from_mins(1);

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
        let (runtime, channel) = connect(address, tls)?;
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

/// A connection to a server, with the runtime that it lives on.
pub(super) fn connect(address: &str, tls: TlsFiles) -> Result<(Runtime, Channel), ClientError> {
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
    Ok((runtime, channel))
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

/// A historian that answers from a file of records, for tests of who asks.
#[cfg(test)]
pub(crate) mod stand_in {
    use std::path::{Path, PathBuf};
    use std::sync::mpsc;

    use tokio::sync::oneshot;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Request, Response, Streaming};

    use super::*;
    use crate::historian::queries::{self, QueryError, RecordFile};
    use crate::journal::record_table;
    use crate::rpc::proto::historian_service_server::{HistorianService, HistorianServiceServer};

    /// A chunk of the image that every record has; there are two.
    pub(crate) const IMAGE: &[u8] = b"not really an image";

    pub(crate) struct StandIn {
        pub(crate) address: String,
        stop: Option<oneshot::Sender<()>>,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl Drop for StandIn {
        fn drop(&mut self) {
            drop(self.stop.take());
            self.thread.take().unwrap().join().unwrap();
        }
    }

    pub(crate) fn serve(file: &Path) -> StandIn {
        let (stop, stopped) = oneshot::channel::<()>();
        let (told, address) = mpsc::channel();
        let service = HistorianServiceServer::new(Answers { file: file.to_owned() });
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                let stop = async { drop(stopped.await) };
                let server = tonic::transport::Server::builder().add_service(service);
                server
                    .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
                    .await
                    .unwrap();
            });
        });
        StandIn {
            address: format!("http://{}", address.recv().unwrap()),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    struct Answers {
        file: PathBuf,
    }

    impl Answers {
        fn ask<T>(&self, ask: impl FnOnce(&RecordFile) -> Result<T, QueryError>) -> Result<T, Status> {
            let answer = RecordFile::open(&self.file).and_then(|file| ask(&file));
            answer.map_err(|error| match error {
                QueryError::Invalid(_) => Status::invalid_argument(error.to_string()),
                QueryError::Database(_) => Status::internal(error.to_string()),
            })
        }
    }

    type Messages<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

    fn messages<T>(messages: Vec<T>) -> Response<Messages<T>> {
        Response::new(tokio_stream::iter(messages.into_iter().map(Ok).collect::<Vec<_>>()))
    }

    fn image(camera: &str, sha256: [u8; 32]) -> proto::ImageDescription {
        proto::ImageDescription {
            camera: camera.into(),
            media_type: "image/png".into(),
            sha256: sha256.to_vec(),
            ..Default::default()
        }
    }

    #[tonic::async_trait]
    impl HistorianService for Answers {
        type IngestStream = Messages<proto::IngestResponse>;
        type QueryRecordsStream = Messages<proto::QueryRecordsResponse>;
        type GetImageStream = Messages<proto::GetImageResponse>;

        async fn ingest(&self, _: Request<Streaming<proto::IngestRequest>>) -> Result<Response<Self::IngestStream>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn upload_image(
            &self,
            _: Request<Streaming<proto::UploadImageRequest>>,
        ) -> Result<Response<proto::UploadImageResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn query_records(&self, request: Request<proto::QueryRecordsRequest>) -> Result<Response<Self::QueryRecordsStream>, Status> {
            let page = self.ask(|file| queries::query_records(&file.connection, request.get_ref()))?;
            let end = query_records_response::Message::End(proto::PageEnd {
                next_cursor: page.next_cursor,
            });
            let records = page.records.into_iter().map(query_records_response::Message::Record);
            let all = records
                .chain([end])
                .map(|message| proto::QueryRecordsResponse { message: Some(message) });
            Ok(messages(all.collect()))
        }

        async fn get_record(&self, request: Request<proto::GetRecordRequest>) -> Result<Response<proto::GetRecordResponse>, Status> {
            let key = request.into_inner().key.unwrap_or_default();
            let found = self.ask(|file| queries::get_record(&file.connection, &key))?;
            let found = found.ok_or_else(|| Status::not_found("no such record"))?;
            Ok(Response::new(proto::GetRecordResponse {
                record: found.bytes,
                hash: found.hash.to_vec(),
                images: vec![image("top", record_table::hash(&IMAGE.repeat(2))), image("side", [0; 32])],
                related: found.related,
            }))
        }

        async fn pareto(&self, request: Request<proto::ParetoRequest>) -> Result<Response<proto::ParetoResponse>, Status> {
            Ok(Response::new(
                self.ask(|file| queries::pareto(&file.connection, request.get_ref()))?,
            ))
        }

        async fn r#yield(&self, request: Request<proto::YieldRequest>) -> Result<Response<proto::YieldResponse>, Status> {
            Ok(Response::new(
                self.ask(|file| queries::yield_steps(&file.connection, request.get_ref()))?,
            ))
        }

        async fn get_image(&self, _: Request<proto::GetImageRequest>) -> Result<Response<Self::GetImageStream>, Status> {
            let chunk = || get_image_response::Message::Chunk(IMAGE.to_vec());
            let all = [get_image_response::Message::Description(image("top", [0; 32])), chunk(), chunk()];
            Ok(messages(
                all.map(|message| proto::GetImageResponse { message: Some(message) }).into(),
            ))
        }

        async fn list_stations(&self, _: Request<proto::ListStationsRequest>) -> Result<Response<proto::ListStationsResponse>, Status> {
            let stations = self.ask(|file| queries::stations(&file.connection))?;
            Ok(Response::new(proto::ListStationsResponse { stations }))
        }
    }
}
