//! Bounds on what a model file may ask for, so that no file can exhaust a node.

/// Bounds on a model and on one run of it. The defaults suit models of up to about a gigabyte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the `.onnx` file, in bytes.
    pub file_bytes_max: u64,
    /// Nodes, those of subgraphs and inlined functions included.
    pub nodes_max: usize,
    /// How deep graphs are nested in graphs.
    pub depth_max: usize,
    /// Dimensions of a tensor.
    pub rank_max: usize,
    /// Bytes of all constants together, in other files or not.
    pub weights_bytes_max: u64,
    /// Bytes of all tensors alive at once during a run, inputs and outputs included, constants not.
    pub run_bytes_max: u64,
    /// Iterations of all loops of a run together.
    pub iterations_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes_max: 2 << 30,
            nodes_max: 100_000,
            depth_max: 16,
            rank_max: 16,
            weights_bytes_max: 4 << 30,
            run_bytes_max: 2 << 30,
            iterations_max: 1 << 20,
        }
    }
}
