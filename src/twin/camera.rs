//! The camera of the twin: frames through shared memory with their time stamp and number, for a station that reads them with
//! `shmsrc socket-path=... is-live=true ! gdpdepay`.
//!
//! GDP sends what the bytes are (caps) once, at the start. Here each frame carries it along, so that a station may come, go and be killed at
//! any time. Without a station frames go nowhere; while one does not take them, the last few wait and older ones are lost.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;
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
    info: VideoInfo,
    format: PixelFormat,
    socket: PathBuf,
    clients: Arc<AtomicUsize>,
}

/// Pixels ready to be exposed.
#[derive(Clone)]
pub struct TwinFrame(Arc<[u8]>);

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

        let description = "appsrc name=source ! gdppay name=pay ! shmsink name=share";
        let pipeline = gst::parse::launch(description).map_err(|error| failed(error.to_string()))?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| failed("no pipeline".into()))?;
        let element = |name: &str| pipeline.by_name(name).ok_or_else(|| failed(format!("no {name}")));
        let source = element("source")?.downcast::<AppSrc>().map_err(|_| failed("no appsrc".into()))?;
        source.set_caps(Some(&caps));
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
        if let Some(pad) = element("pay")?.static_pad("src") {
            carry_headers_along(&pad);
        }

        let camera = Self {
            pipeline,
            source,
            info,
            format,
            socket: socket.to_owned(),
            clients,
        };
        camera.pipeline.set_state(gst::State::Playing).map_err(|_| camera.refusal())?;
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
        TwinFrame(convert(image, self.format, &self.info).into())
    }

    /// Sends a frame, exposed at a time (`CLOCK_MONOTONIC`) under the number `counter`. Returns at once.
    pub fn expose(&self, frame: &TwinFrame, counter: u64, exposed_at: Nanos) {
        let mut buffer = gst::Buffer::from_slice(frame.0.clone());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(exposed_at.0));
            buffer.set_offset(counter);
        }
        // Fails only while the pipeline stops.
        let _ = self.source.push_buffer(buffer);
    }
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

/// Takes the headers out of the stream of GDP packets and puts them in front of every frame.
fn carry_headers_along(pad: &gst::Pad) {
    let headers = std::sync::Mutex::new(Vec::<gst::Buffer>::new());
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        let mut headers = headers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if buffer.flags().contains(gst::BufferFlags::HEADER) {
            headers.push(buffer.clone());
            return gst::PadProbeReturn::Drop;
        }
        let mut packets = gst::Buffer::new();
        if let Some(packets) = packets.get_mut() {
            let memories = headers
                .iter()
                .flat_map(|header| header.iter_memories_owned())
                .chain(buffer.iter_memories_owned());
            memories.for_each(|memory| packets.append_memory(memory));
        }
        *buffer = packets;
        gst::PadProbeReturn::Ok
    });
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
