//! `model add` and `model remove`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{CommandError, thousands};
use crate::{
    Catalog, Manifest, Pool,
    catalog::Place,
    certify::publish_checked,
    engine::FACTS_FILE,
    golden::GOLDEN_FILE,
    model_dir::{Files, ModelDir},
    publish::{GRAPH_FILE, PublishError, PublishOptions, Published, publish_embedding, publish_text},
    screen,
    text::{self, EMBEDDING_FILE},
};

/// What `model add` takes.
#[derive(Clone, Debug)]
pub struct AddArgs {
    /// An ONNX file.
    pub path: PathBuf,
    /// Name for people; the file's by default.
    pub name: Option<String>,
    /// Most rows of one request, where the first dimension is free.
    pub rows_max: usize,
    /// Longest other free dimension.
    pub length_max: usize,
    /// Further files of the model, such as a tokenizer. Files that hold its weights are found by themselves.
    pub others: Vec<PathBuf>,
}

/// Publishes an ONNX file in the exact profile, with golden vectors that this machine makes, and adds it to the model
/// directory. With a `generation_config.json` or a `genai_config.json` among the other files it is a language model; with an
/// `embedding.json`, an encoder that takes text.
pub fn add(dir: &ModelDir, args: &AddArgs, out: &mut impl Write) -> Result<Manifest, CommandError> {
    let (graph, options) = options(args)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (published, notes) = publish(graph, options, Pool::new(threads))?;
    let manifest = published.manifest;
    let new = dir.add(&manifest, &published.files, &notes)?;
    writeln!(out, "{} {}", if new { "added" } else { "was there already:" }, manifest.name())?;
    writeln!(out, "  id       {}", manifest.id())?;
    writeln!(out, "  gas      {} a run", thousands(manifest.gas_per_run()))?;
    writeln!(out, "  files    {}", dir.path(manifest.id()).display())?;
    if !published.files.contains_key(GOLDEN_FILE) {
        writeln!(
            out,
            "  no made-up input has an answer, so it has no golden vectors: `model certify --cases` makes them"
        )?;
    }
    writeln!(out, "Register it on chain: ModelRegistry.register(id, manifest); the devnet does so when it starts.")?;
    Ok(manifest)
}

/// Publishes a graph: as a language model or as an encoder of text where a configuration of one lies beside it, else with batching facts as a note.
pub(super) fn publish(graph: Bytes, options: PublishOptions, pool: Pool) -> Result<(Published, Files), PublishError> {
    if text::is_text(&options.others) {
        let golden_inputs = vec![text::sample_request().to_wire().into()];
        let options = PublishOptions { golden_inputs, ..options };
        return Ok((publish_text(graph, options, pool.into())?, Files::new()));
    }
    if options.others.contains_key(EMBEDDING_FILE) {
        return Ok((publish_embedding(graph, options, pool.into())?, Files::new()));
    }
    let (published, facts) = publish_checked(&graph, options, &pool)?;
    let facts = serde_json::to_vec_pretty(&facts).expect("numbers");
    Ok((published, [(FACTS_FILE.into(), facts.into())].into()))
}

/// The graph, and how to publish it.
pub(super) fn options(args: &AddArgs) -> Result<(Bytes, PublishOptions), CommandError> {
    let graph: Bytes = fs::read(&args.path).map_err(CommandError::read(&args.path))?.into();
    let folder = args.path.parent().unwrap_or(Path::new("."));
    let mut others = weights(&graph, folder)?;
    for path in &args.others {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        others.insert(name.into(), fs::read(path).map_err(CommandError::read(path))?.into());
    }
    let stem = args.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("model");
    let options = PublishOptions {
        rows_max: args.rows_max,
        length_max: args.length_max,
        others,
        folder: Some(folder.to_owned()),
        ..PublishOptions::new(args.name.clone().unwrap_or_else(|| stem.into()))
    };
    Ok((graph, options))
}

/// Files beside the graph that hold its weights, by their names in the graph.
fn weights(graph: &Bytes, folder: &Path) -> Result<Files, CommandError> {
    let beside = fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let names = beside.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    // The content does not matter to the screen, only which names are the model's to use.
    let candidates: Files = names.filter(|name| name != GRAPH_FILE).map(|name| (name, Bytes::new())).collect();
    let named = screen::check(graph, &candidates).map_err(|error| CommandError::Other(error.to_string()))?;
    let read = |name: String| {
        let path = folder.join(&name);
        Ok((name, fs::read(&path).map_err(CommandError::read(&path))?.into()))
    };
    named.into_iter().map(read).collect()
}

/// Removes a model from the model directory.
pub fn remove(catalog: &Catalog, query: &str, out: &mut impl Write) -> Result<Manifest, CommandError> {
    let entry = catalog.find(query)?;
    let dir = match (entry.place, catalog.dir()) {
        (Place::Directory, Some(dir)) => dir,
        _ => {
            return Err(CommandError::Other(format!(
                "{} is part of this program and cannot be removed",
                entry.manifest.name()
            )));
        }
    };
    dir.remove(entry.manifest.id())?;
    writeln!(out, "removed {} ({})", entry.manifest.name(), entry.manifest.id())?;
    Ok(entry.manifest)
}
