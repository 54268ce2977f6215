//! What is built from Solidity and checked in, so that `cargo run` and the npm packages need no compiler: code that stands on
//! chain (`NAME.hex`) and ABIs (`NAME.json`). Here it is built from its sources and compared.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::process;
use crate::provision::{Tools, provision};
use crate::workspace::Workspace;

/// Where artifacts lie: the registries of every chain, a devnet's adapters, the ABIs, and the mock that Hardhat puts in place.
const FOLDERS: [&str; 4] = [
    "precompile/consensus/artifacts",
    "anvil-fork/artifacts",
    "contracts/abi",
    "contracts/npm/hardhat-foreblock/artifacts",
];

/// How to treat artifacts that differ.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Overwrite the checked-in artifacts with what the sources compile to.
    #[arg(long)]
    write: bool,
}

/// One checked-in file: a contract's code or ABI.
pub(crate) struct Artifact {
    name: String,
    file: PathBuf,
    checked_in: String,
    built: String,
}

impl Artifact {
    /// Whether the checked-in bytes are what the source compiles to.
    pub(crate) fn is_current(&self) -> bool {
        self.checked_in.trim() == self.built.trim()
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_current() {
            return write!(f, "artifact {} ... ok", self.name);
        }
        write!(
            f,
            "artifact {} ... FAILED: {} differs from what its source compiles to; look at the difference, then \
             `cargo xtask contracts --write`",
            self.name,
            self.file.display()
        )
    }
}

/// Builds, compares, and overwrites if asked to; says whether all artifacts are current now.
pub(crate) fn contracts(workspace: &Workspace, args: &Args) -> anyhow::Result<bool> {
    let tools = provision(workspace)?;
    let mut all_current = true;
    for artifact in compare(workspace, &tools)? {
        if args.write && !artifact.is_current() {
            fs::write(&artifact.file, format!("{}\n", artifact.built.trim()))
                .with_context(|| format!("cannot write {}", artifact.file.display()))?;
            println!("artifact {} ... written", artifact.name);
            continue;
        }
        all_current &= artifact.is_current();
        println!("{artifact}");
    }
    Ok(all_current)
}

/// Builds the contracts and reads what is checked in for each.
pub(crate) fn compare(workspace: &Workspace, tools: &Tools) -> anyhow::Result<Vec<Artifact>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        files.extend(artifact_files(&workspace.root.join(folder))?);
    }
    files.into_iter().map(|file| artifact(workspace, tools, file)).collect()
}

/// The folder's artifacts, in order of name; at least one.
fn artifact_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.retain(|file| field(file).is_some());
    files.sort();
    if files.is_empty() {
        bail!("no artifact, NAME.hex or NAME.json, in {}", folder.display());
    }
    Ok(files)
}

/// What a file holds of the contract of its name, in forge's words.
fn field(file: &Path) -> Option<&'static str> {
    match file.extension()?.to_str()? {
        "hex" => Some("deployedBytecode"),
        "json" => Some("abi"),
        _ => None,
    }
}

fn artifact(workspace: &Workspace, tools: &Tools, file: PathBuf) -> anyhow::Result<Artifact> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let project = workspace.root.join("contracts");
    let mut forge = Command::new(tools.foundry("forge"));
    let field = field(&file).with_context(|| format!("{} is no artifact", file.display()))?;
    forge.args(["inspect", &name, field, "--json", "--root"]).arg(&project).current_dir(&project).envs(tools.env());
    let built = process::output(&mut forge)?;
    let checked_in = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Artifact { name, file, checked_in, built })
}
