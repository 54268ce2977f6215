//! A device that runs the CUDA kernels' source on the CPU; see `emulator.cpp`.

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use foreblock_engine::cuda::{Device, DeviceError, Launch};

/// The program, built once. Needs `g++`.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("emulator");
        let kernels = format!("-DKERNELS=\"{}\"", root.join("src/cuda/kernels.cu").display());
        let mut compiler = Command::new("g++");
        compiler.args(["-std=c++17", "-O1", "-ffp-contract=off", &kernels]);
        compiler.arg(root.join("tests/cuda/emulator.cpp")).arg("-o").arg(&path);
        assert!(compiler.status().expect("g++ is needed (Debian: build-essential)").success());
        (folder, path)
    });
    path
}

/// The device, and what tests ask about it.
pub(crate) struct Emulated {
    pipes: Mutex<Pipes>,
    /// Kernels started.
    pub(crate) launches: AtomicUsize,
    /// Buffers that were not given back.
    pub(crate) held: AtomicUsize,
    /// Launches until it breaks down; never where negative.
    pub(crate) launches_left: AtomicI64,
}

struct Pipes {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Drop for Emulated {
    fn drop(&mut self) {
        let pipes = self.pipes.get_mut().unwrap();
        let _ = pipes.child.kill();
        let _ = pipes.child.wait();
    }
}

impl Emulated {
    pub(crate) fn start() -> Arc<Self> {
        let mut child = Command::new(program()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Arc::new(Self {
            pipes: Mutex::new(Pipes { child, to, from }),
            launches: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            launches_left: AtomicI64::new(-1),
        })
    }
}

impl Pipes {
    fn send(&mut self, words: &[u32], rest: &[u8]) -> Result<(), DeviceError> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(rest);
        self.to.write_all(&bytes).and_then(|()| self.to.flush()).map_err(broken)
    }

    fn word(&mut self) -> Result<u32, DeviceError> {
        let mut bytes = [0; 4];
        self.from.read_exact(&mut bytes).map_err(broken)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

fn broken(error: std::io::Error) -> DeviceError {
    DeviceError::Failed { doing: "talking to the emulator", reason: error.to_string() }
}

impl Device for Emulated {
    fn name(&self) -> String {
        "emulated".into()
    }

    fn allocate(&self, len: usize) -> Result<u64, DeviceError> {
        // What nobody writes must show.
        self.upload(&vec![f32::from_bits(0x7fc0_beef); len])
    }

    fn upload(&self, values: &[f32]) -> Result<u64, DeviceError> {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
        let mut pipes = self.pipes.lock().unwrap();
        pipes.send(&[u32::from(b'u'), values.len() as u32], &bytes)?;
        self.held.fetch_add(1, Relaxed);
        pipes.word().map(u64::from)
    }

    fn download(&self, buffer: u64) -> Result<Vec<f32>, DeviceError> {
        let mut pipes = self.pipes.lock().unwrap();
        pipes.send(&[u32::from(b'd'), buffer as u32], &[])?;
        let mut bytes = vec![0; 4 * pipes.word()? as usize];
        pipes.from.read_exact(&mut bytes).map_err(broken)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|word| f32::from_bits(u32::from_le_bytes(*word))).collect())
    }

    fn free(&self, buffer: u64) {
        self.held.fetch_sub(1, Relaxed);
        let _ = self.pipes.lock().unwrap().send(&[u32::from(b'f'), buffer as u32], &[]);
    }

    fn launch(&self, launch: &Launch) -> Result<(), DeviceError> {
        if self.launches_left.load(Relaxed) == 0 {
            return Err(DeviceError::Failed { doing: "starting a kernel", reason: "it is unplugged".into() });
        }
        self.launches_left.fetch_sub(1, Relaxed);
        self.launches.fetch_add(1, Relaxed);
        let mut name = [0; 32];
        name[..launch.kernel.len()].copy_from_slice(launch.kernel.as_bytes());
        let mut rest: Vec<u8> = name.into();
        let buffers = [Some(launch.out), launch.inputs[0], launch.inputs[1], launch.inputs[2]];
        let words = launch.blocks.into_iter().chain(buffers.map(|buffer| buffer.unwrap_or(0) as u32));
        rest.extend(words.flat_map(u32::to_le_bytes));
        rest.extend(launch.numbers.n.iter().flat_map(|n| n.to_le_bytes()));
        rest.extend(launch.numbers.f.iter().flat_map(|f| f.to_bits().to_le_bytes()));
        self.pipes.lock().unwrap().send(&[u32::from(b'l')], &rest)
    }
}
