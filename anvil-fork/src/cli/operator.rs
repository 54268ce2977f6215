//! `foreblock operator`: a key, an engine, and a server of the Open Inference Protocol that signs what it answers.

use super::EngineFlags;
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context, bail};
use clap::Args;
use foreblock_pre_executor::{
    Store, StoreLimits,
    oip::{OipService, Tls, serve},
    operators::{Fault, LocalOperator, Operator as _},
};
use foreblock_precompile::StatementDomain;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Flags of an operator.
#[derive(Args, Clone, Debug)]
pub struct OperatorFlags {
    /// Its key: an encrypted keystore, JSON version 3
    #[arg(long, value_name = "FILE")]
    pub keystore: PathBuf,
    /// File with the keystore's password; otherwise FOREBLOCK_PASSWORD holds it
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Make a new key where the keystore is not there
    #[arg(long)]
    pub new: bool,
    /// Address to listen on
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8600")]
    pub listen: SocketAddr,
    /// The chain for which it signs
    #[arg(long, value_name = "NUM", default_value_t = 31_337)]
    pub chain_id: u64,
    /// What computes
    #[command(flatten)]
    pub engine: EngineFlags,
    /// How it misbehaves, for tests of a network: slow=3s, lie, crash@10, flip=0.01 or silent
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    pub fault: Vec<String>,
    /// TLS: own certificate and key, and whom to trust, PEM
    #[command(flatten)]
    pub tls: TlsFlags,
}

/// Files of TLS between a node and its operators.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsFlags {
    /// Own certificate towards operators or nodes, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Whom to trust, PEM; an operator then takes only clients with a certificate
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
}

impl TlsFlags {
    /// As the connections want it.
    pub fn tls(&self) -> Tls {
        Tls { authority: self.tls_ca.clone(), identity: self.tls_cert.clone().zip(self.tls_key.clone()) }
    }
}

/// Runs an operator until it is interrupted.
pub fn run(flags: &OperatorFlags) -> anyhow::Result<()> {
    let key = key(flags)?;
    let engine = flags.engine.engine()?;
    let computes = flags.engine.compute(&engine, &flags.tls)?;
    // One folder a key and chain: the same key signing in two processes would contradict itself.
    let kept = flags.engine.folder()?.join("endorsed").join(format!("{}-{}", key.address(), flags.chain_id));
    let operator = LocalOperator::new(key, StatementDomain::new(flags.chain_id), computes)
        .remembering(Store::open(&kept, StoreLimits::default())?);
    let fault = |text: &String| text.parse::<Fault>().map_err(|reason| anyhow::anyhow!("--fault {text}: {reason}"));
    operator.set_faults(flags.fault.iter().map(fault).collect::<anyhow::Result<_>>()?);
    println!("Operator {} signs for chain {}", operator.address(), flags.chain_id);
    println!("Listening on {}", flags.listen);
    let service = OipService::new(operator, engine.catalog().clone(), flags.chain_id);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let until = async {
        if let Err(error) = super::node::interrupted().await {
            tracing::warn!(%error, "signals cannot be heard");
        }
    };
    let served = runtime.block_on(serve(service, flags.listen, &flags.tls.tls(), until));
    // A model may still run; nobody waits for it.
    runtime.shutdown_background();
    served.map_err(|error| anyhow::anyhow!("cannot serve at {}: {}", flags.listen, chain(&*error)))
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn key(flags: &OperatorFlags) -> anyhow::Result<PrivateKeySigner> {
    let password = password(flags)?;
    let path = &flags.keystore;
    if !path.exists() && flags.new {
        return new_key(path, &password);
    }
    PrivateKeySigner::decrypt_keystore(path, &password).with_context(|| {
        format!("cannot open the keystore {}: check path and password, or make a new one with --new", path.display())
    })
}

fn new_key(path: &Path, password: &str) -> anyhow::Result<PrivateKeySigner> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).context("--keystore names no file")?;
    let made = PrivateKeySigner::new_keystore(folder, &mut rand::thread_rng(), password, Some(name));
    let (key, _) = made.with_context(|| format!("cannot write {}", path.display()))?;
    restrict(path)?;
    Ok(key)
}

/// Encrypted or not, a key is for its owner.
fn restrict(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
    }
    #[cfg(not(unix))]
    Ok(())
}

fn password(flags: &OperatorFlags) -> anyhow::Result<String> {
    if let Some(path) = &flags.password_file {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    match std::env::var("FOREBLOCK_PASSWORD") {
        Ok(password) => Ok(password),
        Err(_) => bail!("the keystore's password is missing: give --password-file, or set FOREBLOCK_PASSWORD"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: OperatorFlags,
    }

    #[test]
    fn a_key_is_made_once_and_opens_only_with_its_password() {
        let folder = tempfile::tempdir().unwrap();
        let (keystore, password) = (folder.path().join("key.json"), folder.path().join("password"));
        std::fs::write(&password, "correct horse\n").unwrap();
        let line = |more: &[&str]| {
            let paths = ["", "--keystore", keystore.to_str().unwrap(), "--password-file", password.to_str().unwrap()];
            Line::parse_from([&paths[..], more].concat()).flags
        };
        let missing = key(&line(&[])).unwrap_err().to_string();
        assert!(missing.contains("key.json") && missing.contains("--new"), "{missing}");
        let made = key(&line(&["--new"])).unwrap();
        assert_eq!(key(&line(&["--new"])).unwrap(), made, "it is there");
        let text = std::fs::read_to_string(&keystore).unwrap();
        assert!(text.contains("\"version\":3") && !text.contains(&made.to_bytes().to_string()[2..]), "{text}");
        std::fs::write(&password, "wrong").unwrap();
        assert!(key(&line(&[])).is_err());
    }
}
