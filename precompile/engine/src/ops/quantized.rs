//! Products of integers: `MatMulInteger`, `ConvInteger`, `QLinearMatMul`, `QLinearConv`. Sums are exact in `i64`.

use super::conv::groups;
use super::floats::{widen, widen_numbers};
use super::matmul::batch_of;
use super::quantize::{Spread, integers, quantized};
use super::shape::count;
use super::window::Window;
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs, Node};
use crate::kernels::Isa;
use crate::kernels::gemm::{Packed, Strided};
use crate::kernels::integers::{self as sums, Side, Sizes, add_products, chain_max};
use crate::kernels::patches::{AXES, Patches};
use crate::onnx::LoadError;
use crate::tensor::{Data, ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("ConvInteger", 10..=LATEST, conv_integer),
    Operator::onnx("MatMulInteger", 10..=LATEST, matmul_integer),
    Operator::onnx("QLinearConv", 10..=LATEST, conv_linear),
    Operator::onnx("QLinearMatMul", 10..=LATEST, matmul_linear),
];

/// Largest magnitude of 8 bits less a zero point of 8 bits.
const MOST: u32 = 255;

/// 8-bit integers less their zero points, as floats.
struct Centred {
    values: Vec<f32>,
    shape: Vec<usize>,
}

impl Centred {
    /// Zero points lie along `axis` where there are several.
    fn new(x: &Tensor, zero: Option<&Tensor>, axis: usize) -> Result<Self, Failure> {
        let (mut values, shape) = (bytes(x)?, x.shape().to_vec());
        let zeros = match zero {
            Some(zero) if zero.element_type() != x.element_type() => {
                let (zero, x) = (zero.element_type(), x.element_type());
                return Err(failure::wrong_type(format!("a zero point of {zero} for a tensor of {x}")));
            }
            Some(zero) => bytes(zero)?,
            None => return Ok(Self { values, shape }),
        };
        if let [zero] = zeros[..] {
            values.iter_mut().for_each(|v| *v -= zero);
            return Ok(Self { values, shape });
        }
        if shape.len() <= axis || zeros.len() != shape[axis] {
            let count = zeros.len();
            return Err(failure::wrong_shape(format!("{count} zero points for the shape {shape:?}")));
        }
        let inner: usize = shape[axis + 1..].iter().product();
        values.iter_mut().enumerate().for_each(|(i, v)| *v -= zeros[i / inner % zeros.len()]);
        Ok(Self { values, shape })
    }

    /// While a model runs.
    fn made(x: &Tensor, zero: Option<&Tensor>, axis: usize, context: &Context) -> Result<Self, Failure> {
        context.claim::<f32>(x.len())?;
        Self::new(x, zero, axis)
    }

    /// While it is loaded, where tensor and zero points are constants. The kernel will find the tensor absent.
    fn known(node: &Node<'_>, at: usize, zero: usize, axis: usize) -> Result<Option<Self>, LoadError> {
        let zero_known = !node.has_input(zero) || node.constant(zero).is_some();
        if node.constant(at).is_none() || !zero_known {
            return Ok(None);
        }
        let Some(tensor) = node.absorb(at) else { return Ok(None) };
        Self::new(&tensor, node.constant(zero), axis).map(Some).map_err(|f| node.failure(f))
    }

    fn most(&self) -> u32 {
        self.values.iter().fold(0.0f32, |most, v| most.max(v.abs())) as u32
    }
}

fn bytes(x: &Tensor) -> Result<Vec<f32>, Failure> {
    match x.data() {
        Data::U8(v) => Ok(v.iter().map(|x| f32::from(*x)).collect()),
        Data::I8(v) => Ok(v.iter().map(|x| f32::from(*x)).collect()),
        _ => Err(failure::wrong_type(format!("expected integers of 8 bits, got {}", x.element_type()))),
    }
}

/// The right side of a product.
enum Right {
    /// A matrix of the model.
    Fixed { packed: Vec<Packed>, k: usize, columns: usize, chain: usize },
    /// An input, or a stack of matrices of the model.
    Given,
}

impl Right {
    fn new(node: &Node<'_>, at: usize, zero: usize) -> Result<Self, LoadError> {
        if node.constant(at).is_none_or(|b| b.rank() != 2) {
            return Ok(Self::Given);
        }
        let Some(b) = Centred::known(node, at, zero, 1)? else { return Ok(Self::Given) };
        let (k, columns, chain) = (b.shape[0], b.shape[1], chain_max(MOST, b.most()));
        let source = Strided { data: &b.values, line_stride: 1, k_stride: columns };
        Ok(Self::Fixed { packed: sums::right(&source, columns, k, chain), k, columns, chain })
    }
}

/// The exact product of two stacks of matrices, and its shape. The numbers say which inputs they are: left and its zero
/// points, right and its.
fn product(
    right: &Right,
    [a, a_zero, b, b_zero]: [usize; 4],
    inputs: &Inputs,
    context: &Context,
) -> Result<(Vec<i64>, Vec<usize>), Failure> {
    let tensor = inputs.get(a)?;
    let a = Centred::made(tensor, inputs.optional(a_zero), tensor.rank().saturating_sub(2), context)?;
    match right {
        Right::Fixed { packed, k, columns, chain } => {
            if a.shape.last() != Some(k) {
                let a = &a.shape;
                return Err(failure::wrong_shape(format!("cannot multiply shapes {a:?} and {:?}", [k, columns])));
            }
            let mut shape = a.shape.clone();
            let last = shape.len().saturating_sub(1);
            shape[last] = *columns;
            let rows = shape[..last].iter().product();
            let left = Strided { data: &a.values, line_stride: *k, k_stride: 1 };
            let sizes = Sizes { rows, columns: *columns, k: *k, chain: *chain };
            Ok((add(&[(Side::Source(&left), Side::Cut(packed))], sizes, context)?, shape))
        }
        Right::Given => {
            let tensor = inputs.get(b)?;
            let b = Centred::made(tensor, inputs.optional(b_zero), tensor.rank().saturating_sub(1), context)?;
            let batch = batch_of(&a.shape, &b.shape)?;
            let (rows, columns, k) = (batch.rows, batch.columns, batch.k);
            let lefts = batch.a_offsets.iter().map(|o| Strided { data: &a.values[*o..], line_stride: k, k_stride: 1 });
            let rights =
                batch.b_offsets.iter().map(|o| Strided { data: &b.values[*o..], line_stride: 1, k_stride: columns });
            let (lefts, rights): (Vec<_>, Vec<_>) = (lefts.collect(), rights.collect());
            let sides: Vec<_> = lefts.iter().zip(&rights).map(|(l, r)| (Side::Source(l), Side::Source(r))).collect();
            let sizes = Sizes { rows, columns, k, chain: chain_max(a.most(), b.most()) };
            Ok((add(&sides, sizes, context)?, batch.out_shape))
        }
    }
}

/// All products, one behind the other.
fn add(products: &[(Side<'_>, Side<'_>)], sizes: Sizes, context: &Context) -> Result<Vec<i64>, Failure> {
    let total = count(&[products.len(), sizes.rows, sizes.columns])?;
    let (mut sums, mut part) = (context.zeros::<i64>(total)?, context.zeros::<f32>(total)?);
    context.count_macs((total as u64).saturating_mul(sizes.k as u64));
    add_products(context.isa(), products, sizes, &mut sums, &mut part);
    Ok(sums)
}

fn to_i32(values: &[i64], shape: Vec<usize>, context: &Context) -> Result<Vec<Tensor>, Failure> {
    let mut out = context.reserve::<i32>(values.len())?;
    out.extend(values.iter().map(|v| *v as i32));
    Ok(vec![Tensor::new(shape, out)?])
}

fn matmul_integer(node: &Node<'_>) -> Built {
    let right = Right::new(node, 1, 3)?;
    kernel(move |inputs, context| {
        let (values, shape) = product(&right, [0, 2, 1, 3], inputs, context)?;
        to_i32(&values, shape, context)
    })
}

fn one(inputs: &Inputs, index: usize, context: &Context) -> Result<f32, Failure> {
    match widen(inputs.get(index)?, context)?[..] {
        [one] => Ok(one as f32),
        _ => Err(failure::wrong_shape(format!("input {index}: expected one scale"))),
    }
}

fn one_zero(inputs: &Inputs, index: usize, context: &Context) -> Result<(f64, ElementType), Failure> {
    let tensor = inputs.get(index)?;
    match widen_numbers(tensor, context)?[..] {
        [one] => Ok((one, tensor.element_type())),
        _ => Err(failure::wrong_shape(format!("input {index}: expected one zero point"))),
    }
}

/// `round(sum * (scale_a * scale_b / scale_y)) + zero`: the product of the scales in doubles, one rounding to `f32`.
fn requantise(sum: i64, factor: f64, zero: f64, kind: ElementType) -> f64 {
    quantized((sum as f64 * factor) as f32, 1.0, zero, kind)
}

fn matmul_linear(node: &Node<'_>) -> Built {
    let right = Right::new(node, 3, 5)?;
    kernel(move |inputs, context| {
        let (values, shape) = product(&right, [0, 2, 3, 5], inputs, context)?;
        let (zero, kind) = one_zero(inputs, 7, context)?;
        let (a_scale, b_scale) = (one(inputs, 1, context)?, one(inputs, 4, context)?);
        let factor = f64::from(a_scale) * f64::from(b_scale) / f64::from(one(inputs, 6, context)?);
        let mut out = context.reserve::<f64>(values.len())?;
        out.extend(values.iter().map(|sum| requantise(*sum, factor, zero, kind)));
        Ok(vec![integers(kind, &shape, &out, context)?])
    })
}

/// Weights of a convolution, a matrix a group.
struct Weights {
    kernel: Vec<usize>,
    channels: usize,
    features: usize,
    k: usize,
    chain: usize,
    packed: Vec<Vec<Packed>>,
}

impl Weights {
    fn new(w: &Centred, groups: usize, isa: Isa) -> Result<Self, Failure> {
        let shape = &w.shape;
        let fits = (3..=2 + AXES).contains(&shape.len()) && shape[0].is_multiple_of(groups) && !shape.contains(&0);
        if !fits {
            return Err(failure::wrong_shape(format!("weights of shape {shape:?} in {groups} groups")));
        }
        let (features, k) = (shape[0] / groups, shape[1..].iter().product());
        let chain = chain_max(MOST, w.most());
        let pack =
            |group: &[f32]| sums::left(&Strided { data: group, line_stride: k, k_stride: 1 }, features, k, chain, isa);
        let packed = w.values.chunks_exact(features * k).map(pack).collect();
        Ok(Self { kernel: shape[2..].to_vec(), channels: shape[1], features, k, chain, packed })
    }
}

/// A convolution of integers.
struct Convolution {
    window: Window,
    groups: usize,
    fixed: Option<Weights>,
}

impl Convolution {
    fn new(node: &Node<'_>, at: usize, zero: usize) -> Result<Self, LoadError> {
        let groups = groups(node)?;
        let known = Centred::known(node, at, zero, 0)?;
        let fixed = known.map(|w| Weights::new(&w, groups, node.isa())).transpose().map_err(|f| node.failure(f))?;
        Ok(Self { window: Window::of(node)?, groups, fixed })
    }

    /// The exact sums, and their shape.
    fn run(
        &self,
        [x, x_zero, w, w_zero]: [usize; 4],
        inputs: &Inputs,
        context: &Context,
    ) -> Result<(Vec<i64>, Vec<usize>), Failure> {
        let x = Centred::made(inputs.get(x)?, inputs.optional(x_zero), 1, context)?;
        let made = match &self.fixed {
            Some(_) => None,
            None => {
                let w = Centred::made(inputs.get(w)?, inputs.optional(w_zero), 0, context)?;
                context.claim::<f32>(w.values.len())?;
                Some(Weights::new(&w, self.groups, context.isa())?)
            }
        };
        let weights = self.fixed.as_ref().or(made.as_ref()).expect("known, or made here");
        let wanted = [weights.channels * self.groups];
        if x.shape.len() != weights.kernel.len() + 2 || x.shape[1..2] != wanted {
            let shape = &x.shape;
            return Err(failure::wrong_shape(format!("an image of shape {shape:?} for {wanted:?} channels")));
        }
        let placed = self.window.place(&x.shape[2..], &weights.kernel)?;
        let geometry = placed.geometry(weights.channels, false);
        let mut shape = vec![x.shape[0], weights.features * self.groups];
        shape.extend(&placed.output[AXES - weights.kernel.len()..]);
        let size = weights.channels * x.shape[2..].iter().product::<usize>();
        let images = x.values.chunks_exact(size.max(1));
        let patches: Vec<_> = images.map(|image| Patches { image, geometry }).collect();
        let mut sides = Vec::with_capacity(patches.len());
        for (i, image) in patches.iter().enumerate() {
            sides.push((Side::Cut(&weights.packed[i % self.groups]), Side::Source(image)));
        }
        let columns = count(&placed.output)?;
        let sizes = Sizes { rows: weights.features, columns, k: weights.k, chain: weights.chain };
        Ok((add(&sides, sizes, context)?, shape))
    }
}

fn conv_integer(node: &Node<'_>) -> Built {
    let convolution = Convolution::new(node, 1, 3)?;
    kernel(move |inputs, context| {
        let (values, shape) = convolution.run([0, 2, 1, 3], inputs, context)?;
        to_i32(&values, shape, context)
    })
}

fn conv_linear(node: &Node<'_>) -> Built {
    let convolution = Convolution::new(node, 3, 5)?;
    kernel(move |inputs, context| {
        let (mut values, shape) = convolution.run([0, 2, 3, 5], inputs, context)?;
        let channel = |i: usize| i / shape[2..].iter().product::<usize>() % shape[1];
        if let Some(bias) = inputs.optional(8) {
            let bias = bias.values::<i32>()?;
            if bias.len() != shape[1] {
                return Err(failure::wrong_shape(format!("{} biases for {} channels", bias.len(), shape[1])));
            }
            values.iter_mut().enumerate().for_each(|(i, v)| *v += i64::from(bias[channel(i)]));
        }
        let (zero, kind) = one_zero(inputs, 7, context)?;
        let spread = Spread::new(&shape, inputs.get(4)?, 1, 0)?;
        let w_scales = widen(inputs.get(4)?, context)?;
        let scale = f64::from(one(inputs, 1, context)?) / f64::from(one(inputs, 6, context)?);
        let mut out = context.reserve::<f64>(values.len())?;
        let scaled = |(i, sum): (usize, &i64)| requantise(*sum, scale * w_scales[spread.at(i)], zero, kind);
        out.extend(values.iter().enumerate().map(scaled));
        Ok(vec![integers(kind, &shape, &out, context)?])
    })
}
