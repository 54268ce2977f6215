//! QOperator form: operators that take and give quantised values, with their scales as inputs.

use super::{Converter, Quantised, Target, constants::gemm, input, label, operator};
use crate::{integer::NotInteger, onnx::proto::NodeProto};

impl Converter<'_> {
    pub(super) fn q_operator(&mut self, node: &NodeProto) -> Result<(), NotInteger> {
        let at = match operator(node) {
            "QLinearConcat" => 0,
            "QLinearAveragePool" | "QLinearGlobalAveragePool" | "QLinearLeakyRelu" | "QLinearSigmoid" => 3,
            "QLinearAdd" | "QLinearConv" | "QLinearMatMul" | "QLinearMul" => 6,
            "QGemm" => 7,
            _ => return Err(NotInteger::Operator(label(node))),
        };
        let what = label(node);
        let (scale, zero) = self.one_scale(input(node, at), input(node, at + 1), &what)?;
        let target = Target::new(scale, zero);
        let name = match operator(node) {
            "QLinearConcat" => {
                let parts = (2..node.input.len()).step_by(3).map(|at| self.q_operand(node, at));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                self.concat(node, &parts, &target)?
            }
            "QLinearAveragePool" | "QLinearGlobalAveragePool" => {
                let x = self.q_operand(node, 0)?;
                self.mean(node, &x, &target)?
            }
            op @ ("QLinearLeakyRelu" | "QLinearSigmoid") => {
                let x = self.q_operand(node, 0)?;
                let function = NodeProto::new("", &op["QLinear".len()..], &["x"], "y");
                let function = NodeProto { attribute: node.attribute.clone(), ..function };
                self.tables += 1;
                let entries = self.entries(&function, &x, &target)?;
                self.emit.table(&x.name, entries)
            }
            op @ ("QLinearAdd" | "QLinearMul") => {
                let operands = [self.q_operand(node, 0)?, self.q_operand(node, 3)?];
                let add = op == "QLinearAdd";
                if add { self.sum(&operands, &target, &what)? } else { self.scaled(&operands, &target, &what)? }
            }
            op => self.q_product(op, node, &target)?,
        };
        self.quantised.insert(node.output[0].clone(), Quantised { name, scale, zero });
        Ok(())
    }

    fn q_product(&mut self, op: &str, node: &NodeProto, target: &Target) -> Result<String, NotInteger> {
        let what = label(node);
        let x = self.q_operand(node, 0)?;
        let mut w = self.read_weights(input(node, 3), input(node, 4), input(node, 5), &what)?;
        w.axis = if op == "QLinearConv" { 0 } else { 1 };
        let bias = match op {
            "QGemm" => input(node, 6),
            "QLinearConv" => input(node, 8),
            _ => "",
        };
        let bias = match self.constant(bias) {
            Some(bias) => Some(self.bias(&bias, &what)?),
            None => None,
        };
        let (w, attributes) = if op == "QGemm" { gemm(node, w)? } else { (w, node.attribute.clone()) };
        self.product(op == "QLinearConv", &x, &w, bias.as_ref(), attributes, target, &what)
    }

    /// A quantised value, or a constant, with the scale and zero point behind it.
    fn q_operand(&mut self, node: &NodeProto, at: usize) -> Result<Quantised, NotInteger> {
        let (name, what) = (input(node, at), label(node));
        let (scale, zero) = self.one_scale(input(node, at + 1), input(node, at + 2), &what)?;
        match self.quantised.get(name) {
            Some(value) if (value.scale, value.zero) == (scale, zero) => Ok(value.clone()),
            Some(_) => Err(NotInteger::Form(what, "it takes its input by other scales than that was quantised by")),
            None => {
                let constant = self.read_weights(name, input(node, at + 1), input(node, at + 2), &what)?;
                self.constant_operand(constant, name)
            }
        }
    }
}
