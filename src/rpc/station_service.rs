//! A station, served to line controllers: cycles in, answers and results out.
//!
//! ```text
//! controller ──Control──> Desk: plc::grpc::ControllerPlc ──PlcEvent──> line thread ──swap──> ImageSwapped ─┐
//!            <──answers──────┘   ^── the image shown ──────────────────────────────────────────────────────┘
//!            <──results── ResultsFeed <──publish── reporter, right after the swap
//! ```
//!
//! A connection's messages are taken one after the other; after a cycle no more is read of it until the cycle is answered, so nothing piles up
//! here. Whoever reads too slowly is let go, and may attach again and resume.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use super::access::{Access, Role};
use super::connections;
use super::models::{self, StationModels};
use super::proto::control_request::Message as Asked;
use super::proto::control_response::Message as Said;
use super::proto::station_service_server::{StationService, StationServiceServer};
use super::proto::{self, ControlRequest, ControlResponse};
use super::results_feed::{FeedError, RESULTS_BEHIND_MAX, ResultsFeed};
use crate::flow::now;
use crate::journal::log::RecordLog;
use crate::line::error_code::ErrorCode;
use crate::line::image::StationImage;
use crate::part::Nanos;
use crate::plc::grpc::{Answer, ConnectionId, ControllerPlc, Cycle, Effect, SERIAL_CHARS_MAX, serial_bytes};
use crate::plc::{PlcEvent, Shown};

/// Messages that wait for a controller to read them; then nothing more is taken from the feed for it.
const RESPONSES_MAX: usize = 16;

/// Answers that wait for a connection's task; a connection has one cycle at a time, so this is never reached by one that is served.
const ANSWERS_MAX: usize = 16;

/// Largest request; a cycle is about a hundred bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Bytes of records that are read from the journal at a time.
const READ_BYTES_MAX: usize = 256 << 10;

/// Calls of one connection at a time; further ones wait for it.
const CALLS_MAX: u32 = 32;

/// A connection whose other end does not answer is noticed after this time, and this much again.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How long a controller may take to read why its call ended.
const LAST_WORD_MAX: Duration = Duration::from_secs(30);

/// How long calls may take to end when the station stops; then they are cut off.
const STOP_MAX: Duration = Duration::from_secs(2);

// ---- what the station tells ----

/// Rung by the line thread after each swap of the image. It never waits: it leaves a mark and wakes one task.
#[derive(Debug, Clone, Default)]
pub struct ImageSwapped(Arc<Notify>);

impl ImageSwapped {
    /// The image was swapped.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

/// What a station says of itself besides its image.
#[derive(Debug, Clone, Default)]
pub struct StationFacts {
    /// Its id.
    pub station: String,
    /// The epoch of its records.
    pub epoch: u64,
    /// Its recipes.
    pub recipes: Vec<proto::RecipeSummary>,
}

/// How cycles reach the line.
pub type Events = Box<dyn Fn(PlcEvent) + Send + Sync>;

/// Why a station takes no cycles here whose PLC gives them.
pub const CYCLES_COME_FROM_PLC: &str = "cycles of this station come from its PLC (plc.cycle_source); results still come here";

/// Everything the service works with.
pub struct StationPorts {
    /// What the station is.
    pub facts: StationFacts,
    /// The image shown.
    pub shown: Shown,
    /// Rung after each swap of it.
    pub swapped: ImageSwapped,
    /// Outcomes.
    pub results: Arc<ResultsFeed>,
    /// Committed records; `None` where there is no journal.
    pub log: Option<Arc<dyn RecordLog>>,
    /// Where cycles go, in the order they come; may block for microseconds. Or why none are taken.
    pub events: Result<Events, &'static str>,
    /// Who may do what.
    pub access: Access,
    /// Its models; `None` where none can be had.
    pub models: Option<Arc<dyn StationModels>>,
    /// A result passes no part after this time, whatever kept it.
    pub accept_hold: Duration,
    /// Whether somebody answers for a station that is down: then it is not said to be well.
    pub is_stand_in: bool,
}

// ---- the PLC that controllers play ----

/// What a connection's task is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Attached,
    Answered(Answer),
    Replaced,
}

/// The one place where controllers and line meet: messages in the order they come, one at a time.
struct Desk {
    plc: Mutex<Plc>,
    events: Result<Events, &'static str>,
    shown: Shown,
}

#[derive(Default)]
struct Plc {
    controller: ControllerPlc,
    connections: BTreeMap<ConnectionId, mpsc::Sender<Told>>,
    next_connection: u64,
}

impl Desk {
    fn connect(&self) -> (ConnectionId, mpsc::Receiver<Told>) {
        let (sender, receiver) = mpsc::channel(ANSWERS_MAX);
        let mut plc = lock(&self.plc);
        let connection = ConnectionId(plc.next_connection);
        plc.next_connection += 1;
        plc.connections.insert(connection, sender);
        (connection, receiver)
    }

    fn disconnect(&self, connection: ConnectionId) {
        let mut plc = lock(&self.plc);
        plc.connections.remove(&connection);
        let effects = plc.controller.disconnect(connection, now(), &self.shown.load());
        self.carry_out(&mut plc, effects);
    }

    /// Lets the controller's PLC do something, with the image shown now.
    fn act(&self, act: impl FnOnce(&mut ControllerPlc, Nanos, &StationImage) -> Vec<Effect>) {
        let mut plc = lock(&self.plc);
        // Loaded under the lock: images never go back.
        let effects = act(&mut plc.controller, now(), &self.shown.load());
        self.carry_out(&mut plc, effects);
    }

    fn carry_out(&self, plc: &mut MutexGuard<'_, Plc>, effects: Vec<Effect>) {
        for effect in effects {
            let (connection, told) = match effect {
                Effect::Plc(event) => {
                    if let Ok(events) = &self.events {
                        events(event);
                    }
                    continue;
                }
                Effect::Attached(connection) => (connection, Told::Attached),
                Effect::Replaced(connection) => (connection, Told::Replaced),
                Effect::Answered(connection, answer) => (connection, Told::Answered(answer)),
            };
            // Whoever has gone is told nothing.
            let told = plc.connections.get(&connection).map(|to| to.try_send(told));
            if let Some(Err(mpsc::error::TrySendError::Full(_))) = told {
                // Its task ends with the channel.
                plc.connections.remove(&connection);
            }
        }
    }
}

/// What a poisoned lock guards is whole: nothing here stops half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection to the desk, for as long as its call lasts.
struct Seat {
    desk: Arc<Desk>,
    connection: ConnectionId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.disconnect(self.connection);
    }
}

// ---- the service ----

/// The service; [`serve`] offers it.
#[derive(Clone)]
struct Service(Arc<Shared>);

struct Shared {
    facts: StationFacts,
    desk: Arc<Desk>,
    results: Arc<ResultsFeed>,
    log: Option<Arc<dyn RecordLog>>,
    access: Access,
    models: Option<Arc<dyn StationModels>>,
    accept_hold: Duration,
    /// Counts the images that were seen.
    seen: watch::Sender<u64>,
    stop: CancellationToken,
}

impl Shared {
    /// Looks at each image that is shown, for good.
    async fn follow(&self, swapped: &ImageSwapped) {
        loop {
            swapped.0.notified().await;
            self.desk.act(|plc, at, shown| plc.saw(shown, at));
            self.seen.send_modify(|seen| *seen = seen.wrapping_add(1));
        }
    }
}

/// One controller's call. Nothing in it waits for the controller to read but the loop itself.
struct Control {
    shared: Arc<Shared>,
    seat: Seat,
    told: mpsc::Receiver<Told>,
    to: mpsc::Sender<Result<ControlResponse, Status>>,
    attached: Option<Attached>,
    /// Whether a cycle waits for its answer.
    unanswered: bool,
    /// What is to be said first; nothing more is heard before it is.
    unsaid: VecDeque<Said>,
    /// Readiness as said last.
    ready: Option<proto::Ready>,
}

/// What a controller that attached gets.
struct Attached {
    plc_session: u16,
    gives_cycles: bool,
    /// The outcome it gets next, and the first that nobody may have got before.
    next: u64,
    new_from: u64,
}

impl Control {
    /// Serves the call to its end.
    async fn run(mut self, mut requests: Streaming<ControlRequest>) {
        let ended = self.converse(&mut requests).await;
        let Self { shared, seat, to, .. } = self;
        // The line is told at once that nobody is there any more, whether the controller reads the reason or not.
        drop(seat);
        if let Err(status) = ended {
            let told = tokio::time::timeout(LAST_WORD_MAX, to.send(Err(status)));
            tokio::select! {
                _ = told => {}
                () = async { shared.stop.cancelled().await; tokio::time::sleep(STOP_MAX).await } => {}
            }
        }
    }

    /// Hears and says until either end has had enough.
    async fn converse(&mut self, requests: &mut Streaming<ControlRequest>) -> Result<(), Status> {
        let mut seen = self.shared.seen.subscribe();
        let mut published = self.shared.results.next();
        let (stop, to) = (self.shared.stop.clone(), self.to.clone());
        loop {
            // The answer to a cycle goes before its result, although both may be known at once.
            let has_something = !self.unsaid.is_empty() || (self.has_result()? && !self.unanswered);
            tokio::select! {
                () = stop.cancelled() => return Err(Status::unavailable("the station stops; connect again when it runs")),
                () = to.closed() => return Ok(()),
                told = self.told.recv() => self.take_word(told)?,
                room = to.reserve(), if has_something => match room {
                    Ok(room) => room.send(Ok(self.next_response())),
                    Err(_) => return Ok(()),
                },
                request = requests.message(), if !self.unanswered && self.unsaid.is_empty() => match request? {
                    Some(request) => self.hear(request)?,
                    None => return Ok(()),
                },
                _ = seen.changed() => self.look_at_ready(),
                _ = published.changed() => {}
            }
        }
    }

    fn hear(&mut self, request: ControlRequest) -> Result<(), Status> {
        let Some(asked) = request.message else {
            return Err(Status::invalid_argument(
                "failed to read a request: it is empty, or of a newer takt.v1; set one of its messages",
            ));
        };
        if let Asked::Attach(attach) = asked {
            return self.attach(attach);
        }
        let Some(attached) = &self.attached else {
            return Err(Status::failed_precondition("failed to take a message: the first must be attach"));
        };
        let connection = self.seat.connection;
        match asked {
            Asked::Cycle(cycle) if attached.gives_cycles => {
                let cycle = checked(&cycle)?;
                self.unanswered = true;
                let mut taken = Ok(());
                self.seat.desk.act(|plc, at, shown| {
                    plc.cycle(connection, cycle, at, shown).unwrap_or_else(|error| {
                        taken = Err(error);
                        Vec::new()
                    })
                });
                taken.map_err(|error| Status::failed_precondition(error.to_string()))
            }
            // Why was said when it attached.
            Asked::Cycle(cycle) => {
                let answer = Answer {
                    cycle_id: cycle.cycle_id,
                    acknowledged: false,
                    acquisition_id: 0,
                };
                self.unsaid.push_back(Said::Answer(answer.into()));
                Ok(())
            }
            Asked::Ack(ack) => {
                self.seat.desk.act(|plc, at, _| plc.acknowledge(connection, ack.result_id, at));
                Ok(())
            }
            Asked::Heartbeat(proto::Heartbeat {}) => {
                self.seat.desk.act(|plc, at, _| plc.heartbeat(connection, at));
                Ok(())
            }
            Asked::Disposition(disposition) => {
                let proto::Disposition {
                    cycle_id,
                    plc_session,
                    kind,
                    // Of what it records, not of what it is told.
                    model_change: _,
                } = disposition;
                if let Ok(kind @ 1..=3) = u16::try_from(kind) {
                    self.seat
                        .desk
                        .act(|plc, at, _| plc.disposition(connection, cycle_id, plc_session, kind, at));
                }
                Ok(())
            }
            Asked::Attach(_) => Ok(()),
        }
    }

    fn attach(&mut self, attach: proto::Attach) -> Result<(), Status> {
        let plc_session = u16::try_from(attach.plc_session).map_err(|_| {
            Status::invalid_argument(format!(
                "failed to attach: plc_session {} is above 65535; count from 1 again",
                attach.plc_session
            ))
        })?;
        let results = &self.shared.results;
        let place = match attach.resume_after_result_id {
            0 if attach.resume_session => results.place_of_session(plc_session),
            result_id => results.place_after(result_id),
        };
        let (next, new_from) = place.map_err(|error| Status::out_of_range(error.to_string()))?;
        let refusal = match (&self.seat.desk.events, plc_session) {
            (Err(why), _) => why,
            (Ok(_), 0) => "plc_session is 0: results only",
            (Ok(_), _) => "",
        };
        let gives_cycles = refusal.is_empty();
        let before = self.attached.replace(Attached {
            plc_session,
            gives_cycles,
            next,
            new_from,
        });
        let connection = self.seat.connection;
        if gives_cycles {
            self.seat.desk.act(|plc, at, shown| plc.attach(connection, plc_session, at, shown));
            // What was attached is told once the line knows.
            return Ok(());
        }
        if before.is_some_and(|before| before.gives_cycles) {
            self.seat.desk.act(|plc, at, shown| plc.disconnect(connection, at, shown));
        }
        self.say_attached(refusal);
        Ok(())
    }

    fn say_attached(&mut self, refusal: &str) {
        let shown = self.seat.desk.shown.load_full();
        let Some(attached) = &self.attached else { return };
        self.unsaid.push_back(Said::Attached(proto::Attached {
            boot_id: u32::from(shown.boot_id),
            plc_session: u32::from(if attached.gives_cycles {
                attached.plc_session
            } else {
                shown.echo_plc_session
            }),
            gives_cycles: attached.gives_cycles,
            refusal: refusal.to_owned(),
        }));
        self.ready = None;
        self.look_at_ready();
    }

    /// The desk says something.
    fn take_word(&mut self, told: Option<Told>) -> Result<(), Status> {
        match told {
            Some(Told::Attached) => self.say_attached(""),
            Some(Told::Answered(answer)) => {
                self.unanswered = false;
                self.unsaid.push_back(Said::Answer(answer.into()));
            }
            Some(Told::Replaced) => {
                return Err(Status::aborted(
                    "another line controller has attached, and one at a time gives cycles; make sure that only one runs",
                ));
            }
            None => {
                return Err(Status::resource_exhausted(
                    "failed to keep up: answers wait to be read; read faster and attach again",
                ));
            }
        }
        Ok(())
    }

    /// Whether there is an outcome to be sent.
    fn has_result(&self) -> Result<bool, Status> {
        let Some(attached) = &self.attached else { return Ok(false) };
        let end = *self.shared.results.next().borrow();
        // What is sent again is no sign of slowness, unless it is forgotten meanwhile.
        let behind = end.saturating_sub(attached.next.max(attached.new_from)) > RESULTS_BEHIND_MAX as u64;
        if behind || (attached.next < end && self.shared.results.get(attached.next).is_none()) {
            return Err(Status::resource_exhausted(FeedError::Behind.to_string()));
        }
        Ok(attached.next < end)
    }

    /// What is said now that there is room: an answer, an outcome, or how the station is. An outcome that waited for room must not pass its part
    /// too late, so it is looked at only now.
    fn next_response(&mut self) -> ControlResponse {
        if let Some(said) = self.unsaid.pop_front() {
            return ControlResponse { message: Some(said) };
        }
        let result = self.attached.as_mut().and_then(|attached| {
            let published = self.shared.results.get(attached.next)?;
            let repeated = attached.next < attached.new_from;
            attached.next += 1;
            let is_fresh = now().since(published.at) < self.shared.accept_hold;
            Some(proto::Result {
                pass: published.result.pass && !repeated && is_fresh,
                repeated,
                ..published.result
            })
        });
        // Forgotten between two looks: the next one says so. An empty message is no message to a reader of takt.v1.
        ControlResponse {
            message: result.map(Said::Result),
        }
    }

    /// Says how the station is, if it is otherwise than it was; its heartbeat changes every 100 ms. A controller that does not read is not told of
    /// every state between.
    fn look_at_ready(&mut self) {
        if self.attached.is_none() {
            return;
        }
        let shown = self.seat.desk.shown.load_full();
        let ready = proto::Ready {
            ready: shown.trigger_ready,
            error_code: u32::from(shown.error_code),
            heartbeat: u32::from(shown.heartbeat),
            plc_session: u32::from(shown.echo_plc_session),
            held: held(&shown).into(),
        };
        if self.ready.replace(ready) == Some(ready) {
            return;
        }
        self.unsaid.retain(|said| !matches!(said, Said::Ready(_)));
        self.unsaid.push_back(Said::Ready(ready));
    }
}

fn held(shown: &StationImage) -> proto::Held {
    match (shown.held_for_slot, shown.held_for_deadline) {
        (true, _) => proto::Held::ForSlot,
        (_, true) => proto::Held::ForDeadline,
        _ => proto::Held::Unspecified,
    }
}

impl From<Answer> for proto::CycleAnswer {
    fn from(answer: Answer) -> Self {
        Self {
            cycle_id: answer.cycle_id,
            acknowledged: answer.acknowledged,
            acquisition_id: answer.acquisition_id,
        }
    }
}

/// A cycle that fits the interface. Whether its numbers make sense the line decides.
fn checked(cycle: &proto::Cycle) -> Result<Cycle, Status> {
    let serial = serial_bytes(&cycle.serial).ok_or_else(|| {
        let length = cycle.serial.chars().count();
        Status::invalid_argument(format!(
            "failed to take cycle {}: its serial has {length} characters; {SERIAL_CHARS_MAX} is the most",
            cycle.cycle_id
        ))
    })?;
    let recipe = u16::try_from(cycle.recipe).map_err(|_| {
        Status::invalid_argument(format!(
            "failed to take cycle {}: recipe {} is above 65535",
            cycle.cycle_id, cycle.recipe
        ))
    })?;
    Ok(Cycle {
        cycle_id: cycle.cycle_id,
        encoder: cycle.encoder,
        serial,
        recipe,
        test_part: cycle.test_part,
    })
}

#[tonic::async_trait]
impl StationService for Service {
    type ControlStream = ReceiverStream<Result<ControlResponse, Status>>;
    type StreamResultsStream = ReceiverStream<Result<proto::StreamResultsResponse, Status>>;

    async fn control(&self, request: Request<Streaming<ControlRequest>>) -> Result<Response<Self::ControlStream>, Status> {
        self.0.access.require(&request, Role::Operate)?;
        let (connection, told) = self.0.desk.connect();
        let seat = Seat {
            desk: Arc::clone(&self.0.desk),
            connection,
        };
        let (to, responses) = mpsc::channel(RESPONSES_MAX);
        let control = Control {
            shared: Arc::clone(&self.0),
            seat,
            told,
            to,
            attached: None,
            unanswered: false,
            unsaid: VecDeque::new(),
            ready: None,
        };
        tokio::spawn(control.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn stream_results(&self, request: Request<proto::StreamResultsRequest>) -> Result<Response<Self::StreamResultsStream>, Status> {
        self.0.access.require(&request, Role::Read)?;
        let log = self
            .0
            .log
            .clone()
            .ok_or_else(|| Status::failed_precondition("this station keeps no journal; configure one to stream its records"))?;
        let written_below = log.written_below();
        let below = *written_below.borrow();
        let first = match request.get_ref().from_sequence {
            0 => below,
            first if first <= below => first,
            first => {
                return Err(Status::out_of_range(format!(
                    "failed to stream from record {first}: the next that this station records is {below}; its state was made anew, or is a backup"
                )));
            }
        };
        let (to, responses) = mpsc::channel(RESPONSES_MAX);
        tokio::spawn(stream_records(log, first, written_below, to, self.0.stop.clone()));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn get_status(&self, request: Request<proto::GetStatusRequest>) -> Result<Response<proto::GetStatusResponse>, Status> {
        self.0.access.require(&request, Role::Read)?;
        let log = self.0.log.clone();
        let (recorded_below, historian_next) = match log {
            Some(log) => blocking(move || Ok((*log.written_below().borrow(), log.acknowledged_below()?))).await?,
            None => (0, 0),
        };
        let shown = self.0.desk.shown.load_full();
        let error = ErrorCode::ALL.iter().find(|error| error.code() == shown.error_code);
        let counts = shown.counts;
        Ok(Response::new(proto::GetStatusResponse {
            station: self.0.facts.station.clone(),
            epoch: self.0.facts.epoch,
            boot_id: u32::from(shown.boot_id),
            ready: shown.trigger_ready,
            error_code: u32::from(shown.error_code),
            error: error.map_or_else(String::new, |error| error.text().to_owned()),
            remedy: error.map_or_else(String::new, |error| error.remedy().to_owned()),
            plc_session: u32::from(shown.echo_plc_session),
            station_mode: shown.station_mode as u32,
            recipe: u32::from(shown.recipe_ready),
            count_total: counts.total,
            count_ok: counts.ok,
            count_not_ok: counts.not_ok,
            count_not_decidable: counts.not_decidable,
            count_missed: counts.missed,
            count_duplicate: counts.duplicate,
            recorded_below,
            historian_next,
            takt_version: env!("CARGO_PKG_VERSION").to_owned(),
            models_loading: models::loading(self.0.models.as_deref()),
            held: held(&shown).into(),
        }))
    }

    async fn list_recipes(&self, request: Request<proto::ListRecipesRequest>) -> Result<Response<proto::ListRecipesResponse>, Status> {
        self.0.access.require(&request, Role::Read)?;
        let recipes = self.0.facts.recipes.clone();
        Ok(Response::new(proto::ListRecipesResponse { recipes }))
    }

    async fn list_models(&self, request: Request<proto::ListModelsRequest>) -> Result<Response<proto::ListModelsResponse>, Status> {
        self.0.access.require(&request, Role::Read)?;
        Ok(Response::new(models::list(self.0.models.as_deref())))
    }

    async fn activate_model(
        &self,
        request: Request<proto::ActivateModelRequest>,
    ) -> Result<Response<proto::ActivateModelResponse>, Status> {
        self.0.access.require(&request, Role::Configure)?;
        let by = self.0.access.name_of(&request);
        models::activate(self.0.models.as_deref(), request.into_inner(), by)
            .await
            .map(Response::new)
    }

    async fn rollback_model(
        &self,
        request: Request<proto::RollbackModelRequest>,
    ) -> Result<Response<proto::ActivateModelResponse>, Status> {
        self.0.access.require(&request, Role::Configure)?;
        let by = self.0.access.name_of(&request);
        models::roll_back(self.0.models.as_deref(), request.into_inner(), by)
            .await
            .map(Response::new)
    }
}

/// Sends records from one on, then as they are committed, until nobody listens any more. A slow reader keeps only itself waiting.
async fn stream_records(
    log: Arc<dyn RecordLog>,
    mut next: u64,
    mut written_below: watch::Receiver<u64>,
    to: mpsc::Sender<Result<proto::StreamResultsResponse, Status>>,
    stop: CancellationToken,
) {
    let ended = loop {
        let below = *written_below.borrow_and_update();
        if next < below {
            let reader = Arc::clone(&log);
            match blocking(move || reader.read(next, below - 1, READ_BYTES_MAX)).await {
                Ok(records) => {
                    // Where nothing is left, `Lost` records say so.
                    next = records.last().map_or(below, |(sequence, _)| sequence + 1);
                    for (_, record) in records {
                        if to.send(Ok(proto::StreamResultsResponse { record })).await.is_err() {
                            return;
                        }
                    }
                }
                Err(status) => break status,
            }
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => break Status::unavailable("the station stops; connect again when it runs, from the record after the last"),
            () = to.closed() => return,
            changed = written_below.changed() => if changed.is_err() {
                break Status::unavailable("the journal is closed; connect again when the station runs");
            },
        }
    };
    let _ = to.send(Err(ended)).await;
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, crate::journal::log::LogError> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(read).await;
    let done = done.map_err(|_| Status::internal("failed to read the journal; see the station's log"))?;
    done.map_err(|error| Status::unavailable(error.to_string()))
}

// ---- serving ----

/// Why the service cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("failed to serve line controllers on {0}: {1}; grpc.listen must be an address of this machine and a free port")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The system gives no thread.
    #[error("failed to start the thread that serves line controllers: {0}; raise the limits of this service for threads and open files")]
    Thread(#[source] std::io::Error),
    /// TLS cannot be set up.
    #[error("failed to set up TLS for line controllers: {0}; check grpc.certificate, grpc.key and grpc.client_ca")]
    Tls(String),
}

/// A server that runs; it ends with its token.
#[derive(Debug)]
pub struct StationServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its thread.
    pub thread: JoinHandle<()>,
}

/// Listens, and serves from a thread of its own until told to stop; calls that still run then have 2 s to end.
///
/// # Errors
/// When the address cannot be listened on, or TLS not be set up.
pub fn serve(
    listen: SocketAddr,
    tls: Option<ServerTlsConfig>,
    ports: StationPorts,
    stop: CancellationToken,
) -> Result<StationServer, ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Thread)?;
    let refused = |error| ServeError::Listen(listen, error);
    let listener = crate::flow::listen(listen).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let listener = {
        let _guard = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(refused)?
    };
    let mut server = Server::builder()
        .max_concurrent_streams(CALLS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE));
    if let Some(tls) = tls {
        server = server
            .tls_config(tls)
            .map_err(|error| ServeError::Tls(super::tls::connection_failure(&error)))?;
    }
    info!("serving line controllers on {address}");
    // What is logged there goes where the caller's does.
    let log = tracing::dispatcher::get_default(Clone::clone);
    let thread = std::thread::Builder::new()
        .name("grpc".into())
        .spawn(move || {
            tracing::dispatcher::with_default(&log, || {
                runtime.block_on(run(server, listener, ports, stop));
                runtime.shutdown_timeout(STOP_MAX);
            });
        })
        .map_err(ServeError::Thread)?;
    Ok(StationServer { address, thread })
}

async fn run(mut server: Server, listener: tokio::net::TcpListener, ports: StationPorts, stop: CancellationToken) {
    let shared = Arc::new(Shared {
        facts: ports.facts,
        desk: Arc::new(Desk {
            plc: Mutex::default(),
            events: ports.events,
            shown: ports.shown,
        }),
        results: ports.results,
        log: ports.log,
        access: ports.access,
        models: ports.models,
        accept_hold: ports.accept_hold,
        seen: watch::Sender::new(0),
        stop: stop.clone(),
    });
    let (health_reporter, health) = tonic_health::server::health_reporter();
    if ports.is_stand_in {
        health_reporter.set_not_serving::<StationServiceServer<Service>>().await;
    } else {
        health_reporter.set_serving::<StationServiceServer<Service>>().await;
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .build_v1();
    let reflection = reflection.inspect_err(|error| warn!(%error, "reflection is not offered")).ok();
    let service = StationServiceServer::new(Service(Arc::clone(&shared))).max_decoding_message_size(REQUEST_BYTES_MAX);
    let serving = server
        .add_service(service)
        .add_service(health)
        .add_optional_service(reflection)
        .serve_with_incoming_shutdown(connections::incoming(listener), stop.clone().cancelled_owned());
    let hurried = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_MAX).await;
    };
    tokio::select! {
        served = serving => if let Err(error) = served {
            warn!("line controllers are not served any more: {}", super::tls::connection_failure(&error));
        },
        () = shared.follow(&ports.swapped) => {}
        () = hurried => {}
    }
}
