//! Wheels: what their names say (PEP 427), and their files.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, Write},
    path::{Component, Path, PathBuf},
};

use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use zip::ZipArchive;

use super::{FetchError, Package, failed};

/// The last three parts of a wheel's name: `cp311`, `cp311`, `manylinux_2_28_x86_64`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tags<'a> {
    python: &'a str,
    abi: &'a str,
    platform: &'a str,
}

impl<'a> Tags<'a> {
    pub(super) fn of(wheel: &'a str) -> Result<Self, FetchError> {
        let wrong = || FetchError::BadName { name: wheel.to_owned(), expected: "name of a wheel" };
        let parts: Vec<&str> = wheel.strip_suffix(".whl").ok_or_else(wrong)?.split('-').collect();
        if !(5..=6).contains(&parts.len()) || wheel.contains(['/', '\\']) {
            return Err(wrong());
        }
        let [python, abi, platform] = [3, 2, 1].map(|from_end| parts[parts.len() - from_end]);
        // One wheel may be for several platforms, joined by dots; any of them finds it.
        Ok(Self { python, abi, platform: platform.split('.').next().unwrap_or(platform) })
    }

    /// What makes pip look for this wheel whatever Python and system it runs on itself.
    pub(super) fn pip_args(&self) -> Vec<String> {
        let mut args = Vec::new();
        if self.platform != "any" {
            args.extend(["--platform".to_owned(), self.platform.to_owned()]);
        }
        if let Some(version) = self.python.strip_prefix("cp3") {
            args.extend(["--implementation", "cp", "--abi", self.abi, "--python-version"].map(str::to_owned));
            args.push(format!("3.{version}"));
        }
        args
    }
}

/// SHA-256 of a file in lower-case hexadecimal.
pub fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the wheel is the one that was pinned.
pub(super) fn check(package: &Package, wheel: &Path) -> Result<(), FetchError> {
    let found = digest(wheel).map_err(failed("read", wheel, 0))?;
    if found == package.sha256 {
        return Ok(());
    }
    Err(FetchError::WrongHash { wheel: package.wheel.clone(), expected: package.sha256.clone(), found })
}

/// Takes the chosen files out of a wheel that was checked.
pub(super) fn unpack(
    package: &Package,
    wheel: &Path,
    folder: &Path,
    choose: &dyn Fn(&str) -> Option<String>,
    bar: &ProgressBar,
) -> Result<Vec<PathBuf>, FetchError> {
    let bad = |reason: String| FetchError::BadWheel { wheel: package.wheel.clone(), reason };
    let file = File::open(wheel).map_err(failed("open", wheel, 0))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| bad(error.to_string()))?;
    let chosen = chosen(&mut archive, choose)?;
    if chosen.is_empty() {
        return Err(bad("it holds none of the files that are wanted".into()));
    }
    bar.set_length(chosen.iter().map(|file| file.size_bytes).sum());
    bar.set_position(0);
    let mut paths = Vec::new();
    for file in chosen {
        let path = folder.join(&file.name);
        let mut source = archive.by_index(file.index).map_err(|error| bad(error.to_string()))?;
        write(&mut source, &path, file.size_bytes, bar)?;
        paths.push(path);
    }
    Ok(paths)
}

struct Chosen {
    index: usize,
    name: String,
    size_bytes: u64,
}

fn chosen<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    choose: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Chosen>, FetchError> {
    let mut chosen = Vec::new();
    for index in 0..archive.len() {
        let Ok(entry) = archive.by_index_raw(index) else { continue };
        let size_bytes = entry.size();
        let Some(name) = entry.name().ok().and_then(|path| choose(&path)) else { continue };
        let mut parts = Path::new(&name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(FetchError::BadName { name, expected: "plain file name" });
        }
        chosen.push(Chosen { index, name, size_bytes });
    }
    Ok(chosen)
}

/// Writes beside the place and renames, so that a reader sees the whole file or none.
fn write(source: &mut dyn Read, path: &Path, size_bytes: u64, bar: &ProgressBar) -> Result<(), FetchError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder).map_err(failed("create a file in", folder, size_bytes))?;
    let copied = io::copy(&mut bar.wrap_read(source), file.as_file_mut());
    copied.and_then(|_| file.as_file_mut().flush()).map_err(failed("write", path, size_bytes))?;
    file.as_file().sync_all().map_err(failed("write", path, size_bytes))?;
    file.persist(path).map_err(|error| failed("rename", path, size_bytes)(error.error))?;
    Ok(())
}
