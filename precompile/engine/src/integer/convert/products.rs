//! Products and sums, on integers.

use super::{Converter, Quantised, Target, constants::Weights};
use crate::{Tensor, integer::NotInteger, onnx::proto::AttributeProto};

/// How far a bias's scale may be from the product of the scales, relative to it: products are rounded to floats.
const BIAS_SCALE_ERROR_MAX: f64 = 1e-6;

impl Converter<'_> {
    /// What is added or joined: an activation, or a constant of one scale.
    pub(super) fn operand(&mut self, name: &str) -> Result<Quantised, NotInteger> {
        if let Some(quantised) = self.floats.get(name) {
            return Ok(quantised.clone());
        }
        let weights = self.weights.get(name).cloned().ok_or_else(|| NotInteger::Float(name.into()))?;
        self.constant_operand(weights, name)
    }

    pub(super) fn constant_operand(&mut self, weights: Weights, name: &str) -> Result<Quantised, NotInteger> {
        let form = |words| NotInteger::Form(name.into(), words);
        let [scale] = weights.scales[..] else { return Err(form("a constant operand has one scale")) };
        let values: Result<Vec<i8>, _> = weights.values.iter().map(|value| i8::try_from(*value)).collect();
        let values = values.map_err(|_| form("a constant operand has 8 bits"))?;
        let zero = i8::try_from(weights.zero).map_err(|_| form("expected a zero point of 8 bits"))?;
        let tensor = Tensor::new(weights.shape, values).expect("as it was read");
        Ok(Quantised { name: self.emit.constant(&tensor), scale, zero })
    }

    #[allow(clippy::too_many_arguments, reason = "what a product is made of")]
    pub(super) fn product(
        &mut self,
        convolution: bool,
        x: &Quantised,
        w: &Weights,
        bias: Option<&Weights>,
        attributes: Vec<AttributeProto>,
        target: &Target,
        what: &str,
    ) -> Result<String, NotInteger> {
        let form = |words| NotInteger::Form(what.into(), words);
        if w.wide || w.shape.len() < 2 || w.shape.contains(&0) {
            return Err(form("expected a matrix of weights of 8 bits"));
        }
        let channels = if convolution { w.shape[0] } else { w.shape[w.shape.len() - 1] };
        let channel_axis = if convolution { 0 } else { w.shape.len() as i64 - 1 };
        let axis = if w.axis < 0 { w.axis + w.shape.len() as i64 } else { w.axis };
        if w.scales.len() > 1 && (w.scales.len() != channels || axis != channel_axis) {
            return Err(form("scales of weights are one for all, or one for each channel of the output"));
        }
        let terms = if convolution { w.shape[1..].iter().product() } else { w.shape[w.shape.len() - 2] } as u64;
        let widest = w.values.iter().map(|value| (value - w.zero).unsigned_abs()).max().unwrap_or(0);
        let widest_x = (i32::from(i8::MAX) - i32::from(x.zero)).max(i32::from(x.zero) - i32::from(i8::MIN)) as u64;
        let bias_most = bias.iter().flat_map(|bias| &bias.values).map(|value| u64::from(value.unsigned_abs())).max();
        let most = terms.saturating_mul(u64::from(widest)).saturating_mul(widest_x) + bias_most.unwrap_or(0);
        if most >= 1 << 31 {
            return Err(NotInteger::Overflow(what.into(), terms));
        }
        let narrow: Vec<i8> = w.values.iter().map(|value| *value as i8).collect();
        let weights = self.emit.constant(&Tensor::new(w.shape.clone(), narrow).expect("as it was read"));
        let x_zero = self.emit.constant(&Tensor::scalar(x.zero));
        let w_zero = self.emit.constant(&Tensor::scalar(w.zero as i8));
        let op = if convolution { "ConvInteger" } else { "MatMulInteger" };
        let mut sum = self.emit.node(op, &[&x.name, &weights, &x_zero, &w_zero], attributes);
        let lined_up = |count: usize| match (convolution, count) {
            (_, 1) => vec![],
            (false, _) => vec![count],
            (true, _) => [&[1, count][..], &vec![1; w.shape.len() - 2]].concat(),
        };
        if let Some(bias) = bias {
            let fits = bias.wide && (bias.values.len() == channels || bias.values.len() == 1);
            let scaled = |(index, scale): (usize, &f64)| {
                let own = x.scale * w.scales[index % w.scales.len()];
                (scale - own).abs() <= own * BIAS_SCALE_ERROR_MAX
            };
            if !fits || !bias.scales.iter().enumerate().all(scaled) {
                return Err(form("a bias is int32, one for each channel, with the product of the scales"));
            }
            let tensor = Tensor::new(lined_up(bias.values.len()), bias.values.clone()).expect("one a channel");
            let bias = self.emit.constant(&tensor);
            sum = self.emit.node("Add", &[&sum, &bias], vec![]);
        }
        let factors: Vec<f64> = w.scales.iter().map(|scale| x.scale * scale / target.scale).collect();
        let shape = lined_up(factors.len());
        self.emit.requantise(&[(sum, factors, shape)], target, what)
    }

    pub(super) fn sum(&mut self, operands: &[Quantised], target: &Target, what: &str) -> Result<String, NotInteger> {
        let centred = |x: &Quantised| (self.centred(x), vec![x.scale / target.scale], vec![]);
        let sums: Vec<_> = operands.iter().map(centred).collect();
        self.emit.requantise(&sums, target, what)
    }

    /// Two activations multiplied, element by element: less than 2^16 each time.
    pub(super) fn scaled(
        &mut self,
        [a, b]: &[Quantised; 2],
        target: &Target,
        what: &str,
    ) -> Result<String, NotInteger> {
        let factor = a.scale * b.scale / target.scale;
        let (a, b) = (self.centred(a), self.centred(b));
        let product = self.emit.node("Mul", &[&a, &b], vec![]);
        self.emit.requantise(&[(product, vec![factor], vec![])], target, what)
    }
}
