//! Inputs and outputs that are bound to memory once and used for every part: nothing is allocated, and on a GPU nothing goes through memory that
//! the system may page out. Pinned memory is what a GPU copies from and to without help of the processor (CUDA C Programming Guide,
//! "Page-Locked Host Memory").

use half::f16;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session};
use ort::value::{DynTensor, PrimitiveTensorElementType, Tensor};

use super::{Memory, OutputTensor, extract, ort_element_type};
use crate::vision::Port;
use crate::vision::preprocess::TensorValues;

/// What a session computes from and into, for one shape of its input.
pub(super) struct Binding {
    shape: Vec<usize>,
    input: Input,
    bound: IoBinding,
    outputs: Vec<String>,
}

enum Input {
    U8(Tensor<u8>),
    F32(Tensor<f32>),
    F16(Tensor<f16>),
}

impl Binding {
    /// Binds the input, and each output: to memory of its shape where that is known, else to the kind of memory, so that the runtime keeps what
    /// the first run needed.
    pub(super) fn new(session: &Session, memory: Memory, input: (&[usize], TensorValues<'_>), outputs: &[Port]) -> ort::Result<Self> {
        let (shape, values) = input;
        let to_device = allocator(session, memory, MemoryType::CPUInput)?;
        let from_device = allocator(session, memory, MemoryType::CPUOutput)?;
        let input = match values {
            TensorValues::U8(_) => Input::U8(Tensor::new(&to_device, shape)?),
            TensorValues::F32(_) => Input::F32(Tensor::new(&to_device, shape)?),
            TensorValues::F16(_) => Input::F16(Tensor::new(&to_device, shape)?),
        };
        let mut bound = session.create_binding()?;
        for port in outputs {
            match (super::fixed_shape(port), port.element) {
                (Some(shape), Some(element)) => {
                    bound.bind_output(port.name.as_str(), DynTensor::new(&from_device, ort_element_type(element), shape)?)?;
                }
                _ => bound.bind_output_to_device(port.name.as_str(), &info(memory, MemoryType::CPUOutput)?)?,
            }
        }
        Ok(Self {
            shape: shape.to_owned(),
            input,
            bound,
            outputs: outputs.iter().map(|port| port.name.clone()).collect(),
        })
    }

    /// Whether it is for such an input.
    pub(super) fn fits(&self, shape: &[usize], values: TensorValues<'_>) -> bool {
        let same_type = matches!(
            (&self.input, values),
            (Input::U8(_), TensorValues::U8(_)) | (Input::F32(_), TensorValues::F32(_)) | (Input::F16(_), TensorValues::F16(_))
        );
        same_type && self.shape == shape
    }

    /// Computes from these values, which fit.
    pub(super) fn run(&mut self, session: &mut Session, values: TensorValues<'_>) -> ort::Result<Vec<OutputTensor>> {
        let Some(name) = session.inputs().first().map(|input| input.name().to_owned()) else {
            return Err(ort::Error::new("the model has no input"));
        };
        match (&mut self.input, values) {
            (Input::U8(tensor), TensorValues::U8(values)) => fill(&mut self.bound, &name, tensor, values),
            (Input::F32(tensor), TensorValues::F32(values)) => fill(&mut self.bound, &name, tensor, values),
            (Input::F16(tensor), TensorValues::F16(values)) => fill(&mut self.bound, &name, tensor, values),
            _ => Err(ort::Error::new("values of another type than what is bound")),
        }?;
        self.bound.synchronize_inputs()?;
        let outputs = session.run_binding(&self.bound)?;
        self.bound.synchronize_outputs()?;
        let of = |name: &String| {
            let value = outputs
                .get(name.as_str())
                .ok_or_else(|| ort::Error::new(format!("output {name} is missing")))?;
            let (shape, values) = extract(&value.view())?;
            Ok(OutputTensor { shape, values })
        };
        self.outputs.iter().map(of).collect()
    }
}

/// Copies values to where they are bound. A device takes its copy when they are bound, so they are bound for each run.
fn fill<T: PrimitiveTensorElementType + Copy + std::fmt::Debug>(
    bound: &mut IoBinding,
    name: &str,
    tensor: &mut Tensor<T>,
    values: &[T],
) -> ort::Result<()> {
    let (_, place) = tensor.extract_tensor_mut();
    if place.len() != values.len() {
        return Err(ort::Error::new(format!("{} values for a tensor of {}", values.len(), place.len())));
    }
    place.copy_from_slice(values);
    bound.bind_input(name, &*tensor)
}

fn allocator(session: &Session, memory: Memory, of: MemoryType) -> ort::Result<Allocator> {
    Allocator::new(session, info(memory, of)?)
}

fn info(memory: Memory, of: MemoryType) -> ort::Result<MemoryInfo<'static>> {
    match memory {
        Memory::Pinned => MemoryInfo::new(AllocationDevice::CUDA_PINNED, 0, AllocatorType::Device, of),
        Memory::Ordinary => MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default),
    }
}
