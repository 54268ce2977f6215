//! Tensors: a shape and a shared buffer. Cloning one copies no element.

use std::sync::Arc;

use half::{bf16, f16};

use crate::failure::{self, Failure};

/// Most elements a tensor may have: indices fit 31 bits, so that no platform's `usize` matters.
pub const ELEMENTS_MAX: usize = (1 << 31) - 1;

/// What a tensor's elements are; the discriminants are ONNX's `TensorProto.DataType` codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum ElementType {
    /// IEEE binary32.
    F32 = 1,
    /// Unsigned 8 bits.
    U8 = 2,
    /// Signed 8 bits.
    I8 = 3,
    /// Unsigned 16 bits.
    U16 = 4,
    /// Signed 16 bits.
    I16 = 5,
    /// Signed 32 bits.
    I32 = 6,
    /// Signed 64 bits.
    I64 = 7,
    /// UTF-8 text.
    String = 8,
    /// True or false.
    Bool = 9,
    /// IEEE binary16.
    F16 = 10,
    /// IEEE binary64.
    F64 = 11,
    /// Unsigned 32 bits.
    U32 = 12,
    /// Unsigned 64 bits.
    U64 = 13,
    /// bfloat16.
    Bf16 = 16,
}

impl ElementType {
    /// The type with ONNX's code, or `None` where the engine has no such type.
    pub fn from_onnx(code: i32) -> Option<Self> {
        use ElementType::*;
        [F32, U8, I8, U16, I16, I32, I64, String, Bool, F16, F64, U32, U64, Bf16]
            .into_iter()
            .find(|t| *t as i32 == code)
    }

    /// Bytes an element takes in memory; a string counts as its header, 24 bytes, without its text.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::String => 24,
        }
    }

    /// Whether it is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::Bf16)
    }

    /// Name as ONNX writes it: `float`, `int64`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::String => "string",
            Self::Bool => "bool",
            Self::F16 => "float16",
            Self::F64 => "double",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::Bf16 => "bfloat16",
        }
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A shared buffer of elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// `float`
    F32(Arc<Vec<f32>>),
    /// `uint8`
    U8(Arc<Vec<u8>>),
    /// `int8`
    I8(Arc<Vec<i8>>),
    /// `uint16`
    U16(Arc<Vec<u16>>),
    /// `int16`
    I16(Arc<Vec<i16>>),
    /// `int32`
    I32(Arc<Vec<i32>>),
    /// `int64`
    I64(Arc<Vec<i64>>),
    /// `string`
    String(Arc<Vec<String>>),
    /// `bool`
    Bool(Arc<Vec<bool>>),
    /// `float16`
    F16(Arc<Vec<f16>>),
    /// `double`
    F64(Arc<Vec<f64>>),
    /// `uint32`
    U32(Arc<Vec<u32>>),
    /// `uint64`
    U64(Arc<Vec<u64>>),
    /// `bfloat16`
    Bf16(Arc<Vec<bf16>>),
}

/// Runs `$body` with `$v` bound to the `Arc<Vec<T>>` of `$data`, whatever `T` is.
#[macro_export]
macro_rules! with_data {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            $crate::tensor::Data::F32($v) => $body,
            $crate::tensor::Data::U8($v) => $body,
            $crate::tensor::Data::I8($v) => $body,
            $crate::tensor::Data::U16($v) => $body,
            $crate::tensor::Data::I16($v) => $body,
            $crate::tensor::Data::I32($v) => $body,
            $crate::tensor::Data::I64($v) => $body,
            $crate::tensor::Data::String($v) => $body,
            $crate::tensor::Data::Bool($v) => $body,
            $crate::tensor::Data::F16($v) => $body,
            $crate::tensor::Data::F64($v) => $body,
            $crate::tensor::Data::U32($v) => $body,
            $crate::tensor::Data::U64($v) => $body,
            $crate::tensor::Data::Bf16($v) => $body,
        }
    };
}

/// A Rust type that tensors hold.
pub trait Element: Clone + Default + PartialEq + Send + Sync + 'static {
    /// Its ONNX type.
    const TYPE: ElementType;
    /// Wraps a buffer.
    fn wrap(values: Arc<Vec<Self>>) -> Data;
    /// The buffer, where the data are of this type.
    fn view(data: &Data) -> Option<&[Self]>;
    /// The buffer itself, where the data are of this type.
    fn unwrap(data: Data) -> Option<Arc<Vec<Self>>>;
}

macro_rules! element {
    ($($rust:ty => $variant:ident),*) => {$(
        impl Element for $rust {
            const TYPE: ElementType = ElementType::$variant;
            fn wrap(values: Arc<Vec<Self>>) -> Data { Data::$variant(values) }
            fn view(data: &Data) -> Option<&[Self]> {
                if let Data::$variant(v) = data { Some(v) } else { None }
            }
            fn unwrap(data: Data) -> Option<Arc<Vec<Self>>> {
                if let Data::$variant(v) = data { Some(v) } else { None }
            }
        }
    )*};
}
element!(f32 => F32, u8 => U8, i8 => I8, u16 => U16, i16 => I16, i32 => I32, i64 => I64, String => String, bool => Bool,
    f16 => F16, f64 => F64, u32 => U32, u64 => U64, bf16 => Bf16);

/// Number of elements of `shape`, or `None` where it is over [`ELEMENTS_MAX`].
pub fn element_count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return shape.iter().all(|d| *d <= ELEMENTS_MAX).then_some(0);
    }
    shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d).filter(|n| *n <= ELEMENTS_MAX))
}

/// A tensor in row-major order; an empty shape is a scalar.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// A tensor of `shape` holding `values`. Fails where their number is not the shape's product.
    pub fn new<T: Element>(shape: impl Into<Vec<usize>>, values: Vec<T>) -> Result<Self, Failure> {
        Self::from_data(shape.into(), T::wrap(Arc::new(values)))
    }

    /// As [`Tensor::new`], of a shared buffer.
    pub fn from_data(shape: Vec<usize>, data: Data) -> Result<Self, Failure> {
        let length = with_data!(&data, v => v.len());
        if element_count(&shape) != Some(length) {
            return Err(failure::wrong_shape(format!("{length} values do not fill the shape {shape:?}")));
        }
        Ok(Self { shape, data })
    }

    /// A tensor without dimensions.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self { shape: Vec::new(), data: T::wrap(Arc::new(vec![value])) }
    }

    /// A tensor of one dimension.
    pub fn vector<T: Element>(values: Vec<T>) -> Self {
        Self { shape: vec![values.len()], data: T::wrap(Arc::new(values)) }
    }

    /// A tensor of zeros (false, empty strings). Not bounded by a run's memory: operators use `Context::zeros`.
    pub fn zeros(kind: ElementType, shape: &[usize]) -> Result<Self, Failure> {
        let count =
            element_count(shape).ok_or_else(|| failure::wrong_shape(format!("the shape {shape:?} is too large")))?;
        fn make<T: Element>(n: usize) -> Data {
            T::wrap(Arc::new(vec![T::default(); n]))
        }
        let data = match kind {
            ElementType::F32 => make::<f32>(count),
            ElementType::U8 => make::<u8>(count),
            ElementType::I8 => make::<i8>(count),
            ElementType::U16 => make::<u16>(count),
            ElementType::I16 => make::<i16>(count),
            ElementType::I32 => make::<i32>(count),
            ElementType::I64 => make::<i64>(count),
            ElementType::String => make::<String>(count),
            ElementType::Bool => make::<bool>(count),
            ElementType::F16 => make::<f16>(count),
            ElementType::F64 => make::<f64>(count),
            ElementType::U32 => make::<u32>(count),
            ElementType::U64 => make::<u64>(count),
            ElementType::Bf16 => make::<bf16>(count),
        };
        Ok(Self { shape: shape.to_vec(), data })
    }

    /// Length of each dimension, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The elements, of whatever type.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Shape and elements apart.
    pub fn into_parts(self) -> (Vec<usize>, Data) {
        (self.shape, self.data)
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ElementType {
        fn of<T: Element>(_: &Arc<Vec<T>>) -> ElementType {
            T::TYPE
        }
        with_data!(&self.data, v => of(v))
    }

    /// Bytes the elements take, by which memory is counted.
    pub fn size_bytes(&self) -> u64 {
        let header = self.len() as u64 * self.element_type().size_bytes() as u64;
        match &self.data {
            Data::String(v) => header + v.iter().map(|s| s.len() as u64).sum::<u64>(),
            _ => header,
        }
    }

    /// The elements as `T`; fails where the tensor is of another type.
    pub fn values<T: Element>(&self) -> Result<&[T], Failure> {
        T::view(&self.data).ok_or_else(|| {
            failure::wrong_type(format!("expected a tensor of {}, got {}", T::TYPE, self.element_type()))
        })
    }

    /// The elements as an owned `Vec`: without a copy where nobody else holds the buffer.
    pub fn into_values<T: Element>(self) -> Result<Vec<T>, Failure> {
        let kind = self.element_type();
        let shared = T::unwrap(self.data)
            .ok_or_else(|| failure::wrong_type(format!("expected a tensor of {}, got {kind}", T::TYPE)))?;
        Ok(Arc::try_unwrap(shared).unwrap_or_else(|shared| shared.as_ref().clone()))
    }

    /// The same elements under another shape of as many elements.
    pub fn reshape(mut self, shape: Vec<usize>) -> Result<Self, Failure> {
        if element_count(&shape) != Some(self.len()) {
            return Err(failure::wrong_shape(format!("cannot reshape {:?} to {shape:?}", self.shape)));
        }
        self.shape = shape;
        Ok(self)
    }

    /// The only element, whatever the rank; fails unless there is exactly one.
    pub fn single<T: Element>(&self) -> Result<T, Failure> {
        match self.values::<T>()? {
            [one] => Ok(one.clone()),
            _ => Err(failure::wrong_shape(format!("expected one element, got the shape {:?}", self.shape))),
        }
    }

    /// The elements as `i64`, from `int32` or `int64`: axes, shapes, indices.
    pub fn to_i64s(&self) -> Result<Vec<i64>, Failure> {
        match &self.data {
            Data::I64(v) => Ok(v.to_vec()),
            Data::I32(v) => Ok(v.iter().map(|x| i64::from(*x)).collect()),
            _ => Err(failure::wrong_type(format!("expected int32 or int64, got {}", self.element_type()))),
        }
    }
}
