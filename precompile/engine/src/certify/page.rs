//! The report as one HTML page: no script, no other file, plots as SVG.

use std::fmt::Write;

use super::{Comparison, Report};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid #ddd}\
td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:13px;overflow-wrap:anywhere}\
svg{display:block;margin:.5rem 0 1.5rem}svg text{font:11px system-ui,sans-serif;fill:#444}\
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}svg text{fill:#bbb}td,th{border-color:#333}}";
const BAR: &str = "#3b7dd8";
/// Width of a histogram's column.
const COLUMN: usize = 26;
/// Length of the longest bar of a setting.
const LENGTH: usize = 420;

/// The page.
pub fn html(report: &Report) -> String {
    let mut page = String::new();
    let title = escape(&format!("{}: {}", report.name, report.profile));
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1><table>"
    );
    let origin = if report.cases_made_up { "made up" } else { "given" };
    for (name, value) in [
        ("model id", format!("<code>{}</code>", report.model_id)),
        ("graph", format!("{} bytes, {} nodes", report.graph_bytes, report.nodes)),
        ("left out of it", format!("{} nodes folded, {} unused", report.nodes_folded, report.nodes_unused)),
        ("gas of a run", format!("{} = {}", report.gas_per_run, escape(&report.gas_formula))),
        ("cases", format!("{} ({origin}), {} of them golden vectors", report.cases, report.golden_vectors)),
    ] {
        let _ = write!(page, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    page.push_str("</table>");
    matrix(report, &mut page);
    comparisons(report, &mut page);
    batches(report, &mut page);
    for note in &report.notes {
        let _ = write!(page, "<p>Note: {}</p>", escape(note));
    }
    page.push_str("</html>\n");
    page
}

fn matrix(report: &Report, page: &mut String) {
    let Some(matrix) = &report.matrix else { return };
    let equal = matrix.cells.iter().filter(|cell| cell.equal).count();
    let count = matrix.cells.len();
    let _ = write!(page, "<h2>The exact engine over its settings</h2><p>{equal} of {count} equal, byte for byte.");
    if matrix.skipped > 0 {
        let _ = write!(page, " {} were left out: one run would have taken too long.", matrix.skipped);
    }
    page.push_str("</p><table><tr><th>instruction set</th><th>threads</th><th>batch</th><th>bytes</th></tr>");
    for cell in &matrix.cells {
        let (set, word) = (escape(&cell.instruction_set), if cell.equal { "equal" } else { "DIFFERENT" });
        let (threads, batch) = (cell.threads, cell.batch);
        let _ = write!(
            page,
            "<tr><td>{set}</td><td class=\"n\">{threads}</td><td class=\"n\">{batch}</td><td>{word}</td></tr>"
        );
    }
    page.push_str("</table>");
}

fn comparisons(report: &Report, page: &mut String) {
    if report.comparisons.is_empty() {
        return;
    }
    let base = if report.matrix.is_some() { "the exact answers" } else { "its first setting" };
    let _ = write!(page, "<h2>ONNX Runtime over its settings, against {base}</h2>");
    for (index, output) in report.outputs.iter().enumerate() {
        let (name, kind) = (escape(&output.name), escape(&output.element_type));
        let _ = write!(page, "<h3>Output {name} ({kind}), up to {:.4e}</h3>", output.magnitude);
        if let Some(eps) = &output.tolerance {
            let _ = write!(page, "<p>Answers lie {:.3e} apart; tolerance {}.</p>", output.spread, escape(eps));
        }
        page.push_str("<p>Elements that differ, by the size of the difference:</p>");
        histogram(&report.comparisons, index, page);
        page.push_str("<p>Largest difference of each setting:</p>");
        bars(&report.comparisons, index, page);
    }
    page.push_str(
        "<table><tr><th>engine</th><th>optimised</th><th>threads</th><th>batch</th><th>cases equal</th></tr>",
    );
    for Comparison { setting, cases_equal, cases, .. } in &report.comparisons {
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{cases_equal} of {cases}</td></tr>",
            escape(&setting.engine),
            escape(&setting.optimization),
            setting.threads,
            setting.batch
        );
    }
    page.push_str("</table>");
}

/// Elements that differ by decade, all settings together, on a logarithmic axis.
fn histogram(comparisons: &[Comparison], output: usize, page: &mut String) {
    let mut decades: Vec<u64> = Vec::new();
    for difference in comparisons.iter().filter_map(|comparison| comparison.outputs.get(output)) {
        decades.resize(decades.len().max(difference.decades.len()), 0);
        decades.iter_mut().zip(&difference.decades).for_each(|(sum, count)| *sum += count);
    }
    let most = decades.iter().copied().max().unwrap_or(0);
    if most == 0 {
        page.push_str("<p>None: every byte is the same.</p>");
        return;
    }
    let (width, height) = (decades.len() * COLUMN + 10, 150);
    let _ = write!(page, "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\">");
    let scale = |count: u64| if count == 0 { 0.0 } else { 6.0 + 94.0 * (count as f64).ln_1p() / (most as f64).ln_1p() };
    for (index, count) in decades.iter().enumerate() {
        let (x, length) = (5 + index * COLUMN, scale(*count));
        let (y, exponent, center) = (120.0 - length, index as i32 - 18, x + COLUMN / 2 - 1);
        let _ = write!(
            page,
            "<rect x=\"{x}\" y=\"{y:.1}\" width=\"{}\" height=\"{length:.1}\" fill=\"{BAR}\"><title>{count} from 1e{exponent}\
             </title></rect><text x=\"{center}\" y=\"135\" text-anchor=\"middle\">{exponent}</text>",
            COLUMN - 3
        );
        if *count > 0 {
            let _ = write!(page, "<text x=\"{center}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>", y - 3.0);
        }
    }
    page.push_str(
        "<text x=\"5\" y=\"148\">power of ten of the difference; heights are logarithms of counts</text></svg>",
    );
}

/// The largest difference of each setting.
fn bars(comparisons: &[Comparison], output: usize, page: &mut String) {
    let largest: Vec<f64> =
        comparisons.iter().filter_map(|comparison| comparison.outputs.get(output)).map(|d| d.largest).collect();
    let most = largest.iter().copied().filter(|value| value.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    let (width, height) = (LENGTH + 330, comparisons.len() * 20 + 5);
    let _ = write!(page, "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\">");
    for (index, (comparison, value)) in comparisons.iter().zip(&largest).enumerate() {
        let setting = &comparison.setting;
        let name = match setting.engine.as_str() {
            "exact" => "exact".into(),
            _ => format!("{}, threads {}, batch {}", setting.optimization, setting.threads, setting.batch),
        };
        let y = index * 20;
        let length = if value.is_finite() { value / most * LENGTH as f64 } else { LENGTH as f64 };
        let _ = write!(
            page,
            "<text x=\"5\" y=\"{}\">{}</text><rect x=\"210\" y=\"{}\" width=\"{length:.1}\" height=\"14\" fill=\"{BAR}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{value:.2e}</text>",
            y + 15,
            escape(&name),
            y + 4,
            216.0 + length,
            y + 15
        );
    }
    page.push_str("</svg>");
}

fn batches(report: &Report, page: &mut String) {
    if report.batch.timings.is_empty() {
        return;
    }
    page.push_str("<h2>Batches</h2><table><tr><th>rows</th><th>microseconds</th><th>times one by one</th></tr>");
    for timing in &report.batch.timings {
        let _ = write!(
            page,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{:.1}</td><td class=\"n\">{:.2}</td></tr>",
            timing.rows,
            timing.micros,
            report.batch.gain(timing.rows)
        );
    }
    page.push_str("</table>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
