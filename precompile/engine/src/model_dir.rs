//! Models on disk: `<data dir>/models/<model id>/`, one folder a model, with its files and `manifest.json`.
//!
//! A folder appears whole or not at all: it is written under another name, synced, and renamed. A process that is killed
//! leaves at most such a half-written folder, which the next change sweeps away. What a manifest lists is checked against
//! its hash whenever it is read; other files there (`card.md`, measurements) are notes.

mod disk;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use foreblock_precompile::ModelId;

use crate::manifest::{Manifest, ManifestError, check_file_name};

/// Name of the manifest in a model's folder, in its form for people.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Begins the name of a folder that is being written or removed.
const UNFINISHED: &str = ".unfinished-";

/// Contents of files by name.
pub type Files = BTreeMap<String, Bytes>;

/// What went wrong with the model directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirError {
    /// The disk is full; nothing was changed.
    #[error("no space left to write {}: nothing was changed; free some space or choose another --data-dir", path.display())]
    Full {
        /// What was being written.
        path: PathBuf,
    },
    /// Another failure of the file system.
    #[error("cannot {action} {}: {source}; check that the path exists and is yours", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No place for data is known.
    #[error("no data directory: neither $XDG_DATA_HOME nor a home directory is set; pass --data-dir")]
    NoDataDir,
    /// A model that is not there.
    #[error("no model {0}: `foreblock model list` shows those there are, `foreblock model add` adds one")]
    Unknown(String),
    /// A name or the beginning of an id that fits more than one model.
    #[error("{query:?} fits {count} models: give more of the id (`foreblock model list`)")]
    Ambiguous {
        /// What was looked for.
        query: String,
        /// How many fit.
        count: usize,
    },
    /// A model's folder with content that is not the model's.
    #[error("model {id}: {source}")]
    Broken {
        /// Which.
        id: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// A manifest without the content of one of its files.
    #[error("file {0} is in the manifest but was not given")]
    FileNotGiven(String),
}

/// Where data live unless `--data-dir` says so: `$XDG_DATA_HOME/foreblock`, by the system's custom elsewhere.
pub fn data_dir(given: Option<&Path>) -> Result<PathBuf, DirError> {
    match given {
        Some(path) => Ok(path.to_owned()),
        None => dirs::data_dir().map(|dir| dir.join("foreblock")).ok_or(DirError::NoDataDir),
    }
}

/// The models on disk. A handle: cloning it opens nothing.
#[derive(Clone, Debug)]
pub struct ModelDir {
    root: PathBuf,
}

impl ModelDir {
    /// The models under a data directory. Nothing is read or written yet; a directory that is not there has no models.
    pub fn new(data_dir: &Path) -> Self {
        Self { root: data_dir.join("models") }
    }

    /// The folder of a model, whether it is there or not.
    pub fn path(&self, id: ModelId) -> PathBuf {
        self.root.join(id.to_string())
    }

    /// Whether a model is there.
    pub fn contains(&self, id: ModelId) -> bool {
        self.path(id).join(MANIFEST_FILE).is_file()
    }

    /// Adds a model: the files of its manifest, and `notes`, which are not part of the model. False where it was there
    /// already. When this returns, the model survives a power cut.
    pub fn add(&self, manifest: &Manifest, files: &Files, notes: &Files) -> Result<bool, DirError> {
        let broken = |source| DirError::Broken { id: manifest.id().to_string(), source };
        for file in &manifest.fields().files {
            let content = files.get(&file.name).ok_or_else(|| DirError::FileNotGiven(file.name.clone()))?;
            Manifest::check_content(file, content).map_err(broken)?;
        }
        notes.keys().try_for_each(|name| check_file_name(name)).map_err(broken)?;
        let _lock = self.lock()?;
        if self.contains(manifest.id()) {
            return Ok(false);
        }
        let unfinished = self.unfinished(manifest.id());
        let written = self.write_folder(&unfinished, manifest, files, notes);
        let finished = written.and_then(|()| disk::rename(&unfinished, &self.path(manifest.id())));
        if finished.is_err() {
            // Best effort: the next change sweeps it away otherwise.
            let _ = fs::remove_dir_all(&unfinished);
        }
        finished.map(|()| true)
    }

    /// The manifest of a model that is there.
    pub fn manifest(&self, id: ModelId) -> Result<Manifest, DirError> {
        let path = self.path(id).join(MANIFEST_FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(DirError::Unknown(id.to_string())),
            other => other.map_err(|source| DirError::Io { action: "read", path, source })?,
        };
        let manifest = Manifest::from_json(&text).map_err(|source| DirError::Broken { id: id.to_string(), source })?;
        if manifest.id() != id {
            let (name, expected, got) = (MANIFEST_FILE.into(), id, manifest.id());
            return Err(DirError::Broken { id: id.to_string(), source: ManifestError::Digest { name, expected, got } });
        }
        Ok(manifest)
    }

    /// The files of a model, each checked against its hash.
    pub fn files(&self, manifest: &Manifest) -> Result<Files, DirError> {
        let folder = self.path(manifest.id());
        let mut files = Files::new();
        for file in &manifest.fields().files {
            let path = folder.join(&file.name);
            // The size first: a file that has grown is not read into memory.
            let size = fs::metadata(&path)
                .map_err(|source| DirError::Io { action: "read", path: path.clone(), source })?
                .len();
            let content = if size == file.size { disk::read(&path)? } else { Vec::new() };
            let checked = if size == file.size {
                Manifest::check_content(file, &content)
            } else {
                Err(ManifestError::Size { name: file.name.clone(), expected: file.size, got: size })
            };
            checked.map_err(|source| DirError::Broken { id: manifest.id().to_string(), source })?;
            files.insert(file.name.clone(), content.into());
        }
        Ok(files)
    }

    /// A note of a model, where there is one.
    pub fn note(&self, id: ModelId, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(id).join(name)).ok()
    }

    /// Writes or replaces a note of a model that is there.
    pub fn write_note(&self, id: ModelId, name: &str, content: &[u8]) -> Result<(), DirError> {
        check_file_name(name).map_err(|source| DirError::Broken { id: id.to_string(), source })?;
        if !self.contains(id) {
            return Err(DirError::Unknown(id.to_string()));
        }
        let _lock = self.lock()?;
        disk::replace(&self.path(id).join(name), content)
    }

    /// The models that are there, by name, then id. A folder that is broken is an `Err` of its own.
    pub fn list(&self) -> Result<Vec<Result<Manifest, DirError>>, DirError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|source| DirError::Io { action: "list", path: self.root.clone(), source })?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ids = names.filter_map(|name| name.parse::<ModelId>().ok().filter(|id| id.to_string() == name));
        let mut found: Vec<_> = ids.map(|id| self.manifest(id)).collect();
        found.sort_by_key(|entry| entry.as_ref().ok().map(|manifest| (manifest.name().to_owned(), manifest.id())));
        Ok(found)
    }

    /// Removes a model. It is gone whole, even if the process is killed half-way.
    pub fn remove(&self, id: ModelId) -> Result<(), DirError> {
        let _lock = self.lock()?;
        if !self.path(id).exists() {
            return Err(DirError::Unknown(id.to_string()));
        }
        let unfinished = self.unfinished(id);
        disk::rename(&self.path(id), &unfinished)?;
        fs::remove_dir_all(&unfinished).map_err(|source| DirError::Io { action: "remove", path: unfinished, source })
    }

    /// Creates the directory, waits for its lock and sweeps away what a killed process left.
    fn lock(&self) -> Result<File, DirError> {
        let io = |action: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| DirError::Io { action, path, source }
        };
        fs::create_dir_all(&self.root).map_err(disk::failed("create", &self.root))?;
        let path = self.root.join(".lock");
        let file = File::options().create(true).append(true).open(&path).map_err(disk::failed("open", &path))?;
        file.lock().map_err(io("lock", &path))?;
        for entry in fs::read_dir(&self.root).map_err(io("list", &self.root))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(file)
    }

    fn unfinished(&self, id: ModelId) -> PathBuf {
        self.root.join(format!("{UNFINISHED}{id}"))
    }

    fn write_folder(&self, folder: &Path, manifest: &Manifest, files: &Files, notes: &Files) -> Result<(), DirError> {
        fs::create_dir_all(folder).map_err(disk::failed("create", folder))?;
        let listed = manifest.fields().files.iter().map(|file| (&file.name, &files[&file.name]));
        for (name, content) in notes.iter().chain(listed) {
            let path = folder.join(name);
            let parent = path.parent().expect("a name in the folder");
            fs::create_dir_all(parent).map_err(disk::failed("create", parent))?;
            disk::write(&path, content)?;
            disk::sync_dir(parent)?;
        }
        disk::write(&folder.join(MANIFEST_FILE), manifest.to_json().as_bytes())?;
        disk::sync_dir(folder)
    }
}

#[cfg(test)]
mod tests;
