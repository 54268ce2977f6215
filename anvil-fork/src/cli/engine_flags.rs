//! What computes, and where models are: the flags that every command with an engine takes.

use super::TlsFlags;
use clap::Args;
use foreblock_engine::{
    Catalog, Engine, ModelDir,
    cuda::DeviceError,
    engine::Config as EngineConfig,
    model_dir::{DirError, data_dir},
};
use foreblock_pre_executor::{
    Compute,
    oip::{Client, ConnectError, OipEngine},
};
use std::{path::PathBuf, sync::Arc};

/// An engine and its folder.
#[derive(Args, Clone, Debug)]
pub struct EngineFlags {
    /// Where models and outcomes are kept; nodes and sidecars keep outcomes in memory where this is not given
    #[arg(long, env = "FOREBLOCK_DATA_DIR", value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
    /// What computes: exact (built in), exact-cuda (the same answers from a GPU), ort, ort-cuda or ort-tensorrt (ONNX
    /// Runtime on CPU or GPU), or a server of the Open Inference Protocol, oip://HOST:PORT, or https://HOST:PORT with TLS
    #[arg(long, default_value = "exact", value_parser = engine_name)]
    pub engine: String,
    /// ONNX Runtime's library, or the folder that it is in
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Threads of one model run; all cores where it is not given
    #[arg(long, value_name = "NUM")]
    pub inference_threads: Option<usize>,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineFlagsError {
    /// No folder.
    #[error(transparent)]
    Folder(#[from] DirError),
    /// No GPU.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl EngineFlags {
    /// Where models are kept.
    pub fn folder(&self) -> Result<PathBuf, DirError> {
        data_dir(self.data_dir.as_deref())
    }

    /// The folder for outcomes: two processes cannot share a store, so only who names a folder gets one on disk.
    pub fn store(&self) -> Result<Option<PathBuf>, DirError> {
        self.data_dir.as_ref().map(|_| self.folder()).transpose()
    }

    /// The models.
    pub fn models(&self) -> Result<ModelDir, DirError> {
        Ok(ModelDir::new(&self.folder()?))
    }

    /// How this process computes.
    pub fn config(&self) -> Result<EngineConfig, EngineFlagsError> {
        let mut config = EngineConfig::named(&self.engine)?;
        config.threads = self.inference_threads.unwrap_or(config.threads).max(1);
        config.ort.library = self.onnxruntime.clone();
        config.ort.data_dir = Some(self.folder()?);
        Ok(config)
    }

    /// This process's engine, with bundled and added models.
    pub fn engine(&self) -> Result<Engine, EngineFlagsError> {
        Ok(Engine::new(Catalog::new(Some(self.models()?)), self.config()?))
    }

    /// Whether a server elsewhere computes.
    pub fn is_elsewhere(&self) -> bool {
        is_elsewhere(&self.engine)
    }

    /// What computes: this process's `engine`, or a server elsewhere.
    pub fn compute(&self, engine: &Engine, tls: &TlsFlags) -> Result<Arc<dyn Compute>, ConnectError> {
        if !self.is_elsewhere() {
            return Ok(Arc::new(engine.clone()));
        }
        Ok(Arc::new(OipEngine::new(Client::new(&self.engine, &tls.tls())?, engine.catalog().clone())))
    }
}

/// Whether a name is an engine's.
fn engine_name(text: &str) -> Result<String, String> {
    if EngineConfig::NAMES.contains(&text) || is_elsewhere(text) {
        return Ok(text.to_owned());
    }
    Err(format!("expected {}, oip://HOST:PORT or https://HOST:PORT", EngineConfig::NAMES.join(", ")))
}

/// A server of the protocol, without TLS or with it.
fn is_elsewhere(engine: &str) -> bool {
    engine.starts_with("oip://") || engine.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_have_names() {
        for good in ["exact", "ort", "oip://127.0.0.1:8081", "https://127.0.0.1:8081"] {
            assert_eq!(engine_name(good), Ok(good.to_owned()));
        }
        assert!(engine_name("http://127.0.0.1").is_err());
    }
}
