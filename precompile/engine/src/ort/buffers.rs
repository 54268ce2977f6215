//! Tensors where a device reads and writes them.

use half::{bf16, f16};
use ort::{
    memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType},
    session::Session as OrtSession,
    value::{DynValue, TensorElementType, ValueType},
};

use super::Device;
use crate::{
    Tensor,
    tensor::{Data, Element},
};

/// Where a session's inputs are written and its outputs land: in the processor's memory, on a GPU in the part of it that
/// the driver keeps in place (*pinned*), which the device copies from and to by itself.
pub(super) struct Buffers {
    inputs: Allocator,
    outputs: MemoryInfo<'static>,
    texts: MemoryInfo<'static>,
}

impl Buffers {
    /// Those of a session.
    pub(super) fn new(session: &OrtSession, device: Device) -> ort::Result<Self> {
        let memory = |place, kind| MemoryInfo::new(place, 0, AllocatorType::Device, kind);
        let texts = memory(AllocationDevice::CPU, MemoryType::CPUOutput)?;
        if device == Device::Cpu {
            return Ok(Self {
                inputs: Allocator::default(),
                outputs: memory(AllocationDevice::CPU, MemoryType::CPUOutput)?,
                texts,
            });
        }
        let inputs = Allocator::new(session, memory(AllocationDevice::CUDA_PINNED, MemoryType::CPUInput)?)?;
        Ok(Self { inputs, outputs: memory(AllocationDevice::CUDA_PINNED, MemoryType::CPUOutput)?, texts })
    }

    /// Where an output of a type lands. Texts are the processor's wherever the model runs.
    pub(super) fn output(&self, kind: &ValueType) -> &MemoryInfo<'static> {
        match kind {
            ValueType::Tensor { ty, .. } if *ty != TensorElementType::String => &self.outputs,
            _ => &self.texts,
        }
    }

    /// Writes an input.
    pub(super) fn input(&self, tensor: Tensor) -> Result<DynValue, String> {
        let shape: Vec<i64> = tensor.shape().iter().map(|length| *length as i64).collect();
        let value = match tensor.data() {
            Data::F32(v) => self.numbers(shape, v),
            Data::F64(v) => self.numbers(shape, v),
            Data::F16(v) => self.numbers(shape, v),
            Data::Bf16(v) => self.numbers(shape, v),
            Data::U8(v) => self.numbers(shape, v),
            Data::I8(v) => self.numbers(shape, v),
            Data::U16(v) => self.numbers(shape, v),
            Data::I16(v) => self.numbers(shape, v),
            Data::U32(v) => self.numbers(shape, v),
            Data::I32(v) => self.numbers(shape, v),
            Data::U64(v) => self.numbers(shape, v),
            Data::I64(v) => self.numbers(shape, v),
            Data::Bool(v) => self.numbers(shape, v),
            Data::String(v) => ort::value::Tensor::from_string_array((shape, &v[..])).map(|value| value.into_dyn()),
        };
        let shape = tensor.shape();
        value.map_err(|error| format!("ONNX Runtime does not take a tensor of {shape:?}: {}", error.message()))
    }

    fn numbers<T>(&self, shape: Vec<i64>, values: &[T]) -> ort::Result<DynValue>
    where
        T: ort::value::PrimitiveTensorElementType + Copy + std::fmt::Debug + 'static,
    {
        if values.is_empty() {
            return Ok(ort::value::Tensor::from_array((shape, Vec::<T>::new()))?.into_dyn());
        }
        let mut tensor = ort::value::Tensor::<T>::new(&self.inputs, shape)?;
        tensor.extract_tensor_mut().1.copy_from_slice(values);
        Ok(tensor.into_dyn())
    }
}

/// Reads an output.
pub(super) fn output(value: &DynValue) -> Result<Tensor, String> {
    let kind = match value.dtype() {
        ValueType::Tensor { ty, .. } => *ty,
        other => return Err(format!("an output is a {other:?}, not a tensor; export the model without ZipMap")),
    };
    fn plain<T>(value: &DynValue) -> Result<Tensor, String>
    where
        T: ort::value::PrimitiveTensorElementType + Element,
    {
        let (shape, values) = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?;
        tensor(shape, values.to_vec())
    }
    fn tensor<T: Element>(shape: &[i64], values: Vec<T>) -> Result<Tensor, String> {
        let shape: Vec<usize> = shape.iter().map(|length| *length as usize).collect();
        Tensor::new(shape, values).map_err(|failure| failure.reason)
    }
    match kind {
        TensorElementType::Float32 => plain::<f32>(value),
        TensorElementType::Float64 => plain::<f64>(value),
        TensorElementType::Float16 => plain::<f16>(value),
        TensorElementType::Bfloat16 => plain::<bf16>(value),
        TensorElementType::Uint8 => plain::<u8>(value),
        TensorElementType::Int8 => plain::<i8>(value),
        TensorElementType::Uint16 => plain::<u16>(value),
        TensorElementType::Int16 => plain::<i16>(value),
        TensorElementType::Uint32 => plain::<u32>(value),
        TensorElementType::Int32 => plain::<i32>(value),
        TensorElementType::Uint64 => plain::<u64>(value),
        TensorElementType::Int64 => plain::<i64>(value),
        TensorElementType::Bool => plain::<bool>(value),
        TensorElementType::String => {
            let (shape, values) = value.try_extract_strings().map_err(|error| error.to_string())?;
            tensor(shape, values)
        }
        other => Err(format!("an output has the element type {other:?}, which is not supported")),
    }
}
