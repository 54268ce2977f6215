//! `cargo xtask test`: every test of the repository, and one honest closing line.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use clap::ValueEnum;

use crate::contracts;
use crate::process;
use crate::provision::{Tools, provision};
use crate::tally::Tally;
use crate::workspace::Workspace;

/// Which tests to run.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only this part; all of them when absent.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// What goes to the part's own runner: `cargo xtask test --only rust -- -p foreblock-engine`.
    #[arg(last = true, requires = "only")]
    runner_args: Vec<String>,
}

/// A part of the tests with a runner of its own.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Unit, integration, end-to-end and documentation tests of every crate.
    Rust,
    /// `forge test` in the Solidity package and in each example.
    Solidity,
    /// The npm packages for TypeScript and JavaScript.
    Javascript,
    /// The contracts that are checked in as bytes are what the sources compile to.
    Artifacts,
}

/// Provisions, runs the tests, prints the closing line and says whether all passed.
pub(crate) fn test(workspace: &Workspace, args: &Args) -> anyhow::Result<bool> {
    let tools = provision(workspace)?;
    let mut total = Tally::default();
    for part in Part::value_variants().iter().filter(|part| args.only.is_none_or(|only| only == **part)) {
        total += match part {
            Part::Rust => rust(workspace, &tools, &args.runner_args)?,
            Part::Solidity => solidity(workspace, &tools, &args.runner_args)?,
            Part::Javascript => javascript(workspace, &tools, &args.runner_args)?,
            Part::Artifacts => artifacts(workspace, &tools)?,
        };
    }
    println!("\n{total}");
    Ok(total.failed == 0 && total.passed > 0)
}

/// Every crate's tests, all of them even after a failure. End-to-end tests start the devnet's program: with the whole
/// workspace cargo builds it, else it is built before.
fn rust(workspace: &Workspace, tools: &Tools, runner_args: &[String]) -> anyhow::Result<Tally> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--release", "--no-fail-fast"]).current_dir(&workspace.root).envs(tools.env());
    if runner_args.is_empty() {
        cargo.arg("--workspace");
    } else {
        let mut build = process::cargo();
        build.args(["build", "--release", "--package", "foreblock"]).current_dir(&workspace.root);
        if !process::succeeds(&mut build)? {
            return Ok(Tally::one(false));
        }
    }
    let mut tally = Tally::default();
    let exited_well = process::watch(cargo.args(runner_args), |line| tally += Tally::from_cargo(line))?;
    Ok(tally.close(exited_well))
}

fn solidity(workspace: &Workspace, tools: &Tools, runner_args: &[String]) -> anyhow::Result<Tally> {
    let mut total = Tally::default();
    for project in workspace.foundry_projects()? {
        total += forge(&project, tools, runner_args)?;
    }
    Ok(total)
}

fn forge(project: &Path, tools: &Tools, runner_args: &[String]) -> anyhow::Result<Tally> {
    let mut forge = Command::new(tools.foundry("forge"));
    forge.arg("test").arg("--root").arg(project).args(runner_args).current_dir(project).envs(tools.env());
    // Gas that differs from the snapshots fails; CI fuzzes longer.
    forge.env("FORGE_SNAPSHOT_CHECK", "true");
    if env::var_os("CI").is_some() {
        forge.env("FOUNDRY_PROFILE", "ci");
    }
    let mut tally = Tally::default();
    let exited_well = process::watch(&mut forge, |line| tally += Tally::from_forge(line))?;
    Ok(tally.close(exited_well))
}

fn javascript(workspace: &Workspace, tools: &Tools, runner_args: &[String]) -> anyhow::Result<Tally> {
    let mut total = Tally::default();
    for package in workspace.npm_packages()? {
        let manifest = std::fs::read_to_string(package.join("package.json"))?;
        let manifest: serde_json::Value = serde_json::from_str(&manifest).context("package.json is not JSON")?;
        // A package without a test script has its tests elsewhere: Hardhat's plugin is run by Hardhat, from the Rust tests.
        if manifest["scripts"]["test"].is_null() {
            continue;
        }
        let mut node = Command::new("node");
        node.args(["--test", "--test-reporter=tap"]).args(runner_args).current_dir(&package).envs(tools.env());
        let mut tally = Tally::default();
        let exited_well = process::watch(&mut node, |line| tally += Tally::from_node(line))?;
        total += tally.close(exited_well);
    }
    Ok(total)
}

fn artifacts(workspace: &Workspace, tools: &Tools) -> anyhow::Result<Tally> {
    let mut total = Tally::default();
    for artifact in contracts::compare(workspace, tools)? {
        total += Tally::one(artifact.is_current());
        println!("{artifact}");
    }
    Ok(total)
}
