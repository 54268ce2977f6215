//! `cargo xtask bench <area>`: runs the bench target of that name, which prints measure, value and target, and writes
//! `target/bench/<area>.json`.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::process;
use crate::provision::provision;
use crate::workspace::Workspace;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The area, which is the name of a bench target; without it, the areas are listed.
    area: Option<String>,
    /// What goes to the bench program itself.
    #[arg(last = true)]
    program_args: Vec<String>,
}

/// Runs the bench with the tools in its environment and says whether it ended well.
pub(crate) fn bench(workspace: &Workspace, args: &Args) -> anyhow::Result<bool> {
    let areas = areas(workspace)?;
    let Some(area) = &args.area else {
        println!("areas: {}", areas.join(", "));
        return Ok(true);
    };
    if !areas.contains(area) {
        bail!("no area `{area}`; there are: {}", areas.join(", "));
    }
    let tools = provision(workspace)?;
    // The devnet's program and the bench in one go, and of the whole workspace as in the tests, so that all share artifacts.
    let mut build = process::cargo();
    build.args(["build", "--release", "--workspace", "--bin", "foreblock", "--bench", area]);
    process::run(build.current_dir(&workspace.root))?;
    let mut bench = process::cargo();
    bench.args(["bench", "--workspace", "--bench", area, "--"]).args(&args.program_args);
    process::succeeds(bench.current_dir(&workspace.root).envs(tools.env()))
}

/// Every bench target of the workspace.
fn areas(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut cargo = process::cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(&workspace.root);
    let metadata: Value = serde_json::from_str(&process::output(&mut cargo)?).context("cargo metadata is not JSON")?;
    let mut areas = Vec::new();
    for package in list(&metadata["packages"]) {
        let benches = list(&package["targets"]).iter().filter(|target| target["kind"][0] == "bench");
        areas.extend(benches.map(|target| target["name"].as_str().unwrap_or_default().to_owned()));
    }
    Ok(areas)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
