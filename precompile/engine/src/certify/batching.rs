//! Whether a model gains from batches, and whether a row can notice the others.

use std::time::{Duration, Instant};

use crate::{
    ExactModel, Failure, Pool, Tensor,
    engine::{BatchFacts, BatchTiming, concat_rows, split_rows},
};

/// Rows of the batches that are tried.
const ROWS: [usize; 5] = [1, 2, 7, 32, 128];
/// Longest time that the runs of one batch may take, by what the rows before took; longer ones are not measured.
const TIME_MAX: Duration = Duration::from_secs(4);
/// Runs of each batch, of which the fastest counts.
const RUNS: usize = 5;

/// Measures a model on requests of one row each; only those of the first's shape can be rows of one batch. The rows count as independent where every row of every batch gives the
/// bytes that it gives alone; a model whose outputs have no rows is never batched.
pub fn measure_batching(model: &ExactModel, rows: &[Vec<Tensor>], pool: &Pool) -> Result<BatchFacts, Failure> {
    let shapes = |row: &[Tensor]| row.iter().map(|tensor| tensor.shape().to_vec()).collect::<Vec<_>>();
    let first = rows.first().map(|row| shapes(row));
    let rows: Vec<&Vec<Tensor>> = rows.iter().filter(|row| Some(shapes(row)) == first).collect();
    let alone: Vec<Vec<Tensor>> = rows.iter().map(|row| model.run((*row).clone(), pool)).collect::<Result<_, _>>()?;
    let mut facts = BatchFacts { rows_independent: !rows.is_empty(), timings: Vec::new() };
    for count in ROWS {
        let members: Vec<&Vec<Tensor>> = rows.iter().copied().cycle().take(count).collect();
        let Some(merged) = concat_rows(&members) else { return Ok(BatchFacts::default()) };
        let row_micros = facts.timings.last().map_or(0.0, |timing| timing.micros / timing.rows as f64);
        if row_micros * (count * RUNS) as f64 > TIME_MAX.as_micros() as f64 {
            break;
        }
        let mut fastest = f64::INFINITY;
        let mut outputs = Vec::new();
        for _ in 0..RUNS {
            let inputs = merged.clone();
            let start = Instant::now();
            outputs = match model.run(inputs, pool) {
                Ok(outputs) => outputs,
                // It answers one row and refuses two: its first dimension is fixed.
                Err(_) if count > 1 => return Ok(BatchFacts::default()),
                Err(failure) => return Err(failure),
            };
            fastest = fastest.min(start.elapsed().as_secs_f64() * 1e6);
        }
        let expected = alone.iter().cycle().take(count);
        let same = split_rows(&outputs, &vec![1; count]).is_some_and(|parts| parts.iter().eq(expected));
        facts.rows_independent &= same;
        facts.timings.push(BatchTiming { rows: count, micros: (fastest * 10.0).round() / 10.0 });
    }
    Ok(facts)
}
