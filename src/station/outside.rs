//! What a station has around it: cameras, the PLC, line controllers, the historian.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;

use super::error::StationError;
use super::forwarding;
use super::line_thread::{Controllers, LineInput};
use super::model_desk::ModelDesk;
use super::threads::{Control, StageWatch, spawn};
use crate::capture::folder::FolderCamera;
use crate::capture::gstreamer::{GstCamera, GstSettings};
use crate::capture::v4l::{V4lCamera, V4lSettings};
use crate::capture::{Camera, CameraError, CaptureSink};
use crate::config::station::{CameraConfig, CameraSource, CycleSource, RecipeConfig, StationConfig};
use crate::flow::Sender;
use crate::journal::log::RecordLog;
use crate::line::config::TriggerSource;
use crate::plc::modbus::client::{ClientConfig, ModbusClient, ResultPort};
use crate::plc::modbus::{ModbusConfig, ModbusServer, PlcError, SILENCE_MAX};
use crate::plc::{PlcEvent, Shown};
use crate::rpc::proto;
use crate::rpc::station_service::{self, Events, StationFacts, StationPorts, StationServer};

/// How the PLC is spoken to; ends with it.
pub(super) enum PlcWire {
    /// It polls this station.
    Server(ModbusServer),
    /// This station polls it.
    Client(#[allow(dead_code, reason = "held for its end")] ModbusClient),
    /// There is none.
    None,
}

/// The cameras, capturing.
pub(super) fn cameras(config: &StationConfig, inputs: &Sender<LineInput>) -> Result<Vec<Arc<dyn Camera>>, CameraError> {
    let make = |(index, camera): (usize, &CameraConfig)| -> Result<Arc<dyn Camera>, CameraError> {
        let inputs = inputs.clone();
        let sink: CaptureSink = Arc::new(move |capture| {
            let _ = inputs.send(LineInput::Capture(index, capture));
        });
        Ok(match &camera.source {
            CameraSource::Folder(folder) => Arc::new(FolderCamera::start(&camera.name, folder, sink)?),
            CameraSource::Device(device) => {
                let settings = V4lSettings {
                    name: camera.name.clone(),
                    device: device.clone(),
                    is_triggered: !matches!(config.trigger.source, TriggerSource::FreeRun { .. }),
                };
                Arc::new(V4lCamera::start(settings, sink)?)
            }
            CameraSource::Pipeline {
                description,
                clock,
                frames_held_max,
            } => {
                let settings = GstSettings {
                    name: camera.name.clone(),
                    source: description.clone(),
                    clock: *clock,
                    frames_held_max: *frames_held_max,
                    is_triggered: !matches!(config.trigger.source, TriggerSource::FreeRun { .. }),
                };
                Arc::new(GstCamera::start(settings, sink)?)
            }
        })
    };
    config.cameras.iter().enumerate().map(make).collect()
}

/// The wire to a PLC that speaks Modbus TCP, and where it takes results if the station writes them.
pub(super) fn modbus(
    config: &StationConfig,
    shown: &Shown,
    line: &Sender<LineInput>,
    control: &Sender<Control>,
) -> Result<(PlcWire, Option<ResultPort>), PlcError> {
    let (to_line, watch) = (line.clone(), StageWatch::new("plc", control));
    let events = move |event: PlcEvent| {
        let _ = &watch;
        let _ = to_line.send(LineInput::Plc(event));
    };
    match &config.plc.cycle_source {
        CycleSource::Modbus { listen, writers } => {
            let plc_config = ModbusConfig {
                listen: *listen,
                writers: writers.clone(),
                tags: config.has_tag_registers(),
                silence_max: SILENCE_MAX,
            };
            let server = ModbusServer::start(&plc_config, Arc::clone(shown), events)?;
            Ok((PlcWire::Server(server), None))
        }
        CycleSource::PolledModbus(polled) => {
            let client_config = ClientConfig {
                connect: polled.connect,
                unit_id: polled.unit_id,
                layout: polled.layout(config.result.mode, config.has_tag_registers()),
                poll: config.plc.poll,
                response_timeout: polled.response_timeout,
                write_max: polled.write_max,
            };
            let line = line.clone();
            let delivered = move |delivered| drop(line.send(LineInput::Delivered(delivered)));
            let (client, port) = ModbusClient::start(client_config, Arc::clone(shown), events, delivered)?;
            Ok((PlcWire::Client(client), Some(port)))
        }
        CycleSource::Grpc => Ok((PlcWire::None, None)),
    }
}

/// The thread on which records go to the historian, where there is one.
pub(super) fn forwarder(
    config: &StationConfig,
    log: &Arc<dyn RecordLog>,
    line: &Sender<LineInput>,
    stop: &CancellationToken,
    control: &Sender<Control>,
) -> Result<Option<(&'static str, JoinHandle<()>)>, StationError> {
    let Some(historian) = &config.historian else { return Ok(None) };
    let endpoint = forwarding::endpoint(historian)?;
    let (log, line, stop) = (Arc::clone(log), line.clone(), stop.clone());
    let forward = move || forwarding::run(&log, endpoint, &line, &stop);
    Ok(Some(("forwarder", spawn("forwarder", control, forward)?)))
}

/// What line controllers may know of the station.
pub(super) fn facts(config: &StationConfig, epoch: u64) -> StationFacts {
    StationFacts {
        station: config.id.clone(),
        epoch,
        recipes: config.recipes.iter().map(summary).collect(),
    }
}

fn summary(recipe: &RecipeConfig) -> proto::RecipeSummary {
    proto::RecipeSummary {
        number: recipe.number.into(),
        name: recipe.name.clone(),
        revision: recipe.revision.clone(),
        inspections: recipe.inspections.iter().map(|inspection| inspection.name.clone()).collect(),
    }
}

/// The server for line controllers, where there is one.
pub(super) fn controllers_server(
    config: &StationConfig,
    (facts, desk): (StationFacts, Arc<ModelDesk>),
    shown: &Shown,
    controllers: &Controllers,
    log: Arc<dyn RecordLog>,
    line: &Sender<LineInput>,
    stop: &CancellationToken,
) -> Result<Option<StationServer>, StationError> {
    let Some(grpc) = &config.grpc else { return Ok(None) };
    let secured = grpc.security.load()?;
    for warning in &secured.warnings {
        tracing::warn!("{warning}");
    }
    let events: Result<Events, _> = if config.plc.cycle_source == CycleSource::Grpc {
        let line = line.clone();
        Ok(Box::new(move |event| drop(line.send(LineInput::Plc(event)))))
    } else {
        Err(station_service::CYCLES_COME_FROM_PLC)
    };
    let ports = StationPorts {
        facts,
        shown: Arc::clone(shown),
        swapped: controllers.swapped.clone(),
        results: Arc::clone(&controllers.results),
        log: Some(log),
        events,
        access: secured.access,
        models: Some(desk),
        accept_hold: config.result.accept_hold,
        is_stand_in: false,
    };
    Ok(Some(station_service::serve(grpc.listen, secured.tls, ports, stop.clone())?))
}
