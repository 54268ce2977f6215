//! `foreblock model …`: the engine's commands with flags in front.

use clap::{Args, Subcommand};
use foreblock_engine::{
    Catalog, Engine, Kind, ModelDir,
    commands::{self, AddArgs},
    engine::Config as EngineConfig,
    input::Format,
    model_dir::data_dir,
};
use std::{io::Read, path::PathBuf};

/// Flags of `foreblock model`.
#[derive(Args, Clone, Debug)]
pub struct ModelFlags {
    /// What to do
    #[command(subcommand)]
    pub command: ModelCommand,
    /// Where models are kept
    #[arg(long, global = true, env = "FOREBLOCK_DATA_DIR", value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
    /// JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// What computes: exact (built in) or ort (ONNX Runtime)
    #[arg(long, global = true, default_value = "exact", value_parser = ["exact", "ort"])]
    pub engine: String,
}

/// What to do with models.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelCommand {
    /// All models: those in this program, and those added
    List,
    /// A model's manifest, in words or as JSON
    Show {
        /// Name, id, or the beginning of an id
        model: String,
    },
    /// Run a model
    Run {
        /// Name, id, or the beginning of an id
        model: String,
        /// JSON, `@file` (JSON, CSV or .npy), or `-` for standard input
        #[arg(long, short)]
        input: String,
    },
    /// Add an ONNX file
    Add {
        /// The .onnx file
        path: PathBuf,
        /// Its name; the file's where it is not given
        #[arg(long)]
        name: Option<String>,
        /// Files beside the graph, such as a tokenizer
        #[arg(long = "file", value_name = "PATH")]
        others: Vec<PathBuf>,
        /// Rows of one request at most, where the graph leaves them open
        #[arg(long, default_value_t = 1)]
        rows: usize,
        /// Longest other dimension that the graph leaves open
        #[arg(long, default_value_t = 128)]
        length: usize,
    },
    /// Remove a model that was added
    Remove {
        /// Name, id, or the beginning of an id
        model: String,
    },
}

/// Runs a model command.
pub fn run(flags: ModelFlags) -> anyhow::Result<()> {
    let dir = ModelDir::new(&data_dir(flags.data_dir.as_deref())?);
    let catalog = Catalog::new(Some(dir.clone()));
    let out = &mut std::io::stdout().lock();
    match flags.command {
        ModelCommand::List => drop(commands::list(&catalog, flags.json, out)?),
        ModelCommand::Show { model } => drop(commands::show(&catalog, &model, flags.json, out)?),
        ModelCommand::Run { model, input } => {
            let content = read(&input)?;
            let mut config = EngineConfig::default();
            config.kind = if flags.engine == "ort" { Kind::Ort } else { Kind::Exact };
            let format: Option<Format> = None;
            commands::run(&Engine::new(catalog, config), &model, &content, format, flags.json, out)?;
        }
        ModelCommand::Add { path, name, others, rows, length } => {
            let args = AddArgs { path, name, others, rows_max: rows, length_max: length };
            commands::add(&dir, &args, out)?;
        }
        ModelCommand::Remove { model } => drop(commands::remove(&catalog, &model, out)?),
    }
    Ok(())
}

/// What the user means by `--input`.
fn read(input: &str) -> anyhow::Result<Vec<u8>> {
    if input == "-" {
        let mut content = Vec::new();
        std::io::stdin().lock().read_to_end(&mut content)?;
        return Ok(content);
    }
    match input.strip_prefix('@') {
        Some(path) => std::fs::read(path).map_err(|error| anyhow::anyhow!("cannot read {path}: {error}")),
        None => Ok(input.as_bytes().to_vec()),
    }
}
