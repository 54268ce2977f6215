//! Writing integer graphs.

use super::{NotInteger, target::Target};
use crate::{
    Tensor,
    onnx::proto::{AttributeProto, NodeProto, TensorProto},
    rewrite::to_proto,
};

/// Largest shift.
const SHIFT_MAX: i32 = 30;
/// Added before the division, which truncates, and taken away after it, so that it rounds down as a shift does. A sum of
/// 32 bits times `M < 2^31` stays inside 2^62, so that nothing passes 63 bits.
const LIFT: i64 = 1 << 62;

/// The graph so far.
#[derive(Default)]
pub(super) struct Emit {
    pub(super) nodes: Vec<NodeProto>,
    pub(super) constants: Vec<TensorProto>,
}

impl Emit {
    /// A name that nothing else has.
    fn fresh(&self) -> String {
        format!("i8_{}_{}", self.nodes.len(), self.constants.len())
    }

    /// Adds a constant; its name.
    pub(super) fn constant(&mut self, tensor: &Tensor) -> String {
        let name = self.fresh();
        self.constants.push(to_proto(&name, tensor));
        name
    }

    /// Adds a node of ONNX's own domain; the name of its output.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let output = self.fresh();
        self.named(op, inputs, attribute, &output);
        output
    }

    /// As [`Emit::node`], with the output's name given.
    pub(super) fn named(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>, output: &str) {
        self.nodes.push(NodeProto { attribute, ..NodeProto::new("", op, inputs, output) });
    }

    /// Converts to another element type.
    pub(super) fn cast(&mut self, value: &str, kind: crate::ElementType) -> String {
        let to =
            AttributeProto { name: Some("to".into()), i: Some(kind as i64), r#type: Some(2), ..Default::default() };
        self.node("Cast", &[value], vec![to])
    }

    /// `clamp(((sum_0 * M_0 + sum_1 * M_1 + ... + 2^(s-1)) >> s) + zero)` as `int8`, where `M / 2^s` are the factors: `int32`
    /// sums, each with a factor for each channel (or one), whose shape lines up with the sum's.
    pub(super) fn requantise(
        &mut self,
        sums: &[(String, Vec<f64>, Vec<usize>)],
        target: &Target,
        what: &str,
    ) -> Result<String, NotInteger> {
        let all: Vec<f64> = sums.iter().flat_map(|(_, factors, _)| factors.clone()).collect();
        let (shift, _) = scale(&all, sums.len(), what)?;
        let mut total: Option<String> = None;
        for (sum, factors, shape) in sums {
            let multipliers: Vec<i64> = factors.iter().map(|f| (f * (1i64 << shift) as f64).round() as i64).collect();
            if let Some(index) = multipliers.iter().zip(factors).position(|(m, f)| *m == 0 && *f != 0.0) {
                return Err(NotInteger::Factor(what.into(), factors[index]));
            }
            let multipliers = Tensor::new(shape.clone(), multipliers).expect("a factor for each channel");
            let (wide, by) = (self.cast(sum, crate::ElementType::I64), self.constant(&multipliers));
            let scaled = self.node("Mul", &[&wide, &by], vec![]);
            total = Some(match total {
                None => scaled,
                Some(before) => self.node("Add", &[&before, &scaled], vec![]),
            });
        }
        let half = if shift > 0 { 1i64 << (shift - 1) } else { 0 };
        let number = |value: i64| Tensor::scalar(value);
        let lift = self.constant(&number(LIFT + half));
        let lifted = self.node("Add", &[&total.expect("a sum"), &lift], vec![]);
        let by = self.constant(&number(1 << shift));
        let divided = self.node("Div", &[&lifted, &by], vec![]);
        let back = self.constant(&number((LIFT >> shift) - i64::from(target.zero)));
        let mut value = self.node("Sub", &[&divided, &back], vec![]);
        for (op, bound) in [("Max", i64::from(target.least)), ("Min", i64::from(target.most))] {
            let bound = self.constant(&number(bound));
            value = self.node(op, &[&value, &bound], vec![]);
        }
        Ok(self.cast(&value, crate::ElementType::I8))
    }

    /// A table of 256 entries, from -128 on, applied to each element.
    pub(super) fn table(&mut self, value: &str, entries: Vec<i8>) -> String {
        let table = self.constant(&Tensor::vector(entries));
        let index = self.cast(value, crate::ElementType::I32);
        let low = self.constant(&Tensor::scalar(128i32));
        let index = self.node("Add", &[&index, &low], vec![]);
        self.node("Gather", &[&table, &index], vec![])
    }
}

/// The shift by which the largest factor is just below 2^31 (less where several sums are added), and that factor.
fn scale(factors: &[f64], sums: usize, what: &str) -> Result<(i32, f64), NotInteger> {
    let largest = factors.iter().copied().fold(0.0, f64::max);
    let bits = 31 - (usize::BITS - (sums - 1).leading_zeros()) as i32;
    let room = (1i64 << bits) as f64 - 1.0;
    let fits = |shift: &i32| largest * (1i64 << shift) as f64 + 0.5 < room;
    let shift = (0..=SHIFT_MAX).rev().find(fits).filter(|_| factors.iter().all(|f| f.is_finite() && *f >= 0.0));
    Ok((shift.ok_or_else(|| NotInteger::Factor(what.into(), largest))?, largest))
}
