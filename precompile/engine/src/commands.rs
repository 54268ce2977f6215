//! What `foreblock model …` does, without the command line: each function returns its data and tells people on a writer.

mod add;
mod bench;
mod certify;
mod fetch;
mod list;
mod run;
mod show;
mod verify;

use std::io;

pub use add::{AddArgs, add, remove};
pub use bench::{Measured, bench};
pub use certify::{CertifyArgs, REPORT_FILE, certify};
pub use fetch::{fetch, fetchable};
pub use list::{ListedModel, list};
pub use run::{Answer, NamedTensor, answer, run, write_answer};
pub use show::show;
pub use verify::{Verified, verify};

use crate::{
    engine::Unavailable, golden::GoldenError, input::InputError, manifest::ManifestError, model_dir::DirError,
    publish::PublishError,
};

/// A command that did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// About the model directory.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// About a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// About publishing.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// About certifying.
    #[error(transparent)]
    Certify(#[from] crate::certify::CertifyError),
    /// About an input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// About golden vectors.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// This node cannot compute.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The model has no answer.
    #[error("the model has no answer for this input: {0}")]
    Failed(foreblock_precompile::Failure),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}: {source}; choose another folder with --out")]
    WriteTo {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The terminal or pipe is gone.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
    /// About fetching.
    #[error(transparent)]
    Fetch(#[from] crate::fetch::FetchError),
    /// Anything else, with advice.
    #[error("{0}")]
    Other(String),
}

impl CommandError {
    pub(crate) fn read(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn write_to(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::WriteTo { path, source }
    }
}

/// A shape as people read it: `[?, 16]`.
pub(crate) fn shape_text(shape: &[i64]) -> String {
    let lengths: Vec<String> = shape.iter().map(|&n| if n < 0 { "?".into() } else { n.to_string() }).collect();
    format!("[{}]", lengths.join(", "))
}

/// A number with a comma after each three digits.
pub(crate) fn thousands(number: impl Into<u64>) -> String {
    let digits = Into::<u64>::into(number).to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests;
