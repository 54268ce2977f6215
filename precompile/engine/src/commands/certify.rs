//! `model certify`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use super::{AddArgs, CommandError, add::options, thousands};
use crate::{
    ModelDir, OrtConfig,
    certify::{CELL_TIME_MAX, Certified, CertifyOptions, Wanted, certify as certify_model, html},
    engine::FACTS_FILE,
    model_dir::Files,
};

/// Name of the report as a note of the model.
pub const REPORT_FILE: &str = "report.json";

/// What `model certify` takes.
#[derive(Clone, Debug)]
pub struct CertifyArgs {
    /// The model, as for `model add`.
    pub add: AddArgs,
    /// Cases as NumPy's `.npz`.
    pub cases: Option<PathBuf>,
    /// Which profile.
    pub profile: Wanted,
    /// Folder for the report, the manifest and the published graph; `NAME-certified` by default.
    pub out: Option<PathBuf>,
    /// Where ONNX Runtime is.
    pub ort: OrtConfig,
}

/// Certifies a model, writes the report (`report.txt`, `.json`, `.html`), the manifest and the model's files into a
/// folder, and adds the model to `dir` where there is one.
pub fn certify(
    dir: Option<&ModelDir>,
    args: &CertifyArgs,
    say: &mut dyn FnMut(&str),
    out: &mut impl Write,
) -> Result<Certified, CommandError> {
    let (graph, publish) = options(&args.add)?;
    let cases = args.cases.as_ref().map(|path| fs::read(path).map_err(CommandError::read(path))).transpose()?;
    let (profile, ort) = (args.profile, args.ort.clone());
    let options = CertifyOptions { publish, cases: cases.map(Into::into), profile, ort, cell_time_max: CELL_TIME_MAX };
    let certified = certify_model(&graph, options, say)?;
    let manifest = &certified.published.manifest;
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-certified", manifest.name())));
    write_folder(&folder, &certified)?;
    write!(out, "{}", certified.report)?;
    writeln!(out, "\nreport, manifest and files: {}", folder.display())?;
    if let Some(dir) = dir {
        let facts = serde_json::to_vec_pretty(&certified.facts).expect("numbers");
        let report = certified.report.to_json().into_bytes();
        let notes: Files = [(FACTS_FILE.into(), facts.into()), (REPORT_FILE.into(), report.into())].into();
        let new = dir.add(manifest, &certified.published.files, &notes)?;
        let gas = thousands(manifest.gas_per_run());
        writeln!(out, "{}: {} ({gas} gas a run)", if new { "added" } else { "was there already" }, manifest.name())?;
    }
    Ok(certified)
}

fn write_folder(folder: &Path, certified: &Certified) -> Result<(), CommandError> {
    let manifest = &certified.published.manifest;
    let report = &certified.report;
    let written = [
        ("report.txt", report.to_string()),
        ("report.json", report.to_json()),
        ("report.html", html(report)),
        ("manifest.json", manifest.to_json()),
        ("manifest.hex", format!("{}\n", manifest.to_bytes())),
    ];
    let texts = written.iter().map(|(name, text)| (*name, text.as_bytes()));
    let files = certified.published.files.iter().map(|(name, content)| (name.as_str(), &content[..]));
    for (name, content) in texts.chain(files) {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(CommandError::write_to(parent))?;
        fs::write(&path, content).map_err(CommandError::write_to(&path))?;
    }
    Ok(())
}
