//! CSV: a row of the file is a row of the model's inputs.

use foreblock_precompile::abi::{DType, Tensor as WireTensor, TensorSpec};

use super::{Elements, InputError, wrong_shape};

pub(super) fn parse(text: &str, specs: &[TensorSpec]) -> Result<Vec<WireTensor>, InputError> {
    let failed = |reason: String| InputError::Format { format: "CSV", reason };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(text.as_bytes());
    let records: Result<Vec<csv::StringRecord>, _> = reader.records().collect();
    let records = records.map_err(|error| failed(error.to_string()))?;
    let mut inputs: Vec<Elements<'_>> = specs.iter().map(Elements::new).collect::<Result<_, _>>()?;
    let widths = widths(specs, records.first().map_or(0, csv::StringRecord::len))?;
    let expected: usize = widths.iter().sum();
    let header = records.first().is_some_and(|record| is_header(record, &inputs));
    let rows = &records[usize::from(header)..];
    for record in rows {
        if record.len() != expected {
            let line = record.position().map_or(0, |position| position.line());
            return Err(failed(format!(
                "line {line} has {} columns, the model's inputs take {expected}",
                record.len()
            )));
        }
        let mut columns = record.iter();
        for (elements, width) in inputs.iter_mut().zip(&widths) {
            for column in columns.by_ref().take(*width) {
                if elements.dtype == DType::Text {
                    elements.push_text(column)?
                } else {
                    elements.push_number(column)?
                }
            }
        }
    }
    // A row for each line, so the shape is not guessed from the count: two lines for a model of one row are an error.
    let finish = |elements: Elements<'_>| {
        let fixed = elements.spec.shape.first().copied().unwrap_or(1);
        let single = elements.spec.shape.len() < 2 && fixed >= 0 && rows.len() == 1;
        if fixed >= 0 && fixed as usize != rows.len() && !single {
            return Err(wrong_shape(elements.spec, format!("{} lines", rows.len())));
        }
        let count = elements.count;
        elements.finish(vec![count])
    };
    inputs.into_iter().map(finish).collect()
}

/// Columns of each input: the product of its dimensions but the first, of which one may be free.
fn widths(specs: &[TensorSpec], columns: usize) -> Result<Vec<usize>, InputError> {
    let mut widths = Vec::with_capacity(specs.len());
    for spec in specs {
        // A vector of fixed length is one line; a free one is a column.
        let dims = if spec.shape.len() == 1 && spec.shape[0] >= 0 {
            &spec.shape[..]
        } else {
            spec.shape.get(1..).unwrap_or_default()
        };
        let known: usize = dims.iter().filter(|length| **length >= 0).map(|length| *length as usize).product();
        let free = dims.iter().any(|length| *length < 0);
        widths.push(match (free, specs.len()) {
            (false, _) => known,
            (true, 1) if known > 0 && columns.is_multiple_of(known) => columns,
            _ => return Err(wrong_shape(spec, "CSV, which does not tell free dimensions apart; use JSON".into())),
        });
    }
    Ok(widths)
}

/// A first line is a header where a number is wanted and no number stands.
fn is_header(record: &csv::StringRecord, inputs: &[Elements<'_>]) -> bool {
    let numbers = inputs.iter().all(|elements| elements.dtype != DType::Text);
    numbers && record.iter().any(|column| column.parse::<f64>().is_err() && !matches!(column, "true" | "false"))
}
