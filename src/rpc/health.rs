//! Whether a server is well, asked as any client may: the health service that gRPC defines, and a station's own status. Nothing is begun there.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::runtime::Builder;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::forwarder::endpoint;
use super::proto::station_service_client::StationServiceClient;
use super::proto::{self, historian_service_server};
use super::tls::{ClientSecurity, connection_failure};

/// Asks the historian whether it serves, with the station's own TLS and without a word about the station.
///
/// # Errors
/// Why not, and what helps, in words that complete "failed to ask the historian: ...".
pub fn ask_historian(url: &str, security: Option<&ClientSecurity>, limit: Duration) -> Result<(), String> {
    let tls = match security {
        Some(security) => Some(security.load().map_err(|error| error.to_string())?.0),
        None => None,
    };
    let endpoint = endpoint(url, tls)?;
    in_time(limit, async {
        let channel = endpoint.connect().await.map_err(|error| connection_failure(&error))?;
        let request = HealthCheckRequest {
            service: historian_service_server::SERVICE_NAME.to_owned(),
        };
        let answer = HealthClient::new(channel)
            .check(request)
            .await
            .map_err(|status| connection_failure(&status))?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(format!("it says {}; see its log", other.as_str_name())),
        }
    })
}

/// Asks a station that serves line controllers without TLS how it stands.
///
/// # Errors
/// Why not, and what helps.
pub fn ask_station(address: SocketAddr, limit: Duration) -> Result<proto::GetStatusResponse, String> {
    let endpoint = endpoint(&format!("http://{address}"), None)?;
    in_time(limit, async {
        let channel = endpoint.connect().await.map_err(|error| connection_failure(&error))?;
        let answer = StationServiceClient::new(channel).get_status(proto::GetStatusRequest {}).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| connection_failure(&status))
    })
}

fn in_time<T>(limit: Duration, asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no connection can be made: {error}; check the limits of open files and memory"))?;
    let late = |_| {
        let seconds = limit.as_secs_f64();
        format!("no answer within {seconds} s; check the network, and whether something between drops what is sent")
    };
    let answer = runtime.block_on(async { tokio::time::timeout(limit, asked).await });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    answer.map_err(late)?
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        // Takes connections and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let said = ask_historian(&url, None, Duration::from_millis(200)).unwrap_err();
        assert!(said.contains("no answer within 0.2 s"), "{said}");
        drop(silent);
        let said = ask_historian(&url, None, Duration::from_secs(5)).unwrap_err();
        assert!(said.contains("nothing listens there"), "{said}");
    }
}
