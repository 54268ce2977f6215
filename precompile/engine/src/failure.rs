//! Why a run has no answer: short constructors of [`Failure`]. A reason is a pure function of model and input, so that
//! operators can certify it.

pub use foreblock_precompile::{Failure, FailureCode};

/// Another number of tensors than the model has inputs.
pub fn arity(reason: impl Into<String>) -> Failure {
    Failure::new(FailureCode::WrongArity, reason)
}

/// An element type that the model or operator does not take.
pub fn wrong_type(reason: impl Into<String>) -> Failure {
    Failure::new(FailureCode::WrongType, reason)
}

/// A shape that does not fit the model or operator.
pub fn wrong_shape(reason: impl Into<String>) -> Failure {
    Failure::new(FailureCode::WrongShape, reason)
}

/// A value outside an operator's domain: an index, an axis given as data.
pub fn out_of_range(reason: impl Into<String>) -> Failure {
    Failure::new(FailureCode::OutOfRange, reason)
}

/// An output that is NaN or infinite.
pub fn not_finite(reason: impl Into<String>) -> Failure {
    Failure::new(FailureCode::NotFinite, reason)
}

/// The run needs more memory than allowed.
pub fn out_of_memory(reason: impl Into<String>) -> Failure {
    Failure::new(FailureCode::OutOfMemory, reason)
}

/// A loop runs longer than allowed.
pub fn step_limit(reason: impl Into<String>) -> Failure {
    Failure::new(FailureCode::StepLimit, reason)
}

/// Something operators do not define, such as an integer division by zero.
pub fn undefined(reason: impl Into<String>) -> Failure {
    Failure::new(FailureCode::Undefined, reason)
}

/// Text that the model does not take.
pub fn invalid_text(reason: impl Into<String>) -> Failure {
    Failure::new(FailureCode::InvalidText, reason)
}
