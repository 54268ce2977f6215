//! Nodes and operators that prove to each other who they are, with certificates that authorities really signed.

use alloy_primitives::{B256, Bytes};
use alloy_signer_local::PrivateKeySigner;
use foreblock_engine::Catalog;
use foreblock_pre_executor::{
    Compute, Unavailable,
    oip::{Client, ConnectError, OipService, RemoteOperator, Tls, serve},
    operators::{LocalOperator, Operator, Question},
    schedule::Prior,
};
use foreblock_precompile::{ModelId, Outcome, StatementDomain};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const CHAIN: u64 = 31_337;

/// Answers everything with the same output.
struct Seven;

impl Compute for Seven {
    fn run(&self, _: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        inputs.iter().map(|_| Ok(Outcome::Output("7".into()))).collect()
    }

    fn prior(&self, _: ModelId) -> Option<Prior> {
        None
    }
}

/// An authority, and the files of those for whom it vouches.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Certificate and key for somebody at this host.
    fn identity(&self, host: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let [cert, pem] = ["crt", "key"].map(|kind| self.folder.path().join(format!("{host}.{kind}")));
        fs::write(&cert, certificate.pem()).unwrap();
        fs::write(&pem, key.serialize_pem()).unwrap();
        (cert, pem)
    }
}

fn operator() -> OipService {
    let key = PrivateKeySigner::from_bytes(&B256::with_last_byte(1)).unwrap();
    let operator = LocalOperator::new(key, StatementDomain::new(CHAIN), Arc::new(Seven));
    OipService::new(operator, Catalog::new(None), CHAIN)
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(runtime: &Runtime, tls: Tls) -> SocketAddr {
    let address = free();
    runtime.spawn(async move { serve(operator(), address, &tls, std::future::pending()).await });
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nobody listens at {address}");
        thread::sleep(Duration::from_millis(10));
    }
    address
}

fn introduce(scheme: &str, address: SocketAddr, tls: &Tls) -> Result<RemoteOperator, ConnectError> {
    RemoteOperator::introduce(Client::new(&format!("{scheme}://{address}"), tls)?)
}

fn tls(authority: Option<PathBuf>, identity: Option<(PathBuf, PathBuf)>) -> Tls {
    Tls { authority, identity }
}

#[test]
fn a_node_and_an_operator_that_trust_one_authority_work_together() {
    let (runtime, ours) = (Runtime::new().unwrap(), Authority::new());
    let both = tls(Some(ours.file()), Some(ours.identity("127.0.0.1")));
    let address = start(&runtime, both.clone());
    let remote = introduce("https", address, &both).unwrap().for_chain(CHAIN);
    assert_eq!(remote.address(), PrivateKeySigner::from_bytes(&B256::with_last_byte(1)).unwrap().address());
    let model = Catalog::new(None).find("volatility").unwrap().manifest.id();
    let (question, _wanted) = Question::new(model, &["question".into()], &[], Duration::from_secs(20));
    let answer = remote.answer(&question, true).remove(0).unwrap();
    assert_eq!(answer.outcome, Outcome::Output("7".into()));
    assert!(answer.signature.is_some());
}

#[test]
fn whoever_cannot_prove_itself_is_refused_at_once_and_told_why() {
    let (runtime, ours, others) = (Runtime::new().unwrap(), Authority::new(), Authority::new());
    let identity = ours.identity("127.0.0.1");
    let closed = start(&runtime, tls(Some(ours.file()), Some(identity.clone())));
    let elsewhere = start(&runtime, tls(Some(ours.file()), Some(ours.identity("operator.example"))));
    let open = start(&runtime, Tls::default());
    let good = tls(Some(ours.file()), Some(identity));
    let foreign = tls(Some(ours.file()), Some(others.identity("127.0.0.1")));
    let misled = tls(Some(others.file()), good.identity.clone());
    for (case, scheme, address, tls, words) in [
        ("no certificate", "https", closed, tls(Some(ours.file()), None), "--tls-cert and --tls-key"),
        ("a certificate of another authority", "https", closed, foreign, "--tls-cert and --tls-key"),
        ("an operator of another authority", "https", closed, misled, "--tls-ca"),
        ("an operator at another address", "https", elsewhere, good.clone(), "operator.example"),
        ("no TLS at all", "oip", closed, good.clone(), "https://"),
        ("an operator without TLS", "https", open, good, "oip://"),
    ] {
        let started = Instant::now();
        let Err(error) = introduce(scheme, address, &tls) else { panic!("{case}: accepted") };
        let (error, elapsed) = (error.to_string(), started.elapsed());
        assert!(error.contains(words) && error.contains(&address.to_string()), "{case}: {error}");
        assert!(elapsed < Duration::from_secs(12), "{case}: nothing changes by waiting, but it took {elapsed:?}");
    }
}

#[test]
fn files_that_are_none_are_named() {
    let (runtime, ours) = (Runtime::new().unwrap(), Authority::new());
    let (cert, key) = ours.identity("127.0.0.1");
    let text = ours.folder.path().join("text.pem");
    fs::write(&text, "this is no certificate").unwrap();
    let missing = Path::new("/nonexistent/ca.pem").to_owned();
    for (case, tls, words) in [
        ("missing", tls(Some(missing), None), "/nonexistent/ca.pem"),
        ("no certificate of an authority", tls(Some(text.clone()), None), "text.pem"),
        ("no certificate", tls(Some(ours.file()), Some((text.clone(), key.clone()))), "text.pem"),
        ("no key", tls(Some(ours.file()), Some((cert.clone(), text.clone()))), "text.pem"),
    ] {
        let client = Client::new("https://127.0.0.1:1", &tls).err().map(|error| error.to_string());
        assert!(client.as_ref().is_some_and(|error| error.contains(words)), "{case}: {client:?}");
        let server = runtime.block_on(serve(operator(), free(), &tls, async {}));
        let server = server.err().map(|error| error.to_string());
        assert!(server.as_ref().is_some_and(|error| error.contains(words)), "{case}: {server:?}");
    }
    // Whoever wants to check clients must not serve everybody by mistake.
    let half = tls(Some(ours.file()), None);
    let error = runtime.block_on(serve(operator(), free(), &half, async {})).unwrap_err().to_string();
    assert!(error.contains("--tls-cert"), "{error}");
}
