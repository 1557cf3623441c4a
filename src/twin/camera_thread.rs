//! The cameras of the line, on threads of their own: one makes each part's frames ahead of time, one sends them when they arrive.
//!
//! Bounds: [`AHEAD`] parts' frames are ready at most; at most [`EXPOSURES`] exposures wait to be made.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::camera::{TwinCamera, TwinFrame};
use super::delivery::Delivery;
use super::facts::Exposure;
use super::pictures::Pictures;
use super::schedule::{FrameFault, Schedule};
use super::settings::CameraSettings;
use crate::flow::{NothingReceived, Receiver, Sender, WhenFull, bounded, now};
use crate::part::Nanos;
use crate::vision::stamp;

/// Parts whose frames are ready before they are needed.
const AHEAD: usize = 4;

/// Exposures asked for but not made yet.
const EXPOSURES: usize = 64;

/// How long the thread sleeps when nothing is on its way.
const IDLE: Duration = Duration::from_millis(100);

/// An exposure to make. They are asked for in the order of their times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expose {
    /// The part that is under the camera.
    pub part: u32,
    /// When.
    pub at: Nanos,
    /// What goes wrong with its frame.
    pub fault: Option<FrameFault>,
}

/// A camera and where its stamp is.
pub(super) struct Mounted {
    pub camera: TwinCamera,
    pub settings: CameraSettings,
}

/// The frames of one part, one per camera.
type Frames = Arc<Vec<TwinFrame>>;

/// Starts the threads. They end when the sender is dropped; the exposures made come back from the handle.
pub(super) fn start(
    cameras: Arc<Vec<Mounted>>,
    pictures: Arc<Pictures>,
    schedule: Arc<Schedule>,
    transfer: Duration,
) -> std::io::Result<(Sender<Expose>, JoinHandle<Vec<Exposure>>)> {
    let (ready, frames) = bounded("twin/frames", AHEAD, WhenFull::Block);
    let darkroom = Arc::clone(&cameras);
    thread::Builder::new()
        .name("twin-frames".into())
        .spawn(move || make_frames(&darkroom, &pictures, &schedule, &ready))?;
    let (expose, exposures) = bounded("twin/exposures", EXPOSURES, WhenFull::Block);
    let handle = thread::Builder::new()
        .name("twin-camera".into())
        .spawn(move || send_frames(&cameras, &frames, &exposures, transfer))?;
    Ok((expose, handle))
}

/// Every part's frames, in order, as long as somebody takes them.
fn make_frames(cameras: &[Mounted], pictures: &Pictures, schedule: &Schedule, ready: &Sender<(u32, Frames)>) {
    for number in 1..=schedule.count() {
        let Some(picture) = pictures.of(&schedule.part(number)) else {
            continue;
        };
        let frame = |mounted: &Mounted| match mounted.settings.stamp {
            None => mounted.camera.prepare(&picture.image),
            Some(at) => {
                let mut image = picture.image.clone();
                stamp::write(&mut image, at, number);
                mounted.camera.prepare(&image)
            }
        };
        let frames = Arc::new(cameras.iter().map(frame).collect());
        if ready.send((number, frames)).is_err() {
            return;
        }
    }
}

fn send_frames(cameras: &[Mounted], frames: &Receiver<(u32, Frames)>, exposures: &Receiver<Expose>, transfer: Duration) -> Vec<Exposure> {
    let mut delivery = Delivery::new(transfer);
    let mut made: Vec<Exposure> = Vec::new();
    let mut open = true;
    while open || delivery.next().is_some() {
        let wait = delivery.next().map_or(IDLE, |arrives| arrives.since(now()).min(IDLE));
        let asked = if open {
            exposures.receive_timeout(wait)
        } else {
            thread::sleep(wait);
            Err(NothingReceived::TimedOut)
        };
        match asked {
            Ok(expose) => {
                let exposure = Exposure {
                    part: expose.part,
                    counter: made.len() as u64 + 1,
                    exposed_at: expose.at,
                };
                if let Some(frames) = frames_of(frames, expose.part) {
                    delivery.exposed((exposure, frames), expose.at, expose.fault);
                }
                made.push(exposure);
            }
            Err(NothingReceived::TimedOut) => {}
            Err(NothingReceived::Closed) => {
                open = false;
                delivery.finish(now());
            }
        }
        while let Some((exposure, frames)) = delivery.arrived(now()) {
            for (mounted, frame) in cameras.iter().zip(frames.iter()) {
                mounted.camera.expose(frame, exposure.counter, exposure.exposed_at);
            }
        }
    }
    made
}

/// The frames of this part; those of parts that were never exposed are thrown away.
fn frames_of(frames: &Receiver<(u32, Frames)>, part: u32) -> Option<Frames> {
    loop {
        let (number, frames) = frames.receive()?;
        if number >= part {
            return (number == part).then_some(frames);
        }
    }
}
