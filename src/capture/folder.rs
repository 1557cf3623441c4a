//! A folder of images as a camera: each trigger exposes the next one, in name order, round and round.
//!
//! The next image is read ahead on a thread of its own. A file that cannot be read gives no frame for its trigger, as a lost exposure does:
//! the counter counts it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::{Camera, CameraError, Capture, CaptureSink, Frame, PixelFormat, Plane};
use crate::flow::{self, Receiver, Sender, WhenFull};
use crate::part::Nanos;
use crate::vision::Image;
use crate::vision::decode::{EXTENSIONS, list_images, read_image};

/// Triggers that may wait for their image to be read; beyond that they expose nothing, and are logged.
const TRIGGERS_WAITING_MAX: usize = 16;

/// A folder of images. Dropping it stops it as soon as the image that is being read is read.
pub struct FolderCamera {
    name: String,
    triggers: Option<Sender<Nanos>>,
    thread: Option<JoinHandle<()>>,
}

impl FolderCamera {
    /// Starts to read ahead. The images are those that are in the folder now.
    ///
    /// # Errors
    /// When the folder cannot be read or holds no image.
    pub fn start(name: &str, folder: &Path, sink: CaptureSink) -> Result<Self, CameraError> {
        let failed = |reason: String| CameraError {
            camera: name.to_owned(),
            reason,
        };
        let images = list_images(folder).map_err(|error| failed(format!("folder {} cannot be read: {error}", folder.display())))?;
        if images.is_empty() {
            return Err(failed(format!(
                "folder {} holds no image; takt reads {}",
                folder.display(),
                EXTENSIONS.join(", ")
            )));
        }
        let (triggers, triggered) = flow::bounded("folder triggers", TRIGGERS_WAITING_MAX, WhenFull::DropNewest);
        let camera = name.to_owned();
        let thread = thread::Builder::new()
            .name(format!("camera-{name}"))
            .spawn(move || deliver(&camera, &images, &triggered, &sink))
            .map_err(|error| failed(format!("its thread does not start: {error}")))?;
        Ok(Self {
            name: name.to_owned(),
            triggers: Some(triggers),
            thread: Some(thread),
        })
    }
}

impl Camera for FolderCamera {
    fn name(&self) -> &str {
        &self.name
    }

    fn trigger(&self) {
        if let Some(triggers) = &self.triggers
            && triggers.send(flow::now()).is_err()
        {
            tracing::warn!(
                camera = self.name,
                "images cannot be read as fast as they are triggered; one trigger lost"
            );
        }
    }
}

impl Drop for FolderCamera {
    fn drop(&mut self) {
        // Without a sender the thread ends.
        self.triggers = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Gives one image for each trigger until nobody can trigger any more.
fn deliver(camera: &str, images: &[PathBuf], triggered: &Receiver<Nanos>, sink: &CaptureSink) {
    sink(Capture::Up);
    for (path, counter) in images.iter().cycle().zip(0..) {
        let image = read_image(path);
        let Some(exposed_at) = triggered.receive() else { return };
        match image {
            Ok(image) => sink(Capture::Frame(frame(image, exposed_at, counter))),
            Err(error) => tracing::warn!(camera, %error, "no frame for this trigger"),
        }
    }
}

fn frame(image: Image, exposed_at: Nanos, counter: u64) -> Frame {
    let mut planes = [Plane::default(); 3];
    planes[0].stride = 3 * image.width as usize;
    Frame {
        format: PixelFormat::Rgb,
        width: image.width,
        height: image.height,
        pixels: Arc::new(image.rgb),
        planes,
        full_range: true,
        bt709: false,
        exposed_at,
        counter: Some(counter),
    }
}
