//! The ONNX project's backend node tests on the exact engine: every case passes or is refused when it is loaded.
//!
//! `cargo xtask provision` exports them; by hand: `python precompile/engine/tests/onnx_node_cases.py target/provision/node-cases`.
//! They are looked for at `FOREBLOCK_NODE_CASES`, then at `target/provision/node-cases` of the workspace.

mod cases;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cases::{Cases, Verdict};
use foreblock_engine::Pool;

/// Fewest cases that must pass; raise it when operators are added.
const PASSED_MIN: usize = 1_627;

/// Cases whose expected zeros are noise of about 2e-7, left by a transform in `float`: ours are off by less than 1e-14.
const NOISY_ZEROS: [&str; 2] = ["test_dft_inverse", "test_dft_inverse_opset19"];

fn folder() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/provision/node-cases");
    std::env::var_os("FOREBLOCK_NODE_CASES").map_or_else(|| default.into(), PathBuf::from)
}

/// A reason without the names of nodes and values, so that equal reasons are counted together.
fn grouped(reason: &str) -> String {
    let reason = reason.split(" is not supported").next().unwrap_or(reason);
    let word = |w: &str| if w.contains("_expanded_function_") { "..".to_owned() } else { w.to_owned() };
    let short = match (reason.find(" (node "), reason.find("has the element type"), reason.find("is not declared")) {
        (Some(at), ..) => reason[..at].to_owned(),
        (_, Some(at), _) => format!("a value {}", &reason[at..]),
        (_, _, Some(at)) => format!("a value {}", &reason[at..]),
        _ => reason.split(' ').map(word).collect::<Vec<_>>().join(" "),
    };
    short.chars().take(160).collect()
}

#[test]
fn node_cases_pass_or_say_that_they_are_unsupported() {
    let folder = folder();
    let mut cases = Cases::read(&folder)
        .unwrap_or_else(|| panic!("no cases in {}: run `cargo xtask provision` first", folder.display()));
    for case in cases.cases.iter_mut().filter(|case| NOISY_ZEROS.contains(&case.name.as_str())) {
        case.atol = 1e-6;
    }
    let pool = Pool::new(1);
    let mut passed = 0;
    let mut wrong = Vec::new();
    let mut unsupported = BTreeMap::<String, usize>::new();
    for case in &cases.cases {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cases.check(case, &pool)));
        match checked.unwrap_or_else(|_| Verdict::Wrong("panicked".into())) {
            Verdict::Passed => passed += 1,
            Verdict::Unsupported(reason) => *unsupported.entry(grouped(&reason)).or_default() += 1,
            Verdict::Wrong(reason) => wrong.push(format!("{}: {reason}", case.name)),
        }
    }
    let refused: usize = unsupported.values().sum();
    println!("{} cases: {passed} passed, {refused} unsupported, {} wrong", cases.cases.len(), wrong.len());
    for (reason, count) in &unsupported {
        println!("  unsupported, {count} cases: {reason}");
    }
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed >= PASSED_MIN, "{passed} cases passed, expected at least {PASSED_MIN}");
}
