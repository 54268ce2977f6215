//! `foreblock audit`: what would this machine have answered?

use super::{EngineFlags, TlsFlags};
use crate::{
    audit::{self, Sample, Verdict},
    follow::Producer,
};
use clap::Args;

/// Flags of an audit.
#[derive(Args, Clone, Debug)]
pub struct AuditFlags {
    /// RPC of a node that has the chain, http://HOST:PORT
    pub url: String,
    /// How much of the outcomes to run again, 0 to 1
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub share: f64,
    /// First block
    #[arg(long, value_name = "NUM", default_value_t = 0)]
    pub from: u64,
    /// Last block; the head where it is not given
    #[arg(long, value_name = "NUM")]
    pub to: Option<u64>,
    /// What computes
    #[command(flatten)]
    pub engine: EngineFlags,
    /// TLS towards an engine elsewhere
    #[command(flatten)]
    pub tls: TlsFlags,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 1".to_owned())
}

/// Audits, prints what differs, and fails if anything does.
pub fn run(flags: &AuditFlags) -> anyhow::Result<()> {
    let engine = flags.engine.compute(&flags.engine.engine()?, &flags.tls)?;
    let producer = Producer::new(&flags.url, flags.tls.tls_ca.as_deref())?;
    let precompile = audit::precompile_of(&producer)?;
    let to = flags.to.map_or_else(|| producer.latest(), Ok)?;
    let sample = Sample { from: flags.from, to, share: flags.share };
    let (mut same, mut differ, mut unknown) = (0u64, 0u64, 0u64);
    audit::audit(&producer, precompile, &*engine, sample, |audited| {
        let place = format!("block {} request {} model {}", audited.block, audited.id, audited.model);
        match audited.verdict {
            Verdict::Same => same += 1,
            Verdict::Differs(listed, computed, words) => {
                differ += 1;
                println!("DIFFERS {place}\n  in the block  {listed}\n  computed here {computed}: {words}");
            }
            Verdict::Unknown(reason) => {
                unknown += 1;
                println!("UNKNOWN {place}: {reason}");
            }
        }
    })?;
    println!("{same} outcomes are the same, {differ} differ, {unknown} could not be computed here");
    anyhow::ensure!(differ == 0, "{differ} outcomes of {} are not what this machine computes", flags.url);
    Ok(())
}
