//! The peer of the contract that is no PLC but a line controller: the handshake as messages.

use std::collections::BTreeMap;
use std::time::Instant;

use takt::line::error_code::ErrorCode;
use takt::line::image::StationImage;
use takt::rpc::proto::control_request::Message as Asked;
use takt::rpc::proto::control_response::Message as Said;
use takt::rpc::proto::station_service_client::StationServiceClient;
use takt::rpc::proto::{self, ControlRequest};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::cell::Cell;
use crate::contract_peers::{Answer, PATIENCE, Peer, Seen, Trigger};

/// A line controller.
pub(crate) struct Controller {
    runtime: Runtime,
    address: std::net::SocketAddr,
    call: Option<(mpsc::Sender<ControlRequest>, Streaming<proto::ControlResponse>)>,
    session: u32,
    boot_id: u32,
    /// The newest result that was seen.
    newest: u32,
    results: BTreeMap<u32, proto::Result>,
}

impl Controller {
    pub(crate) fn new(cell: &Cell) -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            address: cell.plc,
            call: None,
            session: 0,
            boot_id: 0,
            newest: 0,
            results: BTreeMap::new(),
        }
    }

    fn attach(&mut self) {
        let address = self.address;
        let attached = async {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            let (to, requests) = mpsc::channel(16);
            let mut client = StationServiceClient::new(endpoint.connect().await.unwrap());
            let status = client.get_status(proto::GetStatusRequest {}).await.unwrap().into_inner();
            let from = client.control(ReceiverStream::new(requests)).await.unwrap().into_inner();
            ((to, from), status.boot_id)
        };
        let attached = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, attached).await });
        let (call, boot_id) = attached.expect("the station does not answer");
        self.call = Some(call);
        if std::mem::replace(&mut self.boot_id, boot_id) != boot_id {
            // Another run knows nothing of the results of this one.
            self.newest = 0;
        }
        self.ask(Asked::Attach(proto::Attach {
            plc_session: self.session,
            resume_after_result_id: self.newest,
            resume_session: true,
        }));
        self.wait(|said| matches!(said, Said::Attached(_)).then_some(()));
    }

    fn ask(&mut self, message: Asked) {
        let (to, _) = self.call.as_ref().unwrap();
        let sent = async { tokio::time::timeout(PATIENCE, to.send(ControlRequest { message: Some(message) })).await };
        self.runtime.block_on(sent).expect("the station takes no message").unwrap();
    }

    /// The next message that is what is waited for. Results are kept; whatever comes is answered by a heartbeat.
    #[track_caller]
    fn wait<T>(&mut self, wanted: impl Fn(&Said) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            // Of the whole wait: a station that hangs may well go on talking.
            let left = end.saturating_duration_since(Instant::now());
            let (_, from) = self.call.as_mut().unwrap();
            let heard = self.runtime.block_on(async { tokio::time::timeout(left, from.message()).await });
            let said = heard.expect("the station never said it").unwrap().unwrap().message.unwrap();
            if let Said::Result(result) = &said {
                self.newest = result.result_id;
                self.results.insert(result.cycle_id, *result);
            }
            if let Some(found) = wanted(&said) {
                return found;
            }
            self.ask(Asked::Heartbeat(proto::Heartbeat {}));
        }
    }
}

impl Peer for Controller {
    fn begin(&mut self) {
        self.results.clear();
        self.session += 1;
        self.attach();
        self.ready();
    }

    /// The first cycle asks for the recipe; until then its absence is all that the station lacks.
    fn begin_with(&mut self, _: u16) {
        self.session += 1;
        self.attach();
        // A controller is known to live once its heartbeat has changed twice.
        for _ in 0..3 {
            self.ask(Asked::Heartbeat(proto::Heartbeat {}));
        }
        let lacks_recipe = u32::from(ErrorCode::RecipeUnknown.code());
        self.wait(|said| matches!(said, Said::Ready(ready) if ready.error_code == lacks_recipe).then_some(()));
    }

    fn ready(&mut self) {
        self.wait(|said| matches!(said, Said::Ready(ready) if ready.ready).then_some(()));
    }

    fn trigger(&mut self, trigger: Trigger) -> Answer {
        self.ask(Asked::Cycle(proto::Cycle {
            cycle_id: trigger.cycle_id,
            encoder: trigger.encoder,
            serial: trigger.serial.into(),
            recipe: trigger.recipe.into(),
            test_part: trigger.test_part,
        }));
        let answer = self.wait(|said| if let Said::Answer(answer) = said { Some(*answer) } else { None });
        Answer {
            acknowledged: answer.acknowledged,
            cycle_id: answer.cycle_id,
            acquisition_id: answer.acquisition_id,
        }
    }

    fn result(&mut self, cycle_id: u32) -> Seen {
        if !self.results.contains_key(&cycle_id) {
            self.wait(|said| matches!(said, Said::Result(result) if result.cycle_id == cycle_id).then_some(()));
        }
        let result = self.results.remove(&cycle_id).unwrap();
        Seen {
            cycle_id,
            result_id: result.result_id,
            verdict: match result.outcome.unwrap_or_default().verdict() {
                proto::Verdict::Ok => "ok",
                proto::Verdict::NotOk => "not_ok",
                _ => "not_decidable",
            },
            passes: result.pass,
            deadline_missed: result.deadline_missed,
        }
    }

    fn acknowledge(&mut self, result_id: u32) {
        self.ask(Asked::Ack(proto::ResultAck { result_id }));
        self.ready();
    }

    fn cut(&mut self) {
        self.call = None;
    }

    fn mend(&mut self) {
        self.attach();
    }

    fn image(&mut self) -> Option<StationImage> {
        None
    }
}
