//! TLS between processes: operators that take only clients with a certificate, and a follower of a producer behind `https`.

use foreblock_tests::{
    network::{Operator, ask},
    node::{Node, PATIENCE, free_port},
    tools::{finish, foreblock},
    upstream::Proxy,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// An authority with one identity for this machine, as files: `ca.pem`, `own.crt`, `own.key`. Returns the identity in DER.
fn authority(folder: &Path) -> (Vec<u8>, Vec<u8>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::create_dir_all(folder).unwrap();
    for (name, pem) in [("ca.pem", issuer.pem()), ("own.crt", own.pem()), ("own.key", key.serialize_pem())] {
        fs::write(folder.join(name), pem).unwrap();
    }
    (own.der().to_vec(), key.serialize_der())
}

fn flags(folder: &Path) -> Vec<String> {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    ["--tls-ca", &file("ca.pem"), "--tls-cert", &file("own.crt"), "--tls-key", &file("own.key")]
        .map(str::to_owned)
        .to_vec()
}

/// What a program says that ends by itself, with an error.
fn refusal(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(foreblock());
    command.args(args).args(["--port", &free_port().to_string(), "--data-dir"]).arg(folder.path());
    let output = finish(command.stdin(Stdio::null()));
    assert!(!output.status.success(), "{args:?} succeeds");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_operator_serves_whom_its_authority_knows_and_tells_others_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (folder.path().join("ours"), folder.path().join("others"));
    authority(&ours);
    authority(&others);
    let (own, foreign) = (flags(&ours), flags(&others));
    let words = |flags: &[String]| flags.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    let (own_words, foreign_words) = (words(&own), words(&foreign));
    let own: Vec<&str> = own_words.lines().collect();
    let foreign: Vec<&str> = foreign_words.lines().collect();
    let operator = Operator::start(&own);
    operator.wait();
    let url = operator.url().replace("oip://", "https://");

    let node = Node::start(&[&own[..], &["--operator", &url]].concat());
    assert_eq!(node.receipt(&ask(&node, "volatility", 1))["status"], "0x1");

    let none = refusal(&["--tls-ca", own[1], "--operator", &url]);
    assert!(none.contains("give --tls-cert and --tls-key"), "{none}");
    let mixed = [&["--tls-ca", own[1]], &foreign[2..], &["--operator", &url]].concat();
    let unknown = refusal(&mixed);
    assert!(unknown.contains("give --tls-cert and --tls-key"), "{unknown}");
    let misled = refusal(&[&foreign[..], &["--operator", &url]].concat());
    assert!(misled.contains("--tls-ca must be the authority"), "{misled}");
}

#[test]
fn a_follower_takes_blocks_over_https_from_whom_it_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = authority(folder.path());
    let producer = Node::start(&["--operators", "4"]);
    let proxy = Proxy::start_tls(&producer.url(), &certificate, &key);
    let url = format!("https://127.0.0.1:{}", proxy.port());
    let ca = folder.path().join("ca.pem");
    let follower = Node::start(&["follow", &url, "--tls-ca", ca.to_str().unwrap()]);
    let number = producer.receipt(&ask(&producer, "volatility", 1))["blockNumber"].clone();
    let block = |node: &Node| node.rpc("eth_getBlockByNumber", json!([number, false]));
    let end = Instant::now() + PATIENCE;
    while block(&follower).is_null() {
        assert!(Instant::now() < end, "the follower does not get there:\n{}", follower.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(block(&follower)["stateRoot"], block(&producer)["stateRoot"]);

    let stranger = refusal(&["follow", &url]);
    assert!(stranger.contains("certificate") && stranger.contains(&url), "{stranger}");
    let key = folder.path().join("own.key");
    let wrong = refusal(&["follow", &url, "--tls-ca", key.to_str().unwrap()]);
    assert!(wrong.contains("own.key") && wrong.contains("no certificate in it"), "{wrong}");
}
