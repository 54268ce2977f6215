//! Whether an implementation is the same as every other: the cases of `tests/vectors/conformance`, asked over the sidecar's protocol.
//!
//! Each case is a question and its answer, both JSON. An implementation takes questions as `examine` frames; what it does not take (a precompile
//! that computes nothing, say) it refuses as unsupported, and that part counts as not asked. This crate answers them with
//! [`examine`], by the same code that runs in blocks.

mod call;
mod examine;
mod question;
mod suite;

pub use examine::{ExamineError, examine};
pub use question::{CallCase, OutcomeText, Question, Scheme};
pub use suite::{Case, Group, Report, SuiteError, groups, run};
