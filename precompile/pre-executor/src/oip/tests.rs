//! Both sides of the protocol over loopback: operators, engines, and servers that answer badly.

use super::{
    Client, OipEngine, OipService, RemoteOperator, Tls,
    client::runtime,
    messages::{Contents, InferRequest, InferResponse, InferTensor, SERVICE},
    serve,
    service::unary,
};
use crate::{
    Compute, Unavailable,
    operators::{Fault, LocalOperator, Operator, Panel, PanelConfig, Rule},
};
use alloy_primitives::{B256, Bytes, I256};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolValue;
use foreblock_engine::{Catalog, Engine, engine::Config};
use foreblock_precompile::{
    Committee, ModelId, Outcome, StatementDomain,
    abi::{DType, Tensor},
};
use std::{
    convert::Infallible,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tonic::{Status, body::Body, transport::Server};

const CHAIN: u64 = 31_337;

fn engine() -> Engine {
    Engine::new(Catalog::new(None), Config { threads: 1, ..Config::default() })
}

fn model() -> ModelId {
    Catalog::new(None).find("volatility").unwrap().manifest.id()
}

fn question(shift: i64) -> Bytes {
    let day = |day: i64| I256::try_from((day - 8) * 3_000_000_000_000_000 + shift).unwrap().to_be_bytes::<32>();
    let data: Vec<u8> = (0..16).flat_map(day).collect();
    vec![Tensor { dtype: DType::Wad, shape: vec![1, 16], data: data.into() }].abi_encode().into()
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn listens(address: SocketAddr) {
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nobody listens at {address}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn local(number: u8, faults: &[Fault]) -> LocalOperator {
    let key = PrivateKeySigner::from_bytes(&B256::with_last_byte(number)).unwrap();
    let operator = LocalOperator::new(key, StatementDomain::new(CHAIN), Arc::new(engine()));
    operator.set_faults(faults.to_vec());
    operator
}

fn start(number: u8, faults: &[Fault]) -> Client {
    let (address, operator) = (free(), local(number, faults));
    let service = OipService::new(operator, Catalog::new(None), CHAIN);
    runtime().spawn(async move { serve(service, address, &Tls::default(), std::future::pending()).await });
    listens(address);
    Client::new(&format!("oip://{address}"), &Tls::default()).unwrap()
}

fn panel(faults: [&[Fault]; 4], rule: Rule, config: PanelConfig) -> Panel {
    let operators: Vec<Arc<dyn Operator>> = (1u8..)
        .zip(faults)
        .map(|(number, faults)| {
            let remote = RemoteOperator::introduce(start(number, faults)).unwrap().for_chain(CHAIN);
            Arc::new(remote) as Arc<dyn Operator>
        })
        .collect();
    Panel::new(config, StatementDomain::new(CHAIN), operators, move |_| Some(rule.clone()), |_| None)
}

#[test]
fn remote_operators_agree_by_every_rule() {
    let expected = engine().run(model(), &[question(0)]).remove(0).unwrap();
    let slow = [Fault::Slow(Duration::from_secs(20))];
    let paid = PanelConfig { commit_first: true, ..PanelConfig::default() };
    let hedged = PanelConfig { hedge: true, ..PanelConfig::default() };
    for (name, rule, config, faults) in [
        ("exact, one lies", Rule::Exact, PanelConfig::default(), [&[], &[Fault::Lie][..], &[], &[]]),
        ("exact, one is slow", Rule::Exact, PanelConfig::default(), [&slow[..], &[], &[], &[]]),
        ("commit before reveal", Rule::Exact, paid, [&[], &[], &[], &[Fault::Lie][..]]),
        ("a hedge", Rule::Exact, hedged, [&[], &slow[..], &[], &[]]),
        ("a tolerance", Rule::Tolerance(vec![10.0]), PanelConfig::default(), [&[], &[], &[], &[Fault::Silent][..]]),
    ] {
        let panel = panel(faults, rule, config);
        let started = Instant::now();
        assert_eq!(panel.run(model(), &[question(0)]).remove(0), Ok(expected.clone()), "{name}");
        assert!(started.elapsed() < Duration::from_secs(15), "{name}: nobody waits for the slow one");
        let id = foreblock_precompile::Request::new(model(), question(0)).id;
        let certified = Compute::certified(&panel, id, expected.clone());
        let digest = panel.domain().digest(id, &expected);
        assert_eq!(certified.certificate.verify(digest, &panel.committee()).unwrap().len(), 3, "{name}");
    }
}

#[test]
fn an_operator_signs_for_one_chain_only() {
    let panel = {
        let remote = RemoteOperator::introduce(start(1, &[])).unwrap().for_chain(1);
        Panel::new(
            PanelConfig::default(),
            StatementDomain::new(1),
            [Arc::new(remote) as Arc<dyn Operator>],
            |_| Some(Rule::Exact),
            |_| None,
        )
    };
    assert!(panel.run(model(), &[question(0)]).remove(0).is_err());
    assert_eq!(panel.committee(), Committee::new([local(1, &[]).address()]));
}

#[test]
fn an_operator_serves_clients_that_know_nothing_of_foreblock() {
    let remote = OipEngine::new(start(1, &[]), Catalog::new(None));
    let expected = engine().run(model(), &[question(0)]).remove(0).unwrap();
    assert_eq!(remote.run(model(), &[question(0)]), vec![Ok(expected)]);
}

/// A server that answers every `ModelInfer` so.
fn answering(
    answer: impl Fn(InferRequest) -> Result<InferResponse, Status> + Clone + Send + Sync + 'static,
) -> OipEngine {
    let address = free();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let answer = answer.clone();
        async move {
            assert_eq!(request.uri().path(), format!("{SERVICE}ModelInfer"));
            Ok::<_, Infallible>(unary(request, |infer: InferRequest| async move { answer(infer) }).await)
        }
    });
    runtime().spawn(async move { Server::builder().serve(address, service).await });
    listens(address);
    OipEngine::new(Client::new(&format!("oip://{address}"), &Tls::default()).unwrap(), Catalog::new(None))
}

fn output(name: &str, shape: &[i64], values: &[f32]) -> InferTensor {
    InferTensor {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape: shape.to_vec(),
        contents: Some(Contents { floats: values.to_vec(), ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn a_server_that_answers_badly_gives_no_outcome() {
    let spec = Catalog::new(None).find("volatility").unwrap().manifest.outputs()[0].clone();
    let name = spec.name.clone();
    let shape: Vec<i64> = spec.shape.iter().map(|dimension| (*dimension).max(1)).collect();
    let good = output(&name, &shape, &[0.25]);
    let integer = InferTensor {
        datatype: "INT64".to_owned(),
        contents: Some(Contents { int64s: vec![1], ..Default::default() }),
        ..good.clone()
    };
    let unknown = InferTensor { datatype: "COMPLEX".to_owned(), ..good.clone() };
    for (case, outputs, message) in [
        ("wrong shape", vec![output(&name, &[1, 2], &[0.5, 0.5])], "but the model's is"),
        ("shape and elements differ", vec![output(&name, &shape, &[0.5, 0.5])], "holds 2 elements"),
        ("a negative dimension", vec![output(&name, &[-1], &[0.5])], "holds 1 elements"),
        ("wrong name", vec![output("nonsense", &shape, &[0.25])], "but the model has"),
        ("wrong type", vec![integer], "not the model's"),
        ("unknown type", vec![unknown], "COMPLEX is not supported"),
        ("nothing", vec![], "but the model has"),
        ("NaN", vec![output(&name, &shape, &[f32::NAN])], "holds NaN or an infinity"),
        ("an infinity", vec![output(&name, &shape, &[f32::INFINITY])], "holds NaN or an infinity"),
    ] {
        let engine = answering(move |_| Ok(InferResponse { outputs: outputs.clone(), ..Default::default() }));
        let Err(Unavailable(reason)) = engine.run(model(), &[question(0)]).remove(0) else {
            panic!("{case}: an outcome")
        };
        assert!(reason.contains(message) && reason.contains("volatility"), "{case}: {reason}");
    }
    let raw = answering(move |_| {
        Ok(InferResponse {
            outputs: vec![InferTensor { contents: None, ..good.clone() }],
            raw_output_contents: vec![0.25f32.to_le_bytes().to_vec()],
            ..Default::default()
        })
    });
    assert!(
        matches!(raw.run(model(), &[question(0)]).remove(0), Ok(Outcome::Output(_))),
        "raw contents, as Triton sends"
    );
    let refusing = answering(|_| Err(Status::not_found("no such model")));
    let Err(Unavailable(reason)) = refusing.run(model(), &[question(0)]).remove(0) else { panic!("an outcome") };
    assert!(reason.contains("no such model"), "{reason}");
}

#[test]
fn a_web_server_is_no_engine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 1_024]);
            let page = "<html>welcome</html>";
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
                page.len()
            );
        }
    });
    let engine = OipEngine::new(Client::new(&format!("oip://{address}"), &Tls::default()).unwrap(), Catalog::new(None));
    let Err(Unavailable(reason)) = engine.run(model(), &[question(0)]).remove(0) else { panic!("HTML is no outcome") };
    assert!(reason.contains("is it a gRPC server of the Open Inference Protocol"), "{reason}");
}
