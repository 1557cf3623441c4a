//! The port to cameras: frames come with their time and number, however they are made.
//!
//! | file | what it does |
//! |---|---|
//! | `frame.rs` | pixels as the camera gave them, never copied |
//! | `gstreamer.rs` | the adapter to GStreamer: any source that it can read |
//! | `survey.rs` | what GStreamer has on this machine, for `takt doctor` |
//! | `v4l.rs` | the adapter to cameras of Linux itself (V4L2) |
//! | `folder.rs` | a folder of images, one per trigger |

pub mod folder;
mod frame;
pub mod gstreamer;
pub mod survey;
pub mod v4l;

pub use frame::{Frame, PixelFormat, Pixels, Plane};

/// How long a camera waits before its second attempt to deliver; doubles from attempt to attempt.
const BACKOFF_MIN: std::time::Duration = std::time::Duration::from_millis(100);
/// The longest wait between attempts.
const BACKOFF_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// What a camera has to say. Each kind may come at any time, from any thread.
#[derive(Debug, Clone)]
pub enum Capture {
    /// A frame.
    Frame(Frame),
    /// The camera delivers (again): its frame numbers may start anew.
    Up,
    /// The camera does not deliver. It tries again by itself; nothing has to be done.
    Down {
        /// What is wrong and what helps, for people.
        reason: String,
    },
}

/// Takes what a camera says. Must not block: it is called from the camera's streaming thread.
pub type CaptureSink = std::sync::Arc<dyn Fn(Capture) + Send + Sync>;

/// A camera. It runs from its making to its drop; connecting and reconnecting is its own business.
pub trait Camera: Send + Sync {
    /// Name in the configuration.
    fn name(&self) -> &str;

    /// Asks for one exposure, if the camera makes exposures on demand; otherwise does nothing.
    fn trigger(&self);

    /// How many frames were copied since the start because too many of the camera's own buffers were held.
    fn frames_copied(&self) -> u64 {
        0
    }
}

/// How the time of exposure is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CameraClock {
    /// Base time of the pipeline plus running time of the buffer: what sources with a driver's time stamps give.
    #[default]
    Pipeline,
    /// The buffer's own time stamp is `CLOCK_MONOTONIC` of this machine: what drivers give.
    Monotonic,
    /// The moment the frame arrives here.
    Arrival,
}

/// Why a camera cannot be set up at all (as opposed to: does not deliver now).
#[derive(Debug, thiserror::Error)]
#[error("failed to set up camera \"{camera}\": {reason}")]
pub struct CameraError {
    /// Name in the configuration.
    pub camera: String,
    /// What is wrong and what helps.
    pub reason: String,
}
