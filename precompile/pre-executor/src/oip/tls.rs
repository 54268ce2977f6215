//! TLS between nodes, operators and their engines: files, and what to make of a refusal.

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::path::{Path, PathBuf};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// Files of TLS, PEM; with a certificate of its own, a client or server proves who it is.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Whom to trust.
    pub authority: Option<PathBuf>,
    /// Own certificate, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Files that make no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The system refuses.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// Something else is in it.
    #[error("{} holds no {expected}: {reason}; expected PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Without a certificate there is no TLS, and whoever connects would be served.
    #[error(
        "--tls-ca alone checks nobody: an operator that takes only clients with a certificate shows one of its own, give --tls-cert and --tls-key"
    )]
    NoIdentity,
}

impl Tls {
    /// What a client needs.
    pub(super) fn of_client(&self) -> Result<ClientTlsConfig, TlsError> {
        let mut config = ClientTlsConfig::new();
        if let Some(authority) = self.authority()? {
            config = config.ca_certificate(authority);
        }
        Ok(match self.identity()? {
            Some(identity) => config.identity(identity),
            None => config,
        })
    }

    /// What a server needs; `None` where it serves everybody without TLS.
    pub(super) fn of_server(&self) -> Result<Option<ServerTlsConfig>, TlsError> {
        let authority = self.authority()?;
        let config = self.identity()?.map(|identity| ServerTlsConfig::new().identity(identity));
        match (config, authority) {
            (Some(config), Some(authority)) => Ok(Some(config.client_ca_root(authority))),
            (None, Some(_)) => Err(TlsError::NoIdentity),
            (config, None) => Ok(config),
        }
    }

    fn identity(&self) -> Result<Option<Identity>, TlsError> {
        let Some((certificate, key)) = &self.identity else { return Ok(None) };
        let certificates = certificates(certificate)?;
        let pem = read(key)?;
        let checked = PrivateKeyDer::from_pem_slice(&pem);
        checked.map_err(|error| TlsError::Pem { path: key.clone(), expected: "key", reason: error.to_string() })?;
        Ok(Some(Identity::from_pem(certificates, pem)))
    }

    fn authority(&self) -> Result<Option<Certificate>, TlsError> {
        self.authority.as_ref().map(|path| Ok(Certificate::from_pem(certificates(path)?))).transpose()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::File { path: path.to_owned(), reason: error.to_string() })
}

fn certificates(path: &Path) -> Result<Vec<u8>, TlsError> {
    let pem = read(path)?;
    let bad = |reason: String| TlsError::Pem { path: path.to_owned(), expected: "certificate", reason };
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match found.map_err(|error| bad(error.to_string()))?.len() {
        0 => Err(bad("there is none".to_owned())),
        _ => Ok(pem),
    }
}

/// What may help, where a connection's words say that waiting does not.
pub(super) fn advice(words: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 4] = [
        (
            "invalid peer certificate",
            "--tls-ca must be the authority that signed the operator's certificate for this host",
        ),
        (
            "received fatal alert",
            "give --tls-cert and --tls-key, signed by the authority that the operator trusts (its --tls-ca)",
        ),
        (
            "corrupt message",
            "it does not speak TLS there: write oip://, or start the operator with --tls-cert and --tls-key",
        ),
        ("frame with invalid size", "it may speak TLS there: write https://"),
    ];
    KNOWN.iter().find(|(said, _)| words.contains(said)).map(|(_, advice)| *advice)
}
