//! The models in the binary. Each folder of `models/` holds the graph, golden vectors, the manifest, a card, and the
//! script that trained it.

use std::sync::LazyLock;

use crate::{Manifest, model_dir::Files};

/// A model in the binary.
#[derive(Debug)]
pub struct Bundled {
    /// What defines it.
    pub manifest: Manifest,
    /// The files of its manifest.
    pub files: Files,
    /// What comes with it: `card.md`, `recipe.json`, `facts.json`.
    pub notes: Files,
}

/// The bundled models.
pub fn bundled() -> &'static [Bundled] {
    static MODELS: LazyLock<Vec<Bundled>> = LazyLock::new(Vec::new);
    &MODELS
}
