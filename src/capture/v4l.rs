//! Adapter to cameras of Linux itself (V4L2): `/dev/video0` and the like, their buffers mapped and not copied.
//!
//! A thread of its own, named after the camera, opens the device, sets it up as configured, takes frames until the device fails or is
//! unplugged, and opens it anew after 100 ms, doubling to 5 s. Buffers that takt holds are the driver's own; beyond `frames_held_max` of
//! them frames are copied and counted. The device is reached through the crate `v4l`, as far as that goes.
//!
//! | file | what it does |
//! |---|---|
//! | `v4l/device.rs` | a device that is set up and streams |
//! | `v4l/kernel.rs` | the crate `v4l`, and requests to the kernel where it would not do |
//! | `v4l/sys/` | a crate: the kernel's declarations, which `v4l` would otherwise make at every build, with libclang |

mod device;
mod kernel;

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use v4l::buffer::{self, Metadata};
use v4l::format::{Colorspace, Quantization};
use v4l::timestamp::Timestamp;
use v4l::v4l_sys::{
    v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_709, v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_DEFAULT, v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_XV709,
};

use super::{BACKOFF_MAX, BACKOFF_MIN, Camera, CameraClock, CameraError, Capture, CaptureSink, Frame, PixelFormat, Pixels};
use crate::flow::{self, NothingReceived, Receiver, WhenFull};
use crate::part::Nanos;
use device::{Device, Taken};
use kernel::Layout;

/// How long a drop waits for the driver to stop.
const STOP_MAX: Duration = Duration::from_secs(3);
/// A camera that runs freely and gives nothing for so long is opened anew.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What a camera needs to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V4lSettings {
    /// Name in the configuration.
    pub name: String,
    /// The device, and how it is set up.
    pub device: DeviceSettings,
    /// Whether the camera is silent until it is triggered. Then it is up as soon as it streams, otherwise with its first frame.
    pub is_triggered: bool,
}

/// A camera device of Linux (V4L2), and how it is set up. What it can do is known only when it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSettings {
    /// The device: `/dev/video0`, or better a name that stays, `/dev/v4l/by-id/...`. Absolute.
    pub path: PathBuf,
    /// Layout of its pixels.
    pub format: PixelFormat,
    /// Pixels per row, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// Frames a second, at least 1; `None`: as the driver has it.
    pub frame_rate_hz: Option<u32>,
    /// Controls by name, as `v4l2-ctl --list-ctrls` has them, each once.
    pub controls: Vec<(String, ControlSetting)>,
    /// How the time of exposure is known: by the driver's time stamps, or by arrival; never by a pipeline's clock.
    pub clock: CameraClock,
    /// How many of the driver's buffers may be held at a time, at least 1; beyond that frames are copied.
    pub frames_held_max: usize,
}

/// What a control is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlSetting {
    /// A number, in the driver's units.
    Whole(i64),
    /// On or off.
    Flag(bool),
    /// A choice of a menu, by its words.
    Choice(String),
}

impl fmt::Display for ControlSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Choice(words) => write!(f, "\"{words}\""),
        }
    }
}

/// A camera device. Dropping it stops it, within 3 s.
pub struct V4lCamera {
    name: String,
    stop: Arc<Stop>,
    copied: Arc<AtomicU64>,
    ended: Receiver<()>,
}

/// Says to the camera's thread that it shall end, and wakes it.
struct Stop {
    is_asked: AtomicBool,
    wake: OwnedFd,
}

impl Stop {
    fn ask(&self) {
        self.is_asked.store(true, Ordering::SeqCst);
        // Adding 1 to the counter of an eventfd wakes whoever polls it; it cannot fail below 2^64.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::SeqCst)
    }

    /// Waits until there is something to do at the device, if one is given, or a stop is asked for, or the time is over.
    /// Answers whether there is something at the device.
    fn wait(&self, device: Option<&Device>, time: Option<Duration>) -> Result<bool, Errno> {
        let timeout = time.map(|time| Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let mut waited = vec![PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)];
        waited.extend(device.map(|device| PollFd::new(device, PollFlags::IN)));
        match poll(&mut waited, timeout.as_ref()) {
            Ok(_) => Ok(waited.get(1).is_some_and(|device| !device.revents().is_empty())),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl V4lCamera {
    /// Starts to capture. Returns at once; whether the camera delivers is said through `sink`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(settings: V4lSettings, sink: CaptureSink) -> Result<Self, CameraError> {
        let name = settings.name.clone();
        let failed = |error: std::io::Error| CameraError {
            camera: name.clone(),
            reason: format!("its thread does not start: {error}"),
        };
        let stop = Arc::new(Stop {
            is_asked: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?,
        });
        let (end, ended) = flow::bounded("camera end", 1, WhenFull::DropNewest);
        let copied = Arc::new(AtomicU64::new(0));
        let driver = Driver {
            settings,
            sink,
            stop: Arc::clone(&stop),
            copied: Arc::clone(&copied),
            damaged: 0,
            reported: None,
        };
        let spawned = thread::Builder::new().name(format!("camera-{name}")).spawn(move || {
            // Dropped last, whatever happens: that is how the end is known.
            let _end = end;
            driver.drive();
        });
        spawned.map_err(failed)?;
        Ok(Self { name, stop, copied, ended })
    }
}

impl Camera for V4lCamera {
    fn name(&self) -> &str {
        &self.name
    }

    fn trigger(&self) {}

    fn frames_copied(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }
}

impl Drop for V4lCamera {
    fn drop(&mut self) {
        self.stop.ask();
        if self.ended.receive_timeout(STOP_MAX) == Err(NothingReceived::TimedOut) {
            tracing::warn!(camera = self.name, "the camera's driver does not stop; left behind");
        }
    }
}

/// What the camera's thread works with.
struct Driver {
    settings: V4lSettings,
    sink: CaptureSink,
    stop: Arc<Stop>,
    copied: Arc<AtomicU64>,
    /// Frames that the driver called damaged, since the start.
    damaged: u64,
    /// The reason that was told last and still holds.
    reported: Option<String>,
}

impl Driver {
    /// Keeps the device open until the camera is dropped.
    fn drive(mut self) {
        let mut backoff = BACKOFF_MIN;
        while !self.stop.is_asked() {
            let mut has_delivered = false;
            let reason = self.run_device(&mut has_delivered);
            if self.stop.is_asked() {
                return;
            }
            if has_delivered {
                (backoff, self.reported) = (BACKOFF_MIN, None);
            }
            self.report(reason);
            let until = flow::now() + backoff;
            while !self.stop.is_asked() && flow::now() < until {
                if self.stop.wait(None, Some(until.since(flow::now()))).is_err() {
                    return;
                }
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Tells a reason, once as long as it stays the same.
    fn report(&mut self, reason: String) {
        if self.reported.as_ref() != Some(&reason) {
            self.reported = Some(reason.clone());
            (self.sink)(Capture::Down { reason });
        }
    }

    /// Opens the device and takes its frames to its end: why it ended.
    fn run_device(&mut self, has_delivered: &mut bool) -> String {
        match Device::open(&self.settings.device) {
            Ok(device) => self.follow(device, has_delivered).err().unwrap_or_else(|| "it is stopped".into()),
            Err(reason) => reason,
        }
    }

    /// Takes frames until the device fails or the camera is dropped.
    fn follow(&mut self, mut device: Device, has_delivered: &mut bool) -> Result<(), String> {
        let mut counter = FrameCounter::default();
        let mut last_frame_at = flow::now();
        let mut is_up = self.settings.is_triggered;
        if is_up {
            (self.sink)(Capture::Up);
        }
        while !self.stop.is_asked() {
            let silence = (!self.settings.is_triggered).then_some(SILENCE_MAX);
            if !self.stop.wait(Some(&device), silence).map_err(device::explain)? {
                if silence.is_some_and(|silence| flow::now().since(last_frame_at) >= silence) {
                    return Err(format!(
                        "it streams, but has given no frame for {} s; check its trigger mode, cable and power",
                        SILENCE_MAX.as_secs()
                    ));
                }
                continue;
            }
            while let Some((said, taken)) = device.next()? {
                let arrived = flow::now();
                let Some(frame) = self.frame(&device, &said, taken, arrived, counter.next(said.sequence))? else {
                    continue;
                };
                if !is_up {
                    is_up = true;
                    (self.sink)(Capture::Up);
                }
                (last_frame_at, *has_delivered) = (arrived, true);
                (self.sink)(Capture::Frame(frame));
            }
        }
        Ok(())
    }

    /// A frame of what a buffer holds; none of one that is damaged, which is lost then, and its number with it.
    fn frame(
        &mut self,
        device: &Device,
        said: &Metadata,
        taken: Option<Taken>,
        arrived: Nanos,
        counter: u64,
    ) -> Result<Option<Frame>, String> {
        let Some(taken) = taken else {
            self.count_damaged();
            return Ok(None);
        };
        let layout = device.layout();
        let pixels: Pixels = match taken {
            Taken::Lent(lent) => Arc::new(lent),
            Taken::Copied(bytes) => {
                self.copied.fetch_add(1, Ordering::Relaxed);
                Arc::new(bytes)
            }
        };
        let frame = Frame {
            pixels,
            format: self.settings.device.format,
            width: layout.width,
            height: layout.height,
            planes: device.planes(),
            full_range: is_full_range(layout),
            bt709: is_bt709(layout),
            exposed_at: exposed_at(self.settings.device.clock, said, arrived)?,
            counter: Some(counter),
        };
        if !frame.is_whole() {
            self.count_damaged();
            return Ok(None);
        }
        Ok(Some(frame))
    }

    /// Logged at 1, 2, 4, 8, ...: a bad cable damages every frame.
    fn count_damaged(&mut self) {
        self.damaged += 1;
        if self.damaged.is_power_of_two() {
            tracing::warn!(
                camera = self.settings.name,
                frames = self.damaged,
                "the camera gives damaged frames; check cable and bandwidth"
            );
        }
    }
}

/// The driver's number of a frame has 32 bits; ours goes on when it wraps.
#[derive(Default)]
struct FrameCounter {
    last: Option<u64>,
}

impl FrameCounter {
    fn next(&mut self, sequence: u32) -> u64 {
        let next = match self.last {
            Some(last) => last + u64::from(sequence.wrapping_sub(last as u32)),
            None => u64::from(sequence),
        };
        self.last = Some(next);
        next
    }
}

/// When the frame was exposed of which the driver says `said`.
fn exposed_at(clock: CameraClock, said: &Metadata, arrived: Nanos) -> Result<Nanos, String> {
    if clock == CameraClock::Arrival {
        return Ok(arrived);
    }
    let is_monotonic = said.flags & buffer::Flags::TIMESTAMP_MASK == buffer::Flags::TIMESTAMP_MONOTONIC;
    nanoseconds(said.timestamp)
        .filter(|_| is_monotonic)
        .map(Nanos)
        .ok_or_else(|| "its driver does not stamp frames by the monotonic clock; set clock = \"arrival\"".into())
}

/// A driver's time stamp; `None` where it is before the clock's zero or beyond what a clock can reach.
fn nanoseconds(stamp: Timestamp) -> Option<u64> {
    let nanoseconds = stamp.sec.checked_mul(1_000_000_000)?.checked_add(stamp.usec.checked_mul(1000)?)?;
    u64::try_from(nanoseconds).ok()
}

/// Whether luma has the full range: as the driver says, or else as the colour space has it.
fn is_full_range(layout: &Layout) -> bool {
    match Quantization::try_from(layout.quantization) {
        Ok(Quantization::FullRange) => true,
        Ok(Quantization::LimitedRange) => false,
        _ => matches!(Colorspace::try_from(layout.colorspace), Ok(Colorspace::JPEG)),
    }
}

/// Whether chroma follows BT.709: as the driver says, or else as the colour space has it.
fn is_bt709(layout: &Layout) -> bool {
    const AS_COLORSPACE: u32 = v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_DEFAULT;
    match layout.ycbcr_encoding {
        AS_COLORSPACE => matches!(Colorspace::try_from(layout.colorspace), Ok(Colorspace::Rec709 | Colorspace::DCIP3)),
        encoding => [v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_709, v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_XV709].contains(&encoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_on_where_the_drivers_wrap() {
        let mut counter = FrameCounter::default();
        let counted: Vec<u64> = [u32::MAX - 1, u32::MAX, 0, 3]
            .into_iter()
            .map(|sequence| counter.next(sequence))
            .collect();
        assert_eq!(counted, [0xffff_fffe, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0003]);
    }

    #[test]
    fn times_of_another_clock_are_refused() {
        let stamped = |flags: u32| Metadata {
            flags: flags.into(),
            ..Metadata::default()
        };
        let at = |clock, flags| exposed_at(clock, &stamped(flags), Nanos(7));
        assert_eq!(at(CameraClock::Monotonic, buffer::Flags::TIMESTAMP_MONOTONIC.bits()), Ok(Nanos(0)));
        assert!(at(CameraClock::Monotonic, 0x4000).unwrap_err().contains("clock = \"arrival\""));
        assert_eq!(at(CameraClock::Arrival, 0), Ok(Nanos(7)));
    }

    #[test]
    fn times_are_nanoseconds() {
        assert_eq!(nanoseconds(Timestamp::new(3, 250)), Some(3_000_250_000));
        assert_eq!(nanoseconds(Timestamp::new(-1, 0)), None);
        assert_eq!(nanoseconds(Timestamp::new(i64::MAX, 0)), None);
    }

    #[test]
    fn colours_follow_the_kernels_defaults() {
        let layout = |colorspace, ycbcr_encoding, quantization| Layout {
            colorspace,
            ycbcr_encoding,
            quantization,
            ..Layout::default()
        };
        assert!(!is_full_range(&layout(8, 0, 0)));
        assert!(is_full_range(&layout(7, 0, 0)));
        assert!(is_full_range(&layout(8, 0, 1)));
        assert!(!is_bt709(&layout(8, 0, 0)));
        assert!(is_bt709(&layout(3, 0, 0)));
        assert!(!is_bt709(&layout(3, 1, 0)));
        assert!(is_bt709(&layout(8, 2, 0)));
    }
}
