//! Reading GGUF: metadata and tensors by their names. Nothing is trusted: every length is checked against the file.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::GgufError;

const MAGIC: &[u8] = b"GGUF";
/// Bytes that tensors are aligned to where the file does not say otherwise.
const ALIGNMENT: u64 = 32;
/// Most dimensions of a tensor.
const RANK_MAX: u32 = 4;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(u64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    /// A negative number or a flag: no key that is read here has one.
    Other,
}

/// Where a tensor lies and how its elements are stored.
#[derive(Clone, Debug)]
pub(super) struct Info {
    /// Innermost first, as the file has them.
    pub(super) dims: Vec<usize>,
    pub(super) kind: u32,
    offset: u64,
}

/// A file that was read.
pub(super) struct Gguf {
    values: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Info>,
    data: Bytes,
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], GgufError> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (taken, rest) = split.ok_or_else(|| GgufError::Format("it ends too early".into()))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        Ok(self.take(N as u64)?.try_into().expect("as many as were taken"))
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, GgufError> {
        let length = self.u64()?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| GgufError::Format("a text is not UTF-8".into()))
    }

    /// A value of the type with this code.
    fn value(&mut self, kind: u32) -> Result<Value, GgufError> {
        let signed = |value: i64| u64::try_from(value).map_or(Value::Other, Value::Number);
        Ok(match kind {
            0 => Value::Number(self.array::<1>()?[0].into()),
            1 => signed(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Number(u16::from_le_bytes(self.array()?).into()),
            3 => signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Number(self.u32()?.into()),
            5 => signed(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => {
                self.take(1)?;
                Value::Other
            }
            8 => Value::Text(self.text()?),
            9 => self.list()?,
            10 => Value::Number(self.u64()?),
            11 => signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(GgufError::Format(format!("a value has the type {kind}"))),
        })
    }

    fn list(&mut self) -> Result<Value, GgufError> {
        let (kind, count) = (self.u32()?, self.u64()?);
        if kind == 9 {
            return Err(GgufError::Format("a list of lists".into()));
        }
        // Each element takes a byte at least, so a count that lies ends with the file.
        (0..count).map(|_| self.value(kind)).collect::<Result<_, _>>().map(Value::List)
    }

    fn info(&mut self) -> Result<(String, Info), GgufError> {
        let (name, rank) = (self.text()?, self.u32()?);
        if rank > RANK_MAX {
            return Err(GgufError::Format(format!("{name} has {rank} dimensions")));
        }
        let length = |cursor: &mut Self| -> Result<usize, GgufError> {
            usize::try_from(cursor.u64()?).map_err(|_| GgufError::Format("a dimension is too long".into()))
        };
        let dims = (0..rank).map(|_| length(self)).collect::<Result<_, _>>()?;
        Ok((name, Info { dims, kind: self.u32()?, offset: self.u64()? }))
    }
}

impl Gguf {
    /// Reads what the file says; the tensors' elements stay where they are.
    pub(super) fn read(file: &Bytes) -> Result<Self, GgufError> {
        let mut cursor = Cursor { rest: file };
        if cursor.take(4)? != MAGIC {
            return Err(GgufError::Format("it does not begin with GGUF".into()));
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Format(format!("its version is {version}")));
        }
        let (tensors, values) = (cursor.u64()?, cursor.u64()?);
        let mut known = BTreeMap::new();
        for _ in 0..values {
            let (key, kind) = (cursor.text()?, cursor.u32()?);
            known.insert(key, cursor.value(kind)?);
        }
        let tensors = (0..tensors).map(|_| cursor.info()).collect::<Result<_, _>>()?;
        let alignment = match known.get("general.alignment") {
            Some(Value::Number(bytes @ 1..=65_536)) => *bytes,
            _ => ALIGNMENT,
        };
        let head = (file.len() - cursor.rest.len()) as u64;
        let start = head.next_multiple_of(alignment) as usize;
        let data = if start <= file.len() { file.slice(start..) } else { Bytes::new() };
        Ok(Self { values: known, tensors, data })
    }

    fn value<'a, T>(&'a self, key: &str, expected: &str, pick: fn(&'a Value) -> Option<T>) -> Result<T, GgufError> {
        let missing = || GgufError::Missing { key: key.into(), expected: expected.into() };
        self.values.get(key).and_then(pick).ok_or_else(missing)
    }

    /// A number that is not negative.
    pub(super) fn number(&self, key: &str) -> Result<u64, GgufError> {
        self.value(key, "a number", |value| if let Value::Number(number) = value { Some(*number) } else { None })
    }

    /// A floating-point number.
    pub(super) fn float(&self, key: &str) -> Result<f64, GgufError> {
        self.value(key, "a float", |value| if let Value::Float(float) = value { Some(*float) } else { None })
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<&str, GgufError> {
        self.value(key, "a text", |value| if let Value::Text(text) = value { Some(text.as_str()) } else { None })
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&str>, GgufError> {
        self.value(key, "texts", |value| {
            let Value::List(list) = value else { return None };
            list.iter().map(|one| if let Value::Text(text) = one { Some(text.as_str()) } else { None }).collect()
        })
    }

    /// A list of numbers.
    pub(super) fn numbers(&self, key: &str) -> Result<Vec<u64>, GgufError> {
        self.value(key, "numbers", |value| {
            let Value::List(list) = value else { return None };
            list.iter().map(|one| if let Value::Number(number) = one { Some(*number) } else { None }).collect()
        })
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The elements of a tensor of these dimensions, innermost first, as `float`.
    pub(super) fn tensor(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>, GgufError> {
        let missing = || GgufError::Missing { key: name.into(), expected: format!("a tensor of {dims:?}") };
        let info = self.tensors.get(name).filter(|info| info.dims == dims).ok_or_else(missing)?;
        let from = usize::try_from(info.offset).ok().and_then(|offset| self.data.get(offset..));
        let from = from.ok_or_else(|| GgufError::Format(format!("{name} lies outside of it")))?;
        super::blocks::widen(name, info, from)
    }
}

#[cfg(test)]
impl Info {
    /// Of a tensor at the beginning of the data.
    pub(super) fn of(dims: Vec<usize>, kind: u32) -> Self {
        Self { dims, kind, offset: 0 }
    }
}
