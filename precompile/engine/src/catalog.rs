//! All models this node can use: those bundled in the binary, and those in the model directory.

mod bundled;

use bytes::Bytes;
use foreblock_precompile::ModelId;

pub use bundled::{Bundled, bundled};

use crate::{
    manifest::{Manifest, parse_id},
    model_dir::{DirError, Files, ModelDir},
};

/// Fewest digits of an id that name a model.
const ID_DIGITS_MIN: usize = 4;

/// Where a model's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the binary.
    Bundled,
    /// In the model directory.
    Directory,
}

/// A model that can be used.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What defines it.
    pub manifest: Manifest,
    /// Where it is.
    pub place: Place,
}

/// The models of this node. A handle: cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Catalog {
    dir: Option<ModelDir>,
}

impl Catalog {
    /// The bundled models and those of a directory.
    pub fn new(dir: Option<ModelDir>) -> Self {
        Self { dir }
    }

    /// The model directory, where there is one.
    pub fn dir(&self) -> Option<&ModelDir> {
        self.dir.as_ref()
    }

    /// All models, the bundled first, and what is wrong with folders that are broken.
    pub fn list(&self) -> Result<(Vec<Entry>, Vec<DirError>), DirError> {
        let mut entries: Vec<Entry> =
            bundled().iter().map(|model| Entry { manifest: model.manifest.clone(), place: Place::Bundled }).collect();
        let mut broken = Vec::new();
        for found in self.dir.as_ref().map_or_else(|| Ok(Vec::new()), ModelDir::list)? {
            match found {
                Ok(manifest) if entries.iter().any(|entry| entry.manifest == manifest) => {}
                Ok(manifest) => entries.push(Entry { manifest, place: Place::Directory }),
                Err(error) => broken.push(error),
            }
        }
        Ok((entries, broken))
    }

    /// The model with this id, the beginning of this id (`0x` and four digits at least), or this name.
    pub fn find(&self, query: &str) -> Result<Entry, DirError> {
        if let Some(id) = parse_id(query) {
            return self.get(id);
        }
        let begins = query.starts_with("0x") && query.len() >= 2 + ID_DIGITS_MIN;
        let query_id = query.to_ascii_lowercase();
        let fits = |entry: &Entry| {
            entry.manifest.name() == query || begins && entry.manifest.id().to_string().starts_with(&query_id)
        };
        let mut found: Vec<Entry> = self.list()?.0.into_iter().filter(fits).collect();
        match found.len() {
            0 => Err(DirError::Unknown(format!("{query:?}"))),
            1 => Ok(found.remove(0)),
            count => Err(DirError::Ambiguous { query: query.into(), count }),
        }
    }

    /// The model with this id.
    pub fn get(&self, id: ModelId) -> Result<Entry, DirError> {
        if let Some(model) = bundled().iter().find(|model| model.manifest.id() == id) {
            return Ok(Entry { manifest: model.manifest.clone(), place: Place::Bundled });
        }
        let dir = self.dir.as_ref().ok_or_else(|| DirError::Unknown(id.to_string()))?;
        Ok(Entry { manifest: dir.manifest(id)?, place: Place::Directory })
    }

    /// The files of a model, checked against its manifest.
    pub fn files(&self, entry: &Entry) -> Result<Files, DirError> {
        let unknown = || DirError::Unknown(entry.manifest.id().to_string());
        match entry.place {
            Place::Bundled => find_bundled(entry.manifest.id()).map(|model| model.files.clone()).ok_or_else(unknown),
            Place::Directory => self.dir.as_ref().ok_or_else(unknown)?.files(&entry.manifest),
        }
    }

    /// A file that comes with a model without being part of it: its card, measurements.
    pub fn note(&self, entry: &Entry, name: &str) -> Option<Bytes> {
        let written = self.dir.as_ref().and_then(|dir| dir.note(entry.manifest.id(), name)).map(Bytes::from);
        written.or_else(|| find_bundled(entry.manifest.id())?.notes.get(name).cloned())
    }
}

fn find_bundled(id: ModelId) -> Option<&'static Bundled> {
    bundled().iter().find(|model| model.manifest.id() == id)
}

#[cfg(test)]
mod tests;
