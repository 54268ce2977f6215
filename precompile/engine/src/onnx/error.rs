//! Why a model is not loaded. Every message says what was expected, what came, and what to do.

/// A model that the engine does not load.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are no ONNX file.
    #[error("not an ONNX model: {0}; export the model again")]
    Decode(#[from] prost::DecodeError),
    /// A limit is exceeded.
    #[error("{what} is {value}, the limit is {max}; use a smaller model or raise the limit")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        value: u64,
        /// The largest allowed.
        max: u64,
    },
    /// The file is ONNX but breaks its rules.
    #[error("invalid model: {0}; check it with onnx.checker and export it again")]
    Invalid(String),
    /// An operator is not implemented.
    #[error("operator {domain}{op} of opset {opset} (node {node}) is not supported; {hint}")]
    UnsupportedOperator {
        /// `ai.onnx.ml::` or nothing.
        domain: String,
        /// Operator.
        op: String,
        /// Version of the operator set.
        opset: i64,
        /// Name of the node.
        node: String,
        /// What to do.
        hint: &'static str,
    },
    /// An operator is known, but not used in a supported way.
    #[error("node {node} ({op}): {reason}")]
    Node {
        /// Name of the node.
        node: String,
        /// Operator.
        op: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The operator gives another answer each time, or one that depends on the batch.
    #[error("node {node} ({op}) is refused: {reason}")]
    Refused {
        /// Name of the node.
        node: String,
        /// Operator.
        op: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// Weights lie in a file outside the model's folder.
    #[error("external data {location:?} is refused: {reason}; keep the weights beside the model or inside it")]
    ExternalData {
        /// The path in the model.
        location: String,
        /// Why.
        reason: &'static str,
    },
}

/// Shorthand for [`LoadError::Invalid`].
pub(crate) fn invalid(reason: impl Into<String>) -> LoadError {
    LoadError::Invalid(reason.into())
}
