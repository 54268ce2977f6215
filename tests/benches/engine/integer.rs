//! What the integer profile gains: quantised models as `exact-i8/v1` against themselves in floats, and on ONNX Runtime.

use std::fs;

use foreblock_engine::{ExactModel, LoadOptions, Pool, integer::convert};
use foreblock_tests::bench::{Report, Target};

use crate::{
    Result,
    engines::{OrtRaw, paired},
    models::Sample,
    sample,
};

pub(crate) fn speed(report: &mut Report, samples: &[Sample]) -> Result<()> {
    let pool = Pool::new(1);
    for (name, rows, title) in [
        ("MLP", 32, "tabular MLP, 32 rows"),
        ("MLP-1ms", 1, "MLP of 9.5 million weights, 1 row"),
        ("ResNet-18", 1, "ResNet-18 shape"),
    ] {
        let quantised = sample(samples, &format!("{name}-i8"))?.first_rows(rows);
        let load = LoadOptions::default();
        let integers = ExactModel::load(convert(&fs::read(&quantised.path)?.into())?.graph, &load)?;
        let floats = sample(samples, name)?.first_rows(rows);
        let exact = floats.exact()?;
        let mut ort = OrtRaw::open(&quantised.path, 1)?;
        let mut integer = || drop(integers.run(quantised.inputs.clone(), &pool).expect("it has an answer"));
        let (ours, in_floats) =
            paired(1, &mut integer, || drop(exact.run(floats.inputs.clone(), &pool).expect("it has an answer")));
        report.row(&format!("{title}, 1 thread: exact-i8 / exact-f32"), ours / in_floats, Target::Shown);
        let (ours, theirs) = paired(1, &mut integer, || drop(ort.run(&quantised.inputs).expect("it has an answer")));
        report.row("    exact-i8 / ONNX Runtime, the same quantised model", ours / theirs, Target::Shown);
    }
    Ok(())
}
