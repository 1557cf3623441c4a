//! What Linux says of cameras (V4L2), as far as takt asks: its structures for 64-bit machines, and one function for each request.
//!
//! The numbers and layouts are the kernel's, `include/uapi/linux/videodev2.h`, fixed for good; a test compares the request numbers, which
//! carry the sizes. Written out here because every crate that has them generates them with libclang, which no target of ours has.

#![allow(unsafe_code, reason = "the kernel reads and writes the structures that requests carry")]

use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// A request that reads and writes its structure.
const fn both<T>(number: u8) -> Opcode {
    opcode::read_write::<T>(b'V', number)
}

const QUERYCAP: Opcode = opcode::read::<Capability>(b'V', 0);
const ENUM_FMT: Opcode = both::<FormatDescription>(2);
const S_FMT: Opcode = both::<Format>(5);
const REQBUFS: Opcode = both::<BufferRequest>(8);
const QUERYBUF: Opcode = both::<Buffer>(9);
const QBUF: Opcode = both::<Buffer>(15);
const DQBUF: Opcode = both::<Buffer>(17);
const STREAMON: Opcode = opcode::write::<u32>(b'V', 18);
const STREAMOFF: Opcode = opcode::write::<u32>(b'V', 19);
const G_PARM: Opcode = both::<StreamParameters>(21);
const S_PARM: Opcode = both::<StreamParameters>(22);
const QUERYMENU: Opcode = both::<MenuItem>(37);
const S_EXT_CTRLS: Opcode = both::<ControlList>(72);
const QUERY_EXT_CTRL: Opcode = both::<ControlDescription>(103);

/// Frames come into memory, one plane buffer each.
const CAPTURE: u32 = 1;
/// Buffers are the driver's own, mapped by us.
const MEMORY_MMAP: u32 = 1;
/// Whole frames, not fields.
pub(super) const FIELD_NONE: u32 = 1;

/// The device captures, one buffer for all planes of a frame.
pub(super) const CAN_CAPTURE: u32 = 0x0000_0001;
/// The device captures, a buffer for each plane of a frame.
pub(super) const CAN_CAPTURE_PLANES: u32 = 0x0000_1000;
/// The device streams.
pub(super) const CAN_STREAM: u32 = 0x0400_0000;
/// `device_caps` says what this very device can.
const HAS_DEVICE_CAPS: u32 = 0x8000_0000;

/// The frame in the buffer is damaged.
pub(super) const BUFFER_DAMAGED: u32 = 0x0000_0040;
/// What kind of time stamp a buffer has.
pub(super) const BUFFER_TIME_KIND: u32 = 0x0000_e000;
/// ... that of `CLOCK_MONOTONIC`.
pub(super) const BUFFER_TIME_MONOTONIC: u32 = 0x0000_2000;

/// Sets the rate of frames.
const CAN_SET_RATE: u32 = 0x1000;

/// The control cannot be used at all.
pub(super) const CONTROL_DISABLED: u32 = 0x0001;
/// The control can only be read.
pub(super) const CONTROL_READ_ONLY: u32 = 0x0004;
/// The control has no effect now, because of another (an exposure time under automatic exposure).
pub(super) const CONTROL_INACTIVE: u32 = 0x0010;
/// Asks for the control after this one.
const NEXT_CONTROL: u32 = 0x8000_0000;

/// Kinds of controls.
pub(super) const KIND_INTEGER: u32 = 1;
pub(super) const KIND_BOOLEAN: u32 = 2;
pub(super) const KIND_MENU: u32 = 3;
pub(super) const KIND_BUTTON: u32 = 4;
pub(super) const KIND_INTEGER_64: u32 = 5;
pub(super) const KIND_INTEGER_MENU: u32 = 9;

/// `v4l2_capability`
#[repr(C)]
#[derive(Default)]
pub(super) struct Capability {
    driver: [u8; 16],
    card: [u8; 32],
    bus_info: [u8; 32],
    version: u32,
    capabilities: u32,
    device_caps: u32,
    reserved: [u32; 3],
}

impl Capability {
    /// What the device can.
    pub(super) fn can(&self) -> u32 {
        if self.capabilities & HAS_DEVICE_CAPS == 0 {
            self.capabilities
        } else {
            self.device_caps
        }
    }

    /// What the device calls itself.
    pub(super) fn card(&self) -> String {
        text(&self.card)
    }
}

/// `v4l2_fmtdesc`
#[repr(C)]
#[derive(Default)]
pub(super) struct FormatDescription {
    index: u32,
    kind: u32,
    flags: u32,
    description: [u8; 32],
    pub(super) fourcc: u32,
    mbus_code: u32,
    reserved: [u32; 3],
}

/// `v4l2_pix_format`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct PixelLayout {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fourcc: u32,
    pub(super) field: u32,
    /// Bytes from one row to the next.
    pub(super) stride: u32,
    /// Bytes of a frame.
    pub(super) size: u32,
    pub(super) colorspace: u32,
    pub(super) private: u32,
    pub(super) flags: u32,
    pub(super) ycbcr_encoding: u32,
    pub(super) quantization: u32,
    pub(super) transfer: u32,
}

/// `v4l2_format`; its union is as wide as 200 bytes and aligned as pointers are.
#[repr(C)]
struct Format {
    kind: u32,
    padding: u32,
    pixels: PixelLayout,
    rest: [u64; 19],
}

/// `v4l2_requestbuffers`
#[repr(C)]
#[derive(Default)]
struct BufferRequest {
    count: u32,
    kind: u32,
    memory: u32,
    capabilities: u32,
    flags: u32,
}

/// `v4l2_buffer`
#[repr(C)]
#[derive(Default)]
pub(super) struct Buffer {
    pub(super) index: u32,
    kind: u32,
    /// Bytes of the frame in it.
    pub(super) used: u32,
    pub(super) flags: u32,
    field: u32,
    seconds: i64,
    microseconds: i64,
    timecode: [u32; 4],
    /// The driver's number of the frame: lost ones count.
    pub(super) sequence: u32,
    memory: u32,
    /// Where to map it (`m.offset`, the lower half of a union as wide as a pointer).
    pub(super) offset: u32,
    offset_padding: u32,
    /// Bytes of the buffer.
    pub(super) length: u32,
    reserved: u32,
    request_fd: i32,
}

impl Buffer {
    fn of(index: u32) -> Self {
        Self {
            index,
            kind: CAPTURE,
            memory: MEMORY_MMAP,
            ..Self::default()
        }
    }

    /// Time stamp, nanoseconds; `None` where it is before the clock's zero.
    pub(super) fn time_ns(&self) -> Option<u64> {
        let nanoseconds = self
            .seconds
            .checked_mul(1_000_000_000)?
            .checked_add(self.microseconds.checked_mul(1000)?)?;
        u64::try_from(nanoseconds).ok()
    }
}

/// `v4l2_streamparm` with `v4l2_captureparm`; its union is as wide as 200 bytes.
#[repr(C)]
pub(super) struct StreamParameters {
    kind: u32,
    capability: u32,
    mode: u32,
    /// Time from frame to frame: this many ...
    pub(super) numerator: u32,
    /// ... of such parts of a second.
    pub(super) denominator: u32,
    rest: [u32; 46],
}

impl StreamParameters {
    /// Whether the rate can be set.
    pub(super) fn can_set_rate(&self) -> bool {
        self.capability & CAN_SET_RATE != 0
    }
}

/// `v4l2_query_ext_ctrl`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ControlDescription {
    pub(super) id: u32,
    pub(super) kind: u32,
    name: [u8; 32],
    pub(super) minimum: i64,
    pub(super) maximum: i64,
    pub(super) step: u64,
    default: i64,
    pub(super) flags: u32,
    element_size: u32,
    elements: u32,
    dimensions: u32,
    dimension: [u32; 4],
    reserved: [u32; 32],
}

impl ControlDescription {
    /// Asks for the control after this one.
    pub(super) fn after(id: u32) -> Self {
        Self {
            id: id | NEXT_CONTROL,
            kind: 0,
            name: [0; 32],
            minimum: 0,
            maximum: 0,
            step: 0,
            default: 0,
            flags: 0,
            element_size: 0,
            elements: 0,
            dimensions: 0,
            dimension: [0; 4],
            reserved: [0; 32],
        }
    }

    /// Its name in words.
    pub(super) fn name(&self) -> String {
        text(&self.name)
    }
}

/// `v4l2_querymenu`
#[repr(C, packed)]
struct MenuItem {
    id: u32,
    index: u32,
    name: [u8; 32],
    reserved: u32,
}

/// `v4l2_ext_control`
#[repr(C, packed)]
struct ControlValue {
    id: u32,
    size: u32,
    reserved: u32,
    value: i64,
}

/// `v4l2_ext_controls`
#[repr(C)]
struct ControlList {
    which: u32,
    count: u32,
    error_index: u32,
    request_fd: i32,
    reserved: u32,
    controls: *mut ControlValue,
}

/// Sends a request with its structure.
///
/// # Safety
/// `REQUEST` must be one that takes a `T`, all of whose bit patterns are values, and follows no pointer in it to anything that is not ours.
unsafe fn update<const REQUEST: Opcode, T>(device: impl AsFd, value: &mut T) -> Result<()> {
    // SAFETY: the caller names the request that goes with T; the structure lives through the call.
    unsafe { ioctl(device, Updater::<REQUEST, T>::new(value)) }
}

/// What the device is and can.
pub(super) fn capability(device: impl AsFd) -> Result<Capability> {
    let mut capability = Capability::default();
    // SAFETY: QUERYCAP fills a v4l2_capability, plain numbers and bytes.
    unsafe { update::<QUERYCAP, _>(device, &mut capability) }?;
    Ok(capability)
}

/// The `index`-th format that the device offers; an error past the last.
pub(super) fn format_offered(device: impl AsFd, index: u32) -> Result<FormatDescription> {
    let mut description = FormatDescription {
        index,
        kind: CAPTURE,
        ..FormatDescription::default()
    };
    // SAFETY: ENUM_FMT reads and fills a v4l2_fmtdesc, plain numbers and bytes.
    unsafe { update::<ENUM_FMT, _>(device, &mut description) }?;
    Ok(description)
}

/// Asks for a layout; answers with the one that the device will give, which may be another.
pub(super) fn set_format(device: impl AsFd, pixels: PixelLayout) -> Result<PixelLayout> {
    let mut format = Format {
        kind: CAPTURE,
        padding: 0,
        pixels,
        rest: [0; 19],
    };
    // SAFETY: S_FMT reads and fills a v4l2_format; for CAPTURE its union is a v4l2_pix_format, plain numbers.
    unsafe { update::<S_FMT, _>(device, &mut format) }?;
    Ok(format.pixels)
}

/// The rate of frames.
pub(super) fn rate(device: impl AsFd) -> Result<StreamParameters> {
    let mut parameters = StreamParameters {
        kind: CAPTURE,
        capability: 0,
        mode: 0,
        numerator: 0,
        denominator: 0,
        rest: [0; 46],
    };
    // SAFETY: G_PARM fills a v4l2_streamparm; for CAPTURE its union is a v4l2_captureparm, plain numbers.
    unsafe { update::<G_PARM, _>(device, &mut parameters) }?;
    Ok(parameters)
}

/// Asks for a rate of frames; answers with the one that the device will give.
pub(super) fn set_rate(device: impl AsFd, mut parameters: StreamParameters) -> Result<StreamParameters> {
    // SAFETY: S_PARM reads and fills a v4l2_streamparm as G_PARM does.
    unsafe { update::<S_PARM, _>(device, &mut parameters) }?;
    Ok(parameters)
}

/// Asks for buffers to map; answers with how many there are. 0 gives all back.
pub(super) fn request_buffers(device: impl AsFd, count: u32) -> Result<u32> {
    let mut request = BufferRequest {
        count,
        kind: CAPTURE,
        memory: MEMORY_MMAP,
        ..BufferRequest::default()
    };
    // SAFETY: REQBUFS reads and fills a v4l2_requestbuffers, plain numbers. Mappings of buffers that are given back stay valid: a mapping
    // keeps its memory.
    unsafe { update::<REQBUFS, _>(device, &mut request) }?;
    Ok(request.count)
}

/// Where a buffer can be mapped, and how long it is.
pub(super) fn query_buffer(device: impl AsFd, index: u32) -> Result<Buffer> {
    let mut buffer = Buffer::of(index);
    // SAFETY: QUERYBUF reads and fills a v4l2_buffer; its union is an offset for mapped memory.
    unsafe { update::<QUERYBUF, _>(device, &mut buffer) }?;
    Ok(buffer)
}

/// Gives a buffer to the driver, which will write the next frame into it. Nobody may read it from now on.
pub(super) fn queue_buffer(device: impl AsFd, index: u32) -> Result<()> {
    let mut buffer = Buffer::of(index);
    // SAFETY: QBUF reads and fills a v4l2_buffer; its union is not read for mapped memory.
    unsafe { update::<QBUF, _>(device, &mut buffer) }
}

/// Takes a buffer with a frame from the driver; `None` where there is none yet.
pub(super) fn take_buffer(device: impl AsFd) -> Result<Option<Buffer>> {
    let mut buffer = Buffer::of(0);
    // SAFETY: DQBUF reads and fills a v4l2_buffer; its union is an offset for mapped memory.
    match unsafe { update::<DQBUF, _>(device, &mut buffer) } {
        Ok(()) => Ok(Some(buffer)),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Frames begin to come.
pub(super) fn stream_on(device: impl AsFd) -> Result<()> {
    let mut kind = CAPTURE;
    // SAFETY: STREAMON reads a number.
    unsafe { update::<STREAMON, _>(device, &mut kind) }
}

/// No more frames come.
pub(super) fn stream_off(device: impl AsFd) -> Result<()> {
    let mut kind = CAPTURE;
    // SAFETY: STREAMOFF reads a number.
    unsafe { update::<STREAMOFF, _>(device, &mut kind) }
}

/// The control after the one with this id (0: the first); an error past the last.
pub(super) fn control_after(device: impl AsFd, id: u32) -> Result<ControlDescription> {
    let mut description = ControlDescription::after(id);
    // SAFETY: QUERY_EXT_CTRL reads and fills a v4l2_query_ext_ctrl, plain numbers and bytes.
    unsafe { update::<QUERY_EXT_CTRL, _>(device, &mut description) }?;
    Ok(description)
}

/// The name of one choice of a menu control; an error where the menu has no such choice.
pub(super) fn menu_choice(device: impl AsFd, id: u32, index: u32) -> Result<String> {
    let mut item = MenuItem {
        id,
        index,
        name: [0; 32],
        reserved: 0,
    };
    // SAFETY: QUERYMENU reads and fills a v4l2_querymenu; the name is bytes.
    unsafe { update::<QUERYMENU, _>(device, &mut item) }?;
    let name = item.name;
    Ok(text(&name))
}

/// Sets one control. `is_wide`: it is one of 64 bits.
pub(super) fn set_control(device: impl AsFd, id: u32, value: i64, is_wide: bool) -> Result<()> {
    // Little-endian machines find the lower half of a union where they find the whole.
    const { assert!(cfg!(target_endian = "little") && cfg!(target_pointer_width = "64")) }
    let mut control = ControlValue {
        id,
        size: if is_wide { 8 } else { 0 },
        reserved: 0,
        value,
    };
    let mut list = ControlList {
        which: 0,
        count: 1,
        error_index: 0,
        request_fd: 0,
        reserved: 0,
        controls: &raw mut control,
    };
    // SAFETY: S_EXT_CTRLS reads and fills a v4l2_ext_controls and `count` v4l2_ext_control behind its pointer: one, of our own, which lives
    // through the call and carries a number, no pointer.
    unsafe { update::<S_EXT_CTRLS, _>(device, &mut list) }
}

/// Text up to its zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that C computes from the kernel's header on 64-bit machines. Each carries the size of its structure.
    #[test]
    fn requests_are_those_of_the_kernel() {
        let requests: [(Opcode, u32); 14] = [
            (QUERYCAP, 0x8068_5600),
            (ENUM_FMT, 0xc040_5602),
            (S_FMT, 0xc0d0_5605),
            (REQBUFS, 0xc014_5608),
            (QUERYBUF, 0xc058_5609),
            (QBUF, 0xc058_560f),
            (DQBUF, 0xc058_5611),
            (STREAMON, 0x4004_5612),
            (STREAMOFF, 0x4004_5613),
            (G_PARM, 0xc0cc_5615),
            (S_PARM, 0xc0cc_5616),
            (QUERYMENU, 0xc02c_5625),
            (S_EXT_CTRLS, 0xc020_5648),
            (QUERY_EXT_CTRL, 0xc0e8_5667),
        ];
        for (ours, kernels) in requests {
            assert_eq!(ours, Opcode::from(kernels), "{ours:#x} {kernels:#x}");
        }
    }

    #[test]
    fn fields_lie_where_the_kernel_has_them() {
        use std::mem::offset_of;
        assert_eq!(offset_of!(Format, pixels), 8);
        assert_eq!((offset_of!(Buffer, seconds), offset_of!(Buffer, sequence)), (24, 56));
        assert_eq!((offset_of!(Buffer, offset), offset_of!(Buffer, length)), (64, 72));
        assert_eq!(offset_of!(StreamParameters, numerator), 12);
        assert_eq!(
            (offset_of!(ControlDescription, minimum), offset_of!(ControlDescription, flags)),
            (40, 72)
        );
        assert_eq!((offset_of!(ControlValue, value), offset_of!(ControlList, controls)), (12, 24));
        assert_eq!(offset_of!(Capability, device_caps), 88);
    }

    #[test]
    fn times_are_nanoseconds() {
        let stamped = |seconds, microseconds| {
            Buffer {
                seconds,
                microseconds,
                ..Buffer::of(0)
            }
            .time_ns()
        };
        assert_eq!(stamped(3, 250), Some(3_000_250_000));
        assert_eq!(stamped(-1, 0), None);
        assert_eq!(stamped(i64::MAX, 0), None);
    }
}
