//! Converted models with their chains as one step each, and with every step alone.

use std::path::Path;

use crate::exact::opsets;
use crate::graph::{Context, Plan, compile};
use crate::integer::convert;
use crate::onnx::proto::{GraphProto, ModelProto, ValueInfoProto};
use crate::onnx::tensors::Constants;
use crate::{Isa, Limits, Tensor, onnx};

#[derive(serde::Deserialize)]
struct Recorded {
    name: String,
    shape: Vec<usize>,
    input: Vec<f32>,
}

fn plan(model: &ModelProto, graph: GraphProto, isa: Isa) -> Plan {
    let limits = Limits::default();
    compile(graph, opsets(model), Constants::new(&limits, None), isa, &limits, None).unwrap()
}

fn run(plan: &Plan, case: &Recorded, isa: Isa) -> (Vec<u32>, u64) {
    let context = Context::new(isa, &Limits::default());
    let input = Tensor::new(case.shape.clone(), case.input.clone()).unwrap();
    let outputs = plan.run(vec![input], &[], &context).unwrap();
    (outputs[0].values::<f32>().unwrap().iter().map(|x| x.to_bits()).collect(), context.cost().macs)
}

fn steps(plan: &Plan, operator: &str) -> usize {
    plan.steps.iter().filter(|step| step.label.ends_with(&format!("({operator})"))).count()
}

#[test]
fn one_step_answers_as_the_steps_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/i8");
    let cases: Vec<Recorded> = serde_json::from_slice(&std::fs::read(folder.join("vectors.json")).unwrap()).unwrap();
    let mut tables = 0;
    for case in &cases {
        let file = std::fs::read(folder.join(&case.name).with_extension("onnx")).unwrap();
        let converted = convert(&file.into()).unwrap();
        let mut model = onnx::decode(converted.graph, &Limits::default()).unwrap();
        let graph = model.graph.take().unwrap();
        // A value that somebody asks for is in no chain.
        let mut shown = graph.clone();
        let made = graph.node.iter().flat_map(|node| &node.output);
        let made = made.filter(|name| graph.output.iter().all(|output| output.name.as_ref() != Some(*name)));
        shown.output.extend(made.map(|name| ValueInfoProto { name: Some(name.clone()), ..Default::default() }));
        for isa in Isa::available() {
            let (chains, alone) = (plan(&model, graph.clone(), isa), plan(&model, shown.clone(), isa));
            assert_eq!(run(&chains, case, isa), run(&alone, case, isa), "{} on {isa:?}", case.name);
            let products = steps(&alone, "MatMulInteger") + steps(&alone, "ConvInteger");
            assert!(
                products > 0 && steps(&chains, "Div") + products <= steps(&alone, "Div"),
                "{}: chains are left",
                case.name
            );
            assert_eq!(steps(&chains, "Gather"), 0, "{}: tables are left", case.name);
            tables += steps(&alone, "Gather");
        }
    }
    assert!(tables > 0, "no model has a table");
}
