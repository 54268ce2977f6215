//! `cargo xtask cross`: one answer on every machine. `tests/determinism` is built for several processors, run on this one
//! and on emulated ones, and must print the same digests everywhere.

mod aarch64;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::process;
use crate::tally::Tally;
use crate::workspace::Workspace;

const PACKAGE: &str = "foreblock-determinism";

/// A program and what it runs on.
struct Machine {
    name: String,
    run: Vec<String>,
}

/// Builds, runs and compares; says whether all machines agreed.
pub(crate) fn cross(workspace: &Workspace) -> anyhow::Result<bool> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        bail!("the emulated processors are set up for Linux on x86-64 only");
    }
    let models = models(workspace)?;
    let mut first = None;
    let mut total = Tally::default();
    let mut rows = Vec::new();
    for machine in machines(workspace)? {
        let started = Instant::now();
        let digests = machine.digests(&models)?;
        let expected = first.get_or_insert_with(|| digests.clone());
        let same = digests.iter().zip(expected.iter()).filter(|(one, other)| one == other && is_digest(one)).count();
        total += Tally { passed: same as u64, failed: (models.len() - same) as u64, skipped: 0 };
        rows.push(format!(
            "{:44} {same}/{} models  {:6.1} s",
            machine.name,
            models.len(),
            started.elapsed().as_secs_f64()
        ));
    }
    println!("\nequal bytes (batch 1, 2, 7, 32; 1, 2, 16 threads; each instruction set of the machine)");
    rows.iter().for_each(|row| println!("{row}"));
    println!("\n{total}");
    Ok(total.failed == 0)
}

/// Every model in the repository that is whole: one whose weights are fetched later is not.
fn models(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    let engine = workspace.root.join("precompile/engine");
    let mut models = Vec::new();
    for folder in [engine.join("models"), engine.join("tests/data")] {
        collect(&folder, &mut models).with_context(|| format!("cannot list {}", folder.display()))?;
    }
    models.sort();
    Ok(models)
}

fn collect(folder: &std::path::Path, models: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("models/fetch") {
            collect(&path, models)?;
        } else if path.extension().is_some_and(|extension| extension == "onnx") {
            models.push(path);
        }
    }
    Ok(())
}

fn machines(workspace: &Workspace) -> anyhow::Result<Vec<Machine>> {
    let baseline = text(build(workspace, None)?);
    let native = |name: &str, program: String| Machine { name: name.into(), run: vec![program] };
    let mut machines = vec![native("this processor, built for x86-64-v1", baseline.clone())];
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        machines.push(native("this processor, built for x86-64-v3", text(build(workspace, Some("x86-64-v3"))?)));
    }
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
        machines.push(native("this processor, built for x86-64-v4", text(build(workspace, Some("x86-64-v4"))?)));
    }
    for cpu in ["Haswell", "Nehalem"] {
        machines.push(Machine {
            name: format!("emulated {cpu}, built for x86-64-v1"),
            run: ["qemu-x86_64", "-cpu", cpu, &baseline].map(str::to_owned).to_vec(),
        });
    }
    let arm = text(aarch64::build(workspace, PACKAGE)?);
    machines.push(Machine {
        name: "emulated aarch64 (Cortex-A72)".into(),
        run: ["qemu-aarch64", "-L", aarch64::LIBRARIES, "-cpu", "cortex-a72", &arm].map(str::to_owned).to_vec(),
    });
    Ok(machines)
}

/// The program for the baseline, or for a processor level in a target folder of its own.
fn build(workspace: &Workspace, level: Option<&str>) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--package", PACKAGE]).current_dir(&workspace.root);
    let mut target = workspace.target.clone();
    if let Some(level) = level {
        target = target.join("cross").join(level);
        cargo.env("RUSTFLAGS", format!("-C target-cpu={level}")).env("CARGO_TARGET_DIR", &target);
    }
    process::run(&mut cargo)?;
    Ok(target.join("release/determinism"))
}

impl Machine {
    /// One line a model, without its path.
    fn digests(&self, models: &[PathBuf]) -> anyhow::Result<Vec<String>> {
        let mut command = Command::new(&self.run[0]);
        command.args(&self.run[1..]).args(models);
        let mut lines = Vec::new();
        let exited_well = process::watch(&mut command, |line| {
            lines.push(line.split_whitespace().next().unwrap_or_default().to_owned());
        });
        exited_well.context("the emulator is needed (on Debian: apt-get install qemu-user)")?;
        if lines.len() != models.len() {
            bail!("{}: {} lines for {} models", self.name, lines.len(), models.len());
        }
        Ok(lines)
    }
}

fn is_digest(line: &str) -> bool {
    line.starts_with("0x")
}

fn text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}
