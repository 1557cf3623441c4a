//! Adapter to GStreamer: every source that can be described up to our appsink, in system memory, its buffers mapped and not copied.
//!
//! A thread of its own, named after the camera, makes the pipeline, waits until it fails, and makes it anew after 100 ms, doubling to 5 s.
//! Buffers that takt holds are the camera's own; beyond `frames_held_max` of them frames are copied and counted.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use gstreamer::buffer::{MappedBuffer, Readable};
use gstreamer::prelude::*;
use gstreamer::{self as gst, MessageView};
use gstreamer_app::{AppSink, AppSinkCallbacks};
use gstreamer_video::{VideoCapsBuilder, VideoColorMatrix, VideoColorRange, VideoFormat, VideoInfo, VideoMeta};

use super::{BACKOFF_MAX, BACKOFF_MIN, Camera, CameraClock, CameraError, Capture, CaptureSink, Frame, PixelFormat, Pixels, Plane};
use crate::flow::{self, NothingReceived, Receiver, Sender, WhenFull};
use crate::part::Nanos;

/// Name of our appsink in the pipeline.
const SINK_NAME: &str = "takt_frames";
/// How long a drop waits for GStreamer to stop.
const STOP_MAX: Duration = Duration::from_secs(3);
/// Frames that may wait for us in the appsink; we take each at once, so more would only hide that we do not.
const FRAMES_WAITING_MAX: u32 = 4;
/// What pipeline and streaming threads may have to say before the camera's thread listens; the first word is the one that counts.
const EVENTS_MAX: usize = 16;
/// What GStreamer says where a buffer has no number.
const OFFSET_NONE: u64 = u64::MAX;
const FORMATS: &str = "GRAY8, RGB, BGR, NV12, I420, YUY2";

const NO_CAPS_REMEDY: &str =
    "add the element that knows (after shmsrc: ! gdpdepay), or the caps themselves (! video/x-raw,format=GRAY8,width=640,height=480)";

/// What a camera behind GStreamer needs to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GstSettings {
    /// Name in the configuration.
    pub name: String,
    /// Description of the pipeline up to our appsink, as for `gst-launch-1.0`.
    pub source: String,
    /// How the time of exposure is known.
    pub clock: CameraClock,
    /// How many of the camera's buffers may be held at a time; beyond that frames are copied.
    pub frames_held_max: usize,
    /// Whether the camera is silent until it is triggered. Then it is up as soon as its pipeline runs, otherwise with its first frame.
    pub is_triggered: bool,
}

/// A camera behind GStreamer. Dropping it stops it, within 3 s.
pub struct GstCamera {
    name: String,
    stop: Arc<AtomicBool>,
    events: Sender<Event>,
    frames: Arc<FrameCounts>,
    ended: Receiver<()>,
}

/// What the camera's thread waits for.
enum Event {
    /// The pipeline runs.
    Playing,
    /// The pipeline will deliver no more.
    Failed(Failure),
    /// Look whether to stop.
    Wake,
}

/// Why a pipeline delivers no more.
struct Failure {
    reason: String,
    /// Whether source and takt found no format in common.
    is_format: bool,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, is_format: false }
    }
}

/// Frames of one camera, over all its pipelines.
#[derive(Default)]
struct FrameCounts {
    received: AtomicU64,
    held: AtomicUsize,
    copied: AtomicU64,
}

impl GstCamera {
    /// Starts to capture. Returns at once; whether the camera delivers is said through `sink`.
    ///
    /// # Errors
    /// When GStreamer does not start, or the description of the source is none it understands.
    pub fn start(settings: GstSettings, sink: CaptureSink) -> Result<Self, CameraError> {
        let failed = |reason: String| CameraError {
            camera: settings.name.clone(),
            reason,
        };
        gst::init().map_err(|error| failed(format!("GStreamer does not start: {error}; install libgstreamer1.0-0")))?;
        log_complaints();
        // Made once only to learn whether it can be made.
        make_pipeline(&settings.source).map_err(&failed)?;

        let (events, happened) = flow::bounded("camera events", EVENTS_MAX, WhenFull::DropNewest);
        let (end, ended) = flow::bounded("camera end", 1, WhenFull::DropNewest);
        let name = settings.name.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let frames = Arc::new(FrameCounts::default());
        let driver = Driver {
            sink,
            stop: Arc::clone(&stop),
            events: events.clone(),
            happened,
            frames: Arc::clone(&frames),
            reported: None,
            settings,
        };
        let spawned = thread::Builder::new().name(format!("camera-{name}")).spawn(move || {
            // Dropped last, whatever happens: that is how the end is known.
            let _end = end;
            driver.drive();
        });
        spawned.map_err(|error| CameraError {
            camera: name.clone(),
            reason: format!("its thread does not start: {error}"),
        })?;
        Ok(Self {
            name,
            stop,
            events,
            frames,
            ended,
        })
    }
}

impl Camera for GstCamera {
    fn name(&self) -> &str {
        &self.name
    }

    fn trigger(&self) {}

    fn frames_copied(&self) -> u64 {
        self.frames.copied.load(Ordering::Relaxed)
    }
}

impl Drop for GstCamera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Where this does not fit, events are waiting that wake the thread just as well.
        let _ = self.events.send(Event::Wake);
        if self.ended.receive_timeout(STOP_MAX) == Err(NothingReceived::TimedOut) {
            tracing::warn!(camera = self.name, "GStreamer does not stop; left behind");
        }
    }
}

/// What the camera's thread works with.
struct Driver {
    settings: GstSettings,
    sink: CaptureSink,
    stop: Arc<AtomicBool>,
    events: Sender<Event>,
    happened: Receiver<Event>,
    frames: Arc<FrameCounts>,
    /// The reason that was told last and still holds.
    reported: Option<String>,
}

impl Driver {
    /// Keeps a pipeline running until the camera is dropped.
    fn drive(mut self) {
        let mut backoff = BACKOFF_MIN;
        while !self.is_stopped() {
            let received = self.frames.received.load(Ordering::Relaxed);
            let reason = self.run_pipeline();
            if self.is_stopped() {
                return;
            }
            // To have run is not enough: a pipeline without a format in common fails at each first frame.
            if self.frames.received.load(Ordering::Relaxed) > received {
                backoff = BACKOFF_MIN;
            }
            self.report(reason);
            self.wait(backoff);
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Tells a reason, once as long as it stays the same.
    fn report(&mut self, reason: String) {
        if self.reported.as_ref() != Some(&reason) {
            self.reported = Some(reason.clone());
            (self.sink)(Capture::Down { reason });
        }
    }

    /// Waits, unless the camera is dropped.
    fn wait(&self, time: Duration) {
        let until = flow::now() + time;
        while !self.is_stopped() {
            let left = until.since(flow::now());
            if left.is_zero() || matches!(self.happened.receive_timeout(left), Err(NothingReceived::TimedOut)) {
                return;
            }
        }
    }

    /// Runs one pipeline to its end: why it ended.
    fn run_pipeline(&mut self) -> String {
        let (pipeline, appsink) = match make_pipeline(&self.settings.source) {
            Ok(made) => made,
            Err(reason) => return reason,
        };
        // What an earlier pipeline said last; it is gone.
        while self.happened.try_receive().is_some() {}
        let up = Arc::new(Mutex::new(false));
        let mut receiver = FrameReceiver {
            sink: Arc::clone(&self.sink),
            events: self.events.clone(),
            frames: Arc::clone(&self.frames),
            held_max: self.settings.frames_held_max,
            clock: self.settings.clock,
            up: Arc::clone(&up),
            layout: None,
        };
        // A panic in there is caught by the bindings and becomes an error of the pipeline.
        appsink.set_callbacks(
            AppSinkCallbacks::builder()
                .new_sample(move |appsink| receiver.receive(appsink))
                .build(),
        );
        let running = Running(pipeline);
        let failure = self.follow(&running.0, &up);
        if *lock(&up) {
            self.reported = None;
        }
        if failure.is_format {
            format!("{}; {}", failure.reason, offer(&appsink))
        } else {
            failure.reason
        }
    }

    /// Starts a pipeline and listens to it until it fails or the camera is dropped.
    fn follow(&self, pipeline: &gst::Pipeline, up: &Mutex<bool>) -> Failure {
        // Times must be those of the machine's monotonic clock, whatever clock a source brings along.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        if let Some(bus) = pipeline.bus() {
            let (name, events, pipeline) = (self.settings.name.clone(), self.events.clone(), pipeline.downgrade());
            bus.set_sync_handler(move |_, message| {
                if let Some(event) = heard(&name, &pipeline, message) {
                    let _ = events.send(event);
                }
                gst::BusSyncReply::Drop
            });
        }
        if pipeline.set_state(gst::State::Playing).is_err() {
            // The element that failed has told why before; if none has, this is all that is known.
            let _ = self.events.send(Event::Failed("the pipeline does not start".to_owned().into()));
        }
        // Asked before each wait: the wake that goes with a stop may have been among the words of an earlier pipeline.
        while !self.is_stopped() {
            match self.happened.receive() {
                Some(Event::Failed(failure)) => return failure,
                Some(Event::Playing) if self.settings.is_triggered => say_up(up, &self.sink),
                Some(Event::Playing | Event::Wake) => {}
                None => break,
            }
        }
        "it is stopped".to_owned().into()
    }
}

fn lock(up: &Mutex<bool>) -> MutexGuard<'_, bool> {
    up.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that the camera delivers, once for each pipeline, and before its first frame whoever comes first.
fn say_up(up: &Mutex<bool>, sink: &CaptureSink) {
    let mut is_up = lock(up);
    if !*is_up {
        *is_up = true;
        sink(Capture::Up);
    }
}

/// A pipeline that is stopped when it goes out of scope; afterwards none of its threads runs.
struct Running(gst::Pipeline);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// Puts what plugins complain of (some do while they fail in good order) into our log rather than on the screen.
fn log_complaints() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::glib::log_set_default_handler(|domain, _, complaint| tracing::debug!(domain, complaint, "a library complains"));
    });
}

/// The pipeline of a source with our appsink at its end.
fn make_pipeline(source: &str) -> Result<(gst::Pipeline, AppSink), String> {
    let mut context = gst::ParseContext::new();
    let description = format!("{source} ! appsink name={SINK_NAME}");
    let made = gst::parse::launch_full(&description, Some(&mut context), gst::ParseFlags::FATAL_ERRORS)
        .map_err(|error| explain_description(source, &error, &context.missing_elements()))?;
    let pipeline = made.downcast::<gst::Pipeline>().ok();
    let appsink = pipeline
        .as_ref()
        .and_then(|pipeline| pipeline.by_name(SINK_NAME))
        .and_then(|element| element.downcast::<AppSink>().ok());
    let (Some(pipeline), Some(appsink)) = (pipeline, appsink) else {
        return Err(format!(
            "\"{source}\" is no pipeline that frames come out of; try it: gst-launch-1.0 {source} ! fakesink"
        ));
    };
    let formats = [
        VideoFormat::Gray8,
        VideoFormat::Rgb,
        VideoFormat::Bgr,
        VideoFormat::Nv12,
        VideoFormat::I420,
        VideoFormat::Yuy2,
    ];
    appsink.set_caps(Some(&VideoCapsBuilder::new().format_list(formats).build()));
    appsink.set_max_buffers(FRAMES_WAITING_MAX);
    appsink.set_drop(true);
    // Frames are taken when they come, not when they would be shown; and none is kept for a later look.
    appsink.set_sync(false);
    appsink.set_async(false);
    appsink.set_qos(false);
    appsink.set_enable_last_sample(false);
    appsink.set_drop_out_of_segment(false);
    Ok((pipeline, appsink))
}

/// What is wrong with a description, and what helps.
fn explain_description(source: &str, error: &gst::glib::Error, missing: &[String]) -> String {
    if missing.is_empty() || !error.matches(gst::ParseError::NoSuchElement) {
        return format!("GStreamer does not understand \"{source}\": {error}; try it: gst-launch-1.0 {source} ! fakesink");
    }
    let mut reason = format!("GStreamer has no element {}", missing.join(", "));
    for element in missing {
        let _ = match package(element) {
            Some(package) => write!(reason, "; install the Debian package {package}, which has {element}"),
            None => write!(reason, "; check the spelling of {element}, or install the plugin that has it"),
        };
    }
    let _ = write!(reason, " (gst-inspect-1.0 {} shows it once it is there)", missing[0]);
    reason
}

/// The Debian package that has an element; where it is none of the well-known, `None`.
pub(super) fn package(element: &str) -> Option<&'static str> {
    const PACKAGES: &[(&str, &[&str])] = &[
        (
            "gstreamer1.0-plugins-base",
            &["video", "decodebin", "uridecodebin", "playbin", "tcp", "appsrc", "gio"],
        ),
        (
            "gstreamer1.0-plugins-good",
            &[
                "v4l2",
                "rtsp",
                "rtp",
                "udp",
                "jpeg",
                "png",
                "multifile",
                "imagefreeze",
                "deinterlace",
                "souphttp",
            ],
        ),
        (
            "gstreamer1.0-plugins-bad",
            &[
                "gdp",
                "shm",
                "h264parse",
                "h265parse",
                "bayer2rgb",
                "srt",
                "decklink",
                "uvch264",
                "va",
            ],
        ),
        ("gstreamer1.0-libav", &["avdec", "avenc", "avdemux"]),
        ("gstreamer1.0-plugins-ugly", &["x264"]),
        ("gstreamer1.0-aravis", &["aravis"]),
        ("nvidia-l4t-gstreamer", &["nv"]),
    ];
    let has = |prefixes: &[&str]| prefixes.iter().any(|prefix| element.starts_with(prefix));
    PACKAGES.iter().find(|(_, prefixes)| has(prefixes)).map(|(package, _)| *package)
}

/// What a message of the pipeline means for the camera's thread, if anything. Called from any thread of the pipeline.
fn heard(camera: &str, pipeline: &gst::glib::WeakRef<gst::Pipeline>, message: &gst::Message) -> Option<Event> {
    match message.view() {
        MessageView::Error(error) => Some(Event::Failed(explain(&error.error(), error.debug().as_deref(), message.src()))),
        MessageView::Eos(_) => Some(Event::Failed(
            "the source has ended (end of stream); use one that goes on, as a camera does"
                .to_owned()
                .into(),
        )),
        MessageView::StateChanged(change) if change.current() == gst::State::Playing => {
            let is_whole = pipeline
                .upgrade()
                .is_some_and(|pipeline| message.src() == Some(pipeline.upcast_ref()));
            is_whole.then_some(Event::Playing)
        }
        MessageView::Warning(warning) => {
            tracing::warn!(camera, warning = %warning.error(), "GStreamer warns");
            None
        }
        _ => None,
    }
}

/// An error of a pipeline in GStreamer's words, with what helps.
fn explain(error: &gst::glib::Error, debug: Option<&str>, source: Option<&gst::Object>) -> Failure {
    // The factory's name, as in the description: the element's own is numbered, and hence different each time.
    let factory = source
        .and_then(|source| source.downcast_ref::<gst::Element>())
        .and_then(gst::Element::factory);
    let element = factory.map_or_else(|| "the pipeline".into(), |factory| factory.name().to_string());
    // What is meant for developers begins with a line that says where in GStreamer; what follows says more.
    let detail = debug.and_then(|debug| debug.lines().skip(1).last()).unwrap_or_default();
    let mut reason = format!("{element}: {error}");
    if !detail.is_empty() && !reason.contains(detail) {
        let _ = write!(reason, " ({detail})");
    }
    let is_format =
        detail.contains("not-negotiated") || error.matches(gst::CoreError::Negotiation) || error.matches(gst::StreamError::Format);
    if !is_format {
        let _ = write!(reason, "; {}", remedy(error));
    }
    Failure { reason, is_format }
}

fn remedy(error: &gst::glib::Error) -> &'static str {
    use gst::{CoreError, ResourceError};
    if error.matches(ResourceError::Busy) {
        "end the other program that uses the camera"
    } else if error.matches(ResourceError::NotAuthorized) {
        "check user and password, or the permissions of the device (group video)"
    } else if error.matches(CoreError::MissingPlugin) || error.matches(gst::StreamError::CodecNotFound) {
        "install the GStreamer plugin that decodes this stream (gstreamer1.0-plugins-good, -bad or gstreamer1.0-libav)"
    } else {
        "check that the camera is there: cable, power, address or path"
    }
}

/// What the source would give, and what takt takes.
fn offer(appsink: &AppSink) -> String {
    let offered = appsink
        .static_pad("sink")
        .and_then(|pad| pad.peer())
        .map(|peer| peer.query_caps(None));
    match offered {
        Some(caps) if caps.is_any() => format!("the source does not say what its bytes are; {NO_CAPS_REMEDY}"),
        Some(caps) if !caps.is_empty() => {
            let mut text = caps.to_string();
            if text.len() > 300 {
                let end = text.floor_char_boundary(300);
                text.truncate(end);
                text.push_str(" ...");
            }
            let remedy = if text.contains("memory:NVMM") {
                "! nvvidconv ! video/x-raw"
            } else if text.starts_with("image/jpeg") {
                "! jpegdec"
            } else if text.starts_with("video/x-raw") {
                "! videoconvert"
            } else {
                "! decodebin ! videoconvert"
            };
            format!("the source offers {text}, takt takes video/x-raw in system memory as {FORMATS}: add {remedy}")
        }
        _ => format!("source and takt have no format in common, takt takes video/x-raw in system memory as {FORMATS}: add ! videoconvert"),
    }
}

/// Makes frames of what arrives in the appsink; lives on the streaming thread of one pipeline.
struct FrameReceiver {
    sink: CaptureSink,
    events: Sender<Event>,
    frames: Arc<FrameCounts>,
    held_max: usize,
    clock: CameraClock,
    up: Arc<Mutex<bool>>,
    /// What the caps of the last frame mean.
    layout: Option<(gst::Caps, PixelFormat, VideoInfo)>,
}

impl FrameReceiver {
    fn receive(&mut self, appsink: &AppSink) -> Result<gst::FlowSuccess, gst::FlowError> {
        let arrived = flow::now();
        let sample = appsink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        match self.frame(appsink, &sample, arrived) {
            Ok(frame) => {
                say_up(&self.up, &self.sink);
                self.frames.received.fetch_add(1, Ordering::Relaxed);
                (self.sink)(Capture::Frame(frame));
                Ok(gst::FlowSuccess::Ok)
            }
            Err(reason) => {
                // Said before GStreamer says that the stream ended with an error, so that this is the reason that counts.
                let _ = self.events.send(Event::Failed(reason.into()));
                Err(gst::FlowError::Error)
            }
        }
    }

    fn frame(&mut self, appsink: &AppSink, sample: &gst::Sample, arrived: Nanos) -> Result<Frame, String> {
        let buffer = sample.buffer_owned().ok_or("its samples have no buffer")?;
        let (format, info) = self.layout(sample)?;
        let planes = planes(&info, &buffer)?;
        let exposed_at = match self.clock {
            CameraClock::Arrival => arrived,
            CameraClock::Monotonic => timestamp(&buffer)?,
            CameraClock::Pipeline => running_time(appsink, sample, &buffer)?,
        };
        let counter = Some(buffer.offset()).filter(|offset| *offset != OFFSET_NONE);
        let colorimetry = info.colorimetry();
        let frame = Frame {
            pixels: self.pixels(buffer)?,
            format,
            width: info.width(),
            height: info.height(),
            planes,
            full_range: colorimetry.range() == VideoColorRange::Range0_255,
            bt709: colorimetry.matrix() == VideoColorMatrix::Bt709,
            exposed_at,
            counter,
        };
        if frame.is_whole() {
            Ok(frame)
        } else {
            Err(format!(
                "its buffers are smaller than {}x{} {} needs; check the caps in the description of the source",
                frame.width,
                frame.height,
                format.name()
            ))
        }
    }

    /// What the caps of a sample mean; looked at anew when they change.
    fn layout(&mut self, sample: &gst::Sample) -> Result<(PixelFormat, VideoInfo), String> {
        let caps = sample
            .caps_owned()
            .ok_or_else(|| format!("its frames do not say what their bytes are; {NO_CAPS_REMEDY}"))?;
        if let Some((known, format, info)) = &self.layout
            && *known == caps
        {
            return Ok((*format, info.clone()));
        }
        let info = VideoInfo::from_caps(&caps).map_err(|_| format!("its caps are no video: {caps}"))?;
        let format = match info.format() {
            VideoFormat::Gray8 => PixelFormat::Gray8,
            VideoFormat::Rgb => PixelFormat::Rgb,
            VideoFormat::Bgr => PixelFormat::Bgr,
            VideoFormat::Nv12 => PixelFormat::Nv12,
            VideoFormat::I420 => PixelFormat::I420,
            VideoFormat::Yuy2 => PixelFormat::Yuy2,
            other => return Err(format!("its format {other} is none of {FORMATS}; add ! videoconvert")),
        };
        self.layout = Some((caps, format, info.clone()));
        Ok((format, info))
    }

    /// The bytes of a buffer: the camera's own memory, or a copy where too many are held.
    fn pixels(&self, buffer: gst::Buffer) -> Result<Pixels, String> {
        let mapped = buffer
            .into_mapped_buffer_readable()
            .map_err(|_| "its buffers cannot be read; add ! videoconvert to have them in system memory")?;
        let is_held = self
            .frames
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held < self.held_max).then_some(held + 1)
            })
            .is_ok();
        if is_held {
            return Ok(Arc::new(HeldBuffer {
                mapped,
                frames: Arc::clone(&self.frames),
            }));
        }
        self.frames.copied.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(mapped.as_slice().to_vec()))
    }
}

/// A buffer of the camera's that takt holds.
struct HeldBuffer {
    mapped: MappedBuffer<Readable>,
    frames: Arc<FrameCounts>,
}

impl AsRef<[u8]> for HeldBuffer {
    fn as_ref(&self) -> &[u8] {
        self.mapped.as_slice()
    }
}

impl Drop for HeldBuffer {
    fn drop(&mut self) {
        self.frames.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the planes lie: as the buffer says, or else as its caps imply.
fn planes(info: &VideoInfo, buffer: &gst::BufferRef) -> Result<[Plane; 3], String> {
    let mut planes = [Plane::default(); 3];
    let meta = buffer.meta::<VideoMeta>();
    let (offsets, strides) = meta
        .as_ref()
        .map_or_else(|| (info.offset(), info.stride()), |meta| (meta.offset(), meta.stride()));
    for ((plane, offset), stride) in planes.iter_mut().zip(offsets).zip(strides) {
        let stride = usize::try_from(*stride).map_err(|_| "its rows run upwards; add ! videoconvert")?;
        *plane = Plane { offset: *offset, stride };
    }
    Ok(planes)
}

/// The time stamp of a buffer.
fn timestamp(buffer: &gst::BufferRef) -> Result<Nanos, String> {
    let time = buffer.pts().or(buffer.dts());
    time.map(|time| Nanos(time.nseconds()))
        .ok_or_else(|| "its frames have no time stamp; set clock = \"arrival\", or add do-timestamp=true to the source element".to_owned())
}

/// When a buffer was captured by the clock of its pipeline.
fn running_time(appsink: &AppSink, sample: &gst::Sample, buffer: &gst::BufferRef) -> Result<Nanos, String> {
    let stamped = timestamp(buffer)?;
    let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
    let running = segment.and_then(|segment| segment.to_running_time(gst::ClockTime::from_nseconds(stamped.0)));
    match (running, appsink.base_time()) {
        (Some(running), Some(base)) => Ok(Nanos(base.nseconds().saturating_add(running.nseconds()))),
        _ => Err("its time stamps lie outside of its stream; set clock = \"arrival\"".into()),
    }
}
