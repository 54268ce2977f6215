//! Constants: from `TensorProto` to [`Tensor`], with external data only from inside the model's folder.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use half::{bf16, f16};

use super::error::{LoadError, invalid};
use super::limits::Limits;
use super::proto::TensorProto;
use crate::tensor::{Element, ElementType, Tensor, element_count};

/// Reads constants and counts their bytes against the limit.
pub struct Constants {
    limits: Limits,
    /// Folder of the model; without one, external data are refused.
    folder: Option<PathBuf>,
    files: HashMap<String, Bytes>,
    bytes: u64,
}

impl Constants {
    /// A reader of constants of a model in `folder`.
    pub fn new(limits: &Limits, folder: Option<&Path>) -> Self {
        Self { limits: limits.clone(), folder: folder.map(Path::to_owned), files: HashMap::new(), bytes: 0 }
    }

    /// Bytes of the constants read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The tensor of `proto`.
    pub fn read(&mut self, proto: &TensorProto) -> Result<Tensor, LoadError> {
        let name = proto.name.as_deref().unwrap_or("without a name");
        let shape = shape_of(name, &proto.dims, &self.limits)?;
        let code = proto.data_type.unwrap_or(0);
        let kind = ElementType::from_onnx(code)
            .ok_or_else(|| invalid(format!("constant {name} has the element type {code}, which is not supported")))?;
        let count =
            element_count(&shape).ok_or_else(|| invalid(format!("constant {name} of shape {shape:?} is too large")))?;
        self.bytes = self.bytes.saturating_add(count as u64 * kind.size_bytes() as u64);
        if self.bytes > self.limits.weights_bytes_max {
            return Err(LoadError::TooLarge {
                what: "the constants' size in bytes",
                value: self.bytes,
                max: self.limits.weights_bytes_max,
            });
        }
        let tensor = if proto.data_location == Some(1) {
            let raw = self.external(proto, count * kind.size_bytes())?;
            from_raw(kind, &shape, &raw)
        } else if let Some(raw) = proto.raw_data.as_ref().filter(|raw| !raw.is_empty() || count == 0) {
            from_raw(kind, &shape, raw)
        } else {
            from_fields(kind, &shape, proto)
        };
        tensor.map_err(|reason| invalid(format!("constant {name}: {reason}")))
    }

    fn external(&mut self, proto: &TensorProto, length: usize) -> Result<Bytes, LoadError> {
        let field = |key: &str| {
            proto.external_data.iter().find(|e| e.key.as_deref() == Some(key)).and_then(|e| e.value.as_deref())
        };
        let location = field("location").unwrap_or_default().to_owned();
        let number = |key| match field(key) {
            None => Ok(None),
            Some(text) => text
                .parse::<usize>()
                .map(Some)
                .map_err(|_| invalid(format!("external data {key} {text:?} is no number"))),
        };
        let offset = number("offset")?.unwrap_or(0);
        let given = number("length")?;
        if !self.files.contains_key(&location) {
            let path = self.checked_path(&location)?;
            let size =
                std::fs::metadata(&path).map_err(|source| LoadError::Read { path: location.clone(), source })?.len();
            if size > self.limits.weights_bytes_max {
                return Err(LoadError::TooLarge {
                    what: "the external data's size in bytes",
                    value: size,
                    max: self.limits.weights_bytes_max,
                });
            }
            let file = std::fs::read(&path).map_err(|source| LoadError::Read { path: location.clone(), source })?;
            self.files.insert(location.clone(), Bytes::from(file));
        }
        let file = &self.files[&location];
        let end = offset.checked_add(given.unwrap_or(length)).filter(|end| *end <= file.len());
        let end = end.ok_or_else(|| LoadError::ExternalData {
            location: location.clone(),
            reason: "the file is shorter than the model says",
        })?;
        Ok(file.slice(offset..end))
    }

    /// Path of `location` once it is certain that it lies inside the folder, symbolic links followed.
    fn checked_path(&self, location: &str) -> Result<PathBuf, LoadError> {
        let refuse = |reason| LoadError::ExternalData { location: location.to_owned(), reason };
        let folder = self.folder.as_deref().ok_or_else(|| refuse("the model was loaded from memory"))?;
        let path = Path::new(location);
        if location.is_empty()
            || location.contains('\\')
            || path.components().any(|c| !matches!(c, Component::Normal(_)))
        {
            return Err(refuse("the path must be relative and stay below the model"));
        }
        let read = |source| LoadError::Read { path: location.to_owned(), source };
        let real = folder.join(path).canonicalize().map_err(read)?;
        let root = folder.canonicalize().map_err(read)?;
        if !real.starts_with(&root) || !real.is_file() {
            return Err(refuse("it is not a file inside the model's folder"));
        }
        Ok(real)
    }
}

/// A checked shape.
pub(crate) fn shape_of(name: &str, dims: &[i64], limits: &Limits) -> Result<Vec<usize>, LoadError> {
    if dims.len() > limits.rank_max {
        return Err(LoadError::TooLarge {
            what: "a tensor's rank",
            value: dims.len() as u64,
            max: limits.rank_max as u64,
        });
    }
    let negative = |d: &i64| invalid(format!("{name} has the dimension {d}"));
    dims.iter().map(|d| usize::try_from(*d).map_err(|_| negative(d))).collect()
}

fn tensor<T: Element>(shape: &[usize], values: Vec<T>) -> Result<Tensor, String> {
    Tensor::new(shape, values).map_err(|failure| failure.reason)
}

fn little_endian<T: Element, const N: usize>(
    shape: &[usize],
    raw: &[u8],
    read: fn([u8; N]) -> T,
) -> Result<Tensor, String> {
    let (chunks, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are no whole number of {}", raw.len(), T::TYPE));
    }
    tensor(shape, chunks.iter().map(|c| read(*c)).collect())
}

fn from_raw(kind: ElementType, shape: &[usize], raw: &[u8]) -> Result<Tensor, String> {
    match kind {
        ElementType::F32 => little_endian(shape, raw, f32::from_le_bytes),
        ElementType::U8 => little_endian(shape, raw, u8::from_le_bytes),
        ElementType::I8 => little_endian(shape, raw, i8::from_le_bytes),
        ElementType::U16 => little_endian(shape, raw, u16::from_le_bytes),
        ElementType::I16 => little_endian(shape, raw, i16::from_le_bytes),
        ElementType::I32 => little_endian(shape, raw, i32::from_le_bytes),
        ElementType::I64 => little_endian(shape, raw, i64::from_le_bytes),
        ElementType::Bool => little_endian(shape, raw, |[b]: [u8; 1]| b != 0),
        ElementType::F16 => little_endian(shape, raw, f16::from_le_bytes),
        ElementType::F64 => little_endian(shape, raw, f64::from_le_bytes),
        ElementType::U32 => little_endian(shape, raw, u32::from_le_bytes),
        ElementType::U64 => little_endian(shape, raw, u64::from_le_bytes),
        ElementType::Bf16 => little_endian(shape, raw, bf16::from_le_bytes),
        ElementType::String => Err("strings cannot be raw data".into()),
    }
}

fn narrow<T: Element + TryFrom<i32>>(shape: &[usize], values: &[i32]) -> Result<Tensor, String> {
    let out_of_range = |v: &i32| format!("{v} is out of range of {}", T::TYPE);
    tensor(shape, values.iter().map(|v| T::try_from(*v).map_err(|_| out_of_range(v))).collect::<Result<_, _>>()?)
}

fn from_fields(kind: ElementType, shape: &[usize], proto: &TensorProto) -> Result<Tensor, String> {
    let ints = &proto.int32_data;
    match kind {
        ElementType::F32 => tensor(shape, proto.float_data.clone()),
        ElementType::F64 => tensor(shape, proto.double_data.clone()),
        ElementType::I64 => tensor(shape, proto.int64_data.clone()),
        ElementType::U64 => tensor(shape, proto.uint64_data.clone()),
        ElementType::U32 => {
            let narrow = |v: &u64| u32::try_from(*v).map_err(|_| format!("{v} is out of range of uint32"));
            tensor(shape, proto.uint64_data.iter().map(narrow).collect::<Result<_, _>>()?)
        }
        ElementType::I32 => tensor(shape, ints.clone()),
        ElementType::U8 => narrow::<u8>(shape, ints),
        ElementType::I8 => narrow::<i8>(shape, ints),
        ElementType::U16 => narrow::<u16>(shape, ints),
        ElementType::I16 => narrow::<i16>(shape, ints),
        ElementType::Bool => tensor(shape, ints.iter().map(|v| *v != 0).collect()),
        ElementType::F16 => tensor(shape, ints.iter().map(|v| f16::from_bits(*v as u16)).collect()),
        ElementType::Bf16 => tensor(shape, ints.iter().map(|v| bf16::from_bits(*v as u16)).collect()),
        ElementType::String => {
            let text = |s: &Bytes| String::from_utf8(s.to_vec()).map_err(|_| "a string is not UTF-8".to_owned());
            tensor(shape, proto.string_data.iter().map(text).collect::<Result<_, _>>()?)
        }
    }
}
