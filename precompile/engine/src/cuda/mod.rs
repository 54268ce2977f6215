//! The exact engine on a GPU: the same operations in the same order, so the same bytes as on any CPU.
//!
//! * `kernels.cu`: the kernels, compiled by NVRTC when a device is opened.
//! * [`Device`]: what can hold memory and launch them. [`open`] gives a GPU; tests have one that runs the source on the CPU.
//! * [`Accelerator`]: a device that models are loaded for ([`crate::LoadOptions::accelerator`]).
//!
//! Operators without a kernel here run on the CPU in between, and so does a whole run where the device breaks down: that
//! costs time, never another answer. CUDA's libraries are loaded when a device is opened, and are not needed otherwise.

mod driver;
mod tensor;

use std::sync::{Arc, OnceLock};

use crate::tensor::Tensor;

pub use driver::{compile, open};
pub(crate) use tensor::DeviceTensor;

/// The kernels, in CUDA C++.
pub const SOURCE: &str = include_str!("kernels.cu");

/// Threads of every block.
pub const THREADS: u32 = 256;

/// Names of the kernels in [`SOURCE`].
pub const KERNELS: [&str; 13] = [
    "affine",
    "binary",
    "convolution",
    "copy",
    "gather",
    "gemm",
    "layer_norm",
    "max_pool",
    "place_rows",
    "product",
    "reduce",
    "softmax",
    "unary",
];

/// A device is missing or has broken down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A library of CUDA cannot be loaded.
    #[error(
        "{library} is not there: the GPU engine needs NVIDIA's driver and NVRTC; install both, or use --engine exact, \
         whose answers are the same"
    )]
    NoLibrary {
        /// Which.
        library: &'static str,
    },
    /// The driver or NVRTC reports an error.
    #[error("{doing} failed on the GPU: {reason}")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// What was reported.
        reason: String,
    },
}

/// What the kernels take beside buffers; `kernels.cu` says what each reads.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// Sizes, strides, choices.
    pub n: [i32; 40],
    /// Parameters of functions.
    pub f: [f32; 8],
}

impl Numbers {
    /// These integers and floats, then zeros. Sizes beyond an `int` do not occur: tensors have fewer elements.
    pub(crate) fn new(n: &[usize], f: &[f32]) -> Self {
        let mut numbers = Self { n: [0; 40], f: [0.0; 8] };
        numbers.n.iter_mut().zip(n).for_each(|(slot, value)| *slot = *value as i32);
        numbers.f[..f.len()].copy_from_slice(f);
        numbers
    }
}

/// One launch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// One of [`KERNELS`].
    pub kernel: &'static str,
    /// Blocks of [`THREADS`] threads in each direction.
    pub blocks: [u32; 3],
    /// Buffer to write.
    pub out: u64,
    /// Buffers to read.
    pub inputs: [Option<u64>; 3],
    /// Everything else.
    pub numbers: Numbers,
}

/// Memory and kernels. Buffers are named by numbers; work is done in the order of the calls.
pub trait Device: Send + Sync {
    /// What it is.
    fn name(&self) -> String;
    /// A buffer of `len` words of 32 bits with any content.
    fn allocate(&self, len: usize) -> Result<u64, DeviceError>;
    /// A buffer with these words.
    fn upload(&self, values: &[f32]) -> Result<u64, DeviceError>;
    /// The words of a buffer, once all work is done.
    fn download(&self, buffer: u64) -> Result<Vec<f32>, DeviceError>;
    /// Gives a buffer back.
    fn free(&self, buffer: u64);
    /// Starts a kernel.
    fn launch(&self, launch: &Launch) -> Result<(), DeviceError>;
}

/// A device to load models for. Cloning it costs nothing.
#[derive(Clone)]
pub struct Accelerator {
    device: Arc<dyn Device>,
    broken: Arc<OnceLock<DeviceError>>,
}

impl std::fmt::Debug for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Accelerator").field(&self.device.name()).finish()
    }
}

impl Accelerator {
    /// Computes on `device`.
    pub fn new(device: Arc<dyn Device>) -> Self {
        Self { device, broken: Arc::default() }
    }

    /// What it is.
    pub fn name(&self) -> String {
        self.device.name()
    }

    /// Why models run on the CPU since: it has broken down.
    pub fn breakdown(&self) -> Option<&DeviceError> {
        self.broken.get()
    }

    pub(crate) fn break_down(&self, error: DeviceError) {
        // The first error is the one that tells.
        let _ = self.broken.set(error);
    }

    /// A tensor of `f32` on the device.
    pub(crate) fn upload(&self, tensor: &Tensor) -> Result<Option<DeviceTensor>, DeviceError> {
        let Ok(values) = tensor.values::<f32>() else { return Ok(None) };
        Ok(Some(DeviceTensor::new(&self.device, self.device.upload(values)?, tensor.shape().to_vec())))
    }

    /// Integers on the device.
    pub(crate) fn upload_indices(&self, indices: &[usize]) -> Result<DeviceTensor, DeviceError> {
        let words: Vec<f32> = indices.iter().map(|i| f32::from_bits(*i as u32)).collect();
        Ok(DeviceTensor::new(&self.device, self.device.upload(&words)?, vec![indices.len()]))
    }

    /// A tensor with any content.
    pub(crate) fn allocate(&self, shape: Vec<usize>) -> Result<DeviceTensor, DeviceError> {
        let id = self.device.allocate(shape.iter().product())?;
        Ok(DeviceTensor::new(&self.device, id, shape))
    }

    /// Runs a kernel with a thread for each of `count` elements.
    pub(crate) fn each(
        &self,
        kernel: &'static str,
        count: usize,
        out: &DeviceTensor,
        inputs: [Option<&DeviceTensor>; 3],
        numbers: Numbers,
    ) -> Result<(), DeviceError> {
        self.launch(kernel, [count.div_ceil(THREADS as usize), 1, 1], out, inputs, numbers)
    }

    /// Runs a kernel on a grid of blocks.
    pub(crate) fn launch(
        &self,
        kernel: &'static str,
        blocks: [usize; 3],
        out: &DeviceTensor,
        inputs: [Option<&DeviceTensor>; 3],
        numbers: Numbers,
    ) -> Result<(), DeviceError> {
        self.device.launch(&Launch {
            kernel,
            blocks: blocks.map(|n| n as u32),
            out: out.id(),
            inputs: inputs.map(|input| input.map(DeviceTensor::id)),
            numbers,
        })
    }
}
