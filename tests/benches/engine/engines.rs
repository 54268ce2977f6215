//! ONNX Runtime in this process, without anything of ours around it, and how two engines are timed.

use std::{
    path::Path,
    sync::OnceLock,
    time::{Duration, Instant},
};

use foreblock_engine::Tensor;
use ort::{
    environment::Environment,
    session::{Session, SessionInputValue, builder::GraphOptimizationLevel},
    value::DynValue,
};

use crate::Result;

/// Turns that each of a pair has at least, and the time after which no further one begins.
const TURNS_MIN: usize = 5;
const TIME: Duration = Duration::from_secs(6);

static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// Loads the library.
pub(crate) fn start(library: &Path) -> Result<()> {
    let environment = ort::init_from(library)?.with_name("bench").with_telemetry(false).build()?;
    let _ = ENVIRONMENT.set(environment);
    Ok(())
}

/// A session.
pub(crate) struct OrtRaw(Session);

impl OrtRaw {
    /// Opens a model with all optimisations.
    pub(crate) fn open(path: &Path, threads: usize) -> Result<Self> {
        let environment = ENVIRONMENT.get().ok_or("the library is not loaded")?;
        let builder = Session::builder(environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads)?
            .with_inter_threads(1)?;
        let mut builder = builder;
        Ok(Self(builder.commit_from_file(path)?))
    }

    /// Runs it; inputs are copied in and outputs out, as the exact engine's are.
    pub(crate) fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let values = inputs.iter().map(value).collect::<Result<Vec<_>>>()?;
        let values: Vec<SessionInputValue<'_>> = values.iter().map(SessionInputValue::from).collect();
        let outputs = self.0.run(&values[..])?;
        let tensor = |value: ort::value::ValueRef<'_>| {
            let (shape, values) = value.try_extract_tensor::<f32>()?;
            let shape: Vec<usize> = shape.iter().map(|n| *n as usize).collect();
            Ok(Tensor::new(shape, values.to_vec()).map_err(|failure| failure.reason)?)
        };
        outputs.values().map(tensor).collect()
    }
}

fn value(tensor: &Tensor) -> Result<DynValue> {
    let shape: Vec<i64> = tensor.shape().iter().map(|n| *n as i64).collect();
    Ok(match tensor.values::<i64>() {
        Ok(values) => ort::value::Tensor::from_array((shape, values.to_vec()))?.into_dyn(),
        Err(_) => {
            let values = tensor.values::<f32>().map_err(|failure| failure.reason)?;
            ort::value::Tensor::from_array((shape, values.to_vec()))?.into_dyn()
        }
    })
}

/// How two engines take turns.
struct Turns {
    /// How long one computes in its turn, unless a run takes longer.
    length: Duration,
    /// How long nobody computes after it.
    rest: Duration,
}

/// A run each: what one leaves in the caches is alike for both.
const RUN_BY_RUN: Turns = Turns { length: Duration::ZERO, rest: Duration::ZERO };
/// For engines of several threads: those of ONNX Runtime spin for tens of milliseconds after a run, and would have a
/// processor to themselves in the other's turn.
const RESTING: Turns = Turns { length: Duration::from_millis(50), rest: Duration::from_millis(100) };

/// The fastest run of each engine of so many threads, in seconds.
pub(crate) fn paired(threads: usize, mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    let turns = if threads == 1 { RUN_BY_RUN } else { RESTING };
    let turn = |run: &mut dyn FnMut(), best: &mut f64| {
        let began = Instant::now();
        loop {
            let start = Instant::now();
            run();
            *best = best.min(start.elapsed().as_secs_f64());
            if began.elapsed() >= turns.length {
                break;
            }
        }
        std::thread::sleep(turns.rest);
    };
    let (mut best_one, mut best_other) = (f64::INFINITY, f64::INFINITY);
    let start = Instant::now();
    for round in 0.. {
        if round >= TURNS_MIN && start.elapsed() > TIME {
            break;
        }
        turn(&mut one, &mut best_one);
        turn(&mut other, &mut best_other);
    }
    (best_one, best_other)
}
