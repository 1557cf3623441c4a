//! The camera of the twin: frames through shared memory with their time stamp and number, for a station that reads them with
//! `shmsrc socket-path=... is-live=true ! gdpdepay`.
//!
//! GDP sends what the bytes are (caps) once, at the start. Here each frame carries it along, so that a station may come, go and be killed at
//! any time. Without a station frames go nowhere; while one does not take them, the last few wait and older ones are lost.
//!
//! A frame lies in the shared memory, packed, before it is exposed: as from a camera, nothing is copied between exposure and arrival.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use gstreamer_video::{VideoColorimetry, VideoFormat, VideoInfo};

use crate::capture::PixelFormat;
use crate::part::Nanos;
use crate::vision::Image;

/// Frames that wait while the station does not take them; then the oldest is lost.
const FRAMES_WAITING_MAX: u64 = 4;
/// Frames that the shared memory has room for: those waiting and those that the station holds.
const FRAMES_SHARED_MAX: usize = 32;

/// Why the twin's camera cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TwinCameraError {
    /// The socket is somebody else's.
    #[error("failed to offer frames at {socket}: another program offers some there; end it, or choose another socket-path")]
    InUse {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket's place cannot be used.
    #[error("failed to offer frames at {socket}: {reason}; choose another socket-path")]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The size is none that frames can have.
    #[error("failed to make frames of {width}x{height} px as {}: no such frame exists; choose another size", .format.name())]
    Size {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
        /// Layout.
        format: PixelFormat,
    },
    /// GStreamer does not do it.
    #[error(
        "failed to set up the twin's camera: {reason}; install gstreamer1.0-plugins-base and gstreamer1.0-plugins-bad (make setup does)"
    )]
    GStreamer {
        /// In GStreamer's words.
        reason: String,
    },
}

/// The camera of the twin, seen from any thread.
pub struct TwinCamera {
    pipeline: gst::Pipeline,
    source: AppSrc,
    packing: Packing,
    /// Memory that is shared with the station.
    shared: Option<gst::Allocator>,
    info: VideoInfo,
    format: PixelFormat,
    socket: PathBuf,
    clients: Arc<AtomicUsize>,
}

/// Pixels ready to be exposed.
pub struct TwinFrame {
    pixels: Vec<u8>,
    /// The same, packed where the station will find them; taken by the first exposure.
    packed: Mutex<Option<gst::Buffer>>,
}

/// What surrounds the pixels of a frame.
struct Packing {
    /// Everything before the pixels: the packets that say what they are, the head of their own packet.
    head: Vec<u8>,
    /// Where in it the time of exposure is written, big endian.
    time_at: usize,
    /// Where in it the number is written, big endian.
    counter_at: usize,
}

impl TwinCamera {
    /// Offers frames of `width` x `height` pixels at the socket `socket`. What a killed twin left there is removed.
    ///
    /// # Errors
    /// When another program offers frames there, or GStreamer refuses.
    pub fn start(socket: &Path, width: u32, height: u32, format: PixelFormat) -> Result<Self, TwinCameraError> {
        let failed = |reason: String| TwinCameraError::GStreamer { reason };
        gst::init().map_err(|error| failed(error.to_string()))?;
        let info = video_info(width, height, format).ok_or(TwinCameraError::Size { width, height, format })?;
        let caps = info.to_caps().map_err(|error| failed(error.to_string()))?;
        remove_stale(socket)?;

        let packing = Packing::of(&caps, info.size()).map_err(failed)?;

        let (pipeline, source) = launch("appsrc name=source ! shmsink name=share").map_err(failed)?;
        let element = |name: &str| pipeline.by_name(name).ok_or_else(|| failed(format!("no {name}")));
        source.set_caps(Some(&gst::Caps::new_empty_simple("application/x-gdp")));
        source.set_format(gst::Format::Time);
        source.set_is_live(true);
        source.set_max_bytes(0);
        source.set_property("max-buffers", FRAMES_WAITING_MAX);
        source.set_property_from_str("leaky-type", "downstream");

        let share = element("share")?;
        share.set_property("socket-path", socket.to_string_lossy().as_ref());
        share.set_property(
            "shm-size",
            u32::try_from((info.size() + 4096) * FRAMES_SHARED_MAX).unwrap_or(u32::MAX),
        );
        share.set_property("wait-for-connection", false);
        share.set_property("sync", false);
        share.set_property("async", false);
        share.set_property("enable-last-sample", false);
        let clients = count_clients(&share);

        let mut camera = Self {
            pipeline,
            source,
            packing,
            shared: None,
            info,
            format,
            socket: socket.to_owned(),
            clients,
        };
        camera.pipeline.set_state(gst::State::Playing).map_err(|_| camera.refusal())?;
        camera.shared = shared_memory(&share);
        Ok(camera)
    }

    /// Why the pipeline did not start.
    fn refusal(&self) -> TwinCameraError {
        let error = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        let reason = error.and_then(|message| match message.view() {
            gst::MessageView::Error(error) => Some(error.error().to_string()),
            _ => None,
        });
        TwinCameraError::Socket {
            socket: self.socket.clone(),
            reason: reason.unwrap_or_else(|| "GStreamer does not say why".into()),
        }
    }

    /// How many stations are connected.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::SeqCst)
    }

    /// An image in the camera's format; pixels of a larger image are left out, those of a smaller are followed by black.
    pub fn prepare(&self, image: &Image) -> TwinFrame {
        let pixels = convert(image, self.format, &self.info);
        let packed = self.pack(&pixels);
        TwinFrame {
            pixels,
            packed: Mutex::new(packed),
        }
    }

    /// The bytes of a frame as the station gets them, but for time and number; in shared memory if there is room. `None` if there is no memory.
    fn pack(&self, pixels: &[u8]) -> Option<gst::Buffer> {
        let head = &self.packing.head;
        let size = head.len() + pixels.len();
        let memory = self.shared.as_ref().and_then(|shared| shared.alloc(size, None).ok());
        let mut buffer = match memory {
            Some(memory) => {
                let mut buffer = gst::Buffer::new();
                buffer.get_mut()?.append_memory(memory);
                buffer
            }
            None => gst::Buffer::with_size(size).ok()?,
        };
        {
            let mut bytes = buffer.get_mut()?.map_writable().ok()?;
            bytes.get_mut(..head.len())?.copy_from_slice(head);
            bytes.get_mut(head.len()..size)?.copy_from_slice(pixels);
        }
        Some(buffer)
    }

    /// Sends a frame, exposed at a time (`CLOCK_MONOTONIC`) under the number `counter`. Returns at once.
    pub fn expose(&self, frame: &TwinFrame, counter: u64, exposed_at: Nanos) {
        let packed = frame.packed.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The second exposure of the same frame finds the first on its way.
        let Some(mut buffer) = packed.or_else(|| self.pack(&frame.pixels)) else {
            return;
        };
        if let Some(mut bytes) = buffer.get_mut().and_then(|buffer| buffer.map_writable().ok()) {
            for (at, value) in [(self.packing.time_at, exposed_at.0), (self.packing.counter_at, counter)] {
                if let Some(place) = bytes.get_mut(at..at + 8) {
                    place.copy_from_slice(&value.to_be_bytes());
                }
            }
        }
        // Fails only while the pipeline stops.
        let _ = self.source.push_buffer(buffer);
    }
}

impl Packing {
    /// Time and number of the frame that is packed to see how it is done.
    const SAMPLE: (u64, u64) = (0x1122_3344_5566_7788, 0x0123_4567_89ab_cdef);

    /// Lets GStreamer pack one frame of these caps and so many bytes.
    fn of(caps: &gst::Caps, size: usize) -> Result<Self, String> {
        let (pipeline, source) = launch("appsrc name=source ! gdppay crc-header=false ! appsink name=packed sync=false")?;
        let sink = pipeline.by_name("packed").and_then(|sink| sink.downcast::<AppSink>().ok());
        let sink = sink.ok_or("no appsink")?;
        source.set_caps(Some(caps));
        source.set_format(gst::Format::Time);
        let mut sample = gst::Buffer::from_slice(vec![0; size]);
        if let Some(sample) = sample.get_mut() {
            sample.set_pts(gst::ClockTime::from_nseconds(Self::SAMPLE.0));
            sample.set_offset(Self::SAMPLE.1);
        }
        let packed = pipeline
            .set_state(gst::State::Playing)
            .map_err(|error| error.to_string())
            .and_then(|_| {
                source.push_buffer(sample).map_err(|error| error.to_string())?;
                source.end_of_stream().map_err(|error| error.to_string())?;
                Ok(std::iter::from_fn(|| sink.pull_sample().ok()).collect::<Vec<_>>())
            });
        let _ = pipeline.set_state(gst::State::Null);
        Self::learn(&packed?, size)
    }

    /// Packets that are headers, then that of the sample: the same for every frame but for time, number and pixels.
    fn learn(packets: &[gst::Sample], size: usize) -> Result<Self, String> {
        let mut head = Vec::new();
        for buffer in packets.iter().filter_map(|packet| packet.buffer()) {
            let bytes = buffer.map_readable().map_err(|error| error.to_string())?;
            let is_header = buffer.flags().contains(gst::BufferFlags::HEADER);
            let pixels = if is_header { 0 } else { size };
            head.extend_from_slice(&bytes[..bytes.len().saturating_sub(pixels)]);
            let place = |value: u64| head.windows(8).position(|window| window == value.to_be_bytes());
            if let (false, Some(time_at), Some(counter_at)) = (is_header, place(Self::SAMPLE.0), place(Self::SAMPLE.1)) {
                return Ok(Self { head, time_at, counter_at });
            }
        }
        Err("gdppay packs frames in a way that is not known".into())
    }
}

/// A pipeline and its appsrc, `source`.
fn launch(description: &str) -> Result<(gst::Pipeline, AppSrc), String> {
    let pipeline = gst::parse::launch(description).map_err(|error| error.to_string())?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let source = pipeline.by_name("source").and_then(|source| source.downcast::<AppSrc>().ok());
    Ok((pipeline, source.ok_or("no appsrc")?))
}

/// Where the sink wants its frames made. Without it they are copied there.
fn shared_memory(share: &gst::Element) -> Option<gst::Allocator> {
    let mut query = gst::query::Allocation::new(Some(&gst::Caps::new_empty_simple("application/x-gdp")), false);
    let asked = share.static_pad("sink").is_some_and(|pad| pad.query(&mut query));
    let allocators = query.allocation_params();
    allocators.into_iter().filter(|_| asked).find_map(|(allocator, _)| allocator)
}

impl Drop for TwinCamera {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Removes a socket that nobody listens at any more: the sink would choose another name beside it.
fn remove_stale(socket: &Path) -> Result<(), TwinCameraError> {
    let failed = |reason: String| TwinCameraError::Socket {
        socket: socket.into(),
        reason,
    };
    match fs::symlink_metadata(socket) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error.to_string())),
        Ok(found) if !found.file_type().is_socket() => return Err(failed("a file that is no socket is there".into())),
        Ok(_) => {}
    }
    if UnixStream::connect(socket).is_ok() {
        return Err(TwinCameraError::InUse { socket: socket.into() });
    }
    fs::remove_file(socket).map_err(|error| failed(error.to_string()))
}

/// Keeps count of the stations at the shared memory.
fn count_clients(share: &gst::Element) -> Arc<AtomicUsize> {
    let clients = Arc::new(AtomicUsize::new(0));
    let (more, fewer) = (Arc::clone(&clients), Arc::clone(&clients));
    share.connect("client-connected", false, move |_| {
        more.fetch_add(1, Ordering::SeqCst);
        None
    });
    share.connect("client-disconnected", false, move |_| {
        fewer.fetch_sub(1, Ordering::SeqCst);
        None
    });
    clients
}

fn video_info(width: u32, height: u32, format: PixelFormat) -> Option<VideoInfo> {
    let colours = "bt601".parse::<VideoColorimetry>().ok();
    let colours = colours.filter(|_| matches!(format, PixelFormat::Nv12 | PixelFormat::I420 | PixelFormat::Yuy2));
    let format = match format {
        PixelFormat::Gray8 => VideoFormat::Gray8,
        PixelFormat::Rgb => VideoFormat::Rgb,
        PixelFormat::Bgr => VideoFormat::Bgr,
        PixelFormat::Nv12 => VideoFormat::Nv12,
        PixelFormat::I420 => VideoFormat::I420,
        PixelFormat::Yuy2 => VideoFormat::Yuy2,
    };
    // A camera without a frame rate: it is triggered.
    let builder = VideoInfo::builder(format, width, height).fps(gst::Fraction::new(0, 1));
    builder.colorimetry_if_some(colours.as_ref()).build().ok()
}

/// An image as bytes of the camera's format, in the layout that GStreamer gives it.
fn convert(image: &Image, format: PixelFormat, info: &VideoInfo) -> Vec<u8> {
    let mut bytes = vec![0; info.size()];
    let (width, height) = (info.width() as usize, info.height() as usize);
    let at = |plane: usize, row: usize, byte: usize| info.offset()[plane] + row * info.stride()[plane] as usize + byte;
    let pixel = |x: usize, y: usize| {
        let (x, y) = (x.min(width - 1), y.min(height - 1));
        let start = 3 * (y * image.width as usize + x);
        match image.rgb.get(start..start + 3) {
            Some(rgb) if x < image.width as usize => [rgb[0], rgb[1], rgb[2]],
            _ => [0; 3],
        }
    };
    for y in 0..height {
        for x in 0..width {
            let rgb = pixel(x, y);
            match format {
                PixelFormat::Rgb => bytes[at(0, y, 3 * x)..][..3].copy_from_slice(&rgb),
                PixelFormat::Bgr => bytes[at(0, y, 3 * x)..][..3].copy_from_slice(&[rgb[2], rgb[1], rgb[0]]),
                PixelFormat::Gray8 => bytes[at(0, y, x)] = full_luma(rgb),
                PixelFormat::Nv12 | PixelFormat::I420 => bytes[at(0, y, x)] = luma(rgb),
                PixelFormat::Yuy2 => bytes[at(0, y, 2 * x)] = luma(rgb),
            }
        }
    }
    let rows_per_chroma = if format == PixelFormat::Yuy2 { 1 } else { 2 };
    let places = |row: usize, column: usize| match format {
        PixelFormat::Nv12 => Some([at(1, row, 2 * column), at(1, row, 2 * column + 1)]),
        PixelFormat::I420 => Some([at(1, row, column), at(2, row, column)]),
        PixelFormat::Yuy2 => Some([at(0, row, 4 * column + 1), at(0, row, 4 * column + 3)]),
        PixelFormat::Gray8 | PixelFormat::Rgb | PixelFormat::Bgr => None,
    };
    for row in 0..height.div_ceil(rows_per_chroma) {
        for column in 0..width.div_ceil(2) {
            let Some(places) = places(row, column) else { return bytes };
            let (x, y) = (2 * column, rows_per_chroma * row);
            let shared = [
                pixel(x, y),
                pixel(x + 1, y),
                pixel(x, y + rows_per_chroma - 1),
                pixel(x + 1, y + rows_per_chroma - 1),
            ];
            let mean = [0, 1, 2].map(|channel| shared.iter().map(|rgb| f32::from(rgb[channel])).sum::<f32>() / 4.0);
            for (place, value) in places.into_iter().zip(chroma(mean)) {
                bytes[place] = value;
            }
        }
    }
    bytes
}

/// Luma of the range 0 to 255.
fn full_luma([red, green, blue]: [u8; 3]) -> u8 {
    (0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)).round() as u8
}

/// Luma of the range 16 to 235, BT.601.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let luma = 0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue);
    (16.0 + luma * 219.0 / 255.0).round() as u8
}

/// U and V of the range 16 to 240, BT.601.
fn chroma([red, green, blue]: [f32; 3]) -> [u8; 2] {
    let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
    [(blue - luma) / 1.772, (red - luma) / 1.402].map(|difference| (128.0 + difference * 224.0 / 255.0).round() as u8)
}
