//! A connection to a sidecar, for callers that wait.

use crate::frame::{self, Answer, FrameError, LOOKUP_MAX, Noted, Question, Reason, VERSION};
use alloy_primitives::{Address, B256, Bytes};
use foreblock_precompile::{ModelId, Outcome, RequestId};
use std::{
    io::{self, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody there, nobody any more, or no answer in time.
    #[error("no answer from the sidecar: {0}; is `foreblock sidecar` running, and is this its socket?")]
    Silent(#[from] io::Error),
    /// Bytes that are no answer.
    #[error("the sidecar answers with something else: {0}")]
    Frame(#[from] FrameError),
    /// An answer to another question.
    #[error("the sidecar answers another question than was asked")]
    Other,
    /// It says that it does not.
    #[error("the sidecar refuses: {1} ({0:?})")]
    Refused(Reason, String),
}

/// A connection. After an error that is no refusal it is of no use: an answer may still come, and would be taken for the next one's.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    out: Vec<u8>,
    frame: Vec<u8>,
    chain_id: u64,
    precompile: Address,
}

impl Client {
    /// Connects and greets. `chain_id` 0 takes any chain; no answer may take longer than `patience`.
    pub fn connect(path: &Path, chain_id: u64, patience: Duration) -> Result<Self, ClientError> {
        Self::greet(path, VERSION, chain_id, patience)
    }

    /// The same as a client of another version of the schema: for tests.
    pub fn greet(path: &Path, version: u16, chain_id: u64, patience: Duration) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let (out, frame) = (Vec::new(), Vec::new());
        let mut client = Self { stream: BufReader::new(stream), out, frame, chain_id, precompile: Address::ZERO };
        match client.ask(&Question::Hello { version, chain_id })? {
            Answer::Welcome { chain_id: there, precompile, .. } => {
                if chain_id != 0 && there != chain_id {
                    let words = format!("this client is of chain {chain_id}, the sidecar of {there}");
                    return Err(ClientError::Refused(Reason::Chain, words));
                }
                Ok(Self { chain_id: there, precompile, ..client })
            }
            _ => Err(ClientError::Other),
        }
    }

    /// The chain of the sidecar's node.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Where the sidecar takes the precompile to stand.
    pub fn precompile(&self) -> Address {
        self.precompile
    }

    /// Outcomes of these requests, in their order; in frames of [`LOOKUP_MAX`], all sent before the first answer is read.
    pub fn lookup(&mut self, ids: &[RequestId]) -> Result<Vec<Option<Outcome>>, ClientError> {
        self.out.clear();
        let chunks = ids.chunks(LOOKUP_MAX);
        chunks.clone().for_each(|chunk| Question::Lookup(chunk.to_vec()).write(&mut self.out));
        self.stream.get_mut().write_all(&self.out)?;
        let mut found = Vec::with_capacity(ids.len());
        for chunk in chunks {
            match self.answer()? {
                Answer::Outcomes(outcomes) if outcomes.len() == chunk.len() => found.extend(outcomes),
                _ => return Err(ClientError::Other),
            }
        }
        Ok(found)
    }

    /// The outcome of one request.
    pub fn lookup_one(&mut self, id: RequestId) -> Result<Option<Outcome>, ClientError> {
        match self.ask(&Question::Lookup(vec![id]))? {
            Answer::Outcomes(mut outcomes) if outcomes.len() == 1 => Ok(outcomes.remove(0)),
            _ => Err(ClientError::Other),
        }
    }

    /// Tells of a request that a builder missed.
    pub fn wanted(&mut self, transaction: B256, model: ModelId, input: Bytes) -> Result<Noted, ClientError> {
        match self.ask(&Question::Wanted { transaction, model, input })? {
            Answer::Noted(noted) => Ok(noted),
            _ => Err(ClientError::Other),
        }
    }

    /// The encoded inference list of a block that used these.
    pub fn list(&mut self, used: Vec<RequestId>) -> Result<Bytes, ClientError> {
        match self.ask(&Question::List(used))? {
            Answer::Listed(list) => Ok(list),
            _ => Err(ClientError::Other),
        }
    }

    /// What the sidecar says of itself, JSON.
    pub fn status(&mut self) -> Result<Bytes, ClientError> {
        match self.ask(&Question::Status)? {
            Answer::State(json) => Ok(json),
            _ => Err(ClientError::Other),
        }
    }

    /// A case of the conformance suite, JSON in both directions.
    pub fn examine(&mut self, json: Bytes) -> Result<Bytes, ClientError> {
        match self.ask(&Question::Examine(json))? {
            Answer::Examined(json) => Ok(json),
            _ => Err(ClientError::Other),
        }
    }

    fn ask(&mut self, question: &Question) -> Result<Answer, ClientError> {
        self.out.clear();
        question.write(&mut self.out);
        self.stream.get_mut().write_all(&self.out)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer, ClientError> {
        if !frame::read(&mut self.stream, &mut self.frame)? {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match Answer::read(&self.frame)? {
            Answer::Refused(reason, words) => Err(ClientError::Refused(reason, words)),
            answer => Ok(answer),
        }
    }
}
