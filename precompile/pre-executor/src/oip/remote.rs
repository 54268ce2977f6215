//! An operator elsewhere, as the panel sees it. What it says is checked by the panel: nothing is believed here.

use super::{
    CHAIN_ID, COMMITMENTS, Client, ConnectError, INPUT, OPERATOR, OUTCOME, PHASE, REASONS, SIGNATURES, TOLERANCES,
    messages::{Contents, InferRequest, InferResponse, InferTensor, read_text, text},
    tls::advice,
};
use crate::{
    Unavailable,
    operators::{Answer, Operator, Question},
};
use alloy_primitives::{Address, B256, Bytes, Signature};
use foreblock_precompile::{Failure, FailureCode, Outcome, RequestId};
use std::time::{Duration, Instant};

/// Longest wait for an operator to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);

/// An operator behind gRPC.
pub struct RemoteOperator {
    client: Client,
    address: Address,
    chain_id: u64,
}

/// One input's part of a response.
type Part = Result<(Option<Outcome>, String, String), Unavailable>;

impl RemoteOperator {
    /// Asks the operator who it is, for as long as it may still be starting.
    pub fn introduce(client: Client) -> Result<Self, ConnectError> {
        let end = Instant::now() + INTRODUCTION;
        let address = loop {
            let said = client.wait(client.metadata(Instant::now() + LOOK * 5));
            let address = said.as_ref().ok().and_then(|metadata| {
                let prefix = format!("{OPERATOR}:");
                metadata.extensions.iter().find_map(|extension| extension.strip_prefix(&prefix)?.parse().ok())
            });
            match (address, said) {
                (Some(address), _) => break address,
                (None, Err(status)) if let Some(advice) = advice(status.message()) => {
                    let (url, reason) = (client.url().to_owned(), status.message().to_owned());
                    return Err(ConnectError::Refused { url, reason, advice });
                }
                (None, Err(status)) if Instant::now() >= end => {
                    return Err(ConnectError::NoOperator { url: client.url().to_owned(), reason: status.to_string() });
                }
                (None, Ok(metadata)) => {
                    let reason = format!("it is {} {}", metadata.name, metadata.version);
                    return Err(ConnectError::NoOperator { url: client.url().to_owned(), reason });
                }
                (None, Err(_)) => std::thread::sleep(LOOK),
            }
        };
        Ok(Self { client, address, chain_id: 0 })
    }

    /// The chain that its statements are wanted for.
    pub fn for_chain(self, chain_id: u64) -> Self {
        Self { chain_id, ..self }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.client.url()
    }

    fn ask(&self, question: &Question, phase: &str, inputs: Vec<Vec<u8>>) -> Vec<Part> {
        let count = question.inputs.len();
        let tolerances: Vec<String> = question.tolerances.iter().map(f64::to_string).collect();
        let tensor = InferTensor {
            name: INPUT.to_owned(),
            datatype: "BYTES".to_owned(),
            shape: vec![inputs.len() as i64],
            contents: Some(Contents { bytes: inputs, ..Default::default() }),
            ..Default::default()
        };
        let request = InferRequest {
            model_name: question.model.to_string(),
            parameters: [
                (PHASE.to_owned(), text(phase)),
                (CHAIN_ID.to_owned(), text(self.chain_id.to_string())),
                (TOLERANCES.to_owned(), text(tolerances.join(","))),
            ]
            .into(),
            inputs: vec![tensor],
            ..Default::default()
        };
        let answered = self.client.wait(async {
            tokio::select! {
                answer = self.client.infer(request, question.deadline) => answer.map_err(|status| status.to_string()),
                () = question.cancelled() => Err("nobody waits any more".to_owned()),
            }
        });
        let parts = answered.and_then(|response| parts(&response, count));
        parts.unwrap_or_else(|reason| {
            let why = format!("operator {} at {}: {reason}", self.address, self.client.url());
            vec![Err(Unavailable(why)); count]
        })
    }

    fn inputs(question: &Question) -> Vec<Vec<u8>> {
        question.inputs.iter().map(|(_, input)| input.to_vec()).collect()
    }
}

/// The response, input by input.
fn parts(response: &InferResponse, count: usize) -> Result<Vec<Part>, String> {
    let list = |name: &str| -> Vec<String> {
        read_text(&response.parameters, name).unwrap_or_default().split(',').map(str::to_owned).collect()
    };
    let reasons: Vec<String> =
        read_text(&response.parameters, REASONS).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let outcomes = response.outputs.iter().find(|tensor| tensor.name == OUTCOME);
    let outcomes = outcomes.and_then(|tensor| tensor.contents.clone()).unwrap_or_default().bytes;
    let (signatures, commitments) = (list(SIGNATURES), list(COMMITMENTS));
    let lengths = [outcomes.len(), signatures.len(), commitments.len(), reasons.len()];
    if lengths.iter().any(|length| *length != count) {
        return Err(format!("it was asked for {count} answers and gave {lengths:?}"));
    }
    let part = |at: usize| {
        if !reasons[at].is_empty() {
            return Err(Unavailable(reasons[at].clone()));
        }
        let outcome = if outcomes[at].is_empty() { None } else { Some(outcome(&outcomes[at])?) };
        Ok((outcome, signatures[at].clone(), commitments[at].clone()))
    };
    Ok((0..count).map(part).collect())
}

/// `uint16 code ‖ data`.
pub(super) fn outcome(bytes: &[u8]) -> Result<Outcome, Unavailable> {
    let wrong = || Unavailable("an outcome does not decode: expected a code of two bytes and its data".into());
    let (code, data) = bytes.split_at_checked(2).ok_or_else(wrong)?;
    match u16::from_be_bytes([code[0], code[1]]) {
        0 => Ok(Outcome::Output(Bytes::copy_from_slice(data))),
        code => {
            let code = FailureCode::try_from(code).map_err(|_| wrong())?;
            let reason = std::str::from_utf8(data).map_err(|_| wrong())?;
            Ok(Outcome::Failed(Failure::new(code, reason)))
        }
    }
}

pub(super) fn outcome_bytes(outcome: &Outcome) -> Vec<u8> {
    let (code, data) = match outcome {
        Outcome::Output(output) => (0, output.as_ref()),
        Outcome::Failed(failure) => (failure.code as u16, failure.reason.as_bytes()),
    };
    [&code.to_be_bytes()[..], data].concat()
}

fn signature(text: &str) -> Result<Option<Signature>, Unavailable> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Unavailable(format!("{text:?} is no signature")))
}

fn answer(part: Part) -> Result<Answer, Unavailable> {
    let (outcome, signed, _) = part?;
    let outcome = outcome.ok_or_else(|| Unavailable("there is no outcome in the answer".into()))?;
    Ok(Answer { outcome, signature: signature(&signed)? })
}

impl Operator for RemoteOperator {
    fn address(&self) -> Address {
        self.address
    }

    fn answer(&self, question: &Question, sign: bool) -> Vec<Result<Answer, Unavailable>> {
        let phase = if sign { "answer" } else { "compute" };
        self.ask(question, phase, Self::inputs(question)).into_iter().map(answer).collect()
    }

    fn endorse(&self, question: &Question, id: RequestId, outcome: &Outcome) -> Result<Signature, Unavailable> {
        let one = question.inputs.iter().filter(|(known, _)| *known == id).cloned().collect();
        let one = question.about(one);
        let both = Self::inputs(&one).into_iter().chain([outcome_bytes(outcome)]).collect();
        let part = self.ask(&one, "endorse", both).pop();
        let part = part.ok_or_else(|| Unavailable(format!("{id} is not of this question")))?;
        signature(&part?.1)?.ok_or_else(|| Unavailable("there is no signature in the answer".into()))
    }

    fn commit(&self, question: &Question) -> Vec<Result<B256, Unavailable>> {
        let commitment = |part: Part| {
            let text = part?.2;
            text.parse().map_err(|_| Unavailable(format!("{text:?} is no commitment")))
        };
        self.ask(question, "commit", Self::inputs(question)).into_iter().map(commitment).collect()
    }

    fn reveal(&self, question: &Question) -> Vec<Result<(Answer, B256), Unavailable>> {
        let revealed = |part: Part| {
            let salt = part.as_ref().map_err(Clone::clone)?.2.clone();
            let salt = salt.parse().map_err(|_| Unavailable(format!("{salt:?} is no salt")))?;
            Ok((answer(part)?, salt))
        };
        self.ask(question, "reveal", Self::inputs(question)).into_iter().map(revealed).collect()
    }
}
