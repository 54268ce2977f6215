//! Asking pip for one wheel.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use indicatif::ProgressBar;

use super::{FetchError, Package, failed, wheel::Tags};

/// The ways to call pip, the surest first.
const CALLS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];

/// How often the bar is moved.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Downloads the wheel into a folder that nothing else uses, and returns its path.
pub(super) fn download(package: &Package, scratch: &Path, bar: &ProgressBar) -> Result<PathBuf, FetchError> {
    download_by(&CALLS, package, scratch, bar)
}

pub(super) fn download_by(
    calls: &[&[&str]],
    package: &Package,
    scratch: &Path,
    bar: &ProgressBar,
) -> Result<PathBuf, FetchError> {
    let call = calls.iter().find(|call| runs(call));
    let call = call.ok_or_else(|| FetchError::NoPip { package: package.requirement() })?;
    let log = scratch.join("pip.log");
    let mut pip = start(call, package, scratch, &log)?;
    bar.set_message(package.name.clone());
    bar.set_length(package.size_bytes);
    let status = loop {
        if let Some(status) = pip.try_wait().map_err(failed("wait for", Path::new(call[0]), 0))? {
            break status;
        }
        bar.set_position(size_of(scratch).min(package.size_bytes));
        thread::sleep(LOOK_EVERY);
    };
    let wheel = scratch.join(&package.wheel);
    if status.success() && wheel.is_file() {
        bar.set_position(package.size_bytes);
        return Ok(wheel);
    }
    Err(explain(package, scratch, &log))
}

fn runs(call: &[&str]) -> bool {
    let mut command = Command::new(call[0]);
    command.args(&call[1..]).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn start(call: &[&str], package: &Package, scratch: &Path, log: &Path) -> Result<Child, FetchError> {
    let output = File::create(log).map_err(failed("create", log, package.size_bytes))?;
    let errors = output.try_clone().map_err(failed("open", log, package.size_bytes))?;
    let mut command = Command::new(call[0]);
    command.args(&call[1..]).args(["download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]);
    command.args(["--no-input", "--progress-bar", "off", "--retries", "2", "--dest"]).arg(scratch);
    command.args(Tags::of(&package.wheel)?.pip_args()).arg(package.requirement());
    // pip's own temporary files go to the same disk, where their growth moves the bar.
    command.env("TMPDIR", scratch).env("TEMP", scratch).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    command.spawn().map_err(failed("start", Path::new(call[0]), 0))
}

/// Bytes of all files in a folder; files that vanish meanwhile do not count.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size_of(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

/// What pip's words mean for the one who has to act.
fn explain(package: &Package, scratch: &Path, log: &Path) -> FetchError {
    let said = read_lossy(log).unwrap_or_default();
    let has = |marks: &[&str]| marks.iter().any(|mark| said.contains(mark));
    let requirement = package.requirement();
    if has(&["No space left", "Disk quota exceeded"]) {
        return FetchError::Full { path: scratch.to_owned(), needed: package.size_bytes.div_ceil(1 << 20) };
    }
    if has(&[
        "NewConnectionError",
        "NameResolutionError",
        "Max retries",
        "ProxyError",
        "ConnectTimeout",
        "Connection broken",
    ]) {
        return FetchError::Offline { package: requirement };
    }
    // Where pip succeeded, it brought another file of that version.
    if has(&["No matching distribution", "Successfully downloaded"]) {
        return FetchError::NotFound { package: requirement, wheel: package.wheel.clone() };
    }
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    FetchError::Pip { package: requirement, reason: if last.is_empty() { "it said nothing".into() } else { last } }
}

fn read_lossy(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
