//! What a reviewer should not have to look for: formatting, lints, documentation, licences.

use std::process::Command;

use crate::process;
use crate::provision::provision;
use crate::workspace::Workspace;

/// Runs every check, also after one failed, and says whether all held.
pub(crate) fn lint(workspace: &Workspace) -> anyhow::Result<bool> {
    let tools = provision(workspace)?;
    let mut held = true;
    for args in ["fmt --all --check", "clippy --release --workspace --all-targets -- -D warnings"] {
        held &= process::succeeds(Command::new("cargo").args(args.split(' ')).current_dir(&workspace.root))?;
    }
    let mut doc = Command::new("cargo");
    doc.args(["doc", "--release", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    held &= process::succeeds(doc.current_dir(&workspace.root))?;

    let mut deny = Command::new(tools.cargo_deny());
    held &= process::succeeds(deny.args("check licenses bans sources".split(' ')).current_dir(&workspace.root))?;

    for project in workspace.foundry_projects()? {
        let mut forge = Command::new(tools.foundry("forge"));
        held &= process::succeeds(forge.args(["fmt", "--check", "--root"]).arg(&project).envs(tools.env()))?;
    }
    Ok(held)
}
