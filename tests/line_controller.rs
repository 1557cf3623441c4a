//! Line controllers that speak gRPC: cycles in, answers and results out, whatever happens to the connection.

use std::collections::VecDeque;

use prost::Message;
use serde_json::Value;
use takt::rpc::proto::control_request::Message as Asked;
use takt::rpc::proto::control_response::Message as Said;
use takt::rpc::proto::station_service_client::StationServiceClient;
use takt::rpc::proto::{self, ControlRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::foreign::grpc_controller;
use crate::played_line::{PlayedLine, Wishes};
use crate::skip::skip;

/// A line controller.
struct Controller {
    to: mpsc::Sender<ControlRequest>,
    from: Streaming<proto::ControlResponse>,
    /// Results that came while something else was waited for: a result may overtake the answer to its cycle.
    results: VecDeque<proto::Result>,
}

async fn client(line: &PlayedLine) -> StationServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", line.address)).unwrap();
    StationServiceClient::new(endpoint.connect().await.unwrap())
}

impl Controller {
    async fn connect(line: &PlayedLine) -> Self {
        let (to, requests) = mpsc::channel(16);
        let from = client(line)
            .await
            .control(ReceiverStream::new(requests))
            .await
            .unwrap()
            .into_inner();
        Self {
            to,
            from,
            results: VecDeque::new(),
        }
    }

    /// Connects and attaches; ready to give cycles.
    async fn ready(line: &PlayedLine, plc_session: u32, resume_after_result_id: u32) -> Self {
        let mut controller = Self::connect(line).await;
        let attached = controller.attach(plc_session, resume_after_result_id).await.unwrap();
        assert!(
            attached.gives_cycles && attached.boot_id == 3 && attached.plc_session == plc_session,
            "{attached:?}"
        );
        for _ in 0..2 {
            controller.ask(Asked::Heartbeat(proto::Heartbeat {})).await;
        }
        controller
    }

    async fn ask(&self, message: Asked) {
        // A call that has ended says why when it is listened to.
        let _ = self.to.send(ControlRequest { message: Some(message) }).await;
    }

    async fn hear(&mut self) -> Result<Option<Said>, Status> {
        Ok(self.from.message().await?.and_then(|response| response.message))
    }

    /// The next message that is what is waited for; the others are read over.
    async fn wait<T>(&mut self, wanted: impl Fn(Said) -> Option<T>) -> Result<T, Status> {
        loop {
            let said = self.hear().await?.ok_or_else(|| Status::cancelled("the call has ended"))?;
            if let Some(found) = wanted(said.clone()) {
                return Ok(found);
            }
            if let Said::Result(result) = said {
                self.results.push_back(result);
            }
        }
    }

    async fn attach(&mut self, plc_session: u32, resume_after_result_id: u32) -> Result<proto::Attached, Status> {
        self.attach_as(proto::Attach {
            plc_session,
            resume_after_result_id,
            resume_session: false,
        })
        .await
    }

    async fn attach_as(&mut self, attach: proto::Attach) -> Result<proto::Attached, Status> {
        self.ask(Asked::Attach(attach)).await;
        self.wait(|said| {
            if let Said::Attached(attached) = said {
                Some(attached)
            } else {
                None
            }
        })
        .await
    }

    async fn is_ready(&mut self) {
        let ready = |said| matches!(said, Said::Ready(ready) if ready.ready).then_some(());
        self.wait(ready).await.unwrap();
    }

    async fn give(&mut self, cycle_id: u32) -> proto::CycleAnswer {
        self.ask(Asked::Cycle(cycle(cycle_id))).await;
        self.wait(|said| if let Said::Answer(answer) = said { Some(answer) } else { None })
            .await
            .unwrap()
    }

    async fn result(&mut self) -> Result<proto::Result, Status> {
        if let Some(result) = self.results.pop_front() {
            return Ok(result);
        }
        self.wait(|said| if let Said::Result(result) = said { Some(result) } else { None })
            .await
    }
}

fn cycle(cycle_id: u32) -> proto::Cycle {
    proto::Cycle {
        cycle_id,
        serial: format!("S{cycle_id}"),
        ..proto::Cycle::default()
    }
}

#[tokio::test]
async fn cycles_are_answered_and_results_pass_once() {
    let line = PlayedLine::start(Wishes::default());
    let mut controller = Controller::ready(&line, 1, 0).await;
    controller.is_ready().await;
    let mut results = Vec::new();
    for cycle_id in 1..=3 {
        let answer = controller.give(cycle_id).await;
        assert!(answer.acknowledged && answer.cycle_id == cycle_id && answer.acquisition_id != 0);
        let result = controller.result().await.unwrap();
        controller
            .ask(Asked::Ack(proto::ResultAck {
                result_id: result.result_id,
            }))
            .await;
        results.push(result);
    }
    let told: Vec<_> = results
        .iter()
        .map(|result| (result.cycle_id, result.outcome.unwrap().verdict, result.pass, result.defect_code))
        .collect();
    assert_eq!(told, [(1, 1, true, 0), (2, 1, true, 0), (3, 2, false, 4)]);
    assert!(
        results
            .iter()
            .all(|result| !result.repeated && result.plc_session == 1 && !result.deadline_missed)
    );
    // A lost connection: the same session goes on, and what may have been lost comes again, and passes nothing.
    drop(controller);
    let mut controller = Controller::ready(&line, 1, results[0].result_id).await;
    let repeated = [controller.result().await.unwrap(), controller.result().await.unwrap()];
    assert_eq!(
        repeated.map(|result| (result.cycle_id, result.pass, result.repeated)),
        [(2, false, true), (3, false, true)]
    );
    // One that had got nothing yet gets the whole session.
    drop(controller);
    let mut controller = Controller::connect(&line).await;
    let whole = proto::Attach {
        plc_session: 1,
        resume_after_result_id: 0,
        resume_session: true,
    };
    controller.attach_as(whole).await.unwrap();
    for cycle_id in 1..=3 {
        let result = controller.result().await.unwrap();
        assert_eq!((result.cycle_id, result.pass, result.repeated), (cycle_id, false, true));
    }
    controller.is_ready().await;
    assert!(controller.give(4).await.acknowledged);
    let fresh = controller.result().await.unwrap();
    assert_eq!((fresh.cycle_id, fresh.pass, fresh.repeated), (4, true, false));
    // A bounce is answered as before and makes no second part.
    assert!(controller.give(4).await.acknowledged);
    assert!(controller.give(5).await.acknowledged);
    assert_eq!(controller.result().await.unwrap().cycle_id, 5);
}

#[tokio::test]
async fn the_newest_controller_gives_the_cycles() {
    let line = PlayedLine::start(Wishes::default());
    let mut first = Controller::ready(&line, 1, 0).await;
    first.is_ready().await;
    let mut second = Controller::ready(&line, 1, 0).await;
    let ended = first.result().await.unwrap_err();
    assert_eq!(ended.code(), Code::Aborted);
    assert!(ended.message().contains("another line controller"), "{ended}");
    second.is_ready().await;
    assert!(second.give(1).await.acknowledged);
    // One who only listens replaces nobody.
    let mut listener = Controller::connect(&line).await;
    let attached = listener.attach(0, 0).await.unwrap();
    assert!(!attached.gives_cycles && attached.refusal.contains("results only") && attached.plc_session == 1);
    assert!(second.give(2).await.acknowledged);
    assert_eq!(listener.result().await.unwrap().cycle_id, 2);
    assert!(!listener.give(3).await.acknowledged, "it gives none");
}

#[tokio::test]
async fn beside_a_plc_cycles_are_refused_and_results_come() {
    let line = PlayedLine::start(Wishes {
        gives_cycles: false,
        ..Wishes::default()
    });
    let mut controller = Controller::connect(&line).await;
    let attached = controller.attach(1, 0).await.unwrap();
    assert!(
        !attached.gives_cycles && attached.refusal.contains("plc.cycle_source"),
        "{attached:?}"
    );
    assert!(!controller.give(1).await.acknowledged);
    line.results.publish(&record(7), true);
    let result = controller.result().await.unwrap();
    assert!(result.pass && result.result_id == 7);
}

#[tokio::test]
async fn what_does_not_fit_ends_the_call_with_its_reason() {
    let line = PlayedLine::start(Wishes::default());
    let long = proto::Cycle {
        serial: "x".repeat(33),
        ..cycle(1)
    };
    let recipe = proto::Cycle {
        recipe: 70_000,
        ..cycle(1)
    };
    for (message, code, reason) in [
        (Asked::Cycle(long), Code::InvalidArgument, "33 characters"),
        (Asked::Cycle(recipe), Code::InvalidArgument, "recipe 70000"),
    ] {
        let mut controller = Controller::ready(&line, 1, 0).await;
        controller.ask(message).await;
        let ended = controller.result().await.unwrap_err();
        assert_eq!(ended.code(), code);
        assert!(ended.message().contains(reason), "{ended}");
    }
    let mut early = Controller::connect(&line).await;
    early.ask(Asked::Cycle(cycle(1))).await;
    assert_eq!(early.result().await.unwrap_err().code(), Code::FailedPrecondition);
    let mut huge = Controller::ready(&line, 1, 0).await;
    let serial = "x".repeat(10 << 20);
    huge.ask(Asked::Cycle(proto::Cycle { serial, ..cycle(1) })).await;
    assert!(huge.result().await.is_err());
    let mut forgotten = Controller::connect(&line).await;
    let refused = forgotten.attach(1, 999).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert!(refused.message().contains("resume_after_result_id 0"), "{refused}");
    let mut session = Controller::connect(&line).await;
    assert_eq!(session.attach(65_536, 0).await.unwrap_err().code(), Code::InvalidArgument);
    // None of them disturbed the station.
    let mut controller = Controller::ready(&line, 2, 0).await;
    controller.is_ready().await;
    assert!(controller.give(1).await.acknowledged);
}

#[tokio::test]
async fn who_reads_too_slowly_is_let_go_and_resumes() {
    let line = PlayedLine::start(Wishes {
        gives_cycles: false,
        ..Wishes::default()
    });
    let mut controller = Controller::connect(&line).await;
    controller.attach(0, 0).await.unwrap();
    // More than fit into every buffer on the way.
    for result_id in 1..=4000 {
        line.results.publish(&record(result_id), true);
    }
    let mut last = 0;
    let ended = loop {
        match controller.result().await {
            Ok(result) => {
                assert_eq!(result.result_id, last + 1, "none is left out");
                last = result.result_id;
            }
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::ResourceExhausted);
    let mut controller = Controller::connect(&line).await;
    if last == 0 {
        // It was let go before anything reached it: nothing to resume from but the first.
        last = 1;
    }
    controller.attach(0, last).await.unwrap();
    for expected in last + 1..=4000 {
        let result = controller.result().await.unwrap();
        assert!(result.result_id == expected && result.repeated && !result.pass);
    }
}

#[tokio::test]
async fn records_are_streamed_from_any_on_and_as_they_come() {
    let line = PlayedLine::start(Wishes::default());
    let mut controller = Controller::ready(&line, 1, 0).await;
    controller.is_ready().await;
    for cycle_id in 1..=5 {
        controller.give(cycle_id).await;
    }
    let sequence_of = |response: proto::StreamResultsResponse| proto::Record::decode(response.record.as_slice()).unwrap().sequence;
    let mut client = client(&line).await;
    let from = |from_sequence| proto::StreamResultsRequest { from_sequence };
    let mut records = client.stream_results(from(2)).await.unwrap().into_inner();
    let mut fresh = client.stream_results(from(0)).await.unwrap().into_inner();
    for expected in 2..=5 {
        assert_eq!(sequence_of(records.message().await.unwrap().unwrap()), expected);
    }
    controller.give(6).await;
    assert_eq!(sequence_of(records.message().await.unwrap().unwrap()), 6);
    assert_eq!(sequence_of(fresh.message().await.unwrap().unwrap()), 6);
    let refused = client.stream_results(from(100)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    let status = client.get_status(proto::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (status.station.as_str(), status.epoch, status.boot_id, status.recorded_below),
        ("press-1", 4, 3, 7)
    );
    assert_eq!(
        (status.count_total, status.count_ok, status.count_not_ok, status.recipe),
        (6, 4, 2, 1)
    );
    let recipes = client
        .list_recipes(proto::ListRecipesRequest {})
        .await
        .unwrap()
        .into_inner()
        .recipes;
    assert_eq!(recipes[0].name, "Bracket");
    assert!(
        client
            .list_models(proto::ListModelsRequest {})
            .await
            .unwrap()
            .into_inner()
            .models
            .is_empty()
    );
    // A station that stops says so to everyone.
    line.stop.cancel();
    let ended = loop {
        if let Err(ended) = controller.result().await {
            break ended;
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(records.message().await.unwrap_err().code(), Code::Unavailable);
}

/// The foreign controller's results and its summary.
fn foreign(line: &PlayedLine, options: &[&str]) -> Option<(Vec<Value>, Value)> {
    let mut controller = match grpc_controller(line.address) {
        Ok(controller) => controller,
        Err(reason) => {
            skip("line_controller", &reason);
            return None;
        }
    };
    let output = controller.args(options).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    let mut results: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = results.pop().unwrap();
    assert_eq!(summary["violations"], Value::Array(Vec::new()), "{summary}");
    Some((results, summary))
}

#[test]
fn a_foreign_controller_gives_cycles_and_resumes() {
    let line = PlayedLine::start(Wishes::default());
    let Some((results, summary)) = foreign(&line, &["--cycles", "6", "--drop-after", "3"]) else {
        return;
    };
    let told: Vec<_> = results
        .iter()
        .map(|result| (result["cycle_id"].as_u64().unwrap(), result["verdict"].as_str().unwrap()))
        .collect();
    let expected = [(1, "ok"), (2, "ok"), (3, "not_ok"), (4, "ok"), (5, "ok"), (6, "not_ok")];
    // The one that was on its way when the connection was lost may come twice.
    assert!(
        expected.iter().all(|expected| told.contains(expected)) && told.len() <= 7,
        "{told:?}"
    );
    assert_eq!(
        (&summary["answered"], &summary["results"], &summary["reconnects"]),
        (&6.into(), &6.into(), &1.into())
    );
    // Another life of the controller: the next session, where the numbers begin again.
    let last = results.last().unwrap()["result_id"].to_string();
    let (results, summary) = foreign(&line, &["--cycles", "2", "--session", "2", "--resume-after", &last]).unwrap();
    assert_eq!((results.len(), &summary["passed"], &summary["repeated"]), (2, &2.into(), &0.into()));
}

fn record(result_id: u32) -> takt::part::PartRecord {
    use takt::part::{CycleId, Nanos, PartRecord, StageTimes, Verdict};
    PartRecord {
        defect_code: 0,
        severity: None,
        tags: Vec::new(),
        delivery: None,
        station: "press-1".into(),
        epoch: 4,
        sequence: u64::from(result_id),
        cycle_id: CycleId::new(result_id),
        plc_session: 1,
        boot_id: 3,
        acquisition_id: result_id,
        result_id,
        encoder: 0,
        serial: String::new(),
        recipe: 1,
        config_checksum: 7,
        verdict: Verdict::Ok,
        reason: None,
        measured: None,
        test_part: false,
        recovered: false,
        late_findings: false,
        triggered_unix_ns: 0,
        triggered_ns: Nanos(0),
        deadline_ns: Nanos(2),
        shown_ns: Nanos(1),
        stages: StageTimes::default(),
        views: Vec::new(),
    }
}
