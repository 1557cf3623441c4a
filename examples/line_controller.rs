//! A line controller that speaks gRPC to a station: gives cycles, prints verdicts, resumes after a lost connection.
//!
//! ```text
//! cargo run --example line_controller -- http://127.0.0.1:7447 20
//! cargo run --example line_controller -- https://press-1:7447 20 ca.pem desk.pem desk.key
//! ```
//!
//! The station's `station.toml` has `plc.cycle_source = "grpc"`. A real controller raises its gate only for a result with `pass` set, with the cycle ID
//! of the very part, and before its own timer for that part has expired; it starts with the session after the one in force.

use std::time::Duration;

use anyhow::{Context, bail};
use takt::part::Verdict;
use takt::rpc::proto::control_request::Message as Asked;
use takt::rpc::proto::control_response::Message as Said;
use takt::rpc::proto::station_service_client::StationServiceClient;
use takt::rpc::proto::{self, ControlRequest, ControlResponse};
use takt::rpc::tls::{ClientSecurity, connection_failure};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

/// The station takes a controller as lost that is silent for its heartbeat timeout, a second unless configured otherwise.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Pause before the next attempt to connect.
const RECONNECT: Duration = Duration::from_millis(500);

/// What outlives a connection.
struct Line {
    session: u32,
    cycle_id: u32,
    cycles: u32,
    last_result: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, cycles, security @ ..] = arguments.as_slice() else {
        bail!("give the station's URL and how many cycles; for https also ca.pem, certificate and key");
    };
    let mut endpoint = Endpoint::from_shared(url.clone()).with_context(|| format!("failed to use {url} as a URL"))?;
    if let [ca, certificate, key] = security {
        let security = ClientSecurity {
            ca: ca.into(),
            identity: Some((certificate.into(), key.into())),
            server_name: None,
        };
        endpoint = endpoint.tls_config(security.load()?.0)?;
    }
    let mut line = Line {
        session: 0,
        cycle_id: 1,
        cycles: cycles.parse().context("failed to read the number of cycles")?,
        last_result: 0,
    };
    while line.cycle_id <= line.cycles {
        match serve(&endpoint, &mut line).await {
            Ok(()) => {}
            Err(status) if is_final(&status) => bail!("{}", status.message()),
            Err(status) => {
                if line.last_result == 0 || status.code() == Code::OutOfRange {
                    // Nothing to resume from, or the station has started anew: what was under way is rejected, and another session begins.
                    (line.session, line.last_result) = (0, 0);
                }
                eprintln!("connection lost: {}; connecting again", connection_failure(&status));
                tokio::time::sleep(RECONNECT).await;
            }
        }
    }
    Ok(())
}

/// What another attempt will not make better.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Aborted
            | Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::Unimplemented
    )
}

/// One connection: attaches, gives what is left of the cycles, takes results.
async fn serve(endpoint: &Endpoint, line: &mut Line) -> Result<(), Status> {
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| Status::unavailable(connection_failure(&error)))?;
    let mut client = StationServiceClient::new(channel);
    if line.session == 0 {
        let status = client.get_status(proto::GetStatusRequest {}).await?.into_inner();
        // The one in force plus one; 0 is none.
        line.session = status.plc_session % 65_535 + 1;
    }
    let (to, mut from) = attach(&mut client, line).await?;
    tokio::spawn(beat(to.clone()));
    let mut given = None;
    while line.cycle_id <= line.cycles {
        match said(&mut from).await? {
            Said::Attached(attached) if !attached.gives_cycles => return Err(Status::failed_precondition(attached.refusal)),
            Said::Ready(ready) if ready.ready && given.is_none() => {
                let cycle = proto::Cycle {
                    cycle_id: line.cycle_id,
                    serial: format!("PART-{}", line.cycle_id),
                    ..proto::Cycle::default()
                };
                ask(&to, Asked::Cycle(cycle)).await?;
                given = Some(line.cycle_id);
            }
            Said::Answer(answer) if !answer.acknowledged => {
                println!("cycle {:>6}  missed: reject", answer.cycle_id);
                line.cycle_id += 1;
                given = None;
            }
            Said::Result(result) => {
                show(&result);
                ask(
                    &to,
                    Asked::Ack(proto::ResultAck {
                        result_id: result.result_id,
                    }),
                )
                .await?;
                if result.result_id != 0 {
                    line.last_result = result.result_id;
                }
                if result.cycle_id == line.cycle_id && result.plc_session == line.session {
                    line.cycle_id += 1;
                    given = None;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

type Requests = mpsc::Sender<ControlRequest>;

async fn attach(client: &mut StationServiceClient<Channel>, line: &Line) -> Result<(Requests, Streaming<ControlResponse>), Status> {
    let (to, requests) = mpsc::channel(16);
    let attach = proto::Attach {
        plc_session: line.session,
        resume_after_result_id: line.last_result,
        resume_session: true,
    };
    ask(&to, Asked::Attach(attach)).await?;
    let from = client.control(ReceiverStream::new(requests)).await?.into_inner();
    Ok((to, from))
}

/// Says that we live until the call has ended.
async fn beat(to: Requests) {
    while ask(&to, Asked::Heartbeat(proto::Heartbeat {})).await.is_ok() {
        tokio::time::sleep(HEARTBEAT).await;
    }
}

async fn ask(to: &Requests, message: Asked) -> Result<(), Status> {
    let request = ControlRequest { message: Some(message) };
    to.send(request).await.map_err(|_| Status::unavailable("the call has ended"))
}

async fn said(from: &mut Streaming<ControlResponse>) -> Result<Said, Status> {
    let response = from
        .message()
        .await?
        .ok_or_else(|| Status::unavailable("the station ended the call"))?;
    response
        .message
        .ok_or_else(|| Status::unimplemented("the station said something that this controller does not know"))
}

fn show(result: &proto::Result) {
    let outcome = result.outcome.unwrap_or_default();
    let verdict = u16::try_from(outcome.verdict)
        .ok()
        .and_then(Verdict::from_code)
        .unwrap_or(Verdict::NotDecidable);
    let decision = if result.pass { "pass" } else { "reject" };
    let again = if result.repeated { " (sent again)" } else { "" };
    println!(
        "cycle {:>6}  {:<13}  reason {:>2}  {:>7.1} ms  {decision}{again}",
        result.cycle_id,
        verdict.name(),
        outcome.reason,
        result.total_us as f64 / 1e3
    );
}
