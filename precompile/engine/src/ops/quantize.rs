//! `QuantizeLinear` and `DequantizeLinear` with scales that are part of the model: whole tensor, an axis, or blocks.

use half::{bf16, f16};

use super::floats::{narrow, widen, widen_numbers};
use super::shape::{around, axis};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::kernels::requantise::quantise;
use crate::tensor::{Data, ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("DequantizeLinear", 10..=LATEST, dequantize),
    Operator::onnx("QuantizeLinear", 10..=LATEST, quantize),
];

/// Which element of a scale goes with which element of a tensor.
pub(super) enum Spread {
    One,
    Axis { length: usize, inner: usize },
    Block { length: usize, inner: usize, block: usize, blocks: usize },
}

impl Spread {
    pub(super) fn new(shape: &[usize], scale: &Tensor, along: i64, block: usize) -> Result<Self, Failure> {
        if scale.len() == 1 && block == 0 {
            return Ok(Self::One);
        }
        let along = axis(along, shape.len())?;
        let (_, length, inner) = around(shape, along);
        if block == 0 {
            if scale.shape() != [length] {
                let came = scale.shape();
                return Err(failure::wrong_shape(format!("scales of shape {came:?} for {length} slices")));
            }
            return Ok(Self::Axis { length, inner });
        }
        let mut expected = shape.to_vec();
        expected[along] = length.div_ceil(block);
        if scale.shape() != expected {
            let came = scale.shape();
            return Err(failure::wrong_shape(format!("scales of shape {came:?}, expected {expected:?}")));
        }
        Ok(Self::Block { length, inner, block, blocks: expected[along] })
    }

    pub(super) fn at(&self, index: usize) -> usize {
        match *self {
            Self::One => 0,
            Self::Axis { length, inner } => index / inner % length,
            Self::Block { length, inner, block, blocks } => {
                let (outer, k, i) = (index / inner / length, index / inner % length, index % inner);
                (outer * blocks + k / block) * inner + i
            }
        }
    }
}

fn block_size(node: &Node<'_>) -> Result<usize, crate::onnx::LoadError> {
    usize::try_from(node.int("block_size", 0)?).map_err(|_| node.error("block_size is negative"))
}

/// Zero points as wide integers: zeros where there are none.
fn zero_points(zero: Option<&Tensor>, scale: &Tensor, context: &Context) -> Result<Vec<f64>, Failure> {
    let Some(zero) = zero else { return context.zeros::<f64>(scale.len()) };
    if zero.len() != scale.len() {
        let (zero, scale) = (zero.shape(), scale.shape());
        return Err(failure::wrong_shape(format!("zero points of shape {zero:?} for scales of shape {scale:?}")));
    }
    widen_numbers(zero, context)
}

/// `(x - zero) * scale` in `f32`, or rounded to the scale's type.
fn dequantize(node: &Node<'_>) -> Built {
    let (along, block) = (node.int("axis", 1)?, block_size(node)?);
    let code = node.int("output_dtype", 0)?;
    let kind = i32::try_from(code).ok().and_then(ElementType::from_onnx);
    kernel(move |inputs, context| {
        let (x, scale) = (inputs.get(0)?, inputs.get(1)?);
        let spread = Spread::new(x.shape(), scale, along, block)?;
        let zeros = zero_points(inputs.optional(2), scale, context)?;
        let scales = widen(scale, context)?;
        let mut values = widen_numbers(x, context)?;
        for (index, value) in values.iter_mut().enumerate() {
            let at = spread.at(index);
            // The difference of integers is exact; one rounding to f32, one of the product, as in f32 arithmetic.
            *value = f64::from((*value - zeros[at]) as f32 * scales[at] as f32);
        }
        Ok(vec![narrow(kind.unwrap_or(scale.element_type()), x.shape(), values, context)?])
    })
}

/// `round(x / scale) + zero`, rounded to even and clamped.
pub(super) fn quantized(x: f32, scale: f32, zero: f64, kind: ElementType) -> f64 {
    let (low, high) = match kind {
        ElementType::U8 => (0.0, 255.0),
        ElementType::I8 => (-128.0, 127.0),
        ElementType::U16 => (0.0, 65_535.0),
        ElementType::I16 => (-32_768.0, 32_767.0),
        _ => (-2_147_483_648.0, 2_147_483_647.0),
    };
    let value = f64::from((x / scale).round_ties_even()) + zero;
    if value.is_nan() { zero.clamp(low, high) } else { value.clamp(low, high) }
}

/// Whole numbers in the range of `kind` as a tensor of it.
pub(super) fn integers(
    kind: ElementType,
    shape: &[usize],
    values: &[f64],
    context: &Context,
) -> Result<Tensor, Failure> {
    macro_rules! of {
        ($t:ty) => {{
            let mut out = context.reserve::<$t>(values.len())?;
            out.extend(values.iter().map(|v| *v as $t));
            Tensor::new(shape, out)
        }};
    }
    match kind {
        ElementType::U8 => of!(u8),
        ElementType::I8 => of!(i8),
        ElementType::U16 => of!(u16),
        ElementType::I16 => of!(i16),
        ElementType::I32 => of!(i32),
        _ => Err(failure::wrong_type(format!("cannot quantise to {kind}"))),
    }
}

fn quantize(node: &Node<'_>) -> Built {
    let (along, block) = (node.int("axis", 1)?, block_size(node)?);
    let code = node.int("output_dtype", 0)?;
    let kind = i32::try_from(code).ok().and_then(ElementType::from_onnx);
    if code != 0 && kind.is_none() {
        return Err(node.error(format!("the element type {code} is not supported")));
    }
    let precision = node.int("precision", 0)?;
    if !matches!(precision, 0 | 1) {
        return Err(node.error("only a precision of float is supported"));
    }
    kernel(move |inputs, context| {
        let (x, scale) = (inputs.get(0)?, inputs.get(1)?);
        let spread = Spread::new(x.shape(), scale, along, block)?;
        let zeros = zero_points(inputs.optional(2), scale, context)?;
        let kind = inputs.optional(2).map(Tensor::element_type).or(kind).unwrap_or(ElementType::U8);
        if let (Data::F32(values), Data::F32(scale), [zero]) = (x.data(), scale.data(), &zeros[..])
            && let ([scale], ElementType::I8) = (&scale[..], kind)
        {
            let mut out = context.zeros::<i8>(values.len())?;
            quantise(context.isa(), values, *scale, *zero as i8, &mut out);
            return Ok(vec![Tensor::new(x.shape(), out)?]);
        }
        let scales = widen(scale, context)?;
        let mut values = widen_numbers(x, context)?;
        let half = match x.data() {
            Data::F16(_) => Some((|v: f32| f16::from_f32(v).to_f32()) as fn(f32) -> f32),
            Data::Bf16(_) => Some((|v: f32| bf16::from_f32(v).to_f32()) as fn(f32) -> f32),
            _ => None,
        };
        for (index, value) in values.iter_mut().enumerate() {
            let at = spread.at(index);
            let (x, scale) = (*value as f32, scales[at] as f32);
            *value = match half {
                // Narrow floats are divided in their own type.
                Some(round) => quantized(round(x / scale), 1.0, zeros[at], kind),
                None => quantized(x, scale, zeros[at], kind),
            };
        }
        Ok(vec![integers(kind, x.shape(), &values, context)?])
    })
}
