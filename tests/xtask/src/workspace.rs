//! Where things lie in a checkout.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The folders that the commands read and write.
pub(crate) struct Workspace {
    /// The checkout: where `Cargo.toml` with `[workspace]` lies.
    pub(crate) root: PathBuf,
    /// What cargo builds; `CARGO_TARGET_DIR`, or `target` in the checkout.
    pub(crate) target: PathBuf,
    /// What is fetched; `FOREBLOCK_PROVISION_DIR`, or `target/provision` in the checkout.
    pub(crate) provision: PathBuf,
}

impl Workspace {
    /// Finds the folders from the place this program was built in, and from the environment.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest_dir
            .join("../..")
            .canonicalize()
            .with_context(|| format!("{} is gone: run this through `cargo xtask`", manifest_dir.display()))?;
        Ok(Self {
            target: from_env("CARGO_TARGET_DIR", &root).unwrap_or_else(|| root.join("target")),
            provision: from_env("FOREBLOCK_PROVISION_DIR", &root).unwrap_or_else(|| root.join("target/provision")),
            root,
        })
    }

    /// The pinned lists of tools: `requirements.txt`, `package-lock.json`, the solc front.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("tests/tools")
    }

    /// Where cargo puts the devnet's program.
    pub(crate) fn foreblock(&self) -> PathBuf {
        self.target.join("release").join(format!("foreblock{}", env::consts::EXE_SUFFIX))
    }

    /// Every folder with a `foundry.toml`: the Solidity package first, then the examples in order of name.
    pub(crate) fn foundry_projects(&self) -> anyhow::Result<Vec<PathBuf>> {
        let examples = folders(&self.root.join("examples"))?;
        let projects = std::iter::once(self.root.join("contracts")).chain(examples);
        Ok(projects.filter(|project| project.join("foundry.toml").is_file()).collect())
    }

    /// Every npm package for JavaScript, in order of name.
    pub(crate) fn npm_packages(&self) -> anyhow::Result<Vec<PathBuf>> {
        let folders = folders(&self.root.join("contracts/npm"))?;
        Ok(folders.into_iter().filter(|folder| folder.join("package.json").is_file()).collect())
    }
}

/// What lies in a folder, in order of name; nothing where the folder is absent.
fn folders(parent: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    if parent.is_dir() {
        for entry in parent.read_dir().with_context(|| format!("cannot list {}", parent.display()))? {
            folders.push(entry?.path());
        }
    }
    folders.sort();
    Ok(folders)
}

fn from_env(name: &str, root: &Path) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(|value| root.join(value))
}
