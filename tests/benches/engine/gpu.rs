//! The exact engine on a GPU, where there is one: its bytes against the CPU's, its time against the CPU's and ONNX Runtime's on
//! the same GPU.

use std::fs;

use foreblock_engine::{
    ExactModel, LoadOptions, OrtConfig, Pool, Tensor,
    cuda::{self, Accelerator},
    model_dir::Files,
    ort::{Device, OrtModel},
};
use foreblock_tests::bench::{Report, Target};

use crate::{Result, engines::paired, models::Sample, sample};

pub(crate) fn speed(report: &mut Report, samples: &[Sample], ort: &OrtConfig) -> Result<()> {
    let accelerator = match cuda::open(0) {
        Ok(device) => Accelerator::new(device),
        Err(error) => {
            println!("rows of a GPU are left out: {error}");
            return Ok(());
        }
    };
    println!("on {}:", accelerator.name());
    for (name, rows) in [("MiniLM-L6", 1), ("MiniLM-L6", 8), ("MiniLM-L6", 32), ("ResNet-18", 1), ("MLP", 32)] {
        let sample = sample(samples, name)?;
        let sample = if name == "MiniLM-L6" { sample.repeated(rows) } else { sample.first_rows(rows) };
        one(report, &format!("{name}, {rows} rows"), &sample, &accelerator, ort)?;
        if let Some(error) = accelerator.breakdown() {
            return Err(format!("the GPU broke down: {error}").into());
        }
    }
    Ok(())
}

fn one(report: &mut Report, title: &str, sample: &Sample, accelerator: &Accelerator, ort: &OrtConfig) -> Result<()> {
    let load = LoadOptions { accelerator: Some(accelerator.clone()), ..LoadOptions::default() };
    let (on_gpu, on_cpu, pool) = (ExactModel::open(&sample.path, &load)?, sample.exact()?, Pool::new(1));
    let run = |model: &ExactModel| model.run(sample.inputs.clone(), &pool).map_err(|failure| failure.reason);
    let equal = bits(&run(&on_gpu)?)? == bits(&run(&on_cpu)?)?;
    report.row(&format!("{title}: bytes of the GPU are the CPU's (1: yes)"), f64::from(equal), Target::AtLeast(1.0));
    let (gpu, cpu) = paired(1, || drop(run(&on_gpu)), || drop(run(&on_cpu)));
    report.row("    milliseconds, exact on the GPU", gpu * 1e3, Target::Shown);
    report.row("    the same / exact on one thread of the CPU", gpu / cpu, Target::Shown);
    let config = OrtConfig { device: Device::Cuda, ..ort.clone() };
    match OrtModel::start(&fs::read(&sample.path)?.into(), &Files::new(), 1, &config) {
        Ok(theirs) => {
            let (ours, theirs) = paired(1, || drop(run(&on_gpu)), || drop(theirs.run(sample.inputs.clone())));
            report.row("    exact / ONNX Runtime, both on the GPU", ours / theirs, Target::Shown);
        }
        Err(error) => println!("ONNX Runtime on the GPU is left out: {error}"),
    }
    Ok(())
}

fn bits(outputs: &[Tensor]) -> Result<Vec<u32>> {
    let mut bits = Vec::new();
    for output in outputs {
        bits.extend(output.values::<f32>().map_err(|failure| failure.reason)?.iter().map(|x| x.to_bits()));
    }
    Ok(bits)
}
