//! `foreblock conformance`: whether the implementation behind a socket is the same as this one.

use crate::conformance;
use anyhow::{Context, bail};
use clap::Args;
use foreblock_sidecar::Client;
use std::{path::PathBuf, time::Duration};

/// Flags of the suite.
#[derive(Args, Clone, Debug)]
pub struct ConformanceFlags {
    /// Socket of the implementation, which speaks the sidecar's protocol
    #[arg(long, value_name = "SOCKET")]
    pub lookup: PathBuf,
    /// Groups of cases; all where none is named
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Longest wait for one answer, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub timeout: u64,
}

/// Asks every case; an error if any answer is wrong, or if none was right.
pub fn run(flags: &ConformanceFlags) -> anyhow::Result<()> {
    let path = &flags.lookup;
    let mut client = Client::connect(path, 0, Duration::from_secs(flags.timeout))
        .with_context(|| format!("no implementation at {}", path.display()))?;
    let reports = conformance::run(&mut client, &flags.only)?;
    if reports.is_empty() {
        let names = conformance::groups()?.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
        bail!("no group of these names: expected some of {names}");
    }
    reports.iter().for_each(|report| println!("{report}"));
    let failed: usize = reports.iter().map(|report| report.failed.len()).sum();
    let passed: usize = reports.iter().map(|report| report.passed).sum();
    let refused: usize = reports.iter().map(|report| report.refused).sum();
    println!("\n{passed} passed, {failed} failed, {refused} not taken");
    if failed > 0 || passed == 0 {
        bail!("the implementation is not the same as this one");
    }
    Ok(())
}
