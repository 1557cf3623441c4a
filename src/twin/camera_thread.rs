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
use super::schedule::{FrameFault, Part, Schedule};
use super::settings::CameraSettings;
use crate::flow::{NothingReceived, Receiver, Sender, WhenFull, bounded, now};
use crate::part::Nanos;
use crate::vision::{Image, stamp};

/// Parts whose frames are ready before they are needed.
const AHEAD: usize = 4;

/// Exposures asked for but not made yet.
const EXPOSURES: usize = 64;

/// Brightness of what surrounds a part.
const BACKGROUND: u8 = 96;

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

/// A camera, where the stamp and the part are in its frames, and what parts look like to it.
pub(super) struct Mounted {
    pub camera: TwinCamera,
    pub settings: CameraSettings,
    pub frame_px: (u32, u32),
    pub pictures: Arc<Pictures>,
}

impl Mounted {
    /// The frame of a part: the part where it is looked at, its number where the stamp is, grey elsewhere.
    pub(super) fn sees(&self, part: &Part) -> Image {
        let (width, height) = self.frame_px;
        let mut frame = Image {
            width,
            height,
            rgb: vec![BACKGROUND; 3 * width as usize * height as usize],
        };
        if let Some(picture) = self.pictures.of(part) {
            let area = self.settings.area;
            let bytes = 3 * area.width as usize;
            for (row, pixels) in (area.y as usize..).zip(picture.image.rgb.chunks_exact(bytes)) {
                let start = 3 * (row * width as usize + area.x as usize);
                if let Some(place) = frame.rgb.get_mut(start..start + bytes) {
                    place.copy_from_slice(pixels);
                }
            }
        }
        if let Some(at) = self.settings.stamp {
            stamp::write(&mut frame, at, part.number);
        }
        frame
    }
}

/// The frames of one part, one per camera.
type Frames = Arc<Vec<TwinFrame>>;

/// Starts the threads. They end when the sender is dropped; the exposures made come back from the handle.
pub(super) fn start(
    cameras: Arc<Vec<Mounted>>,
    schedule: Arc<Schedule>,
    transfer: Duration,
) -> std::io::Result<(Sender<Expose>, JoinHandle<Vec<Exposure>>)> {
    let (ready, frames) = bounded("twin/frames", AHEAD, WhenFull::Block);
    let darkroom = Arc::clone(&cameras);
    thread::Builder::new()
        .name("twin-frames".into())
        .spawn(move || make_frames(&darkroom, &schedule, &ready))?;
    let (expose, exposures) = bounded("twin/exposures", EXPOSURES, WhenFull::Block);
    let handle = thread::Builder::new()
        .name("twin-camera".into())
        .spawn(move || send_frames(&cameras, &frames, &exposures, transfer))?;
    Ok((expose, handle))
}

/// Lets everybody else have the processor first: what is simulated here would not run on the station's machine.
pub(super) fn give_way() {
    // Refused at worst, and then it is as it was.
    let _ = rustix::process::nice(10);
}

/// Every part's frames, in order, as long as somebody takes them.
fn make_frames(cameras: &[Mounted], schedule: &Schedule, ready: &Sender<(u32, Frames)>) {
    give_way();
    for number in 1..=schedule.count() {
        let part = schedule.part(number);
        let frame = |mounted: &Mounted| mounted.camera.prepare(&mounted.sees(&part));
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
