//! Topological order of a graph's nodes; the file's order is kept where it is one.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::node::name_of;
use crate::onnx::LoadError;
use crate::onnx::error::invalid;
use crate::onnx::proto::{GraphProto, NodeProto};

/// Indices of the nodes in an order in which each comes after those it needs.
pub(super) fn sorted(graph: &GraphProto) -> Result<Vec<usize>, LoadError> {
    let mut producer = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if producer.insert(name.as_str(), index).is_some() {
                return Err(invalid(format!("the name {name} is defined twice")));
            }
        }
    }
    let mut waits = vec![0usize; graph.node.len()];
    let mut users = vec![Vec::new(); graph.node.len()];
    for (index, node) in graph.node.iter().enumerate() {
        let needed: BTreeSet<usize> = needs(node).iter().filter_map(|name| producer.get(name).copied()).collect();
        waits[index] = needed.len();
        needed.into_iter().for_each(|n| users[n].push(index));
    }
    let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|i| waits[*i] == 0).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for user in &users[index] {
            waits[*user] -= 1;
            if waits[*user] == 0 {
                ready.insert(*user);
            }
        }
    }
    match waits.iter().position(|w| *w > 0) {
        None => Ok(order),
        Some(index) => Err(invalid(format!("node {} depends on itself", name_of(&graph.node[index])))),
    }
}

/// Names that a node needs from its graph: its inputs, and what its subgraphs take from outside.
fn needs(node: &NodeProto) -> HashSet<&str> {
    let mut names: HashSet<&str> = node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    for graph in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
        names.extend(free_names(graph));
    }
    names
}

fn free_names(graph: &GraphProto) -> HashSet<&str> {
    let named = |name: &'_ Option<String>| -> Option<String> { name.clone() };
    let mut own: HashSet<String> = graph.input.iter().filter_map(|i| named(&i.name)).collect();
    own.extend(graph.initializer.iter().filter_map(|i| named(&i.name)));
    own.extend(graph.node.iter().flat_map(|n| n.output.iter().cloned()));
    let outputs = graph.output.iter().filter_map(|o| o.name.as_deref());
    graph.node.iter().flat_map(needs).chain(outputs).filter(|name| !own.contains(*name)).collect()
}
