//! A line controller over gRPC, in place of a PLC.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio_util::sync::CancellationToken;

use super::cell::{Cell, Outlet};
use super::{LOOPBACK, PATIENCE, Role};
use crate::flow::now;
use crate::line::image::StationImage;
use crate::part::{Nanos, PartRecord};
use crate::plc::Shown;
use crate::plc::grpc::is_passed;
use crate::rpc::access::Access;
use crate::rpc::line_controller::LineController;
use crate::rpc::proto;
use crate::rpc::proto::control_request::Message as Asked;
use crate::rpc::proto::control_response::Message as Said;
use crate::rpc::results_feed::ResultsFeed;
use crate::rpc::station_service::{ImageSwapped, StationFacts, StationPorts, serve};

/// How long the station is listened to at a time.
const TURN: Duration = Duration::from_millis(1);

/// The controller, and the station that it is told by.
pub(super) struct Controller {
    cell: Cell,
    peer: LineController,
    /// The same peer, of a service that knows nothing of parts.
    bare: LineController,
    /// Ends both services.
    stop: CancellationToken,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Controller {
    pub(super) fn start() -> anyhow::Result<Self> {
        let (sender, events) = channel();
        let mut cell = Cell::new(events);
        let (swapped, results) = (ImageSwapped::default(), Arc::<ResultsFeed>::default());
        let ports = StationPorts {
            shown: Arc::clone(&cell.shown),
            swapped: swapped.clone(),
            results: Arc::clone(&results),
            events: Ok(Box::new(move |event| {
                // The bench is over.
                let _ = sender.send(event);
            })),
            ..without_station()
        };
        let stop = CancellationToken::new();
        let station = serve(LOOPBACK, None, ports, stop.clone())?.address;
        let bare = serve(LOOPBACK, None, without_station(), stop.clone())?.address;
        cell.outlet = Some(Box::new(Feed { swapped, results }));
        Ok(Self {
            cell,
            peer: LineController::connect(station)?,
            bare: LineController::connect(bare)?,
            stop,
        })
    }

    /// Lets line and controller go on until the station says what is waited for.
    fn until<T>(&mut self, wanted: impl Fn(&Said) -> Option<T>) -> anyhow::Result<T> {
        let begun = now();
        loop {
            self.cell.listen(TURN)?;
            if let Some(found) = self.peer.hear(TURN)?.as_ref().and_then(&wanted) {
                return Ok(found);
            }
            if now().since(begun) > PATIENCE {
                bail!("the station did not answer its line controller; run this on a machine that does nothing else");
            }
        }
    }
}

impl Role for Controller {
    fn begin(&mut self) -> anyhow::Result<()> {
        self.peer.ask(Asked::Attach(proto::Attach {
            plc_session: 1,
            ..proto::Attach::default()
        }))?;
        self.until(|said| matches!(said, Said::Attached(_)).then_some(()))?;
        // Its signs of life count from the second on.
        for _ in 0..3 {
            self.peer.ask(Asked::Heartbeat(proto::Heartbeat {}))?;
            self.peer.hear(TURN)?;
            self.cell.listen(TURN)?;
        }
        Ok(())
    }

    fn part(&mut self, cycle_id: u32) -> anyhow::Result<(Nanos, Nanos)> {
        let begun = now();
        while !self.cell.shown.load().trigger_ready {
            self.peer.ask(Asked::Heartbeat(proto::Heartbeat {}))?;
            self.peer.hear(TURN)?;
            self.cell.listen(TURN)?;
            ensure!(now().since(begun) < PATIENCE, "the station does not become ready");
        }
        self.peer.ask(Asked::Cycle(proto::Cycle {
            cycle_id,
            ..proto::Cycle::default()
        }))?;
        let answer = self.until(|said| if let Said::Answer(answer) = said { Some(*answer) } else { None })?;
        ensure!(answer.acknowledged, "the station did not take a part");
        let decided = self.cell.decide()?;
        loop {
            let said = self.peer.hear(PATIENCE)?.context("the result did not reach the peer")?;
            if let Said::Result(result) = said {
                let at = now();
                ensure!(result.cycle_id == cycle_id && result.pass, "the station did not pass a good part");
                return Ok((decided, at));
            }
        }
    }

    fn bare(&mut self) -> anyhow::Result<Duration> {
        let begun = now();
        self.bare.check_health()?;
        Ok(now().since(begun))
    }
}

/// Where controllers have their results from.
struct Feed {
    swapped: ImageSwapped,
    results: Arc<ResultsFeed>,
}

impl Outlet for Feed {
    fn decided(&self, _: &[PartRecord]) {}

    fn shown(&self, records: &[PartRecord], image: &StationImage) {
        self.swapped.ring();
        for record in records {
            self.results.publish(record, is_passed(record, image));
        }
    }
}

/// A service without a station.
fn without_station() -> StationPorts {
    StationPorts {
        facts: StationFacts {
            station: "bench".into(),
            epoch: 1,
            recipes: Vec::new(),
        },
        shown: Shown::default(),
        swapped: ImageSwapped::default(),
        results: Arc::default(),
        log: None,
        events: Err("nobody is here"),
        access: Access::open(),
        models: None,
        accept_hold: PATIENCE,
        is_stand_in: false,
    }
}
