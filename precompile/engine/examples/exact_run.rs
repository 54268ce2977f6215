//! Runs a model by the exact engine: `exact_run MODEL THREADS REPEATS OUTPUT_PREFIX TYPE:DIM,DIM:FILE...`, where files
//! hold raw little-endian elements. Writes each output to `PREFIX.N`, prints shapes, cost and the median time.

use std::time::Instant;

use foreblock_engine::tensor::{Data, ElementType};
use foreblock_engine::{ExactModel, Isa, LoadOptions, Pool, Tensor};

fn read(spec: &str) -> Result<Tensor, Box<dyn std::error::Error>> {
    let [kind, dims, file] = spec.splitn(3, ':').collect::<Vec<_>>()[..] else {
        return Err("expected TYPE:DIMS:FILE".into());
    };
    let shape: Vec<usize> = dims.split(',').filter(|d| !d.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
    let bytes = std::fs::read(file)?;
    Ok(match kind {
        "f32" => Tensor::new(shape, bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())?,
        "i64" => Tensor::new(shape, bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect())?,
        "i32" => Tensor::new(shape, bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect())?,
        other => return Err(format!("the type {other} is none of f32, i64, i32").into()),
    })
}

fn raw(tensor: &Tensor) -> Vec<u8> {
    match tensor.data() {
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        other => format!("{other:?}").into_bytes(),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, threads, repeats, prefix, inputs @ ..] = arguments.as_slice() else {
        return Err("expected MODEL THREADS REPEATS OUTPUT_PREFIX INPUTS".into());
    };
    let isa = match std::env::var("EXACT_ISA").as_deref() {
        Ok("portable") => Some(Isa::Portable),
        Ok("avx2") => Some(Isa::Avx2),
        _ => None,
    };
    let start = Instant::now();
    let model = ExactModel::open(model.as_ref(), &LoadOptions { isa, ..Default::default() })?;
    println!("loaded in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let inputs = inputs.iter().map(|spec| read(spec)).collect::<Result<Vec<_>, _>>()?;
    let pool = Pool::new(threads.parse()?);
    let mut times = Vec::new();
    for _ in 0..repeats.parse::<usize>()?.max(1) {
        let given = inputs.clone();
        let start = Instant::now();
        model.run(given, &pool)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let (outputs, cost) = model.run_measured(inputs, &pool)?;
    for (i, (spec, tensor)) in model.outputs().iter().zip(&outputs).enumerate() {
        println!("{} {} {:?}", spec.name, ElementType::name(tensor.element_type()), tensor.shape());
        std::fs::write(format!("{prefix}.{i}"), raw(tensor))?;
    }
    times.sort_by(f64::total_cmp);
    println!("{cost:?}");
    println!("median {:.3} ms, best {:.3} ms", times[times.len() / 2], times[0]);
    Ok(())
}
