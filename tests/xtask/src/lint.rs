//! What a reviewer should not have to look for: formatting, lints, documentation, licences, what analysers find.

use std::process::Command;
use std::{env, iter};

use anyhow::Context;

use crate::process;
use crate::provision::{Tools, provision};
use crate::workspace::Workspace;

/// Runs every check, also after one failed, and says whether all held.
pub(crate) fn lint(workspace: &Workspace) -> anyhow::Result<bool> {
    let tools = provision(workspace)?;
    let mut held = true;
    for args in ["fmt --all --check", "clippy --release --workspace --all-targets -- -D warnings"] {
        held &= process::succeeds(process::cargo().args(args.split(' ')).current_dir(&workspace.root))?;
    }
    // What clients build that the workspace does not: the core alone, and the adapter for the other release of alloy-evm.
    for features in ["", "evm-038"] {
        let mut check = process::cargo();
        check
            .args("check --release --package foreblock-precompile --no-default-features --features".split(' '))
            .arg(features);
        held &= process::succeeds(check.current_dir(&workspace.root))?;
    }
    let mut doc = process::cargo();
    doc.args(["doc", "--release", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    held &= process::succeeds(doc.current_dir(&workspace.root))?;

    let mut deny = Command::new(tools.cargo_deny());
    held &= process::succeeds(deny.args("check licenses bans sources".split(' ')).current_dir(&workspace.root))?;

    for project in workspace.foundry_projects()? {
        let mut forge = Command::new(tools.foundry("forge"));
        held &= process::succeeds(forge.args(["fmt", "--check", "--root"]).arg(&project).envs(tools.env()))?;
    }
    held &= slither(workspace, &tools)?;
    Ok(held)
}

/// Static analysis of the Solidity package: a finding of medium impact or above fails, unless the line it is about says why it
/// stands (`slither-disable`).
fn slither(workspace: &Workspace, tools: &Tools) -> anyhow::Result<bool> {
    let forge = tools.foundry("forge");
    let beside = forge.parent().context("forge lies in a folder")?;
    let path = env::join_paths(
        iter::once(beside.to_owned()).chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )?;
    let mut slither = Command::new(tools.slither());
    slither.args([".", "--fail-medium", "--exclude-informational", "--exclude-optimization", "--exclude-low"]);
    // What tests use runs in no transaction.
    slither.args(["--filter-paths", "src/testing/|test/"]).current_dir(workspace.root.join("contracts"));
    process::succeeds(slither.envs(tools.env()).env("PATH", path))
}
