//! Counting tests by what the runners say on their closing lines.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// One check that either held or did not.
    pub(crate) fn one(held: bool) -> Self {
        Self { passed: u64::from(held), failed: u64::from(!held), skipped: 0 }
    }

    /// Counts a runner that exited with an error without a failed test (it did not compile, or it crashed) as one failure.
    pub(crate) fn close(mut self, exited_well: bool) -> Self {
        if !exited_well && self.failed == 0 {
            self.failed = 1;
        }
        self
    }

    /// Reads cargo's `test result: ok. 12 passed; 0 failed; 1 ignored; ...`; any other line counts nothing.
    pub(crate) fn from_cargo(line: &str) -> Self {
        match line.trim().strip_prefix("test result: ") {
            Some(rest) => Self::from_words(rest, "ignored"),
            None => Self::default(),
        }
    }

    /// Reads forge's `Ran 3 test suites in 1s (2s CPU time): 12 tests passed, 0 failed, 1 skipped (13 total tests)`.
    pub(crate) fn from_forge(line: &str) -> Self {
        if line.starts_with("Ran ") && line.contains(" test suite") && line.contains(" total tests)") {
            return Self::from_words(&line.replace(" tests ", " "), "skipped");
        }
        Self::default()
    }

    /// Reads one of the closing lines of Node.js's test runner: `# pass 5`, `# fail 0`, `# cancelled 0`, `# skipped 1`.
    pub(crate) fn from_node(line: &str) -> Self {
        let Some((name, count)) = line.strip_prefix("# ").and_then(|rest| rest.split_once(' ')) else {
            return Self::default();
        };
        let Ok(count) = count.parse() else { return Self::default() };
        match name {
            "pass" => Self { passed: count, ..Self::default() },
            "fail" | "cancelled" => Self { failed: count, ..Self::default() },
            "skipped" | "todo" => Self { skipped: count, ..Self::default() },
            _ => Self::default(),
        }
    }

    /// Takes the number before each of the words `passed`, `failed` and `skipped_word`.
    fn from_words(line: &str, skipped_word: &str) -> Self {
        let words: Vec<&str> = line.split([' ', ';', ',']).filter(|word| !word.is_empty()).collect();
        let before = |name: &str| {
            words.windows(2).find(|pair| pair[1] == name).and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
        };
        Self { passed: before("passed"), failed: before("failed"), skipped: before(skipped_word) }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn cargo_lines() {
        let cases = [
            (
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.1s",
                tally(12, 0, 1),
            ),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", tally(3, 2, 0)),
            ("test reads_result ... ok", tally(0, 0, 0)),
        ];
        for (line, expected) in cases {
            assert_eq!(Tally::from_cargo(line), expected, "{line}");
        }
    }

    #[test]
    fn forge_lines() {
        let cases = [
            (
                "Ran 2 test suites in 51.9ms (9ms CPU time): 12 tests passed, 1 failed, 3 skipped (16 total tests)",
                tally(12, 1, 3),
            ),
            (
                "Ran 1 test suite in 5ms (1ms CPU time): 1 tests passed, 0 failed, 0 skipped (1 total tests)",
                tally(1, 0, 0),
            ),
            ("Ran 4 tests for test/Tensor.t.sol:TensorTest", tally(0, 0, 0)),
            ("Suite result: ok. 4 passed; 0 failed; 0 skipped; finished in 1ms", tally(0, 0, 0)),
        ];
        for (line, expected) in cases {
            assert_eq!(Tally::from_forge(line), expected, "{line}");
        }
    }

    #[test]
    fn node_lines() {
        let cases = [
            ("# pass 5", tally(5, 0, 0)),
            ("# fail 2", tally(0, 2, 0)),
            ("# cancelled 1", tally(0, 1, 0)),
            ("# skipped 3", tally(0, 0, 3)),
            ("# tests 10", tally(0, 0, 0)),
            ("# Subtest: pass 5 times", tally(0, 0, 0)),
            ("ok 1 - pass 5", tally(0, 0, 0)),
        ];
        for (line, expected) in cases {
            assert_eq!(Tally::from_node(line), expected, "{line}");
        }
    }

    #[test]
    fn a_crashed_runner_counts_as_a_failure() {
        assert_eq!(tally(3, 0, 0).close(false), tally(3, 1, 0));
        assert_eq!(tally(3, 2, 0).close(false), tally(3, 2, 0));
        assert_eq!(tally(3, 0, 0).close(true), tally(3, 0, 0));
    }

    #[test]
    fn the_closing_line_is_plain() {
        assert_eq!(tally(5, 1, 0).to_string(), "5 passed, 1 failed");
        assert_eq!(tally(5, 0, 2).to_string(), "5 passed, 0 failed, 2 skipped");
    }
}
