//! Tensors of `f32` in a device's memory.

use std::sync::Arc;

use super::{Device, DeviceError};
use crate::failure::Failure;
use crate::tensor::Tensor;

/// A shape and a shared buffer, freed with its last user.
#[derive(Clone)]
pub(crate) struct DeviceTensor {
    shape: Vec<usize>,
    buffer: Arc<Buffer>,
}

struct Buffer {
    device: Arc<dyn Device>,
    id: u64,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.device.free(self.id);
    }
}

impl DeviceTensor {
    pub(super) fn new(device: &Arc<dyn Device>, id: u64, shape: Vec<usize>) -> Self {
        Self { shape, buffer: Arc::new(Buffer { device: device.clone(), id }) }
    }

    pub(super) fn id(&self) -> u64 {
        self.buffer.id
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The same elements in another shape, of as many.
    pub(crate) fn reshape(self, shape: Vec<usize>) -> Self {
        debug_assert_eq!(self.len(), shape.iter().product::<usize>());
        Self { shape, ..self }
    }

    /// A copy on the CPU.
    pub(crate) fn download(&self) -> Result<Result<Tensor, Failure>, DeviceError> {
        Ok(Tensor::new(self.shape.as_slice(), self.buffer.device.download(self.buffer.id)?))
    }
}
