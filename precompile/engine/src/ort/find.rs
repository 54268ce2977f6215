//! Where the library is, and whether it is the right one.

use std::path::{Path, PathBuf};

use crate::{catalog::bundled, model_dir::Files};

use super::{Device, OrtConfig, OrtError, frame::FromWorker, frame::ToWorker, process::Process};

/// The library: at `--onnxruntime`, at `ORT_DYLIB_PATH`, beside this program, or in the data directory's
/// `onnxruntime` folder. A path that was named is taken as it is; the others are searched for.
pub fn find_library(config: &OrtConfig) -> Result<PathBuf, OrtError> {
    let variable = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = config.library.clone().or(variable) {
        let found = if path.is_dir() { library_in(&path) } else { path.is_file().then(|| path.clone()) };
        return found.ok_or_else(|| OrtError::NotFound { searched: path.display().to_string() });
    }
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let data = config.data_dir.as_ref().map(|dir| dir.join("onnxruntime"));
    let folders: Vec<PathBuf> = beside.into_iter().chain(data).collect();
    folders.iter().find_map(|folder| library_in(folder)).ok_or_else(|| {
        let searched: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        OrtError::NotFound { searched: format!("ORT_DYLIB_PATH (not set), {}", searched.join(", ")) }
    })
}

/// The newest file in a folder that is named as the library is on this system.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file() && is_library_name(path)).max()
}

fn is_library_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if cfg!(windows) {
        name == "onnxruntime.dll"
    } else if cfg!(target_os = "macos") {
        name.starts_with("libonnxruntime.") && name.ends_with(".dylib")
    } else {
        name.starts_with("libonnxruntime.so")
    }
}

/// Loads the library in a worker and says what it is: `onnxruntime 1.31.1 (cpu)`. A GPU that was asked for must be there.
pub fn probe(config: &OrtConfig) -> Result<String, OrtError> {
    let library = find_library(config)?;
    let mut process = Process::start(config)?;
    // Devices are opened with a model, not with the library: a small one tries that.
    let trial = || bundled()[0].files["model.onnx"].clone();
    let graph = (config.device != Device::Cpu).then(trial);
    let (weights, device, limits) = (Files::new(), config.device, config.into());
    let optimization = config.optimization;
    let hello = ToWorker::Load { library, graph, weights, threads: 1, device, optimization, limits };
    match process.ask(&hello, config.load_time_max)? {
        FromWorker::Ready { name } => Ok(name),
        FromWorker::Failed(reason) => Err(OrtError::Load(reason)),
        _ => Err(OrtError::Died("answered something else than was asked".into())),
    }
}
