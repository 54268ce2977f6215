//! A GPU, through NVIDIA's driver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DeviceRepr, LaunchConfig, PushKernelArg, result::DriverError,
};
use cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};

use super::{Device, DeviceError, KERNELS, Launch, Numbers, SOURCE, THREADS};

/// Opens the GPU with this number, counted from 0, and compiles the kernels for it.
pub fn open(ordinal: usize) -> Result<Arc<dyn Device>, DeviceError> {
    if !is_here(Library::Driver) {
        return Err(DeviceError::NoLibrary { library: "libcuda" });
    }
    let context = CudaContext::new(ordinal).map_err(failed("opening the device"))?;
    let (major, minor) = context.compute_capability().map_err(failed("asking for the compute capability"))?;
    let ptx = compile(&format!("compute_{major}{minor}"))?;
    let module = context.load_module(Ptx::from_src(ptx)).map_err(failed("loading the kernels"))?;
    let load = |name: &&'static str| Ok((*name, module.load_function(name).map_err(failed("loading a kernel"))?));
    let functions = KERNELS.iter().map(load).collect::<Result<_, DeviceError>>()?;
    let name = context.name().map_err(failed("asking for the name"))?;
    let stream = context.default_stream();
    Ok(Arc::new(Gpu { name, stream, functions, state: Mutex::default() }))
}

/// PTX of the kernels for an architecture such as `compute_80`. Needs NVRTC, but no GPU.
pub fn compile(architecture: &str) -> Result<String, DeviceError> {
    if !is_here(Library::Nvrtc) {
        return Err(DeviceError::NoLibrary { library: "libnvrtc" });
    }
    let options = CompileOptions {
        ftz: Some(false),
        prec_sqrt: Some(true),
        prec_div: Some(true),
        fmad: Some(false),
        options: vec![format!("--gpu-architecture={architecture}")],
        ..Default::default()
    };
    let ptx = compile_ptx_with_opts(SOURCE, options).map_err(|error| {
        let reason = match error {
            CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
            other => other.to_string(),
        };
        DeviceError::Failed { doing: "compiling the kernels", reason }
    })?;
    Ok(ptx.to_src())
}

enum Library {
    Driver,
    Nvrtc,
}

#[allow(unsafe_code, reason = "asks whether a shared library can be loaded; loading it runs its initialisers")]
fn is_here(library: Library) -> bool {
    // SAFETY: NVIDIA's libraries may be loaded at any time and from any thread.
    unsafe {
        match library {
            Library::Driver => cudarc::driver::sys::is_culib_present(),
            Library::Nvrtc => cudarc::nvrtc::sys::is_culib_present(),
        }
    }
}

fn failed(doing: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| DeviceError::Failed { doing, reason: error.to_string() }
}

struct Gpu {
    name: String,
    stream: Arc<CudaStream>,
    functions: HashMap<&'static str, CudaFunction>,
    state: Mutex<Buffers>,
}

#[derive(Default)]
struct Buffers {
    last: u64,
    all: HashMap<u64, CudaSlice<f32>>,
}

impl Buffers {
    fn keep(&mut self, buffer: CudaSlice<f32>) -> u64 {
        self.last += 1;
        self.all.insert(self.last, buffer);
        self.last
    }

    fn get(&self, id: u64) -> Result<&CudaSlice<f32>, DeviceError> {
        let unknown = || DeviceError::Failed { doing: "finding a buffer", reason: format!("no buffer {id}") };
        self.all.get(&id).ok_or_else(unknown)
    }
}

#[allow(unsafe_code, reason = "a plain structure of integers and floats")]
// SAFETY: `repr(C)`, without pointers, laid out as the structure of the same name in `kernels.cu`.
unsafe impl DeviceRepr for Numbers {}

impl Gpu {
    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device for Gpu {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn allocate(&self, len: usize) -> Result<u64, DeviceError> {
        let buffer = self.stream.alloc_zeros(len.max(1)).map_err(failed("allocating memory"))?;
        Ok(self.buffers().keep(buffer))
    }

    fn upload(&self, values: &[f32]) -> Result<u64, DeviceError> {
        if values.is_empty() {
            return self.allocate(0);
        }
        let buffer = self.stream.clone_htod(values).map_err(failed("copying to the device"))?;
        Ok(self.buffers().keep(buffer))
    }

    fn download(&self, buffer: u64) -> Result<Vec<f32>, DeviceError> {
        self.stream.clone_dtoh(self.buffers().get(buffer)?).map_err(failed("copying from the device"))
    }

    fn free(&self, buffer: u64) {
        self.buffers().all.remove(&buffer);
    }

    #[allow(unsafe_code, reason = "starts a kernel of kernels.cu")]
    fn launch(&self, launch: &Launch) -> Result<(), DeviceError> {
        let mut buffers = self.buffers();
        let unknown = || DeviceError::Failed { doing: "starting a kernel", reason: format!("no {}", launch.kernel) };
        let function = self.functions.get(launch.kernel).ok_or_else(unknown)?;
        let mut out = buffers.all.remove(&launch.out).ok_or_else(unknown)?;
        // Kernels do not touch what they are not told of; any buffer stands in for an absent one.
        let inputs = launch.inputs.iter().map(|id| id.or(launch.inputs[0]).ok_or_else(unknown));
        let inputs = inputs.map(|id| buffers.get(id?)).collect::<Result<Vec<_>, _>>();
        let started = inputs.and_then(|inputs| {
            let (x, y, z) = (launch.blocks[0], launch.blocks[1], launch.blocks[2]);
            let config = LaunchConfig { grid_dim: (x, y, z), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
            let mut builder = self.stream.launch_builder(function);
            builder.arg(&mut out).arg(inputs[0]).arg(inputs[1]).arg(inputs[2]).arg(&launch.numbers);
            // SAFETY: all kernels have this signature, and indices within the buffers for the sizes in `numbers`,
            // which the callers in `ops::cuda` take from the shapes of these very buffers.
            unsafe { builder.launch(config) }.map(drop).map_err(failed("starting a kernel"))
        });
        buffers.all.insert(launch.out, out);
        started
    }
}
