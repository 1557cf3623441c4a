//! A video device, opened by the crate `v4l`, and the requests to the kernel where that crate would not do.
//!
//! What `v4l` does well is asked of it: opening, the rate of frames, setting a control. The rest goes through its lowest layer, with the kernel's
//! structures as it has them, because above that layer `v4l` 0.14
//!
//! - panics on what a driver may say: names that are not UTF-8 (a long name of a USB camera is cut within a letter), kinds of controls, orders
//!   of fields and colour spaces that it does not know, an index of a buffer beyond the last;
//! - goes on for ever with a driver that lists without end;
//! - has no encoding of chroma in its formats;
//! - has one frame out at a time, lets nobody else's hands at its bytes, and unmaps them when the stream ends, whoever reads them.

#![allow(unsafe_code, reason = "the kernel reads and writes the structures that requests carry")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, major, stat};
use rustix::io::{Errno, FdFlags, Result, fcntl_setfd};
use v4l::buffer::{Metadata, Type};
use v4l::capability;
use v4l::control::{self, Control};
use v4l::format::{FieldOrder, FourCC};
use v4l::v4l_sys::{
    V4L2_CTRL_FLAG_NEXT_CTRL, v4l2_buffer, v4l2_capability, v4l2_fmtdesc, v4l2_format, v4l2_query_ext_ctrl, v4l2_querymenu,
    v4l2_requestbuffers,
};
use v4l::v4l2::{ioctl, vidioc};
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Fraction, Memory};

/// The number that character devices have which are video devices, in Linux.
const VIDEO_MAJOR: u32 = 81;
/// Frames come into memory, one buffer for all planes.
const CAPTURE: u32 = Type::VideoCapture as u32;
/// Buffers are the driver's own, mapped by us.
const MAPPED: u32 = Memory::Mmap as u32;

/// How a device lays out its frames.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layout {
    /// Pixels per row.
    pub(super) width: u32,
    /// Rows.
    pub(super) height: u32,
    pub(super) fourcc: FourCC,
    /// Whole frames or which half ones, as `FieldOrder` numbers them.
    pub(super) field: u32,
    /// Bytes from one row to the next.
    pub(super) stride: u32,
    /// As `Colorspace` numbers them.
    pub(super) colorspace: u32,
    /// As `v4l2_ycbcr_encoding` numbers them.
    pub(super) ycbcr_encoding: u32,
    /// As `Quantization` numbers them.
    pub(super) quantization: u32,
}

/// What a control is and takes.
#[derive(Debug, Clone)]
pub(super) struct ControlDescription {
    pub(super) id: u32,
    /// `None`: one that the crate does not know.
    pub(super) kind: Option<control::Type>,
    pub(super) name: String,
    pub(super) minimum: i64,
    pub(super) maximum: i64,
    pub(super) step: u64,
    pub(super) flags: control::Flags,
}

/// Where a buffer can be mapped.
pub(super) struct Place {
    pub(super) offset: u64,
    /// Bytes.
    pub(super) length: usize,
}

/// A structure of the kernel's that requests carry: plain numbers and bytes, and unions and pointers that nobody follows, so that any bits are
/// values, and zeros are too.
///
/// # Safety
/// Only for such.
unsafe trait Plain: Sized {
    fn empty() -> Self {
        // SAFETY: zeros are a value, says whoever implements this.
        unsafe { mem::zeroed() }
    }
}

// SAFETY: numbers and bytes, no more.
unsafe impl Plain for v4l2_capability {}
// SAFETY: numbers and bytes, no more.
unsafe impl Plain for v4l2_fmtdesc {}
// SAFETY: a number and a union; one of its variants, for overlays, has pointers, which may be null.
unsafe impl Plain for v4l2_format {}
// SAFETY: numbers, no more.
unsafe impl Plain for v4l2_requestbuffers {}
// SAFETY: numbers and unions of numbers and a pointer, which may be null.
unsafe impl Plain for v4l2_buffer {}
// SAFETY: numbers and bytes, no more.
unsafe impl Plain for v4l2_query_ext_ctrl {}
// SAFETY: numbers and a union of a number and bytes.
unsafe impl Plain for v4l2_querymenu {}
// SAFETY: a number.
unsafe impl Plain for u32 {}

/// An open video device. Dropping it closes it.
pub(super) struct Node {
    device: v4l::Device,
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the crate closes the file when the last handle to it is gone; `self.device` has one and lives as long as the answer.
        unsafe { BorrowedFd::borrow_raw(self.device.handle().fd()) }
    }
}

impl Node {
    /// Opens a video device; its requests do not wait. `Errno::NOTTY` where it is another thing.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // The crate panics on a path with a zero, at which this fails, and where closing fails, which a video device never does.
        let status = stat(path)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::CharacterDevice || major(status.st_rdev) != VIDEO_MAJOR {
            return Err(Errno::NOTTY);
        }
        Self::with_path(path)
    }

    fn with_path(path: &Path) -> Result<Self> {
        let device = v4l::Device::with_path(path).map_err(|error| errno(&error))?;
        let node = Self { device };
        // The crate lets programs that are started later inherit the device, which would keep it busy.
        fcntl_setfd(&node, FdFlags::CLOEXEC)?;
        Ok(node)
    }

    /// Sends a request with its structure.
    ///
    /// # Safety
    /// The request must be one that carries a `T` and follows no pointer in this one.
    unsafe fn ask<T: Plain>(&self, request: vidioc::_IOC_TYPE, carried: &mut T) -> Result<()> {
        // SAFETY: the caller names the request that goes with T, of which any bits are a value; the structure and the file live through the call.
        unsafe { ioctl(self.device.handle().fd(), request, (&raw mut *carried).cast()) }.map_err(|error| errno(&error))
    }

    /// What the device calls itself, and what it can.
    pub(super) fn capability(&self) -> Result<(String, capability::Flags)> {
        let mut capability = v4l2_capability::empty();
        // SAFETY: QUERYCAP fills a v4l2_capability.
        unsafe { self.ask(vidioc::VIDIOC_QUERYCAP, &mut capability) }?;
        // `device_caps` are those of this very device, where the driver tells them apart from those of its neighbours.
        let all = capability::Flags::from(capability.capabilities);
        let own = capability::Flags::from(capability.device_caps);
        let flags = if all.contains(capability::Flags::DEVICE_CAPS) { own } else { all };
        Ok((text(&capability.card), flags))
    }

    /// The `index`-th format that the device offers; an error past the last.
    pub(super) fn format_offered(&self, index: u32) -> Result<FourCC> {
        let mut description = v4l2_fmtdesc {
            index,
            type_: CAPTURE,
            ..Plain::empty()
        };
        // SAFETY: ENUM_FMT reads and fills a v4l2_fmtdesc.
        unsafe { self.ask(vidioc::VIDIOC_ENUM_FMT, &mut description) }?;
        Ok(description.pixelformat.into())
    }

    /// Asks for whole frames of a size and format; answers with the layout that the device will give, which may be another.
    pub(super) fn set_format(&self, width: u32, height: u32, fourcc: FourCC) -> Result<Layout> {
        let mut format = v4l2_format {
            type_: CAPTURE,
            ..Plain::empty()
        };
        format.fmt.pix = v4l::Format {
            field_order: FieldOrder::Progressive,
            ..v4l::Format::new(width, height, fourcc)
        }
        .into();
        // SAFETY: S_FMT reads and fills a v4l2_format.
        unsafe { self.ask(vidioc::VIDIOC_S_FMT, &mut format) }?;
        // SAFETY: the variant of the union that goes with CAPTURE, of numbers only.
        let pixels = unsafe { format.fmt.pix };
        Ok(Layout {
            width: pixels.width,
            height: pixels.height,
            fourcc: pixels.pixelformat.into(),
            field: pixels.field,
            stride: pixels.bytesperline,
            colorspace: pixels.colorspace,
            // SAFETY: both variants of the union are numbers of the same size.
            ycbcr_encoding: unsafe { pixels.__bindgen_anon_1.ycbcr_enc },
            quantization: pixels.quantization,
        })
    }

    /// The rate of frames, and whether it can be set.
    pub(super) fn rate(&self) -> Result<Parameters> {
        self.device.params().map_err(|error| errno(&error))
    }

    /// Asks for a rate of frames; answers with the time from frame to frame that the device will give.
    pub(super) fn set_rate(&self, rate: Parameters) -> Result<Fraction> {
        let given = self.device.set_params(&rate).map_err(|error| errno(&error))?;
        Ok(given.interval)
    }

    /// Asks for buffers to map; answers with how many there are. 0 gives all back. What is mapped stays so.
    pub(super) fn request_buffers(&self, count: u32) -> Result<u32> {
        let mut request = v4l2_requestbuffers {
            count,
            type_: CAPTURE,
            memory: MAPPED,
            ..Plain::empty()
        };
        // SAFETY: REQBUFS reads and fills a v4l2_requestbuffers.
        unsafe { self.ask(vidioc::VIDIOC_REQBUFS, &mut request) }?;
        Ok(request.count)
    }

    /// Where a buffer can be mapped.
    pub(super) fn place(&self, index: u32) -> Result<Place> {
        let mut buffer = buffer(index);
        // SAFETY: QUERYBUF reads and fills a v4l2_buffer.
        unsafe { self.ask(vidioc::VIDIOC_QUERYBUF, &mut buffer) }?;
        Ok(Place {
            // SAFETY: the variant of the union that goes with MAPPED, a number.
            offset: u64::from(unsafe { buffer.m.offset }),
            length: buffer.length as usize,
        })
    }

    /// Gives a buffer to the driver, which will write the next frame into it. Nobody may read it from now on.
    pub(super) fn queue_buffer(&self, index: u32) -> Result<()> {
        // SAFETY: QBUF reads and fills a v4l2_buffer, and follows no pointer in one for MAPPED.
        unsafe { self.ask(vidioc::VIDIOC_QBUF, &mut buffer(index)) }
    }

    /// Takes a buffer with a frame from the driver: its index and what is said of the frame. `None` where there is none yet.
    pub(super) fn take_buffer(&self) -> Result<Option<(u32, Metadata)>> {
        let mut taken = buffer(0);
        // SAFETY: DQBUF reads and fills a v4l2_buffer, and follows no pointer in one for MAPPED.
        match unsafe { self.ask(vidioc::VIDIOC_DQBUF, &mut taken) } {
            Ok(()) => Ok(Some((
                taken.index,
                Metadata {
                    bytesused: taken.bytesused,
                    flags: taken.flags.into(),
                    field: taken.field,
                    timestamp: taken.timestamp.into(),
                    sequence: taken.sequence,
                },
            ))),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Frames begin to come.
    pub(super) fn stream_on(&self) -> Result<()> {
        // SAFETY: STREAMON reads a number.
        unsafe { self.ask(vidioc::VIDIOC_STREAMON, &mut { CAPTURE }) }
    }

    /// No more frames come.
    pub(super) fn stream_off(&self) -> Result<()> {
        // SAFETY: STREAMOFF reads a number.
        unsafe { self.ask(vidioc::VIDIOC_STREAMOFF, &mut { CAPTURE }) }
    }

    /// The control after the one with this id (0: the first); an error past the last.
    pub(super) fn control_after(&self, id: u32) -> Result<ControlDescription> {
        let mut queried = v4l2_query_ext_ctrl {
            id: id | V4L2_CTRL_FLAG_NEXT_CTRL,
            ..Plain::empty()
        };
        // SAFETY: QUERY_EXT_CTRL reads and fills a v4l2_query_ext_ctrl.
        unsafe { self.ask(vidioc::VIDIOC_QUERY_EXT_CTRL, &mut queried) }?;
        Ok(ControlDescription {
            id: queried.id,
            kind: queried.type_.try_into().ok(),
            // A C char is signed here and unsigned there.
            name: text(&queried.name.map(|letter| letter.to_ne_bytes()[0])),
            minimum: queried.minimum,
            maximum: queried.maximum,
            step: queried.step,
            flags: queried.flags.into(),
        })
    }

    /// The name of one choice of a menu control; an error where the menu has no such choice.
    pub(super) fn menu_choice(&self, id: u32, index: u32) -> Result<String> {
        let mut item = v4l2_querymenu {
            id,
            index,
            ..Plain::empty()
        };
        // SAFETY: QUERYMENU reads and fills a v4l2_querymenu.
        unsafe { self.ask(vidioc::VIDIOC_QUERYMENU, &mut item) }?;
        // SAFETY: any bits of the union are bytes.
        let name = unsafe { item.__bindgen_anon_1.name };
        Ok(text(&name))
    }

    /// Sets one control.
    pub(super) fn set_control(&self, id: u32, value: i64) -> Result<()> {
        // The crate writes 64 bits; a control of 32 has the lower ones, as the machine is little-endian (v4l/sys/lib.rs).
        let control = Control {
            id,
            value: control::Value::Integer(value),
        };
        self.device.set_control(control).map_err(|error| errno(&error))
    }
}

/// What requests carry that are about a buffer.
fn buffer(index: u32) -> v4l2_buffer {
    v4l2_buffer {
        index,
        type_: CAPTURE,
        memory: MAPPED,
        ..Plain::empty()
    }
}

/// The error of a request. The crate has errors without a number only for what it is not asked here.
fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}

/// Text up to its zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_video_device_is_not_opened() {
        for (path, expected) in [
            ("/dev/vid\0eo", Errno::INVAL),
            ("/dev/video-nosuch", Errno::NOENT),
            ("/dev/null", Errno::NOTTY),
            ("/dev", Errno::NOTTY),
        ] {
            assert_eq!(Node::open(Path::new(path)).err(), Some(expected), "{path}");
        }
    }

    #[test]
    fn programs_started_later_do_not_inherit_the_device() {
        let node = Node::with_path(Path::new("/dev/null")).unwrap();
        assert!(rustix::io::fcntl_getfd(&node).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn requests_fail_with_the_kernels_errors() {
        let node = Node::with_path(Path::new("/dev/null")).unwrap();
        assert_eq!(node.capability().err(), Some(Errno::NOTTY));
        assert_eq!(node.rate().err(), Some(Errno::NOTTY));
        assert_eq!(node.set_control(1, 1), Err(Errno::NOTTY));
    }

    #[test]
    fn text_of_a_driver_is_text_whatever_its_bytes() {
        assert_eq!(text(b"Cam\0era"), "Cam");
        assert_eq!(text(b"K\xc3\xbcche K\xc3"), "Küche K\u{fffd}");
    }
}
