//! An operator as a server of the protocol.

use super::{
    CHAIN_ID, COMMITMENTS, INPUT, OPERATOR, OUTCOME, OUTCOME_HASHES, PHASE, REASONS, REQUEST_IDS, SIGNATURES,
    TOLERANCES, Tls,
    client::MESSAGE_BYTES_MAX,
    messages::{
        Contents, InferRequest, InferResponse, InferTensor, ModelMetadata, ModelName, Nothing, ReadyResponse, SERVICE,
        ServerMetadata, TensorMetadata, read_text, text,
    },
    remote::{outcome, outcome_bytes},
    tensors,
};
use crate::{
    Unavailable,
    operators::{Answer, LocalOperator, Operator, Question},
};
use alloy_primitives::{B256, Bytes, hex};
use foreblock_engine::{Catalog, ElementType, Manifest, wire};
use foreblock_precompile::{Outcome, abi::TensorSpec};
use prost::Message;
use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tonic::{Request, Response, Status, body::Body, transport::Server};
use tonic_prost::ProstCodec;

/// Longest that one question may take, and most inputs in one.
const PATIENCE: Duration = Duration::from_secs(120);
const INPUTS_MAX: usize = 4_096;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct OipService(Arc<Inner>);

struct Inner {
    operator: LocalOperator,
    catalog: Catalog,
    chain_id: u64,
}

/// What an operator said of one input.
#[derive(Default)]
struct Said {
    outcome: Option<Outcome>,
    signature: String,
    commitment: String,
    reason: String,
}

impl OipService {
    /// This operator, which serves the models of the catalog and signs for one chain.
    pub fn new(operator: LocalOperator, catalog: Catalog, chain_id: u64) -> Self {
        Self(Arc::new(Inner { operator, catalog, chain_id }))
    }

    async fn route(self, request: http::Request<Body>) -> http::Response<Body> {
        let method = request.uri().path().strip_prefix(SERVICE).unwrap_or_default().to_owned();
        match method.as_str() {
            "ServerLive" | "ServerReady" => {
                unary(request, |_: Nothing| async { Ok(ReadyResponse { ready: true }) }).await
            }
            "ModelReady" => {
                let ready =
                    |name: ModelName| async move { Ok(ReadyResponse { ready: self.manifest(&name.name).is_ok() }) };
                unary(request, ready).await
            }
            "ServerMetadata" => unary(request, |_: Nothing| async move { Ok(self.metadata()) }).await,
            "ModelMetadata" => unary(request, |name: ModelName| async move { self.model_metadata(&name.name) }).await,
            "ModelInfer" => unary(request, |infer: InferRequest| self.infer(infer)).await,
            _ => Status::unimplemented("no such method of inference.GRPCInferenceService").into_http(),
        }
    }

    fn metadata(&self) -> ServerMetadata {
        ServerMetadata {
            name: "foreblock operator".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: vec![format!("{OPERATOR}:{}", self.0.operator.address())],
        }
    }

    fn manifest(&self, name: &str) -> Result<Manifest, Status> {
        let found = self.0.catalog.find(name).map_err(|error| Status::not_found(error.to_string()))?;
        Ok(found.manifest)
    }

    fn model_metadata(&self, name: &str) -> Result<ModelMetadata, Status> {
        let manifest = self.manifest(name)?;
        let tensors = |specs: &[TensorSpec]| -> Vec<TensorMetadata> {
            let kind = |spec: &TensorSpec| ElementType::from_onnx(i32::from(spec.elementType));
            let one = |spec: &TensorSpec| TensorMetadata {
                name: spec.name.clone(),
                datatype: kind(spec).map_or_else(String::new, |kind| tensors::datatype(kind).to_owned()),
                shape: spec.shape.clone(),
            };
            specs.iter().map(one).collect()
        };
        Ok(ModelMetadata {
            name: manifest.id().to_string(),
            versions: vec![],
            platform: "foreblock".to_owned(),
            inputs: tensors(manifest.inputs()),
            outputs: tensors(manifest.outputs()),
        })
    }

    async fn infer(self, request: InferRequest) -> Result<InferResponse, Status> {
        let manifest = self.manifest(&request.model_name)?;
        if let Some(asked) = read_text(&request.parameters, CHAIN_ID)
            && asked != self.0.chain_id.to_string()
        {
            let own = self.0.chain_id;
            return Err(Status::failed_precondition(format!("this operator signs for chain {own}, not for {asked}")));
        }
        let whole = request.inputs.first().is_some_and(|tensor| tensor.name == INPUT);
        let phase = read_text(&request.parameters, PHASE).unwrap_or("answer").to_owned();
        let mut inputs = if whole { whole_inputs(&request)? } else { vec![typed_input(&manifest, &request)?] };
        let chosen = if phase == "endorse" { inputs.pop() } else { None };
        if inputs.len() > INPUTS_MAX {
            return Err(Status::invalid_argument(format!(
                "{} inputs, but one request takes {INPUTS_MAX}",
                inputs.len()
            )));
        }
        let tolerances = tolerances(&request)?;
        // The guard lives in this future: when the client goes away, so does it.
        let (question, _wanted) = Question::new(manifest.id(), &inputs, &tolerances, PATIENCE);
        let asked = question.clone();
        let service = self.clone();
        let said = tokio::task::spawn_blocking(move || {
            service.said(&asked, &phase, chosen.as_ref().map(|bytes| bytes.as_ref()))
        })
        .await;
        let said = said.map_err(|error| Status::internal(format!("the engine broke: {error}")))??;
        let mut response = self.response(&question, &said);
        (response.id, response.model_name) = (request.id, request.model_name);
        if !whole {
            response.outputs = typed_outputs(&manifest, &said)?;
        }
        Ok(response)
    }

    fn said(&self, question: &Question, phase: &str, chosen: Option<&[u8]>) -> Result<Vec<Said>, Status> {
        let operator = &self.0.operator;
        let signed = |answer: Answer| Said {
            outcome: Some(answer.outcome),
            signature: answer.signature.map_or_else(String::new, |one| hex::encode_prefixed(one.as_bytes())),
            ..Said::default()
        };
        let committed = |commitment: B256| Said { commitment: commitment.to_string(), ..Said::default() };
        Ok(match phase {
            "answer" => each(operator.answer(question, true), signed),
            "compute" => each(operator.answer(question, false), signed),
            "commit" => each(operator.commit(question), committed),
            "reveal" => each(operator.reveal(question), |(answer, salt)| Said {
                commitment: salt.to_string(),
                ..signed(answer)
            }),
            "endorse" => {
                let (Some(chosen), [(id, _)]) = (chosen, &question.inputs[..]) else {
                    return Err(Status::invalid_argument("endorse takes one input and one outcome"));
                };
                let chosen = outcome(chosen).map_err(|error| Status::invalid_argument(error.to_string()))?;
                let endorsed = operator.endorse(question, *id, &chosen);
                each(vec![endorsed], |signature| Said {
                    signature: hex::encode_prefixed(signature.as_bytes()),
                    ..Said::default()
                })
            }
            other => return Err(Status::invalid_argument(format!("{other:?} is no phase"))),
        })
    }

    fn response(&self, question: &Question, said: &[Said]) -> InferResponse {
        let list = |of: &dyn Fn(&Said) -> String| text(said.iter().map(of).collect::<Vec<_>>().join(","));
        let ids: Vec<String> = question.inputs.iter().map(|(id, _)| id.to_string()).collect();
        let reasons: Vec<&str> = said.iter().map(|said| said.reason.as_str()).collect();
        let hash = |said: &Said| said.outcome.as_ref().map_or_else(String::new, |outcome| outcome.hash().to_string());
        let bytes = |said: &Said| said.outcome.as_ref().map_or_else(Vec::new, outcome_bytes);
        let outcomes = InferTensor {
            name: OUTCOME.to_owned(),
            datatype: "BYTES".to_owned(),
            shape: vec![said.len() as i64],
            contents: Some(Contents { bytes: said.iter().map(bytes).collect(), ..Default::default() }),
            ..Default::default()
        };
        InferResponse {
            parameters: [
                (OPERATOR.to_owned(), text(self.0.operator.address().to_string())),
                (CHAIN_ID.to_owned(), text(self.0.chain_id.to_string())),
                (REQUEST_IDS.to_owned(), text(ids.join(","))),
                (OUTCOME_HASHES.to_owned(), list(&hash)),
                (SIGNATURES.to_owned(), list(&|said| said.signature.clone())),
                (COMMITMENTS.to_owned(), list(&|said| said.commitment.clone())),
                (REASONS.to_owned(), text(serde_json::json!(reasons).to_string())),
            ]
            .into(),
            outputs: vec![outcomes],
            ..Default::default()
        }
    }
}

fn each<T>(answers: Vec<Result<T, Unavailable>>, said: impl Fn(T) -> Said) -> Vec<Said> {
    let one = |answer: Result<T, Unavailable>| match answer {
        Ok(answer) => said(answer),
        Err(unavailable) => Said { reason: unavailable.0, ..Said::default() },
    };
    answers.into_iter().map(one).collect()
}

fn whole_inputs(request: &InferRequest) -> Result<Vec<Bytes>, Status> {
    let [tensor] = &request.inputs[..] else {
        return Err(Status::invalid_argument(format!("{INPUT} is the only tensor of its request")));
    };
    let contents = tensor.contents.clone().unwrap_or_default();
    if contents.bytes.is_empty() {
        return Err(Status::invalid_argument(format!("{INPUT} holds no inputs: expected BYTES, one element an input")));
    }
    Ok(contents.bytes.into_iter().map(Bytes::from).collect())
}

/// The model's own tensors, as a client that knows nothing of Foreblock sends them.
fn typed_input(manifest: &Manifest, request: &InferRequest) -> Result<Bytes, Status> {
    let invalid = |reason: String| Status::invalid_argument(reason);
    let tensor = |spec: &TensorSpec| {
        let at = request.inputs.iter().position(|tensor| tensor.name == spec.name);
        let at = at.ok_or_else(|| invalid(format!("input {:?} of the model is missing", spec.name)))?;
        let raw = &request.raw_input_contents;
        let raw = if raw.is_empty() { None } else { Some(raw.get(at).map_or(&[][..], Vec::as_slice)) };
        let tensor = tensors::decode(&request.inputs[at], raw).map_err(|error| invalid(error.to_string()))?;
        wire::to_wire(&tensor).map_err(|failure| invalid(failure.to_string()))
    };
    if request.inputs.len() != manifest.inputs().len() {
        let (given, wanted) = (request.inputs.len(), manifest.inputs().len());
        return Err(invalid(format!("{given} tensors, but the model takes {wanted}")));
    }
    let tensors = manifest.inputs().iter().map(tensor).collect::<Result<Vec<_>, _>>()?;
    Ok(wire::write(&tensors))
}

fn typed_outputs(manifest: &Manifest, said: &[Said]) -> Result<Vec<InferTensor>, Status> {
    let output = match said.first().map(|said| (&said.outcome, &said.reason)) {
        Some((Some(Outcome::Output(output)), _)) => output,
        Some((Some(Outcome::Failed(failure)), _)) => return Err(Status::invalid_argument(failure.to_string())),
        Some((None, reason)) => return Err(Status::unavailable(reason)),
        None => return Ok(Vec::new()),
    };
    // An output's wire form is one that an input of its type accepts.
    let outputs =
        wire::decode_input(output, manifest.outputs()).map_err(|failure| Status::internal(failure.to_string()))?;
    let named = manifest.outputs().iter().zip(&outputs);
    let encoded = named.map(|(spec, tensor)| tensors::encode(&spec.name, tensor)).collect::<Result<_, _>>();
    encoded.map_err(|error| Status::unimplemented(error.to_string()))
}

fn tolerances(request: &InferRequest) -> Result<Vec<f64>, Status> {
    let text = read_text(&request.parameters, TOLERANCES).unwrap_or_default();
    let number = |part: &str| {
        let number = part.parse::<f64>().ok().filter(|number| *number >= 0.0);
        number.ok_or_else(|| Status::invalid_argument(format!("{part:?} is no tolerance")))
    };
    text.split(',').filter(|part| !part.is_empty()).map(number).collect()
}

pub(super) async fn unary<M, R, F>(request: http::Request<Body>, answer: impl FnOnce(M) -> F) -> http::Response<Body>
where
    M: Message + Default + 'static,
    R: Message + 'static,
    F: Future<Output = Result<R, Status>>,
{
    let mut answer = Some(answer);
    let service = tower::service_fn(move |request: Request<M>| {
        let answered = answer.take().map(|answer| answer(request.into_inner()));
        async move {
            match answered {
                Some(answered) => answered.await.map(Response::new),
                None => Err(Status::internal("a unary call has one message")),
            }
        }
    });
    tonic::server::Grpc::new(ProstCodec::<R, M>::default())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
        .unary(service, request)
        .await
}

impl tower::Service<http::Request<Body>> for OipService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.route(request).await) })
    }
}

/// Serves until it fails or `until` ends; with TLS if there is an identity, and then only to clients that the authority
/// vouches for, if there is one.
///
/// # Errors
/// What is wrong with the address or the files of TLS.
pub async fn serve(
    service: OipService,
    address: SocketAddr,
    tls: &Tls,
    until: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut server = Server::builder().tcp_nodelay(true);
    if let Some(config) = tls.of_server()? {
        server = server.tls_config(config)?;
    }
    Ok(server.serve_with_shutdown(address, service, until).await?)
}
