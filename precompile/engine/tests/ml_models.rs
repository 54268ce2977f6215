//! Models that skl2onnx, XGBoost and LightGBM exported, against what ONNX Runtime answered (`ml_models.py` records it).

mod cases;

use std::path::Path;

use cases::{Cases, Verdict};
use foreblock_engine::Pool;

/// Models that must be answered.
const PASSED_MIN: usize = 29;

#[test]
fn exported_models_answer_as_onnx_runtime_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ml");
    let cases = Cases::read(&folder).expect("the cases are part of the repository");
    let pool = Pool::new(2);
    let mut passed = 0;
    let mut wrong = Vec::new();
    for case in &cases.cases {
        match cases.check(case, &pool) {
            Verdict::Passed => passed += 1,
            Verdict::Unsupported(reason) => println!("{}: unsupported: {reason}", case.name),
            Verdict::Wrong(reason) => wrong.push(format!("{}: {reason}", case.name)),
        }
    }
    println!("{passed} of {} models passed", cases.cases.len());
    assert!(wrong.is_empty(), "{} of {} models differ:\n{}", wrong.len(), cases.cases.len(), wrong.join("\n"));
    assert!(passed >= PASSED_MIN, "{passed} models passed, expected at least {PASSED_MIN}");
}
