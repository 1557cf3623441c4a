//! Pixels as the camera gave them, never copied.

use std::sync::Arc;

use crate::part::Nanos;

/// Layout of a frame's pixels. All are 8 bits per sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// One plane of grey.
    Gray8,
    /// One plane, red green blue.
    Rgb,
    /// One plane, blue green red.
    Bgr,
    /// A plane of luma, a plane of interleaved U and V at half width and half height.
    Nv12,
    /// Planes of luma, U and V; U and V at half width and half height.
    I420,
    /// One plane, Y0 U Y1 V for two pixels.
    Yuy2,
}

/// Where a plane lies in the bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    /// Index of its first byte.
    pub offset: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// The bytes of a frame, wherever they lie: a mapped buffer of the camera's, or memory of our own.
pub type Pixels = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// One frame. Cloning it shares the pixels.
#[derive(Clone)]
pub struct Frame {
    /// The bytes.
    pub pixels: Pixels,
    /// Their layout.
    pub format: PixelFormat,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The planes, as many as the format has.
    pub planes: [Plane; 3],
    /// Whether luma and chroma have the full range 0..255 rather than 16..235/240; for the YUV formats.
    pub full_range: bool,
    /// Whether chroma follows BT.709 rather than BT.601; for the YUV formats.
    pub bt709: bool,
    /// When it was exposed.
    pub exposed_at: Nanos,
    /// The camera's own number: counts exposures, lost ones too. `None` where the camera does not count.
    pub counter: Option<u64>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Frame({:?} {}x{}, counter {:?})",
            self.format, self.width, self.height, self.counter
        )
    }
}
