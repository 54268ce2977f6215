//! Building for aarch64 with nothing but Debian's packages: their Rust compiler, the cross linker, and the standard
//! library for arm64, which is unpacked beside the other provisioned tools and not installed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::process;
use crate::workspace::Workspace;

/// Where the cross compiler's package puts the C library for aarch64.
pub(super) const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

const TARGET: &str = "aarch64-unknown-linux-gnu";
const COMPILER: &str = "/usr/bin/rustc";
const PACKAGES: &str = "apt-get install rustc-web gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user";

/// The program of a package with one binary, `determinism`.
pub(super) fn build(workspace: &Workspace, package: &str) -> anyhow::Result<PathBuf> {
    let sysroot = standard_library(workspace)?;
    let target = workspace.target.join("cross/aarch64");
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "--target", TARGET, "--package", package]).current_dir(&workspace.root);
    cargo.env("RUSTC", COMPILER).env("CARGO_TARGET_DIR", &target);
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    // Optimisation changes no answer; this compiles everything anew, and runs briefly.
    cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    // Flags for the target leave build scripts and procedural macros alone, which are built for this machine.
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS", format!("--sysroot {}", sysroot.display()));
    process::run(&mut cargo).with_context(|| format!("building for aarch64 needs: {PACKAGES}"))?;
    Ok(target.join(TARGET).join("release/determinism"))
}

/// The sysroot with the standard library that belongs to Debian's compiler.
fn standard_library(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Version}", "rustc-web"]);
    let version = process::output(&mut query).with_context(|| format!("building for aarch64 needs: {PACKAGES}"))?;
    let folder = workspace.provision.join("aarch64");
    let done = folder.join(&version);
    if done.is_dir() {
        return Ok(done.join("usr"));
    }
    eprintln!("provision: Rust's standard library for aarch64 {version}");
    let lists = folder.join("apt/lists");
    fs::create_dir_all(lists.join("partial")).with_context(|| format!("cannot create {}", lists.display()))?;
    let package = format!("libstd-rust-web-dev:arm64={version}");
    for args in [["update", "-qq"], ["download", &package]] {
        let mut apt = Command::new("apt-get");
        apt.args(["-o", "APT::Architectures::=amd64", "-o", "APT::Architectures::=arm64"]);
        apt.arg("-o").arg(format!("Dir::State::lists={}", lists.display()));
        apt.arg("-o").arg(format!("Dir::Cache={}", folder.join("apt").display()));
        process::run(apt.args(args).current_dir(&folder))?;
    }
    let archive = fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get left no package in {}", folder.display()))?;
    let half = folder.join("unpacked");
    process::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&half))?;
    fs::remove_file(&archive)?;
    fs::rename(&half, &done).with_context(|| format!("cannot rename {}", half.display()))?;
    Ok(done.join("usr"))
}
