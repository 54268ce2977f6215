//! What goes over the socket.
//!
//! | bytes | content |
//! | --- | --- |
//! | 4 | length of what follows, big-endian, 1 to [`BYTES_MAX`] |
//! | 1 | kind |
//! | rest | body |
//!
//! All integers are big-endian. Answers come in the order of the questions, so that many questions may be on their way at once.

use alloy_primitives::{Address, B256, Bytes};
use foreblock_precompile::{Failure, FailureCode, ModelId, Outcome, RequestId};
use std::io::{self, Read};

/// The schema's version. Within one, kinds and codes are only added.
pub const VERSION: u16 = 1;

/// First bytes of a connection's first body.
pub const MAGIC: [u8; 4] = *b"fbsc";

/// Longest frame, without its length.
pub const BYTES_MAX: usize = 16 << 20;

/// Most ids in one lookup.
pub const LOOKUP_MAX: usize = 1_024;

/// Most ids in one list.
pub const LIST_MAX: usize = 65_536;

/// Bytes of an id.
const ID: usize = 32;

const HELLO: u8 = 1;
const LOOKUP: u8 = 2;
const WANTED: u8 = 3;
const LIST: u8 = 4;
const STATUS: u8 = 5;
const EXAMINE: u8 = 6;
const WELCOME: u8 = 0x81;
const OUTCOMES: u8 = 0x82;
const NOTED: u8 = 0x83;
const LISTED: u8 = 0x84;
const STATE: u8 = 0x85;
const EXAMINED: u8 = 0x86;
const REFUSED: u8 = 0xff;

const MISSING: u8 = 0;
const OUTPUT: u8 = 1;
const FAILED: u8 = 2;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// First on a connection. Body: `fbsc`, version 2 bytes, chain id 8 bytes; 0 is any chain.
    Hello {
        /// The client's version of this schema.
        version: u16,
        /// The client's chain.
        chain_id: u64,
    },
    /// Outcomes of these requests, 1 to [`LOOKUP_MAX`]. Body: 32 bytes each.
    Lookup(Vec<RequestId>),
    /// The builder missed this request. Body: hash of the transaction (zeros for none), model, input.
    Wanted {
        /// The transaction that asks, if one does.
        transaction: B256,
        /// The model asked.
        model: ModelId,
        /// Canonical `abi.encode(Tensor[])`.
        input: Bytes,
    },
    /// The inference list of a block that used these, in any order and at most [`LIST_MAX`]. Body: 32 bytes each.
    List(Vec<RequestId>),
    /// What the sidecar says of itself. No body.
    Status,
    /// A case of the conformance suite. Body: JSON.
    Examine(Bytes),
}

/// What became of a request that a builder missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Noted {
    /// Nobody will compute it now: the queue is full, or no model has this id.
    NotTaken = 0,
    /// Its outcome is there.
    There = 1,
    /// It is queued or runs.
    Queued = 2,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Reason {
    /// The two speak other versions. The connection ends.
    Version = 1,
    /// The client is of another chain. The connection ends.
    Chain = 2,
    /// The frame cannot be read, or comes before the hello. The connection ends.
    Malformed = 3,
    /// No such kind: the sidecar is older.
    Unknown = 4,
    /// A list needs an outcome that is not there.
    Missing = 5,
    /// Not now: the node beside it does not answer, or is of another chain.
    Unavailable = 6,
    /// This implementation does not do that.
    Unsupported = 7,
    /// Too many connections. The connection ends.
    Busy = 8,
}

impl Reason {
    /// The reason with this code.
    pub fn from_code(code: u16) -> Option<Self> {
        use Reason::*;
        [Version, Chain, Malformed, Unknown, Missing, Unavailable, Unsupported, Busy]
            .into_iter()
            .find(|reason| *reason as u16 == code)
    }

    /// Whether the connection ends with it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Version | Self::Chain | Self::Malformed | Self::Busy)
    }
}

/// What the sidecar answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a hello. Body: version 2 bytes, chain id 8 bytes, address 20 bytes.
    Welcome {
        /// The sidecar's version.
        version: u16,
        /// The node's chain.
        chain_id: u64,
        /// Where the precompile stands.
        precompile: Address,
    },
    /// To a lookup, one for each id in their order. Body: for each a byte: 0 missing; 1 output, then 4 bytes length and the bytes; 2
    /// failed, then 2 bytes code, 4 bytes length and the reason.
    Outcomes(Vec<Option<Outcome>>),
    /// To wanted. Body: 1 byte.
    Noted(Noted),
    /// To list. Body: the list as blocks carry it; empty for a block that used nothing.
    Listed(Bytes),
    /// To status. Body: JSON.
    State(Bytes),
    /// To examine. Body: JSON.
    Examined(Bytes),
    /// To anything. Body: code 2 bytes, then words.
    Refused(Reason, String),
}

/// Bytes that are no frame of this schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed, or empty.
    #[error("a frame of {0} bytes: expected 1 to {BYTES_MAX}")]
    Length(usize),
    /// A kind that this version does not have.
    #[error("kind {0:#04x} is not in version {VERSION}")]
    Kind(u8),
    /// A body that does not fit its kind.
    #[error("the body of kind {0:#04x} is malformed: {1}")]
    Body(u8, &'static str),
}

/// Reads one frame's body, kind first, into `frame`; false at the end of the stream.
pub fn read(stream: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 4];
    if let Err(error) = stream.read_exact(&mut length) {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(false) } else { Err(error) };
    }
    let length = u32::from_be_bytes(length) as usize;
    if !(1..=BYTES_MAX).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, FrameError::Length(length)));
    }
    frame.clear();
    // What was announced may never come: memory follows what did.
    let got = stream.take(length as u64).read_to_end(frame)?;
    if got == length { Ok(true) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Appends a frame to `out`, its body written by `body`.
fn frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0, 0, 0, 0, kind]);
    body(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn ids(out: &mut Vec<u8>, ids: &[RequestId]) {
    ids.iter().for_each(|id| out.extend(id));
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

impl Question {
    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello { version, chain_id } => frame(out, HELLO, |out| {
                out.extend(MAGIC);
                out.extend(version.to_be_bytes());
                out.extend(chain_id.to_be_bytes());
            }),
            Self::Lookup(asked) => frame(out, LOOKUP, |out| ids(out, asked)),
            Self::Wanted { transaction, model, input } => frame(out, WANTED, |out| {
                out.extend(transaction);
                out.extend(model);
                out.extend(input);
            }),
            Self::List(used) => frame(out, LIST, |out| ids(out, used)),
            Self::Status => frame(out, STATUS, |_| {}),
            Self::Examine(json) => frame(out, EXAMINE, |out| out.extend(json)),
        }
    }

    /// The question in a frame.
    pub fn read(frame: &[u8]) -> Result<Self, FrameError> {
        let (kind, body) = frame.split_first().ok_or(FrameError::Length(0))?;
        let malformed = |why| FrameError::Body(*kind, why);
        match *kind {
            HELLO => {
                let body: &[u8; 14] = body.try_into().map_err(|_| malformed("expected 14 bytes"))?;
                if body[..4] != MAGIC {
                    return Err(malformed("expected `fbsc` first"));
                }
                let version = u16::from_be_bytes([body[4], body[5]]);
                let chain_id = u64::from_be_bytes(body[6..].try_into().expect("8 of 14 bytes"));
                Ok(Self::Hello { version, chain_id })
            }
            LOOKUP => match read_ids(body, LOOKUP_MAX) {
                Some(asked) if !asked.is_empty() => Ok(Self::Lookup(asked)),
                _ => Err(malformed("expected 1 to 1,024 ids of 32 bytes")),
            },
            WANTED => {
                let (heads, input) =
                    body.split_at_checked(2 * ID).ok_or(malformed("expected 64 bytes and the input"))?;
                let (transaction, model) = (B256::from_slice(&heads[..ID]), B256::from_slice(&heads[ID..]));
                Ok(Self::Wanted { transaction, model, input: Bytes::copy_from_slice(input) })
            }
            LIST => read_ids(body, LIST_MAX).map(Self::List).ok_or(malformed("expected up to 65,536 ids of 32 bytes")),
            STATUS if body.is_empty() => Ok(Self::Status),
            STATUS => Err(malformed("expected nothing")),
            EXAMINE => Ok(Self::Examine(Bytes::copy_from_slice(body))),
            kind => Err(FrameError::Kind(kind)),
        }
    }
}

fn read_ids(body: &[u8], max: usize) -> Option<Vec<RequestId>> {
    let (ids, rest) = body.as_chunks::<ID>();
    (rest.is_empty() && ids.len() <= max).then(|| ids.iter().map(|id| B256::from(*id)).collect())
}

/// Appends an answer to a lookup without collecting its outcomes first: this is what a block waits for.
pub(crate) fn write_outcomes(out: &mut Vec<u8>, outcomes: impl Iterator<Item = Option<Outcome>>) {
    frame(out, OUTCOMES, |out| {
        for outcome in outcomes {
            match outcome {
                None => out.push(MISSING),
                Some(Outcome::Output(output)) => {
                    out.push(OUTPUT);
                    sized(out, &output);
                }
                Some(Outcome::Failed(failure)) => {
                    out.push(FAILED);
                    out.extend((failure.code as u16).to_be_bytes());
                    sized(out, failure.reason.as_bytes());
                }
            }
        }
    });
}

impl Answer {
    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Welcome { version, chain_id, precompile } => frame(out, WELCOME, |out| {
                out.extend(version.to_be_bytes());
                out.extend(chain_id.to_be_bytes());
                out.extend(precompile);
            }),
            Self::Outcomes(outcomes) => write_outcomes(out, outcomes.iter().cloned()),
            Self::Noted(noted) => frame(out, NOTED, |out| out.push(*noted as u8)),
            Self::Listed(list) => frame(out, LISTED, |out| out.extend(list)),
            Self::State(json) => frame(out, STATE, |out| out.extend(json)),
            Self::Examined(json) => frame(out, EXAMINED, |out| out.extend(json)),
            Self::Refused(reason, words) => frame(out, REFUSED, |out| {
                out.extend((*reason as u16).to_be_bytes());
                out.extend(words.as_bytes());
            }),
        }
    }

    /// The answer in a frame.
    pub fn read(frame: &[u8]) -> Result<Self, FrameError> {
        let (kind, body) = frame.split_first().ok_or(FrameError::Length(0))?;
        let malformed = |why| FrameError::Body(*kind, why);
        match *kind {
            WELCOME => {
                let body: &[u8; 30] = body.try_into().map_err(|_| malformed("expected 30 bytes"))?;
                Ok(Self::Welcome {
                    version: u16::from_be_bytes([body[0], body[1]]),
                    chain_id: u64::from_be_bytes(body[2..10].try_into().expect("8 of 30 bytes")),
                    precompile: Address::from_slice(&body[10..]),
                })
            }
            OUTCOMES => {
                read_outcomes(body).map(Self::Outcomes).ok_or(malformed("an outcome does not end where it says"))
            }
            NOTED => match body {
                [0] => Ok(Self::Noted(Noted::NotTaken)),
                [1] => Ok(Self::Noted(Noted::There)),
                [2] => Ok(Self::Noted(Noted::Queued)),
                _ => Err(malformed("expected 0, 1 or 2")),
            },
            LISTED => Ok(Self::Listed(Bytes::copy_from_slice(body))),
            STATE => Ok(Self::State(Bytes::copy_from_slice(body))),
            EXAMINED => Ok(Self::Examined(Bytes::copy_from_slice(body))),
            REFUSED => {
                let (code, words) = body.split_first_chunk::<2>().ok_or(malformed("expected a code"))?;
                let reason = Reason::from_code(u16::from_be_bytes(*code)).ok_or(malformed("an unknown code"))?;
                Ok(Self::Refused(reason, String::from_utf8_lossy(words).into_owned()))
            }
            kind => Err(FrameError::Kind(kind)),
        }
    }
}

fn read_outcomes(mut body: &[u8]) -> Option<Vec<Option<Outcome>>> {
    let mut outcomes = Vec::new();
    while let Some((tag, rest)) = body.split_first() {
        body = rest;
        outcomes.push(match *tag {
            MISSING => None,
            OUTPUT => Some(Outcome::Output(Bytes::copy_from_slice(read_sized(&mut body)?))),
            FAILED => {
                let (code, rest) = body.split_first_chunk::<2>()?;
                body = rest;
                let code = FailureCode::try_from(u16::from_be_bytes(*code)).ok()?;
                let reason = std::str::from_utf8(read_sized(&mut body)?).ok()?;
                // A longer reason would not be the one that was signed.
                if reason.len() > Failure::MAX_REASON_BYTES {
                    return None;
                }
                Some(Outcome::Failed(Failure::new(code, reason)))
            }
            _ => return None,
        });
    }
    Some(outcomes)
}

fn read_sized<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *body = rest;
    Some(bytes)
}
