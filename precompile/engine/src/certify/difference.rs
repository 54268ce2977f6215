//! How far answers lie apart.

use alloy_primitives::U256;
use serde::Serialize;

use crate::{
    Tensor,
    tensor::{Data, ElementType},
    wire::fixed::float_to_wad,
};

/// Largest difference of an exact `float` or `double` output from ONNX Runtime's, relative to the output's largest
/// magnitude over all cases. Both round each of some thousand operations to 24 bits; for 16-bit outputs it is 2^-6.
pub const EXACT_RELATIVE_MAX: f64 = 1e-3;
/// A tolerance is this many times the largest difference seen: other machines were not.
pub const TOLERANCE_MARGIN: f64 = 4.0;
/// A tolerance is at least this, relative to the output's largest magnitude: 16 units in the last place of `float`.
pub const TOLERANCE_FLOOR: f64 = 1.0 / 1_048_576.0;
/// Classes of the histogram: 1e-18 and less, then one a decade, up to 1e3 and more.
const DECADES: usize = 22;

/// How far two lists of answers lie apart in one output.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Elements compared.
    pub elements: u64,
    /// Elements whose bytes differ.
    pub different: u64,
    /// Largest absolute difference of numbers; infinite where shapes differ.
    pub largest: f64,
    /// Sum of the absolute differences.
    pub total: f64,
    /// Elements that differ, by the decade of their absolute difference: 1e-18 and less first.
    pub decades: Vec<u64>,
}

impl Difference {
    /// Adds what lies between two tensors.
    pub fn add(&mut self, one: &Tensor, other: &Tensor) {
        self.decades.resize(DECADES, 0);
        if one.shape() != other.shape() || one.element_type() != other.element_type() {
            self.elements += 1;
            self.different += 1;
            self.largest = f64::INFINITY;
            return;
        }
        self.elements += one.len() as u64;
        let (Some(a), Some(b)) = (numbers(one), numbers(other)) else {
            let texts = (one.values::<String>(), other.values::<String>());
            let (Ok(a), Ok(b)) = texts else { return };
            let count = a.iter().zip(b).filter(|(a, b)| a != b).count() as u64;
            self.different += count;
            self.largest = self.largest.max(if count > 0 { f64::INFINITY } else { 0.0 });
            return;
        };
        for (a, b) in a.iter().zip(&b) {
            let difference = (a - b).abs();
            // NaN is nobody's neighbour.
            let difference = if difference.is_nan() { f64::INFINITY } else { difference };
            if difference > 0.0 || a.to_bits() != b.to_bits() {
                self.different += 1;
                self.decades[decade(difference)] += 1;
            }
            self.largest = self.largest.max(difference);
            self.total += difference;
        }
    }

    /// Mean absolute difference of an element.
    pub fn mean(&self) -> f64 {
        if self.elements == 0 { 0.0 } else { self.total / self.elements as f64 }
    }
}

fn decade(difference: f64) -> usize {
    if difference <= 0.0 {
        return 0;
    }
    (difference.log10().floor() + 18.0).clamp(0.0, (DECADES - 1) as f64) as usize
}

/// A tensor's elements as doubles; `None` for text.
pub(super) fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    Some(match tensor.data() {
        Data::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::F64(v) => v.to_vec(),
        Data::F16(v) => v.iter().map(|x| x.to_f64()).collect(),
        Data::Bf16(v) => v.iter().map(|x| x.to_f64()).collect(),
        Data::U8(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::I8(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::U16(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::I16(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::U32(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::I32(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::U64(v) => v.iter().map(|x| *x as f64).collect(),
        Data::I64(v) => v.iter().map(|x| *x as f64).collect(),
        Data::Bool(v) => v.iter().map(|x| f64::from(u8::from(*x))).collect(),
        Data::String(_) => return None,
    })
}

/// Largest magnitude of a tensor's numbers.
pub(super) fn magnitude(tensor: &Tensor) -> f64 {
    numbers(tensor).unwrap_or_default().into_iter().map(f64::abs).fold(0.0, f64::max)
}

/// Largest difference from ONNX Runtime that rounding explains.
pub(super) fn bound(kind: ElementType, magnitude: f64) -> f64 {
    match kind {
        ElementType::F32 | ElementType::F64 => EXACT_RELATIVE_MAX * magnitude,
        ElementType::F16 | ElementType::Bf16 => magnitude / 64.0,
        _ => 0.0,
    }
}

/// The tolerance of a float output: [`TOLERANCE_MARGIN`] times the largest difference seen, at least
/// [`TOLERANCE_FLOOR`] of its largest magnitude, rounded up to two digits, as WAD. Integers and text have none.
pub fn eps(kind: ElementType, largest: f64, magnitude: f64) -> Option<U256> {
    if !kind.is_float() {
        return Some(U256::ZERO);
    }
    let wanted = (TOLERANCE_MARGIN * largest).max(TOLERANCE_FLOOR * magnitude).max(1e-18);
    if !wanted.is_finite() {
        return None;
    }
    let unit = 10f64.powf(wanted.log10().floor() - 1.0);
    let rounded = (wanted / unit).ceil() * unit;
    Some(float_to_wad(rounded)?.into_raw().max(U256::from(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_by_decade() {
        let mut difference = Difference::default();
        difference.add(&Tensor::vector(vec![1.0f64, 2.0, 3.0]), &Tensor::vector(vec![1.0f64, 2.0015, 3.5]));
        assert_eq!((difference.elements, difference.different), (3, 2));
        assert_eq!(difference.largest, 0.5);
        assert_eq!((difference.decades[15], difference.decades[17]), (1, 1));
        assert!((difference.mean() - 0.1672).abs() < 1e-3);
        difference.add(&Tensor::vector(vec![0.0f64]), &Tensor::vector(vec![0.0f64, 0.0]));
        assert_eq!(difference.largest, f64::INFINITY);
    }

    #[test]
    fn texts_and_nan_differ_without_a_distance() {
        let text = |text: &str| Tensor::vector(vec![text.to_string()]);
        let mut difference = Difference::default();
        difference.add(&text("a"), &text("a"));
        assert_eq!(difference.largest, 0.0);
        difference.add(&text("a"), &text("b"));
        assert_eq!((difference.different, difference.largest), (1, f64::INFINITY));
        let mut difference = Difference::default();
        difference.add(&Tensor::vector(vec![f32::NAN]), &Tensor::vector(vec![1.0f32]));
        assert_eq!(difference.largest, f64::INFINITY);
    }

    #[test]
    fn a_tolerance_has_a_margin_a_floor_and_two_digits() {
        let wad = |text: &str| crate::wire::fixed::parse_wad(text).unwrap().into_raw();
        assert_eq!(eps(ElementType::F32, 0.00123, 1.0), Some(wad("0.005")));
        assert_eq!(eps(ElementType::F32, 0.0, 1.0), Some(wad("0.00000096")));
        assert_eq!(eps(ElementType::F32, 0.0, 0.0), Some(U256::from(1)));
        assert_eq!(eps(ElementType::I64, 3.0, 9.0), Some(U256::ZERO));
        assert_eq!(eps(ElementType::F32, f64::INFINITY, 1.0), None);
    }
}
