//! `Einsum`: for `f32` each output is one chain of fused multiply-adds over the summed letters, in the order in which they
//! first appear, in blocks of 256; other types are computed in doubles or wrapping integers.

use super::floats::{narrow, widen};
use super::shape::{count, strides};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::onnx::LoadError;
use crate::tensor::{Data, Tensor};

pub(super) const OPERATORS: &[Operator] = &[Operator::onnx("Einsum", 12..=LATEST, einsum)];

/// Products in a chain before a new one begins.
const BLOCK: usize = 256;

/// Letters of each operand and of the result; an ellipsis is [`ELLIPSIS`] until ranks are known.
struct Equation {
    terms: Vec<Vec<char>>,
    result: Vec<char>,
}

const ELLIPSIS: char = '.';

impl Equation {
    fn read(node: &Node<'_>) -> Result<Self, LoadError> {
        let text: String = node.string("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
        let text = text.replace("...", ".");
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let terms: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
        let known = |c: &char| c.is_ascii_alphabetic() || *c == ELLIPSIS;
        let result = match right {
            Some(right) => right.chars().collect(),
            // Without a result: the letters that occur once, in order of the alphabet, after the ellipsis.
            None => {
                let mut letters: Vec<char> = terms.concat();
                letters.sort_unstable();
                let once = |c: &char| *c == ELLIPSIS || letters.iter().filter(|d| *d == c).count() == 1;
                let mut result: Vec<char> = letters.iter().copied().filter(once).collect();
                result.dedup();
                result
            }
        };
        let all = terms.concat();
        let twice = |v: &[char]| v.iter().enumerate().any(|(i, c)| v[..i].contains(c));
        let dots = |v: &[char]| v.iter().filter(|c| **c == ELLIPSIS).count() > 1;
        if !all.iter().chain(&result).all(known)
            || twice(&result)
            || terms.iter().any(|t| dots(t))
            || !result.iter().all(|c| all.contains(c) || *c == ELLIPSIS)
            || terms.len() != node.inputs()
        {
            return Err(node.error(format!("the equation {text:?} does not fit {} inputs", node.inputs())));
        }
        Ok(Self { terms, result })
    }
}

/// An axis of the loops: its length, and its stride in each operand.
struct Axis {
    length: usize,
    strides: Vec<usize>,
}

/// Result axes, then summed axes. Axes of an ellipsis are named by numbers from the right.
fn axes(equation: &Equation, inputs: &[&Tensor]) -> Result<(Vec<Axis>, Vec<Axis>), Failure> {
    let mut dots = 0;
    let mut named: Vec<(char, Axis)> = Vec::new();
    for (operand, (term, tensor)) in equation.terms.iter().zip(inputs).enumerate() {
        let letters = term.iter().filter(|c| **c != ELLIPSIS).count();
        let has_dots = term.contains(&ELLIPSIS);
        let extra = tensor.rank().checked_sub(letters).filter(|extra| has_dots || *extra == 0);
        let extra = extra.ok_or_else(|| {
            failure::wrong_shape(format!("a term of {letters} letters for the shape {:?}", tensor.shape()))
        })?;
        dots = dots.max(if has_dots { extra } else { 0 });
        let expand = |c: &char| match *c {
            ELLIPSIS => (0..extra).rev().map(dot_name).collect::<Vec<_>>(),
            c => vec![c],
        };
        let names: Vec<char> = term.iter().flat_map(expand).collect();
        let own = strides(tensor.shape());
        for (i, name) in names.iter().enumerate() {
            let (length, stride) = (tensor.shape()[i], own[i]);
            let at = named.iter().position(|(n, _)| n == name);
            let at = at.unwrap_or_else(|| {
                named.push((*name, Axis { length: 1, strides: vec![0; inputs.len()] }));
                named.len() - 1
            });
            let axis = &mut named[at].1;
            match (axis.length, length) {
                (a, b) if a == b => axis.strides[operand] += stride,
                (1, b) => {
                    axis.length = b;
                    axis.strides[operand] += stride;
                }
                (_, 1) => {}
                _ => return Err(failure::wrong_shape(format!("the letter {name} stands for two lengths"))),
            }
        }
    }
    let mut result = Vec::new();
    let expand = |c: &char| match *c {
        ELLIPSIS => (0..dots).rev().map(dot_name).collect::<Vec<_>>(),
        c => vec![c],
    };
    for name in equation.result.iter().flat_map(expand) {
        let at = named.iter().position(|(n, _)| *n == name);
        let at = at.ok_or_else(|| failure::wrong_shape("the ellipsis stands for different axes"))?;
        result.push(named.remove(at).1);
    }
    Ok((result, named.into_iter().map(|(_, axis)| axis).collect()))
}

/// Name of an axis of the ellipsis, counted from the right: no letter.
fn dot_name(index: usize) -> char {
    char::from_u32(0x2800 + index as u32).unwrap_or(ELLIPSIS)
}

/// Offsets in each operand, counting through some axes, the last fastest.
fn step(axes: &[Axis], index: &mut [usize], offsets: &mut [usize]) {
    for (axis, at) in axes.iter().zip(index.iter_mut()).rev() {
        *at += 1;
        if *at < axis.length {
            offsets.iter_mut().zip(&axis.strides).for_each(|(o, s)| *o += s);
            return;
        }
        *at = 0;
        offsets.iter_mut().zip(&axis.strides).for_each(|(o, s)| *o -= s * (axis.length - 1));
    }
}

/// Calls `sum` for each output with the offsets of every product.
fn outputs<T>(
    result: &[Axis],
    summed: &[Axis],
    operands: usize,
    mut sum: impl FnMut(&mut dyn FnMut() -> Vec<usize>, usize) -> T,
    out: &mut Vec<T>,
) {
    let total: usize = result.iter().map(|a| a.length).product();
    let terms: usize = summed.iter().map(|a| a.length).product();
    let (mut index, mut offsets) = (vec![0; result.len()], vec![0; operands]);
    for _ in 0..total {
        let (mut inner, mut at) = (vec![0; summed.len()], offsets.clone());
        let mut next = || {
            let now = at.clone();
            step(summed, &mut inner, &mut at);
            now
        };
        out.push(sum(&mut next, terms));
        step(result, &mut index, &mut offsets);
    }
}

fn chain(values: &[&[f32]], next: &mut dyn FnMut() -> Vec<usize>, terms: usize) -> f32 {
    let (mut total, mut block) = (0.0f32, 0.0f32);
    for term in 0..terms {
        if term > 0 && term % BLOCK == 0 {
            total = if term == BLOCK { block } else { total + block };
            block = 0.0;
        }
        let at = next();
        let last = values.len() - 1;
        let left = (0..last).map(|i| values[i][at[i]]).reduce(|a, b| a * b).unwrap_or(1.0);
        block = left.mul_add(values[last][at[last]], block);
    }
    if terms > BLOCK { total + block } else { block }
}

fn einsum(node: &Node<'_>) -> Built {
    let equation = Equation::read(node)?;
    kernel(move |inputs, context| {
        let tensors = (0..inputs.len()).map(|i| inputs.get(i)).collect::<Result<Vec<_>, _>>()?;
        let kind = tensors.first().map(|t| t.element_type());
        if tensors.iter().any(|t| Some(t.element_type()) != kind) {
            return Err(failure::wrong_type("expected inputs of one type"));
        }
        let (result, summed) = axes(&equation, &tensors)?;
        let shape: Vec<usize> = result.iter().map(|a| a.length).collect();
        let size = count(&shape)?;
        let terms = summed.iter().fold(1u64, |n, a| n.saturating_mul(a.length as u64));
        context.count_macs((size as u64).saturating_mul(terms).saturating_mul(tensors.len() as u64));
        Ok(vec![compute(&tensors, &result, &summed, shape, size, context)?])
    })
}

fn compute(
    tensors: &[&Tensor],
    result: &[Axis],
    summed: &[Axis],
    shape: Vec<usize>,
    size: usize,
    context: &Context,
) -> Result<Tensor, Failure> {
    let operands = tensors.len();
    macro_rules! integers {
        ($t:ty) => {{
            let values = tensors.iter().map(|t| t.values::<$t>()).collect::<Result<Vec<_>, _>>()?;
            let mut out = context.reserve::<$t>(size)?;
            let sum = |next: &mut dyn FnMut() -> Vec<usize>, terms: usize| {
                (0..terms).fold(0 as $t, |sum, _| {
                    let at = next();
                    let product = values.iter().zip(&at).fold(1 as $t, |p, (v, at)| p.wrapping_mul(v[*at]));
                    sum.wrapping_add(product)
                })
            };
            outputs(result, summed, operands, sum, &mut out);
            Tensor::new(shape, out)
        }};
    }
    match tensors[0].data() {
        Data::F32(_) => {
            let values = tensors.iter().map(|t| t.values::<f32>()).collect::<Result<Vec<_>, _>>()?;
            let mut out = context.reserve::<f32>(size)?;
            outputs(result, summed, operands, |next, terms| chain(&values, next, terms), &mut out);
            Tensor::new(shape, out)
        }
        Data::I64(_) => integers!(i64),
        Data::I32(_) => integers!(i32),
        _ => {
            let values = tensors.iter().map(|t| widen(t, context)).collect::<Result<Vec<_>, _>>()?;
            let mut out = context.reserve::<f64>(size)?;
            let sum = |next: &mut dyn FnMut() -> Vec<usize>, terms: usize| {
                (0..terms).fold(0.0, |sum, _| {
                    let at = next();
                    sum + values.iter().zip(&at).fold(1.0, |p, (v, at)| p * v[*at])
                })
            };
            outputs(result, summed, operands, sum, &mut out);
            narrow(tensors[0].element_type(), &shape, out, context)
        }
    }
}
