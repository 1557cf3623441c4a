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

impl PixelFormat {
    /// Every format.
    pub const ALL: [Self; 6] = [Self::Gray8, Self::Rgb, Self::Bgr, Self::Nv12, Self::I420, Self::Yuy2];

    /// The name that GStreamer and station.toml give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gray8 => "GRAY8",
            Self::Rgb => "RGB",
            Self::Bgr => "BGR",
            Self::Nv12 => "NV12",
            Self::I420 => "I420",
            Self::Yuy2 => "YUY2",
        }
    }

    /// The format of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Bytes per row and rows of each plane of a frame of `width` x `height` pixels, without padding; (0, 0) for planes the format has not.
    pub fn plane_sizes(self, width: u32, height: u32) -> [(usize, usize); 3] {
        let (width, height) = (width as usize, height as usize);
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        match self {
            Self::Gray8 => [(width, height), (0, 0), (0, 0)],
            Self::Rgb | Self::Bgr => [(3 * width, height), (0, 0), (0, 0)],
            Self::Nv12 => [(width, height), (2 * half_width, half_height), (0, 0)],
            Self::I420 => [(width, height), (half_width, half_height), (half_width, half_height)],
            Self::Yuy2 => [(4 * half_width, height), (0, 0), (0, 0)],
        }
    }
}

/// Where a plane lies in the bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// The camera's own number: counts exposures, lost ones too, so a gap tells how many were lost. `None` where the camera does not count.
    pub counter: Option<u64>,
}

impl Frame {
    /// The bytes of one row of a plane, without padding; `None` outside of the frame, or of the bytes it was given.
    pub fn row(&self, plane: usize, row: usize) -> Option<&[u8]> {
        let (bytes, rows) = *self.format.plane_sizes(self.width, self.height).get(plane)?;
        if row >= rows {
            return None;
        }
        let plane = self.planes.get(plane)?;
        let start = plane.offset.checked_add(row.checked_mul(plane.stride)?)?;
        (*self.pixels).as_ref().get(start..start.checked_add(bytes)?)
    }

    /// Whether every row lies inside the bytes.
    pub fn is_whole(&self) -> bool {
        let sizes = self.format.plane_sizes(self.width, self.height);
        sizes
            .iter()
            .enumerate()
            .all(|(plane, (_, rows))| *rows == 0 || self.row(plane, rows - 1).is_some())
    }
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
