//! Operators that move elements and compute nothing: as exact on integers as on the floats that these stand for.

use std::collections::HashMap;

use super::{Converter, Origin, Quantised, Target, Waiting, input, label, operator};
use crate::{integer::NotInteger, onnx::proto::NodeProto};

/// Those with one value to move. The greatest of numbers stays the greatest when they are quantised.
pub(super) const MOVES: [&str; 8] =
    ["Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"];

impl Converter<'_> {
    /// A move of a value that is quantised, dequantised, or waits to be quantised.
    pub(super) fn move_value(&mut self, node: &NodeProto) -> Result<(), NotInteger> {
        let (from, to) = (input(node, 0), node.output[0].clone());
        if let Some(value) = self.quantised.get(from).cloned() {
            let moved = self.move_elements(node, &value)?;
            self.quantised.insert(to, moved);
        } else if let Some(value) = self.floats.get(from).cloned() {
            let moved = self.move_elements(node, &value)?;
            self.floats.insert(to, moved);
        } else if let Some(mut waiting) = self.waiting.get(from).cloned() {
            waiting.moves.push(node.clone());
            self.waiting.insert(to, waiting);
        } else {
            return Err(NotInteger::Float(from.into()));
        }
        Ok(())
    }

    pub(super) fn move_elements(&mut self, node: &NodeProto, moved: &Quantised) -> Result<Quantised, NotInteger> {
        if node.output.iter().skip(1).any(|name| !name.is_empty()) {
            return Err(NotInteger::Operator(format!("{} with several outputs", label(node))));
        }
        let fixed = || NotInteger::Form(label(node), "its shape, axes or places are not constants");
        let mut inputs = vec![moved.name.clone()];
        for name in &node.input[1..] {
            let tensor = self.constant(name).ok_or_else(fixed);
            inputs.push(if name.is_empty() { String::new() } else { self.emit.constant(&tensor?) });
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        Ok(Quantised { name: self.emit.node(operator(node), &inputs, node.attribute.clone()), ..moved.clone() })
    }

    /// A `Concat`: a move where all parts have one scale; otherwise it waits for the scale of the result.
    pub(super) fn join(&mut self, node: &NodeProto) -> Result<(), NotInteger> {
        let to = node.output[0].clone();
        let among = |values: &HashMap<String, Quantised>| -> Option<Vec<Quantised>> {
            node.input.iter().map(|name| values.get(name).cloned()).collect()
        };
        let alike = |parts: &[Quantised]| {
            parts.windows(2).all(|pair| (pair[0].scale, pair[0].zero) == (pair[1].scale, pair[1].zero))
        };
        if let Some(parts) = among(&self.quantised).filter(|parts| !parts.is_empty()) {
            if !alike(&parts) {
                return Err(NotInteger::Form(
                    label(node),
                    "integers that are joined must have one scale and zero point",
                ));
            }
            let joined = self.concat(node, &parts, &Target::new(parts[0].scale, parts[0].zero))?;
            self.quantised.insert(to, Quantised { name: joined, ..parts[0].clone() });
        } else if let Some(parts) = among(&self.floats).filter(|parts| !parts.is_empty() && alike(parts)) {
            let joined = self.concat(node, &parts, &Target::new(parts[0].scale, parts[0].zero))?;
            self.floats.insert(to, Quantised { name: joined, ..parts[0].clone() });
        } else {
            let known = |name: &&String| self.floats.contains_key(*name) || self.weights.contains_key(*name);
            if let Some(name) = node.input.iter().find(|name| !known(name)) {
                return Err(NotInteger::Float(name.clone()));
            }
            let waiting = Waiting::new(Origin::Node(node.clone()));
            self.waiting.insert(to, waiting);
        }
        Ok(())
    }

    /// The parts joined, each brought to the scale of the result.
    pub(super) fn concat(
        &mut self,
        node: &NodeProto,
        parts: &[Quantised],
        target: &Target,
    ) -> Result<String, NotInteger> {
        let parts = parts.iter().map(|part| self.rescale(part, target)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        Ok(self.emit.node("Concat", &names, node.attribute.clone()))
    }
}
