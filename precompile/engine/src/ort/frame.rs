//! What node and worker say to each other: a length of 8 bytes, then a message, all little-endian.
//!
//! The node trusts no byte of it: a worker runs native code that a model may have taken over.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use half::{bf16, f16};

use super::{Device, Optimization, limits::Limits};
use crate::model_dir::Files;
use crate::tensor::{Data, Element, ElementType, Tensor, element_count};

/// Written by a worker before its first message: whatever a program prints on its way there is passed over.
pub(super) const MAGIC: &[u8; 16] = b"\0foreblock-work\n";
/// Messages up to this are written at once with their length, so that their reader wakes once.
const WHOLE_BYTES_MAX: usize = 64 << 10;
/// Longest message.
const FRAME_BYTES_MAX: u64 = 4 << 30;

/// From the node.
#[derive(Debug, PartialEq)]
pub(super) enum ToWorker {
    /// Load the library, and a model where one is given.
    Load {
        library: PathBuf,
        graph: Option<Bytes>,
        weights: Files,
        threads: u32,
        device: Device,
        optimization: Optimization,
        limits: Limits,
    },
    /// Run the model.
    Run(Vec<Tensor>),
}

/// From the worker.
#[derive(Debug, PartialEq)]
pub(super) enum FromWorker {
    /// Loaded; what answers.
    Ready { name: String },
    /// The model's outputs.
    Outputs(Vec<Tensor>),
    /// The model has no answer for these inputs.
    Refused(String),
    /// Something else does not work.
    Failed(String),
}

impl ToWorker {
    /// As bytes.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Load { library, graph, weights, threads, device, optimization, limits } => {
                out.push(0);
                put_bytes(&mut out, library.as_os_str().as_encoded_bytes());
                out.push(u8::from(graph.is_some()));
                put_bytes(&mut out, graph.as_deref().unwrap_or_default());
                out.extend((weights.len() as u32).to_le_bytes());
                for (name, content) in weights {
                    put_bytes(&mut out, name.as_bytes());
                    put_bytes(&mut out, content);
                }
                out.extend(threads.to_le_bytes());
                out.push(*device as u8);
                out.push(*optimization as u8);
                out.extend(limits.memory_bytes.to_le_bytes());
                out.extend(limits.cpu_seconds.to_le_bytes());
            }
            Self::Run(tensors) => {
                out.push(1);
                put_tensors(&mut out, tensors);
            }
        }
        out
    }

    /// From bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor(bytes);
        let message = match from.byte()? {
            0 => {
                let library = PathBuf::from(String::from_utf8(from.bytes()?.to_vec()).ok()?);
                let has_graph = from.byte()? == 1;
                let graph = Bytes::copy_from_slice(from.bytes()?);
                let mut weights = Files::new();
                for _ in 0..u32::from_le_bytes(from.array()?) {
                    weights.insert(from.text()?, Bytes::copy_from_slice(from.bytes()?));
                }
                let threads = u32::from_le_bytes(from.array()?);
                let device = *Device::ALL.get(usize::from(from.byte()?))?;
                let optimization = *Optimization::ALL.get(usize::from(from.byte()?))?;
                let (memory_bytes, cpu_seconds) =
                    (u64::from_le_bytes(from.array()?), u64::from_le_bytes(from.array()?));
                let limits = Limits { memory_bytes, cpu_seconds };
                let graph = has_graph.then_some(graph);
                Self::Load { library, graph, weights, threads, device, optimization, limits }
            }
            1 => Self::Run(from.tensors()?),
            _ => return None,
        };
        from.0.is_empty().then_some(message)
    }
}

impl FromWorker {
    /// As bytes.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut text = |tag, text: &str| {
            out.push(tag);
            put_bytes(&mut out, text.as_bytes());
        };
        match self {
            Self::Ready { name } => text(0, name),
            Self::Refused(reason) => text(2, reason),
            Self::Failed(reason) => text(3, reason),
            Self::Outputs(tensors) => {
                out.push(1);
                put_tensors(&mut out, tensors);
            }
        }
        out
    }

    /// From bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor(bytes);
        let message = match from.byte()? {
            0 => Self::Ready { name: from.text()? },
            1 => Self::Outputs(from.tensors()?),
            2 => Self::Refused(from.text()?),
            3 => Self::Failed(from.text()?),
            _ => return None,
        };
        from.0.is_empty().then_some(message)
    }
}

/// Writes one message.
pub(super) fn send(to: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = (message.len() as u64).to_le_bytes();
    if message.len() <= WHOLE_BYTES_MAX {
        to.write_all(&[&length, message].concat())?;
    } else {
        to.write_all(&length)?;
        to.write_all(message)?;
    }
    to.flush()
}

/// Reads one message; `None` at the end of the stream.
pub(super) fn receive(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u64::from_le_bytes(length);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of absurd length"));
    }
    // Grows with what arrives, not with what is promised.
    let mut message = Vec::new();
    from.take(length).read_to_end(&mut message)?;
    if (message.len() as u64) < length { Ok(None) } else { Ok(Some(message)) }
}

/// Passes over everything up to and including [`MAGIC`]; false where it does not come within 64 KiB.
pub(super) fn skip_to_magic(from: &mut impl Read) -> io::Result<bool> {
    let (mut matched, mut byte) = (0, [0]);
    for _ in 0..1 << 16 {
        if from.read(&mut byte)? == 0 {
            return Ok(false);
        }
        // The first byte of the mark comes nowhere else in it.
        matched = if byte[0] == MAGIC[matched] { matched + 1 } else { usize::from(byte[0] == MAGIC[0]) };
        if matched == MAGIC.len() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn put_tensors(out: &mut Vec<u8>, tensors: &[Tensor]) {
    out.extend((tensors.len() as u32).to_le_bytes());
    for tensor in tensors {
        out.push(tensor.element_type() as u8);
        out.push(tensor.rank() as u8);
        tensor.shape().iter().for_each(|length| out.extend((*length as u64).to_le_bytes()));
        put_data(out, tensor.data());
    }
}

macro_rules! plain_data {
    ($($variant:ident $type:ty),*) => {
        fn put_data(out: &mut Vec<u8>, data: &Data) {
            match data {
                $(Data::$variant(values) => {
                    let start = out.len();
                    out.resize(start + size_of_val(&values[..]), 0);
                    let places = out[start..].chunks_exact_mut(size_of::<$type>());
                    places.zip(values.iter()).for_each(|(place, value)| place.copy_from_slice(&value.to_le_bytes()));
                })*
                Data::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
                Data::String(values) => values.iter().for_each(|value| put_bytes(out, value.as_bytes())),
            }
        }

        impl Cursor<'_> {
            fn data(&mut self, kind: ElementType, count: usize) -> Option<Data> {
                Some(match kind {
                    $(ElementType::$variant => {
                        let bytes = self.take(count.checked_mul(size_of::<$type>())?)?;
                        let values = bytes.chunks_exact(size_of::<$type>());
                        wrap(values.map(|v| <$type>::from_le_bytes(v.try_into().expect("an exact chunk"))).collect())
                    })*
                    ElementType::Bool => wrap(self.take(count)?.iter().map(|byte| *byte == 1).collect::<Vec<bool>>()),
                    ElementType::String => {
                        let mut values = Vec::new();
                        for _ in 0..count {
                            values.push(self.text()?);
                        }
                        wrap(values)
                    }
                })
            }
        }
    };
}
plain_data!(F32 f32, F64 f64, F16 f16, Bf16 bf16, U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64);

fn wrap<T: Element>(values: Vec<T>) -> Data {
    T::wrap(Arc::new(values))
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u64::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn tensors(&mut self) -> Option<Vec<Tensor>> {
        let count = u32::from_le_bytes(self.array()?);
        let mut tensors = Vec::new();
        for _ in 0..count {
            let kind = ElementType::from_onnx(self.byte()?.into())?;
            let rank = self.byte()?;
            let length = |_| usize::try_from(u64::from_le_bytes(self.array()?)).ok();
            let shape: Vec<usize> = (0..rank).map(length).collect::<Option<_>>()?;
            let data = self.data(kind, element_count(&shape)?)?;
            tensors.push(Tensor::from_data(shape, data).ok()?);
        }
        Some(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_survive_the_pipe() {
        let tensors = vec![
            Tensor::new([2, 1], vec![1.5f32, f32::MIN_POSITIVE / 2.0]).unwrap(),
            Tensor::scalar("größe".to_string()),
            Tensor::vector(vec![true, false]),
            Tensor::vector(Vec::<i64>::new()),
            Tensor::vector(vec![f16::from_f32(0.5)]),
        ];
        let limits = Limits { memory_bytes: 7, cpu_seconds: 9 };
        let graph = Some(Bytes::from_static(b"graph"));
        let weights = [("w.bin".to_string(), Bytes::from_static(b"weights"))].into();
        let optimization = Optimization::Extended;
        let load = ToWorker::Load {
            library: "/lib/x.so".into(),
            graph,
            weights,
            threads: 3,
            device: Device::TensorRt,
            optimization,
            limits,
        };
        for message in [load, ToWorker::Run(tensors.clone())] {
            assert_eq!(ToWorker::read(&message.write()), Some(message));
        }
        let ready = FromWorker::Ready { name: "onnxruntime".into() };
        let (refused, failed) = (FromWorker::Refused("no".into()), FromWorker::Failed("broken".into()));
        for message in [ready, FromWorker::Outputs(tensors), refused, failed] {
            assert_eq!(FromWorker::read(&message.write()), Some(message));
        }
    }

    #[test]
    fn frames_end_where_they_say() {
        let mut pipe = b"running 1 test\n\0forebl\0foreblock-work\n".to_vec();
        send(&mut pipe, b"one").unwrap();
        send(&mut pipe, b"").unwrap();
        pipe.extend(5u64.to_le_bytes());
        pipe.extend(b"cut");
        let mut from = &pipe[..];
        assert!(skip_to_magic(&mut from).unwrap());
        let messages = std::iter::from_fn(|| receive(&mut from).unwrap());
        assert_eq!(messages.collect::<Vec<_>>(), [b"one".to_vec(), vec![]]);
        assert!(receive(&mut &u64::MAX.to_le_bytes()[..]).is_err());
        assert!(!skip_to_magic(&mut &b"something else"[..]).unwrap());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(bytes: Vec<u8>, tag in 0u8..5) {
            let _ = FromWorker::read(&[&[tag], &bytes[..]].concat());
        }
    }
}
