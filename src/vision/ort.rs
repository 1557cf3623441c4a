//! Adapter to ONNX Runtime through crate `ort`. The shared library is loaded at run time, so one program serves every provider.

#![allow(unsafe_code, reason = "asking the library for its version, which the crate keeps to itself")]

mod binding;

use std::env;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use ort::environment::{Environment, ThreadManager};
use ort::ep::{CPU, CUDA, ExecutionProvider as _, ExecutionProviderDispatch, TensorRT};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use binding::Binding;

use super::engine_cache::{self, EngineKey};
use super::giving_way::{self, Maker};
use super::preprocess::TensorValues;
use super::providers::Attempt;
use super::{ElementType, Engine, EngineError, EngineOptions, OutputTensor, Port, Provider};

static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// The environment shared by all sessions; the first call loads the library.
fn environment() -> Result<&'static Environment, EngineError> {
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let environment = load_library()?;
    Ok(ENVIRONMENT.get_or_init(|| environment))
}

/// Loads the library, if that has not happened yet: for callers that want to know before they do other work.
///
/// # Errors
/// When it is missing or not usable.
pub fn load() -> Result<(), EngineError> {
    environment().map(drop)
}

/// `OrtGetApiBase` of the C interface.
type GetApiBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;

/// The version of the library in a file, `1.24.2`; `None` if that is no ONNX Runtime. Give the file that was loaded.
pub fn version_of(file: &Path) -> Option<String> {
    // SAFETY: the library is loaded already, so that no code of it runs now that has not run before.
    let library = unsafe { libloading::Library::new(file) }.ok()?;
    // SAFETY: the symbol has this type in every ONNX Runtime since 1.0, and is not used after the library.
    let get_base = unsafe { library.get::<GetApiBase>(b"OrtGetApiBase\0") }.ok()?;
    // SAFETY: it returns a pointer to a static structure, or null, which is turned into `None`.
    let base = unsafe { get_base().as_ref() }?;
    // SAFETY: it returns a static string that ends with a zero.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) };
    version.to_str().ok().map(str::to_owned)
}

/// The providers that the loaded library was built with. That their devices work here is what a golden gate proves.
///
/// # Errors
/// When the library is missing or not usable.
pub fn providers() -> Result<Vec<Provider>, EngineError> {
    environment()?;
    let built_with = |provider: &Provider| match provider {
        Provider::Cpu => true,
        Provider::Cuda => CUDA::is_available().unwrap_or(false),
        Provider::TensorRt => TensorRT::is_available().unwrap_or(false),
    };
    Ok([Provider::Cpu, Provider::Cuda, Provider::TensorRt]
        .into_iter()
        .filter(built_with)
        .collect())
}

/// Name of the library in folders of its own.
const LIBRARY: &str = "libonnxruntime.so";

/// Where the library may be: `ORT_DYLIB_PATH` alone if it is set, else with the program, else wherever the system's loader finds it.
pub fn candidates() -> Vec<PathBuf> {
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let program = env::current_exe().ok();
    let mut paths = program.as_deref().map(with_program).unwrap_or_default();
    paths.retain(|path| path.exists());
    paths.extend([LIBRARY, "libonnxruntime.so.1"].map(PathBuf::from));
    paths
}

/// Where the library is when it came with the program: beside it, or where packages put it, in `lib/takt` next to the program's `bin`.
fn with_program(program: &Path) -> Vec<PathBuf> {
    let folder = program.parent();
    let packaged = folder.and_then(Path::parent).map(|prefix| prefix.join("lib/takt"));
    [folder.map(Path::to_owned), packaged]
        .into_iter()
        .flatten()
        .map(|folder| folder.join(LIBRARY))
        .collect()
}

fn load_library() -> Result<Environment, EngineError> {
    let mut tried = Vec::new();
    for path in candidates() {
        let loaded = ort::init_from(&path).map_err(|error| error.to_string()).and_then(|builder| {
            builder
                .with_name("takt")
                .with_telemetry(false)
                .build()
                .map_err(|error| error.to_string())
        });
        match loaded {
            Ok(environment) => return Ok(environment),
            Err(error) => tried.push(format!("{} ({})", path.display(), error.lines().next().unwrap_or_default())),
        }
    }
    Err(EngineError::Library { tried: tried.join(", ") })
}

/// A model that is proven wherever it runs, and may therefore run on any provider.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Names it in messages.
    pub name: &'a str,
    /// The model.
    pub bytes: &'a [u8],
    /// Its file, where its weights lie beside it.
    pub file: Option<&'a Path>,
    /// SHA-256 of the model and of its weights.
    pub sha256: &'a str,
    /// Whether it computes with bytes, where its own nodes say so.
    pub int8: bool,
    /// Lengths of dimensions that the model leaves open, by their names: what a compiler for a GPU must know, so that nothing is compiled anew
    /// while parts run. Other providers leave them open.
    pub pinned: &'a [(String, usize)],
}

/// A model loaded into ONNX Runtime.
pub struct OrtEngine {
    session: Session,
    /// Which outputs are asked for, where not all are.
    asked_for: Option<RunOptions<HasSelectedOutputs>>,
    model: String,
    provider: Provider,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// In which memory inputs and outputs are bound; `None`: they are not.
    bind_in: Option<Memory>,
    binding: Option<Binding>,
}

/// What memory is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// That a GPU reads and writes by itself.
    Pinned,
    /// Any. Only tests bind it: measured, it is no faster than to let the runtime's arena hand out the same memory each time.
    #[cfg_attr(not(test), expect(dead_code, reason = "the way of a GPU, run where there is none"))]
    Ordinary,
}

/// In which memory a provider's inputs and outputs are bound.
fn memory_of(provider: Provider) -> Option<Memory> {
    match provider {
        Provider::Cpu => None,
        Provider::Cuda | Provider::TensorRt => Some(Memory::Pinned),
    }
}

/// The shape of a port, where all of it is known.
fn fixed_shape(port: &Port) -> Option<Vec<i64>> {
    port.shape.iter().map(|length| i64::try_from((*length)?).ok()).collect()
}

impl OrtEngine {
    /// Loads the model in `file`, which may have external data beside it.
    ///
    /// # Errors
    /// When the library is missing, the file is no usable ONNX model, or the provider is not available.
    pub fn from_file(file: &Path, options: EngineOptions) -> Result<Self, EngineError> {
        let model = file.display().to_string();
        Self::load(model, &Setup::plain(options), |builder| builder.commit_from_file(file))
    }

    /// Loads a model as `attempt` says. On TensorRT this may take minutes, the first time.
    ///
    /// # Errors
    /// As [`OrtEngine::from_file`].
    pub fn from_source(source: Source<'_>, attempt: Attempt) -> Result<Self, EngineError> {
        let setup = Setup::of(source, attempt);
        Self::load(source.name.to_owned(), &setup, |builder| match source.file {
            Some(file) => builder.commit_from_file(file),
            None => builder.commit_from_memory(source.bytes),
        })
    }

    /// Asks for these outputs only, of those that there are: others are neither copied nor, where nothing else needs them, computed.
    ///
    /// # Errors
    /// When the runtime does not take the wish.
    pub fn ask_only_for(&mut self, names: &[&str]) -> Result<(), EngineError> {
        let kept: Vec<Port> = self
            .outputs
            .iter()
            .filter(|port| names.contains(&port.name.as_str()))
            .cloned()
            .collect();
        if kept.is_empty() || kept.len() == self.outputs.len() {
            return Ok(());
        }
        let selected = kept
            .iter()
            .fold(OutputSelector::no_default(), |selected, port| selected.with(port.name.as_str()));
        let options = RunOptions::new().map_err(|error| EngineError::Load {
            model: self.model.clone(),
            provider: self.provider,
            reason: error.to_string(),
        })?;
        self.asked_for = Some(options.with_outputs(selected));
        self.outputs = kept;
        self.binding = None;
        Ok(())
    }

    /// Loads the model in `bytes`; `model` names it in messages.
    ///
    /// # Errors
    /// As [`OrtEngine::from_file`].
    pub fn from_bytes(model: &str, bytes: &[u8], options: EngineOptions) -> Result<Self, EngineError> {
        Self::load(model.to_owned(), &Setup::plain(options), |builder| {
            builder.commit_from_memory(bytes)
        })
    }

    fn load(
        model: String,
        setup: &Setup<'_>,
        commit: impl FnOnce(&mut ort::session::builder::SessionBuilder) -> ort::Result<Session>,
    ) -> Result<Self, EngineError> {
        let environment = environment()?;
        let provider = setup.options.provider;
        let session = session_builder(environment, setup).and_then(|mut builder| commit(&mut builder));
        let session = session.map_err(|error| EngineError::Load {
            model: model.clone(),
            provider,
            reason: format!("{error}{}", remedy(provider)),
        })?;
        let inputs = session.inputs().iter().map(port).collect();
        let outputs = session.outputs().iter().map(port).collect();
        Ok(Self {
            session,
            asked_for: None,
            model,
            provider,
            inputs,
            outputs,
            bind_in: memory_of(provider),
            binding: None,
        })
    }

    /// Whether inputs and outputs are bound for this shape; they are now, where they should be and can. Where they cannot, the runtime goes on
    /// without, which is slower and right.
    fn is_bound(&mut self, shape: &[usize], values: TensorValues<'_>) -> bool {
        let Some(memory) = self.bind_in else { return false };
        if self.binding.as_ref().is_some_and(|binding| binding.fits(shape, values)) {
            return true;
        }
        // The memory of before goes first.
        self.binding = None;
        match Binding::new(&self.session, memory, (shape, values), &self.outputs) {
            Ok(binding) => self.binding = Some(binding),
            Err(error) => {
                tracing::warn!(%error, model = self.model, provider = %self.provider, "memory of inputs and outputs cannot be bound: it is allocated for each part");
                self.bind_in = None;
            }
        }
        self.binding.is_some()
    }
}

/// What else may help where a provider is more than the processor.
fn remedy(provider: Provider) -> String {
    match provider {
        Provider::Cpu => String::new(),
        Provider::Cuda | Provider::TensorRt => {
            format!(
                " Set ORT_DYLIB_PATH to a libonnxruntime.so that was built with {provider} on a machine that has it, or use --provider cpu."
            )
        }
    }
}

/// How a session is set up.
struct Setup<'a> {
    options: EngineOptions,
    fp16: bool,
    int8: bool,
    /// Where TensorRT keeps what it compiles, if it may.
    engines: Option<PathBuf>,
    pinned: &'a [(String, usize)],
}

impl<'a> Setup<'a> {
    fn plain(options: EngineOptions) -> Self {
        Self {
            options,
            fp16: false,
            int8: false,
            engines: None,
            pinned: &[],
        }
    }

    fn of(source: Source<'a>, attempt: Attempt) -> Self {
        if attempt.options.provider != Provider::TensorRt {
            return Self::plain(attempt.options);
        }
        Self {
            options: attempt.options,
            fp16: attempt.fp16,
            int8: source.int8,
            engines: engines_folder(source, attempt),
            pinned: source.pinned,
        }
    }
}

/// The folder of the engines that TensorRT compiled of this model before. Without one it compiles at each start, which is slow and right.
fn engines_folder(source: Source<'_>, attempt: Attempt) -> Option<PathBuf> {
    let shapes: Vec<String> = source.pinned.iter().map(|(name, length)| format!("{name}={length}")).collect();
    let key = EngineKey {
        model_sha256: source.sha256.to_owned(),
        runtime: candidates().iter().find_map(|file| version_of(file)).unwrap_or_default(),
        tensorrt: tensorrt_version().unwrap_or_default(),
        gpu: engine_cache::gpu(Path::new("/")),
        precision: match (attempt.fp16, source.int8) {
            (_, true) => "int8",
            (true, false) => "f16",
            (false, false) => "f32",
        },
        shapes: shapes.join(","),
    };
    let root = engine_cache::root()?;
    match engine_cache::prepare(&root, &key) {
        Ok(folder) => Some(folder),
        Err(error) => {
            tracing::warn!(%error, folder = %root.display(), "TensorRT's engines cannot be kept; they are compiled anew at each start");
            None
        }
    }
}

/// The version of the TensorRT that the runtime will load, `10.3.0`; `None` where there is none.
fn tensorrt_version() -> Option<String> {
    /// `getInferLibVersion` of `NvInferRuntime.h`.
    type Version = unsafe extern "C" fn() -> i32;
    let library = ["libnvinfer.so.10", "libnvinfer.so.8", "libnvinfer.so"].iter().find_map(|name| {
        // SAFETY: the runtime loads this very library a moment later; its initialisers expect nothing.
        unsafe { libloading::Library::new(*name) }.ok()
    })?;
    // SAFETY: the symbol has this type in every TensorRT since 5.
    let version = unsafe { library.get::<Version>(b"getInferLibVersion\0") }.ok()?;
    // SAFETY: it takes nothing and returns a number.
    let number = unsafe { version() };
    Some(tensorrt_version_of(number))
}

/// Versions were four digits up to 9, and have two for each part since (`NV_TENSORRT_VERSION`).
fn tensorrt_version_of(number: i32) -> String {
    let major = if number >= 10_000 { 10_000 } else { 1000 };
    format!("{}.{}.{}", number / major, number % major / 100, number % 100)
}

fn session_builder(environment: &Environment, setup: &Setup<'_>) -> ort::Result<ort::session::builder::SessionBuilder> {
    let threads = if setup.options.threads == 0 {
        std::thread::available_parallelism().map_or(1, usize::from)
    } else {
        setup.options.threads
    };
    // Spinning would burn the cores that capture and PLC I/O need.
    let mut builder = Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_intra_op_spinning(false)?;
    if let Some(maker) = giving_way::maker().filter(|_| threads > 1) {
        builder = builder.with_thread_manager(SessionThreads(maker))?;
    }
    for (name, length) in setup.pinned {
        builder = builder.with_dimension_override(name, i64::try_from(*length).unwrap_or(i64::MAX))?;
    }
    Ok(builder.with_execution_providers([dispatch(setup)])?)
}

/// Makes the threads of a session that is proven beside a running line.
struct SessionThreads(Maker);

impl ThreadManager for SessionThreads {
    type Thread = JoinHandle<()>;

    fn create(&self, work: impl FnOnce() + Send + 'static) -> ort::Result<Self::Thread> {
        self.0.start(work).map_err(|error| ort::Error::new(error.to_string()))
    }

    fn join(thread: Self::Thread) -> ort::Result<()> {
        thread.join().map_err(|_| ort::Error::new("a thread of a session panicked"))
    }
}

/// A provider that cannot be had is an error: a station must never run slower than it was proven without anybody knowing.
fn dispatch(setup: &Setup<'_>) -> ExecutionProviderDispatch {
    match setup.options.provider {
        // The arena keeps its memory: without it each run takes megabytes from the system and returns them, page by page.
        Provider::Cpu => CPU::default().with_arena_allocator(true).build(),
        Provider::Cuda => CUDA::default().build(),
        Provider::TensorRt => tensorrt(setup).build(),
    }
    .error_on_failure()
}

fn tensorrt(setup: &Setup<'_>) -> TensorRT {
    // Without nodes that say what is bytes, TensorRT would ask for a calibration of its own.
    let provider = TensorRT::default().with_fp16(setup.fp16).with_int8(setup.int8);
    match &setup.engines {
        Some(folder) => {
            let folder = folder.display().to_string();
            provider
                .with_engine_cache(true)
                .with_engine_cache_path(&folder)
                .with_timing_cache(true)
                .with_timing_cache_path(folder)
        }
        None => provider,
    }
}

fn port(outlet: &Outlet) -> Port {
    let (element, shape) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => (element_type(*ty), shape.iter().map(|d| usize::try_from(*d).ok()).collect()),
        _ => (None, Vec::new()),
    };
    Port {
        name: outlet.name().to_owned(),
        element,
        shape,
    }
}

fn element_type(ty: TensorElementType) -> Option<ElementType> {
    match ty {
        TensorElementType::Uint8 => Some(ElementType::U8),
        TensorElementType::Float32 => Some(ElementType::F32),
        TensorElementType::Float16 => Some(ElementType::F16),
        TensorElementType::Int64 => Some(ElementType::I64),
        TensorElementType::Int32 => Some(ElementType::I32),
        TensorElementType::Bool => Some(ElementType::Bool),
        _ => None,
    }
}

fn ort_element_type(element: ElementType) -> TensorElementType {
    match element {
        ElementType::U8 => TensorElementType::Uint8,
        ElementType::F32 => TensorElementType::Float32,
        ElementType::F16 => TensorElementType::Float16,
        ElementType::I64 => TensorElementType::Int64,
        ElementType::I32 => TensorElementType::Int32,
        ElementType::Bool => TensorElementType::Bool,
    }
}

impl Engine for OrtEngine {
    fn provider(&self) -> Provider {
        self.provider
    }

    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn run(&mut self, shape: &[usize], values: TensorValues<'_>) -> Result<Vec<OutputTensor>, EngineError> {
        let is_bound = self.is_bound(shape, values);
        let (model, provider) = (&self.model, self.provider);
        let failed = |error: ort::Error| EngineError::Run {
            model: model.clone(),
            provider,
            reason: error.to_string(),
        };
        if is_bound && let Some(binding) = &mut self.binding {
            return binding.run(&mut self.session, values).map_err(failed);
        }
        let inputs = match values {
            TensorValues::U8(values) => ort::inputs![TensorRef::from_array_view((shape, values)).map_err(failed)?],
            TensorValues::F32(values) => ort::inputs![TensorRef::from_array_view((shape, values)).map_err(failed)?],
            TensorValues::F16(values) => ort::inputs![TensorRef::from_array_view((shape, values)).map_err(failed)?],
        };
        let outputs = match &self.asked_for {
            Some(options) => self.session.run_with_options(inputs, options),
            None => self.session.run(inputs),
        }
        .map_err(failed)?;
        outputs
            .values()
            .map(|value| {
                let (shape, values) = extract(&value).map_err(failed)?;
                Ok(OutputTensor { shape, values })
            })
            .collect()
    }
}

fn lengths(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|length| *length as usize).collect()
}

/// An output's shape and values. Integers and flags become numbers, which the readers of outputs expect.
fn extract(value: &ort::value::ValueRef<'_>) -> ort::Result<(Vec<usize>, Vec<f32>)> {
    let ty = match value.dtype() {
        ValueType::Tensor { ty, .. } => *ty,
        _ => TensorElementType::Float32,
    };
    match ty {
        TensorElementType::Bool => {
            let (shape, values) = value.try_extract_tensor::<bool>()?;
            Ok((lengths(shape), values.iter().map(|flag| f32::from(u8::from(*flag))).collect()))
        }
        TensorElementType::Int64 => {
            let (shape, values) = value.try_extract_tensor::<i64>()?;
            Ok((lengths(shape), values.iter().map(|whole| *whole as f32).collect()))
        }
        TensorElementType::Int32 => {
            let (shape, values) = value.try_extract_tensor::<i32>()?;
            Ok((lengths(shape), values.iter().map(|whole| *whole as f32).collect()))
        }
        TensorElementType::Float16 => {
            let (shape, values) = value.try_extract_tensor::<half::f16>()?;
            Ok((lengths(shape), values.iter().map(|value| value.to_f32()).collect()))
        }
        TensorElementType::Uint8 => {
            let (shape, values) = value.try_extract_tensor::<u8>()?;
            Ok((lengths(shape), values.iter().map(|value| f32::from(*value)).collect()))
        }
        _ => {
            let (shape, values) = value.try_extract_tensor::<f32>()?;
            Ok((lengths(shape), values.to_vec()))
        }
    }
}

#[cfg(test)]
mod tests;
