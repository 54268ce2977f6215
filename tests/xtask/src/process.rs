//! Running other programs: shown to the user, stopped at the first that fails, and named when it is missing.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, stderr};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Cargo, as a user's shell would start it. This program was itself started by cargo, which describes the package to it in
/// variables; build scripts that look at them would run again, and all that depends on them, whenever the two alternate.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
        cargo.env_remove(name);
    }
    cargo
}

/// Runs a program with its output on the terminal's standard error, since standard output is for `cargo xtask`'s own
/// results, which shells evaluate. An error if it cannot start or exits with anything but 0.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    if succeeds(command.stdout(stderr()))? {
        return Ok(());
    }
    bail!("`{}` failed, see its output above", line(command));
}

/// Runs a program with its output on the terminal and says whether it exited with 0.
pub(crate) fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    announce(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| missing(command))?;
    Ok(status.success())
}

/// Runs a program, passes on each line of its standard output and shows it to `see`; says whether it exited with 0.
pub(crate) fn watch(command: &mut Command, mut see: impl FnMut(&str)) -> anyhow::Result<bool> {
    read(command, |text| {
        println!("{text}");
        see(text);
    })
}

/// As [`watch`], but the lines are for `see` alone.
pub(crate) fn read(command: &mut Command, mut see: impl FnMut(&str)) -> anyhow::Result<bool> {
    announce(command);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| missing(command))?;
    let output = child.stdout.take().context("the program's output is not piped")?;
    for text in BufReader::new(output).split(b'\n') {
        let text = text.context("cannot read the program's output")?;
        see(&String::from_utf8_lossy(&text));
    }
    Ok(child.wait()?.success())
}

/// The standard output of a program that must exit with 0; its errors go to the terminal.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().with_context(|| missing(command))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed what is not UTF-8", line(command)))
}

fn announce(command: &Command) {
    eprintln!("\n$ {}", line(command));
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

fn missing(command: &Command) -> String {
    format!("cannot start `{}`: is it installed and on PATH?", command.get_program().to_string_lossy())
}
