//! `cargo xtask cross`: one answer on every machine. `tests/determinism` is built for several processors, run on this one
//! and on emulated ones, and must print the same digests everywhere.

mod aarch64;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::process;
use crate::provision::{Tools, provision};
use crate::tally::Tally;
use crate::workspace::Workspace;

const PACKAGE: &str = "foreblock-determinism";
const PROGRAM: &str = "determinism";

/// The language model, which is asked for a few tokens: emulators are some fifty times slower.
const LANGUAGE_MODEL: &str = "models/tiny-chat";
/// Models that come with their questions, since the tensors of each must fit each other.
const CASES: &str = "tests/data/genai";

/// A program and what it runs on.
struct Machine {
    name: String,
    run: Vec<String>,
}

/// A line of the program: a digest, or why there is none, and what of.
struct Answer {
    digest: String,
    of: String,
}

/// Builds, runs and compares; says whether all machines agreed. Then prints how often ONNX Runtime agrees with itself.
pub(crate) fn cross(workspace: &Workspace) -> anyhow::Result<bool> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        bail!("the emulated processors are set up for Linux on x86-64 only");
    }
    let tools = provision(workspace)?;
    let models = models(workspace)?;
    let mut questions = models.clone();
    questions.extend([LANGUAGE_MODEL, CASES].map(|folder| workspace.root.join("precompile/engine").join(folder)));
    questions.push(tools.node_cases());
    let mut first: Option<Vec<Answer>> = None;
    let (mut total, mut rows) = (Tally::default(), Vec::new());
    for machine in machines(workspace)? {
        let started = Instant::now();
        let answers = machine.answers(&questions)?;
        let seconds = started.elapsed().as_secs_f64();
        let same = compare(&machine, first.as_ref().unwrap_or(&answers), &answers)?;
        rows.push(format!("{:44} {same} of {} equal  {seconds:6.1} s", machine.name, answers.len()));
        total += Tally { passed: same as u64, failed: (answers.len() - same) as u64, skipped: 0 };
        first.get_or_insert(answers);
    }
    println!(
        "\nanswers of {} models (batch 1, 2, 7, 32; 1, 2, 16 threads; each instruction set of the machine)",
        models.len()
    );
    println!(
        "of tiny-chat (4 tokens) and of the ONNX node tests (1 and 3 threads; each instruction set), byte for byte"
    );
    rows.iter().for_each(|row| println!("{row}"));
    yardstick(workspace, &tools, &models)?;
    println!("\n{total}");
    Ok(total.failed == 0)
}

/// How many answers are equal; names those that are not.
fn compare(machine: &Machine, expected: &[Answer], answers: &[Answer]) -> anyhow::Result<usize> {
    if answers.len() != expected.len() || answers.is_empty() {
        bail!("{}: {} answers, expected {}", machine.name, answers.len(), expected.len());
    }
    let differs =
        |(answer, expected): &(&Answer, &Answer)| answer.digest != expected.digest || !answer.digest.starts_with("0x");
    let different: Vec<_> = answers.iter().zip(expected).filter(differs).collect();
    for (answer, expected) in &different {
        println!("{}: {}: {}, expected {}", machine.name, answer.of, answer.digest, expected.digest);
    }
    Ok(answers.len() - different.len())
}

/// The same questions to ONNX Runtime on this processor, over its own settings.
fn yardstick(workspace: &Workspace, tools: &Tools, models: &[PathBuf]) -> anyhow::Result<()> {
    println!("\ndifferent answers of ONNX Runtime over optimisation level, threads and batch (of the exact engine: 1)");
    let mut python = Command::new(tools.python());
    python.arg("tests/determinism/yardstick.py").args(models).current_dir(&workspace.root);
    process::run(&mut python)
}

/// Every model in the repository that is whole, as one whose weights are fetched later is not, and that is asked alone.
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
        if path.is_dir() {
            if !["models/fetch", LANGUAGE_MODEL, CASES].iter().any(|other| path.ends_with(other)) {
                collect(&path, models)?;
            }
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
    if has_level_3() {
        machines.push(native("this processor, built for x86-64-v3", text(build(workspace, Some("x86-64-v3"))?)));
    }
    if has_level_4() {
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

#[cfg(target_arch = "x86_64")]
fn has_level_3() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn has_level_4() -> bool {
    is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_level_3() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_level_4() -> bool {
    false
}

/// The program for the baseline, or for a processor level. All packages of the workspace are chosen, so that libraries
/// have the features that the tests build them with and are built once.
fn build(workspace: &Workspace, level: Option<&str>) -> anyhow::Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "--workspace", "--bin", PROGRAM]).current_dir(&workspace.root);
    if let Some(level) = level {
        cargo.env("RUSTC_WORKSPACE_WRAPPER", compiler(workspace, level)?);
    }
    process::run(&mut cargo)?;
    // Every level's program is built at the same place.
    let folder = workspace.target.join("cross").join(level.unwrap_or("x86-64-v1"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let (built, kept) = (workspace.target.join("release").join(PROGRAM), folder.join(PROGRAM));
    fs::copy(&built, &kept).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(kept)
}

/// A compiler that builds our own crates, where all floating-point operations are, for a processor level. Cargo keeps
/// what it builds apart by this file's name.
fn compiler(workspace: &Workspace, level: &str) -> anyhow::Result<PathBuf> {
    let folder = workspace.target.join("cross");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(format!("rustc-{level}"));
    let script = format!("#!/bin/sh\nexec \"$@\" -C target-cpu={level}\n");
    if !fs::read_to_string(&path).is_ok_and(|written| written == script) {
        fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
        process::run(Command::new("chmod").arg("+x").arg(&path))?;
    }
    Ok(path)
}

impl Machine {
    fn answers(&self, questions: &[PathBuf]) -> anyhow::Result<Vec<Answer>> {
        let mut command = Command::new(&self.run[0]);
        command.args(&self.run[1..]).args(questions);
        let mut answers = Vec::new();
        // What it exits with is no news: it printed what failed.
        process::read(&mut command, |line| {
            let (digest, of) = line.split_once(' ').unwrap_or((line, ""));
            answers.push(Answer { digest: digest.to_owned(), of: of.to_owned() });
        })
        .context("the emulator is needed (on Debian: apt-get install qemu-user)")?;
        Ok(answers)
    }
}

fn text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}
