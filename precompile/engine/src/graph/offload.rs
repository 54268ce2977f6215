//! A plan run on a device: steps that have a kernel there keep their values there, the others run on the CPU.

use super::context::Context;
use super::plan::{Inputs, Plan, Slots, Source, Step};
use crate::cuda::{Accelerator, DeviceError, DeviceTensor};
use crate::failure::Failure;
use crate::ops::cuda::Offloaded;
use crate::tensor::Tensor;

/// A value of a run, where it was computed.
#[derive(Clone)]
pub(crate) enum Value {
    Host(Tensor),
    Device(DeviceTensor),
}

impl Value {
    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::Host(tensor) => tensor.shape(),
            Self::Device(tensor) => tensor.shape(),
        }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::Host(tensor) => tensor.size_bytes(),
            Self::Device(tensor) => tensor.len() as u64 * 4,
        }
    }

    fn into_host(self) -> Result<Tensor, Stop> {
        match self {
            Self::Host(tensor) => Ok(tensor),
            Self::Device(tensor) => Ok(tensor.download()??),
        }
    }
}

/// Why a run stops.
pub(crate) enum Stop {
    /// It has no answer, on any machine.
    Failed(Failure),
    /// The device broke down; the CPU can still answer.
    Broken(DeviceError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<DeviceError> for Stop {
    fn from(error: DeviceError) -> Self {
        Self::Broken(error)
    }
}

/// A node's kernel on a device, and its constants there.
pub(super) struct DeviceStep {
    pub(super) kernel: Offloaded,
    pub(super) constants: Vec<Option<Value>>,
}

/// What a kernel on a device sees of its inputs.
pub(crate) struct DeviceInputs<'a> {
    values: &'a mut [Option<Value>],
    constants: &'a [Option<Value>],
    pub(crate) accelerator: &'a Accelerator,
}

impl DeviceInputs<'_> {
    /// Number of inputs listed.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Input `index`, if it is there.
    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        let constant = || self.constants.get(index)?.as_ref();
        constant().or_else(|| self.values.get(index)?.as_ref())
    }

    /// Input `index` on the device; `None` unless it is there and of `f32`. Once copied it stays.
    pub(crate) fn device(&mut self, index: usize) -> Result<Option<DeviceTensor>, DeviceError> {
        match self.get(index) {
            Some(Value::Device(tensor)) => Ok(Some(tensor.clone())),
            Some(Value::Host(tensor)) => {
                let uploaded = self.accelerator.upload(tensor)?;
                if let (Some(uploaded), Some(slot)) = (&uploaded, self.values.get_mut(index)) {
                    *slot = Some(Value::Device(uploaded.clone()));
                }
                Ok(uploaded)
            }
            None => Ok(None),
        }
    }

    /// Input `index` where it is not on the device.
    pub(crate) fn host(&self, index: usize) -> Option<&Tensor> {
        match self.get(index) {
            Some(Value::Host(tensor)) => Some(tensor),
            _ => None,
        }
    }
}

impl Plan {
    /// As [`Plan::run`], on a device.
    pub(crate) fn run_on(
        &self,
        arguments: Vec<Tensor>,
        accelerator: &Accelerator,
        context: &Context,
    ) -> Result<Vec<Tensor>, Stop> {
        let (mut slots, entry_bytes) = self.enter(arguments, context)?;
        for step in &self.steps {
            step.run_on(&mut slots, accelerator, context).map_err(|stop| match stop {
                Stop::Failed(failure) => Stop::Failed(step.named(failure)),
                broken => broken,
            })?;
        }
        let outputs = self.outputs.iter().map(|source| Plan::output(&mut slots, source)?.into_host()).collect();
        context.set_live(entry_bytes)?;
        outputs
    }
}

impl Step {
    fn run_on(&self, slots: &mut Slots<Value>, accelerator: &Accelerator, context: &Context) -> Result<(), Stop> {
        let live = context.live();
        let mut values: Vec<_> = self.inputs.iter().map(|source| slots.fetch(source)).collect();
        let captured: Vec<_> = self.captured.iter().filter_map(|source| slots.fetch(source)).collect();
        let read: u64 = values.iter().flatten().map(Value::size_bytes).sum();
        let offloaded = match &self.device {
            Some(step) => {
                let constants = &step.constants;
                (step.kernel)(&mut DeviceInputs { values: &mut values, constants, accelerator }, context)?
            }
            None => None,
        };
        let outputs = match offloaded {
            Some(outputs) => outputs,
            None => {
                let host = |value: Option<Value>| value.map(Value::into_host).transpose();
                let values = values.into_iter().map(host).collect::<Result<_, _>>()?;
                let captured = captured.into_iter().map(Value::into_host).collect::<Result<_, _>>()?;
                let mut inputs = Inputs { values, captured, tail: None, requantise: None };
                (self.kernel)(&mut inputs, context)?.into_iter().map(Value::Host).collect()
            }
        };
        Ok(self.leave(slots, outputs, live, read, context)?)
    }
}

/// Constants of a node where its kernel on the device finds them: those of `f32` there, the others here.
pub(super) fn constants(sources: &[Source], accelerator: &Accelerator) -> Result<Vec<Option<Value>>, DeviceError> {
    let place = |source: &Source| {
        let Source::Constant(tensor) = source else { return Ok(None) };
        let uploaded = accelerator.upload(tensor)?.map(Value::Device);
        Ok(Some(uploaded.unwrap_or_else(|| Value::Host(tensor.clone()))))
    };
    sources.iter().map(place).collect()
}
