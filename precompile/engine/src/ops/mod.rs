//! Operators: what each computes, one table a file.
//!
//! # Adding an operator
//!
//! 1. In the file of its family (or a new one, listed in `TABLES`) add a row to its `OPERATORS`:
//!    `Operator::onnx("Relu", 1..=LATEST, relu)`. Two rows with one name and different opset ranges are two meanings.
//! 2. Write the *builder*, `fn relu(node: &Node<'_>) -> Built`. It runs once, when the model is loaded: it reads the
//!    attributes (`node.int("axis", -1)?`), looks at inputs that are constant (`node.constant(1)`, or
//!    `node.absorb(1)` to keep a prepared form and have the original dropped), refuses what it cannot do
//!    (`Err(node.error("..."))`), and returns `kernel(move |inputs, context| ...)`.
//! 3. The *kernel* runs on every inference. It takes its inputs (`inputs.get(0)?` to look, `inputs.take(0)?` to own:
//!    `into_values` then costs no copy where nobody else needs the tensor), makes buffers with `context.zeros::<T>(n)?`
//!    or `context.reserve::<T>(n)?` (they count against the run's memory, so do so *before* filling anything whose size
//!    the input decides), and returns its outputs in order. It must never panic: shapes and indices are checked, with
//!    failures from [`crate::failure`], whose text depends on nothing but the input.
//!
//! Numbers: an operator on `f32` must give equal bits on every machine. Use `+ - * /`, `sqrt`, `f32::mul_add` (one
//! rounding, where the specification says FMA), and for everything else the pinned functions in `crate::kernels::math`;
//! never `f32::exp`, `powf`, `sin` and the like, whose bits belong to the platform. Sums go through `kernels::sum`.
//!
//! # Testing
//!
//! `testing::run(("", "Relu", 26), &[], &[Some(x)], 1)` runs one node.
//!
//! Float types other than `f32` are computed in `f32` and rounded back (`float16`, `bfloat16`) or in `f64` by `+ - * /`
//! and `sqrt` only.

mod attention;
pub(crate) mod binary;
mod bit_cast;
mod blocks;
pub(crate) mod cast;
mod constants;
mod control;
mod conv;
pub(crate) mod cuda;
mod einsum;
mod floats;
mod gated;
mod generate;
mod indexed;
mod integers;
pub(crate) mod layout;
mod linear_attention;
mod loss;
pub(crate) mod matmul;
mod microsoft;
mod ml;
mod normalize;
mod norms;
pub(crate) mod number;
mod pool;
mod quantize;
pub(crate) mod quantized;
mod rare_unary;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod rotary;
mod sample;
mod select;
pub(crate) mod shape;
mod spectrum;
mod suppress;
#[cfg(test)]
pub(crate) mod testing;
mod text;
pub(crate) mod unary;
mod window;

use std::ops::RangeInclusive;

use crate::failure::Failure;
use crate::graph::{Context, Inputs, Node};
use crate::onnx::LoadError;
use crate::tensor::Tensor;

/// Newest opset of the default domain whose operators are known.
pub const LATEST: i64 = 28;

/// What runs on every inference.
pub type Kernel = Box<dyn Fn(&mut Inputs, &Context) -> Result<Vec<Tensor>, Failure> + Send + Sync>;

/// What a builder gives: the kernel, or why the model cannot be loaded.
pub type Built = Result<Kernel, LoadError>;

/// Boxes a kernel.
pub fn kernel(run: impl Fn(&mut Inputs, &Context) -> Result<Vec<Tensor>, Failure> + Send + Sync + 'static) -> Built {
    Ok(Box::new(run))
}

/// A row of a table: an operator for a range of opsets.
pub struct Operator {
    /// Empty for ONNX itself, `ai.onnx.ml`, or `com.microsoft` for ONNX Runtime's own.
    pub domain: &'static str,
    /// `op_type`.
    pub name: &'static str,
    /// Opsets in which it has this meaning.
    pub opsets: RangeInclusive<i64>,
    /// Makes the kernel of a node.
    pub build: fn(&Node<'_>) -> Built,
}

impl Operator {
    /// An operator of ONNX itself.
    pub const fn onnx(name: &'static str, opsets: RangeInclusive<i64>, build: fn(&Node<'_>) -> Built) -> Self {
        Self { domain: "", name, opsets, build }
    }

    /// An operator of `ai.onnx.ml`.
    pub const fn ml(name: &'static str, opsets: RangeInclusive<i64>, build: fn(&Node<'_>) -> Built) -> Self {
        Self { domain: "ai.onnx.ml", name, opsets, build }
    }
}

/// All tables. The first row that fits is taken.
const TABLES: &[&[Operator]] = &[
    attention::OPERATORS,
    binary::OPERATORS,
    bit_cast::OPERATORS,
    blocks::OPERATORS,
    cast::OPERATORS,
    constants::OPERATORS,
    control::OPERATORS,
    conv::OPERATORS,
    einsum::OPERATORS,
    gated::OPERATORS,
    generate::OPERATORS,
    indexed::OPERATORS,
    integers::OPERATORS,
    layout::OPERATORS,
    linear_attention::OPERATORS,
    loss::OPERATORS,
    matmul::OPERATORS,
    microsoft::OPERATORS,
    normalize::OPERATORS,
    norms::OPERATORS,
    pool::OPERATORS,
    quantize::OPERATORS,
    quantized::OPERATORS,
    rare_unary::OPERATORS,
    recurrent::OPERATORS,
    reduce::OPERATORS,
    reshape::OPERATORS,
    resize::OPERATORS,
    rotary::OPERATORS,
    sample::OPERATORS,
    select::OPERATORS,
    spectrum::OPERATORS,
    suppress::OPERATORS,
    text::OPERATORS,
    unary::OPERATORS,
];

/// The operator of a node, if there is one.
pub fn find(domain: &str, name: &str, opset: i64) -> Option<&'static Operator> {
    all().find(|o| o.name == name && o.domain == domain && o.opsets.contains(&opset))
}

/// Every operator known.
pub fn all() -> impl Iterator<Item = &'static Operator> {
    TABLES.iter().chain(&ml::TABLES).copied().flatten()
}
