//! Frame -> tensor -> engine -> decode -> findings.
//!
//! | file | what it does |
//! |---|---|
//! | `decode.rs` | an image file becomes 8-bit RGB pixels |
//! | `preprocess.rs`, `preprocess/` | pixels become the tensor that a model takes |
//! | `mod.rs` | the port [`Engine`]: a model that runs |
//! | `providers.rs` | in which order providers are tried |
//! | `ort.rs` | the adapter to ONNX Runtime |
//! | `engine_cache.rs` | where engines are kept that TensorRT compiled |
//! | `detect/` | a detector's outputs become boxes and masks |
//! | `findings.rs` | an anomaly map becomes findings |
//! | `reading.rs` | a model's outputs become a score, a verdict, findings |
//! | `tiling.rs` | large pictures in tiles, and what was seen in them as one again |
//! | `giving_way.rs` | threads that prove a model beside those that judge parts |
//! | `inspector.rs` | the whole way for one image, timed |
//! | `overlay.rs` | the picture that people look at |
//! | `encode.rs` | pixels become an image file |
//! | `grey.rs` | pictures of one channel, as calibration and locators look at them |
//! | `locator/` | where the part lies in the frame |
//! | `upright.rs` | a region of the part, as it would look if the part lay as in the reference |
//! | `calibration/` | pixels become millimetres |
//! | `stamp.rs` | the number of a part in the pixels of its frame |

pub mod calibration;
pub mod decode;
pub mod detect;
pub mod encode;
pub mod engine_cache;
pub mod findings;
pub mod giving_way;
pub mod grey;
pub mod inspector;
pub mod locator;
pub mod ort;
pub mod overlay;
pub mod pixels;
pub mod preprocess;
pub mod providers;
pub mod reading;
pub mod regions;
pub mod stamp;
pub mod tiling;
pub mod upright;

use preprocess::TensorValues;

/// Pixels of one image: 8-bit RGB, row by row, no padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels per row, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// `width * height * 3` bytes.
    pub rgb: Vec<u8>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}x{})", self.width, self.height)
    }
}

/// Anomaly scores per pixel at the model's input size; higher is more anomalous.
#[derive(Debug, Clone, PartialEq)]
pub struct AnomalyMap {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` scores, row by row.
    pub scores: Vec<f32>,
}

impl AnomalyMap {
    /// The highest score; minus infinity where there is none.
    pub fn peak(&self) -> f32 {
        self.scores.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// Ground truth per pixel: where the defect is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` flags, row by row; `true` is defect.
    pub defect: Vec<bool>,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ONNX Runtime's own kernels on the processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU through CUDA.
    Cuda,
    /// An NVIDIA GPU through TensorRT.
    #[value(name = "tensorrt")]
    TensorRt,
}

impl Provider {
    /// The name used in manifests, messages and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How an engine is to be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineOptions {
    /// Where the model runs. There is no silent fallback to another provider.
    pub provider: Provider,
    /// Threads inside one inference; 0 means one per core.
    pub threads: usize,
}

/// Element type of a model's input or output that takt can handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// Unsigned bytes.
    U8,
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 64-bit whole numbers, as labels and sizes are.
    I64,
    /// 32-bit whole numbers.
    I32,
    /// Yes or no.
    Bool,
}

impl ElementType {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::Bool => "bool",
        }
    }

    /// Whether values of it are whole numbers: labels rather than scores.
    pub fn is_whole(self) -> bool {
        !matches!(self, Self::F32 | Self::F16)
    }
}

/// What a model says about one of its inputs or outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name in the graph.
    pub name: String,
    /// Element type, `None` where takt does not handle it.
    pub element: Option<ElementType>,
    /// Length of each dimension, `None` where the graph leaves it open.
    pub shape: Vec<Option<usize>>,
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let element = self.element.map_or("an unsupported type", ElementType::name);
        let dims: Vec<String> = self.shape.iter().map(|d| d.map_or_else(|| "?".into(), |d| d.to_string())).collect();
        write!(f, "\"{}\" {element} [{}]", self.name, dims.join(", "))
    }
}

/// An output tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputTensor {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// The values.
    pub values: Vec<f32>,
}

/// Why an engine could not be set up or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The runtime library was not found or is not usable.
    #[error(
        "failed to load ONNX Runtime: {tried}; set ORT_DYLIB_PATH to a libonnxruntime.so of version 1.20 or later \
         (`make setup` fetches one), put it next to the takt program or into lib/takt beside its bin folder, or install it system-wide"
    )]
    Library {
        /// Every place that was tried, with what was wrong there.
        tried: String,
    },
    /// The model could not be loaded.
    #[error("failed to load model {model} on {provider}: {reason}")]
    Load {
        /// File or description of the model.
        model: String,
        /// Where it was to run.
        provider: Provider,
        /// The runtime's own words.
        reason: String,
    },
    /// An inference failed.
    #[error("failed to run model {model} on {provider}: {reason}")]
    Run {
        /// File or description of the model.
        model: String,
        /// Where it ran.
        provider: Provider,
        /// The runtime's own words.
        reason: String,
    },
}

/// The port to whatever executes a model: one input, any number of outputs.
pub trait Engine: Send {
    /// Where the model runs.
    fn provider(&self) -> Provider;

    /// The inputs of the model, in its order.
    fn inputs(&self) -> &[Port];

    /// The outputs of the model, in its order.
    fn outputs(&self) -> &[Port];

    /// Runs the model on one input tensor and returns its outputs in the model's order.
    ///
    /// # Errors
    /// When shape or type do not fit the model, or the runtime fails.
    fn run(&mut self, shape: &[usize], values: TensorValues<'_>) -> Result<Vec<OutputTensor>, EngineError>;
}
