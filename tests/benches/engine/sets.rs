//! What the instruction sets of this processor gain over each other. A wider one that is slower is a mistake of ours, or of the
//! compiler's: answers are the same, so that nothing but a measurement shows it.

use foreblock_engine::{ExactModel, Isa, LoadOptions, Pool, integer::convert};
use foreblock_tests::bench::{Report, Target};

use crate::{Result, engines::paired, models::Sample, sample};

/// How much slower a set may be than the one below it, measured beside other work.
const SLOWER: f64 = 1.1;

pub(crate) fn speed(report: &mut Report, samples: &[Sample]) -> Result<()> {
    let sets: Vec<Isa> = Isa::available().into_iter().filter(|isa| *isa != Isa::Portable).collect();
    for name in ["MiniLM-L6", "ResNet-18", "MLP", "ResNet-18-i8", "MLP-i8"] {
        let sample = sample(samples, name)?;
        let graph = std::fs::read(&sample.path)?.into();
        let graph = if name.ends_with("-i8") { convert(&graph)?.graph } else { graph };
        for pair in sets.windows(2) {
            let load =
                |isa: Isa| ExactModel::load(graph.clone(), &LoadOptions { isa: Some(isa), ..LoadOptions::default() });
            let (one, other, pool) = (load(pair[0])?, load(pair[1])?, Pool::new(1));
            let run = |model: &ExactModel| drop(model.run(sample.inputs.clone(), &pool).expect("it has an answer"));
            let (wider, narrower) = paired(1, || run(&one), || run(&other));
            let measure = format!("{name}, 1 thread: {:?} / {:?}", pair[0], pair[1]);
            report.row(&measure, wider / narrower, Target::AtMost(SLOWER));
        }
    }
    Ok(())
}
