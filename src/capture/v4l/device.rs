//! A camera device, set up as it was asked to be, and its frames. Dropping it ends the stream and gives its buffers back to the kernel.

#![allow(unsafe_code, reason = "frames lie in memory that the driver has mapped for us")]

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use rustix::io::Errno;
use v4l::buffer::{self, Metadata};
use v4l::control::{self, Type};
use v4l::format::{FieldOrder, FourCC};
use v4l::parameters::Capabilities;
use v4l::video::capture::Parameters;
use v4l::{Fraction, capability};

use super::kernel::{ControlDescription, Layout, Node};
use super::{ControlSetting, DeviceSettings};
use crate::capture::{PixelFormat, Plane};
use crate::flow::{self, Receiver, Sender, WhenFull};

/// Buffers that stay with the driver, however many frames are held: one that is being filled, one that is next, one that was just filled.
const BUFFERS_DRIVER_MIN: usize = 3;
/// Formats and controls of a device that are looked at; real ones have some dozens.
const LISTED_MAX: u32 = 256;
/// Bytes of a list in a message.
const LIST_BYTES_MAX: usize = 300;
/// How far the rate of frames may be from the one that was asked for: 30 may be 29.97.
const RATE_DEVIATION_MAX: f64 = 0.01;

/// A device that streams.
pub(super) struct Device {
    node: Node,
    layout: Layout,
    format: PixelFormat,
    buffers: Vec<Arc<MmapRaw>>,
    /// How many of the buffers may be lent.
    lent_max: usize,
    lent: usize,
    give_back: Sender<u32>,
    given_back: Receiver<u32>,
}

/// A frame in a buffer of the driver's. Dropping it gives the buffer back.
pub(super) struct LentBuffer {
    memory: Arc<MmapRaw>,
    used: usize,
    index: u32,
    give_back: Sender<u32>,
}

impl AsRef<[u8]> for LentBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping is `memory.len() >= used` bytes long and lives as long as self. The driver writes into it only between being
        // given the buffer and our taking it, and it is given the buffer again after self is gone.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.used) }
    }
}

impl Drop for LentBuffer {
    fn drop(&mut self) {
        // No request from here: this may be the line thread, and the driver may be slow. There is room for every buffer.
        let _ = self.give_back.send(self.index);
    }
}

/// The bytes of a frame.
pub(super) enum Taken {
    /// In the driver's own memory.
    Lent(LentBuffer),
    /// Copied, because enough buffers are lent.
    Copied(Vec<u8>),
}

impl Device {
    /// Opens the device and starts the stream.
    ///
    /// # Errors
    /// With what is wrong and what helps.
    pub(super) fn open(settings: &DeviceSettings) -> Result<Self, String> {
        let path = &settings.path;
        let node = Node::open(path).map_err(|error| explain_open(path, error))?;
        check_kind(&node, path)?;
        let layout = set_layout(&node, settings)?;
        if let Some(rate_hz) = settings.frame_rate_hz {
            set_rate(&node, rate_hz)?;
        }
        set_controls(&node, &settings.controls)?;
        let buffers = map_buffers(&node, settings.frames_held_max)?;
        for index in 0..buffers.len() as u32 {
            node.queue_buffer(index).map_err(explain)?;
        }
        let (give_back, given_back) = flow::bounded("camera buffers", buffers.len(), WhenFull::DropNewest);
        let device = Self {
            lent_max: settings.frames_held_max.min(buffers.len().saturating_sub(BUFFERS_DRIVER_MIN)),
            lent: 0,
            node,
            layout,
            format: settings.format,
            buffers,
            give_back,
            given_back,
        };
        device.node.stream_on().map_err(|error| match error {
            Errno::NOSPC => {
                "the USB bus has no bandwidth left; use another USB controller, a smaller format or a lower frame_rate_hz".to_owned()
            }
            error => explain(error),
        })?;
        Ok(device)
    }

    /// How rows lie in its frames.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where the planes of its frames lie.
    pub(super) fn planes(&self) -> [Plane; 3] {
        planes(self.format, &self.layout)
    }

    /// The next frame, if there is one: what the driver says of it, and its bytes; none for one that is damaged.
    ///
    /// # Errors
    /// When the device gives no more.
    pub(super) fn next(&mut self) -> Result<Option<(Metadata, Option<Taken>)>, String> {
        while let Some(index) = self.given_back.try_receive() {
            self.lent -= 1;
            self.node.queue_buffer(index).map_err(explain)?;
        }
        let Some((index, said)) = self.node.take_buffer().map_err(explain)? else {
            return Ok(None);
        };
        let memory = self
            .buffers
            .get(index as usize)
            .ok_or("its driver gives buffers that do not exist; report it to whoever wrote the driver")?;
        let lent = LentBuffer {
            memory: Arc::clone(memory),
            used: (said.bytesused as usize).min(memory.len()),
            index,
            give_back: self.give_back.clone(),
        };
        // Whatever becomes of it, it is out until it is given back.
        self.lent += 1;
        let taken = if said.flags.contains(buffer::Flags::ERROR) {
            None
        } else if self.lent > self.lent_max {
            Some(Taken::Copied(lent.as_ref().to_vec()))
        } else {
            Some(Taken::Lent(lent))
        };
        Ok(Some((said, taken)))
    }
}

impl AsFd for Device {
    /// The device itself, to wait for.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.node.as_fd()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Frames that are held keep their memory, and with it the kernel's idea of an open device: buffers must be given back by name, or
        // the next to open it would find it busy. A device that is gone refuses both, which is as good.
        let _ = self.node.stream_off();
        let _ = self.node.request_buffers(0);
    }
}

/// What the kernel calls a format.
pub(super) fn fourcc(format: PixelFormat) -> FourCC {
    FourCC::new(match format {
        PixelFormat::Gray8 => b"GREY",
        PixelFormat::Rgb => b"RGB3",
        PixelFormat::Bgr => b"BGR3",
        PixelFormat::Nv12 => b"NV12",
        PixelFormat::I420 => b"YU12",
        PixelFormat::Yuy2 => b"YUYV",
    })
}

/// The name of a format of the kernel's: takt's where takt has one.
fn format_name(code: FourCC) -> String {
    match PixelFormat::ALL.into_iter().find(|format| fourcc(*format) == code) {
        Some(format) => format.name().to_owned(),
        None => String::from_utf8_lossy(&code.repr).trim().to_owned(),
    }
}

/// Where planes lie in one buffer: one behind the other, chroma with the stride that goes with its width.
fn planes(format: PixelFormat, layout: &Layout) -> [Plane; 3] {
    let (stride, rows) = (layout.stride as usize, layout.height as usize);
    let luma = Plane { offset: 0, stride };
    match format {
        PixelFormat::Gray8 | PixelFormat::Rgb | PixelFormat::Bgr | PixelFormat::Yuy2 => [luma, Plane::default(), Plane::default()],
        PixelFormat::Nv12 => {
            let chroma = Plane {
                offset: stride * rows,
                stride,
            };
            [luma, chroma, Plane::default()]
        }
        PixelFormat::I420 => {
            let blue = Plane {
                offset: stride * rows,
                stride: stride / 2,
            };
            let red = Plane {
                offset: blue.offset + blue.stride * rows.div_ceil(2),
                ..blue
            };
            [luma, blue, red]
        }
    }
}

fn check_kind(node: &Node, path: &Path) -> Result<(), String> {
    let not_one = |what: &str| no_camera(path, what);
    let (card, can) = node.capability().map_err(|error| match error {
        Errno::NOTTY | Errno::INVAL => not_one("no video device"),
        error => explain(error),
    })?;
    if !can.contains(capability::Flags::VIDEO_CAPTURE) {
        return Err(if can.contains(capability::Flags::VIDEO_CAPTURE_MPLANE) {
            format!(
                "{0} ({card}) gives each plane a buffer of its own, which takt reads through GStreamer: source = \"v4l2src device={0}\"",
                path.display()
            )
        } else {
            not_one(&format!("no camera ({card})"))
        });
    }
    if !can.contains(capability::Flags::STREAMING) {
        return Err(not_one(&format!("a camera that does not stream ({card})")));
    }
    Ok(())
}

fn set_layout(node: &Node, settings: &DeviceSettings) -> Result<Layout, String> {
    let (width, height, code) = (settings.width, settings.height, fourcc(settings.format));
    let given = node.set_format(width, height, code).map_err(|error| match error {
        Errno::BUSY => "another program uses it; stop that program, or give this camera another device".to_owned(),
        error => explain(error),
    })?;
    let say = |width, height, code| format!("{width}x{height} {}", format_name(code));
    let says = say(given.width, given.height, given.fourcc);
    if (given.width, given.height, given.fourcc) != (width, height, code) {
        return Err(format!(
            "it does not give {} but {says}; its formats are {}, and v4l2-ctl --list-formats-ext shows their sizes{}",
            say(width, height, code),
            formats(node),
            "; others are read through GStreamer: source = \"v4l2src ... ! jpegdec\""
        ));
    }
    if given.field != FieldOrder::Progressive as u32 {
        return Err(format!(
            "it gives {says} as half frames (interlaced), which show a moving part twice; choose a size that is progressive"
        ));
    }
    let plane = planes(settings.format, &given)[0];
    let (row, _) = settings.format.plane_sizes(given.width, given.height)[0];
    if plane.stride < row {
        return Err(format!(
            "its driver says that a row of {says} is {} bytes; report it to whoever wrote the driver",
            plane.stride
        ));
    }
    Ok(given)
}

/// The formats of a device, for people.
fn formats(node: &Node) -> String {
    let names = (0..LISTED_MAX).map_while(|index| node.format_offered(index).ok());
    listed(names.map(format_name))
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut list = names.collect::<Vec<_>>().join(", ");
    if list.len() > LIST_BYTES_MAX {
        list.truncate(list.floor_char_boundary(LIST_BYTES_MAX));
        list.push_str(" ...");
    }
    list
}

fn set_rate(node: &Node, rate_hz: u32) -> Result<(), String> {
    let rate = match node.rate() {
        Ok(rate) if rate.capabilities.contains(Capabilities::TIME_PER_FRAME) => rate,
        Ok(_) | Err(Errno::NOTTY) => return Err("its rate of frames cannot be set; remove frame_rate_hz".into()),
        Err(error) => return Err(explain(error)),
    };
    let asked = Parameters {
        interval: Fraction::new(1, rate_hz),
        ..rate
    };
    let given = node.set_rate(asked).map_err(explain)?;
    let given_hz = f64::from(given.denominator) / f64::from(given.numerator.max(1));
    let asked_hz = f64::from(rate_hz);
    if (given_hz - asked_hz).abs() > RATE_DEVIATION_MAX * asked_hz {
        return Err(format!(
            "it gives {given_hz:.2} frames a second instead of {rate_hz}; v4l2-ctl --list-formats-ext shows which rates it has at this size"
        ));
    }
    Ok(())
}

/// Sets controls: switches and choices before numbers, since a number under something automatic has no effect.
fn set_controls(node: &Node, settings: &[(String, ControlSetting)]) -> Result<(), String> {
    if settings.is_empty() {
        return Ok(());
    }
    let known = controls(node);
    let find = |name: &str| {
        known.iter().find(|control| control_name(&control.name) == name).ok_or_else(|| {
            let names = known.iter().map(|control| control_name(&control.name));
            format!("it has no control {name}; it has {}", listed(names))
        })
    };
    let is_number = |setting: &ControlSetting| matches!(setting, ControlSetting::Whole(_));
    let (numbers, switches): (Vec<_>, Vec<_>) = settings.iter().partition(|(_, setting)| is_number(setting));
    for (name, setting) in switches.into_iter().chain(numbers) {
        set_control(node, find(name)?, name, setting)?;
    }
    let has_effect = |(name, _): &(String, ControlSetting)| {
        let is_idle =
            |control: &ControlDescription| control_name(&control.name) == *name && control.flags.contains(control::Flags::INACTIVE);
        if controls(node).iter().any(is_idle) {
            return Err(format!(
                "control {name} has no effect, because another one is automatic; set that one in controls too"
            ));
        }
        Ok(())
    };
    settings.iter().try_for_each(has_effect)
}

fn controls(node: &Node) -> Vec<ControlDescription> {
    let mut known: Vec<ControlDescription> = Vec::new();
    while known.len() < LISTED_MAX as usize {
        let last = known.last().map_or(0, |control| control.id);
        match node.control_after(last) {
            // A driver that goes round in circles must not take us along.
            Ok(control) if control.id > last => known.push(control),
            _ => break,
        }
    }
    // A class is the heading of those that follow.
    known.retain(|control| !control.flags.contains(control::Flags::DISABLED) && control.kind != Some(Type::CtrlClass));
    known
}

/// What a control is called in a file, as v4l2-ctl does: "Exposure Time, Absolute" is `exposure_time_absolute`.
pub(super) fn control_name(name: &str) -> String {
    let mut words = name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_ascii_lowercase();
    words.fold(first, |name, word| format!("{name}_{}", word.to_ascii_lowercase()))
}

fn set_control(node: &Node, control: &ControlDescription, name: &str, setting: &ControlSetting) -> Result<(), String> {
    if control.flags.contains(control::Flags::READ_ONLY) {
        return Err(format!("control {name} can only be read; remove it from controls"));
    }
    let refused = |expected: String| format!("control {name} is {setting}; give {expected}");
    let value = match (control.kind, setting) {
        (Some(Type::Integer | Type::Integer64 | Type::IntegerMenu), ControlSetting::Whole(value)) => {
            check_range(control, *value).map_err(refused)?;
            *value
        }
        (Some(Type::Integer | Type::Integer64 | Type::IntegerMenu), _) => {
            return Err(refused(format!("a whole number from {} to {}", control.minimum, control.maximum)));
        }
        (Some(Type::Boolean), ControlSetting::Flag(flag)) => i64::from(*flag),
        (Some(Type::Boolean), _) => return Err(refused("true or false".into())),
        (Some(Type::Menu), setting) => {
            let choices = choices(node, control);
            let chosen = choices.iter().find(|(_, words)| *setting == ControlSetting::Choice(words.clone()));
            let quoted = || listed(choices.iter().map(|(_, words)| format!("\"{words}\"")));
            chosen
                .map(|(index, _)| *index)
                .ok_or_else(|| refused(format!("one of {}", quoted())))?
        }
        (Some(Type::Button), ControlSetting::Flag(true)) => 1,
        _ => {
            return Err(format!(
                "control {name} is of a kind that takt does not set; remove it from controls"
            ));
        }
    };
    node.set_control(control.id, value)
        .map_err(|error| format!("control {name} cannot be set to {setting}: {}", explain(error)))
}

/// Whether a number is one that a control takes, or else what it takes.
pub(super) fn check_range(control: &ControlDescription, value: i64) -> Result<(), String> {
    let (minimum, maximum, step) = (control.minimum, control.maximum, control.step.max(1));
    let fits = (minimum..=maximum).contains(&value) && value.abs_diff(minimum).is_multiple_of(step);
    if fits {
        return Ok(());
    }
    let steps = if step == 1 { String::new() } else { format!(" in steps of {step}") };
    Err(format!("a whole number from {minimum} to {maximum}{steps}"))
}

fn choices(node: &Node, control: &ControlDescription) -> Vec<(i64, String)> {
    let indices = control.minimum.max(0)..=control.maximum.min(i64::from(LISTED_MAX));
    let choice = |index: i64| Some((index, node.menu_choice(control.id, index as u32).ok()?));
    indices.filter_map(choice).collect()
}

fn map_buffers(node: &Node, frames_held_max: usize) -> Result<Vec<Arc<MmapRaw>>, String> {
    let count = node
        .request_buffers((frames_held_max + BUFFERS_DRIVER_MIN) as u32)
        .map_err(|error| match error {
            Errno::BUSY => "another program uses it; stop that program, or give this camera another device".to_owned(),
            Errno::NOMEM => "there is no memory for its frames; lower frames_held_max".to_owned(),
            error => explain(error),
        })?;
    if (count as usize) < BUFFERS_DRIVER_MIN {
        return Err(format!("its driver has only {count} buffers; takt needs {BUFFERS_DRIVER_MIN}"));
    }
    let map = |index| {
        let place = node.place(index).map_err(explain)?;
        MmapOptions::new()
            .offset(place.offset)
            .len(place.length)
            .map_raw_read_only(&node.as_fd())
            .map(Arc::new)
            .map_err(|error| format!("its frames cannot be mapped: {error}; lower frames_held_max"))
    };
    (0..count).map(map).collect()
}

/// What is said of a thing that is no camera.
fn no_camera(path: &Path, what: &str) -> String {
    format!(
        "{} is {what}; v4l2-ctl --list-devices shows which devices are cameras",
        path.display()
    )
}

fn explain_open(path: &Path, error: Errno) -> String {
    let remedy = match error {
        Errno::NOTTY => return no_camera(path, "no video device"),
        Errno::NOENT => "check cable and power, and the path (ls /dev/v4l/by-id; v4l2-ctl --list-devices)",
        Errno::ACCESS | Errno::PERM => "put takt's user into the group video",
        Errno::BUSY => "stop the other program that uses it",
        _ => "check cable and power",
    };
    format!("{} cannot be opened: {error}; {remedy}", path.display())
}

/// An error of the device once it is open.
pub(super) fn explain(error: Errno) -> String {
    match error {
        Errno::NODEV | Errno::NXIO => "it was unplugged; check cable and power".into(),
        Errno::IO => "it has stopped (input/output error); check cable and power".into(),
        error => format!("it does not answer as a camera: {error}; check cable and power, and try v4l2-ctl --all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_lie_one_behind_the_other() {
        let layout = Layout {
            width: 6,
            height: 5,
            stride: 8,
            ..Layout::default()
        };
        let at = |format| planes(format, &layout).map(|plane| (plane.offset, plane.stride));
        assert_eq!(at(PixelFormat::Gray8), [(0, 8), (0, 0), (0, 0)]);
        assert_eq!(at(PixelFormat::Nv12), [(0, 8), (40, 8), (0, 0)]);
        assert_eq!(at(PixelFormat::I420), [(0, 8), (40, 4), (52, 4)]);
    }

    #[test]
    fn controls_are_named_as_v4l2_ctl_names_them() {
        for (words, name) in [
            ("Gain", "gain"),
            ("Exposure Time, Absolute", "exposure_time_absolute"),
            ("White Balance, Auto & Preset", "white_balance_auto_preset"),
            ("", ""),
        ] {
            assert_eq!(control_name(words), name);
        }
    }

    #[test]
    fn every_format_has_a_name_of_the_kernels() {
        for format in PixelFormat::ALL {
            assert_eq!(format_name(fourcc(format)), format.name());
        }
        assert_eq!(format_name(FourCC::new(b"MJPG")), "MJPG");
    }

    #[test]
    fn numbers_out_of_range_are_told_what_the_control_takes() {
        let control = |minimum, maximum, step| ControlDescription {
            id: 1,
            kind: Some(Type::Integer),
            name: "Gain".into(),
            minimum,
            maximum,
            step,
            flags: control::Flags::empty(),
        };
        let takes = |control: ControlDescription, value| check_range(&control, value).err().unwrap_or_default();
        assert_eq!(takes(control(-10, 20, 0), 21), "a whole number from -10 to 20");
        assert_eq!(takes(control(-10, 20, 3), 0), "a whole number from -10 to 20 in steps of 3");
        assert_eq!(takes(control(-10, 20, 3), -4), "");
        assert_eq!(takes(control(i64::MIN, i64::MAX, 1), i64::MAX), "");
    }

    #[test]
    fn errors_say_what_helps() {
        assert!(explain(Errno::NODEV).contains("unplugged"));
        assert!(explain_open(Path::new("/dev/video9"), Errno::ACCESS).contains("group video"));
        assert!(explain_open(Path::new("/dev/video9"), Errno::NOENT).contains("by-id"));
    }
}
