//! Commands that need no node: models, ONNX Runtime, what is found on this machine.

use super::EngineFlags;
use clap::{Args, Subcommand};
use foreblock_engine::{
    Catalog, Engine,
    certify::Wanted,
    commands::{self, AddArgs, CertifyArgs},
    engine::Config as EngineConfig,
    fetch::{self, Hardware},
    input::Format,
    ort,
};
use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

/// What to do with models.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelCommand {
    /// Publish an ONNX file and add it to the models
    Add(ModelFlags),
    /// Publish an ONNX file with its profile, cost, golden vectors and a report on how far engines and settings differ
    Certify {
        /// The model
        #[command(flatten)]
        flags: ModelFlags,
        /// Inputs to try, NumPy's .npz with an array for each input; made up by default
        #[arg(long, value_name = "PATH")]
        cases: Option<PathBuf>,
        /// best (exact if possible, else a tolerance), exact, exact-i8 (from a quantised model) or tolerance
        #[arg(long, default_value = "best", value_parser = ["best", "exact", "exact-i8", "tolerance"])]
        profile: String,
        /// Folder for report, manifest and files; NAME-certified by default
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
        /// Write the folder only, without adding the model
        #[arg(long)]
        no_add: bool,
    },
    /// List the models
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a model takes, answers and costs
    Show {
        /// Name, id, or the beginning of an id
        model: String,
        /// Print the manifest as JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a model: the answer that a contract would get, to the last digit
    Run {
        /// Name, id, or the beginning of an id
        model: String,
        /// The input as JSON, CSV or 0x-hex
        #[arg(long, conflicts_with = "file", required_unless_present = "file")]
        input: Option<String>,
        /// A file with the input as JSON, CSV or .npy; - reads standard input
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check hashes and golden vectors of one model, or of all
    Verify {
        /// Name, id, or the beginning of an id
        model: Option<String>,
    },
    /// Fetch a real model from a package, pinned by hash
    Fetch {
        /// Its name; without it, the names are listed
        name: Option<String>,
    },
    /// Remove a model that was added
    Remove {
        /// Name, id, or the beginning of an id
        model: String,
    },
}

/// A model that is added.
#[derive(Args, Clone, Debug)]
pub struct ModelFlags {
    /// The ONNX file
    path: PathBuf,
    /// Name for people; the file's by default
    #[arg(long)]
    name: Option<String>,
    /// Most rows of one request, where the first dimension is free
    #[arg(long, default_value_t = 1)]
    rows_max: usize,
    /// Longest other free dimension
    #[arg(long, default_value_t = 512)]
    length_max: usize,
    /// Further files of the model, such as a tokenizer
    #[arg(long = "file", value_name = "PATH")]
    others: Vec<PathBuf>,
}

impl From<ModelFlags> for AddArgs {
    fn from(flags: ModelFlags) -> Self {
        let ModelFlags { path, name, rows_max, length_max, others } = flags;
        Self { path, name, rows_max, length_max, others }
    }
}

/// What to measure.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Each model, or one: time of a row by the exact engine and by ONNX Runtime where that is found, and what batches gain
    Engine {
        /// Name, id, or the beginning of an id
        model: Option<String>,
    },
}

/// Models are shown, run and measured by this machine.
fn here(place: &EngineFlags) -> anyhow::Result<()> {
    anyhow::ensure!(
        !place.is_elsewhere(),
        "--engine {}: this command computes here, so it takes {}",
        place.engine,
        EngineConfig::NAMES.join(", ")
    );
    Ok(())
}

/// `foreblock model`.
pub fn model(place: &EngineFlags, command: ModelCommand) -> anyhow::Result<()> {
    here(place)?;
    let mut out = io::stdout().lock();
    match command {
        ModelCommand::Add(flags) => {
            commands::add(&place.models()?, &flags.into(), &mut out)?;
        }
        ModelCommand::Certify { flags, cases, profile, out: folder, no_add } => {
            let (add, profile) = (flags.into(), wanted(&profile));
            let args = CertifyArgs { add, cases, profile, out: folder, ort: place.config()?.ort };
            let models = if no_add { None } else { Some(place.models()?) };
            commands::certify(models.as_ref(), &args, &mut |doing| eprintln!("{doing}"), &mut out)?;
        }
        ModelCommand::List { json } => {
            commands::list(place.engine()?.catalog(), json, &mut out)?;
        }
        ModelCommand::Show { model, json } => {
            commands::show(place.engine()?.catalog(), &model, json, &mut out)?;
        }
        ModelCommand::Run { model, input, file, json } => {
            let (content, format) = content(input, file)?;
            commands::run(&place.engine()?, &model, &content, format, json, &mut out)?;
        }
        ModelCommand::Verify { model } => {
            let verified = commands::verify(&place.engine()?, model.as_deref(), &mut out)?;
            let wrong = verified.iter().filter(|verified| verified.result.is_err()).count();
            anyhow::ensure!(wrong == 0, "{wrong} of {} models are not what they should be", verified.len());
        }
        ModelCommand::Fetch { name: None } => writeln!(out, "{}", commands::fetchable().join("\n"))?,
        ModelCommand::Fetch { name: Some(name) } => {
            commands::fetch(&place.models()?, &name, &fetch::progress_bar(), &mut out)?;
        }
        ModelCommand::Remove { model } => {
            commands::remove(place.engine()?.catalog(), &model, &mut out)?;
        }
    }
    Ok(())
}

/// `foreblock bench`.
pub fn bench(place: &EngineFlags, command: BenchCommand) -> anyhow::Result<()> {
    here(place)?;
    let BenchCommand::Engine { model } = command;
    let config = place.config()?;
    commands::bench(place.engine()?.catalog(), model.as_deref(), &config.ort, &mut io::stdout().lock())?;
    Ok(())
}

fn wanted(profile: &str) -> Wanted {
    match profile {
        "exact" => Wanted::Exact,
        "exact-i8" => Wanted::Integer,
        "tolerance" => Wanted::Tolerance,
        _ => Wanted::Best,
    }
}

fn content(input: Option<String>, file: Option<PathBuf>) -> anyhow::Result<(Vec<u8>, Option<Format>)> {
    let Some(path) = file else { return Ok((input.unwrap_or_default().into_bytes(), None)) };
    if path.as_os_str() == "-" {
        let mut content = Vec::new();
        io::stdin().lock().read_to_end(&mut content)?;
        return Ok((content, None));
    }
    let content = std::fs::read(&path).map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Some(Format::Csv),
        Some("npy") => Some(Format::Npy),
        Some("json") => Some(Format::Json),
        _ => None,
    };
    Ok((content, format))
}

/// `foreblock setup`: fetches ONNX Runtime into the data directory.
pub fn setup(place: &EngineFlags, cuda: bool) -> anyhow::Result<()> {
    let folder = place.folder()?.join("onnxruntime");
    let hardware = if cuda { Hardware::Cuda } else { Hardware::Cpu };
    let library = fetch::onnxruntime(hardware, &folder, &fetch::progress_bar())?;
    println!("ONNX Runtime is at {}; start with --engine ort to use it.", library.display());
    Ok(())
}

/// `foreblock doctor`: what is found, what is missing, and what to do about it.
pub fn doctor(place: &EngineFlags) -> anyhow::Result<()> {
    let data = place.folder()?;
    let config = place.config()?;
    let mut problems = 0;
    let mut say = |what: &str, result: Result<String, String>, needed: bool| {
        let mark = match (&result, needed) {
            (Ok(_), _) => "ok",
            (Err(_), false) => "--",
            (Err(_), true) => "NO",
        };
        problems += usize::from(result.is_err() && needed);
        let (Ok(text) | Err(text)) = result;
        println!("{mark:<3} {what:<16} {text}");
    };
    say("data directory", writable(&data), true);
    let engine = Engine::new(Catalog::new(Some(place.models()?)), EngineConfig::default());
    say("exact engine", Ok(engine.engine_name()), true);
    say("models", verified(&engine), true);
    say("ONNX Runtime", ort::probe(&config.ort).map_err(|error| error.to_string()), place.engine.starts_with("ort"));
    for (program, purpose) in [
        ("python3", "foreblock setup, foreblock model fetch"),
        ("cast", "the line that the banner prints"),
        ("forge", "building and testing contracts"),
    ] {
        say(program, version(program).ok_or_else(|| format!("not found; needed for: {purpose}")), false);
    }
    anyhow::ensure!(problems == 0, "{problems} of these must be put right before a node can serve");
    Ok(())
}

fn writable(folder: &PathBuf) -> Result<String, String> {
    let attempt = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder).map(drop));
    attempt.map(|()| folder.display().to_string()).map_err(|error| {
        format!("{} cannot be written ({error}): choose another with --data-dir, or free space", folder.display())
    })
}

fn verified(engine: &Engine) -> Result<String, String> {
    let verified = commands::verify(engine, None, &mut io::sink()).map_err(|error| error.to_string())?;
    let wrong = verified.iter().find_map(|one| Some((one, one.result.as_ref().err()?)));
    match wrong {
        Some((one, reason)) => Err(format!("{}: {reason}", one.manifest.name())),
        None => Ok(format!("{} models, hashes and golden vectors are right", verified.len())),
    }
}

fn version(program: &str) -> Option<String> {
    let output = std::process::Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned();
    output.status.success().then_some(text)
}
